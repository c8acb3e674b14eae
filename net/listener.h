/* listener.h: listening sockets of a worker. SO_REUSEADDR, SO_REUSEPORT where several workers listen, accept in batches; on EMFILE/ENFILE
 * it closes its reserve descriptor, refuses one connection, and pauses 100 ms: never spins. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "address.h"
#include "loop.h"

struct net_listener;
struct net_listener_options {
  bool reuse_port;
  bool dual_stack;   /* for "::": takes IPv4 too */
  int backlog;       /* 0 = 1024 */
};
typedef void (*net_accept_cb)(struct net_listener *listener, int fd, const struct mdm_address *peer, void *user); /* owns fd, non-blocking */

/* address: IP literal (port 0 = any free). 0 or UV_ code. */
int net_listener_open(struct net_listener **out, struct net_loop *loop, const struct mdm_address *address,
                      const struct net_listener_options *options, net_accept_cb accepted, void *user);
uint16_t net_listener_port(const struct net_listener *listener);
const struct mdm_address *net_listener_address(const struct net_listener *listener);
void net_listener_close(struct net_listener *listener); /* idempotent; frees itself */

#endif
