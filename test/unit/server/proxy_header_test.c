/* proxy_header_test.c: the PROXY protocol, both versions: every split of a good header, and headers that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static const struct good {
  const char *data;
  size_t size;
  bool local;
  const char *source, *destination;
} goods[] = {
#define GOOD(text, local, source, destination) {text, sizeof text - 1, local, source, destination}
    GOOD("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", false, "192.0.2.1:56324", "198.51.100.7:443"),
    GOOD("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n", false, "[2001:db8::1]:0", "[::1]:65535"),
    GOOD("PROXY UNKNOWN\r\n", true, NULL, NULL),
    GOOD("PROXY UNKNOWN ffff:f...f:ffff ffff 65535 65535 whatever\r\n", true, NULL, NULL),
    GOOD(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\x07\xdc\4\1\xbb", false, "192.0.2.1:56324", "198.51.100.7:443"),
    GOOD(SIGNATURE "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\x50\x1f\x90", false, "[2001:db8::1]:80",
         "[::1]:8080"),
    GOOD(SIGNATURE "\x21\x11\0\x0f\xc0\0\2\1\xc6\x33\x64\x07\xdc\4\1\xbb\4\0\0", false, "192.0.2.1:56324", "198.51.100.7:443"), /* an option behind */
    GOOD(SIGNATURE "\x20\0\0\0", true, NULL, NULL),        /* LOCAL */
    GOOD(SIGNATURE "\x20\x11\0\2zz", true, NULL, NULL),    /* LOCAL: the rest is to be skipped */
    GOOD(SIGNATURE "\x21\0\0\0", true, NULL, NULL),        /* UNSPEC */
    GOOD(SIGNATURE "\x21\x31\0\3abc", true, NULL, NULL),   /* a unix socket */
};

static void test_every_split_of_a_good_header(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof goods / sizeof *goods; i++) {
    const struct good *good = &goods[i];
    uint8_t bytes[256];
    struct proxy_header header;
    memcpy(bytes, good->data, good->size);
    memcpy(bytes + good->size, "GET / HTTP/1.1\r\n", 16);
    for (size_t size = 0; size < good->size; size++)
      assert_int_equal(proxy_header_parse(&header, bytes, size), PROXY_HEADER_MORE);
    for (size_t size = good->size; size <= good->size + 16; size++) {
      char text[NET_ADDRESS_TEXT];
      assert_int_equal(proxy_header_parse(&header, bytes, size), PROXY_HEADER_DONE);
      assert_int_equal(header.size, good->size);
      assert_int_equal(header.local, good->local);
      if (!good->local) {
        assert_string_equal(net_address_text(text, &header.source, true), good->source);
        assert_string_equal(net_address_text(text, &header.destination, true), good->destination);
      }
    }
  }
}

static void test_what_is_no_header(void **state) {
  static const struct {
    const char *data;
    size_t size;
  } bads[] = {
#define BAD(text) {text, sizeof text - 1}
      BAD("GET / HTTP/1.1\r\n"),
      BAD("PROXX"),
      BAD("proxy TCP4"),
      BAD("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n\r"),
      BAD("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\rX"),
      BAD("PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n"),
      BAD("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n"),
      BAD("PROXY TCP4 192.0.2.1  198.51.100.7 56324 443\r\n"),
      BAD("PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n"),
      BAD("PROXY TCP4 192.0.2.1 198.51.100.7 -1 443\r\n"),
      BAD("PROXY TCP4 192.0.2.1 198.51.100.7 01 443\r\n"),
      BAD("PROXY TCP4 ::1 ::1 1 443\r\n"),
      BAD("PROXY TCP6 192.0.2.1 198.51.100.7 1 443\r\n"),
      BAD("PROXY TCP6 [::1] ::1 1 443\r\n"),
      BAD("PROXY TCP5 192.0.2.1 198.51.100.7 1 443\r\n"),
      BAD("PROXY TCP4 evil.example 198.51.100.7 1 443\r\n"),
      BAD("PROXY \r\n"),
      BAD("PROXY\tTCP4"),
      BAD("PROXY UNKNOWN \x01\r\n"),
      BAD("PROXY UNKNOWN xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
      BAD("\r\n\r\n\0\r\nQUIX"),
      BAD(SIGNATURE "\x11"),                                      /* version 1 in binary */
      BAD(SIGNATURE "\x22"),                                      /* an unknown command */
      BAD(SIGNATURE "\x21\x11\xff\xff"),                          /* longer than we take */
      BAD(SIGNATURE "\x21\x11\0\x0b\xc0\0\2\1\xc6\x33\x64\x07\xdc\4\1"), /* too short for its family */
      BAD(SIGNATURE "\x21\x21\0\x0c\xc0\0\2\1\xc6\x33\x64\x07\xdc\4\1\xbb"),
  };
  (void)state;
  for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
    struct proxy_header header;
    if (proxy_header_parse(&header, (const uint8_t *)bads[i].data, bads[i].size) != PROXY_HEADER_BAD)
      fail_msg("bad header %zu was taken", i);
  }
}

/* "More" for ever would be a wait without end: at its limit every beginning is judged. */
static void test_the_limits_end_every_wait(void **state) {
  uint8_t bytes[PROXY_HEADER_MAX] = "PROXY UNKNOWN ";
  struct proxy_header header;
  (void)state;
  memset(bytes + 14, 'x', sizeof bytes - 14);
  assert_int_equal(proxy_header_parse(&header, bytes, PROXY_HEADER_V1_MAX - 1), PROXY_HEADER_MORE);
  assert_int_equal(proxy_header_parse(&header, bytes, PROXY_HEADER_V1_MAX), PROXY_HEADER_BAD);
  memcpy(bytes, SIGNATURE "\x21\x11\x0f\xf0", 16);
  assert_int_equal(proxy_header_parse(&header, bytes, PROXY_HEADER_MAX - 1), PROXY_HEADER_MORE);
  assert_int_equal(proxy_header_parse(&header, bytes, PROXY_HEADER_MAX), PROXY_HEADER_DONE);
}

static void test_the_longest_line_of_version_1(void **state) {
  const char line[] = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
  struct proxy_header header;
  (void)state;
  assert_int_equal(sizeof line - 1, PROXY_HEADER_V1_MAX);
  assert_int_equal(proxy_header_parse(&header, (const uint8_t *)line, sizeof line - 1), PROXY_HEADER_DONE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_split_of_a_good_header),
      cmocka_unit_test(test_what_is_no_header),
      cmocka_unit_test(test_the_limits_end_every_wait),
      cmocka_unit_test(test_the_longest_line_of_version_1),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
