/* peer.h: the life of the server peer of world.h. */
#ifndef TEST_CLIENT_PEER_H
#define TEST_CLIENT_PEER_H

#include "world.h"

void peer_open(struct peer *peer, struct world *world, bool tls);
void peer_close(struct peer *peer);

#endif
