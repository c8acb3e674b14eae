/* tunnel_test.c: connecting, logging in, reloading, losing and leaving, against a server peer that follows a script. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "known_servers.h"
#include "tls.h"
#include "world.h"

static struct world world;

static const char *const two_services[] = {"hello=3000", "api=127.0.0.1:8080"};

static void open_world(bool tls) {
  world_open(&world, tls);
  world.options.services = two_services;
  world.options.services_count = 2;
}

/* ---- login ---- */
static void urls_are_told_after_login(void **state) {
  (void)state;
  open_world(false);
  world_start(&world);
  struct peer_link *link = peer_ready_link(&world);
  world_until_heard(&world, "url api http://api.tim.localhost/");
  assert_true(world_heard(&world, "connected timdesk\n"));
  assert_true(world_heard(&world, "url hello http://hello.tim.localhost/"));
  assert_string_equal(link->hello.client_name, "desk");
  assert_true(link->hello.name_explicit);
  assert_int_equal(link->auth.method, NET_AUTH_NONE);
  assert_string_equal(link->auth.user, "tim");
  assert_true(mdm_client_connected(world.client));
  world_close(&world);
}

static void a_token_is_sent_only_where_one_is_wanted(void **state) {
  static const bool wants[] = {true, false};
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    open_world(false);
    world.peer.wants_login = wants[i];
    world.options.token = "canary-token";
    world_start(&world);
    struct peer_link *link = peer_ready_link(&world);
    assert_int_equal(link->auth.method, wants[i] ? NET_AUTH_TOKEN : NET_AUTH_NONE);
    assert_string_equal(link->auth.token, wants[i] ? "canary-token" : "");
    assert_false(world_heard(&world, "canary"));
    world_close(&world);
  }
}

