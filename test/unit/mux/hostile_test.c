/* hostile_test.c: peers that break the protocol. What kills the stream and what kills the session is told apart in
 * PROTOCOL.md; nothing may crash, and nothing here may grow without bound. */
#include "pair.h"
#include "frame.h"
#include "session.h"

#include <stdlib.h>

static const uint8_t zeroes[65536];

/* ---- one frame that ends the session ---- */
struct fatal {
  const char *name;
  uint8_t type, flags;
  uint32_t stream;
  const char *payload;
  size_t size;
};

/* Stream 1 is open, stream 3 was and is gone; we are the client, with our own stream 2 unanswered. */
static const struct fatal fatals[] = {
    {"a frame over 16376 bytes", FRAME_DATA, 0, 1, NULL, 16377},
    {"the longest length", FRAME_DATA, 0, 1, NULL, 65535},
    {"a type below 0x40 that is not known", 0x3f, 0, 0, "", 0},
    {"type 0", 0x00, 0, 0, "", 0},
    {"DATAGRAM, which was not agreed", FRAME_DATAGRAM, 0, 1, "x", 1},
    {"the link's acknowledgement", FRAME_LINK_ACK, 0, 0, "12345678", 8},
    {"DATA for id 0", FRAME_DATA, 0, 0, "x", 1},
    {"DATA for an id never opened by the peer", FRAME_DATA, 0, 5, "x", 1},
    {"DATA for an id never opened by us", FRAME_DATA, 0, 4, "x", 1},
    {"DATA for an id past 2^31", FRAME_DATA, 0, 0x80000001u, "x", 1},
    {"WINDOW for an id never opened", FRAME_WINDOW, 0, 99, "\0\0\0\1", 4},
    {"RESET for an id never opened", FRAME_RESET, 0, 99, "\0\1", 2},
    {"OPEN with our parity", FRAME_OPEN, 0, 4, "\3\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 16},
    {"OPEN with an id used before", FRAME_OPEN, 0, 3, "\3\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 16},
    {"OPEN with an id below the last", FRAME_OPEN, 0, 1, "\3\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 16},
    {"OPEN with id 0", FRAME_OPEN, 0, 0, "\3\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 16},
    {"OPEN with an id past 2^31-1", FRAME_OPEN, 0, 0x80000001u, "\3\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 16},
    {"a short OPEN", FRAME_OPEN, 0, 5, "\3\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 15},
    {"OPEN whose address is cut", FRAME_OPEN, 0, 5, "\3\0\6\0\0\0\0\1\0\0\0\0\0\0\0\0xxxx", 20},
    {"OPEN of an unknown family", FRAME_OPEN, 0, 5, "\3\0\5\0\0\0\0\1\0\0\0\0\0\0\0\0", 16},
    {"OPEN whose target is cut", FRAME_OPEN, 0, 5, "\3\0\0\0\0\0\0\1\0\0\0\0\0\0\0\5abcd", 20},
    {"OPEN with credit past 2^31-1", FRAME_OPEN, 0, 5, "\3\0\0\0\0\0\0\1\x80\0\0\0\0\0\0\0", 16},
    {"OPEN_OK for the peer's own stream", FRAME_OPEN_OK, 0, 1, "\0\0\0\0", 4},
    {"OPEN_OK of the wrong length", FRAME_OPEN_OK, 0, 2, "\0\0\0", 3},
    {"WINDOW of nothing", FRAME_WINDOW, 0, 1, "\0\0\0\0", 4},
    {"WINDOW past 2^31-1", FRAME_WINDOW, 0, 1, "\x7f\xff\xff\xff", 4},
    {"WINDOW with the top bit", FRAME_WINDOW, 0, 1, "\xff\xff\xff\xff", 4},
    {"WINDOW of the wrong length", FRAME_WINDOW, 0, 1, "\0\0\0\0\1", 5},
    {"RESET of the wrong length", FRAME_RESET, 0, 1, "\0", 1},
    {"PING of the wrong length", FRAME_PING, 0, 0, "1234567", 7},
    {"PING with a stream id", FRAME_PING, 0, 1, "12345678", 8},
    {"PONG of the wrong length", FRAME_PONG, 0, 0, "", 0},
    {"GOAWAY of the wrong length", FRAME_GOAWAY, 0, 0, "\0\0\0\0\0", 5},
    {"GOAWAY with too long a text", FRAME_GOAWAY, 0, 0, NULL, 6 + 1025},
    {"a message with a stream id", MDM_MSG_SERVICES, 0, 1, "{}", 2},
};

static struct test_solo *besieged(void) {
  struct test_solo *solo = solo_new(NULL, 0);
  assert_int_equal(solo_feed_open(solo, 1, 65536), 0);
  assert_int_equal(solo_feed_open(solo, 3, 65536), 0);
  mdm_stream_reset(solo->side.ends[1].stream, MDM_RESET_CANCEL, false);
  assert_non_null(side_open(&solo->side, NULL));
  return solo;
}

static void assert_dead(struct test_solo *solo) {
  static uint8_t out[1 << 20];
  struct mdm_slice frame;
  assert_non_null(mdm_mux_failure(solo->side.mux));
  size_t size = solo_output(solo, out, sizeof out);
  size_t goaways = frames_count(out, size, FRAME_GOAWAY);
  assert_int_equal(goaways, 1);
  assert_true(frames_find(out, size, FRAME_GOAWAY, 0, &frame));
  assert_int_equal(get_u16(frame.data + 12), MDM_GOAWAY_PROTOCOL);
  for (size_t i = 0; i < solo->side.count; i++) {
    assert_int_equal(solo->side.ends[i].closes, 1);
    assert_null(solo->side.ends[i].stream);
  }
  mdm_stream *stream;
  struct mdm_open open = {.kind = MDM_KIND_TCP};
  assert_int_equal(mdm_mux_feed(solo->side.mux, zeroes, 1), MDM_MUX_ECLOSED);
  assert_int_equal(mdm_stream_open(solo->side.mux, &open, &test_ops, NULL, &stream), MDM_MUX_ECLOSED);
  assert_int_equal(mdm_mux_send_message(solo->side.mux, MDM_MSG_SERVICES, "", 0), MDM_MUX_ECLOSED);
  mdm_mux_tick(solo->side.mux);
}

static void these_frames_end_the_session(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof fatals / sizeof *fatals; i++) {
    const struct fatal *f = &fatals[i];
    struct test_solo *solo = besieged();
    int rc = solo_feed(solo, f->type, f->flags, f->stream, f->payload ? f->payload : (const char *)zeroes, f->size);
    if (rc != MDM_MUX_EPROTOCOL)
      print_error("%s: %d\n", f->name, rc);
    assert_int_equal(rc, MDM_MUX_EPROTOCOL);
    assert_dead(solo);
    solo_end(solo);
  }
}

static void a_second_open_ok_ends_the_session(void **state) {
  (void)state;
  struct test_solo *solo = besieged();
  assert_int_equal(solo_feed(solo, FRAME_OPEN_OK, 0, 2, "\0\0\0\0", 4), 0);
  assert_int_equal(solo_feed(solo, FRAME_OPEN_OK, 0, 2, "\0\0\0\0", 4), MDM_MUX_EPROTOCOL);
  assert_dead(solo);
  solo_end(solo);
}

static void a_wrong_magic_ends_the_session(void **state) {
  (void)state;
  static const char *const wrong[] = {"GET / HT", "MDMMUX\n\n", "MDMMUX\r\r", "\0\0\0\0\0\0\0"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct test_solo *solo = calloc(1, sizeof *solo);
    assert_int_equal(solo_open(solo, NULL, 0), 0);
    assert_int_equal(mdm_mux_feed(solo->side.mux, (const uint8_t *)wrong[i], 8), MDM_MUX_EPROTOCOL);
    assert_non_null(mdm_mux_failure(solo->side.mux));
    solo_end(solo);
  }
}

static void streams_before_the_handshake_end_the_session(void **state) {
  (void)state;
  struct test_solo *solo = calloc(1, sizeof *solo);
  assert_int_equal(solo_open(solo, NULL, 0), 0);
  assert_int_equal(mdm_mux_feed(solo->side.mux, (const uint8_t *)MDM_MAGIC, 8), 0);
  assert_int_equal(solo_feed(solo, FRAME_PING, 0, 0, "12345678", 8), 0); /* this is allowed */
  assert_int_equal(solo_feed_open(solo, 1, 1), MDM_MUX_EPROTOCOL);
  solo_end(solo);
}

static void unknown_types_from_0x40_are_skipped(void **state) {
  (void)state;
  struct test_solo *solo = besieged();
  for (unsigned type = 0x40; type <= 0xff; type++)
    assert_int_equal(solo_feed(solo, (uint8_t)type, 0xff, 0xffffffff, zeroes, type * 60u), 0);
  assert_int_equal(solo_feed(solo, FRAME_DATA, FRAME_FLAG_FIN, 1, NULL, 0), 0);
  assert_int_equal(solo->side.ends[0].fins, 1);
  solo_end(solo);
}

static void unknown_flags_are_ignored(void **state) {
  (void)state;
  struct test_solo *solo = besieged();
  assert_int_equal(solo_feed(solo, FRAME_WINDOW, 0xff, 1, "\0\0\0\1", 4), 0);
  assert_int_equal(solo_feed(solo, FRAME_DATA, 0xfc, 1, NULL, 0), 0);
  assert_int_equal(solo->side.ends[0].fins, 0);
  solo_end(solo);
}

/* ---- what ends only its stream ---- */
static void assert_stream_reset(struct test_solo *solo, size_t which, enum mdm_reset code) {
  static uint8_t out[1 << 16];
  struct mdm_slice frame;
  assert_null(mdm_mux_failure(solo->side.mux));
  assert_int_equal(solo->side.ends[which].resets, 1);
  assert_int_equal(solo->side.ends[which].code, code);
  assert_int_equal(solo->side.ends[which].closes, 1);
  size_t size = solo_output(solo, out, sizeof out);
  bool found = false;
  for (unsigned i = 0; frames_find(out, size, FRAME_RESET, i, &frame); i++)
    found |= get_u32(frame.data + 4) == solo->side.ends[which].id && get_u16(frame.data + 8) == code;
  assert_true(found);
}

static void data_after_fin_ends_the_stream(void **state) {
  (void)state;
  struct test_solo *solo = besieged();
  assert_int_equal(solo_feed(solo, FRAME_DATA, FRAME_FLAG_FIN, 1, NULL, 0), 0);
  assert_int_equal(solo_feed(solo, FRAME_DATA, 0, 1, "x", 1), 0);
  assert_stream_reset(solo, 0, MDM_RESET_PROTOCOL);
  solo_end(solo);
}

static void data_before_open_ok_ends_the_stream(void **state) {
  (void)state;
  struct test_solo *solo = besieged();
  assert_int_equal(solo_feed(solo, FRAME_DATA, 0, 2, "x", 1), 0);
  assert_stream_reset(solo, 2, MDM_RESET_PROTOCOL);
  solo_end(solo);
}

static int overrun(struct test_solo *solo, uint32_t id, unsigned frames) {
  int rc = 0;
  for (unsigned i = 0; i < frames && rc == 0; i++)
    rc = solo_feed(solo, FRAME_DATA, 0, id, zeroes, 16376);
  return rc;
}

static void an_overrun_of_one_frame_ends_the_stream(void **state) {
  (void)state;
  struct test_solo *solo = besieged();
  solo->side.ends[0].room = 0;
  assert_int_equal(overrun(solo, 1, 16), 0); /* 256 KiB is its window: 262,016 so far */
  assert_int_equal(solo->side.ends[0].resets, 0);
  assert_int_equal(overrun(solo, 1, 1), 0);
  assert_stream_reset(solo, 0, MDM_RESET_CREDIT);
  solo_end(solo);
}

static void overruns_of_one_frame_each_end_only_their_streams(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  for (uint32_t id = 1; id < 41; id += 2) {
    assert_int_equal(solo_feed_open(solo, id, 1), 0);
    solo->side.ends[id / 2].room = 0;
    assert_int_equal(overrun(solo, id, 17), 0);
    assert_int_equal(solo->side.ends[id / 2].code, MDM_RESET_CREDIT);
  }
  assert_null(mdm_mux_failure(solo->side.mux));
  solo_end(solo);
}

static void a_gross_overrun_ends_the_session(void **state) {
  (void)state;
  struct test_solo *solo = besieged();
  solo->side.ends[0].room = 0;
  assert_int_equal(overrun(solo, 1, 1000), MDM_MUX_EPROTOCOL);
  assert_dead(solo);
  solo_end(solo);
}

static void data_on_its_way_to_a_stream_that_we_reset_is_dropped(void **state) {
  (void)state;
  struct test_solo *solo = besieged();
  struct mdm_mux_stats stats;
  /* Its whole credit may still come, and then the late control frames. */
  mdm_stream_reset(solo->side.ends[0].stream, MDM_RESET_CANCEL, false);
  assert_int_equal(overrun(solo, 1, 16), 0);
  assert_int_equal(solo_feed(solo, FRAME_WINDOW, 0, 1, "\0\0\0\1", 4), 0);
  assert_int_equal(solo_feed(solo, FRAME_RESET, 0, 1, "\0\1", 2), 0);
  assert_int_equal(solo_feed(solo, FRAME_DATA, FRAME_FLAG_FIN, 1, NULL, 0), 0);
  mdm_mux_get_stats(solo->side.mux, &stats);
  assert_int_equal(stats.dropped_bytes, 16 * 16376);
  assert_null(mdm_mux_failure(solo->side.mux));
  solo_end(solo);
}

static void data_behind_a_refused_open_is_dropped(void **state) {
  (void)state;
  struct test_solo *solo = besieged();
  solo->side.refuse = MDM_RESET_REFUSED;
  for (uint32_t id = 5; id < 205; id += 2) {
    assert_int_equal(solo_feed_open(solo, id, 1), 0);
    assert_int_equal(overrun(solo, id, 4), 0); /* its open credit is 64 KiB */
  }
  assert_null(mdm_mux_failure(solo->side.mux));
  solo_end(solo);
}

static void an_option_that_is_malformed_or_must_be_known_refuses_the_stream(void **state) {
  (void)state;
  static const struct {
    const char *options;
    size_t size;
    bool refused;
  } cases[] = {
      {"\0\1\0\7abc", 7, true},  {"\0\1\0", 3, true},         {"\x80\5\0\1x", 5, true},
      {"\x80\6\0\1x", 5, false}, {"\x7f\xff\0\1x", 5, false}, {"\0\1\0\0\xff\xff\0\0", 8, true},
  };
  static const uint16_t known[] = {0x8006};
  struct mdm_mux_config config = {.known_options = known, .known_options_count = 1};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct test_solo *solo = solo_new(&config, 0);
    uint8_t out[4096], payload[64] = {MDM_KIND_TCP, 0, 0, 0, 0, 0, 0, 1};
    struct mdm_slice frame;
    memcpy(payload + 16, cases[i].options, cases[i].size);
    assert_int_equal(solo_feed(solo, FRAME_OPEN, 0, 5, payload, 16 + cases[i].size), 0);
    assert_int_equal(solo->side.count, !cases[i].refused);
    size_t size = solo_output(solo, out, sizeof out);
    assert_int_equal(frames_find(out, size, FRAME_RESET, 0, &frame), cases[i].refused);
    if (cases[i].refused) {
      assert_int_equal(get_u16(frame.data + 8), MDM_RESET_PROTOCOL);
      assert_int_equal(frame.data[3], FRAME_FLAG_NOT_DELIVERED);
    }
    solo_end(solo);
  }
}

static void an_unknown_kind_refuses_the_stream(void **state) {
  (void)state;
  struct test_solo *solo = besieged();
  static uint8_t out[4096];
  struct mdm_slice frame;
  solo_output(solo, out, sizeof out);
  assert_int_equal(solo_feed(solo, FRAME_OPEN, 0, 5, "\11\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 16), 0);
  size_t size = solo_output(solo, out, sizeof out);
  assert_true(frames_find(out, size, FRAME_RESET, 0, &frame));
  assert_int_equal(get_u16(frame.data + 8), MDM_RESET_REFUSED);
  solo_end(solo);
}

static void streams_over_the_limit_are_refused(void **state) {
  (void)state;
  struct mdm_mux_config config = {.max_streams = 3};
  struct test_solo *solo = solo_new(&config, 0);
  static uint8_t out[4096];
  struct mdm_slice frame;
  for (uint32_t id = 1; id <= 9; id += 2)
    assert_int_equal(solo_feed_open(solo, id, 1), 0);
  assert_int_equal(solo->side.count, 3);
  size_t size = solo_output(solo, out, sizeof out);
  assert_int_equal(frames_count(out, size, FRAME_RESET), 2);
  assert_true(frames_find(out, size, FRAME_RESET, 0, &frame));
  assert_int_equal(get_u32(frame.data + 4), 7);
  assert_int_equal(get_u16(frame.data + 8), MDM_RESET_LIMIT);
  for (int i = 0; i < 8; i++) /* their open credit may have been on its way */
    assert_int_equal(overrun(solo, i & 1 ? 7 : 9, 1), 0);
  assert_int_equal(solo_feed(solo, FRAME_RESET, 0, 1, "\0\1", 2), 0);
  assert_int_equal(solo_feed_open(solo, 11, 1), 0); /* room again */
  assert_int_equal(solo->side.count, 4);
  solo_end(solo);
}

static void held_bytes_before_the_accept_are_bounded(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  struct mdm_mux_stats stats;
  solo->side.accept = false;
  solo->side.room = 0;
  for (uint32_t id = 1; id < 2 * 600; id += 2) {
    assert_int_equal(solo_feed_open(solo, id, 1), 0);
    assert_int_equal(overrun(solo, id, 4), 0);
    mdm_mux_get_stats(solo->side.mux, &stats);
    assert_true(stats.held_bytes <= UNACCEPTED_MAX);
  }
  assert_true(stats.held_bytes > UNACCEPTED_MAX - 65536);
  assert_int_equal(solo->side.ends[599].code, MDM_RESET_LIMIT);
  assert_true(solo->side.ends[599].not_delivered);
  mdm_stream_accept(solo->side.ends[0].stream); /* counts no more */
  assert_int_equal(solo_feed_open(solo, 1201, 1), 0);
  assert_int_equal(overrun(solo, 1201, 4), 0);
  assert_int_equal(solo->side.ends[600].resets, 0);
  solo_end(solo);
}

/* ---- floods: the session ends, after a bounded amount of output; what an honest peer does in bursts is let through
 * ---- */
typedef int (*flood_step)(struct test_solo *solo, uint32_t i);

static int flood_ping(struct test_solo *solo, uint32_t i) {
  (void)i;
  return solo_feed(solo, FRAME_PING, 0, 0, "12345678", 8);
}
static int flood_pong(struct test_solo *solo, uint32_t i) {
  (void)i;
  return solo_feed(solo, FRAME_PONG, 0, 0, "12345678", 8);
}
static int flood_window(struct test_solo *solo, uint32_t i) {
  (void)i;
  return solo_feed(solo, FRAME_WINDOW, 0, 1, "\0\0\0\1", 4);
}
static int flood_late_window(struct test_solo *solo, uint32_t i) {
  (void)i;
  return solo_feed(solo, FRAME_WINDOW, 0, 3, "\0\0\0\1", 4);
}
static int flood_open(struct test_solo *solo, uint32_t i) {
  solo->side.refuse = MDM_RESET_REFUSED;
  return solo_feed_open(solo, 5 + 2 * i, 1);
}
static int flood_open_reset(struct test_solo *solo, uint32_t i) {
  solo->side.count = 2;
  int rc = solo_feed_open(solo, 5 + 2 * i, 1);
  return rc ? rc : solo_feed(solo, FRAME_RESET, 0, 5 + 2 * i, "\0\1", 2);
}
static int flood_empty_data(struct test_solo *solo, uint32_t i) {
  (void)i;
  return solo_feed(solo, FRAME_DATA, 0, 1, NULL, 0);
}
static int flood_unknown(struct test_solo *solo, uint32_t i) {
  (void)i;
  return solo_feed(solo, 0x77, 0, 0, NULL, 0);
}
static int flood_message(struct test_solo *solo, uint32_t i) {
  (void)i;
  return solo_feed(solo, MDM_MSG_SERVICES, 0, 0, "{}", 2);
}
static int flood_more(struct test_solo *solo, uint32_t i) {
  (void)i;
  return solo_feed(solo, MDM_MSG_SERVICES, FRAME_FLAG_MORE, 0, "", 0);
}
static int flood_goaway(struct test_solo *solo, uint32_t i) {
  (void)i;
  return solo_feed(solo, FRAME_GOAWAY, 0, 0, "\x7f\xff\xff\xff\0\0", 6);
}

static const struct {
  const char *name;
  flood_step step;
  uint32_t at_least, at_most; /* frames until the session ends */
  bool read;                  /* the peer reads our output */
} floods[] = {
    {"PING, reading", flood_ping, 100, 300, true},
    {"PING, not reading", flood_ping, 10, 20, false},
    {"PONG", flood_pong, 100, 300, true},
    {"WINDOW", flood_window, 10000, 70000, true},
    {"late WINDOW", flood_late_window, 10000, 70000, true},
    {"OPEN", flood_open, 10000, 70000, true},
    {"OPEN, not reading", flood_open, 10000, 70000, false},
    {"OPEN and RESET", flood_open_reset, 10000, 70000, true},
    {"empty DATA", flood_empty_data, 10000, 70000, true},
    {"unknown types", flood_unknown, 10000, 70000, true},
    {"messages", flood_message, 100, 2000, true},
    {"empty MORE", flood_more, 10000, 70000, true},
    {"GOAWAY", flood_goaway, 100, 300, true},
};

static void floods_end_the_session_and_are_bounded(void **state) {
  (void)state;
  static uint8_t out[4 << 20];
  for (size_t f = 0; f < sizeof floods / sizeof *floods; f++) {
    struct test_solo *solo = solo_new(NULL, 0);
    assert_int_equal(solo_feed_open(solo, 1, 65536), 0);
    assert_int_equal(solo_feed_open(solo, 3, 65536), 0);
    mdm_stream_reset(solo->side.ends[1].stream, MDM_RESET_CANCEL, false);
    uint32_t i = 0;
    size_t live = solo->memory.live;
    while (i < 1000000 && floods[f].step(solo, i) == 0) {
      i++;
      if (floods[f].read)
        solo_output(solo, out, sizeof out);
      assert_true(solo->memory.live < live + 100);
    }
    if (i < floods[f].at_least || i > floods[f].at_most)
      print_error("%s: %u\n", floods[f].name, i);
    assert_in_range(i, floods[f].at_least, floods[f].at_most);
    assert_non_null(mdm_mux_failure(solo->side.mux));
    assert_true(solo_output(solo, out, sizeof out) < 2u << 20);
    solo_end(solo);
  }
}

static void a_flood_account_refills_with_time(void **state) {
  (void)state;
  struct test_solo *solo = besieged();
  static uint8_t out[1 << 16];
  for (uint32_t i = 0; i < 5000; i++) { /* a PING every 30 ms for ever is no flood */
    assert_int_equal(flood_ping(solo, i), 0);
    solo_output(solo, out, sizeof out);
    solo->clock += 30000;
  }
  solo_end(solo);
}

static void requests_are_no_flood(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  static uint8_t out[1 << 16];
  for (uint32_t id = 1; id < 400000; id += 2) { /* 200,000 requests and no time passes */
    solo->side.count = 0;
    assert_int_equal(solo_feed_open(solo, id, 100), 0);
    assert_int_equal(solo_feed(solo, FRAME_DATA, FRAME_FLAG_FIN, id, "x", 1), 0);
    mdm_stream_finish(solo->side.ends[0].stream);
    assert_int_equal(solo->side.ends[0].closes, 1);
    solo_output(solo, out, sizeof out);
  }
  solo_end(solo);
}

static void resets_that_nobody_reads_are_bounded(void **state) {
  (void)state;
  struct test_solo *solo = solo_new(NULL, 0);
  uint32_t i = 0;
  while (i < 200000 && flood_open(solo, i) == 0) {
    i++;
    solo->clock += 1000; /* slow enough to be no flood */
  }
  assert_in_range(i, RESETS_MAX - 1, RESETS_MAX + 1);
  struct mdm_slice slices[1];
  assert_int_equal(mdm_mux_output(solo->side.mux, slices, 1), 1);
  assert_true(solo->side.mux->output.chain.size < 1u << 20);
  solo_end(solo);
}

static void garbage_ends_the_session(void **state) {
  (void)state;
  struct test_random random = {test_seed()};
  uint8_t garbage[4096];
  for (int round = 0; round < 300; round++) {
    struct test_solo *solo = besieged();
    int rc = 0;
    for (int i = 0; i < 1000 && rc == 0; i++) {
      for (size_t n = 0; n < sizeof garbage; n++)
        garbage[n] = (uint8_t)test_next(&random);
      rc = mdm_mux_feed(solo->side.mux, garbage, 1 + test_below(&random, sizeof garbage));
    }
    assert_int_equal(rc, MDM_MUX_EPROTOCOL);
    solo_end(solo);
  }
}

/* ---- messages ---- */
static void a_message_over_its_limit_ends_the_session(void **state) {
  (void)state;
  for (int started = 0; started < 2; started++) {
    struct test_solo *solo = calloc(1, sizeof *solo);
    struct mdm_mux_config config = {.role = MDM_ROLE_SERVER};
    assert_int_equal(solo_open(solo, &config, 0), 0);
    assert_int_equal(mdm_mux_feed(solo->side.mux, (const uint8_t *)MDM_MAGIC, 8), 0);
    if (started)
      mdm_mux_start(solo->side.mux, 1, 1);
    size_t limit = started ? MDM_MESSAGE_MAX : 65536, sent = 0;
    int rc = 0;
    while (rc == 0 && sent < 2 * MDM_MESSAGE_MAX) {
      rc = solo_feed(solo, MDM_MSG_SERVICES, FRAME_FLAG_MORE, 0, zeroes, 16000);
      sent += 16000;
    }
    assert_int_equal(rc, MDM_MUX_EPROTOCOL);
    assert_in_range(sent, limit, limit + 16000);
    assert_int_equal(solo->side.messages, 0);
    solo_end(solo);
  }
}

static void a_message_broken_off_ends_the_session(void **state) {
  (void)state;
  struct test_solo *solo = besieged();
  assert_int_equal(solo_feed(solo, MDM_MSG_SERVICES, FRAME_FLAG_MORE, 0, "{", 1), 0);
  assert_int_equal(solo_feed(solo, 0x99, 0, 0, "{", 1), 0); /* skipped, as anywhere */
  assert_int_equal(solo_feed(solo, FRAME_DATA, 0, 1, "x", 1), MDM_MUX_EPROTOCOL);
  assert_dead(solo);
  solo_end(solo);
}

static void a_message_that_the_owner_rejects_ends_the_session(void **state) {
  (void)state;
  struct test_solo *solo = besieged();
  solo->side.message_answer = -1;
  assert_int_equal(solo_feed(solo, MDM_MSG_HELLO, 0, 0, "{}", 2), MDM_MUX_EPROTOCOL);
  assert_dead(solo);
  solo_end(solo);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(these_frames_end_the_session),
      cmocka_unit_test(a_second_open_ok_ends_the_session),
      cmocka_unit_test(a_wrong_magic_ends_the_session),
      cmocka_unit_test(streams_before_the_handshake_end_the_session),
      cmocka_unit_test(unknown_types_from_0x40_are_skipped),
      cmocka_unit_test(unknown_flags_are_ignored),
      cmocka_unit_test(data_after_fin_ends_the_stream),
      cmocka_unit_test(data_before_open_ok_ends_the_stream),
      cmocka_unit_test(an_overrun_of_one_frame_ends_the_stream),
      cmocka_unit_test(overruns_of_one_frame_each_end_only_their_streams),
      cmocka_unit_test(a_gross_overrun_ends_the_session),
      cmocka_unit_test(data_on_its_way_to_a_stream_that_we_reset_is_dropped),
      cmocka_unit_test(data_behind_a_refused_open_is_dropped),
      cmocka_unit_test(an_option_that_is_malformed_or_must_be_known_refuses_the_stream),
      cmocka_unit_test(an_unknown_kind_refuses_the_stream),
      cmocka_unit_test(streams_over_the_limit_are_refused),
      cmocka_unit_test(held_bytes_before_the_accept_are_bounded),
      cmocka_unit_test(floods_end_the_session_and_are_bounded),
      cmocka_unit_test(a_flood_account_refills_with_time),
      cmocka_unit_test(requests_are_no_flood),
      cmocka_unit_test(resets_that_nobody_reads_are_bounded),
      cmocka_unit_test(garbage_ends_the_session),
      cmocka_unit_test(a_message_over_its_limit_ends_the_session),
      cmocka_unit_test(a_message_broken_off_ends_the_session),
      cmocka_unit_test(a_message_that_the_owner_rejects_ends_the_session),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
