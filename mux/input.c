/* input.c: bytes of the carrier, in any split, into frames; each frame to the one who knows it.
 *
 * DATA is never gathered: its pieces go on as they come, those of one feed for one stream in one call. Every other
 * frame is read where it lies, or from one block when it spans feeds. */
#include "session.h"

#include <assert.h>
#include <string.h>

#define COST_PING    256u /* flood account: 256 at once, 40 a second for ever */
#define COST_MESSAGE 64u  /* a whole message makes its reader parse JSON */

static void fail(mdm_mux *mux, const char *sentence) {
  mux_fail(mux, MDM_MUX_EPROTOCOL, MDM_GOAWAY_PROTOCOL, sentence);
}

/* ---- DATA ---- */
void batch_flush(mdm_mux *mux) {
  struct batch *batch = &mux->batch;
  mdm_stream *stream = batch->stream;
  if (!stream)
    return;
  stream_enter(stream);
  if (batch->size > 0)
    flow_deliver(stream, batch->slices, batch->count, batch->size);
  bool blocked = batch->blocked;
  batch->stream = NULL;
  batch->count = batch->size = 0;
  batch->blocked = false;
  if (blocked)
    flow_grow(stream);
  flow_grant(stream);
  stream_receive_fin(stream);
  stream_leave(stream);
}

static void batch_begin(mdm_mux *mux, mdm_stream *stream) {
  if (mux->batch.stream == stream)
    return;
  batch_flush(mux);
  if (stream->dead) /* by a callback: the caller holds it */
    return;
  mux->batch.stream = stream;
  mux->batch.count = mux->batch.size = 0;
  mux->batch.blocked = false;
}

static void batch_add(mdm_mux *mux, const uint8_t *data, size_t size) {
  struct batch *batch = &mux->batch;
  if (batch->count == BATCH_SLICES) {
    mdm_stream *stream = batch->stream;
    stream_enter(stream);
    batch_flush(mux);
    batch_begin(mux, stream);
    stream_leave(stream);
    if (!batch->stream)
      return;
  }
  batch->slices[batch->count++] = (struct mdm_slice){data, size};
  batch->size += size;
  batch->stream->recv_credit -= (uint32_t)size;
}

static void drop_data(mdm_mux *mux, size_t size) {
  mux->stats.dropped_bytes += size;
  mux->late_credit -= (int64_t)size;
  if (mux->late_credit < 0)
    fail(mux, "DATA beyond all credit");
}

/* The stream of a frame; NULL when it is gone (a late frame) or the session has failed. */
static mdm_stream *find(mdm_mux *mux, uint32_t id) {
  mdm_stream *stream = map_get(&mux->map, id);
  if (stream)
    return stream;
  bool own = (id & 1) == (mux->config.role == MDM_ROLE_SERVER ? 1 : 0);
  if (id == 0 || id > FRAME_ID_MAX || (own ? id >= mux->next_id : id > mux->last_peer_id))
    fail(mux, "a frame for a stream that was never opened");
  return NULL;
}

static void begin_data(mdm_mux *mux, const struct frame *frame) {
  struct input *input = &mux->input;
  mdm_stream *stream = mux->batch.stream;
  if (!stream || stream->id != frame->stream)
    stream = find(mux, frame->stream);
  if (mux->failed)
    return;
  if (stream && (stream->fin_received || (stream->local && !stream->answered))) {
    stream_kill(stream, MDM_RESET_PROTOCOL, false, true, true);
    stream = NULL;
  } else if (stream && frame->length > stream->recv_credit) {
    mux->late_credit += frame->length - stream->recv_credit; /* one such frame costs only its stream */
    stream_kill(stream, MDM_RESET_CREDIT, false, true, true);
    stream = NULL;
  }
  input->step = INPUT_DATA;
  input->stream = stream;
  if (frame->length == 0 && !(frame->flags & FRAME_FLAG_FIN))
    flood_charge(mux, 1);
  if (stream && stream->refund) {
    stream->refund = false;
    flood_refund(mux, 1);
  }
}

static void data_piece(mdm_mux *mux, const uint8_t *data, size_t size) {
  mdm_stream *stream = mux->input.stream;
  if (stream) {
    stream_enter(stream);
    batch_begin(mux, stream);
    stream_leave(stream);
  }
  if (mux->failed)
    return;
  if (mux->input.stream)
    batch_add(mux, data, size);
  else
    drop_data(mux, size);
}

static void end_data(mdm_mux *mux) {
  struct input *input = &mux->input;
  mdm_stream *stream = input->stream;
  if (!stream)
    return;
  input->stream = NULL;
  if (input->frame.flags & FRAME_FLAG_FIN)
    stream->fin_received = true;
  if (mux->batch.stream == stream) {
    if (input->frame.flags & FRAME_FLAG_BLOCKED)
      mux->batch.blocked = true;
    return;
  }
  stream_enter(stream);
  if (input->frame.flags & FRAME_FLAG_BLOCKED)
    flow_grow(stream);
  stream_receive_fin(stream);
  stream_leave(stream);
}

