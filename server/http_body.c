/* http_body.c: the state machine of a framed body. */
#include "http_body.h"

enum state {
  BODY_DATA,
  BODY_SIZE,        /* hexadecimal digits */
  BODY_EXTENSION,
  BODY_SIZE_LF,
  BODY_DATA_CR,     /* after a chunk's bytes */
  BODY_DATA_LF,
  BODY_LAST,        /* after the last chunk's line: CRLF or trailers */
  BODY_LAST_LF,
  BODY_ENDED,
  BODY_BROKEN,
};

void http_body_init(struct http_body *body, enum http_framing framing, uint64_t length, uint32_t extension_bytes) {
  *body = (struct http_body){.framing = (uint8_t)framing, .extension_left = extension_bytes, .left = length};
  if (framing == HTTP_FRAMING_CHUNKED) {
    body->state = BODY_SIZE;
    body->left = 0;
  } else {
    body->state = framing == HTTP_FRAMING_NONE || (framing == HTTP_FRAMING_LENGTH && !length) ? BODY_ENDED : BODY_DATA;
  }
}

void http_body_trailers_done(struct http_body *body) {
  body->state = BODY_ENDED;
}

void http_body_pass(struct http_body *body, size_t size) {
  body->left -= size;
  if (!body->left)
    body->state = BODY_ENDED;
}

bool http_body_ended(const struct http_body *body) {
  return body->state == BODY_ENDED;
}

static enum http_body_step take_data(struct http_body *body, const uint8_t *data, size_t size, size_t *used, struct mdm_slice *out) {
  size_t take = size;
  if (body->framing != HTTP_FRAMING_CLOSE) {
    if (take > body->left)
      take = (size_t)body->left;
    body->left -= take;
    if (!body->left)
      body->state = body->framing == HTTP_FRAMING_CHUNKED ? BODY_DATA_CR : BODY_ENDED;
  }
  *out = (struct mdm_slice){.data = data, .size = take};
  *used += take;
  return HTTP_BODY_DATA;
}

static int hex_digit(uint8_t c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of framing. 0, or -1 when it may not stand there. */
static int take_framing(struct http_body *body, uint8_t c) {
  switch ((enum state)body->state) {
  case BODY_SIZE: {
    int digit = hex_digit(c);
    if (digit >= 0) {
      if (body->digits++ >= HTTP_CHUNK_DIGITS_MAX)
        return -1;
      body->left = body->left << 4 | (uint64_t)digit;
      return 0;
    }
    if (!body->digits || body->left > (uint64_t)INT64_MAX)
      return -1;
    if (c != ';' && c != '\r')
      return -1;
    body->state = c == ';' ? BODY_EXTENSION : BODY_SIZE_LF;
    return 0;
  }
  case BODY_EXTENSION:
    if (c == '\r') {
      body->state = BODY_SIZE_LF;
      return 0;
    }
    if (!http_is_vchar(c) || !body->extension_left)
      return -1;
    body->extension_left--;
    return 0;
  case BODY_SIZE_LF:
    body->state = body->left ? BODY_DATA : BODY_LAST;
    body->digits = 0;
    return c == '\n' ? 0 : -1;
  case BODY_DATA_CR:
    body->state = BODY_DATA_LF;
    return c == '\r' ? 0 : -1;
  case BODY_DATA_LF:
    body->state = BODY_SIZE;
    return c == '\n' ? 0 : -1;
  case BODY_LAST_LF:
    body->state = BODY_ENDED;
    return c == '\n' ? 0 : -1;
  case BODY_DATA: case BODY_LAST: case BODY_ENDED: case BODY_BROKEN:
    break;
  }
  return -1;
}

enum http_body_step http_body_next(struct http_body *body, const uint8_t *data, size_t size, size_t *used, struct mdm_slice *out) {
  *used = 0;
  *out = (struct mdm_slice){0};
  for (;;) {
    if (body->state == BODY_ENDED)
      return HTTP_BODY_END;
    if (body->state == BODY_BROKEN)
      return HTTP_BODY_BAD;
    if (*used == size)
      return HTTP_BODY_MORE;
    if (body->state == BODY_DATA)
      return take_data(body, data + *used, size - *used, used, out);
    if (body->state == BODY_LAST) {
      if (data[*used] != '\r')
        return HTTP_BODY_TRAILERS;
      body->state = BODY_LAST_LF;
      ++*used;
      continue;
    }
    if (take_framing(body, data[*used]) != 0) {
      body->state = BODY_BROKEN;
      return HTTP_BODY_BAD;
    }
    ++*used;
  }
}

size_t http_chunk_line(char out[static HTTP_CHUNK_LINE_MAX], size_t chunk, bool first) {
  static const char digits[] = "0123456789abcdef";
  char reversed[HTTP_CHUNK_DIGITS_MAX];
  size_t count = 0, size = 0;
  do {
    reversed[count++] = digits[chunk & 15];
    chunk >>= 4;
  } while (chunk);
  if (!first) {
    out[size++] = '\r';
    out[size++] = '\n';
  }
  while (count)
    out[size++] = reversed[--count];
  out[size++] = '\r';
  out[size++] = '\n';
  return size;
}
