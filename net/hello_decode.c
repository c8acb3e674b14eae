/* hello_decode.c: the handshake and SERVICES messages out of the JSON that a stranger sent. */
#include "hello.h"

#include <cjson/cJSON.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "hello_json.h"
#include "text.h"

#define VERSION_MAX      0xffffffffu
#define CREDIT_MAX       0x7fffffffu /* credit never passes 2^31 - 1 */
#define CREDIT_DEFAULT   65536u
#define STREAMS_DEFAULT  65536u
#define FEATURES_MAX     64u
#define HEARTBEAT_MAX_MS 3600000u

static int feature_read(const struct hello_reader *r, struct net_hello *m) {
  const cJSON *list, *item;
  size_t count;
  if (hello_read_array(r, "features", HELLO_OPTIONAL, FEATURES_MAX, &list, &count) != 0) {
    return -1;
  }
  cJSON_ArrayForEach(item, list) {
    if (!cJSON_IsString(item)) {
      return net_sentence(r->error, r->error_size, "%s: \"features\" must be a list of strings", r->message);
    }
    m->resume = m->resume || strcmp(item->valuestring, "resume") == 0;
  }
  return 0;
}

static int hello_read(const struct hello_reader *r, struct net_hello *m) {
  if (hello_read_u32(r, "version_min", HELLO_REQUIRED, 1, VERSION_MAX, &m->version_min) != 0 ||
      hello_read_u32(r, "version_max", HELLO_REQUIRED, m->version_min, VERSION_MAX, &m->version_max) != 0 ||
      hello_read_text(r, "software", HELLO_OPTIONAL, m->software, sizeof m->software) != 0 ||
      hello_read_text(r, "client_name", HELLO_REQUIRED, m->client_name, sizeof m->client_name) != 0 ||
      hello_read_bool(r, "name_explicit", &m->name_explicit) != 0 ||
      hello_read_binary(r, "instance", m->instance, sizeof m->instance) != 0 ||
      hello_read_u64(r, "epoch", HELLO_REQUIRED, &m->epoch) != 0 ||
      hello_read_u32(r, "open_credit", HELLO_OPTIONAL, 0, CREDIT_MAX, &m->open_credit) != 0 ||
      hello_read_u32(r, "max_streams", HELLO_OPTIONAL, 0, CREDIT_MAX, &m->max_streams) != 0) {
    return -1;
  }
  return feature_read(r, m);
}

int net_hello_decode(struct net_hello *m, const uint8_t *data, size_t size, char *error, size_t error_size) {
  struct hello_reader r = {.message = "HELLO", .error = error, .error_size = error_size};
  cJSON *root;
  *m = (struct net_hello){.open_credit = CREDIT_DEFAULT, .max_streams = STREAMS_DEFAULT};
  if (hello_json_parse(&r, &root, data, size) != 0) {
    return -1;
  }
  int result = hello_read(&r, m);
  hello_json_free(root);
  return result;
}

int net_challenge_decode(struct net_challenge *m, const uint8_t *data, size_t size, char *error, size_t error_size) {
  struct hello_reader r = {.message = "CHALLENGE", .error = error, .error_size = error_size};
  cJSON *root;
  *m = (struct net_challenge){0};
  if (hello_json_parse(&r, &root, data, size) != 0) {
    return -1;
  }
  int result = hello_read_u32(&r, "version", HELLO_REQUIRED, 1, VERSION_MAX, &m->version) != 0 ||
                       hello_read_binary(&r, "nonce", m->nonce, sizeof m->nonce) != 0 ||
                       hello_read_bool(&r, "open_mode", &m->open_mode) != 0 ||
                       hello_read_text(&r, "software", HELLO_OPTIONAL, m->software, sizeof m->software) != 0
                   ? -1
                   : 0;
  hello_json_free(root);
  return result;
}

static int auth_read(const struct hello_reader *r, struct net_auth *m) {
  char method[16] = "";
  if (hello_read_text(r, "method", HELLO_REQUIRED, method, sizeof method) != 0 ||
      hello_read_text(r, "user", HELLO_OPTIONAL, m->user, sizeof m->user) != 0 ||
      hello_read_bool(r, "replace", &m->replace) != 0) {
    return -1;
  }
  if (strcmp(method, "none") == 0) {
    m->method = NET_AUTH_NONE;
    return 0;
  }
  if (strcmp(method, "token") == 0) {
    m->method = NET_AUTH_TOKEN;
    return hello_read_text(r, "token", HELLO_REQUIRED, m->token, sizeof m->token);
  }
  if (strcmp(method, "key") == 0) {
    m->method = NET_AUTH_KEY;
    return hello_read_binary(r, "public_key", m->public_key, sizeof m->public_key) != 0
               ? -1
               : hello_read_binary(r, "signature", m->signature, sizeof m->signature);
  }
  return net_sentence(r->error, r->error_size, "AUTH: \"method\" must be none, token or key");
}

