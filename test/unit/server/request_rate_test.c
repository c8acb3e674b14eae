/* request_rate_test.c: requests a second by address and user: bursts, refill, independence, and a table that stays bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>

#include "request_rate.h"

static struct mdm_address v4(uint32_t number) {
  return (struct mdm_address){.family = 4, .bytes = {10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number}};
}

static unsigned taken(struct request_rate *table, uint64_t now_ms, const struct mdm_address *address, uint32_t rate, unsigned tries) {
  unsigned count = 0;
  for (unsigned i = 0; i < tries; i++)
    count += request_rate_address(table, now_ms, address, rate);
  return count;
}

static void test_a_burst_then_the_rate(void **state) {
  struct request_rate *table = request_rate_new();
  struct mdm_address a = v4(1);
  (void)state;
  assert_int_equal(taken(table, 1000, &a, 10, 100), 20);
  assert_int_equal(taken(table, 1099, &a, 10, 100), 0);
  assert_int_equal(taken(table, 1100, &a, 10, 100), 1);
  assert_int_equal(taken(table, 2100, &a, 10, 100), 10);
  assert_int_equal(taken(table, 1000000, &a, 10, 100), 20); /* never more than the burst */
  request_rate_free(table);
}

static void test_one_at_its_limit_does_not_slow_another(void **state) {
  struct request_rate *table = request_rate_new();
  struct mdm_address a = v4(1), b = v4(2);
  (void)state;
  assert_int_equal(taken(table, 0, &a, 1, 10), 2);
  assert_int_equal(taken(table, 0, &b, 1, 10), 2);
  assert_true(request_rate_user(table, 0, "tim", 1));
  assert_true(request_rate_user(table, 0, "tim", 1));
  assert_false(request_rate_user(table, 0, "tim", 1));
  assert_true(request_rate_user(table, 0, "sue", 1));
  request_rate_free(table);
}

static void test_no_limit_takes_no_memory(void **state) {
  struct request_rate *table = request_rate_new();
  struct mdm_address a = v4(1);
  (void)state;
  assert_int_equal(taken(table, 0, &a, 0, 1000), 1000);
  assert_true(request_rate_user(table, 0, "tim", 0));
  assert_true(request_rate_user(table, 0, "", 5));
  assert_int_equal(request_rate_count(table), 0);
  request_rate_free(table);
}

static void test_a_network_of_ipv6_is_one_address(void **state) {
  struct request_rate *table = request_rate_new();
  struct mdm_address a = {.family = 6, .bytes = {0x20, 1, 0, 0, 0, 0, 0, 7, 1}}, b = a, c = a;
  (void)state;
  b.bytes[15] = 9;
  c.bytes[7] = 8;
  assert_int_equal(taken(table, 0, &a, 1, 10), 2);
  assert_int_equal(taken(table, 0, &b, 1, 10), 0);
  assert_int_equal(taken(table, 0, &c, 1, 10), 2);
  request_rate_free(table);
}

static void test_the_table_is_bounded_and_forgets_the_quiet(void **state) {
  struct request_rate *table = request_rate_new();
  (void)state;
  for (uint32_t i = 0; i < REQUEST_RATE_ENTRIES_MAX + 1000; i++) {
    struct mdm_address address = v4(i);
    request_rate_address(table, 0, &address, 5);
  }
  assert_int_equal(request_rate_count(table), REQUEST_RATE_ENTRIES_MAX);
  for (uint32_t i = 0; i < REQUEST_RATE_ENTRIES_MAX; i++) {
    struct mdm_address address = v4(1000000 + i);
    request_rate_address(table, 10000 + i * 10000ull, &address, 5);
  }
  assert_true(request_rate_count(table) <= 2);
  request_rate_free(table);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_burst_then_the_rate),
      cmocka_unit_test(test_one_at_its_limit_does_not_slow_another),
      cmocka_unit_test(test_no_limit_takes_no_memory),
      cmocka_unit_test(test_a_network_of_ipv6_is_one_address),
      cmocka_unit_test(test_the_table_is_bounded_and_forgets_the_quiet),
  };
  if (sodium_init() < 0)
    return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
