/* wheel.c: a hierarchical timer wheel over one uv_timer.
 *
 * Tick t is the moment t * 50 ms of the loop's clock. A timer expires at the first tick at or after its deadline. Level
 * 0 holds what expires within 63 ticks, each level above 64 times as much; when the clock reaches a boundary of a
 * level, that level's slot is dealt out anew to the levels below. Only ticks at which something happens are visited, so
 * a long sleep costs nothing.
 *
 *   level     slot      reach
 *     0      50 ms      3.2 s
 *     1      3.2 s      205 s
 *     2      205 s      3.6 h
 *     3      3.6 h      9.7 days; what is later waits in its last slot and is dealt again
 */
#include "wheel.h"

#include <assert.h>
#include <stddef.h>

#define LEVEL_BITS 6u
#define SLOT_MASK  (NET_WHEEL_SLOTS - 1u)
#define REACH_MAX  ((UINT64_C(1) << (LEVEL_BITS * NET_WHEEL_LEVELS)) - 1u)

_Static_assert(NET_WHEEL_SLOTS == 1u << LEVEL_BITS, "a level's slots are addressed by whole bits");

static uint64_t wheel_uv_clock(const struct net_wheel *wheel) {
  return uv_now(wheel->timer.loop);
}

static uint64_t wheel_tick_of_deadline(uint64_t deadline_ms) {
  return deadline_ms / NET_WHEEL_TICK_MS + (deadline_ms % NET_WHEEL_TICK_MS != 0);
}

static void wheel_link(struct net_timer **slot, struct net_timer *timer) {
  timer->next = *slot;
  if (timer->next) {
    timer->next->link = &timer->next;
  }
  timer->link = slot;
  *slot = timer;
}

static void wheel_unlink(struct net_timer *timer) {
  *timer->link = timer->next;
  if (timer->next) {
    timer->next->link = timer->link;
  }
  timer->next = NULL;
  timer->link = NULL;
}

/* Puts a timer where its distance from now_tick belongs. Distance 0 is allowed while now_tick is being dealt out. */
static void wheel_place(struct net_wheel *wheel, struct net_timer *timer) {
  uint64_t expires = wheel_tick_of_deadline(timer->deadline_ms);
  if (expires < wheel->now_tick) {
    expires = wheel->now_tick;
  }
  if (expires - wheel->now_tick > REACH_MAX) {
    expires = wheel->now_tick + REACH_MAX;
  }
  const uint64_t distance = expires - wheel->now_tick;
  unsigned level = 0;
  while (level + 1 < NET_WHEEL_LEVELS && distance >> (LEVEL_BITS * (level + 1)) != 0) {
    level++;
  }
  wheel_link(&wheel->slots[level][(expires >> (LEVEL_BITS * level)) & SLOT_MASK], timer);
}

/* The next tick after now_tick at which a timer fires or a slot is dealt out; 0 = none. */
static uint64_t wheel_next_tick(const struct net_wheel *wheel) {
  uint64_t best = 0;
  for (unsigned level = 0; level < NET_WHEEL_LEVELS; level++) {
    const unsigned shift = LEVEL_BITS * level;
    const uint64_t here = wheel->now_tick >> shift;
    for (unsigned i = 1; i <= NET_WHEEL_SLOTS; i++) {
      if (wheel->slots[level][(here + i) & SLOT_MASK] == NULL) {
        continue;
      }
      const uint64_t tick = (here + i) << shift;
      if (best == 0 || tick < best) {
        best = tick;
      }
      break;
    }
  }
  return best;
}

static void wheel_deal(struct net_wheel *wheel, unsigned level) {
  const uint64_t index = wheel->now_tick >> (LEVEL_BITS * level);
  struct net_timer *timer = wheel->slots[level][index & SLOT_MASK];
  wheel->slots[level][index & SLOT_MASK] = NULL;
  while (timer) {
    struct net_timer *next = timer->next;
    wheel_place(wheel, timer);
    timer = next;
  }
}

