/* model_test.c: hundreds of streams in random interleavings over a random carrier; every byte is checked against the
 * pattern of its stream, and credit against what the wire allows. And the same input split at every byte. */
#include "pair.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>

#define STREAMS 300
#define ROUNDS  40000

/* Credit that the sender has, and bytes and grants on the way, never exceed what the receiver counts on. */
static void assert_credit(struct test_pair *pair) {
  struct test_side *sides[2] = {&pair->client, &pair->server};
  for (int s = 0; s < 2; s++)
    for (size_t i = 0; i < sides[s]->count; i++) {
      struct test_end *end = &sides[s]->ends[i];
      if (!end->stream)
        continue;
      const mdm_stream *stream = end->stream;
      if (!end->rested) /* before the OPEN_OK it is the open credit that counts */
        assert_true(stream->held.size + stream->recv_credit <= (stream->window > 65536 ? stream->window : 65536));
      struct test_end *peer = side_find(sides[1 - s], end->id);
      if (peer && peer->stream && !stream->fin_received)
        assert_true(peer->stream->send_credit <= stream->recv_credit);
    }
}

static void act(struct test_pair *pair, struct test_random *random) {
  struct test_side *side = test_below(random, 2) ? &pair->client : &pair->server;
  if (side->count == 0)
    return;
  struct test_end *end = &side->ends[test_below(random, (uint32_t)side->count)];
  if (!end->stream)
    return;
  switch (test_below(random, 9)) {
  case 0:
  case 1:
    if (!end->finish)
      end->to_send += test_below(random, 60000);
    mdm_stream_ready(end->stream);
    break;
  case 2:
    end->chunk = test_below(random, 3) ? 0 : 1 + test_below(random, 20000);
    break;
  case 3:
    end->room = test_below(random, 2) ? 0 : test_below(random, 100000);
    mdm_stream_drain(end->stream);
    break;
  case 4:
    end->room = UINT64_MAX;
    if (test_below(random, 2)) /* else room that nobody was told of: held bytes still come first */
      mdm_stream_drain(end->stream);
    break;
  case 5:
    if (test_below(random, 6) == 0) {
      end->finish = true;
      mdm_stream_ready(end->stream);
    }
    break;
  case 6:
    if (test_below(random, 40) == 0)
      mdm_stream_reset(end->stream, MDM_RESET_CANCEL, false);
    break;
  case 7:
    mdm_stream_accept(end->stream);
    break;
  case 8:
    end->rested = true;
    mdm_stream_rest(end->stream);
    break;
  }
}

static void settle(struct test_pair *pair) {
  struct test_side *sides[2] = {&pair->client, &pair->server};
  for (int s = 0; s < 2; s++)
    for (size_t i = 0; i < sides[s]->count; i++) {
      struct test_end *end = &sides[s]->ends[i];
      end->room = UINT64_MAX;
      end->finish = true;
      end->chunk = 0;
      if (!end->stream)
        continue;
      mdm_stream_accept(end->stream);
      mdm_stream_drain(end->stream);
      if (end->stream)
        mdm_stream_ready(end->stream);
    }
}

static void check_end(struct test_pair *pair, struct test_end *end) {
  struct test_end *peer = side_find(end->side == &pair->client ? &pair->server : &pair->client, end->id);
  assert_false(end->corrupt);
  assert_int_equal(end->closes, 1);
  if (!peer || end->resets || peer->resets || !end->fins || !peer->fins)
    return; /* reset by one of them: an end in the middle is right */
  assert_int_equal(end->received, peer->sent);
  assert_int_equal(end->sent, end->to_send);
}

static void random_interleavings(uint32_t window) {
  struct test_random random = {test_seed()};
  struct mdm_mux_config config = {.window_initial = window};
  struct test_pair *pair = pair_new(&config, 0);
  pair->client.accept = pair->server.accept = false;
  for (int round = 0; round < ROUNDS; round++) {
    if (test_below(&random, 50) == 0 && pair->client.count + pair->server.count < 2 * STREAMS)
      assert_non_null(side_open(test_below(&random, 2) ? &pair->client : &pair->server, NULL));
    act(pair, &random);
    if (test_below(&random, 3) == 0) {
      uint32_t limit = test_below(&random, 2) ? 1 + test_below(&random, 300) : 65536;
      if (test_below(&random, 2))
        pair_move(&pair->client, &pair->server, limit);
      else
        pair_move(&pair->server, &pair->client, limit);
      pair->clock += test_below(&random, 5000);
    }
    if (round % 512 == 0) {
      assert_credit(pair);
      mdm_mux_tick(pair->client.mux);
      mdm_mux_tick(pair->server.mux);
    }
  }
  pair_run(pair); /* so that every OPEN has arrived */
  settle(pair);
  pair_run(pair);
  assert_null(mdm_mux_failure(pair->client.mux));
  assert_null(mdm_mux_failure(pair->server.mux));
  for (size_t i = 0; i < pair->client.count; i++)
    check_end(pair, &pair->client.ends[i]);
  for (size_t i = 0; i < pair->server.count; i++)
    check_end(pair, &pair->server.ends[i]);
  struct mdm_mux_stats stats;
  mdm_mux_get_stats(pair->client.mux, &stats);
  assert_int_equal(stats.streams_active, 0);
  assert_int_equal(stats.held_bytes, 0);
  assert_int_equal(stats.granted_growth, 0);
  assert_true(pair->client.count > 100);
  pair_end(pair);
}

static void no_byte_is_lost_or_reordered_with_windows_by_load(void **state) {
  (void)state;
  random_interleavings(0);
}

