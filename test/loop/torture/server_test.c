/* server_test.c: no memory in server/: settings, pages, heads written anew, names claimed, access log, users. */
#include "each.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "access_log.h"
#include "config.h"
#include "hello.h"
#include "http_write.h"
#include "metrics.h"
#include "pages.h"
#include "registry.h"
#include "users.h"

static char error[1024];

/* In place of agent.c. */
struct agent {
  const char *user;
  struct net_service service;
};
const char *agent_user(const struct agent *agent);
const struct net_service *agent_service(const struct agent *agent, uint32_t id);
const char *agent_user(const struct agent *agent) {
  return agent->user;
}
const struct net_service *agent_service(const struct agent *agent, uint32_t id) {
  return id == 0 ? NULL : &agent->service;
}

static struct mdm_text text(const char *string) {
  return (struct mdm_text){string, strlen(string)};
}

/* ---- settings ---- */
static int settings(void *arg) {
  static const char json[] = "{\"port\": 0, \"domain\": [\"a.example\", \"b.example\"], \"bind\": \"localhost\", \"trusted-proxy\": [\"10.0.0.0/8\", \"::1\"],"
                             "\"clash\": \"balance\", \"access-log\": \"-\", \"limits\": {\"head-bytes\": 4096}, \"timeouts\": {\"head\": 3}}";
  char words[][24] = {"--domain", "c.example", "--state-dir", "/tmp/x", "--auth-field", "x-user"}, *argv[7] = {0};
  struct server_config *now = NULL, *next = NULL;
  const char *names[8];
  (void)arg;
  for (size_t i = 0; i < 6; i++)
    argv[i] = words[i];
  int rc = server_config_load(&now, json, 6, argv, error, sizeof error);
  if (rc == CONFIG_OK)
    rc = server_config_load(&next, "{\"admin\": \"9090\", \"state-dir\": \"/tmp/y\"}", 0, NULL, error, sizeof error);
  if (rc == CONFIG_OK) {
    assert_true(server_config_fixed_changes(now, next, names, 8) >= 2);
    rc = server_config_keep_fixed(now, next) ? 0 : -1;
  }
  if (now != NULL)
    server_config_unref(now);
  if (next != NULL)
    server_config_unref(next);
  return rc;
}

static void a_configuration(void **state) {
  (void)state;
  each_allocation(settings, NULL, 60);
}

/* ---- pages ---- */
static int pages(void *arg) {
  static const char *const domains[] = {"a.example", "b.example"};
  static const struct page_entry entries[] = {{"hello", "http://hello.tim.a.example/"}, {"shop", "http://shop.tim.a.example/"}};
  const struct page_view view = {.accept = text(arg), .keep_alive = true};
  struct page_bytes bytes;
  for (int cause = 0; cause < PAGE_CAUSES; cause++) {
    const struct page_problem problem = {.cause = (enum page_cause)cause, .detail = "<script>", .host = "x.tim.a.example", .domains = domains, .domains_count = 2};
    if (page_problem(&bytes, &view, &problem) != 0) {
      assert_null(bytes.data);
      assert_int_equal(bytes.size, 0);
      return -1;
    }
    assert_true(bytes.head_size > 20 && bytes.size >= bytes.head_size);
    page_bytes_clean(&bytes);
  }
  if (page_list(&bytes, &view, "tim", entries, 2, 2) != 0)
    return -1;
  page_bytes_clean(&bytes);
  if (page_front(&bytes, &view, domains, 2) != 0)
    return -1;
  page_bytes_clean(&bytes);
  if (page_given(&bytes, &view, 302, NULL, 0, text("go")) != 0)
    return -1;
  page_bytes_clean(&bytes);
  return 0;
}

static void every_page(void **state) {
  static char accepts[][20] = {"text/html", "application/json", "*/*"};
  (void)state;
  for (size_t i = 0; i < 3; i++)
    each_allocation(pages, accepts[i], 30);
}

/* ---- heads: a steady request allocates nothing ---- */
static int heads(void *arg) {
  static const char raw_request[] = "GET /a?b HTTP/1.1\r\nHost: hello.tim.localhost\r\nX-A: 1\r\nConnection: x-a\r\n\r\n";
  static const char raw_answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-B: 1\r\n\r\n";
  const struct http_scan_limits limits = {.bytes = 8192, .fields = 100, .target = 1000};
  const struct mdm_address peer = {.family = 4, .bytes = {127, 0, 0, 1}};
  const struct forwarded_connection connection = {.peer = &peer, .peer_text = "127.0.0.1", .port = 80};
  struct http_scan scan;
  struct http_request request;
  struct http_answer answer;
  struct forwarded forwarded;
  const char *why;
  char bytes[4096];
  struct http_out out = {.data = bytes, .capacity = sizeof bytes};
  (void)arg;
  http_scan_init(&scan, HTTP_SCAN_REQUEST, &limits);
  assert_true(http_scan_run(&scan, raw_request, sizeof raw_request - 1) >= 0);
  assert_int_equal(http_request_judge(&request, &scan, &why), 0);
  forwarded_judge(&forwarded, &connection, NULL, 0, &scan);
  http_write_request(&out, &(struct http_request_rewrite){.scan = &scan, .request = &request, .forwarded = &forwarded});
  http_scan_init(&scan, HTTP_SCAN_ANSWER, &limits);
  assert_true(http_scan_run(&scan, raw_answer, sizeof raw_answer - 1) >= 0);
  assert_int_equal(http_answer_judge(&answer, &scan, false, &why), 0);
  http_write_answer(&out, &(struct http_answer_rewrite){.scan = &scan, .answer = &answer, .framing = HTTP_FRAMING_LENGTH, .keep_alive = true});
  assert_false(out.full);
  return 0;
}

