/* hello_json.c: reading one JSON message of a stranger, strictly. */
#include "hello_json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <sodium.h>
#include <string.h>

#include "mdm/mux.h"
#include "text.h"

/* Looks the text over before cJSON sees it: recursion and memory are bounded here, and a NUL, which cJSON's strings
 * cannot hold, is found. */
static const char *message_fault(const char *text, size_t size) {
  size_t depth = 0, values = 0;
  bool string = false;
  for (size_t i = 0; i < size; i++) {
    char c = text[i];
    if (string) {
      if (c == '\\') {
        if (size - i > 5 && memcmp(text + i + 1, "u0000", 5) == 0) {
          return "has a NUL in a string";
        }
        i++;
      }
      string = c != '"';
      continue;
    }
    string = c == '"';
    if ((c == '{' || c == '[') && ++depth > HELLO_JSON_DEPTH_MAX) {
      return "is nested too deeply";
    }
    if ((c == '}' || c == ']') && depth > 0) {
      depth--;
    }
    if ((c == ',' || c == '{' || c == '[') && ++values > HELLO_JSON_VALUES_MAX) {
      return "has too many values";
    }
  }
  return net_text_is_utf8(text, size) ? NULL : "is not UTF-8";
}

int hello_json_parse(struct hello_reader *reader, struct cJSON **root, const uint8_t *data, size_t size) {
  const char *text = (const char *)data;
  *root = NULL;
  if (size == 0 || size > MDM_MESSAGE_MAX) {
    return net_sentence(reader->error, reader->error_size, "%s is empty or too long", reader->message);
  }
  const char *fault = message_fault(text, size);
  if (fault != NULL) {
    return net_sentence(reader->error, reader->error_size, "%s %s", reader->message, fault);
  }
  const char *end = NULL;
  cJSON *tree = cJSON_ParseWithLengthOpts(text, size, &end, false);
  while (tree != NULL && end < text + size && strchr(" \t\r\n", *end) != NULL && *end != '\0') {
    end++;
  }
  if (!cJSON_IsObject(tree) || end != text + size) {
    hello_json_free(tree);
    return net_sentence(reader->error, reader->error_size, "%s is not a JSON object", reader->message);
  }
  *root = tree;
  reader->object = tree;
  return 0;
}

/* The depth is bounded by hello_json_parse, so recursion is too. */
static void tree_wipe(cJSON *item) {
  for (; item != NULL; item = item->next) {
    if (cJSON_IsString(item) && item->valuestring != NULL) {
      sodium_memzero(item->valuestring, strlen(item->valuestring));
    }
    tree_wipe(item->child);
  }
}

void hello_json_free(struct cJSON *root) {
  tree_wipe(root);
  cJSON_Delete(root);
}

/* 1 and *item, 0 when it is missing and may be, -1 when it may not. */
static int find(const struct hello_reader *reader, const char *key, enum hello_presence presence, const cJSON **item) {
  *item = cJSON_GetObjectItemCaseSensitive(reader->object, key);
  if (*item != NULL && !cJSON_IsNull(*item)) {
    return 1;
  }
  return presence == HELLO_REQUIRED
             ? net_sentence(reader->error, reader->error_size, "%s lacks \"%s\"", reader->message, key)
             : 0;
}

static int wrong(const struct hello_reader *reader, const char *key, const char *right) {
  return net_sentence(reader->error, reader->error_size, "%s: \"%s\" must be %s", reader->message, key, right);
}

int hello_read_text(const struct hello_reader *reader, const char *key, enum hello_presence presence, char *out,
                    size_t capacity) {
  const cJSON *item;
  int found = find(reader, key, presence, &item);
  if (found <= 0) {
    return found;
  }
  size_t size = cJSON_IsString(item) ? strlen(item->valuestring) : capacity;
  if (size >= capacity || !net_text_valid(item->valuestring, size)) {
    return net_sentence(reader->error, reader->error_size,
                        "%s: \"%s\" must be at most %zu bytes of text without control characters", reader->message, key,
                        capacity - 1);
  }
  memcpy(out, item->valuestring, size + 1);
  return 0;
}

static int read_integer(const struct hello_reader *reader, const char *key, enum hello_presence presence, uint64_t min,
                        uint64_t max, uint64_t *out) {
  const cJSON *item;
  int found = find(reader, key, presence, &item);
  if (found <= 0) {
    return found;
  }
  double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
  if (!(value >= (double)min) || value > (double)max || floor(value) != value) {
    return net_sentence(reader->error, reader->error_size, "%s: \"%s\" must be a whole number from %llu to %llu",
                        reader->message, key, (unsigned long long)min, (unsigned long long)max);
  }
  *out = (uint64_t)value;
  return 0;
}

int hello_read_u32(const struct hello_reader *reader, const char *key, enum hello_presence presence, uint32_t min,
                   uint32_t max, uint32_t *out) {
  uint64_t value = *out;
  int error = read_integer(reader, key, presence, min, max, &value);
  *out = (uint32_t)value;
  return error;
}

int hello_read_u64(const struct hello_reader *reader, const char *key, enum hello_presence presence, uint64_t *out) {
  return read_integer(reader, key, presence, 0, HELLO_JSON_INTEGER_MAX, out);
}

int hello_read_bool(const struct hello_reader *reader, const char *key, bool *out) {
  const cJSON *item;
  if (find(reader, key, HELLO_OPTIONAL, &item) == 0) {
    return 0;
  }
  if (!cJSON_IsBool(item)) {
    return wrong(reader, key, "true or false");
  }
  *out = cJSON_IsTrue(item);
  return 0;
}

int hello_read_binary(const struct hello_reader *reader, const char *key, uint8_t *out, size_t size) {
  const cJSON *item;
  if (find(reader, key, HELLO_REQUIRED, &item) < 0) {
    return -1;
  }
  size_t got = 0;
  const char *end = NULL;
  size_t length = cJSON_IsString(item) ? strlen(item->valuestring) : 0;
  if (length == 0 ||
      sodium_base642bin(out, size, item->valuestring, length, NULL, &got, &end,
                        sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
      end != item->valuestring + length || got != size) {
    return net_sentence(reader->error, reader->error_size, "%s: \"%s\" must be %zu bytes in base64url without padding",
                        reader->message, key, size);
  }
  return 0;
}

int hello_read_array(const struct hello_reader *reader, const char *key, enum hello_presence presence, size_t max,
                     const struct cJSON **out, size_t *count) {
  const cJSON *item;
  *out = NULL;
  *count = 0;
  int found = find(reader, key, presence, &item);
  if (found <= 0) {
    return found;
  }
  if (!cJSON_IsArray(item)) {
    return wrong(reader, key, "a list");
  }
  *count = (size_t)cJSON_GetArraySize(item);
  if (*count > max) {
    return net_sentence(reader->error, reader->error_size, "%s: \"%s\" has %zu entries; at most %zu are allowed",
                        reader->message, key, *count, max);
  }
  *out = item;
  return 0;
}
