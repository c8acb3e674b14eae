/* auth_test.c: the chain of hooks with hooks of the test: now, later, never, twice, too late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "auth.h"

#define CALLS_MAX 32
#define TEXT(literal) {literal, sizeof(literal) - 1}

/* A hook that answers `now`, or keeps its calls for the test. */
struct fake {
  bool later;
  struct mdm_auth_answer now;
  struct mdm_auth_call *calls[CALLS_MAX];
  size_t asked, cancelled, closed;
};

static void fake_ask(void *self, const struct mdm_auth_question *question, struct mdm_auth_call *call) {
  struct fake *fake = self;
  (void)question;
  fake->calls[fake->asked++ % CALLS_MAX] = call;
  mdm_auth_call_set(call, fake);
  if (!fake->later) {
    mdm_auth_answer(call, &fake->now);
  }
}

static void fake_cancel(void *self, struct mdm_auth_call *call) {
  struct fake *fake = self;
  assert_ptr_equal(mdm_auth_call_get(call), fake);
  fake->cancelled++;
}

static void fake_close(void *self) {
  ((struct fake *)self)->closed++;
}

#define HOOK(hook_name, bits) \
  {.abi = MDM_AUTH_ABI, .name = hook_name, .steps = (bits), .ask = fake_ask, .cancel = fake_cancel, .close = fake_close}
static const struct mdm_auth_hook visit_hook = HOOK("visit", MDM_AUTH_BIT(MDM_AUTH_VISIT));
static const struct mdm_auth_hook login_hook = HOOK("login", MDM_AUTH_BIT(MDM_AUTH_LOGIN) | MDM_AUTH_BIT(MDM_AUTH_VISIT));

struct result {
  unsigned count;
  enum auth_verdict verdict;
  struct mdm_auth_answer answer;
  char user[64], service[64], reason[64], body[64], field[64];
};

static void copy(char out[static 64], const struct mdm_text *text) {
  snprintf(out, 64, "%.*s", (int)text->size, text->size == 0 ? "" : text->data);
}

static void done(enum auth_verdict verdict, const struct mdm_auth_answer *answer, void *user) {
  struct result *result = user;
  result->count++;
  result->verdict = verdict;
  result->answer = *answer;
  copy(result->user, &answer->user);
  copy(result->service, &answer->service);
  copy(result->reason, &answer->reason);
  copy(result->body, &answer->body);
  if (answer->origin_fields_count > 0) {
    copy(result->field, &answer->origin_fields[answer->origin_fields_count - 1].value);
  } else if (answer->answer_fields_count > 0) {
    copy(result->field, &answer->answer_fields[0].value);
  }
}

struct bench {
  struct net_loop loop;
  struct auth_chain *chain;
  struct fake fakes[3];
  char error[256];
};

static void bench_open(struct bench *bench, const struct mdm_auth_hook *const *hooks, size_t count, bool open_mode, uint32_t deadline_ms) {
  struct auth_hook_entry entries[3];
  memset(bench, 0, sizeof *bench);
  assert_int_equal(net_loop_init(&bench->loop, NULL, NULL, NULL), 0);
  for (size_t i = 0; i < count; i++) {
    entries[i] = (struct auth_hook_entry){.hook = hooks[i], .self = &bench->fakes[i]};
  }
  assert_int_equal(auth_chain_open(&bench->chain, &bench->loop, entries, count, open_mode, deadline_ms, bench->error, sizeof bench->error), 0);
}

static void bench_close(struct bench *bench) {
  auth_chain_close(bench->chain);
  net_loop_clean(&bench->loop);
}

static void bench_turn(struct bench *bench) {
  uv_run(bench->loop.uv, UV_RUN_NOWAIT);
}

static struct result ask(struct bench *bench, enum mdm_auth_step step) {
  struct mdm_auth_question question = {.step = step};
  struct result result = {0};
  struct auth_ask *pending;
  auth_chain_ask(bench->chain, &question, done, &result, &pending);
  assert_null(pending);
  assert_int_equal(result.count, 1);
  return result;
}

