/* dial.h: from a name to a connection: resolve, race both address families (RFC 8305), go through an HTTP proxy (CONNECT, RFC 9110 9.3.6),
 * put on the layers of the carrier, finish their handshakes. */
#ifndef NET_DIAL_H
#define NET_DIAL_H

#include "conn.h"
#include "tls.h"

#define NET_DIAL_TIMEOUT_MS 10000u      /* for all of it */
#define NET_DIAL_ATTEMPT_MS 250u        /* RFC 8305 connection attempt delay */
#define NET_DIAL_ADDRESSES_MAX 16u
#define NET_LINK_PATH "/.well-known/mdm-tunnel"

enum net_carrier {
  NET_CARRIER_NONE,  /* a bare connection, no layer of ours (origins, sub-requests) */
  NET_CARRIER_PLAIN, /* the mux in clear: --plaintext, loopback */
  NET_CARRIER_TLS,   /* link TLS with ALPN mdm-mux/1 */
  NET_CARRIER_WS,    /* link TLS in a WebSocket over HTTP */
  NET_CARRIER_WSS,   /* link TLS in a WebSocket over HTTPS */
};
struct net_endpoint {
  enum net_carrier carrier;
  char host[256];
  uint16_t port;
  char path[256];     /* WS/WSS */
};
/* One -h value: "host", "host:port", or a ws:// wss:// http:// https:// URL ("/" as path means NET_LINK_PATH). `carrier`: "tls", "ws", "auto" or NULL (auto).
 * A plain host gives: tls, TLS on its port or `port`; ws, WSS then WS on its port, else on 443 and 80; auto, TLS, then WSS on 443 (a loopback host: TLS only).
 * Returns how many were written (1 or 2), or UV_EINVAL with a sentence. */
int net_endpoint_parse(struct net_endpoint out[2], const char *text, size_t size, uint16_t port, const char *carrier,
                       char *error, size_t error_size);

/* "tls://host:port", "wss://host:port/path": for logs and sentences. */
#define NET_ENDPOINT_TEXT 600
const char *net_endpoint_text(char out[static NET_ENDPOINT_TEXT], const struct net_endpoint *endpoint);
/* localhost, *.localhost, 127.0.0.0/8, ::1: known to be this machine without asking anybody. */
bool net_host_is_loopback(const char *host);

struct net_proxy {
  char host[256];
  uint16_t port;
  bool tls;            /* https:// proxy */
  char *user, *password;
};
int net_proxy_parse(struct net_proxy *out, const char *url, const char *user, const char *password, char *error, size_t error_size);
void net_proxy_clean(struct net_proxy *proxy); /* wipes the password */

struct net_dial;
struct net_dial_request {
  struct net_endpoint endpoint;
  const char *unix_path;               /* instead of host and port */
  const struct net_proxy *proxy;       /* or NULL */
  struct net_tls_context *link_tls;    /* link client context (TLS, WS, WSS) */
  struct net_tls_context *web_tls;     /* web client context (WSS, https proxy) */
  const char *link_server_name;        /* name to verify on the link with a CA, else NULL */
  uint32_t timeout_ms;                 /* 0 = NET_DIAL_TIMEOUT_MS */
};
/* The proxy wants another user name and password (407). */
#define NET_PROXY_LOGIN UV_EPERM
/* Done once, never from inside net_dial_start: conn (established, layers ready, paused, owner unset) and error 0; or NULL, a UV_ code and a
 * sentence that says which step failed and with whom. NET_TLS_UNTRUSTED and NET_PROXY_LOGIN are the layers' own: the system's errors of these
 * numbers (a firewall or a route that prohibits) come as UV_EHOSTUNREACH. The dial is gone when the callback returns. */
typedef void (*net_dial_cb)(struct net_dial *dial, struct net_conn *conn, int error, const char *reason, void *user);
/* The request is copied (contexts are referenced). */
int net_dial_start(struct net_dial **out, struct net_loop *loop, const struct net_dial_request *request, net_dial_cb done, void *user);
void net_dial_cancel(struct net_dial *dial); /* no callback; frees. Not after, or in, done() */

#endif
