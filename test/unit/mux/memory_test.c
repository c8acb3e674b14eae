/* memory_test.c: each allocation fails in turn: the session goes on or ends with a reason, nothing leaks, no byte is
 * wrong. */
#include "pair.h"
#include "session.h"

#include <stdlib.h>

/* Returns false when the nth allocation was never reached. */
static bool converse(size_t fail_at) {
  struct test_pair *pair = calloc(1, sizeof *pair);
  static uint8_t message[40000];
  pair->memory.fail_at = fail_at;
  int rc = pair_open(pair, NULL, 1 << 20);
  if (rc == 0) {
    rc = mdm_mux_send_message(pair->client.mux, MDM_MSG_SERVICES, message, sizeof message);
    for (int i = 0; i < 40; i++) {
      struct test_end *end = side_open(i & 1 ? &pair->client : &pair->server, NULL);
      if (!end)
        continue;
      end->to_send = 20000;
      end->finish = true;
      mdm_stream_ready(end->stream);
    }
    pair->client.room = pair->server.room = 100; /* the rest is held */
    for (int i = 0; i < 4; i++) {
      pair_run(pair);
      pair->clock += 1000000;
      mdm_mux_tick(pair->client.mux);
      mdm_mux_tick(pair->server.mux);
      struct test_side *sides[2] = {&pair->client, &pair->server};
      for (int s = 0; s < 2; s++)
        for (size_t n = 0; n < sides[s]->count; n++) {
          struct test_end *end = &sides[s]->ends[n];
          end->room = UINT64_MAX;
          end->finish = true;
          if (end->stream)
            mdm_stream_drain(end->stream);
          if (end->stream)
            mdm_stream_ready(end->stream);
        }
    }
    pair_run(pair);
    if (!mdm_mux_failure(pair->client.mux) && !mdm_mux_failure(pair->server.mux)) {
      struct mdm_mux_stats stats;
      mdm_mux_get_stats(pair->client.mux, &stats);
      assert_int_equal(stats.streams_active, 0); /* nobody hangs */
    }
  }
  bool reached = pair->memory.calls >= fail_at;
  pair_close(pair); /* asserts that nothing is left */
  free(pair);
  return reached;
}

static void every_failed_allocation_is_survived(void **state) {
  (void)state;
  size_t n = 1;
  while (converse(n))
    n++;
  print_message("%zu allocations failed in turn\n", n - 1);
  assert_true(n > 50);
}

static void requests_allocate_nothing_in_the_long_run(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  size_t calls = 0;
  for (int round = 0; round < 2000; round++) {
    pair->client.count = pair->server.count = 0;
    if (round == 100)
      calls = pair->memory.calls;
    struct test_end *end = side_open(&pair->server, NULL);
    end->to_send = 500;
    end->finish = true;
    mdm_stream_ready(end->stream);
    pair_run(pair);
    struct test_end *peer = side_find(&pair->client, end->id);
    peer->to_send = 70000;
    peer->finish = true;
    mdm_stream_ready(peer->stream);
    pair_run(pair);
    assert_int_equal(end->received, 70000);
    assert_int_equal(end->closes, 1);
  }
  assert_int_equal(pair->memory.calls, calls);
  pair_end(pair);
}

static void a_large_id_table_is_given_back(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  for (int i = 0; i < 2000; i++)
    assert_non_null(side_open(&pair->server, NULL));
  pair_run(pair);
  assert_true(pair->client.mux->map.size >= 2048);
  for (int i = 0; i < 2000; i++)
    mdm_stream_reset(pair->server.ends[i].stream, MDM_RESET_CANCEL, false);
  pair_run(pair);
  assert_true(pair->client.mux->map.size <= 1024);
  assert_true(pair->server.mux->map.size <= 1024);
  pair_end(pair);
}

static void an_idle_stream_is_small(void **state) {
  (void)state;
  print_message("an idle stream: %zu bytes\n", sizeof(struct mdm_stream) + 2 * sizeof(struct map_slot));
  assert_true(sizeof(struct mdm_stream) + 2 * sizeof(struct map_slot) <= 300);
}

static void aborted_streams_leave_nothing(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  pair->client.room = 0;
  size_t live = 0;
  for (int round = 0; round < 10000; round++) {
    pair->client.count = pair->server.count = 0;
    if (round == 10)
      live = pair->memory.live;
    struct test_end *end = side_open(&pair->server, NULL);
    end->to_send = 30000;
    mdm_stream_ready(end->stream);
    if (round % 3)
      pair_run(pair);
    mdm_stream_reset(end->stream, MDM_RESET_CANCEL, false);
    pair_run(pair);
    pair->clock += 10;
  }
  assert_null(mdm_mux_failure(pair->client.mux));
  struct mdm_mux_stats stats;
  mdm_mux_get_stats(pair->client.mux, &stats);
  assert_int_equal(stats.streams_active, 0);
  assert_int_equal(stats.held_bytes, 0);
  assert_int_equal(pair->memory.live, live);
  pair_end(pair);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_failed_allocation_is_survived),
      cmocka_unit_test(requests_allocate_nothing_in_the_long_run),
      cmocka_unit_test(a_large_id_table_is_given_back),
      cmocka_unit_test(an_idle_stream_is_small),
      cmocka_unit_test(aborted_streams_leave_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
