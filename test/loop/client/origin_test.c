/* origin_test.c: streams joined to local services, through a real link. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "world.h"

static struct world world;
static struct service service;

/* A client that serves one service, `before` and the port, connected. */
static struct peer_link *connect_client(const char *before, unsigned port) {
  static char argument[256];
  static const char *services[1] = {argument};
  snprintf(argument, sizeof argument, "%s%u", before, port);
  world.options.services = services;
  world.options.services_count = 1;
  world_start(&world);
  return peer_ready_link(&world);
}

/* The same by file, for options. */
static struct peer_link *connect_client_file(const char *before, unsigned port, const char *after) {
  char text[512];
  snprintf(text, sizeof text, "%s%u%s", before, port, after);
  world_write_file(&world, text);
  world_start(&world);
  return peer_ready_link(&world);
}

static void end(void) {
  service_close(&service);
  world_close(&world);
}

static bool got_all(void *argument) {
  const struct visitor *visitor = argument;
  return visitor->in_size >= visitor->out_size;
}

static void bytes_go_there_and_back_and_both_halves_end(void **state) {
  struct visitor visitor;
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  struct peer_link *link = connect_client("app=", service.port);
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), "hello", 5, true), 0);
  world_until(&world, visitor_is_closed, &visitor, "end of the stream");
  assert_true(visitor.opened);
  assert_true(visitor.fin);
  assert_int_equal(visitor.reset, MDM_RESET_NONE);
  assert_int_equal(visitor.in_size, 5);
  assert_memory_equal(visitor.in, "hello", 5);
  assert_true(service.conns[0].ended);
  assert_int_equal(mdm_client_streams(world.client), 0);
  visitor_clean(&visitor);
  end();
}

static void megabytes_arrive_whole_and_in_order(void **state) {
  enum { SIZE = 5 * 1024 * 1024 };
  struct visitor visitors[3];
  uint8_t *data = malloc(SIZE);
  uint32_t x = 1;
  (void)state;
  assert_non_null(data);
  for (size_t i = 0; i < SIZE; i++)
    data[i] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
  world_open(&world, true);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  world.options.strict = false;
  struct peer_link *link = connect_client("app=127.0.0.1:", service.port);
  for (size_t i = 0; i < 3; i++)
    assert_int_equal(visitor_open(&visitors[i], link, peer_service_id(&world, "app"), data, SIZE - i * 7919, true), 0);
  for (size_t i = 0; i < 3; i++) {
    world_until(&world, visitor_is_closed, &visitors[i], "end of the stream");
    assert_int_equal(visitors[i].in_size, visitors[i].out_size);
    assert_memory_equal(visitors[i].in, data, visitors[i].in_size);
    visitor_clean(&visitors[i]);
  }
  free(data);
  end();
}

static void only_declared_services_are_dialled(void **state) {
  struct visitor visitor;
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  struct peer_link *link = connect_client("app=", service.port);
  const uint32_t ids[] = {0, 2, 77, service.port, UINT32_MAX};
  for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
    assert_int_equal(visitor_open(&visitor, link, ids[i], "x", 1, false), 0);
    world_until(&world, visitor_is_closed, &visitor, "refusal");
    assert_int_equal(visitor.reset, MDM_RESET_REFUSED);
    assert_true(visitor.not_delivered);
    visitor_clean(&visitor);
  }
  /* A target in the OPEN widens nothing. */
  char target[32];
  snprintf(target, sizeof target, "127.0.0.1:%u", service.port);
  struct mdm_open open = {.kind = MDM_KIND_TCP, .target = {(const uint8_t *)target, strlen(target)}};
  struct visitor by_target = {0};
  assert_int_equal(visitor_open_raw(&by_target, link, &open), 0);
  world_until(&world, visitor_is_closed, &by_target, "refusal");
  assert_int_equal(by_target.reset, MDM_RESET_REFUSED);
  visitor_clean(&by_target);
  assert_int_equal(service.count, 0);
  end();
}

