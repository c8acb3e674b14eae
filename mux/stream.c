/* stream.c: the life of one stream: opened by either side, accepted, ended, killed, freed. */
#include "session.h"

#include <assert.h>
#include <string.h>

void stream_enter(mdm_stream *stream) {
  stream->busy++;
}

static void stream_free(mdm_stream *stream) {
  mdm_mux_pool *pool = stream->mux->pool;
  if (stream->attached && stream->ops->closed)
    stream->ops->closed(stream);
  pool_object_give(pool, stream);
}

void stream_leave(mdm_stream *stream) {
  assert(stream->busy > 0);
  if (--stream->busy == 0 && stream->dead)
    stream_free(stream);
}

mdm_stream *stream_new(mdm_mux *mux, uint32_t id, bool local) {
  mdm_stream *stream = pool_object_take(mux->pool, sizeof *stream);
  if (!stream)
    return NULL;
  stream->mux = mux;
  stream->id = id;
  stream->local = local;
  stream->accepted = local;
  if (map_put(&mux->map, &mux->config.allocator, id, stream)) {
    pool_object_give(mux->pool, stream);
    return NULL;
  }
  list_append(&mux->streams, &stream->all_link);
  if (local)
    mux->own_streams++;
  else
    mux->peer_streams++;
  return stream;
}

/* Out of every look-up; what it held is gone. The object lives until its callbacks have returned. */
static void unlink_stream(mdm_stream *stream) {
  mdm_mux *mux = stream->mux;
  flow_throw_away(stream);
  flow_rest(stream);
  schedule_remove(stream);
  stream->dead = true;
  map_remove(&mux->map, stream->id);
  list_remove(&stream->all_link);
  list_remove(&stream->window_link);
  list_remove(&stream->held_link);
  if (mux->batch.stream == stream)
    mux->batch.stream = NULL;
  if (mux->input.stream == stream)
    mux->input.stream = NULL;
  if (mux->output.open_stream == stream)
    output_close_frame(mux);
  mux->late_credit += stream->recv_credit;
  if (stream->local)
    mux->own_streams--;
  else
    mux->peer_streams--;
  if (list_empty(&mux->streams))
    map_rest(&mux->map, &mux->config.allocator);
}

void stream_kill(mdm_stream *stream, enum mdm_reset code, bool not_delivered, bool send, bool tell) {
  if (stream->dead)
    return;
  stream_enter(stream);
  unlink_stream(stream);
  stream->mux->stats.streams_reset++;
  if (send)
    output_reset(stream->mux, stream->id, code, not_delivered);
  if (tell && stream->attached && stream->ops->reset)
    stream->ops->reset(stream, code, not_delivered);
  stream_leave(stream);
}

void stream_kill_all(mdm_mux *mux, enum mdm_reset code) {
  while (!list_empty(&mux->streams))
    stream_kill(list_item(mux->streams.next, mdm_stream, all_link), code, false, false, true);
}

void stream_settle(mdm_stream *stream) {
  if (stream->dead || !stream->fin_sent || !stream->fin_delivered)
    return;
  stream_enter(stream);
  unlink_stream(stream);
  stream_leave(stream);
}

/* ---- opened by us ---- */
static bool open_is_valid(const struct mdm_open *open) {
  return open->target.size <= FRAME_TARGET_MAX && open->options.size <= FRAME_OPTIONS_MAX;
}

