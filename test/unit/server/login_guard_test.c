/* login_guard_test.c: refusals wait longer and longer; and what service ids mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <sodium.h>
#include <uv.h>

#include "login_guard.h"
#include "service_ids.h"

static const struct mdm_address home = {.family = 4, .bytes = {192, 0, 2, 1}};
static const struct mdm_address away = {.family = 4, .bytes = {192, 0, 2, 2}};

static void waits_grow_and_are_bounded(void **state) {
  struct login_guard guard;
  uint32_t last = 0;
  (void)state;
  assert_int_equal(login_guard_init(&guard), 0);
  for (unsigned i = 0; i < LOGIN_GUARD_FREE; i++) {
    assert_int_equal(login_guard_failed(&guard, 1000, &home, "tim"), 0);
  }
  for (unsigned i = 0; i < 40; i++) {
    uint32_t wait = login_guard_failed(&guard, 1000, &home, "tim");
    assert_true(wait >= last && wait >= LOGIN_GUARD_FIRST_MS && wait <= LOGIN_GUARD_MAX_MS);
    last = wait;
  }
  assert_int_equal(last, LOGIN_GUARD_MAX_MS);
  assert_int_equal(login_guard_failed(&guard, 1000, &away, "tim"), 0); /* another address is another story */
  login_guard_clean(&guard);
}

static void many_users_from_one_address_wait_too(void **state) {
  struct login_guard guard;
  char user[16];
  uint32_t wait = 0;
  (void)state;
  assert_int_equal(login_guard_init(&guard), 0);
  for (unsigned i = 0; i < 8; i++) {
    snprintf(user, sizeof user, "u%u", i);
    wait = login_guard_failed(&guard, 1000, &home, user);
  }
  assert_true(wait > 0);
  login_guard_clean(&guard);
}

static void forgotten_after_a_quiet_while(void **state) {
  struct login_guard guard;
  (void)state;
  assert_int_equal(login_guard_init(&guard), 0);
  for (unsigned i = 0; i < 20; i++) {
    (void)login_guard_failed(&guard, 1000, &home, "tim");
  }
  assert_int_equal(login_guard_failed(&guard, 1001 + LOGIN_GUARD_FORGET_MS, &home, "tim"), 0);
  login_guard_clean(&guard);
}

static void a_v6_network_counts_as_one(void **state) {
  struct login_guard guard;
  struct mdm_address address = {.family = 6, .bytes = {0x20, 1, 0xd, 0xb8}};
  uint32_t wait = 0;
  (void)state;
  assert_int_equal(login_guard_init(&guard), 0);
  for (uint8_t i = 0; i < 8; i++) {
    address.bytes[15] = i;
    wait = login_guard_failed(&guard, 1000, &address, "tim");
  }
  assert_true(wait > 0);
  login_guard_clean(&guard);
}

static void an_id_keeps_its_meaning(void **state) {
  struct service_ids ids = {0};
  (void)state;
  assert_int_equal(service_ids_note(&ids, 5, "a"), 0);
  assert_int_equal(service_ids_note(&ids, 2, "b"), 0);
  assert_int_equal(service_ids_note(&ids, 5, "a"), 0);
  assert_int_equal(service_ids_note(&ids, 5, "b"), UV_EINVAL);
  assert_int_equal(service_ids_note(&ids, 2, "a"), UV_EINVAL);
  for (uint32_t id = 10; ids.count < SERVICE_IDS_MAX; id++) {
    assert_int_equal(service_ids_note(&ids, id, "x"), 0);
  }
  assert_int_equal(service_ids_note(&ids, 4000000000u, "x"), UV_E2BIG);
  service_ids_clean(&ids);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(waits_grow_and_are_bounded),    cmocka_unit_test(many_users_from_one_address_wait_too),
      cmocka_unit_test(forgotten_after_a_quiet_while), cmocka_unit_test(a_v6_network_counts_as_one),
      cmocka_unit_test(an_id_keeps_its_meaning),
  };
  return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("login_guard", tests, NULL, NULL);
}
