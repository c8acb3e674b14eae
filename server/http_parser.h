/* http_parser.h: llhttp's own verdict on a head that the raw scan has accepted. Two parsers that agree about method, version and framing leave
 * no room for a message that means one thing here and another at the origin. Strict, no lenient flag; llhttp 8.1 and 9 alike. */
#ifndef SERVER_HTTP_PARSER_H
#define SERVER_HTTP_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_parsed {
  bool chunked, has_length;
  uint64_t length;
  uint8_t minor;
  int status; /* answers */
};
/* `data` is a whole head, start line to empty line. 0; 501 for a method that it does not know; 400 for what it refuses. */
int http_parser_request(struct http_parsed *out, const char *data, size_t size);
int http_parser_answer(struct http_parsed *out, const char *data, size_t size);

#endif
