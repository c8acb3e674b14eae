/* passwords_test.c: passwords checked on a thread: verdicts, what is remembered, a full queue, cancelling, and freeing with checks under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "passwords.h"

#define WAIT_MS 20000u

struct bench {
  struct net_loop loop;
  struct passwords *passwords;
  struct net_basic_user users[2];
  unsigned right, wrong;
};

static int set_up(void **state) {
  static const char *const names[] = {"tim", "ann"}, *const secrets[] = {"blue", "red"};
  struct bench *bench = calloc(1, sizeof *bench);
  assert_int_equal(net_loop_init(&bench->loop, NULL, NULL, NULL), 0);
  assert_int_equal(passwords_new(&bench->passwords, &bench->loop), 0);
  for (size_t i = 0; i < 2; i++) {
    bench->users[i].user = strdup(names[i]);
    bench->users[i].hash = malloc(crypto_pwhash_STRBYTES);
    assert_int_equal(crypto_pwhash_str(bench->users[i].hash, secrets[i], strlen(secrets[i]), crypto_pwhash_OPSLIMIT_MIN, crypto_pwhash_MEMLIMIT_MIN), 0);
  }
  *state = bench;
  return 0;
}

static int tear_down(void **state) {
  struct bench *bench = *state;
  passwords_free(bench->passwords);
  net_loop_clean(&bench->loop);
  for (size_t i = 0; i < 2; i++) {
    free(bench->users[i].user);
    free(bench->users[i].hash);
  }
  free(bench);
  return 0;
}

static void on_done(bool right, void *user) {
  struct bench *bench = user;
  bench->right += right;
  bench->wrong += !right;
}

static enum password_verdict check(struct bench *bench, const char *credential, struct password_job **job) {
  struct password_job *ignored;
  char value[256] = "Basic ";
  sodium_bin2base64(value + 6, sizeof value - 6, (const unsigned char *)credential, strlen(credential), sodium_base64_VARIANT_ORIGINAL);
  return passwords_check(bench->passwords, bench->users, 2, (struct mdm_text){value, strlen(value)}, on_done, bench, job ? job : &ignored);
}

static void on_late(uv_timer_t *timer) {
  (void)timer;
  fail_msg("the checks did not come back");
}

static void until_answered(struct bench *bench, unsigned count) {
  uv_timer_t timer;
  uv_timer_init(bench->loop.uv, &timer);
  uv_timer_start(&timer, on_late, WAIT_MS, 0);
  while (bench->right + bench->wrong < count)
    uv_run(bench->loop.uv, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(bench->loop.uv, UV_RUN_NOWAIT);
}

static void only_the_right_password_of_the_right_user_is_right(void **state) {
  static const struct {
    const char *credential;
    bool right;
  } rows[] = {{"tim:blue", true}, {"ann:red", true}, {"tim:red", false}, {"tim:", false}, {"tim:blue ", false}, {"nobody:blue", false}, {"Tim:blue", false}};
  struct bench *bench = *state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    bench->right = bench->wrong = 0;
    assert_int_equal(check(bench, rows[i].credential, NULL), PASSWORD_PENDING);
    until_answered(bench, 1);
    assert_int_equal(bench->right, rows[i].right);
  }
  assert_int_equal(check(bench, "tim:blue", NULL), PASSWORD_RIGHT); /* remembered */
  assert_int_equal(check(bench, "tim:red", NULL), PASSWORD_PENDING);
  until_answered(bench, 2);
}

static void what_is_no_credential_is_wrong_at_once(void **state) {
  static const char *const rows[] = {"", "Basic", "Basic ", "Basic !!!!", "Basic dGlt", "Bearer dGltOmJsdWU=", "Basic dGltOmJsdWU=x"};
  struct bench *bench = *state;
  struct password_job *job;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    assert_int_equal(passwords_check(bench->passwords, bench->users, 2, (struct mdm_text){rows[i], strlen(rows[i])}, on_done, bench, &job), PASSWORD_WRONG);
  assert_int_equal(passwords_check(bench->passwords, bench->users, 0, (struct mdm_text){"Basic dGltOmJsdWU=", 18}, on_done, bench, &job), PASSWORD_WRONG);
}

static void a_full_queue_is_busy_and_empties(void **state) {
  struct bench *bench = *state;
  unsigned pending = 0, busy = 0;
  for (unsigned i = 0; i < 2 * PASSWORDS_QUEUE_MAX; i++) {
    const enum password_verdict verdict = check(bench, i % 2 ? "tim:wrong" : "tim:blue", NULL);
    pending += verdict == PASSWORD_PENDING;
    busy += verdict == PASSWORD_BUSY;
  }
  assert_int_equal(pending, PASSWORDS_QUEUE_MAX); /* nothing comes back before the loop runs */
  assert_int_equal(busy, PASSWORDS_QUEUE_MAX);
  until_answered(bench, pending);
  assert_int_equal(bench->right, PASSWORDS_QUEUE_MAX / 2);
  assert_int_equal(check(bench, "ann:red", NULL), PASSWORD_PENDING);
  until_answered(bench, pending + 1);
}

static void a_cancelled_check_tells_nobody(void **state) {
  struct bench *bench = *state;
  struct password_job *jobs[20];
  for (unsigned i = 0; i < 20; i++)
    assert_int_equal(check(bench, "tim:blue", &jobs[i]), PASSWORD_PENDING);
  for (unsigned i = 0; i < 20; i += 2)
    password_cancel(jobs[i]);
  until_answered(bench, 10);
  assert_int_equal(check(bench, "ann:wrong", NULL), PASSWORD_PENDING); /* comes after all of them */
  until_answered(bench, 11);
  assert_int_equal(bench->right, 10);
}

static void freed_with_checks_under_way(void **state) {
  struct bench *bench = *state;
  struct password_job *jobs[20];
  for (unsigned i = 0; i < 20; i++)
    assert_int_equal(check(bench, i % 2 ? "tim:blue" : "tim:no", &jobs[i]), PASSWORD_PENDING);
  for (unsigned i = 0; i < 20; i++)
    password_cancel(jobs[i]); /* and the tear-down frees */
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(only_the_right_password_of_the_right_user_is_right),
      TEST(what_is_no_credential_is_wrong_at_once),
      TEST(a_full_queue_is_busy_and_empties),
      TEST(a_cancelled_check_tells_nobody),
      TEST(freed_with_checks_under_way),
  };
  return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