/* ---- everything else ---- */
static enum mdm_reset known_reset(uint16_t code) {
  return code > MDM_RESET_NONE && code <= MDM_RESET_SHUTDOWN ? (enum mdm_reset)code : MDM_RESET_INTERNAL;
}

static void receive_stream_frame(mdm_mux *mux, const struct frame *frame, const uint8_t *payload) {
  if (frame->length != (frame->type == FRAME_RESET ? 2 : 4)) {
    fail(mux, "a stream frame of the wrong length");
    return;
  }
  if (!flood_charge(mux, 1))
    return;
  if (frame->type != FRAME_WINDOW)
    batch_flush(mux); /* what came before it is delivered before it */
  if (mux->failed)
    return;
  mdm_stream *stream = find(mux, frame->stream);
  if (!stream)
    return;
  if (frame->type == FRAME_WINDOW)
    stream_receive_credit(stream, get_u32(payload));
  else if (frame->type == FRAME_OPEN_OK)
    stream_receive_opened(stream, get_u32(payload));
  else
    stream_kill(stream, known_reset(get_u16(payload)), frame->flags & FRAME_FLAG_NOT_DELIVERED, false, true);
}

static void receive_session_frame(mdm_mux *mux, const struct frame *frame, const uint8_t *payload) {
  if (!flood_charge(mux, COST_PING))
    return;
  if (frame->type == FRAME_GOAWAY) {
    batch_flush(mux);
    if (!mux->failed)
      link_receive_goaway(mux, payload, frame->length);
  } else if (frame->length != FRAME_PING_SIZE) {
    fail(mux, "a PING or PONG of the wrong length");
  } else if (frame->type == FRAME_PING) {
    link_receive_ping(mux, payload);
  } else {
    link_receive_pong(mux, payload);
  }
}

static void receive(mdm_mux *mux, const struct frame *frame, const uint8_t *payload) {
  switch ((unsigned)frame->type) {
  case MDM_MSG_HELLO:
  case MDM_MSG_CHALLENGE:
  case MDM_MSG_AUTH:
  case MDM_MSG_READY:
  case MDM_MSG_SERVICES:
  case MDM_MSG_SERVICES_OK:
    batch_flush(mux);
    if (!mux->failed && flood_charge(mux, frame->flags & FRAME_FLAG_MORE ? 1 : COST_MESSAGE))
      message_receive(mux, payload, frame->length);
    break;
  case FRAME_OPEN:
    batch_flush(mux);
    if (!mux->failed)
      stream_receive_open(mux, frame->stream, payload, frame->length);
    break;
  case FRAME_OPEN_OK:
  case FRAME_WINDOW:
  case FRAME_RESET:
    receive_stream_frame(mux, frame, payload);
    break;
  case FRAME_PING:
  case FRAME_PONG:
  case FRAME_GOAWAY:
    receive_session_frame(mux, frame, payload);
    break;
  }
}

/* ---- the byte machine ---- */
enum frame_scope { SCOPE_UNKNOWN, SCOPE_SESSION, SCOPE_STREAM };

static enum frame_scope scope_of(uint8_t type) {
  if (type >= FRAME_OPEN && type <= FRAME_RESET)
    return SCOPE_STREAM;
  if ((type >= MDM_MSG_HELLO && type <= MDM_MSG_SERVICES_OK) || (type >= FRAME_PING && type <= FRAME_GOAWAY))
    return SCOPE_SESSION;
  return SCOPE_UNKNOWN;
}

static void begin_frame(mdm_mux *mux, const uint8_t *header) {
  struct input *input = &mux->input;
  struct frame frame = frame_unpack(header);
  enum frame_scope scope = scope_of(frame.type);

  input->frame = frame;
  input->remaining = frame.length;
  input->have = 0;
  mux->stats.frames_in++;
  if (frame.length > MDM_FRAME_PAYLOAD_MAX) {
    fail(mux, "a frame over its limit");
  } else if (scope == SCOPE_UNKNOWN && frame.type < FRAME_SKIPPABLE) {
    fail(mux, "an unknown frame");
  } else if (scope == SCOPE_UNKNOWN) {
    input->step = INPUT_SKIP;
    flood_charge(mux, 1);
  } else if (input->message_type && frame.type != input->message_type) {
    fail(mux, "a message broken off by another frame");
  } else if (scope == SCOPE_SESSION && frame.stream != 0) {
    fail(mux, "a session frame with a stream id");
  } else if (scope == SCOPE_STREAM && !mux->started) {
    fail(mux, "a stream before the handshake is over");
  } else if (frame.type == FRAME_DATA) {
    begin_data(mux, &frame);
  } else {
    input->step = INPUT_PAYLOAD;
  }
}

