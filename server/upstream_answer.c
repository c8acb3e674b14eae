/* upstream_answer.c: what a service sends, taken apart where it lies: heads, bodies, trailers, raw bytes. */
#include "upstream_private.h"

#include <assert.h>

#define PIECES_MAX 40u           /* slices handed on at once: leaves room for framing within one system call's 64 */
#define INFORMATIONAL_MAX 16u    /* 1xx answers to one request */

/* ---- heads and trailers ---- */
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
    upstream_fail(u, UPSTREAM_MEMORY, "out of memory");
  else if (status == 431)
    upstream_fail(u, UPSTREAM_TOO_LARGE, "the answer's head is over the limit");
  else
    upstream_fail(u, UPSTREAM_NONSENSE, u->answer == ANSWER_TRAILERS ? "the answer's trailers are malformed" : "the answer's head is malformed");
}

static void head_done(struct upstream_stream *u) {
  struct http_answer answer;
  const char *why = "";
  if (http_answer_judge(&answer, u->scan, u->to_head, &why) != 0) {
    upstream_fail(u, UPSTREAM_NONSENSE, why);
    return;
  }
  int status = u->scan->head.status;
  if (status < 200 && status != 101 && ++u->informational > INFORMATIONAL_MAX) {
    upstream_fail(u, UPSTREAM_NONSENSE, "too many informational answers");
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

void upstream_answer_ended(struct upstream_stream *u) {
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
      upstream_answer_ended(u);
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
    upstream_answer_ended(u);
  else if (batch.stop == HTTP_BODY_TRAILERS)
    u->answer = ANSWER_TRAILERS;
  else if (batch.stop == HTTP_BODY_BAD)
    upstream_fail(u, UPSTREAM_NONSENSE, "the answer's chunks are malformed");
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
    upstream_say(u, "the origin sent bytes behind the answer");
    u->tainted = true;
    cursor_pass(c, rest.size);
    return true;
  }
  return false;
}

void upstream_tell_end(struct upstream_stream *u) {
  if (u->detached)
    return;
  if (u->ended) {
    u->ended = false;
    u->base.events->end(u->base.owner);
  } else if (u->answer != ANSWER_IDLE) {
    u->base.events->flush(u->base.owner);
  }
}

size_t upstream_data(mdm_stream *stream, const struct mdm_slice *slices, size_t count) {
  struct upstream_stream *u = mdm_stream_user(stream);
  struct cursor c = {.slices = slices, .count = count};
  while (c.index < c.count && c.slices[c.index].size == 0)
    c.index++;
  if (!u->detached && u->answer == ANSWER_IDLE) {
    upstream_fail(u, UPSTREAM_NONSENSE, "bytes between two answers");
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
  upstream_tell_end(u);
  return consumed;
}
