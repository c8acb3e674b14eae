/* http_message.c: the meaning of a request's head. */
#include "http_message.h"

#include <string.h>

#include "http_parser.h"

static int refuse(const char **why, int status, const char *sentence) {
  *why = sentence;
  return status;
}

struct method {
  const char *name;
  bool idempotent;
};
static const struct method methods[] = {
    {"GET", true}, {"HEAD", true}, {"OPTIONS", true}, {"TRACE", true}, {"PUT", true}, {"DELETE", true},
};

static bool text_equal(struct mdm_text a, const char *literal) {
  size_t size = strlen(literal);
  return a.size == size && memcmp(a.data, literal, size) == 0;
}

static void judge_method(struct http_request *out, struct mdm_text method) {
  for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
    if (!text_equal(method, methods[i].name))
      continue;
    out->idempotent = methods[i].idempotent;
    out->get = i == 0;
    out->head = i == 1;
    out->options = i == 2;
    return;
  }
}

/* Bytes of a host that mean something else in a URL or a header. */
static const bool host_stops[128] = {
    ['/'] = true, ['?'] = true, ['#'] = true, ['@'] = true, ['\\'] = true, [','] = true, ['"'] = true, ['<'] = true, ['>'] = true,
    ['['] = true, [']'] = true, ['{'] = true, ['}'] = true, ['|'] = true, ['^'] = true,  ['`'] = true, [0x7f] = true,
};

/* host [ ":" port ]: no user information, nothing that a URL or a header would read differently. names_route() judges the name itself. */
static bool host_valid(struct mdm_text host) {
  const char *p = host.data, *end = host.data + host.size;
  if (!host.size)
    return false;
  if (*p == '[') {
    const char *close = memchr(p, ']', host.size);
    if (!close || close == p + 1)
      return false;
    for (p++; p < close; p++)
      if (!strchr("0123456789abcdefABCDEF:.", *p))
        return false;
    p = close + 1;
  } else {
    for (; p < end && *p != ':'; p++)
      if ((uint8_t)*p <= 0x20 || ((uint8_t)*p < 0x80 && host_stops[(uint8_t)*p]))
        return false;
    if (p == host.data)
      return false;
  }
  if (p == end)
    return true;
  if (*p++ != ':' || end - p > 5)
    return false;
  for (; p < end; p++)
    if (*p < '0' || *p > '9')
      return false;
  return true;
}

/* Host and authority agree, also when one of them spells out the scheme's own port. */
static bool host_agrees(struct mdm_text host, struct mdm_text authority, const char *port) {
  size_t suffix = strlen(port);
  struct mdm_text *longer = host.size > authority.size ? &host : &authority;
  struct mdm_text *shorter = longer == &host ? &authority : &host;
  if (longer->size == shorter->size + suffix && memcmp(longer->data + shorter->size, port, suffix) == 0)
    longer->size = shorter->size;
  return http_text_same(host, authority);
}

static bool take_prefix(struct mdm_text *text, const char *prefix) {
  struct mdm_text head = {.data = text->data, .size = strlen(prefix)};
  if (text->size < head.size || !http_text_is(head, prefix))
    return false;
  text->data += head.size;
  text->size -= head.size;
  return true;
}

static int judge_absolute(struct http_request *out, const struct http_head *head, const char **why) {
  struct mdm_text rest = head->target;
  const char *port = ":80";
  if (!take_prefix(&rest, "http://")) {
    if (!take_prefix(&rest, "https://"))
      return refuse(why, 400, "the request target is neither a path nor an http URL");
    port = ":443";
  }
  size_t size = 0;
  while (size < rest.size && !strchr("/?#", rest.data[size]))
    size++;
  struct mdm_text authority = {.data = rest.data, .size = size};
  if (!host_valid(authority))
    return refuse(why, 400, "the request target names no valid host");
  if (out->host.size && !host_agrees(out->host, authority, port))
    return refuse(why, 400, "Host and the request target name different hosts");
  if (!out->host.size)
    out->host = authority;
  out->path = (struct mdm_text){.data = rest.data + size, .size = rest.size - size};
  if (!out->path.size && out->options)
    out->path = http_text("*");
  else
    out->path_slash = !out->path.size || out->path.data[0] != '/';
  return 0;
}

