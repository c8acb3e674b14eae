/* request_rate.h: how many requests a second an address or a user may make: a token bucket for each, that holds two seconds' worth. A bounded
 * table: the one that was quiet for longest makes room. Pure: the caller's clock. */
#ifndef SERVER_REQUEST_RATE_H
#define SERVER_REQUEST_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mdm/mux.h"

#define REQUEST_RATE_ENTRIES_MAX 65536u /* 6 MiB; a bucket that made room early begins full again: a limit may be missed, nobody is refused wrongly */
#define REQUEST_RATE_BURST 2u           /* seconds' worth */

struct request_rate;

struct request_rate *request_rate_new(void); /* NULL: out of memory */
void request_rate_free(struct request_rate *table); /* NULL is fine */
/* One more request at `now_ms`. False: over `per_second` (0 = any number). IPv6 counts by network of 64 bits. A full memory lets it pass. */
bool request_rate_address(struct request_rate *table, uint64_t now_ms, const struct mdm_address *address, uint32_t per_second);
bool request_rate_user(struct request_rate *table, uint64_t now_ms, const char *user, uint32_t per_second);
size_t request_rate_count(const struct request_rate *table);

#endif
