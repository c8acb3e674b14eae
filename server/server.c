/* server.c: a server from its options to listening ports, and the embedding API's small questions. */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "door.h"
#include "edge.h"
#include "log.h"
#include "platform.h"
#include "server_private.h"
#include "tls_store.h"

#define HELD_SHARE 8u                       /* of the machine's memory for slow readers, unless limits say otherwise */
#define HELD_MIN (64u * 1024u * 1024u)

static const struct net_log_actor actor = {.kind = "server"};

void server_enter(struct mdm_server *server, enum server_state state) {
  static const char *const names[] = {"NEW", "RUNNING", "DRAINING", "CUTTING", "STOPPED"};
  const struct net_log_actor from = {.kind = actor.kind, .state = names[server->state]};
  net_edge_check(state > server->state, server->log, &from, names[state]);
  net_log_write(server->log, NET_LOG_DEBUG, &actor, "%s -> %s", names[server->state], names[state]);
  server->state = state;
}

/* ---- making ---- */
static bool copy_options(struct mdm_server *server, const struct mdm_server_options *options) {
  server->uv = options->loop;
  server->sink = options->log;
  server->sink_user = options->user;
  if (options->config_json != NULL && (server->config_json = strdup(options->config_json)) == NULL)
    return false;
  server->argv = calloc((size_t)options->argc + 1, sizeof *server->argv);
  for (int i = 0; server->argv != NULL && i < options->argc; i++) {
    server->argv[i] = strdup(options->argv[i]);
    if (server->argv[i] == NULL)
      return false;
    server->argc++;
  }
  return server->argv != NULL;
}

static void sink_line(enum net_log_level level, const char *line, void *user) {
  struct mdm_server *server = user;
  server->sink((int)level, line, server->sink_user);
}

static bool open_log(struct mdm_server *server) {
  const struct server_config *config = server->config;
  static const enum net_log_level levels[] = {NET_LOG_ERROR, NET_LOG_INFO, NET_LOG_DEBUG};
  const struct net_log_config log = {
      .level = levels[config->verbose < 2 ? config->verbose : 2],
      .format = config->log_format,
      .quiet = config->quiet,
      .fd = 2,
      .sink = server->sink == NULL ? NULL : sink_line,
      .user = server,
  };
  server->log = net_log_new(&log);
  return server->log != NULL;
}

void server_notice(struct mdm_server *server, const char *line) {
  const struct net_log_config config = {.level = NET_LOG_WARN, .format = server->config->log_format, .fd = 2};
  struct net_log *log;
  if (server->sink != NULL)
    server->sink(NET_LOG_WARN, line, server->sink_user);
  else if (server->config->log_format == NET_LOG_TEXT && !server->config->quiet)
    fprintf(stderr, "%s\n", line);
  else if (!server->config->quiet && (log = net_log_new(&config)) != NULL) { /* one of its own: the level of the other may be too low */
    net_log_write(log, NET_LOG_WARN, &actor, "%s", line);
    net_log_free(log);
  }
}

int mdm_server_new(mdm_server **out, const struct mdm_server_options *options, char *error, size_t error_size) {
  struct mdm_server *server = calloc(1, sizeof *server);
  int status = MDM_SERVER_RUNTIME;
  *out = NULL;
  snprintf(error, error_size, "out of memory");
  if (server == NULL || sodium_init() < 0 || !copy_options(server, options))
    goto failed;
  status = server_config_load(&server->config, server->config_json, server->argc, server->argv, error, error_size);
  if (status != CONFIG_OK) {
    if (status == CONFIG_HELP || status == CONFIG_VERSION)
      snprintf(error, error_size, "--help and --version are for the program");
    status = status == CONFIG_WRONG ? MDM_SERVER_CONFIG : MDM_SERVER_USAGE;
    goto failed;
  }
  status = MDM_SERVER_RUNTIME;
  snprintf(error, error_size, "out of memory");
  if (!open_log(server))
    goto failed;
  if (auth_hooks_new(&server->hooks, server->config, error, error_size) != 0) {
    status = MDM_SERVER_CONFIG;
    goto failed;
  }
  *out = server;
  return 0;
failed:
  mdm_server_free(server);
  return status;
}

