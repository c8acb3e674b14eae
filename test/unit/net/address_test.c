/* address_test.c: addresses, ranges and host:port texts, by tables. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "address.h"

static void test_literals_parse_and_print(void **state) {
  static const struct {
    const char *text, *expected; /* NULL: refused */
  } table[] = {
      {"127.0.0.1", "127.0.0.1"},
      {"0.0.0.0", "0.0.0.0"},
      {"::1", "::1"},
      {"[::1]", "::1"},
      {"2001:DB8::0:1", "2001:db8::1"},
      {"::ffff:10.1.2.3", "10.1.2.3"},
      {"[::ffff:10.1.2.3]", "10.1.2.3"},
      {"", NULL},
      {"[]", NULL},
      {"[127.0.0.1]", NULL},
      {"127.0.0.1 ", NULL},
      {"127.1", NULL},
      {"0127.0.0.1", NULL},
      {"256.0.0.1", NULL},
      {"1.2.3.4.5", NULL},
      {":::1", NULL},
      {"fe80::1%eth0", NULL},
      {"localhost", NULL},
      {"1111:2222:3333:4444:5555:6666:7777:8888:9999", NULL},
      {"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000", NULL},
  };
  (void)state;
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    struct mdm_address address;
    char text[NET_ADDRESS_TEXT];
    const int error = net_address_parse(&address, table[i].text, strlen(table[i].text));
    if (!table[i].expected) {
      assert_int_not_equal(error, 0);
      continue;
    }
    assert_int_equal(error, 0);
    assert_string_equal(net_address_text(text, &address, false), table[i].expected);
    assert_int_equal(address.port, 0);
  }
}

static void test_text_with_port_brackets_ipv6(void **state) {
  char text[NET_ADDRESS_TEXT];
  struct mdm_address address;
  (void)state;
  assert_int_equal(net_address_parse(&address, "2001:db8::1", 11), 0);
  address.port = 65535;
  assert_string_equal(net_address_text(text, &address, true), "[2001:db8::1]:65535");
  assert_int_equal(net_address_parse(&address, "10.0.0.1", 8), 0);
  address.port = 80;
  assert_string_equal(net_address_text(text, &address, true), "10.0.0.1:80");
  address.family = 0;
  assert_string_equal(net_address_text(text, &address, true), "unknown");
}

static void test_mapped_sockaddr_becomes_ipv4(void **state) {
  struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
  struct mdm_address address;
  char text[NET_ADDRESS_TEXT];
  (void)state;
  inet_pton(AF_INET6, "::ffff:192.0.2.7", &in6.sin6_addr);
  net_address_from_sockaddr(&address, (const struct sockaddr *)&in6);
  assert_string_equal(net_address_text(text, &address, true), "192.0.2.7:443");
  const struct sockaddr other = {.sa_family = AF_UNIX};
  net_address_from_sockaddr(&address, &other);
  assert_int_equal(address.family, 0);
}

static void test_loopback(void **state) {
  static const struct {
    const char *text;
    bool loopback;
  } table[] = {{"127.0.0.1", true},  {"127.9.9.9", true}, {"::1", true},
               {"128.0.0.1", false}, {"::2", false},      {"::ffff:127.0.0.1", true}};
  (void)state;
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    struct mdm_address address;
    assert_int_equal(net_address_parse(&address, table[i].text, strlen(table[i].text)), 0);
    assert_int_equal(net_address_is_loopback(&address), table[i].loopback);
  }
}

static void test_ranges_contain_what_they_should(void **state) {
  static const struct {
    const char *cidr, *address;
    int inside; /* -1: the range is refused */
  } table[] = {
      {"10.0.0.0/8", "10.255.1.2", 1},
      {"10.0.0.0/8", "11.0.0.0", 0},
      {"10.9.8.7/8", "10.1.1.1", 1},
      {"0.0.0.0/0", "255.1.1.1", 1},
      {"0.0.0.0/0", "::1", 0},
      {"::/0", "127.0.0.1", 0},
      {"192.168.1.128/25", "192.168.1.127", 0},
      {"192.168.1.128/25", "192.168.1.128", 1},
      {"192.168.1.1", "192.168.1.1", 1},
      {"192.168.1.1", "192.168.1.2", 0},
      {"2001:db8::/32", "2001:db8:ffff::1", 1},
      {"2001:db8::/33", "2001:db8:8000::1", 0},
      {"::1", "::1", 1},
      {"::1/128", "::2", 0},
      {"::ffff:10.0.0.0/104", "10.3.3.3", 1},
      {"::ffff:10.0.0.0/8", "10.3.3.3", -1},
      {"10.0.0.0/33", "10.0.0.0", -1},
      {"10.0.0.0/", "10.0.0.0", -1},
      {"10.0.0.0/-1", "10.0.0.0", -1},
      {"10.0.0.0/08", "10.0.0.0", -1},
      {"/8", "10.0.0.0", -1},
      {"::/129", "::", -1},
      {"10.0.0.0/8/8", "10.0.0.0", -1},
      {"10.0.0.0/1000", "10.0.0.0", -1},
      {"", "10.0.0.0", -1},
  };
  (void)state;
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    struct net_cidr cidr;
    struct mdm_address address;
    const int error = net_cidr_parse(&cidr, table[i].cidr, strlen(table[i].cidr));
    assert_int_equal(error != 0, table[i].inside < 0);
    if (!error) {
      assert_int_equal(net_address_parse(&address, table[i].address, strlen(table[i].address)), 0);
      assert_int_equal(net_cidr_contains(&cidr, &address), table[i].inside);
      assert_int_equal(net_cidr_any(&cidr, 1, &address), table[i].inside);
      assert_false(net_cidr_any(&cidr, 0, &address));
    }
  }
}

static void test_host_and_port_split(void **state) {
  static const struct {
    const char *text, *host; /* NULL: refused */
    unsigned port;
  } table[] = {
      {"example.com", "example.com", 0},
      {"example.com:80", "example.com", 80},
      {"[::1]:8001", "::1", 8001},
      {"[::1]", "::1", 0},
      {"::1", "::1", 0},
      {"2001:db8::1", "2001:db8::1", 0},
      {"host:65535", "host", 65535},
      {"host:65536", NULL, 0},
      {"host:0", NULL, 0},
      {"host:", NULL, 0},
      {"host:+1", NULL, 0},
      {"host:8a", NULL, 0},
      {":80", NULL, 0},
      {"", NULL, 0},
      {"[]:80", NULL, 0},
      {"[::1", NULL, 0},
      {"[::1]80", NULL, 0},
      {"[::1]:", NULL, 0},
  };
  (void)state;
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    const char *host;
    size_t size;
    uint16_t port;
    const int error = net_host_port_split(table[i].text, strlen(table[i].text), &host, &size, &port);
    assert_int_equal(error != 0, table[i].host == NULL);
    if (!error) {
      assert_int_equal(size, strlen(table[i].host));
      assert_memory_equal(host, table[i].host, size);
      assert_int_equal(port, table[i].port);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_literals_parse_and_print),        cmocka_unit_test(test_text_with_port_brackets_ipv6),
      cmocka_unit_test(test_mapped_sockaddr_becomes_ipv4),    cmocka_unit_test(test_loopback),
      cmocka_unit_test(test_ranges_contain_what_they_should), cmocka_unit_test(test_host_and_port_split),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
