/* http_write.c: heads out of checked parts. */
#include "http_write.h"

#include <string.h>
#include <time.h>

void http_put(struct http_out *out, const char *data, size_t size) {
  if (size > out->capacity - out->size) {
    out->full = true;
    return;
  }
  memcpy(out->data + out->size, data, size);
  out->size += size;
}
void http_put_text(struct http_out *out, struct mdm_text text) {
  if (text.size)
    http_put(out, text.data, text.size);
}
void http_put_literal(struct http_out *out, const char *literal) {
  http_put(out, literal, strlen(literal));
}
void http_put_number(struct http_out *out, uint64_t number) {
  char digits[20];
  size_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  http_put(out, digits + at, sizeof digits - at);
}
void http_put_field(struct http_out *out, const char *name, struct mdm_text value) {
  http_put_literal(out, name);
  http_put(out, ": ", 2);
  http_put_text(out, value);
  http_put(out, "\r\n", 2);
}

static void put_pair(struct http_out *out, const struct http_field *field) {
  size_t need = field->name.size + field->value.size + 4;
  if (need > out->capacity - out->size) {
    out->full = true;
    return;
  }
  char *at = out->data + out->size;
  memcpy(at, field->name.data, field->name.size);
  at += field->name.size;
  *at++ = ':';
  *at++ = ' ';
  memcpy(at, field->value.data, field->value.size);
  at += field->value.size;
  *at++ = '\r';
  *at = '\n';
  out->size += need;
}

/* A field that the service's owner sets or removes replaces the sender's. What frames the message is never theirs to set. */
static bool name_is_ours(const char *name) {
  switch (http_kind_of(name, strlen(name))) {
  case HTTP_HOST: case HTTP_CONTENT_LENGTH: case HTTP_TRANSFER_ENCODING: case HTTP_CONNECTION: case HTTP_KEEP_ALIVE:
  case HTTP_PROXY_CONNECTION: case HTTP_TE: case HTTP_UPGRADE: case HTTP_HTTP2_SETTINGS: case HTTP_EXPECT: case HTTP_IMITATION:
    return true;
  case HTTP_OTHER: case HTTP_PROXY: case HTTP_PROXY_AUTHORIZATION: case HTTP_PROXY_AUTHENTICATE: case HTTP_AUTHORIZATION:
  case HTTP_COOKIE: case HTTP_FORWARDED: case HTTP_X_FORWARDED_FOR: case HTTP_X_FORWARDED_PROTO: case HTTP_X_FORWARDED_HOST:
  case HTTP_X_FORWARDED_PORT: case HTTP_X_FORWARDED: case HTTP_X_REAL_IP: case HTTP_WEBSOCKET_KEY: case HTTP_WEBSOCKET_VERSION:
  case HTTP_ACCEPT: case HTTP_DATE: case HTTP_LOCATION: case HTTP_NOMINATED:
    return false;
  }
  return true;
}

/* Spelled with '_' too, which many services cannot tell apart. */
static bool replaced(struct mdm_text name, const struct net_field *fields, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (http_name_same(name, fields[i].name))
      return true;
  return false;
}

static void put_options(struct http_out *out, const struct net_field *fields, size_t count) {
  for (size_t i = 0; i < count; i++) {
    struct mdm_text name = http_text(fields[i].name);
    if (!fields[i].value || !*fields[i].value || name_is_ours(fields[i].name) || !http_is_token(name) ||
        http_find_control(fields[i].value, strlen(fields[i].value)))
      continue;
    http_put_field(out, fields[i].name, http_text(fields[i].value));
  }
}

/* Takes the lines from `from` on that the owner sets or removes out again. */
static void drop_replaced(struct http_out *out, size_t from, const struct net_field *fields, size_t count) {
  size_t at = from;
  while (!out->full && at < out->size) {
    const char *line = out->data + at, *colon = memchr(line, ':', out->size - at), *lf = memchr(line, '\n', out->size - at);
    size_t size = (size_t)(lf - line) + 1;
    if (!replaced((struct mdm_text){.data = line, .size = (size_t)(colon - line)}, fields, count)) {
      at += size;
      continue;
    }
    memmove(out->data + at, out->data + at + size, out->size - at - size);
    out->size -= size;
  }
}

static bool stripped(struct mdm_text name, char *const *strip, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (http_name_same(name, strip[i]))
      return true;
  return false;
}

