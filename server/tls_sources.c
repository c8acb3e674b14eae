/* tls_sources.c: which files hold certificates and keys:
 *   DIR/NAME.crt + DIR/NAME.key     DIR/NAME.pem (the key in it, or in NAME.key)
 *   DIR/NAME/fullchain.pem + privkey.pem, also under DIR/live/ (the tree of certbot)
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tls_pairs.h"

void tls_sources_clean(struct tls_sources *sources) {
  for (size_t i = 0; i < sources->count; i++) {
    free(sources->list[i].certificate);
    free(sources->list[i].key);
  }
  free(sources->list);
  *sources = (struct tls_sources){0};
}

static bool is_file(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool is_directory(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Takes both texts. */
static int add(struct tls_sources *s, char *certificate, char *key) {
  struct tls_source *larger = NULL;
  if (certificate != NULL && key != NULL && s->count < TLS_PAIRS_MAX)
    larger = realloc(s->list, (s->count + 1) * sizeof *larger);
  if (larger == NULL) {
    free(certificate);
    free(key);
    return -1;
  }
  s->list = larger;
  larger[s->count++] = (struct tls_source){.certificate = certificate, .key = key};
  return 0;
}

static char *join(const char *dir, const char *name, size_t name_size, const char *tail) {
  char *path = NULL;
  return asprintf(&path, "%s/%.*s%s", dir, (int)name_size, name, tail) < 0 ? NULL : path;
}

static int consider(struct tls_sources *s, const char *dir, const char *entry) {
  size_t size = strlen(entry);
  bool crt = size > 4 && strcmp(entry + size - 4, ".crt") == 0, pem = size > 4 && strcmp(entry + size - 4, ".pem") == 0;
  char *path = join(dir, entry, size, ""), *key = NULL;
  int status = 0;
  if (entry[0] == '.' || path == NULL) {
    free(path);
    return path == NULL && entry[0] != '.' ? -1 : 0;
  }
  if ((crt || pem) && is_file(path)) {
    key = join(dir, entry, size - 4, ".key");
    if (key != NULL && pem && !is_file(key)) {
      free(key);
      key = strdup(path);
    }
    return add(s, path, key);
  }
  if (is_directory(path)) {
    char *chain = join(path, "fullchain.pem", 13, "");
    key = join(path, "privkey.pem", 11, "");
    if (chain == NULL || is_file(chain)) {
      status = add(s, chain, key); /* refuses what there was no memory for */
    } else {
      free(chain);
      free(key);
    }
  }
  free(path);
  return status;
}

static int by_path(const void *a, const void *b) {
  return strcmp(((const struct tls_source *)a)->certificate, ((const struct tls_source *)b)->certificate);
}

static int scan(struct tls_sources *s, const char *dir, char *error, size_t error_size) {
  DIR *d = opendir(dir);
  const struct dirent *entry;
  if (d == NULL) {
    snprintf(error, error_size, "tls-dir %s: %s", dir, strerror(errno));
    return -1;
  }
  while ((entry = readdir(d)) != NULL)
    if (consider(s, dir, entry->d_name) != 0) {
      snprintf(error, error_size, "tls-dir %s: more than %u certificates, or out of memory", dir, TLS_PAIRS_MAX);
      closedir(d);
      return -1;
    }
  closedir(d);
  return 0;
}

int tls_sources_find(struct tls_sources *out, const char *certificate, const char *key, const char *dir, char *error, size_t error_size) {
  char *live = NULL;
  size_t given = 0;
  *out = (struct tls_sources){0};
  if (certificate != NULL && add(out, strdup(certificate), strdup(key)) != 0) {
    snprintf(error, error_size, "out of memory");
    return -1;
  }
  given = out->count;
  if (dir != NULL) {
    live = join(dir, "live", 4, "");
    if (scan(out, dir, error, error_size) != 0 || (live != NULL && is_directory(live) && scan(out, live, error, error_size) != 0)) {
      free(live);
      tls_sources_clean(out);
      return -1;
    }
    free(live);
    if (out->count > given)
      qsort(out->list + given, out->count - given, sizeof *out->list, by_path);
  }
  return 0;
}

/* FNV-1a over what stat says. */
static uint64_t mix(uint64_t stamp, const void *data, size_t size) {
  const uint8_t *bytes = data;
  for (size_t i = 0; i < size; i++)
    stamp = (stamp ^ bytes[i]) * 1099511628211u;
  return stamp;
}

static uint64_t mix_file(uint64_t stamp, const char *path) {
  struct stat st;
  stamp = mix(stamp, path, strlen(path) + 1);
  if (stat(path, &st) != 0)
    return mix(stamp, "gone", 4);
  stamp = mix(stamp, &st.st_mtim.tv_sec, sizeof st.st_mtim.tv_sec);
  stamp = mix(stamp, &st.st_mtim.tv_nsec, sizeof st.st_mtim.tv_nsec);
  stamp = mix(stamp, &st.st_size, sizeof st.st_size);
  return mix(stamp, &st.st_ino, sizeof st.st_ino);
}

uint64_t tls_sources_stamp(const struct tls_sources *sources) {
  uint64_t stamp = 14695981039346656037u;
  for (size_t i = 0; i < sources->count; i++) {
    stamp = mix_file(stamp, sources->list[i].certificate);
    stamp = mix_file(stamp, sources->list[i].key);
  }
  return stamp;
}
