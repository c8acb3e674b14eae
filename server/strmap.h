/* strmap.h: a hash table of nodes embedded in their owners, keyed by text. Grows, never shrinks; no allocation per insert but for
 * growth, and a failed growth only makes it slower. The hash is keyed at random, so that nobody can choose colliding names. */
#ifndef SERVER_STRMAP_H
#define SERVER_STRMAP_H

#include <stddef.h>
#include <stdint.h>

struct strmap_node {
  struct strmap_node *next;
  uint64_t hash;
  const char *key; /* the owner's, unchanged while in the map */
};
struct strmap {
  struct strmap_node **buckets;
  size_t size, count; /* size is a power of two */
  uint8_t secret[16];
};

int strmap_init(struct strmap *map); /* 0 or UV_ENOMEM */
void strmap_clean(struct strmap *map); /* asserts that it is empty */
struct strmap_node *strmap_find(const struct strmap *map, const char *key);
void strmap_add(struct strmap *map, struct strmap_node *node, const char *key); /* the key must not be in it */
void strmap_remove(struct strmap *map, struct strmap_node *node);

#define STRMAP_OWNER(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
