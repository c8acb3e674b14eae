/* service_json.c: the options of one service as JSON: read from SERVICES and from the client's services file, written
 * to SERVICES. */
#include "service.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#include "text.h"

#define FIELD_NAME_MAX  256u
#define FIELD_VALUE_MAX 4096u
#define USER_MAX        255u
#define HASH_MAX        256u /* crypto_pwhash_STRBYTES is 128 */
#define HASH_PREFIX     "$argon2id$"
#define TOKEN_MAX       64u
#define TIMEOUT_MAX_S   1000000u /* eleven days; 0 says never */

/* Where a sentence goes, handed down through the readers. */
struct complaint {
  char *text;
  size_t size;
};

/* Fields that frame a message or name its route: a service's options may not touch them. */
static const char *const framing_fields[] = {
    "Connection", "Content-Length",    "Expect",  "Host", "HTTP2-Settings", "Keep-Alive", "Proxy-Connection", "TE",
    "Trailer",    "Transfer-Encoding", "Upgrade",
};

static bool field_is_framing(const char *name) {
  for (size_t i = 0; i < sizeof framing_fields / sizeof *framing_fields; i++) {
    if (strcasecmp(name, framing_fields[i]) == 0) {
      return true;
    }
  }
  return false;
}

static int field_judge(const char *key, const cJSON *item, const struct net_field *earlier, size_t count,
                       struct complaint *c) {
  const char *name = item->string != NULL ? item->string : "";
  size_t size = strlen(name);
  if (!net_text_is_token(name, size) || size > FIELD_NAME_MAX) {
    return net_sentence(c->text, c->size, "\"%s\": a field name is letters, digits and !#$%%&'*+-.^_`|~, at most %u",
                        key, FIELD_NAME_MAX);
  }
  if (strcasecmp(name, "Host") == 0) {
    return net_sentence(c->text, c->size, "\"%s\": %s cannot be set here; use \"rewrite_host\"", key, name);
  }
  if (field_is_framing(name)) {
    return net_sentence(c->text, c->size, "\"%s\": %s frames the message and cannot be changed", key, name);
  }
  for (size_t i = 0; i < count; i++) {
    if (strcasecmp(earlier[i].name, name) == 0) {
      return net_sentence(c->text, c->size, "\"%s\": %s stands there twice", key, name);
    }
  }
  if (cJSON_IsNull(item)) {
    return 0;
  }
  if (!cJSON_IsString(item)) {
    return net_sentence(c->text, c->size, "\"%s\": %s must be a string, or null or \"\" to remove the field", key,
                        name);
  }
  size = strlen(item->valuestring);
  if (size > FIELD_VALUE_MAX || !net_text_valid(item->valuestring, size)) {
    return net_sentence(c->text, c->size,
                        "\"%s\": the value of %s must be at most %u bytes of text without control characters", key,
                        name, FIELD_VALUE_MAX);
  }
  return 0;
}

static int out_of_memory(struct complaint *c) {
  return net_sentence(c->text, c->size, "out of memory");
}

static int fields_read(struct net_field **out, size_t *count, const cJSON *object, const char *key,
                       struct complaint *c) {
  const cJSON *map = cJSON_GetObjectItemCaseSensitive(object, key);
  if (map == NULL || cJSON_IsNull(map)) {
    return 0;
  }
  if (!cJSON_IsObject(map)) {
    return net_sentence(c->text, c->size, "\"%s\" must be an object of field names and values", key);
  }
  int n = cJSON_GetArraySize(map);
  if (n > NET_SERVICE_LIST_MAX) {
    return net_sentence(c->text, c->size, "\"%s\" has %d fields; at most %d are allowed", key, n, NET_SERVICE_LIST_MAX);
  }
  if (n == 0) {
    return 0;
  }
  if ((*out = calloc((size_t)n, sizeof **out)) == NULL) {
    return out_of_memory(c);
  }
  const cJSON *item;
  cJSON_ArrayForEach(item, map) {
    if (field_judge(key, item, *out, *count, c) != 0) {
      return -1;
    }
    struct net_field *field = &(*out)[(*count)++];
    field->name = net_text_copy(item->string, strlen(item->string));
    const char *value = cJSON_IsString(item) ? item->valuestring : "";
    field->value = net_text_copy(value, strlen(value));
    if (field->name == NULL || field->value == NULL) {
      return out_of_memory(c);
    }
  }
  return 0;
}