static void a_dead_service_is_told_as_not_delivered(void **state) {
  struct visitor visitor;
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  unsigned port = service.port;
  service_close(&service);
  world_turns(&world, 10);
  struct peer_link *link = connect_client("app=", port);
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), "GET", 3, false), 0);
  world_until(&world, visitor_is_closed, &visitor, "reset");
  assert_int_equal(visitor.reset, MDM_RESET_CONNECT);
  assert_true(visitor.not_delivered);
  assert_false(visitor.opened);
  visitor_clean(&visitor);
  end();
}

static void a_port_is_tried_on_v6_when_v4_refuses(void **state) {
  struct visitor visitor;
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "::1", ORIGIN_ECHO, false);
  struct peer_link *link = connect_client("app=", service.port);
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), "six", 3, true), 0);
  world_until(&world, visitor_is_closed, &visitor, "end of the stream");
  assert_int_equal(visitor.in_size, 3);
  visitor_clean(&visitor);
  end();
}

static void a_name_is_resolved(void **state) {
  struct visitor visitor;
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  struct peer_link *link =
      connect_client("app=Localhost:", service.port); /* not the spelling that is taken as the loopback */
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), "name", 4, true), 0);
  world_until(&world, visitor_is_closed, &visitor, "end of the stream");
  assert_int_equal(visitor.in_size, 4);
  visitor_clean(&visitor);
  end();
}

static void a_finish_before_the_service_is_connected_still_arrives(void **state) {
  struct visitor visitor;
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  struct peer_link *link = connect_client("app=Localhost:", service.port);
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), NULL, 0, true), 0);
  world_until(&world, visitor_is_closed, &visitor, "end of the stream");
  assert_int_equal(visitor.reset, MDM_RESET_NONE);
  assert_true(service.conns[0].ended);
  visitor_clean(&visitor);
  end();
}

static bool has_connection(void *argument) {
  const struct service *s = argument;
  return s->count > 0;
}

static bool service_saw_reset(void *argument) {
  const struct service *s = argument;
  return s->count > 0 && s->conns[0].error < 0;
}

static void a_reset_of_the_stream_is_a_reset_at_the_service(void **state) {
  struct visitor visitor;
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  struct peer_link *link = connect_client("app=", service.port);
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), "hello", 5, false), 0);
  world_until(&world, got_all, &visitor, "echo");
  mdm_stream_reset(visitor.stream, MDM_RESET_CANCEL, false);
  world_until(&world, service_saw_reset, &service, "reset at the service");
  assert_false(service.conns[0].ended);
  visitor_clean(&visitor);
  end();
}

static void a_reset_by_the_service_is_a_reset_of_the_stream(void **state) {
  struct visitor visitor;
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  struct peer_link *link = connect_client("app=", service.port);
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), "hello", 5, false), 0);
  world_until(&world, got_all, &visitor, "echo");
  net_conn_close(service.conns[0].conn, true);
  service.conns[0].conn = NULL;
  world_until(&world, visitor_is_closed, &visitor, "reset of the stream");
  assert_int_equal(visitor.reset, MDM_RESET_BROKEN);
  assert_false(visitor.not_delivered);
  assert_false(visitor.fin);
  visitor_clean(&visitor);
  end();
}

static void a_lost_link_is_a_reset_at_the_service(void **state) {
  struct visitor visitor;
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  struct peer_link *link = connect_client("app=", service.port);
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), "hello", 5, false), 0);
  world_until(&world, got_all, &visitor, "echo");
  net_link_close(link->link);
  link->link = NULL;
  world_until(&world, service_saw_reset, &service, "reset at the service");
  visitor_clean(&visitor);
  end();
}

static bool kept_something(void *argument) {
  const struct service *s = argument;
  return s->count > 0 && s->conns[0].size >= 5;
}

