/* address.h: IP addresses and CIDR ranges in the shape that the mux carries them (struct mdm_address). No I/O. */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "mdm/mux.h"

struct sockaddr;

#define NET_ADDRESS_TEXT 64 /* "[v6]:port" and NUL fit */

struct net_cidr {
  struct mdm_address address; /* host bits zero, port 0 */
  uint8_t prefix;
};

void net_address_from_sockaddr(struct mdm_address *out, const struct sockaddr *sa); /* v4-mapped v6 becomes v4 */
/* Text of the address alone ("127.0.0.1", "::1"), or with port ("127.0.0.1:80", "[::1]:80"). "" family 0 -> "unknown". */
const char *net_address_text(char out[static NET_ADDRESS_TEXT], const struct mdm_address *address, bool with_port);
int net_address_parse(struct mdm_address *out, const char *text, size_t size); /* IP literal, brackets allowed; 0 or UV_EINVAL */
bool net_address_is_loopback(const struct mdm_address *address);
bool net_address_equal(const struct mdm_address *a, const struct mdm_address *b, bool with_port);
int net_cidr_parse(struct net_cidr *out, const char *text, size_t size); /* "10.0.0.0/8", "::1", one address = full prefix */
bool net_cidr_contains(const struct net_cidr *cidr, const struct mdm_address *address);
bool net_cidr_any(const struct net_cidr *list, size_t count, const struct mdm_address *address);

/* Splits "host", "host:port", "[v6]:port", "v6literal". Host points into text. port 0 = none given. 0 or UV_EINVAL. */
int net_host_port_split(const char *text, size_t size, const char **host, size_t *host_size, uint16_t *port);

#endif
