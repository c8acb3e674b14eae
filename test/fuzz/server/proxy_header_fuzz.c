/* proxy_header_fuzz.c: any bytes as a PROXY header: a longer input never takes back what a shorter one decided. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  enum proxy_header_result before = PROXY_HEADER_MORE;
  size_t decided = 0;
  if (size > PROXY_HEADER_MAX)
    size = PROXY_HEADER_MAX;
  for (size_t part = 0; part <= size; part++) {
    struct proxy_header header;
    enum proxy_header_result result = proxy_header_parse(&header, data, part);
    if (before != PROXY_HEADER_MORE && result != before)
      abort();
    if (result == PROXY_HEADER_DONE) {
      if (header.size == 0 || header.size > part || (decided != 0 && header.size != decided))
        abort();
      decided = header.size;
    }
    if (result == PROXY_HEADER_MORE && part >= PROXY_HEADER_MAX)
      abort();
    before = result;
  }
  return 0;
}
