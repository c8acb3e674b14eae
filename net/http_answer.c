/* http_answer.c: the head of one HTTP answer to a request of ours. */
#include "http_answer.h"

#include <string.h>
#include <uv.h>

#define HPE_USER_STOP 1 /* from on_headers_complete: there is no body to look for */

static void append(char *out, size_t capacity, size_t *size, const char *data, size_t length) {
  for (size_t i = 0; i < length && *size + i + 1 < capacity; i++) {
    out[*size + i] = data[i];
    out[*size + i + 1] = '\0';
  }
  *size += length;
}

static int on_field(llhttp_t *parser, const char *data, size_t size) {
  struct http_answer *answer = parser->data;
  append(answer->name, sizeof answer->name, &answer->name_size, data, size);
  return 0;
}

static int on_value(llhttp_t *parser, const char *data, size_t size) {
  struct http_answer *answer = parser->data;
  append(answer->value, sizeof answer->value, &answer->value_size, data, size);
  return 0;
}

static int on_value_complete(llhttp_t *parser) {
  struct http_answer *answer = parser->data;
  bool whole = answer->name_size < sizeof answer->name && answer->value_size < sizeof answer->value;
  if (answer->value_size == 0) {
    answer->value[0] = '\0';
  }
  if (whole && answer->field != NULL) {
    answer->field(answer, answer->name, answer->value);
  }
  answer->name_size = answer->value_size = 0;
  return 0;
}

static int on_headers_complete(llhttp_t *parser) {
  struct http_answer *answer = parser->data;
  answer->status = parser->status_code;
  answer->complete = answer->status >= 200 || answer->status == 101;
  return answer->complete ? 2 : HPE_USER_STOP; /* 2: nothing after the head is HTTP; execute stops there */
}

void http_answer_init(struct http_answer *answer,
                      void (*field)(struct http_answer *answer, const char *name, const char *value)) {
  memset(answer, 0, sizeof *answer);
  llhttp_settings_init(&answer->settings);
  answer->settings.on_header_field = on_field;
  answer->settings.on_header_value = on_value;
  answer->settings.on_header_value_complete = on_value_complete;
  answer->settings.on_headers_complete = on_headers_complete;
  answer->field = field;
  llhttp_init(&answer->parser, HTTP_RESPONSE, &answer->settings);
  answer->parser.data = answer;
}

int http_answer_feed(struct http_answer *answer, const uint8_t *data, size_t size, size_t *used) {
  size_t room = HTTP_ANSWER_MAX - answer->taken;
  size_t given = size < room ? size : room;
  *used = given;
  llhttp_errno_t error = llhttp_execute(&answer->parser, (const char *)data, given);
  if (answer->complete && (error == HPE_PAUSED_UPGRADE || error == HPE_OK)) {
    if (error == HPE_PAUSED_UPGRADE) {
      *used = (size_t)((const uint8_t *)llhttp_get_error_pos(&answer->parser) - data);
    }
    return 1;
  }
  answer->taken += given;
  return error != HPE_OK || answer->taken == HTTP_ANSWER_MAX ? UV_EPROTO : 0;
}

const char *http_answer_fault(const struct http_answer *answer) {
  if (answer->taken == HTTP_ANSWER_MAX) {
    return "the head of its answer is too long";
  }
  return answer->parser.http_major == 0 ? "it does not speak HTTP" : "the head of its answer is malformed";
}
