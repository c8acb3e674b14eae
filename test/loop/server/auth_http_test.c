/* auth_http_test.c: forward auth against a small server of the test: allows, denies, redirects, hangs, talks garbage, closes kept connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>
#include <uv.h>

#include "auth.h"
#include "auth_http.h"
#include "auth_pool.h"

#define TEXT(literal) {literal, sizeof(literal) - 1}

/* ---- the auth server ---- */
struct keeper {
  uv_tcp_t listener;
  uint16_t port;
  const char *answer;  /* NULL: says nothing */
  bool close_after;    /* hangs up after an answer that did not say so */
  unsigned connections, requests, open;
  char request[8192];
  struct peer *peers;
};

struct peer {
  uv_tcp_t tcp;
  uv_write_t write;
  struct keeper *keeper;
  struct peer *next;
  char text[8192];
  size_t size;
  bool closed;
};

static void peer_gone(uv_handle_t *handle) {
  struct peer *peer = handle->data;
  struct peer **at = &peer->keeper->peers;
  while (*at != peer) {
    at = &(*at)->next;
  }
  *at = peer->next;
  peer->keeper->open--;
  free(peer);
}

static void peer_close(struct peer *peer) {
  if (!peer->closed) {
    peer->closed = true;
    uv_close((uv_handle_t *)&peer->tcp, peer_gone);
  }
}

static void peer_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  struct peer *peer = handle->data;
  (void)suggested;
  *buf = uv_buf_init(peer->text + peer->size, (unsigned)(sizeof peer->text - 1 - peer->size));
}

static void peer_wrote(uv_write_t *write, int status) {
  struct peer *peer = write->data;
  (void)status;
  if (peer->keeper->close_after) {
    peer_close(peer);
  }
}

static bool request_whole(const char *text) {
  const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
  return end != NULL && strlen(end + 4) >= (length == NULL ? 0u : (size_t)atoi(length + 16));
}

static void peer_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  struct peer *peer = stream->data;
  struct keeper *keeper = peer->keeper;
  (void)buf;
  if (n < 0) {
    peer_close(peer);
    return;
  }
  peer->size += (size_t)n;
  peer->text[peer->size] = '\0';
  if (!request_whole(peer->text)) {
    return;
  }
  keeper->requests++;
  memcpy(keeper->request, peer->text, peer->size + 1);
  peer->size = 0;
  if (keeper->answer != NULL) {
    uv_buf_t out = uv_buf_init((char *)(uintptr_t)keeper->answer, (unsigned)strlen(keeper->answer));
    peer->write.data = peer;
    uv_write(&peer->write, stream, &out, 1, peer_wrote);
  }
}

static void keeper_accept(uv_stream_t *stream, int status) {
  struct keeper *keeper = stream->data;
  struct peer *peer = calloc(1, sizeof *peer);
  assert_int_equal(status, 0);
  peer->keeper = keeper;
  peer->next = keeper->peers;
  keeper->peers = peer;
  keeper->connections++;
  keeper->open++;
  uv_tcp_init(stream->loop, &peer->tcp);
  peer->tcp.data = peer;
  assert_int_equal(uv_accept(stream, (uv_stream_t *)&peer->tcp), 0);
  uv_read_start((uv_stream_t *)&peer->tcp, peer_alloc, peer_read);
}

/* ---- the bench ---- */
struct bench {
  struct net_loop loop;
  struct keeper keeper;
  struct auth_chain *chain;
  mdm_mux_budget *budget;
  struct server_config storage, *config;
};

