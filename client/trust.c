/* trust.c: the decision on a server's key. */
#include "trust.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "known_servers.h"

void trust_clean(struct trust *trust) {
  free(trust->known_servers);
  *trust = (struct trust){0};
}

static enum trust_verdict refuse_pin(const char *source, const char *server, const char *shown,
                                     const uint8_t pin[static NET_FINGERPRINT_SIZE], char text[static TRUST_TEXT_MAX]) {
  char wanted[NET_FINGERPRINT_TEXT];
  snprintf(text, TRUST_TEXT_MAX,
           "the key of %s is not the one that %s: it is %s, not %s. Somebody may be listening in, or the server has a "
           "new key; "
           "ask its operator for the right fingerprint",
           server, source, shown, net_fingerprint_text(wanted, pin));
  return TRUST_REFUSED;
}

static enum trust_verdict judge_new(const struct trust *trust, const char *server, const char *host, uint16_t port,
                                    bool loopback, const char *shown,
                                    const uint8_t fingerprint[static NET_FINGERPRINT_SIZE],
                                    char text[static TRUST_TEXT_MAX]) {
  if (trust->strict || (trust->bearer && !loopback)) {
    snprintf(text, TRUST_TEXT_MAX,
             "the server %s is not known%s. Its key is %s: compare that with what the operator says, then add "
             "--fingerprint %s",
             server, trust->strict ? " (--strict)" : ", and the token is not sent to a stranger", shown, shown);
    return TRUST_REFUSED;
  }
  bool remembered = trust->known_servers != NULL && net_known_add(trust->known_servers, host, port, fingerprint) == 0;
  snprintf(text, TRUST_TEXT_MAX, "first contact with %s: its key is %s%s", server, shown,
           remembered ? ", remembered" : "; it could NOT be remembered");
  return TRUST_FIRST;
}

enum trust_verdict trust_judge(const struct trust *trust, const char *host, uint16_t port, bool loopback,
                               const uint8_t fingerprint[static NET_FINGERPRINT_SIZE],
                               char text[static TRUST_TEXT_MAX]) {
  char server[300], shown[NET_FINGERPRINT_TEXT], error[512] = "";
  unsigned line = 0;
  text[0] = '\0';
  snprintf(server, sizeof server, "%s:%u", host, port);
  net_fingerprint_text(shown, fingerprint);
  if (trust->pinned_by_token && sodium_memcmp(trust->token_pin, fingerprint, NET_FINGERPRINT_SIZE) != 0)
    return refuse_pin("the token was made for", server, shown, trust->token_pin, text);
  if (trust->pinned && sodium_memcmp(trust->pin, fingerprint, NET_FINGERPRINT_SIZE) != 0)
    return refuse_pin("--fingerprint names", server, shown, trust->pin, text);
  if (trust->pinned_by_token || trust->pinned || trust->ca)
    return TRUST_OK;
  enum net_known known = NET_KNOWN_NEW;
  if (trust->known_servers != NULL)
    known = net_known_lookup(trust->known_servers, host, port, fingerprint, &line, error, sizeof error);
  switch (known) {
  case NET_KNOWN_MATCH:
    return TRUST_OK;
  case NET_KNOWN_NEW:
    return judge_new(trust, server, host, port, loopback, shown, fingerprint, text);
  case NET_KNOWN_CHANGED:
    snprintf(text, TRUST_TEXT_MAX,
             "THE KEY OF %s HAS CHANGED: it is now %s. Somebody may be listening in, or the server has a new key. If "
             "its operator "
             "confirms that, remove line %u of %s",
             server, shown, line, trust->known_servers);
    return TRUST_REFUSED;
  case NET_KNOWN_ERROR:
    break;
  }
  snprintf(text, TRUST_TEXT_MAX, "%s", error);
  return TRUST_BROKEN;
}
