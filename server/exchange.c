/* exchange.c: the life of an exchange: its states and deadlines, the answers made here, its observers. */
#include "exchange.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "edge.h"
#include "http_side.h"
#include "log.h"
#include "passwords.h"

#define EXCHANGES_KEPT 64u

static void deadline_passed(struct net_timer *timer);
static void try_again(struct net_task *task);

static struct net_loop *loop_of(const struct exchange *x) {
  return &x->side->worker->loop;
}

/* ---- life ---- */
struct exchange *exchange_new(struct http_side *side, const struct exchange_front *front, void *visitor) {
  struct exchange *x = side->exchanges;
  if (x) {
    side->exchanges = x->next;
    side->exchanges_count--;
  } else {
    x = malloc(sizeof *x);
    if (!x)
      return NULL;
  }
  memset(x, 0, offsetof(struct exchange, scan));
  memset((char *)x + offsetof(struct exchange, request), 0, sizeof *x - offsetof(struct exchange, request));
  x->front = front;
  x->visitor = visitor;
  x->side = side;
  x->config = server_config_ref(side->worker->config);
  x->timer.fire = deadline_passed;
  x->task.run = try_again;
  x->body_limit = x->config->limits.request_body_bytes;
  x->report = (struct exchange_report){
      .id = ++side->last_exchange_id,
      .host = "",
      .user = "",
      .service = "",
      .scheme = "http",
      .error = "",
      .started_us = net_loop_now_us(&side->worker->loop),
  };
  return x;
}

void exchange_free(struct exchange *x) {
  struct http_side *side = x->side;
  assert(!x->upstream && !x->ask && !x->hold && !x->password);
  net_timer_stop(&side->worker->loop.wheel, &x->timer);
  net_task_cancel(&x->task);
  http_buffer_give(&side->pool, &x->bytes);
  http_buffer_give(&side->pool, &x->question_fields);
  http_buffer_give(&side->pool, &x->added_bytes);
  server_config_unref(x->config);
  if (side->exchanges_count >= EXCHANGES_KEPT) {
    free(x);
    return;
  }
  x->next = side->exchanges;
  side->exchanges = x;
  side->exchanges_count++;
}

/* ---- states ---- */
static const char *const state_names[] = {
    [EXCHANGE_NEW] = "NEW",           [EXCHANGE_AUTHORIZE] = "AUTHORIZE", [EXCHANGE_HOLD] = "HOLD", [EXCHANGE_PASSWORD] = "PASSWORD",
    [EXCHANGE_STREAM] = "STREAM",
    [EXCHANGE_OPEN] = "OPEN",         [EXCHANGE_RELAY] = "RELAY",         [EXCHANGE_RAW] = "RAW",   [EXCHANGE_OVER] = "OVER",
};
const char *exchange_state_name(enum exchange_state state) {
  return state_names[state];
}

#define TO(state) (1u << EXCHANGE_##state)
static const unsigned legal[] = {
    [EXCHANGE_NEW] = TO(AUTHORIZE) | TO(HOLD) | TO(PASSWORD) | TO(STREAM) | TO(OPEN) | TO(OVER),
    [EXCHANGE_AUTHORIZE] = TO(HOLD) | TO(PASSWORD) | TO(STREAM) | TO(OPEN) | TO(OVER),
    [EXCHANGE_HOLD] = TO(HOLD) | TO(PASSWORD) | TO(STREAM) | TO(OPEN) | TO(OVER),
    [EXCHANGE_PASSWORD] = TO(HOLD) | TO(STREAM) | TO(OPEN) | TO(OVER),
    [EXCHANGE_STREAM] = TO(HOLD) | TO(PASSWORD) | TO(OPEN) | TO(OVER),
    [EXCHANGE_OPEN] = TO(HOLD) | TO(PASSWORD) | TO(OPEN) | TO(RELAY) | TO(RAW) | TO(OVER),
    [EXCHANGE_RELAY] = TO(OVER),
    [EXCHANGE_RAW] = TO(OVER),
    [EXCHANGE_OVER] = 0,
};
#undef TO

