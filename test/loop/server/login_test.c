/* login_test.c: logins with the user file and with hooks of the test; revocation; custom domains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>
#include <uv.h>

#include "identity.h"
#include "users.h"
#include "world.h"

#define TOKEN_SIZE (NET_TEXT_MAX + 1)

static char users_path[128]; /* of the running test: the world's setup takes no argument */

struct scene {
  char dir[64];
  struct users *users;
  char tim[TOKEN_SIZE], sue[TOKEN_SIZE];
  struct world world;
  struct client a, b;
};

static void with_users(struct server_config *config) {
  config->users_file = strdup(users_path);
  config->domains = calloc(1, sizeof(char *));
  config->domains[0] = strdup("tunnel.test");
  config->domains_count = 1;
}

static void save(struct scene *s) {
  char error[256];
  assert_int_equal(users_save(s->users, users_path, error, sizeof error), 0);
}

static void add(struct scene *s, const char *name, char token[static TOKEN_SIZE], const char *domain) {
  uint8_t fingerprint[32] = {0};
  struct users_entry *entry;
  assert_int_equal(net_token_make(token, fingerprint), 0);
  assert_int_equal(users_add(s->users, name, token, "2026-11-21T06:00:00Z", &entry), 0);
  if (domain != NULL) {
    assert_int_equal(users_grant(entry, domain), 0);
  }
}

static void scene_open(struct scene *s) {
  memset(s, 0, sizeof *s);
  snprintf(s->dir, sizeof s->dir, "/tmp/mdm-login-XXXXXX");
  assert_non_null(mkdtemp(s->dir));
  snprintf(users_path, sizeof users_path, "%s/users.json", s->dir);
  assert_int_equal(users_new(&s->users), 0);
  add(s, "tim", s->tim, "app.example.org");
  add(s, "sue", s->sue, NULL);
  save(s);
  world_open(&s->world, NULL, 0, with_users);
}

static void scene_close(struct scene *s) {
  client_clean(&s->a);
  client_clean(&s->b);
  world_close(&s->world);
  users_free(s->users);
  unlink(users_path);
  assert_int_equal(rmdir(s->dir), 0);
}

static void ready(struct client *client) {
  client_connect(client);
  client_wait_ready(client);
}

static void refused(struct client *client, enum mdm_goaway code, const char *word) {
  client_connect(client);
  client_wait_ended(client);
  if (client->is_ready || client->goaway != (int)code || strstr(client->text, word) == NULL) {
    fail_msg("refused with %d \"%s\"", client->goaway, client->text);
  }
}

static void a_token_logs_its_user_in(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s);
  client_init(&s.a, &s.world, "", "laptop", "hello", NULL);
  client_token(&s.a, s.tim);
  ready(&s.a);
  assert_false(s.a.open_mode);
  assert_string_equal(s.a.ready.user, "tim");
  assert_string_equal(client_verdict(&s.a, "hello")->url, "http://hello.tim.tunnel.test:8000");
  client_init(&s.b, &s.world, "SUE", "laptop", "hello", NULL); /* -u may be given, in any case */
  client_token(&s.b, s.sue);
  ready(&s.b);
  assert_string_equal(s.b.ready.user, "sue");
  scene_close(&s);
}

static void wrong_or_missing_tokens_are_refused_in_words(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s);
  client_init(&s.a, &s.world, "tim", "laptop", "hello", NULL);
  refused(&s.a, MDM_GOAWAY_AUTH, "--token");
  client_token(&s.a, "mdm1.x");
  refused(&s.a, MDM_GOAWAY_AUTH, "not valid");
  s.tim[20] = s.tim[20] == 'A' ? 'B' : 'A';
  client_token(&s.a, s.tim);
  refused(&s.a, MDM_GOAWAY_AUTH, "not valid");
  client_token(&s.a, "");
  s.a.auth.method = NET_AUTH_NONE;
  assert_int_not_equal(world_find(&s.world, "hello.tim"), REGISTRY_LIVE);
  scene_close(&s);
}