/* The array under `key` and its length, checked to hold only strings; *out NULL when it is missing. */
static int strings_find(const cJSON **out, size_t *count, const cJSON *object, const char *key, struct complaint *c) {
  const cJSON *array = cJSON_GetObjectItemCaseSensitive(object, key);
  *out = NULL;
  *count = 0;
  if (array == NULL || cJSON_IsNull(array)) {
    return 0;
  }
  if (!cJSON_IsArray(array)) {
    return net_sentence(c->text, c->size, "\"%s\" must be a list of strings", key);
  }
  const cJSON *item;
  cJSON_ArrayForEach(item, array) {
    if (!cJSON_IsString(item)) {
      return net_sentence(c->text, c->size, "\"%s\" must be a list of strings", key);
    }
    if (++*count > NET_SERVICE_LIST_MAX) {
      return net_sentence(c->text, c->size, "\"%s\" has more than %d entries", key, NET_SERVICE_LIST_MAX);
    }
  }
  *out = *count > 0 ? array : NULL;
  return 0;
}

static int users_read(struct net_service_options *out, const cJSON *object, struct complaint *c) {
  const cJSON *array, *item;
  size_t n;
  if (strings_find(&array, &n, object, "basic_auth", c) != 0) {
    return -1;
  }
  if (array == NULL) {
    /* An empty list is a list of nobody: said in words, because taking it for "no password" would open the service. */
    return cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(object, "basic_auth"))
               ? net_sentence(c->text, c->size, "\"basic_auth\" is empty: name a user, or leave the key out")
               : 0;
  }
  if ((out->basic_auth = calloc(n, sizeof *out->basic_auth)) == NULL) {
    return out_of_memory(c);
  }
  cJSON_ArrayForEach(item, array) {
    const char *text = item->valuestring, *colon = strchr(text, ':');
    size_t user_size = colon != NULL ? (size_t)(colon - text) : 0;
    if (user_size == 0 || user_size > USER_MAX || !net_text_valid(text, user_size)) {
      return net_sentence(c->text, c->size,
                          "\"basic_auth\": an entry must be \"user:hash\" with a user of 1 to %u bytes", USER_MAX);
    }
    const char *hash = colon + 1;
    size_t hash_size = strlen(hash);
    if (strncmp(hash, HASH_PREFIX, strlen(HASH_PREFIX)) != 0 || hash_size > HASH_MAX ||
        !net_text_valid(hash, hash_size)) {
      return net_sentence(c->text, c->size,
                          "\"basic_auth\": the hash of user %.*s must begin with " HASH_PREFIX
                          "; make one with `mdm-tunnel-client hash`",
                          (int)user_size, text);
    }
    struct net_basic_user *user = &out->basic_auth[out->basic_auth_count++];
    user->user = net_text_copy(text, user_size);
    user->hash = net_text_copy(hash, hash_size);
    if (user->user == NULL || user->hash == NULL) {
      return out_of_memory(c);
    }
  }
  return 0;
}

static int allow_read(struct net_service_options *out, const cJSON *object, struct complaint *c) {
  const cJSON *array, *item;
  size_t n;
  if (strings_find(&array, &n, object, "allow", c) != 0) {
    return -1;
  }
  if (array == NULL) {
    return cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(object, "allow"))
               ? net_sentence(c->text, c->size, "\"allow\" is empty: name an address range, or leave the key out")
               : 0;
  }
  if ((out->allow = calloc(n, sizeof *out->allow)) == NULL) {
    return out_of_memory(c);
  }
  cJSON_ArrayForEach(item, array) {
    if (net_cidr_parse(&out->allow[out->allow_count], item->valuestring, strlen(item->valuestring)) != 0) {
      return net_sentence(c->text, c->size, "\"allow\": \"%.64s\" is no address range like 10.0.0.0/8 or 2001:db8::/32",
                          item->valuestring);
    }
    out->allow_count++;
  }
  return 0;
}

static bool domain_fold(char out[static NET_HOST_NAME_MAX + 1], const char *text) {
  return net_text_host_fold(out, text, strlen(text)) && strchr(out, '.') != NULL;
}

