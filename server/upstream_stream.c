/* upstream_stream.c: one mux stream as an HTTP/1.1 connection to a service: sends a head and a body by the scheduler's turns, takes the answer apart where it
 * lies. What the visitor does not take stays, unconsumed, in the mux, and is taken apart again. */
#include "upstream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "log.h"
#include "loop.h"

#define PIECES_MAX 40u           /* slices handed on at once: leaves room for framing within one system call's 64 */
#define INFORMATIONAL_MAX 16u    /* 1xx answers to one request */
#define LINGER_MS 5000u          /* an origin that said it would close is given so long to do it */

enum request_state { REQUEST_NONE, REQUEST_BODY, REQUEST_RAW, REQUEST_DONE };
enum answer_state { ANSWER_IDLE, ANSWER_HEAD, ANSWER_BODY, ANSWER_TRAILERS, ANSWER_DONE, ANSWER_RAW };

struct upstream_stream {
  struct upstream base;
  struct http_pool *pool;
  struct net_loop *loop;
  struct agent *agent;           /* outlives the stream */
  mdm_stream *stream;            /* NULL once closed */
  struct upstream_limits limits;
  struct http_buffer *out;       /* request bytes that wait for credit */
  struct http_buffer *in;        /* an answer head or trailers, so far */
  struct http_scan *scan;        /* of `in` */
  struct http_body body;
  struct net_timer linger;
  enum request_state request;
  enum answer_state answer;
  enum http_framing request_framing, answer_framing;
  uint8_t informational;
  bool to_head, keep_alive, tainted, answered;
  bool finishing, fin_sent, fin_received;
  bool detached;                 /* the exchange is done with it: freed when the stream has closed */
  bool ended;                    /* end() is due */
};

static struct upstream_stream *self_of(struct upstream *upstream) {
  return (struct upstream_stream *)(void *)upstream;
}

static void stream_free_if_over(struct upstream_stream *u) {
  if (u->stream || !u->detached)
    return;
  net_timer_stop(&u->loop->wheel, &u->linger);
  http_buffer_give(u->pool, &u->out);
  http_buffer_give(u->pool, &u->in);
  http_scan_give(u->pool, &u->scan);
  free(u);
}

/* What no exchange is told, but whoever looks after the service should know. */
static void say(const struct upstream_stream *u, const char *sentence) {
  const struct net_log_actor actor = {.kind = "upstream", .id = u->stream ? mdm_stream_id(u->stream) : 0, .state = "KEPT"};
  net_log_write(u->loop->log, NET_LOG_INFO, &actor, "%s", sentence);
}

/* The exchange hears nothing more. */
static void detach(struct upstream_stream *u) {
  u->base.owner = NULL;
  u->base.events = NULL;
  u->detached = true;
}

/* Ends the stream; `closed` may come before this returns and free `u`. */
static void kill_stream(struct upstream_stream *u, enum mdm_reset code) {
  mdm_stream *stream = u->stream;
  detach(u);
  if (stream)
    mdm_stream_reset(stream, code, false);
  else
    stream_free_if_over(u);
}

static void tell_lost(struct upstream_stream *u, const struct upstream_loss *loss) {
  const struct upstream_events *events = u->base.events;
  void *owner = u->base.owner;
  bool kept = u->answer == ANSWER_IDLE && u->request == REQUEST_NONE;
  if (!owner)
    return;
  detach(u);
  if (kept && loss->fault == UPSTREAM_NONSENSE)
    say(u, loss->why);
  if (kept)
    events->gone(owner, &u->base);
  else
    events->lost(owner, loss);
}

/* The origin's (or our own) fault ends the stream. Only inside a callback of the stream: `u` lives until that has returned. */
static void fail(struct upstream_stream *u, enum upstream_fault fault, const char *why) {
  const struct upstream_loss loss = {.fault = fault, .silent = !u->answered, .why = why};
  mdm_stream *stream = u->stream;
  tell_lost(u, &loss);
  if (stream && u->stream)
    mdm_stream_reset(stream, fault == UPSTREAM_NONSENSE || fault == UPSTREAM_TOO_LARGE ? MDM_RESET_PROTOCOL : MDM_RESET_CANCEL, false);
}

