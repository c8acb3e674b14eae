/* schedule_test.c: fairness, sparse streams first, and that nobody pays for a stalled neighbour. No wall clock: bytes
 * are counted over a carrier that moves so many a round. */
#include "pair.h"
#include "frame.h"
#include "session.h"

#include <stdlib.h>

#define ENOUGH (1ull << 40)

static struct test_end *busy_stream(struct test_pair *pair, uint32_t chunk) {
  struct test_end *end = side_open(&pair->server, NULL);
  assert_non_null(end);
  end->to_send = ENOUGH;
  end->chunk = chunk;
  mdm_stream_ready(end->stream);
  return end;
}

static void run_rounds(struct test_pair *pair, int rounds, size_t bytes) {
  for (int i = 0; i < rounds; i++) {
    pair_move(&pair->server, &pair->client, bytes);
    pair_move(&pair->client, &pair->server, 1 << 20);
    pair->clock += 1000;
  }
}

static double jain(struct test_end *const *ends, const uint64_t *before, size_t count) {
  double sum = 0, squares = 0;
  for (size_t i = 0; i < count; i++) {
    double x = (double)(ends[i]->sent - before[i]);
    sum += x;
    squares += x * x;
  }
  return sum * sum / ((double)count * squares);
}

static void a_thousand_busy_streams_share_alike(uint32_t (*chunk)(struct test_random *)) {
  enum { N = 1000 };
  struct test_random random = {test_seed()};
  struct test_pair *pair = pair_new(NULL, 0);
  struct test_end *ends[N];
  uint64_t before[N];
  for (int i = 0; i < N; i++)
    ends[i] = busy_stream(pair, chunk(&random));
  run_rounds(pair, 100, 1 << 18); /* past the beginning */
  for (int i = 0; i < N; i++)
    before[i] = ends[i]->sent;
  run_rounds(pair, 1000, 1 << 18);
  double index = jain(ends, before, N);
  print_message("Jain index %.5f\n", index);
  assert_true(index >= 0.99);
  pair_end(pair);
}

static uint32_t whole_frames(struct test_random *random) {
  (void)random;
  return 0;
}

static uint32_t any_size(struct test_random *random) {
  return 100 + test_below(random, 16000);
}

static void busy_streams_share_alike(void **state) {
  (void)state;
  a_thousand_busy_streams_share_alike(whole_frames);
}

static void busy_streams_with_frames_of_all_sizes_share_alike(void **state) {
  (void)state;
  a_thousand_busy_streams_share_alike(any_size);
}

static uint64_t others_with(bool one_stalls) {
  enum { N = 100 };
  struct test_pair *pair = pair_new(NULL, 0);
  struct test_end *ends[N];
  uint64_t others = 0;
  for (int i = 0; i < N; i++)
    ends[i] = busy_stream(pair, 0);
  pair_move(&pair->server, &pair->client, 1 << 16);
  if (one_stalls)
    side_find(&pair->client, ends[0]->id)->room = 0;
  run_rounds(pair, 2000, 1 << 17);
  for (int i = 1; i < N; i++)
    others += side_find(&pair->client, ends[i]->id)->received;
  pair_end(pair);
  return others;
}

static void one_stalled_stream_costs_99_others_nothing(void **state) {
  (void)state;
  uint64_t free_run = others_with(false), beside = others_with(true);
  print_message("others: %llu bytes, beside a stalled one %llu\n", (unsigned long long)free_run,
                (unsigned long long)beside);
  assert_true(beside * 100 >= free_run * 95);
}

static void a_new_stream_goes_before_busy_ones(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  for (int i = 0; i < 50; i++)
    busy_stream(pair, 0);
  run_rounds(pair, 50, 1 << 17);
  struct test_end *small = side_open(&pair->server, NULL);
  small->to_send = 1000;
  mdm_stream_ready(small->stream);
  /* Behind what was built already: no more than the high mark. */
  pair_move(&pair->server, &pair->client, 64 * 1024 + 16384 + 64 + 1008);
  assert_int_equal(side_find(&pair->client, small->id)->received, 1000);
  pair_end(pair);
}

static void a_sparse_stream_goes_before_busy_ones_each_time(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  struct test_end *small = side_open(&pair->server, NULL);
  for (int i = 0; i < 50; i++)
    busy_stream(pair, 0);
  run_rounds(pair, 100, 1 << 17);
  uint64_t expected = 0;
  for (int i = 0; i < 100; i++) {
    run_rounds(pair, 20, 1 << 16); /* it has been quiet for a round of the others */
    small->to_send += 500;
    expected += 500;
    mdm_stream_ready(small->stream);
    pair_move(&pair->server, &pair->client, 64 * 1024 + 2 * 16384 + 1024);
    assert_int_equal(side_find(&pair->client, small->id)->received, expected);
  }
  pair_end(pair);
}

