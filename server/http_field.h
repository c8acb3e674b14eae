/* http_field.h: field names and values: which names mean something to us, and how lists in them are read. Pure; no state.
 *
 * Source: RFC 9110 5 (fields), 7.6.1 (Connection), RFC 9112 6 (framing), RFC 7239 (Forwarded), RFC 6455 (WebSocket). */
#ifndef SERVER_HTTP_FIELD_H
#define SERVER_HTTP_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mdm/auth.h"

/* What a name means here. Everything that is only passed on is HTTP_OTHER. */
enum http_kind {
  HTTP_OTHER,
  HTTP_HOST,
  HTTP_CONTENT_LENGTH,
  HTTP_TRANSFER_ENCODING,
  HTTP_CONNECTION,
  HTTP_KEEP_ALIVE,
  HTTP_PROXY_CONNECTION,
  HTTP_PROXY,               /* CGI origins read it as HTTP_PROXY ("httpoxy") */
  HTTP_PROXY_AUTHORIZATION,
  HTTP_PROXY_AUTHENTICATE,
  HTTP_TE,
  HTTP_UPGRADE,
  HTTP_HTTP2_SETTINGS,
  HTTP_EXPECT,
  HTTP_AUTHORIZATION,
  HTTP_COOKIE,
  HTTP_FORWARDED,
  HTTP_X_FORWARDED_FOR,
  HTTP_X_FORWARDED_PROTO,
  HTTP_X_FORWARDED_HOST,
  HTTP_X_FORWARDED_PORT,
  HTTP_X_FORWARDED,         /* any other X-Forwarded-* */
  HTTP_X_REAL_IP,
  HTTP_WEBSOCKET_KEY,
  HTTP_WEBSOCKET_VERSION,
  HTTP_ACCEPT,
  HTTP_DATE,
  HTTP_LOCATION,
  HTTP_NOMINATED,           /* named by Connection: belongs to the hop */
  HTTP_IMITATION,           /* one of the names above written with '_': some origins cannot tell them apart */
};

enum http_kind http_kind_of(const char *name, size_t size);

/* ASCII, case-insensitive. */
bool http_text_is(struct mdm_text text, const char *literal);
bool http_text_same(struct mdm_text a, struct mdm_text b);
/* As above, and '_' equals '-'. */
bool http_name_same(struct mdm_text a, const char *b);
struct mdm_text http_text(const char *literal);
struct mdm_text http_trim(struct mdm_text text); /* without SP and HT at both ends */

/* Next element of a comma-separated list, trimmed; empty ones are skipped. false at the end. */
bool http_list_next(struct mdm_text *rest, struct mdm_text *element);
bool http_list_has(struct mdm_text list, const char *literal);

/* Character classes of RFC 9110. */
bool http_is_token(struct mdm_text text);  /* 1*tchar */
bool http_is_tchar(uint8_t c);
bool http_is_vchar(uint8_t c);  /* what a value may hold: HT, SP, visible, obs-text */
/* Finds the first byte that is no vchar; NULL if there is none. */
const char *http_find_control(const char *data, size_t size);
const char *http_find_untoken(const char *data, size_t size);

/* 1*DIGIT that fits 63 bits. 0 or -1. */
int http_parse_length(struct mdm_text text, uint64_t *out);

#endif