int mdm_stream_open(mdm_mux *mux, const struct mdm_open *open, const struct mdm_stream_ops *ops, void *user,
                    mdm_stream **out) {
  *out = NULL;
  if (mux->failed || mux->closing)
    return MDM_MUX_ECLOSED;
  if (!mux->started || mux->drain != DRAIN_NO || mux->goaway_received || mux->next_id > FRAME_ID_MAX)
    return MDM_MUX_ESTATE;
  if (!open_is_valid(open))
    return MDM_MUX_ETOOBIG;
  if (mux->own_streams >= mux->peer_max_streams || budget_level(mux->pool->budget) >= BUDGET_NO_OPEN)
    return MDM_MUX_ELIMIT;
  if (mux->output.chain.size >= OUTPUT_MAX)
    return MDM_MUX_ELIMIT;

  uint32_t window = flow_initial(mux);
  size_t size = frame_open_size(open);
  output_close_frame(mux);
  uint8_t *p = output_room(mux, MDM_FRAME_HEADER + size);
  if (!p)
    return MDM_MUX_ENOMEM;
  mdm_stream *stream = stream_new(mux, mux->next_id, true);
  if (!stream)
    return MDM_MUX_ENOMEM;
  mux->next_id += 2;
  mdm_stream_attach(stream, ops, user);
  stream->send_credit = mux->peer_open_credit;
  stream->window = stream->window_base = stream->recv_credit = window;
  frame_pack(p, size, FRAME_OPEN, 0, stream->id);
  frame_open_pack(p + MDM_FRAME_HEADER, open, window);
  output_advance(mux, MDM_FRAME_HEADER + size);
  mux->stats.frames_out++;
  mux->stats.streams_opened++;
  flood_refund(mux, 2); /* it earns the peer an OPEN_OK and a RESET */
  *out = stream;
  mux_want_output(mux, false);
  return 0;
}

/* ---- opened by the peer ---- */
static bool option_is_known(const struct mdm_mux_config *config, uint16_t type) {
  if (!(type & OPTION_MANDATORY))
    return true;
  for (size_t i = 0; i < config->known_options_count; i++)
    if (config->known_options[i] == type)
      return true;
  return false;
}

static bool options_are_good(const struct mdm_mux_config *config, struct mdm_slice options) {
  struct mdm_slice value;
  uint16_t type;
  int rc;
  while ((rc = mdm_option_next(&options, &type, &value)) == 1)
    if (!option_is_known(config, type))
      return false;
  return rc == 0;
}

static enum mdm_reset judge_open(mdm_mux *mux, const struct mdm_open *open) {
  if (mux->peer_streams >= mux->config.max_streams || budget_level(mux->pool->budget) >= BUDGET_NO_OPEN)
    return MDM_RESET_LIMIT;
  if (open->kind < MDM_KIND_HTTP || open->kind > MDM_KIND_TCP || !mux->config.callbacks.open)
    return MDM_RESET_REFUSED;
  if (!options_are_good(&mux->config, open->options))
    return MDM_RESET_PROTOCOL;
  return MDM_RESET_NONE;
}

/* The opener may have sent its open credit behind the OPEN: that much DATA for this id is no fault of its. */
static void refuse_open(mdm_mux *mux, uint32_t id, enum mdm_reset code) {
  mux->late_credit += mux->config.open_credit;
  mux->stats.streams_reset++;
  output_reset(mux, id, code, true);
}

void stream_receive_open(mdm_mux *mux, uint32_t id, const uint8_t *payload, size_t size) {
  struct mdm_open open;
  uint32_t credit;
  bool peer_is_server = mux->config.role == MDM_ROLE_CLIENT;

  if ((id & 1) != (peer_is_server ? 1 : 0) || id <= mux->last_peer_id || id > FRAME_ID_MAX) {
    mux_fail(mux, MDM_MUX_EPROTOCOL, MDM_GOAWAY_PROTOCOL, "a stream id out of order or of the wrong side");
    return;
  }
  if (!frame_open_unpack(payload, size, &open, &credit)) {
    mux_fail(mux, MDM_MUX_EPROTOCOL, MDM_GOAWAY_PROTOCOL, "an OPEN whose lengths do not add up");
    return;
  }
  if (!flood_charge(mux, 1))
    return;
  mux->last_peer_id = id;
  if (id > mux->goaway_last_id) { /* it was told, and knows that this was not delivered */
    mux->late_credit += mux->config.open_credit;
    return;
  }
  enum mdm_reset code = judge_open(mux, &open);
  if (code != MDM_RESET_NONE) {
    refuse_open(mux, id, code);
    return;
  }
  mdm_stream *stream = stream_new(mux, id, false);
  if (!stream) {
    refuse_open(mux, id, MDM_RESET_INTERNAL);
    return;
  }
  stream->refund = true;
  stream->send_credit = credit;
  stream->window = stream->window_base = stream->recv_credit = mux->config.open_credit;
  stream_enter(stream);
  code = mux->config.callbacks.open(mux, stream, &open, mux->config.user);
  if (code == MDM_RESET_NONE && !stream->attached)
    code = MDM_RESET_INTERNAL;
  if (stream->dead) {
    stream_leave(stream);
    return;
  }
  if (code != MDM_RESET_NONE) {
    stream->attached = false;
    stream_kill(stream, code, true, true, false);
  } else {
    mux->stats.streams_accepted++;
  }
  stream_leave(stream);
}

