/* http_write.h: heads written anew: nothing of the peer's bytes is passed on but names and values that were checked one by one. */
#ifndef SERVER_HTTP_WRITE_H
#define SERVER_HTTP_WRITE_H

#include "forwarded.h"
#include "http_message.h"
#include "service.h"

/* A bounded text under construction. What does not fit sets `full`; nothing is written past the end. */
struct http_out {
  char *data;
  size_t capacity, size;
  bool full;
};
void http_put(struct http_out *out, const char *data, size_t size);
void http_put_text(struct http_out *out, struct mdm_text text);
void http_put_literal(struct http_out *out, const char *literal);
void http_put_number(struct http_out *out, uint64_t number);
void http_put_field(struct http_out *out, const char *name, struct mdm_text value); /* "name: value CRLF" */

/* ---- a request, for the origin ---- */
struct http_request_rewrite {
  const struct http_scan *scan;
  const struct http_request *request;
  const struct forwarded *forwarded;
  const struct net_service_options *options;  /* or NULL */
  char *const *strip;                         /* names that only hooks may set */
  size_t strip_count;
  const struct http_field *added;             /* from the hook; names already checked */
  size_t added_count;
  bool upgrade;                               /* Upgrade is passed on */
};
void http_write_request(struct http_out *out, const struct http_request_rewrite *rewrite);

/* ---- an answer, for the visitor ---- */
struct http_answer_rewrite {
  const struct http_scan *scan;
  const struct http_answer *answer;
  const struct net_service_options *options;  /* or NULL */
  enum http_framing framing;                  /* as the visitor gets it; CLOSE = neither length nor chunks */
  bool close, keep_alive;                     /* "Connection: close", or "keep-alive" to 1.0 */
  const char *date;                           /* 29 characters, added where the origin gave none; NULL = not added */
};
void http_write_answer(struct http_out *out, const struct http_answer_rewrite *rewrite);
/* Trailer fields and the empty line that ends them. */
void http_write_trailers(struct http_out *out, const struct http_scan *trailers);

/* IMF-fixdate of a Unix time: "Sun, 06 Nov 1994 08:49:37 GMT". */
#define HTTP_DATE_SIZE 30
void http_date(char out[static HTTP_DATE_SIZE], uint64_t unix_s);

#endif
