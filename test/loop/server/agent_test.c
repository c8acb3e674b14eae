/* agent_test.c: clients log in, publish their services, clash, leave and are lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "conn.h"
#include "world.h"

/* A world in open mode, and up to three clients. */
struct scene {
  struct world world;
  struct client a, b, c;
};

static void scene_open(struct scene *scene, void (*setup)(struct server_config *config)) {
  memset(scene, 0, sizeof *scene);
  world_open(&scene->world, NULL, 0, setup);
}

static void scene_close(struct scene *scene) {
  client_clean(&scene->a);
  client_clean(&scene->b);
  client_clean(&scene->c);
  world_close(&scene->world);
}

static void ready(struct client *client) {
  client_connect(client);
  client_wait_ready(client);
}

static void refused(struct client *client, enum mdm_goaway code, const char *word) {
  client_connect(client);
  client_wait_ended(client);
  assert_false(client->is_ready);
  if (client->goaway != (int)code || strstr(client->text, word) == NULL) {
    fail_msg("refused with %d \"%s\"", client->goaway, client->text);
  }
}

static bool has_verdicts(void *arg) {
  return ((struct client *)arg)->verdicts_count > 0;
}

struct name_wait {
  struct world *world;
  const char *key;
  enum registry_state state;
};

static bool name_is(void *arg) {
  struct name_wait *wait = arg;
  return world_find(wait->world, wait->key) == wait->state;
}

static void await_name(struct scene *scene, const char *key, enum registry_state state) {
  struct name_wait wait = {&scene->world, key, state};
  world_until(&scene->world, name_is, &wait);
}

/* ---- login in open mode ---- */
static void open_mode_ready_and_published(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "Tim", "laptop", "hello-world", "api", NULL);
  ready(&s.a);
  assert_true(s.a.open_mode);
  assert_string_equal(s.a.ready.user, "tim");
  assert_string_equal(s.a.ready.client_name, "laptop");
  assert_int_equal(client_verdict(&s.a, "hello-world")->verdict, NET_SERVICE_OK);
  assert_string_equal(client_verdict(&s.a, "hello-world")->url, "http://hello-world.tim.localhost:8000");
  assert_int_equal(world_find(&s.world, "hello-world.tim"), REGISTRY_LIVE);
  assert_int_equal(world_find(&s.world, "api.tim"), REGISTRY_LIVE);
  scene_close(&s);
}

static void open_mode_wants_a_user_name_that_can_be(void **state) {
  static const char *const bad[] = {"", "a.b", "a--b", "-a", "a b", "\xc3\xa4"};
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct scene s;
    scene_open(&s, NULL);
    client_init(&s.a, &s.world, bad[i], "laptop", "api", NULL);
    refused(&s.a, MDM_GOAWAY_AUTH, i == 0 ? "-u" : "cannot be part of a web address");
    scene_close(&s);
  }
}

static void allow_www(struct server_config *config) {
  static char word[] = "www", *words[] = {word};
  config->reserved_allowed = words;
  config->reserved_allowed_count = 1;
}

static void reserved_users_are_refused_unless_configured(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "www", "laptop", "api", NULL);
  refused(&s.a, MDM_GOAWAY_AUTH, "reserved");
  client_init(&s.b, &s.world, "tim", "laptop", "www", NULL); /* services are free */
  ready(&s.b);
  scene_close(&s);
  scene_open(&s, allow_www);
  client_init(&s.a, &s.world, "www", "laptop", "api", NULL);
  ready(&s.a);
  s.world.config->reserved_allowed = NULL;
  s.world.config->reserved_allowed_count = 0;
  scene_close(&s);
}

static void a_name_that_is_no_label_has_no_address(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "My Service", "api", NULL);
  ready(&s.a);
  assert_int_equal(client_verdict(&s.a, "My Service")->verdict, NET_SERVICE_NO_WEB);
  assert_string_equal(client_verdict(&s.a, "My Service")->url, "");
  assert_true(client_verdict(&s.a, "My Service")->reason[0] != '\0');
  assert_int_equal(client_verdict(&s.a, "api")->verdict, NET_SERVICE_OK);
  scene_close(&s);
}

