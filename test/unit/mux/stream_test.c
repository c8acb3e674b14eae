/* stream_test.c: the life of a stream: halves that end alone, accept, reset, and callbacks that call back. */
#include "pair.h"
#include "frame.h"
#include "session.h"

#include <stdlib.h>

static struct test_end *other(struct test_pair *pair, const struct test_end *end) {
  return side_find(end->side == &pair->client ? &pair->server : &pair->client, end->id);
}

static void send(struct test_end *end, uint64_t bytes, bool finish) {
  end->to_send += bytes;
  end->finish = finish;
  mdm_stream_ready(end->stream);
}

static void half_close(bool opener_first) {
  struct test_pair *pair = pair_new(NULL, 0);
  struct test_end *opener = side_open(&pair->server, NULL);
  pair_run(pair);
  struct test_end *acceptor = other(pair, opener);
  assert_int_equal(opener->opened, 1);
  struct test_end *first = opener_first ? opener : acceptor, *second = opener_first ? acceptor : opener;
  send(first, 3000000, true);
  pair_run(pair);
  assert_int_equal(second->received, 3000000);
  assert_int_equal(second->fins, 1);
  assert_int_equal(first->fins + first->closes + second->closes, 0);
  for (int i = 0; i < 5; i++) { /* the other half lives on */
    send(second, 200000, i == 4);
    pair_run(pair);
    assert_int_equal(first->received, 200000u * (unsigned)(i + 1));
  }
  assert_int_equal(first->fins, 1);
  assert_int_equal(first->closes, 1);
  assert_int_equal(second->closes, 1);
  assert_int_equal(first->resets + second->resets, 0);
  pair_end(pair);
}

static void the_opener_may_end_its_half_first(void **state) {
  (void)state;
  half_close(true);
}

static void the_acceptor_may_end_its_half_first(void **state) {
  (void)state;
  half_close(false);
}

static void data_may_follow_the_open_at_once(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  pair->client.accept = false;
  struct test_end *end = side_open(&pair->server, NULL);
  send(end, 100000, false);
  pair_run(pair);
  struct test_end *peer = other(pair, end);
  assert_int_equal(peer->received, 65536); /* the open credit, and no more before OPEN_OK */
  assert_int_equal(end->opened, 0);
  mdm_stream_accept(peer->stream);
  pair_run(pair);
  assert_int_equal(end->opened, 1);
  assert_int_equal(peer->received, 100000);
  pair_end(pair);
}

static void nothing_is_sent_before_the_accept(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  pair->client.accept = false;
  struct test_end *end = side_open(&pair->server, NULL);
  pair_run(pair);
  struct test_end *peer = other(pair, end);
  send(peer, 10, false);
  pair_run(pair);
  assert_int_equal(peer->sent, 0);
  mdm_stream_accept(peer->stream);
  pair_run(pair);
  assert_int_equal(end->received, 10);
  pair_end(pair);
}

static void a_finish_before_the_accept_accepts(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  pair->client.accept = false;
  struct test_end *end = side_open(&pair->server, NULL);
  pair_run(pair);
  mdm_stream_finish(other(pair, end)->stream);
  pair_run(pair);
  assert_int_equal(end->opened, 1);
  assert_int_equal(end->fins, 1);
  pair_end(pair);
}

static void a_refused_open_is_told_as_not_delivered(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  pair->client.refuse = MDM_RESET_REFUSED;
  struct test_end *end = side_open(&pair->server, NULL);
  send(end, 70000, true);
  pair_run(pair);
  assert_int_equal(end->code, MDM_RESET_REFUSED);
  assert_true(end->not_delivered);
  assert_int_equal(end->closes, 1);
  assert_int_equal(pair->client.count, 0);
  assert_null(mdm_mux_failure(pair->client.mux));
  pair_end(pair);
}

static void a_failed_connect_is_told_as_not_delivered(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  pair->client.accept = false;
  pair->client.room = 0;
  struct test_end *end = side_open(&pair->server, NULL);
  send(end, 1000, false);
  pair_run(pair);
  struct test_end *peer = other(pair, end);
  assert_int_equal(mdm_stream_held(peer->stream), 1000);
  mdm_stream_reset(peer->stream, MDM_RESET_CONNECT, true);
  assert_int_equal(peer->closes, 1);
  assert_int_equal(peer->resets, 0); /* it did so itself */
  pair_run(pair);
  assert_int_equal(end->code, MDM_RESET_CONNECT);
  assert_true(end->not_delivered);
  struct mdm_mux_stats stats;
  mdm_mux_get_stats(pair->client.mux, &stats);
  assert_int_equal(stats.held_bytes, 0);
  pair_end(pair);
}

