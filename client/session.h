/* session.h: one link to the server after it is connected and its key is trusted: the handshake, the announcement of
 * services, the streams. The tunnel owns sessions: one that serves, and older ones that drain.
 *
 *   HELLO --CHALLENGE--> LOGIN --READY--> SERVE --GOAWAY DRAIN, or session_drain()--> DRAIN --> ENDED
 *
 * Events come from inside the link's callbacks: the owner stores them and acts later (it must not close the session
 * there).
 */
#ifndef CLIENT_SESSION_H
#define CLIENT_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "conn.h"
#include "hello.h"
#include "origin.h"
#include "services.h"

struct session;

struct session_identity {   /* owned by the tunnel, outlives its sessions */
  const char *user, *token; /* "" = none */
  const char *client_name;
  bool name_explicit, replace;
  uint8_t instance[NET_INSTANCE_SIZE];
};

struct session_ops {
  /* READY, and every SERVICES_OK after it. The verdicts name ids of the map. */
  void (*ready)(struct session *session, const struct net_ready *ready);
  void (*verdicts)(struct session *session, const struct net_services_ok *services);
  void (*goaway)(struct session *session, uint16_t code, const char *text);
  /* This side can go no further: a code of enum mdm_goaway and a sentence. The session ends by itself after it. */
  void (*refused)(struct session *session, uint16_t code, const char *text);
  void (*drained)(struct session *session);
  void (*ended)(struct session *session, int error, const char *reason); /* last; session_close() is due */
};

struct session_config {
  const struct session_identity *identity;
  const struct service_map *map; /* read at CHALLENGE and at every OPEN */
  struct origin_pool *origins;
  uint64_t epoch;
  uint64_t *serial; /* of SERVICES, counts up over all sessions */
  uint32_t heartbeat_ms;
  const struct session_ops *ops;
  void *owner;
};

/* Takes `conn`. 0 or a UV_ code (then `conn` is closed). */
int session_open(struct session **out, struct net_loop *loop, struct net_conn *conn,
                 const struct session_config *config);
void session_close(struct session *session); /* everything now, without events; not from inside one */
void *session_owner(const struct session *session);
bool session_is_ready(const struct session *session);
size_t session_streams(const struct session *session);
uint64_t session_ready_since_ms(const struct session *session);
/* The map changed: SERVICES again. Nothing before READY. 0 or a UV_ code. */
int session_announce(struct session *session);
void session_drain(struct session *session,
                   const char *text);        /* GOAWAY DRAIN; drained() when the streams have finished */
void session_probe(struct session *session); /* ends with UV_ETIMEDOUT unless it answers soon */

#endif
