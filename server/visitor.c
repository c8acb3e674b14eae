/* visitor.c: the life of one public connection and of their set: states, deadlines, events. */
#include "visitor_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "edge.h"
#include "http_field.h"
#include "log.h"
#include "tls.h"
#include "ws.h"

static void on_readable(struct net_conn *conn);
static void on_writable(struct net_conn *conn);
static void on_hangup(struct net_conn *conn, int error);
static void on_closed(struct net_conn *conn);
static const struct net_conn_ops conn_ops = {
    .readable = on_readable,
    .writable = on_writable,
    .hangup = on_hangup,
    .closed = on_closed,
};

/* ---- states ---- */
static const char *const state_names[] = {
    [VISITOR_IDLE] = "IDLE",   [VISITOR_READ_HEAD] = "READ_HEAD", [VISITOR_EXCHANGE] = "EXCHANGE",
    [VISITOR_FLUSH] = "FLUSH", [VISITOR_DRAIN] = "DRAIN",         [VISITOR_CLOSING] = "CLOSING",
};
#define TO(state) (1u << VISITOR_##state)
static const unsigned legal[] = {
    [VISITOR_IDLE] = TO(READ_HEAD) | TO(CLOSING),
    [VISITOR_READ_HEAD] = TO(EXCHANGE) | TO(CLOSING),
    [VISITOR_EXCHANGE] = TO(IDLE) | TO(FLUSH) | TO(DRAIN) | TO(CLOSING),
    [VISITOR_FLUSH] = TO(IDLE) | TO(CLOSING),
    [VISITOR_DRAIN] = TO(CLOSING),
    [VISITOR_CLOSING] = 0,
};
#undef TO

static uint64_t linger_ms(const struct visitor *v) {
  return v->set->side.worker->draining ? VISITOR_LINGER_DRAIN_MS : VISITOR_LINGER_MS;
}

static uint64_t state_limit_ms(const struct visitor *v, enum visitor_state state) {
  const struct server_timeouts *timeouts = &v->set->side.worker->config->timeouts;
  switch (state) {
  case VISITOR_IDLE:
    return timeouts->idle_ms;
  case VISITOR_READ_HEAD:
    return timeouts->head_ms;
  case VISITOR_FLUSH:
    return timeouts->write_stall_ms;
  case VISITOR_DRAIN:
    return v->out ? timeouts->write_stall_ms : linger_ms(v);
  case VISITOR_EXCHANGE: case VISITOR_CLOSING:
    return 0;
  }
  return 0;
}

void visitor_enter(struct visitor *v, enum visitor_state state) {
  struct net_log *log = visitor_loop(v)->log;
  const struct net_log_actor from = {.kind = "visitor", .id = v->id, .state = state_names[v->state]};
  net_edge_check(legal[v->state] & 1u << state, log, &from, state_names[state]);
  v->state = (uint8_t)state;
  if (net_log_enabled(log, NET_LOG_DEBUG)) {
    const struct net_log_actor actor = {.kind = "visitor", .id = v->id, .state = state_names[state]};
    net_log_write(log, NET_LOG_DEBUG, &actor, "entered");
  }
  uint64_t limit = state_limit_ms(v, state);
  v->waiting = false;
  if (limit)
    net_timer_start(&visitor_loop(v)->wheel, &v->timer, limit);
  else
    net_timer_stop(&visitor_loop(v)->wheel, &v->timer);
}

/* ---- life ---- */
static void unlink_visitor(struct visitor *v) {
  *v->link = v->next;
  if (v->next)
    v->next->link = v->link;
  v->set->count--;
}

static void visitor_free(struct visitor *v) {
  assert(!v->x && !v->kept);
  net_timer_stop(&visitor_loop(v)->wheel, &v->timer);
  net_task_cancel(&v->task);
  visitor_read_clean(v);
  http_buffer_give(&v->set->side.pool, &v->out);
  unlink_visitor(v);
  free(v);
}

void visitor_close(struct visitor *v, bool reset) {
  if (v->state == VISITOR_CLOSING)
    return;
  struct exchange *x = v->x;
  bool begun = v->state == VISITOR_EXCHANGE;
  visitor_enter(v, VISITOR_CLOSING);
  net_task_cancel(&v->task);
  if (x && begun) {
    exchange_abort(x);
  } else if (x) {
    v->x = NULL;
    exchange_free(x);
  }
  visitor_retire_kept(v);
  net_conn_close(v->conn, reset);
}

