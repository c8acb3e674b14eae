/* link.h: a mux session over a connection: feeds what arrives, flushes once an iteration, keeps the heartbeat. Both programs use it.
 *
 * The owner makes the mux (with its own callbacks) through net_link_open, which fills in clock and output callbacks. The link owns both
 * the connection and the mux. It ends by exactly one call of ops->ended; then the owner calls net_link_close().
 */
#ifndef NET_LINK_H
#define NET_LINK_H

#include "conn.h"
#include "mdm/mux.h"

#define NET_LINK_NOTSENT_LOWAT (16u * 1024u) /* what the kernel may hold unsent: what comes later can still go ahead */
#define NET_LINK_LAST_WORDS_MS 1000u         /* for a GOAWAY to leave and the peer to hang up */
#define NET_LINK_GRACE_MS 2000u              /* for the peer to be heard after we ourselves were stopped or asleep */
#define NET_PROBES_MAX 64u
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
/* Takes `conn` (already with its layers, perhaps still in their handshakes). 0 or UV_; on error the connection is closed. No op is called from
 * inside. Urgent output (PING, PONG, RESET) leaves right after the bytes that caused it were fed, everything else at the end of the iteration. */
int net_link_open(struct net_link **out, struct net_conn *conn, const struct net_link_options *options);
void *net_link_owner(const struct net_link *link);
mdm_mux *net_link_mux(const struct net_link *link); /* NULL once ended() is called */
struct net_conn *net_link_conn(const struct net_link *link);
/* GOAWAY; existing streams finish; then drained() and a clean end by the owner's net_link_close. Without drained(): ended(0). */
void net_link_drain(struct net_link *link, enum mdm_goaway code, const char *text);
/* GOAWAY with a code and text goes out (bounded: 1 s), then the connection closes; ended() is called with UV_ECANCELED. */
void net_link_refuse(struct net_link *link, enum mdm_goaway code, const char *text);
/* Pings and answers how: done(alive) within timeout_ms. A second probe meanwhile asks to be told too, up to NET_PROBES_MAX; one more is told
 * `true`. Bytes that arrive in the second half of the time count as an answer, so that a slow and busy link is not taken for dead. When
 * the link ends or is closed, the answer is `false`, at the next tick. */
struct net_probe {
  struct net_probe *next;
  struct net_timer timer;
  struct net_link *link;
  void (*done)(struct net_probe *probe, bool alive);
  struct net_loop *loop;
  uint64_t alive_from_ms;
  bool surplus;
};
void net_link_probe(struct net_link *link, struct net_probe *probe, uint32_t timeout_ms);
void net_probe_cancel(struct net_probe *probe);
/* Closes everything now (streams with their callbacks); no more ops; frees. Inside an op or a stream's callback it is done at the end of the
 * iteration. After a drain the peer is told goodbye in order (close_notify, FIN). */
void net_link_close(struct net_link *link);

#endif