/* ---- towards the origin ---- */
static void send_pending(struct upstream_stream *u) {
  struct http_buffer *out = u->out;
  if (!out)
    return;
  struct mdm_slice slice = {.data = (const uint8_t *)out->data + out->start, .size = out->size - out->start};
  out->start += (uint32_t)mdm_stream_write(u->stream, &slice, 1);
  if (out->start == out->size)
    http_buffer_give(u->pool, &u->out);
}

static bool stream_turn(mdm_stream *stream) {
  struct upstream_stream *u = mdm_stream_user(stream);
  bool more = false;
  send_pending(u);
  while (!u->out && u->base.owner && (u->request == REQUEST_BODY || u->request == REQUEST_RAW)) {
    size_t room = mdm_stream_allowance(stream);
    if (!room)
      return true;
    more = u->base.events->room(u->base.owner, room);
    if (!more || u->detached)
      break;
    send_pending(u);
  }
  if (u->detached)
    return false;
  if (u->out)
    return true;
  if (u->finishing && !u->fin_sent) {
    u->fin_sent = true;
    mdm_stream_finish(stream);
    return false;
  }
  return more && u->request != REQUEST_DONE;
}

static void up_start(struct upstream *upstream, struct http_buffer **head, enum http_framing body, bool to_head) {
  struct upstream_stream *u = self_of(upstream);
  assert(u->request == REQUEST_NONE && !u->out);
  u->out = *head;
  *head = NULL;
  u->request_framing = body;
  u->request = body == HTTP_FRAMING_NONE ? REQUEST_DONE : REQUEST_BODY;
  u->answer = ANSWER_HEAD;
  u->answered = false;
  u->ended = false;
  u->informational = 0;
  u->to_head = to_head;
  mdm_stream_ready(u->stream);
}

static void up_ready(struct upstream *upstream) {
  struct upstream_stream *u = self_of(upstream);
  if (u->stream && !u->fin_sent)
    mdm_stream_ready(u->stream);
}

static void up_write(struct upstream *upstream, const uint8_t *data, size_t size, bool last, const struct http_scan *trailers) {
  static const char crlf[] = "\r\n", end[] = "0\r\n\r\n";
  struct upstream_stream *u = self_of(upstream);
  char line[HTTP_CHUNK_LINE_MAX];
  struct http_buffer *tail = NULL;
  struct mdm_slice slices[4];
  size_t count = 0;
  bool chunked = u->request == REQUEST_BODY && u->request_framing == HTTP_FRAMING_CHUNKED;
  if (size && chunked)
    slices[count++] = (struct mdm_slice){.data = (const uint8_t *)line, .size = http_chunk_line(line, size, true)};
  if (size)
    slices[count++] = (struct mdm_slice){.data = data, .size = size};
  if (size && chunked)
    slices[count++] = (struct mdm_slice){.data = (const uint8_t *)crlf, .size = 2};
  if (last && chunked && trailers && trailers->head.fields_count) {
    if (http_buffer_append(u->pool, &tail, "0\r\n", 3) != 0 || http_buffer_room(u->pool, &tail, trailers->size + 2u) != 0)
      goto memory;
    struct http_out out = {.data = tail->data + tail->size, .capacity = tail->capacity - tail->size};
    http_write_trailers(&out, trailers);
    tail->size += (uint32_t)out.size;
    slices[count++] = (struct mdm_slice){.data = (const uint8_t *)tail->data, .size = tail->size};
  } else if (last && chunked) {
    slices[count++] = (struct mdm_slice){.data = (const uint8_t *)end, .size = 5};
  }
  size_t taken = count && !u->out ? mdm_stream_write(u->stream, slices, count) : 0;
  for (size_t i = 0; i < count; i++) {
    size_t skip = taken < slices[i].size ? taken : slices[i].size;
    taken -= skip;
    if (slices[i].size > skip && http_buffer_append(u->pool, &u->out, slices[i].data + skip, slices[i].size - skip) != 0)
      goto memory;
  }
  http_buffer_give(u->pool, &tail);
  if (last)
    u->request = REQUEST_DONE;
  return;

memory:
  http_buffer_give(u->pool, &tail);
  fail(u, UPSTREAM_MEMORY, "out of memory");
}

static uint8_t *up_reserve(struct upstream *upstream, size_t *capacity) {
  struct upstream_stream *u = self_of(upstream);
  return u->out ? NULL : mdm_stream_reserve(u->stream, capacity);
}

