/* services_watch.h: tells when the services file changed: an event of its directory, settled, and a look every few
 * seconds for file systems and symbolic links that bring no event. Editors write a new file and rename it, so the
 * directory is what is watched. */
#ifndef CLIENT_SERVICES_WATCH_H
#define CLIENT_SERVICES_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "loop.h"

#define SERVICES_WATCH_SETTLE_MS 100u /* writers that truncate and then write */
#define SERVICES_WATCH_POLL_MS   3000u

struct services_watch {
  struct net_loop *loop;
  uv_fs_event_t event;
  bool event_open;
  struct net_timer settle, poll;
  char *path; /* owned */
  uint64_t signature[4];
  void (*changed)(struct services_watch *watch);
};

/* 0, or UV_ENOMEM. The file need not exist. */
int services_watch_start(struct services_watch *watch, struct net_loop *loop, const char *path,
                         void (*changed)(struct services_watch *watch));
/* Idempotent, also on a zeroed struct. The memory may go once the loop has run its closing callbacks. */
void services_watch_stop(struct services_watch *watch);

#endif