void exchange_log(const struct exchange *x, enum net_log_level level, const char *sentence) {
  struct net_log *log = loop_of(x)->log;
  if (!net_log_enabled(log, level))
    return;
  const struct net_log_actor actor = {.kind = "exchange", .id = x->report.id, .state = state_names[x->state]};
  net_log_write(log, level, &actor, "%s: %s", x->route.host[0] ? x->route.host : "no host", sentence);
}

/* 0 = no deadline. */
static uint64_t answer_limit_ms(const struct exchange *x) {
  const struct net_service_options *options = exchange_options(x);
  if (x->hook_timeout_s)
    return (uint64_t)x->hook_timeout_s * 1000u;
  if (options && options->timeout_s != NET_TIMEOUT_DEFAULT_S)
    return (uint64_t)options->timeout_s * 1000u;
  return x->config->timeouts.answer_ms;
}

void exchange_enter(struct exchange *x, enum exchange_state state) {
  const struct net_log_actor actor = {.kind = "exchange", .id = x->report.id, .state = state_names[x->state]};
  net_edge_check(legal[x->state] & 1u << state, loop_of(x)->log, &actor, state_names[state]);
  x->state = state;
  exchange_log(x, NET_LOG_DEBUG, "entered");
  if (state == EXCHANGE_OPEN) {
    uint64_t limit = answer_limit_ms(x);
    x->progress_ms = net_loop_now_ms(loop_of(x));
    if (limit) {
      net_timer_start(&loop_of(x)->wheel, &x->timer, limit);
      return;
    }
  }
  net_timer_stop(&loop_of(x)->wheel, &x->timer);
}

/* Only OPEN has a deadline here; hold, hook and password queue have their own. */
static void deadline_passed(struct net_timer *timer) {
  struct exchange *x = (struct exchange *)(void *)((char *)timer - offsetof(struct exchange, timer));
  uint64_t limit = answer_limit_ms(x), waited = net_loop_now_ms(loop_of(x)) - x->progress_ms;
  if (x->state != EXCHANGE_OPEN || !limit)
    return;
  if (waited < limit) {
    net_timer_start(&loop_of(x)->wheel, &x->timer, limit - waited);
    return;
  }
  exchange_log(x, NET_LOG_INFO, "no answer in time");
  exchange_page(x, &(struct page_problem){.cause = PAGE_ORIGIN_SLOW});
}

static void try_again(struct net_task *task) {
  struct exchange *x = (struct exchange *)(void *)((char *)task - offsetof(struct exchange, task));
  exchange_find(x);
}

const struct net_service_options *exchange_options(const struct exchange *x) {
  const struct net_service *service = x->upstream ? agent_service(x->agent, x->service) : NULL;
  return service ? &service->options : NULL;
}

/* ---- observers ---- */
static void observe_begin(struct exchange *x) {
  const struct worker *worker = x->side->worker;
  x->begun = true;
  x->report.started_wall_ms = worker->observers_count ? http_side_wall_ms(x->side) : 0;
  for (size_t i = 0; i < worker->observers_count; i++)
    if (worker->observers[i]->begin)
      worker->observers[i]->begin(worker->observers[i], &x->report);
}

static void observe_end(struct exchange *x) {
  const struct worker *worker = x->side->worker;
  if (!x->begun)
    observe_begin(x);
  x->report.end_us = net_loop_now_us(&worker->loop);
  for (size_t i = 0; i < worker->observers_count; i++)
    if (worker->observers[i]->end)
      worker->observers[i]->end(worker->observers[i], &x->report);
}

static void drop_waits(struct exchange *x) {
  if (x->ask)
    auth_ask_cancel(x->ask);
  if (x->hold)
    registry_hold_cancel(x->hold);
  if (x->password)
    password_cancel(x->password);
  x->ask = NULL;
  x->hold = NULL;
  x->password = NULL;
  net_task_cancel(&x->task);
}

void exchange_over(struct exchange *x) {
  drop_waits(x);
  if (x->upstream) {
    struct upstream *upstream = x->upstream;
    x->upstream = NULL;
    upstream->ops->reset(upstream, MDM_RESET_CANCEL);
  }
  exchange_enter(x, EXCHANGE_OVER);
  observe_end(x);
  x->front->end(x);
}

