/* users_file.c: the user file as JSON, read and written. */
#include <cjson/cJSON.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "identity.h"
#include "jsonfile.h"
#include "names.h"
#include "users.h"

#define BASE64 sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define HASH_TEXT_SIZE (sodium_base64_ENCODED_LEN(USERS_HASH_SIZE, BASE64))

/* ---- reading ---- */
static int read_bytes(struct net_json *json, const cJSON *object, const char *key, uint8_t out[static USERS_HASH_SIZE]) {
  const char *text = NULL;
  size_t size = 0;
  const char *end = NULL;
  int found = net_json_string(json, object, key, &text);
  if (found < 0) {
    return -1;
  }
  if (found == 0) {
    net_json_fail(json, object, "\"%s\" is missing", key);
    return -1;
  }
  if (sodium_base642bin(out, USERS_HASH_SIZE, text, strlen(text), NULL, &size, &end, BASE64) != 0 || *end != '\0' || size != USERS_HASH_SIZE) {
    net_json_fail(json, net_json_any(json, object, key), "must be 32 bytes in base64url");
    return -1;
  }
  return 0;
}

static int read_time(struct net_json *json, const cJSON *object, const char *key, char out[static USERS_TIME_SIZE]) {
  const char *text = "";
  if (net_json_string(json, object, key, &text) < 0) {
    return -1;
  }
  if (strlen(text) >= USERS_TIME_SIZE) {
    net_json_fail(json, net_json_any(json, object, key), "must be a time such as 2026-11-21T06:00:00Z");
    return -1;
  }
  memcpy(out, text, strlen(text) + 1);
  return 0;
}

static int read_domains(struct net_json *json, const cJSON *object, struct users_entry *entry) {
  const cJSON *list = NULL, *item = NULL;
  int found = net_json_array(json, object, "domains", &list);
  if (found <= 0) {
    return found;
  }
  cJSON_ArrayForEach(item, list) {
    if (!cJSON_IsString(item)) {
      net_json_fail(json, item, "must be a list of host names");
      return -1;
    }
    int rc = users_grant(entry, item->valuestring);
    if (rc != 0) {
      net_json_fail(json, item, rc == UV_E2BIG ? "too many domains" : "out of memory");
      return -1;
    }
    if (!names_custom_valid(NULL, 0, entry->domains[entry->domains_count - 1])) {
      net_json_fail(json, item, "is no host name that could be a custom domain");
      return -1;
    }
  }
  return 0;
}

static int read_user(struct net_json *json, struct users *users, const cJSON *item) {
  struct users_entry *entry = NULL;
  char folded[NET_LABEL_MAX + 1];
  if (!cJSON_IsObject(item)) {
    net_json_fail(json, item, "must be an object");
    return -1;
  }
  if (!net_label_fold(folded, item->string, strlen(item->string)) || strcmp(folded, item->string) != 0) {
    net_json_fail(json, item, "is no user name: lower-case letters, digits and single hyphens");
    return -1;
  }
  int rc = users_add(users, item->string, NULL, "", &entry);
  if (rc != 0) {
    net_json_fail(json, item, rc == UV_ENOMEM ? "out of memory" : "one user too many");
    return -1;
  }
  if (read_bytes(json, item, "token", entry->hash) != 0 || read_time(json, item, "created", entry->created) != 0 ||
      read_time(json, item, "rotated", entry->rotated) != 0 || net_json_bool(json, item, "reserved", &entry->reserved) < 0 ||
      read_domains(json, item, entry) < 0) {
    return -1;
  }
  return net_json_finish(json, item);
}

static int read_root(struct net_json *json, struct users *users) {
  const cJSON *root = net_json_root(json), *list = NULL, *item = NULL;
  int64_t version = 0;
  int found = net_json_int(json, root, "version", 1, 1, &version);
  if (found == 0) {
    net_json_fail(json, root, "\"version\" is missing: this is no user file");
  }
  if (found <= 0 || read_bytes(json, root, "key", users->key) != 0 || net_json_object(json, root, "users", &list) < 0) {
    return -1;
  }
  cJSON_ArrayForEach(item, list) {
    if (read_user(json, users, item) != 0) {
      return -1;
    }
  }
  return net_json_finish(json, root);
}

