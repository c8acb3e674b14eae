/* jsonfile.c: one parsed document: the cJSON tree, the line and the use of each of its values, and its first error. */
#include "jsonfile.h"

#include <cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "identity.h"
#include "json_scan.h"
#include "log.h"

#define ERROR_TEXT     1024u
#define PATH_TEXT      256u
#define VALUE_TEXT     64u
#define KNOWN_KEYS_MAX 64u /* named in a message */
#define SIMILAR_MAX    2u  /* typing mistakes between a key and its likely meaning */
#define KEY_COMPARED   40u /* longer keys are not compared letter by letter */

struct json_node {
  const cJSON *item;
  const struct json_node *parent;
  unsigned line;
  unsigned index; /* in an array */
  bool asked;
};

struct json_question {
  const cJSON *object;
  const char *key;
};

struct net_json {
  char *name;
  cJSON *root;
  struct json_node *nodes;    /* in document order */
  struct json_node **by_item; /* the same, sorted by address of the item */
  size_t count;
  struct json_question *questions; /* each key that was asked for, also where it is missing */
  size_t question_count, question_capacity;
  char error[ERROR_TEXT];
};

/* ---- errors ---- */
__attribute__((format(printf, 3, 4))) static void json_error(struct net_json *json, unsigned line, const char *format,
                                                             ...) {
  char where[PATH_TEXT];
  va_list arguments;
  if (json->error[0]) {
    return;
  }
  net_log_escape(where, sizeof where, json->name, strlen(json->name));
  int size = line > 0 ? snprintf(json->error, sizeof json->error, "%s:%u: ", where, line)
                      : snprintf(json->error, sizeof json->error, "%s: ", where);
  va_start(arguments, format);
  vsnprintf(json->error + size, sizeof json->error - (size_t)size, format, arguments);
  va_end(arguments);
}

static int compare_nodes(const void *a, const void *b) {
  const uintptr_t left = (uintptr_t)(*(struct json_node *const *)a)->item;
  const uintptr_t right = (uintptr_t)(*(struct json_node *const *)b)->item;
  return (left > right) - (left < right);
}

static struct json_node *json_node_of(const struct net_json *json, const cJSON *item) {
  struct json_node key = {.item = item};
  struct json_node *wanted = &key;
  struct json_node **found =
      json->count ? bsearch(&wanted, json->by_item, json->count, sizeof(void *), compare_nodes) : NULL;
  return found ? *found : NULL;
}

/* "services.app.allow[2]"; "" for the root. Deep paths lose their beginning. */
static const char *json_path(char out[static PATH_TEXT], const struct json_node *node) {
  size_t at = PATH_TEXT - 1;
  out[at] = 0;
  for (; node && node->parent; node = node->parent) {
    char part[VALUE_TEXT];
    if (node->item->string) {
      net_log_escape(part, sizeof part, node->item->string, strlen(node->item->string));
    } else {
      snprintf(part, sizeof part, "[%u]", node->index);
    }
    const size_t size = strlen(part);
    const bool dot = node->item->string && node->parent->parent;
    if (size + dot > at) {
      break;
    }
    at -= size;
    memcpy(out + at, part, size);
    if (dot) {
      out[--at] = '.';
    }
  }
  return out + at;
}

void net_json_fail(struct net_json *json, const struct cJSON *item, const char *format, ...) {
  char text[ERROR_TEXT];
  char buffer[PATH_TEXT];
  va_list arguments;
  const struct json_node *node = json_node_of(json, item);
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  const char *path = json_path(buffer, node);
  if (path[0]) {
    json_error(json, node->line, "\"%s\": %s", path, text);
  } else {
    json_error(json, node ? node->line : 0, "%s", text);
  }
}

unsigned net_json_line(const struct net_json *json, const struct cJSON *item) {
  const struct json_node *node = json_node_of(json, item);
  return node ? node->line : 0;
}

const char *net_json_error(const struct net_json *json) {
  return json ? json->error : "out of memory";
}

