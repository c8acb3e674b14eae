/* Visitors and their services: what passes, as it should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "exchange.h"
#include "platform.h"
#include "visitor.h"
#include "web.h"

#define ONE "Host: one.tim.localhost\r\n"
#define TWO "Host: two.tim.localhost\r\n"
#define CLOSE "Connection: close\r\n"
#define OK "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"

static const struct web_script scripts[] = {
    {.path = "/ok", .answer = OK},
    {.path = "/a", .answer = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 1\r\n\r\na"},
    {.path = "/b", .answer = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 1\r\n\r\nb"},
    {.path = "/chunked", .answer = "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x\r\n!\r\n0\r\nX-T: 1\r\nHost: no\r\n\r\n"},
    {.path = "/close", .answer = "HTTP/1.0 200 OK\r\nDate: x\r\n\r\nuntil the end", .then = WEB_FIN},
    {.path = "/204", .answer = "HTTP/1.1 204 None\r\nDate: x\r\n\r\n"},
    {.path = "/204body", .answer = "HTTP/1.1 204 None\r\nDate: x\r\nContent-Length: 4\r\n\r\nevil"},
    {.path = "/304", .answer = "HTTP/1.1 304 Same\r\nDate: x\r\nContent-Length: 9\r\n\r\n"},
    {.path = "/head", .answer = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 9\r\n\r\n"},
    {.path = "/two", .answer = OK "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"},
    {.path = "/hints", .answer = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK},
    {.path = "/continue", .answer = "HTTP/1.1 100 Continue\r\n\r\n", .early = true, .then = WEB_KEEP},
    {.path = "/ws", .answer = "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi", .then = WEB_ECHO},
    {.path = "/sse", .answer = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"},
    {.path = "/big", .answer = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 8000000\r\n\r\n", .filler = 8000000},
    {.path = "/bigchunk", .answer = "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n7a1200\r\n", .filler = 8000000},
    {.path = "/bigclose", .answer = "HTTP/1.0 200 OK\r\nDate: x\r\n\r\n", .filler = 3000000, .then = WEB_FIN},
    {.path = "/dienext", .answer = OK, .close_next = true},
    {.path = "/silent", .answer = "", .then = WEB_SILENT},
    {.path = NULL},
};

static void a_kept_connection_uses_one_stream(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  for (int i = 0; i < 5; i++) {
    visit_send(&v, "GET /ok HTTP/1.1\r\n" ONE "\r\n");
    visit_until(&v, "\r\n\r\nok");
    assert_string_equal(v.got, "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok");
    visit_clear(&v);
  }
  assert_int_equal(web.streams_opened, 1);
  assert_int_equal(web.ended, 5);
  assert_int_equal(web.last_status, 200);
  assert_int_equal(web.last_response_bytes, 2);
  assert_string_equal(web.last_service, "one");
  visit_close(&v);
  web_close(&web);
}

static void each_pipelined_request_goes_to_its_own_host(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "GET /a HTTP/1.1\r\n" ONE "\r\nGET /b HTTP/1.1\r\n" TWO "\r\nGET / HTTP/1.1\r\nHost: nobody.nowhere.localhost\r\n\r\n"
                 "GET /ok HTTP/1.1\r\n" ONE CLOSE "\r\n");
  visit_until_end(&v);
  const char *a = strstr(v.got, "\r\n\r\na"), *b = strstr(v.got, "\r\n\r\nb"), *none = strstr(v.got, "HTTP/1.1 404"), *ok = strstr(v.got, "\r\n\r\nok");
  assert_true(a && b && none && ok && a < b && b < none && none < ok);
  assert_int_equal(web.streams_opened, 2);
  visit_close(&v);
  web_close(&web);
}

static void bodies_are_framed_for_the_visitor(void **state) {
  static const struct {
    const char *request, *answer;
  } cases[] = {
      {"GET /chunked HTTP/1.1\r\n" ONE CLOSE "\r\n",
       "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n6\r\nhello!\r\n0\r\nX-T: 1\r\n\r\n"},
      {"GET /chunked HTTP/1.0\r\n" ONE "\r\n", "HTTP/1.1 200 OK\r\nDate: x\r\nConnection: close\r\n\r\nhello!"},
      {"GET /close HTTP/1.1\r\n" ONE CLOSE "\r\n",
       "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nd\r\nuntil the end\r\n0\r\n\r\n"},
      {"GET /close HTTP/1.0\r\n" ONE "\r\n", "HTTP/1.1 200 OK\r\nDate: x\r\nConnection: close\r\n\r\nuntil the end"},
      {"GET /204 HTTP/1.1\r\n" ONE CLOSE "\r\n", "HTTP/1.1 204 None\r\nDate: x\r\nConnection: close\r\n\r\n"},
      {"GET /304 HTTP/1.1\r\n" ONE CLOSE "\r\n", "HTTP/1.1 304 Same\r\nDate: x\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"},
      {"HEAD /head HTTP/1.1\r\n" ONE CLOSE "\r\n", "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"},
      {"GET /hints HTTP/1.1\r\n" ONE CLOSE "\r\n",
       "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"},
      {"GET /hints HTTP/1.0\r\n" ONE "Connection: close\r\n\r\n", "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"},
  };
  struct web web;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct visit v;
    visit_open(&v, &web);
    visit_send(&v, cases[i].request);
    visit_until_end(&v);
    assert_string_equal(v.got, cases[i].answer);
    assert_true(v.fin);
    visit_close(&v);
  }
  web_close(&web);
}

static void what_an_origin_says_too_much_reaches_nobody(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "GET /two HTTP/1.1\r\n" ONE "\r\nGET /204body HTTP/1.1\r\n" ONE "\r\nGET /ok HTTP/1.1\r\n" ONE CLOSE "\r\n");
  visit_until_end(&v);
  assert_null(strstr(v.got, "evil"));
  assert_non_null(strstr(v.got, "204 None"));
  assert_int_equal(web.streams_opened, 3); /* none of the confused ones was used again */
  visit_close(&v);
  web_close(&web);
}

