/* map.h: stream id -> stream. Open addressing; a slot is found in one or two steps. */
#ifndef MDM_MUX_MAP_H
#define MDM_MUX_MAP_H

#include "mdm/mux.h"

struct map_slot {
  uint32_t id; /* 0 = empty */
  mdm_stream *stream;
};

struct map {
  struct map_slot *slots;
  uint32_t size; /* a power of two */
  uint32_t used;
  uint32_t seed; /* so that a peer cannot choose ids that collide */
};

void map_init(struct map *map, uint32_t seed);
void map_clean(struct map *map, const struct mdm_allocator *allocator);
int map_put(struct map *map, const struct mdm_allocator *allocator, uint32_t id, mdm_stream *stream) MDM_MUST_USE;
mdm_stream *map_get(const struct map *map, uint32_t id);
void map_remove(struct map *map, uint32_t id);
/* Gives back a large table once it is empty. */
void map_rest(struct map *map, const struct mdm_allocator *allocator);

#endif
