/* proxy_header.c: https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt sections 2.1 and 2.2. */
#include "proxy_header.h"

#include <stdio.h>
#include <string.h>

#include "address.h"

#define V2_LOCAL 0x20u
#define V2_PROXY 0x21u
#define V2_TCP4  0x11u
#define V2_TCP6  0x21u

/* An IPv4 address as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2). */
static void widen(uint8_t out[static 16], const struct mdm_address *address) {
  static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
  if (address->family == 6) {
    memcpy(out, address->bytes, 16);
    return;
  }
  memcpy(out, prefix, sizeof prefix);
  memcpy(out + 12, address->bytes, 4);
}

static size_t put_port(uint8_t *out, uint16_t port) {
  out[0] = (uint8_t)(port >> 8);
  out[1] = (uint8_t)port;
  return 2;
}

static size_t write_v2(uint8_t *out, const struct mdm_address *visitor, const struct mdm_address *origin) {
  static const uint8_t signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
  bool v4 = visitor->family == 4 && origin->family == 4;
  size_t width = v4 ? 4 : 16, size = 16;
  memcpy(out, signature, sizeof signature);
  if (visitor->family == 0) {
    out[12] = V2_LOCAL;
    out[13] = out[14] = out[15] = 0;
    return size;
  }
  out[12] = V2_PROXY;
  out[13] = v4 ? V2_TCP4 : V2_TCP6;
  put_port(out + 14, (uint16_t)(2 * width + 4));
  if (v4) {
    memcpy(out + size, visitor->bytes, 4);
    memcpy(out + size + 4, origin->bytes, 4);
  } else {
    widen(out + size, visitor);
    widen(out + size + 16, origin);
  }
  size += 2 * width;
  size += put_port(out + size, visitor->port);
  size += put_port(out + size, origin->port);
  return size;
}

static const char *wide_text(char out[static NET_ADDRESS_TEXT], const struct mdm_address *address, bool wide) {
  if (wide && address->family == 4)
    snprintf(out, NET_ADDRESS_TEXT, "::ffff:%u.%u.%u.%u", address->bytes[0], address->bytes[1], address->bytes[2],
             address->bytes[3]);
  else if (wide && address->family == 0)
    snprintf(out, NET_ADDRESS_TEXT, "::");
  else
    net_address_text(out, address, false);
  return out;
}

static size_t write_v1(uint8_t *out, const struct mdm_address *visitor, const struct mdm_address *origin) {
  char from[NET_ADDRESS_TEXT], to[NET_ADDRESS_TEXT];
  bool wide = visitor->family != 4 || origin->family != 4;
  int size;
  if (visitor->family == 0)
    size = snprintf((char *)out, PROXY_HEADER_MAX, "PROXY UNKNOWN\r\n");
  else
    size = snprintf((char *)out, PROXY_HEADER_MAX, "PROXY TCP%c %s %s %u %u\r\n", wide ? '6' : '4',
                    wide_text(from, visitor, wide), wide_text(to, origin, wide), visitor->port, origin->port);
  return size < 0 || (size_t)size >= PROXY_HEADER_MAX ? 0 : (size_t)size;
}

size_t proxy_header_write(uint8_t out[static PROXY_HEADER_MAX], unsigned version, const struct mdm_address *visitor,
                          const struct mdm_address *origin) {
  return version == 1 ? write_v1(out, visitor, origin) : write_v2(out, visitor, origin);
}
