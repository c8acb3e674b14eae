/* text.c: judging text that a stranger sent. */
#include "text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Length of the well-formed UTF-8 sequence at `p` (RFC 3629 table), 0 if there is none; *code gets the character. */
static size_t utf8_sequence(const uint8_t *p, size_t size, uint32_t *code) {
  static const struct {
    uint8_t mask, lead;
    uint8_t length;
    uint32_t least;
  } shapes[] = {{0x80, 0x00, 1, 0}, {0xe0, 0xc0, 2, 0x80}, {0xf0, 0xe0, 3, 0x800}, {0xf8, 0xf0, 4, 0x10000}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    if ((p[0] & shapes[i].mask) != shapes[i].lead) {
      continue;
    }
    if (shapes[i].length > size) {
      return 0;
    }
    *code = p[0] & (uint8_t)~shapes[i].mask;
    for (size_t j = 1; j < shapes[i].length; j++) {
      if ((p[j] & 0xc0) != 0x80) {
        return 0;
      }
      *code = *code << 6 | (p[j] & 0x3f);
    }
    bool surrogate = *code >= 0xd800 && *code <= 0xdfff;
    return *code < shapes[i].least || surrogate || *code > 0x10ffff ? 0 : shapes[i].length;
  }
  return 0;
}

static bool utf8_walk(const char *text, size_t size, bool control_allowed) {
  for (size_t i = 0; i < size;) {
    uint32_t code = 0;
    size_t length = utf8_sequence((const uint8_t *)text + i, size - i, &code);
    if (length == 0 || (!control_allowed && (code < 0x20 || (code >= 0x7f && code <= 0x9f)))) {
      return false;
    }
    i += length;
  }
  return true;
}

bool net_text_valid(const char *text, size_t size) {
  return utf8_walk(text, size, false);
}

bool net_text_is_utf8(const char *text, size_t size) {
  return utf8_walk(text, size, true);
}

static bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool net_text_is_token(const char *text, size_t size) {
  for (size_t i = 0; i < size; i++) {
    if (text[i] == '\0' || (!is_alnum(text[i]) && strchr("!#$%&'*+-.^_`|~", text[i]) == NULL)) {
      return false;
    }
  }
  return size > 0;
}

bool net_text_host_fold(char out[static NET_HOST_NAME_MAX + 1], const char *text, size_t size) {
  if (size > 0 && text[size - 1] == '.') {
    size--;
  }
  if (size == 0 || size > NET_HOST_NAME_MAX) {
    return false;
  }
  size_t label = 0;
  bool digits = true; /* an all-digit last label is an IPv4 literal, or nothing at all */
  for (size_t i = 0; i < size; i++) {
    char c = text[i];
    if (c == '.') {
      if (label == 0 || out[i - 1] == '-') {
        return false;
      }
      label = 0;
      digits = true;
      out[i] = c;
      continue;
    }
    if ((!is_alnum(c) && c != '-' && c != '_') || (label == 0 && c == '-') || ++label > 63) {
      return false;
    }
    digits = digits && c >= '0' && c <= '9';
    out[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
  }
  out[size] = '\0';
  return label > 0 && out[size - 1] != '-' && !digits;
}

int net_sentence(char *error, size_t error_size, const char *format, ...) {
  if (error_size > 0) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error, error_size, format, arguments);
    va_end(arguments);
  }
  return -1;
}

char *net_text_copy(const char *text, size_t size) {
  char *copy = malloc(size + 1);
  if (copy != NULL) {
    memcpy(copy, text, size);
    copy[size] = '\0';
  }
  return copy;
}