void visitor_defer(struct visitor *v) {
  net_loop_defer(visitor_loop(v), &v->task);
}

void visitor_break(struct visitor *v, bool reset) {
  v->broken = true;
  v->reset = v->reset || reset;
  visitor_defer(v);
}

static void on_closed(struct net_conn *conn) {
  visitor_free(net_conn_owner(conn));
}

/* Answered for the last time: our FIN when everything has left, then whatever still comes is thrown away until the visitor's FIN. */
static void drain(struct visitor *v) {
  bool lingers = v->state == VISITOR_DRAIN && v->shut;
  if (v->state != VISITOR_DRAIN)
    visitor_enter(v, VISITOR_DRAIN);
  visitor_shut(v);
  if (!v->shut || lingers)
    return;
  net_timer_start(&visitor_loop(v)->wheel, &v->timer, linger_ms(v));
  net_conn_resume(v->conn);
  if (v->eof)
    visitor_defer(v);
}

/* A layer may still hold bytes for a slow reader: closing would lose them. */
static void linger_over(struct visitor *v) {
  if (v->shut && !net_conn_flushed(v->conn) && v->lingers++ < VISITOR_LINGERS_MAX)
    net_timer_start(&visitor_loop(v)->wheel, &v->timer, linger_ms(v));
  else
    visitor_close(v, !v->shut);
}

static void on_task(struct net_task *task) {
  struct visitor *v = (struct visitor *)(void *)((char *)task - offsetof(struct visitor, task));
  if (!v->conn) { /* handed over */
    visitor_free(v);
    return;
  }
  if (v->broken) {
    visitor_close(v, v->reset);
    return;
  }
  if (v->state == VISITOR_DRAIN && v->shut)
    visitor_discard(v);
  if (v->state != VISITOR_EXCHANGE || !v->x)
    return;
  if (v->refused) {
    v->refused = false;
    exchange_refuse(v->x, v->fault, 0, v->fault_why);
    return;
  }
  if (v->raw && v->raw_in_done && v->raw_out_done) {
    exchange_raw_over(v->x);
    return;
  }
  if (v->fin_seen && v->x->body_done && !v->eof && !v->raw)
    visitor_look_ahead(v);
}

/* ---- events ---- */
static void idle(struct visitor *v) {
  visitor_enter(v, VISITOR_IDLE);
  net_conn_resume(v->conn);
}

static void on_readable(struct net_conn *conn) {
  struct visitor *v = net_conn_owner(conn);
  switch ((enum visitor_state)v->state) {
  case VISITOR_IDLE: case VISITOR_READ_HEAD:
    visitor_read_head(v);
    return;
  case VISITOR_EXCHANGE:
    if (v->x)
      exchange_ready(v->x);
    return;
  case VISITOR_DRAIN:
    visitor_discard(v);
    return;
  case VISITOR_FLUSH: case VISITOR_CLOSING:
    return;
  }
}

static void on_writable(struct net_conn *conn) {
  struct visitor *v = net_conn_owner(conn);
  v->blocked = false;
  bool flushed = visitor_flush(v);
  if (v->broken)
    return;
  switch ((enum visitor_state)v->state) {
  case VISITOR_EXCHANGE:
    if (flushed && v->raw_out_done)
      visitor_shut(v);
    if (!v->blocked && v->x)
      exchange_drain(v->x);
    return;
  case VISITOR_FLUSH:
    if (flushed)
      idle(v);
    return;
  case VISITOR_DRAIN:
    if (flushed)
      drain(v);
    return;
  case VISITOR_IDLE: case VISITOR_READ_HEAD: case VISITOR_CLOSING:
    return;
  }
}

static void on_hangup(struct net_conn *conn, int error) {
  struct visitor *v = net_conn_owner(conn);
  if (error) {
    visitor_close(v, true);
    return;
  }
  v->fin_seen = true;
  if (v->state == VISITOR_EXCHANGE && v->x && v->x->body_done && !v->raw)
    visitor_look_ahead(v);
}

static void on_timer(struct net_timer *timer) {
  struct visitor *v = (struct visitor *)(void *)((char *)timer - offsetof(struct visitor, timer));
  switch ((enum visitor_state)v->state) {
  case VISITOR_IDLE:
    (void)net_conn_shutdown(v->conn); /* says goodbye where there is TLS; it closes either way */
    visitor_close(v, false);
    return;
  case VISITOR_READ_HEAD:
    visitor_head_late(v);
    return;
  case VISITOR_EXCHANGE:
    visitor_rate_check(v);
    return;
  case VISITOR_FLUSH:
    visitor_close(v, true);
    return;
  case VISITOR_DRAIN:
    linger_over(v);
    return;
  case VISITOR_CLOSING:
    return;
  }
}

