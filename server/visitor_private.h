/* visitor_private.h: one public connection as its parts see it: visitor.c (life, states, events), visitor_read.c (heads and bodies in),
 * visitor_write.c (answers out), visitor_kept.c (idle upstreams). */
#ifndef SERVER_VISITOR_PRIVATE_H
#define SERVER_VISITOR_PRIVATE_H

#include "exchange.h"
#include "http_side.h"
#include "visitor.h"

#define VISITOR_READ_SIZE 16384u       /* one read of a head; what is behind it waits in the connection */
#define VISITOR_KEPT_MAX 8u            /* idle upstreams of one visitor */
#define VISITOR_LINGER_MS 5000u        /* after the last answer: until the visitor has closed, too */
#define VISITOR_LINGER_DRAIN_MS 1000u  /* the same while the server is being stopped: it waits for the last visitor */
#define VISITOR_LINGERS_MAX 60u        /* five minutes at most for a reader that is merely slow */
#define VISITOR_LINGER_BYTES (8u * 1024u * 1024u) /* thrown away meanwhile, so that no reset destroys the answer on its way */
#define VISITOR_RATE_WINDOW_MS 60000u  /* of waiting for a request's body */
#define VISITOR_RATE_BYTES (60u * 1024u)
#define VISITOR_PIECES_MAX 48u

enum visitor_state {
  VISITOR_IDLE,      /* waits for a request; holds no buffer */
  VISITOR_READ_HEAD,
  VISITOR_EXCHANGE,
  VISITOR_FLUSH,     /* the answer is whole, its rest is still here; then IDLE */
  VISITOR_DRAIN,     /* as FLUSH, but the last one: then our FIN, and what still comes is thrown away until the visitor's */
  VISITOR_CLOSING,
};

struct visitor {
  struct visitor *next, **link;        /* in the set */
  struct visitor_set *set;
  struct net_conn *conn;               /* NULL once handed over */
  struct net_timer timer;              /* of the state; in EXCHANGE: the rate of the request's body */
  struct net_task task;                /* what may not happen inside an event of the upstream */
  uint64_t id;
  struct exchange *x;
  struct http_buffer *out;             /* written here, not yet taken by the connection */
  struct upstream *kept;               /* newest first */
  struct http_body body;               /* of the request */
  struct http_scan *trailers;          /* of the request, while they come */
  struct http_buffer *trailer_bytes;
  uint64_t chunk_left;                 /* bytes still owed to the chunk that was announced */
  uint64_t wait_since_ms, waited_ms, window_bytes; /* the body's rate */
  size_t drained;                      /* bytes thrown away in DRAIN */
  enum page_cause fault;               /* with `refused`: why */
  const char *fault_why;
  uint8_t state;                       /* enum visitor_state */
  uint8_t framing;                     /* enum http_framing of the answer, as the visitor gets it */
  uint8_t kept_count;
  uint8_t lingers;                     /* times that DRAIN was prolonged for bytes that a layer still holds */
  bool blocked : 1;                    /* the connection took less than it was given */
  bool broken : 1, reset : 1;          /* to be closed by the task (with RST) */
  bool refused : 1;                    /* the request's body is at fault: told by the task */
  bool keep_alive : 1;                 /* another request may follow this answer */
  bool answered : 1;                   /* a final head has been written */
  bool expecting : 1;                  /* waits for 100 Continue: its silence is no slowness */
  bool fin_seen : 1, eof : 1;          /* FIN noticed while paused; UV_EOF read */
  bool raw : 1, raw_in_done : 1, raw_out_done : 1;
  bool shut : 1;
  bool waiting : 1;                    /* for bytes of the body */
  char peer_text[NET_ADDRESS_TEXT];
};

struct visitor_set {
  struct http_side side;
  struct visitor *first;
  size_t count;
};

/* ---- visitor.c ---- */
void visitor_enter(struct visitor *v, enum visitor_state state);
void visitor_close(struct visitor *v, bool reset);     /* idempotent; not inside an event of the upstream */
void visitor_break(struct visitor *v, bool reset);     /* the same, from anywhere: closes at the end of the iteration */
void visitor_defer(struct visitor *v);
extern const struct exchange_front visitor_front;

/* ---- visitor_read.c ---- */
void visitor_read_head(struct visitor *v);
void visitor_head_late(struct visitor *v);
bool visitor_pull(struct exchange *x, size_t room);
void visitor_rate_check(struct visitor *v);
void visitor_look_ahead(struct visitor *v);            /* the visitor's FIN was seen: is it behind this request? */
void visitor_discard(struct visitor *v);               /* DRAIN: throws away what comes; closes after the visitor's FIN */
void visitor_read_clean(struct visitor *v);

/* ---- visitor_write.c ---- */
void visitor_answer(struct exchange *x, struct http_scan *scan, const struct http_answer *answer);
size_t visitor_body(struct exchange *x, const struct mdm_slice *slices, size_t count, bool last, const struct http_scan *trailers);
size_t visitor_raw(struct exchange *x, const struct mdm_slice *slices, size_t count);
void visitor_raw_fin(struct exchange *x);
void visitor_given(struct exchange *x, struct page_bytes *bytes, bool close);
void visitor_flush_front(struct exchange *x);
bool visitor_flush(struct visitor *v);                 /* true when nothing waits any more */
void visitor_shut(struct visitor *v);                  /* our FIN, once what waits has left */

/* ---- visitor_kept.c ---- */
struct upstream *visitor_take(struct exchange *x, const struct upstream_key *key, uint64_t idle_max_ms);
void visitor_keep(struct exchange *x, struct upstream *upstream);
void visitor_retire_kept(struct visitor *v);

static inline struct net_loop *visitor_loop(const struct visitor *v) {
  return &v->set->side.worker->loop;
}

#endif