static void a_reset_crosses_a_reset(void **state) {
  (void)state;
  struct test_pair *pair = pair_new(NULL, 0);
  struct test_end *end = side_open(&pair->server, NULL);
  pair_run(pair);
  mdm_stream_reset(other(pair, end)->stream, MDM_RESET_BROKEN, false);
  mdm_stream_reset(end->stream, MDM_RESET_CANCEL, false);
  pair_run(pair);
  assert_int_equal(end->closes + other(pair, end)->closes, 2);
  assert_int_equal(end->resets + other(pair, end)->resets, 0);
  assert_null(mdm_mux_failure(pair->client.mux));
  pair_end(pair);
}

static void frames_of_one_feed_arrive_in_one_call(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  uint8_t bytes[4096];
  size_t size = 0;
  assert_int_equal(solo_feed_open(solo, 1, 1), 0);
  assert_int_equal(solo_feed_open(solo, 3, 1), 0);
  struct test_end *one = &solo->side.ends[0], *two = &solo->side.ends[1];
  for (int i = 0; i < 10; i++) {
    frame_pack(bytes + size, 20, FRAME_DATA, 0, 1);
    memset(bytes + size + 8, 0, 20);
    size += 28;
    if (i == 4) { /* control of another stream does not part them */
      frame_pack(bytes + size, 4, FRAME_WINDOW, 0, 3);
      put_u32(bytes + size + 8, 1);
      size += 12;
    }
  }
  assert_int_equal(mdm_mux_feed(solo->side.mux, bytes, size), 0);
  assert_int_equal(one->datas, 1);
  assert_int_equal(one->last_count, 10);
  assert_int_equal(one->received, 200);
  frame_pack(bytes, 5, FRAME_DATA, 0, 1); /* 1, 3, 1: three calls */
  frame_pack(bytes + 13, 5, FRAME_DATA, 0, 3);
  frame_pack(bytes + 26, 5, FRAME_DATA, 0, 1);
  assert_int_equal(mdm_mux_feed(solo->side.mux, bytes, 39), 0);
  assert_int_equal(one->datas, 3);
  assert_int_equal(two->datas, 1);
  for (size = 0; size + 9 <= 900; size += 9) /* more than one call takes */
    frame_pack(bytes + size, 1, FRAME_DATA, 0, 3);
  assert_int_equal(mdm_mux_feed(solo->side.mux, bytes, size), 0);
  assert_int_equal(two->received, 105);
  assert_int_equal(two->datas, 1 + (100 + BATCH_SLICES - 1) / BATCH_SLICES);
  solo_end(solo);
}

static void data_before_a_reset_is_delivered_before_it(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  uint8_t bytes[64];
  assert_int_equal(solo_feed_open(solo, 1, 1), 0);
  frame_pack(bytes, 5, FRAME_DATA, 0, 1);
  memset(bytes + 8, 0, 5);
  frame_pack(bytes + 13, 2, FRAME_RESET, 0, 1);
  put_u16(bytes + 21, MDM_RESET_BROKEN);
  assert_int_equal(mdm_mux_feed(solo->side.mux, bytes, 23), 0);
  assert_int_equal(solo->side.ends[0].received, 5);
  assert_int_equal(solo->side.ends[0].code, MDM_RESET_BROKEN);
  solo->side.ends[0].corrupt = false;
  solo_end(solo);
}

static void accept_first(struct test_side *side) {
  mdm_stream_accept(side->ends[0].stream);
}

static void bytes_not_yet_delivered_are_not_granted_again(void **state) {
  (void)state;
  struct mdm_mux_config config = {.window_initial = 1000, .open_credit = 1000};
  struct test_solo *solo = solo_new(&config, 0);
  uint8_t bytes[2048] = {0}, out[256];
  struct mdm_slice frame;
  solo->side.accept = false;
  solo->side.room = 0;
  solo->side.pong_hook = accept_first;
  assert_int_equal(solo_feed_open(solo, 1, 1), 0);
  assert_int_equal(mdm_mux_ping(solo->side.mux), 0);
  frame_pack(bytes, 900, FRAME_DATA, 0, 1);
  frame_pack(bytes + 908, 8, FRAME_PONG, 0, 0);
  put_u32(bytes + 908 + 12, 1);
  assert_int_equal(mdm_mux_feed(solo->side.mux, bytes, 908 + 16), 0); /* accepted while 900 bytes wait in this feed */
  assert_int_equal(solo->side.pongs, 1);
  size_t size = solo_output(solo, out, sizeof out);
  assert_true(frames_find(out, size, FRAME_OPEN_OK, 0, &frame));
  assert_int_equal(get_u32(frame.data + 8), 0);
  solo_end(solo);
}

