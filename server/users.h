/* users.h: the user file: who may log in, with a keyed hash of each token, and which custom domains each may serve.
 *
 *   { "version": 1,
 *     "key": "<32 random bytes, base64url>",                  the key of the hashes, made with the file
 *     "users": { "tim": { "token": "<32 bytes, base64url>",   keyed BLAKE2b of the token's secret
 *                         "created": "2026-11-21T06:00:00Z", "rotated": "...",
 *                         "domains": ["app.example.org"],     custom domains granted to the user
 *                         "reserved": true } } }              the name is one of names_reserved(), on purpose
 *
 * Mode 0600, replaced atomically. An unknown key is an error that names file, line and key. No I/O but load and save, which block: they are
 * for start-up, for the commands, and for a change of the file. */
#ifndef SERVER_USERS_H
#define SERVER_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service.h"

#define USERS_FILE_MAX (8u * 1024u * 1024u)
#define USERS_MAX 10000u
#define USERS_DOMAINS_MAX 256u /* of one user */
#define USERS_HASH_SIZE 32
#define USERS_TIME_SIZE 24     /* "2026-11-21T06:00:00Z" */

struct users_entry {
  char name[NET_LABEL_MAX + 1];
  uint8_t hash[USERS_HASH_SIZE];
  char created[USERS_TIME_SIZE], rotated[USERS_TIME_SIZE]; /* "" if never */
  char **domains;                                          /* lower case */
  size_t domains_count;
  bool reserved;
};
struct users {
  uint8_t key[USERS_HASH_SIZE];
  struct users_entry *list; /* sorted by name */
  size_t count;
};

int users_new(struct users **out); /* empty, with a fresh key. 0 or UV_ENOMEM */
void users_free(struct users *users);
/* 0; UV_ENOENT: no such file, or an empty one; UV_EACCES: closed to us, or open to others; another negative value: malformed. Always with a
 * sentence. */
int users_load(struct users **out, const char *path, char *error, size_t error_size);
int users_save(const struct users *users, const char *path, char *error, size_t error_size);

struct users_entry *users_find(const struct users *users, const char *name);
/* The user whose token it is, or NULL. Looks at every entry, in constant time each. */
const struct users_entry *users_verify(const struct users *users, const char *token, size_t size);
bool users_granted(const struct users *users, const char *name, const char *host);
bool users_domain_known(const struct users *users, const char *host); /* granted to anybody */

/* The hash of `token` (made by net_token_make) becomes the user's. 0 or negative. */
int users_add(struct users *users, const char *name, const char *token, const char *now, struct users_entry **out);
int users_rotate(struct users *users, struct users_entry *entry, const char *token, const char *now);
int users_grant(struct users_entry *entry, const char *host);
void users_remove(struct users *users, struct users_entry *entry);

#endif