static void a_client_without_services_is_ready(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", NULL);
  ready(&s.a);
  scene_close(&s);
}

static void short_handshake(struct server_config *config) {
  config->timeouts.handshake_ms = 150;
}

static void a_silent_newcomer_is_sent_away(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, short_handshake);
  client_init(&s.a, &s.world, "tim", "laptop", "api", NULL);
  s.a.mute = true;
  refused(&s.a, MDM_GOAWAY_IDLE, "too long");
  assert_int_equal(agent_set_count(s.world.worker.agents), 0);
  scene_close(&s);
}

static void no_common_version_is_said(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "api", NULL);
  s.a.hello.version_min = s.a.hello.version_max = 7;
  refused(&s.a, MDM_GOAWAY_VERSION, "update");
  scene_close(&s);
}

/* ---- services ---- */
static void a_new_list_replaces_the_old_one(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", "b", NULL);
  ready(&s.a);
  client_services(&s.a, "b", "c", NULL);
  world_until(&s.world, has_verdicts, &s.a);
  assert_int_equal(s.a.verdicts.serial, 2);
  assert_int_not_equal(world_find(&s.world, "a.tim"), REGISTRY_LIVE);
  assert_int_equal(world_find(&s.world, "b.tim"), REGISTRY_LIVE);
  assert_int_equal(world_find(&s.world, "c.tim"), REGISTRY_LIVE);
  scene_close(&s);
}

static void an_id_may_not_change_its_meaning(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.a);
  s.a.serial = 0; /* the next list counts its ids from 1 again */
  client_services(&s.a, "b", NULL);
  client_wait_ended(&s.a);
  assert_int_equal(s.a.goaway, MDM_GOAWAY_PROTOCOL);
  scene_close(&s);
}

static void streams_reach_the_declared_service_only(void **state) {
  static const struct mdm_stream_ops none = {.data = NULL};
  struct scene s;
  struct registry_target target;
  bool hold;
  (void)state;
  (void)none;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.a);
  assert_int_equal(registry_find(s.world.worker.registry, "a.tim", &target, &hold), REGISTRY_LIVE);
  assert_string_equal(target.user, "tim");
  assert_string_equal(target.service->name, "a");
  mdm_stream *stream;
  assert_int_equal(agent_stream_open(target.agent, 77, MDM_KIND_HTTP, &(struct mdm_address){0}, MDM_SCHEME_HTTP, &none, NULL, &stream), MDM_MUX_ESTATE);
  assert_null(stream);
  scene_close(&s);
}

static size_t stream_data(mdm_stream *stream, const struct mdm_slice *slices, size_t count) {
  size_t total = 0;
  (void)stream;
  for (size_t i = 0; i < count; i++) {
    total += slices[i].size;
  }
  return total;
}

static void stream_closed(mdm_stream *stream) {
  (*(unsigned *)mdm_stream_user(stream))++;
}

static const struct mdm_stream_ops stream_ops = {.data = stream_data, .closed = stream_closed};

static bool was_opened(void *arg) {
  return ((struct client *)arg)->opened > 0;
}

static void a_stream_is_opened_at_the_client(void **state) {
  struct scene s;
  unsigned closed = 0;
  mdm_stream *stream;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", "b", NULL);
  ready(&s.a);
  struct agent *agent = world_holder(&s.world, "b.tim");
  assert_int_equal(agent_stream_open(agent, 2, MDM_KIND_HTTP, &(struct mdm_address){.family = 4}, MDM_SCHEME_HTTP, &stream_ops, &closed, &stream), 0);
  world_until(&s.world, was_opened, &s.a);
  assert_int_equal(s.a.opened_service, 2);
  scene_close(&s);
  assert_int_equal(closed, 1);
}

