/* access_format.c: one exchange as one line of the access log. Pure. Whatever a visitor sent is escaped: a line is printable ASCII. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "access_log.h"
#include "address.h"
#include "http_head.h"

struct line {
  char *out;
  size_t capacity, size; /* what does not fit is cut */
};
enum escape { ESCAPE_HEX, ESCAPE_JSON };

/* Of one text of a visitor. Escaped, a byte takes at most six in JSON and four in hex: with all texts at these limits a line still fits. */
#define FIELD_MAX 1024u
#define TARGET_MAX 4096u
_Static_assert(6 * (TARGET_MAX + 8 * FIELD_MAX) + 2048 <= ACCESS_LOG_LINE_MAX, "a line holds all of it");

static void put(struct line *l, const char *text, size_t size) {
  size_t room = l->capacity - l->size;
  if (size > room)
    size = room;
  memcpy(l->out + l->size, text, size);
  l->size += size;
}

__attribute__((format(printf, 2, 3))) static void print(struct line *l, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  int size = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (size > 0)
    put(l, text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
}

static void put_escaped(struct line *l, enum escape how, const char *text, size_t size, size_t limit) {
  if (size > limit)
    size = limit;
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
      put(l, text + i, 1);
    else if (how == ESCAPE_JSON && (c == '"' || c == '\\'))
      print(l, "\\%c", c);
    else
      print(l, how == ESCAPE_JSON ? "\\u%04x" : "\\x%02x", c);
  }
}

static struct mdm_text field(const struct exchange_report *report, const char *name) {
  const struct http_field *found = report->request == NULL ? NULL : http_head_find(report->request, name);
  return found == NULL ? (struct mdm_text){0} : found->value;
}

/* ---- combined: ADDRESS - - [TIME] "REQUEST" STATUS BYTES "REFERER" "AGENT" ---- */
static void put_quoted(struct line *l, struct mdm_text text) {
  put(l, " \"", 2);
  if (text.size == 0)
    put(l, "-", 1);
  put_escaped(l, ESCAPE_HEX, text.data, text.size, FIELD_MAX);
  put(l, "\"", 1);
}

static void combined(struct line *l, const struct exchange_report *r) {
  static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  char address[NET_ADDRESS_TEXT];
  time_t seconds = (time_t)(r->started_wall_ms / 1000);
  struct tm tm;
  gmtime_r(&seconds, &tm);
  print(l, "%s - - [%02d/%s/%04d:%02d:%02d:%02d +0000] \"", net_address_text(address, &r->client, false), tm.tm_mday, months[tm.tm_mon],
        tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
  if (r->request == NULL) {
    put(l, "-", 1);
  } else {
    put_escaped(l, ESCAPE_HEX, r->request->method.data, r->request->method.size, FIELD_MAX);
    put(l, " ", 1);
    put_escaped(l, ESCAPE_HEX, r->request->target.data, r->request->target.size, TARGET_MAX);
    print(l, " HTTP/1.%u", r->request->minor);
  }
  print(l, "\" %03d %llu", r->status, (unsigned long long)r->response_bytes);
  put_quoted(l, field(r, "referer"));
  put_quoted(l, field(r, "user-agent"));
}

/* ---- JSON ---- */
static void member(struct line *l, const char *name, const char *text, size_t size, size_t limit) {
  print(l, ",\"%s\":\"", name);
  put_escaped(l, ESCAPE_JSON, text, size, limit);
  put(l, "\"", 1);
}

static void member_text(struct line *l, const char *name, const char *text) {
  if (text != NULL && text[0] != '\0')
    member(l, name, text, strlen(text), FIELD_MAX);
}

static void json(struct line *l, const struct exchange_report *r) {
  char address[NET_ADDRESS_TEXT];
  time_t seconds = (time_t)(r->started_wall_ms / 1000);
  struct mdm_text text;
  struct tm tm;
  gmtime_r(&seconds, &tm);
  print(l, "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03uZ\",\"id\":%llu,\"visitor\":%llu,\"client\":\"%s\"", tm.tm_year + 1900, tm.tm_mon + 1,
        tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(r->started_wall_ms % 1000), (unsigned long long)r->id,
        (unsigned long long)r->visitor_id, net_address_text(address, &r->client, false));
  member_text(l, "scheme", r->scheme);
  member_text(l, "host", r->host);
  member_text(l, "user", r->user);
  member_text(l, "service", r->service);
  if (r->request != NULL) {
    member(l, "method", r->request->method.data, r->request->method.size, FIELD_MAX);
    member(l, "target", r->request->target.data, r->request->target.size, TARGET_MAX);
    print(l, ",\"protocol\":\"HTTP/1.%u\"", r->request->minor);
  }
  print(l, ",\"status\":%d", r->status);
  member_text(l, "error", r->error);
  print(l, ",\"request_bytes\":%llu,\"response_bytes\":%llu,\"seconds\":%.6f", (unsigned long long)r->request_bytes,
        (unsigned long long)r->response_bytes, r->end_us > r->started_us ? (double)(r->end_us - r->started_us) / 1e6 : 0.0);
  if (r->head_us > r->started_us)
    print(l, ",\"head_seconds\":%.6f", (double)(r->head_us - r->started_us) / 1e6);
  text = field(r, "referer");
  if (text.size > 0)
    member(l, "referer", text.data, text.size, FIELD_MAX);
  text = field(r, "user-agent");
  if (text.size > 0)
    member(l, "user_agent", text.data, text.size, FIELD_MAX);
  put(l, "}", 1);
}

size_t access_log_format(char *out, size_t capacity, enum access_format format, const struct exchange_report *report) {
  struct line l = {.out = out, .capacity = capacity - 1};
  switch (format) {
  case ACCESS_COMBINED:
    combined(&l, report);
    break;
  case ACCESS_JSON:
    json(&l, report);
    break;
  }
  out[l.size++] = '\n';
  return l.size;
}