static void a_differing_user_is_refused_in_words(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s);
  client_init(&s.a, &s.world, "tim", "laptop", "hello", NULL);
  client_token(&s.a, s.sue);
  refused(&s.a, MDM_GOAWAY_AUTH, "belongs to user sue");
  assert_int_not_equal(world_find(&s.world, "hello.tim"), REGISTRY_LIVE);
  assert_int_not_equal(world_find(&s.world, "hello.sue"), REGISTRY_LIVE);
  scene_close(&s);
}

static void failures_wait_and_a_right_token_does_not(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s);
  for (unsigned i = 0; i < 5; i++) {
    client_init(&s.a, &s.world, "tim", "laptop", "hello", NULL);
    client_token(&s.a, "mdm1.wrong");
    uint64_t start = uv_hrtime();
    refused(&s.a, MDM_GOAWAY_AUTH, "not valid");
    uint64_t took_ms = (uv_hrtime() - start) / 1000000;
    assert_true(i < 3 ? took_ms < 200 : took_ms >= 200);
    client_clean(&s.a);
  }
  client_init(&s.a, &s.world, "tim", "laptop", "hello", NULL);
  client_token(&s.a, s.tim);
  uint64_t start = uv_hrtime();
  ready(&s.a);
  assert_true((uv_hrtime() - start) / 1000000 < 200);
  scene_close(&s);
}

static void ends_within_a_second(struct scene *s, struct client *client) {
  uint64_t start = uv_hrtime();
  save(s);
  client_wait_ended(client);
  assert_true((uv_hrtime() - start) / 1000000 < 1000);
  assert_int_equal(client->goaway, MDM_GOAWAY_REVOKED);
}

static void a_removed_user_is_out_within_a_second(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s);
  client_init(&s.a, &s.world, "tim", "laptop", "hello", NULL);
  client_token(&s.a, s.tim);
  ready(&s.a);
  client_init(&s.b, &s.world, "sue", "laptop", "hello", NULL);
  client_token(&s.b, s.sue);
  ready(&s.b);
  users_remove(s.users, users_find(s.users, "tim"));
  ends_within_a_second(&s, &s.a);
  assert_int_equal(world_find(&s.world, "hello.sue"), REGISTRY_LIVE);
  assert_false(s.b.ended);
  refused(&s.a, MDM_GOAWAY_AUTH, "not valid");
  scene_close(&s);
}

static void a_rotated_token_is_out_and_the_new_one_in(void **state) {
  struct scene s;
  uint8_t fingerprint[32] = {0};
  char token[TOKEN_SIZE];
  (void)state;
  scene_open(&s);
  client_init(&s.a, &s.world, "", "laptop", "hello", NULL);
  client_token(&s.a, s.tim);
  ready(&s.a);
  assert_int_equal(net_token_make(token, fingerprint), 0);
  assert_int_equal(users_rotate(s.users, users_find(s.users, "tim"), token, "now"), 0);
  ends_within_a_second(&s, &s.a);
  refused(&s.a, MDM_GOAWAY_AUTH, "not valid");
  client_token(&s.a, token);
  ready(&s.a);
  scene_close(&s);
}

static void a_broken_file_keeps_its_users_and_a_missing_one_lets_nobody_in(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s);
  client_init(&s.a, &s.world, "", "laptop", "hello", NULL);
  client_token(&s.a, s.tim);
  ready(&s.a);
  assert_int_equal(net_file_write(users_path, "{", 1, 0600), 0);
  world_run_ms(&s.world, 700);
  client_init(&s.b, &s.world, "", "laptop", "hello", NULL);
  client_token(&s.b, s.sue);
  ready(&s.b);
  client_clean(&s.b);
  assert_int_equal(unlink(users_path), 0);
  world_run_ms(&s.world, 700);
  client_init(&s.b, &s.world, "", "laptop", "hello", NULL);
  client_token(&s.b, s.sue);
  refused(&s.b, MDM_GOAWAY_AUTH, "user file");
  assert_false(s.a.ended);
  save(&s);
  world_run_ms(&s.world, 700);
  ready(&s.b);
  scene_close(&s);
}