/* ---- parsing ---- */
/* Pairs the tree with the scanner's lines: both are in document order. */
static size_t json_pair(struct net_json *json, const struct json_scan *scan, const cJSON *item,
                        const struct json_node *parent, size_t at) {
  unsigned index = 0;
  for (; item; item = item->next) {
    if (at >= scan->count) {
      return SIZE_MAX;
    }
    struct json_node *node = &json->nodes[at];
    *node = (struct json_node){.item = item, .parent = parent, .line = scan->lines[at], .index = index++};
    at = json_pair(json, scan, item->child, node, at + 1);
    if (at == SIZE_MAX) {
      return SIZE_MAX;
    }
  }
  return at;
}

static int compare_keys(const void *a, const void *b) {
  const struct json_node *left = *(struct json_node *const *)a;
  const struct json_node *right = *(struct json_node *const *)b;
  const int order = strcmp(left->item->string, right->item->string);
  return order ? order : (left > right) - (left < right);
}

/* by_item lends its memory: it is filled and sorted anew afterwards. */
static int json_check_duplicates(struct net_json *json) {
  for (size_t i = 0; i < json->count; i++) {
    size_t keys = 0;
    if (!cJSON_IsObject(json->nodes[i].item)) {
      continue;
    }
    for (size_t k = i + 1; k < json->count; k++) {
      const struct json_node *parent = json->nodes[k].parent; /* only the root, the first, has none */
      if (parent == &json->nodes[i]) {
        json->by_item[keys++] = &json->nodes[k];
      } else if (parent < &json->nodes[i]) {
        break; /* past the end of this object */
      }
    }
    qsort(json->by_item, keys, sizeof(void *), compare_keys);
    for (size_t k = 1; k < keys; k++) {
      if (strcmp(json->by_item[k - 1]->item->string, json->by_item[k]->item->string) == 0) {
        char path[PATH_TEXT];
        json_error(json, json->by_item[k]->line, "\"%s\": given twice, first in line %u",
                   json_path(path, json->by_item[k]), json->by_item[k - 1]->line);
        return UV_EINVAL;
      }
    }
  }
  return 0;
}

static int json_index(struct net_json *json, const struct json_scan *scan) {
  json->nodes = calloc(scan->count, sizeof *json->nodes);
  json->by_item = calloc(scan->count, sizeof *json->by_item);
  if (!json->nodes || !json->by_item) {
    json_error(json, 0, "out of memory");
    return UV_ENOMEM;
  }
  if (json_pair(json, scan, json->root, NULL, 0) != scan->count) {
    json_error(json, 0, "cannot be understood");
    return UV_EINVAL;
  }
  json->count = scan->count;
  const int error = json_check_duplicates(json);
  for (size_t i = 0; i < json->count; i++) {
    json->by_item[i] = &json->nodes[i];
  }
  qsort(json->by_item, json->count, sizeof(void *), compare_nodes);
  return error;
}

static struct net_json *json_new(const char *name) {
  struct net_json *json = calloc(1, sizeof *json);
  if (json) {
    json->name = strdup(name);
    if (!json->name) {
      free(json);
      json = NULL;
    }
  }
  return json;
}

int net_json_parse(struct net_json **out, const char *name, const char *text, size_t size) {
  struct json_scan scan;
  struct net_json *json = json_new(name);
  *out = json;
  if (!json) {
    return UV_ENOMEM;
  }
  int error = json_scan(&scan, text, size);
  if (error == UV_ENOMEM) {
    json_error(json, 0, "out of memory");
    return error;
  }
  if (error) {
    json_error(json, scan.error_line, "%s", scan.error);
    return error;
  }
  json->root = cJSON_ParseWithLength(text, size);
  if (!json->root) {
    json_error(json, 0, "out of memory");
    error = UV_ENOMEM;
  } else {
    error = json_index(json, &scan);
  }
  free(scan.lines);
  return error;
}

