/* service_ids.c: owns the memory of what the ids of a session mean: a digest of the name each. */
#include "service_ids.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct service_id {
  uint32_t id;
  uint8_t digest[16];
};

int service_ids_note(struct service_ids *ids, uint32_t id, const char *name) {
  struct service_id entry = {.id = id};
  size_t low = 0, high = ids->count;
  crypto_generichash(entry.digest, sizeof entry.digest, (const unsigned char *)name, strlen(name), NULL, 0);
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (ids->list[middle].id < id) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low < ids->count && ids->list[low].id == id) {
    return memcmp(ids->list[low].digest, entry.digest, sizeof entry.digest) == 0 ? 0 : UV_EINVAL;
  }
  if (ids->count >= SERVICE_IDS_MAX) {
    return UV_E2BIG;
  }
  if (ids->count == ids->capacity) {
    size_t capacity = ids->capacity == 0 ? 8 : ids->capacity * 2;
    struct service_id *list = realloc(ids->list, capacity * sizeof *list);
    if (list == NULL) {
      return UV_ENOMEM;
    }
    ids->list = list;
    ids->capacity = capacity;
  }
  memmove(&ids->list[low + 1], &ids->list[low], (ids->count - low) * sizeof entry);
  ids->list[low] = entry;
  ids->count++;
  return 0;
}

void service_ids_clean(struct service_ids *ids) {
  free(ids->list);
  *ids = (struct service_ids){0};
}