static void up_commit(struct upstream *upstream, size_t size, bool last) {
  struct upstream_stream *u = self_of(upstream);
  mdm_stream_commit(u->stream, size);
  if (last)
    u->request = REQUEST_DONE;
}

static void up_finish(struct upstream *upstream) {
  struct upstream_stream *u = self_of(upstream);
  u->finishing = true;
  if (u->request == REQUEST_RAW)
    u->request = REQUEST_DONE;
  if (u->stream && !u->fin_sent && !u->out) {
    u->fin_sent = true;
    mdm_stream_finish(u->stream);
  }
}

/* ---- from the origin ---- */
static int begin_scan(struct upstream_stream *u, enum http_scan_kind kind) {
  struct http_scan_limits limits = {.bytes = kind == HTTP_SCAN_ANSWER ? u->limits.head_bytes : u->limits.trailer_bytes,
                                    .fields = u->limits.head_fields};
  if (u->scan)
    return 0;
  u->scan = http_scan_take(u->pool);
  if (!u->scan)
    return -1;
  http_scan_init(u->scan, kind, &limits);
  return 0;
}

static void end_scan(struct upstream_stream *u) {
  http_scan_give(u->pool, &u->scan);
  http_buffer_give(u->pool, &u->in);
}

/* Scans on over new bytes; in place while nothing is buffered. *used: bytes of `data` that belong to the head. */
static int scan_on(struct upstream_stream *u, enum http_scan_kind kind, const uint8_t *data, size_t size, size_t *used) {
  *used = 0;
  if (begin_scan(u, kind) != 0)
    return 500;
  if (!u->in) {
    int status = http_scan_run(u->scan, (const char *)data, size);
    if (status == HTTP_SCAN_DONE)
      *used = u->scan->size;
    if (status != HTTP_SCAN_MORE)
      return status;
    *used = size;
    return http_buffer_append(u->pool, &u->in, data, size) == 0 ? HTTP_SCAN_MORE : 500;
  }
  size_t before = u->in->size, limit = (size_t)u->scan->limits.bytes + 1;
  size_t take = before + size > limit ? limit - before : size;
  if (http_buffer_append(u->pool, &u->in, data, take) != 0)
    return 500;
  int status = http_scan_run(u->scan, u->in->data, u->in->size);
  *used = status == HTTP_SCAN_DONE ? u->scan->size - before : take;
  return status;
}

static void fail_scan(struct upstream_stream *u, int status) {
  if (status == 500)
    fail(u, UPSTREAM_MEMORY, "out of memory");
  else if (status == 431)
    fail(u, UPSTREAM_TOO_LARGE, "the answer's head is over the limit");
  else
    fail(u, UPSTREAM_NONSENSE, u->answer == ANSWER_TRAILERS ? "the answer's trailers are malformed" : "the answer's head is malformed");
}

static void head_done(struct upstream_stream *u) {
  struct http_answer answer;
  const char *why = "";
  if (http_answer_judge(&answer, u->scan, u->to_head, &why) != 0) {
    fail(u, UPSTREAM_NONSENSE, why);
    return;
  }
  int status = u->scan->head.status;
  if (status < 200 && status != 101 && ++u->informational > INFORMATIONAL_MAX) {
    fail(u, UPSTREAM_NONSENSE, "too many informational answers");
    return;
  }
  if (status == 101) {
    u->answer = ANSWER_RAW;
  } else if (status >= 200) {
    u->answer = ANSWER_BODY;
    u->answer_framing = answer.framing;
    u->keep_alive = answer.keep_alive;
    u->tainted = answer.tainted;
    http_body_init(&u->body, answer.framing, answer.length, u->limits.chunk_extension_bytes);
  }
  u->base.events->head(u->base.owner, u->scan, &answer);
  if (u->detached)
    return;
  if (status == 101) {
    u->request = REQUEST_RAW;
    mdm_stream_set_stall_limit(u->stream, 0);
    mdm_stream_ready(u->stream);
  }
}

static size_t take_head(struct upstream_stream *u, const uint8_t *data, size_t size) {
  size_t used;
  u->answered = true;
  int status = scan_on(u, HTTP_SCAN_ANSWER, data, size, &used);
  if (status == HTTP_SCAN_MORE)
    return used;
  if (status != HTTP_SCAN_DONE)
    fail_scan(u, status);
  else
    head_done(u);
  end_scan(u);
  return used;
}

