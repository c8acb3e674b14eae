/* auth_reply.h: one HTTP/1.1 answer to a sub-request, parsed and bounded. No I/O. */
#ifndef SERVER_AUTH_REPLY_H
#define SERVER_AUTH_REPLY_H

#include <llhttp.h>
#include <stdbool.h>

#include "mdm/auth.h"

#define AUTH_REPLY_FIELDS 64u
#define AUTH_REPLY_BYTES (96u * 1024u) /* names, values and body together */

struct auth_reply {
  int status;
  struct mdm_auth_field fields[AUTH_REPLY_FIELDS];
  size_t fields_count;
  struct mdm_text body;
  /* private */
  llhttp_t parser;
  bool began, complete, interim, keep;
  char *text;
  size_t size, capacity;
  struct {
    size_t name, name_size, value, value_size;
  } spans[AUTH_REPLY_FIELDS];
  size_t body_at;
};

void auth_reply_init(struct auth_reply *reply);
void auth_reply_clean(struct auth_reply *reply); /* wipes */
/* 1 = complete (status, fields and body are filled in), 0 = more is needed, -1 = malformed or over a bound. */
int auth_reply_feed(struct auth_reply *reply, const char *data, size_t size);
int auth_reply_end(struct auth_reply *reply); /* the connection ended: likewise */
const struct mdm_text *auth_reply_find(const struct auth_reply *reply, const char *name);

#endif
