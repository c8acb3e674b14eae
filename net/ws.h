/* ws.h: a WebSocket (RFC 6455) as a byte-pipe layer, through wslay: binary messages carry the bytes of the layer above. */
#ifndef NET_WS_H
#define NET_WS_H

#include "conn.h"

#define NET_WS_MESSAGE_MAX (64u * 1024u)

/* Client: sends the upgrade request for `host` (as it stands in the Host field, IPv6 in brackets, with a port) and `path`, and checks the 101. */
int net_ws_push_client(struct net_conn *conn, const char *host, const char *path);
/* Server: the upgrade request has been read and checked by the caller; answers 101 for `key` (Sec-WebSocket-Key) and goes on. */
int net_ws_push_server(struct net_conn *conn, const char *key, size_t key_size);
bool net_ws_established(const struct net_conn *conn);
const char *net_ws_error(const struct net_conn *conn);

#endif
