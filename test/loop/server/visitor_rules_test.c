/* Who may visit, and what a service's owner, a hook and the server's own pages make of a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "visitor.h"
#include "web.h"

#define ONE "Host: one.tim.localhost\r\n"
#define TWO "Host: two.tim.localhost\r\n"
#define CLOSE "Connection: close\r\n"
#define OK "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"

static const struct web_script scripts[] = {
    {.path = "/ok", .answer = OK},
    {.path = "/foo", .answer = "HTTP/1.1 101 Go\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\nraw", .then = WEB_ECHO},
    {.path = "/.well-known/mdm-tunnel", .answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\norigin"},
    {.path = NULL},
};

static void give_password(struct net_service *one) {
  char hash[crypto_pwhash_STRBYTES];
  assert_int_equal(crypto_pwhash_str(hash, "secret", 6, crypto_pwhash_OPSLIMIT_MIN, crypto_pwhash_MEMLIMIT_MIN), 0);
  one->options.basic_auth = calloc(1, sizeof *one->options.basic_auth);
  one->options.basic_auth[0].user = strdup("ann");
  one->options.basic_auth[0].hash = strdup(hash);
  one->options.basic_auth_count = 1;
}

static void a_password_is_asked_for(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, give_password);
  visit_open(&v, &web);
  visit_send(&v, "GET /ok HTTP/1.1\r\n" ONE CLOSE "\r\n");
  visit_until_end(&v);
  assert_non_null(strstr(v.got, "HTTP/1.1 401 "));
  assert_non_null(strstr(v.got, "\r\nWWW-Authenticate: Basic realm="));
  visit_close(&v);
  /* ann:wrong, bob:secret, ann:secret (twice: asked of Argon2, then remembered), nonsense */
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE CLOSE "Authorization: Basic YW5uOndyb25n\r\n\r\n"), 401);
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE CLOSE "Authorization: Basic Ym9iOnNlY3JldA==\r\n\r\n"), 401);
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE CLOSE "Authorization: Basic ???\r\n\r\n"), 401);
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE CLOSE "Authorization: Bearer YW5uOnNlY3JldA==\r\n\r\n"), 401);
  assert_int_equal(web.requests, 0);
  for (int i = 0; i < 2; i++)
    assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE CLOSE "Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n"), 200);
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" TWO CLOSE "\r\n"), 200);
  web_close(&web);
}

static void visitors_leave_while_their_password_is_checked(void **state) {
  struct web web;
  (void)state;
  web_open(&web, scripts, NULL, NULL, give_password);
  for (int i = 0; i < 10; i++) {
    struct visit v;
    visit_open(&v, &web);
    visit_send(&v, "GET /ok HTTP/1.1\r\n" ONE CLOSE "Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n");
    visit_close(&v);
  }
  web_close(&web);
}

static void allow_nobody(struct net_service *one) {
  one->options.allow = calloc(1, sizeof *one->options.allow);
  one->options.allow_count = 1;
  assert_int_equal(net_cidr_parse(&one->options.allow[0], "192.0.2.0/24", 12), 0);
}

static void trust_loopback(struct server_config *config) {
  config->trusted = calloc(1, sizeof *config->trusted);
  config->trusted_count = 1;
  assert_int_equal(net_cidr_parse(&config->trusted[0], "127.0.0.0/8", 11), 0);
}

static void only_allowed_addresses_pass(void **state) {
  struct web web;
  (void)state;
  web_open(&web, scripts, trust_loopback, NULL, allow_nobody);
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE CLOSE "\r\n"), 403);
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE CLOSE "X-Forwarded-For: 192.0.2.1, 198.51.100.1\r\n\r\n"), 403);
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE CLOSE "X-Forwarded-For: 192.0.2.1\r\n\r\n"), 200);
  web_close(&web);
}

static void rewrite(struct net_service *one) {
  one->options.rewrite_host = NET_REWRITE_NAME;
  one->options.rewrite_name = strdup("inside:81");
  one->options.headers = calloc(2, sizeof *one->options.headers);
  one->options.headers[0] = (struct net_field){strdup("X-Key"), strdup("k")};
  one->options.headers[1] = (struct net_field){strdup("User-Agent"), NULL};
  one->options.headers_count = 2;
  one->options.response_headers = calloc(1, sizeof *one->options.response_headers);
  one->options.response_headers[0] = (struct net_field){strdup("X-Robots-Tag"), strdup("none")};
  one->options.response_headers_count = 1;
  one->options.upgrades = calloc(1, sizeof *one->options.upgrades);
  one->options.upgrades[0] = strdup("foo");
  one->options.upgrades_count = 1;
}