static void an_early_answer_is_read_although_the_request_no_longer_fits(void **state) {
  enum { SIZE = 4 * 1024 * 1024 };
  struct visitor visitor;
  struct service_conn *c = &service.conns[0];
  uint8_t *data = calloc(1, SIZE);
  (void)state;
  assert_non_null(data);
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_STALL, false);
  struct peer_link *link = connect_client("app=", service.port);
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), data, SIZE, true), 0);
  world_until(&world, has_connection, &service, "connection");
  world_turns(&world, 50);
  /* It answers 413 without reading, and ends its half. */
  struct mdm_slice answer = {(const uint8_t *)"HTTP/1.1 413 no\r\n\r\n", 19};
  assert_int_equal(net_conn_write(c->conn, &answer, 1), 19);
  assert_int_equal(net_conn_shutdown(c->conn), 0);
  world_turns(&world, 50);
  assert_int_equal(visitor.in_size, 19);
  assert_true(visitor.fin);
  net_conn_close(c->conn, true);
  c->conn = NULL;
  world_until(&world, visitor_is_closed, &visitor, "end of the stream");
  visitor_clean(&visitor);
  free(data);
  end();
}

static void a_service_that_does_not_read_stalls_only_itself(void **state) {
  enum { SIZE = 6 * 1024 * 1024 };
  struct visitor stalled, lively;
  struct service other;
  static const char *services[2];
  char a[64], b[64];
  uint8_t *data = calloc(1, SIZE);
  (void)state;
  assert_non_null(data);
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_STALL, false);
  service_open(&other, &world, "127.0.0.1", ORIGIN_ECHO, false);
  snprintf(a, sizeof a, "stall=%u", service.port);
  snprintf(b, sizeof b, "echo=%u", other.port);
  services[0] = a;
  services[1] = b;
  world.options.services = services;
  world.options.services_count = 2;
  world_start(&world);
  struct peer_link *link = peer_ready_link(&world);
  assert_int_equal(visitor_open(&stalled, link, peer_service_id(&world, "stall"), data, SIZE, true), 0);
  world_turns(&world, 100);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(visitor_open(&lively, link, peer_service_id(&world, "echo"), data, 100 * 1024, true), 0);
    world_until(&world, visitor_is_closed, &lively, "end of the stream");
    assert_int_equal(lively.in_size, 100 * 1024);
    visitor_clean(&lively);
  }
  assert_true(stalled.out_sent < SIZE);
  assert_false(stalled.closed);
  visitor_clean(&stalled);
  service_close(&other);
  free(data);
  end();
}

static void a_socket_file_is_a_target(void **state) {
  struct visitor visitor;
  char path[128], argument[160];
  static const char *services[1];
  (void)state;
  world_open(&world, false);
  snprintf(path, sizeof path, "%s/app.sock", world.directory);
  service_open_unix(&service, &world, path);
  snprintf(argument, sizeof argument, "app=unix:%s", path);
  services[0] = argument;
  world.options.services = services;
  world.options.services_count = 1;
  world_start(&world);
  struct peer_link *link = peer_ready_link(&world);
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), "unix", 4, true), 0);
  world_until(&world, visitor_is_closed, &visitor, "end of the stream");
  assert_int_equal(visitor.in_size, 4);
  visitor_clean(&visitor);
  end();
}

static void the_proxy_header_comes_first(void **state) {
  struct visitor visitor;
  char wanted[128];
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_KEEP, false);
  struct peer_link *link = connect_client_file("{\"app\": {\"port\": ", service.port, ", \"proxy_protocol\": 1}}");
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), "GET", 3, false), 0);
  world_until(&world, kept_something, &service, "header");
  world_turns(&world, 20);
  snprintf(wanted, sizeof wanted, "PROXY TCP4 203.0.113.9 127.0.0.1 51000 %u\r\nGET", service.port);
  assert_int_equal(service.conns[0].size, strlen(wanted));
  assert_memory_equal(service.conns[0].bytes, wanted, strlen(wanted));
  visitor_clean(&visitor);
  end();
}

