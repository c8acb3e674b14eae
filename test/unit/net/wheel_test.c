/* wheel_test.c: the timer wheel against a model, with a clock of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wheel.h"

#define TIMERS 300u

struct fixture {
  struct net_wheel wheel;
  uv_loop_t uv;
  uint64_t now_ms;
};

struct model_timer {
  struct net_timer timer; /* first */
  struct fixture *fixture;
  bool armed;
  uint64_t deadline_ms, started_ms;
  unsigned fired;
  uint64_t again_ms; /* re-arms itself in fire() */
};

static uint64_t fixture_clock(const struct net_wheel *wheel) {
  return ((const struct fixture *)(const void *)((const char *)wheel - offsetof(struct fixture, wheel)))->now_ms;
}

static void fixture_open(struct fixture *fixture, uint64_t now_ms) {
  memset(fixture, 0, sizeof *fixture);
  assert_int_equal(uv_loop_init(&fixture->uv), 0);
  assert_int_equal(net_wheel_init(&fixture->wheel, &fixture->uv), 0);
  fixture->now_ms = now_ms;
  fixture->wheel.now_tick = now_ms / NET_WHEEL_TICK_MS;
  fixture->wheel.clock_ms = fixture_clock;
}

static void fixture_close(struct fixture *fixture) {
  net_wheel_close(&fixture->wheel);
  uv_run(&fixture->uv, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&fixture->uv), 0);
}

static void fixture_advance(struct fixture *fixture, uint64_t ms) {
  fixture->now_ms += ms;
  net_wheel_advance(&fixture->wheel, fixture->now_ms);
}

static void model_start(struct model_timer *timer, uint64_t delay_ms) {
  timer->armed = true;
  timer->started_ms = timer->fixture->now_ms;
  timer->deadline_ms = timer->fixture->now_ms + delay_ms;
  net_timer_start(&timer->fixture->wheel, &timer->timer, delay_ms);
}

static void model_fire(struct net_timer *handle) {
  struct model_timer *timer = (struct model_timer *)(void *)handle;
  assert_true(timer->armed);
  assert_false(net_timer_armed(handle));
  assert_true(timer->fixture->now_ms >= timer->deadline_ms);
  timer->armed = false;
  timer->fired++;
  if (timer->again_ms) {
    model_start(timer, timer->again_ms);
  }
}

static struct model_timer model(struct fixture *fixture) {
  return (struct model_timer){.timer = {.fire = model_fire}, .fixture = fixture};
}

static void test_fires_at_most_one_tick_late_and_never_early(void **state) {
  static const uint64_t delays[] = {
      0,        1,        49,       50,        51,        3149,      3150,
      3199,     3200,     3201,     6400,      204799,    204800,    204801,
      13107199, 13107200, 13107201, 838860799, 838860800, 838860801, UINT64_C(2000000000)};
  (void)state;
  for (unsigned offset = 0; offset < 4000; offset += 37) {
    for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
      struct fixture fixture;
      fixture_open(&fixture, 1000000 + offset);
      struct model_timer timer = model(&fixture);
      model_start(&timer, delays[i]);
      if (delays[i] > 0) {
        fixture_advance(&fixture, delays[i] - 1);
        assert_int_equal(timer.fired, 0);
        fixture_advance(&fixture, 1);
      }
      fixture_advance(&fixture, NET_WHEEL_TICK_MS);
      assert_int_equal(timer.fired, 1);
      fixture_close(&fixture);
    }
  }
}