int mdm_server_add_hook(mdm_server *server, const struct mdm_auth_hook *hook, const char *config_json) {
  if (server->state != SERVER_NEW || server->worker_made || hook == NULL)
    return MDM_SERVER_USAGE;
  return auth_hooks_add(server->hooks, hook, config_json) == 0 ? 0 : MDM_SERVER_RUNTIME;
}

/* ---- starting ---- */
/* Anybody may log in: then nobody else may reach the ports, unless the operator says so. */
static int check_mode(struct mdm_server *server, char *error, size_t error_size) {
  struct server_config *config = server->config;
  config->open_mode = !auth_hooks_login(server->hooks);
  if (config->open_mode && !config->open && !server_config_loopback_only(config)) {
    snprintf(error, error_size,
             "no users: anybody who reaches the ports could publish names, so only loopback is served; make users with "
             "\"mdm-tunnel-server user add NAME\" and give --users FILE, or --auth-plugin or --auth-login-url, or say --open");
    return MDM_SERVER_CONFIG;
  }
  return 0;
}

static int open_link(struct mdm_server *server, char *error, size_t error_size) {
  const struct server_config *config = server->config;
  char text[NET_FINGERPRINT_TEXT];
  bool made = false;
  int status;
  if (config->plaintext)
    return 0;
  if (config->link_cert != NULL)
    status = net_identity_load_files(&server->identity, config->link_cert, config->link_key, error, error_size);
  else
    status = net_identity_load(&server->identity, config->state_dir, &made, error, error_size);
  if (status != 0) {
    size_t used = strlen(error);
    if (config->link_cert == NULL && used < error_size)
      snprintf(error + used, error_size - used, "; state-dir says where the link key is kept");
    return MDM_SERVER_CONFIG;
  }
  server->has_identity = true;
  net_fingerprint_text(text, server->identity.fingerprint);
  if (made)
    net_log_write(server->log, NET_LOG_INFO, &actor, "made the link key in %s, fingerprint %s", config->state_dir, text);
  else
    net_log_write(server->log, NET_LOG_INFO, &actor, "the link key's fingerprint is %s", text);
  return net_tls_link_server(&server->link_tls, &server->identity, error, error_size) == 0 ? 0 : MDM_SERVER_CONFIG;
}

static void on_http(struct net_listener *listener, int fd, const struct mdm_address *peer, void *user) {
  struct mdm_server *server = user;
  (void)listener;
  door_accept(&server->worker, DOOR_HTTP, fd, peer);
}

static void on_https(struct net_listener *listener, int fd, const struct mdm_address *peer, void *user) {
  struct mdm_server *server = user;
  (void)listener;
  door_accept(&server->worker, DOOR_HTTPS, fd, peer);
}

static void on_client(struct net_listener *listener, int fd, const struct mdm_address *peer, void *user) {
  struct mdm_server *server = user;
  (void)listener;
  door_accept(&server->worker, DOOR_CLIENT, fd, peer);
}

static void log_listeners(struct mdm_server *server, const char *what, const struct listeners *listeners) {
  char text[NET_ADDRESS_TEXT];
  for (size_t i = 0; i < listeners->count; i++)
    net_log_write(server->log, NET_LOG_INFO, &actor, "listening: %s %s", what, net_address_text(text, net_listener_address(listeners->list[i]), true));
}

static int open_admin(struct mdm_server *server, char *error, size_t error_size) {
  struct mdm_address address;
  char text[NET_ADDRESS_TEXT];
  if (server->config->admin == NULL || server_config_admin_address(server->config->admin, &address) != 0)
    return 0;
  if (admin_open(&server->worker.admin, &server->worker, &address, error, error_size) != 0)
    return MDM_SERVER_BIND;
  address.port = admin_port(server->worker.admin);
  net_log_write(server->log, NET_LOG_INFO, &actor, "listening: admin %s", net_address_text(text, &address, true));
  return 0;
}