static void want(struct client *client, size_t service, const char *domain) {
  struct net_service_options *options = &client->services[service].options;
  options->domains = calloc(1, sizeof(char *));
  options->domains[0] = strdup(domain);
  options->domains_count = 1;
}

static bool domain_gone(void *arg) {
  return world_find(arg, "=app.example.org") != REGISTRY_LIVE;
}

static bool domain_there(void *arg) {
  return world_find(arg, "=app.example.org") == REGISTRY_LIVE;
}

static void granted_domains_are_published_and_others_refused(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s);
  client_init(&s.a, &s.world, "", "laptop", "app", "thief", "own", NULL);
  client_token(&s.a, s.tim);
  want(&s.a, 0, "App.example.org");
  want(&s.a, 1, "bank.example.org");
  want(&s.a, 2, "sue.tunnel.test"); /* a served name is nobody's custom domain */
  ready(&s.a);
  assert_int_equal(world_find(&s.world, "=app.example.org"), REGISTRY_LIVE);
  assert_int_equal(world_find(&s.world, "app.tim"), REGISTRY_LIVE);
  assert_int_equal(client_verdict(&s.a, "thief")->verdict, NET_SERVICE_OK);
  assert_non_null(strstr(client_verdict(&s.a, "thief")->reason, "bank.example.org"));
  assert_int_equal(world_find(&s.world, "=bank.example.org"), REGISTRY_UNKNOWN);
  assert_int_equal(world_find(&s.world, "=sue.tunnel.test"), REGISTRY_UNKNOWN);
  assert_true(registry_domain_known(s.world.worker.registry, "app.example.org"));
  bool told = false;
  for (size_t i = 0; i < s.a.ready.services.count; i++) {
    told = told || strstr(s.a.ready.services.list[i].url, "://app.example.org") != NULL;
  }
  assert_true(told); /* besides the service's own name */
  struct users_entry *tim = users_find(s.users, "tim");
  free(tim->domains[0]);
  tim->domains_count = 0;
  save(&s);
  world_until(&s.world, domain_gone, &s.world);
  assert_int_equal(world_find(&s.world, "app.tim"), REGISTRY_LIVE);
  assert_false(s.a.ended);
  assert_int_equal(users_grant(users_find(s.users, "tim"), "app.example.org"), 0); /* and back: nobody needs to connect again */
  save(&s);
  world_until(&s.world, domain_there, &s.world);
  assert_int_equal(world_find(&s.world, "app.tim"), REGISTRY_LIVE);
  assert_int_equal(world_find(&s.world, "=bank.example.org"), REGISTRY_UNKNOWN);
  assert_false(s.a.ended);
  scene_close(&s);
}

/* ---- hooks of the test ---- */
struct thinker {
  struct mdm_auth_call *call;
  bool cancelled;
};

static void think(void *self, const struct mdm_auth_question *question, struct mdm_auth_call *call) {
  struct thinker *thinker = self;
  (void)question;
  thinker->call = call;
}

static void stop_thinking(void *self, struct mdm_auth_call *call) {
  struct thinker *thinker = self;
  (void)call;
  thinker->cancelled = true;
  thinker->call = NULL;
}

static void forget(void *self) {
  (void)self;
}

static const struct mdm_auth_hook thinker_hook = {
    .abi = MDM_AUTH_ABI, .name = "thinker", .steps = MDM_AUTH_BIT(MDM_AUTH_LOGIN), .ask = think, .cancel = stop_thinking, .close = forget};

static bool thinks(void *arg) {
  return ((struct thinker *)arg)->call != NULL;
}

static bool was_cancelled(void *arg) {
  return ((struct thinker *)arg)->cancelled;
}

static void slow(struct server_config *config) {
  config->timeouts.handshake_ms = 200;
  config->timeouts.auth_ms = 3000;
}

static void a_hooks_time_is_not_the_clients(void **state) {
  struct thinker thinker = {0};
  struct auth_hook_entry entry = {.hook = &thinker_hook, .self = &thinker};
  struct world world;
  struct client client;
  (void)state;
  world_open(&world, &entry, 1, slow);
  client_init(&client, &world, "tim", "laptop", "hello", NULL);
  client_token(&client, "opaque");
  client_connect(&client);
  world_until(&world, thinks, &thinker);
  world_run_ms(&world, 500);
  assert_false(client.ended);
  mdm_auth_answer(thinker.call, &(struct mdm_auth_answer){.allow = true});
  client_wait_ready(&client);
  client_clean(&client);
  world_close(&world);
}