static void one_stream(struct server_config *config) {
  config->limits.streams_per_agent = 1;
}

static void streams_of_an_agent_are_bounded(void **state) {
  struct scene s;
  unsigned closed = 0;
  mdm_stream *stream;
  struct mdm_address nobody = {0};
  (void)state;
  scene_open(&s, one_stream);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.a);
  struct agent *agent = world_holder(&s.world, "a.tim");
  assert_int_equal(agent_stream_open(agent, 1, MDM_KIND_HTTP, &nobody, MDM_SCHEME_HTTP, &stream_ops, &closed, &stream), 0);
  assert_int_equal(agent_stream_open(agent, 1, MDM_KIND_HTTP, &nobody, MDM_SCHEME_HTTP, &stream_ops, &closed, &stream), MDM_MUX_ELIMIT);
  scene_close(&s);
}

static void two_services(struct server_config *config) {
  config->limits.services_per_user = 2;
}

static void services_of_a_user_are_bounded(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, two_services);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.a);
  client_init(&s.b, &s.world, "tim", "desk", "b", "c", NULL);
  ready(&s.b);
  assert_int_equal(client_verdict(&s.b, "b")->verdict, NET_SERVICE_OK);
  assert_int_equal(client_verdict(&s.b, "c")->verdict, NET_SERVICE_REFUSED);
  assert_int_not_equal(world_find(&s.world, "c.tim"), REGISTRY_LIVE);
  client_services(&s.b, "b", NULL); /* its own do not count against it */
  world_until(&s.world, has_verdicts, &s.b);
  assert_int_equal(client_verdict(&s.b, "b")->verdict, NET_SERVICE_OK);
  scene_close(&s);
}

static void one_agent(struct server_config *config) {
  config->limits.agents_per_user = 1;
}

static void clients_of_a_user_are_bounded(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, one_agent);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.a);
  client_init(&s.b, &s.world, "tim", "desk", "b", NULL);
  refused(&s.b, MDM_GOAWAY_BUSY, "tim");
  client_init(&s.c, &s.world, "sue", "desk", "b", NULL);
  ready(&s.c);
  scene_close(&s);
}

/* ---- several clients ---- */
static void clients_of_a_user_live_side_by_side(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  client_init(&s.b, &s.world, "tim", "laptop", "b", NULL);
  client_init(&s.c, &s.world, "tim", "laptop", "c", NULL);
  ready(&s.a);
  ready(&s.b);
  ready(&s.c);
  assert_string_equal(s.b.ready.client_name, "laptop-2");
  assert_string_equal(s.c.ready.client_name, "laptop-3");
  client_close(&s.b);
  await_name(&s, "b.tim", REGISTRY_OFFLINE);
  assert_int_equal(world_find(&s.world, "a.tim"), REGISTRY_LIVE);
  assert_int_equal(world_find(&s.world, "c.tim"), REGISTRY_LIVE);
  scene_close(&s);
}

static void the_same_service_twice_is_refused_in_words(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.a);
  struct agent *holder = world_holder(&s.world, "a.tim");
  client_init(&s.b, &s.world, "tim", "desk", "a", NULL);
  refused(&s.b, MDM_GOAWAY_NAME, "--replace");
  assert_non_null(strstr(s.b.text, "127.0.0.1"));
  assert_non_null(strstr(s.b.text, "since"));
  assert_ptr_equal(world_holder(&s.world, "a.tim"), holder);
  scene_close(&s);
}

static void the_newcomer_keeps_its_other_services(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.a);
  client_init(&s.b, &s.world, "tim", "desk", "a", "b", NULL);
  ready(&s.b);
  assert_int_equal(client_verdict(&s.b, "a")->verdict, NET_SERVICE_REFUSED);
  assert_int_equal(client_verdict(&s.b, "b")->verdict, NET_SERVICE_OK);
  assert_ptr_not_equal(world_holder(&s.world, "a.tim"), world_holder(&s.world, "b.tim"));
  client_close(&s.b);
  await_name(&s, "b.tim", REGISTRY_OFFLINE);
  assert_int_equal(world_find(&s.world, "a.tim"), REGISTRY_LIVE);
  scene_close(&s);
}

