/* visitor_read.c: what comes from the visitor: request heads (at any time), bodies (only when the upstream has room), and its FIN. */
#include <string.h>

#include "tls.h"
#include "visitor_private.h"

/* ---- heads ---- */
struct refusal {
  int status;
  enum page_cause cause;
};
static const struct refusal refusals[] = {
    {405, PAGE_METHOD_REFUSED}, {414, PAGE_TARGET_TOO_LONG}, {431, PAGE_HEAD_TOO_LARGE}, {501, PAGE_NOT_IMPLEMENTED}, {505, PAGE_VERSION},
    {500, PAGE_INTERNAL},
};

static void refuse(struct visitor *v, int status, const char *why) {
  enum page_cause cause = PAGE_BAD_REQUEST;
  for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
    if (refusals[i].status == status)
      cause = refusals[i].cause;
  exchange_refuse(v->x, cause, status, why);
}

static const char *scan_complaint(int status) {
  switch (status) {
  case 414:
    return "the request target is over the limit";
  case 431:
    return "the request's head is over the limit";
  case 501:
    return "an unknown method";
  case 505:
    return "not HTTP/1.1 or HTTP/1.0";
  case 500:
    return "out of memory";
  default:
    return "the request's head is malformed";
  }
}

static void know_visitor(struct visitor *v) {
  struct exchange *x = v->x;
  const struct mdm_address *peer = net_conn_peer(v->conn);
  const struct worker *worker = x->side->worker;
  bool tls = net_conn_is_tls(v->conn);
  if (!v->peer_text[0])
    net_address_text(v->peer_text, peer, false);
  const struct forwarded_connection connection = {
      .peer = peer,
      .peer_text = v->peer_text,
      .trusted = x->config->trusted_count && net_cidr_any(x->config->trusted, x->config->trusted_count, peer),
      .https = tls,
      .port = tls ? worker->public_https_port : worker->public_port,
  };
  x->server_name = tls ? net_tls_server_name(v->conn) : NULL;
  forwarded_judge(&x->forwarded, &connection, x->config->trusted, x->config->trusted_count, &x->scan);
  x->report.client = x->forwarded.client;
}

static void begin(struct visitor *v) {
  struct exchange *x = v->x;
  const char *why = "";
  visitor_enter(v, VISITOR_EXCHANGE);
  v->answered = false;
  v->keep_alive = false;
  know_visitor(v);
  int status = http_request_judge(&x->request, &x->scan, &why);
  if (status) {
    x->report.request = &x->scan.head;
    refuse(v, status, why);
    return;
  }
  http_body_init(&v->body, x->request.framing, x->request.length, x->config->limits.chunk_extension_bytes);
  v->expecting = x->request.expect_continue;
  v->waited_ms = v->window_bytes = 0;
  bool look = v->fin_seen && x->request.framing == HTTP_FRAMING_NONE;
  exchange_begin(x);
  if (look && v->state == VISITOR_EXCHANGE && v->x == x)
    visitor_look_ahead(v);
}

/* The head is whole (or wrong). `data` holds it and perhaps more. */
static void head_scanned(struct visitor *v, int status, const char *data, size_t size) {
  struct exchange *x = v->x;
  net_conn_pause(v->conn);
  if (status != HTTP_SCAN_DONE) {
    visitor_enter(v, VISITOR_EXCHANGE);
    v->answered = false;
    know_visitor(v);
    refuse(v, status, scan_complaint(status));
    return;
  }
  size_t surplus = size - x->scan.size;
  int error = surplus ? net_conn_unread(v->conn, data + x->scan.size, surplus) : 0;
  if (!error && !x->bytes) {
    error = http_buffer_append(&x->side->pool, &x->bytes, data, x->scan.size);
    if (!error)
      http_scan_rebase(&x->scan, x->bytes->data);
  }
  if (error) {
    visitor_close(v, true);
    return;
  }
  begin(v);
}

static int start_exchange(struct visitor *v) {
  const struct server_limits *limits = &v->set->side.worker->config->limits;
  const struct http_scan_limits scan = {.bytes = limits->head_bytes, .fields = limits->head_fields, .target = limits->target_bytes};
  v->x = exchange_new(&v->set->side, &visitor_front, v);
  if (!v->x)
    return -1;
  http_scan_init(&v->x->scan, HTTP_SCAN_REQUEST, &scan);
  return 0;
}

