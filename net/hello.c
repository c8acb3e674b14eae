/* hello.c: the handshake and SERVICES messages to JSON, and what is freed of them. Reading them is in hello_decode.c.
 */
#include "hello.h"

#include <cjson/cJSON.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BINARY_MAX 64u
/* A token or name of NET_TEXT_MAX bytes grows sixfold when every byte is escaped; two of them, the keys and the rest
 * fit. */
#define AUTH_TEXT_MAX 4096u

static const char *const verdict_names[] = {
    [NET_SERVICE_OK] = "ok", [NET_SERVICE_NO_WEB] = "no_web", [NET_SERVICE_REFUSED] = "refused"};

static bool put_text(cJSON *object, const char *key, const char *text) {
  return cJSON_AddStringToObject(object, key, text) != NULL;
}

/* As digits of our own: cJSON prints a double with 15 of them, and an epoch has 16. */
static bool put_number(cJSON *object, const char *key, uint64_t number) {
  char text[24];
  (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
  return cJSON_AddRawToObject(object, key, text) != NULL;
}

static bool put_bool(cJSON *object, const char *key, bool value) {
  return cJSON_AddBoolToObject(object, key, value) != NULL;
}

static bool put_binary(cJSON *object, const char *key, const uint8_t *data, size_t size) {
  char text[BINARY_MAX * 2];
  (void)sodium_bin2base64(text, sizeof text, data, size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  return put_text(object, key, text);
}

/* Takes the tree; `complete` false means that memory ran out while it was made. */
static char *encode(cJSON *object, bool complete, size_t *size) {
  char *text = complete ? cJSON_PrintUnformatted(object) : NULL;
  cJSON_Delete(object);
  *size = text != NULL ? strlen(text) : 0;
  return text;
}

char *net_hello_encode(const struct net_hello *m, size_t *size) {
  cJSON *o = cJSON_CreateObject();
  bool complete = put_number(o, "version_min", m->version_min) && put_number(o, "version_max", m->version_max) &&
                  put_text(o, "software", m->software) && put_text(o, "client_name", m->client_name) &&
                  put_bool(o, "name_explicit", m->name_explicit) &&
                  put_binary(o, "instance", m->instance, sizeof m->instance) && put_number(o, "epoch", m->epoch) &&
                  put_number(o, "open_credit", m->open_credit) && put_number(o, "max_streams", m->max_streams);
  cJSON *features = complete ? cJSON_AddArrayToObject(o, "features") : NULL;
  complete = features != NULL;
  if (complete && m->resume) {
    cJSON *resume = cJSON_CreateString("resume");
    complete = resume != NULL && cJSON_AddItemToArray(features, resume);
  }
  return encode(o, complete, size);
}

char *net_challenge_encode(const struct net_challenge *m, size_t *size) {
  cJSON *o = cJSON_CreateObject();
  bool complete = put_number(o, "version", m->version) && put_binary(o, "nonce", m->nonce, sizeof m->nonce) &&
                  put_bool(o, "open_mode", m->open_mode) && put_text(o, "software", m->software);
  return encode(o, complete, size);
}

static bool put_credential(cJSON *o, const struct net_auth *m) {
  switch (m->method) {
  case NET_AUTH_NONE:
    return put_text(o, "method", "none");
  case NET_AUTH_TOKEN:
    return put_text(o, "method", "token") && put_text(o, "token", m->token);
  case NET_AUTH_KEY:
    return put_text(o, "method", "key") && put_binary(o, "public_key", m->public_key, sizeof m->public_key) &&
           put_binary(o, "signature", m->signature, sizeof m->signature);
  }
  return false;
}

/* Printed into memory of a fixed size, so that no half-printed copy of the token is left behind by a growing buffer. */
char *net_auth_encode(const struct net_auth *m, size_t *size) {
  cJSON *o = cJSON_CreateObject();
  char *text = malloc(AUTH_TEXT_MAX);
  bool complete = text != NULL && put_credential(o, m) && put_text(o, "user", m->user) &&
                  put_bool(o, "replace", m->replace) && cJSON_PrintPreallocated(o, text, (int)AUTH_TEXT_MAX, false);
  cJSON *token = cJSON_GetObjectItemCaseSensitive(o, "token");
  if (token != NULL) {
    sodium_memzero(token->valuestring, strlen(token->valuestring));
  }
  cJSON_Delete(o);
  if (!complete && text != NULL) {
    sodium_memzero(text, AUTH_TEXT_MAX);
    free(text);
    text = NULL;
  }
  *size = text != NULL ? strlen(text) : 0;
  return text;
}

char *net_services_encode(const struct net_services *m, size_t *size) {
  cJSON *o = cJSON_CreateObject();
  cJSON *list = put_number(o, "serial", m->serial) ? cJSON_AddArrayToObject(o, "list") : NULL;
  bool complete = list != NULL;
  for (size_t i = 0; complete && i < m->count; i++) {
    cJSON *entry = cJSON_CreateObject();
    complete = put_number(entry, "id", m->list[i].id) && put_text(entry, "name", m->list[i].name) &&
               net_service_options_write(&m->list[i].options, entry) == 0 && cJSON_AddItemToArray(list, entry);
    if (!complete) {
      cJSON_Delete(entry);
    }
  }
  return encode(o, complete, size);
}

static bool put_verdicts(cJSON *o, const struct net_services_ok *m) {
  cJSON *list = put_number(o, "serial", m->serial) ? cJSON_AddArrayToObject(o, "list") : NULL;
  bool complete = list != NULL;
  for (size_t i = 0; complete && i < m->count; i++) {
    const struct net_service_verdict *v = &m->list[i];
    cJSON *entry = cJSON_CreateObject();
    complete = put_number(entry, "id", v->id) && put_text(entry, "verdict", verdict_names[v->verdict]) &&
               (v->reason[0] == '\0' || put_text(entry, "reason", v->reason)) &&
               (v->url[0] == '\0' || put_text(entry, "url", v->url)) && cJSON_AddItemToArray(list, entry);
    if (!complete) {
      cJSON_Delete(entry);
    }
  }
  return complete;
}

char *net_services_ok_encode(const struct net_services_ok *m, size_t *size) {
  cJSON *o = cJSON_CreateObject();
  bool complete = put_verdicts(o, m);
  return encode(o, complete, size);
}

char *net_ready_encode(const struct net_ready *m, size_t *size) {
  cJSON *o = cJSON_CreateObject();
  bool complete = put_text(o, "session", m->session) && put_text(o, "user", m->user) &&
                  put_text(o, "client_name", m->client_name) && put_number(o, "open_credit", m->open_credit) &&
                  put_number(o, "max_streams", m->max_streams) && put_number(o, "heartbeat_ms", m->heartbeat_ms);
  cJSON *services = complete ? cJSON_AddObjectToObject(o, "services") : NULL;
  complete = services != NULL && put_verdicts(services, &m->services);
  return encode(o, complete, size);
}

void net_message_free(char *text, size_t size) {
  if (text != NULL) {
    sodium_memzero(text, size);
    cJSON_free(text);
  }
}

void net_auth_clean(struct net_auth *m) {
  sodium_memzero(m, sizeof *m);
}

void net_services_clean(struct net_services *m) {
  for (size_t i = 0; i < m->count; i++) {
    net_service_options_clean(&m->list[i].options);
  }
  free(m->list);
  *m = (struct net_services){0};
}

void net_services_ok_clean(struct net_services_ok *m) {
  free(m->list);
  *m = (struct net_services_ok){0};
}

void net_ready_clean(struct net_ready *m) {
  net_services_ok_clean(&m->services);
}

uint32_t net_version_choose(const struct net_hello *m) {
  uint32_t highest = m->version_max < NET_PROTOCOL_MAX ? m->version_max : NET_PROTOCOL_MAX;
  return highest >= m->version_min && highest >= NET_PROTOCOL_MIN ? highest : 0;
}

void net_auth_signed_text(uint8_t out[static NET_AUTH_SIGNED_SIZE], const uint8_t nonce[static NET_NONCE_SIZE],
                          const uint8_t exporter[static 32]) {
  size_t context = sizeof NET_AUTH_CONTEXT - 1;
  memcpy(out, NET_AUTH_CONTEXT, context);
  memcpy(out + context, nonce, NET_NONCE_SIZE);
  memcpy(out + context + NET_NONCE_SIZE, exporter, 32);
}
