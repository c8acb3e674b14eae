/* address_count.h: how many connections each address has open. An IPv6 network of 64 bits counts as one address: a visitor has all of it. */
#ifndef SERVER_ADDRESS_COUNT_H
#define SERVER_ADDRESS_COUNT_H

#include "mdm/mux.h"
#include "strmap.h"

#define ADDRESS_KEY_SIZE 18u /* a sign for the family, 8 bytes in hex, NUL */
/* The same text for all addresses that count as one. */
void address_key(char out[static ADDRESS_KEY_SIZE], const struct mdm_address *address);

struct address_count {
  struct strmap map;
};
struct address_entry;

int address_count_init(struct address_count *set); /* 0 or UV_ENOMEM */
void address_count_clean(struct address_count *set); /* every entry has been left */
/* Counts one more unless the address has `max` (0 = any number). NULL: it has, or memory is out. */
struct address_entry *address_count_enter(struct address_count *set, const struct mdm_address *address, unsigned max);
void address_count_leave(struct address_count *set, struct address_entry *entry); /* NULL is fine */

#endif