static void bench_open(struct bench *bench, const struct mdm_auth_hook *hook, uint32_t deadline_ms) {
  static char user[] = "X-Auth-User", groups[] = "X-Auth-Groups";
  static char *fields[] = {user, groups};
  struct auth_hook_entry entry = {.hook = hook};
  struct sockaddr_in address;
  struct sockaddr_storage bound;
  int size = sizeof bound;
  char url[64], error[256];
  memset(bench, 0, sizeof *bench);
  bench->config = &bench->storage;
  bench->storage.auth_fields = fields;
  bench->storage.auth_fields_count = 2;
  bench->budget = mdm_mux_budget_new(1 << 20, NULL);
  assert_int_equal(net_loop_init(&bench->loop, NULL, mdm_mux_pool_new(bench->budget, NULL), NULL), 0);
  uv_tcp_init(bench->loop.uv, &bench->keeper.listener);
  bench->keeper.listener.data = &bench->keeper;
  uv_ip4_addr("127.0.0.1", 0, &address);
  assert_int_equal(uv_tcp_bind(&bench->keeper.listener, (struct sockaddr *)&address, 0), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&bench->keeper.listener, 128, keeper_accept), 0);
  assert_int_equal(uv_tcp_getsockname(&bench->keeper.listener, (struct sockaddr *)&bound, &size), 0);
  bench->keeper.port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
  snprintf(url, sizeof url, "http://127.0.0.1:%u/check?x=1", bench->keeper.port);
  struct auth_http *http;
  assert_int_equal(auth_http_open(&http, &bench->loop, url, &bench->config, error, sizeof error), 0);
  entry.self = http;
  assert_int_equal(auth_chain_open(&bench->chain, &bench->loop, &entry, 1, false, deadline_ms, error, sizeof error), 0);
}

static void bench_close(struct bench *bench) {
  mdm_mux_pool *pool = bench->loop.pool;
  auth_chain_close(bench->chain);
  uv_close((uv_handle_t *)&bench->keeper.listener, NULL);
  while (bench->keeper.open > 0) {
    uv_run(bench->loop.uv, UV_RUN_ONCE);
  }
  net_loop_clean(&bench->loop);
  mdm_mux_pool_free(pool);
  mdm_mux_budget_free(bench->budget);
}

struct result {
  unsigned count;
  enum auth_verdict verdict;
  int status;
  char user[64], reason[128], body[256], fields[512];
};

static void copy(char *out, size_t capacity, const struct mdm_text *text) {
  snprintf(out, capacity, "%.*s", (int)text->size, text->size == 0 ? "" : text->data);
}

static void list(char *out, size_t capacity, const struct mdm_auth_field *fields, size_t count) {
  for (size_t i = 0; i < count; i++) {
    size_t at = strlen(out);
    snprintf(out + at, capacity - at, "%.*s=%.*s;", (int)fields[i].name.size, fields[i].name.data, (int)fields[i].value.size, fields[i].value.data);
  }
}

static void done(enum auth_verdict verdict, const struct mdm_auth_answer *answer, void *user) {
  struct result *r = user;
  r->count++;
  r->verdict = verdict;
  r->status = answer->status;
  copy(r->user, sizeof r->user, &answer->user);
  copy(r->reason, sizeof r->reason, &answer->reason);
  copy(r->body, sizeof r->body, &answer->body);
  list(r->fields, sizeof r->fields, answer->origin_fields, answer->origin_fields_count);
  list(r->fields, sizeof r->fields, answer->answer_fields, answer->answer_fields_count);
}

static const struct mdm_auth_field visitor_fields[] = {
    {TEXT("Host"), TEXT("hello.tim.localhost")},
    {TEXT("Cookie"), TEXT("session=1")},
    {TEXT("Authorization"), TEXT("Bearer x")},
    {TEXT("Content-Length"), TEXT("5")},
    {TEXT("Transfer-Encoding"), TEXT("chunked")},
    {TEXT("Connection"), TEXT("X-Private, authorization")},
    {TEXT("X-Private"), TEXT("1")},
    {TEXT("X-Forwarded-For"), TEXT("6.6.6.6")},
    {TEXT("X_Forwarded_User"), TEXT("root")},
    {TEXT("If-None-Match"), TEXT("\"a\"")},
    {TEXT("Accept"), TEXT("text/html")},
};
static const struct mdm_auth_question visit_question = {
    .step = MDM_AUTH_VISIT,
    .address = {.family = 4, .bytes = {192, 0, 2, 7}},
    .method = TEXT("POST"),
    .request_target = TEXT("/path?q=1"),
    .host = TEXT("hello.tim.localhost"),
    .scheme = TEXT("https"),
    .fields = visitor_fields,
    .fields_count = sizeof visitor_fields / sizeof visitor_fields[0],
};

