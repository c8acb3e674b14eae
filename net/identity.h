/* identity.h: the server's link key: ECDSA P-256 and a self-signed certificate, kept in the state directory.
 *
 * Files: <state>/link.key (0600, PEM) and <state>/link.crt, written atomically at first start. */
#ifndef NET_IDENTITY_H
#define NET_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tls.h"

struct net_identity {
  struct evp_pkey_st *key;
  struct x509_st *certificate;
  struct stack_st_X509 *chain; /* what else the certificate file had; NULL = nothing */
  uint8_t fingerprint[NET_FINGERPRINT_SIZE];
};

/* Loads, or makes and saves when both files are missing (`made` tells; it may be NULL). A key
 * without certificate gets a new certificate: the fingerprint is the key's. Refuses a key file that others may read. `error` gets a sentence. */
int net_identity_load(struct net_identity *identity, const char *state_dir, bool *made, char *error, size_t error_size);
int net_identity_load_files(struct net_identity *identity, const char *cert, const char *key, char *error, size_t error_size);
void net_identity_clean(struct net_identity *identity);

/* Atomic write of a file with `mode`: temporary in the same directory, fsync, rename. 0 or UV_. Makes missing parents 0700. */
int net_file_write(const char *path, const void *data, size_t size, unsigned mode);
/* Whole file, at most `limit` bytes, NUL-terminated; caller frees. 0 or UV_ (UV_EFBIG over the limit). */
int net_file_read(const char *path, size_t limit, char **data, size_t *size);
bool net_file_is_private(const char *path); /* closed to group and others, and ours or root's; root works on files of the server's own user too */
/* "~" and "~/x" expanded; caller frees; NULL when HOME is unknown or memory is out. */
char *net_path_expand(const char *path);

#endif