static void a_stream_that_is_new_again_and_again_gains_nothing(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  struct test_end *greedy = side_open(&pair->server, NULL), *ends[10];
  for (int i = 0; i < 10; i++)
    ends[i] = busy_stream(pair, 0);
  for (int i = 0; i < 2000; i++) {
    greedy->to_send = greedy->sent + 15000; /* dry after each turn with deficit left, and ready again at once */
    mdm_stream_ready(greedy->stream);
    run_rounds(pair, 1, 1 << 16);
  }
  print_message("greedy %llu, another %llu\n", (unsigned long long)greedy->sent, (unsigned long long)ends[0]->sent);
  assert_true(greedy->sent < ends[0]->sent * 3 / 2);
  pair_end(pair);
}

static void control_goes_before_data(void **state) {
  (void)state;
  struct mdm_mux_config config = {.role = MDM_ROLE_SERVER};
  struct test_solo *solo = solo_new(&config, 0);
  static uint8_t out[1 << 20];
  struct test_end *end = side_open(&solo->side, NULL);
  solo_output(solo, out, sizeof out);
  end->to_send = 60000;
  mdm_stream_ready(end->stream);
  assert_int_equal(solo_feed(solo, FRAME_PING, 0, 0, "12345678", 8), 0);
  assert_int_equal(mdm_mux_ping(solo->side.mux), 0);
  solo_output(solo, out, sizeof out);
  assert_int_equal(out[2], FRAME_PING);
  assert_int_equal(out[16 + 2], FRAME_PONG);
  assert_int_equal(out[32 + 2], FRAME_DATA);
  solo_end(solo);
}

/* ---- turns ---- */
struct habit {
  int turns;
  unsigned pieces;
  bool finish, lie, reset;
};

static size_t eat(mdm_stream *stream, const struct mdm_slice *slices, size_t count) {
  size_t size = 0;
  (void)stream;
  for (size_t i = 0; i < count; i++)
    size += slices[i].size;
  return size;
}

static void gone(mdm_stream *stream) {
  struct habit *habit = mdm_stream_user(stream);
  habit->turns = -1000;
}

static bool habit_turn(mdm_stream *stream) {
  struct habit *habit = mdm_stream_user(stream);
  struct mdm_slice slices[2] = {{(const uint8_t *)"abc", 3}, {(const uint8_t *)"defg", 4}};
  habit->turns++;
  for (unsigned i = 0; i < habit->pieces; i++)
    assert_int_equal(mdm_stream_write(stream, slices, 2), 7);
  if (habit->finish)
    mdm_stream_finish(stream);
  if (habit->reset)
    mdm_stream_reset(stream, MDM_RESET_CANCEL, false);
  assert_true(!habit->finish || mdm_stream_allowance(stream) == 0);
  return habit->lie;
}

static const struct mdm_stream_ops habit_ops = {.data = eat, .turn = habit_turn, .closed = gone};

static size_t take_turn(struct test_solo *solo, struct habit *habit, uint8_t *out, size_t size) {
  struct mdm_open open = {.kind = MDM_KIND_TCP};
  mdm_stream *stream;
  assert_int_equal(mdm_stream_open(solo->side.mux, &open, &habit_ops, habit, &stream), 0);
  solo_output(solo, out, size);
  mdm_stream_ready(stream);
  return solo_output(solo, out, size);
}

static void pieces_of_one_turn_share_a_frame(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  uint8_t out[4096];
  struct habit habit = {.pieces = 10};
  assert_int_equal(take_turn(solo, &habit, out, sizeof out), 8 + 70);
  assert_int_equal(get_u16(out), 70);
  assert_memory_equal(out + 8, "abcdefgabcdefg", 14);
  solo_end(solo);
}

static size_t taken_by_write;

static bool turn_of_a_long_write(mdm_stream *stream) {
  static uint8_t bytes[40000];
  struct mdm_slice slices[3] = {{bytes, 1}, {bytes + 1, 9999}, {bytes + 10000, 30000}};
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)(i * 7 >> 3);
  assert_int_equal(mdm_stream_allowance(stream), MDM_FRAME_PAYLOAD_MAX);
  taken_by_write = mdm_stream_write(stream, slices, 3);
  assert_int_equal(mdm_stream_allowance(stream), 0);
  assert_int_equal(mdm_stream_write(stream, slices, 3), 0);
  return false;
}

