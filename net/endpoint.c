/* endpoint.c: where to dial, out of the text that a user gave: a host, a URL of a carrier, the URL of a proxy. No I/O.
 */
#include "dial.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "address.h"
#include "text.h"

#define PORT_WS        80u
#define PORT_WSS       443u
#define PORT_PROXY     8080u
#define CREDENTIAL_MAX 1024u

bool net_host_is_loopback(const char *host) {
  char folded[NET_HOST_NAME_MAX + 1];
  struct mdm_address address;
  size_t size = strlen(host);
  if (net_address_parse(&address, host, size) == 0) {
    return net_address_is_loopback(&address);
  }
  if (!net_text_host_fold(folded, host, size)) {
    return false;
  }
  static const char suffix[] = ".localhost";
  size = strlen(folded);
  return strcmp(folded, suffix + 1) == 0 ||
         (size > sizeof suffix - 1 && strcmp(folded + size - (sizeof suffix - 1), suffix) == 0);
}

static const char *const carrier_names[] = {
    [NET_CARRIER_NONE] = "tcp", [NET_CARRIER_PLAIN] = "plain", [NET_CARRIER_TLS] = "tls",
    [NET_CARRIER_WS] = "ws",    [NET_CARRIER_WSS] = "wss",
};

const char *net_endpoint_text(char out[static NET_ENDPOINT_TEXT], const struct net_endpoint *endpoint) {
  bool literal = strchr(endpoint->host, ':') != NULL;
  bool path = endpoint->carrier == NET_CARRIER_WS || endpoint->carrier == NET_CARRIER_WSS;
  (void)snprintf(out, NET_ENDPOINT_TEXT, "%s://%s%s%s:%u%s", carrier_names[endpoint->carrier], literal ? "[" : "",
                 endpoint->host, literal ? "]" : "", (unsigned)endpoint->port, path ? endpoint->path : "");
  return out;
}

/* "host[:port]" into host (folded, an IP literal without brackets) and port, 0 when none is given. */
static bool authority_read(char host[static 256], uint16_t *port, const char *text, size_t size) {
  const char *name;
  size_t name_size;
  struct mdm_address address;
  if (net_host_port_split(text, size, &name, &name_size, port) != 0) {
    return false;
  }
  if (net_address_parse(&address, name, name_size) == 0) {
    char literal[NET_ADDRESS_TEXT];
    (void)snprintf(host, 256, "%s", net_address_text(literal, &address, false));
    return true;
  }
  return net_text_host_fold(host, name, name_size);
}

static bool path_valid(const char *text, size_t size) {
  for (size_t i = 0; i < size; i++) {
    if (text[i] <= ' ' || text[i] >= 0x7f || text[i] == '#' || text[i] == '\\') {
      return false;
    }
  }
  return size < sizeof((struct net_endpoint *)0)->path;
}

static int url_parse(struct net_endpoint *out, bool secure, const char *text, const char *rest, size_t size,
                     char *error, size_t error_size) {
  const char *slash = memchr(rest, '/', size);
  size_t authority = slash != NULL ? (size_t)(slash - rest) : size;
  size_t path = size - authority;
  if (memchr(rest, '@', authority) != NULL) {
    (void)net_sentence(error, error_size,
                       "a server address takes no user name or password; use --token or `mdm-tunnel-client login`");
    return UV_EINVAL;
  }
  if (!authority_read(out->host, &out->port, rest, authority) || (path > 0 && !path_valid(slash, path))) {
    (void)net_sentence(error, error_size,
                       "\"%.*s\" is no address like wss://example.com or https://example.com:8443/path",
                       (int)(size + (size_t)(rest - text)), text);
    return UV_EINVAL;
  }
  out->carrier = secure ? NET_CARRIER_WSS : NET_CARRIER_WS;
  if (out->port == 0) {
    out->port = secure ? PORT_WSS : PORT_WS;
  }
  if (path > 1) {
    memcpy(out->path, slash, path);
    out->path[path] = '\0';
  } else {
    (void)snprintf(out->path, sizeof out->path, "%s", NET_LINK_PATH);
  }
  return 1;
}

