/* tls_pairs.c: loads certificates with their keys, reads the names they are for, and chooses one by name. */
#include "tls_pairs.h"

#include <ctype.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#include "identity.h"

#define SENTENCE_MAX 1024u
#define NAME_MAX_SIZE 253u

/* ---- one pair ---- */
static void pair_unref(struct tls_pair *pair) {
  if (pair == NULL || atomic_fetch_sub(&pair->references, 1) != 1)
    return;
  for (size_t i = 0; i < pair->names_count; i++)
    free(pair->names[i]);
  free(pair->names);
  X509_free(pair->certificate);
  EVP_PKEY_free(pair->key);
  sk_X509_pop_free(pair->chain, X509_free);
  free(pair->path);
  free(pair);
}

/* A key with a pass phrase is refused rather than asked for on a terminal. */
static int no_pass_phrase(char *buffer, int size, int writing, void *user) {
  (void)buffer, (void)size, (void)writing, (void)user;
  return -1;
}

static BIO *open_file(const char *path, char **text, char *error, size_t error_size) {
  size_t size = 0;
  int status = net_file_read(path, TLS_FILE_MAX, text, &size);
  if (status != 0) {
    snprintf(error, error_size, "%s: %s", path, uv_strerror(status));
    return NULL;
  }
  return BIO_new_mem_buf(*text, (int)size);
}

static void close_file(BIO *bio, char *text) {
  BIO_free(bio);
  if (text != NULL) {
    OPENSSL_cleanse(text, strlen(text));
    free(text);
  }
}

static int read_certificates(struct tls_pair *pair, const char *path, char *error, size_t error_size) {
  char *text = NULL;
  X509 *next;
  BIO *bio = open_file(path, &text, error, error_size);
  if (bio == NULL) {
    free(text);
    return -1;
  }
  pair->certificate = PEM_read_bio_X509(bio, NULL, no_pass_phrase, NULL);
  pair->chain = sk_X509_new_null();
  while (pair->certificate != NULL && pair->chain != NULL && (next = PEM_read_bio_X509(bio, NULL, no_pass_phrase, NULL)) != NULL)
    if (sk_X509_push(pair->chain, next) <= 0) {
      X509_free(next);
      break;
    }
  ERR_clear_error(); /* the end of the file is told as an error */
  close_file(bio, text);
  if (pair->certificate == NULL)
    snprintf(error, error_size, "%s: holds no certificate in PEM", path);
  return pair->certificate == NULL ? -1 : 0;
}

static int read_key(struct tls_pair *pair, const char *path, char *error, size_t error_size) {
  char *text = NULL;
  BIO *bio = open_file(path, &text, error, error_size);
  if (bio == NULL) {
    free(text);
    return -1;
  }
  pair->key = PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL);
  ERR_clear_error();
  close_file(bio, text);
  if (pair->key == NULL) {
    snprintf(error, error_size, "%s: holds no private key in PEM (one with a pass phrase cannot be used)", path);
    return -1;
  }
  if (X509_check_private_key(pair->certificate, pair->key) != 1) {
    ERR_clear_error();
    snprintf(error, error_size, "%s: the key does not belong to the certificate %s", path, pair->path);
    return -1;
  }
  return 0;
}

static int add_name(struct tls_pair *pair, const ASN1_STRING *text) {
  const unsigned char *data = ASN1_STRING_get0_data(text);
  int size = ASN1_STRING_length(text);
  char **larger, *copy;
  if (size <= 0 || (unsigned)size > NAME_MAX_SIZE || memchr(data, 0, (size_t)size) != NULL || pair->names_count >= TLS_PAIR_NAMES_MAX)
    return 0; /* such a name matches nothing */
  larger = realloc(pair->names, (pair->names_count + 1) * sizeof *larger);
  if (larger == NULL)
    return -1;
  pair->names = larger;
  copy = strndup((const char *)data, (size_t)size);
  if (copy == NULL)
    return -1;
  for (char *c = copy; *c != '\0'; c++)
    *c = (char)tolower((unsigned char)*c);
  larger[pair->names_count++] = copy;
  return 0;
}