/* A protocol name, perhaps with a version: token ["/" token] (RFC 9110 section 7.8), folded. */
static bool upgrade_fold(char out[static NET_HOST_NAME_MAX + 1], const char *text) {
  size_t size = strlen(text);
  const char *slash = strchr(text, '/');
  size_t name = slash != NULL ? (size_t)(slash - text) : size;
  if (size > TOKEN_MAX || !net_text_is_token(text, name) ||
      (slash != NULL && !net_text_is_token(slash + 1, size - name - 1))) {
    return false;
  }
  for (size_t i = 0; i <= size; i++) {
    out[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
  }
  return true;
}

static int folded_read(char ***out, size_t *count, const cJSON *object, const char *key,
                       bool (*fold)(char out[static NET_HOST_NAME_MAX + 1], const char *text), const char *right,
                       struct complaint *c) {
  const cJSON *array, *item;
  size_t n;
  if (strings_find(&array, &n, object, key, c) != 0) {
    return -1;
  }
  if (array == NULL) {
    return 0;
  }
  if ((*out = calloc(n, sizeof **out)) == NULL) {
    return out_of_memory(c);
  }
  cJSON_ArrayForEach(item, array) {
    char folded[NET_HOST_NAME_MAX + 1];
    if (!fold(folded, item->valuestring)) {
      return net_sentence(c->text, c->size, "\"%s\": \"%.64s\" is no %s", key, item->valuestring, right);
    }
    for (size_t i = 0; i < *count; i++) {
      if (strcmp((*out)[i], folded) == 0) {
        return net_sentence(c->text, c->size, "\"%s\": \"%.64s\" stands there twice", key, folded);
      }
    }
    if (((*out)[*count] = net_text_copy(folded, strlen(folded))) == NULL) {
      return out_of_memory(c);
    }
    ++*count;
  }
  return 0;
}

/* What may stand in a Host field: a host name or IP literal, and perhaps a port. */
static bool host_field_valid(const char *text) {
  const char *host;
  size_t host_size;
  uint16_t port;
  char folded[NET_HOST_NAME_MAX + 1];
  struct mdm_address address;
  return strlen(text) <= NET_HOST_NAME_MAX && net_host_port_split(text, strlen(text), &host, &host_size, &port) == 0 &&
         (net_text_host_fold(folded, host, host_size) || net_address_parse(&address, host, host_size) == 0);
}

static int rewrite_read(struct net_service_options *out, const cJSON *object, struct complaint *c) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, "rewrite_host");
  if (item == NULL || cJSON_IsNull(item) || cJSON_IsFalse(item)) {
    return 0;
  }
  if (cJSON_IsTrue(item)) {
    out->rewrite_host = NET_REWRITE_TARGET;
    return 0;
  }
  if (!cJSON_IsString(item) || !host_field_valid(item->valuestring)) {
    return net_sentence(c->text, c->size,
                        "\"rewrite_host\" must be true, false or a host name, with a port if it needs one");
  }
  out->rewrite_host = NET_REWRITE_NAME;
  out->rewrite_name = net_text_copy(item->valuestring, strlen(item->valuestring));
  return out->rewrite_name != NULL ? 0 : out_of_memory(c);
}

static int timeout_read(struct net_service_options *out, const cJSON *object, struct complaint *c) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, "timeout");
  if (item == NULL || cJSON_IsNull(item)) {
    return 0;
  }
  double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
  if (!(value >= 0) || value > TIMEOUT_MAX_S || floor(value) != value) {
    return net_sentence(c->text, c->size, "\"timeout\" must be a whole number of seconds from 0 (never) to %u",
                        TIMEOUT_MAX_S);
  }
  out->timeout_s = (uint32_t)value;
  return 0;
}

int net_service_options_read(struct net_service_options *out, const struct cJSON *object, char *error,
                             size_t error_size) {
  struct complaint c = {.text = error, .size = error_size};
  net_service_options_init(out);
  if (!cJSON_IsObject(object)) {
    return net_sentence(error, error_size, "a service's options must be an object");
  }
  if (rewrite_read(out, object, &c) != 0 ||
      fields_read(&out->headers, &out->headers_count, object, "headers", &c) != 0 ||
      fields_read(&out->response_headers, &out->response_headers_count, object, "response_headers", &c) != 0 ||
      users_read(out, object, &c) != 0 || allow_read(out, object, &c) != 0 ||
      folded_read(&out->domains, &out->domains_count, object, "domains", domain_fold, "host name like app.example.org",
                  &c) != 0 ||
      folded_read(&out->upgrades, &out->upgrades_count, object, "upgrades", upgrade_fold, "protocol name", &c) != 0 ||
      timeout_read(out, object, &c) != 0) {
    net_service_options_clean(out);
    return -1;
  }
  return 0;
}

