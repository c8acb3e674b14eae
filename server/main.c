/* main.c: mdm-tunnel-server: its sub-commands, signals, and the server of mdm/server.h on a loop of its own. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "config.h"
#include "confine.h"
#include "identity.h"
#include "mdm/server.h"
#include "notify.h"
#include "platform.h"
#include "users_command.h"

#define SIGNALS 3u

struct program {
  uv_loop_t loop;
  uv_signal_t signals[SIGNALS];
  unsigned open_signals;
  mdm_server *server;
};
static const int signal_numbers[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};

static int complain(const char *sentence, int code) {
  fprintf(stderr, "mdm-tunnel-server: %s\n", sentence);
  return code;
}

/* ---- mdm-tunnel-server fingerprint: of the key that is there, or would be used ---- */
static int fingerprint_main(int argc, char **argv) {
  struct server_config *config = NULL;
  struct net_identity identity;
  char error[1024], text[NET_FINGERPRINT_TEXT];
  int status = server_config_load(&config, NULL, argc, argv, error, sizeof error);
  if (status == CONFIG_HELP) {
    puts("usage: mdm-tunnel-server fingerprint [--state-dir DIR | --link-cert FILE --link-key FILE | --config FILE]");
    return 0;
  }
  if (status != CONFIG_OK)
    return status == CONFIG_VERSION ? complain("fingerprint: --version is not for this command", CONFIG_USAGE) : complain(error, status);
  if (config->link_cert != NULL)
    status = net_identity_load_files(&identity, config->link_cert, config->link_key, error, sizeof error);
  else
    status = net_identity_load(&identity, config->state_dir, NULL, error, sizeof error);
  server_config_unref(config);
  if (status != 0)
    return complain(error, 1);
  puts(net_fingerprint_text(text, identity.fingerprint));
  net_identity_clean(&identity);
  return 0;
}

/* ---- signals ---- */
static void on_signal_closed(uv_handle_t *handle) {
  struct program *program = handle->data;
  program->open_signals--;
}

static void close_signals(struct program *program) {
  for (unsigned i = 0; i < SIGNALS; i++)
    if (program->signals[i].data != NULL && !uv_is_closing((uv_handle_t *)&program->signals[i]))
      uv_close((uv_handle_t *)&program->signals[i], on_signal_closed);
}

static void on_stopped(mdm_server *server, void *user) {
  struct program *program = user;
  close_signals(program);
  mdm_server_free(server);
  program->server = NULL;
}

static void on_signal(uv_signal_t *handle, int number) {
  struct program *program = handle->data;
  if (program->server == NULL)
    return;
  if (number == SIGHUP) {
    notify_reloading();
    mdm_server_reload(program->server);
    notify_send("READY=1");
  } else {
    notify_send("STOPPING=1");
    mdm_server_stop(program->server, on_stopped, program);
  }
}

static int open_signals(struct program *program) {
  for (unsigned i = 0; i < SIGNALS; i++) {
    int status = uv_signal_init(&program->loop, &program->signals[i]);
    if (status != 0)
      return status;
    program->signals[i].data = program;
    program->open_signals++;
    if ((status = uv_signal_start(&program->signals[i], on_signal, signal_numbers[i])) != 0)
      return status;
  }
  return 0;
}

/* ---- the process ---- */
/* Secrets stay out of core dumps, nothing started from here gains rights, and there are descriptors for every connection. */
static void prepare_process(void) {
  struct rlimit files;
  signal(SIGPIPE, SIG_IGN);
  platform_no_core_dumps();
  platform_no_new_rights();
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
}

/* Never half: whoever was asked to give root up and cannot does not go on. */
static int become(const char *name, char *error, size_t error_size) {
  const struct passwd *user;
  if (name == NULL)
    return 0;
  errno = 0;
  user = getpwnam(name);
  if (user == NULL) {
    snprintf(error, error_size, "user: there is no user \"%s\"", name);
    return MDM_SERVER_CONFIG;
  }
  if (user->pw_uid == geteuid() && geteuid() != 0)
    return 0;
  if (initgroups(name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0) {
    snprintf(error, error_size, "user %s: %s", name, strerror(errno));
    return MDM_SERVER_CONFIG;
  }
  if (user->pw_uid != 0 && setuid(0) == 0) {
    snprintf(error, error_size, "user %s: root was not given up", name);
    return MDM_SERVER_RUNTIME;
  }
  platform_no_core_dumps(); /* the change of user has reset it */
  return 0;
}

static int serve(struct program *program, const char *run_as, int argc, char **argv) {
  char error[2048] = "";
  const struct mdm_server_options options = {.loop = &program->loop, .argc = argc, .argv = argv};
  int status = mdm_server_new(&program->server, &options, error, sizeof error);
  if (status == 0)
    status = mdm_server_start(program->server, error, sizeof error);
  bool started = status == 0;
  if (status == 0)
    status = become(run_as, error, sizeof error);
  if (status == 0)
    status = server_confine(program->server, error, sizeof error);
  if (status == 0 && (status = open_signals(program)) != 0)
    snprintf(error, sizeof error, "signals: %s", uv_strerror(status));
  if (status == 0) {
    notify_send("READY=1");
    uv_run(&program->loop, UV_RUN_DEFAULT);
    return 0;
  }
  if (started) {
    mdm_server_stop(program->server, on_stopped, program);
    mdm_server_stop(program->server, on_stopped, program);
  } else {
    mdm_server_free(program->server);
    close_signals(program);
  }
  uv_run(&program->loop, UV_RUN_DEFAULT);
  return complain(error, status <= MDM_SERVER_RUNTIME && status >= MDM_SERVER_BIND ? -status : 1);
}

int main(int argc, char **argv) {
  struct server_config *config = NULL;
  struct program program = {0};
  char error[2048];
  int status;
  prepare_process();
  if (argc > 1 && strcmp(argv[1], "user") == 0)
    return users_command_main(argc - 2, argv + 2);
  if (argc > 1 && strcmp(argv[1], "fingerprint") == 0)
    return fingerprint_main(argc - 2, argv + 2);
  /* For --help, --version, a wrong command line and --user; the server reads it again. */
  status = server_config_load(&config, NULL, argc - 1, argv + 1, error, sizeof error);
  if (status == CONFIG_HELP) {
    server_config_help(stdout);
    return fflush(stdout) == 0 ? 0 : 1;
  }
  if (status == CONFIG_VERSION)
    return printf("mdm-tunnel-server %s\n", MDM_VERSION) > 0 && fflush(stdout) == 0 ? 0 : 1;
  if (status != CONFIG_OK)
    return complain(error, status);
  if ((status = uv_loop_init(&program.loop)) != 0) {
    server_config_unref(config);
    return complain(uv_strerror(status), 1);
  }
  status = serve(&program, config->run_as, argc - 1, argv + 1);
  uv_loop_close(&program.loop);
  server_config_unref(config);
  return status;
}
