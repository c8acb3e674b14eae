/* fingerprint_test.c: the text of a fingerprint, there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tls.h"

/* 32 zero bytes but the last, so that the last character's spare bits are looked at. */
#define ZEROES "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void test_text_and_back(void **state) {
  uint8_t bytes[NET_FINGERPRINT_SIZE], back[NET_FINGERPRINT_SIZE];
  char text[NET_FINGERPRINT_TEXT];
  (void)state;
  for (size_t i = 0; i < sizeof bytes; i++) {
    bytes[i] = (uint8_t)(i * 41 + 3);
  }
  net_fingerprint_text(text, bytes);
  assert_int_equal(strlen(text), 50);
  assert_memory_equal(text, "SHA256:", 7);
  assert_int_equal(net_fingerprint_parse(back, text, strlen(text)), 0);
  assert_memory_equal(back, bytes, sizeof bytes);
  memset(back, 0, sizeof back);
  assert_int_equal(net_fingerprint_parse(back, text + 7, strlen(text) - 7), 0);
  assert_memory_equal(back, bytes, sizeof bytes);
}

static void test_what_is_no_fingerprint_is_refused(void **state) {
  static const char *const table[] = {
      "",
      "SHA256:",
      "SHA1:" ZEROES "A",
      "SHA256:" ZEROES,
      "SHA256:" ZEROES "AA",
      ZEROES "B",
      ZEROES "=",
      ZEROES "-",
      "sha256:" ZEROES "A",
      "SHA256:AAAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAAA",
  };
  uint8_t bytes[NET_FINGERPRINT_SIZE];
  (void)state;
  assert_int_equal(net_fingerprint_parse(bytes, ZEROES "A", 43), 0);
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    assert_int_equal(net_fingerprint_parse(bytes, table[i], strlen(table[i])), UV_EINVAL);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_text_and_back),
      cmocka_unit_test(test_what_is_no_fingerprint_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
