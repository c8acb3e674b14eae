/* forwarded.h: who the visitor really is, and how the origin is told: X-Forwarded-For, -Proto, -Host, -Port and Forwarded (RFC 7239).
 *
 * A trusted proxy's own fields are believed and continued; anybody else's are dropped. */
#ifndef SERVER_FORWARDED_H
#define SERVER_FORWARDED_H

#include "address.h"
#include "http_scan.h"

struct http_out;

struct forwarded {
  struct mdm_address peer;          /* the connection's */
  struct mdm_address client;        /* the first address from the right that is no trusted proxy */
  bool trusted;                     /* the peer is one */
  bool https;                       /* as the visitor (or its trusted proxy) came */
  uint16_t port;                    /* public port that the visitor used */
  const char *peer_text;            /* the peer's address as text */
};
struct forwarded_connection {       /* what is known without looking into a request */
  const struct mdm_address *peer;
  const char *peer_text;
  bool trusted, https;
  uint16_t port;
};
void forwarded_judge(struct forwarded *out, const struct forwarded_connection *connection, const struct net_cidr *trusted,
                     size_t trusted_count, const struct http_scan *scan);
/* Appends the fields to a request head. `host`: as the visitor sent it. */
void forwarded_write(struct http_out *out, const struct forwarded *forwarded, const struct http_scan *scan, struct mdm_text host);

#endif
