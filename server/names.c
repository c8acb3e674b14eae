/* names.c: owns the rule by which a Host becomes a route. */
#include "names.h"

#include <stdio.h>
#include <string.h>

#include "address.h"

#define LABELS_MAX 128 /* more than NAMES_HOST_MAX / 2 can hold */

struct label {
  const char *data;
  size_t size;
};

/* Labels directly under a served domain that visitors or operators take for the operator's own. */
static const char *const reserved_labels[] = {
    "abuse",   "account", "accounts", "admin",      "administrator", "api",      "app",    "apps",   "auth",   "autoconfig",
    "autodiscover", "billing", "blog", "cdn",       "console",       "dashboard", "dns",   "docs",   "email",  "ftp",
    "git",     "help",    "hostmaster", "imap",     "info",          "internal", "login",  "mail",   "mdm",    "metrics",
    "mx",      "ns",      "ns1",      "ns2",        "oauth",         "pop",      "pop3",   "postmaster", "proxy", "root",
    "security", "signin", "signup",   "smtp",       "sso",           "static",   "status", "support", "system", "tunnel",
    "vpn",     "webmail", "webmaster", "wpad",      "www",           "www1",     "www2"};

bool names_reserved(const char *user) {
  char folded[NET_LABEL_MAX + 1];
  if (!net_label_fold(folded, user, strlen(user))) {
    return false;
  }
  for (size_t i = 0; i < sizeof reserved_labels / sizeof reserved_labels[0]; i++) {
    if (folded[0] == reserved_labels[i][0] && strcmp(folded, reserved_labels[i]) == 0) {
      return true;
    }
  }
  return false;
}

/* Bytes that cannot stand in a Host (RFC 3986 3.2.2, without the userinfo and the delimiters). Everything else is at worst an
 * unknown name. */
static bool host_byte_valid(unsigned char c) {
  return c > 0x20 && c != 0x7f && strchr("\"#/:<>?@[\\]^`{|}", c) == NULL;
}

static char ascii_lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool port_parse(uint16_t *out, const char *text, size_t size) {
  unsigned value = 0;
  if (size > 5) {
    return false;
  }
  for (size_t i = 0; i < size; i++) {
    if (text[i] < '0' || text[i] > '9') {
      return false;
    }
    value = value * 10 + (unsigned)(text[i] - '0');
  }
  if (value > UINT16_MAX) {
    return false;
  }
  *out = (uint16_t)value;
  return true;
}

/* Splits off the port: `host_size` bytes of name, without brackets being touched. */
static bool host_split(const char *host, size_t size, size_t *host_size, uint16_t *port) {
  size_t end = size;
  *port = 0;
  if (size > 0 && host[0] == '[') {
    const char *close = memchr(host, ']', size);
    if (close == NULL) {
      return false;
    }
    end = (size_t)(close - host) + 1;
  } else {
    const char *colon = memchr(host, ':', size);
    end = colon == NULL ? size : (size_t)(colon - host);
  }
  *host_size = end;
  if (end == size) {
    return true;
  }
  return host[end] == ':' && port_parse(port, host + end + 1, size - end - 1);
}

static size_t labels_split(struct label labels[static LABELS_MAX], const char *host) {
  size_t count = 0;
  const char *start = host;
  for (const char *p = host;; p++) {
    if (*p != '.' && *p != '\0') {
      continue;
    }
    if (count == LABELS_MAX) {
      return 0;
    }
    labels[count++] = (struct label){start, (size_t)(p - start)};
    if (*p == '\0') {
      return count;
    }
    start = p + 1;
  }
}

static bool all_digits(const struct label *label) {
  for (size_t i = 0; i < label->size; i++) {
    if (label->data[i] < '0' || label->data[i] > '9') {
      return false;
    }
  }
  return label->size > 0;
}

static bool pair_fits(size_t service, size_t user) {
  return service + user <= NET_LABEL_MAX;
}

