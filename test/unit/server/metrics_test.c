/* metrics_test.c: what is counted of an exchange, and the text of Prometheus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_head.h"
#include "metrics.h"

static bool everybody(void *self, const char *user) {
  (void)self;
  return strncmp(user, "stranger", 8) != 0;
}

static void report(struct metrics *metrics, const char *user, int status, uint64_t took_us) {
  const struct exchange_observer *observer = metrics_observer(metrics);
  const struct http_head request = {0};
  const struct exchange_report done = {
      .request = &request, .user = user, .host = "", .service = "", .status = status, .started_us = 1000, .head_us = status == 0 ? 0 : 1000 + took_us,
      .end_us = 5000 + took_us, .request_bytes = 10, .response_bytes = 100,
  };
  observer->begin(observer, &done);
  observer->end(observer, &done);
}

static char *render(const struct metrics *metrics) {
  static const struct metrics_gauges gauges = {.version = "1.2.3", .visitors = 7, .agents = 2, .links = 3, .held_bytes = 5, .uptime_s = 1.5};
  size_t size;
  char *text = metrics_render(metrics, &gauges, &size);
  assert_non_null(text);
  assert_int_equal(strlen(text), size);
  return text;
}

static void has_line(const char *text, const char *line) {
  char whole[256];
  snprintf(whole, sizeof whole, "\n%s\n", line);
  if (strstr(text, whole) == NULL)
    fail_msg("no line %s in:\n%s", line, text);
}

static void test_requests_are_counted(void **state) {
  struct metrics *metrics;
  (void)state;
  assert_int_equal(metrics_new(&metrics, everybody, NULL), 0);
  report(metrics, "tim", 200, 900);
  report(metrics, "tim", 200, 3000);
  report(metrics, "tim", 502, 60000000);
  report(metrics, "", 404, 10);
  report(metrics, "sue", 0, 0);
  metrics_count(metrics, METRICS_CONNECTIONS);
  metrics_add(metrics, METRICS_DRAIN_CUT, 4);
  char *text = render(metrics);
  has_line(text, "mdm_tunnel_requests_total{code=\"200\"} 2");
  has_line(text, "mdm_tunnel_requests_total{code=\"0\"} 1");
  has_line(text, "mdm_tunnel_requests_total{code=\"502\"} 1");
  has_line(text, "mdm_tunnel_requests_active 0");
  has_line(text, "mdm_tunnel_response_bytes_total 500");
  has_line(text, "mdm_tunnel_user_requests_total{user=\"tim\"} 3");
  has_line(text, "mdm_tunnel_user_errors_total{user=\"tim\"} 1");
  has_line(text, "mdm_tunnel_user_errors_total{user=\"sue\"} 1");
  has_line(text, "mdm_tunnel_user_requests_total{user=\"other\"} 1");
  has_line(text, "mdm_tunnel_answer_seconds_bucket{le=\"0.001\"} 2");
  has_line(text, "mdm_tunnel_answer_seconds_bucket{le=\"0.005\"} 3");
  has_line(text, "mdm_tunnel_answer_seconds_bucket{le=\"30\"} 3");
  has_line(text, "mdm_tunnel_answer_seconds_bucket{le=\"+Inf\"} 4");
  has_line(text, "mdm_tunnel_answer_seconds_count 4");
  has_line(text, "mdm_tunnel_answer_seconds_sum 60.003910");
  has_line(text, "mdm_tunnel_connections_total 1");
  has_line(text, "mdm_tunnel_drain_cut_total 4");
  has_line(text, "mdm_tunnel_sessions 3");
  has_line(text, "mdm_tunnel_info{version=\"1.2.3\"} 1");
  free(text);
  metrics_free(metrics);
}

/* Any visitor can make up user names: only those that are users get numbers, and at most METRICS_USERS_MAX of them. */
static void test_users_are_bounded(void **state) {
  struct metrics *metrics;
  char user[32];
  unsigned lines = 0;
  (void)state;
  assert_int_equal(metrics_new(&metrics, everybody, NULL), 0);
  for (unsigned i = 0; i < METRICS_USERS_MAX + 50; i++) {
    snprintf(user, sizeof user, "u%u", i);
    report(metrics, user, 200, 1);
    snprintf(user, sizeof user, "stranger%u", i);
    report(metrics, user, 200, 1);
  }
  char *text = render(metrics);
  for (const char *at = text; (at = strstr(at, "mdm_tunnel_user_requests_total{")) != NULL; at++)
    lines++;
  assert_int_equal(lines, METRICS_USERS_MAX + 1);
  snprintf(user, sizeof user, "%u", 2 * 50 + METRICS_USERS_MAX);
  char line[128];
  snprintf(line, sizeof line, "mdm_tunnel_user_requests_total{user=\"other\"} %s", user);
  has_line(text, line);
  free(text);
  metrics_free(metrics);
}

static void test_every_series_has_help_and_type_once(void **state) {
  struct metrics *metrics;
  (void)state;
  assert_int_equal(metrics_new(&metrics, NULL, NULL), 0);
  char *text = render(metrics);
  char *rest = text, *line;
  char family[128] = "";
  while ((line = strsep(&rest, "\n")) != NULL && line[0] != '\0') {
    char name[128] = "";
    if (sscanf(line, "# HELP %127s", name) == 1) {
      assert_string_not_equal(name, family);
      snprintf(family, sizeof family, "%s", name);
    } else if (sscanf(line, "# TYPE %127s", name) == 1) {
      assert_string_equal(name, family);
    } else {
      assert_int_equal(sscanf(line, "%127[a-z_]", name), 1);
      assert_int_equal(strncmp(name, family, strlen(family)), 0);
    }
  }
  free(text);
  metrics_free(metrics);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_requests_are_counted),
      cmocka_unit_test(test_users_are_bounded),
      cmocka_unit_test(test_every_series_has_help_and_type_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
