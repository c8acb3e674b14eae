/* upstream_private.h: one mux stream as an HTTP/1.1 connection, as its parts see it: upstream_stream.c (life, what is sent) and upstream_answer.c
 * (what comes back). */
#ifndef SERVER_UPSTREAM_PRIVATE_H
#define SERVER_UPSTREAM_PRIVATE_H

#include "loop.h"
#include "upstream.h"

enum request_state { REQUEST_NONE, REQUEST_BODY, REQUEST_RAW, REQUEST_DONE };
enum answer_state { ANSWER_IDLE, ANSWER_HEAD, ANSWER_BODY, ANSWER_TRAILERS, ANSWER_DONE, ANSWER_RAW };

struct upstream_stream {
  struct upstream base;
  struct http_pool *pool;
  struct net_loop *loop;
  struct agent *agent;           /* outlives the stream */
  mdm_stream *stream;            /* NULL once closed */
  struct upstream_limits limits;
  struct http_buffer *out;       /* request bytes that wait for credit */
  struct http_buffer *in;        /* an answer head or trailers, so far */
  struct http_scan *scan;        /* of `in` */
  struct http_body body;
  struct net_timer linger;
  enum request_state request;
  enum answer_state answer;
  enum http_framing request_framing, answer_framing;
  uint8_t informational;
  bool to_head, keep_alive, tainted, answered;
  bool finishing, fin_sent, fin_received;
  bool detached;                 /* the exchange is done with it: freed when the stream has closed */
  bool ended;                    /* end() is due */
};

/* ---- upstream_stream.c ---- */
/* The origin's (or our own) fault ends the stream. Only inside a callback of the stream: `u` lives until that has returned. */
void upstream_fail(struct upstream_stream *u, enum upstream_fault fault, const char *why);
void upstream_say(const struct upstream_stream *u, const char *sentence);

/* ---- upstream_answer.c ---- */
size_t upstream_data(mdm_stream *stream, const struct mdm_slice *slices, size_t count);
void upstream_answer_ended(struct upstream_stream *u); /* the whole answer has been taken by the visitor */
void upstream_tell_end(struct upstream_stream *u);     /* end() if it is due, else flush() */

#endif
