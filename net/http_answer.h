/* http_answer.h: the head of one HTTP answer to a request of ours (CONNECT, the WebSocket upgrade), through llhttp. No
 * I/O. */
#ifndef NET_HTTP_ANSWER_H
#define NET_HTTP_ANSWER_H

#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_ANSWER_MAX       8192u /* bytes of the whole head */
#define HTTP_ANSWER_VALUE_MAX 256u  /* of a field that somebody looks at; longer ones are cut, and then match nothing  \
                                     */

struct http_answer {
  llhttp_t parser;
  llhttp_settings_t settings;
  size_t taken;
  bool complete;
  int status;
  char name[64], value[HTTP_ANSWER_VALUE_MAX];
  size_t name_size, value_size; /* of the field being read; may run past what is kept */
  /* Each field, name and value NUL-terminated. May be NULL. */
  void (*field)(struct http_answer *answer, const char *name, const char *value);
};

/* In place: the parser points into itself, so the struct may not move. */
void http_answer_init(struct http_answer *answer,
                      void (*field)(struct http_answer *answer, const char *name, const char *value));
/* *used gets how many bytes belong to the head. 1 = complete (1xx heads before it are skipped; 101 is final), 0 = more
 * is needed, UV_EPROTO = no HTTP or over the limit: http_answer_fault() says what. */
int http_answer_feed(struct http_answer *answer, const uint8_t *data, size_t size, size_t *used);
const char *http_answer_fault(const struct http_answer *answer);

#endif