static void end_frame(mdm_mux *mux, const uint8_t *payload) {
  struct input *input = &mux->input;
  enum input_step step = input->step;
  input->step = INPUT_HEADER;
  input->have = 0;
  if (step == INPUT_DATA)
    end_data(mux);
  else if (step == INPUT_PAYLOAD)
    receive(mux, &input->frame, payload);
}

/* Gathers `want` bytes into `into`; returns how many of `size` it took. */
static size_t gather(struct input *input, uint8_t *into, size_t want, const uint8_t *data, size_t size) {
  size_t n = want - input->have < size ? want - input->have : size;
  memcpy(into + input->have, data, n);
  input->have += (uint32_t)n;
  return n;
}

static size_t take_magic(mdm_mux *mux, const uint8_t *data, size_t size) {
  struct input *input = &mux->input;
  size_t n = gather(input, input->header, FRAME_MAGIC_SIZE, data, size);
  if (memcmp(input->header, MDM_MAGIC, input->have) != 0)
    fail(mux, "the peer does not speak this protocol");
  else if (input->have == FRAME_MAGIC_SIZE) {
    input->step = INPUT_HEADER;
    input->have = 0;
  }
  return n;
}

static size_t take_header(mdm_mux *mux, const uint8_t *data, size_t size) {
  struct input *input = &mux->input;
  size_t n = MDM_FRAME_HEADER;
  if (input->have == 0 && size >= n) {
    begin_frame(mux, data);
  } else {
    n = gather(input, input->header, MDM_FRAME_HEADER, data, size);
    if (input->have < MDM_FRAME_HEADER)
      return n;
    begin_frame(mux, input->header);
  }
  if (!mux->failed && input->remaining == 0)
    end_frame(mux, NULL);
  return n;
}

static size_t take_payload(mdm_mux *mux, const uint8_t *data, size_t size) {
  struct input *input = &mux->input;
  if (!input->payload) {
    if (size >= input->remaining) {
      end_frame(mux, data);
      return input->frame.length;
    }
    input->payload = pool_block_take(mux->pool);
    if (!input->payload) {
      mux_fail(mux, MDM_MUX_ENOMEM, MDM_GOAWAY_INTERNAL, "out of memory for a frame");
      return 0;
    }
  }
  size_t n = gather(input, input->payload->data, input->remaining, data, size);
  if (input->have == input->remaining) {
    struct block *payload = input->payload;
    input->payload = NULL;
    end_frame(mux, payload->data);
    pool_block_give(mux->pool, payload);
  }
  return n;
}

static size_t take_body(mdm_mux *mux, const uint8_t *data, size_t size) {
  struct input *input = &mux->input;
  size_t n = input->remaining < size ? input->remaining : size;
  if (input->step == INPUT_DATA)
    data_piece(mux, data, n);
  input->remaining -= (uint32_t)n;
  if (!mux->failed && input->remaining == 0)
    end_frame(mux, NULL);
  return n;
}

static size_t take(mdm_mux *mux, const uint8_t *data, size_t size) {
  switch (mux->input.step) {
  case INPUT_MAGIC:
    return take_magic(mux, data, size);
  case INPUT_HEADER:
    return take_header(mux, data, size);
  case INPUT_PAYLOAD:
    return take_payload(mux, data, size);
  case INPUT_DATA:
  case INPUT_SKIP:
    return take_body(mux, data, size);
  }
  return size;
}

/* Input rate over windows of at least RECEIVE_WINDOW_US; the better of the last two counts, as a window may hold a
 * pause. */
static void measure_rate(mdm_mux *mux, size_t size) {
  uint64_t passed = mux->now_us - mux->receive_since_us;
  mux->receive_bytes += size;
  if (passed < RECEIVE_WINDOW_US)
    return;
  uint64_t rate = mux->receive_bytes * 1000000u / passed;
  mux->receive_rate = rate > mux->receive_last ? rate : mux->receive_last;
  mux->receive_last = rate;
  mux->receive_bytes = 0;
  mux->receive_since_us = mux->now_us;
}

int mdm_mux_feed(mdm_mux *mux, const uint8_t *data, size_t size) {
  assert(!mux->feeding);
  if (mux->failed)
    return MDM_MUX_ECLOSED;
  mux_now(mux);
  mux->last_receive_us = mux->now_us;
  mux->stats.bytes_in += size;
  measure_rate(mux, size);
  mux->feeding = true;
  while (size > 0 && !mux->failed) {
    size_t n = take(mux, data, size);
    data += n;
    size -= n;
  }
  batch_flush(mux);
  mux_settle(mux);
  mux->feeding = false;
  return mux->failed ? mux->error : 0;
}
