/* trust.h: is the key that the server showed the right one? Decided after the TLS handshake, before anything secret is
 * sent.
 *
 *   pinned by the token or by --fingerprint     must match, and that is enough
 *   verified by a CA                            the TLS layer has done it
 *   known_servers                               a match is enough; a changed key is refused
 *   never seen                                  refused under --strict, and whenever a token would go to a server that
 * is not on this machine; else remembered, and shown
 */
#ifndef CLIENT_TRUST_H
#define CLIENT_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tls.h"

#define TRUST_DEFAULT_FILE "~/.config/mdm-tunnel/known_servers"
#define TRUST_TEXT_MAX     1024u

struct trust {
  bool pinned_by_token, pinned;
  uint8_t token_pin[NET_FINGERPRINT_SIZE], pin[NET_FINGERPRINT_SIZE];
  bool ca; /* a chain is verified by the TLS layer */
  bool strict;
  bool bearer;         /* a token will be sent */
  char *known_servers; /* path, owned; NULL: nothing is remembered */
};

enum trust_verdict {
  TRUST_OK,
  TRUST_FIRST,   /* fine, and new: `text` tells the fingerprint */
  TRUST_REFUSED, /* `text` says why and what to do; retrying is pointless */
  TRUST_BROKEN,  /* the known_servers file cannot be used: `text` */
};

/* `host` and `port` name the server as the user does (one entry whatever the carrier). `loopback`: the socket's peer is
 * this machine. */
enum trust_verdict trust_judge(const struct trust *trust, const char *host, uint16_t port, bool loopback,
                               const uint8_t fingerprint[static NET_FINGERPRINT_SIZE],
                               char text[static TRUST_TEXT_MAX]);
void trust_clean(struct trust *trust);

#endif