int net_json_load(struct net_json **out, const char *path, size_t limit) {
  char *text = NULL;
  size_t size = 0;
  int error = net_file_read(path, limit, &text, &size);
  if (!error) {
    error = net_json_parse(out, path, text, size);
    free(text);
    return error;
  }
  *out = json_new(path);
  if (!*out) {
    return UV_ENOMEM;
  }
  if (error == UV_EFBIG) {
    json_error(*out, 0, "larger than %zu bytes", limit);
  } else {
    json_error(*out, 0, "cannot be read: %s", uv_strerror(error));
  }
  return error;
}

void net_json_free(struct net_json *json) {
  if (json) {
    cJSON_Delete(json->root);
    free(json->nodes);
    free(json->by_item);
    free(json->questions);
    free(json->name);
    free(json);
  }
}

const struct cJSON *net_json_root(const struct net_json *json) {
  return json->root;
}

/* ---- asking ---- */
/* 1 = there, 0 = missing, -1 = memory is out, which must not pass for missing. */
static int json_ask(struct net_json *json, const cJSON *object, const char *key, const cJSON **out) {
  *out = NULL;
  if (json->question_count == json->question_capacity) {
    const size_t capacity = json->question_capacity ? json->question_capacity * 2 : 32;
    struct json_question *grown = realloc(json->questions, capacity * sizeof *grown);
    if (!grown) {
      json_error(json, 0, "out of memory");
      return -1;
    }
    json->questions = grown;
    json->question_capacity = capacity;
  }
  json->questions[json->question_count++] = (struct json_question){.object = object, .key = key};
  *out = cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
  struct json_node *node = *out ? json_node_of(json, *out) : NULL;
  if (node) {
    node->asked = true;
  }
  return *out ? 1 : 0;
}

const struct cJSON *net_json_any(struct net_json *json, const struct cJSON *object, const char *key) {
  const cJSON *item;
  (void)json_ask(json, object, key, &item); /* without memory net_json_finish() fails */
  return item;
}

/* The value for a message: short, escaped. */
static const char *json_value_text(char out[static VALUE_TEXT], const cJSON *item) {
  if (cJSON_IsString(item)) {
    char text[VALUE_TEXT - 2];
    snprintf(out, VALUE_TEXT, "\"%s\"",
             net_log_escape(text, sizeof text, item->valuestring, strlen(item->valuestring)));
  } else if (cJSON_IsNumber(item)) {
    snprintf(out, VALUE_TEXT, "%.15g", item->valuedouble);
  } else {
    snprintf(out, VALUE_TEXT, "%s",
             cJSON_IsTrue(item)     ? "true"
             : cJSON_IsFalse(item)  ? "false"
             : cJSON_IsObject(item) ? "an object"
             : cJSON_IsArray(item)  ? "a list"
                                    : "null");
  }
  return out;
}

static int json_wrong(struct net_json *json, const cJSON *item, const char *wanted) {
  char value[VALUE_TEXT];
  net_json_fail(json, item, "must be %s, not %s", wanted, json_value_text(value, item));
  return -1;
}

int net_json_string(struct net_json *json, const struct cJSON *object, const char *key, const char **value) {
  const cJSON *item;
  const int found = json_ask(json, object, key, &item);
  if (found <= 0) {
    return found;
  }
  if (!cJSON_IsString(item)) {
    return json_wrong(json, item, "a text");
  }
  *value = item->valuestring;
  return 1;
}

int net_json_bool(struct net_json *json, const struct cJSON *object, const char *key, bool *value) {
  const cJSON *item;
  const int found = json_ask(json, object, key, &item);
  if (found <= 0) {
    return found;
  }
  if (!cJSON_IsBool(item)) {
    return json_wrong(json, item, "true or false");
  }
  *value = cJSON_IsTrue(item);
  return 1;
}