static void replace_takes_over_and_the_loser_is_told(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.a);
  client_init(&s.b, &s.world, "tim", "desk", "a", NULL);
  s.b.auth.replace = true;
  ready(&s.b);
  client_wait_ended(&s.a);
  assert_int_equal(s.a.goaway, MDM_GOAWAY_REPLACED);
  assert_non_null(strstr(s.a.text, "a.tim"));
  assert_int_equal(world_find(&s.world, "a.tim"), REGISTRY_LIVE);
  scene_close(&s);
}

static void the_loser_keeps_its_other_services(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", "b", NULL);
  ready(&s.a);
  client_init(&s.b, &s.world, "tim", "desk", "a", NULL);
  s.b.auth.replace = true;
  ready(&s.b);
  world_until(&s.world, has_verdicts, &s.a);
  assert_int_equal(client_verdict(&s.a, "a")->verdict, NET_SERVICE_REFUSED);
  assert_int_equal(client_verdict(&s.a, "b")->verdict, NET_SERVICE_OK);
  assert_false(s.a.ended);
  assert_ptr_not_equal(world_holder(&s.world, "a.tim"), world_holder(&s.world, "b.tim"));
  scene_close(&s);
}

static void replace_takes_from_several_at_once(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  client_init(&s.b, &s.world, "tim", "desk", "b", NULL);
  ready(&s.a);
  ready(&s.b);
  client_init(&s.c, &s.world, "tim", "box", "a", "b", "c", NULL);
  s.c.auth.replace = true;
  ready(&s.c);
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(s.c.ready.services.list[i].verdict, NET_SERVICE_OK);
  }
  client_wait_ended(&s.a);
  client_wait_ended(&s.b);
  assert_int_equal(s.b.goaway, MDM_GOAWAY_REPLACED);
  assert_ptr_equal(world_holder(&s.world, "a.tim"), world_holder(&s.world, "b.tim"));
  scene_close(&s);
}

/* Two newcomers that want the frozen holder's name: one gets it. */
static void racing_newcomers_never_both_get_it(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.a);
  client_freeze(&s.a);
  client_init(&s.b, &s.world, "tim", "desk", "a", "b", NULL);
  client_init(&s.c, &s.world, "tim", "box", "a", "c", NULL);
  client_connect(&s.b);
  client_connect(&s.c);
  client_wait_ready(&s.b);
  client_wait_ready(&s.c);
  unsigned got = (client_verdict(&s.b, "a")->verdict == NET_SERVICE_OK) + (client_verdict(&s.c, "a")->verdict == NET_SERVICE_OK);
  assert_int_equal(got, 1);
  assert_int_equal(world_find(&s.world, "a.tim"), REGISTRY_LIVE);
  scene_close(&s);
}

static void policy_replace(struct server_config *config) {
  config->clash = CLASH_REPLACE;
}

static void the_policy_may_replace_without_being_asked(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, policy_replace);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.a);
  client_init(&s.b, &s.world, "tim", "desk", "a", NULL);
  ready(&s.b);
  client_wait_ended(&s.a);
  assert_int_equal(s.a.goaway, MDM_GOAWAY_REPLACED);
  scene_close(&s);
}

static void policy_balance(struct server_config *config) {
  config->clash = CLASH_BALANCE;
}

static void balance_serves_in_turn(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, policy_balance);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  client_init(&s.b, &s.world, "tim", "desk", "a", NULL);
  ready(&s.a);
  ready(&s.b);
  struct agent *first = world_holder(&s.world, "a.tim"), *second = world_holder(&s.world, "a.tim");
  assert_ptr_not_equal(first, second);
  assert_ptr_equal(world_holder(&s.world, "a.tim"), first);
  client_close(&s.a);
  world_run_ms(&s.world, 100);
  assert_int_equal(world_find(&s.world, "a.tim"), REGISTRY_LIVE);
  assert_ptr_equal(world_holder(&s.world, "a.tim"), world_holder(&s.world, "a.tim"));
  scene_close(&s);
}

