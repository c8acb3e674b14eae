/* session_test.c: what two well-behaved sessions do with each other. */
#include "pair.h"

static void bytes_go_both_ways_and_both_halves_end(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  struct test_end *here = side_open(&pair->server, NULL);
  here->to_send = 3000000;
  here->finish = true;
  mdm_stream_ready(here->stream);
  pair_run(pair);
  struct test_end *there = side_find(&pair->client, here->id);
  assert_int_equal(here->opened, 1);
  assert_int_equal(there->received, 3000000);
  assert_int_equal(there->fins, 1);
  assert_int_equal(there->closes, 0);
  there->to_send = 1234567;
  there->finish = true;
  mdm_stream_ready(there->stream);
  pair_run(pair);
  assert_int_equal(here->received, 1234567);
  assert_int_equal(here->fins, 1);
  assert_int_equal(here->closes, 1);
  assert_int_equal(there->closes, 1);
  assert_int_equal(here->resets + there->resets, 0);
  pair_end(pair);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bytes_go_both_ways_and_both_halves_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
