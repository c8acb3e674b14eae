/* wheel.h: a timer wheel, so that a thousand idle connections cost no uv_timer each.
 *
 * Resolution 50 ms up to about 3 s, coarser above (hierarchical). A timer is embedded in its owner; it fires once, at or up to one
 * tick after its deadline, never before. One uv_timer drives the wheel and is stopped while the wheel is empty.
 */
#ifndef NET_WHEEL_H
#define NET_WHEEL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define NET_WHEEL_TICK_MS 50u

struct net_timer {
  struct net_timer *next, **link; /* NULL link = not armed */
  uint64_t deadline_ms;
  void (*fire)(struct net_timer *timer);
};

#define NET_WHEEL_SLOTS 64
#define NET_WHEEL_LEVELS 4
struct net_wheel {
  uv_timer_t timer;
  uint64_t now_tick;  /* ticks up to this one have been fired */
  uint64_t wake_tick; /* what the uv_timer is set to; 0 = stopped */
  unsigned armed;
  bool advancing; /* inside net_wheel_advance: now_tick is the tick being dealt with, however late */
  uint64_t (*clock_ms)(const struct net_wheel *wheel); /* the uv loop's time, unless a test brings its own */
  struct net_timer *slots[NET_WHEEL_LEVELS][NET_WHEEL_SLOTS];
};

int net_wheel_init(struct net_wheel *wheel, uv_loop_t *uv);
void net_wheel_close(struct net_wheel *wheel); /* asserts that nothing is armed */
/* Arms or re-arms. Allowed inside fire(). */
void net_timer_start(struct net_wheel *wheel, struct net_timer *timer, uint64_t delay_ms);
void net_timer_stop(struct net_wheel *wheel, struct net_timer *timer); /* idempotent */
bool net_timer_armed(const struct net_timer *timer);
/* Fires what is due at `now_ms`. The uv_timer calls it; a test with its own clock may. */
void net_wheel_advance(struct net_wheel *wheel, uint64_t now_ms);

#endif
