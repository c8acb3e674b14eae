/* loop_test.c: deferred tasks, messages from other threads, stop and the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loop.h"

#define MESSAGES 2000u
#define THREADS  3u

struct worker_task {
  struct net_task task; /* first */
  struct net_loop *loop;
  char name;
  char *trace;
  struct worker_task *cancels, *defers;
  unsigned runs;
};

static void task_run(struct net_task *handle) {
  struct worker_task *task = (struct worker_task *)(void *)handle;
  const size_t size = strlen(task->trace);
  task->trace[size] = task->name;
  task->trace[size + 1] = 0;
  task->runs++;
  if (task->cancels) {
    net_task_cancel(&task->cancels->task);
  }
  if (task->defers && task->runs < 3) {
    net_loop_defer(task->loop, &task->defers->task);
  }
}

static void test_tasks_run_in_order_once_and_can_be_cancelled(void **state) {
  struct net_loop loop;
  char trace[64] = "";
  struct worker_task tasks[5];
  (void)state;
  assert_int_equal(net_loop_init(&loop, NULL, NULL, NULL), 0);
  for (size_t i = 0; i < 5; i++) {
    tasks[i] = (struct worker_task){.task = {.run = task_run}, .loop = &loop, .name = (char)('a' + i), .trace = trace};
    net_loop_defer(&loop, &tasks[i].task);
    net_loop_defer(&loop, &tasks[i].task);
  }
  net_task_cancel(&tasks[1].task);
  net_task_cancel(&tasks[1].task);
  tasks[0].cancels = &tasks[3]; /* one that waits in the same run */
  tasks[4].cancels = &tasks[4]; /* itself: nothing */
  net_loop_run(&loop);          /* waiting tasks keep the loop alive, and nothing else does */
  assert_string_equal(trace, "ace");
  net_loop_defer(&loop, &tasks[4].task);
  net_task_cancel(&tasks[4].task); /* the last of the queue */
  net_loop_defer(&loop, &tasks[1].task);
  net_loop_run(&loop);
  assert_string_equal(trace, "aceb");
  net_loop_clean(&loop);
}

static void test_a_task_that_defers_itself_waits_for_the_next_iteration(void **state) {
  struct net_loop loop;
  char trace[64] = "";
  (void)state;
  assert_int_equal(net_loop_init(&loop, NULL, NULL, NULL), 0);
  struct worker_task task = {.task = {.run = task_run}, .loop = &loop, .name = 'x', .trace = trace, .defers = &task};
  net_loop_defer(&loop, &task.task);
  uv_run(loop.uv, UV_RUN_NOWAIT);
  assert_string_equal(trace, "x");
  uv_run(loop.uv, UV_RUN_ONCE); /* does not block although nothing else is due */
  assert_string_equal(trace, "xx");
  net_loop_run(&loop);
  assert_string_equal(trace, "xxx");
  net_loop_clean(&loop);
}

struct counted_message {
  struct net_message message; /* first */
  unsigned sender, number;
};

struct receiver {
  struct net_loop loop;
  unsigned next[THREADS];
  unsigned received;
};

static void message_run(struct net_message *handle, struct net_loop *loop) {
  struct counted_message *message = (struct counted_message *)(void *)handle;
  struct receiver *receiver = (struct receiver *)(void *)((char *)loop - offsetof(struct receiver, loop));
  assert_int_equal(message->number, receiver->next[message->sender]);
  receiver->next[message->sender]++;
  if (++receiver->received == THREADS * MESSAGES) {
    net_loop_stop(loop);
  }
  free(message);
}

struct sender {
  struct receiver *receiver;
  unsigned number;
};

static void sender_main(void *argument) {
  struct sender *sender = argument;
  for (unsigned i = 0; i < MESSAGES; i++) {
    struct counted_message *message = malloc(sizeof *message);
    *message = (struct counted_message){.message = {.run = message_run}, .sender = sender->number, .number = i};
    net_loop_post(&sender->receiver->loop, &message->message);
  }
}

static void on_too_late(uv_timer_t *timer) {
  (void)timer;
  fail_msg("messages are missing");
}

static void test_messages_of_threads_arrive_once_and_in_order(void **state) {
  struct receiver receiver = {.received = 0};
  struct sender senders[THREADS];
  uv_thread_t threads[THREADS];
  uv_timer_t keep; /* a net_loop by itself does not keep its uv loop running */
  (void)state;
  assert_int_equal(net_loop_init(&receiver.loop, NULL, NULL, NULL), 0);
  uv_timer_init(receiver.loop.uv, &keep);
  uv_timer_start(&keep, on_too_late, 30000, 0);
  for (unsigned i = 0; i < THREADS; i++) {
    senders[i] = (struct sender){.receiver = &receiver, .number = i};
    assert_int_equal(uv_thread_create(&threads[i], sender_main, &senders[i]), 0);
  }
  net_loop_run(&receiver.loop);
  for (unsigned i = 0; i < THREADS; i++) {
    uv_thread_join(&threads[i]);
  }
  assert_int_equal(receiver.received, THREADS * MESSAGES);
  uv_close((uv_handle_t *)&keep, NULL);
  net_loop_clean(&receiver.loop);
}

static void test_messages_that_were_never_read_are_run_by_clean(void **state) {
  struct receiver receiver = {.received = 0};
  struct sender sender = {.receiver = &receiver};
  (void)state;
  assert_int_equal(net_loop_init(&receiver.loop, NULL, NULL, NULL), 0);
  sender_main(&sender);
  net_loop_clean(&receiver.loop);
  assert_int_equal(receiver.received, MESSAGES);
}

static void test_a_callers_loop_is_left_usable(void **state) {
  uv_loop_t uv;
  struct net_loop loop;
  (void)state;
  assert_int_equal(uv_loop_init(&uv), 0);
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal(net_loop_init(&loop, &uv, NULL, NULL), 0);
    assert_ptr_equal(loop.uv, &uv);
    uv_run(&uv, UV_RUN_DEFAULT); /* a net_loop by itself does not keep it running */
    net_loop_clean(&loop);
    uv_run(&uv, UV_RUN_DEFAULT);
  }
  assert_int_equal(uv_loop_close(&uv), 0);
}

static void test_the_clock_goes_on_between_iterations(void **state) {
  struct net_loop loop;
  (void)state;
  assert_int_equal(net_loop_init(&loop, NULL, NULL, NULL), 0);
  const uint64_t first = net_loop_now_us(&loop);
  assert_int_equal(net_loop_now_us(&loop), first);
  assert_int_equal(net_loop_now_ms(&loop), first / 1000);
  char trace[8] = "";
  struct worker_task task = {.task = {.run = task_run}, .loop = &loop, .name = 'x', .trace = trace};
  net_loop_defer(&loop, &task.task);
  uv_run(loop.uv, UV_RUN_NOWAIT);
  const uint64_t until = uv_hrtime() + 2000000;
  while (uv_hrtime() < until) {
  }
  assert_true(net_loop_now_us(&loop) >= first + 2000);
  net_loop_clean(&loop);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tasks_run_in_order_once_and_can_be_cancelled),
      cmocka_unit_test(test_a_task_that_defers_itself_waits_for_the_next_iteration),
      cmocka_unit_test(test_messages_of_threads_arrive_once_and_in_order),
      cmocka_unit_test(test_messages_that_were_never_read_are_run_by_clean),
      cmocka_unit_test(test_a_callers_loop_is_left_usable),
      cmocka_unit_test(test_the_clock_goes_on_between_iterations),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
