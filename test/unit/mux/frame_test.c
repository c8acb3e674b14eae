/* frame_test.c: the bytes of every frame, against test/golden/mux/frames.txt; and the option list. */
#include "pair.h"
#include "frame.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

struct golden {
  uint8_t bytes[1024];
  size_t size;
};

static struct golden golden(const char *name) {
  FILE *file = fopen(TEST_GOLDEN "/mux/frames.txt", "r");
  char line[1024];
  struct golden result = {0};
  bool found = false;
  assert_non_null(file);
  while (!found && fgets(line, sizeof line, file)) {
    size_t length = strlen(name);
    if (strncmp(line, name, length) != 0 || (line[length] != ' ' && line[length] != '='))
      continue;
    found = true;
    const char *p = strchr(line, '=') + 1;
    while (*p) {
      unsigned byte;
      if (!isxdigit((unsigned char)*p)) {
        p++;
        continue;
      }
      assert_int_equal(sscanf(p, "%2x", &byte), 1);
      result.bytes[result.size++] = (uint8_t)byte;
      p += 2;
    }
  }
  fclose(file);
  if (!found)
    print_error("no golden frame %s\n", name);
  assert_true(found);
  return result;
}

static void assert_output(struct test_solo *solo, const char *name) {
  uint8_t bytes[4096];
  struct golden want = golden(name);
  size_t size = solo_output(solo, bytes, sizeof bytes);
  assert_int_equal(size, want.size);
  assert_memory_equal(bytes, want.bytes, size);
}

static void feed(struct test_solo *solo, const char *name) {
  struct golden bytes = golden(name);
  assert_int_equal(mdm_mux_feed(solo->side.mux, bytes.bytes, bytes.size), 0);
}

static struct mdm_open opens(unsigned which, uint8_t *options) {
  long size = mdm_option_put(options, 64, 0, 1, "abc", 3);
  size = mdm_option_put(options, 64, (size_t)size, 0x8002, "\xbe\xef", 2);
  size = mdm_option_put(options, 64, (size_t)size, 0x7fff, "\0\1\2\3\4\5", 6);
  assert_int_equal(size, 7 + 6 + 10);
  switch (which) {
  case 0:
    return (struct mdm_open){.kind = MDM_KIND_TCP, .service = 7};
  case 1:
    return (struct mdm_open){.kind = MDM_KIND_HTTP,
                             .service = 9,
                             .scheme = MDM_SCHEME_HTTPS,
                             .visitor = {.family = 4, .bytes = {192, 0, 2, 1}, .port = 8080},
                             .options = {options, (size_t)size}};
  default:
    return (struct mdm_open){.kind = MDM_KIND_WS,
                             .scheme = MDM_SCHEME_HTTP,
                             .target = {(const uint8_t *)"host:220000", 11},
                             .visitor = {.family = 6, .bytes = {0x20, 1, 0xd, 0xb8, [15] = 1}, .port = 80}};
  }
}

static const char *const open_names[] = {"open_plain", "open_ipv4", "open_ipv6"};

