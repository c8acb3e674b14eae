/* link_test.c: PING and round trips, GOAWAY and the drain, ids that run out, messages, and death of a session. */
#include "pair.h"
#include "frame.h"
#include "session.h"

#include <stdlib.h>

static struct test_end *other(struct test_pair *pair, const struct test_end *end) {
  return side_find(end->side == &pair->client ? &pair->server : &pair->client, end->id);
}

/* ---- PING ---- */
static void ping(struct test_pair *pair, uint64_t rtt_us) {
  assert_int_equal(mdm_mux_ping(pair->client.mux), 0);
  assert_int_equal(mdm_mux_ping(pair->client.mux), 0); /* does nothing */
  pair_move(&pair->client, &pair->server, 1 << 20);
  pair->clock += rtt_us;
  pair_move(&pair->server, &pair->client, 1 << 20);
}

static void a_ping_measures_the_round_trip(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  assert_int_equal(mdm_mux_rtt_us(pair->client.mux), 0);
  assert_int_equal(mdm_mux_rtt_min_us(pair->client.mux), 0);
  ping(pair, 30000);
  assert_int_equal(pair->client.pongs, 1);
  assert_int_equal(mdm_mux_rtt_us(pair->client.mux), 30000);
  ping(pair, 10000);
  ping(pair, 90000);
  assert_int_equal(mdm_mux_rtt_us(pair->client.mux), 90000);
  assert_int_equal(mdm_mux_rtt_min_us(pair->client.mux), 10000);
  assert_int_equal(mdm_mux_last_receive_us(pair->client.mux), pair->clock);
  pair_end(pair);
}

static void the_minimum_round_trip_forgets_after_30_s(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  ping(pair, 5000);
  for (int i = 0; i < 14; i++) { /* to 14 s */
    pair->clock += 1000000;
    ping(pair, 20000);
  }
  assert_int_equal(mdm_mux_rtt_min_us(pair->client.mux), 5000);
  for (int i = 0; i < 6; i++) { /* to 20 s: the half before counts */
    pair->clock += 1000000;
    ping(pair, 20000);
  }
  assert_int_equal(mdm_mux_rtt_min_us(pair->client.mux), 5000);
  for (int i = 0; i < 14; i++) { /* past 30 s */
    pair->clock += 1000000;
    ping(pair, 20000);
  }
  assert_int_equal(mdm_mux_rtt_min_us(pair->client.mux), 20000);
  pair->clock += 60u * 1000000u; /* nor does it remember across a silence */
  ping(pair, 50000);
  assert_int_equal(mdm_mux_rtt_min_us(pair->client.mux), 50000);
  pair_end(pair);
}

static void a_pong_that_answers_nothing_is_ignored(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  assert_int_equal(solo_feed(solo, FRAME_PONG, 0, 0, "\0\0\0\0\0\0\0\1", 8), 0);
  assert_int_equal(mdm_mux_ping(solo->side.mux), 0);
  assert_int_equal(solo_feed(solo, FRAME_PONG, 0, 0, "\0\0\0\0\0\0\0\2", 8), 0);
  assert_int_equal(solo->side.pongs, 0);
  solo->clock += 7;
  assert_int_equal(solo_feed(solo, FRAME_PONG, 0, 0, "\0\0\0\0\0\0\0\1", 8), 0);
  assert_int_equal(solo->side.pongs, 1);
  assert_int_equal(mdm_mux_rtt_us(solo->side.mux), 7);
  solo_end(solo);
}

/* ---- GOAWAY ---- */
static void a_drain_lets_streams_finish_and_takes_what_is_under_way(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  struct test_end *early = side_open(&pair->server, NULL);
  early->to_send = 10;
  pair_run(pair);
  struct test_end *crossing = side_open(&pair->server, NULL); /* on its way when the client says GOAWAY */
  assert_int_equal(mdm_mux_goaway(pair->client.mux, MDM_GOAWAY_DRAIN, "restarting"), 0);
  assert_int_equal(mdm_mux_goaway(pair->client.mux, MDM_GOAWAY_DRAIN, "restarting"), 0);
  assert_null(side_open(&pair->client, NULL));
  pair_move(&pair->client, &pair->server, 1 << 20);
  assert_int_equal(pair->server.goaways, 1);
  assert_int_equal(pair->server.goaway_last_id, 0x7fffffff);
  assert_int_equal(pair->server.goaway_code, MDM_GOAWAY_DRAIN);
  assert_string_equal(pair->server.goaway_text, "restarting");
  assert_null(side_open(&pair->server, NULL)); /* it was told */
  pair_run(pair);                              /* the PONG brings the second */
  assert_int_equal(pair->server.goaways, 2);
  assert_int_equal(pair->server.goaway_last_id, crossing->id);
  assert_int_equal(crossing->resets, 0);
  assert_non_null(other(pair, crossing));
  assert_false(mdm_mux_drained(pair->client.mux));
  early->finish = crossing->finish = true;
  mdm_stream_ready(early->stream);
  mdm_stream_ready(crossing->stream);
  mdm_stream_finish(other(pair, early)->stream);
  mdm_stream_finish(other(pair, crossing)->stream);
  pair_run(pair);
  assert_int_equal(other(pair, early)->received, 10);
  assert_int_equal(early->closes, 1);
  assert_true(mdm_mux_drained(pair->client.mux));
  pair_end(pair);
}

