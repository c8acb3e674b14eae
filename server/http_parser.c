/* http_parser.c: llhttp, stopped where the head ends. */
#include "http_parser.h"

#include <llhttp.h>

static int stop_at_body(llhttp_t *parser) {
  (void)parser;
  return HPE_PAUSED;
}

/* llhttp writes nothing into its settings; its interface merely lacks the const. */
static const llhttp_settings_t settings = {.on_headers_complete = stop_at_body};

static int check(struct http_parsed *out, llhttp_type_t type, const char *data, size_t size) {
  llhttp_t parser;
  llhttp_init(&parser, type, &settings);
  llhttp_errno_t error = llhttp_execute(&parser, data, size);
  if (error == HPE_INVALID_METHOD)
    return 501;
  if (error != HPE_PAUSED)
    return 400;
  *out = (struct http_parsed){
      .chunked = (parser.flags & F_CHUNKED) != 0,
      .has_length = (parser.flags & F_CONTENT_LENGTH) != 0,
      .length = parser.content_length,
      .minor = parser.http_minor,
      .status = parser.status_code,
  };
  return 0;
}

int http_parser_request(struct http_parsed *out, const char *data, size_t size) {
  return check(out, HTTP_REQUEST, data, size);
}
int http_parser_answer(struct http_parsed *out, const char *data, size_t size) {
  return check(out, HTTP_RESPONSE, data, size);
}
