/* auth_reply_fuzz.c: what a forward-auth server may answer, in pieces of every size: the same comes out however it is cut. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int feed(struct auth_reply *reply, const char *data, size_t size, size_t step) {
  int result = 0;
  auth_reply_init(reply);
  for (size_t at = 0; at < size && result == 0; at += step) {
    result = auth_reply_feed(reply, data + at, size - at < step ? size - at : step);
  }
  return result == 0 ? auth_reply_end(reply) : result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct auth_reply whole, pieces;
  size_t step = size == 0 ? 1 : 1 + data[0] % 7u;
  int one = feed(&whole, (const char *)data, size, size == 0 ? 1 : size);
  int many = feed(&pieces, (const char *)data, size, step);
  if (one == 1 && many == 1) {
    if (whole.status != pieces.status || whole.fields_count != pieces.fields_count || whole.body.size != pieces.body.size ||
        memcmp(whole.body.data, pieces.body.data, whole.body.size) != 0) {
      abort();
    }
    for (size_t i = 0; i < whole.fields_count; i++) {
      if (whole.fields[i].name.size != pieces.fields[i].name.size || whole.fields[i].value.size != pieces.fields[i].value.size) {
        abort();
      }
    }
  } else if (one != many) {
    abort();
  }
  auth_reply_clean(&whole);
  auth_reply_clean(&pieces);
  return 0;
}