static void a_client_that_leaves_cancels_its_question(void **state) {
  struct thinker thinker = {0};
  struct auth_hook_entry entry = {.hook = &thinker_hook, .self = &thinker};
  struct world world;
  struct client client;
  (void)state;
  world_open(&world, &entry, 1, slow);
  client_init(&client, &world, "tim", "laptop", "hello", NULL);
  client_token(&client, "opaque");
  client_connect(&client);
  world_until(&world, thinks, &thinker);
  client_close(&client);
  world_until(&world, was_cancelled, &thinker);
  client_clean(&client);
  world_close(&world);
}

static void hasty(struct server_config *config) {
  config->timeouts.auth_ms = 150;
}

static void a_hook_that_hangs_lets_nobody_in(void **state) {
  struct thinker thinker = {0};
  struct auth_hook_entry entry = {.hook = &thinker_hook, .self = &thinker};
  struct world world;
  struct client client;
  (void)state;
  world_open(&world, &entry, 1, hasty);
  client_init(&client, &world, "tim", "laptop", "hello", NULL);
  client_token(&client, "opaque");
  refused(&client, MDM_GOAWAY_BUSY, "in time");
  assert_true(thinker.cancelled);
  client_clean(&client);
  world_close(&world);
}

static void a_login_that_is_thought_about_while_something_is_revoked_is_asked_again(void **state) {
  struct thinker thinker = {0};
  struct auth_hook_entry entry = {.hook = &thinker_hook, .self = &thinker};
  struct world world;
  struct client client;
  (void)state;
  world_open(&world, &entry, 1, slow);
  client_init(&client, &world, "tim", "laptop", "hello", NULL);
  client_token(&client, "opaque");
  client_connect(&client);
  world_until(&world, thinks, &thinker);
  agent_set_revoke(world.worker.agents, "tim");
  struct mdm_auth_call *first = thinker.call;
  thinker.call = NULL;
  mdm_auth_answer(first, &(struct mdm_auth_answer){.allow = true});
  world_until(&world, thinks, &thinker);
  assert_false(client.is_ready);
  mdm_auth_answer(thinker.call, &(struct mdm_auth_answer){0});
  client_wait_ended(&client);
  assert_int_equal(client.goaway, MDM_GOAWAY_AUTH);
  client_clean(&client);
  world_close(&world);
}

static void claim_ask(void *self, const struct mdm_auth_question *question, struct mdm_auth_call *call) {
  struct mdm_auth_answer answer = {.allow = true};
  static const char reason[] = "not this one";
  (void)self;
  if (question->step == MDM_AUTH_CLAIM && question->service.size == 1 && question->service.data[0] == 'b') {
    answer = (struct mdm_auth_answer){.reason = {reason, sizeof reason - 1}};
  }
  if (question->step == MDM_AUTH_LOGIN) {
    answer.limits.max_services = 2;
  }
  mdm_auth_answer(call, &answer);
}

static const struct mdm_auth_hook claim_hook = {
    .abi = MDM_AUTH_ABI, .name = "claims", .steps = MDM_AUTH_BIT(MDM_AUTH_LOGIN) | MDM_AUTH_BIT(MDM_AUTH_CLAIM), .ask = claim_ask, .close = forget};