int net_auth_decode(struct net_auth *m, const uint8_t *data, size_t size, char *error, size_t error_size) {
  struct hello_reader r = {.message = "AUTH", .error = error, .error_size = error_size};
  cJSON *root;
  *m = (struct net_auth){0};
  if (hello_json_parse(&r, &root, data, size) != 0) {
    return -1;
  }
  int result = auth_read(&r, m);
  hello_json_free(root);
  if (result != 0) {
    net_auth_clean(m);
  }
  return result;
}

static int service_read(const struct hello_reader *outer, struct net_service *service, const cJSON *item) {
  struct hello_reader r = *outer;
  r.object = item;
  if (!cJSON_IsObject(item)) {
    return net_sentence(r.error, r.error_size, "SERVICES: an entry of \"list\" must be an object");
  }
  if (hello_read_u32(&r, "id", HELLO_REQUIRED, 1, 0xffffffffu, &service->id) != 0 ||
      hello_read_text(&r, "name", HELLO_REQUIRED, service->name, sizeof service->name) != 0) {
    return -1;
  }
  if (service->name[0] == '\0') {
    return net_sentence(r.error, r.error_size, "SERVICES: a service has an empty name");
  }
  char why[NET_SENTENCE_MAX];
  if (net_service_options_read(&service->options, item, why, sizeof why) != 0) {
    return net_sentence(r.error, r.error_size, "SERVICES: service \"%s\": %s", service->name, why);
  }
  if (service->options.rewrite_host == NET_REWRITE_TARGET) {
    return net_sentence(r.error, r.error_size,
                        "SERVICES: service \"%s\": \"rewrite_host\" must be a host name here, not true", service->name);
  }
  return 0;
}

