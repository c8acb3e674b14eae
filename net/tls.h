/* tls.h: TLS as a layer of a connection, on OpenSSL 3 with a custom BIO (no BIO pair, no set_fd).
 *
 * Contexts are immutable once made, reference-counted and shared by all threads; a reload makes a new one.
 * TLS 1.3 only on the link; 1.2 and 1.3 on web ports. AES-128-GCM first. Tickets with rotated keys, no session cache.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "conn.h"

#define NET_FINGERPRINT_SIZE 32 /* SHA-256 of the certificate's SubjectPublicKeyInfo */
#define NET_FINGERPRINT_TEXT 52 /* "SHA256:" + 43 base64 characters without padding + NUL, as ssh prints it */
#define NET_TLS_EXPORTER_SIZE 32
#define NET_ALPN_LINK "mdm-mux/1"
#define NET_TLS_DEPTH_MAX 3 /* the link inside the web port inside an https proxy */

typedef struct ssl_ctx_st SSL_CTX;
struct net_tls_context; /* counted reference to an SSL_CTX and its tickets */

/* The link, server side: certificate and key of identity.h. 0 or UV_; `error` gets a sentence (may be NULL). */
struct net_identity;
int net_tls_link_server(struct net_tls_context **out, const struct net_identity *identity, char *error, size_t error_size);
/* The link, client side: the chain is not judged here unless ca_file ("system" = the system's store) is given; the caller looks at
 * net_tls_peer_fingerprint() before it sends anything. */
int net_tls_link_client(struct net_tls_context **out, const char *ca_file, char *error, size_t error_size);
/* A web client context (wss://, https:// carriers, proxies with TLS, local `tls` services): verify = against the system store and host name. */
int net_tls_web_client(struct net_tls_context **out, bool verify, const char *ca_file, char *error, size_t error_size);

struct net_tls_context *net_tls_context_ref(struct net_tls_context *context);
void net_tls_context_unref(struct net_tls_context *context);
SSL_CTX *net_tls_context_ssl(struct net_tls_context *context);
/* Wraps an SSL_CTX made elsewhere (the server's SNI store); takes the reference. */
struct net_tls_context *net_tls_context_take(SSL_CTX *ssl);

/* For a server's own SSL_CTX (its SNI store): house settings, TLS 1.2 and 1.3, no certificate, no tickets yet. */
int net_tls_web_server(SSL_CTX **out, char *error, size_t error_size);

/* A ring of ticket keys, current and previous, 12 h each. Thread-safe, counted. One ring for every SSL_CTX of a port, so that a ticket
 * is good after the SNI switch and after a reload. The SSL_CTX takes its own reference. */
struct net_tls_tickets;
struct net_tls_tickets *net_tls_tickets_new(void); /* NULL: out of memory */
void net_tls_tickets_unref(struct net_tls_tickets *tickets);
int net_tls_tickets_attach(struct net_tls_tickets *tickets, SSL_CTX *ssl); /* 0 or UV_ENOMEM */

#define NET_TLS_UNTRUSTED UV_EACCES
struct net_tls_options {
  bool server;
  const char *server_name; /* client: SNI and host name check; NULL for none */
  const char *alpn;        /* client: one protocol to offer, or NULL. Server: set on the SSL_CTX */
};
/* Puts TLS on top of `conn`, at most NET_TLS_DEPTH_MAX deep. The handshake goes on by itself with the events; when it is over, both
 * ops->writable and ops->readable are called; net_tls_established tells. A failed one answers every read and write with its error
 * (UV_EPROTO for TLS's own, NET_TLS_UNTRUSTED for a certificate that does not prove the other side); net_tls_error has the sentence. FIN without close_notify is UV_ECONNRESET. A client of a context that
 * verifies needs a server_name. */
int net_tls_push(struct net_conn *conn, struct net_tls_context *context, const struct net_tls_options *options);
bool net_tls_established(const struct net_conn *conn);
/* Of the topmost TLS layer; valid once established. */
int net_tls_peer_fingerprint(const struct net_conn *conn, uint8_t out[static NET_FINGERPRINT_SIZE]);
const char *net_tls_server_name(const struct net_conn *conn);               /* SNI the client sent, or NULL */
void net_tls_alpn(const struct net_conn *conn, const char **name, size_t *size);
int net_tls_exporter(const struct net_conn *conn, const char *label, uint8_t out[static NET_TLS_EXPORTER_SIZE]);
const char *net_tls_error(const struct net_conn *conn);                     /* a sentence after a failed handshake, or "" */
bool net_conn_is_tls(const struct net_conn *conn);                          /* any TLS layer */

const char *net_fingerprint_text(char out[static NET_FINGERPRINT_TEXT], const uint8_t fingerprint[static NET_FINGERPRINT_SIZE]);
int net_fingerprint_parse(uint8_t out[static NET_FINGERPRINT_SIZE], const char *text, size_t size); /* with or without "SHA256:" */

#endif
