/* client.c: the embedding API: one client, its loop, its service map and its tunnel. */
#include "mdm/client.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "identity.h"
#include "log.h"
#include "loop.h"
#include "platform.h"
#include "services.h"
#include "services_watch.h"
#include "setup.h"
#include "tunnel.h"
#include "wake.h"

#define CLIENT_HELD_MIN    (16u * 1024u * 1024u) /* bytes held for slow services and links, all streams together: */
#define CLIENT_HELD_MAX    (256u * 1024u * 1024u)
#define CLIENT_HELD_SHARE  16u /* this part of the memory, within these bounds */
#define CLIENT_CLOSE_TURNS 3u  /* iterations until every closing callback has run */

enum client_state { CLIENT_NEW, CLIENT_RUNNING, CLIENT_STOPPED, CLIENT_CLOSING };

struct mdm_client {
  enum client_state state;
  struct net_loop loop;
  bool owns_loop, loop_open;
  mdm_mux_budget *budget;
  mdm_mux_pool *pool;
  struct net_log *log;
  struct setup setup;
  struct origin_pool origins;
  struct tunnel *tunnel;
  struct wake wake;
  struct services_watch watch;

  char *services_file; /* NULL: none */
  bool services_file_optional;
  char **services; /* of the options */
  size_t services_count;
  char *directory; /* names the service that has no name */
  struct service_map map;
  uint32_t next_id;

  enum mdm_client_status status;
  void (*event)(mdm_client *client, const struct mdm_client_event *event, void *user);
  void (*log_line)(enum mdm_client_log level, const char *line, void *user);
  void *user_data;
  uv_idle_t closing; /* counts the iterations of mdm_client_close */
  unsigned turns;
  bool closing_done;
  void (*closed)(void *user);
  void *closed_user;
};

void mdm_client_options_init(struct mdm_client_options *options) {
  *options = (struct mdm_client_options){.log_level = MDM_CLIENT_LOG_NONE};
}

/* ---- telling ---- */
static void client_log(mdm_client *client, enum net_log_level level, const char *text) {
  const struct net_log_actor actor = {"client", 0, NULL};
  net_log_write(client->log, level, &actor, "%s", text);
}

/* Every event passes here: warnings into the log, STOPPED into the state, all to the embedder. */
static void client_tell(mdm_client *client, const struct mdm_client_event *event) {
  if (event->type == MDM_CLIENT_EVENT_WARNING || event->type == MDM_CLIENT_EVENT_FINGERPRINT)
    client_log(client, NET_LOG_WARN, event->text);
  if (event->type == MDM_CLIENT_EVENT_STOPPED) {
    client->state = CLIENT_STOPPED;
    client->status = event->status;
    if (event->status != MDM_CLIENT_OK)
      client_log(client, NET_LOG_ERROR, event->text);
    if (client->owns_loop)
      uv_stop(client->loop.uv);
  }
  if (client->event != NULL)
    client->event(client, event, client->user_data);
}

static void client_warn(mdm_client *client, const char *text) {
  client_tell(client,
              &(struct mdm_client_event){MDM_CLIENT_EVENT_WARNING, .service = "", .url = "", .user = "", .text = text});
}

static void on_tunnel_event(struct tunnel *tunnel, const struct mdm_client_event *event, void *owner) {
  (void)tunnel;
  client_tell(owner, event);
}

static void on_log_line(enum net_log_level level, const char *line, void *user) {
  mdm_client *client = user;
  client->log_line((enum mdm_client_log)(level + 1), line, client->user_data);
}

/* ---- the service map ---- */
/* File and command line into a fresh map, without ids. */
static enum mdm_client_status load_map(const mdm_client *client, struct service_map *map, char *error,
                                       size_t error_size) {
  int status = SERVICE_MAP_OK;
  service_map_init(map);
  if (client->services_file != NULL)
    status = service_map_load(map, client->services_file, error, error_size);
  if (status == SERVICE_MAP_ENOENT && client->services_file_optional)
    status = SERVICE_MAP_OK;
  for (size_t i = 0; status == SERVICE_MAP_OK && i < client->services_count; i++)
    status = service_map_argument(map, client->services[i], client->directory, error, error_size);
  if (status == SERVICE_MAP_OK)
    return MDM_CLIENT_OK;
  service_map_clean(map);
  return status == SERVICE_MAP_ENOMEM ? MDM_CLIENT_RUNTIME : MDM_CLIENT_CONFIG;
}

