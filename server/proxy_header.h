/* proxy_header.h: the header of the PROXY protocol (haproxy's proxy-protocol.txt, versions 1 and 2) that a trusted proxy puts before everything else. Pure. */
#ifndef SERVER_PROXY_HEADER_H
#define SERVER_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mdm/mux.h"

#define PROXY_HEADER_V1_MAX 107u  /* section 2.1: the longest line, with CR LF */
#define PROXY_HEADER_V2_FIXED 16u
#define PROXY_HEADER_MAX 4096u    /* version 2 with its options; the specification asks for at least 536 */

enum proxy_header_result {
  PROXY_HEADER_MORE,  /* a good beginning: read on; never answered for PROXY_HEADER_MAX bytes or more */
  PROXY_HEADER_DONE,
  PROXY_HEADER_BAD,
};
struct proxy_header {
  size_t size;                  /* bytes of the header: what follows belongs to the connection */
  bool local;                   /* LOCAL or UNKNOWN (a health check of the proxy): the socket's own addresses hold */
  struct mdm_address source, destination;
};
enum proxy_header_result proxy_header_parse(struct proxy_header *out, const uint8_t *data, size_t size);

#endif
