/* names_test.c: from a Host to a route, as a table; URLs; custom domains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "names.h"

#define L61 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffg"

struct expectation {
  const char *host;
  enum route_kind kind;
  const char *service, *user;
  const char *folded; /* NULL: not looked at */
  uint16_t port;
};

static void check(const char *const *domains, size_t count, const struct expectation *table, size_t rows) {
  for (size_t i = 0; i < rows; i++) {
    const struct expectation *e = &table[i];
    struct route route;
    names_route(&route, domains, count, e->host, strlen(e->host));
    const char *service = e->service == NULL ? "" : e->service, *user = e->user == NULL ? "" : e->user;
    if (route.kind != e->kind || strcmp(route.service, service) != 0 || strcmp(route.user, user) != 0 || route.port != e->port ||
        (e->folded != NULL && strcmp(route.host, e->folded) != 0)) {
      fail_msg("\"%s\": kind %d service \"%s\" user \"%s\" host \"%s\" port %u", e->host, route.kind, route.service, route.user, route.host, route.port);
    }
  }
}

static void without_domains_the_labels_decide(void **state) {
  static const struct expectation table[] = {
      {"hello-world.tim.localhost.dev:8000", ROUTE_SERVICE, "hello-world", "tim", "hello-world.tim.localhost.dev", 8000},
      {"name.user.example.com", ROUTE_SERVICE, "name", "user", NULL, 0},
      {"name.user.eu.example.com", ROUTE_SERVICE, "name", "user", NULL, 0},
      {"user.example.com", ROUTE_USER, NULL, "user", NULL, 0},
      {"hello--tim.example.com", ROUTE_SERVICE, "hello", "tim", NULL, 0},
      {"hello--tim.eu.example.com", ROUTE_SERVICE, "hello", "tim", NULL, 0},
      {"example.com", ROUTE_FOREIGN, NULL, NULL, "example.com", 0},
      {"host", ROUTE_FOREIGN, NULL, NULL, "host", 0},
      {"__proto__.tim", ROUTE_FOREIGN, NULL, NULL, "__proto__.tim", 0},
      {"__proto__.tim.example.com", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"xn--bcher-kva.tim.example.com", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"1.2.3.4.5", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"a.b.c.999", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"a.tim..com", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
  };
  (void)state;
  check(NULL, 0, table, sizeof table / sizeof table[0]);
}

static void localhost_works_by_suffix(void **state) {
  static const char *const domains[] = {"example.com"};
  static const struct expectation table[] = {
      {"svc.user.localhost", ROUTE_SERVICE, "svc", "user", NULL, 0},
      {"svc--user.localhost:80", ROUTE_SERVICE, "svc", "user", NULL, 80},
      {"user.localhost", ROUTE_USER, NULL, "user", NULL, 0},
      {"localhost", ROUTE_SELF, NULL, NULL, "localhost", 0},
      {"localhost.", ROUTE_SELF, NULL, NULL, "localhost", 0},
      {"LOCALHOST:1", ROUTE_SELF, NULL, NULL, "localhost", 1},
      {"a.b.c.localhost", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"notlocalhost", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
  };
  (void)state;
  check(NULL, 0, table, sizeof table / sizeof table[0]);
  check(domains, 1, table, sizeof table / sizeof table[0]);
}

static void configured_domains_rule(void **state) {
  static const char *const domains[] = {"Example.com.", "eu.example.com"};
  static const struct expectation table[] = {
      {"example.com", ROUTE_SELF, NULL, NULL, NULL, 0},
      {"eu.example.com", ROUTE_SELF, NULL, NULL, NULL, 0},
      {"tim.example.com", ROUTE_USER, NULL, "tim", NULL, 0},
      {"api.tim.example.com", ROUTE_SERVICE, "api", "tim", NULL, 0},
      {"api.tim.eu.example.com", ROUTE_SERVICE, "api", "tim", NULL, 0},
      {"tim.eu.example.com", ROUTE_USER, NULL, "tim", NULL, 0},
      {"api--tim.example.com", ROUTE_SERVICE, "api", "tim", NULL, 0},
      {"API.Tim.EXAMPLE.com.:8443", ROUTE_SERVICE, "api", "tim", "api.tim.example.com", 8443},
      {"x.api.tim.example.com", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"notexample.com", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"name.user.other.org", ROUTE_FOREIGN, NULL, NULL, "name.user.other.org", 0},
      {"app.example.org", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
  };
  (void)state;
  check(domains, 2, table, sizeof table / sizeof table[0]);
}

static void labels_are_judged(void **state) {
  static const char *const domains[] = {"d.test"};
  static const struct expectation table[] = {
      {"-a.tim.d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"a-.tim.d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"a_b.tim.d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"a--b.tim.d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"a--b--c.d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"a---b.d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"--b.d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"a--.d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"xn--p1ai.d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"XN--p1ai.d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {L61 ".d.test", ROUTE_USER, NULL, L61, NULL, 0},
      {L61 "h.d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"a." L61 ".d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0}, /* together over 61 */
      {L61 L61 ".d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"tim..d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {".d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"..", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"a%00b.tim.d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
      {"\xc3\xa4.tim.d.test", ROUTE_FOREIGN, NULL, NULL, NULL, 0},
  };
  (void)state;
  check(domains, 1, table, sizeof table / sizeof table[0]);
}

static void literals_are_the_server_itself(void **state) {
  static const struct expectation table[] = {
      {"127.0.0.1:8000", ROUTE_SELF, NULL, NULL, "127.0.0.1", 8000}, {"192.0.2.1", ROUTE_SELF, NULL, NULL, NULL, 0},
      {"[::1]", ROUTE_SELF, NULL, NULL, "[::1]", 0},                 {"[::1]:8000", ROUTE_SELF, NULL, NULL, "[::1]", 8000},
      {"[2001:DB8::1]:1", ROUTE_SELF, NULL, NULL, "[2001:db8::1]", 1},
  };
  (void)state;
  check(NULL, 0, table, sizeof table / sizeof table[0]);
}

static void what_is_no_host_is_invalid(void **state) {
  static const char *const hosts[] = {"", " a", "a b", "a\tb", "a:b", "a:70000", "a:123456", "a:1:2", "[::1", "[::1]x", "[]", "[127.0.0.1]", "[x]",
                                      "::1", "a/b", "u@h", "a,b?", "h#", "a\\b", "<x>", "\"a\"", "\x7f", "a\x01", ":80",
                                      "a.tim.localhost..", "a.tim.d.test..:80", "..."};
  struct route route;
  char big[NAMES_HOST_MAX + 2];
  (void)state;
  for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
    names_route(&route, NULL, 0, hosts[i], strlen(hosts[i]));
    if (route.kind != ROUTE_INVALID) {
      fail_msg("\"%s\" is taken for kind %d", hosts[i], route.kind);
    }
    assert_int_not_equal(route.kind, ROUTE_SERVICE);
  }
  names_route(&route, NULL, 0, "a\0b", 3);
  assert_int_equal(route.kind, ROUTE_INVALID);
  memset(big, 'a', sizeof big);
  names_route(&route, NULL, 0, big, sizeof big);
  assert_int_equal(route.kind, ROUTE_INVALID);
  memset(big, '.', sizeof big);
  big[NAMES_HOST_MAX - 1] = 'a';
  names_route(&route, NULL, 0, big, NAMES_HOST_MAX);
  assert_int_equal(route.kind, ROUTE_FOREIGN);
}

static void a_guessed_route_leaves_room_for_a_custom_domain(void **state) {
  static const char *const domains[] = {"example.com"};
  struct route route;
  (void)state;
  names_route(&route, NULL, 0, "app.example.org", 15);
  assert_int_equal(route.kind, ROUTE_USER);
  assert_false(route.fixed);
  names_route(&route, domains, 1, "app.example.com", 15);
  assert_true(route.fixed);
  names_route(&route, NULL, 0, "a.b.localhost", 13);
  assert_true(route.fixed);
}

static void custom_domains(void **state) {
  static const char *const domains[] = {"example.com"};
  static const char *const good[] = {"app.example.org", "example.org", "a.b.c.d.example.org", "xn--bcher-kva.example"};
  static const char *const bad[] = {"app.example.com", "example.com", "a.localhost", "localhost", "org", "127.0.0.1", "[::1]", "App.example.org",
                                    "a..b", "a_b.org", "-a.org", "app.example.org:80", "app.example.org.", "", "a b.org", "*.example.org", "1.2.3.4.5"};
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    assert_true(names_custom_valid(domains, 1, good[i]));
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    if (names_custom_valid(domains, 1, bad[i])) {
      fail_msg("%s", bad[i]);
    }
  }
}

static void reserved_labels(void **state) {
  (void)state;
  assert_true(names_reserved("www"));
  assert_true(names_reserved("Admin"));
  assert_true(names_reserved("api"));
  assert_false(names_reserved("tim"));
  assert_false(names_reserved(""));
}

static void keys_and_urls(void **state) {
  char key[NAMES_KEY_MAX + 1], url[256];
  (void)state;
  names_key_service(key, "Tim", "API");
  assert_string_equal(key, "api.tim");
  names_key_domain(key, "App.Example.org.");
  assert_string_equal(key, "=app.example.org");
  names_url(url, sizeof url, "http", NULL, 8000, "tim", "api", false);
  assert_string_equal(url, "http://api.tim.localhost:8000");
  names_url(url, sizeof url, "https", "example.com", 443, "tim", "api", true);
  assert_string_equal(url, "https://api--tim.example.com");
  names_url(url, sizeof url, "http", "example.com", 80, "tim", "", false);
  assert_string_equal(url, "http://tim.example.com");
  names_url(url, sizeof url, "http", "example.com", 443, "tim", "a", false);
  assert_string_equal(url, "http://a.tim.example.com:443");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_domains_the_labels_decide),
      cmocka_unit_test(localhost_works_by_suffix),
      cmocka_unit_test(configured_domains_rule),
      cmocka_unit_test(labels_are_judged),
      cmocka_unit_test(literals_are_the_server_itself),
      cmocka_unit_test(what_is_no_host_is_invalid),
      cmocka_unit_test(a_guessed_route_leaves_room_for_a_custom_domain),
      cmocka_unit_test(custom_domains),
      cmocka_unit_test(reserved_labels),
      cmocka_unit_test(keys_and_urls),
  };
  return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
