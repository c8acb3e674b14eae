/* options_test.c: command line, environment and the long form of the services file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <uv.h>

#include "identity.h"
#include "mdm/client.h"
#include "options.h"

#define ARGUMENTS_MAX 16

struct command_line {
  char text[512];
  char *argv[ARGUMENTS_MAX + 2];
  int argc;
};

/* Splits at spaces; "_" alone stands for an empty argument. */
static void split(struct command_line *line, const char *text) {
  line->argc = 0;
  line->argv[line->argc++] = (char *)"mdm-tunnel-client";
  snprintf(line->text, sizeof line->text, "%s", text);
  for (char *word = strtok(line->text, " "); word != NULL; word = strtok(NULL, " ")) {
    assert_true(line->argc <= ARGUMENTS_MAX);
    line->argv[line->argc++] = strcmp(word, "_") == 0 ? word + 1 : word;
  }
  line->argv[line->argc] = NULL;
}

static int read_line(struct options *options, const char *text, char error[static 512]) {
  struct command_line line;
  split(&line, text);
  error[0] = '\0';
  options_init(options);
  /* Services point into argv, which ends here: only their number is looked at by the callers of this. */
  return options_read_arguments(options, line.argc, line.argv, error, 512);
}

static void both_spellings_of_the_flags(void **state) {
  static const char *const lines[] = {
      "-u tim -h example.com -p 9000 -c /x",
      "-i tim -h example.com -p 9000 -s /x",
      "--user tim --server example.com --port 9000 --config /x",
      "--id=tim --server=example.com --port=9000 --service-definitions=/x",
      "-utim -hexample.com -p9000 -c/x",
      "-vutim -h example.com -qp 9000 -s /x",
  };
  (void)state;
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    struct options options;
    char error[512];
    assert_int_equal(read_line(&options, lines[i], error), 0);
    assert_string_equal(options.user, "tim");
    assert_string_equal(options.host, "example.com");
    assert_int_equal(options.port, 9000);
    assert_string_equal(options.config, "/x");
    options_clean(&options);
  }
}

static void h_alone_is_help_and_with_an_address_the_host(void **state) {
  static const struct {
    const char *line;
    enum options_command command;
  } rows[] = {
      {"-h", OPTIONS_HELP},          {"-u tim -h", OPTIONS_HELP},      {"-h -v", OPTIONS_HELP},
      {"-vh", OPTIONS_HELP},         {"--help", OPTIONS_HELP},         {"help", OPTIONS_HELP},
      {"-h host -u x", OPTIONS_RUN}, {"-V", OPTIONS_VERSION},          {"--version", OPTIONS_VERSION},
      {"login", OPTIONS_LOGIN},      {"-h host login", OPTIONS_LOGIN}, {"hash", OPTIONS_HASH},
      {"-V --help", OPTIONS_HELP},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct options options;
    char error[512];
    assert_int_equal(read_line(&options, rows[i].line, error), 0);
    assert_int_equal(options.command, rows[i].command);
    options_clean(&options);
  }
}