/* The first read goes into the loop's scratch: most heads are whole there, and an idle visitor holds no buffer. */
static bool read_first(struct visitor *v) {
  char *scratch = (char *)visitor_loop(v)->scratch;
  ssize_t n = net_conn_read(v->conn, scratch, VISITOR_READ_SIZE);
  if (n == UV_EAGAIN)
    return false;
  if (n <= 0 || start_exchange(v) != 0) {
    visitor_close(v, false);
    return false;
  }
  visitor_enter(v, VISITOR_READ_HEAD);
  int status = http_scan_run(&v->x->scan, scratch, (size_t)n);
  if (status != HTTP_SCAN_MORE) {
    head_scanned(v, status, scratch, (size_t)n);
    return false;
  }
  if (http_buffer_append(&v->set->side.pool, &v->x->bytes, scratch, (size_t)n) != 0) {
    visitor_close(v, true);
    return false;
  }
  return true;
}

static bool read_more(struct visitor *v) {
  struct exchange *x = v->x;
  if (http_buffer_room(&v->set->side.pool, &x->bytes, HTTP_BUFFER_SMALL / 2) != 0) {
    visitor_close(v, true);
    return false;
  }
  struct http_buffer *bytes = x->bytes;
  ssize_t n = net_conn_read(v->conn, bytes->data + bytes->size, bytes->capacity - bytes->size);
  if (n == UV_EAGAIN)
    return false;
  if (n <= 0) {
    visitor_close(v, false);
    return false;
  }
  bytes->size += (uint32_t)n;
  int status = http_scan_run(&x->scan, bytes->data, bytes->size);
  if (status == HTTP_SCAN_MORE)
    return true;
  head_scanned(v, status, bytes->data, bytes->size);
  return false;
}

void visitor_read_head(struct visitor *v) {
  bool more = v->x ? true : read_first(v);
  while (more)
    more = read_more(v);
}

void visitor_head_late(struct visitor *v) {
  net_conn_pause(v->conn);
  visitor_enter(v, VISITOR_EXCHANGE);
  if (v->x->bytes)
    http_scan_rebase(&v->x->scan, v->x->bytes->data); /* they may have moved since they were scanned */
  know_visitor(v);
  exchange_refuse(v->x, PAGE_REQUEST_TIMEOUT, 0, "the request's head did not come in time");
}

/* ---- bodies ---- */
/* Told by the task: the exchange may not end inside its upstream's event. */
static bool body_at_fault(struct visitor *v, enum page_cause cause, const char *why) {
  v->refused = true;
  v->fault = cause;
  v->fault_why = why;
  visitor_defer(v);
  return false;
}

/* Only silence counts while an answer is still owed; who waits for 100 Continue is silent for a reason. */
static void wait_for_body(struct visitor *v) {
  struct exchange *x = v->x;
  if (v->waiting || v->expecting || x->state != EXCHANGE_OPEN)
    return;
  v->waiting = true;
  v->wait_since_ms = net_loop_now_ms(visitor_loop(v));
  net_timer_start(&visitor_loop(v)->wheel, &v->timer, VISITOR_RATE_WINDOW_MS - v->waited_ms);
}

static void body_came(struct visitor *v, size_t size) {
  v->expecting = false;
  v->window_bytes += size;
  if (!v->waiting)
    return;
  v->waiting = false;
  net_timer_stop(&visitor_loop(v)->wheel, &v->timer);
  v->waited_ms += net_loop_now_ms(visitor_loop(v)) - v->wait_since_ms;
  if (v->waited_ms >= VISITOR_RATE_WINDOW_MS)
    v->waited_ms = VISITOR_RATE_WINDOW_MS - 1; /* judged when it waits again */
}

void visitor_rate_check(struct visitor *v) {
  v->waiting = false;
  if (v->window_bytes < VISITOR_RATE_BYTES && v->x->state == EXCHANGE_OPEN) {
    exchange_refuse(v->x, PAGE_REQUEST_TIMEOUT, 0, "the request's body came too slowly");
    return;
  }
  v->waited_ms = v->window_bytes = 0;
  wait_for_body(v);
}

/* Nothing more is read until the answer is over. */
static void body_done(struct visitor *v) {
  net_conn_pause(v->conn);
  if (v->fin_seen)
    visitor_defer(v);
}