/* The alternative names (RFC 6125 6.4); the subject's common name only where there are none. */
static int read_names(struct tls_pair *pair) {
  GENERAL_NAMES *names = X509_get_ext_d2i(pair->certificate, NID_subject_alt_name, NULL, NULL);
  int status = 0;
  for (int i = 0; names != NULL && status == 0 && i < sk_GENERAL_NAME_num(names); i++) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
    if (name->type == GEN_DNS)
      status = add_name(pair, name->d.dNSName);
  }
  if (names == NULL) {
    const X509_NAME *subject = X509_get_subject_name(pair->certificate);
    int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (index >= 0)
      status = add_name(pair, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
  }
  GENERAL_NAMES_free(names);
  return status;
}

static int pair_load(struct tls_pair **out, const struct tls_source *source, char *error, size_t error_size) {
  struct tls_pair *pair = calloc(1, sizeof *pair);
  unsigned digest_size = 0;
  *out = NULL;
  snprintf(error, error_size, "out of memory");
  if (pair == NULL)
    return -1;
  atomic_init(&pair->references, 1);
  pair->path = strdup(source->certificate);
  if (pair->path == NULL || read_certificates(pair, source->certificate, error, error_size) != 0 ||
      read_key(pair, source->key, error, error_size) != 0) {
    pair_unref(pair);
    return -1;
  }
  if (read_names(pair) != 0 || X509_digest(pair->certificate, EVP_sha256(), pair->digest, &digest_size) != 1 ||
      digest_size != TLS_PAIR_DIGEST) {
    snprintf(error, error_size, "%s: the certificate cannot be read", source->certificate);
    pair_unref(pair);
    return -1;
  }
  *out = pair;
  return 0;
}

static void warn_of_pair(const struct tls_pair *pair, const struct tls_source *source, void (*complain)(const char *, void *), void *user) {
  char sentence[SENTENCE_MAX];
  struct stat st;
  if (X509_cmp_current_time(X509_get0_notAfter(pair->certificate)) < 0) {
    snprintf(sentence, sizeof sentence, "%s: the certificate has expired", pair->path);
    complain(sentence, user);
  }
  if (stat(source->key, &st) == 0 && (st.st_mode & S_IROTH) != 0) {
    snprintf(sentence, sizeof sentence, "%s: everybody on this machine can read the key (chmod o= it)", source->key);
    complain(sentence, user);
  }
}

/* ---- all of them ---- */
static struct tls_pair *pair_of_path(const struct tls_pairs *pairs, const char *path) {
  for (size_t i = 0; pairs != NULL && i < pairs->count; i++)
    if (strcmp(pairs->list[i]->path, path) == 0)
      return pairs->list[i];
  return NULL;
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct tls_pair_name *)a)->name, ((const struct tls_pair_name *)b)->name);
}

/* The first pair that has a name is the one for it. */
static int index_names(struct tls_pairs *pairs) {
  size_t total = 0, kept = 0;
  for (size_t i = 0; i < pairs->count; i++)
    total += pairs->list[i]->names_count;
  pairs->names = calloc(total + 1, sizeof *pairs->names);
  if (pairs->names == NULL)
    return -1;
  for (size_t i = 0; i < pairs->count; i++)
    for (size_t k = 0; k < pairs->list[i]->names_count; k++)
      pairs->names[pairs->names_count++] = (struct tls_pair_name){.name = pairs->list[i]->names[k], .pair = pairs->list[i]};
  qsort(pairs->names, total, sizeof *pairs->names, by_name);
  for (size_t i = 0; i < total; i++) {
    size_t first = i;
    for (; i + 1 < total && strcmp(pairs->names[i].name, pairs->names[i + 1].name) == 0; i++)
      ;
    pairs->names[kept] = pairs->names[first];
    for (size_t p = 0; i > first && p < pairs->count; p++) {
      bool found = false;
      for (size_t k = first; k <= i && !found; k++)
        found = pairs->names[k].pair == pairs->list[p];
      if (found) {
        pairs->names[kept].pair = pairs->list[p];
        break;
      }
    }
    kept++;
  }
  pairs->names_count = kept;
  return 0;
}

