/* utf8.c: one sequence of UTF-8 (RFC 3629). */
#include "utf8.h"

static size_t sequence_length(uint8_t first) {
  if (first < 0x80) {
    return 1;
  }
  if (first < 0xc2) {
    return 0; /* a continuation byte, or an overlong form */
  }
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

size_t net_utf8_next(const uint8_t *data, size_t size, uint32_t *code_point) {
  static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const size_t length = sequence_length(data[0]);
  if (length == 0 || length > size) {
    return 0;
  }
  uint32_t c = length == 1 ? data[0] : data[0] & (0x7fu >> length);
  for (size_t i = 1; i < length; i++) {
    if ((data[i] & 0xc0) != 0x80) {
      return 0;
    }
    c = c << 6 | (data[i] & 0x3fu);
  }
  if (c < smallest[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
    return 0;
  }
  if (code_point) {
    *code_point = c;
  }
  return length;
}