void mdm_stream_attach(mdm_stream *stream, const struct mdm_stream_ops *ops, void *user) {
  stream->ops = ops;
  stream->user = user;
  stream->attached = true;
}

void mdm_stream_accept(mdm_stream *stream) {
  mdm_mux *mux = stream->mux;
  uint8_t payload[4];
  if (stream->dead || stream->accepted)
    return;
  stream->accepted = true;
  mux->unaccepted_held -= stream->held.size;
  stream->window = stream->window_base = flow_initial(mux);
  uint32_t grant = stream->fin_received ? 0 : flow_room(stream);
  put_u32(payload, grant);
  if (output_frame(mux, FRAME_OPEN_OK, 0, stream->id, payload, sizeof payload))
    return;
  stream->recv_credit += grant;
  mux_want_output(mux, false);
  schedule_update(stream);
}

/* ---- the peer's frames ---- */
static bool add_credit(mdm_stream *stream, uint32_t credit) {
  if (credit > FRAME_CREDIT_MAX - stream->send_credit) {
    mux_fail(stream->mux, MDM_MUX_EPROTOCOL, MDM_GOAWAY_PROTOCOL, "credit past 2^31-1");
    return false;
  }
  stream->send_credit += credit;
  return true;
}

void stream_receive_credit(mdm_stream *stream, uint32_t credit) {
  if (credit == 0) {
    mux_fail(stream->mux, MDM_MUX_EPROTOCOL, MDM_GOAWAY_PROTOCOL, "a WINDOW of nothing");
    return;
  }
  if (add_credit(stream, credit))
    schedule_update(stream);
}

void stream_receive_opened(mdm_stream *stream, uint32_t credit) {
  if (!stream->local || stream->answered) {
    mux_fail(stream->mux, MDM_MUX_EPROTOCOL, MDM_GOAWAY_PROTOCOL, "an OPEN_OK that answers no OPEN");
    return;
  }
  stream->answered = true;
  if (!add_credit(stream, credit))
    return;
  stream_enter(stream);
  schedule_update(stream);
  if (stream->ops->opened)
    stream->ops->opened(stream);
  stream_leave(stream);
}

void stream_receive_fin(mdm_stream *stream) {
  if (stream->dead || !stream->fin_received || stream->fin_delivered || stream->held.size > 0)
    return;
  if (stream->mux->batch.stream == stream)
    return; /* bytes before it are still to be delivered */
  stream->fin_delivered = true;
  stream_enter(stream);
  if (stream->ops->fin)
    stream->ops->fin(stream);
  stream_settle(stream);
  stream_leave(stream);
}

/* ---- the owner's calls ---- */
void *mdm_stream_user(const mdm_stream *stream) {
  return stream->user;
}

uint32_t mdm_stream_id(const mdm_stream *stream) {
  return stream->id;
}

mdm_mux *mdm_stream_mux(const mdm_stream *stream) {
  return stream->mux;
}

void mdm_stream_reset(mdm_stream *stream, enum mdm_reset code, bool not_delivered) {
  stream_kill(stream, code, not_delivered, true, false);
}

size_t mdm_stream_held(const mdm_stream *stream) {
  return stream->held.size;
}

void mdm_stream_set_stall_limit(mdm_stream *stream, uint32_t seconds) {
  stream->stall_limit_s = seconds;
}
