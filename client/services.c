/* services.c: reading, merging and numbering the service map. */
#include "services.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "jsonfile.h"
#include "options.h"

/* ---- entries ---- */
static struct service_entry *entry_new(void) {
  struct service_entry *entry = calloc(1, sizeof *entry);
  if (entry == NULL)
    return NULL;
  entry->references = 1;
  net_service_options_init(&entry->service.options);
  return entry;
}

struct service_entry *service_entry_ref(struct service_entry *entry) {
  entry->references++;
  return entry;
}

void service_entry_unref(struct service_entry *entry) {
  if (entry == NULL || --entry->references > 0)
    return;
  net_service_options_clean(&entry->service.options);
  free(entry);
}

static bool entry_equal(const struct service_entry *a, const struct service_entry *b) {
  return strcmp(a->service.name, b->service.name) == 0 && target_equal(&a->target, &b->target) && a->tls == b->tls &&
         a->proxy_protocol == b->proxy_protocol && net_service_options_equal(&a->service.options, &b->service.options);
}

/* ---- the list ---- */
void service_map_init(struct service_map *map) {
  *map = (struct service_map){0};
}

void service_map_clean(struct service_map *map) {
  for (size_t i = 0; i < map->count; i++)
    service_entry_unref(map->list[i]);
  free(map->list);
  service_map_init(map);
}

/* Takes the entry in every case. */
static int map_take(struct service_map *map, struct service_entry *entry) {
  if (map->count == map->capacity) {
    size_t capacity = map->capacity == 0 ? 8 : map->capacity * 2;
    struct service_entry **list = realloc(map->list, capacity * sizeof *list);
    if (list == NULL) {
      service_entry_unref(entry);
      return SERVICE_MAP_ENOMEM;
    }
    map->list = list;
    map->capacity = capacity;
  }
  map->list[map->count++] = entry;
  return SERVICE_MAP_OK;
}

/* Names in web addresses have no case; ASCII is all that a label has. */
static bool names_equal(const char *a, const char *b) {
  for (;; a++, b++) {
    char left = *a >= 'A' && *a <= 'Z' ? (char)(*a | 0x20) : *a;
    char right = *b >= 'A' && *b <= 'Z' ? (char)(*b | 0x20) : *b;
    if (left != right)
      return false;
    if (left == '\0')
      return true;
  }
}

struct service_entry *service_map_find_name(const struct service_map *map, const char *name) {
  for (size_t i = 0; i < map->count; i++)
    if (names_equal(map->list[i]->service.name, name))
      return map->list[i];
  return NULL;
}

/* ---- the file ---- */
static const char *const http_option_keys[] = {
    "rewrite_host", "headers", "response_headers", "basic_auth", "allow", "domains", "upgrades", "timeout",
};

/* net_service_options_read() speaks for the whole object; the line wanted is that of the key which it does not like. */
static void fail_option(struct net_json *json, const cJSON *item, const char *sentence) {
  for (const cJSON *child = item->child; child != NULL; child = child->next) {
    char error[256];
    struct net_service_options scratch;
    cJSON *alone = cJSON_CreateObject();
    if (alone == NULL)
      break;
    net_service_options_init(&scratch);
    bool bad = cJSON_AddItemReferenceToObject(alone, child->string, (cJSON *)child) &&
               net_service_options_read(&scratch, alone, error, sizeof error) != 0;
    net_service_options_clean(&scratch);
    cJSON_Delete(alone);
    if (bad) {
      net_json_fail(json, child, "%s", error);
      return;
    }
  }
  net_json_fail(json, item, "%s", sentence);
}

