/* loop.c: a worker's loop: deferred tasks, messages from other threads, the clock and the scratch buffer. */
#include "loop.h"

#include <assert.h>
#include <stdlib.h>

#include "loop_private.h"

#define LOOP_HANDLES 3u /* prepare, idle, async; the wheel's timer is counted apart */

/* ---- deferred tasks ---- */
static void loop_on_idle(uv_idle_t *idle) {
  (void)idle;
}

static void tasks_init(struct net_task **head, struct net_task *tail) {
  *head = tail;
  tail->next = NULL;
  tail->link = head;
}

void net_loop_defer(struct net_loop *loop, struct net_task *task) {
  struct net_loop_private *own = loop->private_;
  if (task->link) {
    return;
  }
  if (own->tasks == &own->tail && !uv_is_closing((uv_handle_t *)&own->idle)) {
    uv_idle_start(&own->idle, loop_on_idle);
  }
  task->next = &own->tail;
  task->link = own->tail.link;
  *own->tail.link = task;
  own->tail.link = &task->next;
}

void net_task_cancel(struct net_task *task) {
  if (!task->link) {
    return;
  }
  *task->link = task->next;
  task->next->link = task->link;
  task->next = NULL;
  task->link = NULL;
}

/* Runs what was queued before this moment; what the tasks themselves queue waits for the next iteration. */
static void tasks_run(struct net_loop *loop) {
  struct net_loop_private *own = loop->private_;
  struct net_task *head;
  struct net_task tail;
  if (own->tasks == &own->tail) {
    return;
  }
  head = own->tasks;
  head->link = &head;
  tail.next = NULL;
  tail.link = own->tail.link;
  *tail.link = &tail;
  tasks_init(&own->tasks, &own->tail);
  while (head != &tail) {
    struct net_task *task = head;
    net_task_cancel(task);
    task->run(task);
  }
}

static void loop_on_prepare(uv_prepare_t *prepare) {
  struct net_loop *loop = prepare->data;
  struct net_loop_private *own = loop->private_;
  tasks_run(loop);
  if (own->tasks == &own->tail) {
    uv_idle_stop(&own->idle);
  }
  own->now_us = 0;
}

/* ---- messages ---- */
static void messages_run(struct net_loop *loop) {
  struct net_message *newest = atomic_exchange(&loop->private_->messages, NULL);
  struct net_message *oldest = NULL;
  while (newest) {
    struct net_message *next = newest->next;
    newest->next = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest) {
    struct net_message *next = oldest->next;
    oldest->run(oldest, loop);
    oldest = next;
  }
}

static void loop_on_async(uv_async_t *async) {
  struct net_loop *loop = async->data;
  messages_run(loop);
  if (atomic_load(&loop->private_->stop)) {
    uv_stop(loop->uv);
  }
}

void net_loop_post(struct net_loop *loop, struct net_message *message) {
  struct net_loop_private *own = loop->private_;
  struct net_message *newest = atomic_load(&own->messages);
  do {
    message->next = newest;
  } while (!atomic_compare_exchange_weak(&own->messages, &newest, message));
  uv_async_send(&own->async);
}

/* ---- life ---- */
static int loop_start_handles(struct net_loop *loop) {
  struct net_loop_private *own = loop->private_;
  int error = uv_async_init(loop->uv, &own->async, loop_on_async);
  if (error) {
    return error;
  }
  own->async.data = loop;
  uv_unref((uv_handle_t *)&own->async);
  uv_prepare_init(loop->uv, &own->prepare);
  own->prepare.data = loop;
  uv_prepare_start(&own->prepare, loop_on_prepare);
  uv_unref((uv_handle_t *)&own->prepare);
  uv_idle_init(loop->uv, &own->idle);
  own->idle.data = loop;
  return 0;
}

int net_loop_init(struct net_loop *loop, uv_loop_t *uv, mdm_mux_pool *pool, struct net_log *log) {
  int error = UV_ENOMEM;
  *loop = (struct net_loop){.uv = uv, .pool = pool, .log = log};
  loop->private_ = calloc(1, sizeof *loop->private_);
  loop->scratch = malloc(NET_SCRATCH_SIZE);
  if (!loop->private_ || !loop->scratch) {
    goto failed;
  }
  tasks_init(&loop->private_->tasks, &loop->private_->tail);
  if (!uv) {
    loop->uv = malloc(sizeof *loop->uv);
    if (!loop->uv) {
      goto failed;
    }
    error = uv_loop_init(loop->uv);
    if (error) {
      free(loop->uv);
      goto failed;
    }
    loop->private_->owns_uv = true;
  }
  error = net_wheel_init(&loop->wheel, loop->uv);
  if (error) {
    goto failed_loop;
  }
  error = loop_start_handles(loop);
  if (error) {
    net_wheel_close(&loop->wheel);
    goto failed_loop;
  }
  return 0;

failed_loop:
  if (loop->private_->owns_uv) {
    uv_run(loop->uv, UV_RUN_DEFAULT);
    uv_loop_close(loop->uv);
    free(loop->uv);
  }
failed:
  free(loop->scratch);
  free(loop->private_);
  *loop = (struct net_loop){0};
  return error;
}

static void loop_on_closed(uv_handle_t *handle) {
  struct net_loop *loop = handle->data;
  struct net_loop_private *own = loop->private_;
  assert(own->closing > 0);
  if (--own->closing == 0 && !own->owns_uv) {
    free(own);
    loop->private_ = NULL;
  }
}

void net_loop_clean(struct net_loop *loop) {
  struct net_loop_private *own = loop->private_;
  if (!own) {
    return;
  }
  messages_run(loop);
  tasks_run(loop);
  if (own->owns_uv) {
    uv_run(loop->uv, UV_RUN_NOWAIT); /* actors whose close callbacks are still to come use what is freed below */
  }
  assert(own->tasks == &own->tail);
  if (own->tls) {
    own->tls_free(own->tls);
    own->tls = NULL;
  }
  free(loop->scratch);
  loop->scratch = NULL;
  net_wheel_close(&loop->wheel);
  own->closing = LOOP_HANDLES;
  uv_close((uv_handle_t *)&own->prepare, loop_on_closed);
  uv_close((uv_handle_t *)&own->idle, loop_on_closed);
  uv_close((uv_handle_t *)&own->async, loop_on_closed);
  if (own->owns_uv) {
    uv_run(loop->uv, UV_RUN_DEFAULT);
    const int error = uv_loop_close(loop->uv);
    assert(error == 0); /* else an actor was left open */
    (void)error;
    free(loop->uv);
    free(own);
    *loop = (struct net_loop){0};
  }
}

int net_loop_run(struct net_loop *loop) {
  uv_run(loop->uv, UV_RUN_DEFAULT);
  atomic_store(&loop->private_->stop, false);
  return 0;
}

void net_loop_stop(struct net_loop *loop) {
  atomic_store(&loop->private_->stop, true);
  uv_async_send(&loop->private_->async);
}

/* ---- clock ---- */
uint64_t net_loop_now_us(const struct net_loop *loop) {
  struct net_loop_private *own = loop->private_;
  if (own->now_us == 0) {
    own->now_us = uv_hrtime() / 1000u;
  }
  return own->now_us;
}

uint64_t net_loop_now_ms(const struct net_loop *loop) {
  return net_loop_now_us(loop) / 1000u;
}
