/* flow_test.c: credit, windows that grow and rest, held bytes, budgets and stall limits. */
#include "pair.h"
#include "frame.h"
#include "session.h"

#include <stdlib.h>

#define RTT_US 50000

static struct test_end *send_to(struct test_pair *pair, uint64_t bytes) { /* server -> client */
  struct test_end *end = side_open(&pair->server, NULL);
  assert_non_null(end);
  end->to_send = bytes;
  mdm_stream_ready(end->stream);
  return end;
}

static struct test_end *other(struct test_pair *pair, const struct test_end *end) {
  struct test_end *peer = side_find(end->side == &pair->client ? &pair->server : &pair->client, end->id);
  assert_non_null(peer);
  return peer;
}

static void a_32_kib_head_passes_a_16_kib_window(void **state) {
  (void)state;
  struct mdm_mux_config config = {.window_initial = 16384, .window_max = 16384, .open_credit = 16384};
  struct test_pair *pair = pair_new(&config, 0);
  pair->client.room = 32768; /* a parser takes a head into its own bounded buffer; then nothing more */
  struct test_end *end = send_to(pair, 1000000);
  pair_run(pair);
  struct test_end *peer = other(pair, end);
  assert_int_equal(peer->received, 32768);
  assert_int_equal(end->sent, 32768 + 16384); /* and one window behind it */
  assert_int_equal(mdm_stream_held(peer->stream), 16384);
  pair_end(pair);
}

static void nothing_read_is_nothing_credited(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  pair->client.room = 0;
  struct test_end *end = send_to(pair, 1u << 30);
  for (int i = 0; i < 50; i++) {
    pair_run(pair);
    pair->clock += RTT_US;
  }
  assert_int_equal(end->sent, 262144); /* its window, of 1 GiB */
  assert_int_equal(mdm_stream_held(other(pair, end)->stream), 262144);
  pair_end(pair);
}

static void window_is_sent_at_half_a_window_consumed(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  static uint8_t out[65536], zeroes[16384];
  struct mdm_slice frame;
  solo->side.room = 131071;
  assert_int_equal(solo_feed_open(solo, 1, 1), 0);
  solo_output(solo, out, sizeof out);
  for (int i = 0; i < 15; i++)
    assert_int_equal(solo_feed(solo, FRAME_DATA, 0, 1, zeroes, 16000), 0);
  assert_int_equal(solo_output(solo, out, sizeof out), 0);
  solo->side.ends[0].room = 1;
  mdm_stream_drain(solo->side.ends[0].stream);
  size_t size = solo_output(solo, out, sizeof out);
  assert_int_equal(size, 12);
  assert_true(frames_find(out, size, FRAME_WINDOW, 0, &frame));
  assert_int_equal(get_u32(frame.data + 8), 131072);
  assert_int_equal(mdm_stream_held(solo->side.ends[0].stream), 15 * 16000 - 131072);
  solo->side.ends[0].corrupt = false;
  solo_end(solo);
}

static void held_bytes_come_first_and_in_order(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  pair->client.room = 10;
  struct test_end *end = send_to(pair, 100000);
  pair_run(pair);
  struct test_end *peer = other(pair, end);
  while (peer->received < 100000) {
    peer->room = 777;
    mdm_stream_drain(peer->stream);
    assert_false(peer->corrupt);
  }
  assert_int_equal(mdm_stream_held(peer->stream), 0);
  pair_end(pair);
}

static void the_fin_waits_for_held_bytes(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  pair->client.room = 10;
  struct test_end *end = send_to(pair, 1000);
  end->finish = true;
  pair_run(pair);
  struct test_end *peer = other(pair, end);
  assert_int_equal(peer->fins, 0);
  peer->room = 989;
  mdm_stream_drain(peer->stream);
  assert_int_equal(peer->fins, 0);
  peer->room = 1;
  mdm_stream_drain(peer->stream);
  assert_int_equal(peer->fins, 1);
  pair_end(pair);
}

