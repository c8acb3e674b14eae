/* world.c: the client under test, its loop and its files. */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "peer.h"

#define PATIENCE_MS 10000u

static void on_tick(uv_timer_t *timer) {
  (void)timer; /* only so that uv_run returns */
}

static void run_until(struct world *world, bool (*done)(void *), void *argument, uint64_t patience_ms,
                      const char *what) {
  uv_timer_t tick;
  uint64_t end = uv_hrtime() / 1000000u + patience_ms;
  uv_timer_init(&world->uv, &tick);
  uv_timer_start(&tick, on_tick, 5, 5);
  bool is_done = false;
  while (!(is_done = done != NULL && done(argument)) && uv_hrtime() / 1000000u < end)
    uv_run(&world->uv, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&tick, NULL);
  uv_run(&world->uv, UV_RUN_NOWAIT);
  if (!is_done && what != NULL)
    fail_msg("no %s within %u ms; events:\n%s", what, PATIENCE_MS, world->events);
}

void world_until(struct world *world, bool (*done)(void *), void *argument, const char *what) {
  run_until(world, done, argument, PATIENCE_MS, what);
}

void world_turns(struct world *world, unsigned ms) {
  run_until(world, NULL, NULL, ms, NULL);
}

/* ---- events ---- */
static void on_event(mdm_client *client, const struct mdm_client_event *event, void *user) {
  static const char *const names[] = {"connected", "url",         "refused",      "note",
                                      "warning",   "fingerprint", "disconnected", "stopped"};
  struct world *world = user;
  size_t size = strlen(world->events);
  (void)client;
  snprintf(world->events + size, sizeof world->events - size, "%s %s%s%s%s%s\n", names[event->type], event->user,
           event->service, event->url[0] == '\0' ? "" : " ", event->url, event->text);
  if (event->type == MDM_CLIENT_EVENT_STOPPED) {
    world->stopped = true;
    world->status = event->status;
  }
}

bool world_heard(const struct world *world, const char *text) {
  return strstr(world->events, text) != NULL;
}

struct wanted {
  const struct world *world;
  const char *text;
};

static bool was_heard(void *argument) {
  const struct wanted *wanted = argument;
  return world_heard(wanted->world, wanted->text);
}

void world_until_heard(struct world *world, const char *text) {
  struct wanted wanted = {world, text};
  world_until(world, was_heard, &wanted, text);
}

static bool is_stopped(void *argument) {
  return ((struct world *)argument)->stopped;
}

void world_until_stopped(struct world *world) {
  world_until(world, is_stopped, world, "end of the client");
}

/* ---- life ---- */
static void make_directory(struct world *world) {
  uv_fs_t request;
  assert_int_equal(uv_fs_mkdtemp(NULL, &request, "/tmp/mdm-client-XXXXXX", NULL), 0);
  snprintf(world->directory, sizeof world->directory, "%s", request.path);
  uv_fs_req_cleanup(&request);
  snprintf(world->file, sizeof world->file, "%s/services.json", world->directory);
  snprintf(world->known, sizeof world->known, "%s/known_servers", world->directory);
}

static void remove_directory(struct world *world) {
  uv_fs_t list, request;
  uv_dirent_t entry;
  char path[512];
  if (uv_fs_scandir(NULL, &list, world->directory, 0, NULL) >= 0)
    while (uv_fs_scandir_next(&list, &entry) == 0) {
      snprintf(path, sizeof path, "%s/%s", world->directory, entry.name);
      uv_fs_unlink(NULL, &request, path, NULL);
    }
  uv_fs_req_cleanup(&list);
  uv_fs_rmdir(NULL, &request, world->directory, NULL);
}

void world_open(struct world *world, bool tls) {
  memset(world, 0, sizeof *world);
  make_directory(world);
  assert_int_equal(uv_loop_init(&world->uv), 0);
  world->budget = mdm_mux_budget_new(256u * 1024u * 1024u, NULL);
  world->pool = mdm_mux_pool_new(world->budget, NULL);
  assert_non_null(world->pool);
  assert_int_equal(net_loop_init(&world->loop, &world->uv, world->pool, NULL), 0);
  peer_open(&world->peer, world, tls);
  mdm_client_options_init(&world->options);
  world->options.host = "127.0.0.1";
  world->options.port = world->peer.port;
  world->options.plaintext = !tls;
  world->options.user = "tim";
  world->options.name = "desk";
  world->options.credentials_file = NULL;
  world->options.known_servers = world->known;
  world->options.loop = &world->uv;
  world->options.event = on_event;
  world->options.user_data = world;
}

void world_write_file(struct world *world, const char *text) {
  assert_int_equal(net_file_write(world->file, text, strlen(text), 0600), 0);
  world->options.services_file = world->file;
}

void world_start(struct world *world) {
  char error[512] = "";
  if (mdm_client_new(&world->client, &world->options, error, sizeof error) != MDM_CLIENT_OK)
    fail_msg("mdm_client_new: %s", error);
  mdm_client_start(world->client);
}

static void on_client_closed(void *user) {
  ((struct world *)user)->client_closed = true;
}

static bool is_client_closed(void *argument) {
  return ((struct world *)argument)->client_closed;
}

void world_close(struct world *world) {
  if (world->client != NULL) {
    mdm_client_close(world->client, on_client_closed, world);
    world_until(world, is_client_closed, world, "closed client");
  }
  peer_close(&world->peer);
  world_turns(world, 20);
  net_loop_clean(&world->loop);
  uv_run(&world->uv, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&world->uv), 0); /* nothing was left open */
  assert_int_equal(mdm_mux_budget_held(world->budget), 0);
  mdm_mux_pool_free(world->pool);
  mdm_mux_budget_free(world->budget);
  remove_directory(world);
}
