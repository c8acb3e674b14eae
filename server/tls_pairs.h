/* tls_pairs.h: the certificates of the public HTTPS port and their keys: found in files, chosen by name. Immutable once loaded; counted, any thread. */
#ifndef SERVER_TLS_PAIRS_H
#define SERVER_TLS_PAIRS_H

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_PAIRS_MAX 4096u       /* certificates of one server */
#define TLS_PAIR_NAMES_MAX 1000u  /* of one certificate: public authorities stop at 100 */
#define TLS_PAIR_DIGEST 32u
#define TLS_FILE_MAX (1024u * 1024u)

/* Where a pair comes from. `key` may be the same file. */
struct tls_source {
  char *certificate, *key;
};
struct tls_sources {
  struct tls_source *list;
  size_t count;
};
/* The pair of --tls-cert/--tls-key first (NULL: none), then those found in `dir` (NULL: none), sorted. 0, or -1 with a sentence. */
int tls_sources_find(struct tls_sources *out, const char *certificate, const char *key, const char *dir, char *error, size_t error_size);
void tls_sources_clean(struct tls_sources *sources);
uint64_t tls_sources_stamp(const struct tls_sources *sources); /* another value once any of the files changed */

struct tls_pair {
  atomic_uint references;
  char *path;                        /* of the certificate */
  X509 *certificate;
  EVP_PKEY *key;
  STACK_OF(X509) *chain;
  uint8_t digest[TLS_PAIR_DIGEST];   /* SHA-256 of the certificate */
  char **names;                      /* lower case; may begin with "*." */
  size_t names_count;
};
struct tls_pair_name {
  const char *name;
  const struct tls_pair *pair;
};
struct tls_pairs {
  atomic_uint references;
  struct tls_pair **list;            /* the first is the default */
  size_t count;
  struct tls_pair_name *names;       /* sorted */
  size_t names_count;
};
/* Loads every source. One that is bad is told to `complain`; in its place stands the one of the same path in `old` (may be NULL) if it was there.
 * 0, or -1 with a sentence when none is left. */
int tls_pairs_load(struct tls_pairs **out, const struct tls_sources *sources, const struct tls_pairs *old,
                   void (*complain)(const char *sentence, void *user), void *user, char *error, size_t error_size);
struct tls_pairs *tls_pairs_ref(struct tls_pairs *pairs);
void tls_pairs_unref(struct tls_pairs *pairs); /* NULL is fine */
/* The exact name first, then a wildcard over one label, then the default. `name` NULL or "": the default. */
const struct tls_pair *tls_pairs_choose(const struct tls_pairs *pairs, const char *name, size_t size);
bool tls_pair_covers(const struct tls_pair *pair, const char *host);

#endif
