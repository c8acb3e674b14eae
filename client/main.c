/* main.c: the program mdm-tunnel-client: options, signals, and a client on a loop. */
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "confine.h"
#include "login.h"
#include "mdm/client.h"
#include "options.h"
#include "platform.h"
#include "report.h"

#define SIGNALS 3u

struct program {
  uv_loop_t loop;
  uv_signal_t signals[SIGNALS];
  size_t signals_count;
  mdm_client *client;
  struct report report;
  enum mdm_client_status status;
};

static void on_event(mdm_client *client, const struct mdm_client_event *event, void *user) {
  struct program *program = user;
  (void)client;
  report_event(&program->report, event);
  if (event->type == MDM_CLIENT_EVENT_STOPPED) {
    program->status = event->status;
    uv_stop(&program->loop);
  }
}

static void on_signal(uv_signal_t *handle, int number) {
  struct program *program = handle->data;
  if (number == SIGHUP)
    mdm_client_reload(program->client);
  else
    mdm_client_stop(program->client);
}

static void start_signals(struct program *program) {
  static const int numbers[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
  for (; program->signals_count < SIGNALS; program->signals_count++) {
    uv_signal_t *handle = &program->signals[program->signals_count];
    if (uv_signal_init(&program->loop, handle) != 0)
      return;
    handle->data = program;
    uv_signal_start(handle, on_signal, numbers[program->signals_count]);
  }
}

static struct mdm_client_options client_options(const struct options *options) {
  bool json = options->log_format != NULL && strcmp(options->log_format, "json") == 0;
  enum mdm_client_log level = options->verbose >= 2   ? MDM_CLIENT_LOG_DEBUG
                              : options->verbose == 1 ? MDM_CLIENT_LOG_INFO
                              : json                  ? MDM_CLIENT_LOG_WARN
                                                      : MDM_CLIENT_LOG_NONE;
  struct mdm_client_options out;
  mdm_client_options_init(&out);
  out.host = options->host;
  out.port = (uint16_t)options->port;
  out.carrier = options->carrier;
  out.plaintext = options->plaintext;
  out.proxy_url = options->proxy_url;
  out.proxy_username = options->proxy_username;
  out.proxy_password = options->proxy_password;
  out.user = options->user;
  out.name = options->name;
  out.replace = options->replace;
  out.token = options->token;
  out.credentials_file = options->credentials;
  out.fingerprint = options->fingerprint;
  out.ca = options->ca;
  out.strict = options->strict;
  out.known_servers = options->known_servers;
  out.services_file = options->config == NULL ? OPTIONS_DEFAULT_FILE : options->config;
  out.services_file_optional = options->config == NULL && options->services_count > 0;
  out.services = (const char *const *)options->services;
  out.services_count = options->services_count;
  out.max_attempts = (uint32_t)options->max_attempts;
  out.heartbeat_ms = (uint32_t)options->heartbeat_s * 1000u;
  out.log_level = options->quiet ? MDM_CLIENT_LOG_NONE : level;
  out.log_json = json;
  return out;
}

static enum mdm_client_status run(struct program *program, const struct options *given, struct mdm_client_options *options) {
  char error[1280];
  if (uv_loop_init(&program->loop) != 0) {
    report_say(&program->report, "no event loop");
    return MDM_CLIENT_RUNTIME;
  }
  options->loop = &program->loop;
  options->event = on_event;
  options->user_data = program;
  program->status = mdm_client_new(&program->client, options, error, sizeof error);
  if (program->status != MDM_CLIENT_OK) {
    report_say(&program->report, error);
  } else if ((program->status = client_confine(given, &program->report)) == MDM_CLIENT_OK) {
    start_signals(program);
    mdm_client_start(program->client);
    uv_run(&program->loop, UV_RUN_DEFAULT);
  }
  mdm_client_close(program->client, NULL, NULL);
  for (size_t i = 0; i < program->signals_count; i++)
    uv_close((uv_handle_t *)&program->signals[i], NULL);
  uv_run(&program->loop, UV_RUN_DEFAULT);
  uv_loop_close(&program->loop);
  return program->status;
}

static const char *environment(const char *name) {
  return getenv(name);
}

static enum mdm_client_status run_command(const struct options *options, struct program *program) {
  struct mdm_client_options client = client_options(options);
  report_init(&program->report, options->quiet, options->services_count > 0, client.log_level == MDM_CLIENT_LOG_NONE);
  if (options->secret_in_argv)
    report_say(&program->report,
               "warning: a secret on the command line can be seen by other users; use MDM_TUNNEL_TOKEN (or "
               "MDM_TUNNEL_PROXY_PASSWORD) or mdm-tunnel-client login");
  switch (options->command) {
  case OPTIONS_RUN:
    return run(program, options, &client);
  case OPTIONS_LOGIN:
    return login_run(options, &client, &program->report);
  case OPTIONS_HASH:
    return login_hash(&program->report);
  case OPTIONS_HELP:
    options_print_help();
    break;
  case OPTIONS_VERSION:
    puts("mdm-tunnel-client " MDM_VERSION);
    break;
  }
  return MDM_CLIENT_OK;
}

int main(int argc, char **argv) {
  struct program program = {0};
  struct options options;
  char error[1280] = "";
  platform_no_core_dumps(); /* they would hold the token */
  platform_no_new_rights();
  platform_ignore_broken_pipes();
  options_init(&options);
  int status = options_read(&options, argc, argv, environment, error, sizeof error);
  if (status == 0) {
    status = (int)run_command(&options, &program);
  } else {
    report_init(&program.report, options.quiet, false, true);
    report_say(&program.report, error);
    if (status == MDM_CLIENT_USAGE && !options.quiet)
      fputs("try mdm-tunnel-client --help\n", stderr);
  }
  report_clean(&program.report);
  options_clean(&options);
  return status;
}