/* The whole answer has been taken by the visitor. */
static void answer_ended(struct upstream_stream *u) {
  u->answer = ANSWER_DONE;
  u->ended = true;
}

static size_t take_trailers(struct upstream_stream *u, const uint8_t *data, size_t size) {
  size_t used;
  int status = scan_on(u, HTTP_SCAN_TRAILERS, data, size, &used);
  if (status == HTTP_SCAN_MORE)
    return used;
  if (status != HTTP_SCAN_DONE) {
    fail_scan(u, status);
  } else {
    http_trailers_judge(u->scan);
    http_body_trailers_done(&u->body);
    u->base.events->body(u->base.owner, NULL, 0, true, u->scan);
    if (!u->detached)
      answer_ended(u);
  }
  end_scan(u);
  return used;
}

/* A place in the list of slices. */
struct cursor {
  const struct mdm_slice *slices;
  size_t count, index, offset, passed;
};
static struct mdm_slice cursor_rest(const struct cursor *c) {
  if (c->index == c->count)
    return (struct mdm_slice){0};
  return (struct mdm_slice){.data = c->slices[c->index].data + c->offset, .size = c->slices[c->index].size - c->offset};
}
static void cursor_pass(struct cursor *c, size_t size) {
  c->passed += size;
  c->offset += size;
  if (c->index < c->count && c->offset == c->slices[c->index].size) {
    c->index++;
    c->offset = 0;
  }
}

struct batch {
  struct mdm_slice pieces[PIECES_MAX];
  size_t count, size;
  enum http_body_step stop; /* why it stopped; MORE = no input or no place left */
};

/* Takes the framing off as much as there is and fits, but at most `limit` body bytes. */
static void unframe(struct http_body *body, struct cursor *c, size_t limit, struct batch *batch) {
  batch->count = batch->size = 0;
  for (;;) {
    struct http_body before = *body;
    struct mdm_slice rest = cursor_rest(c), piece;
    size_t used;
    batch->stop = http_body_next(body, rest.data, rest.size, &used, &piece);
    if (batch->stop == HTTP_BODY_DATA && piece.size > limit - batch->size) {
      rest.size = used - piece.size + (limit - batch->size);
      *body = before;
      batch->stop = http_body_next(body, rest.data, rest.size, &used, &piece);
    }
    cursor_pass(c, used);
    if (batch->stop == HTTP_BODY_DATA) {
      batch->pieces[batch->count++] = piece;
      batch->size += piece.size;
      batch->stop = HTTP_BODY_MORE;
      if (batch->count == PIECES_MAX)
        return;
    } else if (batch->stop != HTTP_BODY_MORE) {
      return;
    }
    if (batch->size == limit || (c->index == c->count && !http_body_ended(body)))
      return;
  }
}

/* False when the visitor took less than there was, or the exchange is over. */
static bool take_body(struct upstream_stream *u, struct cursor *c) {
  struct http_body before = u->body;
  struct cursor start = *c;
  struct batch batch;
  unframe(&u->body, c, SIZE_MAX, &batch);
  bool last = batch.stop == HTTP_BODY_END;
  if (batch.count || last) {
    size_t taken = u->base.events->body(u->base.owner, batch.pieces, batch.count, last, NULL);
    if (u->detached)
      return false;
    assert(taken <= batch.size);
    if (taken < batch.size) {
      *c = start;
      u->body = before;
      unframe(&u->body, c, taken, &batch);
      return false;
    }
  }
  if (last)
    answer_ended(u);
  else if (batch.stop == HTTP_BODY_TRAILERS)
    u->answer = ANSWER_TRAILERS;
  else if (batch.stop == HTTP_BODY_BAD)
    fail(u, UPSTREAM_NONSENSE, "the answer's chunks are malformed");
  return !u->detached;
}

static bool take_raw(struct upstream_stream *u, struct cursor *c) {
  struct mdm_slice pieces[PIECES_MAX] = {{0}};
  size_t count = 0, size = 0;
  struct cursor at = *c;
  while (at.index < at.count && count < PIECES_MAX) {
    pieces[count] = cursor_rest(&at);
    size += pieces[count].size;
    cursor_pass(&at, pieces[count++].size);
  }
  if (count == 0)
    return true;
  size_t taken = u->base.events->raw(u->base.owner, pieces, count);
  bool all = taken == size;
  while (taken) {
    size_t here = cursor_rest(c).size;
    size_t step = taken < here ? taken : here;
    cursor_pass(c, step);
    taken -= step;
  }
  return all && !u->detached;
}