static int judge_target(struct http_request *out, const struct http_head *head, const char **why) {
  if (text_equal(head->method, "CONNECT"))
    return refuse(why, 405, "this server is no forward proxy: CONNECT is not offered");
  if (head->target.data[0] == '/') {
    out->path = head->target;
    return 0;
  }
  if (text_equal(head->target, "*")) {
    out->path = head->target;
    return out->options ? 0 : refuse(why, 400, "the target * belongs to OPTIONS only");
  }
  return judge_absolute(out, head, why);
}

/* Fields that Connection must not take away: what routing, framing, authentication and the origin's trust rest on. */
static bool kind_protected(enum http_kind kind) {
  switch (kind) {
  case HTTP_HOST: case HTTP_CONTENT_LENGTH: case HTTP_TRANSFER_ENCODING: case HTTP_CONNECTION: case HTTP_AUTHORIZATION:
  case HTTP_COOKIE: case HTTP_FORWARDED: case HTTP_X_FORWARDED_FOR: case HTTP_X_FORWARDED_PROTO: case HTTP_X_FORWARDED_HOST:
  case HTTP_X_FORWARDED_PORT: case HTTP_X_FORWARDED: case HTTP_X_REAL_IP: case HTTP_EXPECT: case HTTP_UPGRADE:
  case HTTP_WEBSOCKET_KEY: case HTTP_WEBSOCKET_VERSION: case HTTP_DATE: case HTTP_LOCATION: case HTTP_IMITATION:
    return true;
  case HTTP_OTHER: case HTTP_KEEP_ALIVE: case HTTP_PROXY_CONNECTION: case HTTP_PROXY: case HTTP_PROXY_AUTHORIZATION:
  case HTTP_PROXY_AUTHENTICATE: case HTTP_TE: case HTTP_HTTP2_SETTINGS: case HTTP_ACCEPT: case HTTP_NOMINATED:
    return false;
  }
  return false;
}

/* Each name is compared with each field, so that a head full of names would cost milliseconds. Nobody needs more names than fields. */
#define CONNECTION_NAMES_MAX HTTP_FIELDS_MAX
#define CONNECTION_BYTES_MAX 4096u
struct connection {
  bool close, keep_alive, upgrade, over;
  size_t names, bytes;
};

/* End-to-end content fields, too, that a visitor has no business to hide from the origin. */
static bool name_protected(struct mdm_text name) {
  return http_text_is(name, "content-type") || http_text_is(name, "content-encoding") || http_text_is(name, "cache-control") ||
         http_text_is(name, "origin") || http_text_is(name, "set-cookie");
}

static void judge_connection(struct connection *out, struct http_scan *scan, struct mdm_text value) {
  struct mdm_text token;
  out->bytes += value.size;
  out->over = out->over || out->bytes > CONNECTION_BYTES_MAX;
  while (!out->over && http_list_next(&value, &token)) {
    if (++out->names > CONNECTION_NAMES_MAX) {
      out->over = true;
    } else if (http_text_is(token, "close")) {
      out->close = true;
    } else if (http_text_is(token, "keep-alive")) {
      out->keep_alive = true;
    } else if (http_text_is(token, "upgrade")) {
      out->upgrade = true;
    } else if (http_kind_of(token.data, token.size) != HTTP_TE && !name_protected(token)) {
      for (size_t i = 0; i < scan->head.fields_count; i++)
        if (!kind_protected((enum http_kind)scan->kinds[i]) && http_text_same(scan->fields[i].name, token))
          scan->kinds[i] = HTTP_NOMINATED;
    }
  }
}

/* What both directions have in common. */
struct framing {
  size_t lengths, codings, hosts, upgrades;
  uint64_t length;
  struct mdm_text length_text, coding, host, upgrade;
  struct connection connection;
};

