/* proxy.h: HTTP CONNECT through a forward proxy, as a layer (RFC 9110 9.3.6), with Basic credentials (RFC 7617). */
#ifndef NET_PROXY_H
#define NET_PROXY_H

#include "conn.h"
#include "dial.h"

int net_proxy_push(struct net_conn *conn, const struct net_proxy *proxy, const char *host, uint16_t port);
bool net_proxy_established(const struct net_conn *conn);
const char *net_proxy_error(const struct net_conn *conn); /* "proxy answered 407: it wants a user name and password (--proxy-username)" */

#endif
