/* Bodies: chunks taken apart at any split, strictly; llhttp agrees with everything that is accepted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <llhttp.h>

#include "http_body.h"

struct result {
  enum http_body_step end;
  size_t size, used;
  char data[4096];
};

static void decode(struct result *r, enum http_framing framing, uint64_t length, const char *text, size_t size, size_t step) {
  struct http_body body;
  memset(r, 0, sizeof *r);
  http_body_init(&body, framing, length, 16);
  r->end = HTTP_BODY_MORE;
  while (r->used < size) {
    size_t have = size - r->used < step ? size - r->used : step, used;
    struct mdm_slice piece;
    r->end = http_body_next(&body, (const uint8_t *)text + r->used, have, &used, &piece);
    r->used += used;
    if (r->end == HTTP_BODY_DATA) {
      memcpy(r->data + r->size, piece.data, piece.size);
      r->size += piece.size;
    } else if (r->end != HTTP_BODY_MORE) {
      return;
    }
  }
  if (http_body_ended(&body))
    r->end = HTTP_BODY_END;
  else if (r->end == HTTP_BODY_DATA)
    r->end = HTTP_BODY_MORE;
}

static const struct {
  const char *text;
  enum http_body_step end;
  const char *data;
} chunked[] = {
    {"5\r\nhello\r\n0\r\n\r\n", HTTP_BODY_END, "hello"},
    {"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", HTTP_BODY_END, "hello world"},
    {"00a\r\n0123456789\r\n000\r\n\r\n", HTTP_BODY_END, "0123456789"},
    {"A\r\n0123456789\r\n0\r\n\r\n", HTTP_BODY_END, "0123456789"},
    {"5;a=b\r\nhello\r\n0;c\r\n\r\n", HTTP_BODY_END, "hello"},
    {"0\r\n\r\nGET", HTTP_BODY_END, ""},
    {"5\r\nhel", HTTP_BODY_MORE, "hel"},
    {"5\r\nhello\r\n0\r\nX: y\r\n\r\n", HTTP_BODY_TRAILERS, "hello"},
    {"5\nhello\r\n0\r\n\r\n", HTTP_BODY_BAD, ""},
    {"5 \r\nhello\r\n0\r\n\r\n", HTTP_BODY_BAD, ""},
    {" 5\r\nhello\r\n0\r\n\r\n", HTTP_BODY_BAD, ""},
    {"\r\n", HTTP_BODY_BAD, ""},
    {"+5\r\nhello\r\n0\r\n\r\n", HTTP_BODY_BAD, ""},
    {"0x5\r\nhello\r\n0\r\n\r\n", HTTP_BODY_BAD, ""},
    {"5\rXhello\r\n0\r\n\r\n", HTTP_BODY_BAD, ""},
    {"5\r\nhelloXX0\r\n\r\n", HTTP_BODY_BAD, "hello"},
    {"5\r\nhello\n0\r\n\r\n", HTTP_BODY_BAD, "hello"},
    {"5\r\nhello\r\n0\r\n\rX", HTTP_BODY_BAD, "hello"},
    {"00000000000000005\r\nhello\r\n0\r\n\r\n", HTTP_BODY_BAD, ""},
    {"ffffffffffffffff\r\nhello", HTTP_BODY_BAD, ""},
    {"5;a\001\r\nhello\r\n", HTTP_BODY_BAD, ""},
    {"5;a\nb\r\nhello\r\n", HTTP_BODY_BAD, ""},
    {"5;12345678901234567\r\nhello\r\n", HTTP_BODY_BAD, ""},
    {"1;12345678\r\na\r\n1;123456789\r\na\r\n", HTTP_BODY_BAD, "a"},
};

static void chunks_mean_the_same_at_every_split(void **state) {
  (void)state;
  static struct result r;
  for (size_t i = 0; i < sizeof chunked / sizeof chunked[0]; i++) {
    for (size_t step = 1; step <= strlen(chunked[i].text); step++) {
      decode(&r, HTTP_FRAMING_CHUNKED, 0, chunked[i].text, strlen(chunked[i].text), step);
      if (r.end != chunked[i].end || strcmp(r.data, chunked[i].data) != 0)
        fail_msg("%s, %zu at a time: %d \"%s\"", chunked[i].text, step, r.end, r.data);
    }
  }
}

static void bytes_behind_the_body_are_left(void **state) {
  (void)state;
  static struct result r;
  decode(&r, HTTP_FRAMING_CHUNKED, 0, "0\r\n\r\nGET", 8, 8);
  assert_int_equal(r.used, 5);
  decode(&r, HTTP_FRAMING_LENGTH, 3, "abcGET", 6, 6);
  assert_int_equal(r.used, 3);
  assert_int_equal(r.end, HTTP_BODY_END);
  assert_string_equal(r.data, "abc");
  decode(&r, HTTP_FRAMING_NONE, 0, "GET", 3, 3);
  assert_int_equal(r.used, 0);
  assert_int_equal(r.end, HTTP_BODY_END);
  decode(&r, HTTP_FRAMING_CLOSE, 0, "abc", 3, 1);
  assert_int_equal(r.end, HTTP_BODY_MORE);
  assert_string_equal(r.data, "abc");
}

static void a_copy_put_back_decodes_the_same_again(void **state) {
  (void)state;
  static const char text[] = "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
  for (size_t cut = 0; cut < sizeof text - 1; cut++) {
    struct http_body body, saved;
    struct mdm_slice piece;
    size_t at = 0, used;
    http_body_init(&body, HTTP_FRAMING_CHUNKED, 0, 0);
    while (at < cut) {
      enum http_body_step step = http_body_next(&body, (const uint8_t *)text + at, cut - at, &used, &piece);
      at += used;
      if (step == HTTP_BODY_MORE)
        break;
    }
    saved = body;
    struct result r[2] = {{0}};
    for (int round = 0; round < 2; round++) {
      body = saved;
      for (size_t here = at; here < sizeof text - 1; here += used) {
        enum http_body_step step = http_body_next(&body, (const uint8_t *)text + here, sizeof text - 1 - here, &used, &piece);
        if (step == HTTP_BODY_END)
          break;
        if (step == HTTP_BODY_DATA) {
          memcpy(r[round].data + r[round].size, piece.data, piece.size);
          r[round].size += piece.size;
        }
      }
    }
    assert_string_equal(r[0].data, r[1].data);
  }
}

static char seen[4096];
static size_t seen_size;
static int on_body(llhttp_t *parser, const char *at, size_t size) {
  (void)parser;
  memcpy(seen + seen_size, at, size);
  seen_size += size;
  return 0;
}

static void llhttp_reads_the_same(void **state) {
  (void)state;
  static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (size_t i = 0; i < sizeof chunked / sizeof chunked[0]; i++) {
    if (chunked[i].end != HTTP_BODY_END)
      continue;
    llhttp_t parser;
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_body = on_body;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    memset(seen, 0, sizeof seen);
    seen_size = 0;
    assert_int_equal(llhttp_execute(&parser, head, sizeof head - 1), HPE_OK);
    (void)llhttp_execute(&parser, chunked[i].text, strlen(chunked[i].text));
    assert_string_equal(seen, chunked[i].data);
  }
}

static void chunk_lines_are_hexadecimal(void **state) {
  (void)state;
  char line[HTTP_CHUNK_LINE_MAX];
  assert_int_equal(http_chunk_line(line, 0xbeef, true), 6);
  assert_memory_equal(line, "beef\r\n", 6);
  assert_int_equal(http_chunk_line(line, SIZE_MAX, false), 20);
  assert_memory_equal(line, "\r\nffffffffffffffff\r\n", 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(chunks_mean_the_same_at_every_split), cmocka_unit_test(bytes_behind_the_body_are_left),
      cmocka_unit_test(a_copy_put_back_decodes_the_same_again), cmocka_unit_test(llhttp_reads_the_same),
      cmocka_unit_test(chunk_lines_are_hexadecimal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