/* The connection gave nothing: wait, or it has ended. */
static bool no_bytes(struct visitor *v, ssize_t n) {
  if (n == UV_EAGAIN)
    wait_for_body(v);
  else
    visitor_break(v, n != UV_EOF); /* in the middle of a body even a FIN is the end */
  return false;
}

/* LENGTH: from the socket straight into the frame. */
static bool pull_length(struct visitor *v, size_t room) {
  struct exchange *x = v->x;
  size_t capacity;
  uint8_t *place = x->upstream->ops->reserve(x->upstream, &capacity);
  if (!place) { /* there was room, so it is memory that is missing */
    visitor_break(v, true);
    return false;
  }
  if (capacity > room)
    capacity = room;
  if (capacity > v->body.left)
    capacity = (size_t)v->body.left;
  ssize_t n = net_conn_read(v->conn, place, capacity);
  if (n <= 0) {
    x->upstream->ops->commit(x->upstream, 0, false);
    return no_bytes(v, n);
  }
  body_came(v, (size_t)n);
  http_body_pass(&v->body, (size_t)n);
  bool last = http_body_ended(&v->body);
  x->upstream->ops->commit(x->upstream, (size_t)n, last);
  exchange_passed(x, (size_t)n, last);
  if (last)
    body_done(v);
  return !last;
}

/* Scans trailers out of data; *used: bytes that belong to them. HTTP_SCAN_MORE, DONE or a status. */
static int scan_trailers(struct visitor *v, const uint8_t *data, size_t size, size_t *used) {
  struct http_pool *pool = &v->set->side.pool;
  const struct server_limits *limits = &v->x->config->limits;
  *used = 0;
  if (!v->trailers) {
    const struct http_scan_limits scan = {.bytes = limits->trailer_bytes, .fields = limits->head_fields};
    v->trailers = http_scan_take(pool);
    if (!v->trailers)
      return 500;
    http_scan_init(v->trailers, HTTP_SCAN_TRAILERS, &scan);
  }
  size_t before = v->trailer_bytes ? v->trailer_bytes->size : 0, limit = (size_t)limits->trailer_bytes + 1;
  size_t take = before + size > limit ? limit - before : size;
  if (http_buffer_append(pool, &v->trailer_bytes, data, take) != 0)
    return 500;
  int status = http_scan_run(v->trailers, v->trailer_bytes->data, v->trailer_bytes->size);
  *used = status == HTTP_SCAN_DONE ? v->trailers->size - before : take;
  return status;
}

/* What only hooks or the service's owner may set is no visitor's, in trailers as little as in the head. */
static bool trailer_is_theirs(struct exchange *x, struct mdm_text name) {
  const struct net_service_options *options = exchange_options(x);
  for (size_t i = 0; i < x->config->auth_fields_count; i++)
    if (http_name_same(name, x->config->auth_fields[i]))
      return true;
  for (size_t i = 0; options && i < options->headers_count; i++)
    if (http_name_same(name, options->headers[i].name))
      return true;
  return false;
}

static void trailers_scanned(struct visitor *v) {
  struct http_scan *scan = v->trailers;
  http_trailers_judge(scan);
  for (size_t i = 0; i < scan->head.fields_count; i++)
    if (trailer_is_theirs(v->x, scan->fields[i].name))
      scan->kinds[i] = HTTP_NOMINATED;
}

void visitor_read_clean(struct visitor *v) {
  http_scan_give(&v->set->side.pool, &v->trailers);
  http_buffer_give(&v->set->side.pool, &v->trailer_bytes);
}

