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
struct door_set;       /* door.c: accepted connections that nobody owns yet, and the count of all */
struct metrics;
struct net_tls_context;
struct registry;
struct server;         /* server.c */
struct tls_store;
struct visitor_set;    /* visitor.c: the public connections of this worker */

#define WORKER_OBSERVERS_MAX 8

struct worker {
  struct net_loop loop;
  struct server *server;
  struct server_config *config;       /* current; an exchange takes a reference of its own */
  struct registry *registry;
  struct auth_chain *auth;
  struct metrics *metrics;
  struct agent_set *agents;
  struct visitor_set *visitors;
  struct net_tls_context *link_tls;   /* the link identity, for every way in; NULL under plaintext */
  struct door_set *doors;
  struct tls_store *tls;              /* certificates of the public HTTPS port; NULL without one */
  struct access_log *access_log;      /* NULL without one */
  struct admin *admin;                /* NULL without one */
  const struct exchange_observer *observers[WORKER_OBSERVERS_MAX];
  size_t observers_count;
  uint16_t public_port, public_https_port; /* really bound, for URLs and X-Forwarded-Port */
  uint64_t started_ms;
  bool draining;
};

#endif