static void the_opener_writes_the_golden_frames(void **state) {
  (void)state;
  struct mdm_mux_config config = {.role = MDM_ROLE_SERVER};
  struct test_solo *solo = calloc(1, sizeof *solo);
  struct test_end *ends[3];
  uint8_t options[64];
  assert_int_equal(solo_open(solo, &config, 0), 0);
  assert_output(solo, "magic");
  assert_int_equal(mdm_mux_feed(solo->side.mux, (const uint8_t *)MDM_MAGIC, 8), 0);
  assert_int_equal(mdm_mux_send_message(solo->side.mux, MDM_MSG_HELLO, "{}", 2), 0);
  assert_output(solo, "hello");
  mdm_mux_start(solo->side.mux, 65536, 16);
  for (unsigned i = 0; i < 3; i++) {
    struct mdm_open open = opens(i, options);
    ends[i] = side_open(&solo->side, &open);
    assert_non_null(ends[i]);
    assert_output(solo, open_names[i]);
  }
  ends[1]->to_send = 0;
  mdm_stream_reset(ends[1]->stream, MDM_RESET_CANCEL, false);
  assert_output(solo, "reset");
  mdm_stream_reset(ends[2]->stream, MDM_RESET_REFUSED, true);
  assert_output(solo, "reset_undelivered");
  mdm_stream_finish(ends[0]->stream);
  assert_output(solo, "data_fin");
  assert_int_equal(mdm_mux_ping(solo->side.mux), 0);
  assert_output(solo, "ping");
  assert_int_equal(solo_feed(solo, FRAME_PING, 0, 0, "\1\2\3\4\5\6\7\10", 8), 0);
  assert_output(solo, "pong");
  assert_int_equal(solo_feed_open(solo, 4, 10), 0);
  solo_output(solo, (uint8_t[256]){0}, 256);
  assert_int_equal(mdm_mux_goaway(solo->side.mux, MDM_GOAWAY_REPLACED, "bye"), 0);
  assert_output(solo, "goaway_first");
  solo->clock += 1000000;
  mdm_mux_tick(solo->side.mux);
  assert_output(solo, "goaway_last");
  solo_end(solo);
}

static size_t say_hello(uint8_t *into) {
  memcpy(into, "hello", 5);
  return 5;
}

static bool turn_hello(mdm_stream *stream) {
  size_t capacity;
  uint8_t *p = mdm_stream_reserve(stream, &capacity);
  assert_non_null(p);
  mdm_stream_commit(stream, say_hello(p));
  return false;
}

static void the_acceptor_reads_and_answers_the_golden_frames(void **state) {
  (void)state;
  static const uint16_t known[] = {0x8001, 0x8002};
  struct mdm_mux_config config = {.known_options = known, .known_options_count = 2};
  struct test_solo *solo = solo_new(&config, 0);
  uint8_t options[64];
  solo->side.accept = false;
  feed(solo, "hello");
  assert_int_equal(solo->side.message_type, MDM_MSG_HELLO);
  assert_int_equal(solo->side.message_size, 2);
  for (unsigned i = 0; i < 3; i++) {
    feed(solo, open_names[i]);
    assert_int_equal(solo->side.count, i + 1);
    struct mdm_open want = opens(i, options);
    struct test_end *got = &solo->side.ends[i];
    assert_int_equal(got->id, i * 2 + 1);
    assert_int_equal(got->open.kind, want.kind);
    assert_int_equal(got->open.scheme, want.scheme);
    assert_int_equal(got->open.service, want.service);
    assert_int_equal(got->open.visitor.family, want.visitor.family);
    assert_int_equal(got->open.visitor.port, want.visitor.port);
    assert_memory_equal(got->open.visitor.bytes, want.visitor.bytes, 16);
    assert_int_equal(got->open.target.size, want.target.size);
    if (want.target.size)
      assert_memory_equal(got->target, want.target.data, want.target.size);
    assert_int_equal(got->open.options.size, want.options.size);
    if (want.options.size)
      assert_memory_equal(got->options, want.options.data, want.options.size);
  }
  solo_output(solo, (uint8_t[256]){0}, 256);
  mdm_stream *stream = solo->side.ends[0].stream;
  mdm_stream_accept(stream);
  assert_output(solo, "open_ok");
  struct mdm_stream_ops ops = test_ops;
  ops.turn = turn_hello;
  mdm_stream_attach(stream, &ops, &solo->side.ends[0]);
  mdm_stream_ready(stream);
  assert_output(solo, "data");
  solo->side.ends[0].room = UINT64_MAX;
  static const uint8_t zeroes[16376];
  for (int i = 0; i < 8; i++) /* 131,008 bytes: not half of 256 KiB yet */
    assert_int_equal(solo_feed(solo, FRAME_DATA, 0, 1, zeroes, sizeof zeroes), 0);
  assert_int_equal(solo_output(solo, (uint8_t[64]){0}, 64), 0);
  assert_int_equal(solo_feed(solo, FRAME_DATA, 0, 1, zeroes, 64), 0); /* 131,072 bytes */
  solo->side.ends[0].corrupt = false;                                 /* zeroes are not the pattern */
  assert_output(solo, "window");
  feed(solo, "reset");
  assert_int_equal(solo->side.ends[1].resets, 1);
  assert_int_equal(solo->side.ends[1].code, MDM_RESET_CANCEL);
  assert_false(solo->side.ends[1].not_delivered);
  feed(solo, "reset_undelivered");
  assert_int_equal(solo->side.ends[2].code, MDM_RESET_REFUSED);
  assert_true(solo->side.ends[2].not_delivered);
  feed(solo, "data_fin");
  assert_int_equal(solo->side.ends[0].fins, 1);
  feed(solo, "goaway_first");
  assert_int_equal(solo->side.goaways, 1);
  assert_int_equal(solo->side.goaway_last_id, 0x7fffffff);
  assert_int_equal(solo->side.goaway_code, MDM_GOAWAY_REPLACED);
  assert_string_equal(solo->side.goaway_text, "bye");
  solo_end(solo);
}

