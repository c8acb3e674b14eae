/* known_servers.h: the keys of servers seen before, as ssh's known_hosts: one line a server, "host:port SHA256:..." . Blocking file access: used
 * between connects only. */
#ifndef NET_KNOWN_SERVERS_H
#define NET_KNOWN_SERVERS_H

#include <stdint.h>
#include "tls.h"

enum net_known { NET_KNOWN_MATCH, NET_KNOWN_NEW, NET_KNOWN_CHANGED, NET_KNOWN_ERROR };
/* `line` gets the line number of the entry (for the message), `error` a sentence for NET_KNOWN_ERROR (unreadable, malformed). */
enum net_known net_known_lookup(const char *path, const char *host, uint16_t port, const uint8_t fingerprint[static NET_FINGERPRINT_SIZE],
                                unsigned *line, char *error, size_t error_size);
int net_known_add(const char *path, const char *host, uint16_t port, const uint8_t fingerprint[static NET_FINGERPRINT_SIZE]);

#endif
