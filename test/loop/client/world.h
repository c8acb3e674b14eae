/* world.h: what a loop test of the client needs around it, all on one uv loop: a server peer that speaks the link and
 * the handshake and does what the test says, local services, visitors' streams, and a client with its events written
 * down. */
#ifndef TEST_CLIENT_WORLD_H
#define TEST_CLIENT_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "conn.h"
#include "hello.h"
#include "identity.h"
#include "link.h"
#include "listener.h"
#include "mdm/client.h"

#define PEER_LINKS_MAX    16
#define ORIGIN_CONNS_MAX  64
#define VISITOR_BYTES_MAX (8u * 1024u * 1024u)

struct world;

struct peer_link {
  struct peer *peer;
  struct net_link *link; /* NULL once ended */
  struct net_hello hello;
  struct net_auth auth;
  bool has_hello, has_auth, ready, drained, goaway;
  unsigned services_received;
};

/* The server. Set the script before the client connects. */
struct peer {
  struct world *world;
  struct net_listener *listener;
  struct net_identity identity;
  struct net_tls_context *tls; /* NULL: plaintext */
  uint16_t port;
  struct peer_link links[PEER_LINKS_MAX];
  size_t links_count;           /* ever */
  struct net_services services; /* last received */
  /* script */
  bool wants_login;
  uint32_t version; /* 0 = 1 */
  int refuse;       /* GOAWAY code instead of READY; -1 = none */
  const char *refuse_text;
  const char *refuse_service; /* this name gets a refusal; "*" = all */
  bool silent;                /* accepts and says nothing */
};

/* A local service. */
enum origin_behaviour { ORIGIN_ECHO, ORIGIN_KEEP, ORIGIN_STALL };
struct service;
struct service_conn;
struct service_conn {
  struct service *service;
  struct net_conn *conn;
  uint8_t *bytes; /* KEEP: what came */
  size_t size;
  bool ended;          /* FIN came */
  int error;           /* reset came */
  uint8_t held[16384]; /* ECHO: not yet sent back */
  size_t held_size;
};
struct service {
  struct world *world;
  enum origin_behaviour behaviour;
  struct net_listener *listener;
  uv_pipe_t pipe;
  bool has_pipe;
  struct net_tls_context *tls;
  uint16_t port;
  struct service_conn conns[ORIGIN_CONNS_MAX];
  size_t count;
};

/* A stream that the peer opens. */
struct visitor {
  mdm_stream *stream;
  const uint8_t *out;
  size_t out_size, out_sent;
  bool finish; /* after `out` */
  uint8_t *in;
  size_t in_size;
  bool opened, fin, closed, not_delivered;
  enum mdm_reset reset;
};

struct world {
  uv_loop_t uv;
  mdm_mux_budget *budget;
  mdm_mux_pool *pool;
  struct net_loop loop;
  struct peer peer;
  char directory[64];
  char file[128], known[128]; /* services file, known servers */
  struct mdm_client_options options;
  mdm_client *client;
  enum mdm_client_status status;
  bool stopped;
  char events[16384]; /* "connected tim/name\n" "url hello http://...\n" ... */
  bool client_closed;
};

void world_open(struct world *world, bool tls);
void world_close(struct world *world);
/* Runs the loop until `*condition`-like function is true; fails the test after 10 s, naming `what`. */
void world_until(struct world *world, bool (*done)(void *argument), void *argument, const char *what);
void world_turns(struct world *world, unsigned ms); /* lets that much time pass */
/* The options are plaintext (or TLS with the world's known servers) to the peer as user tim; services from `file` if it
 * was written. */
void world_start(struct world *world);
bool world_heard(const struct world *world, const char *text);
void world_until_heard(struct world *world, const char *text);
void world_until_stopped(struct world *world);
void world_write_file(struct world *world, const char *text);

struct peer_link *peer_ready_link(struct world *world);          /* waits for one that is ready; the newest */
uint32_t peer_service_id(struct world *world, const char *name); /* of the last SERVICES; 0 = not there */
void peer_answer_services(struct peer_link *link, uint64_t serial);

void service_open(struct service *service, struct world *world, const char *address, enum origin_behaviour behaviour,
                  bool tls);
void service_open_unix(struct service *service, struct world *world, const char *path);
void service_close(struct service *service);
void service_forget(struct service *service); /* closes its connections; it goes on */

int visitor_open(struct visitor *visitor, struct peer_link *link, uint32_t service, const void *out, size_t size,
                 bool finish);
int visitor_open_raw(struct visitor *visitor, struct peer_link *link, const struct mdm_open *open);
void visitor_clean(struct visitor *visitor);
bool visitor_is_closed(void *visitor);

#endif