static void endpoint_set(struct net_endpoint *out, const char *host, enum net_carrier carrier, uint16_t port) {
  *out = (struct net_endpoint){.carrier = carrier, .port = port};
  (void)snprintf(out->host, sizeof out->host, "%s", host);
  if (carrier == NET_CARRIER_WS || carrier == NET_CARRIER_WSS) {
    (void)snprintf(out->path, sizeof out->path, "%s", NET_LINK_PATH);
  }
}

static int plain_parse(struct net_endpoint out[2], const char *text, size_t size, uint16_t port, const char *carrier,
                       char *error, size_t error_size) {
  char host[256];
  uint16_t given;
  if (!authority_read(host, &given, text, size)) {
    (void)net_sentence(error, error_size,
                       "\"%.*s\" is no server address; right is a host, host:port, [v6]:port or a wss:// URL",
                       (int)size, text);
    return UV_EINVAL;
  }
  if (strcmp(carrier, "ws") == 0) {
    endpoint_set(&out[0], host, NET_CARRIER_WSS, given != 0 ? given : PORT_WSS);
    endpoint_set(&out[1], host, NET_CARRIER_WS, given != 0 ? given : PORT_WS);
    return 2;
  }
  endpoint_set(&out[0], host, NET_CARRIER_TLS, given != 0 ? given : port);
  if (strcmp(carrier, "tls") == 0 || net_host_is_loopback(host)) {
    return 1;
  }
  endpoint_set(&out[1], host, NET_CARRIER_WSS, PORT_WSS);
  return 2;
}

int net_endpoint_parse(struct net_endpoint out[2], const char *text, size_t size, uint16_t port, const char *carrier,
                       char *error, size_t error_size) {
  static const struct {
    const char *scheme;
    bool secure;
  } schemes[] = {{"ws://", false}, {"http://", false}, {"wss://", true}, {"https://", true}};
  memset(out, 0, 2 * sizeof *out);
  if (carrier == NULL) {
    carrier = "auto";
  }
  if (strcmp(carrier, "auto") != 0 && strcmp(carrier, "tls") != 0 && strcmp(carrier, "ws") != 0) {
    (void)net_sentence(error, error_size, "\"%.32s\" is no carrier; right is tls, ws or auto", carrier);
    return UV_EINVAL;
  }
  for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
    size_t prefix = strlen(schemes[i].scheme);
    if (size < prefix || strncasecmp(text, schemes[i].scheme, prefix) != 0) {
      continue;
    }
    if (strcmp(carrier, "tls") == 0) {
      (void)net_sentence(error, error_size,
                         "\"%.*s\" asks for a WebSocket, --carrier tls for none; leave one of them out", (int)size,
                         text);
      return UV_EINVAL;
    }
    return url_parse(&out[0], schemes[i].secure, text, text + prefix, size - prefix, error, error_size);
  }
  return plain_parse(out, text, size, port, carrier, error, error_size);
}

/* ---- the proxy ---- */

/* Decodes %XX; a decoded control character or colon in the user name is caught by the caller. */
static char *percent_decode(const char *text, size_t size) {
  char *out = malloc(size + 1);
  size_t n = 0;
  for (size_t i = 0; out != NULL && i < size; i++) {
    unsigned byte;
    char digits[3] = {i + 2 < size ? text[i + 1] : '\0', i + 2 < size ? text[i + 2] : '\0', '\0'};
    if (text[i] == '%' && strspn(digits, "0123456789abcdefABCDEF") == 2 && sscanf(digits, "%2x", &byte) == 1 &&
        byte != 0) {
      out[n++] = (char)byte;
      i += 2;
    } else {
      out[n++] = text[i];
    }
  }
  if (out != NULL) {
    out[n] = '\0';
  }
  return out;
}

