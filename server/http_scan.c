/* http_scan.c: lines of a head, checked byte by byte. */
#include "http_scan.h"

#include <string.h>

void http_scan_init(struct http_scan *scan, enum http_scan_kind kind, const struct http_scan_limits *limits) {
  scan->kind = kind;
  scan->limits = *limits;
  if (scan->limits.fields > HTTP_FIELDS_MAX)
    scan->limits.fields = HTTP_FIELDS_MAX;
  scan->head = (struct http_head){.fields = scan->fields};
  scan->line = scan->searched = scan->start = scan->size = 0;
  scan->blanks = 0;
  scan->begun = kind == HTTP_SCAN_TRAILERS;
  scan->base = NULL;
}

static void move_text(struct mdm_text *text, const char *from, const char *to) {
  if (text->data)
    text->data = to + (text->data - from);
}

void http_scan_rebase(struct http_scan *scan, const char *data) {
  if (scan->base == data)
    return;
  if (scan->base) {
    move_text(&scan->head.method, scan->base, data);
    move_text(&scan->head.target, scan->base, data);
    move_text(&scan->head.reason, scan->base, data);
    for (size_t i = 0; i < scan->head.fields_count; i++) {
      move_text(&scan->fields[i].name, scan->base, data);
      move_text(&scan->fields[i].value, scan->base, data);
    }
  }
  scan->base = data;
}

/* "HTTP/1.0" or "HTTP/1.1". Another version of HTTP is 505, anything else 400. */
static int scan_version(struct http_scan *scan, const char *text, size_t size) {
  if (size != 8 || memcmp(text, "HTTP/", 5) != 0 || text[6] != '.' || text[5] < '0' || text[5] > '9' || text[7] < '0' ||
      text[7] > '9')
    return 400;
  if (text[5] != '1' || text[7] > '1')
    return 505;
  scan->head.minor = (uint8_t)(text[7] - '0');
  return 0;
}

/* method SP target SP version */
static int scan_request_line(struct http_scan *scan, const char *line, size_t size) {
  const char *space = http_find_untoken(line, size);
  if (!space || *space != ' ' || space == line)
    return 400;
  size_t method = (size_t)(space - line);
  const char *target = space + 1, *end = line + size;
  const char *after = target;
  while (after < end && (uint8_t)*after > 0x20 && (uint8_t)*after < 0x7f)
    after++;
  if (after == target || after == end || *after != ' ')
    return 400;
  int status = scan_version(scan, after + 1, (size_t)(end - after - 1));
  if (status)
    return status;
  if (method > HTTP_METHOD_MAX)
    return 501;
  scan->head.method = (struct mdm_text){.data = line, .size = method};
  scan->head.target = (struct mdm_text){.data = target, .size = (size_t)(after - target)};
  return scan->head.target.size > scan->limits.target ? 414 : 0;
}

/* version SP 3DIGIT SP [ reason ]; the last space may be missing with the reason, as many origins do it. */
static int scan_status_line(struct http_scan *scan, const char *line, size_t size) {
  if (size < 12 || line[8] != ' ' || scan_version(scan, line, 8) != 0)
    return 400;
  int status = 0;
  for (size_t i = 9; i < 12; i++) {
    if (line[i] < '0' || line[i] > '9')
      return 400;
    status = status * 10 + (line[i] - '0');
  }
  if (status < 100 || status > 599 || (size > 12 && line[12] != ' ') || http_find_control(line, size))
    return 400;
  scan->head.status = status;
  scan->head.reason = (struct mdm_text){.data = line + (size > 12 ? 13 : 12), .size = size > 12 ? size - 13 : 0};
  return 0;
}

static int scan_field(struct http_scan *scan, const char *line, size_t size) {
  const char *colon = http_find_untoken(line, size);
  if (!colon || colon == line || *colon != ':')
    return 400; /* no colon, an empty name, a folded line, a blank before the colon */
  size_t name = (size_t)(colon - line);
  struct mdm_text value = http_trim((struct mdm_text){.data = colon + 1, .size = size - name - 1});
  if (http_find_control(value.data, value.size))
    return 400;
  if (scan->head.fields_count >= scan->limits.fields)
    return 431;
  size_t i = scan->head.fields_count++;
  scan->fields[i] = (struct http_field){.name = {.data = line, .size = name}, .value = value};
  scan->kinds[i] = (uint8_t)http_kind_of(line, name);
  return 0;
}

/* One line without its CRLF. */
static int scan_line(struct http_scan *scan, const char *line, size_t size, size_t next) {
  if (scan->begun) {
    if (size)
      return scan_field(scan, line, size);
    scan->size = (uint32_t)next;
    return HTTP_SCAN_DONE;
  }
  if (!size) {
    if (scan->kind != HTTP_SCAN_REQUEST || ++scan->blanks > HTTP_BLANK_LINES_MAX)
      return 400;
    scan->start = (uint32_t)next;
    return 0;
  }
  scan->begun = true;
  return scan->kind == HTTP_SCAN_REQUEST ? scan_request_line(scan, line, size) : scan_status_line(scan, line, size);
}

/* The line has no end yet: is it hopeless already? */
static int scan_unfinished(const struct http_scan *scan, const char *data, size_t size) {
  size_t length = size - scan->line;
  if (!scan->begun && scan->kind == HTTP_SCAN_REQUEST) {
    if (length && data[scan->line] != '\r' && !http_is_tchar((uint8_t)data[scan->line]))
      return 400; /* a TLS handshake, say: answer now, not after the timeout */
    if (length > (size_t)scan->limits.target + HTTP_METHOD_MAX + sizeof " HTTP/1.1\r")
      return 414;
  }
  return size >= scan->limits.bytes ? 431 : HTTP_SCAN_MORE;
}

int http_scan_run(struct http_scan *scan, const char *data, size_t size) {
  http_scan_rebase(scan, data);
  for (;;) {
    const char *from = data + scan->searched;
    const char *lf = size > scan->searched ? memchr(from, '\n', size - scan->searched) : NULL;
    if (!lf) {
      scan->searched = (uint32_t)size;
      return scan_unfinished(scan, data, size);
    }
    const char *line = data + scan->line;
    size_t next = (size_t)(lf - data) + 1;
    if (next > scan->limits.bytes)
      return scan->begun ? 431 : 414;
    if (lf == line || lf[-1] != '\r')
      return 400;
    int status = scan_line(scan, line, (size_t)(lf - line) - 1, next);
    if (status)
      return status;
    scan->line = scan->searched = (uint32_t)next;
  }
}