/* Which of the visitor's fields the origin gets as they are. */
static bool request_kind_passes(enum http_kind kind) {
  switch (kind) {
  case HTTP_OTHER: case HTTP_EXPECT: case HTTP_AUTHORIZATION: case HTTP_COOKIE: case HTTP_WEBSOCKET_KEY:
  case HTTP_WEBSOCKET_VERSION: case HTTP_ACCEPT: case HTTP_DATE: case HTTP_LOCATION:
    return true;
  case HTTP_HOST: case HTTP_CONTENT_LENGTH: case HTTP_TRANSFER_ENCODING: case HTTP_CONNECTION: case HTTP_KEEP_ALIVE:
  case HTTP_PROXY_CONNECTION: case HTTP_PROXY: case HTTP_PROXY_AUTHORIZATION: case HTTP_PROXY_AUTHENTICATE: case HTTP_TE:
  case HTTP_UPGRADE: case HTTP_HTTP2_SETTINGS: case HTTP_FORWARDED: case HTTP_X_FORWARDED_FOR: case HTTP_X_FORWARDED_PROTO:
  case HTTP_X_FORWARDED_HOST: case HTTP_X_FORWARDED_PORT: case HTTP_X_FORWARDED: case HTTP_X_REAL_IP: case HTTP_NOMINATED:
  case HTTP_IMITATION:
    return false;
  }
  return false;
}

static struct mdm_text host_for_origin(const struct http_request_rewrite *r) {
  if (r->options && r->options->rewrite_host != NET_REWRITE_NONE && r->options->rewrite_name && *r->options->rewrite_name)
    return http_text(r->options->rewrite_name);
  return r->request->host;
}

static void put_connection(struct http_out *out, const struct http_request_rewrite *r) {
  if (r->upgrade)
    http_put_field(out, "Upgrade", r->request->upgrade);
  if (r->request->te_trailers)
    http_put_literal(out, "TE: trailers\r\n");
  if (r->upgrade)
    http_put_literal(out, r->request->te_trailers ? "Connection: Upgrade, TE\r\n" : "Connection: Upgrade\r\n");
  else if (r->request->te_trailers)
    http_put_literal(out, "Connection: TE\r\n");
}

void http_write_request(struct http_out *out, const struct http_request_rewrite *r) {
  const struct http_head *head = &r->scan->head;
  const struct net_service_options *options = r->options;
  size_t headers = options ? options->headers_count : 0;
  http_put_text(out, head->method);
  http_put_literal(out, r->request->path_slash ? " /" : " ");
  http_put_text(out, r->request->path);
  http_put_literal(out, " HTTP/1.1\r\n");
  http_put_field(out, "Host", host_for_origin(r));
  for (size_t i = 0; i < head->fields_count; i++) {
    const struct http_field *field = &head->fields[i];
    if (!request_kind_passes((enum http_kind)r->scan->kinds[i]) || (headers && replaced(field->name, options->headers, headers)) ||
        (r->strip_count && stripped(field->name, r->strip, r->strip_count)))
      continue;
    put_pair(out, field);
  }
  if (r->request->framing == HTTP_FRAMING_CHUNKED) {
    http_put_literal(out, "Transfer-Encoding: chunked\r\n");
  } else if (r->request->has_length) {
    http_put_literal(out, "Content-Length: ");
    http_put_number(out, r->request->length);
    http_put(out, "\r\n", 2);
  }
  put_connection(out, r);
  size_t forwarded = out->size;
  forwarded_write(out, r->forwarded, r->scan, r->request->host);
  if (headers) {
    drop_replaced(out, forwarded, options->headers, headers);
    put_options(out, options->headers, headers);
  }
  for (size_t i = 0; i < r->added_count; i++)
    put_pair(out, &r->added[i]);
  http_put(out, "\r\n", 2);
}

