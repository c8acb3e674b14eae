/* race.h: from a host name to a connected socket: resolve, then race the addresses of both families (RFC 8305). Used by
 * dial.c. */
#ifndef NET_RACE_H
#define NET_RACE_H

#include "loop.h"

struct net_race;

/* Once, never from inside net_race_start: a connected non-blocking socket (the callee's), or fd -1, a UV_ code and a
 * sentence. */
typedef void (*net_race_cb)(struct net_race *race, int fd, int error, const char *reason, void *user);

/* host: a name or an IP literal. "localhost" and "*.localhost" are ::1 and 127.0.0.1 without asking anybody (RFC 6761
 * section 6.3). */
int net_race_start(struct net_race **out, struct net_loop *loop, const char *host, uint16_t port, net_race_cb done,
                   void *user);
void net_race_cancel(struct net_race *race); /* no callback any more; frees itself. Not after done(). */

/* The order of attempts: families in turn, IPv6 first, each family in its own order. In place; for its test. */
void net_race_interleave(struct mdm_address *addresses, size_t count);

#endif
