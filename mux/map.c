/* map.c: stream id -> stream, linear probing at no more than three quarters full, deletion by moving back. */
#include "map.h"
#include "buffer.h"

#include <assert.h>
#include <string.h>

#define MAP_FIRST 16u
#define MAP_KEEP  1024u /* a table of 16 KiB is kept for the next streams */

static uint32_t hash(const struct map *map, uint32_t id) {
  uint32_t h = id ^ map->seed;
  h ^= h >> 16;
  h *= 0x7feb352du;
  h ^= h >> 15;
  h *= 0x846ca68bu;
  h ^= h >> 16;
  return h & (map->size - 1);
}

void map_init(struct map *map, uint32_t seed) {
  *map = (struct map){.seed = seed};
}

void map_clean(struct map *map, const struct mdm_allocator *allocator) {
  memory_release(allocator, map->slots);
  map->slots = NULL;
  map->size = map->used = 0;
}

static void place(struct map *map, uint32_t id, mdm_stream *stream) {
  uint32_t i = hash(map, id);
  while (map->slots[i].id != 0)
    i = (i + 1) & (map->size - 1);
  map->slots[i] = (struct map_slot){.id = id, .stream = stream};
}

static int grow(struct map *map, const struct mdm_allocator *allocator) {
  struct map old = *map;
  uint32_t size = old.size ? old.size * 2 : MAP_FIRST;
  struct map_slot *slots = memory_alloc(allocator, size * sizeof *slots);
  if (!slots)
    return MDM_MUX_ENOMEM;
  memset(slots, 0, size * sizeof *slots);
  map->slots = slots;
  map->size = size;
  for (uint32_t i = 0; i < old.size; i++)
    if (old.slots[i].id != 0)
      place(map, old.slots[i].id, old.slots[i].stream);
  memory_release(allocator, old.slots);
  return 0;
}

int map_put(struct map *map, const struct mdm_allocator *allocator, uint32_t id, mdm_stream *stream) {
  assert(id != 0);
  if ((map->used + 1) * 4 > map->size * 3) {
    int rc = grow(map, allocator);
    if (rc)
      return rc;
  }
  place(map, id, stream);
  map->used++;
  return 0;
}

mdm_stream *map_get(const struct map *map, uint32_t id) {
  if (map->used == 0 || id == 0)
    return NULL;
  for (uint32_t i = hash(map, id); map->slots[i].id != 0; i = (i + 1) & (map->size - 1))
    if (map->slots[i].id == id)
      return map->slots[i].stream;
  return NULL;
}

void map_remove(struct map *map, uint32_t id) {
  if (map->used == 0)
    return;
  uint32_t mask = map->size - 1;
  uint32_t i = hash(map, id);
  while (map->slots[i].id != id) {
    if (map->slots[i].id == 0)
      return;
    i = (i + 1) & mask;
  }
  map->used--;
  /* Close the hole: move back every follower whose home is not between the hole and itself. */
  for (uint32_t j = (i + 1) & mask; map->slots[j].id != 0; j = (j + 1) & mask) {
    uint32_t home = hash(map, map->slots[j].id);
    if (((j - home) & mask) >= ((j - i) & mask)) {
      map->slots[i] = map->slots[j];
      i = j;
    }
  }
  map->slots[i] = (struct map_slot){0};
}

void map_rest(struct map *map, const struct mdm_allocator *allocator) {
  if (map->used == 0 && map->size > MAP_KEEP)
    map_clean(map, allocator);
}