static void discarded_bytes_are_credited(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  pair->client.room = 0;
  struct test_end *end = send_to(pair, 5000000);
  end->finish = true;
  pair_run(pair);
  struct test_end *peer = other(pair, end);
  assert_int_equal(end->sent, 262144);
  mdm_stream_discard(peer->stream);
  assert_int_equal(mdm_stream_held(peer->stream), 0);
  pair_run(pair);
  assert_int_equal(end->sent, 5000000);
  assert_int_equal(peer->received, 0);
  assert_int_equal(peer->fins, 1);
  pair_end(pair);
}

static void initial_windows_follow_the_number_of_streams(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  for (int i = 0; i < 1100; i++)
    assert_non_null(side_open(&pair->client, NULL));
  pair_run(pair);
  /* Ours, by what the OPEN granted the other side. */
  assert_int_equal(pair->server.ends[0].stream->send_credit, 262144);
  assert_int_equal(pair->server.ends[63].stream->send_credit, 262144);
  assert_int_equal(pair->server.ends[64].stream->send_credit, 65536);
  assert_int_equal(pair->server.ends[999].stream->send_credit, 65536);
  assert_int_equal(pair->server.ends[1000].stream->send_credit, 16384);
  /* Theirs, by the OPEN_OK: never below the open credit. */
  assert_int_equal(pair->client.ends[0].stream->send_credit, 262144);
  assert_int_equal(pair->client.ends[1050].stream->send_credit, 65536);
  pair_end(pair);
}

/* One round trip of the virtual link, with a PING in it. */
static void round_trip(struct test_pair *pair, uint64_t rtt_us) {
  assert_int_equal(mdm_mux_ping(pair->client.mux), 0);
  pair->clock += rtt_us / 2;
  pair_move(&pair->client, &pair->server, 1 << 26);
  pair->clock += rtt_us / 2;
  pair_move(&pair->server, &pair->client, 1 << 26);
}

static uint32_t window_after(struct mdm_mux_config *config, size_t cap, uint64_t rtt_us, uint64_t room) {
  struct test_pair *pair = pair_new(config, cap);
  pair->client.room = room;
  struct test_end *end = send_to(pair, 1u << 30);
  for (int i = 0; i < 60; i++)
    round_trip(pair, rtt_us);
  uint32_t window = other(pair, end)->stream->window;
  struct mdm_mux_stats stats;
  mdm_mux_get_stats(pair->client.mux, &stats);
  assert_int_equal(stats.granted_growth, window - 262144);
  mdm_stream_rest(other(pair, end)->stream);
  mdm_mux_get_stats(pair->client.mux, &stats);
  assert_int_equal(stats.granted_growth, 0);
  pair_end(pair);
  return window;
}

static void a_window_doubles_to_1_mib_on_a_short_path(void **state) {
  (void)state;
  assert_int_equal(window_after(NULL, 0, 9000, UINT64_MAX), 1048576);
}

static void a_window_grows_on_to_8_mib_on_a_long_path(void **state) {
  (void)state;
  assert_int_equal(window_after(NULL, 0, RTT_US, UINT64_MAX), 8u << 20);
}

static void a_window_does_not_grow_for_a_slow_reader(void **state) {
  (void)state;
  /* Once, at the end of the open credit, when a little less than a quarter was held; never again. */
  assert_int_equal(window_after(NULL, 0, RTT_US, 1000), 524288);
}

static void a_window_grows_no_further_than_the_pool(void **state) {
  (void)state;
  struct mdm_mux_config config = {.growth_pool = 300000};
  assert_int_equal(window_after(&config, 0, RTT_US, UINT64_MAX), 262144 + 300000);
}

static void a_window_grows_no_further_than_its_maximum(void **state) {
  (void)state;
  struct mdm_mux_config config = {.window_max = 600000};
  assert_int_equal(window_after(&config, 0, RTT_US, UINT64_MAX), 600000);
}