static void codes_of_goaway_decide_what_comes_next(void **state) {
  static const struct {
    int code;
    enum mdm_client_status status;
    const char *says;
  } rows[] = {
      {MDM_GOAWAY_AUTH, MDM_CLIENT_LOGIN, "refused the login: because"},
      {MDM_GOAWAY_REVOKED, MDM_CLIENT_LOGIN, "withdrawn: because"},
      {MDM_GOAWAY_REPLACED, MDM_CLIENT_REPLACED, "because"},
      {MDM_GOAWAY_VERSION, MDM_CLIENT_VERSION, "version"},
      {MDM_GOAWAY_NAME, MDM_CLIENT_NAME, "because"},
      {MDM_GOAWAY_DRAIN, MDM_CLIENT_GAVE_UP, "shutting down: because"},
      {MDM_GOAWAY_BUSY, MDM_CLIENT_GAVE_UP, "busy: because"},
      {MDM_GOAWAY_INTERNAL, MDM_CLIENT_GAVE_UP, "fault: because"},
      {4711, MDM_CLIENT_GAVE_UP, "because"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    open_world(false);
    world.peer.refuse = rows[i].code;
    world.options.max_attempts = 2;
    world_start(&world);
    world_until_stopped(&world);
    if (world.status != rows[i].status || !world_heard(&world, rows[i].says))
      fail_msg("code %d: status %d, events:\n%s", rows[i].code, (int)world.status, world.events);
    assert_int_equal(world.peer.links_count, rows[i].status == MDM_CLIENT_GAVE_UP ? 2 : 1);
    world_close(&world);
  }
}

static void a_version_of_the_future_is_refused_here(void **state) {
  (void)state;
  open_world(false);
  world.peer.version = 9;
  world_start(&world);
  world_until_stopped(&world);
  assert_int_equal(world.status, MDM_CLIENT_VERSION);
  assert_true(world_heard(&world, "version 9"));
  assert_false(world.peer.links[0].has_auth);
  world_close(&world);
}

static void a_login_that_is_wanted_and_not_given_says_what_to_do(void **state) {
  (void)state;
  open_world(false);
  world.peer.wants_login = true;
  world_start(&world);
  world_until_stopped(&world);
  assert_int_equal(world.status, MDM_CLIENT_LOGIN);
  assert_true(world_heard(&world, "mdm-tunnel-client login"));
  world_close(&world);
}

static void login_only_logs_in_and_leaves(void **state) {
  (void)state;
  open_world(false);
  world.peer.wants_login = true;
  world.options.token = "some-token";
  world.options.services_count = 0;
  world.options.login_only = true;
  world_start(&world);
  world_until_stopped(&world);
  assert_int_equal(world.status, MDM_CLIENT_OK);
  assert_true(world_heard(&world, "connected tim"));
  world_close(&world);
}

/* ---- names ---- */
static void a_refused_name_leaves_the_others(void **state) {
  (void)state;
  open_world(false);
  world.peer.refuse_service = "api";
  world_start(&world);
  (void)peer_ready_link(&world);
  world_until_heard(&world, "refused api");
  world_until_heard(&world, "url hello");
  world_turns(&world, 50);
  assert_false(world.stopped);
  world_close(&world);
}

static void no_name_left_is_the_end(void **state) {
  (void)state;
  open_world(false);
  world.peer.refuse_service = "*";
  world_start(&world);
  world_until_stopped(&world);
  assert_int_equal(world.status, MDM_CLIENT_NAME);
  assert_true(world_heard(&world, "somebody else has it"));
  world_close(&world);
}

static bool has_two_ready(void *argument) {
  const struct peer *peer = argument;
  return peer->links_count >= 2 && peer->links[peer->links_count - 1].ready;
}

static void a_service_taken_over_is_not_asked_for_again(void **state) {
  (void)state;
  open_world(false);
  world_start(&world);
  struct peer_link *link = peer_ready_link(&world);
  world.peer.refuse_service = "api";
  peer_answer_services(link, world.peer.services.serial);
  world_until_heard(&world, "refused api");
  net_link_close(link->link);
  link->link = NULL;
  world_until(&world, has_two_ready, &world.peer, "second link");
  assert_int_equal(peer_service_id(&world, "api"), 0);
  assert_int_not_equal(peer_service_id(&world, "hello"), 0);
  world.peer.refuse_service = "*";
  peer_answer_services(&world.peer.links[1], world.peer.services.serial);
  world_until_stopped(&world);
  assert_int_equal(world.status, MDM_CLIENT_REPLACED);
  world_close(&world);
}

/* ---- keys ---- */
static void first_contact_is_told_and_remembered(void **state) {
  char shown[NET_FINGERPRINT_TEXT];
  (void)state;
  open_world(true);
  world_start(&world);
  (void)peer_ready_link(&world);
  assert_true(world_heard(&world, "fingerprint first contact"));
  assert_true(world_heard(&world, net_fingerprint_text(shown, world.peer.identity.fingerprint)));
  unsigned line;
  char error[256];
  assert_int_equal(net_known_lookup(world.known, "127.0.0.1", world.peer.port, world.peer.identity.fingerprint, &line,
                                    error, sizeof error),
                   NET_KNOWN_MATCH);
  world_close(&world);
}

static void a_changed_key_ends_it_before_anything_is_said(void **state) {
  static const uint8_t other[NET_FINGERPRINT_SIZE] = {1};
  (void)state;
  open_world(true);
  assert_int_equal(net_known_add(world.known, "127.0.0.1", world.peer.port, other), 0);
  world_start(&world);
  world_until_stopped(&world);
  assert_int_equal(world.status, MDM_CLIENT_KEY);
  assert_true(world_heard(&world, "HAS CHANGED"));
  world_turns(&world, 30);
  assert_false(world.peer.links[0].has_hello);
  world_close(&world);
}

static void strict_refuses_a_stranger_and_takes_the_pinned(void **state) {
  static char shown[NET_FINGERPRINT_TEXT];
  (void)state;
  for (int pinned = 0; pinned < 2; pinned++) {
    open_world(true);
    world.options.strict = true;
    if (pinned)
      world.options.fingerprint = net_fingerprint_text(shown, world.peer.identity.fingerprint);
    world_start(&world);
    if (pinned) {
      (void)peer_ready_link(&world);
    } else {
      world_until_stopped(&world);
      assert_int_equal(world.status, MDM_CLIENT_KEY);
    }
    world_close(&world);
  }
}

static void a_token_pins_the_server_that_it_was_made_for(void **state) {
  static const uint8_t other[NET_FINGERPRINT_SIZE] = {1};
  (void)state;
  for (int right = 0; right < 2; right++) {
    char token[NET_TEXT_MAX + 1];
    open_world(true);
    world.peer.wants_login = true;
    assert_int_equal(net_token_make(token, right ? world.peer.identity.fingerprint : other), 0);
    world.options.token = token;
    world.options.strict = true;
    world_start(&world);
    if (right) {
      assert_string_equal(peer_ready_link(&world)->auth.token, token);
    } else {
      world_until_stopped(&world);
      assert_int_equal(world.status, MDM_CLIENT_KEY);
      assert_false(world.peer.links[0].has_auth);
    }
    world_close(&world);
  }
}

static void a_certificate_that_does_not_pass_ends_it(void **state) {
  static char path[128];
  (void)state;
  open_world(true);
  /* Signed by itself, and so its own authority; but it is not made for 127.0.0.1. */
  snprintf(path, sizeof path, "%s/link.crt", world.directory);
  world.options.ca = path;
  world_start(&world);
  world_until_stopped(&world);
  assert_int_equal(world.status, MDM_CLIENT_KEY);
  assert_true(world_heard(&world, "certificate"));
  world_close(&world);
}

/* ---- losing and coming back ---- */
static void a_lost_link_is_replaced_with_a_higher_epoch(void **state) {
  (void)state;
  open_world(false);
  world_start(&world);
  struct peer_link *first = peer_ready_link(&world);
  net_link_close(first->link);
  first->link = NULL;
  world_until(&world, has_two_ready, &world.peer, "second link");
  struct peer_link *second = &world.peer.links[1];
  assert_memory_equal(first->hello.instance, second->hello.instance, NET_INSTANCE_SIZE);
  assert_true(second->hello.epoch > first->hello.epoch);
  assert_true(world_heard(&world, "disconnected"));
  world_close(&world);
}

static void attempts_have_a_limit_when_asked_for(void **state) {
  (void)state;
  open_world(false);
  net_listener_close(world.peer.listener);
  world.peer.listener = NULL;
  world_turns(&world, 10);
  world.options.max_attempts = 3;
  world_start(&world);
  world_until_stopped(&world);
  assert_int_equal(world.status, MDM_CLIENT_GAVE_UP);
  assert_true(world_heard(&world, "3 attempts"));
  world_close(&world);
}

static void the_next_server_of_the_list_is_tried(void **state) {
  char list[64];
  (void)state;
  open_world(false);
  snprintf(list, sizeof list, "127.0.0.1:1,127.0.0.1:%u", world.peer.port);
  world.options.host = list;
  world_start(&world);
  (void)peer_ready_link(&world);
  assert_false(world_heard(&world, "disconnected")); /* no pause between them */
  world_close(&world);
}

static void a_server_that_leaves_is_left_when_the_streams_are_done(void **state) {
  struct service service;
  struct visitor visitor;
  char argument[32];
  const char *services[] = {argument};
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  snprintf(argument, sizeof argument, "app=%u", service.port);
  world.options.services = services;
  world.options.services_count = 1;
  world_start(&world);
  struct peer_link *first = peer_ready_link(&world);
  assert_int_equal(visitor_open(&visitor, first, peer_service_id(&world, "app"), "hello", 5, false), 0);
  world_turns(&world, 20);
  net_link_drain(first->link, MDM_GOAWAY_DRAIN, "restart");
  world_until(&world, has_two_ready, &world.peer, "second link");
  assert_non_null(first->link);
  assert_false(visitor.closed); /* the old stream goes on beside the new link */
  visitor.out = (const uint8_t *)"hello again";
  visitor.out_size = 11;
  visitor.finish = true;
  mdm_stream_ready(visitor.stream);
  world_until(&world, visitor_is_closed, &visitor, "end of the stream");
  assert_int_equal(visitor.reset, MDM_RESET_NONE);
  assert_memory_equal(visitor.in, "hello again", 11);
  visitor_clean(&visitor);
  service_close(&service);
  world_close(&world);
}

static bool has_hello(void *argument) {
  const struct peer *peer = argument;
  return peer->links_count > 0 && peer->links[0].has_hello;
}

static void a_poke_during_a_pause_dials_at_once(void **state) {
  (void)state;
  open_world(false);
  world.peer.refuse = MDM_GOAWAY_BUSY;
  world_start(&world);
  uint64_t start = uv_hrtime();
  for (int i = 0; i < 8; i++) { /* seven pauses would be 0.1 + 0.2 + ... + 3.2 + 5 = 11.3 s at least */
    world_until_heard(&world, "disconnected");
    world.events[0] = '\0';
    mdm_client_poke(world.client);
  }
  assert_true(uv_hrtime() - start < 8000000000u);
  world_close(&world);
}

/* ---- stopping ---- */
static void stop_lets_streams_finish(void **state) {
  struct service service;
  struct visitor visitor;
  char argument[32];
  const char *services[] = {argument};
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  snprintf(argument, sizeof argument, "app=%u", service.port);
  world.options.services = services;
  world.options.services_count = 1;
  world_start(&world);
  struct peer_link *link = peer_ready_link(&world);
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), "hello", 5, false), 0);
  world_turns(&world, 20);
  mdm_client_stop(world.client);
  world_turns(&world, 50);
  assert_false(world.stopped);
  assert_true(link->goaway);
  visitor.finish = true;
  mdm_stream_ready(visitor.stream);
  world_until(&world, visitor_is_closed, &visitor, "end of the stream");
  world_until_stopped(&world);
  assert_int_equal(world.status, MDM_CLIENT_OK);
  assert_int_equal(visitor.reset, MDM_RESET_NONE);
  visitor_clean(&visitor);
  service_close(&service);
  world_close(&world);
}