/* ---- the exchange's front ---- */
static void front_end(struct exchange *x) {
  struct visitor *v = x->visitor;
  bool next = v->keep_alive && v->answered && x->body_done && !v->eof && !v->set->side.worker->draining;
  v->x = NULL;
  exchange_free(x);
  visitor_read_clean(v);
  if (!v->conn || v->broken || v->state == VISITOR_CLOSING)
    return;
  if (!next)
    drain(v);
  else if (v->out)
    visitor_enter(v, VISITOR_FLUSH);
  else
    idle(v);
}

static void front_cut(struct exchange *x) {
  visitor_break(x->visitor, true);
}

static bool front_can_keep_alive(const struct exchange *x) {
  return x->body_done;
}

/* The request was a client's: the connection becomes a link, with the link's own TLS inside the WebSocket. */
static void front_link(struct exchange *x) {
  struct visitor *v = x->visitor;
  struct worker *worker = x->side->worker;
  struct net_conn *conn = v->conn;
  const char *carrier = net_conn_is_tls(conn) ? "wss" : "ws";
  const struct net_tls_options options = {.server = true};
  if (net_ws_push_server(conn, x->request.websocket_key.data, x->request.websocket_key.size) != 0 ||
      (worker->link_tls && net_tls_push(conn, worker->link_tls, &options) != 0)) {
    visitor_break(v, true);
    return;
  }
  v->conn = NULL;
  visitor_retire_kept(v);
  net_timer_stop(&worker->loop.wheel, &v->timer);
  visitor_defer(v); /* frees it */
  net_conn_resume(conn);
  if (agent_accept(worker, conn, carrier) != 0)
    x->report.error = "proxy_internal_error";
}

const struct exchange_front visitor_front = {
    .pull = visitor_pull,
    .answer = visitor_answer,
    .body = visitor_body,
    .flush = visitor_flush_front,
    .raw = visitor_raw,
    .raw_fin = visitor_raw_fin,
    .given = visitor_given,
    .cut = front_cut,
    .end = front_end,
    .can_keep_alive = front_can_keep_alive,
    .take = visitor_take,
    .keep = visitor_keep,
    .link = front_link,
};

/* ---- the set ---- */
int visitor_set_new(struct visitor_set **out, struct worker *worker) {
  struct visitor_set *set = calloc(1, sizeof *set);
  *out = NULL;
  if (!set)
    return UV_ENOMEM;
  int error = http_side_init(&set->side, worker);
  if (error) {
    free(set);
    return error;
  }
  *out = set;
  return 0;
}

void visitor_set_free(struct visitor_set *set) {
  if (!set)
    return;
  assert(!set->first);
  http_side_clean(&set->side);
  free(set);
}

size_t visitor_set_count(const struct visitor_set *set) {
  return set->count;
}

void visitor_set_drain(struct visitor_set *set) {
  for (struct visitor *v = set->first, *next; v; v = next) {
    next = v->next;
    if (v->state == VISITOR_IDLE) {
      (void)net_conn_shutdown(v->conn);
      visitor_close(v, false);
    } else {
      v->keep_alive = false;
    }
  }
}

void visitor_set_close(struct visitor_set *set) {
  for (struct visitor *v = set->first, *next; v; v = next) {
    next = v->next;
    if (v->conn)
      visitor_close(v, true);
  }
}

int visitor_accept(struct worker *worker, struct net_conn *conn) {
  struct visitor_set *set = worker->visitors;
  struct visitor *v = calloc(1, sizeof *v);
  if (!v) {
    net_conn_close(conn, true);
    return UV_ENOMEM;
  }
  v->set = set;
  v->conn = conn;
  v->id = ++set->side.last_visitor_id;
  v->timer.fire = on_timer;
  v->task.run = on_task;
  v->next = set->first;
  v->link = &set->first;
  if (v->next)
    v->next->link = &v->next;
  set->first = v;
  set->count++;
  net_conn_set_owner(conn, &conn_ops, v);
  net_timer_start(&worker->loop.wheel, &v->timer, state_limit_ms(v, VISITOR_IDLE));
  net_conn_resume(conn);
  visitor_read_head(v);
  return 0;
}