static void a_rested_window_is_not_granted_anew(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  struct test_end *end = send_to(pair, 20u << 20);
  for (int i = 0; i < 30; i++)
    round_trip(pair, 1000);
  struct test_end *peer = other(pair, end);
  assert_int_equal(peer->stream->window, 1048576);
  assert_int_equal(peer->received, 20u << 20);
  mdm_stream_rest(peer->stream);
  peer->room = 0;
  end->to_send += 20u << 20;
  mdm_stream_ready(end->stream);
  round_trip(pair, 1000);
  peer->room = UINT64_MAX;
  mdm_stream_drain(peer->stream);
  mdm_stream_rest(peer->stream);
  peer->room = 0;
  round_trip(pair, 1000);
  round_trip(pair, 1000);
  assert_true(mdm_stream_held(peer->stream) <= 262144);
  pair_end(pair);
}

static void blocked_is_told_on_the_frame_that_took_the_last_credit(void **state) {
  (void)state;
  struct mdm_mux_config config = {.role = MDM_ROLE_SERVER};
  struct test_solo *solo = solo_new(&config, 0);
  static uint8_t out[1 << 17];
  struct mdm_slice frame;
  for (int more = 0; more < 2; more++) {
    struct test_end *end = side_open(&solo->side, NULL);
    end->to_send = 65536 + (more ? 1 : 0);
    mdm_stream_ready(end->stream);
    size_t size = solo_output(solo, out, sizeof out);
    unsigned frames = (unsigned)frames_count(out, size, FRAME_DATA);
    for (unsigned i = 0; i < frames; i++) {
      assert_true(frames_find(out, size, FRAME_DATA, i, &frame));
      assert_int_equal(frame.data[3], more && i == frames - 1 ? FRAME_FLAG_BLOCKED : 0);
    }
  }
  solo_end(solo);
}

/* ---- budget ---- */
#define CAP (1u << 20)

static void hold_about(struct test_pair *pair, size_t bytes) {
  while (mdm_mux_budget_held(pair->budget) < bytes) {
    struct test_end *end = side_open(&pair->server, NULL);
    assert_non_null(end);
    end->to_send = 60000;
    mdm_stream_ready(end->stream);
    pair_run(pair);
    pair->clock += 1000;
  }
}

static void at_half_the_budget_windows_stop_growing(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, CAP);
  struct test_end *end = send_to(pair, 1u << 30);
  pair_move(&pair->server, &pair->client, 1 << 20);
  struct test_end *peer = other(pair, end);
  assert_true(peer->stream->window < 1048576);
  pair->client.room = 0;
  end->chunk = 1; /* quiet while others fill the budget */
  end->to_send = end->sent;
  hold_about(pair, CAP / 2);
  assert_true(mdm_mux_budget_held(pair->budget) < CAP * 3 / 4);
  uint32_t before = peer->stream->window;
  end->chunk = 0;
  end->to_send = 1u << 24;
  mdm_stream_ready(end->stream);
  for (int i = 0; i < 100; i++)
    round_trip(pair, 1000);
  assert_int_equal(peer->received, 1u << 24);
  assert_int_equal(peer->stream->window, before);
  for (size_t i = 1; i < pair->client.count; i++) { /* and below the half they grow again */
    pair->client.ends[i].room = UINT64_MAX;
    mdm_stream_drain(pair->client.ends[i].stream);
  }
  assert_int_equal(mdm_mux_budget_held(pair->budget), 0);
  end->to_send += 1u << 24;
  mdm_stream_ready(end->stream);
  for (int i = 0; i < 100; i++)
    round_trip(pair, 1000);
  assert_true(peer->stream->window > before);
  pair_end(pair);
}