static void a_second_stop_waits_for_nothing(void **state) {
  struct service service;
  struct visitor visitor;
  char argument[32];
  const char *services[] = {argument};
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  snprintf(argument, sizeof argument, "app=%u", service.port);
  world.options.services = services;
  world.options.services_count = 1;
  world_start(&world);
  struct peer_link *link = peer_ready_link(&world);
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), "hello", 5, false), 0);
  world_turns(&world, 20);
  mdm_client_stop(world.client);
  mdm_client_stop(world.client);
  world_turns(&world, 100);
  assert_true(world.stopped);
  world_until(&world, visitor_is_closed, &visitor, "end of the stream");
  assert_int_equal(visitor.reset, MDM_RESET_SHUTDOWN);
  visitor_clean(&visitor);
  service_close(&service);
  world_close(&world);
}

static void stop_ends_it_in_every_state(void **state) {
  (void)state;
  for (int when = 0; when < 4; when++) {
    open_world(false);
    if (when == 1)
      world.peer.silent = true; /* in the handshake */
    if (when == 2)
      world.peer.refuse = MDM_GOAWAY_BUSY; /* in a pause */
    world_start(&world);
    if (when == 1)
      world_until(&world, has_hello, &world.peer, "HELLO");
    if (when == 2)
      world_until_heard(&world, "disconnected");
    if (when == 3)
      (void)peer_ready_link(&world);
    mdm_client_stop(world.client);
    world_until_stopped(&world);
    assert_int_equal(world.status, MDM_CLIENT_OK);
    world_close(&world);
  }
}

