/* carrier_tls.h: the TLS contexts of the ways to a server, made when the first way wants one: the system's store of
 * authorities takes its time to read. */
#ifndef CLIENT_CARRIER_TLS_H
#define CLIENT_CARRIER_TLS_H

#include <stddef.h>

#include "dial.h"

struct carrier_tls {
  struct net_tls_context *link, *web; /* NULL until wanted */
};

/* `ca` and `proxy` may be NULL. 0, or a UV_ code with a sentence in `error`. */
int carrier_tls_make(struct carrier_tls *tls, enum net_carrier carrier, const char *ca, const struct net_proxy *proxy,
                     char *error, size_t error_size);
void carrier_tls_clean(struct carrier_tls *tls);

#endif
