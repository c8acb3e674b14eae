/* forwarded.c: reading and writing of forwarding fields. */
#include "forwarded.h"

#include <string.h>

#include "http_write.h"

#define CHAIN_MAX 64u /* addresses looked at, from the right: nobody has more proxies of their own */

/* "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80", "2001:db8::1". 0 or -1. */
static int parse_node(struct mdm_address *out, struct mdm_text node) {
  const char *host;
  size_t size;
  uint16_t port = 0;
  if (net_address_parse(out, node.data, node.size) == 0)
    return 0;
  if (net_host_port_split(node.data, node.size, &host, &size, &port) != 0 || net_address_parse(out, host, size) != 0)
    return -1;
  out->port = port;
  return 0;
}

/* One forwarding pair of RFC 7239 4: name "=" ( token / quoted-string ). Quoted pairs are left as they are: no address holds one. */
static bool pair_next(struct mdm_text *rest, struct mdm_text *name, struct mdm_text *value) {
  size_t i = 0, equals;
  while (i < rest->size && (rest->data[i] == ';' || rest->data[i] == ' ' || rest->data[i] == '\t'))
    i++;
  size_t start = i;
  while (i < rest->size && rest->data[i] != '=' && rest->data[i] != ';')
    i++;
  if (i == rest->size || rest->data[i] != '=')
    return false;
  equals = i++;
  bool quoted = i < rest->size && rest->data[i] == '"';
  size_t from = quoted ? ++i : i;
  while (i < rest->size && rest->data[i] != (quoted ? '"' : ';'))
    i++;
  *name = http_trim((struct mdm_text){.data = rest->data + start, .size = equals - start});
  *value = (struct mdm_text){.data = rest->data + from, .size = i - from};
  if (quoted && i < rest->size)
    i++;
  rest->data += i;
  rest->size -= i;
  return true;
}

/* The element of `Forwarded` that `text` is: its for= and proto=. */
static struct mdm_text forwarded_element(struct mdm_text text, const char *wanted) {
  struct mdm_text name, value;
  while (pair_next(&text, &name, &value))
    if (http_text_is(name, wanted))
      return value;
  return (struct mdm_text){0};
}

struct chain {
  struct mdm_text elements[CHAIN_MAX]; /* a ring: the last CHAIN_MAX ones */
  size_t count;
};

static void chain_add(struct chain *chain, struct mdm_text list) {
  struct mdm_text element;
  while (http_list_next(&list, &element))
    chain->elements[chain->count++ % CHAIN_MAX] = element;
}
static struct mdm_text chain_from_right(const struct chain *chain, size_t back) {
  if (back >= chain->count || back >= CHAIN_MAX)
    return (struct mdm_text){0};
  return chain->elements[(chain->count - 1 - back) % CHAIN_MAX];
}

static void judge_client(struct forwarded *out, const struct chain *chain, bool rfc7239, const struct net_cidr *trusted, size_t count) {
  for (size_t back = 0;; back++) {
    struct mdm_text node = chain_from_right(chain, back);
    struct mdm_address address;
    if (rfc7239)
      node = forwarded_element(node, "for");
    if (!node.size || parse_node(&address, node) != 0)
      return;
    out->client = address;
    if (!net_cidr_any(trusted, count, &address))
      return;
  }
}

void forwarded_judge(struct forwarded *out, const struct forwarded_connection *connection, const struct net_cidr *trusted,
                     size_t trusted_count, const struct http_scan *scan) {
  *out = (struct forwarded){
      .peer = *connection->peer,
      .client = *connection->peer,
      .trusted = connection->trusted,
      .https = connection->https,
      .port = connection->port,
      .peer_text = connection->peer_text,
  };
  if (!out->trusted)
    return;
  struct chain addresses = {.count = 0}, elements = {.count = 0};
  struct mdm_text proto = {0}, port = {0}, element;
  for (size_t i = 0; i < scan->head.fields_count; i++) {
    struct mdm_text value = scan->fields[i].value;
    if (scan->kinds[i] == HTTP_X_FORWARDED_FOR)
      chain_add(&addresses, value);
    else if (scan->kinds[i] == HTTP_FORWARDED)
      chain_add(&elements, value);
    else if (scan->kinds[i] == HTTP_X_FORWARDED_PROTO)
      while (http_list_next(&value, &element))
        proto = element;
    else if (scan->kinds[i] == HTTP_X_FORWARDED_PORT)
      while (http_list_next(&value, &element))
        port = element;
  }
  if (addresses.count)
    judge_client(out, &addresses, false, trusted, trusted_count);
  else
    judge_client(out, &elements, true, trusted, trusted_count);
  if (!proto.size)
    proto = forwarded_element(chain_from_right(&elements, 0), "proto");
  uint64_t number;
  if (proto.size) {
    out->https = http_text_is(proto, "https");
    out->port = out->https ? 443 : 80;
  }
  if (http_parse_length(port, &number) == 0 && number > 0 && number <= UINT16_MAX)
    out->port = (uint16_t)number;
}

/* The values of all fields of that kind, joined; tells whether there was one. */
static bool put_joined(struct http_out *out, const struct http_scan *scan, enum http_kind kind) {
  bool any = false;
  for (size_t i = 0; i < scan->head.fields_count; i++) {
    if (scan->kinds[i] != kind || !scan->fields[i].value.size)
      continue;
    if (any)
      http_put(out, ", ", 2);
    http_put_text(out, scan->fields[i].value);
    any = true;
  }
  return any;
}

static void put_quoted(struct http_out *out, struct mdm_text text) {
  http_put(out, "\"", 1);
  http_put_text(out, text);
  http_put(out, "\"", 1);
}

void forwarded_write(struct http_out *out, const struct forwarded *f, const struct http_scan *scan, struct mdm_text host) {
  const char *proto = f->https ? "https" : "http";
  http_put_literal(out, "X-Forwarded-For: ");
  if (f->trusted && put_joined(out, scan, HTTP_X_FORWARDED_FOR))
    http_put(out, ", ", 2);
  http_put_literal(out, f->peer_text);
  http_put_literal(out, "\r\nX-Forwarded-Proto: ");
  http_put_literal(out, proto);
  http_put_literal(out, "\r\nX-Forwarded-Host: ");
  if (!f->trusted || !put_joined(out, scan, HTTP_X_FORWARDED_HOST))
    http_put_text(out, host);
  http_put_literal(out, "\r\nX-Forwarded-Port: ");
  http_put_number(out, f->port);
  http_put_literal(out, "\r\nForwarded: ");
  if (f->trusted && put_joined(out, scan, HTTP_FORWARDED))
    http_put(out, ", ", 2);
  http_put_literal(out, "for=");
  if (strchr(f->peer_text, ':')) {
    http_put_literal(out, "\"[");
    http_put_literal(out, f->peer_text);
    http_put_literal(out, "]\"");
  } else {
    http_put_literal(out, f->peer_text);
  }
  http_put_literal(out, ";host=");
  put_quoted(out, host);
  http_put_literal(out, ";proto=");
  http_put_literal(out, proto);
  http_put(out, "\r\n", 2);
}