/* Entries that did not change keep their id, streams keep their connections. */
static bool take_map(mdm_client *client, struct service_map *map) {
  service_map_adopt(map, &client->map, &client->next_id);
  bool changed = !service_map_equal(map, &client->map);
  service_map_clean(&client->map);
  client->map = *map;
  return changed;
}

void mdm_client_reload(mdm_client *client) {
  struct service_map map;
  char error[1024], warning[1200];
  if (client->state != CLIENT_NEW && client->state != CLIENT_RUNNING)
    return;
  if (load_map(client, &map, error, sizeof error) != MDM_CLIENT_OK) {
    snprintf(warning, sizeof warning, "%s; the services stay as they were", error);
    client_warn(client, warning);
    return;
  }
  if (!take_map(client, &map))
    return;
  client_log(client, NET_LOG_INFO, "the services changed");
  tunnel_announce(client->tunnel);
}

static void on_file_changed(struct services_watch *watch) {
  mdm_client_reload((mdm_client *)(void *)((char *)watch - offsetof(mdm_client, watch)));
}

static void on_wake(struct wake *wake) {
  mdm_client_poke((mdm_client *)(void *)((char *)wake - offsetof(mdm_client, wake)));
}

/* ---- making one ---- */
static enum mdm_client_status out_of_memory(char *error, size_t error_size) {
  snprintf(error, error_size, "out of memory");
  return MDM_CLIENT_RUNTIME;
}

/* The name for services without one is the directory's at the start. */
static char *working_directory(void) {
  char path[4096];
  size_t size = sizeof path;
  return strdup(uv_cwd(path, &size) == 0 ? path : "");
}

static enum mdm_client_status copy_services(mdm_client *client, const struct mdm_client_options *options, char *error,
                                            size_t error_size) {
  client->services_file_optional = options->services_file_optional;
  client->directory = working_directory();
  client->services = calloc(options->services_count + 1, sizeof *client->services);
  if (client->directory == NULL || client->services == NULL)
    return out_of_memory(error, error_size);
  for (; client->services_count < options->services_count; client->services_count++)
    if ((client->services[client->services_count] = strdup(options->services[client->services_count])) == NULL)
      return out_of_memory(error, error_size);
  if (options->services_file == NULL || options->login_only)
    return MDM_CLIENT_OK;
  client->services_file = net_path_expand(options->services_file);
  if (client->services_file != NULL || options->services_file_optional)
    return MDM_CLIENT_OK;
  snprintf(error, error_size, "%s: the home directory is unknown", options->services_file);
  return MDM_CLIENT_CONFIG;
}

static size_t held_bytes_cap(void) {
  uint64_t share = platform_memory_total() / CLIENT_HELD_SHARE;
  return share < CLIENT_HELD_MIN ? CLIENT_HELD_MIN : share > CLIENT_HELD_MAX ? CLIENT_HELD_MAX : (size_t)share;
}

static enum mdm_client_status make_loop(mdm_client *client, const struct mdm_client_options *options, char *error,
                                        size_t error_size) {
  if (options->log_level != MDM_CLIENT_LOG_NONE) {
    client->log_line = options->log;
    const struct net_log_config config = {
        .level = (enum net_log_level)(options->log_level - 1),
        .format = options->log_json ? NET_LOG_JSON : NET_LOG_TEXT,
        .fd = 2,
        .sink = options->log == NULL ? NULL : on_log_line,
        .user = client,
    };
    if ((client->log = net_log_new(&config)) == NULL)
      return out_of_memory(error, error_size);
  }
  client->budget = mdm_mux_budget_new(held_bytes_cap(), NULL);
  client->pool = client->budget == NULL ? NULL : mdm_mux_pool_new(client->budget, NULL);
  if (client->pool == NULL)
    return out_of_memory(error, error_size);
  client->owns_loop = options->loop == NULL;
  int status = net_loop_init(&client->loop, options->loop, client->pool, client->log);
  if (status != 0) {
    snprintf(error, error_size, "no event loop: %s", uv_strerror(status));
    return MDM_CLIENT_RUNTIME;
  }
  client->loop_open = true;
  return MDM_CLIENT_OK;
}

