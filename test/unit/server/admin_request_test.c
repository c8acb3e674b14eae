/* admin_request_test.c: whom the admin listener answers: its own Host and Origin, two paths, strict heads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "admin_request.h"

static const struct mdm_address own = {.family = 4, .bytes = {127, 0, 0, 1}, .port = 9090};

static enum admin_wish wish(const char *text) {
  struct admin_request request;
  admin_request_parse(&request, text, strlen(text), &own);
  return request.wish;
}

static void test_table(void **state) {
  static const struct {
    const char *text;
    enum admin_wish wish;
  } cases[] = {
      {"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9090\r\n\r\n", ADMIN_METRICS},
      {"GET /metrics?x=y HTTP/1.1\r\nhost:\t127.0.0.1:9090 \r\n\r\n", ADMIN_METRICS},
      {"HEAD /healthz HTTP/1.1\r\nHost: localhost:9090\r\n\r\n", ADMIN_HEALTH},
      {"GET /healthz HTTP/1.0\r\nHost: [::1]:9090\r\nOrigin: http://localhost:9090\r\n\r\n", ADMIN_HEALTH},
      {"GET / HTTP/1.1\r\nHost: 127.0.0.1:9090\r\n\r\n", ADMIN_UNKNOWN},
      {"GET /metrics/ HTTP/1.1\r\nHost: 127.0.0.1:9090\r\n\r\n", ADMIN_UNKNOWN},
      {"POST /metrics HTTP/1.1\r\nHost: 127.0.0.1:9090\r\n\r\n", ADMIN_METHOD},
      /* a name that somebody pointed at 127.0.0.1 */
      {"GET /metrics HTTP/1.1\r\nHost: evil.example:9090\r\n\r\n", ADMIN_MISDIRECTED},
      {"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", ADMIN_MISDIRECTED},
      {"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n", ADMIN_MISDIRECTED},
      {"GET /metrics HTTP/1.1\r\nHost: 192.0.2.1:9090\r\n\r\n", ADMIN_MISDIRECTED},
      {"GET /metrics HTTP/1.1\r\nHost: localhost.evil.example:9090\r\n\r\n", ADMIN_MISDIRECTED},
      {"GET /metrics HTTP/1.1\r\nHost:\r\n\r\n", ADMIN_MISDIRECTED},
      {"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9090\r\nOrigin: http://evil.example\r\n\r\n", ADMIN_FORBIDDEN},
      {"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9090\r\nOrigin: null\r\n\r\n", ADMIN_FORBIDDEN},
      {"GET /metrics HTTP/1.1\r\nOrigin: http://localhost:9090\r\nHost: 127.0.0.1:9090\r\nOrigin: http://evil.example\r\n\r\n", ADMIN_FORBIDDEN},
      {"GET /metrics HTTP/1.1\r\n\r\n", ADMIN_BAD},
      {"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9090\r\nHost: 127.0.0.1:9090\r\n\r\n", ADMIN_BAD},
      {"GET /metrics HTTP/1.1\r\nHost : 127.0.0.1:9090\r\n\r\n", ADMIN_BAD},
      {"GET /metrics HTTP/1.1\r\nX: y\r\n Host: 127.0.0.1:9090\r\n\r\n", ADMIN_BAD},
      {"GET /metrics HTTP/1.1\r\nX: y\nHost: 127.0.0.1:9090\r\n\r\n", ADMIN_BAD},
      {"GET /metrics HTTP/1.1\r\nX: y\rHost: 127.0.0.1:9090\r\n\r\n", ADMIN_BAD},
      {"GET /metrics HTTP/2.0\r\nHost: 127.0.0.1:9090\r\n\r\n", ADMIN_BAD},
      {"GET /metrics\r\n\r\n", ADMIN_BAD},
      {"\r\n\r\n", ADMIN_BAD},
      {"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9090\r\n", ADMIN_MORE},
      {"", ADMIN_MORE},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (wish(cases[i].text) != cases[i].wish)
      fail_msg("%s: %d instead of %d", cases[i].text, wish(cases[i].text), cases[i].wish);
}

static void test_a_head_without_end_is_too_large(void **state) {
  char *text = malloc(ADMIN_HEAD_MAX);
  struct admin_request request;
  (void)state;
  memset(text, 'a', ADMIN_HEAD_MAX);
  admin_request_parse(&request, text, ADMIN_HEAD_MAX, &own);
  assert_int_equal(request.wish, ADMIN_TOO_LARGE);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_table),
      cmocka_unit_test(test_a_head_without_end_is_too_large),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
