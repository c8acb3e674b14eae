/* tls_store.h: TLS of the public HTTPS port: certificates by server name (SNI), the link certificate by ALPN, reloaded when the files change.
 * A reload makes a new context; connections keep the one they began with. Thread: the loop's. */
#ifndef SERVER_TLS_STORE_H
#define SERVER_TLS_STORE_H

#include "loop.h"
#include "tls.h"

#define TLS_STORE_SETTLE_MS 300u  /* after a change is seen: the other file of the pair may still be on its way */
#define TLS_STORE_POLL_MS 10000u  /* where the system tells of no change (network file systems, links into other directories) */

struct net_identity;
struct tls_store;

struct tls_store_options {
  const char *certificate, *key, *dir;  /* of server_config; NULL none */
  const struct net_identity *link;      /* NULL: ALPN mdm-mux/1 is not offered. Must outlive the store and every connection */
};
/* 0, or -1 with a sentence. */
int tls_store_open(struct tls_store **out, struct net_loop *loop, const struct tls_store_options *options, char *error, size_t error_size);
/* The context of new connections; take a reference to keep it. */
struct net_tls_context *tls_store_context(struct tls_store *store);
/* Reads everything again, perhaps from other places. 0, or -1 with a sentence: then what was there stays. */
int tls_store_reload(struct tls_store *store, const struct tls_store_options *options, char *error, size_t error_size);
/* May a connection with this server name (NULL: none was sent) carry requests for `host`? False: 421 Misdirected Request. */
bool tls_store_same_certificate(const struct tls_store *store, const char *server_name, const char *host);
/* Has some certificate this name, so that a visitor gets there without a warning? */
bool tls_store_covers(const struct tls_store *store, const char *host);
size_t tls_store_count(const struct tls_store *store);
uint64_t tls_store_reloads(const struct tls_store *store); /* contexts made since the first */
void tls_store_close(struct tls_store *store); /* NULL is fine; frees itself when its handles are gone */

#endif
