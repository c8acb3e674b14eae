/* auth_http_private.h: shared by auth_http.c and the two kinds of questions. */
#ifndef SERVER_AUTH_HTTP_PRIVATE_H
#define SERVER_AUTH_HTTP_PRIVATE_H

#include <stdio.h>
#include <string.h>

#include "auth_http.h"
#include "auth_pool.h"

#define HTTP_TEXT_MAX (96u * 1024u) /* one sub-request: a full head and what is added to it */

struct auth_http {
  struct auth_pool *pool;
  struct server_config *const *config; /* the worker's current one */
};

/* A request in the making. A failure sticks, and is looked at once at the end. */
struct http_text {
  char *data;
  size_t size, capacity;
  bool failed;
};
void http_text_add(struct http_text *text, const void *data, size_t size);
void http_text_string(struct http_text *text, const char *string);
void http_text_field(struct http_text *text, const char *name, const char *value, size_t size);
void http_text_clean(struct http_text *text); /* wipes */

struct http_kind {
  void (*write)(const struct auth_http *http, const struct mdm_auth_question *question, struct http_text *out);
  void (*judge)(const struct auth_http *http, const struct auth_reply *reply, struct mdm_auth_call *call); /* answers the call */
};
void http_ask(struct auth_http *http, const struct http_kind *kind, const struct mdm_auth_question *question, struct mdm_auth_call *call);
void http_cancel(void *self, struct mdm_auth_call *call);
void http_close(void *self);
void http_deny(struct mdm_auth_call *call, int status, const char *reason);

#endif