static void the_owner_sets_host_and_fields(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, rewrite);
  visit_open(&v, &web);
  visit_send(&v, "GET /ok HTTP/1.1\r\n" ONE CLOSE "X-Key: forged\r\nUser-Agent: x\r\n\r\n");
  visit_until_end(&v);
  assert_non_null(strstr(v.got, "\r\nX-Robots-Tag: none\r\n"));
  assert_non_null(strstr(web.head, "\r\nHost: inside:81\r\n"));
  assert_non_null(strstr(web.head, "\r\nX-Forwarded-Host: one.tim.localhost\r\n"));
  assert_non_null(strstr(web.head, "\r\nX-Key: k\r\n"));
  assert_null(strstr(web.head, "forged"));
  assert_null(strstr(web.head, "User-Agent"));
  visit_close(&v);
  web_close(&web);
}

static void listed_upgrades_pass(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, rewrite);
  visit_open(&v, &web);
  visit_send(&v, "GET /foo HTTP/1.1\r\n" ONE "Upgrade: foo\r\nConnection: Upgrade\r\n\r\n");
  visit_until(&v, "\r\n\r\nraw");
  visit_close(&v);
  visit_open(&v, &web);
  visit_send(&v, "GET /ok HTTP/1.1\r\n" ONE "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n\r\n");
  visit_until(&v, "\r\n\r\nok");
  assert_null(strcasestr(web.head, "upgrade"));
  assert_null(strcasestr(web.head, "http2"));
  visit_close(&v);
  web_close(&web);
}

/* ---- the hook ---- */
static const struct mdm_auth_field origin_fields[] = {{{"X-User", 6}, {"ann", 3}}, {{"X-Secret", 8}, {"no", 2}}};
static const struct mdm_auth_field login_fields[] = {{{"Location", 8}, {"/login", 6}}};

static int hook_open(void **self, struct uv_loop_s *loop, const char *json) {
  (void)loop;
  (void)json;
  *self = NULL;
  return 0;
}
static void hook_ask(void *self, const struct mdm_auth_question *q, struct mdm_auth_call *call) {
  struct mdm_auth_answer answer = {.allow = true};
  (void)self;
  if (q->step == MDM_AUTH_VISIT) {
    struct mdm_text path = q->request_target;
    if (path.size == 6 && memcmp(path.data, "/login", 6) == 0) {
      answer = (struct mdm_auth_answer){.status = 302, .answer_fields = login_fields, .answer_fields_count = 1};
    } else if (path.size == 5 && memcmp(path.data, "/deny", 5) == 0) {
      answer.allow = false;
    } else {
      answer.origin_fields = origin_fields;
      answer.origin_fields_count = 2;
      if (q->host.size == 9 && memcmp(q->host.data, "elsewhere", 9) == 0) {
        answer.user = (struct mdm_text){"tim", 3};
        answer.service = (struct mdm_text){"two", 3};
      }
    }
  } else {
    answer.user = q->user;
  }
  mdm_auth_answer(call, &answer);
}
static void hook_close(void *self) {
  (void)self;
}
static const struct mdm_auth_hook hook = {.abi = MDM_AUTH_ABI,
                                          .name = "test",
                                          .steps = MDM_AUTH_BIT(MDM_AUTH_LOGIN) | MDM_AUTH_BIT(MDM_AUTH_VISIT),
                                          .open = hook_open,
                                          .ask = hook_ask,
                                          .close = hook_close};
static const struct auth_hook_entry entry = {.hook = &hook};

static void name_fields(struct server_config *config) {
  config->auth_fields = calloc(1, sizeof *config->auth_fields);
  config->auth_fields[0] = strdup("X-User");
  config->auth_fields_count = 1;
}

