/* wake.h: tells when the network changed or the machine woke up, so that a dead link is noticed and a pause cut short.
 *
 * Sources: the system's own notice (platform_network_watch), and a jump between wall clock and monotonic clock, which
 * stands still while the machine sleeps. Changes within WAKE_SETTLE_MS are told once. */
#ifndef CLIENT_WAKE_H
#define CLIENT_WAKE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "loop.h"

#define WAKE_SETTLE_MS 300u  /* addresses, routes and links of one change come apart */
#define WAKE_CLOCK_MS  2000u /* how often the clocks are compared */
#define WAKE_JUMP_MS   3000  /* less is somebody's time daemon */

struct wake {
  struct net_loop *loop;
  uv_poll_t poll;
  int fd; /* -1: the system does not tell */
  struct net_timer settle, clock;
  int64_t offset_ms;
  void (*changed)(struct wake *wake);
};

/* Where the system tells nothing, the clocks are left. */
void wake_start(struct wake *wake, struct net_loop *loop, void (*changed)(struct wake *wake));
void wake_stop(struct wake *wake); /* the memory may go once the loop has run its closing callbacks */

#endif
