/* loop.h: one worker's event loop and everything that is shared on it.
 *
 * A worker owns its net_loop; nothing here is touched from another thread except net_loop_post().
 * The loop brings what every actor on it needs: the uv loop, a timer wheel, a scratch buffer, the block pool,
 * a clock, and work deferred to the end of the iteration (flushes), run from uv_prepare just before the poll.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "mdm/mux.h"
#include "wheel.h"

#define NET_SCRATCH_SIZE (64u * 1024u) /* one read of a link: four full frames */

struct net_log;
struct net_loop;

/* Something to do at the end of this loop iteration. Embedded in its owner; queued at most once; FIFO. */
struct net_task {
  void (*run)(struct net_task *task);
  struct net_task *next, **link; /* NULL link = not queued */
};

/* A message from another thread: `run` is called on the loop's thread. Allocated by the sender, owned by run(). */
struct net_message {
  void (*run)(struct net_message *message, struct net_loop *loop);
  struct net_message *next;
};

struct net_loop {
  uv_loop_t *uv;
  struct net_wheel wheel;
  mdm_mux_pool *pool;
  struct net_log *log;
  unsigned index;           /* worker number, 0 first */
  uint8_t *scratch;         /* NET_SCRATCH_SIZE; valid inside one callback; plaintext reads */
  struct net_loop_private *private_; /* tls scratch, deferred tasks, message queue */
};

/* `uv` may be the caller's (embedding) or NULL: then the loop makes and owns one. 0 or a UV_ error. */
int net_loop_init(struct net_loop *loop, uv_loop_t *uv, mdm_mux_pool *pool, struct net_log *log);
/* Closes the loop's own handles; call after every actor has closed; runs the uv loop until its handles are gone if owned. With
 * a caller's uv loop the struct must stay until that loop has run its close callbacks. */
void net_loop_clean(struct net_loop *loop);
/* Until net_loop_stop(), or until nothing on it is alive. A net_loop by itself keeps no loop alive. */
int net_loop_run(struct net_loop *loop);
void net_loop_stop(struct net_loop *loop); /* thread-safe */

/* Queues `task` for the end of this iteration (or of the next if called from a task run). Idempotent while queued. */
void net_loop_defer(struct net_loop *loop, struct net_task *task);
void net_task_cancel(struct net_task *task);
void net_loop_post(struct net_loop *loop, struct net_message *message); /* any thread */

uint64_t net_loop_now_us(const struct net_loop *loop); /* monotonic, read afresh at most once an iteration */
uint64_t net_loop_now_ms(const struct net_loop *loop);

#endif
