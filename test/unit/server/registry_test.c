/* registry_test.c: names claimed, raced for, released, held; and a random run against a simple model. Agents are the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry.h"

struct agent {
  const char *user;
  bool mute; /* serves nothing just now */
  struct net_service service;
};

/* In place of agent.c. */
const char *agent_user(const struct agent *agent) {
  return agent->user;
}
const struct net_service *agent_service(const struct agent *agent, uint32_t id) {
  return agent->mute || id == 0 ? NULL : &agent->service;
}

struct bench {
  struct net_loop loop;
  struct registry *registry;
};

static void bench_open(struct bench *bench) {
  assert_int_equal(net_loop_init(&bench->loop, NULL, NULL, NULL), 0);
  assert_int_equal(registry_new(&bench->registry, &bench->loop), 0);
}

static void bench_close(struct bench *bench) {
  registry_free(bench->registry);
  net_loop_clean(&bench->loop);
}

static enum registry_state find(struct bench *bench, const char *key, struct agent **agent, bool *hold) {
  struct registry_target target;
  bool hold_allowed;
  enum registry_state state = registry_find(bench->registry, key, &target, &hold_allowed);
  if (agent != NULL) {
    *agent = target.agent;
  }
  if (hold != NULL) {
    *hold = hold_allowed;
  }
  return state;
}

static void claim_find_release(void **state) {
  struct bench bench;
  struct agent tim = {.user = "tim"}, *found;
  bool hold;
  (void)state;
  bench_open(&bench);
  assert_int_equal(find(&bench, "a.tim", NULL, NULL), REGISTRY_UNKNOWN);
  assert_int_equal(registry_claim(bench.registry, "a.tim", &tim, 1, false), 0);
  assert_int_equal(find(&bench, "a.tim", &found, &hold), REGISTRY_LIVE);
  assert_ptr_equal(found, &tim);
  assert_false(hold);
  assert_int_equal(find(&bench, "b.tim", NULL, NULL), REGISTRY_OFFLINE); /* a known user's */
  assert_int_equal(find(&bench, "a.sue", NULL, NULL), REGISTRY_UNKNOWN);
  registry_release(bench.registry, "a.tim", &tim, false);
  assert_int_equal(find(&bench, "a.tim", NULL, &hold), REGISTRY_OFFLINE);
  assert_true(hold);
  bench_close(&bench);
}

static void two_owners_never_both_get_it(void **state) {
  struct bench bench;
  struct agent one = {.user = "tim"}, two = {.user = "tim"}, *found;
  (void)state;
  bench_open(&bench);
  assert_int_equal(registry_claim(bench.registry, "a.tim", &one, 1, false), 0);
  assert_int_equal(registry_claim(bench.registry, "a.tim", &two, 1, false), UV_EEXIST);
  registry_release(bench.registry, "a.tim", &two, true); /* not its own: nothing happens */
  assert_int_equal(find(&bench, "a.tim", &found, NULL), REGISTRY_LIVE);
  assert_ptr_equal(found, &one);
  registry_release(bench.registry, "a.tim", &one, true);
  assert_int_equal(registry_claim(bench.registry, "a.tim", &two, 1, false), 0);
  registry_release(bench.registry, "a.tim", &two, true);
  bench_close(&bench);
}

static void a_released_domain_is_kept_for_its_owner(void **state) {
  struct bench bench;
  struct agent tim = {.user = "tim"}, sue = {.user = "sue"};
  (void)state;
  bench_open(&bench);
  assert_int_equal(registry_claim(bench.registry, "=app.example.org", &tim, 1, false), 0);
  assert_true(registry_domain_known(bench.registry, "app.example.org"));
  assert_int_equal(registry_claim(bench.registry, "=app.example.org", &sue, 1, true), UV_EEXIST); /* balance never crosses users */
  registry_release(bench.registry, "=app.example.org", &tim, true);
  assert_int_equal(registry_claim(bench.registry, "=app.example.org", &sue, 1, false), UV_EPERM);
  assert_int_equal(registry_claim(bench.registry, "=app.example.org", &tim, 1, false), 0);
  registry_release(bench.registry, "=app.example.org", &tim, true);
  bench_close(&bench);
}

static void balance_takes_turns_and_skips_the_mute(void **state) {
  struct bench bench;
  struct agent agents[3] = {{.user = "tim"}, {.user = "tim"}, {.user = "tim"}};
  unsigned seen[3] = {0};
  (void)state;
  bench_open(&bench);
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(registry_claim(bench.registry, "a.tim", &agents[i], 1, true), 0);
  }
  assert_int_equal(registry_user_services(bench.registry, "tim"), 1);
  for (unsigned i = 0; i < 30; i++) {
    struct agent *found;
    assert_int_equal(find(&bench, "a.tim", &found, NULL), REGISTRY_LIVE);
    seen[found - agents]++;
  }
  assert_int_equal(seen[0], 10);
  assert_int_equal(seen[1], 10);
  agents[1].mute = true;
  for (unsigned i = 0; i < 10; i++) {
    struct agent *found;
    assert_int_equal(find(&bench, "a.tim", &found, NULL), REGISTRY_LIVE);
    assert_ptr_not_equal(found, &agents[1]);
  }
  registry_release(bench.registry, "a.tim", &agents[0], false);
  registry_release(bench.registry, "a.tim", &agents[2], false);
  assert_int_equal(find(&bench, "a.tim", NULL, NULL), REGISTRY_OFFLINE);
  registry_release(bench.registry, "a.tim", &agents[1], false);
  bench_close(&bench);
}

