/* auth_http_login.c: a login or a claim as a JSON object that is posted, and what the answer means. */
#include <cjson/cJSON.h>
#include <sodium.h>

#include "address.h"
#include "auth_http_private.h"

/* JSON by hand: cJSON would leave copies of the token behind. */
static void json_string(struct http_text *out, const char *name, const char *data, size_t size) {
  if (out->size > 0 && out->data[out->size - 1] != '{') {
    http_text_string(out, ",");
  }
  http_text_string(out, "\"");
  http_text_string(out, name);
  http_text_string(out, "\":\"");
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)data[i];
    if (c == '"' || c == '\\' || c < 0x20 || c == 0x7f) {
      char escape[8];
      snprintf(escape, sizeof escape, "\\u%04x", c);
      http_text_string(out, escape);
    } else {
      http_text_add(out, &data[i], 1);
    }
  }
  http_text_string(out, "\"");
}

static void json_text(struct http_text *out, const char *name, const struct mdm_text *text) {
  if (text->size > 0) {
    json_string(out, name, text->data, text->size);
  }
}

static void write_body(const struct mdm_auth_question *question, struct http_text *out) {
  char address[NET_ADDRESS_TEXT], key[64];
  net_address_text(address, &question->address, false);
  http_text_string(out, "{");
  json_string(out, "step", question->step == MDM_AUTH_LOGIN ? "login" : "claim", 5);
  json_text(out, "user", &question->user);
  json_text(out, "client_name", &question->client_name);
  json_string(out, "address", address, strlen(address));
  json_text(out, "token", &question->token);
  if (question->key.size == 32) {
    sodium_bin2base64(key, sizeof key, (const unsigned char *)question->key.data, 32, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    json_string(out, "key", key, strlen(key));
  }
  json_text(out, "service", &question->service);
  json_text(out, "name", &question->name);
  http_text_string(out, question->custom_domain ? ",\"custom_domain\":true" : ",\"custom_domain\":false");
  http_text_string(out, question->encrypted ? ",\"encrypted\":true}" : ",\"encrypted\":false}");
}

static void login_write(const struct auth_http *http, const struct mdm_auth_question *question, struct http_text *out) {
  struct http_text body = {0};
  char length[32];
  write_body(question, &body);
  snprintf(length, sizeof length, "%zu", body.size);
  http_text_string(out, "POST ");
  http_text_string(out, auth_pool_path(http->pool));
  http_text_string(out, " HTTP/1.1\r\n");
  http_text_field(out, "Host", auth_pool_authority(http->pool), strlen(auth_pool_authority(http->pool)));
  http_text_field(out, "Accept", "application/json", 16);
  http_text_field(out, "Content-Type", "application/json", 16);
  http_text_field(out, "Content-Length", length, strlen(length));
  http_text_string(out, "\r\n");
  http_text_add(out, body.data == NULL ? "" : body.data, body.size);
  out->failed = out->failed || body.failed;
  http_text_clean(&body);
}

static struct mdm_text member_text(const cJSON *object, const char *name) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
  return cJSON_IsString(item) ? (struct mdm_text){item->valuestring, strlen(item->valuestring)} : (struct mdm_text){"", 0};
}

static uint32_t member_count(const cJSON *object, const char *name) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
  return cJSON_IsNumber(item) && item->valuedouble >= 1 && item->valuedouble <= 1e9 ? (uint32_t)item->valuedouble : 0;
}

static void login_judge(const struct auth_http *http, const struct auth_reply *reply, struct mdm_auth_call *call) {
  cJSON *object = cJSON_ParseWithLength(reply->body.data, reply->body.size);
  bool success = reply->status >= 200 && reply->status <= 299;
  (void)http;
  if (!cJSON_IsObject(object)) {
    http_deny(call, 502, success ? "the auth server's answer is no JSON object" : "the auth server did not allow it");
  } else {
    struct mdm_auth_answer answer = {.allow = success && cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, "allow")),
                                     .user = member_text(object, "user"),
                                     .reason = member_text(object, "reason"),
                                     .limits = {.max_streams = member_count(object, "max_streams"),
                                                .max_services = member_count(object, "max_services")}};
    mdm_auth_answer(call, &answer);
  }
  cJSON_Delete(object);
}

static const struct http_kind login_kind = {login_write, login_judge};

static void login_ask(void *self, const struct mdm_auth_question *question, struct mdm_auth_call *call) {
  http_ask(self, &login_kind, question, call);
}

const struct mdm_auth_hook auth_http_login_hook = {
    .abi = MDM_AUTH_ABI,
    .name = "auth-login-url",
    .steps = MDM_AUTH_BIT(MDM_AUTH_LOGIN) | MDM_AUTH_BIT(MDM_AUTH_CLAIM),
    .ask = login_ask,
    .cancel = http_cancel,
    .close = http_close,
};
