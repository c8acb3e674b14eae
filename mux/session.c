/* session.c: the life of one session: new, start, failure, tick, free. */
#include "session.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

int mdm_mux_new(mdm_mux **out, const struct mdm_mux_config *config) {
  *out = NULL;
  if (!config->pool || !config->callbacks.now_us)
    return MDM_MUX_ESTATE;
  mdm_mux *mux = memory_alloc(&config->allocator, sizeof *mux);
  if (!mux)
    return MDM_MUX_ENOMEM;
  memset(mux, 0, sizeof *mux);
  mux->config = *config;
  mux->pool = config->pool;
  struct mdm_mux_config *c = &mux->config;
  c->max_streams = c->max_streams ? c->max_streams : MAX_STREAMS;
  c->open_credit = c->open_credit ? c->open_credit : OPEN_CREDIT;
  c->window_max = c->window_max ? c->window_max : WINDOW_MAX;
  c->growth_pool = c->growth_pool ? c->growth_pool : GROWTH_POOL;
  if (c->handshake_max == 0)
    c->handshake_max = c->role == MDM_ROLE_SERVER ? HANDSHAKE_MAX : MDM_MESSAGE_MAX;
  /* An address is not a secret, but a peer does not know it: enough that ids cannot be chosen to collide. */
  uintptr_t address = (uintptr_t)mux;
  map_init(&mux->map, (uint32_t)(address >> 4) ^ (uint32_t)((uint64_t)address >> 36));
  list_init(&mux->streams);
  list_init(&mux->fresh);
  list_init(&mux->queue);
  list_init(&mux->windows);
  list_init(&mux->holding);
  mux->output.mark = MARK_MAX;
  mux->next_id = config->role == MDM_ROLE_SERVER ? 1 : 2;
  mux->late_credit = LATE_SLACK;
  mux->tokens = FLOOD_BURST;
  mux->goaway_last_id = FRAME_ID_MAX;
  mux_now(mux);
  mux->tokens_us = mux->receive_since_us = mux->rtt_half_us = mux->last_receive_us = mux->now_us;

  uint8_t *magic = output_room(mux, FRAME_MAGIC_SIZE);
  if (!magic) {
    memory_release(&config->allocator, mux);
    return MDM_MUX_ENOMEM;
  }
  memcpy(magic, MDM_MAGIC, FRAME_MAGIC_SIZE);
  output_advance(mux, FRAME_MAGIC_SIZE);
  list_append(&mux->pool->sessions, &mux->pool_link);
  *out = mux;
  return 0;
}

void mdm_mux_free(mdm_mux *mux) {
  if (!mux)
    return;
  assert(!mux->feeding);
  assert(!mux->producing);
  mux->closing = true;
  stream_kill_all(mux, MDM_RESET_SHUTDOWN);
  list_remove(&mux->pool_link);
  chain_drop(&mux->output.chain, mux->pool, mux->output.chain.size);
  if (mux->input.payload)
    pool_block_give(mux->pool, mux->input.payload);
  struct mdm_allocator allocator = mux->config.allocator;
  memory_release(&allocator, mux->input.message);
  map_clean(&mux->map, &allocator);
  memory_release(&allocator, mux);
}

void *mdm_mux_user(const mdm_mux *mux) {
  return mux->config.user;
}

void mux_now(mdm_mux *mux) {
  mux->now_us = mux->config.callbacks.now_us(mux->config.user);
}

void mdm_mux_start(mdm_mux *mux, uint32_t peer_open_credit, uint32_t peer_max_streams) {
  if (mux->failed)
    return;
  mux->peer_open_credit = peer_open_credit < FRAME_CREDIT_MAX ? peer_open_credit : FRAME_CREDIT_MAX;
  mux->peer_max_streams = peer_max_streams;
  mux->started = true;
}

void mux_fail(mdm_mux *mux, int error, enum mdm_goaway code, const char *sentence) {
  if (mux->failed)
    return;
  mux->failed = true;
  mux->error = error;
  (void)snprintf(mux->failure, sizeof mux->failure, "%s", sentence);
  stream_kill_all(mux, MDM_RESET_SHUTDOWN);
  link_put_goaway(mux, mux->last_peer_id, (uint16_t)code, mux->failure);
  mux_want_output(mux, true);
}

const char *mdm_mux_failure(const mdm_mux *mux) {
  return mux->failed ? mux->failure : NULL;
}

void mux_settle(mdm_mux *mux) {
  if (mux->out_of_memory && !mux->failed)
    mux_fail(mux, MDM_MUX_ENOMEM, MDM_GOAWAY_INTERNAL, "out of memory for a control frame");
}

void mux_want_output(mdm_mux *mux, bool urgent) {
  if (mux->producing || mux->closing)
    return; /* mdm_mux_output is running, or nobody will drain it */
  if (mux->wanted && (mux->wanted_urgent || !urgent))
    return;
  mux->wanted = true;
  mux->wanted_urgent |= urgent;
  if (mux->config.callbacks.want_output)
    mux->config.callbacks.want_output(mux, urgent, mux->config.user);
}

void mdm_mux_tick(mdm_mux *mux) {
  mux_now(mux);
  if (mux->failed)
    return;
  link_tick(mux);
  flow_tick(mux);
  mux_settle(mux);
  if (mdm_mux_has_output(mux))
    mux_want_output(mux, false);
}

void mdm_mux_get_stats(const mdm_mux *mux, struct mdm_mux_stats *stats) {
  *stats = mux->stats;
  stats->bytes_out = mux->output.sent;
  stats->streams_active = (size_t)mux->peer_streams + mux->own_streams;
  stats->held_bytes = mux->held;
  stats->granted_growth = mux->growth_granted;
}

uint64_t mdm_mux_last_receive_us(const mdm_mux *mux) {
  return mux->last_receive_us;
}

uint32_t mdm_mux_ids_left(const mdm_mux *mux) {
  return mux->next_id > FRAME_ID_MAX ? 0 : (FRAME_ID_MAX - mux->next_id) / 2 + 1;
}
