/* endpoint_test.c: what -h and --proxy-url may say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "dial.h"

static void server_addresses(void **state) {
  (void)state;
  static const struct {
    const char *text, *carrier, *first, *second; /* first NULL: refused */
  } table[] = {
      {"example.com", NULL, "tls://example.com:8001", "wss://example.com:443/.well-known/mdm-tunnel"},
      {"Example.COM.", "auto", "tls://example.com:8001", "wss://example.com:443/.well-known/mdm-tunnel"},
      {"example.com:9", "auto", "tls://example.com:9", "wss://example.com:443/.well-known/mdm-tunnel"},
      {"example.com", "tls", "tls://example.com:8001", NULL},
      {"example.com", "ws", "wss://example.com:443/.well-known/mdm-tunnel",
       "ws://example.com:80/.well-known/mdm-tunnel"},
      {"example.com:8000", "ws", "wss://example.com:8000/.well-known/mdm-tunnel",
       "ws://example.com:8000/.well-known/mdm-tunnel"},
      {"localhost", "auto", "tls://localhost:8001", NULL},
      {"my.localhost", "auto", "tls://my.localhost:8001", NULL},
      {"127.0.0.2:7", "auto", "tls://127.0.0.2:7", NULL},
      {"[::1]:7", "auto", "tls://[::1]:7", NULL},
      {"::1", "auto", "tls://[::1]:8001", NULL},
      {"2001:db8::1", "tls", "tls://[2001:db8::1]:8001", NULL},
      {"[2001:db8::1]:99", "auto", "tls://[2001:db8::1]:99", "wss://[2001:db8::1]:443/.well-known/mdm-tunnel"},
      {"ws://h", "auto", "ws://h:80/.well-known/mdm-tunnel", NULL},
      {"http://h/", "ws", "ws://h:80/.well-known/mdm-tunnel", NULL},
      {"wss://h", "auto", "wss://h:443/.well-known/mdm-tunnel", NULL},
      {"HTTPS://h:8443/some/where?x=1", "auto", "wss://h:8443/some/where?x=1", NULL},
      {"wss://[::1]:5/p", "auto", "wss://[::1]:5/p", NULL},
      {"wss://h", "tls", NULL, NULL},
      {"h", "quic", NULL, NULL},
      {"", "auto", NULL, NULL},
      {"h:0x", "auto", NULL, NULL},
      {"h:65536", "auto", NULL, NULL},
      {"h:", "auto", NULL, NULL},
      {"a b", "auto", NULL, NULL},
      {"ftp://h", "auto", NULL, NULL},
      {"wss://", "auto", NULL, NULL},
      {"wss://user:pw@h", "auto", NULL, NULL},
      {"wss://h/a b", "auto", NULL, NULL},
      {"wss://h/\r\nX: y", "auto", NULL, NULL},
      {"wss://h/#frag", "auto", NULL, NULL},
      {"[::1", "auto", NULL, NULL},
      {"h..x", "auto", NULL, NULL},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    struct net_endpoint out[2];
    char error[512] = "", text[NET_ENDPOINT_TEXT];
    int count =
        net_endpoint_parse(out, table[i].text, strlen(table[i].text), 8001, table[i].carrier, error, sizeof error);
    if (table[i].first == NULL) {
      if (count != UV_EINVAL || error[0] == '\0') {
        fail_msg("\"%s\" was taken", table[i].text);
      }
      continue;
    }
    if (count != (table[i].second != NULL ? 2 : 1)) {
      fail_msg("\"%s\": %d, %s", table[i].text, count, error);
    }
    assert_string_equal(net_endpoint_text(text, &out[0]), table[i].first);
    if (table[i].second != NULL) {
      assert_string_equal(net_endpoint_text(text, &out[1]), table[i].second);
    }
  }
}

static void a_path_too_long_is_refused(void **state) {
  (void)state;
  char url[600] = "wss://h/";
  memset(url + 8, 'p', 400);
  struct net_endpoint out[2];
  assert_int_equal(net_endpoint_parse(out, url, strlen(url), 1, "auto", NULL, 0), UV_EINVAL);
}

static void loopback_names(void **state) {
  (void)state;
  static const struct {
    const char *host;
    bool loopback;
  } table[] = {
      {"localhost", true},   {"LOCALHOST.", true},     {"a.b.localhost", true}, {"127.9.9.9", true}, {"::1", true},
      {"xlocalhost", false}, {"localhost.com", false}, {"10.0.0.1", false},     {"::2", false},      {"", false}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    assert_int_equal(net_host_is_loopback(table[i].host), table[i].loopback);
  }
}

static void proxies(void **state) {
  (void)state;
  static const struct {
    const char *url, *user, *password;
    const char *host, *want_user, *want_password; /* host NULL: refused */
    unsigned port;
    bool tls;
  } table[] = {
      {"http://proxy", NULL, NULL, "proxy", NULL, NULL, 8080, false},
      {"proxy:3128", NULL, NULL, "proxy", NULL, NULL, 3128, false},
      {"http://proxy:3128/", "u", "p", "proxy", "u", "p", 3128, false},
      {"https://proxy", NULL, NULL, "proxy", NULL, NULL, 443, true},
      {"http://me:p%40ss@proxy:1", NULL, NULL, "proxy", "me", "p@ss", 1, false},
      {"http://me:x@proxy:1", "you", "y", "proxy", "you", "y", 1, false},
      {"http://[::1]:1", NULL, NULL, "::1", NULL, NULL, 1, false},
      {"socks5://proxy", NULL, NULL, NULL, NULL, NULL, 0, false},
      {"http://proxy/path", NULL, NULL, NULL, NULL, NULL, 0, false},
      {"", NULL, NULL, NULL, NULL, NULL, 0, false},
      {"http://proxy", NULL, "p", NULL, NULL, NULL, 0, false},
      {"http://proxy", "a:b", "p", NULL, NULL, NULL, 0, false},
      {"http://proxy", "a\r\nb", "p", NULL, NULL, NULL, 0, false},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    struct net_proxy out;
    char error[256] = "";
    int result = net_proxy_parse(&out, table[i].url, table[i].user, table[i].password, error, sizeof error);
    if (table[i].host == NULL) {
      assert_int_equal(result, UV_EINVAL);
      assert_string_not_equal(error, "");
      continue;
    }
    assert_int_equal(result, 0);
    assert_string_equal(out.host, table[i].host);
    assert_int_equal(out.port, table[i].port);
    assert_int_equal(out.tls, table[i].tls);
    assert_string_equal(out.user != NULL ? out.user : "-", table[i].want_user != NULL ? table[i].want_user : "-");
    assert_string_equal(out.password != NULL ? out.password : "-",
                        table[i].want_password != NULL ? table[i].want_password : "-");
    net_proxy_clean(&out);
    assert_null(out.password);
  }
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(server_addresses),
      cmocka_unit_test(a_path_too_long_is_refused),
      cmocka_unit_test(loopback_names),
      cmocka_unit_test(proxies),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