static struct result ask(struct bench *bench, const struct mdm_auth_question *question, const char *answer) {
  struct result result = {0};
  struct auth_ask *pending;
  bench->keeper.answer = answer;
  auth_chain_ask(bench->chain, question, done, &result, &pending);
  while (result.count == 0) {
    uv_run(bench->loop.uv, UV_RUN_ONCE);
  }
  assert_int_equal(result.count, 1);
  return result;
}

static struct result visit(struct bench *bench, const char *answer) {
  return ask(bench, &visit_question, answer);
}

static void two_hundred_allows_and_hands_configured_fields_on(void **state) {
  struct bench bench;
  (void)state;
  bench_open(&bench, &auth_http_visit_hook, 2000);
  struct result r = visit(&bench, "HTTP/1.1 200 OK\r\nX-Auth-User: tim\r\nX-Other: 1\r\nx-auth-groups: a, b\r\nContent-Length: 2\r\n\r\nok");
  assert_int_equal(r.verdict, AUTH_ALLOWED);
  assert_string_equal(r.fields, "X-Auth-User=tim;x-auth-groups=a, b;");
  r = visit(&bench, "HTTP/1.1 204 No Content\r\n\r\n");
  assert_int_equal(r.verdict, AUTH_ALLOWED);
  assert_int_equal(bench.keeper.connections, 1); /* kept */
  bench_close(&bench);
}

static void the_sub_request_says_what_is_asked(void **state) {
  static const char *const there[] = {"GET /check?x=1 HTTP/1.1\r\n", "\r\nHost: 127.0.0.1:", "\r\nX-Forwarded-Method: POST\r\n", "\r\nX-Forwarded-Proto: https\r\n",
                                      "\r\nX-Forwarded-Host: hello.tim.localhost\r\n", "\r\nX-Forwarded-Uri: /path?q=1\r\n", "\r\nX-Forwarded-For: 192.0.2.7\r\n",
                                      "\r\nCookie: session=1\r\n", "\r\nAuthorization: Bearer x\r\n", "\r\nAccept: text/html\r\n"};
  static const char *const gone[] = {"Content-Length", "Transfer-Encoding", "X-Private", "6.6.6.6", "X_Forwarded_User", "If-None-Match", "\r\nHost: hello"};
  struct bench bench;
  (void)state;
  bench_open(&bench, &auth_http_visit_hook, 2000);
  visit(&bench, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  for (size_t i = 0; i < sizeof there / sizeof there[0]; i++) {
    if (strstr(bench.keeper.request, there[i]) == NULL) {
      fail_msg("%s is not in %s", there[i], bench.keeper.request);
    }
  }
  for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++) {
    if (strstr(bench.keeper.request, gone[i]) != NULL) {
      fail_msg("%s is in %s", gone[i], bench.keeper.request);
    }
  }
  bench_close(&bench);
}

