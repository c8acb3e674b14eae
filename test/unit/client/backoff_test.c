/* backoff_test.c: the series of pauses between attempts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backoff.h"

static void stays_between_100_ms_and_10_s(void **state) {
  static const uint32_t randoms[] = {0, 1, UINT32_MAX / 2, UINT32_MAX};
  (void)state;
  for (size_t r = 0; r < sizeof randoms / sizeof *randoms; r++) {
    struct backoff backoff = {0};
    for (int i = 0; i < 100; i++) {
      uint32_t delay = backoff_next(&backoff, randoms[r]);
      assert_in_range(delay, BACKOFF_MIN_MS, BACKOFF_MAX_MS);
    }
  }
}

static void doubles_until_the_limit(void **state) {
  static const uint32_t lowest[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
  struct backoff backoff = {0};
  (void)state;
  for (size_t i = 0; i < sizeof lowest / sizeof *lowest; i++)
    assert_int_equal(backoff_next(&backoff, 0), lowest[i]);
  assert_int_equal(backoff_next(&backoff, UINT32_MAX), 10000);
}

static void reset_begins_anew(void **state) {
  struct backoff backoff = {0};
  (void)state;
  for (int i = 0; i < 10; i++)
    (void)backoff_next(&backoff, 7);
  backoff_reset(&backoff);
  assert_int_equal(backoff_next(&backoff, 0), 100);
}

static void chance_spreads_the_clients(void **state) {
  struct backoff a = {0}, b = {0};
  (void)state;
  for (int i = 0; i < 6; i++) {
    uint32_t low = backoff_next(&a, 0), high = backoff_next(&b, UINT32_MAX);
    assert_true(high >= low + low / 2);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(stays_between_100_ms_and_10_s),
      cmocka_unit_test(doubles_until_the_limit),
      cmocka_unit_test(reset_begins_anew),
      cmocka_unit_test(chance_spreads_the_clients),
  };
  return cmocka_run_group_tests_name("backoff", tests, NULL, NULL);
}
