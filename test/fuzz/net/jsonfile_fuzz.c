/* jsonfile_fuzz.c: any bytes are either a document whose every value has a line, or an error with a sentence. */
#include <cJSON.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "jsonfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds) {
  if (!holds) {
    abort();
  }
}

static void walk(struct net_json *json, const cJSON *item) {
  for (; item; item = item->next) {
    check(net_json_line(json, item) > 0);
    walk(json, item->child);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct net_json *json;
  const char *text = "";
  int64_t number = 0;
  const int error = net_json_parse(&json, "fuzz", (const char *)data, size);
  check((error != 0) == (net_json_error(json)[0] != 0));
  if (!error) {
    const cJSON *root = net_json_root(json);
    walk(json, root);
    net_json_string(json, root, "name", &text);
    net_json_int(json, root, "port", 1, 65535, &number);
    net_json_finish(json, root);
  }
  net_json_free(json);
  return 0;
}
