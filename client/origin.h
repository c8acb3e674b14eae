/* origin.h: one stream joined to one new connection of a local service: a byte pipe that parses nothing.
 *
 *   OPEN  -> dial the declared target -> OPEN_OK (or RESET CONNECT, not delivered)
 *   data() -> net_conn_write straight from the link's read buffer; what does not fit stays with the mux
 *   turn() -> net_conn_read straight into the link's output
 *   FIN, either way, half-closes; a reset on one side is a reset on the other
 *
 * An origin lives from origin_open to its stream's last callback; nobody else holds a pointer to it. The pool keeps
 * what they share: used-up origins for the next stream, and the TLS contexts of `tls` services.
 */
#ifndef CLIENT_ORIGIN_H
#define CLIENT_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"
#include "services.h"

#define ORIGIN_CONNECT_MS 10000u /* until the service is connected, TLS included */
#define ORIGIN_LINGER_MS  10000u /* for the last TLS record to leave */
#define ORIGIN_SPARE_MAX  256u   /* used-up origins kept for the next streams */

struct origin;
struct net_tls_context;

struct origin_pool {
  struct net_loop *loop;
  struct origin *spare;
  size_t spare_count;
  size_t active;
  struct net_tls_context *tls_verify, *tls_loopback; /* made when the first `tls` service is dialled */
};

void origin_pool_init(struct origin_pool *pool, struct net_loop *loop);
void origin_pool_clean(struct origin_pool *pool); /* every origin has ended */

/* In the link's open callback: attaches to `stream` and dials `entry`'s target. The return value is that callback's. */
enum mdm_reset origin_open(struct origin_pool *pool, mdm_stream *stream, const struct mdm_open *open,
                           struct service_entry *entry);

#endif
