/* auth_http.c: owns the questions that are with an HTTP server. What they look like and what their answers mean: auth_http_visit.c and
 * auth_http_login.c. */
#include "auth_http.h"

#include <sodium.h>
#include <stdlib.h>

#include "auth_http_private.h"

struct http_question {
  struct auth_request request;
  struct auth_http *http;
  struct mdm_auth_call *call;
  const struct http_kind *kind;
  struct http_text text;
};

/* ---- text ---- */
void http_text_add(struct http_text *text, const void *data, size_t size) {
  if (text->failed || size > HTTP_TEXT_MAX - text->size) {
    text->failed = true;
    return;
  }
  if (text->size + size > text->capacity) {
    size_t capacity = text->capacity == 0 ? 2048 : text->capacity;
    while (capacity < text->size + size) {
      capacity *= 2;
    }
    char *grown = malloc(capacity); /* not realloc: it may leave a token behind */
    if (grown == NULL) {
      text->failed = true;
      return;
    }
    if (text->size > 0) {
      memcpy(grown, text->data, text->size);
    }
    http_text_clean(&(struct http_text){.data = text->data, .capacity = text->capacity});
    text->data = grown;
    text->capacity = capacity;
  }
  memcpy(text->data + text->size, data, size);
  text->size += size;
}

void http_text_string(struct http_text *text, const char *string) {
  http_text_add(text, string, strlen(string));
}

void http_text_field(struct http_text *text, const char *name, const char *value, size_t size) {
  http_text_string(text, name);
  http_text_string(text, ": ");
  http_text_add(text, value, size);
  http_text_string(text, "\r\n");
}

void http_text_clean(struct http_text *text) {
  if (text->data != NULL) {
    sodium_memzero(text->data, text->capacity);
    free(text->data);
  }
  *text = (struct http_text){0};
}

void http_deny(struct mdm_auth_call *call, int status, const char *reason) {
  struct mdm_auth_answer answer = {.status = status, .reason = {reason, strlen(reason)}};
  mdm_auth_answer(call, &answer);
}

/* ---- questions ---- */
static void question_free(struct http_question *question) {
  http_text_clean(&question->text);
  free(question);
}

static void question_done(struct auth_request *request, int error, const struct auth_reply *reply) {
  struct http_question *question = (struct http_question *)(void *)((char *)request - offsetof(struct http_question, request));
  if (error != 0) {
    http_deny(question->call, 502, error == UV_EPROTO ? "the auth server's answer could not be understood" : "the auth server cannot be reached");
  } else {
    question->kind->judge(question->http, reply, question->call);
  }
  question_free(question);
}

void http_ask(struct auth_http *http, const struct http_kind *kind, const struct mdm_auth_question *asked, struct mdm_auth_call *call) {
  struct http_question *question = calloc(1, sizeof *question);
  if (question == NULL) {
    http_deny(call, 503, "the server is out of memory");
    return;
  }
  question->http = http;
  question->call = call;
  question->kind = kind;
  kind->write(http, asked, &question->text);
  question->request.bytes = question->text.data;
  question->request.size = question->text.size;
  question->request.done = question_done;
  mdm_auth_call_set(call, question);
  if (question->text.failed || auth_pool_submit(http->pool, &question->request) != 0) {
    http_deny(call, 503, question->text.failed ? "the question to the auth server is too long" : "too many questions wait for the auth server");
    question_free(question);
  }
}

void http_cancel(void *self, struct mdm_auth_call *call) {
  struct auth_http *http = self;
  struct http_question *question = mdm_auth_call_get(call);
  auth_pool_cancel(http->pool, &question->request);
  question_free(question);
}

void http_close(void *self) {
  struct auth_http *http = self;
  auth_pool_close(http->pool);
  free(http);
}

int auth_http_open(struct auth_http **out, struct net_loop *loop, const char *url, struct server_config *const *config, char *error,
                   size_t error_size) {
  struct auth_http *http = calloc(1, sizeof *http);
  *out = NULL;
  if (http == NULL) {
    snprintf(error, error_size, "out of memory");
    return -1;
  }
  http->config = config;
  if (auth_pool_open(&http->pool, loop, url, error, error_size) != 0) {
    free(http);
    return -1;
  }
  *out = http;
  return 0;
}
