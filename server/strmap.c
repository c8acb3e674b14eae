/* strmap.c: owns the buckets of a table keyed by text. */
#include "strmap.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define STRMAP_INITIAL 64

static uint64_t strmap_hash(const struct strmap *map, const char *key) {
  uint64_t hash = 0;
  _Static_assert(crypto_shorthash_BYTES == sizeof hash, "siphash is 64 bits");
  _Static_assert(crypto_shorthash_KEYBYTES == sizeof map->secret, "the secret is the hash's key");
  crypto_shorthash((unsigned char *)&hash, (const unsigned char *)key, strlen(key), map->secret);
  return hash;
}

int strmap_init(struct strmap *map) {
  *map = (struct strmap){.size = STRMAP_INITIAL};
  map->buckets = calloc(map->size, sizeof(struct strmap_node *));
  if (map->buckets == NULL) {
    return UV_ENOMEM;
  }
  randombytes_buf(map->secret, sizeof map->secret);
  return 0;
}

void strmap_clean(struct strmap *map) {
  assert(map->count == 0);
  free(map->buckets);
  map->buckets = NULL;
}

struct strmap_node *strmap_find(const struct strmap *map, const char *key) {
  uint64_t hash = strmap_hash(map, key);
  struct strmap_node *node = map->buckets[hash & (map->size - 1)];
  while (node != NULL && (node->hash != hash || strcmp(node->key, key) != 0)) {
    node = node->next;
  }
  return node;
}

static void strmap_grow(struct strmap *map) {
  size_t size = map->size * 2;
  struct strmap_node **buckets = calloc(size, sizeof(struct strmap_node *));
  if (buckets == NULL) {
    return;
  }
  for (size_t i = 0; i < map->size; i++) {
    struct strmap_node *node = map->buckets[i];
    while (node != NULL) {
      struct strmap_node *next = node->next;
      node->next = buckets[node->hash & (size - 1)];
      buckets[node->hash & (size - 1)] = node;
      node = next;
    }
  }
  free(map->buckets);
  map->buckets = buckets;
  map->size = size;
}

void strmap_add(struct strmap *map, struct strmap_node *node, const char *key) {
  if (map->count >= map->size) {
    strmap_grow(map);
  }
  node->key = key;
  node->hash = strmap_hash(map, key);
  node->next = map->buckets[node->hash & (map->size - 1)];
  map->buckets[node->hash & (map->size - 1)] = node;
  map->count++;
}

void strmap_remove(struct strmap *map, struct strmap_node *node) {
  struct strmap_node **link = &map->buckets[node->hash & (map->size - 1)];
  while (*link != node) {
    assert(*link != NULL);
    link = &(*link)->next;
  }
  *link = node->next;
  map->count--;
}
