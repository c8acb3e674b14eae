/* edge.h: every actor's state setter asks here whether the move is in its diagram. A move that is not is a fault of ours. With assertions
 * the program stops there; without (NDEBUG) it says so at level ERROR and goes on, because one confused actor must not end everybody's streams. */
#ifndef NET_EDGE_H
#define NET_EDGE_H

#include "log.h"

/* from: the actor in the state that it leaves; to: the name of the state that it enters. log may be NULL. */
void net_edge_check(bool legal, struct net_log *log, const struct net_log_actor *from, const char *to);

#endif
