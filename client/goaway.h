/* goaway.h: what the server's GOAWAY means for the client: a sentence, and whether to come back. */
#ifndef CLIENT_GOAWAY_H
#define CLIENT_GOAWAY_H

#include <stdint.h>

#include "mdm/client.h"

/* The status to end with, for codes after which a further attempt would only meet the same answer. MDM_CLIENT_OK: try
 * again. */
enum mdm_client_status goaway_status(uint16_t code);
const char *goaway_words(uint16_t code); /* never NULL */

#endif
