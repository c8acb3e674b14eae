/* auth_pool.h: a few kept connections to one HTTP server, and the requests that wait for one. */
#ifndef SERVER_AUTH_POOL_H
#define SERVER_AUTH_POOL_H

#include "auth_reply.h"
#include "loop.h"

#define AUTH_POOL_CONNECTIONS 32u
#define AUTH_POOL_QUEUE 1024u      /* more are refused at once */
#define AUTH_POOL_IDLE_MS 30000u   /* then a kept connection is closed */

struct auth_pool;
struct auth_pool_conn;

/* Embedded in its owner. */
struct auth_request {
  const char *bytes; /* the whole request; must stay until done or cancel */
  size_t size;
  /* error 0: `reply` is there, for the call. Else a UV_ code. Once. */
  void (*done)(struct auth_request *request, int error, const struct auth_reply *reply);
  /* private */
  struct auth_request *next, **link; /* NULL link = not waiting */
  struct auth_pool_conn *conn;
  bool again; /* it has been sent on a kept connection that was dead */
};

/* 0, or -1 with a sentence. `authority` and `path` are what a request line and Host need; valid as long as the pool. */
int auth_pool_open(struct auth_pool **out, struct net_loop *loop, const char *url, char *error, size_t error_size);
const char *auth_pool_authority(const struct auth_pool *pool);
const char *auth_pool_path(const struct auth_pool *pool);
/* Never calls done from inside. 0, or UV_EBUSY when the queue is full. */
int auth_pool_submit(struct auth_pool *pool, struct auth_request *request);
void auth_pool_cancel(struct auth_pool *pool, struct auth_request *request);
void auth_pool_close(struct auth_pool *pool); /* no request is left */

#endif