static bool answer_kind_passes(enum http_kind kind) {
  switch (kind) {
  case HTTP_CONTENT_LENGTH: case HTTP_TRANSFER_ENCODING: case HTTP_CONNECTION: case HTTP_KEEP_ALIVE: case HTTP_PROXY_CONNECTION:
  case HTTP_PROXY_AUTHENTICATE: case HTTP_TE: case HTTP_UPGRADE: case HTTP_HTTP2_SETTINGS: case HTTP_NOMINATED:
    return false;
  case HTTP_OTHER: case HTTP_HOST: case HTTP_PROXY: case HTTP_PROXY_AUTHORIZATION: case HTTP_EXPECT: case HTTP_AUTHORIZATION:
  case HTTP_COOKIE: case HTTP_FORWARDED: case HTTP_X_FORWARDED_FOR: case HTTP_X_FORWARDED_PROTO: case HTTP_X_FORWARDED_HOST:
  case HTTP_X_FORWARDED_PORT: case HTTP_X_FORWARDED: case HTTP_X_REAL_IP: case HTTP_WEBSOCKET_KEY: case HTTP_WEBSOCKET_VERSION:
  case HTTP_ACCEPT: case HTTP_DATE: case HTTP_LOCATION: case HTTP_IMITATION:
    return true;
  }
  return false;
}

static void put_answer_framing(struct http_out *out, const struct http_answer_rewrite *r) {
  switch (r->framing) {
  case HTTP_FRAMING_CHUNKED:
    http_put_literal(out, "Transfer-Encoding: chunked\r\n");
    return;
  case HTTP_FRAMING_NONE: case HTTP_FRAMING_LENGTH:
    if (!r->answer->has_length || r->scan->head.status < 200 || r->scan->head.status == 204)
      return;
    http_put_literal(out, "Content-Length: ");
    http_put_number(out, r->answer->length);
    http_put(out, "\r\n", 2);
    return;
  case HTTP_FRAMING_CLOSE:
    return;
  }
}

void http_write_answer(struct http_out *out, const struct http_answer_rewrite *r) {
  const struct http_head *head = &r->scan->head;
  size_t headers = r->options ? r->options->response_headers_count : 0;
  bool dated = false;
  http_put_literal(out, "HTTP/1.1 ");
  http_put_number(out, (uint64_t)head->status);
  http_put(out, " ", 1);
  http_put_text(out, head->reason);
  http_put(out, "\r\n", 2);
  for (size_t i = 0; i < head->fields_count; i++) {
    const struct http_field *field = &head->fields[i];
    if (!answer_kind_passes((enum http_kind)r->scan->kinds[i]) ||
        (headers && replaced(field->name, r->options->response_headers, headers)))
      continue;
    dated = dated || r->scan->kinds[i] == HTTP_DATE;
    put_pair(out, field);
  }
  if (head->status == 101) {
    http_put_field(out, "Upgrade", r->answer->upgrade);
    http_put_literal(out, "Connection: Upgrade\r\n");
  } else if (head->status >= 200) {
    if (!dated && r->date)
      http_put_field(out, "Date", http_text(r->date));
    put_answer_framing(out, r);
    if (r->close)
      http_put_literal(out, "Connection: close\r\n");
    else if (r->keep_alive)
      http_put_literal(out, "Connection: keep-alive\r\n");
  }
  if (headers && head->status >= 200)
    put_options(out, r->options->response_headers, headers);
  http_put(out, "\r\n", 2);
}

void http_write_trailers(struct http_out *out, const struct http_scan *trailers) {
  for (size_t i = 0; i < trailers->head.fields_count; i++)
    if (trailers->kinds[i] == HTTP_OTHER)
      put_pair(out, &trailers->fields[i]);
  http_put(out, "\r\n", 2);
}

void http_date(char out[static HTTP_DATE_SIZE], uint64_t unix_s) {
  static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  time_t when = (time_t)unix_s;
  struct tm tm;
  if (!gmtime_r(&when, &tm))
    memset(&tm, 0, sizeof tm);
  int year = tm.tm_year + 1900;
  const char *day = days + 3 * tm.tm_wday, *month = months + 3 * tm.tm_mon;
  char text[HTTP_DATE_SIZE] = "Ddd, 00 Mmm 0000 00:00:00 GMT";
  memcpy(text, day, 3);
  memcpy(text + 8, month, 3);
  const struct {
    int at, value;
  } pairs[] = {{5, tm.tm_mday}, {12, year / 100}, {14, year % 100}, {17, tm.tm_hour}, {20, tm.tm_min}, {23, tm.tm_sec}};
  for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
    text[pairs[i].at] = (char)('0' + pairs[i].value / 10 % 10);
    text[pairs[i].at + 1] = (char)('0' + pairs[i].value % 10);
  }
  memcpy(out, text, HTTP_DATE_SIZE);
}
