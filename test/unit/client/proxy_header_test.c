/* proxy_header_test.c: golden bytes of the PROXY protocol header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proxy_header.h"

static const struct mdm_address v4 = {.family = 4, .bytes = {203, 0, 113, 9}, .port = 51000};
static const struct mdm_address v6 = {.family = 6, .bytes = {0x20, 0x01, 0x0d, 0xb8, [15] = 9}, .port = 51000};
static const struct mdm_address origin4 = {.family = 4, .bytes = {127, 0, 0, 1}, .port = 3000};
static const struct mdm_address origin6 = {.family = 6, .bytes = {[15] = 1}, .port = 3000};
static const struct mdm_address unknown = {0};

static void version_1_is_a_line(void **state) {
  static const struct {
    const struct mdm_address *visitor, *origin;
    const char *line;
  } rows[] = {
      {&v4, &origin4, "PROXY TCP4 203.0.113.9 127.0.0.1 51000 3000\r\n"},
      {&v6, &origin6, "PROXY TCP6 2001:db8::9 ::1 51000 3000\r\n"},
      {&v6, &origin4, "PROXY TCP6 2001:db8::9 ::ffff:127.0.0.1 51000 3000\r\n"},
      {&v4, &origin6, "PROXY TCP6 ::ffff:203.0.113.9 ::1 51000 3000\r\n"},
      {&v4, &unknown, "PROXY TCP6 ::ffff:203.0.113.9 :: 51000 0\r\n"},
      {&unknown, &origin4, "PROXY UNKNOWN\r\n"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    uint8_t out[PROXY_HEADER_MAX];
    size_t size = proxy_header_write(out, 1, rows[i].visitor, rows[i].origin);
    assert_int_equal(size, strlen(rows[i].line));
    assert_memory_equal(out, rows[i].line, size);
  }
}

static void version_2_is_binary(void **state) {
  static const uint8_t wanted[28] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49,
                                     0x54, 0x0a, 0x21, 0x11, 0x00, 0x0c, 203,  0,    113,  9,
                                     127,  0,    0,    1,    0xc7, 0x38, 0x0b, 0xb8};
  uint8_t out[PROXY_HEADER_MAX];
  (void)state;
  assert_int_equal(proxy_header_write(out, 2, &v4, &origin4), sizeof wanted);
  assert_memory_equal(out, wanted, sizeof wanted);
  assert_int_equal(proxy_header_write(out, 2, &v6, &origin4), 52);
  assert_int_equal(out[13], 0x21);
  assert_memory_equal(out + 16, v6.bytes, 16);
  assert_int_equal(out[42], 0xff);
  assert_int_equal(out[44], 127);
}

static void version_2_of_an_unknown_visitor_is_local(void **state) {
  uint8_t out[PROXY_HEADER_MAX];
  (void)state;
  assert_int_equal(proxy_header_write(out, 2, &unknown, &origin4), 16);
  assert_int_equal(out[12], 0x20);
  assert_int_equal(out[15], 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(version_1_is_a_line),
      cmocka_unit_test(version_2_is_binary),
      cmocka_unit_test(version_2_of_an_unknown_visitor_is_local),
  };
  return cmocka_run_group_tests_name("proxy_header", tests, NULL, NULL);
}
