/* visitor_write.c: answers on their way out: heads serialised, bodies framed anew around the slices that the upstream hands over. The connection
 * is written straight from those; only framing that it did not take is kept here, never a body. */
#include <stdlib.h>
#include <string.h>

#include "visitor_private.h"

#define SMALL_BODY 2048u

/* ---- heads ---- */
static void write_answer(struct http_out *out, const void *arg) {
  http_write_answer(out, arg);
}

/* How the visitor gets a body that the origin framed this way. */
static enum http_framing framing_for(enum http_framing origin, uint8_t minor) {
  switch (origin) {
  case HTTP_FRAMING_NONE: case HTTP_FRAMING_LENGTH:
    return origin;
  case HTTP_FRAMING_CHUNKED: case HTTP_FRAMING_CLOSE:
    return minor ? HTTP_FRAMING_CHUNKED : HTTP_FRAMING_CLOSE;
  }
  return HTTP_FRAMING_CLOSE;
}

void visitor_answer(struct exchange *x, struct http_scan *scan, const struct http_answer *answer) {
  struct visitor *v = x->visitor;
  int status = scan->head.status;
  uint8_t minor = x->scan.head.minor;
  struct http_answer_rewrite rewrite = {
      .scan = scan,
      .answer = answer,
      .options = exchange_options(x),
      .framing = framing_for(answer->framing, minor),
      .date = status >= 200 ? http_side_date(x->side) : NULL,
  };
  if (status == 101) {
    v->raw = true;
    v->keep_alive = false;
  } else if (status < 200) {
    if (status == 100)
      v->expecting = false;
  } else {
    bool unsure = v->expecting && !x->body_done && !x->body_begun; /* will the body come, or not? */
    v->keep_alive = x->request.keep_alive && !x->side->worker->draining && rewrite.framing != HTTP_FRAMING_CLOSE && !unsure;
    rewrite.close = !v->keep_alive;
    rewrite.keep_alive = v->keep_alive && minor == 0;
    v->framing = (uint8_t)rewrite.framing;
    v->chunk_left = 0;
    v->answered = true;
  }
  if (http_buffer_write(&x->side->pool, &v->out, write_answer, &rewrite) != 0)
    visitor_break(v, true);
}

/* ---- pieces ---- */
enum piece_kind { PIECE_OUT, PIECE_BODY, PIECE_MADE };
struct pieces {
  struct mdm_slice slices[VISITOR_PIECES_MAX + 8];
  uint8_t kinds[VISITOR_PIECES_MAX + 8];
  size_t count, size;
};
static void add_piece(struct pieces *p, enum piece_kind kind, const void *data, size_t size) {
  if (!size)
    return;
  p->slices[p->count] = (struct mdm_slice){.data = data, .size = size};
  p->kinds[p->count++] = (uint8_t)kind;
  p->size += size;
}
static void add_out(struct pieces *p, const struct visitor *v) {
  if (v->out)
    add_piece(p, PIECE_OUT, v->out->data + v->out->start, v->out->size - v->out->start);
}
/* Adds the next `size` body bytes of slices, from *index and *offset on. */
static void add_body(struct pieces *p, const struct mdm_slice *slices, size_t *index, size_t *offset, size_t size) {
  while (size) {
    size_t here = slices[*index].size - *offset;
    size_t take = size < here ? size : here;
    add_piece(p, PIECE_BODY, slices[*index].data + *offset, take);
    size -= take;
    *offset += take;
    if (*offset == slices[*index].size) {
      ++*index;
      *offset = 0;
    }
  }
}

