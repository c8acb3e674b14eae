/* trust_test.c: the decision on a server's key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "known_servers.h"
#include "scratch.h"
#include "trust.h"

static struct scratch scratch;
static char file[128];
static const uint8_t key[NET_FINGERPRINT_SIZE] = {1, 2, 3}, other[NET_FINGERPRINT_SIZE] = {9};

static int make(void **state) {
  (void)state;
  int status = scratch_make(&scratch);
  scratch_file(&scratch, file, "known_servers");
  return status;
}

static int clean(void **state) {
  (void)state;
  scratch_remove(&scratch);
  return 0;
}

/* One row a rule; `known` is what known_servers says beforehand. */
static void rules(void **state) {
  enum known { NOTHING, SAME, ANOTHER };
  static const struct {
    const char *what;
    int token, flag; /* 0 none, 1 right, -1 wrong */
    bool ca, strict, bearer, loopback;
    enum known known;
    enum trust_verdict verdict;
    const char *says;
  } rows[] = {
      {"token pins", 1, 0, false, true, true, false, NOTHING, TRUST_OK, ""},
      {"token pins, key differs", -1, 0, false, false, true, true, NOTHING, TRUST_REFUSED, "the token was made for"},
      {"token pins over a known key", 1, 0, false, false, true, false, ANOTHER, TRUST_OK, ""},
      {"fingerprint pins", 0, 1, false, true, true, false, NOTHING, TRUST_OK, ""},
      {"fingerprint differs", 0, -1, false, false, false, true, SAME, TRUST_REFUSED, "--fingerprint names"},
      {"token right, fingerprint wrong", 1, -1, false, false, true, false, NOTHING, TRUST_REFUSED,
       "--fingerprint names"},
      {"CA", 0, 0, true, true, true, false, ANOTHER, TRUST_OK, ""},
      {"known", 0, 0, false, true, true, false, SAME, TRUST_OK, ""},
      {"changed", 0, 0, false, false, false, true, ANOTHER, TRUST_REFUSED, "HAS CHANGED"},
      {"new, no secret", 0, 0, false, false, false, false, NOTHING, TRUST_FIRST, "first contact"},
      {"new, secret, loopback", 0, 0, false, false, true, true, NOTHING, TRUST_FIRST, "first contact"},
      {"new, secret", 0, 0, false, false, true, false, NOTHING, TRUST_REFUSED, "--fingerprint SHA256:"},
      {"new, strict", 0, 0, false, true, false, true, NOTHING, TRUST_REFUSED, "--strict"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char text[TRUST_TEXT_MAX];
    uint16_t port = (uint16_t)(1000 + i);
    struct trust trust = {
        .pinned_by_token = rows[i].token != 0,
        .pinned = rows[i].flag != 0,
        .ca = rows[i].ca,
        .strict = rows[i].strict,
        .bearer = rows[i].bearer,
        .known_servers = file,
    };
    memcpy(trust.token_pin, rows[i].token > 0 ? key : other, sizeof key);
    memcpy(trust.pin, rows[i].flag > 0 ? key : other, sizeof key);
    if (rows[i].known != NOTHING)
      assert_int_equal(net_known_add(file, "server.example", port, rows[i].known == SAME ? key : other), 0);
    enum trust_verdict verdict = trust_judge(&trust, "server.example", port, rows[i].loopback, key, text);
    if (verdict != rows[i].verdict || strstr(text, rows[i].says) == NULL)
      fail_msg("%s: %d, %s", rows[i].what, (int)verdict, text);
  }
}

static void first_contact_is_remembered(void **state) {
  struct trust trust = {.known_servers = file};
  char text[TRUST_TEXT_MAX];
  (void)state;
  assert_int_equal(trust_judge(&trust, "first.example", 1, false, key, text), TRUST_FIRST);
  assert_int_equal(trust_judge(&trust, "first.example", 1, false, key, text), TRUST_OK);
  assert_int_equal(trust_judge(&trust, "first.example", 1, false, other, text), TRUST_REFUSED);
  assert_non_null(strstr(text, "remove line"));
  assert_int_equal(trust_judge(&trust, "first.example", 2, false, other, text), TRUST_FIRST);
}

static void a_refused_stranger_is_not_remembered(void **state) {
  struct trust trust = {.known_servers = file, .bearer = true};
  char text[TRUST_TEXT_MAX];
  (void)state;
  assert_int_equal(trust_judge(&trust, "stranger.example", 1, false, key, text), TRUST_REFUSED);
  assert_int_equal(trust_judge(&trust, "stranger.example", 1, false, key, text), TRUST_REFUSED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rules),
      cmocka_unit_test(first_contact_is_remembered),
      cmocka_unit_test(a_refused_stranger_is_not_remembered),
  };
  return cmocka_run_group_tests_name("trust", tests, make, clean);
}