static int read_target_keys(struct service_entry *entry, struct net_json *json, const cJSON *item) {
  char error[256];
  const char *host = NULL, *path = NULL;
  int64_t port = 0, proxy = 0;
  int has_port = net_json_int(json, item, "port", 1, 65535, &port);
  int has_host = net_json_string(json, item, "host", &host);
  int has_unix = net_json_string(json, item, "unix", &path);
  if (net_json_bool(json, item, "tls", &entry->tls) < 0 ||
      net_json_int(json, item, "proxy_protocol", 1, 2, &proxy) < 0 || has_port < 0 || has_host < 0 || has_unix < 0)
    return -1;
  entry->proxy_protocol = (uint8_t)proxy;
  if (has_unix + has_port != 1 || has_unix + has_host > 1) {
    net_json_fail(json, item, "must have either \"port\" (and, if it is elsewhere, \"host\") or \"unix\"");
    return -1;
  }
  int status = has_unix ? target_set_unix(&entry->target, path, error, sizeof error)
                        : target_set(&entry->target, host, (uint16_t)port, error, sizeof error);
  if (status != 0)
    net_json_fail(json, cJSON_GetObjectItemCaseSensitive(item, has_unix ? "unix" : "host"), "%s", error);
  return status;
}

static int read_object(struct service_entry *entry, struct net_json *json, const cJSON *item) {
  char error[256];
  if (read_target_keys(entry, json, item) != 0)
    return -1;
  for (size_t i = 0; i < sizeof http_option_keys / sizeof *http_option_keys; i++)
    (void)net_json_any(json, item, http_option_keys[i]);
  if (net_json_finish(json, item) != 0)
    return -1;
  struct net_service_options *options = &entry->service.options;
  if (net_service_options_read(options, item, error, sizeof error) != 0) {
    fail_option(json, item, error);
    return -1;
  }
  if (options->rewrite_host == NET_REWRITE_TARGET) {
    char authority[TARGET_TEXT];
    free(options->rewrite_name);
    options->rewrite_name = strdup(target_authority(authority, &entry->target, entry->tls));
    if (options->rewrite_name == NULL)
      net_json_fail(json, item, "out of memory");
  }
  return net_json_error(json)[0] == '\0' ? 0 : -1;
}

static int read_value(struct service_entry *entry, struct net_json *json, const cJSON *item) {
  char error[256];
  if (cJSON_IsObject(item))
    return read_object(entry, json, item);
  int status = -1;
  if (cJSON_IsNumber(item) && item->valuedouble >= 1 && item->valuedouble <= 65535 &&
      item->valuedouble == (double)(int)item->valuedouble)
    status = target_set(&entry->target, NULL, (uint16_t)item->valuedouble, error, sizeof error);
  else if (cJSON_IsString(item))
    status = target_parse(&entry->target, item->valuestring, error, sizeof error);
  else
    snprintf(error, sizeof error, "must be a port from 1 to 65535, \"host:port\", \"unix:/path\" or an object");
  if (status != 0)
    net_json_fail(json, item, "%s", error);
  return status;
}

/* A name is any text; whether it has a web address is the server's verdict. */
static const char *name_fault(const char *name) {
  size_t length = strlen(name);
  if (length == 0)
    return "a service needs a name";
  if (length > NET_SERVICE_NAME_MAX)
    return "the name of a service has at most 128 bytes";
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
      return "the name of a service has no control characters";
  return NULL;
}

static int read_services(struct service_map *map, struct net_json *json, const cJSON *object) {
  for (const cJSON *item = object->child; item != NULL; item = item->next) {
    const char *fault = name_fault(item->string);
    (void)net_json_any(json, object, item->string);
    if (fault == NULL && map->count == NET_SERVICES_MAX)
      fault = "one service too many: a client has at most 1024";
    const struct service_entry *other = service_map_find_name(map, item->string);
    if (fault == NULL && other != NULL) {
      net_json_fail(json, item, "differs from \"%s\" only in case; names in web addresses have none",
                    other->service.name);
      return SERVICE_MAP_EINVAL;
    }
    if (fault != NULL) {
      net_json_fail(json, item, "%s", fault);
      return SERVICE_MAP_EINVAL;
    }
    struct service_entry *entry = entry_new();
    if (entry == NULL)
      return SERVICE_MAP_ENOMEM;
    snprintf(entry->service.name, sizeof entry->service.name, "%s", item->string);
    if (read_value(entry, json, item) != 0) {
      service_entry_unref(entry);
      return SERVICE_MAP_EINVAL;
    }
    int status = map_take(map, entry);
    if (status != SERVICE_MAP_OK)
      return status;
  }
  return SERVICE_MAP_OK;
}