/* ---- answers made here ---- */
struct page_view exchange_view(const struct exchange *x) {
  struct page_view view = {
      .head = x->request.head,
      .date = http_side_date(x->side),
      .keep_alive = x->request.keep_alive && x->scan.head.minor == 1 && !x->side->worker->draining && x->front->can_keep_alive(x),
  };
  for (size_t i = 0; i < x->scan.head.fields_count; i++) {
    if (x->scan.kinds[i] == HTTP_ACCEPT) {
      view.accept = x->scan.fields[i].value;
      break;
    }
  }
  return view;
}

void exchange_given(struct exchange *x, struct page_bytes *bytes, int status, const char *error, bool failed) {
  if (failed) {
    x->report.error = "proxy_internal_error";
    x->front->cut(x);
    exchange_over(x);
    return;
  }
  x->report.status = status;
  x->report.error = error;
  x->report.head_us = net_loop_now_us(loop_of(x));
  x->report.response_bytes = bytes->size - bytes->head_size;
  bool close = !exchange_view(x).keep_alive;
  x->front->given(x, bytes, close);
  exchange_over(x);
}

void exchange_page(struct exchange *x, const struct page_problem *problem) {
  struct page_bytes bytes;
  struct page_problem told = *problem;
  struct page_view view = exchange_view(x);
  if (!told.host && x->route.host[0])
    told.host = x->route.host;
  bool failed = page_problem(&bytes, &view, &told) != 0;
  exchange_given(x, &bytes, told.status ? told.status : page_cause_status(told.cause), page_cause_token(told.cause), failed);
}

/* ---- the front's calls ---- */
void exchange_refuse(struct exchange *x, enum page_cause cause, int status, const char *detail) {
  exchange_log(x, NET_LOG_INFO, detail);
  x->request.keep_alive = false;
  if (x->state == EXCHANGE_RELAY || x->state == EXCHANGE_RAW) {
    x->report.error = page_cause_token(cause);
    x->front->cut(x);
    exchange_over(x);
    return;
  }
  exchange_page(x, &(struct page_problem){.cause = cause, .status = status, .detail = detail});
}

void exchange_abort(struct exchange *x) {
  if (x->state != EXCHANGE_OVER)
    exchange_over(x);
}

void exchange_ready(struct exchange *x) {
  if (x->upstream)
    x->upstream->ops->ready(x->upstream);
}

void exchange_drain(struct exchange *x) {
  if (x->upstream)
    x->upstream->ops->drain(x->upstream);
}

void exchange_passed(struct exchange *x, size_t size, bool done) {
  x->body_begun = x->body_begun || size;
  x->body_done = x->body_done || done;
  if (x->state == EXCHANGE_RAW)
    return;
  x->report.request_bytes += size;
  x->progress_ms = net_loop_now_ms(loop_of(x));
}

void exchange_finish(struct exchange *x) {
  x->fin = true;
  if (x->upstream && (x->body_done || x->state == EXCHANGE_RAW))
    x->upstream->ops->finish(x->upstream);
}

void exchange_release(struct exchange *x) {
  struct upstream *upstream = x->upstream;
  x->upstream = NULL;
  if (upstream && upstream->ops->release(upstream))
    x->front->keep(x, upstream);
}

void exchange_raw_over(struct exchange *x) {
  exchange_release(x);
  exchange_over(x);
}

void exchange_begin(struct exchange *x) {
  const struct server_config *config = x->config;
  x->report.request = &x->scan.head;
  x->report.request_head_bytes = x->scan.size - x->scan.start;
  x->report.client = x->forwarded.client;
  x->report.scheme = x->forwarded.https ? "https" : "http";
  names_route(&x->route, (const char *const *)config->domains, config->domains_count, x->request.host.data ? x->request.host.data : "",
              x->request.host.size);
  x->report.host = x->route.host;
  x->body_done = x->request.framing == HTTP_FRAMING_NONE;
  observe_begin(x);
  if (x->route.kind == ROUTE_INVALID) {
    exchange_refuse(x, PAGE_BAD_REQUEST, 0, "Host is no host name");
    return;
  }
  if (x->request.framing == HTTP_FRAMING_LENGTH && x->body_limit && x->request.length > x->body_limit) {
    exchange_refuse(x, PAGE_BODY_TOO_LARGE, 0, "the request's body is over the limit");
    return;
  }
  exchange_authorize(x);
}