static void streams_above_the_last_id_were_not_delivered(void **state) {
  (void)state;
  struct mdm_mux_config config = {.role = MDM_ROLE_SERVER};
  struct test_solo *solo = solo_new(&config, 0);
  struct test_end *ends[6];
  for (int i = 0; i < 6; i++)
    ends[i] = side_open(&solo->side, NULL); /* 1, 3, 5, 7, 9, 11 */
  assert_int_equal(solo_feed(solo, FRAME_GOAWAY, 0, 0, "\0\0\0\5\0\0", 6), 0);
  for (int i = 0; i < 6; i++) {
    assert_int_equal(ends[i]->resets, i > 2);
    assert_int_equal(ends[i]->not_delivered, i > 2);
    assert_int_equal(ends[i]->closes, i > 2);
  }
  assert_null(mdm_mux_failure(solo->side.mux));
  solo_end(solo);
}

static void the_second_goaway_comes_after_a_second_at_the_latest(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  static uint8_t out[4096];
  struct mdm_slice frame;
  assert_int_equal(mdm_mux_goaway(solo->side.mux, MDM_GOAWAY_DRAIN, ""), 0);
  size_t size = solo_output(solo, out, sizeof out);
  assert_int_equal(frames_count(out, size, FRAME_GOAWAY), 1);
  assert_int_equal(solo_feed_open(solo, 1, 1), 0); /* crossed it */
  assert_int_equal(solo->side.count, 1);
  solo->clock += 999999;
  mdm_mux_tick(solo->side.mux);
  size = solo_output(solo, out, sizeof out);
  assert_int_equal(frames_count(out, size, FRAME_GOAWAY), 0);
  solo->clock += 1;
  mdm_mux_tick(solo->side.mux);
  size = solo_output(solo, out, sizeof out);
  assert_true(frames_find(out, size, FRAME_GOAWAY, 0, &frame));
  assert_int_equal(get_u32(frame.data + 8), 1);
  assert_int_equal(solo_feed_open(solo, 3, 1), 0); /* too late: no answer, no stream */
  assert_int_equal(solo_feed(solo, FRAME_DATA, 0, 3, "x", 1), 0);
  assert_int_equal(solo->side.count, 1);
  assert_int_equal(solo_output(solo, out, sizeof out), 0);
  solo_end(solo);
}

static void only_a_round_trip_after_the_first_goaway_counts(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  static uint8_t out[4096];
  struct mdm_slice frame;
  assert_int_equal(mdm_mux_ping(solo->side.mux), 0);
  solo->clock += 1000;
  assert_int_equal(mdm_mux_goaway(solo->side.mux, MDM_GOAWAY_DRAIN, ""), 0);
  solo_output(solo, out, sizeof out);
  assert_int_equal(solo_feed(solo, FRAME_PONG, 0, 0, "\0\0\0\0\0\0\0\1", 8), 0); /* of before */
  size_t size = solo_output(solo, out, sizeof out);
  assert_int_equal(frames_count(out, size, FRAME_GOAWAY), 0);
  assert_true(frames_find(out, size, FRAME_PING, 0, &frame)); /* asked anew */
  assert_int_equal(solo_feed(solo, FRAME_PONG, 0, 0, frame.data + 8, 8), 0);
  size = solo_output(solo, out, sizeof out);
  assert_int_equal(frames_count(out, size, FRAME_GOAWAY), 1);
  solo_end(solo);
}

static void before_the_start_one_goaway_says_it_all(void **state) {
  (void)state;
  struct test_solo *solo = calloc(1, sizeof *solo);
  static uint8_t out[4096];
  struct mdm_slice frame;
  assert_int_equal(solo_open(solo, NULL, 0), 0);
  solo_output(solo, out, sizeof out);
  assert_int_equal(mdm_mux_goaway(solo->side.mux, MDM_GOAWAY_AUTH, "wrong token"), 0);
  assert_false(mdm_mux_drained(solo->side.mux));
  size_t size = solo_output(solo, out, sizeof out);
  assert_int_equal(frames_count(out, size, FRAME_GOAWAY), 1);
  assert_true(frames_find(out, size, FRAME_GOAWAY, 0, &frame));
  assert_int_equal(get_u16(frame.data + 12), MDM_GOAWAY_AUTH);
  assert_true(mdm_mux_drained(solo->side.mux));
  solo_end(solo);
}