static int read_document(struct service_map *map, struct net_json *json) {
  const cJSON *root = net_json_root(json), *services;
  if (!cJSON_IsObject(root)) {
    net_json_fail(json, root, "must be an object: {\"name\": 3000}");
    return SERVICE_MAP_EINVAL;
  }
  services = options_long_form(root);
  if (services == NULL)
    return read_services(map, json, root);
  (void)net_json_any(json, root, "services");
  /* Checked here on every load; read by the program, once, at its start. */
  if (options_read_json(NULL, json, root) != 0 || net_json_finish(json, root) != 0)
    return SERVICE_MAP_EINVAL;
  return read_services(map, json, services);
}

/* Ends a parse or load: frees the document and turns its error into ours. */
static int finish_document(struct service_map *map, struct net_json *json, int status, char *error, size_t error_size) {
  if (status == SERVICE_MAP_ENOMEM)
    snprintf(error, error_size, "out of memory");
  else if (status != SERVICE_MAP_ENOENT && json != NULL && net_json_error(json)[0] != '\0')
    snprintf(error, error_size, "%s", net_json_error(json));
  net_json_free(json);
  if (status != SERVICE_MAP_OK)
    service_map_clean(map);
  return status;
}

int service_map_parse(struct service_map *map, const char *name, const char *text, size_t size, char *error,
                      size_t error_size) {
  struct net_json *json = NULL;
  service_map_init(map);
  snprintf(error, error_size, "%s: not readable as JSON", name);
  int status = net_json_parse(&json, name, text, size) == 0 ? SERVICE_MAP_OK : SERVICE_MAP_EINVAL;
  if (status == SERVICE_MAP_OK)
    status = read_document(map, json);
  return finish_document(map, json, status, error, error_size);
}

int service_map_load(struct service_map *map, const char *path, char *error, size_t error_size) {
  struct net_json *json = NULL;
  service_map_init(map);
  snprintf(error, error_size, "%s: cannot be read", path);
  int status = net_json_load(&json, path, SERVICES_FILE_MAX);
  if (status == UV_ENOENT)
    snprintf(error, error_size,
             "%s: there is no such file; write one, or name services on the command line: hello=3000", path);
  if (status == 0)
    status = read_document(map, json);
  else
    status = status == UV_ENOENT ? SERVICE_MAP_ENOENT : SERVICE_MAP_EINVAL;
  return finish_document(map, json, status, error, error_size);
}

/* ---- the command line ---- */
/* The last part of a path as a label: lower case, everything else a single hyphen. */
static bool label_from_directory(char out[static NET_LABEL_MAX + 1], const char *directory) {
  const char *name = strrchr(directory, '/');
  size_t length = 0;
  name = name == NULL ? directory : name + 1;
  for (; *name != '\0' && length < NET_LABEL_MAX; name++) {
    char c = *name >= 'A' && *name <= 'Z' ? (char)(*name + ('a' - 'A')) : *name;
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
      out[length++] = c;
    else if (length > 0 && out[length - 1] != '-')
      out[length++] = '-';
  }
  while (length > 0 && out[length - 1] == '-')
    length--;
  out[length] = '\0';
  return length > 0;
}

