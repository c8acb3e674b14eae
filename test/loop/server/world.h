/* world.h: one worker with its registry and agents on a loop of its own, and clients made of net/link that talk to it over real sockets. */
#ifndef TEST_LOOP_SERVER_WORLD_H
#define TEST_LOOP_SERVER_WORLD_H

#include "agent.h"
#include "agent_set.h"
#include "auth.h"
#include "auth_hooks.h"
#include "hello.h"
#include "link.h"
#include "listener.h"
#include "registry.h"
#include "worker.h"

#define WORLD_WAIT_MS 8000u
#define CLIENT_LIST_MAX 8

struct world {
  struct worker worker;
  struct server_config *config;
  struct auth_hooks *hooks;  /* as configured; NULL when the test gave its own */
  struct net_listener *listener;
  mdm_mux_budget *budget;
  struct net_log *log;
};

/* What a client does and what it was told. */
struct client {
  struct world *world;
  struct net_link *net;
  struct net_auth auth;
  struct net_hello hello;
  struct net_service services[CLIENT_LIST_MAX];
  size_t services_count;
  uint64_t serial;
  bool mute;                 /* never sends AUTH */
  bool open_mode;            /* as the challenge said */
  struct net_ready ready;
  bool is_ready;
  struct net_services_ok verdicts; /* of the last SERVICES_OK */
  unsigned verdicts_count;
  int goaway;                /* code, -1 = none yet */
  char text[NET_SENTENCE_MAX + 1];
  bool ended;
  unsigned opened;           /* streams that the server opened here */
  uint32_t opened_service;
  /* Takes the streams that the server opens; NULL: each is refused with MDM_RESET_CONNECT. */
  enum mdm_reset (*on_open)(struct client *client, mdm_stream *stream, const struct mdm_open *open);
  void *user;
};

/* hooks NULL: those that the config asks for, open mode if none. `setup` may change the config before anything is made. */
void world_open(struct world *world, const struct auth_hook_entry *hooks, size_t count, void (*setup)(struct server_config *config));
void world_close(struct world *world);
/* Runs the loop until `done` says so; fails the test after WORLD_WAIT_MS. */
void world_until(struct world *world, bool (*done)(void *arg), void *arg);
void world_run_ms(struct world *world, uint32_t ms);

/* A client of `user` with its own random instance. Services: names, ended by NULL. */
void client_init(struct client *client, struct world *world, const char *user, const char *name, ...) __attribute__((sentinel));
void client_connect(struct client *client);
void client_services(struct client *client, ...) __attribute__((sentinel)); /* sends a new list; ids go on counting */
void client_token(struct client *client, const char *token);
void client_close(struct client *client);   /* the process dies: no goodbye */
void client_leave(struct client *client);   /* GOAWAY */
void client_freeze(struct client *client);  /* reads no more */
void client_thaw(struct client *client);
void client_clean(struct client *client);
void client_wait_ready(struct client *client);
void client_wait_ended(struct client *client);
const struct net_service_verdict *client_verdict(const struct client *client, const char *service);

/* A visitor's request on a connection of its own (it should say Connection: close); the answer as far as `capacity` goes. */
void world_visit(struct world *world, const char *request, char *answer, size_t capacity);

/* The agent that serves the name, or NULL. */
struct agent *world_holder(struct world *world, const char *key);
enum registry_state world_find(struct world *world, const char *key);

#endif