static int open_listeners(struct mdm_server *server, char *error, size_t error_size) {
  const struct server_config *config = server->config;
  struct worker *worker = &server->worker;
  struct listeners_request request = {.config = config, .user = server};
  request.loopback_only = (config->open_mode && !config->open) || config->plaintext;
  request.port = config->port;
  request.flag = "--port";
  request.accepted = on_http;
  if (listeners_open(&server->http, &worker->loop, &request, error, error_size) != 0)
    return MDM_SERVER_BIND;
  worker->public_port = server->http.port;
  log_listeners(server, "http", &server->http);
  if (worker->tls != NULL) {
    request.port = config->https_port;
    request.flag = "--https-port";
    request.accepted = on_https;
    if (listeners_open(&server->https, &worker->loop, &request, error, error_size) != 0)
      return MDM_SERVER_BIND;
    worker->public_https_port = server->https.port;
    log_listeners(server, "https", &server->https);
  }
  request.port = config->client_port;
  request.flag = "--client-port";
  request.accepted = on_client;
  if (listeners_open(&server->client, &worker->loop, &request, error, error_size) != 0)
    return MDM_SERVER_BIND;
  log_listeners(server, "clients", &server->client);
  return open_admin(server, error, error_size);
}

static void say_mode(struct mdm_server *server) {
  const struct server_config *config = server->config;
  if (config->open_mode && config->open)
    server_notice(server, "warning: --open: whoever reaches the client port can publish names here without a password");
  else if (config->open_mode)
    server_notice(server, "listening on loopback only: no users");
  if (config->plaintext)
    server_notice(server, "warning: --plaintext: clients connect without TLS, loopback only");
}

int mdm_server_start(mdm_server *server, char *error, size_t error_size) {
  struct server_config *config = server->config;
  uint64_t held = config->limits.held_bytes;
  int status;
  if (server->state != SERVER_NEW || server->worker_made) {
    snprintf(error, error_size, "the server was started before");
    return MDM_SERVER_USAGE;
  }
  if ((status = check_mode(server, error, error_size)) != 0 || (status = open_link(server, error, error_size)) != 0)
    return status;
  if (held == 0) {
    held = platform_memory_total() / HELD_SHARE;
    held = held < HELD_MIN ? HELD_MIN : held;
  }
  server->budget = mdm_mux_budget_new((size_t)held, NULL);
  if (server->budget == NULL) {
    snprintf(error, error_size, "out of memory");
    return MDM_SERVER_RUNTIME;
  }
  const struct worker_setup setup = {
      .server = server,
      .config = config,
      .uv = server->uv,
      .log = server->log,
      .budget = server->budget,
      .link_tls = server->link_tls,
      .identity = server->has_identity ? &server->identity : NULL,
      .hooks = server->hooks,
  };
  server->worker_made = true;
  if (worker_open(&server->worker, &setup, error, error_size) != 0)
    return MDM_SERVER_CONFIG;
  if ((status = open_listeners(server, error, error_size)) != 0)
    return status;
  server_enter(server, SERVER_RUNNING);
  say_mode(server);
  net_log_write(server->log, NET_LOG_INFO, &actor, "mdm-tunnel-server %s is ready", MDM_VERSION);
  return 0;
}

/* ---- small questions ---- */
uint16_t mdm_server_port(const mdm_server *server) {
  return server->worker.public_port;
}

uint16_t mdm_server_https_port(const mdm_server *server) {
  return server->worker.public_https_port;
}

uint16_t mdm_server_client_port(const mdm_server *server) {
  return server->client.port;
}

uint16_t mdm_server_admin_port(const mdm_server *server) {
  return server->worker.admin == NULL ? 0 : admin_port(server->worker.admin);
}

int mdm_server_accept(mdm_server *server, int fd) {
  struct mdm_address local, peer = {0};
  int flags = fcntl(fd, F_GETFL);
  int status = server->state != SERVER_RUNNING ? UV_ECANCELED : flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? UV_EBADF : 0;
  if (status == 0)
    status = platform_socket_names(fd, &local, &peer);
  if (status != 0) {
    platform_socket_close(fd, false);
    return MDM_SERVER_RUNTIME;
  }
  door_accept(&server->worker, DOOR_HTTP, fd, &peer);
  return 0;
}

int mdm_server_run(mdm_server *server) {
  if (server->uv != NULL || server->state == SERVER_NEW)
    return MDM_SERVER_USAGE;
  if (server->state != SERVER_STOPPED)
    net_loop_run(&server->worker.loop);
  return 0;
}
