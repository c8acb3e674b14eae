/* credentials_test.c: the credentials file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "credentials.h"
#include "identity.h"
#include "scratch.h"

static struct scratch scratch;

static int make(void **state) {
  (void)state;
  return scratch_make(&scratch);
}

static int clean(void **state) {
  (void)state;
  scratch_remove(&scratch);
  return 0;
}

static void what_was_saved_is_found(void **state) {
  struct credentials tim = {"tim", "mdm1.token-of-tim"}, ada = {"ada", "mdm1.token-of-ada"}, out;
  char path[128], error[256];
  (void)state;
  scratch_file(&scratch, path, "saved.json");
  assert_int_equal(credentials_load(&out, path, "a:8001", error, sizeof error), 0);
  assert_int_equal(credentials_save(&tim, path, "a:8001", error, sizeof error), 0);
  assert_int_equal(credentials_save(&ada, path, "b:8001", error, sizeof error), 0);
  assert_true(net_file_is_private(path));
  assert_int_equal(credentials_load(&out, path, "a:8001", error, sizeof error), 1);
  assert_string_equal(out.user, "tim");
  assert_string_equal(out.token, "mdm1.token-of-tim");
  assert_int_equal(credentials_save(&ada, path, "a:8001", error, sizeof error), 0);
  assert_int_equal(credentials_load(&out, path, "a:8001", error, sizeof error), 1);
  assert_string_equal(out.user, "ada");
  assert_int_equal(credentials_load(&out, path, "c:8001", error, sizeof error), 0);
  assert_string_equal(out.token, "");
}

static void a_file_for_all_eyes_is_refused(void **state) {
  static const char text[] = "{\"a:8001\": {\"token\": \"canary-secret\"}}";
  struct credentials out;
  char path[128], error[256];
  (void)state;
  scratch_file(&scratch, path, "open.json");
  assert_int_equal(net_file_write(path, text, sizeof text - 1, 0644), 0);
  assert_int_equal(credentials_load(&out, path, "a:8001", error, sizeof error), -1);
  assert_non_null(strstr(error, "chmod 600"));
  assert_null(strstr(error, "canary"));
  assert_string_equal(out.token, "");
  assert_int_equal(credentials_save(&out, path, "a:8001", error, sizeof error), -1);
}

static void nonsense_fails_closed(void **state) {
  static const char *const files[] = {
      "",
      "[]",
      "{\"a:8001\": {}}",
      "{\"a:8001\": {\"token\": \"\"}}",
      "{\"a:8001\": {\"token\": 3}}",
      "{\"a:8001\": {\"token\": \"with space in it\"}}",
      "{\"a:8001\": {\"token\": \"mdm1.fine-token\", \"user\": 3}}",
      "{\"a:8001\": \"mdm1.fine-token\"}",
      "{\"a:8001\": ",
  };
  (void)state;
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    struct credentials out;
    char path[128], error[256] = "";
    scratch_file(&scratch, path, "nonsense.json");
    assert_int_equal(net_file_write(path, files[i], strlen(files[i]), 0600), 0);
    if (credentials_load(&out, path, "a:8001", error, sizeof error) != -1)
      fail_msg("taken: %s", files[i]);
    assert_true(strlen(error) > 10);
    assert_string_equal(out.token, "");
  }
}

static void the_form_of_a_token(void **state) {
  char text[300];
  (void)state;
  assert_null(credentials_token_fault("mdm1.abcdefgh.ijkl"));
  assert_non_null(credentials_token_fault(""));
  assert_non_null(credentials_token_fault("short"));
  assert_non_null(credentials_token_fault("two words here"));
  assert_non_null(credentials_token_fault("line\nbreak-in-it"));
  memset(text, 'a', sizeof text);
  text[299] = '\0';
  assert_non_null(credentials_token_fault(text));
  text[255] = '\0';
  assert_null(credentials_token_fault(text));
}

static void a_server_has_one_name(void **state) {
  char out[CREDENTIALS_SERVER_MAX];
  (void)state;
  assert_string_equal(credentials_server(out, "Tunnel.Example.COM", 8001), "tunnel.example.com:8001");
  assert_string_equal(credentials_server(out, "::1", 80), "[::1]:80");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_saved_is_found), cmocka_unit_test(a_file_for_all_eyes_is_refused),
      cmocka_unit_test(nonsense_fails_closed),   cmocka_unit_test(the_form_of_a_token),
      cmocka_unit_test(a_server_has_one_name),
  };
  return cmocka_run_group_tests_name("credentials", tests, make, clean);
}