static void a_body_waits_for_100_continue(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "POST /continue HTTP/1.1\r\n" ONE "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  visit_until(&v, "HTTP/1.1 100 Continue\r\n\r\n");
  assert_non_null(strcasestr(web.head, "\r\nExpect: 100-continue\r\n"));
  assert_int_equal(web.body_bytes, 0);
  visit_send(&v, "hello");
  for (int i = 0; i < 100 && web.body_bytes < 5; i++)
    world_run_ms(&web.world, 5);
  assert_int_equal(web.body_bytes, 5);
  visit_close(&v);
  web_close(&web);
}

static void an_upload_arrives_whole(void **state) {
  struct web web;
  struct visit v;
  size_t size = 3000000;
  char *body = malloc(size);
  uint64_t sum = 0;
  (void)state;
  for (size_t i = 0; i < size; i++) {
    body[i] = (char)(i * 7 + i / 251);
    sum = sum * 31 + (uint8_t)body[i];
  }
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "POST /ok HTTP/1.1\r\n" ONE "Content-Length: 3000000\r\n\r\n");
  visit_send_bytes(&v, body, size);
  visit_until(&v, "\r\n\r\nok");
  assert_int_equal(web.body_bytes, size);
  assert_true(web.body_sum == sum);
  assert_int_equal(web.last_request_bytes, size);
  visit_clear(&v);
  visit_send(&v, "POST /ok HTTP/1.1\r\n" ONE "Transfer-Encoding: chunked\r\n\r\n");
  for (size_t at = 0; at < size; at += 100000) {
    visit_send(&v, "186a0;x=y\r\n");
    visit_send_bytes(&v, body + at, 100000);
    visit_send(&v, "\r\n");
  }
  visit_send(&v, "0\r\n\r\nGET /a HTTP/1.1\r\n" ONE "\r\n");
  visit_until(&v, "\r\n\r\na");
  assert_int_equal(web.streams_opened, 1);
  assert_true(web.body_bytes > 2 * size);
  free(body);
  visit_close(&v);
  web_close(&web);
}

static void upgrade_becomes_a_pipe_that_closes_by_halves(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "GET /ws HTTP/1.1\r\n" ONE "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  visit_until(&v, "\r\n\r\nhi");
  assert_non_null(strstr(web.head, "Upgrade: websocket\r\nConnection: Upgrade\r\n"));
  visit_send(&v, "any bytes\r\n\r\nGET");
  for (int i = 0; i < 100 && strlen(web.echo) < 16; i++)
    world_run_ms(&web.world, 5);
  assert_string_equal(web.echo, "any bytes\r\n\r\nGET");
  assert_int_equal(web.fins, 0);
  shutdown(v.fd, SHUT_WR);
  visit_until_end(&v);
  assert_true(v.fin);
  assert_int_equal(web.fins, 1);
  for (int i = 0; i < 100 && visitor_set_count(web.world.worker.visitors); i++)
    world_run_ms(&web.world, 5);
  assert_int_equal(visitor_set_count(web.world.worker.visitors), 0);
  assert_int_equal(web.last_status, 101);
  assert_int_equal(web.streams_live, 0);
  visit_close(&v);
  web_close(&web);
}

static void trailers_pass_unless_they_frame_or_route(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "POST /ok HTTP/1.1\r\n" ONE CLOSE "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r");
  world_run_ms(&web.world, 20);
  visit_send(&v, "\nHost: evil\r\nContent-Length: 3\r\nX-More: 2\r\n\r\n");
  visit_until_end(&v);
  assert_non_null(strstr(v.got, "\r\n\r\nok"));
  assert_string_equal(web.echo, "5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n");
  visit_close(&v);
  web_close(&web);
}

static void an_upgrade_that_is_declined_leaves_plain_http(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "GET /ok HTTP/1.1\r\n" ONE "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGET /b HTTP/1.1\r\n" TWO CLOSE "\r\n");
  visit_until_end(&v);
  assert_non_null(strstr(v.got, "\r\n\r\nok"));
  assert_non_null(strstr(v.got, "\r\n\r\nb"));
  assert_string_equal(web.last_service, "two");
  visit_close(&v);
  web_close(&web);
}

