/* target_test.c: the text forms of a target. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "target.h"

static void forms_of_a_target(void **state) {
  static const struct {
    const char *text;
    enum target_kind kind;
    const char *shown, *authority;
  } rows[] = {
      {"3000", TARGET_LOOPBACK, "127.0.0.1:3000", "localhost:3000"},
      {"65535", TARGET_LOOPBACK, "127.0.0.1:65535", "localhost:65535"},
      {"80", TARGET_LOOPBACK, "127.0.0.1:80", "localhost"},
      {"localhost:3000", TARGET_LOOPBACK, "127.0.0.1:3000", "localhost:3000"},
      {"127.0.0.1:8080", TARGET_ADDRESS, "127.0.0.1:8080", "127.0.0.1:8080"},
      {"[::1]:8080", TARGET_ADDRESS, "[::1]:8080", "[::1]:8080"},
      {"nas.local:5000", TARGET_NAME, "nas.local:5000", "nas.local:5000"},
      {"unix:/run/app.sock", TARGET_UNIX, "unix:/run/app.sock", "localhost"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct target target;
    char error[256] = "", text[TARGET_TEXT];
    assert_int_equal(target_parse(&target, rows[i].text, error, sizeof error), 0);
    assert_int_equal(target.kind, rows[i].kind);
    assert_string_equal(target_text(text, &target), rows[i].shown);
    assert_string_equal(target_authority(text, &target, false), rows[i].authority);
  }
}

static void nonsense_is_refused_with_a_sentence(void **state) {
  static const char *const rows[] = {
      "",
      "0",
      "65536",
      "99999999999",
      "-1",
      "80x",
      "host",
      ":80",
      "host:",
      "host:0",
      "a:b:1",
      "ho st:80",
      "http://x:80",
      "unix:",
      "unix:relative",
      "host:65536",
      "user@host:80",
      "[::1:80",
      "::1",
      "host:80/x",
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct target target;
    char error[256] = "";
    if (target_parse(&target, rows[i], error, sizeof error) == 0)
      fail_msg("\"%s\" was taken", rows[i]);
    assert_true(strlen(error) > 10);
  }
}

static void a_socket_path_has_107_bytes(void **state) {
  char text[256] = "unix:/", error[256];
  struct target target;
  (void)state;
  memset(text + 6, 'a', 106);
  text[112] = '\0';
  assert_int_equal(target_parse(&target, text, error, sizeof error), 0);
  text[112] = 'a';
  text[113] = '\0';
  assert_int_equal(target_parse(&target, text, error, sizeof error), -1);
}

static void authority_leaves_out_the_port_of_https(void **state) {
  struct target target;
  char error[256], text[TARGET_TEXT];
  (void)state;
  assert_int_equal(target_parse(&target, "shop.internal:443", error, sizeof error), 0);
  assert_string_equal(target_authority(text, &target, true), "shop.internal");
  assert_string_equal(target_authority(text, &target, false), "shop.internal:443");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(forms_of_a_target),
      cmocka_unit_test(nonsense_is_refused_with_a_sentence),
      cmocka_unit_test(a_socket_path_has_107_bytes),
      cmocka_unit_test(authority_leaves_out_the_port_of_https),
  };
  return cmocka_run_group_tests_name("target", tests, NULL, NULL);
}