static void undeclared_steps_have_their_defaults(void **state) {
  struct bench bench;
  struct mdm_auth_question custom = {.step = MDM_AUTH_CLAIM, .custom_domain = true};
  struct result result = {0};
  struct auth_ask *pending;
  (void)state;
  bench_open(&bench, NULL, 0, false, 0);
  assert_int_equal(ask(&bench, MDM_AUTH_LOGIN).verdict, AUTH_DENIED);
  assert_int_equal(ask(&bench, MDM_AUTH_CLAIM).verdict, AUTH_ALLOWED);
  assert_int_equal(ask(&bench, MDM_AUTH_STREAM).verdict, AUTH_ALLOWED);
  assert_int_equal(ask(&bench, MDM_AUTH_VISIT).verdict, AUTH_ALLOWED);
  auth_chain_ask(bench.chain, &custom, done, &result, &pending);
  assert_int_equal(result.verdict, AUTH_DENIED);
  bench_close(&bench);
  bench_open(&bench, NULL, 0, true, 0);
  assert_int_equal(ask(&bench, MDM_AUTH_LOGIN).verdict, AUTH_ALLOWED);
  bench_close(&bench);
}

static void all_zeroes_deny_and_the_first_denial_ends_it(void **state) {
  const struct mdm_auth_hook *hooks[] = {&visit_hook, &visit_hook, &visit_hook};
  struct bench bench;
  struct mdm_auth_field location = {TEXT("Location"), TEXT("/login")};
  (void)state;
  bench_open(&bench, hooks, 3, false, 0);
  bench.fakes[0].now.allow = true;
  bench.fakes[2].now.allow = true;
  struct result result = ask(&bench, MDM_AUTH_VISIT);
  assert_int_equal(result.verdict, AUTH_DENIED);
  assert_int_equal(result.answer.status, 0);
  assert_int_equal(bench.fakes[2].asked, 0);
  bench.fakes[1].now = (struct mdm_auth_answer){.status = 302, .answer_fields = &location, .answer_fields_count = 1, .reason = TEXT("why"), .body = TEXT("go")};
  result = ask(&bench, MDM_AUTH_VISIT);
  assert_int_equal(result.answer.status, 302);
  assert_string_equal(result.field, "/login");
  assert_string_equal(result.reason, "why");
  assert_string_equal(result.body, "go");
  bench_close(&bench);
  assert_int_equal(bench.fakes[2].closed, 1);
}

static void answers_are_joined(void **state) {
  const struct mdm_auth_hook *hooks[] = {&visit_hook, &visit_hook, &visit_hook};
  struct bench bench;
  struct mdm_auth_field first = {TEXT("X-User"), TEXT("one")}, second = {TEXT("X-User"), TEXT("two")};
  (void)state;
  bench_open(&bench, hooks, 3, false, 0);
  bench.fakes[0].now = (struct mdm_auth_answer){.allow = true, .user = TEXT("a"), .service = TEXT("s"), .origin_fields = &first, .origin_fields_count = 1, .limits = {.timeout_s = 9}};
  bench.fakes[1].now = (struct mdm_auth_answer){.allow = true, .user = TEXT("b"), .origin_fields = &second, .origin_fields_count = 1, .limits = {.timeout_s = 5, .request_body_bytes = 7}};
  bench.fakes[2].now = (struct mdm_auth_answer){.allow = true, .limits = {.timeout_s = 6}};
  struct result result = ask(&bench, MDM_AUTH_VISIT);
  assert_int_equal(result.verdict, AUTH_ALLOWED);
  assert_string_equal(result.user, "b"); /* the last route, all of it */
  assert_string_equal(result.service, "");
  assert_int_equal(result.answer.origin_fields_count, 2);
  assert_string_equal(result.field, "two");
  assert_int_equal(result.answer.limits.timeout_s, 5);
  assert_int_equal(result.answer.limits.request_body_bytes, 7);
  bench_close(&bench);
}

static void two_users_for_one_login_deny(void **state) {
  const struct mdm_auth_hook *hooks[] = {&login_hook, &login_hook};
  struct bench bench;
  (void)state;
  bench_open(&bench, hooks, 2, false, 0);
  bench.fakes[0].now = (struct mdm_auth_answer){.allow = true, .user = TEXT("tim")};
  bench.fakes[1].now = (struct mdm_auth_answer){.allow = true, .user = TEXT("sue")};
  assert_int_equal(ask(&bench, MDM_AUTH_LOGIN).verdict, AUTH_DENIED);
  bench.fakes[1].now = (struct mdm_auth_answer){.allow = true};
  struct result result = ask(&bench, MDM_AUTH_LOGIN);
  assert_int_equal(result.verdict, AUTH_ALLOWED);
  assert_string_equal(result.user, "tim");
  bench_close(&bench);
}