/* "service--user": exactly one "--", a valid label at each side. "xn--..." is an IDNA name and never a flat form. */
static bool flat_split(const struct label *label, struct label *service, struct label *user) {
  size_t at = 0;
  if (label->size >= 4 && memcmp(label->data, "xn--", 4) == 0) {
    return false;
  }
  for (size_t i = 0; i + 1 < label->size; i++) {
    if (label->data[i] == '-' && label->data[i + 1] == '-') {
      at = i;
      break;
    }
  }
  if (at == 0) {
    return false;
  }
  *service = (struct label){label->data, at};
  *user = (struct label){label->data + at + 2, label->size - at - 2};
  return net_label_valid(service->data, service->size) && net_label_valid(user->data, user->size) &&
         pair_fits(service->size, user->size);
}

static void route_set(struct route *out, const struct label *service, const struct label *user) {
  out->kind = ROUTE_USER;
  memcpy(out->user, user->data, user->size);
  out->user[user->size] = '\0';
  if (service != NULL) {
    out->kind = ROUTE_SERVICE;
    memcpy(out->service, service->data, service->size);
    out->service[service->size] = '\0';
  }
}

/* The labels left of the served domain: none, user, service--user, or service and user. */
static void route_prefix(struct route *out, const struct label *labels, size_t count) {
  struct label service, user;
  if (count == 0) {
    out->kind = ROUTE_SELF;
  } else if (count == 1 && flat_split(&labels[0], &service, &user)) {
    route_set(out, &service, &user);
  } else if (count == 1 && net_label_valid(labels[0].data, labels[0].size)) {
    route_set(out, NULL, &labels[0]);
  } else if (count == 2 && net_label_valid(labels[0].data, labels[0].size) &&
             net_label_valid(labels[1].data, labels[1].size) && pair_fits(labels[0].size, labels[1].size)) {
    route_set(out, &labels[0], &labels[1]);
  }
}

/* How many labels of the host stand left of `domain`; -1 if it is another domain. Both without trailing dot. */
static long labels_before(const struct label *labels, size_t count, const char *host, const char *domain) {
  size_t host_size = strlen(host);
  size_t domain_size = strlen(domain);
  if (domain_size > 0 && domain[domain_size - 1] == '.') {
    domain_size--;
  }
  if (domain_size == 0 || domain_size > host_size) {
    return -1;
  }
  const char *tail = host + host_size - domain_size;
  for (size_t i = 0; i < domain_size; i++) {
    if (tail[i] != ascii_lower(domain[i])) {
      return -1;
    }
  }
  if (tail == host) {
    return 0;
  }
  if (tail[-1] != '.') {
    return -1;
  }
  for (size_t i = 0; i < count; i++) {
    if (labels[i].data == tail) {
      return (long)i;
    }
  }
  return -1;
}

/* The most special served domain that covers the host; -1 if none does. */
static long prefix_find(const struct label *labels, size_t count, const char *host, const char *const *domains,
                        size_t domains_count) {
  long best = labels_before(labels, count, host, "localhost");
  for (size_t i = 0; i < domains_count; i++) {
    long before = labels_before(labels, count, host, domains[i]);
    if (before >= 0 && (best < 0 || before < best)) {
      best = before;
    }
  }
  return best;
}

/* No domain is configured: the number of labels decides. */
static void route_guess(struct route *out, const struct label *labels, size_t count) {
  struct label service, user;
  if (count < 3 || all_digits(&labels[count - 1])) {
    return;
  }
  for (size_t i = 0; i < count; i++) {
    if (labels[i].size == 0) {
      return;
    }
  }
  if (flat_split(&labels[0], &service, &user)) {
    route_set(out, &service, &user);
  } else if (count == 3) {
    route_prefix(out, labels, 1);
  } else {
    route_prefix(out, labels, 2);
  }
}

static void route_literal(struct route *out, const char *host, size_t size) {
  struct mdm_address address;
  if (size > 2 && size <= NET_ADDRESS_TEXT && net_address_parse(&address, host + 1, size - 2) == 0 && address.family == 6) {
    out->kind = ROUTE_SELF;
    out->fixed = true;
  }
}

