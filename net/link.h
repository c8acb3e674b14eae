/* link.h: a mux session over a connection: feeds what arrives, flushes once an iteration, keeps the heartbeat. Both programs use it.
 *
 * The owner makes the mux (with its own callbacks) through net_link_open, which fills in clock and output callbacks. The link owns both
 * the connection and the mux. It ends by exactly one call of ops->ended; then the owner calls net_link_close().
 */
#ifndef NET_LINK_H
#define NET_LINK_H

#include "conn.h"
#include "mdm/mux.h"

#define NET_HEARTBEAT_MS 5000u     /* a ping when nothing was received for so long */
#define NET_SILENCE_MS 14000u      /* nothing received for so long: the link is dead (noticed within 15 s) */

struct net_link;
struct net_link_ops {
  int (*message)(struct net_link *link, enum mdm_message type, const uint8_t *data, size_t size); /* non-zero fails the session */
  enum mdm_reset (*open)(struct net_link *link, mdm_stream *stream, const struct mdm_open *open);
  void (*goaway)(struct net_link *link, uint32_t last_id, uint16_t code, const char *text, size_t size);
  void (*pong)(struct net_link *link, uint64_t rtt_us);  /* may be NULL */
  void (*drained)(struct net_link *link);                /* after net_link_drain: no stream left and all sent; may be NULL */
  /* The carrier or the session is over: `error` a UV_ code (0 = clean end after drain, UV_ETIMEDOUT = silence,
   * UV_EPROTO = protocol), `reason` a sentence. Every stream has been closed with its callbacks. */
  void (*ended)(struct net_link *link, int error, const char *reason);
};
struct net_link_options {
  enum mdm_role role;
  uint32_t heartbeat_ms, silence_ms; /* 0 = the defaults */
  uint32_t max_streams, open_credit; /* as in mdm_mux_config */
  const struct net_link_ops *ops;
  void *owner;
};
/* Takes `conn` (already with its layers). 0 or UV_; on error the connection is closed. */
int net_link_open(struct net_link **out, struct net_conn *conn, const struct net_link_options *options);
void *net_link_owner(const struct net_link *link);
mdm_mux *net_link_mux(const struct net_link *link);
struct net_conn *net_link_conn(const struct net_link *link);
/* GOAWAY; existing streams finish; then drained() and a clean end by the owner's net_link_close. */
void net_link_drain(struct net_link *link, enum mdm_goaway code, const char *text);
/* GOAWAY with a code and text goes out (bounded: 1 s), then the connection closes; ended() is called with UV_ECANCELED. */
void net_link_refuse(struct net_link *link, enum mdm_goaway code, const char *text);
/* Pings and answers how: done(alive) within timeout_ms. One at a time (a second asks to be told too, up to 64). */
struct net_probe {
  struct net_probe *next;
  struct net_timer timer;
  struct net_link *link;
  void (*done)(struct net_probe *probe, bool alive);
};
void net_link_probe(struct net_link *link, struct net_probe *probe, uint32_t timeout_ms);
void net_probe_cancel(struct net_probe *probe);
/* Closes everything now; no more callbacks; frees. */
void net_link_close(struct net_link *link);

#endif
