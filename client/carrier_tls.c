/* carrier_tls.c: which contexts a way needs, and how strict they are. */
#include "carrier_tls.h"

int carrier_tls_make(struct carrier_tls *tls, enum net_carrier carrier, const char *ca, const struct net_proxy *proxy,
                     char *error, size_t error_size) {
  int status = 0;
  if (tls->link == NULL && carrier != NET_CARRIER_PLAIN)
    status = net_tls_link_client(&tls->link, ca, error, error_size);
  /* A proxy gets a password, so it is verified. The outer TLS of a wss:// carrier proves nothing that the link's own
   * does not, and must not keep out those behind a front that breaks TLS open. */
  bool verify = proxy != NULL && proxy->tls;
  if (status == 0 && tls->web == NULL && (carrier == NET_CARRIER_WSS || verify))
    status = net_tls_web_client(&tls->web, verify, NULL, error, error_size);
  return status;
}

void carrier_tls_clean(struct carrier_tls *tls) {
  net_tls_context_unref(tls->link);
  net_tls_context_unref(tls->web);
  *tls = (struct carrier_tls){0};
}
