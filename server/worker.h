/* worker.h: one loop of the server and what lives on it. Passed to every actor; nothing here is global. */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "config.h"
#include "loop.h"
#include "observer.h"

struct agent_set;      /* agent.c: the connected clients of this worker */
struct access_log;
struct admin;
struct auth_chain;
struct auth_hooks;
struct door_set;       /* door.c: accepted connections that nobody owns yet, and the count of all */
struct metrics;
struct net_identity;
struct net_tls_context;
struct registry;
struct request_rate;
struct mdm_server;     /* server.c */
struct tls_store;
struct visitor_set;    /* visitor.c: the public connections of this worker */

#define WORKER_OBSERVERS_MAX 8

struct worker {
  struct net_loop loop;
  struct mdm_server *server;
  struct server_config *config;       /* current; an exchange takes a reference of its own */
  struct registry *registry;
  struct auth_chain *auth;
  struct metrics *metrics;
  struct agent_set *agents;
  struct visitor_set *visitors;
  struct net_tls_context *link_tls;   /* the link identity, for every way in; NULL under plaintext */
  struct door_set *doors;
  struct request_rate *rate;          /* requests a second; NULL = nobody counts */
  struct tls_store *tls;              /* certificates of the public HTTPS port; NULL without one */
  struct access_log *access_log;      /* NULL without one */
  struct admin *admin;                /* NULL without one */
  mdm_mux_budget *budget;             /* of the whole server: bytes held for slow readers */
  mdm_mux_pool *pool;                 /* of this loop */
  const struct exchange_observer *observers[WORKER_OBSERVERS_MAX];
  size_t observers_count;
  uint16_t public_port, public_https_port; /* really bound, for URLs and X-Forwarded-Port */
  uint64_t started_ms;
  bool draining;
};

/* What a worker is made of that it does not own: shared by all of them, outlives them. */
struct worker_setup {
  struct mdm_server *server;
  struct server_config *config;
  uv_loop_t *uv;                      /* the caller's, or NULL */
  struct net_log *log;
  mdm_mux_budget *budget;
  struct net_tls_context *link_tls;   /* NULL under plaintext */
  const struct net_identity *identity;/* NULL under plaintext */
  struct auth_hooks *hooks;
};
/* Makes everything but listeners. 0, or -1 with a sentence: then worker_clean() is still to be called. */
int worker_open(struct worker *worker, const struct worker_setup *setup, char *error, size_t error_size);
int worker_observe(struct worker *worker, const struct exchange_observer *observer); /* 0 or UV_E2BIG */
void worker_forget(struct worker *worker, const struct exchange_observer *observer);
/* Takes a reference to `config`: what can change while running does. Complaints go to the log. 0, or -1 when a part kept what it had. */
int worker_reload(struct worker *worker, struct server_config *config, const struct net_identity *identity);
void worker_drain(struct worker *worker);       /* says goodbye to clients and idle visitors */
void worker_cut(struct worker *worker);         /* closes every connection now */
bool worker_quiet(const struct worker *worker); /* every connection is gone */
/* Frees everything once quiet; the loop itself last (net_loop_clean). */
void worker_clean(struct worker *worker);

#endif