static int id_order(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static int name_order(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Ids and names stand once each. Sorted copies, so that 1,024 entries cost no million comparisons. */
static int services_judge(const struct net_services *m, char *error, size_t error_size) {
  int result = 0;
  uint32_t *ids = calloc(m->count + 1, sizeof *ids);
  const char **names = calloc(m->count + 1, sizeof *names);
  if (ids == NULL || names == NULL) {
    result = net_sentence(error, error_size, "out of memory");
    goto done;
  }
  for (size_t i = 0; i < m->count; i++) {
    ids[i] = m->list[i].id;
    names[i] = m->list[i].name;
  }
  qsort(ids, m->count, sizeof *ids, id_order);
  qsort(names, m->count, sizeof *names, name_order);
  for (size_t i = 1; i < m->count && result == 0; i++) {
    if (ids[i] == ids[i - 1]) {
      result = net_sentence(error, error_size, "SERVICES: id %u stands there twice", ids[i]);
    } else if (strcmp(names[i], names[i - 1]) == 0) {
      result = net_sentence(error, error_size, "SERVICES: \"%s\" stands there twice", names[i]);
    }
  }
done:
  free(ids);
  free(names);
  return result;
}

static int services_read(const struct hello_reader *r, struct net_services *m) {
  const cJSON *list, *item;
  size_t count;
  if (hello_read_u64(r, "serial", HELLO_REQUIRED, &m->serial) != 0 ||
      hello_read_array(r, "list", HELLO_REQUIRED, NET_SERVICES_MAX, &list, &count) != 0) {
    return -1;
  }
  if (count > 0 && (m->list = calloc(count, sizeof *m->list)) == NULL) {
    return net_sentence(r->error, r->error_size, "out of memory");
  }
  cJSON_ArrayForEach(item, list) {
    net_service_options_init(&m->list[m->count].options);
    m->count++;
    if (service_read(r, &m->list[m->count - 1], item) != 0) {
      return -1;
    }
  }
  return services_judge(m, r->error, r->error_size);
}

int net_services_decode(struct net_services *m, const uint8_t *data, size_t size, char *error, size_t error_size) {
  struct hello_reader r = {.message = "SERVICES", .error = error, .error_size = error_size};
  cJSON *root;
  *m = (struct net_services){0};
  if (hello_json_parse(&r, &root, data, size) != 0) {
    return -1;
  }
  int result = services_read(&r, m);
  hello_json_free(root);
  if (result != 0) {
    net_services_clean(m);
  }
  return result;
}

static int verdict_read(const struct hello_reader *outer, struct net_service_verdict *v, const cJSON *item) {
  struct hello_reader r = *outer;
  r.object = item;
  char name[16] = "";
  if (!cJSON_IsObject(item)) {
    return net_sentence(r.error, r.error_size, "%s: an entry of \"list\" must be an object", r.message);
  }
  if (hello_read_u32(&r, "id", HELLO_REQUIRED, 1, 0xffffffffu, &v->id) != 0 ||
      hello_read_text(&r, "verdict", HELLO_REQUIRED, name, sizeof name) != 0 ||
      hello_read_text(&r, "reason", HELLO_OPTIONAL, v->reason, sizeof v->reason) != 0 ||
      hello_read_text(&r, "url", HELLO_OPTIONAL, v->url, sizeof v->url) != 0) {
    return -1;
  }
  static const struct {
    const char *name;
    enum net_verdict verdict;
  } verdicts[] = {{"ok", NET_SERVICE_OK}, {"no_web", NET_SERVICE_NO_WEB}, {"refused", NET_SERVICE_REFUSED}};
  for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
    if (strcmp(name, verdicts[i].name) == 0) {
      v->verdict = verdicts[i].verdict;
      return 0;
    }
  }
  return net_sentence(r.error, r.error_size, "%s: \"verdict\" must be ok, no_web or refused", r.message);
}

static int verdicts_read(const struct hello_reader *r, struct net_services_ok *m) {
  const cJSON *list, *item;
  size_t count;
  if (hello_read_u64(r, "serial", HELLO_REQUIRED, &m->serial) != 0 ||
      hello_read_array(r, "list", HELLO_REQUIRED, NET_SERVICES_MAX, &list, &count) != 0) {
    return -1;
  }
  if (count > 0 && (m->list = calloc(count, sizeof *m->list)) == NULL) {
    return net_sentence(r->error, r->error_size, "out of memory");
  }
  cJSON_ArrayForEach(item, list) {
    if (verdict_read(r, &m->list[m->count++], item) != 0) {
      return -1;
    }
  }
  return 0;
}

int net_services_ok_decode(struct net_services_ok *m, const uint8_t *data, size_t size, char *error,
                           size_t error_size) {
  struct hello_reader r = {.message = "SERVICES_OK", .error = error, .error_size = error_size};
  cJSON *root;
  *m = (struct net_services_ok){0};
  if (hello_json_parse(&r, &root, data, size) != 0) {
    return -1;
  }
  int result = verdicts_read(&r, m);
  hello_json_free(root);
  if (result != 0) {
    net_services_ok_clean(m);
  }
  return result;
}

static int ready_read(const struct hello_reader *r, struct net_ready *m) {
  if (hello_read_text(r, "session", HELLO_REQUIRED, m->session, sizeof m->session) != 0 ||
      hello_read_text(r, "user", HELLO_REQUIRED, m->user, sizeof m->user) != 0 ||
      hello_read_text(r, "client_name", HELLO_REQUIRED, m->client_name, sizeof m->client_name) != 0 ||
      hello_read_u32(r, "open_credit", HELLO_OPTIONAL, 0, CREDIT_MAX, &m->open_credit) != 0 ||
      hello_read_u32(r, "max_streams", HELLO_OPTIONAL, 0, CREDIT_MAX, &m->max_streams) != 0 ||
      hello_read_u32(r, "heartbeat_ms", HELLO_OPTIONAL, 0, HEARTBEAT_MAX_MS, &m->heartbeat_ms) != 0) {
    return -1;
  }
  struct hello_reader inner = *r;
  inner.object = cJSON_GetObjectItemCaseSensitive(r->object, "services");
  if (!cJSON_IsObject(inner.object)) {
    return net_sentence(r->error, r->error_size, "READY: \"services\" must be an object");
  }
  return verdicts_read(&inner, &m->services);
}

int net_ready_decode(struct net_ready *m, const uint8_t *data, size_t size, char *error, size_t error_size) {
  struct hello_reader r = {.message = "READY", .error = error, .error_size = error_size};
  cJSON *root;
  *m = (struct net_ready){.open_credit = CREDIT_DEFAULT, .max_streams = STREAMS_DEFAULT};
  if (hello_json_parse(&r, &root, data, size) != 0) {
    return -1;
  }
  int result = ready_read(&r, m);
  hello_json_free(root);
  if (result != 0) {
    net_ready_clean(m);
  }
  return result;
}
