/* backoff.c: jittered exponential backoff. */
#include "backoff.h"

void backoff_reset(struct backoff *backoff) {
  backoff->ceiling_ms = 0;
}

uint32_t backoff_next(struct backoff *backoff, uint32_t random) {
  backoff->ceiling_ms = backoff->ceiling_ms == 0 ? 2 * BACKOFF_MIN_MS : backoff->ceiling_ms * 2;
  if (backoff->ceiling_ms > BACKOFF_MAX_MS)
    backoff->ceiling_ms = BACKOFF_MAX_MS;
  uint32_t half = backoff->ceiling_ms / 2;
  return half + (uint32_t)(((uint64_t)random * (half + 1)) >> 32);
}
