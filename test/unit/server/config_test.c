/* config_test.c: the settings: defaults, file, flags, the exact words of every refusal, and what a reload may change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "config_table.h"
#include "identity.h"

#define ARGS_MAX 12

static int load(struct server_config **config, const char *json, const char *const *args, char *error, size_t error_size) {
  char *argv[ARGS_MAX + 1] = {0};
  int argc = 0, status;
  for (; args != NULL && args[argc] != NULL; argc++)
    argv[argc] = strdup(args[argc]);
  status = server_config_load(config, json, argc, argv, error, error_size);
  for (int i = 0; i < argc; i++)
    free(argv[i]);
  return status;
}

static struct server_config *good(const char *json, const char *const *args) {
  struct server_config *config = NULL;
  char error[1024];
  int status = load(&config, json, args, error, sizeof error);
  if (status != CONFIG_OK)
    fail_msg("%s", error);
  return config;
}

static void test_defaults(void **state) {
  struct server_config *c = good(NULL, NULL);
  (void)state;
  assert_int_equal(c->port, 8000);
  assert_int_equal(c->client_port, 8001);
  assert_int_equal(c->https_port, 0);
  assert_int_equal(c->limits.head_bytes, 32768);
  assert_int_equal(c->timeouts.drain_ms, 30000);
  assert_int_equal(c->clash, CLASH_REJECT);
  assert_int_equal(c->binds_count, 0);
  assert_non_null(c->state_dir);
  server_config_unref(c);
}

static void test_every_kind_of_value_from_the_file(void **state) {
  struct server_config *c = good("{\"port\": 0, \"client-port\": 9001, \"domain\": [\"a.example\", \"b.example.\"], \"bind\": \"localhost\","
                                 "\"trusted-proxy\": [\"10.0.0.0/8\", \"::1\"], \"proxy-protocol\": true, \"clash\": \"balance\", \"hold\": 0.25,"
                                 "\"drain\": 60, \"access-log\": \"-\", \"access-log-format\": \"json\", \"verbose\": 2,"
                                 "\"limits\": {\"head-bytes\": 4096, \"held-bytes\": 5000000000}, \"timeouts\": {\"head\": 3, \"silence\": 20}}",
                                 NULL);
  (void)state;
  assert_int_equal(c->port, 0);
  assert_int_equal(c->client_port, 9001);
  assert_int_equal(c->domains_count, 2);
  assert_string_equal(c->domains[0], "a.example");
  assert_int_equal(c->binds_count, 1);
  assert_int_equal(c->trusted_count, 2);
  assert_int_equal(c->trusted[0].prefix, 8);
  assert_true(c->proxy_protocol);
  assert_int_equal(c->clash, CLASH_BALANCE);
  assert_int_equal(c->timeouts.hold_ms, 250);
  assert_int_equal(c->timeouts.drain_ms, 60000);
  assert_string_equal(c->access_log, "-");
  assert_int_equal(c->access_format, ACCESS_JSON);
  assert_int_equal(c->verbose, 2);
  assert_int_equal(c->limits.head_bytes, 4096);
  assert_true(c->limits.held_bytes == 5000000000u);
  assert_int_equal(c->timeouts.head_ms, 3000);
  assert_int_equal(c->timeouts.silence_ms, 20000);
  server_config_unref(c);
}

static void test_flags_win_over_the_file(void **state) {
  const char *const args[] = {"-p", "9000", "--client-port=9001", "--domain", "flag.example", "--domain=two.example", "-vv", "--drain", "1.5", NULL};
  struct server_config *c = good("{\"port\": 1, \"domain\": [\"file.example\"], \"drain\": 9, \"clash\": \"replace\"}", args);
  (void)state;
  assert_int_equal(c->port, 9000);
  assert_int_equal(c->client_port, 9001);
  assert_int_equal(c->domains_count, 2); /* the list of the flags replaces that of the file */
  assert_string_equal(c->domains[0], "flag.example");
  assert_string_equal(c->domains[1], "two.example");
  assert_int_equal(c->verbose, 2);
  assert_int_equal(c->timeouts.drain_ms, 1500);
  assert_int_equal(c->clash, CLASH_REPLACE);
  server_config_unref(c);
}

