/* login_guard.c: owns the table of failed logins. */
#include "login_guard.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define WAYS 8u

struct login_guard_entry {
  uint64_t key; /* keyed hash; 0 = empty */
  uint64_t last_ms;
  uint32_t failures;
};

int login_guard_init(struct login_guard *guard) {
  guard->entries = calloc(LOGIN_GUARD_ENTRIES, sizeof *guard->entries);
  randombytes_buf(guard->secret, sizeof guard->secret);
  return guard->entries == NULL ? UV_ENOMEM : 0;
}

void login_guard_clean(struct login_guard *guard) {
  free(guard->entries);
  guard->entries = NULL;
}

/* user NULL: the address alone. */
static uint64_t guard_key(const struct login_guard *guard, const struct mdm_address *address, const char *user) {
  uint8_t text[10 + 256] = {address->family, user != NULL};
  uint64_t key = 0;
  size_t size = user == NULL ? 0 : strlen(user);
  memcpy(text + 2, address->bytes, address->family == 4 ? 4 : 8);
  if (size > sizeof text - 10) {
    size = sizeof text - 10;
  }
  if (size > 0) {
    memcpy(text + 10, user, size);
  }
  crypto_shorthash((unsigned char *)&key, text, 10 + size, guard->secret);
  return key == 0 ? 1 : key;
}

static struct login_guard_entry *guard_row(struct login_guard *guard, uint64_t key) {
  return &guard->entries[key % (LOGIN_GUARD_ENTRIES / WAYS) * WAYS];
}

static uint32_t guard_count(struct login_guard *guard, uint64_t key, uint64_t now_ms) {
  struct login_guard_entry *row = guard_row(guard, key);
  struct login_guard_entry *entry = &row[0];
  for (unsigned i = 0; i < WAYS; i++) {
    if (row[i].key == key) {
      entry = &row[i];
      break;
    }
    if (row[i].failures < entry->failures || (row[i].failures == entry->failures && row[i].last_ms < entry->last_ms)) {
      entry = &row[i];
    }
  }
  if (entry->key != key || now_ms - entry->last_ms > LOGIN_GUARD_FORGET_MS) {
    *entry = (struct login_guard_entry){.key = key};
  }
  entry->last_ms = now_ms;
  if (entry->failures < UINT32_MAX) {
    entry->failures++;
  }
  return entry->failures;
}

static uint32_t guard_delay(uint32_t failures) {
  if (failures <= LOGIN_GUARD_FREE) {
    return 0;
  }
  uint32_t doublings = failures - LOGIN_GUARD_FREE - 1;
  uint64_t delay = doublings > 16 ? LOGIN_GUARD_MAX_MS : (uint64_t)LOGIN_GUARD_FIRST_MS << doublings;
  return delay > LOGIN_GUARD_MAX_MS ? LOGIN_GUARD_MAX_MS : (uint32_t)delay;
}

uint32_t login_guard_failed(struct login_guard *guard, uint64_t now_ms, const struct mdm_address *address, const char *user) {
  uint32_t of_address = guard_count(guard, guard_key(guard, address, NULL), now_ms);
  uint32_t of_pair = guard_count(guard, guard_key(guard, address, user), now_ms);
  if (of_pair >= LOGIN_GUARD_LOCKED) {
    return LOGIN_GUARD_MAX_MS;
  }
  return guard_delay(of_address > of_pair ? of_address : of_pair);
}

void login_guard_passed(struct login_guard *guard, const struct mdm_address *address, const char *user) {
  uint64_t key = guard_key(guard, address, user);
  struct login_guard_entry *row = guard_row(guard, key);
  for (unsigned i = 0; i < WAYS; i++) {
    if (row[i].key == key) {
      row[i] = (struct login_guard_entry){0};
    }
  }
}
