/* goaway.c: the codes of GOAWAY (mdm/mux.h) for a client. */
#include "goaway.h"

#include <stddef.h>

#include "mdm/mux.h"

enum mdm_client_status goaway_status(uint16_t code) {
  switch (code) {
  case MDM_GOAWAY_AUTH:
  case MDM_GOAWAY_REVOKED:
    return MDM_CLIENT_LOGIN;
  case MDM_GOAWAY_REPLACED:
    return MDM_CLIENT_REPLACED;
  case MDM_GOAWAY_VERSION:
    return MDM_CLIENT_VERSION;
  case MDM_GOAWAY_NAME:
    return MDM_CLIENT_NAME;
  default: /* an open set: the peer may know more codes */
    return MDM_CLIENT_OK;
  }
}

const char *goaway_words(uint16_t code) {
  static const char *const words[] = {
      [MDM_GOAWAY_DRAIN] = "the server is shutting down",
      [MDM_GOAWAY_PROTOCOL] = "the server did not understand this client",
      [MDM_GOAWAY_AUTH] = "the server refused the login",
      [MDM_GOAWAY_REPLACED] = "another client took this one's place",
      [MDM_GOAWAY_REVOKED] = "the login was withdrawn",
      [MDM_GOAWAY_VERSION] = "client and server have no protocol version in common; update the older one",
      [MDM_GOAWAY_IDLE] = "the server waited too long for this client",
      [MDM_GOAWAY_NAME] = "every service is refused",
      [MDM_GOAWAY_INTERNAL] = "the server has an internal fault",
      [MDM_GOAWAY_BUSY] = "the server is busy",
  };
  return code < sizeof words / sizeof *words ? words[code] : "the server ended the session";
}
