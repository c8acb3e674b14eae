/* jsonfile.h: configuration in JSON with errors that name file, line and key.
 *
 * cJSON parses (depth at most 32, size bounded by the caller); a side table remembers the line of every key, so that each error reads
 *   /etc/mdm/server.json:12: "ports.http": must be a number from 1 to 65535, not "eighty"
 * Duplicate keys in one object are errors. Comments are not JSON. Every key must be asked for: json_finish() names the first unknown one.
 */
#ifndef NET_JSONFILE_H
#define NET_JSONFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cJSON;
struct net_json;  /* one parsed document */

/* 0, or a UV_ code with a sentence in net_json_error() (the document is still to be freed; it is NULL only without memory). `name` is
 * used in messages. The text must be strict JSON in UTF-8; a byte order mark is skipped. */
int net_json_parse(struct net_json **out, const char *name, const char *text, size_t size);
int net_json_load(struct net_json **out, const char *path, size_t limit);
void net_json_free(struct net_json *json);
const struct cJSON *net_json_root(const struct net_json *json);
const char *net_json_error(const struct net_json *json); /* first error, "" if none */

/* `key` must live as long as the document (messages name the known keys). The texts given out live as long as it, too.
 * A wrong type or range records an error (the first one stays) and leaves *value alone; a missing key is 0, found 1, error -1. */
int net_json_string(struct net_json *json, const struct cJSON *object, const char *key, const char **value);
int net_json_bool(struct net_json *json, const struct cJSON *object, const char *key, bool *value);
int net_json_int(struct net_json *json, const struct cJSON *object, const char *key, int64_t min, int64_t max, int64_t *value);
int net_json_object(struct net_json *json, const struct cJSON *object, const char *key, const struct cJSON **value);
int net_json_array(struct net_json *json, const struct cJSON *object, const char *key, const struct cJSON **value);
/* Marks `key` as known without reading it (a value that the caller judges itself). */
const struct cJSON *net_json_any(struct net_json *json, const struct cJSON *object, const char *key);
/* Records an error at `item`'s line: "file:line: "path": text". */
void net_json_fail(struct net_json *json, const struct cJSON *item, const char *format, ...) __attribute__((format(printf, 3, 4)));
unsigned net_json_line(const struct net_json *json, const struct cJSON *item);
/* Every key of `object` that was never asked for is an error ("unknown key; known here: ..."). 0 or -1. */
int net_json_finish(struct net_json *json, const struct cJSON *object);

#endif
