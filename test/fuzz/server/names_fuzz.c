/* names_fuzz.c: any bytes as a Host, with and without served domains: what comes out keeps the rules of names.h. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds) {
  if (!holds) {
    abort();
  }
}

static void check(const char *const *domains, size_t count, const char *host, size_t size) {
  struct route route, again;
  char key[NAMES_KEY_MAX + 1];
  names_route(&route, domains, count, host, size);
  must(strlen(route.host) <= NAMES_HOST_MAX);
  must((route.kind == ROUTE_SERVICE || route.kind == ROUTE_USER) == (route.user[0] != '\0'));
  must((route.kind == ROUTE_SERVICE) == (route.service[0] != '\0'));
  if (route.user[0] != '\0') {
    must(net_label_valid(route.user, strlen(route.user)));
    must(strlen(route.service) + strlen(route.user) <= NET_LABEL_MAX);
    must(route.service[0] == '\0' || net_label_valid(route.service, strlen(route.service)));
    names_key_service(key, route.user, route.service);
  }
  if (route.kind != ROUTE_INVALID) { /* the normal form means the same */
    names_key_domain(key, route.host);
    names_route(&again, domains, count, route.host, strlen(route.host));
    must(again.kind == route.kind || route.host[strlen(route.host) - 1] == '.');
    (void)names_custom_valid(domains, count, route.host);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const domains[] = {"example.com", "eu.example.com", "d"};
  check(NULL, 0, (const char *)data, size);
  check(domains, 3, (const char *)data, size);
  return 0;
}