static void test_https_port_follows_certificates(void **state) {
  struct server_config *c = good("{\"tls-dir\": \"/tmp\"}", NULL);
  (void)state;
  assert_int_equal(c->https_port, 8443);
  server_config_unref(c);
  c = good("{\"tls-dir\": \"/tmp\", \"https-port\": 0}", NULL);
  assert_int_equal(c->https_port, 0);
  server_config_unref(c);
}

static void test_bad_command_lines(void **state) {
  static const struct {
    const char *args[4], *error;
  } cases[] = {
      {{"--nonsense"}, "unknown option --nonsense; --help lists them"},
      {{"-x"}, "unknown option -x; --help lists them"},
      {{"extra"}, "\"extra\" is no option; --help lists them"},
      {{"--"}, "\"--\" is no option; --help lists them"},
      {{"-p"}, "-p wants PORT"},
      {{"--port"}, "--port wants PORT"},
      {{"-p", "http"}, "-p must be a whole number from 0 to 65535, not \"http\""},
      {{"--port=70000"}, "--port must be a whole number from 0 to 65535, not \"70000\""},
      {{"--port=-1"}, "--port must be a whole number from 0 to 65535, not \"-1\""},
      {{"--port=1.5"}, "--port must be a whole number from 0 to 65535, not \"1.5\""},
      {{"--port="}, "--port is empty"},
      {{"--hold", "99999999"}, "--hold must be a number of seconds from 0 to 86400, not \"99999999\""},
      {{"--hold", "1.2.3"}, "--hold must be a number of seconds from 0 to 86400, not \"1.2.3\""},
      {{"--open=yes"}, "--open takes no value"},
      {{"--clash", "both"}, "--clash must be \"reject\", \"replace\" or \"balance\", not \"both\""},
      {{"--bind", "nowhere.example"}, "--bind must be an IP address, \"localhost\" or \"*\", not \"nowhere.example\""},
      {{"--domain", "*.example.com"}, "--domain must be a domain name such as example.com, without \"*.\", scheme or port, not \"*.example.com\""},
      {{"--domain", "a..b"}, "--domain must be a domain name such as example.com, without \"*.\", scheme or port, not \"a..b\""},
      {{"--trusted-proxy", "1.2.3.4/33"}, "--trusted-proxy must be an address or a range such as 10.0.0.0/8, not \"1.2.3.4/33\""},
      {{"--auth-plugin", "hook.so"}, "--auth-plugin must be an absolute path, not \"hook.so\""},
      {{"--auth-url", "ftp://x"}, "--auth-url must be an http:// or https:// address such as http://127.0.0.1:9100/check, not \"ftp://x\""},
      {{"--auth-url", "http:///x"}, "--auth-url must be an http:// or https:// address such as http://127.0.0.1:9100/check, not \"http:///x\""},
      {{"--auth-field", "X User"}, "--auth-field must be the name of a header field, not \"X User\""},
      {{"--admin", "0.0.0.0:9090"}, "--admin must be a loopback address such as 127.0.0.1:9090, not \"0.0.0.0:9090\": it has no password"},
      {{"--admin", "127.0.0.1"}, "--admin must be ADDRESS:PORT with an IP address, or a port, not \"127.0.0.1\""},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct server_config *config = NULL;
    char error[1024];
    assert_int_equal(load(&config, NULL, cases[i].args, error, sizeof error), CONFIG_USAGE);
    assert_string_equal(error, cases[i].error);
    assert_null(config);
  }
}

