/* output.c: the bytes that wait for the carrier, the frames that are put there, and the high mark. */
#include "session.h"

#include <assert.h>
#include <string.h>

uint8_t *output_room(mdm_mux *mux, size_t size) {
  struct output *output = &mux->output;
  assert(size <= BLOCK_SIZE);
  struct block *tail = output->chain.tail;
  if (!tail || BLOCK_SIZE - tail->end < size || output->reserved > 0)
    tail = chain_grow(&output->chain, mux->pool);
  return tail ? tail->data + tail->end : NULL;
}

void output_put(struct output *output, struct block *block, size_t size) {
  block->end += (uint32_t)size;
  assert(block->end <= BLOCK_SIZE);
  output->chain.size += size;
  output->total += size;
}

void output_advance(mdm_mux *mux, size_t size) {
  output_put(&mux->output, mux->output.chain.tail, size);
}

void output_close_frame(mdm_mux *mux) {
  mux->output.open_header = NULL;
  mux->output.open_stream = NULL;
}

int output_frame(mdm_mux *mux, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t size) {
  output_close_frame(mux);
  uint8_t *p = output_room(mux, MDM_FRAME_HEADER + size);
  if (!p) {
    mux->out_of_memory = true;
    return MDM_MUX_ENOMEM;
  }
  frame_pack(p, size, type, flags, stream);
  if (size)
    memcpy(p + MDM_FRAME_HEADER, payload, size);
  output_advance(mux, MDM_FRAME_HEADER + size);
  mux->stats.frames_out++;
  return 0;
}

void output_reset(mdm_mux *mux, uint32_t id, enum mdm_reset code, bool not_delivered) {
  struct output *output = &mux->output;
  uint8_t payload[2];
  if (mux->failed)
    return;                                   /* the GOAWAY says it all */
  if (output->sent >= output->resets_until) { /* the first of the last count went out: count anew */
    output->resets = 0;
    output->resets_until = output->total + 1;
  }
  if (++output->resets > RESETS_MAX) {
    mux_fail(mux, MDM_MUX_EPROTOCOL, MDM_GOAWAY_PROTOCOL, "too many streams to reset while the peer does not read");
    return;
  }
  put_u16(payload, (uint16_t)code);
  output_frame(mux, FRAME_RESET, not_delivered ? FRAME_FLAG_NOT_DELIVERED : 0, id, payload, sizeof payload);
  mux_want_output(mux, false);
}

bool mdm_mux_has_output(const mdm_mux *mux) {
  if (mux->output.chain.size > 0)
    return true;
  return !mux->failed && (mux->runnable > 0 || mux->pong_count > 0 || !list_empty(&mux->windows));
}

/* While the carrier leaves bytes behind it is the limit, and what it takes is its rate. Up at once, down by quarters:
 * a pause of ours must not shrink the mark of a fast link for long. */
static void measure_rate(struct output *output, uint64_t now_us) {
  if (!output->busy) {
    if (output->chain.size > 0) {
      output->busy = true;
      output->busy_since_us = now_us;
      output->busy_sent = output->sent;
    }
    return;
  }
  uint64_t passed = now_us - output->busy_since_us;
  if (passed < RATE_WINDOW_US)
    return;
  uint64_t rate = (output->sent - output->busy_sent) * 1000000u / passed;
  output->rate = rate >= output->rate ? rate : output->rate - (output->rate - rate) / 4;
  output->busy_since_us = now_us;
  output->busy_sent = output->sent;
  uint64_t mark = output->rate / 100;
  output->mark = mark < MARK_MIN ? MARK_MIN : mark > MARK_MAX ? MARK_MAX : (uint32_t)mark;
}

size_t mdm_mux_output(mdm_mux *mux, struct mdm_slice *slices, size_t count) {
  assert(!mux->producing);
  mux_now(mux);
  measure_rate(&mux->output, mux->now_us);
  mux->producing = true;
  if (!mux->failed) {
    link_put_pongs(mux);
    if (mux->output.chain.size < mux->output.mark)
      flow_put_windows(mux);
    schedule_run(mux);
  }
  mux_settle(mux);
  mux->producing = false;
  output_close_frame(mux);
  size_t n = chain_slices(&mux->output.chain, slices, count);
  if (n == 0) {
    mux->wanted = mux->wanted_urgent = false;
    chain_drop(&mux->output.chain, mux->pool, 0); /* a block that was reserved and not used */
  }
  return n;
}

void mdm_mux_sent(mdm_mux *mux, size_t size) {
  struct output *output = &mux->output;
  assert(size <= output->chain.size);
  if (size > output->chain.size)
    size = output->chain.size;
  output->sent += size;
  chain_drop(&output->chain, mux->pool, size);
  if (!mdm_mux_has_output(mux)) {
    output->busy = false;
    mux->wanted = mux->wanted_urgent = false;
  }
}