static void a_header_survives_packing(void **state) {
  (void)state;
  uint8_t bytes[8];
  frame_pack(bytes, 0x3ff8, 0x12, 3, 0x7ffffffe);
  struct frame frame = frame_unpack(bytes);
  assert_int_equal(frame.length, 0x3ff8);
  assert_int_equal(frame.type, 0x12);
  assert_int_equal(frame.flags, 3);
  assert_int_equal(frame.stream, 0x7ffffffe);
}

static void malformed_option_lists_are_told(void **state) {
  (void)state;
  static const struct {
    const char *bytes;
    size_t size;
    int good; /* options before the verdict */
    int verdict;
  } cases[] = {
      {"", 0, 0, 0},
      {"\0\1\0\0", 4, 1, 0},
      {"\0\1\0\1x\0\2\0\0", 9, 2, 0},
      {"\0", 1, 0, MDM_MUX_EPROTOCOL},
      {"\0\1\0", 3, 0, MDM_MUX_EPROTOCOL},
      {"\0\1\0\1", 4, 0, MDM_MUX_EPROTOCOL},
      {"\0\1\xff\xffx", 5, 0, MDM_MUX_EPROTOCOL},
      {"\0\1\0\0\0\2\0\2x", 9, 1, MDM_MUX_EPROTOCOL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mdm_slice rest = {(const uint8_t *)cases[i].bytes, cases[i].size}, value;
    uint16_t type;
    int good = 0, rc;
    while ((rc = mdm_option_next(&rest, &type, &value)) == 1)
      good++;
    assert_int_equal(good, cases[i].good);
    assert_int_equal(rc, cases[i].verdict);
  }
}

static void an_option_that_does_not_fit_is_refused(void **state) {
  (void)state;
  uint8_t buf[4200] = {0}, value[4093] = {0};
  assert_int_equal(mdm_option_put(buf, 8, 0, 1, "abcd", 4), 8);
  assert_int_equal(mdm_option_put(buf, 7, 0, 1, "abcd", 4), MDM_MUX_ETOOBIG);
  assert_int_equal(mdm_option_put(buf, 8, 6, 1, "", 0), MDM_MUX_ETOOBIG);
  assert_int_equal(mdm_option_put(buf, sizeof buf, 0, 1, value, 4092), 4096);
  assert_int_equal(mdm_option_put(buf, sizeof buf, 0, 1, value, 4093), MDM_MUX_ETOOBIG);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_opener_writes_the_golden_frames),
      cmocka_unit_test(the_acceptor_reads_and_answers_the_golden_frames),
      cmocka_unit_test(a_header_survives_packing),
      cmocka_unit_test(malformed_option_lists_are_told),
      cmocka_unit_test(an_option_that_does_not_fit_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
