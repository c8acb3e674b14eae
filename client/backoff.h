/* backoff.h: how long to wait before the next attempt. No clock and no randomness of its own. */
#ifndef CLIENT_BACKOFF_H
#define CLIENT_BACKOFF_H

#include <stdint.h>

#define BACKOFF_MIN_MS  100u
#define BACKOFF_MAX_MS  10000u
#define BACKOFF_HELD_MS 5000u /* a session that held for so long starts the series anew */

struct backoff {
  uint32_t ceiling_ms; /* 0 = the series starts */
};

void backoff_reset(struct backoff *backoff);
/* The delay before the next attempt: doubling, with the upper half left to chance (`random`: 32 uniform bits), so that
 * the clients of a server that comes back do not all come at once. Always from BACKOFF_MIN_MS to BACKOFF_MAX_MS. */
uint32_t backoff_next(struct backoff *backoff, uint32_t random);

#endif
