/* proxy_header.c: PROXY protocol versions 1 (a line of text) and 2 (binary). Any split of the input is told from a wrong one at the first wrong byte. */
#include "proxy_header.h"

#include <string.h>

#include "address.h"

static const uint8_t v2_signature[12] = {'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

static bool begins_like(const uint8_t *data, size_t size, const void *pattern, size_t pattern_size) {
  return memcmp(data, pattern, size < pattern_size ? size : pattern_size) == 0;
}

/* ---- version 1: "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n" ---- */
static bool next_word(const char **at, const char *end, const char **word, size_t *size) {
  const char *space = memchr(*at, ' ', (size_t)(end - *at));
  *word = *at;
  *size = (size_t)((space == NULL ? end : space) - *at);
  *at = space == NULL ? end : space + 1;
  return *size > 0;
}

static bool read_port(const char *word, size_t size, uint16_t *port) {
  unsigned value = 0;
  if (size == 0 || size > 5 || (size > 1 && word[0] == '0'))
    return false;
  for (size_t i = 0; i < size; i++) {
    if (word[i] < '0' || word[i] > '9')
      return false;
    value = value * 10 + (unsigned)(word[i] - '0');
  }
  *port = (uint16_t)value;
  return value <= 65535;
}

static bool read_v1_address(const char **at, const char *end, uint8_t family, struct mdm_address *out) {
  const char *word;
  size_t size;
  return next_word(at, end, &word, &size) && word[0] != '[' && net_address_parse(out, word, size) == 0 && out->family == family;
}

static bool read_v1_line(struct proxy_header *out, const char *line, size_t size) {
  const char *at = line + 6, *end = line + size, *word, *first_port, *second_port;
  size_t word_size, first_size, second_size;
  uint8_t family;
  if (!next_word(&at, end, &word, &word_size))
    return false;
  if (word_size == 7 && memcmp(word, "UNKNOWN", 7) == 0) {
    out->local = true; /* the rest of the line is to be ignored */
    return true;
  }
  if (word_size == 4 && memcmp(word, "TCP4", 4) == 0)
    family = 4;
  else if (word_size == 4 && memcmp(word, "TCP6", 4) == 0)
    family = 6;
  else
    return false;
  if (!read_v1_address(&at, end, family, &out->source) || !read_v1_address(&at, end, family, &out->destination))
    return false;
  if (!next_word(&at, end, &first_port, &first_size) || at == end || !next_word(&at, end, &second_port, &second_size) || at != end ||
      second_port + second_size != end)
    return false;
  return read_port(first_port, first_size, &out->source.port) && read_port(second_port, second_size, &out->destination.port);
}

static enum proxy_header_result parse_v1(struct proxy_header *out, const uint8_t *data, size_t size) {
  size_t limit = size < PROXY_HEADER_V1_MAX ? size : PROXY_HEADER_V1_MAX;
  const uint8_t *cr = memchr(data, '\r', limit);
  size_t line = cr == NULL ? limit : (size_t)(cr - data);
  for (size_t i = 0; i < line; i++)
    if (data[i] < 0x20 || data[i] > 0x7e)
      return PROXY_HEADER_BAD;
  if (cr == NULL)
    return size < PROXY_HEADER_V1_MAX ? PROXY_HEADER_MORE : PROXY_HEADER_BAD;
  if (line + 1 == size)
    return size < PROXY_HEADER_V1_MAX ? PROXY_HEADER_MORE : PROXY_HEADER_BAD;
  if (line + 2 > PROXY_HEADER_V1_MAX || data[line + 1] != '\n' || !read_v1_line(out, (const char *)data, line))
    return PROXY_HEADER_BAD;
  out->size = line + 2;
  return PROXY_HEADER_DONE;
}

/* ---- version 2 ----
 *   0..11 signature | 12 version (2) << 4, command | 13 family << 4, transport | 14..15 length of the rest, big-endian | addresses | options
 */
static uint16_t read_u16(const uint8_t *at) {
  return (uint16_t)(at[0] << 8 | at[1]);
}

static enum proxy_header_result parse_v2(struct proxy_header *out, const uint8_t *data, size_t size) {
  size_t length, half;
  if (size > 12 && ((data[12] & 0xf0) != 0x20 || (data[12] & 0x0f) > 1))
    return PROXY_HEADER_BAD;
  if (size < PROXY_HEADER_V2_FIXED)
    return PROXY_HEADER_MORE;
  length = read_u16(data + 14);
  if (PROXY_HEADER_V2_FIXED + length > PROXY_HEADER_MAX)
    return PROXY_HEADER_BAD;
  if (size < PROXY_HEADER_V2_FIXED + length)
    return PROXY_HEADER_MORE;
  out->size = PROXY_HEADER_V2_FIXED + length;
  out->local = (data[12] & 0x0f) == 0 || (data[13] != 0x11 && data[13] != 0x21); /* LOCAL, or neither TCP over IPv4 nor over IPv6 */
  if (out->local)
    return PROXY_HEADER_DONE;
  half = data[13] == 0x11 ? 4 : 16;
  if (length < 2 * half + 4)
    return PROXY_HEADER_BAD;
  out->source.family = out->destination.family = data[13] == 0x11 ? 4 : 6;
  memcpy(out->source.bytes, data + 16, half);
  memcpy(out->destination.bytes, data + 16 + half, half);
  out->source.port = read_u16(data + 16 + 2 * half);
  out->destination.port = read_u16(data + 18 + 2 * half);
  return PROXY_HEADER_DONE;
}

enum proxy_header_result proxy_header_parse(struct proxy_header *out, const uint8_t *data, size_t size) {
  memset(out, 0, sizeof *out);
  if (size == 0)
    return PROXY_HEADER_MORE;
  if (begins_like(data, size, "PROXY ", 6))
    return size < 6 ? PROXY_HEADER_MORE : parse_v1(out, data, size);
  if (begins_like(data, size, v2_signature, sizeof v2_signature))
    return parse_v2(out, data, size);
  return PROXY_HEADER_BAD;
}
