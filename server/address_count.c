/* address_count.c: the table of address_count.h, and the key that other tables by address use too. */
#include "address_count.h"

#include <stdio.h>
#include <stdlib.h>

struct address_entry {
  struct strmap_node node;
  unsigned count;
  char key[ADDRESS_KEY_SIZE];
};

void address_key(char out[static ADDRESS_KEY_SIZE], const struct mdm_address *address) {
  static const char hex[] = "0123456789abcdef";
  size_t bytes = address->family == 6 ? 8 : address->family == 4 ? 4 : 0;
  *out++ = address->family == 6 ? '6' : address->family == 4 ? '4' : '-';
  for (size_t i = 0; i < bytes; i++) {
    *out++ = hex[address->bytes[i] >> 4];
    *out++ = hex[address->bytes[i] & 15];
  }
  *out = '\0';
}

int address_count_init(struct address_count *set) {
  return strmap_init(&set->map);
}

void address_count_clean(struct address_count *set) {
  strmap_clean(&set->map);
}

struct address_entry *address_count_enter(struct address_count *set, const struct mdm_address *address, unsigned max) {
  char key[ADDRESS_KEY_SIZE];
  struct strmap_node *node;
  struct address_entry *entry;
  address_key(key, address);
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