static void at_three_quarters_open_is_refused(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, CAP);
  pair->client.room = 0;
  hold_about(pair, CAP * 3 / 4);
  assert_true(mdm_mux_budget_held(pair->budget) <= CAP);
  struct mdm_open open = {.kind = MDM_KIND_TCP};
  mdm_stream *stream;
  assert_int_equal(mdm_stream_open(pair->client.mux, &open, &test_ops, NULL, &stream), MDM_MUX_ELIMIT);
  size_t count = pair->client.count;
  /* From the other side it is answered RESET LIMIT. */
  uint8_t bytes[24] = {0, 16, FRAME_OPEN, 0, 0, 0, 0x10, 1, MDM_KIND_TCP};
  assert_int_equal(mdm_mux_feed(pair->client.mux, bytes, sizeof bytes), 0);
  assert_int_equal(pair->client.count, count);
  struct mdm_slice slices[4], frame;
  size_t n = mdm_mux_output(pair->client.mux, slices, 4);
  assert_true(n >= 1);
  assert_true(frames_find(slices[n - 1].data, slices[n - 1].size, FRAME_RESET, 0, &frame));
  assert_int_equal(get_u16(frame.data + 8), MDM_RESET_LIMIT);
  pair_end(pair);
}

static void at_the_cap_the_oldest_unconsumed_goes_first(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, CAP);
  pair->client.room = 0;
  struct test_end *ends[12];
  for (int i = 0; i < 12; i++) {
    ends[i] = side_open(&pair->server, NULL);
    ends[i]->to_send = 60000;
    ends[i]->chunk = 0;
    mdm_stream_ready(ends[i]->stream);
    pair_run(pair);
    pair->clock += 1000;
  }
  /* 12 x 64 KiB = 3/4. The second is drained and fills again: it is the youngest now. */
  struct test_end *second = other(pair, ends[1]);
  second->room = UINT64_MAX;
  mdm_stream_drain(second->stream);
  second->room = 0;
  ends[1]->to_send += 60000;
  mdm_stream_ready(ends[1]->stream);
  pair_run(pair);
  pair->clock += 1000;
  ends[11]->to_send = 60000 + 400000; /* over the cap by a little: two streams or so must go */
  mdm_stream_ready(ends[11]->stream);
  ends[10]->to_send += 120000;
  mdm_stream_ready(ends[10]->stream);
  pair_run(pair);
  assert_true(mdm_mux_budget_held(pair->budget) <= CAP);
  assert_int_equal(other(pair, ends[0])->code, MDM_RESET_STALLED);
  assert_int_equal(other(pair, ends[1])->resets, 0);
  assert_int_equal(other(pair, ends[11])->resets, 0);
  int reset = 0;
  for (int i = 0; i < 12; i++) {
    reset += other(pair, ends[i])->resets;
    assert_int_equal(ends[i]->code, other(pair, ends[i])->code); /* the peer was told */
  }
  assert_in_range(reset, 1, 3);
  pair_end(pair);
}

static void a_trickle_does_not_make_held_bytes_younger(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, CAP);
  struct test_end *ends[14];
  pair->client.room = 0;
  for (int i = 0; i < 14; i++) {
    ends[i] = side_open(&pair->server, NULL);
    assert_non_null(ends[i]);
    ends[i]->to_send = 40000; /* three blocks */
    mdm_stream_ready(ends[i]->stream);
    pair_run(pair);
    pair->clock += 1000;
  }
  other(pair, ends[0])->room = 1; /* its oldest byte is as old as before, to within a block */
  mdm_stream_drain(other(pair, ends[0])->stream);
  ends[5]->to_send += 20000; /* this one's first two blocks go, what is left is young */
  mdm_stream_ready(ends[5]->stream);
  pair_run(pair);
  other(pair, ends[5])->room = 50000;
  mdm_stream_drain(other(pair, ends[5])->stream);
  ends[13]->to_send += 600000; /* past the cap, by one stream after the other */
  for (int i = 0; i < 10; i++) {
    struct test_end *filler = side_open(&pair->server, NULL);
    if (filler) {
      filler->to_send = 60000;
      mdm_stream_ready(filler->stream);
    }
  }
  mdm_stream_ready(ends[13]->stream);
  pair_run(pair);
  int last = 0;
  for (int i = 0; i < 14; i++)
    if (other(pair, ends[i])->resets)
      last = i;
  assert_in_range(last, 6, 12);
  for (int i = 0; i <= last; i++) /* in the order of age, and the fifth has become young */
    assert_int_equal(other(pair, ends[i])->resets, i == 5 ? 0 : 1);
  pair_end(pair);
}