struct told {
  unsigned count;
  bool live;
};

static void told(struct registry_hold *hold, bool live, void *user) {
  struct told *t = user;
  (void)hold;
  t->count++;
  t->live = live;
}

static void a_hold_is_told_at_the_end_of_the_iteration(void **state) {
  struct bench bench;
  struct agent tim = {.user = "tim"};
  struct told first = {0}, second = {0}, other = {0}, cancelled = {0};
  struct registry_hold *hold;
  (void)state;
  bench_open(&bench);
  assert_int_equal(registry_wait(bench.registry, "a.tim", "tim", 5000, told, &first, &hold), 0);
  assert_int_equal(registry_wait(bench.registry, "a.tim", "tim", 5000, told, &second, &hold), 0);
  assert_int_equal(registry_wait(bench.registry, "b.tim", "tim", 5000, told, &other, &hold), 0);
  assert_int_equal(registry_wait(bench.registry, "a.tim", "tim", 5000, told, &cancelled, &hold), 0);
  registry_hold_cancel(hold);
  assert_int_equal(registry_claim(bench.registry, "a.tim", &tim, 1, false), 0);
  assert_int_equal(first.count, 0);
  uv_run(bench.loop.uv, UV_RUN_NOWAIT);
  assert_true(first.count == 1 && first.live);
  assert_true(second.count == 1 && second.live);
  assert_int_equal(other.count, 0);
  registry_release(bench.registry, "a.tim", &tim, true);
  bench_close(&bench);
  assert_true(other.count == 1 && !other.live);
  assert_int_equal(cancelled.count, 0);
}

static void keep_alive(uv_timer_t *timer) {
  (void)timer;
}

static void a_hold_ends_with_its_time(void **state) {
  struct bench bench;
  struct told late = {0};
  struct registry_hold *hold;
  uv_timer_t alive;
  (void)state;
  bench_open(&bench);
  uv_timer_init(bench.loop.uv, &alive);
  uv_timer_start(&alive, keep_alive, 20, 20);
  assert_int_equal(registry_wait(bench.registry, "a.tim", "tim", 50, told, &late, &hold), 0);
  while (late.count == 0) {
    uv_run(bench.loop.uv, UV_RUN_ONCE);
  }
  assert_false(late.live);
  uv_close((uv_handle_t *)&alive, NULL);
  uv_run(bench.loop.uv, UV_RUN_NOWAIT);
  bench_close(&bench);
}

static void holds_are_bounded(void **state) {
  struct bench bench;
  struct told t = {0};
  struct registry_hold *hold;
  unsigned count = 0;
  (void)state;
  bench_open(&bench);
  for (unsigned i = 0; i < REGISTRY_HOLDS_PER_USER; i++) {
    assert_int_equal(registry_wait(bench.registry, "a.tim", "tim", 5000, told, &t, &hold), 0);
    count++;
  }
  assert_int_equal(registry_wait(bench.registry, "a.tim", "tim", 5000, told, &t, &hold), UV_EBUSY);
  for (unsigned i = 0; i < 2 * REGISTRY_HOLDS_MAX; i++) {
    char user[16];
    snprintf(user, sizeof user, "u%u", i);
    count += registry_wait(bench.registry, "a.x", user, 5000, told, &t, &hold) == 0;
  }
  assert_int_equal(count, REGISTRY_HOLDS_MAX);
  bench_close(&bench);
  assert_int_equal(t.count, count);
}

static bool knows_dora(void *self, const char *user) {
  (void)self;
  return strcmp(user, "dora") == 0;
}

static bool knows_domain(void *self, const char *host) {
  (void)self;
  return strcmp(host, "app.example.org") == 0;
}

static void the_directory_knows_users_and_domains(void **state) {
  struct bench bench;
  struct registry_directory directory = {.user_known = knows_dora, .domain_known = knows_domain};
  (void)state;
  bench_open(&bench);
  registry_set_directory(bench.registry, &directory);
  assert_int_equal(find(&bench, "x.dora", NULL, NULL), REGISTRY_OFFLINE);
  assert_int_equal(find(&bench, "=app.example.org", NULL, NULL), REGISTRY_OFFLINE);
  assert_true(registry_domain_known(bench.registry, "app.example.org"));
  assert_int_equal(find(&bench, "=b.example.org", NULL, NULL), REGISTRY_UNKNOWN);
  assert_int_equal(find(&bench, "x.tim", NULL, NULL), REGISTRY_UNKNOWN);
  bench_close(&bench);
}