static enum mdm_client_status make_client(mdm_client *client, const struct mdm_client_options *options, char *error,
                                          size_t error_size) {
  static const struct tunnel_ops ops = {.event = on_tunnel_event};
  struct service_map map;
  enum mdm_client_status status = setup_make(&client->setup, options, error, error_size);
  if (status == MDM_CLIENT_OK)
    status = copy_services(client, options, error, error_size);
  if (status == MDM_CLIENT_OK)
    status = load_map(client, &map, error, error_size);
  if (status != MDM_CLIENT_OK)
    return status;
  take_map(client, &map);
  status = make_loop(client, options, error, error_size);
  if (status != MDM_CLIENT_OK)
    return status;
  origin_pool_init(&client->origins, &client->loop);
  client->setup.tunnel.loop = &client->loop;
  client->setup.tunnel.map = &client->map;
  client->setup.tunnel.origins = &client->origins;
  if (tunnel_new(&client->tunnel, &client->setup.tunnel, &ops, client) != 0)
    return out_of_memory(error, error_size);
  return MDM_CLIENT_OK;
}

enum mdm_client_status mdm_client_new(mdm_client **out, const struct mdm_client_options *options, char *error,
                                      size_t error_size) {
  *out = NULL;
  if (error_size > 0)
    error[0] = '\0';
  if (sodium_init() < 0) {
    snprintf(error, error_size, "no source of randomness");
    return MDM_CLIENT_RUNTIME;
  }
  mdm_client *client = calloc(1, sizeof *client);
  if (client == NULL)
    return out_of_memory(error, error_size);
  client->next_id = 1;
  client->event = options->event;
  client->user_data = options->user_data;
  enum mdm_client_status status = make_client(client, options, error, error_size);
  if (status == MDM_CLIENT_OK)
    *out = client;
  else
    mdm_client_close(client, NULL, NULL);
  return status;
}

/* ---- running ---- */
void mdm_client_start(mdm_client *client) {
  if (client->state != CLIENT_NEW)
    return;
  client->state = CLIENT_RUNNING;
  wake_start(&client->wake, &client->loop, on_wake);
  if (client->services_file != NULL &&
      services_watch_start(&client->watch, &client->loop, client->services_file, on_file_changed) != 0)
    client_warn(client, "the services file is not watched: out of memory");
  tunnel_start(client->tunnel);
}

enum mdm_client_status mdm_client_run(mdm_client *client) {
  mdm_client_start(client);
  while (client->state == CLIENT_RUNNING)
    net_loop_run(&client->loop);
  return client->status;
}

void mdm_client_stop(mdm_client *client) {
  tunnel_stop(client->tunnel);
}

void mdm_client_poke(mdm_client *client) {
  tunnel_poke(client->tunnel);
}

bool mdm_client_connected(const mdm_client *client) {
  return tunnel_is_connected(client->tunnel);
}

size_t mdm_client_streams(const mdm_client *client) {
  return tunnel_streams(client->tunnel);
}

/* ---- closing ---- */
static void client_free(mdm_client *client) {
  void (*closed)(void *) = client->closed;
  void *user = client->closed_user;
  mdm_mux_pool_free(client->pool);
  mdm_mux_budget_free(client->budget);
  net_log_free(client->log);
  service_map_clean(&client->map);
  setup_clean(&client->setup);
  for (size_t i = 0; i < client->services_count; i++)
    free(client->services[i]);
  free(client->services);
  free(client->services_file);
  free(client->directory);
  free(client);
  if (closed != NULL)
    closed(user);
}

static void on_closing_closed(uv_handle_t *handle) {
  mdm_client *client = handle->data;
  client->closing_done = true;
  if (!client->owns_loop)
    client_free(client);
}

/* First every connection gets its closing callbacks, then the loop's own handles do, then the memory goes. */
static void on_closing_turn(uv_idle_t *idle) {
  mdm_client *client = idle->data;
  client->turns++;
  if (client->turns == CLIENT_CLOSE_TURNS && !client->owns_loop)
    net_loop_clean(&client->loop);
  if (client->turns == 2 * CLIENT_CLOSE_TURNS)
    uv_close((uv_handle_t *)idle, on_closing_closed);
}

void mdm_client_close(mdm_client *client, void (*closed)(void *user), void *user) {
  if (client == NULL)
    return;
  bool was_started = client->state != CLIENT_NEW;
  client->state = CLIENT_CLOSING;
  client->event = NULL;
  client->closed = closed;
  client->closed_user = user;
  if (!client->loop_open) {
    client_free(client);
    return;
  }
  if (was_started) {
    wake_stop(&client->wake);
    services_watch_stop(&client->watch);
  }
  tunnel_free(client->tunnel);
  origin_pool_clean(&client->origins);
  uv_idle_init(client->loop.uv, &client->closing);
  client->closing.data = client;
  uv_idle_start(&client->closing, on_closing_turn);
  if (!client->owns_loop)
    return;
  while (!client->closing_done)
    uv_run(client->loop.uv, UV_RUN_ONCE);
  net_loop_clean(&client->loop);
  client_free(client);
}