static void collect(struct framing *out, struct http_scan *scan) {
  for (size_t i = 0; i < scan->head.fields_count; i++) {
    struct mdm_text value = scan->fields[i].value;
    switch ((enum http_kind)scan->kinds[i]) {
    case HTTP_HOST:
      out->hosts++;
      out->host = value;
      break;
    case HTTP_CONTENT_LENGTH:
      out->lengths++;
      out->length_text = value;
      break;
    case HTTP_TRANSFER_ENCODING:
      out->codings++;
      out->coding = value;
      break;
    case HTTP_UPGRADE:
      out->upgrades++;
      out->upgrade = value;
      break;
    case HTTP_CONNECTION:
      judge_connection(&out->connection, scan, value);
      break;
    case HTTP_OTHER: case HTTP_KEEP_ALIVE: case HTTP_PROXY_CONNECTION: case HTTP_PROXY: case HTTP_PROXY_AUTHORIZATION:
    case HTTP_PROXY_AUTHENTICATE: case HTTP_TE: case HTTP_HTTP2_SETTINGS: case HTTP_EXPECT: case HTTP_AUTHORIZATION:
    case HTTP_COOKIE: case HTTP_FORWARDED: case HTTP_X_FORWARDED_FOR: case HTTP_X_FORWARDED_PROTO: case HTTP_X_FORWARDED_HOST:
    case HTTP_X_FORWARDED_PORT: case HTTP_X_FORWARDED: case HTTP_X_REAL_IP: case HTTP_WEBSOCKET_KEY: case HTTP_WEBSOCKET_VERSION:
    case HTTP_ACCEPT: case HTTP_DATE: case HTTP_LOCATION: case HTTP_NOMINATED: case HTTP_IMITATION:
      break;
    }
  }
}

/* 0, 400 or 501: the faults that a request and an answer share. */
static int judge_framing(struct framing *f, uint8_t minor, const char **why) {
  if (f->connection.over)
    return refuse(why, 400, "too many names in Connection");
  if (f->lengths > 1)
    return refuse(why, 400, "more than one Content-Length");
  if (f->codings > 1)
    return refuse(why, 400, "more than one Transfer-Encoding");
  if (f->lengths && f->codings)
    return refuse(why, 400, "Content-Length beside Transfer-Encoding");
  if (f->lengths && http_parse_length(f->length_text, &f->length) != 0)
    return refuse(why, 400, "Content-Length is no number");
  if (f->codings && minor == 0)
    return refuse(why, 400, "Transfer-Encoding in HTTP/1.0");
  if (f->codings && !http_text_is(f->coding, "chunked"))
    return refuse(why, f->coding.size ? 501 : 400, "a Transfer-Encoding other than chunked");
  return 0;
}

static int judge_wishes(struct http_request *out, const struct http_scan *scan, const char **why) {
  size_t authorizations = 0;
  for (size_t i = 0; i < scan->head.fields_count; i++) {
    struct mdm_text value = scan->fields[i].value;
    if (scan->kinds[i] == HTTP_EXPECT) {
      if (!http_text_is(value, "100-continue"))
        return refuse(why, 417, "an expectation other than 100-continue");
      out->expect_continue = scan->head.minor == 1 && out->framing != HTTP_FRAMING_NONE;
    } else if (scan->kinds[i] == HTTP_TE) {
      out->te_trailers = out->te_trailers || http_list_has(value, "trailers");
    } else if (scan->kinds[i] == HTTP_AUTHORIZATION) {
      if (authorizations++)
        return refuse(why, 400, "more than one Authorization");
      out->authorization = value;
    }
  }
  return 0;
}

/* 16 bytes in base64: 22 digits and "==". */
static bool websocket_key_valid(struct mdm_text key) {
  if (key.size != 24 || key.data[22] != '=' || key.data[23] != '=')
    return false;
  for (size_t i = 0; i < 22; i++) {
    char c = key.data[i];
    if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/'))
      return false;
  }
  return true;
}

static void judge_upgrade(struct http_request *out, const struct framing *f, const struct http_scan *scan) {
  size_t keys = 0, versions = 0;
  if (f->upgrades != 1 || !f->connection.upgrade || scan->head.minor != 1 || !f->upgrade.size)
    return;
  out->upgrade = f->upgrade;
  if (!http_text_is(f->upgrade, "websocket") || !out->get || out->framing != HTTP_FRAMING_NONE)
    return;
  bool version_13 = false;
  for (size_t i = 0; i < scan->head.fields_count; i++) {
    if (scan->kinds[i] == HTTP_WEBSOCKET_KEY) {
      keys++;
      out->websocket_key = scan->fields[i].value;
    } else if (scan->kinds[i] == HTTP_WEBSOCKET_VERSION) {
      versions++;
      version_13 = text_equal(scan->fields[i].value, "13");
    }
  }
  out->websocket = keys == 1 && versions == 1 && version_13 && websocket_key_valid(out->websocket_key);
}