static void malformed_answers_deny(void **state) {
  static const struct mdm_auth_field bad[] = {
      {TEXT("X-A"), TEXT("a\r\nX-B: b")}, {TEXT("X A"), TEXT("a")}, {TEXT(""), TEXT("a")}, {TEXT("X-A:"), TEXT("a")}, {TEXT("X-A"), TEXT("a\0b")}};
  const struct mdm_auth_hook *hooks[] = {&visit_hook};
  static char big[AUTH_TEXT_MAX + 1];
  struct bench bench;
  (void)state;
  bench_open(&bench, hooks, 1, false, 0);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    bench.fakes[0].now = (struct mdm_auth_answer){.allow = true, .origin_fields = &bad[i], .origin_fields_count = 1};
    assert_int_equal(ask(&bench, MDM_AUTH_VISIT).verdict, AUTH_DENIED);
    bench.fakes[0].now = (struct mdm_auth_answer){.status = 302, .answer_fields = &bad[i], .answer_fields_count = 1};
    struct result result = ask(&bench, MDM_AUTH_VISIT);
    assert_int_equal(result.verdict, AUTH_DENIED);
    assert_int_equal(result.answer.answer_fields_count, 0);
  }
  bench.fakes[0].now = (struct mdm_auth_answer){.status = 101};
  assert_int_equal(ask(&bench, MDM_AUTH_VISIT).answer.status, 0);
  bench.fakes[0].now = (struct mdm_auth_answer){.allow = true, .user = {big, sizeof big}};
  assert_int_equal(ask(&bench, MDM_AUTH_VISIT).verdict, AUTH_DENIED);
  bench_close(&bench);
}

static void a_later_answer_goes_on_with_the_next_hook(void **state) {
  const struct mdm_auth_hook *hooks[] = {&visit_hook, &visit_hook};
  struct bench bench;
  struct mdm_auth_question question = {.step = MDM_AUTH_VISIT};
  struct mdm_auth_answer yes = {.allow = true, .user = TEXT("u")};
  struct result result = {0};
  struct auth_ask *pending;
  (void)state;
  bench_open(&bench, hooks, 2, false, 0);
  bench.fakes[0].later = true;
  bench.fakes[1].now.allow = true;
  auth_chain_ask(bench.chain, &question, done, &result, &pending);
  assert_non_null(pending);
  assert_int_equal(bench.fakes[1].asked, 0);
  mdm_auth_answer(bench.fakes[0].calls[0], &yes);
  mdm_auth_answer(bench.fakes[0].calls[0], &(struct mdm_auth_answer){0}); /* the second word is ignored */
  assert_int_equal(result.count, 0);
  bench_turn(&bench);
  assert_int_equal(result.count, 1);
  assert_int_equal(result.verdict, AUTH_ALLOWED);
  assert_string_equal(result.user, "u");
  bench_close(&bench);
}

static void wait_for(struct bench *bench, const unsigned *count) {
  while (*count == 0) {
    uv_run(bench->loop.uv, UV_RUN_ONCE);
  }
}

static void keep_alive(uv_timer_t *timer) {
  (void)timer;
}

static void a_hook_that_hangs_denies_and_its_late_answer_hurts_nobody(void **state) {
  const struct mdm_auth_hook *hooks[] = {&visit_hook};
  struct bench bench;
  struct mdm_auth_question question = {.step = MDM_AUTH_VISIT};
  struct mdm_auth_answer yes = {.allow = true};
  struct result hung = {0}, other = {0};
  struct auth_ask *pending;
  uv_timer_t alive;
  (void)state;
  bench_open(&bench, hooks, 1, false, 60);
  uv_timer_init(bench.loop.uv, &alive);
  uv_timer_start(&alive, keep_alive, 20, 20);
  bench.fakes[0].later = true;
  auth_chain_ask(bench.chain, &question, done, &hung, &pending);
  wait_for(&bench, &hung.count);
  assert_int_equal(hung.verdict, AUTH_TIMED_OUT);
  assert_false(hung.answer.allow);
  assert_int_equal(bench.fakes[0].cancelled, 1);
  auth_chain_ask(bench.chain, &question, done, &other, &pending);
  mdm_auth_answer(bench.fakes[0].calls[0], &yes); /* the dead one */
  bench_turn(&bench);
  assert_int_equal(hung.count, 1);
  assert_int_equal(other.count, 0);
  mdm_auth_answer(bench.fakes[0].calls[1], &yes);
  bench_turn(&bench);
  assert_int_equal(other.verdict, AUTH_ALLOWED);
  uv_close((uv_handle_t *)&alive, NULL);
  bench_turn(&bench);
  bench_close(&bench);
}

