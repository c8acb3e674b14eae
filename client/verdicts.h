/* verdicts.h: what the server says of each service, as events. */
#ifndef CLIENT_VERDICTS_H
#define CLIENT_VERDICTS_H

#include <stddef.h>

#include "hello.h"
#include "mdm/client.h"
#include "services.h"

struct verdicts_count {
  size_t served;  /* with or without an address */
  size_t refused;
  char first_refusal[NET_SENTENCE_MAX + NET_SERVICE_NAME_MAX + 8]; /* "name: why" */
};

/* Calls `tell` once a verdict that names an entry of `map`; others are counted as nothing. `user` goes through. */
void verdicts_tell(const struct net_services_ok *services, const struct service_map *map, struct verdicts_count *count,
                   void (*tell)(const struct mdm_client_event *event, void *user), void *user);

#endif
