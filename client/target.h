/* target.h: where a declared service is found on this side: a port, an address, a name with a port, or a socket file.
 * No I/O. */
#ifndef CLIENT_TARGET_H
#define CLIENT_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mdm/mux.h"

#define TARGET_HOST_MAX 255u
#define TARGET_UNIX_MAX 107u /* sun_path less its NUL */
#define TARGET_TEXT     (TARGET_HOST_MAX + 16u)

enum target_kind {
  TARGET_LOOPBACK, /* a port: 127.0.0.1, then ::1 at once on refusal */
  TARGET_ADDRESS,  /* an IP literal with a port */
  TARGET_NAME,     /* a name with a port, resolved at each dial */
  TARGET_UNIX,     /* a socket file */
};

struct target {
  enum target_kind kind;
  uint16_t port;
  struct mdm_address address;     /* ADDRESS, with the port */
  char host[TARGET_HOST_MAX + 1]; /* NAME, ADDRESS: as written; UNIX: the path */
};

/* "3000", "host:port", "[v6]:port", "unix:/path". 0, or -1 with a sentence. */
int target_parse(struct target *out, const char *text, char *error, size_t error_size);
/* Host and port apart (the object form). host NULL = loopback. 0, or -1 with a sentence. */
int target_set(struct target *out, const char *host, uint16_t port, char *error, size_t error_size);
int target_set_unix(struct target *out, const char *path, char *error, size_t error_size);
bool target_equal(const struct target *a, const struct target *b);
/* For logs: "127.0.0.1:3000", "unix:/path". */
const char *target_text(char out[static TARGET_TEXT], const struct target *target);
/* For a Host field: "localhost:3000", without a port that is the scheme's own. */
const char *target_authority(char out[static TARGET_TEXT], const struct target *target, bool tls);

#endif
