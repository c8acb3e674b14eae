/* Who the visitor is, by what trusted proxies say, and what the origin is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "forwarded.h"
#include "http_write.h"

static struct net_cidr trusted[2];

static void judge(struct forwarded *out, const char *fields, const char *peer, bool is_trusted, struct http_scan *scan, char text[static 1024]) {
  static struct mdm_address address;
  const struct http_scan_limits limits = {.bytes = 1024, .fields = 100, .target = 100};
  snprintf(text, 1024, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", fields);
  http_scan_init(scan, HTTP_SCAN_REQUEST, &limits);
  assert_int_equal(http_scan_run(scan, text, strlen(text)), HTTP_SCAN_DONE);
  assert_int_equal(net_address_parse(&address, peer, strlen(peer)), 0);
  const struct forwarded_connection connection = {.peer = &address, .peer_text = peer, .trusted = is_trusted, .port = 8000};
  forwarded_judge(out, &connection, trusted, 2, scan);
}

static void the_client_is_the_first_untrusted_from_the_right(void **state) {
  (void)state;
  static const struct {
    const char *fields, *client;
    bool trusted, https;
    uint16_t port;
  } cases[] = {
      {"X-Forwarded-For: 198.51.100.1\r\n", "10.0.0.1", false, false, 8000},
      {"", "10.0.0.1", true, false, 8000},
      {"X-Forwarded-For: 198.51.100.1\r\n", "198.51.100.1", true, false, 8000},
      {"X-Forwarded-For: 1.1.1.1, 198.51.100.1, 10.0.0.9\r\n", "198.51.100.1", true, false, 8000},
      {"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 198.51.100.1\r\n", "198.51.100.1", true, false, 8000},
      {"X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.3", true, false, 8000},
      {"X-Forwarded-For: nonsense, 10.0.0.2\r\n", "10.0.0.2", true, false, 8000},
      {"X-Forwarded-For: [2001:db8::1]:99\r\n", "2001:db8::1", true, false, 8000},
      {"X-Forwarded-For: 198.51.100.1:99\r\nX-Forwarded-Proto: https\r\n", "198.51.100.1", true, true, 443},
      {"X-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n", "10.0.0.1", true, true, 8443},
      {"X-Forwarded-Proto: https\r\n", "10.0.0.1", false, false, 8000},
      {"Forwarded: for=1.1.1.1, For=\"[2001:db8::1]:1\";proto=https;by=x\r\n", "2001:db8::1", true, true, 443},
      {"Forwarded: for=_hidden\r\n", "10.0.0.1", true, false, 8000},
  };
  static struct http_scan scan;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct forwarded f;
    char text[1024], client[NET_ADDRESS_TEXT];
    judge(&f, cases[i].fields, "10.0.0.1", cases[i].trusted, &scan, text);
    assert_string_equal(net_address_text(client, &f.client, false), cases[i].client);
    assert_int_equal(f.https, cases[i].https);
    assert_int_equal(f.port, cases[i].port);
  }
}

static void a_trusted_chain_is_continued(void **state) {
  (void)state;
  static struct http_scan scan;
  struct forwarded f;
  char text[1024], written[1024];
  judge(&f, "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Host: real\r\nForwarded: for=1.1.1.1\r\nX-Forwarded-Proto: https\r\n", "10.0.0.1", true, &scan, text);
  struct http_out out = {.data = written, .capacity = sizeof written - 1};
  forwarded_write(&out, &f, &scan, http_text("h"));
  written[out.size] = '\0';
  assert_string_equal(written, "X-Forwarded-For: 1.1.1.1, 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: real\r\n"
                               "X-Forwarded-Port: 443\r\nForwarded: for=1.1.1.1, for=10.0.0.1;host=\"h\";proto=https\r\n");
}

static void a_strangers_chain_is_dropped(void **state) {
  (void)state;
  static struct http_scan scan;
  struct forwarded f;
  char text[1024], written[1024];
  judge(&f, "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Host: real\r\nForwarded: for=1.1.1.1\r\n", "2001:db8::2", false, &scan, text);
  struct http_out out = {.data = written, .capacity = sizeof written - 1};
  forwarded_write(&out, &f, &scan, http_text("h"));
  written[out.size] = '\0';
  assert_string_equal(written, "X-Forwarded-For: 2001:db8::2\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n"
                               "X-Forwarded-Port: 8000\r\nForwarded: for=\"[2001:db8::2]\";host=\"h\";proto=http\r\n");
}

int main(void) {
  assert_int_equal(net_cidr_parse(&trusted[0], "10.0.0.0/8", 10), 0);
  assert_int_equal(net_cidr_parse(&trusted[1], "::1", 3), 0);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_client_is_the_first_untrusted_from_the_right),
      cmocka_unit_test(a_trusted_chain_is_continued),
      cmocka_unit_test(a_strangers_chain_is_dropped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
