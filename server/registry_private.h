/* registry_private.h: shared by registry.c (names) and registry_hold.c (requests that wait for one). */
#ifndef SERVER_REGISTRY_PRIVATE_H
#define SERVER_REGISTRY_PRIVATE_H

#include "registry.h"
#include "strmap.h"

struct name;

struct registry {
  struct net_loop *loop;
  struct registry_directory directory;
  struct strmap names, users;
  struct name *seen, **seen_tail; /* without claims, longest gone first */
  size_t seen_count;
  uint64_t started_ms;
  struct registry_hold *holds;    /* oldest first */
  size_t holds_count;
  struct net_task publish;        /* tells the holds whose name came */
};

void registry_holds_init(struct registry *registry);
void registry_holds_clean(struct registry *registry);
void registry_holds_publish(struct registry *registry, const char *key);

#endif