static void an_explicit_name_is_one_clients_own(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "box", "a", NULL);
  s.a.hello.name_explicit = true;
  ready(&s.a);
  client_init(&s.b, &s.world, "tim", "box", "b", NULL);
  s.b.hello.name_explicit = true;
  refused(&s.b, MDM_GOAWAY_NAME, "--replace");
  s.b.auth.replace = true;
  ready(&s.b);
  assert_string_equal(s.b.ready.client_name, "box");
  client_wait_ended(&s.a);
  assert_int_equal(s.a.goaway, MDM_GOAWAY_REPLACED);
  client_init(&s.c, &s.world, "sue", "box", "b", NULL); /* another user's box */
  s.c.hello.name_explicit = true;
  ready(&s.c);
  scene_close(&s);
}

/* ---- takeover and loss ---- */
static void a_newer_epoch_takes_over_and_the_older_drains(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.a);
  struct agent *agent = world_holder(&s.world, "a.tim");
  client_init(&s.b, &s.world, "tim", "laptop", "x", "a", NULL);
  s.b.hello = s.a.hello;
  ready(&s.b);
  assert_string_equal(s.b.ready.client_name, "laptop");
  assert_ptr_equal(world_holder(&s.world, "a.tim"), agent);
  struct registry_target target;
  bool hold;
  assert_int_equal(registry_find(s.world.worker.registry, "a.tim", &target, &hold), REGISTRY_LIVE);
  assert_int_equal(target.service->id, 2); /* as the newer session numbers it */
  client_wait_ended(&s.a);
  assert_int_equal(s.a.goaway, MDM_GOAWAY_DRAIN);
  assert_int_equal(world_find(&s.world, "a.tim"), REGISTRY_LIVE);
  scene_close(&s);
}

static void an_older_epoch_is_refused(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  s.a.hello.epoch = 9;
  ready(&s.a);
  client_init(&s.b, &s.world, "tim", "laptop", "a", NULL);
  memcpy(s.b.hello.instance, s.a.hello.instance, sizeof s.b.hello.instance);
  refused(&s.b, MDM_GOAWAY_PROTOCOL, "newer");
  assert_int_equal(world_find(&s.world, "a.tim"), REGISTRY_LIVE);
  scene_close(&s);
}

static void a_killed_client_is_offline_and_comes_back(void **state) {
  struct scene s;
  bool hold;
  struct registry_target target;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.a);
  client_close(&s.a);
  await_name(&s, "a.tim", REGISTRY_OFFLINE);
  registry_find(s.world.worker.registry, "a.tim", &target, &hold);
  assert_true(hold);
  client_init(&s.b, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.b);
  assert_string_equal(s.b.ready.client_name, "laptop");
  scene_close(&s);
}

static void old_server(struct server_config *config) {
  config->timeouts.hold_ms = 0;
}

static void a_goodbye_leaves_at_once(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, old_server);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.a);
  client_leave(&s.a);
  await_name(&s, "a.tim", REGISTRY_OFFLINE);
  client_wait_ended(&s.a);
  assert_int_equal(agent_set_count(s.world.worker.agents), 0);
  scene_close(&s);
}

