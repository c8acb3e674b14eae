/* verdicts.h: what the server says of each service, as events. */
#ifndef CLIENT_VERDICTS_H
#define CLIENT_VERDICTS_H

#include <stddef.h>

#include "hello.h"
#include "mdm/client.h"
#include "services.h"

struct verdicts_count {
  size_t served; /* with or without an address */
  size_t refused;
  char first_refusal[NET_SENTENCE_MAX + NET_SERVICE_NAME_MAX + 8]; /* "name: why" */
};

/* A verdict that nobody asked for (`serial` was answered before) withdraws what it refuses: another client took it
 * over, and this one does not come back for it (service_entry.lost). Returns how many services of the map are left to
 * announce. */
size_t verdicts_withdraw(const struct net_services_ok *services, const struct service_map *map);

/* Calls `tell` once a verdict that names an entry of `map`; others are counted as nothing. `user` goes through. */
void verdicts_tell(const struct net_services_ok *services, const struct service_map *map, struct verdicts_count *count,
                   void (*tell)(const struct mdm_client_event *event, void *user), void *user);

#endif