/* ---- writing ---- */

static int item_add(cJSON *object, const char *key, cJSON *item) {
  if (item == NULL || !cJSON_AddItemToObject(object, key, item)) {
    cJSON_Delete(item);
    return UV_ENOMEM;
  }
  return 0;
}

static int fields_write(const struct net_field *list, size_t count, cJSON *object, const char *key) {
  cJSON *map = count > 0 ? cJSON_AddObjectToObject(object, key) : NULL;
  for (size_t i = 0; i < count; i++) {
    if (map == NULL || cJSON_AddStringToObject(map, list[i].name, list[i].value != NULL ? list[i].value : "") == NULL) {
      return UV_ENOMEM;
    }
  }
  return 0;
}

static int text_append(cJSON *array, const char *text) {
  cJSON *item = array != NULL ? cJSON_CreateString(text) : NULL;
  if (item == NULL || !cJSON_AddItemToArray(array, item)) {
    cJSON_Delete(item);
    return UV_ENOMEM;
  }
  return 0;
}

static int texts_write(char *const *list, size_t count, cJSON *object, const char *key) {
  cJSON *array = count > 0 ? cJSON_AddArrayToObject(object, key) : NULL;
  for (size_t i = 0; i < count; i++) {
    if (text_append(array, list[i]) != 0) {
      return UV_ENOMEM;
    }
  }
  return 0;
}

static int users_write(const struct net_service_options *options, cJSON *object) {
  cJSON *array = options->basic_auth_count > 0 ? cJSON_AddArrayToObject(object, "basic_auth") : NULL;
  for (size_t i = 0; i < options->basic_auth_count; i++) {
    char entry[USER_MAX + HASH_MAX + 2];
    (void)snprintf(entry, sizeof entry, "%s:%s", options->basic_auth[i].user, options->basic_auth[i].hash);
    if (text_append(array, entry) != 0) {
      return UV_ENOMEM;
    }
  }
  return 0;
}

static int allow_write(const struct net_service_options *options, cJSON *object) {
  cJSON *array = options->allow_count > 0 ? cJSON_AddArrayToObject(object, "allow") : NULL;
  for (size_t i = 0; i < options->allow_count; i++) {
    char address[NET_ADDRESS_TEXT], entry[NET_ADDRESS_TEXT + 8];
    (void)snprintf(entry, sizeof entry, "%s/%u", net_address_text(address, &options->allow[i].address, false),
                   (unsigned)options->allow[i].prefix);
    if (text_append(array, entry) != 0) {
      return UV_ENOMEM;
    }
  }
  return 0;
}

/* A target's name, once it has been filled in, is written as a name: the reader does not know the target. */
static int rewrite_write(const struct net_service_options *options, cJSON *object) {
  if (options->rewrite_host == NET_REWRITE_NONE) {
    return 0;
  }
  return item_add(object, "rewrite_host",
                  options->rewrite_name != NULL ? cJSON_CreateString(options->rewrite_name) : cJSON_CreateTrue());
}

int net_service_options_write(const struct net_service_options *options, struct cJSON *object) {
  if (rewrite_write(options, object) != 0 ||
      fields_write(options->headers, options->headers_count, object, "headers") != 0 ||
      fields_write(options->response_headers, options->response_headers_count, object, "response_headers") != 0 ||
      users_write(options, object) != 0 || allow_write(options, object) != 0 ||
      texts_write(options->domains, options->domains_count, object, "domains") != 0 ||
      texts_write(options->upgrades, options->upgrades_count, object, "upgrades") != 0) {
    return UV_ENOMEM;
  }
  if (options->timeout_s != NET_TIMEOUT_DEFAULT_S) {
    return item_add(object, "timeout", cJSON_CreateNumber(options->timeout_s));
  }
  return 0;
}