static void a_frozen_holder_is_gone_after_the_probe(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", "b", NULL);
  ready(&s.a);
  client_freeze(&s.a);
  client_init(&s.b, &s.world, "tim", "desk", "a", NULL);
  ready(&s.b); /* without --replace */
  struct agent *holder = world_holder(&s.world, "a.tim");
  assert_string_equal(agent_name(holder), "desk");
  assert_int_not_equal(world_find(&s.world, "b.tim"), REGISTRY_LIVE);
  client_thaw(&s.a);
  client_wait_ended(&s.a);
  assert_ptr_equal(world_holder(&s.world, "a.tim"), holder);
  ready(&s.a); /* it comes back, and keeps what nobody has taken */
  assert_int_equal(client_verdict(&s.a, "a")->verdict, NET_SERVICE_REFUSED);
  assert_int_equal(client_verdict(&s.a, "b")->verdict, NET_SERVICE_OK);
  scene_close(&s);
}

static void drain_says_goodbye_to_all(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  client_init(&s.b, &s.world, "sue", "laptop", "a", NULL);
  ready(&s.a);
  ready(&s.b);
  agent_set_drain(s.world.worker.agents);
  client_wait_ended(&s.a);
  client_wait_ended(&s.b);
  assert_int_equal(s.a.goaway, MDM_GOAWAY_DRAIN);
  assert_int_equal(agent_set_count(s.world.worker.agents), 0);
  scene_close(&s);
}

static void closing_with_clients_in_every_state_leaks_nothing(void **state) {
  struct scene s;
  (void)state;
  scene_open(&s, NULL);
  client_init(&s.a, &s.world, "tim", "laptop", "a", NULL);
  client_init(&s.b, &s.world, "tim", "laptop", "b", NULL);
  client_init(&s.c, &s.world, "tim", "laptop", "a", NULL);
  ready(&s.a);
  s.b.mute = true;
  client_connect(&s.b);
  client_freeze(&s.a);
  client_connect(&s.c); /* is left probing */
  world_run_ms(&s.world, 300);
  assert_int_equal(agent_set_count(s.world.worker.agents), 3);
  scene_close(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(open_mode_ready_and_published),
      cmocka_unit_test(open_mode_wants_a_user_name_that_can_be),
      cmocka_unit_test(reserved_users_are_refused_unless_configured),
      cmocka_unit_test(a_name_that_is_no_label_has_no_address),
      cmocka_unit_test(a_client_without_services_is_ready),
      cmocka_unit_test(a_silent_newcomer_is_sent_away),
      cmocka_unit_test(no_common_version_is_said),
      cmocka_unit_test(a_new_list_replaces_the_old_one),
      cmocka_unit_test(an_id_may_not_change_its_meaning),
      cmocka_unit_test(streams_reach_the_declared_service_only),
      cmocka_unit_test(a_stream_is_opened_at_the_client),
      cmocka_unit_test(streams_of_an_agent_are_bounded),
      cmocka_unit_test(services_of_a_user_are_bounded),
      cmocka_unit_test(clients_of_a_user_are_bounded),
      cmocka_unit_test(clients_of_a_user_live_side_by_side),
      cmocka_unit_test(the_same_service_twice_is_refused_in_words),
      cmocka_unit_test(the_newcomer_keeps_its_other_services),
      cmocka_unit_test(replace_takes_over_and_the_loser_is_told),
      cmocka_unit_test(the_loser_keeps_its_other_services),
      cmocka_unit_test(the_policy_may_replace_without_being_asked),
      cmocka_unit_test(replace_takes_from_several_at_once),
      cmocka_unit_test(racing_newcomers_never_both_get_it),
      cmocka_unit_test(balance_serves_in_turn),
      cmocka_unit_test(an_explicit_name_is_one_clients_own),
      cmocka_unit_test(a_newer_epoch_takes_over_and_the_older_drains),
      cmocka_unit_test(an_older_epoch_is_refused),
      cmocka_unit_test(a_killed_client_is_offline_and_comes_back),
      cmocka_unit_test(a_goodbye_leaves_at_once),
      cmocka_unit_test(a_frozen_holder_is_gone_after_the_probe),
      cmocka_unit_test(drain_says_goodbye_to_all),
      cmocka_unit_test(closing_with_clients_in_every_state_leaks_nothing),
  };
  return cmocka_run_group_tests_name("agent", tests, NULL, NULL);
}