/* CHUNKED: taken apart in place, the pieces pushed together, so that they leave as one chunk. */
static bool pull_chunked(struct visitor *v, size_t room) {
  struct exchange *x = v->x;
  uint8_t *data = visitor_loop(v)->scratch;
  size_t want = room < 64 ? 64 : room > NET_SCRATCH_SIZE ? NET_SCRATCH_SIZE : room - HTTP_CHUNK_LINE_MAX;
  ssize_t n = net_conn_read(v->conn, data, want);
  if (n <= 0)
    return no_bytes(v, n);
  body_came(v, (size_t)n);
  size_t size = (size_t)n, at = 0, kept = 0;
  bool last = false, more = true;
  int trailers = HTTP_SCAN_MORE;
  while (more && at < size) {
    struct mdm_slice piece;
    size_t used = 0;
    enum http_body_step step = v->trailers ? HTTP_BODY_TRAILERS : http_body_next(&v->body, data + at, size - at, &used, &piece);
    at += used;
    switch (step) {
    case HTTP_BODY_DATA:
      memmove(data + kept, piece.data, piece.size);
      kept += piece.size;
      break;
    case HTTP_BODY_MORE:
      break;
    case HTTP_BODY_END:
      last = true;
      more = false;
      break;
    case HTTP_BODY_TRAILERS:
      trailers = scan_trailers(v, data + at, size - at, &used);
      at += used;
      if (trailers == HTTP_SCAN_DONE) {
        trailers_scanned(v);
        http_body_trailers_done(&v->body);
        last = true;
      }
      more = trailers == HTTP_SCAN_MORE;
      break;
    case HTTP_BODY_BAD:
      return body_at_fault(v, PAGE_BAD_REQUEST, "the request's chunks are malformed");
    }
  }
  last = last || http_body_ended(&v->body);
  if (!last && trailers != HTTP_SCAN_MORE)
    return body_at_fault(v, trailers == 431 ? PAGE_HEAD_TOO_LARGE : PAGE_BAD_REQUEST, "the request's trailers are malformed or too large");
  if (x->body_limit && x->report.request_bytes + kept > x->body_limit)
    return body_at_fault(v, PAGE_BODY_TOO_LARGE, "the request's body is over the limit");
  if (last && at < size && net_conn_unread(v->conn, data + at, size - at) != 0) {
    visitor_break(v, true);
    return false;
  }
  x->upstream->ops->write(x->upstream, data, kept, last, v->trailers);
  if (v->x != x || !x->upstream)
    return false;
  exchange_passed(x, kept, last);
  if (last) {
    visitor_read_clean(v);
    body_done(v);
  }
  return !last;
}

/* After the 101: a pipe. */
static bool pull_raw(struct visitor *v, size_t room) {
  struct exchange *x = v->x;
  size_t capacity;
  if (v->raw_in_done)
    return false;
  uint8_t *place = x->upstream->ops->reserve(x->upstream, &capacity);
  if (!place) {
    visitor_break(v, true);
    return false;
  }
  ssize_t n = net_conn_read(v->conn, place, capacity < room ? capacity : room);
  x->upstream->ops->commit(x->upstream, n > 0 ? (size_t)n : 0, false);
  if (n > 0) {
    exchange_passed(x, (size_t)n, false);
    return true;
  }
  if (n == UV_EOF) {
    v->raw_in_done = v->eof = true;
    exchange_finish(x);
    visitor_defer(v);
  } else if (n != UV_EAGAIN) {
    visitor_break(v, true);
  }
  return false;
}

bool visitor_pull(struct exchange *x, size_t room) {
  struct visitor *v = x->visitor;
  bool more;
  if (v->broken || v->refused || v->state != VISITOR_EXCHANGE || (x->body_done && !v->raw))
    return false;
  net_conn_resume(v->conn);
  if (v->raw)
    more = pull_raw(v, room);
  else
    more = x->request.framing == HTTP_FRAMING_LENGTH ? pull_length(v, room) : pull_chunked(v, room);
  if (more)
    net_conn_pause(v->conn); /* until the next turn, which may be long in coming: only its hang-up is of interest */
  return more;
}

/* ---- the end ---- */
void visitor_look_ahead(struct visitor *v) {
  uint8_t *data = visitor_loop(v)->scratch;
  ssize_t n = net_conn_read(v->conn, data, VISITOR_READ_SIZE);
  if (n > 0) {
    if (net_conn_unread(v->conn, data, (size_t)n) != 0) /* another request waits behind this one */
      visitor_close(v, true);
  } else if (n == UV_EOF) {
    v->eof = true;
    exchange_finish(v->x);
  } else if (n != UV_EAGAIN) {
    visitor_close(v, true);
  }
}

void visitor_discard(struct visitor *v) {
  for (;;) {
    ssize_t n = v->eof ? UV_EOF : net_conn_read(v->conn, visitor_loop(v)->scratch, NET_SCRATCH_SIZE);
    if (n == UV_EAGAIN)
      return;
    if (n == UV_EOF) {
      v->eof = true;
      net_conn_pause(v->conn);
      if (v->shut && net_conn_flushed(v->conn))
        visitor_close(v, false); /* both halves are over */
      return;
    }
    if (n > 0)
      v->drained += (size_t)n;
    if (n < 0 || v->drained > VISITOR_LINGER_BYTES) {
      visitor_close(v, true);
      return;
    }
  }
}