/* One step over the bytes at the cursor; false = stop here. */
static bool take_step(struct upstream_stream *u, struct cursor *c) {
  struct mdm_slice rest = cursor_rest(c);
  switch (u->answer) {
  case ANSWER_HEAD:
    cursor_pass(c, take_head(u, rest.data, rest.size));
    return !u->detached;
  case ANSWER_TRAILERS:
    cursor_pass(c, take_trailers(u, rest.data, rest.size));
    return !u->detached;
  case ANSWER_BODY:
    return take_body(u, c);
  case ANSWER_RAW:
    return take_raw(u, c);
  case ANSWER_IDLE:  /* a byte that nobody asked for: the origin is confused */
  case ANSWER_DONE:
    say(u, "the origin sent bytes behind the answer");
    u->tainted = true;
    cursor_pass(c, rest.size);
    return true;
  }
  return false;
}

static void tell_end(struct upstream_stream *u) {
  if (u->detached)
    return;
  if (u->ended) {
    u->ended = false;
    u->base.events->end(u->base.owner);
  } else if (u->answer != ANSWER_IDLE) {
    u->base.events->flush(u->base.owner);
  }
}

static size_t stream_data(mdm_stream *stream, const struct mdm_slice *slices, size_t count) {
  struct upstream_stream *u = mdm_stream_user(stream);
  struct cursor c = {.slices = slices, .count = count};
  while (c.index < c.count && c.slices[c.index].size == 0)
    c.index++;
  if (!u->detached && u->answer == ANSWER_IDLE) {
    fail(u, UPSTREAM_NONSENSE, "bytes between two answers");
  }
  while (!u->detached && (c.index < c.count || (u->answer == ANSWER_BODY && http_body_ended(&u->body)))) {
    if (!take_step(u, &c))
      break;
  }
  size_t consumed = c.passed;
  if (u->detached) { /* whatever comes now is nobody's */
    for (; c.index < c.count; c.index++, c.offset = 0)
      consumed += c.slices[c.index].size - c.offset;
    return consumed;
  }
  tell_end(u);
  return consumed;
}

static void stream_fin(mdm_stream *stream) {
  struct upstream_stream *u = mdm_stream_user(stream);
  u->fin_received = true;
  if (u->detached)
    return;
  switch (u->answer) {
  case ANSWER_RAW:
    u->base.events->raw_fin(u->base.owner);
    return;
  case ANSWER_BODY:
    if (u->answer_framing == HTTP_FRAMING_CLOSE) {
      u->base.events->body(u->base.owner, NULL, 0, true, NULL);
      if (!u->detached) {
        answer_ended(u);
        tell_end(u);
      }
      return;
    }
    fail(u, UPSTREAM_EOF, "the connection ended in the middle of the answer");
    return;
  case ANSWER_HEAD:
    fail(u, UPSTREAM_EOF, u->answered ? "the connection ended in the middle of the answer's head" : "the connection ended without an answer");
    return;
  case ANSWER_TRAILERS:
    fail(u, UPSTREAM_EOF, "the connection ended in the middle of the trailers");
    return;
  case ANSWER_IDLE:
    fail(u, UPSTREAM_EOF, "the connection ended");
    return;
  case ANSWER_DONE:
    return;
  }
}

static void stream_opened(mdm_stream *stream) {
  struct upstream_stream *u = mdm_stream_user(stream);
  if (!u->detached && u->answer != ANSWER_IDLE)
    u->base.events->opened(u->base.owner);
}

static const char *reset_sentence(enum mdm_reset code) {
  switch (code) {
  case MDM_RESET_NONE: case MDM_RESET_CANCEL:
    return "the client gave the stream up";
  case MDM_RESET_REFUSED:
    return "the client refused the stream";
  case MDM_RESET_CONNECT:
    return "the local service could not be connected";
  case MDM_RESET_TIMEOUT:
    return "connecting to the local service took too long";
  case MDM_RESET_STALLED:
    return "the stream stalled";
  case MDM_RESET_CREDIT: case MDM_RESET_PROTOCOL:
    return "the stream broke the protocol";
  case MDM_RESET_LIMIT:
    return "the client has too many streams";
  case MDM_RESET_INTERNAL:
    return "the client failed";
  case MDM_RESET_BROKEN:
    return "the local service's connection was reset";
  case MDM_RESET_SHUTDOWN:
    return "the link to the client was lost";
  }
  return "the stream was reset";
}