static void a_long_write_takes_one_turn_over_blocks(void **state) {
  (void)state;
  static const struct mdm_stream_ops ops = {.data = eat, .turn = turn_of_a_long_write};
  struct test_solo *solo = solo_new(NULL, 0);
  struct mdm_open open = {.kind = MDM_KIND_TCP};
  struct mdm_slice frame;
  static uint8_t out[40000];
  uint8_t got[MDM_FRAME_PAYLOAD_MAX];
  mdm_stream *stream;
  size_t at = 0;
  assert_int_equal(mdm_stream_open(solo->side.mux, &open, &ops, NULL, &stream), 0); /* so that the block is begun */
  mdm_stream_ready(stream);
  size_t size = solo_output(solo, out, sizeof out);
  assert_int_equal(taken_by_write, MDM_FRAME_PAYLOAD_MAX);
  assert_int_equal(frames_count(out, size, FRAME_DATA), 2);
  for (unsigned i = 0; i < 2; i++) {
    assert_true(frames_find(out, size, FRAME_DATA, i, &frame));
    memcpy(got + at, frame.data + 8, frame.size - 8);
    at += frame.size - 8;
  }
  assert_int_equal(at, taken_by_write);
  for (size_t i = 0; i < at; i++)
    assert_int_equal(got[i], (uint8_t)(i * 7 >> 3));
  solo_end(solo);
}

static void a_fin_in_the_turn_rides_on_its_frame(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  uint8_t out[4096];
  struct habit habit = {.pieces = 1, .finish = true};
  assert_int_equal(take_turn(solo, &habit, out, sizeof out), 8 + 7);
  assert_int_equal(out[3], FRAME_FLAG_FIN);
  solo_end(solo);
}

static void a_turn_that_only_finishes_sends_an_empty_fin(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  uint8_t out[4096];
  struct habit habit = {.finish = true};
  assert_int_equal(take_turn(solo, &habit, out, sizeof out), 8);
  assert_int_equal(out[2], FRAME_DATA);
  assert_int_equal(out[3], FRAME_FLAG_FIN);
  solo_end(solo);
}

static void a_reset_in_the_turn_closes_after_it(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  uint8_t out[4096];
  struct mdm_slice frame;
  struct habit habit = {.pieces = 1, .reset = true, .lie = true};
  size_t size = take_turn(solo, &habit, out, sizeof out);
  assert_true(frames_find(out, size, FRAME_RESET, 0, &frame));
  assert_int_equal(habit.turns, -1000);
  solo_end(solo);
}

static void a_turn_that_says_more_and_puts_nothing_does_not_spin(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  uint8_t out[4096];
  struct habit habit = {.lie = true};
  assert_int_equal(take_turn(solo, &habit, out, sizeof out), 0);
  assert_in_range(habit.turns, 1, 4);
  assert_true(mdm_mux_has_output(solo->side.mux));
  int wants = solo->side.wants;
  mdm_mux_tick(solo->side.mux); /* asked again later */
  assert_true(solo->side.wants > wants);
  solo_end(solo);
}

static void want_output_is_told_once(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  uint8_t out[4096];
  int wants = solo->side.wants;
  assert_non_null(side_open(&solo->side, NULL));
  assert_non_null(side_open(&solo->side, NULL));
  assert_int_equal(solo->side.wants, wants + 1);
  assert_int_equal(mdm_mux_ping(solo->side.mux), 0); /* this one is urgent */
  assert_int_equal(solo->side.wants, wants + 2);
  assert_non_null(side_open(&solo->side, NULL));
  assert_int_equal(solo->side.wants, wants + 2);
  solo_output(solo, out, sizeof out);
  assert_non_null(side_open(&solo->side, NULL));
  assert_int_equal(solo->side.wants, wants + 3);
  solo_end(solo);
}

static mdm_stream *bystander, *finisher;

static bool turn_with_control_between(mdm_stream *stream) {
  size_t capacity;
  uint8_t *p = mdm_stream_reserve(stream, &capacity);
  assert_non_null(p);
  assert_true(capacity >= 1000);
  memset(p, 'a', 500);
  mdm_stream_reset(bystander, MDM_RESET_CANCEL, false); /* a frame of another stream, while the room is out */
  memset(p + 500, 'b', 500);
  mdm_stream_finish(finisher);
  mdm_stream_commit(stream, 1000);
  return false;
}