static void too_long_a_goaway_text_is_refused(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  char text[1026];
  memset(text, 'x', sizeof text);
  text[1025] = 0;
  assert_int_equal(mdm_mux_goaway(solo->side.mux, MDM_GOAWAY_DRAIN, text), MDM_MUX_ETOOBIG);
  text[1024] = 0;
  assert_int_equal(mdm_mux_goaway(solo->side.mux, MDM_GOAWAY_DRAIN, text), 0);
  solo_end(solo);
}

/* ---- opening ---- */
static int try_open(struct test_side *side, const struct mdm_open *open) {
  mdm_stream *stream;
  static struct test_end nobody;
  nobody = (struct test_end){.side = side};
  return mdm_stream_open(side->mux, open, &test_ops, &nobody, &stream);
}

static void ids_near_the_end_run_out_with_a_word(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  assert_int_equal(mdm_mux_ids_left(pair->server.mux), 0x40000000);
  assert_int_equal(mdm_mux_ids_left(pair->client.mux), 0x3fffffff);
  pair->server.mux->next_id = 0x7ffffffd;
  pair->client.mux->next_id = 0x7ffffffe;
  assert_int_equal(mdm_mux_ids_left(pair->server.mux), 2);
  assert_int_equal(mdm_mux_ids_left(pair->client.mux), 1);
  struct test_end *last[3] = {side_open(&pair->server, NULL), side_open(&pair->server, NULL),
                              side_open(&pair->client, NULL)};
  struct mdm_open open = {.kind = MDM_KIND_TCP};
  assert_int_equal(try_open(&pair->server, &open), MDM_MUX_ESTATE);
  assert_int_equal(try_open(&pair->client, &open), MDM_MUX_ESTATE);
  assert_int_equal(mdm_mux_ids_left(pair->server.mux) + mdm_mux_ids_left(pair->client.mux), 0);
  for (int i = 0; i < 3; i++) {
    last[i]->to_send = 100;
    last[i]->finish = true;
    mdm_stream_ready(last[i]->stream);
  }
  pair_run(pair);
  for (int i = 0; i < 3; i++)
    assert_int_equal(other(pair, last[i])->received, 100);
  assert_null(mdm_mux_failure(pair->client.mux));
  pair_end(pair);
}

static void an_open_is_checked_here_first(void **state) {
  (void)state;
  struct mdm_mux_config config = {.max_streams = 2};
  struct test_pair *pair = pair_new(&config, 0);
  static uint8_t long_target[513], long_options[4097];
  struct mdm_open open = {.kind = MDM_KIND_TCP};
  open.target = (struct mdm_slice){long_target, sizeof long_target};
  assert_int_equal(try_open(&pair->server, &open), MDM_MUX_ETOOBIG);
  open.target.size = 512;
  open.options = (struct mdm_slice){long_options, sizeof long_options};
  assert_int_equal(try_open(&pair->server, &open), MDM_MUX_ETOOBIG);
  open = (struct mdm_open){.kind = MDM_KIND_TCP};
  assert_non_null(side_open(&pair->server, NULL));
  assert_non_null(side_open(&pair->server, NULL));
  assert_int_equal(try_open(&pair->server, &open), MDM_MUX_ELIMIT); /* what the peer announced */
  pair_end(pair);

  struct test_solo *solo = calloc(1, sizeof *solo);
  assert_int_equal(solo_open(solo, NULL, 0), 0);
  assert_int_equal(try_open(&solo->side, &open), MDM_MUX_ESTATE); /* before the start */
  solo_end(solo);
}

/* ---- messages ---- */
static void messages_of_any_size_arrive_whole(void **state) {
  (void)state;
  static const size_t sizes[] = {0, 1, 16375, 16376, 16377, 32752, 65536, 1000000, MDM_MESSAGE_MAX};
  struct test_pair *pair = pair_new(NULL, 0);
  uint8_t *text = malloc(MDM_MESSAGE_MAX + 1);
  for (size_t i = 0; i < MDM_MESSAGE_MAX; i++)
    text[i] = (uint8_t)(i * 31 >> 3);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    assert_int_equal(mdm_mux_send_message(pair->client.mux, MDM_MSG_SERVICES, text, sizes[i]), 0);
    pair_run(pair);
    assert_int_equal(pair->server.messages, i + 1);
    assert_int_equal(pair->server.message_size, sizes[i]);
    assert_memory_equal(pair->server.message, text, sizes[i]);
  }
  assert_int_equal(mdm_mux_send_message(pair->client.mux, MDM_MSG_SERVICES, text, MDM_MESSAGE_MAX + 1),
                   MDM_MUX_ETOOBIG);
  free(text);
  pair_end(pair);
}

