/* pair.h: two connected connections on one loop, each sending a known stream of bytes and checking what it receives. */
#ifndef TEST_LOOP_NET_PAIR_H
#define TEST_LOOP_NET_PAIR_H

#include "conn.h"
#include "identity.h"
#include "tls.h"

struct peer {
  struct net_conn *conn; /* NULL once closed */
  struct net_loop *loop;
  uint64_t random;
  uint8_t seed_out, seed_in;   /* which stream is sent, which is expected */
  uint64_t to_send, sent;
  uint64_t received;
  size_t slice_max;            /* largest slice of a write */
  size_t read_max;             /* largest read */
  bool slow;                   /* pauses now and then */
  bool shuts_down;             /* after the last byte */
  bool reads;                  /* false: pauses at the first event and stays so */
  bool shut, eof, corrupt;
  int error;                   /* other than UV_EOF, of a read or write */
  unsigned readable_events, writable_events, hangups, hangup_errors;
  int hangup_error;
  struct net_timer resume_timer;
  struct net_task resume_task;
};

struct pair {
  struct net_loop loop;
  struct peer client, server;
  struct net_identity identity;
  struct net_tls_context *server_tls, *client_tls;
  uv_timer_t watchdog;
  char directory[64];
};

void pair_open(struct pair *pair, unsigned tls_layers); /* connected over TCP, a small send buffer */
void pair_open_unix(struct pair *pair);                 /* plain, over a Unix socket pair */
void pair_close(struct pair *pair);                     /* closes what is open; asserts that nothing is left */
void pair_run_until(struct pair *pair, bool (*done)(const struct pair *pair));
const struct net_conn_ops *peer_events(void);           /* what a peer does; the owner is the struct peer */
void peer_write(struct peer *peer);                     /* sends as much as goes */
bool pair_finished(const struct pair *pair);            /* everything sent, received, and EOF seen by who expects it */
uint8_t stream_byte(uint8_t seed, uint64_t at);
unsigned open_descriptors(void);

#endif
