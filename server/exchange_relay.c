/* exchange_relay.c: what an upstream tells its exchange: the answer as it comes, and how it may fail. */
#include "agent.h"
#include "exchange.h"
#include "http_side.h"

static bool on_room(void *owner, size_t room) {
  struct exchange *x = owner;
  return x->front->pull(x, room);
}

static void on_opened(void *owner) {
  (void)owner; /* how long the dialling may take is the answer's deadline */
}

/* The origin's fault: its stream ends, the visitor is told. */
static void blame_origin(struct exchange *x, enum page_cause cause, const char *why) {
  exchange_log(x, NET_LOG_INFO, why);
  exchange_page(x, &(struct page_problem){.cause = cause, .detail = cause == PAGE_ORIGIN_NONSENSE || cause == PAGE_ORIGIN_UPGRADE ? why : NULL});
}

static void on_head(void *owner, struct http_scan *scan, const struct http_answer *answer) {
  struct exchange *x = owner;
  int status = scan->head.status;
  if (status == 101 && (!x->upgrade_sent || !http_text_same(answer->upgrade, x->request.upgrade))) {
    blame_origin(x, PAGE_ORIGIN_UPGRADE, x->upgrade_sent ? "the origin switched to another protocol" : "the origin switched protocols unasked");
    return;
  }
  if (status >= 200 || status == 101) {
    exchange_enter(x, status == 101 ? EXCHANGE_RAW : EXCHANGE_RELAY);
    x->report.status = status;
    x->report.head_us = net_loop_now_us(&x->side->worker->loop);
  } else if (x->scan.head.minor == 0) {
    return; /* HTTP/1.0 knows no informational answers */
  }
  x->front->answer(x, scan, answer);
}

static size_t on_body(void *owner, const struct mdm_slice *slices, size_t count, bool last, const struct http_scan *trailers) {
  struct exchange *x = owner;
  size_t taken = x->front->body(x, slices, count, last, trailers);
  x->report.response_bytes += taken;
  return taken;
}

static void on_flush(void *owner) {
  struct exchange *x = owner;
  x->front->flush(x);
}

static void on_end(void *owner) {
  struct exchange *x = owner;
  exchange_release(x);
  exchange_over(x);
}

static size_t on_raw(void *owner, const struct mdm_slice *slices, size_t count) {
  struct exchange *x = owner;
  size_t taken = x->front->raw(x, slices, count);
  x->report.response_bytes += taken;
  return taken;
}

static void on_raw_fin(void *owner) {
  struct exchange *x = owner;
  x->front->raw_fin(x);
}

/* ---- failure ---- */
static enum page_cause cause_of_reset(enum mdm_reset code) {
  switch (code) {
  case MDM_RESET_REFUSED: case MDM_RESET_CONNECT:
    return PAGE_ORIGIN_REFUSED;
  case MDM_RESET_TIMEOUT:
    return PAGE_ORIGIN_UNREACHABLE;
  case MDM_RESET_LIMIT:
    return PAGE_BUSY;
  case MDM_RESET_SHUTDOWN:
    return PAGE_LINK_LOST;
  case MDM_RESET_INTERNAL:
    return PAGE_INTERNAL;
  case MDM_RESET_NONE: case MDM_RESET_CANCEL: case MDM_RESET_STALLED: case MDM_RESET_CREDIT: case MDM_RESET_PROTOCOL: case MDM_RESET_BROKEN:
    return PAGE_ORIGIN_BROKEN;
  }
  return PAGE_ORIGIN_BROKEN;
}

static enum page_cause cause_of(const struct upstream_loss *loss) {
  switch (loss->fault) {
  case UPSTREAM_RESET:
    return cause_of_reset(loss->code);
  case UPSTREAM_EOF:
    return loss->silent ? PAGE_ORIGIN_BROKEN : PAGE_ORIGIN_NONSENSE;
  case UPSTREAM_NONSENSE:
    return PAGE_ORIGIN_NONSENSE;
  case UPSTREAM_TOO_LARGE:
    return PAGE_ORIGIN_TOO_LARGE;
  case UPSTREAM_MEMORY:
    return PAGE_INTERNAL;
  }
  return PAGE_INTERNAL;
}

/* RFC 9110 9.2.2: only what surely reached nobody, or may reach the origin twice. Dialling failed for good is not tried again. */
static bool may_retry(const struct exchange *x, const struct upstream_loss *loss) {
  bool body_taken = x->body_begun || (x->body_done && x->request.framing != HTTP_FRAMING_NONE); /* an empty one in chunks, too */
  if (x->retried || body_taken || !loss->silent)
    return false;
  if (loss->fault == UPSTREAM_RESET && loss->not_delivered)
    return loss->code != MDM_RESET_CONNECT && loss->code != MDM_RESET_TIMEOUT && loss->code != MDM_RESET_LIMIT;
  return x->upstream_used && x->request.idempotent && x->request.framing == HTTP_FRAMING_NONE &&
         (loss->fault == UPSTREAM_RESET || loss->fault == UPSTREAM_EOF);
}

static void on_lost(void *owner, const struct upstream_loss *loss) {
  struct exchange *x = owner;
  x->upstream = NULL;
  if (x->state == EXCHANGE_OPEN) {
    if (may_retry(x, loss)) {
      x->retried = true;
      net_timer_stop(&x->side->worker->loop.wheel, &x->timer);
      net_loop_defer(&x->side->worker->loop, &x->task);
      return;
    }
    blame_origin(x, cause_of(loss), loss->why);
    return;
  }
  exchange_log(x, NET_LOG_INFO, loss->why);
  if (x->state == EXCHANGE_RAW && loss->fault == UPSTREAM_RESET && loss->code == MDM_RESET_CANCEL)
    x->report.error = "";
  else
    x->report.error = loss->fault == UPSTREAM_RESET && loss->code == MDM_RESET_STALLED ? "connection_write_timeout"
                      : loss->fault == UPSTREAM_NONSENSE                               ? "http_protocol_error"
                                                                                       : "http_response_incomplete";
  x->front->cut(x);
  exchange_over(x);
}

const struct upstream_events exchange_upstream_events = {
    .room = on_room,
    .head = on_head,
    .body = on_body,
    .flush = on_flush,
    .end = on_end,
    .lost = on_lost,
    .raw = on_raw,
    .raw_fin = on_raw_fin,
    .opened = on_opened,
};
