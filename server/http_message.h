/* http_message.h: what a scanned head means: its framing, route, hop-by-hop fields and wishes; or the status that refuses it.
 *
 * Source: RFC 9112 3.2 (target, Host), 6 (framing), 9.3 (persistence); RFC 9110 7.6.1, 7.8 (Connection, Upgrade), 10.1.1 (Expect); RFC 6455 4.2.1. */
#ifndef SERVER_HTTP_MESSAGE_H
#define SERVER_HTTP_MESSAGE_H

#include "http_scan.h"

enum http_framing {
  HTTP_FRAMING_NONE,    /* no body */
  HTTP_FRAMING_LENGTH,
  HTTP_FRAMING_CHUNKED,
  HTTP_FRAMING_CLOSE,   /* answers only: until the end of the connection */
};

struct http_request {
  struct mdm_text host;          /* the one Host, or the authority of an absolute target; empty on 1.0 without */
  struct mdm_text path;          /* target in origin-form, or "*" */
  bool path_slash;               /* "/" goes before `path` (absolute target without a path) */
  bool get, head, options;       /* method */
  bool idempotent;               /* RFC 9110 9.2.2: may be repeated */
  enum http_framing framing;
  uint64_t length;
  bool has_length;               /* "Content-Length: 0" is told to the origin, too */
  bool keep_alive;               /* what the visitor wants */
  bool expect_continue;
  bool te_trailers;
  struct mdm_text upgrade;       /* the only Upgrade, when Connection names it; else empty */
  bool websocket;                /* it is a complete WebSocket handshake */
  struct mdm_text websocket_key;
  struct mdm_text authorization;
};
/* 0, or the status of the refusal with a sentence in *why. Marks fields that Connection names in scan->kinds. */
int http_request_judge(struct http_request *out, struct http_scan *scan, const char **why);

struct http_answer {
  enum http_framing framing;
  uint64_t length;
  bool keep_alive;
  bool has_length;               /* a HEAD or 304 tells the length of a body that is not there */
  bool tainted;                  /* announces a body where none may be: nothing after it can be trusted */
  struct mdm_text upgrade;       /* of a 101 */
};
/* `to_head`: the request was HEAD. 0, or -1 with a sentence in *why. */
int http_answer_judge(struct http_answer *out, struct http_scan *scan, bool to_head, const char **why);

/* Marks the trailers that may not be sent on (RFC 9110 6.5.1: framing, routing, authentication) as hop-by-hop. */
void http_trailers_judge(struct http_scan *scan);

#endif