void names_route(struct route *out, const char *const *domains, size_t domains_count, const char *host, size_t size) {
  struct label labels[LABELS_MAX];
  struct mdm_address address;
  size_t host_size = 0;
  *out = (struct route){.kind = ROUTE_INVALID};
  if (!host_split(host, size, &host_size, &out->port)) {
    return;
  }
  if (host_size > 1 && host[host_size - 1] == '.') {
    host_size--;
  }
  if (host_size == 0 || host_size > NAMES_HOST_MAX || (host_size > 1 && host[host_size - 1] == '.')) {
    return; /* one trailing dot is the root's; two are nobody's */
  }
  bool literal = host[0] == '[';
  for (size_t i = 0; i < host_size; i++) {
    if (!literal && !host_byte_valid((unsigned char)host[i])) {
      return;
    }
    out->host[i] = ascii_lower(host[i]);
  }
  if (literal) {
    route_literal(out, out->host, host_size);
    if (out->kind == ROUTE_INVALID) {
      out->host[0] = '\0';
    }
    return;
  }
  out->kind = ROUTE_FOREIGN;
  if (net_address_parse(&address, out->host, host_size) == 0) {
    out->kind = ROUTE_SELF;
    out->fixed = true;
    return;
  }
  size_t count = labels_split(labels, out->host);
  long before = prefix_find(labels, count, out->host, domains, domains_count);
  if (before >= 0) {
    out->fixed = true;
    route_prefix(out, labels, (size_t)before);
  } else if (domains_count == 0) {
    route_guess(out, labels, count);
  }
}

bool names_custom_valid(const char *const *domains, size_t domains_count, const char *host) {
  struct label labels[LABELS_MAX];
  struct route route;
  size_t size = strlen(host);
  names_route(&route, domains, domains_count, host, size);
  if (route.kind == ROUTE_INVALID || route.fixed || strcmp(route.host, host) != 0) {
    return false;
  }
  size_t count = labels_split(labels, route.host);
  if (count < 2 || all_digits(&labels[count - 1])) {
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    if (labels[i].size == 0 || labels[i].size > 63) {
      return false;
    }
    for (size_t k = 0; k < labels[i].size; k++) {
      char c = labels[i].data[k];
      bool edge = k == 0 || k + 1 == labels[i].size;
      if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c == '-' && !edge))) {
        return false;
      }
    }
  }
  return true;
}

void names_key_service(char out[static NAMES_KEY_MAX + 1], const char *user, const char *service) {
  snprintf(out, NAMES_KEY_MAX + 1, "%.*s.%.*s", NET_LABEL_MAX, service, NET_LABEL_MAX, user);
  for (char *p = out; *p != '\0'; p++) {
    *p = ascii_lower(*p);
  }
}

void names_key_domain(char out[static NAMES_KEY_MAX + 1], const char *host) {
  snprintf(out, NAMES_KEY_MAX + 1, "=%.*s", NAMES_HOST_MAX, host);
  size_t size = strlen(out);
  if (size > 2 && out[size - 1] == '.') {
    out[size - 1] = '\0';
  }
  for (char *p = out; *p != '\0'; p++) {
    *p = ascii_lower(*p);
  }
}

void names_url(char *out, size_t capacity, const char *scheme, const char *domain, uint16_t port, const char *user,
               const char *service, bool flat) {
  char port_text[8] = "";
  uint16_t own = strcmp(scheme, "https") == 0 || strcmp(scheme, "wss") == 0 ? 443 : 80;
  if (port != 0 && port != own) {
    snprintf(port_text, sizeof port_text, ":%u", (unsigned)port);
  }
  if (domain == NULL || domain[0] == '\0') {
    domain = "localhost";
  }
  if (service == NULL || service[0] == '\0') {
    snprintf(out, capacity, "%s://%s.%s%s", scheme, user, domain, port_text);
  } else {
    snprintf(out, capacity, "%s://%s%s%s.%s%s", scheme, service, flat ? "--" : ".", user, domain, port_text);
  }
}
