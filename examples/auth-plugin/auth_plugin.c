/* auth_plugin.c: a hook in a shared object. Visitors need a password (HTTP Basic) for every service.
 *
 *   mdm-tunnel-server --auth-plugin /ABSOLUTE/PATH/example-auth-plugin.so --auth-config auth.json --auth-field X-Visitor
 *
 * auth.json is one line here, to keep JSON out of this page: {"visitor": "name:password"}. This object, and every directory above it, must be writable by
 * nobody but root and the server's user. Of an allowed visitor the service is told the name in X-Visitor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <mdm/auth.h>

struct gate {
  char expected[256]; /* "Basic " and base64 of name:password */
  char name[64];
};

static void base64(char *out, const char *text, size_t size) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < size; i += 3) {
    unsigned bits = (unsigned char)text[i] << 16;
    bits |= i + 1 < size ? (unsigned)(unsigned char)text[i + 1] << 8 : 0;
    bits |= i + 2 < size ? (unsigned char)text[i + 2] : 0;
    *out++ = digits[bits >> 18];
    *out++ = digits[bits >> 12 & 63];
    *out++ = i + 1 < size ? digits[bits >> 6 & 63] : '=';
    *out++ = i + 2 < size ? digits[bits & 63] : '=';
  }
  *out = '\0';
}

/* Refuses to start without a password: a gate that cannot be configured must not stand open. */
static int gate_open(void **self, struct uv_loop_s *loop, const char *config_json) {
  struct gate *gate = calloc(1, sizeof *gate);
  char pair[128] = "";
  (void)loop;
  if (gate == NULL || sscanf(config_json, " { \"visitor\" : \"%127[^\"]\" }", pair) != 1 || strchr(pair, ':') == NULL ||
      strcspn(pair, ":") >= sizeof gate->name) {
    fprintf(stderr, "example-auth-plugin: --auth-config must be a file with {\"visitor\": \"name:password\"}\n");
    free(gate);
    return -1;
  }
  memcpy(gate->expected, "Basic ", 6);
  base64(gate->expected + 6, pair, strlen(pair));
  memcpy(gate->name, pair, strcspn(pair, ":"));
  *self = gate;
  return 0;
}

/* In a time that does not depend on where the two differ. */
static int same(const struct mdm_text *given, const char *expected) {
  unsigned char difference = given->size != strlen(expected);
  for (size_t i = 0; i < strlen(expected); i++) {
    difference |= (unsigned char)((i < given->size ? given->data[i] : 0) ^ expected[i]);
  }
  return difference == 0;
}

static void gate_ask(void *self, const struct mdm_auth_question *question, struct mdm_auth_call *call) {
  static const struct mdm_auth_field realm = {{"WWW-Authenticate", 16}, {"Basic realm=\"tunnel\"", 20}};
  const struct gate *gate = self;
  struct mdm_auth_answer answer = {.status = 401, .answer_fields = &realm, .answer_fields_count = 1};
  struct mdm_auth_field visitor = {{"X-Visitor", 9}, {gate->name, strlen(gate->name)}};
  for (size_t i = 0; i < question->fields_count; i++) {
    const struct mdm_auth_field *field = &question->fields[i];
    if (field->name.size == 13 && strncasecmp(field->name.data, "Authorization", 13) == 0) {
      if (same(&field->value, gate->expected)) {
        answer = (struct mdm_auth_answer){.allow = true, .origin_fields = &visitor, .origin_fields_count = 1};
      }
      break; /* the first one counts */
    }
  }
  mdm_auth_answer(call, &answer);
}

static void gate_close(void *self) {
  free(self);
}

static const struct mdm_auth_hook gate_hook = {
    .abi = MDM_AUTH_ABI,
    .name = "gate",
    .steps = MDM_AUTH_BIT(MDM_AUTH_VISIT),
    .open = gate_open,
    .ask = gate_ask, /* answers at once, so it needs no cancel */
    .close = gate_close,
};

MDM_API const struct mdm_auth_hook *mdm_auth_plugin(void);
const struct mdm_auth_hook *mdm_auth_plugin(void) {
  return &gate_hook;
}
