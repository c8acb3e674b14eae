/* upstream_stream.c: one mux stream as an HTTP/1.1 connection to a service: its life, and a head and a body sent by the scheduler's turns. What the
 * visitor does not take of the answer (upstream_answer.c) stays, unconsumed, in the mux, and is taken apart again. */
#include "upstream_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "log.h"
#include "loop.h"

#define LINGER_MS 5000u          /* an origin that said it would close is given so long to do it */

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
void upstream_say(const struct upstream_stream *u, const char *sentence) {
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
    upstream_say(u, loss->why);
  if (kept)
    events->gone(owner, &u->base);
  else
    events->lost(owner, loss);
}

void upstream_fail(struct upstream_stream *u, enum upstream_fault fault, const char *why) {
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
  upstream_fail(u, UPSTREAM_MEMORY, "out of memory");
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

/* ---- from the origin: upstream_answer.c takes it apart ---- */
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
        upstream_answer_ended(u);
        upstream_tell_end(u);
      }
      return;
    }
    upstream_fail(u, UPSTREAM_EOF, "the connection ended in the middle of the answer");
    return;
  case ANSWER_HEAD:
    upstream_fail(u, UPSTREAM_EOF, u->answered ? "the connection ended in the middle of the answer's head" : "the connection ended without an answer");
    return;
  case ANSWER_TRAILERS:
    upstream_fail(u, UPSTREAM_EOF, "the connection ended in the middle of the trailers");
    return;
  case ANSWER_IDLE:
    upstream_fail(u, UPSTREAM_EOF, "the connection ended");
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
    .data = upstream_data,
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
