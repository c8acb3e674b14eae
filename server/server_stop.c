/* server_stop.c: how a server ends: it drains, cuts what is left, tells the embedder, and goes. */
#include <assert.h>
#include <stdlib.h>

#include "agent_set.h"
#include "door.h"
#include "log.h"
#include "metrics.h"
#include "server_private.h"

static const struct net_log_actor actor = {.kind = "server"};

void server_close_listeners(struct mdm_server *server) {
  listeners_close(&server->http);
  listeners_close(&server->https);
  listeners_close(&server->client);
}

static void finish(struct mdm_server *server) {
  server_enter(server, SERVER_STOPPED);
  net_log_write(server->log, NET_LOG_INFO, &actor, "stopped");
  if (server->uv == NULL)
    net_loop_stop(&server->worker.loop);
  if (server->stopped != NULL)
    server->stopped(server, server->stopped_user); /* may free the server */
}

static void cut(struct mdm_server *server) {
  size_t left = door_set_open(server->worker.doors);
  if (left > 0) {
    net_log_write(server->log, NET_LOG_WARN, &actor, "%zu connections are cut", left);
    metrics_add(server->worker.metrics, METRICS_DRAIN_CUT, left);
  }
  server_enter(server, SERVER_CUTTING);
  worker_cut(&server->worker);
}

/* Looks again and again: connections end in many places, and none of them needs to know of a drain. */
static void on_timer(struct net_timer *timer) {
  struct mdm_server *server = (struct mdm_server *)(void *)((char *)timer - offsetof(struct mdm_server, timer));
  struct worker *worker = &server->worker;
  if (server->state == SERVER_DRAINING && (worker_quiet(worker) || net_loop_now_ms(&worker->loop) >= server->drain_until_ms))
    cut(server);
  if (server->state == SERVER_CUTTING && worker_quiet(worker)) {
    finish(server);
    return;
  }
  net_timer_start(&worker->loop.wheel, &server->timer, SERVER_QUIET_POLL_MS);
}

void mdm_server_stop(mdm_server *server, void (*stopped)(mdm_server *server, void *user), void *user) {
  struct worker *worker = &server->worker;
  server->stopped = stopped;
  server->stopped_user = user;
  switch (server->state) {
  case SERVER_RUNNING:
    server_enter(server, SERVER_DRAINING);
    net_log_write(server->log, NET_LOG_INFO, &actor, "stopping: %zu connections have %g s to finish", door_set_open(worker->doors),
                  worker->config->timeouts.drain_ms / 1000.0);
    server_close_listeners(server);
    server->drain_until_ms = net_loop_now_ms(&worker->loop) + worker->config->timeouts.drain_ms;
    worker_drain(worker);
    break;
  case SERVER_DRAINING:
    cut(server);
    break;
  case SERVER_NEW:
  case SERVER_CUTTING:
  case SERVER_STOPPED:
    break;
  }
  if (server->state == SERVER_DRAINING || server->state == SERVER_CUTTING) {
    server->timer.fire = on_timer;
    net_timer_start(&worker->loop.wheel, &server->timer, 0);
  }
}

/* ---- freeing ---- */
static void free_now(struct mdm_server *server) {
  auth_hooks_free(server->hooks);
  net_tls_context_unref(server->link_tls);
  if (server->has_identity)
    net_identity_clean(&server->identity);
  if (server->budget != NULL)
    mdm_mux_budget_free(server->budget);
  net_log_free(server->log);
  server_config_unref(server->config);
  for (int i = 0; i < server->argc; i++)
    free(server->argv[i]);
  free(server->argv);
  free(server->config_json);
  free(server);
}

/* The struct of the loop must stay until the caller's loop has run its close callbacks: another round until it says so. */
static void on_retired(uv_handle_t *handle) {
  struct mdm_server *server = handle->data;
  uv_loop_t *uv = handle->loop;
  if (server->worker.loop.private_ == NULL) {
    free_now(server);
    return;
  }
  uv_idle_init(uv, &server->retire);
  uv_close((uv_handle_t *)&server->retire, on_retired);
}

void mdm_server_free(mdm_server *server) {
  if (server == NULL)
    return;
  assert(server->state == SERVER_NEW || server->state == SERVER_STOPPED);
  if (!server->worker_made) {
    free_now(server);
    return;
  }
  server_close_listeners(server);
  if (server->state == SERVER_NEW)
    worker_cut(&server->worker); /* a start that failed: nobody has come in yet */
  bool callers = server->uv != NULL && server->worker.loop.private_ != NULL;
  worker_clean(&server->worker);
  if (!callers) {
    free_now(server);
    return;
  }
  server->sink = NULL;
  server->retire.data = server;
  uv_idle_init(server->uv, &server->retire);
  uv_close((uv_handle_t *)&server->retire, on_retired);
}
