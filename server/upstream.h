/* upstream.h: what an exchange sees of the connection to a service: a small table of functions, and events back. It speaks HTTP/1.1 there, or is a raw
 * pipe after a 101. One exchange at a time; between exchanges it may be kept.
 *
 *   exchange                          upstream
 *     start(head as text)       ->
 *                               <-    room(): bring body bytes now (write / reserve+commit, last)      } in any
 *                               <-    head(): 1xx, then one answer head                                } order
 *                               <-    body(): slices; the number that was taken comes back             } of the two
 *                               <-    end(): the answer is whole                                        } directions
 *     release() or reset()      ->
 *                               <-    lost(): instead of end
 *     raw: after a 101 head: room()/write, raw(), raw_fin(), finish()
 *
 * Slices are valid during the call. Inside an event the exchange may call anything of its upstream; the object lives on until the event returned.
 * Implemented by upstream_stream.c (a mux stream). */
#ifndef SERVER_UPSTREAM_H
#define SERVER_UPSTREAM_H

#include "http_body.h"
#include "http_pool.h"
#include "mdm/mux.h"

struct agent;
struct net_loop;
struct upstream;

enum upstream_fault {
  UPSTREAM_RESET,      /* `code` and `not_delivered` tell */
  UPSTREAM_EOF,        /* it ended before the answer was whole */
  UPSTREAM_NONSENSE,   /* not HTTP, or against its rules: `why` */
  UPSTREAM_TOO_LARGE,  /* answer head over the limits */
  UPSTREAM_MEMORY,
};
struct upstream_loss {
  enum upstream_fault fault;
  enum mdm_reset code;
  bool not_delivered;  /* no byte reached the origin */
  bool silent;         /* no byte of an answer had come */
  const char *why;     /* a sentence */
};

struct upstream_events {
  /* The request's body (or raw bytes) may go on: at most about `room` bytes now. True while more is ready. */
  bool (*room)(void *owner, size_t room);
  void (*head)(void *owner, struct http_scan *scan, const struct http_answer *answer);
  /* Returns how many body bytes were taken, from the front. `last`: the body ends with these; `trailers` may be NULL. */
  size_t (*body)(void *owner, const struct mdm_slice *slices, size_t count, bool last, const struct http_scan *trailers);
  void (*flush)(void *owner);   /* nothing more comes in this call */
  void (*end)(void *owner);
  void (*lost)(void *owner, const struct upstream_loss *loss);
  size_t (*raw)(void *owner, const struct mdm_slice *slices, size_t count);
  void (*raw_fin)(void *owner);
  void (*opened)(void *owner);
  /* While kept: it has gone and must be forgotten now. */
  void (*gone)(void *owner, struct upstream *upstream);
};

struct upstream_ops {
  /* Begins an exchange. Takes the head. `body`: a body follows, CHUNKED or LENGTH. */
  void (*start)(struct upstream *upstream, struct http_buffer **head, enum http_framing body, bool to_head);
  void (*ready)(struct upstream *upstream);  /* body bytes wait: room() will be called */
  /* Inside room(): */
  void (*write)(struct upstream *upstream, const uint8_t *data, size_t size, bool last, const struct http_scan *trailers);
  uint8_t *(*reserve)(struct upstream *upstream, size_t *capacity); /* LENGTH and raw only */
  void (*commit)(struct upstream *upstream, size_t size, bool last);
  void (*drain)(struct upstream *upstream);  /* the sink has room again: body()/raw() is called with what was held */
  void (*finish)(struct upstream *upstream); /* nothing more will be sent to the origin on this connection */
  void (*reset)(struct upstream *upstream, enum mdm_reset code); /* gone; no more events */
  /* After end(): true when it can carry another exchange; then `events->gone` is the only event until start(). Else it is gone. */
  bool (*release)(struct upstream *upstream);
  void (*retire)(struct upstream *upstream); /* ends a kept one cleanly; no more events */
};

/* Who reaches what: an upstream is only ever used again for the same. */
struct upstream_key {
  uint64_t agent;
  uint32_t service;
  bool https;
  struct mdm_address visitor;
};

struct upstream {
  const struct upstream_ops *ops;
  const struct upstream_events *events;
  void *owner;                  /* of the events; NULL = nobody listens */
  struct upstream_key key;
  struct upstream *next;        /* in the list of kept ones */
  uint64_t kept_ms;             /* since when */
  bool used;                    /* has carried an exchange before this one */
};

struct upstream_limits {
  uint32_t head_bytes, head_fields, trailer_bytes, chunk_extension_bytes, stall_s;
};
struct upstream_options {
  struct http_pool *pool;
  struct net_loop *loop;
  struct agent *agent;
  enum mdm_kind kind;
  struct upstream_limits limits;
};
/* A new mux stream. 0 or an MDM_MUX_E code. */
int upstream_stream_open(struct upstream **out, const struct upstream_options *options, const struct upstream_key *key,
                         const struct upstream_events *events, void *owner);

#endif
