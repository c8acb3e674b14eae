/* address_count.c: the table of address_count.h, keyed by the bytes in hex. */
#include "address_count.h"

#include <stdio.h>
#include <stdlib.h>

#define KEY_SIZE 18u /* a letter for the family, 8 bytes in hex, NUL */

struct address_entry {
  struct strmap_node node;
  unsigned count;
  char key[KEY_SIZE];
};

int address_count_init(struct address_count *set) {
  return strmap_init(&set->map);
}

void address_count_clean(struct address_count *set) {
  strmap_clean(&set->map);
}

static void key_of(char out[static KEY_SIZE], const struct mdm_address *address) {
  size_t bytes = address->family == 6 ? 8 : address->family == 4 ? 4 : 0, used;
  used = (size_t)snprintf(out, KEY_SIZE, "%c", address->family == 6 ? 's' : address->family == 4 ? 'f' : 'u');
  for (size_t i = 0; i < bytes; i++)
    used += (size_t)snprintf(out + used, KEY_SIZE - used, "%02x", address->bytes[i]);
}

struct address_entry *address_count_enter(struct address_count *set, const struct mdm_address *address, unsigned max) {
  char key[KEY_SIZE];
  struct strmap_node *node;
  struct address_entry *entry;
  key_of(key, address);
  node = strmap_find(&set->map, key);
  if (node != NULL) {
    entry = STRMAP_OWNER(node, struct address_entry, node);
    if (max != 0 && entry->count >= max)
      return NULL;
  } else {
    entry = calloc(1, sizeof *entry);
    if (entry == NULL)
      return NULL;
    snprintf(entry->key, sizeof entry->key, "%s", key);
    strmap_add(&set->map, &entry->node, entry->key);
  }
  entry->count++;
  return entry;
}

void address_count_leave(struct address_count *set, struct address_entry *entry) {
  if (entry == NULL || --entry->count > 0)
    return;
  strmap_remove(&set->map, &entry->node);
  free(entry);
}