static void what_may_not_be_repeated_takes_no_stale_stream(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "GET /ok HTTP/1.1\r\n" ONE "\r\n");
  visit_until(&v, "\r\n\r\nok");
  world_run_ms(&web.world, EXCHANGE_IDLE_UNSAFE_MS + 150);
  visit_send(&v, "POST /a HTTP/1.1\r\n" ONE "Content-Length: 0\r\n\r\n");
  visit_until(&v, "\r\n\r\na");
  assert_int_equal(web.streams_opened, 2);
  visit_send(&v, "GET /b HTTP/1.1\r\n" ONE "\r\n");
  visit_until(&v, "\r\n\r\nb");
  assert_int_equal(web.streams_opened, 2);
  visit_close(&v);
  web_close(&web);
}

static void an_event_is_flushed_as_it_comes(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "GET /sse HTTP/1.1\r\n" ONE "\r\n");
  visit_until(&v, "\r\n\r\n9\r\ndata: 1\n\n\r\n");
  visit_close(&v);
  web_close(&web);
}

static void a_slow_reader_costs_no_memory_and_nobody_else(void **state) {
  static const char *const paths[] = {"/big", "/bigchunk", "/bigclose"};
  static const size_t sizes[] = {8000000, 8000000, 3000000};
  struct web web;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  for (size_t i = 0; i < 3; i++) {
    struct visit slow;
    char request[128];
    int small = 32768;
    visit_open(&slow, &web);
    setsockopt(slow.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" ONE "\r\n", paths[i]);
    visit_send(&slow, request);
    world_run_ms(&web.world, 100);
    assert_true(mdm_mux_budget_held(web.world.budget) <= 2u << 20);
    assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE CLOSE "\r\n"), 200);
    visit_until_size(&slow, sizes[i]);
    visit_close(&slow);
  }
  web_close(&web);
}

static void a_visitors_fin_reaches_the_origin_after_its_last_request(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "GET /ok HTTP/1.1\r\n" ONE "\r\nGET /silent HTTP/1.1\r\n" ONE "\r\n");
  shutdown(v.fd, SHUT_WR);
  visit_until(&v, "\r\n\r\nok");
  for (int i = 0; i < 100 && !web.fins; i++)
    world_run_ms(&web.world, 5);
  assert_int_equal(web.fins, 1);
  assert_int_equal(web.requests, 2);
  assert_int_equal(web.streams_reset, 0);
  visit_close(&v);
  web_close(&web);
}

static void a_visitor_that_leaves_resets_the_stream(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "GET /silent HTTP/1.1\r\n" ONE "\r\n");
  for (int i = 0; i < 100 && !web.requests; i++)
    world_run_ms(&web.world, 5);
  platform_socket_close(v.fd, true);
  v.fd = -1;
  for (int i = 0; i < 100 && !web.streams_reset; i++)
    world_run_ms(&web.world, 5);
  assert_int_equal(web.streams_reset, 1);
  assert_int_equal(web.ended, 1);
  assert_int_equal(web.last_status, 0);
  visit_close(&v);
  web_close(&web);
}

static void draining_ends_idle_visitors_and_lets_others_finish(void **state) {
  struct web web;
  struct visit idle, busy;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&idle, &web);
  visit_open(&busy, &web);
  visit_send(&idle, "GET /ok HTTP/1.1\r\n" ONE "\r\n");
  visit_until(&idle, "\r\n\r\nok");
  visit_send(&busy, "POST /ok HTTP/1.1\r\n" ONE "Content-Length: 2\r\n\r\n");
  world_run_ms(&web.world, 20);
  web.world.worker.draining = true;
  visitor_set_drain(web.world.worker.visitors);
  visit_until_end(&idle);
  visit_send(&busy, "xx");
  visit_until_end(&busy);
  assert_non_null(strstr(busy.got, "Connection: close\r\n\r\nok"));
  visit_close(&idle);
  visit_close(&busy);
  web_close(&web);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_kept_connection_uses_one_stream),
      cmocka_unit_test(each_pipelined_request_goes_to_its_own_host),
      cmocka_unit_test(bodies_are_framed_for_the_visitor),
      cmocka_unit_test(what_an_origin_says_too_much_reaches_nobody),
      cmocka_unit_test(a_body_waits_for_100_continue),
      cmocka_unit_test(an_upload_arrives_whole),
      cmocka_unit_test(upgrade_becomes_a_pipe_that_closes_by_halves),
      cmocka_unit_test(trailers_pass_unless_they_frame_or_route),
      cmocka_unit_test(an_upgrade_that_is_declined_leaves_plain_http),
      cmocka_unit_test(what_may_not_be_repeated_takes_no_stale_stream),
      cmocka_unit_test(an_event_is_flushed_as_it_comes),
      cmocka_unit_test(a_slow_reader_costs_no_memory_and_nobody_else),
      cmocka_unit_test(a_visitors_fin_reaches_the_origin_after_its_last_request),
      cmocka_unit_test(a_visitor_that_leaves_resets_the_stream),
      cmocka_unit_test(draining_ends_idle_visitors_and_lets_others_finish),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
