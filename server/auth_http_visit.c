/* auth_http_visit.c: a visit as a sub-request, and what its answer means. */
#include <strings.h>

#include "address.h"
#include "auth_http_private.h"

static char fold(char c) {
  return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Letter case and '_' for '-' make no difference: many programs behind read them as one. */
static bool text_is(const struct mdm_text *text, const char *word) {
  size_t i = 0;
  while (i < text->size && word[i] != '\0' && fold(text->data[i]) == fold(word[i])) {
    i++;
  }
  return i == text->size && word[i] == '\0';
}

static bool text_in(const struct mdm_text *text, const char *const *words, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (text_is(text, words[i])) {
      return true;
    }
  }
  return false;
}

/* Of one connection (RFC 9110 7.6.1), of a body that is not sent, conditions on a thing that is not asked for, and what we say ourselves. */
static const char *const not_asked[] = {
    "connection", "keep-alive", "proxy-connection", "proxy-authorization", "te",        "trailer",  "transfer-encoding", "upgrade",
    "http2-settings", "content-length", "expect",   "host",                "if-match",  "if-none-match", "if-modified-since", "if-unmodified-since",
    "if-range",   "range",      "forwarded",        "x-real-ip"};
static const char *const not_answered[] = {"connection", "keep-alive",     "proxy-connection", "te",  "trailer",
                                           "upgrade",    "content-length", "transfer-encoding", "date"};

static bool is_forwarded(const struct mdm_text *name) {
  static const char prefix[] = "x-forwarded-";
  if (name->size < sizeof prefix - 1) {
    return false;
  }
  for (size_t i = 0; i < sizeof prefix - 1; i++) {
    if (fold(name->data[i]) != prefix[i]) {
      return false;
    }
  }
  return true;
}

/* Does one of the visitor's Connection fields name it? */
static bool connection_names(const struct mdm_auth_question *question, const struct mdm_text *name) {
  for (size_t i = 0; i < question->fields_count; i++) {
    const struct mdm_text *value = &question->fields[i].value;
    if (!text_is(&question->fields[i].name, "connection")) {
      continue;
    }
    for (size_t at = 0; at < value->size;) {
      size_t end = at;
      while (end < value->size && value->data[end] != ',') {
        end++;
      }
      size_t from = at, to = end;
      while (from < to && (value->data[from] == ' ' || value->data[from] == '\t')) {
        from++;
      }
      while (to > from && (value->data[to - 1] == ' ' || value->data[to - 1] == '\t')) {
        to--;
      }
      if (to - from == name->size && strncasecmp(value->data + from, name->data, name->size) == 0) {
        return true;
      }
      at = end + 1;
    }
  }
  return false;
}

static void write_own(const struct auth_http *http, const struct mdm_auth_question *question, struct http_text *out) {
  char address[NET_ADDRESS_TEXT];
  net_address_text(address, &question->address, false);
  http_text_string(out, "GET ");
  http_text_string(out, auth_pool_path(http->pool));
  http_text_string(out, " HTTP/1.1\r\n");
  http_text_field(out, "Host", auth_pool_authority(http->pool), strlen(auth_pool_authority(http->pool)));
  http_text_field(out, "X-Forwarded-Method", question->method.data, question->method.size);
  http_text_field(out, "X-Forwarded-Proto", question->scheme.data, question->scheme.size);
  http_text_field(out, "X-Forwarded-Host", question->host.data, question->host.size);
  http_text_field(out, "X-Forwarded-Uri", question->request_target.data, question->request_target.size);
  http_text_field(out, "X-Forwarded-For", address, strlen(address));
}

static void visit_write(const struct auth_http *http, const struct mdm_auth_question *question, struct http_text *out) {
  const struct server_config *config = *http->config;
  write_own(http, question, out);
  for (size_t i = 0; i < question->fields_count; i++) {
    const struct mdm_auth_field *field = &question->fields[i];
    /* Authorization and Cookie are what this is about: naming them in Connection changes nothing. */
    bool credential = text_is(&field->name, "authorization") || text_is(&field->name, "cookie");
    bool forged = text_in(&field->name, (const char *const *)config->auth_fields, config->auth_fields_count);
    if (text_in(&field->name, not_asked, sizeof not_asked / sizeof not_asked[0]) || is_forwarded(&field->name) ||
        (!credential && (forged || connection_names(question, &field->name)))) {
      continue;
    }
    http_text_add(out, field->name.data, field->name.size);
    http_text_string(out, ": ");
    http_text_add(out, field->value.data, field->value.size);
    http_text_string(out, "\r\n");
  }
  http_text_string(out, "\r\n");
}

static void visit_allow(const struct auth_http *http, const struct auth_reply *reply, struct mdm_auth_call *call) {
  struct mdm_auth_field kept[AUTH_REPLY_FIELDS];
  struct mdm_auth_answer answer = {.allow = true, .origin_fields = kept};
  const struct server_config *config = *http->config;
  for (size_t i = 0; i < reply->fields_count; i++) {
    if (text_in(&reply->fields[i].name, (const char *const *)config->auth_fields, config->auth_fields_count)) {
      kept[answer.origin_fields_count++] = reply->fields[i];
    }
  }
  mdm_auth_answer(call, &answer);
}

static void visit_deny(const struct auth_reply *reply, struct mdm_auth_call *call) {
  struct mdm_auth_field kept[AUTH_REPLY_FIELDS];
  struct mdm_auth_answer answer = {.status = reply->status, .answer_fields = kept, .body = reply->body};
  for (size_t i = 0; i < reply->fields_count; i++) {
    if (!text_in(&reply->fields[i].name, not_answered, sizeof not_answered / sizeof not_answered[0])) {
      kept[answer.answer_fields_count++] = reply->fields[i];
    }
  }
  mdm_auth_answer(call, &answer);
}

static void visit_judge(const struct auth_http *http, const struct auth_reply *reply, struct mdm_auth_call *call) {
  char reason[64];
  switch (reply->status) {
  case 301:
  case 302:
  case 303:
  case 307:
  case 308:
  case 401:
  case 403:
    visit_deny(reply, call);
    return;
  default:
    if (reply->status >= 200 && reply->status <= 299) {
      visit_allow(http, reply, call);
      return;
    }
    snprintf(reason, sizeof reason, "the auth server answered %d", reply->status);
    http_deny(call, 502, reason);
  }
}

static const struct http_kind visit_kind = {visit_write, visit_judge};

static void visit_ask(void *self, const struct mdm_auth_question *question, struct mdm_auth_call *call) {
  http_ask(self, &visit_kind, question, call);
}

const struct mdm_auth_hook auth_http_visit_hook = {
    .abi = MDM_AUTH_ABI,
    .name = "auth-url",
    .steps = MDM_AUTH_BIT(MDM_AUTH_VISIT),
    .ask = visit_ask,
    .cancel = http_cancel,
    .close = http_close,
};
