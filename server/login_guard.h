/* login_guard.h: how long the refusal of a login is held back. Counts failures by address (an IPv6 /64 is one) and by address and user; forgets
 * them after ten quiet minutes. Only refusals wait: a right credential is let in at once, whatever others did from the same address. */
#ifndef SERVER_LOGIN_GUARD_H
#define SERVER_LOGIN_GUARD_H

#include <stdint.h>

#include "mdm/mux.h"

#define LOGIN_GUARD_ENTRIES 4096u          /* rows of eight, the quietest of a row makes room */
#define LOGIN_GUARD_FREE 3u                /* mistakes that cost nothing */
#define LOGIN_GUARD_FIRST_MS 250u          /* then doubling */
#define LOGIN_GUARD_MAX_MS 10000u
#define LOGIN_GUARD_LOCKED 10u             /* failures of one user from one address: the longest wait at once */
#define LOGIN_GUARD_FORGET_MS (10u * 60u * 1000u)

struct login_guard_entry;
struct login_guard {
  struct login_guard_entry *entries;
  uint8_t secret[16];
};

int login_guard_init(struct login_guard *guard); /* 0 or UV_ENOMEM */
void login_guard_clean(struct login_guard *guard);
/* Notes a failure; returns for how long to hold the refusal back. */
uint32_t login_guard_failed(struct login_guard *guard, uint64_t now_ms, const struct mdm_address *address, const char *user);
/* A right credential: the pair's failures are forgotten (not the address's: it may be shared). */
void login_guard_passed(struct login_guard *guard, const struct mdm_address *address, const char *user);

#endif
