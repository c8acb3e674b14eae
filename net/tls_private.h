/* tls_private.h: shared by tls_context.c and tls.c. */
#ifndef NET_TLS_PRIVATE_H
#define NET_TLS_PRIVATE_H

#include <stdatomic.h>

#include "tls.h"

struct net_tls_context {
  SSL_CTX *ssl;
  atomic_uint references;
};

/* SHA-256 of the key's SubjectPublicKeyInfo in DER. 0 or UV_ENOMEM. */
struct evp_pkey_st;
int net_tls_key_fingerprint(uint8_t out[static NET_FINGERPRINT_SIZE], const struct evp_pkey_st *key);

/* "WHAT: reason of OpenSSL's last error" into `error`, which may be NULL; empties OpenSSL's queue. */
void net_tls_explain(char *error, size_t error_size, const char *what);

#endif