/* Writes as much as the connection takes; sets `blocked` when that was not all. Returns the bytes taken. */
static size_t write_pieces(struct visitor *v, const struct pieces *p) {
  struct mdm_slice rest[VISITOR_PIECES_MAX + 8];
  size_t count = p->count, taken = 0;
  if (!count || v->broken || v->state == VISITOR_CLOSING)
    return 0;
  memcpy(rest, p->slices, count * sizeof *rest);
  struct mdm_slice *at = rest;
  for (;;) {
    ssize_t n = net_conn_write(v->conn, at, count);
    if (n == UV_EAGAIN) {
      v->blocked = true;
      return taken;
    }
    if (n < 0) {
      visitor_break(v, true);
      return taken;
    }
    taken += (size_t)n;
    if (taken == p->size)
      return taken;
    while ((size_t)n >= at->size) {
      n -= (ssize_t)at->size;
      at++;
      count--;
    }
    at->data += n;
    at->size -= (size_t)n;
  }
}

static void out_taken(struct visitor *v, size_t size) {
  v->out->start += (uint32_t)size;
  if (v->out->start == v->out->size)
    http_buffer_give(&v->set->side.pool, &v->out);
}

bool visitor_flush(struct visitor *v) {
  if (v->out && !v->blocked) {
    struct pieces p = {.count = 0};
    add_out(&p, v);
    size_t taken = write_pieces(v, &p);
    if (taken)
      out_taken(v, taken);
  }
  return !v->out;
}

void visitor_flush_front(struct exchange *x) {
  visitor_flush(x->visitor);
}

/* What of `made` framing was not taken follows in `out`. */
static void keep_made(struct visitor *v, const struct mdm_slice *slice, size_t taken) {
  if (taken < slice->size && http_buffer_append(&v->set->side.pool, &v->out, slice->data + taken, slice->size - taken) != 0)
    visitor_break(v, true);
}

/* ---- bodies ---- */
/* The plan of one chunked write. A chunk once announced is owed in full: `chunk_left` says how much. */
struct plan {
  size_t owed, fresh;   /* body bytes for the announced chunk, and for a new one */
  size_t line;          /* index of the new chunk's size line among the pieces; SIZE_MAX = none */
};

/* Goes over what was taken; returns the body bytes in it. */
static size_t settle_chunked(struct visitor *v, const struct pieces *p, size_t taken, const struct plan *plan, bool all_body) {
  size_t body = 0;
  for (size_t i = 0; i < p->count; i++) {
    size_t here = taken < p->slices[i].size ? taken : p->slices[i].size;
    taken -= here;
    switch ((enum piece_kind)p->kinds[i]) {
    case PIECE_OUT:
      if (here)
        out_taken(v, here);
      break;
    case PIECE_BODY:
      body += here;
      v->chunk_left -= here;
      break;
    case PIECE_MADE:
      if (i == plan->line && here)
        v->chunk_left = plan->fresh;
      if (here || all_body || (i != plan->line && body == plan->owed && plan->owed && !v->chunk_left))
        keep_made(v, &p->slices[i], here);
      break;
    }
    if (here < p->slices[i].size && !all_body)
      break;
  }
  return body;
}