static void a_tls_service_is_spoken_to_in_tls(void **state) {
  enum { SIZE = 300 * 1024 };
  struct visitor visitor;
  uint8_t *data = calloc(1, SIZE);
  (void)state;
  assert_non_null(data);
  memset(data, 'x', SIZE);
  world_open(&world, true);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, true);
  struct peer_link *link = connect_client_file("{\"app\": {\"port\": ", service.port, ", \"tls\": true}}");
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), data, SIZE, true), 0);
  world_until(&world, visitor_is_closed, &visitor, "end of the stream");
  assert_int_equal(visitor.reset, MDM_RESET_NONE);
  assert_int_equal(visitor.in_size, SIZE);
  assert_memory_equal(visitor.in, data, SIZE);
  visitor_clean(&visitor);
  free(data);
  end();
}

static void a_service_without_tls_behind_a_tls_entry_is_not_delivered(void **state) {
  struct visitor visitor;
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  struct peer_link *link = connect_client_file("{\"app\": {\"port\": ", service.port, ", \"tls\": true}}");
  assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), "GET", 3, true), 0);
  world_until(&world, visitor_is_closed, &visitor, "reset");
  assert_int_equal(visitor.reset, MDM_RESET_CONNECT);
  assert_true(visitor.not_delivered);
  visitor_clean(&visitor);
  end();
}

static void a_thousand_streams_leave_nothing_behind(void **state) {
  struct visitor visitor;
  (void)state;
  world_open(&world, false);
  service_open(&service, &world, "127.0.0.1", ORIGIN_ECHO, false);
  struct peer_link *link = connect_client("app=", service.port);
  for (int i = 0; i < 1000; i++) {
    assert_int_equal(visitor_open(&visitor, link, peer_service_id(&world, "app"), "hello", 5, i % 3 != 0), 0);
    if (i % 3 == 0) {
      world_until(&world, got_all, &visitor, "echo");
      mdm_stream_reset(visitor.stream, MDM_RESET_CANCEL, false);
    } else {
      world_until(&world, visitor_is_closed, &visitor, "end of the stream");
    }
    visitor_clean(&visitor);
    if (service.count == ORIGIN_CONNS_MAX) {
      world_turns(&world, 5);
      service_forget(&service);
    }
  }
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bytes_go_there_and_back_and_both_halves_end),
      cmocka_unit_test(megabytes_arrive_whole_and_in_order),
      cmocka_unit_test(only_declared_services_are_dialled),
      cmocka_unit_test(a_dead_service_is_told_as_not_delivered),
      cmocka_unit_test(a_port_is_tried_on_v6_when_v4_refuses),
      cmocka_unit_test(a_name_is_resolved),
      cmocka_unit_test(a_finish_before_the_service_is_connected_still_arrives),
      cmocka_unit_test(a_reset_of_the_stream_is_a_reset_at_the_service),
      cmocka_unit_test(a_reset_by_the_service_is_a_reset_of_the_stream),
      cmocka_unit_test(a_lost_link_is_a_reset_at_the_service),
      cmocka_unit_test(an_early_answer_is_read_although_the_request_no_longer_fits),
      cmocka_unit_test(a_service_that_does_not_read_stalls_only_itself),
      cmocka_unit_test(a_socket_file_is_a_target),
      cmocka_unit_test(the_proxy_header_comes_first),
      cmocka_unit_test(a_tls_service_is_spoken_to_in_tls),
      cmocka_unit_test(a_service_without_tls_behind_a_tls_entry_is_not_delivered),
      cmocka_unit_test(a_thousand_streams_leave_nothing_behind),
  };
  return cmocka_run_group_tests_name("origin", tests, NULL, NULL);
}