void net_proxy_clean(struct net_proxy *proxy) {
  if (proxy->password != NULL) {
    sodium_memzero(proxy->password, strlen(proxy->password));
  }
  free(proxy->user);
  free(proxy->password);
  *proxy = (struct net_proxy){0};
}

/* Credentials inside the URL, when no flags give them. */
static int proxy_userinfo(struct net_proxy *out, const char *text, size_t size) {
  const char *colon = memchr(text, ':', size);
  size_t user = colon != NULL ? (size_t)(colon - text) : size;
  out->user = percent_decode(text, user);
  if (colon != NULL) {
    out->password = percent_decode(colon + 1, size - user - 1);
  }
  return out->user == NULL || (colon != NULL && out->password == NULL) ? UV_ENOMEM : 0;
}

static int proxy_credentials(struct net_proxy *out, const char *user, const char *password, char *error,
                             size_t error_size) {
  if (user != NULL) {
    free(out->user);
    out->user = net_text_copy(user, strlen(user));
  }
  if (password != NULL) {
    if (out->password != NULL) {
      sodium_memzero(out->password, strlen(out->password));
    }
    free(out->password);
    out->password = net_text_copy(password, strlen(password));
  }
  if ((user != NULL && out->user == NULL) || (password != NULL && out->password == NULL)) {
    (void)net_sentence(error, error_size, "out of memory");
    return UV_ENOMEM;
  }
  if (out->password != NULL && out->user == NULL) {
    (void)net_sentence(error, error_size, "a proxy password needs a user name too (--proxy-username)");
    return UV_EINVAL;
  }
  const char *u = out->user != NULL ? out->user : "", *p = out->password != NULL ? out->password : "";
  if (strlen(u) > CREDENTIAL_MAX || strlen(p) > CREDENTIAL_MAX || strchr(u, ':') != NULL ||
      !net_text_valid(u, strlen(u)) || !net_text_valid(p, strlen(p))) {
    (void)net_sentence(error, error_size,
                       "the proxy's user name and password must be at most %u bytes without control characters, the "
                       "name without colon",
                       CREDENTIAL_MAX);
    return UV_EINVAL;
  }
  return 0;
}

static int proxy_refuse(struct net_proxy *out, char *error, size_t error_size) {
  net_proxy_clean(out);
  (void)net_sentence(error, error_size,
                     "the proxy must be given as http://HOST[:PORT], https://HOST[:PORT] or HOST:PORT");
  return UV_EINVAL;
}

int net_proxy_parse(struct net_proxy *out, const char *url, const char *user, const char *password, char *error,
                    size_t error_size) {
  *out = (struct net_proxy){0};
  const char *rest = url;
  uint16_t port = PORT_PROXY;
  if (strncasecmp(url, "http://", 7) == 0) {
    rest += 7;
  } else if (strncasecmp(url, "https://", 8) == 0) {
    rest += 8;
    port = PORT_WSS;
    out->tls = true;
  } else if (strstr(url, "://") != NULL) {
    return proxy_refuse(out, error, error_size);
  }
  size_t size = strcspn(rest, "/");
  if (rest[size] == '/' && rest[size + 1] != '\0') {
    return proxy_refuse(out, error, error_size);
  }
  const char *at = memrchr(rest, '@', size);
  if (at != NULL) {
    if (proxy_userinfo(out, rest, (size_t)(at - rest)) != 0) {
      net_proxy_clean(out);
      (void)net_sentence(error, error_size, "out of memory");
      return UV_ENOMEM;
    }
    size -= (size_t)(at + 1 - rest);
    rest = at + 1;
  }
  if (!authority_read(out->host, &out->port, rest, size)) {
    return proxy_refuse(out, error, error_size);
  }
  if (out->port == 0) {
    out->port = port;
  }
  int result = proxy_credentials(out, user, password, error, error_size);
  if (result != 0) {
    net_proxy_clean(out);
  }
  return result;
}
