/* service.c: the options of one service as a value: made, copied, compared, freed; and what a label is. Their JSON is
 * in service_json.c. */
#include "service.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "text.h"

void net_service_options_init(struct net_service_options *options) {
  *options = (struct net_service_options){.timeout_s = NET_TIMEOUT_DEFAULT_S};
}

static void fields_free(struct net_field *list, size_t count) {
  for (size_t i = 0; i < count; i++) {
    free(list[i].name);
    free(list[i].value);
  }
  free(list);
}

static void texts_free(char **list, size_t count) {
  for (size_t i = 0; i < count; i++) {
    free(list[i]);
  }
  free(list);
}

void net_service_options_clean(struct net_service_options *options) {
  free(options->rewrite_name);
  fields_free(options->headers, options->headers_count);
  fields_free(options->response_headers, options->response_headers_count);
  for (size_t i = 0; i < options->basic_auth_count; i++) {
    free(options->basic_auth[i].user);
    free(options->basic_auth[i].hash);
  }
  free(options->basic_auth);
  free(options->allow);
  texts_free(options->domains, options->domains_count);
  texts_free(options->upgrades, options->upgrades_count);
  net_service_options_init(options);
}

static int text_copy(char **out, const char *text) {
  *out = text != NULL ? net_text_copy(text, strlen(text)) : NULL;
  return text != NULL && *out == NULL ? UV_ENOMEM : 0;
}

/* The counts follow what has been copied, so that a partial copy is cleaned like any other. */
static int fields_copy(struct net_field **out, size_t *count, const struct net_field *list, size_t n) {
  if (n == 0) {
    return 0;
  }
  if ((*out = calloc(n, sizeof **out)) == NULL) {
    return UV_ENOMEM;
  }
  for (size_t i = 0; i < n; i++) {
    *count = i + 1;
    if (text_copy(&(*out)[i].name, list[i].name) != 0 || text_copy(&(*out)[i].value, list[i].value) != 0) {
      return UV_ENOMEM;
    }
  }
  return 0;
}

static int texts_copy(char ***out, size_t *count, char *const *list, size_t n) {
  if (n == 0) {
    return 0;
  }
  if ((*out = calloc(n, sizeof **out)) == NULL) {
    return UV_ENOMEM;
  }
  for (size_t i = 0; i < n; i++) {
    *count = i + 1;
    if (text_copy(&(*out)[i], list[i]) != 0) {
      return UV_ENOMEM;
    }
  }
  return 0;
}

static int users_copy(struct net_service_options *out, const struct net_service_options *in) {
  if (in->basic_auth_count == 0) {
    return 0;
  }
  if ((out->basic_auth = calloc(in->basic_auth_count, sizeof *out->basic_auth)) == NULL) {
    return UV_ENOMEM;
  }
  for (size_t i = 0; i < in->basic_auth_count; i++) {
    out->basic_auth_count = i + 1;
    if (text_copy(&out->basic_auth[i].user, in->basic_auth[i].user) != 0 ||
        text_copy(&out->basic_auth[i].hash, in->basic_auth[i].hash) != 0) {
      return UV_ENOMEM;
    }
  }
  return 0;
}

static int allow_copy(struct net_service_options *out, const struct net_service_options *in) {
  if (in->allow_count == 0) {
    return 0;
  }
  if ((out->allow = calloc(in->allow_count, sizeof *out->allow)) == NULL) {
    return UV_ENOMEM;
  }
  memcpy(out->allow, in->allow, in->allow_count * sizeof *out->allow);
  out->allow_count = in->allow_count;
  return 0;
}

int net_service_options_copy(struct net_service_options *out, const struct net_service_options *in) {
  net_service_options_init(out);
  out->rewrite_host = in->rewrite_host;
  out->timeout_s = in->timeout_s;
  int error = text_copy(&out->rewrite_name, in->rewrite_name);
  if (error == 0) {
    error = fields_copy(&out->headers, &out->headers_count, in->headers, in->headers_count);
  }
  if (error == 0) {
    error = fields_copy(&out->response_headers, &out->response_headers_count, in->response_headers,
                        in->response_headers_count);
  }
  if (error == 0) {
    error = users_copy(out, in);
  }
  if (error == 0) {
    error = allow_copy(out, in);
  }
  if (error == 0) {
    error = texts_copy(&out->domains, &out->domains_count, in->domains, in->domains_count);
  }
  if (error == 0) {
    error = texts_copy(&out->upgrades, &out->upgrades_count, in->upgrades, in->upgrades_count);
  }
  if (error != 0) {
    net_service_options_clean(out);
  }
  return error;
}

static bool text_equal(const char *a, const char *b) {
  return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* NULL and "" both remove the field. */
static bool value_equal(const char *a, const char *b) {
  return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static bool fields_equal(const struct net_field *a, size_t a_count, const struct net_field *b, size_t b_count) {
  for (size_t i = 0; a_count == b_count && i < a_count; i++) {
    if (!text_equal(a[i].name, b[i].name) || !value_equal(a[i].value, b[i].value)) {
      return false;
    }
  }
  return a_count == b_count;
}

static bool texts_equal(char *const *a, size_t a_count, char *const *b, size_t b_count) {
  for (size_t i = 0; a_count == b_count && i < a_count; i++) {
    if (!text_equal(a[i], b[i])) {
      return false;
    }
  }
  return a_count == b_count;
}

static bool users_equal(const struct net_service_options *a, const struct net_service_options *b) {
  for (size_t i = 0; a->basic_auth_count == b->basic_auth_count && i < a->basic_auth_count; i++) {
    if (!text_equal(a->basic_auth[i].user, b->basic_auth[i].user) ||
        !text_equal(a->basic_auth[i].hash, b->basic_auth[i].hash)) {
      return false;
    }
  }
  return a->basic_auth_count == b->basic_auth_count;
}

static bool allow_equal(const struct net_service_options *a, const struct net_service_options *b) {
  for (size_t i = 0; a->allow_count == b->allow_count && i < a->allow_count; i++) {
    if (a->allow[i].prefix != b->allow[i].prefix ||
        !net_address_equal(&a->allow[i].address, &b->allow[i].address, false)) {
      return false;
    }
  }
  return a->allow_count == b->allow_count;
}

bool net_service_options_equal(const struct net_service_options *a, const struct net_service_options *b) {
  return a->rewrite_host == b->rewrite_host && text_equal(a->rewrite_name, b->rewrite_name) &&
         a->timeout_s == b->timeout_s && fields_equal(a->headers, a->headers_count, b->headers, b->headers_count) &&
         fields_equal(a->response_headers, a->response_headers_count, b->response_headers, b->response_headers_count) &&
         users_equal(a, b) && allow_equal(a, b) &&
         texts_equal(a->domains, a->domains_count, b->domains, b->domains_count) &&
         texts_equal(a->upgrades, a->upgrades_count, b->upgrades, b->upgrades_count);
}

bool net_label_fold(char out[static NET_LABEL_MAX + 1], const char *text, size_t size) {
  if (size == 0 || size > NET_LABEL_MAX || text[0] == '-' || text[size - 1] == '-') {
    return false;
  }
  for (size_t i = 0; i < size; i++) {
    char c = text[i];
    if (c >= 'A' && c <= 'Z') {
      c = (char)(c - 'A' + 'a');
    }
    bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (!letter && (c != '-' || text[i - 1] == '-')) {
      return false;
    }
    out[i] = c;
  }
  out[size] = '\0';
  return true;
}

bool net_label_valid(const char *text, size_t size) {
  char folded[NET_LABEL_MAX + 1];
  return net_label_fold(folded, text, size);
}