static void test_bad_files(void **state) {
  static const struct {
    const char *json, *error;
  } cases[] = {
      {"[]", "configuration:1: the file must hold an object: { \"port\": 8000, ... }"},
      {"{\n \"port\": \"x\"\n}", "configuration:2: \"port\": must be a whole number from 0 to 65535, not \"x\""},
      {"{\n\n \"port\": 65536\n}", "configuration:3: \"port\": must be a whole number from 0 to 65535, not 65536"},
      {"{\"port\": 1.5}", "configuration:1: \"port\": must be a whole number from 0 to 65535, not 1.5"},
      {"{\"port\": null}", "configuration:1: \"port\": must be a whole number from 0 to 65535, not null"},
      {"{\"open\": 1}", "configuration:1: \"open\": must be true or false, not 1"},
      {"{\"users\": [\"a\"]}", "configuration:1: \"users\": must be a text, not a list"},
      {"{\"users\": \"\"}", "configuration:1: \"users\": is empty"},
      {"{\"clash\": \"both\"}", "configuration:1: \"clash\": must be \"reject\", \"replace\" or \"balance\", not \"both\""},
      {"{\"domain\": {}}", "configuration:1: \"domain\": must be a text or a list of texts, not an object"},
      {"{\"domain\": [\n1]}", "configuration:2: \"domain[0]\": must hold texts only, not 1"},
      {"{\"limits\": []}", "configuration:1: \"limits\": must be an object, not a list"},
      {"{\"limits\": {\"head-bytes\": 10}}", "configuration:1: \"limits.head-bytes\": must be a whole number from 1024 to 4294967295, not 10"},
      {"{\"timeouts\": {\"head\": 0}}", "configuration:1: \"timeouts.head\": must be a number of seconds from 1 to 86400, not 0"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct server_config *config = NULL;
    char error[1024];
    assert_int_equal(load(&config, cases[i].json, NULL, error, sizeof error), CONFIG_WRONG);
    assert_string_equal(error, cases[i].error);
    assert_null(config);
  }
}

static void test_unknown_keys_are_named_with_their_line(void **state) {
  static const struct {
    const char *json, *begin;
  } cases[] = {
      {"{\n \"hold\": 5,\n \"prot\": 1\n}", "configuration:3: \"prot\": unknown key"},
      {"{\n \"limits\": {\n  \"head-byte\": 1\n }\n}", "configuration:3: \"limits.head-byte\": unknown key"},
      {"{\"config\": \"x\"}", "configuration:1: \"config\": unknown key"},
      {"{\"head-bytes\": 4096}", "configuration:1: \"head-bytes\": unknown key"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct server_config *config = NULL;
    char error[1024];
    assert_int_equal(load(&config, cases[i].json, NULL, error, sizeof error), CONFIG_WRONG);
    if (strncmp(error, cases[i].begin, strlen(cases[i].begin)) != 0)
      fail_msg("%s", error);
  }
}

static void test_rules_between_settings(void **state) {
  static const struct {
    const char *json, *error;
  } cases[] = {
      {"{\"tls-cert\": \"a\"}", "configuration:1: \"tls-cert\": tls-cert and tls-key belong together: tls-key is missing"},
      {"{\"link-key\": \"a\"}", "configuration:1: \"link-key\": link-cert and link-key belong together: link-cert is missing"},
      {"{\"redirect-http\": true}", "configuration:1: \"redirect-http\": redirect-http needs a certificate: give tls-cert and tls-key, or tls-dir"},
      {"{\"https-port\": 443}", "configuration:1: \"https-port\": https-port needs a certificate: give tls-cert and tls-key, or tls-dir"},
      {"{\"port\": 8001}", "configuration:1: \"port\": port, client-port and https-port must differ"},
      {"{\"tls-dir\": \"/x\", \"port\": 8443}", "configuration:1: \"port\": port, client-port and https-port must differ"},
      {"{\"proxy-protocol\": true}", "configuration:1: \"proxy-protocol\": proxy-protocol needs trusted-proxy: the header is taken only from addresses named there"},
      {"{\"plaintext\": true, \"bind\": \"0.0.0.0\"}", "configuration:1: \"plaintext\": plaintext is for loopback only: take bind away, or plaintext"},
      {"{\"tls-dir\": \"/nowhere\"}", "configuration:1: \"tls-dir\": tls-dir: cannot read /nowhere: no such file or directory"},
      {"{\"auth-config\": \"/x\"}", "configuration:1: \"auth-config\": auth-config is the configuration of auth-plugin, which is not given"},
      {"{\"timeouts\": {\"heartbeat\": 20}}", "timeouts: silence must be longer than heartbeat"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct server_config *config = NULL;
    char error[1024];
    assert_int_equal(load(&config, cases[i].json, NULL, error, sizeof error), CONFIG_WRONG);
    assert_string_equal(error, cases[i].error);
  }
}

static void test_help_and_version_come_before_everything(void **state) {
  static const char *const help[] = {"-h", "--nonsense", NULL}, *const version[] = {"-vV", NULL};
  struct server_config *config = NULL;
  char error[256];
  (void)state;
  assert_int_equal(load(&config, NULL, help, error, sizeof error), CONFIG_HELP);
  assert_int_equal(load(&config, NULL, version, error, sizeof error), CONFIG_VERSION);
  assert_null(config);
}

static void test_help_names_every_flag(void **state) {
  char *text = NULL;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  (void)state;
  server_config_help(out);
  fclose(out);
  for (size_t i = 0; i < config_table_size; i++) {
    char flag[64];
    snprintf(flag, sizeof flag, "--%s", config_table[i].name);
    if (config_table[i].section == NULL && strstr(text, flag) == NULL)
      fail_msg("%s is not in the help", flag);
  }
  free(text);
}

static char *read_text(const char *path) {
  char *text = NULL;
  size_t size;
  int status = net_file_read(path, 1u << 20, &text, &size);
  if (status != 0)
    fail_msg("%s: %d", path, status);
  return text;
}

static void test_every_key_is_documented(void **state) {
  char *page = read_text(MDM_SOURCE_DIR "/docs/configuration.md"), *manual = read_text(MDM_SOURCE_DIR "/server/mdm-tunnel-server.1");
  (void)state;
  for (size_t i = 0; i < config_table_size; i++) {
    const struct setting *s = &config_table[i];
    char text[96];
    snprintf(text, sizeof text, "`%s`", s->name);
    if (!s->no_file && strstr(page, text) == NULL)
      fail_msg("configuration.md lacks %s", text);
    snprintf(text, sizeof text, s->section == NULL ? "Fl -%s" : ".It Li %s", s->name);
    if (strstr(manual, text) == NULL)
      fail_msg("the manual lacks %s", text);
  }
  free(page);
  free(manual);
}

static void test_fixed_settings_keep_their_value(void **state) {
  struct server_config *now = good("{\"port\": 1, \"bind\": [\"127.0.0.1\"], \"state-dir\": \"/a\", \"hold\": 1}", NULL);
  struct server_config *next = good("{\"port\": 2, \"bind\": [\"127.0.0.1\", \"::1\"], \"state-dir\": \"/b\", \"hold\": 2, \"admin\": \"9090\"}", NULL);
  const char *names[16];
  (void)state;
  assert_int_equal(server_config_fixed_changes(now, now, names, 16), 0);
  assert_int_equal(server_config_fixed_changes(now, next, names, 16), 4);
  assert_string_equal(names[0], "port");
  assert_string_equal(names[1], "bind");
  assert_string_equal(names[2], "state-dir");
  assert_string_equal(names[3], "admin");
  assert_true(server_config_keep_fixed(now, next));
  assert_int_equal(next->port, 1);
  assert_int_equal(next->binds_count, 1);
  assert_string_equal(next->state_dir, "/a");
  assert_null(next->admin);
  assert_int_equal(next->timeouts.hold_ms, 2000);
  server_config_unref(now);
  server_config_unref(next);
}

static void test_admin_address(void **state) {
  struct mdm_address address;
  (void)state;
  assert_int_equal(server_config_admin_address("9090", &address), 0);
  assert_int_equal(address.port, 9090);
  assert_int_equal(address.family, 4);
  assert_int_equal(server_config_admin_address("[::1]:0", &address), 0);
  assert_int_equal(address.port, 0);
  assert_int_equal(address.family, 6);
  assert_int_equal(server_config_admin_address("localhost:80", &address), 0);
  assert_int_not_equal(server_config_admin_address("example.com:80", &address), 0);
  assert_int_not_equal(server_config_admin_address("::1:80", &address), 0);
  assert_int_not_equal(server_config_admin_address("127.0.0.1:", &address), 0);
  assert_int_not_equal(server_config_admin_address("99999", &address), 0);
  assert_int_not_equal(server_config_admin_address("", &address), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_defaults),
      cmocka_unit_test(test_every_kind_of_value_from_the_file),
      cmocka_unit_test(test_flags_win_over_the_file),
      cmocka_unit_test(test_https_port_follows_certificates),
      cmocka_unit_test(test_bad_command_lines),
      cmocka_unit_test(test_bad_files),
      cmocka_unit_test(test_unknown_keys_are_named_with_their_line),
      cmocka_unit_test(test_rules_between_settings),
      cmocka_unit_test(test_help_and_version_come_before_everything),
      cmocka_unit_test(test_help_names_every_flag),
      cmocka_unit_test(test_every_key_is_documented),
      cmocka_unit_test(test_fixed_settings_keep_their_value),
      cmocka_unit_test(test_admin_address),
  };
  setenv("HOME", "/tmp", 1);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