int tls_pairs_load(struct tls_pairs **out, const struct tls_sources *sources, const struct tls_pairs *old,
                   void (*complain)(const char *sentence, void *user), void *user, char *error, size_t error_size) {
  struct tls_pairs *pairs = calloc(1, sizeof *pairs);
  *out = NULL;
  snprintf(error, error_size, "out of memory");
  if (pairs == NULL)
    return -1;
  atomic_init(&pairs->references, 1);
  pairs->list = calloc(sources->count + 1, sizeof *pairs->list);
  if (pairs->list == NULL) {
    tls_pairs_unref(pairs);
    return -1;
  }
  for (size_t i = 0; i < sources->count; i++) {
    char why[SENTENCE_MAX], sentence[SENTENCE_MAX + 64];
    struct tls_pair *pair = NULL;
    if (pair_load(&pair, &sources->list[i], why, sizeof why) != 0) {
      pair = pair_of_path(old, sources->list[i].certificate);
      if (pair != NULL)
        atomic_fetch_add(&pair->references, 1);
      snprintf(sentence, sizeof sentence, "%s%s", why, pair != NULL ? "; the one loaded before stays in use" : "");
      if (sources->count == 1 && pair == NULL)
        snprintf(error, error_size, "%s", why); /* it is the whole answer */
      else
        complain(sentence, user);
    } else {
      warn_of_pair(pair, &sources->list[i], complain, user);
    }
    if (pair != NULL)
      pairs->list[pairs->count++] = pair;
  }
  if (pairs->count == 0 && sources->count != 1)
    snprintf(error, error_size, "no usable certificate found");
  if (pairs->count == 0 || index_names(pairs) != 0) {
    tls_pairs_unref(pairs);
    return -1;
  }
  *out = pairs;
  return 0;
}

struct tls_pairs *tls_pairs_ref(struct tls_pairs *pairs) {
  atomic_fetch_add(&pairs->references, 1);
  return pairs;
}

void tls_pairs_unref(struct tls_pairs *pairs) {
  if (pairs == NULL || atomic_fetch_sub(&pairs->references, 1) != 1)
    return;
  for (size_t i = 0; i < pairs->count; i++)
    pair_unref(pairs->list[i]);
  free(pairs->list);
  free(pairs->names);
  free(pairs);
}

static const struct tls_pair *find_name(const struct tls_pairs *pairs, const char *name) {
  struct tls_pair_name key = {.name = name};
  const struct tls_pair_name *found = bsearch(&key, pairs->names, pairs->names_count, sizeof key, by_name);
  return found == NULL ? NULL : found->pair;
}

const struct tls_pair *tls_pairs_choose(const struct tls_pairs *pairs, const char *name, size_t size) {
  char folded[NAME_MAX_SIZE + 2] = "*"; /* room to put the star of a wildcard before the first dot */
  const struct tls_pair *pair;
  char *dot;
  if (name == NULL || size == 0 || size > NAME_MAX_SIZE || memchr(name, 0, size) != NULL)
    return pairs->list[0];
  if (name[size - 1] == '.')
    size--;
  for (size_t i = 0; i < size; i++)
    folded[i] = (char)tolower((unsigned char)name[i]);
  folded[size] = '\0';
  pair = find_name(pairs, folded);
  dot = strchr(folded, '.');
  if (pair == NULL && dot != NULL && dot > folded) {
    dot[-1] = '*';
    pair = find_name(pairs, dot - 1);
  }
  return pair == NULL ? pairs->list[0] : pair;
}

bool tls_pair_covers(const struct tls_pair *pair, const char *host) {
  const char *dot = strchr(host, '.');
  for (size_t i = 0; i < pair->names_count; i++) {
    const char *name = pair->names[i];
    if (strcasecmp(name, host) == 0 || (name[0] == '*' && name[1] == '.' && dot != NULL && dot > host && strcasecmp(name + 1, dot) == 0))
      return true;
  }
  return false;
}