static void close_without_stop_leaves_nothing(void **state) {
  (void)state;
  for (int when = 0; when < 3; when++) {
    open_world(true);
    world_start(&world);
    if (when == 1)
      world_until(&world, has_hello, &world.peer, "HELLO");
    if (when == 2)
      (void)peer_ready_link(&world);
    world_close(&world);
  }
}

/* ---- the services file ---- */
static bool announced_twice(void *argument) {
  return ((struct peer_link *)argument)->services_received >= 2;
}

static void a_changed_file_is_announced_and_streams_go_on(void **state) {
  struct service service;
  struct visitor visitor;
  char text[128];
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  snprintf(text, sizeof text, "{\"app\": %u, \"gone\": 1}", service.port);
  world_write_file(&world, text);
  world_start(&world);
  struct peer_link *link = peer_ready_link(&world);
  uint32_t app = peer_service_id(&world, "app"), gone = peer_service_id(&world, "gone");
  assert_int_equal(visitor_open(&visitor, link, app, "hello", 5, false), 0);
  world_turns(&world, 20);
  snprintf(text, sizeof text, "{\"new\": 5, \"app\": %u}", service.port);
  world_write_file(&world, text);
  world_until(&world, announced_twice, link, "second SERVICES");
  world_until_heard(&world, "url new");
  assert_int_equal(peer_service_id(&world, "app"), app);
  assert_int_equal(peer_service_id(&world, "gone"), 0);
  assert_true(peer_service_id(&world, "new") > gone);
  assert_false(visitor.closed);
  visitor.finish = true;
  mdm_stream_ready(visitor.stream);
  world_until(&world, visitor_is_closed, &visitor, "end of the stream");
  assert_int_equal(visitor.in_size, 5);
  visitor_clean(&visitor);
  assert_int_equal(visitor_open(&visitor, link, gone, "x", 1, true), 0);
  world_until(&world, visitor_is_closed, &visitor, "refusal");
  assert_int_equal(visitor.reset, MDM_RESET_REFUSED);
  visitor_clean(&visitor);
  service_close(&service);
  world_close(&world);
}

