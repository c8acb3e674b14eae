/* setup_test.c: options that are refused before the first packet, and what the others become. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <sodium.h>

#include "setup.h"

static void wrong_options_end_with_a_sentence(void **state) {
  static const struct {
    const char *what;
    struct mdm_client_options options;
    enum mdm_client_status status;
    const char *says;
  } rows[] = {
      {"no user", {.credentials_file = NULL, .known_servers = "/k"}, MDM_CLIENT_USAGE, "-u NAME"},
      {"plaintext far away", {.user = "tim", .host = "example.com", .plaintext = true}, MDM_CLIENT_USAGE, "loopback"},
      {"plaintext by proxy",
       {.user = "tim", .plaintext = true, .proxy_url = "http://p:1"},
       MDM_CLIENT_USAGE,
       "loopback"},
      {"carrier", {.user = "tim", .carrier = "pigeon"}, MDM_CLIENT_USAGE, "pigeon"},
      {"address", {.user = "tim", .host = "ho st"}, MDM_CLIENT_USAGE, "ho st"},
      {"empty item", {.user = "tim", .host = "a,,b"}, MDM_CLIENT_USAGE, ""},
      {"fingerprint", {.user = "tim", .fingerprint = "SHA256:abc"}, MDM_CLIENT_USAGE, "--fingerprint"},
      {"token", {.token = "mdm1.damaged"}, MDM_CLIENT_USAGE, "damaged"},
      {"short token", {.token = "x"}, MDM_CLIENT_USAGE, "too short"},
      {"empty token", {.token = "", .user = "tim"}, MDM_CLIENT_USAGE, "empty"},
      {"proxy user alone", {.user = "tim", .proxy_username = "u"}, MDM_CLIENT_USAGE, "--proxy-url"},
      {"proxy url", {.user = "tim", .proxy_url = "socks5://p"}, MDM_CLIENT_USAGE, "proxy"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct setup setup;
    struct mdm_client_options options = rows[i].options;
    char error[1024] = "";
    options.known_servers = "/nonexistent/known_servers";
    if (options.user != NULL || options.token != NULL)
      options.credentials_file = NULL;
    enum mdm_client_status status = setup_make(&setup, &options, error, sizeof error);
    if (status != rows[i].status || strstr(error, rows[i].says) == NULL || error[0] == '\0')
      fail_msg("%s: %d, %s", rows[i].what, (int)status, error);
  }
}

static void a_list_of_servers_becomes_ways_to_reach_them(void **state) {
  static const struct {
    const char *host, *carrier;
    size_t count;
    enum net_carrier carriers[4];
    uint16_t ports[4];
  } rows[] = {
      {NULL, NULL, 1, {NET_CARRIER_TLS}, {8001}},
      {"example.com", NULL, 2, {NET_CARRIER_TLS, NET_CARRIER_WSS}, {8001, 443}},
      {"example.com:9000", "tls", 1, {NET_CARRIER_TLS}, {9000}},
      {"a.example, b.example:7000", "tls", 2, {NET_CARRIER_TLS, NET_CARRIER_TLS}, {8001, 7000}},
      {"wss://example.com/x", NULL, 1, {NET_CARRIER_WSS}, {443}},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct setup setup;
    struct mdm_client_options options = {
        .user = "tim", .host = rows[i].host, .carrier = rows[i].carrier, .known_servers = "/k"};
    char error[1024];
    assert_int_equal(setup_make(&setup, &options, error, sizeof error), MDM_CLIENT_OK);
    assert_int_equal(setup.tunnel.endpoints_count, rows[i].count);
    for (size_t k = 0; k < rows[i].count; k++) {
      assert_int_equal(setup.tunnel.endpoints[k].endpoint.carrier, rows[i].carriers[k]);
      assert_int_equal(setup.tunnel.endpoints[k].endpoint.port, rows[i].ports[k]);
    }
    setup_clean(&setup);
  }
}

static void both_ways_to_a_server_have_one_identity(void **state) {
  struct setup setup;
  struct mdm_client_options options = {.user = "tim", .host = "example.com", .port = 9001, .known_servers = "/k"};
  char error[1024];
  (void)state;
  assert_int_equal(setup_make(&setup, &options, error, sizeof error), MDM_CLIENT_OK);
  assert_int_equal(setup.tunnel.endpoints_count, 2);
  for (size_t i = 0; i < 2; i++) {
    assert_string_equal(setup.tunnel.endpoints[i].host, "example.com");
    assert_int_equal(setup.tunnel.endpoints[i].port, 9001);
  }
  setup_clean(&setup);
}

static void a_token_brings_its_pin(void **state) {
  struct setup setup;
  uint8_t fingerprint[32] = {7, 8, 9};
  char token[NET_TEXT_MAX + 1], error[1024];
  (void)state;
  assert_int_equal(net_token_make(token, fingerprint), 0);
  struct mdm_client_options options = {.token = token, .known_servers = "/k"};
  assert_int_equal(setup_make(&setup, &options, error, sizeof error), MDM_CLIENT_OK);
  assert_true(setup.tunnel.trust.pinned_by_token);
  assert_true(setup.tunnel.trust.bearer);
  assert_memory_equal(setup.tunnel.trust.token_pin, fingerprint, sizeof fingerprint);
  assert_string_equal(setup.tunnel.identity.user, "");
  setup_clean(&setup);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(wrong_options_end_with_a_sentence),
      cmocka_unit_test(a_list_of_servers_becomes_ways_to_reach_them),
      cmocka_unit_test(both_ways_to_a_server_have_one_identity),
      cmocka_unit_test(a_token_brings_its_pin),
  };
  return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("setup", tests, NULL, NULL);
}