static void the_hook_decides_routes_and_hands_fields_on(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, name_fields, &entry, NULL);
  visit_open(&v, &web);
  visit_send(&v, "GET /ok HTTP/1.1\r\n" ONE "X-User: root\r\nX_User: root\r\n\r\n");
  visit_until(&v, "\r\n\r\nok");
  assert_non_null(strstr(web.head, "\r\nX-User: ann\r\n"));
  assert_null(strstr(web.head, "root"));
  assert_null(strstr(web.head, "X-Secret"));
  visit_clear(&v);
  visit_send(&v, "POST /ok HTTP/1.1\r\n" ONE "Transfer-Encoding: chunked\r\n\r\n0\r\nX_User: root\r\nX-T: 1\r\n\r\n");
  visit_until(&v, "\r\n\r\nok");
  assert_string_equal(web.echo, "0\r\nX-T: 1\r\n\r\n");
  visit_clear(&v);
  visit_send(&v, "GET /ok HTTP/1.1\r\nHost: elsewhere\r\n\r\n");
  visit_until(&v, "\r\n\r\nok");
  assert_string_equal(web.last_service, "two");
  visit_clear(&v);
  visit_send(&v, "GET /login HTTP/1.1\r\n" ONE "\r\n");
  visit_until(&v, "\r\n\r\n");
  assert_non_null(strstr(v.got, "HTTP/1.1 302 Found\r\n"));
  assert_non_null(strstr(v.got, "\r\nLocation: /login\r\n"));
  visit_clear(&v);
  visit_send(&v, "GET /deny HTTP/1.1\r\n" ONE CLOSE "\r\n");
  visit_until_end(&v);
  assert_non_null(strstr(v.got, "HTTP/1.1 403 "));
  assert_int_equal(web.requests, 3);
  visit_close(&v);
  web_close(&web);
}

/* ---- pages ---- */
static void names_without_a_service_have_pages(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "GET / HTTP/1.1\r\nHost: tim.localhost:8000\r\nAccept: text/html\r\n" CLOSE "\r\n");
  visit_until_end(&v);
  assert_non_null(strstr(v.got, "HTTP/1.1 200 OK\r\n"));
  assert_non_null(strstr(v.got, "\"http://one.tim.localhost:8000/\""));
  assert_non_null(strstr(v.got, "\"http://two.tim.localhost:8000/\""));
  visit_close(&v);
  assert_int_equal(visit_status(&web, "GET / HTTP/1.1\r\nHost: localhost\r\n" CLOSE "\r\n"), 200);
  assert_int_equal(visit_status(&web, "GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\n" CLOSE "\r\n"), 404);
  assert_int_equal(visit_status(&web, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n" CLOSE "\r\n"), 405);
  assert_int_equal(visit_status(&web, "GET /.well-known/mdm-tunnel HTTP/1.1\r\nHost: localhost\r\n" CLOSE "\r\n"), 426);
  web_close(&web);
}

static void a_used_connection_may_become_a_link(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, NULL, NULL, NULL);
  visit_open(&v, &web);
  visit_send(&v, "GET /ok HTTP/1.1\r\n" ONE "\r\n");
  visit_until(&v, "\r\n\r\nok");
  visit_send(&v, "GET /.well-known/mdm-tunnel HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  visit_until(&v, "HTTP/1.1 101 ");
  visit_until(&v, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  assert_int_equal(visitor_set_count(web.world.worker.visitors), 0);
  assert_int_equal(web.last_status, 101);
  visit_close(&v);
  /* never on a user's service: there it is a path like any other */
  visit_open(&v, &web);
  visit_send(&v, "GET /.well-known/mdm-tunnel HTTP/1.1\r\n" ONE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  visit_until(&v, "\r\n\r\norigin");
  visit_close(&v);
  web_close(&web);
}

static void go_https(struct server_config *config) {
  trust_loopback(config);
  config->redirect_http = true;
}

static void plain_requests_are_sent_to_https(void **state) {
  struct web web;
  struct visit v;
  (void)state;
  web_open(&web, scripts, go_https, NULL, NULL);
  web.world.worker.public_https_port = 8443;
  visit_open(&v, &web);
  visit_send(&v, "GET /ok?x HTTP/1.1\r\nHost: one.tim.localhost:8000\r\n" CLOSE "\r\n");
  visit_until_end(&v);
  assert_non_null(strstr(v.got, "HTTP/1.1 308 "));
  assert_non_null(strstr(v.got, "\r\nLocation: https://one.tim.localhost:8443/ok?x\r\n"));
  visit_close(&v);
  assert_int_equal(visit_status(&web, "GET /ok HTTP/1.1\r\n" ONE "X-Forwarded-Proto: https\r\n" CLOSE "\r\n"), 200);
  assert_int_equal(visit_status(&web, "GET /.well-known/mdm-tunnel HTTP/1.1\r\nHost: localhost\r\n" CLOSE "\r\n"), 426);
  web_close(&web);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_password_is_asked_for),
      cmocka_unit_test(visitors_leave_while_their_password_is_checked),
      cmocka_unit_test(only_allowed_addresses_pass),
      cmocka_unit_test(the_owner_sets_host_and_fields),
      cmocka_unit_test(listed_upgrades_pass),
      cmocka_unit_test(the_hook_decides_routes_and_hands_fields_on),
      cmocka_unit_test(names_without_a_service_have_pages),
      cmocka_unit_test(a_used_connection_may_become_a_link),
      cmocka_unit_test(plain_requests_are_sent_to_https),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
