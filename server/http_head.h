/* http_head.h: one HTTP/1.1 message head as slices into bytes that somebody else owns. See http_scan.h (from raw bytes), http_message.h
 * (what it means) and http_write.h (written anew). */
#ifndef SERVER_HTTP_HEAD_H
#define SERVER_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mdm/auth.h"

#define HTTP_FIELDS_MAX 100u
struct http_field {
  struct mdm_text name, value;
};
struct http_head {
  struct mdm_text method, target;   /* request */
  int status;                       /* answer */
  struct mdm_text reason;
  uint8_t minor;                    /* HTTP/1.minor */
  struct http_field *fields;
  size_t fields_count;
};
/* First field of that name (ASCII case-insensitive), or NULL. */
const struct http_field *http_head_find(const struct http_head *head, const char *name);

#endif