static void a_hook_judges_claims_and_sets_limits(void **state) {
  int self = 0;
  struct auth_hook_entry entry = {.hook = &claim_hook, .self = &self};
  struct world world;
  struct client client;
  (void)state;
  world_open(&world, &entry, 1, NULL);
  client_init(&client, &world, "tim", "laptop", "a", "b", "c", "d", NULL);
  want(&client, 0, "app.example.org");
  client_token(&client, "opaque");
  client_connect(&client);
  client_wait_ready(&client);
  assert_int_equal(client_verdict(&client, "a")->verdict, NET_SERVICE_OK);
  assert_int_equal(client_verdict(&client, "b")->verdict, NET_SERVICE_REFUSED);
  assert_string_equal(client_verdict(&client, "b")->reason, "not this one");
  assert_int_equal(client_verdict(&client, "c")->verdict, NET_SERVICE_OK);
  assert_int_equal(client_verdict(&client, "d")->verdict, NET_SERVICE_REFUSED);
  assert_int_equal(world_find(&world, "=app.example.org"), REGISTRY_LIVE); /* the hook's word is enough */
  client_clean(&client);
  world_close(&world);
}

/* ---- streams ---- */
struct judge {
  bool allow;
  unsigned asked;
  char user[64], client[64], target[64];
};

static void text_to(char out[static 64], const struct mdm_text *text) {
  snprintf(out, 64, "%.*s", (int)text->size, text->data);
}

static void judge_ask(void *self, const struct mdm_auth_question *question, struct mdm_auth_call *call) {
  struct judge *judge = self;
  struct mdm_auth_answer answer = {.allow = true};
  if (question->step == MDM_AUTH_STREAM) {
    judge->asked++;
    text_to(judge->user, &question->user);
    text_to(judge->client, &question->client_name);
    text_to(judge->target, &question->target);
    answer.allow = judge->allow;
  }
  mdm_auth_answer(call, &answer);
}

static const struct mdm_auth_hook judge_hook = {
    .abi = MDM_AUTH_ABI, .name = "judge", .steps = MDM_AUTH_BIT(MDM_AUTH_LOGIN) | MDM_AUTH_BIT(MDM_AUTH_STREAM), .ask = judge_ask, .close = forget};

static void every_stream_is_asked_for(void **state) {
  static const char request[] = "GET / HTTP/1.1\r\nHost: hello.tim.localhost\r\nConnection: close\r\n\r\n";
  struct judge judge = {0};
  struct auth_hook_entry entry = {.hook = &judge_hook, .self = &judge};
  struct world world;
  struct client client;
  char answer[8192];
  (void)state;
  world_open(&world, &entry, 1, NULL);
  client_init(&client, &world, "tim", "laptop", "hello", NULL);
  client_connect(&client);
  client_wait_ready(&client);
  world_visit(&world, request, answer, sizeof answer);
  assert_int_equal(strncmp(answer, "HTTP/1.1 403 ", 13), 0);
  assert_int_equal(judge.asked, 1);
  assert_string_equal(judge.user, "tim");
  assert_string_equal(judge.client, "laptop");
  assert_string_equal(judge.target, "hello");
  assert_int_equal(client.opened, 0);
  judge.allow = true;
  world_visit(&world, request, answer, sizeof answer);
  assert_int_equal(strncmp(answer, "HTTP/1.1 502 ", 13), 0); /* the test's client connects nothing */
  assert_int_equal(judge.asked, 2);
  assert_int_equal(client.opened, 1);
  client_clean(&client);
  world_close(&world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_token_logs_its_user_in),
      cmocka_unit_test(wrong_or_missing_tokens_are_refused_in_words),
      cmocka_unit_test(a_differing_user_is_refused_in_words),
      cmocka_unit_test(failures_wait_and_a_right_token_does_not),
      cmocka_unit_test(a_removed_user_is_out_within_a_second),
      cmocka_unit_test(a_rotated_token_is_out_and_the_new_one_in),
      cmocka_unit_test(a_broken_file_keeps_its_users_and_a_missing_one_lets_nobody_in),
      cmocka_unit_test(granted_domains_are_published_and_others_refused),
      cmocka_unit_test(a_hooks_time_is_not_the_clients),
      cmocka_unit_test(a_client_that_leaves_cancels_its_question),
      cmocka_unit_test(a_hook_that_hangs_lets_nobody_in),
      cmocka_unit_test(a_login_that_is_thought_about_while_something_is_revoked_is_asked_again),
      cmocka_unit_test(a_hook_judges_claims_and_sets_limits),
      cmocka_unit_test(every_stream_is_asked_for),
  };
  return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("login", tests, NULL, NULL);
}
