/* loop_private.h: what a worker's loop keeps for itself and for the layers of its connections. Only net/ includes it.
 */
#ifndef NET_LOOP_PRIVATE_H
#define NET_LOOP_PRIVATE_H

#include <stdatomic.h>

#include "loop.h"

struct net_loop_private {
  uv_prepare_t prepare; /* runs the deferred tasks just before the poll */
  uv_idle_t idle;       /* active while tasks wait, so that the poll does not block */
  uv_async_t async;     /* wakes the loop for messages and stop */
  unsigned closing;     /* handles whose close callback is still to come */
  bool owns_uv;
  atomic_bool stop;
  _Atomic(struct net_message *) messages; /* newest first */
  struct net_task *tasks;                 /* FIFO; ends in tail */
  struct net_task tail;                   /* a sentinel, so that a task can leave without knowing its loop */
  uint64_t now_us;                        /* 0 = to be read afresh */

  /* TLS keeps its buffers here; made at the first use, freed with the loop. */
  struct net_tls_scratch *tls;
  void (*tls_free)(struct net_tls_scratch *scratch);
};

#endif