static void heads_need_no_memory(void **state) {
  (void)state;
  failing_begin(0);
  assert_int_equal(heads(NULL), 0);
  (void)failing_end();
  assert_int_equal(failing_calls(), 0);
}

/* ---- names ---- */
static void hold_done(struct registry_hold *hold, bool live, void *user) {
  (void)hold, (void)live;
  ++*(unsigned *)user;
}

static int names(void *arg) {
  enum { COUNT = 40 };
  struct net_loop *loop = arg;
  struct registry *registry;
  struct agent tim = {.user = "tim"}, sue = {.user = "sue"};
  struct registry_hold *hold;
  struct registry_target target;
  bool may_hold;
  unsigned told = 0, waits = 0;
  char key[64];
  int rc = registry_new(&registry, loop);
  if (rc != 0)
    return rc;
  bool held[COUNT];
  for (unsigned i = 0; i < COUNT; i++) {
    snprintf(key, sizeof key, i % 4 ? "name-%u.tim" : "=name-%u.example.org", i);
    const int claimed = registry_claim(registry, key, i % 2 ? &tim : &sue, 1, i % 8 == 3);
    held[i] = claimed == 0;
    rc = claimed != 0 ? claimed : rc;
    assert_int_equal(registry_find(registry, key, &target, &may_hold) == REGISTRY_LIVE, held[i]);
  }
  if (registry_wait(registry, "later.tim", "tim", 1000, hold_done, &told, &hold) == 0)
    waits++;
  else
    rc = -1;
  if (registry_claim(registry, "later.tim", &tim, 2, false) == 0)
    registry_release(registry, "later.tim", &tim, true);
  else
    rc = -1;
  for (unsigned i = 0; i < COUNT; i++) {
    snprintf(key, sizeof key, i % 4 ? "name-%u.tim" : "=name-%u.example.org", i);
    registry_release(registry, key, i % 2 ? &tim : &sue, i % 3 == 0);
    assert_true(registry_find(registry, key, &target, &may_hold) != REGISTRY_LIVE);
  }
  registry_free(registry);
  assert_int_equal(told, waits); /* each that waits is told once */
  return rc;
}

static void names_claimed_and_released(void **state) {
  struct net_loop loop;
  (void)state;
  assert_int_equal(net_loop_init(&loop, NULL, NULL, NULL), 0);
  each_allocation(names, &loop, 40);
  net_loop_clean(&loop);
}

/* ---- access log ---- */
static int access_round(void *arg) {
  static struct http_field fields[] = {{{"User-Agent", 10}, {"a\"b", 3}}};
  const struct http_head request = {.method = {"GET", 3}, .target = {"/", 1}, .minor = 1, .fields = fields, .fields_count = 1};
  const struct exchange_report report = {.id = 1, .client = {.family = 4}, .request = &request, .host = "h", .user = "u", .service = "s", .scheme = "http", .status = 200, .error = ""};
  struct access_log *log = NULL;
  int rc = access_log_open(&log, arg, "/dev/null", ACCESS_JSON);
  if (rc == 0) {
    for (unsigned i = 0; i < 3; i++)
      access_log_observer(log)->end(access_log_observer(log), &report);
    rc = access_log_reopen(log, "/dev/null", ACCESS_COMBINED);
    access_log_observer(log)->end(access_log_observer(log), &report);
  }
  access_log_close(log);
  uv_run(((struct net_loop *)arg)->uv, UV_RUN_DEFAULT); /* it closes by way of a thread */
  return rc;
}

static void an_access_log(void **state) {
  struct net_loop loop;
  (void)state;
  assert_int_equal(net_loop_init(&loop, NULL, NULL, NULL), 0);
  each_allocation(access_round, &loop, 1);
  net_loop_clean(&loop);
}

/* ---- users ---- */
static int users_round(void *arg) {
  uint8_t fingerprint[32] = {0};
  char token[NET_TEXT_MAX + 1];
  struct users *users = NULL, *again = NULL;
  struct users_entry *entry;
  int rc = net_token_make(token, fingerprint);
  if (rc == 0)
    rc = users_new(&users);
  for (unsigned i = 0; rc == 0 && i < 6; i++) {
    char name[16];
    snprintf(name, sizeof name, "user%u", i);
    rc = users_add(users, name, token, "2026-11-21T06:00:00Z", &entry);
    if (rc == 0)
      rc = users_grant(entry, "app.example.org");
  }
  if (rc == 0)
    rc = users_save(users, arg, error, sizeof error);
  if (rc == 0)
    rc = users_load(&again, arg, error, sizeof error);
  if (rc == 0) {
    assert_int_equal(again->count, 6);
    assert_true(users_granted(again, "user3", "app.example.org"));
    assert_non_null(users_verify(again, token, strlen(token)));
  }
  users_free(users);
  users_free(again);
  unlink(arg);
  return rc;
}

static void a_user_file(void **state) {
  char directory[] = "/tmp/mdm-torture-XXXXXX", path[64];
  (void)state;
  assert_non_null(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/users.json", directory);
  each_allocation(users_round, path, 60);
  assert_int_equal(rmdir(directory), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_configuration),
      cmocka_unit_test(every_page),
      cmocka_unit_test(heads_need_no_memory),
      cmocka_unit_test(names_claimed_and_released),
      cmocka_unit_test(an_access_log),
      cmocka_unit_test(a_user_file),
  };
  failing_init();
  return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
