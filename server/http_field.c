/* http_field.c: names, lists and character classes. */
#include "http_field.h"

#include <string.h>
#include <strings.h>

struct known {
  const char *name;
  enum http_kind kind;
};

/* By length, so that most names are told apart without a comparison. Terminated by a NULL name. */
#define KNOWN_LENGTH_MAX 21
#define KNOWN_EACH 5
static const struct known known_by_length[KNOWN_LENGTH_MAX + 1][KNOWN_EACH] = {
    [2] = {{"te", HTTP_TE}},
    [4] = {{"host", HTTP_HOST}, {"date", HTTP_DATE}},
    [5] = {{"proxy", HTTP_PROXY}},
    [6] = {{"accept", HTTP_ACCEPT}, {"cookie", HTTP_COOKIE}, {"expect", HTTP_EXPECT}},
    [7] = {{"upgrade", HTTP_UPGRADE}},
    [8] = {{"location", HTTP_LOCATION}},
    [9] = {{"x-real-ip", HTTP_X_REAL_IP}, {"forwarded", HTTP_FORWARDED}},
    [10] = {{"connection", HTTP_CONNECTION}, {"keep-alive", HTTP_KEEP_ALIVE}},
    [13] = {{"authorization", HTTP_AUTHORIZATION}},
    [14] = {{"content-length", HTTP_CONTENT_LENGTH}, {"http2-settings", HTTP_HTTP2_SETTINGS}},
    [15] = {{"x-forwarded-for", HTTP_X_FORWARDED_FOR}},
    [16] = {{"x-forwarded-host", HTTP_X_FORWARDED_HOST},
            {"x-forwarded-port", HTTP_X_FORWARDED_PORT},
            {"proxy-connection", HTTP_PROXY_CONNECTION}},
    [17] = {{"transfer-encoding", HTTP_TRANSFER_ENCODING}, {"x-forwarded-proto", HTTP_X_FORWARDED_PROTO},
            {"sec-websocket-key", HTTP_WEBSOCKET_KEY}},
    [18] = {{"proxy-authenticate", HTTP_PROXY_AUTHENTICATE}},
    [19] = {{"proxy-authorization", HTTP_PROXY_AUTHORIZATION}},
    [21] = {{"sec-websocket-version", HTTP_WEBSOCKET_VERSION}},
};

static uint8_t fold(uint8_t c) {
  return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}
static uint8_t fold_name(uint8_t c) {
  return c == '_' ? '-' : fold(c);
}

/* Compares with a literal in lower case; tells whether an underscore stood for a hyphen. */
static bool name_is(const char *name, size_t size, const char *literal, bool *imitated) {
  for (size_t i = 0; i < size; i++) {
    if (fold_name((uint8_t)name[i]) != (uint8_t)literal[i])
      return false;
    if (name[i] == '_')
      *imitated = true;
  }
  return true;
}

enum http_kind http_kind_of(const char *name, size_t size) {
  static const char prefix[] = "x-forwarded-";
  bool imitated = false;
  if (size <= KNOWN_LENGTH_MAX) {
    for (const struct known *k = known_by_length[size]; k < known_by_length[size] + KNOWN_EACH && k->name; k++) {
      imitated = false;
      if (fold((uint8_t)name[0]) == (uint8_t)k->name[0] && name_is(name, size, k->name, &imitated))
        return imitated ? HTTP_IMITATION : k->kind;
    }
  }
  imitated = false;
  if (size >= sizeof prefix - 1 && (name[0] == 'x' || name[0] == 'X') && name_is(name, sizeof prefix - 1, prefix, &imitated))
    return imitated ? HTTP_IMITATION : HTTP_X_FORWARDED;
  return HTTP_OTHER;
}

struct mdm_text http_text(const char *literal) {
  return (struct mdm_text){.data = literal, .size = strlen(literal)};
}

bool http_text_same(struct mdm_text a, struct mdm_text b) {
  return a.size == b.size && (a.size == 0 || strncasecmp(a.data, b.data, a.size) == 0);
}

bool http_text_is(struct mdm_text text, const char *literal) {
  return http_text_same(text, http_text(literal));
}