static int argument_name(char name[static NET_SERVICE_NAME_MAX + 1], const char *text, size_t size,
                         const char *directory, char *error, size_t error_size) {
  if (size == 0 && text[0] != '=') {
    char label[NET_LABEL_MAX + 1];
    if (!label_from_directory(label, directory)) {
      snprintf(error, error_size, "\"%s\": the directory gives no name; say NAME=%s", text, text);
      return SERVICE_MAP_EINVAL;
    }
    snprintf(name, NET_SERVICE_NAME_MAX + 1, "%s", label);
    return SERVICE_MAP_OK;
  }
  snprintf(name, NET_SERVICE_NAME_MAX + 1, "%.*s", (int)(size > NET_SERVICE_NAME_MAX ? NET_SERVICE_NAME_MAX : size),
           text);
  const char *fault = size > NET_SERVICE_NAME_MAX ? "the name of a service has at most 128 bytes" : name_fault(name);
  if (fault == NULL)
    return SERVICE_MAP_OK;
  snprintf(error, error_size, "\"%s\": %s", text, fault);
  return SERVICE_MAP_EINVAL;
}

int service_map_argument(struct service_map *map, const char *text, const char *directory, char *error,
                         size_t error_size) {
  const char *equals = strchr(text, '=');
  char name[NET_SERVICE_NAME_MAX + 1], reason[256];
  int status = argument_name(name, text, equals == NULL ? 0 : (size_t)(equals - text), directory, error, error_size);
  if (status != SERVICE_MAP_OK)
    return status;
  struct service_entry *entry = entry_new();
  if (entry == NULL) {
    snprintf(error, error_size, "out of memory");
    return SERVICE_MAP_ENOMEM;
  }
  entry->from_argument = true;
  snprintf(entry->service.name, sizeof entry->service.name, "%s", name);
  if (target_parse(&entry->target, equals == NULL ? text : equals + 1, reason, sizeof reason) != 0) {
    snprintf(error, error_size, "\"%s\": %s", text, reason);
    service_entry_unref(entry);
    return SERVICE_MAP_EINVAL;
  }
  for (size_t i = 0; i < map->count; i++)
    if (names_equal(map->list[i]->service.name, name)) {
      if (map->list[i]->from_argument) {
        snprintf(error, error_size, "\"%s\": the service \"%s\" is on the command line twice; upper and lower case are the same", text,
                 map->list[i]->service.name);
        service_entry_unref(entry);
        return SERVICE_MAP_EINVAL;
      }
      service_entry_unref(map->list[i]);
      map->list[i] = entry;
      return SERVICE_MAP_OK;
    }
  if (map->count >= NET_SERVICES_MAX) {
    snprintf(error, error_size, "\"%s\": one service too many: a client has at most 1024", text);
    service_entry_unref(entry);
    return SERVICE_MAP_EINVAL;
  }
  status = map_take(map, entry);
  if (status != SERVICE_MAP_OK)
    snprintf(error, error_size, "out of memory");
  return status;
}

/* ---- ids ---- */
static int by_id(const void *a, const void *b) {
  uint32_t left = (*(struct service_entry *const *)a)->service.id;
  uint32_t right = (*(struct service_entry *const *)b)->service.id;
  return left < right ? -1 : left > right;
}

void service_map_adopt(struct service_map *map, const struct service_map *old, uint32_t *next_id) {
  for (size_t i = 0; i < map->count; i++) {
    struct service_entry *before = service_map_find_name(old, map->list[i]->service.name);
    if (before != NULL && entry_equal(before, map->list[i])) {
      service_entry_unref(map->list[i]);
      map->list[i] = service_entry_ref(before);
    } else {
      map->list[i]->service.id = (*next_id)++;
    }
  }
  if (map->count > 1)
    qsort(map->list, map->count, sizeof *map->list, by_id);
}

bool service_map_equal(const struct service_map *a, const struct service_map *b) {
  if (a->count != b->count)
    return false;
  for (size_t i = 0; i < a->count; i++)
    if (a->list[i]->service.id != b->list[i]->service.id)
      return false;
  return true;
}

struct service_entry *service_map_find(const struct service_map *map, uint32_t id) {
  size_t low = 0, high = map->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    uint32_t here = map->list[middle]->service.id;
    if (here == id)
      return map->list[middle];
    if (here < id)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}
