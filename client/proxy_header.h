/* proxy_header.h: the PROXY protocol header (versions 1 and 2) that tells a local service who the visitor is. No I/O.
 */
#ifndef CLIENT_PROXY_HEADER_H
#define CLIENT_PROXY_HEADER_H

#include <stddef.h>
#include <stdint.h>

#include "mdm/mux.h"

#define PROXY_HEADER_MAX 108u /* version 1 with its NUL; version 2 needs 52 */

/* Writes the header for `version` (1 or 2) and returns its size. Addresses of different families are both written as
 * IPv6. An unknown visitor gives UNKNOWN (version 1) or LOCAL (version 2). */
size_t proxy_header_write(uint8_t out[static PROXY_HEADER_MAX], unsigned version, const struct mdm_address *visitor,
                          const struct mdm_address *origin);

#endif
