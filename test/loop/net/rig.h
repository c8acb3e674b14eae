/* rig.h: both ends of a link on one loop, over every carrier, with an echo at the server's end. For the tests of link,
 * dial, WebSocket, proxy. */
#ifndef TEST_LOOP_NET_RIG_H
#define TEST_LOOP_NET_RIG_H

#include "dial.h"
#include "identity.h"
#include "link.h"
#include "listener.h"
#include "tls.h"

#define RIG_WAIT_MS 20000u /* a condition that takes longer has failed */

struct rig;

/* One end of a link and what it has been told. */
struct end {
  struct rig *rig;
  struct net_link *link; /* NULL once closed */
  bool ended, drained, goaway;
  int error;
  uint16_t goaway_code;
  char reason[512], goaway_text[256];
  unsigned messages, pongs, opens;
  bool refuse_streams;
  bool close_on_message; /* closes its link inside the callback */
};

/* How the server's side treats a connection. */
enum rig_front { RIG_BARE, RIG_LINK_TLS, RIG_WS, RIG_WSS };

struct rig {
  struct net_loop loop;
  mdm_mux_budget *budget;
  mdm_mux_pool *pool;
  uv_timer_t watchdog;
  uint64_t started_ms;
  struct net_identity identity;
  struct net_tls_context *link_server, *link_client, *web_server, *web_client;
  char directory[64];
  struct net_listener *listener;
  uint16_t port;
  enum rig_front front;
  struct end client, server;
  struct net_link_options client_options, server_options; /* intervals; ops and owner are filled in */
  struct net_dial *dial;
  struct net_conn *dialled;
  int dial_error;
  bool dial_done;
  char dial_reason[1024];
  unsigned accepted;
  unsigned held_streams; /* echo streams alive at the server's end */
};

int rig_open(void **state); /* cmocka setup and teardown */
int rig_close(void **state);

bool rig_wait(struct rig *rig, bool (*met)(struct rig *rig));
void rig_run_for(struct rig *rig, unsigned ms);
void rig_listen(struct rig *rig, enum rig_front front);
void rig_dial(struct rig *rig, const struct net_dial_request *request); /* waits for its end */
/* Links over a socket pair, or over TCP and what the carrier needs. */
void rig_link_pair(struct rig *rig);
void rig_link_carrier(struct rig *rig, enum net_carrier carrier, const struct net_proxy *proxy);
void rig_link_start(struct rig *rig); /* both muxes out of their handshake */
struct net_link *rig_link_over(struct rig *rig, struct end *end, enum mdm_role role, struct net_conn *conn);
void rig_end_close(struct end *end);

/* A transfer: sends `total` bytes of a pattern on a stream of its own, expects the same back, then FIN. */
struct transfer {
  mdm_stream *stream;
  uint64_t total, sent, received;
  bool fin, closed, corrupt, reset;
  enum mdm_reset code;
};
int transfer_begin(struct transfer *transfer, struct net_link *link, uint64_t total);

#endif