static void stream_reset(mdm_stream *stream, enum mdm_reset code, bool not_delivered) {
  struct upstream_stream *u = mdm_stream_user(stream);
  const struct upstream_loss loss = {
      .fault = UPSTREAM_RESET, .code = code, .not_delivered = not_delivered, .silent = !u->answered, .why = reset_sentence(code)};
  tell_lost(u, &loss);
}

static void stream_closed(mdm_stream *stream) {
  struct upstream_stream *u = mdm_stream_user(stream);
  u->stream = NULL;
  stream_free_if_over(u);
}

static void up_drain(struct upstream *upstream) {
  struct upstream_stream *u = self_of(upstream);
  if (u->stream)
    mdm_stream_drain(u->stream);
}

static void up_reset(struct upstream *upstream, enum mdm_reset code) {
  kill_stream(self_of(upstream), code);
}

static void linger_over(struct net_timer *timer) {
  struct upstream_stream *u = (struct upstream_stream *)(void *)((char *)timer - offsetof(struct upstream_stream, linger));
  kill_stream(u, MDM_RESET_CANCEL);
}

/* Ends it cleanly, but not for ever. */
static void up_retire(struct upstream *upstream) {
  struct upstream_stream *u = self_of(upstream);
  mdm_stream *stream = u->stream;
  bool fin_sent = u->fin_sent;
  detach(u);
  u->fin_sent = true;
  if (!u->fin_received) {
    net_timer_start(&u->loop->wheel, &u->linger, LINGER_MS);
    mdm_stream_discard(stream);
  }
  if (!fin_sent)
    mdm_stream_finish(stream); /* may be its end, and that of `u` */
}

static bool up_release(struct upstream *upstream) {
  struct upstream_stream *u = self_of(upstream);
  bool whole = u->answer == ANSWER_DONE && u->request == REQUEST_DONE && !u->out && u->stream;
  if (whole && u->keep_alive && !u->tainted && !u->fin_received && !u->finishing && agent_stream_stays(u->agent, u->stream)) {
    mdm_stream_rest(u->stream);
    u->request = REQUEST_NONE;
    u->answer = ANSWER_IDLE;
    u->base.used = true;
    return true;
  }
  bool raw_over = u->answer == ANSWER_RAW && u->fin_received;
  if (!u->stream || u->tainted || !(whole || raw_over)) {
    kill_stream(u, MDM_RESET_CANCEL);
    return false;
  }
  up_retire(upstream); /* the origin has closed or said that it will, or the link drains */
  return false;
}

static const struct upstream_ops ops = {
    .start = up_start,
    .ready = up_ready,
    .write = up_write,
    .reserve = up_reserve,
    .commit = up_commit,
    .drain = up_drain,
    .finish = up_finish,
    .reset = up_reset,
    .release = up_release,
    .retire = up_retire,
};

static const struct mdm_stream_ops stream_ops = {
    .data = stream_data,
    .fin = stream_fin,
    .turn = stream_turn,
    .opened = stream_opened,
    .reset = stream_reset,
    .closed = stream_closed,
};

int upstream_stream_open(struct upstream **out, const struct upstream_options *options, const struct upstream_key *key,
                         const struct upstream_events *events, void *owner) {
  *out = NULL;
  struct upstream_stream *u = calloc(1, sizeof *u);
  if (!u)
    return MDM_MUX_ENOMEM;
  *u = (struct upstream_stream){
      .base = {.ops = &ops, .events = events, .owner = owner, .key = *key},
      .pool = options->pool,
      .loop = options->loop,
      .agent = options->agent,
      .limits = options->limits,
      .linger = {.fire = linger_over},
  };
  int error = agent_stream_open(options->agent, key->service, options->kind, &key->visitor,
                                key->https ? MDM_SCHEME_HTTPS : MDM_SCHEME_HTTP, &stream_ops, u, &u->stream);
  if (error) {
    free(u);
    return error;
  }
  mdm_stream_set_stall_limit(u->stream, options->limits.stall_s);
  *out = &u->base;
  return 0;
}