static void cancel_is_silent(void **state) {
  const struct mdm_auth_hook *hooks[] = {&visit_hook};
  struct bench bench;
  struct mdm_auth_question question = {.step = MDM_AUTH_VISIT};
  struct result result = {0};
  struct auth_ask *pending;
  (void)state;
  bench_open(&bench, hooks, 1, false, 0);
  bench.fakes[0].later = true;
  auth_chain_ask(bench.chain, &question, done, &result, &pending);
  auth_ask_cancel(pending);
  assert_int_equal(bench.fakes[0].cancelled, 1);
  auth_chain_ask(bench.chain, &question, done, &result, &pending);
  mdm_auth_answer(bench.fakes[0].calls[1], &(struct mdm_auth_answer){.allow = true});
  auth_ask_cancel(pending); /* answered, not told yet */
  assert_int_equal(bench.fakes[0].cancelled, 1);
  bench_turn(&bench);
  assert_int_equal(result.count, 0);
  bench_close(&bench);
}

static void closing_denies_what_is_in_flight(void **state) {
  const struct mdm_auth_hook *hooks[] = {&visit_hook};
  struct bench bench;
  struct mdm_auth_question question = {.step = MDM_AUTH_VISIT};
  struct result result = {0};
  struct auth_ask *pending;
  (void)state;
  bench_open(&bench, hooks, 1, false, 0);
  bench.fakes[0].later = true;
  auth_chain_ask(bench.chain, &question, done, &result, &pending);
  bench_close(&bench);
  assert_int_equal(result.count, 1);
  assert_int_equal(result.verdict, AUTH_DENIED);
  assert_int_equal(bench.fakes[0].cancelled, 1);
  assert_int_equal(bench.fakes[0].closed, 1);
}

static void too_many_questions_are_busy(void **state) {
  const struct mdm_auth_hook *hooks[] = {&visit_hook};
  struct bench bench;
  struct mdm_auth_question question = {.step = MDM_AUTH_VISIT};
  struct result result = {0}, last = {0};
  struct auth_ask *pending;
  (void)state;
  bench_open(&bench, hooks, 1, false, 0);
  bench.fakes[0].later = true;
  for (unsigned i = 0; i < AUTH_PENDING_MAX; i++) {
    auth_chain_ask(bench.chain, &question, done, &result, &pending);
    assert_non_null(pending);
  }
  auth_chain_ask(bench.chain, &question, done, &last, &pending);
  assert_int_equal(last.verdict, AUTH_BUSY);
  assert_false(last.answer.allow);
  bench_close(&bench);
  assert_int_equal(result.count, AUTH_PENDING_MAX);
}

static void hooks_that_cannot_be_opened(void **state) {
  static const struct mdm_auth_hook old = {.abi = MDM_AUTH_ABI + 1, .name = "old", .steps = 1, .ask = fake_ask};
  static const struct mdm_auth_hook empty = {.abi = MDM_AUTH_ABI, .name = "empty", .ask = fake_ask};
  const struct mdm_auth_hook *bad[] = {&old, &empty};
  struct net_loop loop;
  (void)state;
  assert_int_equal(net_loop_init(&loop, NULL, NULL, NULL), 0);
  for (size_t i = 0; i < 2; i++) {
    struct fake fake = {0};
    struct auth_hook_entry entries[] = {{.hook = &visit_hook, .self = &fake}, {.hook = bad[i]}};
    struct auth_chain *chain;
    char error[256] = "";
    assert_int_equal(auth_chain_open(&chain, &loop, entries, 2, false, 0, error, sizeof error), -1);
    assert_null(chain);
    assert_non_null(strstr(error, bad[i]->name));
    assert_int_equal(fake.closed, 1);
  }
  net_loop_clean(&loop);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(undeclared_steps_have_their_defaults),
      cmocka_unit_test(all_zeroes_deny_and_the_first_denial_ends_it),
      cmocka_unit_test(answers_are_joined),
      cmocka_unit_test(two_users_for_one_login_deny),
      cmocka_unit_test(malformed_answers_deny),
      cmocka_unit_test(a_later_answer_goes_on_with_the_next_hook),
      cmocka_unit_test(a_hook_that_hangs_denies_and_its_late_answer_hurts_nobody),
      cmocka_unit_test(cancel_is_silent),
      cmocka_unit_test(closing_denies_what_is_in_flight),
      cmocka_unit_test(too_many_questions_are_busy),
      cmocka_unit_test(hooks_that_cannot_be_opened),
  };
  return cmocka_run_group_tests_name("auth", tests, NULL, NULL);
}
