/* users.c: owns the list of users in memory: look-up, verification, change. The file is in users_file.c. */
#include "users.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "hello.h"

int users_new(struct users **out) {
  struct users *users = calloc(1, sizeof *users);
  *out = users;
  if (users == NULL) {
    return UV_ENOMEM;
  }
  randombytes_buf(users->key, sizeof users->key);
  return 0;
}

static void entry_clean(struct users_entry *entry) {
  for (size_t i = 0; i < entry->domains_count; i++) {
    free(entry->domains[i]);
  }
  free(entry->domains);
  sodium_memzero(entry->hash, sizeof entry->hash);
}

void users_free(struct users *users) {
  if (users == NULL) {
    return;
  }
  for (size_t i = 0; i < users->count; i++) {
    entry_clean(&users->list[i]);
  }
  free(users->list);
  sodium_memzero(users->key, sizeof users->key);
  free(users);
}

/* Where `name` stands or belongs. */
static size_t users_index(const struct users *users, const char *name) {
  size_t low = 0, high = users->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (strcmp(users->list[middle].name, name) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

struct users_entry *users_find(const struct users *users, const char *name) {
  size_t index = users_index(users, name);
  return index < users->count && strcmp(users->list[index].name, name) == 0 ? &users->list[index] : NULL;
}

static int token_hash(const struct users *users, const char *token, uint8_t out[static USERS_HASH_SIZE]) {
  uint8_t secret[NET_TOKEN_SECRET_SIZE], fingerprint[32];
  bool ours = false;
  int rc = UV_EINVAL;
  if (net_token_parse(token, secret, fingerprint, &ours) == 0 && ours) {
    crypto_generichash(out, USERS_HASH_SIZE, secret, sizeof secret, users->key, sizeof users->key);
    rc = 0;
  }
  sodium_memzero(secret, sizeof secret);
  return rc;
}

const struct users_entry *users_verify(const struct users *users, const char *token, size_t size) {
  char text[NET_TEXT_MAX + 1];
  uint8_t hash[USERS_HASH_SIZE];
  const struct users_entry *found = NULL;
  if (size >= sizeof text || memchr(token, '\0', size) != NULL) {
    return NULL;
  }
  memcpy(text, token, size);
  text[size] = '\0';
  int rc = token_hash(users, text, hash);
  sodium_memzero(text, sizeof text);
  if (rc != 0) {
    return NULL;
  }
  for (size_t i = 0; i < users->count; i++) {
    found = sodium_memcmp(users->list[i].hash, hash, sizeof hash) == 0 ? &users->list[i] : found;
  }
  sodium_memzero(hash, sizeof hash);
  return found;
}

static bool entry_granted(const struct users_entry *entry, const char *host) {
  for (size_t i = 0; i < entry->domains_count; i++) {
    if (strcmp(entry->domains[i], host) == 0) {
      return true;
    }
  }
  return false;
}

bool users_granted(const struct users *users, const char *name, const char *host) {
  const struct users_entry *entry = users_find(users, name);
  return entry != NULL && entry_granted(entry, host);
}

bool users_domain_known(const struct users *users, const char *host) {
  for (size_t i = 0; i < users->count; i++) {
    if (entry_granted(&users->list[i], host)) {
      return true;
    }
  }
  return false;
}

int users_rotate(struct users *users, struct users_entry *entry, const char *token, const char *now) {
  snprintf(entry->rotated, sizeof entry->rotated, "%s", now);
  return token_hash(users, token, entry->hash);
}

int users_add(struct users *users, const char *name, const char *token, const char *now, struct users_entry **out) {
  struct users_entry entry = {0};
  *out = NULL;
  if (!net_label_fold(entry.name, name, strlen(name)) || users->count >= USERS_MAX) {
    return UV_EINVAL;
  }
  if (token != NULL && token_hash(users, token, entry.hash) != 0) {
    return UV_EINVAL;
  }
  snprintf(entry.created, sizeof entry.created, "%s", now);
  size_t index = users_index(users, entry.name);
  if (index < users->count && strcmp(users->list[index].name, entry.name) == 0) {
    return UV_EEXIST;
  }
  struct users_entry *list = realloc(users->list, (users->count + 1) * sizeof *list);
  if (list == NULL) {
    return UV_ENOMEM;
  }
  users->list = list;
  memmove(&list[index + 1], &list[index], (users->count - index) * sizeof *list);
  list[index] = entry;
  users->count++;
  *out = &list[index];
  return 0;
}

int users_grant(struct users_entry *entry, const char *host) {
  if (entry_granted(entry, host)) {
    return 0;
  }
  if (entry->domains_count >= USERS_DOMAINS_MAX) {
    return UV_E2BIG;
  }
  char **domains = realloc(entry->domains, (entry->domains_count + 1) * sizeof *domains);
  if (domains == NULL) {
    return UV_ENOMEM;
  }
  entry->domains = domains;
  char *copy = strdup(host);
  if (copy == NULL) {
    return UV_ENOMEM;
  }
  for (char *p = copy; *p != '\0'; p++) {
    *p = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
  }
  domains[entry->domains_count++] = copy;
  return 0;
}

void users_remove(struct users *users, struct users_entry *entry) {
  size_t index = (size_t)(entry - users->list);
  entry_clean(entry);
  memmove(entry, entry + 1, (users->count - index - 1) * sizeof *entry);
  users->count--;
}
