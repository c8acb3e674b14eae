/* target.c: the text forms of a target, and nothing that touches the network. */
#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "identity.h"

static bool is_number(const char *text) {
  if (*text == '\0')
    return false;
  return text[strspn(text, "0123456789")] == '\0';
}

static int fail(char *error, size_t error_size, const char *sentence) {
  snprintf(error, error_size, "%s", sentence);
  return -1;
}

int target_set_unix(struct target *out, const char *path, char *error, size_t error_size) {
  memset(out, 0, sizeof *out);
  out->kind = TARGET_UNIX;
  char *expanded = net_path_expand(path);
  if (expanded == NULL)
    return fail(error, error_size, "the home directory for \"~\" is unknown");
  size_t length = strlen(expanded);
  int status = 0;
  if (expanded[0] != '/')
    status = fail(error, error_size, "a socket file needs an absolute path: \"unix:/run/app.sock\"");
  else if (length > TARGET_UNIX_MAX)
    status = fail(error, error_size, "the path of a socket file has at most 107 bytes");
  else
    memcpy(out->host, expanded, length + 1);
  free(expanded);
  return status;
}

int target_set(struct target *out, const char *host, uint16_t port, char *error, size_t error_size) {
  memset(out, 0, sizeof *out);
  if (port == 0)
    return fail(error, error_size, "must have a port from 1 to 65535");
  out->port = port;
  out->kind = TARGET_LOOPBACK;
  /* RFC 6761 section 6.3: localhost is the loopback address, whatever a resolver would say. */
  if (host == NULL || strcmp(host, "localhost") == 0)
    return 0;
  size_t length = strlen(host);
  if (length == 0 || length > TARGET_HOST_MAX)
    return fail(error, error_size, "the host has 1 to 255 bytes");
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)host[i];
    if (c <= ' ' || c >= 0x7f || strchr("/?#@\\\"", c) != NULL)
      return fail(error, error_size, "the host is a name or an IP address");
  }
  memcpy(out->host, host, length + 1);
  if (net_address_parse(&out->address, host, length) == 0) {
    out->kind = TARGET_ADDRESS;
    out->address.port = port;
  } else if (strchr(host, ':') != NULL) {
    return fail(error, error_size, "an IPv6 address with a port is written [address]:port");
  } else {
    out->kind = TARGET_NAME;
  }
  return 0;
}

int target_parse(struct target *out, const char *text, char *error, size_t error_size) {
  static const char shape[] = "must be a port from 1 to 65535, \"host:port\" or \"unix:/path\"";
  memset(out, 0, sizeof *out);
  if (strncmp(text, "unix:", 5) == 0)
    return target_set_unix(out, text + 5, error, error_size);
  if (is_number(text)) {
    unsigned long port = strlen(text) > 5 ? 0 : strtoul(text, NULL, 10);
    if (port == 0 || port > 65535)
      return fail(error, error_size, shape);
    return target_set(out, NULL, (uint16_t)port, error, error_size);
  }
  const char *host;
  size_t host_size;
  uint16_t port;
  char copy[TARGET_HOST_MAX + 1];
  if (net_host_port_split(text, strlen(text), &host, &host_size, &port) != 0 || port == 0 || host_size == 0 ||
      host_size > TARGET_HOST_MAX)
    return fail(error, error_size, shape);
  memcpy(copy, host, host_size);
  copy[host_size] = '\0';
  return target_set(out, copy, port, error, error_size);
}

bool target_equal(const struct target *a, const struct target *b) {
  return a->kind == b->kind && a->port == b->port && strcmp(a->host, b->host) == 0;
}

const char *target_text(char out[static TARGET_TEXT], const struct target *target) {
  switch (target->kind) {
  case TARGET_LOOPBACK:
    snprintf(out, TARGET_TEXT, "127.0.0.1:%u", target->port);
    break;
  case TARGET_ADDRESS:
    snprintf(out, TARGET_TEXT, target->address.family == 6 ? "[%s]:%u" : "%s:%u", target->host, target->port);
    break;
  case TARGET_NAME:
    snprintf(out, TARGET_TEXT, "%s:%u", target->host, target->port);
    break;
  case TARGET_UNIX:
    snprintf(out, TARGET_TEXT, "unix:%s", target->host);
    break;
  }
  return out;
}

const char *target_authority(char out[static TARGET_TEXT], const struct target *target, bool tls) {
  if (target->kind == TARGET_UNIX) {
    snprintf(out, TARGET_TEXT, "localhost");
    return out;
  }
  const char *host = target->kind == TARGET_LOOPBACK ? "localhost" : target->host;
  bool v6 = target->kind == TARGET_ADDRESS && target->address.family == 6;
  if (target->port == (tls ? 443 : 80))
    snprintf(out, TARGET_TEXT, v6 ? "[%s]" : "%s", host);
  else
    snprintf(out, TARGET_TEXT, v6 ? "[%s]:%u" : "%s:%u", host, target->port);
  return out;
}