bool http_name_same(struct mdm_text a, const char *b) {
  size_t i = 0;
  for (; i < a.size && b[i]; i++)
    if (fold_name((uint8_t)a.data[i]) != fold_name((uint8_t)b[i]))
      return false;
  return i == a.size && !b[i];
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

struct mdm_text http_trim(struct mdm_text text) {
  while (text.size && is_blank(text.data[0])) {
    text.data++;
    text.size--;
  }
  while (text.size && is_blank(text.data[text.size - 1]))
    text.size--;
  return text;
}

bool http_list_next(struct mdm_text *rest, struct mdm_text *element) {
  while (rest->size) {
    const char *comma = memchr(rest->data, ',', rest->size);
    size_t size = comma ? (size_t)(comma - rest->data) : rest->size;
    struct mdm_text part = http_trim((struct mdm_text){.data = rest->data, .size = size});
    size_t used = comma ? size + 1 : size;
    rest->data += used;
    rest->size -= used;
    if (part.size) {
      *element = part;
      return true;
    }
  }
  return false;
}

bool http_list_has(struct mdm_text list, const char *literal) {
  struct mdm_text element;
  while (http_list_next(&list, &element))
    if (http_text_is(element, literal))
      return true;
  return false;
}

enum { TCHAR = 1, VCHAR = 2 };
#define T (TCHAR | VCHAR)
#define V VCHAR
/* RFC 9110 5.6.2 tchar; field-vchar with SP and HT. */
static const uint8_t classes[256] = {
    ['\t'] = V, [' '] = V,  ['!'] = T,  ['"'] = V,  ['#'] = T,  ['$'] = T, ['%'] = T,  ['&'] = T,  ['\''] = T,
    ['('] = V,  [')'] = V,  ['*'] = T,  ['+'] = T,  [','] = V,  ['-'] = T, ['.'] = T,  ['/'] = V,  ['0'] = T,
    ['1'] = T,  ['2'] = T,  ['3'] = T,  ['4'] = T,  ['5'] = T,  ['6'] = T, ['7'] = T,  ['8'] = T,  ['9'] = T,
    [':'] = V,  [';'] = V,  ['<'] = V,  ['='] = V,  ['>'] = V,  ['?'] = V, ['@'] = V,  ['A'] = T,  ['B'] = T,
    ['C'] = T,  ['D'] = T,  ['E'] = T,  ['F'] = T,  ['G'] = T,  ['H'] = T, ['I'] = T,  ['J'] = T,  ['K'] = T,
    ['L'] = T,  ['M'] = T,  ['N'] = T,  ['O'] = T,  ['P'] = T,  ['Q'] = T, ['R'] = T,  ['S'] = T,  ['T'] = T,
    ['U'] = T,  ['V'] = T,  ['W'] = T,  ['X'] = T,  ['Y'] = T,  ['Z'] = T, ['['] = V,  ['\\'] = V, [']'] = V,
    ['^'] = T,  ['_'] = T,  ['`'] = T,  ['a'] = T,  ['b'] = T,  ['c'] = T, ['d'] = T,  ['e'] = T,  ['f'] = T,
    ['g'] = T,  ['h'] = T,  ['i'] = T,  ['j'] = T,  ['k'] = T,  ['l'] = T, ['m'] = T,  ['n'] = T,  ['o'] = T,
    ['p'] = T,  ['q'] = T,  ['r'] = T,  ['s'] = T,  ['t'] = T,  ['u'] = T, ['v'] = T,  ['w'] = T,  ['x'] = T,
    ['y'] = T,  ['z'] = T,  ['{'] = V,  ['|'] = T,  ['}'] = V,  ['~'] = T,
};
#undef T
#undef V

bool http_is_tchar(uint8_t c) {
  return classes[c] & TCHAR;
}
bool http_is_vchar(uint8_t c) {
  return c >= 0x80 || (classes[c] & VCHAR);
}

const char *http_find_control(const char *data, size_t size) {
  for (size_t i = 0; i < size; i++) {
    uint8_t c = (uint8_t)data[i];
    if ((c < 0x20 && c != '\t') || c == 0x7f)
      return data + i;
  }
  return NULL;
}

const char *http_find_untoken(const char *data, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (!(classes[(uint8_t)data[i]] & TCHAR))
      return data + i;
  return NULL;
}

bool http_is_token(struct mdm_text text) {
  return text.size && !http_find_untoken(text.data, text.size);
}

int http_parse_length(struct mdm_text text, uint64_t *out) {
  uint64_t value = 0;
  if (!text.size || text.size > 32)
    return -1;
  for (size_t i = 0; i < text.size; i++) {
    if (text.data[i] < '0' || text.data[i] > '9')
      return -1;
    uint64_t digit = (uint64_t)(text.data[i] - '0');
    if (value > ((uint64_t)INT64_MAX - digit) / 10)
      return -1;
    value = value * 10 + digit;
  }
  *out = value;
  return 0;
}
