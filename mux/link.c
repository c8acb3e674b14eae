/* link.c: what concerns the whole link: PING and round trips, GOAWAY and the drain. */
#include "session.h"

#include <string.h>

/* ---- PING, PONG ---- */
int mdm_mux_ping(mdm_mux *mux) {
  uint8_t payload[FRAME_PING_SIZE];
  if (mux->failed || mux->closing)
    return MDM_MUX_ECLOSED;
  if (mux->ping_out)
    return 0;
  mux_now(mux);
  mux->ping_nonce++;
  put_u32(payload, (uint32_t)(mux->ping_nonce >> 32));
  put_u32(payload + 4, (uint32_t)mux->ping_nonce);
  int rc = output_frame(mux, FRAME_PING, 0, 0, payload, sizeof payload);
  if (rc)
    return rc;
  mux->ping_out = true;
  mux->ping_us = mux->now_us;
  mux_want_output(mux, true);
  return 0;
}

void link_receive_ping(mdm_mux *mux, const uint8_t *payload) {
  if (mux->pong_count == PONGS_MAX) {
    mux_fail(mux, MDM_MUX_EPROTOCOL, MDM_GOAWAY_PROTOCOL, "a flood of PING");
    return;
  }
  memcpy(mux->pongs[mux->pong_count++], payload, FRAME_PING_SIZE);
  mux_want_output(mux, true);
}

void link_put_pongs(mdm_mux *mux) {
  if (mux->pong_count == 0 || mux->output.chain.size >= OUTPUT_MAX)
    return;
  for (uint32_t i = 0; i < mux->pong_count; i++)
    if (output_frame(mux, FRAME_PONG, 0, 0, mux->pongs[i], FRAME_PING_SIZE))
      return;
  mux->pong_count = 0;
}

/* Two halves of 15 s: the minimum over both covers 15 to 30 s back. */
static void note_rtt(mdm_mux *mux, uint64_t rtt_us) {
  mux->rtt_us = rtt_us ? rtt_us : 1;
  if (mux->now_us - mux->rtt_half_us >= RTT_HALF_US) {
    mux->rtt_low_before = mux->now_us - mux->rtt_half_us >= 2u * RTT_HALF_US ? 0 : mux->rtt_low;
    mux->rtt_low = 0;
    mux->rtt_half_us = mux->now_us;
  }
  if (mux->rtt_low == 0 || mux->rtt_us < mux->rtt_low)
    mux->rtt_low = mux->rtt_us;
}

static void drain_second(mdm_mux *mux) {
  mux->drain = DRAIN_LAST;
  mux->goaway_last_id = mux->last_peer_id;
  link_put_goaway(mux, mux->last_peer_id, mux->goaway_code, "");
}

void link_receive_pong(mdm_mux *mux, const uint8_t *payload) {
  uint64_t nonce = (uint64_t)get_u32(payload) << 32 | get_u32(payload + 4);
  if (!mux->ping_out || nonce != mux->ping_nonce)
    return; /* answers nothing: counted as flood, no more */
  mux->ping_out = false;
  note_rtt(mux, mux->now_us - mux->ping_us);
  if (mux->drain == DRAIN_FIRST && mux->ping_us >= mux->drain_us)
    drain_second(mux);
  else if (mux->drain == DRAIN_FIRST)
    (void)mdm_mux_ping(mux); /* that one was sent before the GOAWAY: it proves nothing */
  if (mux->config.callbacks.pong)
    mux->config.callbacks.pong(mux, mux->rtt_us, mux->config.user);
}

uint64_t mdm_mux_rtt_us(const mdm_mux *mux) {
  return mux->rtt_us;
}

uint64_t mdm_mux_rtt_min_us(const mdm_mux *mux) {
  if (mux->rtt_low == 0 || mux->rtt_low_before == 0)
    return mux->rtt_low ? mux->rtt_low : mux->rtt_low_before;
  return mux->rtt_low < mux->rtt_low_before ? mux->rtt_low : mux->rtt_low_before;
}

/* ---- GOAWAY ---- */
void link_put_goaway(mdm_mux *mux, uint32_t last_id, uint16_t code, const char *text) {
  uint8_t payload[6 + FRAME_TEXT_MAX];
  size_t size = strnlen(text, FRAME_TEXT_MAX);
  put_u32(payload, last_id);
  put_u16(payload + 4, code);
  memcpy(payload + 6, text, size);
  output_frame(mux, FRAME_GOAWAY, 0, 0, payload, 6 + size);
  mux_want_output(mux, true);
}

int mdm_mux_goaway(mdm_mux *mux, enum mdm_goaway code, const char *text) {
  text = text ? text : "";
  if (mux->failed || mux->closing)
    return MDM_MUX_ECLOSED;
  if (strnlen(text, FRAME_TEXT_MAX + 1) > FRAME_TEXT_MAX)
    return MDM_MUX_ETOOBIG;
  if (mux->drain != DRAIN_NO)
    return 0;
  mux_now(mux);
  mux->drain_us = mux->now_us;
  mux->goaway_code = (uint16_t)code;
  if (!mux->started) { /* nothing can be on its way */
    mux->drain = DRAIN_LAST;
    mux->goaway_last_id = 0;
    link_put_goaway(mux, 0, (uint16_t)code, text);
  } else {
    mux->drain = DRAIN_FIRST;
    link_put_goaway(mux, FRAME_ID_MAX, (uint16_t)code, text);
    if (!mux->ping_out)
      (void)mdm_mux_ping(mux); /* its PONG is the round trip; without it the tick ends the wait */
  }
  return mux->out_of_memory ? MDM_MUX_ENOMEM : 0;
}

bool mdm_mux_drained(const mdm_mux *mux) {
  return mux->drain == DRAIN_LAST && list_empty(&mux->streams) && mux->output.chain.size == 0;
}

void link_tick(mdm_mux *mux) {
  if (mux->drain == DRAIN_FIRST && mux->now_us - mux->drain_us >= DRAIN_WAIT_US)
    drain_second(mux);
}

/* Streams of ours above last_id never reached their acceptor. They are set apart first: callbacks may change the ring.
 */
static void reset_undelivered(mdm_mux *mux, uint32_t last_id) {
  struct list doomed, *next;
  list_init(&doomed);
  for (struct list *s = mux->streams.next; s != &mux->streams; s = next) {
    mdm_stream *stream = list_item(s, mdm_stream, all_link);
    next = s->next;
    if (stream->local && stream->id > last_id) {
      list_remove(s);
      list_append(&doomed, s);
    }
  }
  while (!list_empty(&doomed))
    stream_kill(list_item(doomed.next, mdm_stream, all_link), MDM_RESET_SHUTDOWN, true, false, true);
}

void link_receive_goaway(mdm_mux *mux, const uint8_t *payload, size_t size) {
  if (size < 6 || size - 6 > FRAME_TEXT_MAX) {
    mux_fail(mux, MDM_MUX_EPROTOCOL, MDM_GOAWAY_PROTOCOL, "a GOAWAY of the wrong length");
    return;
  }
  uint32_t last_id = get_u32(payload);
  mux->goaway_received = true;
  reset_undelivered(mux, last_id);
  if (mux->config.callbacks.goaway)
    mux->config.callbacks.goaway(mux, last_id, get_u16(payload + 4), (const char *)payload + 6, size - 6,
                                 mux->config.user);
}
