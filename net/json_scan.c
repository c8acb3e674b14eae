/* json_scan.c: a recursive walk over JSON (RFC 8259), bounded in depth. cJSON is more lenient and knows no lines. */
#include "json_scan.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "log.h"
#include "utf8.h"

#define NUMBER_MAX 63u /* what cJSON reads of a number */

struct walk {
  const uint8_t *text;
  size_t size, at;
  unsigned line;
  size_t capacity; /* of scan->lines */
  struct json_scan *scan;
};

static int walk_value(struct walk *walk, unsigned depth, unsigned line);

/* ---- errors ---- */
__attribute__((format(printf, 2, 3))) static int walk_fail(struct walk *walk, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(walk->scan->error, sizeof walk->scan->error, format, arguments);
  va_end(arguments);
  walk->scan->error_line = walk->line;
  return UV_EINVAL;
}

/* What stands here, for a message. */
static const char *walk_found(const struct walk *walk, char out[static 24]) {
  uint32_t unused;
  if (walk->at == walk->size) {
    return "the end of the text";
  }
  const size_t length = net_utf8_next(walk->text + walk->at, walk->size - walk->at, &unused);
  char escaped[16];
  net_log_escape(escaped, sizeof escaped, walk->text + walk->at, length ? length : 1);
  snprintf(out, 24, "'%s'", escaped);
  return out;
}

static int walk_expected(struct walk *walk, const char *expected) {
  char found[24];
  const uint8_t here = walk->at < walk->size ? walk->text[walk->at] : 0;
  if (here == '/' || here == '#') {
    return walk_fail(walk, "expected %s, found %s: JSON has no comments", expected, walk_found(walk, found));
  }
  if (here == '\'') {
    return walk_fail(walk, "expected %s, found %s: texts stand in double quotes", expected, walk_found(walk, found));
  }
  return walk_fail(walk, "expected %s, found %s", expected, walk_found(walk, found));
}

/* ---- the parts of a document ---- */
static void walk_space(struct walk *walk) {
  for (; walk->at < walk->size; walk->at++) {
    const uint8_t c = walk->text[walk->at];
    if (c == '\n') {
      walk->line++;
    } else if (c != ' ' && c != '\t' && c != '\r') {
      return;
    }
  }
}

static bool walk_is(const struct walk *walk, char c) {
  return walk->at < walk->size && walk->text[walk->at] == (uint8_t)c;
}

static int walk_note(struct walk *walk, unsigned line) {
  struct json_scan *scan = walk->scan;
  if (scan->count == walk->capacity) {
    walk->capacity = walk->capacity ? walk->capacity * 2 : 64;
    unsigned *grown = realloc(scan->lines, walk->capacity * sizeof *grown);
    if (!grown) {
      return UV_ENOMEM;
    }
    scan->lines = grown;
  }
  scan->lines[scan->count++] = line;
  return 0;
}

/* Four hexadecimal digits after \u. */
static int walk_unicode(struct walk *walk, unsigned *out) {
  unsigned value = 0;
  for (unsigned i = 0; i < 4; i++, walk->at++) {
    const int c = walk->at < walk->size ? walk->text[walk->at] : 0;
    const int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
    if (digit < 0) {
      return walk_expected(walk, "four hexadecimal digits after \\u");
    }
    value = value * 16 + (unsigned)digit;
  }
  *out = value;
  return 0;
}

static int walk_escape(struct walk *walk) {
  unsigned first = 0;
  unsigned second = 0;
  const uint8_t c = walk->at < walk->size ? walk->text[walk->at] : 0;
  if (c != 'u') {
    if (c == 0 || !strchr("\"\\/bfnrt", c)) {
      return walk_expected(walk, "one of \"\\/bfnrtu after a backslash");
    }
    walk->at++;
    return 0;
  }
  walk->at++;
  int error = walk_unicode(walk, &first);
  if (error) {
    return error;
  }
  if (first == 0) {
    return walk_fail(walk, "a text may not hold \\u0000");
  }
  if (first < 0xd800 || first > 0xdfff) {
    return 0;
  }
  const bool paired = first < 0xdc00 && walk->size - walk->at >= 2 && memcmp(walk->text + walk->at, "\\u", 2) == 0;
  if (paired) {
    walk->at += 2;
    error = walk_unicode(walk, &second);
  }
  if (!error && (second < 0xdc00 || second > 0xdfff)) {
    error = walk_fail(walk, "half of a surrogate pair (\\u%04x)", first);
  }
  return error;
}

static int walk_string(struct walk *walk) {
  for (walk->at++; walk->at < walk->size;) {
    const uint8_t c = walk->text[walk->at];
    if (c == '"') {
      walk->at++;
      return 0;
    }
    if (c == '\\') {
      walk->at++;
      const int error = walk_escape(walk);
      if (error) {
        return error;
      }
      continue;
    }
    if (c == '\n') {
      return walk_fail(walk, "expected '\"' before the end of the line");
    }
    if (c < 0x20) {
      return walk_fail(walk, "a control character (\\x%02x) in a text", c);
    }
    const size_t length = net_utf8_next(walk->text + walk->at, walk->size - walk->at, NULL);
    if (length == 0) {
      return walk_fail(walk, "a text that is not UTF-8 (byte \\x%02x)", c);
    }
    walk->at += length;
  }
  return walk_expected(walk, "'\"'");
}

