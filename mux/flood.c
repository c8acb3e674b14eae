/* flood.c: one account for frames that cost the receiver work and the sender nothing. It refills with time; what an
 * honest peer does beside carrying data stays far below. The burst admits 10,000 streams opened and reset at once. */
#include "session.h"

bool flood_charge(mdm_mux *mux, uint32_t frames) {
  mux->tokens -= frames;
  if (mux->tokens >= 0)
    return true;
  uint64_t passed = mux->now_us - mux->tokens_us;
  mux->tokens_us = mux->now_us;
  if (passed > 60u * 1000000u)
    passed = 60u * 1000000u;
  mux->tokens += (int64_t)(passed * FLOOD_PER_SECOND / 1000000u);
  if (mux->tokens > FLOOD_BURST)
    mux->tokens = FLOOD_BURST;
  if (mux->tokens >= 0)
    return true;
  mux_fail(mux, MDM_MUX_EPROTOCOL, MDM_GOAWAY_PROTOCOL, "a flood of control frames");
  return false;
}

void flood_refund(mdm_mux *mux, uint32_t frames) {
  if (mux->tokens < FLOOD_BURST)
    mux->tokens += frames;
}