static enum mdm_reset open_without_attach(mdm_mux *mux, mdm_stream *stream, const struct mdm_open *open, void *user) {
  (void)mux;
  (void)stream;
  (void)open;
  (void)user;
  return MDM_RESET_NONE;
}

static enum mdm_reset open_and_reset(mdm_mux *mux, mdm_stream *stream, const struct mdm_open *open, void *user) {
  struct test_side *side = user;
  (void)mux;
  (void)open;
  struct test_end *end = &side->ends[side->count++];
  *end = (struct test_end){.side = side, .stream = stream, .id = mdm_stream_id(stream)};
  mdm_stream_attach(stream, &test_ops, end);
  mdm_stream_reset(stream, MDM_RESET_BROKEN, false);
  assert_int_equal(end->closes, 0); /* after this callback */
  return MDM_RESET_NONE;
}

static void an_open_that_nobody_attached_to_is_refused(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  uint8_t out[256];
  struct mdm_slice frame;
  solo->side.mux->config.callbacks.open = open_without_attach;
  assert_int_equal(solo_feed_open(solo, 1, 1), 0);
  size_t size = solo_output(solo, out, sizeof out);
  assert_true(frames_find(out, size, FRAME_RESET, 0, &frame));
  assert_int_equal(get_u16(frame.data + 8), MDM_RESET_INTERNAL);
  solo_end(solo);
}

static void a_stream_may_be_reset_while_it_is_opened(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  uint8_t out[256];
  struct mdm_slice frame;
  solo->side.mux->config.callbacks.open = open_and_reset;
  assert_int_equal(solo_feed_open(solo, 1, 1), 0);
  assert_int_equal(solo->side.ends[0].closes, 1);
  size_t size = solo_output(solo, out, sizeof out);
  assert_int_equal(frames_count(out, size, FRAME_RESET), 1);
  assert_true(frames_find(out, size, FRAME_RESET, 0, &frame));
  assert_int_equal(get_u16(frame.data + 8), MDM_RESET_BROKEN);
  solo_end(solo);
}

/* ---- callbacks that call back ---- */
enum trick {
  TRICK_NONE,
  TRICK_RESET_SELF,
  TRICK_RESET_OTHER,
  TRICK_DRAIN,
  TRICK_DISCARD,
  TRICK_FINISH,
  TRICK_OPEN,
  TRICKS
};
enum place { PLACE_DATA, PLACE_FIN, PLACE_OPENED, PLACE_RESET, PLACE_CLOSED, PLACE_TURN, PLACES };

struct trickster {
  mdm_stream *stream, *victim;
  struct trickster *victim_of; /* so that a dead victim is not touched */
  enum trick trick;
  enum place place;
  int closes, tricks;
};

static const struct mdm_stream_ops trick_ops;

static void play(struct trickster *t, enum place place) {
  static const struct mdm_open open = {.kind = MDM_KIND_TCP};
  if (t->place != place || t->tricks++ > 2)
    return;
  switch (t->trick) {
  case TRICK_RESET_SELF:
    mdm_stream_reset(t->stream, MDM_RESET_CANCEL, false);
    mdm_stream_reset(t->stream, MDM_RESET_CANCEL, false);
    assert_int_equal(t->closes, place == PLACE_CLOSED); /* only once the callback has returned */
    break;
  case TRICK_RESET_OTHER:
    if (t->victim)
      mdm_stream_reset(t->victim, MDM_RESET_CANCEL, false);
    break;
  case TRICK_DRAIN:
    mdm_stream_drain(t->stream);
    break;
  case TRICK_DISCARD:
    mdm_stream_discard(t->stream);
    break;
  case TRICK_FINISH:
    mdm_stream_finish(t->stream);
    break;
  case TRICK_OPEN: {
    static struct trickster fresh[64];
    static size_t count;
    struct trickster *f = &fresh[count++ % 64];
    mdm_stream *stream;
    *f = (struct trickster){.trick = TRICK_NONE};
    if (mdm_stream_open(mdm_stream_mux(t->stream), &open, &trick_ops, f, &stream) == 0)
      f->stream = stream;
    break;
  }
  case TRICK_NONE:
  case TRICKS:
    break;
  }
}

static size_t trick_data(mdm_stream *stream, const struct mdm_slice *slices, size_t count) {
  struct trickster *t = mdm_stream_user(stream);
  (void)slices;
  (void)count;
  play(t, PLACE_DATA);
  return 1;
}

static void trick_fin(mdm_stream *stream) {
  play(mdm_stream_user(stream), PLACE_FIN);
}

