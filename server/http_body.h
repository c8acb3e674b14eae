/* http_body.h: takes the framing off a body (RFC 9112 6, 7.1) and puts chunk framing on. Pure: a small struct that may be copied and put back, so that
 * bytes which a slow reader did not take are simply decoded again.
 *
 * Chunk lines are strict: 1 to 16 hexadecimal digits, then CRLF or ";" with extension bytes (no control character, bounded over the whole message), CRLF. */
#ifndef SERVER_HTTP_BODY_H
#define SERVER_HTTP_BODY_H

#include "http_message.h"
#include "mdm/mux.h"

#define HTTP_CHUNK_DIGITS_MAX 16u
#define HTTP_CHUNK_LINE_MAX 20u    /* "\r\n" + digits + "\r\n" */

struct http_body {
  uint8_t framing;                 /* enum http_framing */
  uint8_t state, digits;
  uint32_t extension_left;         /* bytes of chunk extensions that the message may still hold */
  uint64_t left;                   /* of the body or of the chunk */
};
enum http_body_step {
  HTTP_BODY_MORE,      /* all bytes used; the body goes on */
  HTTP_BODY_DATA,      /* *out: body bytes */
  HTTP_BODY_TRAILERS,  /* the next byte begins trailer fields: scan them (HTTP_SCAN_TRAILERS); not used */
  HTTP_BODY_END,       /* the body is complete; bytes after it are not used */
  HTTP_BODY_BAD,
};

void http_body_init(struct http_body *body, enum http_framing framing, uint64_t length, uint32_t extension_bytes);
/* The next step over data[0..size). *used: bytes that it took, the data slice among them. */
enum http_body_step http_body_next(struct http_body *body, const uint8_t *data, size_t size, size_t *used, struct mdm_slice *out);
void http_body_trailers_done(struct http_body *body); /* the trailers after HTTP_BODY_TRAILERS have been scanned: it has ended */
/* LENGTH: so many body bytes went by without being looked at. */
void http_body_pass(struct http_body *body, size_t size);
bool http_body_ended(const struct http_body *body);
/* "[CRLF] size CRLF" of a chunk; returns its length. `first`: no chunk came before. */
size_t http_chunk_line(char out[static HTTP_CHUNK_LINE_MAX], size_t chunk, bool first);

#endif
