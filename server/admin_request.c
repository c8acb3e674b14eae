/* admin_request.c: a small strict reader of one request head (RFC 9112): CRLF lines, no folding, one Host. */
#include "admin_request.h"

#include <string.h>
#include <strings.h>

#include "address.h"

struct text {
  const char *data;
  size_t size;
};

static bool is(struct text text, const char *other) {
  return text.size == strlen(other) && memcmp(text.data, other, text.size) == 0;
}

/* host[:port] of this listener? Without a port only on port 80. */
static bool is_own(struct text authority, const struct mdm_address *own) {
  const char *host;
  size_t host_size;
  uint16_t port = 0;
  struct mdm_address address;
  if (authority.size == 0 || net_host_port_split(authority.data, authority.size, &host, &host_size, &port) != 0)
    return false;
  if ((port == 0 ? 80 : port) != own->port)
    return false;
  if (host_size == 9 && strncasecmp(host, "localhost", 9) == 0)
    return true;
  return net_address_parse(&address, host, host_size) == 0 && net_address_is_loopback(&address);
}

static bool origin_is_own(struct text origin, const struct mdm_address *own) {
  static const char scheme[] = "http://";
  if (origin.size <= sizeof scheme - 1 || memcmp(origin.data, scheme, sizeof scheme - 1) != 0)
    return false;
  return is_own((struct text){origin.data + sizeof scheme - 1, origin.size - (sizeof scheme - 1)}, own);
}

static bool token_byte(unsigned char c) {
  return c > 0x20 && c < 0x7f && strchr("\"(),/:;<=>?@[\\]{}", c) == NULL;
}

/* "Name: value" without the line's end. */
static bool split_field(struct text line, struct text *name, struct text *value) {
  const char *colon = memchr(line.data, ':', line.size);
  if (colon == NULL || colon == line.data)
    return false;
  *name = (struct text){line.data, (size_t)(colon - line.data)};
  *value = (struct text){colon + 1, line.size - name->size - 1};
  for (size_t i = 0; i < name->size; i++)
    if (!token_byte((unsigned char)name->data[i]))
      return false;
  while (value->size > 0 && (value->data[0] == ' ' || value->data[0] == '\t'))
    value->data++, value->size--;
  while (value->size > 0 && (value->data[value->size - 1] == ' ' || value->data[value->size - 1] == '\t'))
    value->size--;
  for (size_t i = 0; i < value->size; i++)
    if ((unsigned char)value->data[i] < 0x20 && value->data[i] != '\t')
      return false;
  return true;
}

/* The next line without CR LF; false when the bytes are no such line. */
static bool next_line(struct text *rest, struct text *line) {
  const char *lf = memchr(rest->data, '\n', rest->size);
  if (lf == NULL || lf == rest->data || lf[-1] != '\r')
    return false;
  *line = (struct text){rest->data, (size_t)(lf - rest->data) - 1};
  rest->size -= line->size + 2;
  rest->data += line->size + 2;
  return memchr(line->data, '\r', line->size) == NULL && memchr(line->data, 0, line->size) == NULL;
}

static enum admin_wish judge_line(struct text line, bool *head) {
  const char *first = memchr(line.data, ' ', line.size), *second;
  struct text method, target, version;
  if (first == NULL || (second = memchr(first + 1, ' ', line.size - (size_t)(first + 1 - line.data))) == NULL)
    return ADMIN_BAD;
  method = (struct text){line.data, (size_t)(first - line.data)};
  target = (struct text){first + 1, (size_t)(second - first) - 1};
  version = (struct text){second + 1, line.size - (size_t)(second + 1 - line.data)};
  if (!is(version, "HTTP/1.1") && !is(version, "HTTP/1.0"))
    return ADMIN_BAD;
  *head = is(method, "HEAD");
  if (!*head && !is(method, "GET"))
    return ADMIN_METHOD;
  const char *query = memchr(target.data, '?', target.size);
  if (query != NULL)
    target.size = (size_t)(query - target.data);
  return is(target, "/metrics") ? ADMIN_METRICS : is(target, "/healthz") ? ADMIN_HEALTH : ADMIN_UNKNOWN;
}

void admin_request_parse(struct admin_request *out, const char *data, size_t size, const struct mdm_address *own) {
  const char *end = memmem(data, size, "\r\n\r\n", 4);
  struct text rest = {data, end == NULL ? 0 : (size_t)(end - data) + 2}, line, name, value, host = {0};
  unsigned hosts = 0;
  bool foreign_origin = false;
  *out = (struct admin_request){.wish = end == NULL ? ADMIN_MORE : ADMIN_BAD};
  if (end == NULL && size >= ADMIN_HEAD_MAX)
    out->wish = ADMIN_TOO_LARGE;
  if (end == NULL || !next_line(&rest, &line))
    return;
  enum admin_wish wish = judge_line(line, &out->head);
  if (wish == ADMIN_BAD)
    return;
  while (rest.size > 0) {
    if (!next_line(&rest, &line) || !split_field(line, &name, &value))
      return;
    if (name.size == 4 && strncasecmp(name.data, "host", 4) == 0) {
      host = value;
      hosts++;
    } else if (name.size == 6 && strncasecmp(name.data, "origin", 6) == 0) {
      foreign_origin = foreign_origin || !origin_is_own(value, own);
    }
  }
  if (hosts != 1)
    return;
  out->wish = !is_own(host, own) ? ADMIN_MISDIRECTED : foreign_origin ? ADMIN_FORBIDDEN : wish;
}