static bool trick_turn(mdm_stream *stream) {
  struct mdm_slice slice = {(const uint8_t *)"turn", 4};
  mdm_stream_write(stream, &slice, 1);
  play(mdm_stream_user(stream), PLACE_TURN);
  return false;
}

static void trick_opened(mdm_stream *stream) {
  play(mdm_stream_user(stream), PLACE_OPENED);
}

static void trick_reset(mdm_stream *stream, enum mdm_reset code, bool not_delivered) {
  (void)code;
  (void)not_delivered;
  play(mdm_stream_user(stream), PLACE_RESET);
}

static void trick_closed(mdm_stream *stream) {
  struct trickster *t = mdm_stream_user(stream);
  assert_int_equal(t->closes, 0);
  t->closes++;
  if (t->victim_of)
    t->victim_of->victim = NULL;
  if (t->trick != TRICK_DRAIN && t->trick != TRICK_DISCARD)
    play(t, PLACE_CLOSED);
}

static const struct mdm_stream_ops trick_ops = {.data = trick_data,
                                                .fin = trick_fin,
                                                .turn = trick_turn,
                                                .opened = trick_opened,
                                                .reset = trick_reset,
                                                .closed = trick_closed};

static void callbacks_may_do_anything(void **state) {
  (void)state;
  for (int trick = 0; trick < TRICKS; trick++)
    for (int place = 0; place < PLACES; place++) {
      struct test_solo *solo = solo_new(NULL, 0);
      static uint8_t out[1 << 16];
      struct trickster one = {.trick = (enum trick)trick, .place = (enum place)place};
      struct trickster two = {.trick = TRICK_NONE, .victim_of = &one};
      struct mdm_open open = {.kind = MDM_KIND_TCP};
      assert_int_equal(mdm_stream_open(solo->side.mux, &open, &trick_ops, &one, &one.stream), 0);
      assert_int_equal(mdm_stream_open(solo->side.mux, &open, &trick_ops, &two, &two.stream), 0);
      one.victim = two.stream;
      mdm_stream_ready(one.stream);
      solo_output(solo, out, sizeof out);
      /* OPEN_OK, DATA of both by turns, FIN, RESET of both: in one feed. */
      uint8_t bytes[512];
      size_t size = 0;
      for (uint32_t id = 2; id <= 4; id += 2) {
        frame_pack(bytes + size, 4, FRAME_OPEN_OK, 0, id);
        put_u32(bytes + size + 8, 5);
        size += 12;
      }
      for (int i = 0; i < 6; i++) {
        frame_pack(bytes + size, 3, FRAME_DATA, i >= 4 ? FRAME_FLAG_FIN : 0, i & 1 ? 4 : 2);
        memset(bytes + size + 8, 0, 3);
        size += 11;
      }
      assert_int_equal(mdm_mux_feed(solo->side.mux, bytes, size), 0);
      if (!one.closes)
        for (int i = 0; i < 10 && !one.closes; i++)
          mdm_stream_drain(one.stream); /* a byte a time, then the FIN */
      solo_output(solo, out, sizeof out);
      size = 0;
      for (uint32_t id = 2; id <= 4; id += 2) {
        frame_pack(bytes + size, 2, FRAME_RESET, 0, id);
        put_u16(bytes + size + 8, 1);
        size += 10;
      }
      assert_int_equal(mdm_mux_feed(solo->side.mux, bytes, size), 0);
      solo_output(solo, out, sizeof out);
      assert_int_equal(one.closes, 1);
      assert_int_equal(two.closes, 1);
      assert_null(mdm_mux_failure(solo->side.mux));
      solo_end(solo);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_opener_may_end_its_half_first),
      cmocka_unit_test(the_acceptor_may_end_its_half_first),
      cmocka_unit_test(data_may_follow_the_open_at_once),
      cmocka_unit_test(nothing_is_sent_before_the_accept),
      cmocka_unit_test(a_finish_before_the_accept_accepts),
      cmocka_unit_test(a_refused_open_is_told_as_not_delivered),
      cmocka_unit_test(a_failed_connect_is_told_as_not_delivered),
      cmocka_unit_test(a_reset_crosses_a_reset),
      cmocka_unit_test(frames_of_one_feed_arrive_in_one_call),
      cmocka_unit_test(data_before_a_reset_is_delivered_before_it),
      cmocka_unit_test(bytes_not_yet_delivered_are_not_granted_again),
      cmocka_unit_test(an_open_that_nobody_attached_to_is_refused),
      cmocka_unit_test(a_stream_may_be_reset_while_it_is_opened),
      cmocka_unit_test(callbacks_may_do_anything),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
