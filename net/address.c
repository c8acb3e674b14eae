/* address.c: IP addresses and CIDR ranges: text, comparison, membership. */
#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

static const uint8_t v4_mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static size_t address_size(const struct mdm_address *address) {
  return address->family == 4 ? 4 : address->family == 6 ? 16 : 0;
}

static void address_set_v6(struct mdm_address *out, const uint8_t bytes[static 16]) {
  if (memcmp(bytes, v4_mapped_prefix, sizeof v4_mapped_prefix) == 0) {
    out->family = 4;
    memcpy(out->bytes, bytes + sizeof v4_mapped_prefix, 4);
    return;
  }
  out->family = 6;
  memcpy(out->bytes, bytes, 16);
}

void net_address_from_sockaddr(struct mdm_address *out, const struct sockaddr *sa) {
  *out = (struct mdm_address){0};
  if (sa->sa_family == AF_INET) {
    struct sockaddr_in in;
    memcpy(&in, sa, sizeof in);
    out->family = 4;
    out->port = ntohs(in.sin_port);
    memcpy(out->bytes, &in.sin_addr, 4);
  } else if (sa->sa_family == AF_INET6) {
    struct sockaddr_in6 in6;
    memcpy(&in6, sa, sizeof in6);
    out->port = ntohs(in6.sin6_port);
    address_set_v6(out, in6.sin6_addr.s6_addr);
  }
}

const char *net_address_text(char out[static NET_ADDRESS_TEXT], const struct mdm_address *address, bool with_port) {
  char literal[INET6_ADDRSTRLEN];
  if (address_size(address) == 0) {
    snprintf(out, NET_ADDRESS_TEXT, "unknown");
    return out;
  }
  inet_ntop(address->family == 4 ? AF_INET : AF_INET6, address->bytes, literal, sizeof literal);
  if (!with_port) {
    snprintf(out, NET_ADDRESS_TEXT, "%s", literal);
  } else {
    snprintf(out, NET_ADDRESS_TEXT, address->family == 4 ? "%s:%u" : "[%s]:%u", literal, (unsigned)address->port);
  }
  return out;
}

int net_address_parse(struct mdm_address *out, const char *text, size_t size) {
  char literal[INET6_ADDRSTRLEN + 1];
  uint8_t bytes[16];
  const bool bracketed = size >= 2 && text[0] == '[' && text[size - 1] == ']';
  if (bracketed) {
    text++;
    size -= 2;
  }
  if (size == 0 || size >= sizeof literal || memchr(text, 0, size)) {
    return UV_EINVAL;
  }
  memcpy(literal, text, size);
  literal[size] = 0;
  struct mdm_address parsed = {0};
  if (!bracketed && inet_pton(AF_INET, literal, bytes) == 1) {
    parsed.family = 4;
    memcpy(parsed.bytes, bytes, 4);
  } else if (inet_pton(AF_INET6, literal, bytes) == 1) {
    address_set_v6(&parsed, bytes);
  } else {
    return UV_EINVAL;
  }
  *out = parsed;
  return 0;
}

bool net_address_is_loopback(const struct mdm_address *address) {
  if (address->family == 4) {
    return address->bytes[0] == 127;
  }
  static const uint8_t loopback6[16] = {[15] = 1};
  return address->family == 6 && memcmp(address->bytes, loopback6, 16) == 0;
}

bool net_address_equal(const struct mdm_address *a, const struct mdm_address *b, bool with_port) {
  return a->family == b->family && memcmp(a->bytes, b->bytes, address_size(a)) == 0 &&
         (!with_port || a->port == b->port);
}

int net_cidr_parse(struct net_cidr *out, const char *text, size_t size) {
  const char *slash = size ? memchr(text, '/', size) : NULL;
  struct net_cidr parsed = {0};
  const size_t literal = slash ? (size_t)(slash - text) : size;
  const int error = net_address_parse(&parsed.address, text, literal);
  if (error) {
    return error;
  }
  const unsigned full = parsed.address.family == 4 ? 32 : 128;
  unsigned prefix = full;
  if (slash) {
    const size_t digits = size - literal - 1;
    if (digits == 0 || digits > 3 || (digits > 1 && slash[1] == '0')) {
      return UV_EINVAL;
    }
    prefix = 0;
    for (size_t i = 1; i <= digits; i++) {
      if (slash[i] < '0' || slash[i] > '9') {
        return UV_EINVAL;
      }
      prefix = prefix * 10 + (unsigned)(slash[i] - '0');
    }
    if (parsed.address.family == 4 && memchr(text, ':', literal)) {
      if (prefix < 96) { /* ::ffff:a.b.c.d/n counts the bits of the mapping */
        return UV_EINVAL;
      }
      prefix -= 96;
    }
    if (prefix > full) {
      return UV_EINVAL;
    }
  }
  for (unsigned bit = prefix; bit < full; bit++) {
    parsed.address.bytes[bit / 8] &= (uint8_t) ~(0x80u >> (bit % 8));
  }
  parsed.prefix = (uint8_t)prefix;
  *out = parsed;
  return 0;
}

bool net_cidr_contains(const struct net_cidr *cidr, const struct mdm_address *address) {
  if (cidr->address.family == 0 || cidr->address.family != address->family) {
    return false;
  }
  const size_t whole = cidr->prefix / 8u;
  const unsigned rest = cidr->prefix % 8u;
  if (memcmp(cidr->address.bytes, address->bytes, whole) != 0) {
    return false;
  }
  return rest == 0 || ((cidr->address.bytes[whole] ^ address->bytes[whole]) >> (8u - rest)) == 0;
}

bool net_cidr_any(const struct net_cidr *list, size_t count, const struct mdm_address *address) {
  for (size_t i = 0; i < count; i++) {
    if (net_cidr_contains(&list[i], address)) {
      return true;
    }
  }
  return false;
}

static int port_parse(const char *text, size_t size, uint16_t *port) {
  unsigned value = 0;
  if (size == 0 || size > 5) {
    return UV_EINVAL;
  }
  for (size_t i = 0; i < size; i++) {
    if (text[i] < '0' || text[i] > '9') {
      return UV_EINVAL;
    }
    value = value * 10 + (unsigned)(text[i] - '0');
  }
  if (value == 0 || value > 65535) {
    return UV_EINVAL;
  }
  *port = (uint16_t)value;
  return 0;
}

int net_host_port_split(const char *text, size_t size, const char **host, size_t *host_size, uint16_t *port) {
  uint16_t number = 0;
  const char *end = text + size;
  const char *name = text;
  const char *name_end = end;
  if (size == 0 || memchr(text, 0, size)) {
    return UV_EINVAL;
  }
  const char *colon = memchr(text, ':', size);
  if (text[0] == '[') {
    const char *close = memchr(text, ']', size);
    if (!close) {
      return UV_EINVAL;
    }
    name = text + 1;
    name_end = close;
    colon = close + 1 == end ? NULL : close + 1;
    if (colon && *colon != ':') {
      return UV_EINVAL;
    }
  } else if (colon && memchr(colon + 1, ':', (size_t)(end - colon - 1))) {
    colon = NULL; /* two colons and no bracket: an IPv6 literal without port */
  } else if (colon) {
    name_end = colon;
  }
  if (name == name_end) {
    return UV_EINVAL;
  }
  if (colon) {
    const int error = port_parse(colon + 1, (size_t)(end - colon - 1), &number);
    if (error) {
      return error;
    }
  }
  *host = name;
  *host_size = (size_t)(name_end - name);
  *port = number;
  return 0;
}