static void denials_go_to_the_visitor(void **state) {
  struct bench bench;
  (void)state;
  bench_open(&bench, &auth_http_visit_hook, 2000);
  struct result r = visit(&bench, "HTTP/1.1 302 Found\r\nLocation: https://login/\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n");
  assert_int_equal(r.verdict, AUTH_DENIED);
  assert_int_equal(r.status, 302);
  assert_string_equal(r.fields, "Location=https://login/;Set-Cookie=a=1;Set-Cookie=b=2;");
  r = visit(&bench, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nstop\r\n0\r\n\r\n");
  assert_int_equal(r.status, 401);
  assert_string_equal(r.fields, "WWW-Authenticate=Basic;");
  assert_string_equal(r.body, "stop");
  bench_close(&bench);
}

static void an_answer_that_ends_with_its_connection(void **state) {
  struct bench bench;
  (void)state;
  bench_open(&bench, &auth_http_visit_hook, 2000);
  bench.keeper.close_after = true;
  struct result r = visit(&bench, "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\n\r\nnot you");
  assert_int_equal(r.status, 403);
  assert_string_equal(r.body, "not you");
  bench_close(&bench);
}

static void anything_else_denies(void **state) {
  static char many[8192], big[200000];
  static const char *const answers[] = {"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
                                        "HTTP/1.1 304 Not Modified\r\n\r\n",              "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
                                        "garbage\r\n\r\n",                                 "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
                                        "HTTP/1.1 20",                                     "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
                                        "",                                                many,
                                        big};
  (void)state;
  size_t at = (size_t)snprintf(many, sizeof many, "HTTP/1.1 200 OK\r\n");
  for (unsigned i = 0; i < AUTH_REPLY_FIELDS + 1; i++) {
    at += (size_t)snprintf(many + at, sizeof many - at, "X-%u: 1\r\n", i);
  }
  snprintf(many + at, sizeof many - at, "Content-Length: 0\r\n\r\n");
  at = (size_t)snprintf(big, sizeof big, "HTTP/1.1 401 No\r\nContent-Length: 150000\r\n\r\n");
  memset(big + at, 'a', 150000);
  for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
    struct bench bench;
    bench_open(&bench, &auth_http_visit_hook, 2000);
    bench.keeper.close_after = true;
    struct result r = visit(&bench, answers[i]);
    if (r.verdict != AUTH_DENIED || r.status != 502) {
      fail_msg("%.40s: verdict %d status %d", answers[i], r.verdict, r.status);
    }
    bench_close(&bench);
  }
}