static size_t walk_digits(struct walk *walk) {
  const size_t start = walk->at;
  while (walk->at < walk->size && walk->text[walk->at] >= '0' && walk->text[walk->at] <= '9') {
    walk->at++;
  }
  return walk->at - start;
}

static int walk_number(struct walk *walk) {
  const size_t start = walk->at;
  walk->at += walk_is(walk, '-');
  const bool zero = walk_is(walk, '0');
  const size_t digits = walk_digits(walk);
  if (digits == 0) {
    return walk_expected(walk, "a digit");
  }
  if (zero && digits > 1) {
    return walk_fail(walk, "a number may not begin with 0");
  }
  if (walk_is(walk, '.')) {
    walk->at++;
    if (walk_digits(walk) == 0) {
      return walk_expected(walk, "a digit after the point");
    }
  }
  if (walk_is(walk, 'e') || walk_is(walk, 'E')) {
    walk->at++;
    walk->at += walk_is(walk, '+') || walk_is(walk, '-');
    if (walk_digits(walk) == 0) {
      return walk_expected(walk, "a digit of the exponent");
    }
  }
  return walk->at - start > NUMBER_MAX ? walk_fail(walk, "a number of more than %u characters", NUMBER_MAX) : 0;
}

static int walk_word(struct walk *walk, const char *word) {
  const size_t size = strlen(word);
  if (walk->size - walk->at < size || memcmp(walk->text + walk->at, word, size) != 0) {
    return walk_expected(walk, "a value");
  }
  walk->at += size;
  return 0;
}

static int walk_member(struct walk *walk, unsigned depth) {
  const unsigned line = walk->line;
  if (!walk_is(walk, '"')) {
    return walk_expected(walk, "a key in double quotes");
  }
  const int error = walk_string(walk);
  if (error) {
    return error;
  }
  walk_space(walk);
  if (!walk_is(walk, ':')) {
    return walk_expected(walk, "':' after the key");
  }
  walk->at++;
  walk_space(walk);
  return walk_value(walk, depth, line);
}

/* An object or an array: what is between the brackets. */
static int walk_items(struct walk *walk, unsigned depth, bool object) {
  const char close = object ? '}' : ']';
  const unsigned opened = walk->line;
  if (depth > JSON_DEPTH_MAX) {
    return walk_fail(walk, "nested more than %u deep", JSON_DEPTH_MAX);
  }
  walk->at++;
  walk_space(walk);
  if (walk_is(walk, close)) {
    walk->at++;
    return 0;
  }
  for (;;) {
    const int error = object ? walk_member(walk, depth) : walk_value(walk, depth, walk->line);
    if (error) {
      return error;
    }
    walk_space(walk);
    if (walk_is(walk, close)) {
      walk->at++;
      return 0;
    }
    if (!walk_is(walk, ',')) {
      char expected[64];
      snprintf(expected, sizeof expected, "',' or '%c' (opened in line %u)", close, opened);
      return walk_expected(walk, expected);
    }
    walk->at++;
    walk_space(walk);
    if (walk_is(walk, close)) {
      return walk_fail(walk, "a comma before '%c'", close);
    }
  }
}

static int walk_value(struct walk *walk, unsigned depth, unsigned line) {
  const int error = walk_note(walk, line);
  if (error) {
    return error;
  }
  const uint8_t c = walk->at < walk->size ? walk->text[walk->at] : 0;
  switch (c) {
  case '{':
  case '[':
    return walk_items(walk, depth + 1, c == '{');
  case '"':
    return walk_string(walk);
  case 't':
    return walk_word(walk, "true");
  case 'f':
    return walk_word(walk, "false");
  case 'n':
    return walk_word(walk, "null");
  default:
    return c == '-' || (c >= '0' && c <= '9') ? walk_number(walk) : walk_expected(walk, "a value");
  }
}

int json_scan(struct json_scan *scan, const char *text, size_t size) {
  struct walk walk = {.text = (const uint8_t *)text, .size = size, .line = 1, .scan = scan};
  *scan = (struct json_scan){0};
  if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
    walk.at = 3;
  }
  walk_space(&walk);
  int error =
      walk.at == size ? walk_fail(&walk, "expected a value, but the text is empty") : walk_value(&walk, 0, walk.line);
  if (!error) {
    walk_space(&walk);
    if (walk.at != size) {
      error = walk_expected(&walk, "nothing more after the value");
    }
  }
  if (error) {
    free(scan->lines);
    scan->lines = NULL;
    scan->count = 0;
  }
  return error;
}