static void no_byte_is_lost_or_reordered_with_windows_of_16_kib(void **state) {
  (void)state;
  random_interleavings(16384);
}

static void no_byte_is_lost_or_reordered_with_windows_of_100_bytes(void **state) {
  (void)state;
  random_interleavings(100);
}

/* ---- every split ---- */
struct record {
  uint8_t *bytes;
  size_t size, capacity;
};

static void record_output(struct test_side *from, struct test_side *to, struct record *record) {
  struct mdm_slice slices[8];
  size_t count;
  while ((count = mdm_mux_output(from->mux, slices, 8)) > 0) {
    size_t round = 0;
    for (size_t i = 0; i < count; i++) {
      assert_true(record->size + slices[i].size <= record->capacity);
      memcpy(record->bytes + record->size, slices[i].data, slices[i].size);
      record->size += slices[i].size;
      assert_int_equal(mdm_mux_feed(to->mux, slices[i].data, slices[i].size), 0);
      round += slices[i].size;
    }
    mdm_mux_sent(from->mux, round);
  }
}

/* A conversation with every frame in it, as the server wrote it. */
static struct record conversation(void) {
  struct test_pair *pair = pair_new(NULL, 0);
  struct record server = {malloc(1 << 16), 0, 1 << 16}, client = {malloc(1 << 16), 0, 1 << 16};
  uint8_t options[64], message[1500];
  long size = mdm_option_put(options, sizeof options, 0, 1, "abc", 3);
  struct mdm_open open = {
      .kind = MDM_KIND_HTTP, .service = 1, .visitor = {.family = 6, .port = 1}, .options = {options, (size_t)size}};
  memset(message, '.', sizeof message);
  assert_int_equal(mdm_mux_send_message(pair->server.mux, MDM_MSG_READY, message, sizeof message), 0);
  struct test_end *one = side_open(&pair->server, &open);
  struct test_end *two = side_open(&pair->server, NULL);
  struct test_end *three = side_open(&pair->server, NULL);
  one->to_send = 700;
  one->finish = true;
  two->to_send = 300;
  two->chunk = 50;
  mdm_stream_ready(one->stream);
  mdm_stream_ready(two->stream);
  mdm_stream_reset(three->stream, MDM_RESET_TIMEOUT, true);
  assert_int_equal(mdm_mux_ping(pair->server.mux), 0);
  record_output(&pair->server, &pair->client, &server);
  struct test_end *back = side_open(&pair->client, NULL);
  back->to_send = 9;
  mdm_stream_ready(back->stream);
  record_output(&pair->client, &pair->server, &client);
  assert_int_equal(mdm_mux_goaway(pair->server.mux, MDM_GOAWAY_DRAIN, "so long"), 0);
  record_output(&pair->server, &pair->client, &server);
  pair_end(pair);
  free(client.bytes);
  return server;
}

/* What the client makes of it, as one line. */
static void outcome(const struct record *record, size_t split, size_t step, char *text, size_t size) {
  struct test_solo *solo = calloc(1, sizeof *solo);
  assert_int_equal(solo_open(solo, NULL, 0), 0);
  mdm_mux_start(solo->side.mux, 65536, 100);
  for (int i = 0; i < 1; i++)
    assert_non_null(side_open(&solo->side, NULL));
  int rc = 0;
  if (step) {
    for (size_t at = 0; at < record->size && rc == 0; at += step)
      rc = mdm_mux_feed(solo->side.mux, record->bytes + at, record->size - at < step ? record->size - at : step);
  } else {
    rc = mdm_mux_feed(solo->side.mux, record->bytes, split);
    if (rc == 0)
      rc = mdm_mux_feed(solo->side.mux, record->bytes + split, record->size - split);
  }
  size_t n = (size_t)snprintf(text, size, "rc %d, %d messages of %zu, %d goaways %s, failure %s;", rc,
                              solo->side.messages, solo->side.message_size, solo->side.goaways, solo->side.goaway_text,
                              mdm_mux_failure(solo->side.mux) ? mdm_mux_failure(solo->side.mux) : "none");
  for (size_t i = 0; i < solo->side.count; i++) {
    const struct test_end *end = &solo->side.ends[i];
    n += (size_t)snprintf(text + n, size - n, " %u: %llu bytes%s, %d fin, %d reset %d, %d opened;", end->id,
                          (unsigned long long)end->received, end->corrupt ? " CORRUPT" : "", end->fins, end->resets,
                          end->code, end->opened);
  }
  solo_end(solo);
}

static void every_split_means_the_same(void **state) {
  (void)state;
  struct record record = conversation();
  char want[2048], got[2048];
  outcome(&record, record.size, 0, want, sizeof want);
  assert_non_null(strstr(want, "rc 0"));
  assert_non_null(strstr(want, "700 bytes, 1 fin"));
  assert_non_null(strstr(want, "failure none"));
  assert_true(record.size > 2500);
  for (size_t split = 0; split <= record.size; split++) {
    outcome(&record, split, 0, got, sizeof got);
    assert_string_equal(got, want);
  }
  for (size_t step = 1; step <= 40; step++) {
    outcome(&record, 0, step, got, sizeof got);
    assert_string_equal(got, want);
  }
  free(record.bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_byte_is_lost_or_reordered_with_windows_by_load),
      cmocka_unit_test(no_byte_is_lost_or_reordered_with_windows_of_16_kib),
      cmocka_unit_test(no_byte_is_lost_or_reordered_with_windows_of_100_bytes),
      cmocka_unit_test(every_split_means_the_same),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
