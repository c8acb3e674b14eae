/* server_reload.c: the configuration read again while the server runs. */
#include <stdio.h>

#include "log.h"
#include "metrics.h"
#include "server_private.h"

#define FIXED_MAX 64u

static const struct net_log_actor actor = {.kind = "server"};

int mdm_server_reload(mdm_server *server) {
  struct worker *worker = &server->worker;
  struct server_config *next = NULL;
  const char *fixed[FIXED_MAX];
  char error[1024];
  int status;
  if (server->state != SERVER_RUNNING)
    return MDM_SERVER_USAGE;
  metrics_count(worker->metrics, METRICS_RELOADS);
  status = server_config_load(&next, server->config_json, server->argc, server->argv, error, sizeof error);
  if (status == CONFIG_OK) {
    size_t count = server_config_fixed_changes(worker->config, next, fixed, FIXED_MAX);
    for (size_t i = 0; i < count; i++)
      net_log_write(server->log, NET_LOG_ERROR, &actor, "reload: \"%s\" cannot change while the server runs: it keeps its value until a restart", fixed[i]);
    if (!server_config_keep_fixed(worker->config, next)) {
      server_config_unref(next);
      next = NULL;
      status = CONFIG_WRONG;
      snprintf(error, sizeof error, "out of memory");
    }
  }
  if (status != CONFIG_OK) {
    net_log_write(server->log, NET_LOG_ERROR, &actor, "reload: %s; the configuration stays as it was", error);
    next = server_config_ref(worker->config);
  }
  /* Also after a bad file: the access log is opened anew and certificates are looked at. */
  if (worker_reload(worker, next, server->has_identity ? &server->identity : NULL) != 0)
    status = CONFIG_WRONG;
  server_config_unref(next);
  if (status != CONFIG_OK)
    metrics_count(worker->metrics, METRICS_RELOADS_FAILED);
  else
    net_log_write(server->log, NET_LOG_INFO, &actor, "reloaded");
  return status == CONFIG_OK ? 0 : MDM_SERVER_CONFIG;
}