static void wrong_arguments_are_named(void **state) {
  static const struct {
    const char *line, *says;
  } rows[] = {
      {"--nonsense", "--nonsense"},
      {"-x", "-x"},
      {"-p", "-p needs"},
      {"-p 0", "-p must"},
      {"-p 65536", "65536"},
      {"-p 80x", "80x"},
      {"--port=", "--port must"},
      {"--strict=1", "takes no value"},
      {"-u _", "-u is empty"},
      {"--token= ", "--token is empty"},
      {"--heartbeat 0", "--heartbeat must"},
      {"--carrier udp", "--carrier must be tls, ws or auto, not \"udp\""},
      {"--log-format xml", "--log-format must be text or json"},
      {"login hello=1", "takes no services"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct options options;
    char error[512];
    assert_int_equal(read_line(&options, rows[i].line, error), MDM_CLIENT_USAGE);
    if (strstr(error, rows[i].says) == NULL)
      fail_msg("\"%s\" says: %s", rows[i].line, error);
    options_clean(&options);
  }
}

static void services_stand_among_flags(void **state) {
  struct options options;
  struct command_line line;
  char error[512];
  (void)state;
  split(&line, "hello=3000 -u tim api=127.0.0.1:8080 -v -- 3000");
  options_init(&options);
  assert_int_equal(options_read_arguments(&options, line.argc, line.argv, error, sizeof error), 0);
  assert_int_equal(options.services_count, 3);
  assert_string_equal(options.services[0], "hello=3000");
  assert_string_equal(options.services[1], "api=127.0.0.1:8080");
  assert_string_equal(options.services[2], "3000");
  assert_int_equal(options.verbose, 1);
  options_clean(&options);
}

static void a_secret_leaves_the_argument_list(void **state) {
  struct options options;
  struct command_line line;
  char error[512];
  (void)state;
  split(&line, "--token canary-1 --proxy-password=canary-2");
  options_init(&options);
  assert_int_equal(options_read_arguments(&options, line.argc, line.argv, error, sizeof error), 0);
  assert_string_equal(options.token, "canary-1");
  assert_string_equal(options.proxy_password, "canary-2");
  assert_true(options.secret_in_argv);
  for (int i = 0; i < line.argc; i++)
    assert_null(strstr(line.argv[i], "canary"));
  options_clean(&options);
}

/* ---- environment ---- */
static const char *all_set(const char *name) {
  static const char *const values[][2] = {
      {"MDM_TUNNEL_USER", "ada"},
      {"MDM_TUNNEL_PORT", "9001"},
      {"MDM_TUNNEL_TOKEN", "mdm1.abc"},
      {"MDM_TUNNEL_STRICT", "true"},
      {"MDM_TUNNEL_VERBOSE", "2"},
      {"MDM_TUNNEL_KNOWN_SERVERS", "/k"},
      {"MDM_TUNNEL_PROXY_URL", "http://p:1"},
  };
  for (size_t i = 0; i < sizeof values / sizeof *values; i++)
    if (strcmp(values[i][0], name) == 0)
      return values[i][1];
  return NULL;
}

static const char *empty_token(const char *name) {
  return strcmp(name, "MDM_TUNNEL_TOKEN") == 0 ? "" : NULL;
}

static const char *strict_maybe(const char *name) {
  return strcmp(name, "MDM_TUNNEL_STRICT") == 0 ? "maybe" : NULL;
}

static void the_environment_gives_what_the_command_line_does_not(void **state) {
  struct options options;
  char error[512];
  (void)state;
  assert_int_equal(read_line(&options, "-i tim", error), 0);
  assert_int_equal(options_read_environment(&options, all_set, error, sizeof error), 0);
  assert_string_equal(options.user, "tim"); /* though the variable has the other spelling's name */
  assert_int_equal(options.port, 9001);
  assert_string_equal(options.token, "mdm1.abc");
  assert_string_equal(options.known_servers, "/k");
  assert_string_equal(options.proxy_url, "http://p:1");
  assert_true(options.strict);
  assert_int_equal(options.verbose, 2);
  assert_false(options.secret_in_argv);
  options_clean(&options);
}

static void an_empty_or_wrong_variable_is_an_error(void **state) {
  static const struct {
    options_getenv env;
    const char *says;
  } rows[] = {{empty_token, "MDM_TUNNEL_TOKEN is empty"}, {strict_maybe, "MDM_TUNNEL_STRICT must be true or false"}};
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct options options;
    char error[512];
    options_init(&options);
    assert_int_equal(options_read_environment(&options, rows[i].env, error, sizeof error), MDM_CLIENT_USAGE);
    assert_non_null(strstr(error, rows[i].says));
    options_clean(&options);
  }
}

/* ---- the file ---- */
static char directory[] = "/tmp/mdm-options-XXXXXX";

static int make_directory(void **state) {
  uv_fs_t request;
  (void)state;
  int status = uv_fs_mkdtemp(NULL, &request, "/tmp/mdm-options-XXXXXX", NULL);
  snprintf(directory, sizeof directory, "%s", request.path);
  uv_fs_req_cleanup(&request);
  return status;
}

static int remove_directory(void **state) {
  uv_fs_t request;
  char path[128];
  (void)state;
  snprintf(path, sizeof path, "%s/services.json", directory);
  uv_fs_unlink(NULL, &request, path, NULL);
  return uv_fs_rmdir(NULL, &request, directory, NULL);
}

