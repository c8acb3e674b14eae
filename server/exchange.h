/* exchange.h: one request and its answer: who may ask, where it goes, how long it may take. Knows no framing of the visitor's side: that is its front's
 * (visitor.c: HTTP/1.1). Sees the service only as an upstream.
 *
 *   NEW -> AUTHORIZE -> HOLD -> PASSWORD -> STREAM -> OPEN -> RELAY -> OVER
 *                                                       \---> RAW ---/        any state -> OVER
 *
 * AUTHORIZE, HOLD, PASSWORD and STREAM are left out when there is nothing to wait for. One exchange ends by exactly one front->end(). */
#ifndef SERVER_EXCHANGE_H
#define SERVER_EXCHANGE_H

#include "auth.h"
#include "forwarded.h"
#include "http_message.h"
#include "http_pool.h"
#include "log.h"
#include "names.h"
#include "observer.h"
#include "pages.h"
#include "registry.h"
#include "upstream.h"
#include "worker.h"

struct exchange;
struct http_side;
struct password_job;

#define EXCHANGE_IDLE_UNSAFE_MS 2000u /* a request that may not be repeated takes no upstream that was idle for longer */

/* The visitor's side. Called from within events of the upstream too: none of these may end the exchange before it returns; an error is told
 * later by exchange_abort(). */
struct exchange_front {
  /* The upstream has room for about that many bytes of body (or raw bytes): bring them by x->upstream. True while more is ready. */
  bool (*pull)(struct exchange *x, size_t room);
  /* An answer's head: 1xx, 101 or the final one. It goes out with the next body or flush. */
  void (*answer)(struct exchange *x, struct http_scan *scan, const struct http_answer *answer);
  size_t (*body)(struct exchange *x, const struct mdm_slice *slices, size_t count, bool last, const struct http_scan *trailers);
  void (*flush)(struct exchange *x);
  size_t (*raw)(struct exchange *x, const struct mdm_slice *slices, size_t count);
  void (*raw_fin)(struct exchange *x);
  void (*given)(struct exchange *x, struct page_bytes *bytes, bool close); /* a whole answer made here; takes the bytes */
  void (*cut)(struct exchange *x);      /* the answer cannot be finished: a transport error that the visitor sees */
  void (*end)(struct exchange *x);      /* last; the front takes what it needs and calls exchange_free */
  bool (*can_keep_alive)(const struct exchange *x); /* after an answer made now: nothing unread is in the way */
  /* Idle upstreams, kept per visitor connection. */
  struct upstream *(*take)(struct exchange *x, const struct upstream_key *key, uint64_t idle_max_ms);
  void (*keep)(struct exchange *x, struct upstream *upstream);
  /* The request is a client's carrier: the connection becomes a link; the front ends itself. */
  void (*link)(struct exchange *x);
};

enum exchange_state {
  EXCHANGE_NEW,
  EXCHANGE_AUTHORIZE,
  EXCHANGE_HOLD,
  EXCHANGE_PASSWORD,
  EXCHANGE_STREAM,   /* hooks that judge streams are asked */
  EXCHANGE_OPEN,     /* the request is on its way */
  EXCHANGE_RELAY,    /* the answer's head has been relayed */
  EXCHANGE_RAW,      /* after the origin's 101 */
  EXCHANGE_OVER,
};

struct exchange {
  const struct exchange_front *front;
  void *visitor;                      /* the front's own */
  struct http_side *side;
  struct server_config *config;       /* a reference */
  enum exchange_state state;
  struct net_timer timer;             /* the state's deadline */
  struct net_task task;               /* retry, outside the events of what failed */
  struct exchange *next;              /* on the free list */

  /* ---- the request ---- */
  struct http_buffer *bytes;          /* its head, raw */
  struct http_scan scan;
  struct http_request request;
  struct forwarded forwarded;
  const char *server_name;            /* TLS SNI, or NULL */
  bool body_done;                     /* set by the front: every byte of it has been handed to the upstream (or there is none) */
  bool body_begun;
  bool fin;                           /* the visitor has finished its half: nothing follows this request */
  uint64_t progress_ms;               /* when the request last moved */

  /* ---- where it goes ---- */
  struct route route;
  char key[NAMES_KEY_MAX + 1];
  struct agent *agent;                /* valid while `upstream` is */
  uint32_t service;
  char user[NET_LABEL_MAX + 1], service_name[NET_SERVICE_NAME_MAX + 1]; /* whose service it is */
  struct upstream *upstream;
  bool retried;                       /* then only on a new stream */
  bool upgrade_sent;
  bool upstream_used;                 /* it had been kept: its end may mean nothing */
  bool held;                          /* has waited for the name once */
  bool counted;                       /* against the rate of the user */
  bool password_right;
  bool stream_allowed;

  /* ---- what is waited for, and what a hook said ---- */
  struct auth_ask *ask;
  struct mdm_auth_question question;
  struct http_buffer *question_fields;
  struct registry_hold *hold;
  struct password_job *password;
  struct http_buffer *added_bytes;    /* struct http_field[added_count], then their texts */
  size_t added_count;
  uint32_t hook_timeout_s;
  uint64_t body_limit;                /* 0 = none */

  struct exchange_report report;
  bool begun;                         /* observers have been told */
};

/* From the free list; NULL when memory is out. The front fills in scan, bytes, request, forwarded, server_name. */
struct exchange *exchange_new(struct http_side *side, const struct exchange_front *front, void *visitor);
void exchange_free(struct exchange *x);   /* after end(), or of one that never began */

void exchange_begin(struct exchange *x);  /* the head is whole and judged; may end before it returns */
/* The request is refused by its form (no upstream yet, or its body is at fault): answers and ends, or cuts. */
void exchange_refuse(struct exchange *x, enum page_cause cause, int status, const char *detail);
void exchange_abort(struct exchange *x);  /* the visitor is gone: no more calls to the front but end() */
void exchange_ready(struct exchange *x);  /* body bytes wait at the front */
void exchange_drain(struct exchange *x);  /* the front has room again */
/* The front has passed on so many bytes of body; `done`: all of it. */
void exchange_passed(struct exchange *x, size_t size, bool done);
void exchange_finish(struct exchange *x); /* the visitor finished its half */
void exchange_raw_over(struct exchange *x); /* RAW: both halves have ended */
const char *exchange_state_name(enum exchange_state state);
/* The service's options while the agent serves it; NULL otherwise. Only while `upstream` is set. */
const struct net_service_options *exchange_options(const struct exchange *x);

/* ---- between the parts of the exchange ---- */
void exchange_enter(struct exchange *x, enum exchange_state state);
void exchange_over(struct exchange *x);   /* tells observers, drops what is held, front->end() */
void exchange_page(struct exchange *x, const struct page_problem *problem);
void exchange_given(struct exchange *x, struct page_bytes *bytes, int status, const char *error, bool failed);
struct page_view exchange_view(const struct exchange *x);
void exchange_route(struct exchange *x);  /* exchange_route.c: by x->route: pages, or find */
void exchange_find(struct exchange *x);   /* looks the name up and goes on */
/* exchange_stream.c: true when a stream to the target may be opened. Otherwise the exchange is answered, or waits. */
bool exchange_stream_ok(struct exchange *x, const struct registry_target *target);
void exchange_authorize(struct exchange *x); /* exchange_authorize.c: what comes before any look-up */
void exchange_release(struct exchange *x); /* gives the upstream back to the front, or ends it */
extern const struct upstream_events exchange_upstream_events; /* exchange_relay.c */
void exchange_log(const struct exchange *x, enum net_log_level level, const char *sentence);

#endif