static void control_made_during_a_reserve_does_not_harm_it(void **state) {
  (void)state;
  static const struct mdm_stream_ops ops = {.data = eat, .turn = turn_with_control_between};
  struct test_solo *solo = solo_new(NULL, 0);
  struct mdm_open open = {.kind = MDM_KIND_TCP};
  struct mdm_slice frame;
  uint8_t out[8192];
  mdm_stream *stream;
  assert_int_equal(mdm_stream_open(solo->side.mux, &open, &ops, NULL, &stream), 0);
  assert_int_equal(mdm_stream_open(solo->side.mux, &open, &ops, NULL, &bystander), 0);
  assert_int_equal(mdm_stream_open(solo->side.mux, &open, &ops, NULL, &finisher), 0);
  mdm_stream_ready(stream);
  size_t size = solo_output(solo, out, sizeof out);
  assert_int_equal(frames_count(out, size, FRAME_RESET), 1);
  assert_int_equal(frames_count(out, size, FRAME_DATA), 2); /* ours, and the other's FIN */
  assert_true(frames_find(out, size, FRAME_DATA, 0, &frame));
  assert_int_equal(frame.size, 1008);
  assert_int_equal(frame.data[3], 0);
  for (size_t i = 0; i < 1000; i++)
    assert_int_equal(frame.data[8 + i], i < 500 ? 'a' : 'b');
  solo_end(solo);
}

/* ---- the high mark ---- */
static struct test_solo *marked;

/* A second of a carrier with that rate, a millisecond a round; returns the mark then. */
static uint32_t mark_after(uint64_t bytes_per_second) {
  struct mdm_slice slices[8];
  for (int i = 0; i < 1000; i++) {
    uint64_t room = bytes_per_second / 1000;
    for (size_t n = 1; n > 0 && room > 0;) {
      n = mdm_mux_output(marked->side.mux, slices, 8) ? slices[0].size : 0;
      n = n < room ? n : (size_t)room;
      mdm_mux_sent(marked->side.mux, n);
      room -= n;
    }
    mdm_mux_output(marked->side.mux, slices, 8); /* would block */
    marked->clock += 1000;
  }
  return marked->side.mux->output.mark;
}

static void mark_begin(void) {
  struct mdm_mux_config config = {.role = MDM_ROLE_SERVER};
  marked = solo_new(&config, 0);
  struct test_end *end = side_open(&marked->side, NULL);
  end->to_send = ENOUGH;
  assert_int_equal(solo_feed(marked, FRAME_OPEN_OK, 0, end->id, "\x7f\0\0\0", 4), 0);
  mdm_stream_ready(end->stream);
}

static void the_high_mark_is_10_ms_of_the_rate(void **state) {
  (void)state;
  static const struct {
    uint64_t rate;
    uint32_t least, most;
  } cases[] = {{100000, 16384, 16384},
               {1000000, 16384, 16384},
               {4000000, 39000, 41000},
               {50000000, 65536, 65536},
               {1000000000, 65536, 65536}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mark_begin();
    assert_in_range(mark_after(cases[i].rate), cases[i].least, cases[i].most);
    solo_end(marked);
  }
}

static void the_high_mark_follows_a_link_that_slows_down(void **state) {
  (void)state;
  mark_begin();
  assert_int_equal(mark_after(100000000), 65536);
  assert_in_range(mark_after(3000000), 29000, 31000);
  assert_int_equal(mark_after(100000000), 65536); /* and up again */
  solo_end(marked);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(busy_streams_share_alike),
      cmocka_unit_test(busy_streams_with_frames_of_all_sizes_share_alike),
      cmocka_unit_test(one_stalled_stream_costs_99_others_nothing),
      cmocka_unit_test(a_new_stream_goes_before_busy_ones),
      cmocka_unit_test(a_sparse_stream_goes_before_busy_ones_each_time),
      cmocka_unit_test(a_stream_that_is_new_again_and_again_gains_nothing),
      cmocka_unit_test(control_goes_before_data),
      cmocka_unit_test(pieces_of_one_turn_share_a_frame),
      cmocka_unit_test(a_long_write_takes_one_turn_over_blocks),
      cmocka_unit_test(a_fin_in_the_turn_rides_on_its_frame),
      cmocka_unit_test(a_turn_that_only_finishes_sends_an_empty_fin),
      cmocka_unit_test(a_reset_in_the_turn_closes_after_it),
      cmocka_unit_test(a_turn_that_says_more_and_puts_nothing_does_not_spin),
      cmocka_unit_test(want_output_is_told_once),
      cmocka_unit_test(control_made_during_a_reserve_does_not_harm_it),
      cmocka_unit_test(the_high_mark_follows_a_link_that_slows_down),
      cmocka_unit_test(the_high_mark_is_10_ms_of_the_rate),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
