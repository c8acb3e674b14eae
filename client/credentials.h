/* credentials.h: tokens kept by `login`: one JSON file, 0600, an entry a server.
 *
 *   { "tunnel.example.com:8001": { "user": "tim", "token": "mdm1...." } }
 *
 * Blocking file access: used before the loop runs and between connects only. */
#ifndef CLIENT_CREDENTIALS_H
#define CLIENT_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CREDENTIALS_DEFAULT_FILE "~/.config/mdm-tunnel/credentials.json"
#define CREDENTIALS_FILE_MAX     (256u * 1024u)
#define CREDENTIALS_SERVER_MAX   300u
#define CREDENTIALS_TEXT_MAX     256u

struct credentials {
  char user[CREDENTIALS_TEXT_MAX];  /* "" = none */
  char token[CREDENTIALS_TEXT_MAX]; /* wiped by credentials_clean */
};

void credentials_clean(struct credentials *credentials);
/* The key of a server in the file: "host:port", "[v6]:port", lower case. */
const char *credentials_server(char out[static CREDENTIALS_SERVER_MAX], const char *host, uint16_t port);
/* 1 = found, 0 = no such file or entry, -1 = a file that others can read, or that makes no sense: a sentence in
 * `error`. */
int credentials_load(struct credentials *out, const char *path, const char *server, char *error, size_t error_size);
/* Adds or replaces one entry and leaves the others alone; the file is replaced at once or not at all. 0 or -1. */
int credentials_save(const struct credentials *credentials, const char *path, const char *server, char *error,
                     size_t error_size);
/* Printable ASCII without spaces, not too long. NULL, or what is wrong with it (which does not show the token). */
const char *credentials_token_fault(const char *token);

#endif
