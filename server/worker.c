/* worker.c: makes and ends what lives on one loop, in the one order that works. */
#include "worker.h"

#include <stdio.h>
#include <string.h>

#include "access_log.h"
#include "admin.h"
#include "agent_set.h"
#include "auth_hooks.h"
#include "door.h"
#include "log.h"
#include "metrics.h"
#include "registry.h"
#include "request_rate.h"
#include "tls_store.h"
#include "visitor.h"

static const struct net_log_actor actor = {.kind = "server"};

static bool user_known(void *self, const char *user) {
  return registry_user_known(self, user);
}

static int fail(char *error, size_t error_size, const char *what, int code) {
  snprintf(error, error_size, "%s: %s", what, uv_strerror(code));
  return -1;
}

static struct tls_store_options store_options(const struct server_config *config, const struct net_identity *identity) {
  return (struct tls_store_options){.certificate = config->tls_cert, .key = config->tls_key, .dir = config->tls_dir, .link = identity};
}

static int open_access_log(struct worker *worker, char *error, size_t error_size) {
  const struct server_config *config = worker->config;
  int status;
  if (config->access_log == NULL)
    return 0;
  status = access_log_open(&worker->access_log, &worker->loop, config->access_log, config->access_format);
  if (status != 0) {
    snprintf(error, error_size, "access-log: cannot open %s: %s", config->access_log, uv_strerror(status));
    return -1;
  }
  return worker_observe(worker, access_log_observer(worker->access_log));
}

int worker_open(struct worker *worker, const struct worker_setup *setup, char *error, size_t error_size) {
  int status;
  *worker = (struct worker){.server = setup->server, .budget = setup->budget, .link_tls = setup->link_tls};
  worker->config = server_config_ref(setup->config);
  worker->pool = mdm_mux_pool_new(setup->budget, NULL);
  if (worker->pool == NULL)
    return fail(error, error_size, "cannot start", UV_ENOMEM);
  if ((status = net_loop_init(&worker->loop, setup->uv, worker->pool, setup->log)) != 0)
    return fail(error, error_size, "no event loop", status);
  worker->started_ms = net_loop_now_ms(&worker->loop);
  if ((status = registry_new(&worker->registry, &worker->loop)) != 0 || (status = metrics_new(&worker->metrics, user_known, worker->registry)) != 0 ||
      (status = door_set_new(&worker->doors, worker)) != 0 || (status = agent_set_new(&worker->agents, worker)) != 0 ||
      (status = visitor_set_new(&worker->visitors, worker)) != 0 || (status = worker_observe(worker, metrics_observer(worker->metrics))) != 0)
    return fail(error, error_size, "cannot start", status);
  worker->rate = request_rate_new();
  if (worker->rate == NULL)
    return fail(error, error_size, "cannot start", UV_ENOMEM);
  if (auth_hooks_open(setup->hooks, worker, error, error_size) != 0)
    return -1;
  if (worker->config->tls_cert != NULL || worker->config->tls_dir != NULL) {
    struct tls_store_options options = store_options(worker->config, setup->identity);
    if (tls_store_open(&worker->tls, &worker->loop, &options, error, error_size) != 0)
      return -1;
  }
  return open_access_log(worker, error, error_size);
}

int worker_observe(struct worker *worker, const struct exchange_observer *observer) {
  if (worker->observers_count >= WORKER_OBSERVERS_MAX)
    return UV_E2BIG;
  worker->observers[worker->observers_count++] = observer;
  return 0;
}

void worker_forget(struct worker *worker, const struct exchange_observer *observer) {
  for (size_t i = 0; i < worker->observers_count; i++)
    if (worker->observers[i] == observer) {
      memmove(&worker->observers[i], &worker->observers[i + 1], (worker->observers_count - i - 1) * sizeof worker->observers[0]);
      worker->observers_count--;
      return;
    }
}

static void close_access_log(struct worker *worker) {
  if (worker->access_log == NULL)
    return;
  metrics_add(worker->metrics, METRICS_ACCESS_LOG_DROPPED, access_log_take_dropped(worker->access_log));
  worker_forget(worker, access_log_observer(worker->access_log));
  access_log_close(worker->access_log);
  worker->access_log = NULL;
}

static int reload_access_log(struct worker *worker) {
  const struct server_config *config = worker->config;
  char error[512];
  int status;
  if (config->access_log == NULL) {
    close_access_log(worker);
    return 0;
  }
  if (worker->access_log == NULL) {
    status = open_access_log(worker, error, sizeof error);
    if (status != 0)
      net_log_write(worker->loop.log, NET_LOG_ERROR, &actor, "access log %s", error);
    return status;
  }
  status = access_log_reopen(worker->access_log, config->access_log, config->access_format);
  if (status != 0)
    net_log_write(worker->loop.log, NET_LOG_ERROR, &actor, "access log %s: %s; the one open before stays in use", config->access_log,
                  uv_strerror(status));
  return status == 0 ? 0 : -1;
}

int worker_reload(struct worker *worker, struct server_config *config, const struct net_identity *identity) {
  char error[1024];
  struct server_config *old = worker->config;
  int status;
  worker->config = server_config_ref(config);
  server_config_unref(old);
  status = reload_access_log(worker);
  if (worker->tls != NULL) {
    struct tls_store_options options = store_options(config, identity);
    if (tls_store_reload(worker->tls, &options, error, sizeof error) != 0) {
      net_log_write(worker->loop.log, NET_LOG_ERROR, &actor, "%s; the certificates loaded before stay in use", error);
      status = -1;
    }
  }
  return status;
}

void worker_drain(struct worker *worker) {
  worker->draining = true;
  visitor_set_drain(worker->visitors);
  agent_set_drain(worker->agents);
}

void worker_cut(struct worker *worker) {
  worker->draining = true;
  if (worker->doors != NULL)
    door_set_close(worker->doors);
  if (worker->visitors != NULL)
    visitor_set_close(worker->visitors);
  if (worker->agents != NULL)
    agent_set_close(worker->agents);
}

bool worker_quiet(const struct worker *worker) {
  return (worker->doors == NULL || door_set_open(worker->doors) == 0) && (worker->visitors == NULL || visitor_set_count(worker->visitors) == 0) &&
         (worker->agents == NULL || agent_set_count(worker->agents) == 0);
}

void worker_clean(struct worker *worker) {
  admin_close(worker->admin);
  worker->admin = NULL;
  close_access_log(worker);
  if (worker->auth != NULL)
    auth_hooks_close(worker);
  visitor_set_free(worker->visitors);
  agent_set_free(worker->agents);
  door_set_free(worker->doors);
  registry_free(worker->registry);
  tls_store_close(worker->tls);
  request_rate_free(worker->rate);
  metrics_free(worker->metrics);
  if (worker->loop.uv != NULL)
    net_loop_clean(&worker->loop);
  if (worker->pool != NULL)
    mdm_mux_pool_free(worker->pool);
  server_config_unref(worker->config);
}