static void a_broken_file_keeps_the_old_map(void **state) {
  (void)state;
  world_open(&world, false);
  world_write_file(&world, "{\"app\": 3000}");
  world_start(&world);
  struct peer_link *link = peer_ready_link(&world);
  world_write_file(&world, "{\"app\": 3000,\n \"bad\": 0}");
  world_until_heard(&world, "services.json:2");
  assert_int_equal(link->services_received, 1);
  world_write_file(&world, "{\"app\": 3000,\n \"good\": 1}");
  world_until(&world, announced_twice, link, "second SERVICES");
  assert_false(world.stopped);
  world_close(&world);
}

static void a_file_that_says_the_same_is_not_announced(void **state) {
  (void)state;
  world_open(&world, false);
  world_write_file(&world, "{\"app\": 3000}");
  world_start(&world);
  struct peer_link *link = peer_ready_link(&world);
  world_write_file(&world, "{ \"app\":3000 }");
  mdm_client_reload(world.client);
  world_turns(&world, 400);
  assert_int_equal(link->services_received, 1);
  world_close(&world);
}

/* ---- a loop of its own ---- */
static void a_client_with_its_own_loop_runs_and_ends(void **state) {
  mdm_client *client;
  struct mdm_client_options options;
  char error[256];
  (void)state;
  mdm_client_options_init(&options);
  options.host = "127.0.0.1";
  options.port = 1;
  options.user = "tim";
  options.known_servers = "/nonexistent/known_servers";
  options.max_attempts = 2;
  options.services = two_services;
  options.services_count = 2;
  assert_int_equal(mdm_client_new(&client, &options, error, sizeof error), MDM_CLIENT_OK);
  assert_int_equal(mdm_client_run(client), MDM_CLIENT_GAVE_UP);
  mdm_client_close(client, NULL, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(urls_are_told_after_login),
      cmocka_unit_test(a_token_is_sent_only_where_one_is_wanted),
      cmocka_unit_test(codes_of_goaway_decide_what_comes_next),
      cmocka_unit_test(a_version_of_the_future_is_refused_here),
      cmocka_unit_test(a_login_that_is_wanted_and_not_given_says_what_to_do),
      cmocka_unit_test(login_only_logs_in_and_leaves),
      cmocka_unit_test(a_refused_name_leaves_the_others),
      cmocka_unit_test(no_name_left_is_the_end),
      cmocka_unit_test(a_service_taken_over_is_not_asked_for_again),
      cmocka_unit_test(first_contact_is_told_and_remembered),
      cmocka_unit_test(a_changed_key_ends_it_before_anything_is_said),
      cmocka_unit_test(strict_refuses_a_stranger_and_takes_the_pinned),
      cmocka_unit_test(a_token_pins_the_server_that_it_was_made_for),
      cmocka_unit_test(a_certificate_that_does_not_pass_ends_it),
      cmocka_unit_test(a_lost_link_is_replaced_with_a_higher_epoch),
      cmocka_unit_test(attempts_have_a_limit_when_asked_for),
      cmocka_unit_test(the_next_server_of_the_list_is_tried),
      cmocka_unit_test(a_server_that_leaves_is_left_when_the_streams_are_done),
      cmocka_unit_test(a_poke_during_a_pause_dials_at_once),
      cmocka_unit_test(stop_lets_streams_finish),
      cmocka_unit_test(a_second_stop_waits_for_nothing),
      cmocka_unit_test(stop_ends_it_in_every_state),
      cmocka_unit_test(close_without_stop_leaves_nothing),
      cmocka_unit_test(a_changed_file_is_announced_and_streams_go_on),
      cmocka_unit_test(a_broken_file_keeps_the_old_map),
      cmocka_unit_test(a_file_that_says_the_same_is_not_announced),
      cmocka_unit_test(a_client_with_its_own_loop_runs_and_ends),
  };
  return cmocka_run_group_tests_name("tunnel", tests, NULL, NULL);
}