int users_load(struct users **out, const char *path, char *error, size_t error_size) {
  struct net_json *json = NULL;
  struct users *users = NULL;
  char *text = NULL;
  size_t size = 0;
  *out = NULL;
  int rc = net_file_read(path, USERS_FILE_MAX, &text, &size);
  if (rc == 0 && size == 0) {
    rc = UV_ENOENT; /* emptied counts as taken away */
  }
  if (rc != 0) {
    snprintf(error, error_size, "%s: %s", path, rc == UV_ENOENT ? "there is no user file, or it is empty" : uv_strerror(rc));
    free(text);
    return rc;
  }
  if (!net_file_is_private(path)) {
    free(text);
    snprintf(error, error_size, "%s: must belong to the user who runs the server and be closed to all others (chmod 600)", path);
    return UV_EACCES;
  }
  if ((rc = users_new(&users)) != 0) {
    snprintf(error, error_size, "out of memory");
    free(text);
    return rc;
  }
  if (net_json_parse(&json, path, text, size) != 0 || read_root(json, users) != 0) {
    snprintf(error, error_size, "%s", json == NULL ? "out of memory" : net_json_error(json));
    rc = UV_EINVAL;
  }
  net_json_free(json);
  free(text);
  if (rc != 0) {
    users_free(users);
    return rc;
  }
  *out = users;
  return 0;
}

/* ---- writing ---- */
static bool put_bytes(cJSON *object, const char *key, const uint8_t bytes[static USERS_HASH_SIZE]) {
  char text[HASH_TEXT_SIZE];
  sodium_bin2base64(text, sizeof text, bytes, USERS_HASH_SIZE, BASE64);
  return cJSON_AddStringToObject(object, key, text) != NULL;
}

static bool put_user(cJSON *list, const struct users_entry *entry) {
  cJSON *object = cJSON_AddObjectToObject(list, entry->name);
  bool good = object != NULL && put_bytes(object, "token", entry->hash) && cJSON_AddStringToObject(object, "created", entry->created) != NULL;
  if (good && entry->rotated[0] != '\0') {
    good = cJSON_AddStringToObject(object, "rotated", entry->rotated) != NULL;
  }
  if (good && entry->domains_count > 0) {
    cJSON *domains = cJSON_CreateStringArray((const char *const *)entry->domains, (int)entry->domains_count);
    good = cJSON_AddItemToObject(object, "domains", domains);
    if (!good) {
      cJSON_Delete(domains); /* nobody took it */
    }
  }
  if (good && entry->reserved) {
    good = cJSON_AddTrueToObject(object, "reserved") != NULL;
  }
  return good;
}

int users_save(const struct users *users, const char *path, char *error, size_t error_size) {
  cJSON *root = cJSON_CreateObject();
  cJSON *list = NULL;
  char *text = NULL;
  int rc = UV_ENOMEM;
  bool good = root != NULL && cJSON_AddNumberToObject(root, "version", 1) != NULL && put_bytes(root, "key", users->key) &&
              (list = cJSON_AddObjectToObject(root, "users")) != NULL;
  for (size_t i = 0; good && i < users->count; i++) {
    good = put_user(list, &users->list[i]);
  }
  if (good && (text = cJSON_Print(root)) != NULL) {
    size_t size = strlen(text);
    text[size] = '\n'; /* in place of the NUL, which is not written */
    rc = net_file_write(path, text, size + 1, 0600);
    sodium_memzero(text, size + 1);
    cJSON_free(text);
  }
  cJSON_Delete(root);
  if (rc != 0) {
    snprintf(error, error_size, "%s: cannot be written: %s", path, uv_strerror(rc));
  }
  return rc;
}