int net_json_int(struct net_json *json, const struct cJSON *object, const char *key, int64_t min, int64_t max,
                 int64_t *value) {
  static const double exact = 9007199254740992.0; /* 2^53: what a double counts without gaps */
  const cJSON *item;
  char wanted[96];
  const int found = json_ask(json, object, key, &item);
  if (found <= 0) {
    return found;
  }
  const double number = cJSON_IsNumber(item) ? item->valuedouble : 0;
  const bool whole = cJSON_IsNumber(item) && floor(number) == number;
  if (!whole || number < -exact || number > exact || (int64_t)number < min || (int64_t)number > max) {
    snprintf(wanted, sizeof wanted, "a %snumber from %lld to %lld", cJSON_IsNumber(item) && !whole ? "whole " : "",
             (long long)min, (long long)max);
    return json_wrong(json, item, wanted);
  }
  *value = (int64_t)number;
  return 1;
}

int net_json_object(struct net_json *json, const struct cJSON *object, const char *key, const struct cJSON **value) {
  const cJSON *item;
  const int found = json_ask(json, object, key, &item);
  if (found <= 0) {
    return found;
  }
  if (!cJSON_IsObject(item)) {
    return json_wrong(json, item, "an object");
  }
  *value = item;
  return 1;
}

int net_json_array(struct net_json *json, const struct cJSON *object, const char *key, const struct cJSON **value) {
  const cJSON *item;
  const int found = json_ask(json, object, key, &item);
  if (found <= 0) {
    return found;
  }
  if (!cJSON_IsArray(item)) {
    return json_wrong(json, item, "a list");
  }
  *value = item;
  return 1;
}

/* ---- unknown keys ---- */
/* Levenshtein's distance, for short keys. */
static unsigned key_distance(const char *a, const char *b) {
  const size_t a_size = strlen(a);
  const size_t b_size = strlen(b);
  unsigned row[KEY_COMPARED + 1];
  if (a_size > KEY_COMPARED || b_size > KEY_COMPARED) {
    return UINT32_MAX;
  }
  for (size_t j = 0; j <= b_size; j++) {
    row[j] = (unsigned)j;
  }
  for (size_t i = 1; i <= a_size; i++) {
    unsigned diagonal = row[0];
    row[0] = (unsigned)i;
    for (size_t j = 1; j <= b_size; j++) {
      const unsigned replaced = diagonal + (a[i - 1] != b[j - 1]);
      const unsigned shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
      diagonal = row[j];
      row[j] = replaced < shorter ? replaced : shorter;
    }
  }
  return row[b_size];
}

static bool key_listed(const char *const *keys, size_t count, const char *key) {
  for (size_t i = 0; i < count; i++) {
    if (strcmp(keys[i], key) == 0) {
      return true;
    }
  }
  return false;
}

/* The keys that were asked for in `object`: those like `unknown` first, then in the order of asking. */
static size_t known_keys(const struct net_json *json, const cJSON *object, const char *unknown, const char **keys,
                         size_t capacity) {
  size_t count = 0;
  for (unsigned round = 0; round < 2; round++) {
    for (size_t i = 0; i < json->question_count && count < capacity; i++) {
      const struct json_question *question = &json->questions[i];
      const bool wanted =
          question->object == object && (round == 1 || key_distance(question->key, unknown) <= SIMILAR_MAX);
      if (wanted && !key_listed(keys, count, question->key)) {
        keys[count++] = question->key;
      }
    }
  }
  return count;
}

int net_json_finish(struct net_json *json, const struct cJSON *object) {
  const char *keys[KNOWN_KEYS_MAX];
  char list[ERROR_TEXT / 2] = "";
  size_t used = 0;
  const cJSON *item = object ? object->child : NULL;
  for (; item; item = item->next) {
    const struct json_node *node = json_node_of(json, item);
    if (item->string && node && !node->asked) {
      break;
    }
  }
  if (!item) {
    return json->error[0] ? -1 : 0;
  }
  const size_t count = known_keys(json, object, item->string, keys, KNOWN_KEYS_MAX);
  for (size_t i = 0; i < count; i++) {
    const int n = snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", keys[i]);
    if (n < 0 || (size_t)n >= sizeof list - used) {
      break;
    }
    used += (size_t)n;
  }
  net_json_fail(json, item, "unknown key; known here: %s", used ? list : "none");
  return -1;
}
