/* server_private.h: the server as its own files see it: server.c (making, starting), server_stop.c (drain, stop, free), server_reload.c. */
#ifndef SERVER_PRIVATE_H
#define SERVER_PRIVATE_H

#include "auth_hooks.h"
#include "identity.h"
#include "listeners.h"
#include "mdm/server.h"
#include "worker.h"

#define SERVER_QUIET_POLL_MS 50u /* how often a drain looks whether everybody has gone */

/*  NEW -> RUNNING -> DRAINING -> CUTTING -> STOPPED      NEW, RUNNING -> CUTTING when start fails or nothing is waited for */
enum server_state { SERVER_NEW, SERVER_RUNNING, SERVER_DRAINING, SERVER_CUTTING, SERVER_STOPPED };

struct mdm_server {
  enum server_state state;
  struct worker worker;
  bool worker_made;              /* worker_open() was called */
  struct server_config *config;  /* of the start: the hooks keep pointing to it */
  char *config_json;
  char **argv;                   /* copies, for reloads */
  int argc;
  uv_loop_t *uv;                 /* the caller's, or NULL */
  void (*sink)(int level, const char *line, void *user);
  void *sink_user;
  struct net_log *log;
  mdm_mux_budget *budget;
  struct net_identity identity;
  bool has_identity;
  struct net_tls_context *link_tls;
  struct auth_hooks *hooks;
  struct listeners http, https, client;
  struct net_timer timer;        /* drain */
  uint64_t drain_until_ms;
  void (*stopped)(mdm_server *server, void *user);
  void *stopped_user;
  uv_idle_t retire;              /* its close callback, after those of the loop's own handles, frees the server */
};

void server_enter(struct mdm_server *server, enum server_state state);
void server_close_listeners(struct mdm_server *server);
/* A line for the operator that is worth saying without -v; not under -q. */
void server_notice(struct mdm_server *server, const char *line);

#endif
