/* http_scan.h: the raw scan of a head or of trailers, line by line, resumable at any byte: what the bytes are, before anybody says what they mean.
 *
 * Accepts only lines that end in CRLF, no folded line, no empty name, nothing between name and colon, no control character (RFC 9112 2.2, 3, 4, 5).
 * What it accepts, http_message.h judges. */
#ifndef SERVER_HTTP_SCAN_H
#define SERVER_HTTP_SCAN_H

#include "http_field.h"
#include "http_head.h"

#define HTTP_SCAN_MORE 0
#define HTTP_SCAN_DONE 1           /* any other value is the HTTP status of the refusal */
#define HTTP_BLANK_LINES_MAX 4u    /* empty lines before a request (RFC 9112 2.2 asks for at least one) */
#define HTTP_METHOD_MAX 32u

enum http_scan_kind { HTTP_SCAN_REQUEST, HTTP_SCAN_ANSWER, HTTP_SCAN_TRAILERS };

struct http_scan_limits {
  uint32_t bytes, fields, target;  /* fields at most HTTP_FIELDS_MAX */
};
struct http_scan {
  enum http_scan_kind kind;
  struct http_scan_limits limits;
  struct http_head head;           /* fields_count grows with each line; complete when done */
  uint32_t line, searched;         /* where the unfinished line starts; no LF before `searched` */
  uint32_t start;                  /* where the message starts, after empty lines */
  uint32_t size;                   /* when done: bytes up to and with the empty line */
  uint8_t blanks;
  bool begun;                      /* the start line is there */
  const char *base;                /* where the bytes lay at the last call */
  uint8_t kinds[HTTP_FIELDS_MAX];  /* enum http_kind of each field */
  struct http_field fields[HTTP_FIELDS_MAX];
};

void http_scan_init(struct http_scan *scan, enum http_scan_kind kind, const struct http_scan_limits *limits);
/* `data` holds the message from its first byte on, `size` of them by now; it may have moved since the last call. */
int http_scan_run(struct http_scan *scan, const char *data, size_t size);
/* The bytes lie elsewhere now (copied): what points into them follows. */
void http_scan_rebase(struct http_scan *scan, const char *data);

#endif