static bool persists(const struct connection *connection, uint8_t minor) {
  return !connection->close && (minor == 1 || connection->keep_alive);
}

int http_request_judge(struct http_request *out, struct http_scan *scan, const char **why) {
  struct framing f = {0};
  *out = (struct http_request){0};
  judge_method(out, scan->head.method);
  collect(&f, scan);
  if (f.hosts > 1)
    return refuse(why, 400, "more than one Host");
  if (!f.hosts && scan->head.minor == 1)
    return refuse(why, 400, "no Host");
  if (f.hosts && !host_valid(f.host))
    return refuse(why, 400, "Host names no valid host");
  out->host = f.host;
  int status = judge_framing(&f, scan->head.minor, why);
  if (!status)
    status = judge_target(out, &scan->head, why);
  if (status)
    return status;
  if (f.codings)
    out->framing = HTTP_FRAMING_CHUNKED;
  else if (f.lengths && f.length)
    out->framing = HTTP_FRAMING_LENGTH;
  out->length = f.length;
  out->has_length = f.lengths != 0;
  out->keep_alive = persists(&f.connection, scan->head.minor);
  judge_upgrade(out, &f, scan);
  status = judge_wishes(out, scan, why);
  if (status)
    return status;

  struct http_parsed second;
  status = http_parser_request(&second, scan->base + scan->start, scan->size - scan->start);
  if (status)
    return refuse(why, status, status == 501 ? "an unknown method" : "the head is malformed");
  if (second.chunked != (f.codings != 0) || second.has_length != (f.lengths != 0) ||
      (f.lengths && second.length != f.length) || second.minor != scan->head.minor)
    return refuse(why, 400, "the head can be read in two ways");
  return 0;
}

static int fault(const char **why, const char *sentence) {
  *why = sentence;
  return -1;
}

int http_answer_judge(struct http_answer *out, struct http_scan *scan, bool to_head, const char **why) {
  struct framing f = {0};
  int code = scan->head.status;
  *out = (struct http_answer){0};
  collect(&f, scan);
  if (judge_framing(&f, scan->head.minor, why))
    return -1;
  out->length = f.length;
  out->has_length = f.lengths != 0;
  out->keep_alive = persists(&f.connection, scan->head.minor);
  if (code == 101 && f.upgrades == 1 && f.connection.upgrade)
    out->upgrade = f.upgrade;
  bool bodyless = to_head || code < 200 || code == 204 || code == 304;
  if (bodyless)
    out->framing = HTTP_FRAMING_NONE;
  else if (f.codings)
    out->framing = HTTP_FRAMING_CHUNKED;
  else if (f.lengths)
    out->framing = f.length ? HTTP_FRAMING_LENGTH : HTTP_FRAMING_NONE;
  else
    out->framing = HTTP_FRAMING_CLOSE;
  out->tainted = (code < 200 || code == 204) && (f.codings || f.length);

  struct http_parsed second;
  if (http_parser_answer(&second, scan->base, scan->size) != 0)
    return fault(why, "the head is malformed");
  if (second.chunked != (f.codings != 0) || second.has_length != (f.lengths != 0) ||
      (f.lengths && second.length != f.length) || second.status != code)
    return fault(why, "the head can be read in two ways");
  return 0;
}

void http_trailers_judge(struct http_scan *scan) {
  for (size_t i = 0; i < scan->head.fields_count; i++)
    if (scan->kinds[i] != HTTP_OTHER || name_protected(scan->fields[i].name) || http_text_is(scan->fields[i].name, "content-range") ||
        http_text_is(scan->fields[i].name, "www-authenticate") || http_text_is(scan->fields[i].name, "content-location") ||
        http_text_is(scan->fields[i].name, "trailer"))
      scan->kinds[i] = HTTP_NOMINATED;
}
