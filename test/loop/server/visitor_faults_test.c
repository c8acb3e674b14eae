/* What goes wrong between a visitor and its service: told in truth, retried where that is safe, never a quiet half. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "web.h"

#define ONE "Host: one.tim.localhost\r\n"
#define CLOSE "Connection: close\r\n"
#define OK "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"

static const struct web_script scripts[] = {
    {.path = "/ok", .answer = OK},
    {.path = "/dienext", .answer = OK, .close_next = true},
    {.path = "/short", .answer = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 9\r\n\r\nshort", .then = WEB_FIN},
    {.path = "/shortchunk", .answer = "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", .then = WEB_FIN},
    {.path = "/resetclose", .answer = "HTTP/1.0 200 OK\r\nDate: x\r\n\r\nhalf", .then = WEB_RESET},
    {.path = "/badchunk", .answer = "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX"},
    {.path = "/badtrailer", .answer = "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n b\r\n\r\n"},
    {.path = "/eof", .answer = "", .then = WEB_FIN},
    {.path = "/reset", .answer = "", .then = WEB_RESET},
    {.path = "/junk", .answer = "SSH-2.0-x\r\n"},
    {.path = "/clte", .answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    {.path = "/101", .answer = "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"},
    {.path = "/101h2c", .answer = "HTTP/1.1 101 Go\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"},
    {.path = "/early", .answer = "HTTP/1.1 403 No\r\nDate: x\r\nContent-Length: 2\r\n\r\nno", .early = true},
    {.path = "/sse", .answer = "HTTP/1.1 200 OK\r\nDate: x\r\n\r\ndata: 1\n\n"},
    {.path = "/silent", .answer = "", .then = WEB_SILENT},
    {.path = NULL},
};

static void a_cut_answer_ends_in_a_reset(void **state) {
  static const char *const paths[] = {"/short", "/shortchunk", "/resetclose", "/badchunk", "/badtrailer"};
  struct web web;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
    struct visit v;
    char request[128];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" ONE "\r\n", paths[i]);
    visit_open(&v, &web);
    visit_send(&v, request);
    visit_until_end(&v);
    if (!v.rst)
      fail_msg("%s: no reset after %s", paths[i], v.got);
    assert_null(strstr(v.got, "0\r\n\r\n"));
    assert_string_not_equal(web.last_error, "");
    visit_close(&v);
  }
  web_close(&web);
}

static void an_origin_at_fault_is_502(void **state) {
  static const struct {
    const char *path, *token;
  } cases[] = {
      {"/eof", "connection_terminated"}, {"/reset", "connection_terminated"}, {"/junk", "http_protocol_error"},
      {"/clte", "http_protocol_error"},  {"/101", "http_upgrade_failed"},     {"/101h2c", "http_upgrade_failed"},
  };
  struct web web;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct visit v;
    char request[256];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" ONE CLOSE "\r\n", cases[i].path);
    visit_open(&v, &web);
    visit_send(&v, request);
    visit_until_end(&v);
    if (strncmp(v.got, "HTTP/1.1 502 ", 13) != 0 || !strstr(v.got, cases[i].token))
      fail_msg("%s: %s", cases[i].path, v.got);
    visit_close(&v);
  }
  web_close(&web);
}

static void a_kept_stream_that_died_is_retried_once_if_safe(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "GET /dienext HTTP/1.1\r\n" ONE "\r\n");
  visit_until(&v, "\r\n\r\nok");
  visit_clear(&v);
  visit_send(&v, "GET /dienext HTTP/1.1\r\n" ONE "\r\n");
  visit_until(&v, "\r\n\r\nok");
  assert_int_equal(web.streams_opened, 2);
  visit_clear(&v);
  visit_send(&v, "POST /ok HTTP/1.1\r\n" ONE "Content-Length: 2\r\n\r\nxx");
  visit_until(&v, "HTTP/1.1 502 ");
  assert_int_equal(web.streams_opened, 2);
  visit_close(&v);
  web_close(&web);
}

static void what_was_not_delivered_is_tried_again(void **state) {
  struct web web;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  web.refuse_next = MDM_RESET_SHUTDOWN;
  assert_int_equal(visit_status(&web, "DELETE /ok HTTP/1.1\r\n" ONE CLOSE "\r\n"), 200);
  assert_int_equal(web.streams_opened, 2);
  web.refuse_next = MDM_RESET_CONNECT;
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE CLOSE "\r\n"), 502);
  assert_int_equal(web.streams_opened, 3);
  web.refuse_next = MDM_RESET_TIMEOUT;
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE CLOSE "\r\n"), 504);
  web.refuse_next = MDM_RESET_LIMIT;
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE CLOSE "\r\n"), 503);
  web_close(&web);
}

static void an_empty_chunked_body_that_has_been_taken_is_not_tried_again(void **state) {
  struct web web;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  web.refuse_next = MDM_RESET_SHUTDOWN;
  assert_int_equal(visit_status(&web, "POST /ok HTTP/1.1\r\n" ONE CLOSE "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 503);
  assert_int_equal(web.streams_opened, 1);
  web_close(&web);
}

static void an_early_answer_is_relayed_and_the_connection_ends(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "POST /early HTTP/1.1\r\n" ONE "Content-Length: 100000\r\n\r\nhello");
  visit_until_end(&v);
  assert_non_null(strstr(v.got, "\r\n\r\nno"));
  assert_true(v.fin);
  visit_close(&v);
  visit_open(&v, &web);
  visit_send(&v, "POST /early HTTP/1.1\r\n" ONE "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  visit_until_end(&v);
  assert_non_null(strstr(v.got, "Connection: close\r\n\r\nno"));
  visit_close(&v);
  web_close(&web);
}

static void a_body_at_fault_is_refused_and_the_stream_reset(void **state) {
  static const char *const bodies[] = {"5\nhello\r\n0\r\n\r\n", "5\r\nhelloX", "00000000000000005\r\n", "0\r\nX: a\r\n b\r\n\r\n", "0\r\nX : a\r\n\r\n", "5;\001\r\n"};
  struct web web;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
    char request[256];
    snprintf(request, sizeof request, "POST /ok HTTP/1.1\r\n" ONE "Transfer-Encoding: chunked\r\n\r\n%s", bodies[i]);
    if (visit_status(&web, request) != 400)
      fail_msg("accepted: %s", bodies[i]);
  }
  assert_int_equal(web.streams_live, 0);
  web_close(&web);
}

static void refused_heads_open_nothing(void **state) {
  struct web web;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE " folded\r\n\r\n"), 400);
  assert_int_equal(visit_status(&web, "CONNECT one.tim.localhost:1 HTTP/1.1\r\nHost: one.tim.localhost:1\r\n\r\n"), 405);
  assert_int_equal(visit_status(&web, "PRI * HTTP/2.0\r\n\r\n"), 505);
  assert_int_equal(visit_status(&web, "GET /\r\n"), 400);
  assert_int_equal(web.streams_opened, 0);
  assert_int_equal(web.ended, 5);
  web_close(&web);
}

static void short_times(struct server_config *config) {
  config->timeouts.head_ms = 100;
  config->timeouts.idle_ms = 200;
  config->timeouts.answer_ms = 150;
  config->timeouts.hold_ms = 150;
  config->limits.request_body_bytes = 10;
}

static void slowness_has_its_own_answers(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, short_times, NULL, NULL);
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\nHost: one"), 408);
  assert_int_equal(visit_status(&web, "GET /silent HTTP/1.1\r\n" ONE CLOSE "\r\n"), 504);
  visit_open(&v, &web);
  visit_until_end(&v);
  assert_int_equal(v.size, 0);
  assert_true(v.fin);
  visit_close(&v);
  assert_int_equal(visit_status(&web, "POST /ok HTTP/1.1\r\n" ONE "Content-Length: 11\r\n\r\n"), 413);
  assert_int_equal(web.requests, 1);
  assert_int_equal(visit_status(&web, "POST /ok HTTP/1.1\r\n" ONE "Transfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n"), 413);
  web_close(&web);
}

static void a_request_waits_for_its_client_to_come_back(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  client_close(&web.client);
  world_run_ms(&web.world, 20);
  visit_open(&v, &web);
  visit_send(&v, "POST /ok HTTP/1.1\r\n" ONE CLOSE "Content-Length: 2\r\n\r\nxx");
  world_run_ms(&web.world, 50);
  assert_int_equal(v.size, 0);
  web_connect(&web);
  visit_until_end(&v);
  assert_non_null(strstr(v.got, "\r\n\r\nok"));
  visit_close(&v);
  web_close(&web);
}

static void a_client_that_stays_away_is_503(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, short_times, NULL, NULL);
  client_close(&web.client);
  world_run_ms(&web.world, 20);
  visit_open(&v, &web);
  visit_send(&v, "GET /ok HTTP/1.1\r\n" ONE CLOSE "\r\n");
  visit_until_end(&v);
  assert_non_null(strstr(v.got, "HTTP/1.1 503 "));
  assert_non_null(strstr(v.got, "\r\nRetry-After: "));
  visit_close(&v);
  web_close(&web);
}

static void a_link_lost_in_the_middle_cuts_or_tells(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, short_times, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "POST /silent HTTP/1.1\r\n" ONE CLOSE "Content-Length: 2\r\n\r\nxx");
  for (int i = 0; i < 100 && !web.requests; i++)
    world_run_ms(&web.world, 5);
  client_close(&web.client);
  visit_until_end(&v);
  assert_non_null(strstr(v.got, "HTTP/1.1 503 "));
  visit_close(&v);
  web_connect(&web);
  visit_open(&v, &web);
  visit_send(&v, "GET /sse HTTP/1.0\r\n" ONE "\r\n");
  visit_until(&v, "data: 1");
  client_close(&web.client);
  visit_until_end(&v);
  assert_true(v.rst); /* a close-delimited answer must not look whole */
  visit_close(&v);
  web_close(&web);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_cut_answer_ends_in_a_reset),
      cmocka_unit_test(an_origin_at_fault_is_502),
      cmocka_unit_test(a_kept_stream_that_died_is_retried_once_if_safe),
      cmocka_unit_test(what_was_not_delivered_is_tried_again),
      cmocka_unit_test(an_empty_chunked_body_that_has_been_taken_is_not_tried_again),
      cmocka_unit_test(an_early_answer_is_relayed_and_the_connection_ends),
      cmocka_unit_test(a_body_at_fault_is_refused_and_the_stream_reset),
      cmocka_unit_test(refused_heads_open_nothing),
      cmocka_unit_test(slowness_has_its_own_answers),
      cmocka_unit_test(a_request_waits_for_its_client_to_come_back),
      cmocka_unit_test(a_client_that_stays_away_is_503),
      cmocka_unit_test(a_link_lost_in_the_middle_cuts_or_tells),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