static void a_server_that_hangs_is_a_deadline(void **state) {
  struct bench bench;
  (void)state;
  bench_open(&bench, &auth_http_visit_hook, 150);
  assert_int_equal(visit(&bench, NULL).verdict, AUTH_TIMED_OUT);
  assert_int_equal(visit(&bench, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").verdict, AUTH_ALLOWED); /* on another connection */
  assert_int_equal(bench.keeper.connections, 2);
  bench_close(&bench);
}

static void nobody_there_denies(void **state) {
  struct bench bench;
  (void)state;
  bench_open(&bench, &auth_http_visit_hook, 2000);
  uv_close((uv_handle_t *)&bench.keeper.listener, NULL);
  uv_run(bench.loop.uv, UV_RUN_NOWAIT);
  struct result r = visit(&bench, NULL);
  assert_int_equal(r.verdict, AUTH_DENIED);
  assert_int_equal(r.status, 502);
  uv_tcp_init(bench.loop.uv, &bench.keeper.listener);
  bench_close(&bench);
}

static void a_kept_connection_that_died_is_replaced(void **state) {
  struct bench bench;
  (void)state;
  bench_open(&bench, &auth_http_visit_hook, 2000);
  assert_int_equal(visit(&bench, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").verdict, AUTH_ALLOWED);
  peer_close(bench.keeper.peers); /* and at once the next question */
  assert_int_equal(visit(&bench, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").verdict, AUTH_ALLOWED);
  assert_int_equal(bench.keeper.connections, 2);
  bench_close(&bench);
}

static void more_than_was_asked_for_ends_the_connection(void **state) {
  struct bench bench;
  (void)state;
  bench_open(&bench, &auth_http_visit_hook, 2000);
  assert_int_equal(visit(&bench, "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").status, 401);
  assert_int_equal(visit(&bench, "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").status, 401);
  assert_int_equal(bench.keeper.connections, 2);
  bench_close(&bench);
}

static void interim_answers_are_passed_over(void **state) {
  struct bench bench;
  (void)state;
  bench_open(&bench, &auth_http_visit_hook, 2000);
  struct result r = visit(&bench, "HTTP/1.1 103 Early Hints\r\nX-Auth-User: evil\r\n\r\nHTTP/1.1 200 OK\r\nX-Auth-User: tim\r\nContent-Length: 0\r\n\r\n");
  assert_int_equal(r.verdict, AUTH_ALLOWED);
  assert_string_equal(r.fields, "X-Auth-User=tim;");
  bench_close(&bench);
}

static void many_questions_share_a_bounded_pool(void **state) {
  enum { MANY = 300 };
  struct bench bench;
  struct result results[MANY];
  struct auth_ask *pending;
  unsigned told = 0;
  (void)state;
  memset(results, 0, sizeof results);
  bench_open(&bench, &auth_http_visit_hook, 5000);
  bench.keeper.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  for (unsigned i = 0; i < MANY; i++) {
    auth_chain_ask(bench.chain, &visit_question, done, &results[i], &pending);
  }
  while (told < MANY) {
    uv_run(bench.loop.uv, UV_RUN_ONCE);
    told = 0;
    for (unsigned i = 0; i < MANY; i++) {
      told += results[i].count;
    }
  }
  for (unsigned i = 0; i < MANY; i++) {
    assert_int_equal(results[i].verdict, AUTH_ALLOWED);
  }
  assert_true(bench.keeper.connections <= AUTH_POOL_CONNECTIONS);
  assert_int_equal(bench.keeper.requests, MANY);
  bench_close(&bench);
}

static void a_login_is_posted_as_json(void **state) {
  static const struct mdm_auth_question login = {
      .step = MDM_AUTH_LOGIN, .address = {.family = 4, .bytes = {192, 0, 2, 7}}, .user = TEXT("t\"im"), .client_name = TEXT("laptop"), .token = TEXT("secret")};
  struct bench bench;
  (void)state;
  bench_open(&bench, &auth_http_login_hook, 2000);
  struct result r = ask(&bench, &login, "HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{\"allow\":true,\"user\":\"tim\"}\n");
  assert_int_equal(r.verdict, AUTH_ALLOWED);
  assert_string_equal(r.user, "tim");
  assert_non_null(strstr(bench.keeper.request, "POST /check?x=1 HTTP/1.1\r\n"));
  assert_non_null(strstr(bench.keeper.request, "{\"step\":\"login\",\"user\":\"t\\u0022im\",\"client_name\":\"laptop\",\"address\":\"192.0.2.7\",\"token\":\"secret\""));
  r = ask(&bench, &login, "HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n{\"allow\":false,\"reason\":\"expired\"}");
  assert_int_equal(r.verdict, AUTH_DENIED);
  assert_int_equal(ask(&bench, &login, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").verdict, AUTH_DENIED);
  assert_int_equal(ask(&bench, &login, "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"allow\":\"true\"}").verdict, AUTH_DENIED);
  assert_int_equal(ask(&bench, &login, "HTTP/1.1 403 No\r\nContent-Length: 14\r\n\r\n{\"allow\":true}").verdict, AUTH_DENIED);
  assert_int_equal(ask(&bench, &login, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue").verdict, AUTH_DENIED);
  bench_close(&bench);
}

static void urls_are_judged(void **state) {
  static const char *const bad[] = {"", "x", "ftp://h/", "http://", "http:///x", "http://u@h/", "http://h:99999/", "http://h/a b", "http://h/#f"};
  struct net_loop loop;
  (void)state;
  assert_int_equal(net_loop_init(&loop, NULL, NULL, NULL), 0);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct auth_http *http;
    char error[256] = "";
    assert_int_equal(auth_http_open(&http, &loop, bad[i], NULL, error, sizeof error), -1);
    assert_true(error[0] != '\0');
  }
  net_loop_clean(&loop);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_hundred_allows_and_hands_configured_fields_on),
      cmocka_unit_test(the_sub_request_says_what_is_asked),
      cmocka_unit_test(denials_go_to_the_visitor),
      cmocka_unit_test(an_answer_that_ends_with_its_connection),
      cmocka_unit_test(anything_else_denies),
      cmocka_unit_test(a_server_that_hangs_is_a_deadline),
      cmocka_unit_test(nobody_there_denies),
      cmocka_unit_test(a_kept_connection_that_died_is_replaced),
      cmocka_unit_test(more_than_was_asked_for_ends_the_connection),
      cmocka_unit_test(interim_answers_are_passed_over),
      cmocka_unit_test(many_questions_share_a_bounded_pool),
      cmocka_unit_test(a_login_is_posted_as_json),
      cmocka_unit_test(urls_are_judged),
  };
  return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("auth_http", tests, NULL, NULL);
}
