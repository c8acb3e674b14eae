/* tunnel.h: keeps one session with the server: dials, judges its key, logs in, serves, and begins again.
 *
 *   IDLE -> DIAL -> LOGIN -> SERVE -> (link lost) BACKOFF -> DIAL ...
 *             \        \        \
 *              `--------`--------`-> BACKOFF, or STOPPED when retrying is pointless
 *   tunnel_stop() from anywhere -> DRAIN -> STOPPED
 *
 * On GOAWAY DRAIN the session moves aside to finish its streams while a new one is dialled.
 */
#ifndef CLIENT_TUNNEL_H
#define CLIENT_TUNNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backoff.h"
#include "dial.h"
#include "mdm/client.h"
#include "origin.h"
#include "services.h"
#include "session.h"
#include "trust.h"

#define TUNNEL_ENDPOINTS_MAX 16u
#define TUNNEL_DRAINING_MAX  4u     /* old sessions that finish their streams; beyond it the oldest is cut */
#define TUNNEL_DRAIN_MS      10000u /* for the streams after tunnel_stop */
#define TUNNEL_TEXT_MAX      1280u

struct tunnel;

struct tunnel_endpoint {
  struct net_endpoint endpoint;
  char host[256]; /* the server as the user named it: one identity whatever the carrier */
  uint16_t port;
};

struct tunnel_config { /* outlives the tunnel */
  struct net_loop *loop;
  struct tunnel_endpoint endpoints[TUNNEL_ENDPOINTS_MAX];
  size_t endpoints_count;
  const struct net_proxy *proxy; /* or NULL */
  const char *ca;                /* or NULL */
  struct trust trust;
  struct session_identity identity;
  uint32_t heartbeat_ms, max_attempts;
  bool login_only;
  const struct service_map *map;
  struct origin_pool *origins;
};

struct tunnel_ops {
  void (*event)(struct tunnel *tunnel, const struct mdm_client_event *event, void *owner); /* STOPPED is the last */
};

int tunnel_new(struct tunnel **out, const struct tunnel_config *config, const struct tunnel_ops *ops, void *owner);
void tunnel_free(struct tunnel *tunnel); /* ends everything without events; not from inside one */
void tunnel_start(struct tunnel *tunnel);
void tunnel_stop(struct tunnel *tunnel);     /* drains; again: at once */
void tunnel_poke(struct tunnel *tunnel);     /* the network changed: dial now, or probe */
void tunnel_announce(struct tunnel *tunnel); /* the map changed */
bool tunnel_is_connected(const struct tunnel *tunnel);
size_t tunnel_streams(const struct tunnel *tunnel);

#endif