static void a_ready_may_be_long(void **state) {
  (void)state;
  struct test_solo *solo = calloc(1, sizeof *solo);
  static uint8_t text[16000];
  assert_int_equal(solo_open(solo, NULL, 0), 0);
  assert_int_equal(mdm_mux_feed(solo->side.mux, (const uint8_t *)MDM_MAGIC, 8), 0);
  for (int i = 0; i < 60; i++)
    assert_int_equal(solo_feed(solo, MDM_MSG_READY, i < 59 ? FRAME_FLAG_MORE : 0, 0, text, sizeof text), 0);
  assert_int_equal(solo->side.messages, 1);
  assert_int_equal(solo->side.message_size, 60 * sizeof text);
  solo_end(solo);
}

static void messages_that_nobody_takes_are_bounded(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  uint8_t *text = calloc(1, MDM_MESSAGE_MAX);
  int rc = 0, sent = 0;
  while (sent < 100 && (rc = mdm_mux_send_message(solo->side.mux, MDM_MSG_SERVICES, text, MDM_MESSAGE_MAX)) == 0)
    sent++;
  assert_int_equal(rc, MDM_MUX_ELIMIT);
  assert_in_range(sent, 2, 4);
  free(text);
  solo_end(solo);
}

/* ---- death ---- */
static void freeing_a_session_resets_its_streams(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  pair->client.room = 0;
  struct test_end *ends[20];
  for (int i = 0; i < 20; i++) {
    ends[i] = side_open(i & 1 ? &pair->client : &pair->server, NULL);
    ends[i]->to_send = 100000;
    mdm_stream_ready(ends[i]->stream);
  }
  pair_run(pair);
  size_t count = pair->client.count;
  struct test_end *copy = malloc(sizeof pair->client.ends);
  pair_close(pair);
  memcpy(copy, pair->client.ends, sizeof pair->client.ends);
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(copy[i].resets, 1);
    assert_int_equal(copy[i].code, MDM_RESET_SHUTDOWN);
    assert_int_equal(copy[i].closes, 1);
  }
  free(copy);
  free(pair);
}

static void statistics_count(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  struct test_end *end = side_open(&pair->server, NULL);
  end->to_send = 1000;
  mdm_stream_ready(end->stream);
  size_t moved = pair_run(pair);
  struct mdm_mux_stats client, server;
  mdm_mux_get_stats(pair->client.mux, &client);
  mdm_mux_get_stats(pair->server.mux, &server);
  assert_int_equal(client.bytes_in + server.bytes_in, moved);
  assert_int_equal(client.bytes_in, server.bytes_out);
  assert_int_equal(client.bytes_out, server.bytes_in);
  assert_int_equal(client.frames_in, server.frames_out);
  assert_int_equal(client.frames_in, 2);
  assert_int_equal(server.streams_opened, 1);
  assert_int_equal(client.streams_accepted, 1);
  assert_int_equal(client.streams_active, 1);
  mdm_stream_reset(end->stream, MDM_RESET_CANCEL, false);
  mdm_mux_get_stats(pair->server.mux, &server);
  assert_int_equal(server.streams_reset, 1);
  assert_int_equal(server.streams_active, 0);
  pair_end(pair);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_ping_measures_the_round_trip),
      cmocka_unit_test(the_minimum_round_trip_forgets_after_30_s),
      cmocka_unit_test(a_pong_that_answers_nothing_is_ignored),
      cmocka_unit_test(a_drain_lets_streams_finish_and_takes_what_is_under_way),
      cmocka_unit_test(streams_above_the_last_id_were_not_delivered),
      cmocka_unit_test(the_second_goaway_comes_after_a_second_at_the_latest),
      cmocka_unit_test(only_a_round_trip_after_the_first_goaway_counts),
      cmocka_unit_test(before_the_start_one_goaway_says_it_all),
      cmocka_unit_test(too_long_a_goaway_text_is_refused),
      cmocka_unit_test(ids_near_the_end_run_out_with_a_word),
      cmocka_unit_test(an_open_is_checked_here_first),
      cmocka_unit_test(messages_of_any_size_arrive_whole),
      cmocka_unit_test(a_ready_may_be_long),
      cmocka_unit_test(messages_that_nobody_takes_are_bounded),
      cmocka_unit_test(freeing_a_session_resets_its_streams),
      cmocka_unit_test(statistics_count),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
