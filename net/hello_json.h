/* hello_json.h: reading one JSON message of a stranger, strictly: bounded size, depth and number of values, valid
 * UTF-8, exact types. Used by the decoders of hello.h only. */
#ifndef NET_HELLO_JSON_H
#define NET_HELLO_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cJSON;

#define HELLO_JSON_DEPTH_MAX 8u /* the deepest of our messages has 6 */
#define HELLO_JSON_VALUES_MAX                                                                                          \
  131072u /* 1,024 services with every list full fit a message well before; cJSON takes 64 bytes a value */
#define HELLO_JSON_INTEGER_MAX 9007199254740991u /* 2^53 - 1: what a double holds exactly */

/* An object being read: every reader below returns 0, or -1 with a sentence. A missing or null key: -1 when `required`,
 * else *out is left alone. */
struct hello_reader {
  const char *message; /* "HELLO", for the sentences */
  const struct cJSON *object;
  char *error;
  size_t error_size;
};
enum hello_presence { HELLO_OPTIONAL, HELLO_REQUIRED };

/* Parses `data` into a tree whose root is an object (freed by hello_json_free), and points the reader at it. */
int hello_json_parse(struct hello_reader *reader, struct cJSON **root, const uint8_t *data, size_t size);
/* Wipes every string of the tree, then frees it: a message may hold a token. */
void hello_json_free(struct cJSON *root);

int hello_read_text(const struct hello_reader *reader, const char *key, enum hello_presence presence, char *out,
                    size_t capacity);
int hello_read_u32(const struct hello_reader *reader, const char *key, enum hello_presence presence, uint32_t min,
                   uint32_t max, uint32_t *out);
int hello_read_u64(const struct hello_reader *reader, const char *key, enum hello_presence presence, uint64_t *out);
int hello_read_bool(const struct hello_reader *reader, const char *key, bool *out);
/* base64url without padding, of exactly `size` bytes. */
int hello_read_binary(const struct hello_reader *reader, const char *key, uint8_t *out, size_t size);
/* An array of at most `max` values; *out NULL when missing. */
int hello_read_array(const struct hello_reader *reader, const char *key, enum hello_presence presence, size_t max,
                     const struct cJSON **out, size_t *count);

#endif