static void collect(const char *service, void *arg) {
  strcat(strcat((char *)arg, service), " ");
}

static void a_users_list_is_sorted(void **state) {
  struct bench bench;
  struct agent tim = {.user = "tim"};
  char names[64] = "";
  (void)state;
  bench_open(&bench);
  registry_claim(bench.registry, "b.tim", &tim, 1, false);
  registry_claim(bench.registry, "a.tim", &tim, 2, false);
  registry_claim(bench.registry, "c.tim", &tim, 3, false);
  registry_claim(bench.registry, "=app.example.org", &tim, 3, false);
  registry_release(bench.registry, "b.tim", &tim, false);
  assert_int_equal(registry_list(bench.registry, "tim", collect, names), 2);
  assert_string_equal(names, "a c ");
  assert_int_equal(registry_list(bench.registry, "sue", collect, names), 0);
  registry_release(bench.registry, "a.tim", &tim, true);
  registry_release(bench.registry, "c.tim", &tim, true);
  registry_release(bench.registry, "=app.example.org", &tim, true);
  bench_close(&bench);
}

/* Agents claim and leave at random; the model is a table of who has what. */
#define MODEL_AGENTS 6
#define MODEL_KEYS 8
static void random_runs_agree_with_a_model(void **state) {
  struct bench bench;
  struct agent agents[MODEL_AGENTS];
  int owner[MODEL_KEYS];
  static const char *const users[] = {"tim", "sue"};
  (void)state;
  srand(7);
  bench_open(&bench);
  for (int i = 0; i < MODEL_AGENTS; i++) {
    agents[i] = (struct agent){.user = users[i % 2]};
  }
  for (int k = 0; k < MODEL_KEYS; k++) {
    owner[k] = -1;
  }
  for (unsigned turn = 0; turn < 20000; turn++) {
    int k = rand() % MODEL_KEYS, a = rand() % MODEL_AGENTS;
    char key[32];
    snprintf(key, sizeof key, "s%d.%s", k / 2, users[k % 2]);
    if (a % 2 != k % 2) {
      a ^= 1; /* own names only */
    }
    if (rand() % 2 == 0) {
      int rc = registry_claim(bench.registry, key, &agents[a], 1, false);
      assert_int_equal(rc, owner[k] < 0 || owner[k] == a ? 0 : UV_EEXIST);
      owner[k] = rc == 0 ? a : owner[k];
    } else {
      registry_release(bench.registry, key, &agents[a], rand() % 2 == 0);
      owner[k] = owner[k] == a ? -1 : owner[k];
    }
    struct agent *found;
    enum registry_state found_state = find(&bench, key, &found, NULL);
    assert_int_equal(found_state == REGISTRY_LIVE, owner[k] >= 0);
    assert_ptr_equal(found, owner[k] < 0 ? NULL : &agents[owner[k]]);
    size_t live = 0;
    for (int i = k % 2; i < MODEL_KEYS; i += 2) {
      live += owner[i] >= 0;
    }
    assert_int_equal(registry_user_services(bench.registry, users[k % 2]), live);
  }
  for (int k = 0; k < MODEL_KEYS; k++) {
    char key[32];
    snprintf(key, sizeof key, "s%d.%s", k / 2, users[k % 2]);
    if (owner[k] >= 0) {
      registry_release(bench.registry, key, &agents[owner[k]], false);
    }
  }
  bench_close(&bench);
}

static void what_was_seen_is_bounded(void **state) {
  struct bench bench;
  struct agent tim = {.user = "tim"};
  char key[32];
  (void)state;
  bench_open(&bench);
  for (unsigned i = 0; i < REGISTRY_SEEN_MAX + 10; i++) {
    snprintf(key, sizeof key, "s%u.tim", i);
    assert_int_equal(registry_claim(bench.registry, key, &tim, 1, false), 0);
    registry_release(bench.registry, key, &tim, false);
  }
  struct registry_target target;
  bool hold;
  registry_find(bench.registry, "s100.tim", &target, &hold);
  assert_true(hold);
  assert_true(registry_user_known(bench.registry, "tim"));
  bench_close(&bench);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(claim_find_release),
      cmocka_unit_test(two_owners_never_both_get_it),
      cmocka_unit_test(a_released_domain_is_kept_for_its_owner),
      cmocka_unit_test(balance_takes_turns_and_skips_the_mute),
      cmocka_unit_test(a_hold_is_told_at_the_end_of_the_iteration),
      cmocka_unit_test(a_hold_ends_with_its_time),
      cmocka_unit_test(holds_are_bounded),
      cmocka_unit_test(the_directory_knows_users_and_domains),
      cmocka_unit_test(a_users_list_is_sorted),
      cmocka_unit_test(random_runs_agree_with_a_model),
      cmocka_unit_test(what_was_seen_is_bounded),
  };
  return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