static void one_gigabyte_to_a_reader_that_stopped_stays_in_its_window(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  struct test_end *busy = send_to(pair, 64u << 20);
  pair_move(&pair->server, &pair->client, 64); /* its OPEN has arrived */
  pair->client.room = 0;
  struct test_end *stuck = send_to(pair, 1u << 30);
  for (int i = 0; i < 200; i++)
    round_trip(pair, 1000);
  assert_int_equal(other(pair, busy)->received, 64u << 20);
  assert_int_equal(stuck->sent, 262144);
  pair_end(pair);
}

/* ---- stall limit ---- */
static void a_stream_over_its_stall_limit_is_reset(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  pair->client.room = 0;
  struct test_end *limited = send_to(pair, 1000), *patient = send_to(pair, 1000), *slow = send_to(pair, 1000);
  pair_run(pair);
  mdm_stream_set_stall_limit(other(pair, limited)->stream, 300);
  mdm_stream_set_stall_limit(other(pair, slow)->stream, 300);
  for (int i = 0; i < 299; i++) {
    pair->clock += 1000000;
    if (i == 150) {
      other(pair, slow)->room = 1; /* one byte consumed starts the clock anew */
      mdm_stream_drain(other(pair, slow)->stream);
    }
    mdm_mux_tick(pair->client.mux);
  }
  assert_int_equal(other(pair, limited)->resets, 0);
  pair->clock += 1000000;
  mdm_mux_tick(pair->client.mux);
  assert_int_equal(other(pair, limited)->code, MDM_RESET_STALLED);
  assert_int_equal(other(pair, limited)->closes, 1);
  assert_int_equal(other(pair, patient)->resets, 0);
  assert_int_equal(other(pair, slow)->resets, 0);
  pair_run(pair);
  assert_int_equal(limited->code, MDM_RESET_STALLED);
  pair->clock += 160u * 1000000u;
  mdm_mux_tick(pair->client.mux);
  assert_int_equal(other(pair, slow)->code, MDM_RESET_STALLED);
  pair_end(pair);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_32_kib_head_passes_a_16_kib_window),
      cmocka_unit_test(nothing_read_is_nothing_credited),
      cmocka_unit_test(window_is_sent_at_half_a_window_consumed),
      cmocka_unit_test(held_bytes_come_first_and_in_order),
      cmocka_unit_test(the_fin_waits_for_held_bytes),
      cmocka_unit_test(discarded_bytes_are_credited),
      cmocka_unit_test(initial_windows_follow_the_number_of_streams),
      cmocka_unit_test(a_window_doubles_to_1_mib_on_a_short_path),
      cmocka_unit_test(a_window_grows_on_to_8_mib_on_a_long_path),
      cmocka_unit_test(a_window_does_not_grow_for_a_slow_reader),
      cmocka_unit_test(a_window_grows_no_further_than_the_pool),
      cmocka_unit_test(a_window_grows_no_further_than_its_maximum),
      cmocka_unit_test(a_rested_window_is_not_granted_anew),
      cmocka_unit_test(blocked_is_told_on_the_frame_that_took_the_last_credit),
      cmocka_unit_test(at_half_the_budget_windows_stop_growing),
      cmocka_unit_test(at_three_quarters_open_is_refused),
      cmocka_unit_test(at_the_cap_the_oldest_unconsumed_goes_first),
      cmocka_unit_test(a_trickle_does_not_make_held_bytes_younger),
      cmocka_unit_test(one_gigabyte_to_a_reader_that_stopped_stays_in_its_window),
      cmocka_unit_test(a_stream_over_its_stall_limit_is_reset),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