static void test_random_starts_stops_and_steps_match_a_model(void **state) {
  static const uint64_t spans[] = {100, 4000, 300000, 20000000, UINT64_C(1500000000)};
  (void)state;
  for (unsigned seed = 1; seed <= 12; seed++) {
    struct fixture fixture;
    struct model_timer timers[TIMERS];
    fixture_open(&fixture, UINT64_C(7919) * seed);
    srand(seed);
    for (size_t i = 0; i < TIMERS; i++) {
      timers[i] = model(&fixture);
    }
    for (unsigned step = 0; step < 20000; step++) {
      struct model_timer *timer = &timers[(unsigned)rand() % TIMERS];
      const uint64_t span = spans[(unsigned)rand() % (sizeof spans / sizeof spans[0])];
      switch (rand() % 4) {
      case 0:
      case 1:
        timer->again_ms = rand() % 8 == 0 ? 1 + (uint64_t)rand() % 500 : 0;
        model_start(timer, (uint64_t)rand() % span);
        break;
      case 2:
        net_timer_stop(&fixture.wheel, &timer->timer);
        timer->armed = false;
        break;
      default:
        fixture_advance(&fixture, (uint64_t)rand() % (rand() % 100 == 0 ? span : 300));
        for (size_t i = 0; i < TIMERS; i++) {
          if (timers[i].armed) {
            assert_true(timers[i].deadline_ms + NET_WHEEL_TICK_MS > fixture.now_ms);
          }
          assert_int_equal(timers[i].armed, net_timer_armed(&timers[i].timer));
        }
      }
    }
    unsigned armed = 0;
    for (size_t i = 0; i < TIMERS; i++) {
      armed += timers[i].armed;
    }
    assert_int_equal(fixture.wheel.armed, armed);
    for (size_t i = 0; i < TIMERS; i++) {
      net_timer_stop(&fixture.wheel, &timers[i].timer);
    }
    fixture_close(&fixture);
  }
}

static struct model_timer *victim;

static void stop_victim(struct net_timer *handle) {
  struct model_timer *timer = (struct model_timer *)(void *)handle;
  timer->fired++;
  net_timer_stop(&timer->fixture->wheel, &victim->timer);
}

static void test_a_timer_may_stop_another_of_the_same_tick(void **state) {
  struct fixture fixture;
  (void)state;
  fixture_open(&fixture, 500);
  struct model_timer first = model(&fixture);
  struct model_timer second = model(&fixture);
  first.timer.fire = stop_victim;
  second.timer.fire = stop_victim;
  model_start(&first, 10);
  model_start(&second, 10);
  victim = &second;
  if (fixture.wheel.slots[0][(fixture.wheel.now_tick + 1) % NET_WHEEL_SLOTS] == &second.timer) {
    victim = &first; /* whichever comes later */
  }
  fixture_advance(&fixture, 100);
  assert_int_equal(first.fired + second.fired, 1);
  fixture_close(&fixture);
}

static void test_the_uv_timer_drives_it_and_rests_when_empty(void **state) {
  struct fixture fixture;
  (void)state;
  fixture_open(&fixture, 0);
  fixture.wheel.clock_ms = NULL;
  net_wheel_close(&fixture.wheel);
  uv_run(&fixture.uv, UV_RUN_DEFAULT);
  assert_int_equal(net_wheel_init(&fixture.wheel, &fixture.uv), 0);
  struct model_timer timer = model(&fixture);
  timer.armed = true;
  const uint64_t start = uv_hrtime();
  net_timer_start(&fixture.wheel, &timer.timer, 60);
  uv_run(&fixture.uv, UV_RUN_DEFAULT); /* returns: the wheel stops itself */
  assert_int_equal(timer.fired, 1);
  assert_in_range((uv_hrtime() - start) / 1000000, 59, 2000);
  assert_false(uv_is_active((uv_handle_t *)&fixture.wheel.timer));
  fixture_close(&fixture);
}

/* The process stood still (SIGSTOP, suspend): its only timer re-arms itself while the wheel is still dealing with an old tick. */
static void test_a_late_wheel_fires_its_only_timer_once(void **state) {
  (void)state;
  for (unsigned lag = 0; lag < 3u * NET_WHEEL_SLOTS; lag++) {
    struct fixture fixture;
    fixture_open(&fixture, 10000);
    struct model_timer timer = model(&fixture);
    timer.again_ms = 1000;
    model_start(&timer, 1000);
    fixture.wheel.wake_tick = 0; /* as in the callback of the uv timer */
    fixture_advance(&fixture, 1050 + lag * NET_WHEEL_TICK_MS);
    assert_int_equal(timer.fired, 1);
    fixture_advance(&fixture, 1050);
    assert_int_equal(timer.fired, 2);
    net_timer_stop(&fixture.wheel, &timer.timer);
    fixture_close(&fixture);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fires_at_most_one_tick_late_and_never_early),
      cmocka_unit_test(test_random_starts_stops_and_steps_match_a_model),
      cmocka_unit_test(test_a_timer_may_stop_another_of_the_same_tick),
      cmocka_unit_test(test_the_uv_timer_drives_it_and_rests_when_empty),
      cmocka_unit_test(test_a_late_wheel_fires_its_only_timer_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
