/* edge.c: see edge.h. */
#include "edge.h"

#include <stdlib.h>

void net_edge_check(bool legal, struct net_log *log, const struct net_log_actor *from, const char *to) {
  if (legal) {
    return;
  }
  net_log_write(log, NET_LOG_ERROR, from, "may not enter %s: a fault of this program", to);
#ifndef NDEBUG
  abort();
#endif
}