static size_t body_chunked(struct visitor *v, const struct mdm_slice *slices, size_t count, bool last, const struct http_scan *trailers) {
  static const char crlf[] = "\r\n", end[] = "0\r\n\r\n";
  struct pieces p = {.count = 0};
  struct plan plan = {.line = SIZE_MAX};
  struct http_buffer *tail = NULL;
  char line[HTTP_CHUNK_LINE_MAX];
  size_t total = 0, index = 0, offset = 0;
  for (size_t i = 0; i < count; i++)
    total += slices[i].size;
  add_out(&p, v);
  plan.owed = total < v->chunk_left ? total : (size_t)v->chunk_left;
  plan.fresh = total - plan.owed;
  if (plan.owed) {
    add_body(&p, slices, &index, &offset, plan.owed);
    if (plan.owed == v->chunk_left)
      add_piece(&p, PIECE_MADE, crlf, 2);
  }
  if (plan.fresh) {
    plan.line = p.count;
    add_piece(&p, PIECE_MADE, line, http_chunk_line(line, plan.fresh, true));
    add_body(&p, slices, &index, &offset, plan.fresh);
    add_piece(&p, PIECE_MADE, crlf, 2);
  }
  if (last && trailers && trailers->head.fields_count) {
    if (http_buffer_append(&v->set->side.pool, &tail, "0\r\n", 3) != 0 ||
        http_buffer_room(&v->set->side.pool, &tail, trailers->size + 2u) != 0) {
      visitor_break(v, true);
      http_buffer_give(&v->set->side.pool, &tail);
      return 0;
    }
    struct http_out out = {.data = tail->data + tail->size, .capacity = tail->capacity - tail->size};
    http_write_trailers(&out, trailers);
    tail->size += (uint32_t)out.size;
    add_piece(&p, PIECE_MADE, tail->data, tail->size);
  } else if (last) {
    add_piece(&p, PIECE_MADE, end, 5);
  }
  size_t taken = v->blocked ? 0 : write_pieces(v, &p);
  /* Is every body byte among what was taken? Then framing behind it waits here, and the answer is ours to finish. */
  size_t before_last_body = 0, sum = 0;
  for (size_t i = 0; i < p.count; i++) {
    sum += p.slices[i].size;
    if (p.kinds[i] == PIECE_BODY)
      before_last_body = sum;
  }
  size_t body = settle_chunked(v, &p, taken, &plan, taken >= before_last_body);
  http_buffer_give(&v->set->side.pool, &tail);
  return body;
}

/* A small body rides in the buffer of its head: a copy costs less than a gathered write. */
static bool copy_small(struct visitor *v, const struct mdm_slice *slices, size_t count, size_t total) {
  if (!v->out || v->blocked || total > SMALL_BODY || total > v->out->capacity - v->out->size)
    return false;
  for (size_t i = 0; i < count; i++) {
    memcpy(v->out->data + v->out->size, slices[i].data, slices[i].size);
    v->out->size += (uint32_t)slices[i].size;
  }
  visitor_flush(v);
  return true;
}

static size_t body_plain(struct visitor *v, const struct mdm_slice *slices, size_t count) {
  struct pieces p = {.count = 0};
  size_t total = 0;
  for (size_t i = 0; i < count; i++)
    total += slices[i].size;
  if (copy_small(v, slices, count, total))
    return total;
  add_out(&p, v);
  size_t out = p.size;
  for (size_t i = 0; i < count; i++)
    add_piece(&p, PIECE_BODY, slices[i].data, slices[i].size);
  size_t taken = v->blocked ? 0 : write_pieces(v, &p);
  size_t head = taken < out ? taken : out;
  if (head)
    out_taken(v, head);
  return taken - head;
}

size_t visitor_body(struct exchange *x, const struct mdm_slice *slices, size_t count, bool last, const struct http_scan *trailers) {
  struct visitor *v = x->visitor;
  if (v->broken || (v->blocked && count))
    return 0;
  return v->framing == HTTP_FRAMING_CHUNKED ? body_chunked(v, slices, count, last, trailers) : body_plain(v, slices, count);
}

size_t visitor_raw(struct exchange *x, const struct mdm_slice *slices, size_t count) {
  struct visitor *v = x->visitor;
  return v->broken || v->blocked ? 0 : body_plain(v, slices, count);
}

void visitor_shut(struct visitor *v) {
  if (v->shut || !visitor_flush(v) || v->broken)
    return;
  v->shut = true;
  if (net_conn_shutdown(v->conn) != 0)
    visitor_break(v, false);
}

void visitor_raw_fin(struct exchange *x) {
  struct visitor *v = x->visitor;
  v->raw_out_done = true;
  visitor_shut(v);
  visitor_defer(v);
}

/* ---- answers made here ---- */
void visitor_given(struct exchange *x, struct page_bytes *bytes, bool close) {
  struct visitor *v = x->visitor;
  v->keep_alive = !close;
  v->answered = true;
  v->framing = HTTP_FRAMING_NONE;
  int error = http_buffer_append(&x->side->pool, &v->out, bytes->data, bytes->size);
  page_bytes_clean(bytes);
  if (error)
    visitor_break(v, true);
  else
    visitor_flush(v);
}