static int read_file(struct options *options, const char *text, unsigned mode, char error[static 512]) {
  char path[128];
  snprintf(path, sizeof path, "%s/services.json", directory);
  assert_int_equal(net_file_write(path, text, strlen(text), mode), 0);
  free(options->config);
  options->config = strdup(path);
  error[0] = '\0';
  return options_read_file(options, error, 512);
}

static void the_long_form_holds_every_flag(void **state) {
  struct options options;
  char error[512];
  (void)state;
  assert_int_equal(read_line(&options, "-p 1234", error), 0);
  assert_int_equal(
      read_file(&options,
                "{\"server\": \"tunnel.example.com\", \"user\": \"ada\", \"port\": 9999, \"max-attempts\": 3,\n"
                " \"strict\": true, \"proxy\": {\"url\": \"http://proxy:3128\", \"username\": \"u\"},\n"
                " \"services\": {\"hello\": 3000}}",
                0644, error),
      0);
  assert_string_equal(options.host, "tunnel.example.com");
  assert_string_equal(options.user, "ada");
  assert_int_equal(options.port, 1234); /* the command line wins */
  assert_int_equal(options.max_attempts, 3);
  assert_true(options.strict);
  assert_string_equal(options.proxy_url, "http://proxy:3128");
  assert_string_equal(options.proxy_username, "u");
  options_clean(&options);
}

static void the_flat_form_holds_none(void **state) {
  static const char *const files[] = {
      "{\"user\": 3000, \"server\": 4000}",
      "{\"user\": 3000, \"services\": {\"port\": 9000}}",
      "{\"user\": 3000, \"services\": 5000}",
  };
  (void)state;
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    struct options options;
    char error[512];
    options_init(&options);
    assert_int_equal(read_file(&options, files[i], 0644, error), 0);
    assert_null(options.user);
    assert_null(options.host);
    options_clean(&options);
  }
}

static void a_wrong_key_of_the_file_is_named_with_its_line(void **state) {
  static const struct {
    const char *text, *says;
  } rows[] = {
      {"{\"services\": {},\n \"port\": 70000}", "services.json:2"},
      {"{\"services\": {},\n\n \"strict\": \"yes\"}", "services.json:3"},
      {"{\"services\": {},\n \"user\": \"\"}", "is empty"},
      {"{\"services\": {},\n \"carrier\": \"udp\"}", "services.json:2: \"carrier\": must be tls, ws or auto"},
      {"{\"services\": {}, \"proxy\": 3}", "proxy"},
      {"{\"services\": {}, \"proxy\": {\"uri\": \"x\"}}", "uri"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct options options;
    char error[512];
    options_init(&options);
    assert_int_equal(read_file(&options, rows[i].text, 0644, error), MDM_CLIENT_CONFIG);
    if (strstr(error, rows[i].says) == NULL)
      fail_msg("%s says: %s", rows[i].text, error);
    options_clean(&options);
  }
}

static void a_file_with_a_secret_must_be_private(void **state) {
  struct options options;
  char error[512];
  (void)state;
  options_init(&options);
  assert_int_equal(read_file(&options, "{\"services\": {}, \"token\": \"canary-3\"}", 0644, error), MDM_CLIENT_CONFIG);
  assert_non_null(strstr(error, "chmod 600"));
  assert_null(strstr(error, "canary"));
  options_clean(&options);
  options_init(&options);
  assert_int_equal(read_file(&options, "{\"services\": {}, \"token\": \"canary-3\"}", 0600, error), 0);
  assert_string_equal(options.token, "canary-3");
  options_clean(&options);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(both_spellings_of_the_flags),
      cmocka_unit_test(h_alone_is_help_and_with_an_address_the_host),
      cmocka_unit_test(wrong_arguments_are_named),
      cmocka_unit_test(services_stand_among_flags),
      cmocka_unit_test(a_secret_leaves_the_argument_list),
      cmocka_unit_test(the_environment_gives_what_the_command_line_does_not),
      cmocka_unit_test(an_empty_or_wrong_variable_is_an_error),
      cmocka_unit_test(the_long_form_holds_every_flag),
      cmocka_unit_test(the_flat_form_holds_none),
      cmocka_unit_test(a_wrong_key_of_the_file_is_named_with_its_line),
      cmocka_unit_test(a_file_with_a_secret_must_be_private),
  };
  return cmocka_run_group_tests_name("options", tests, make_directory, remove_directory);
}