static void wheel_visit(struct net_wheel *wheel, uint64_t tick) {
  wheel->now_tick = tick;
  for (unsigned level = NET_WHEEL_LEVELS - 1; level > 0; level--) {
    const uint64_t boundary = (UINT64_C(1) << (LEVEL_BITS * level)) - 1u;
    if ((tick & boundary) == 0) {
      wheel_deal(wheel, level);
    }
  }
  /* A timer started by fire() is at least one tick away, so this slot runs dry. */
  struct net_timer **slot = &wheel->slots[0][tick & SLOT_MASK];
  while (*slot) {
    struct net_timer *timer = *slot;
    wheel_unlink(timer);
    wheel->armed--;
    timer->fire(timer);
  }
}

static void wheel_on_timer(uv_timer_t *handle) {
  struct net_wheel *wheel = handle->data;
  wheel->wake_tick = 0;
  net_wheel_advance(wheel, wheel->clock_ms(wheel));
}

static void wheel_wake_at(struct net_wheel *wheel, uint64_t tick) {
  if (tick == wheel->wake_tick || uv_is_closing((uv_handle_t *)&wheel->timer)) {
    return;
  }
  wheel->wake_tick = tick;
  if (tick == 0) {
    uv_timer_stop(&wheel->timer);
    return;
  }
  const uint64_t now_ms = uv_now(wheel->timer.loop);
  const uint64_t due_ms = tick * NET_WHEEL_TICK_MS;
  const int error = uv_timer_start(&wheel->timer, wheel_on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
  assert(error == 0); /* it fails only for a closing handle or no callback */
  (void)error;
}

int net_wheel_init(struct net_wheel *wheel, uv_loop_t *uv) {
  *wheel = (struct net_wheel){.clock_ms = wheel_uv_clock};
  const int error = uv_timer_init(uv, &wheel->timer);
  if (error) {
    return error;
  }
  wheel->timer.data = wheel;
  wheel->now_tick = uv_now(uv) / NET_WHEEL_TICK_MS;
  return 0;
}

void net_wheel_close(struct net_wheel *wheel) {
  assert(wheel->armed == 0);
  if (!uv_is_closing((uv_handle_t *)&wheel->timer)) {
    uv_close((uv_handle_t *)&wheel->timer, NULL);
  }
}

void net_wheel_advance(struct net_wheel *wheel, uint64_t now_ms) {
  const uint64_t target = now_ms / NET_WHEEL_TICK_MS;
  wheel->advancing = true;
  for (;;) {
    const uint64_t tick = wheel_next_tick(wheel);
    if (tick == 0 || tick > target) {
      break;
    }
    wheel_visit(wheel, tick);
  }
  wheel->advancing = false;
  if (wheel->now_tick < target) {
    wheel->now_tick = target;
  }
  wheel_wake_at(wheel, wheel_next_tick(wheel));
}

void net_timer_start(struct net_wheel *wheel, struct net_timer *timer, uint64_t delay_ms) {
  const uint64_t now_ms = wheel->clock_ms(wheel);
  if (timer->link) {
    wheel_unlink(timer);
    wheel->armed--;
  }
  if (!wheel->advancing && wheel->armed == 0 && wheel->wake_tick == 0 && wheel->now_tick < now_ms / NET_WHEEL_TICK_MS) {
    wheel->now_tick = now_ms / NET_WHEEL_TICK_MS; /* the wheel stood still while it was empty */
  }
  timer->deadline_ms = delay_ms > UINT64_MAX - now_ms ? UINT64_MAX : now_ms + delay_ms;
  uint64_t expires = wheel_tick_of_deadline(timer->deadline_ms);
  if (expires <= wheel->now_tick) {
    expires = wheel->now_tick + 1;
    timer->deadline_ms = expires * NET_WHEEL_TICK_MS;
  }
  wheel_place(wheel, timer);
  wheel->armed++;
  if (wheel->wake_tick == 0 || expires < wheel->wake_tick) {
    wheel_wake_at(wheel, expires);
  }
}

void net_timer_stop(struct net_wheel *wheel, struct net_timer *timer) {
  if (!timer->link) {
    return;
  }
  wheel_unlink(timer);
  wheel->armed--;
  if (wheel->armed == 0) {
    wheel_wake_at(wheel, 0);
  }
}

bool net_timer_armed(const struct net_timer *timer) {
  return timer->link != NULL;
}
