/* chunked_fuzz.c: any bytes as a chunked body: the same at any split; and whatever is accepted as whole, llhttp reads as the same bytes. */
#include <llhttp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http_body.h"

#define SIZE_LIMIT 16384u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct text {
  size_t size;
  uint8_t data[SIZE_LIMIT];
};

static enum http_body_step decode(struct text *out, const uint8_t *data, size_t size, size_t step, size_t *used) {
  struct http_body body;
  enum http_body_step result = HTTP_BODY_MORE;
  size_t at = 0;
  http_body_init(&body, HTTP_FRAMING_CHUNKED, 0, 100);
  out->size = 0;
  while (at < size || http_body_ended(&body)) {
    size_t have = size - at < step ? size - at : step, here;
    struct mdm_slice piece;
    result = http_body_next(&body, data + at, have, &here, &piece);
    at += here;
    if (result == HTTP_BODY_DATA) {
      memcpy(out->data + out->size, piece.data, piece.size);
      out->size += piece.size;
    } else if (result != HTTP_BODY_MORE) {
      break;
    }
  }
  *used = at;
  return result == HTTP_BODY_DATA ? HTTP_BODY_MORE : result;
}

static int on_body(llhttp_t *parser, const char *at, size_t size) {
  struct text *text = parser->data;
  if (size > sizeof text->data - text->size)
    abort();
  memcpy(text->data + text->size, at, size);
  text->size += size;
  return 0;
}
static int on_complete(llhttp_t *parser) {
  (void)parser;
  return HPE_PAUSED;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  static struct text whole, split, theirs;
  size_t used, other;
  if (size > SIZE_LIMIT)
    return 0;
  enum http_body_step result = decode(&whole, data, size, SIZE_LIMIT, &used);
  for (size_t step = 1; step < 20; step += 6) {
    if (decode(&split, data, size, step, &other) != result || split.size != whole.size || memcmp(split.data, whole.data, whole.size) != 0)
      abort();
    if (result == HTTP_BODY_END && other != used)
      abort();
  }
  if (result != HTTP_BODY_END)
    return 0;
  llhttp_t parser;
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_body = on_body;
  settings.on_message_complete = on_complete;
  llhttp_init(&parser, HTTP_REQUEST, &settings);
  parser.data = &theirs;
  theirs.size = 0;
  if (llhttp_execute(&parser, head, sizeof head - 1) != HPE_OK)
    abort();
  llhttp_errno_t error = llhttp_execute(&parser, (const char *)data, used);
  if (error == HPE_PAUSED && (theirs.size != whole.size || memcmp(theirs.data, whole.data, whole.size) != 0))
    abort();
  if (error == HPE_OK)
    abort(); /* to them the body would go on: two readings of one message */
  return 0;
}
