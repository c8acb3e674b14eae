/* names.h: from a Host to a route. Pure: no I/O, no state but the served domains.
 *
 *   service.user.DOMAIN       the service          service--user.DOMAIN   the same, flat
 *   user.DOMAIN               the user's list      DOMAIN                 the server itself
 * DOMAIN is a configured one; *.localhost always works by suffix; without configured domains any other host of
 * four or more labels is service.user.REST and of three user.REST.
 */
#ifndef SERVER_NAMES_H
#define SERVER_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "service.h"

#define NAMES_HOST_MAX 253

enum route_kind {
  ROUTE_INVALID,  /* not a host name at all: 400 */
  ROUTE_FOREIGN,  /* a well-formed host that is none of ours (maybe a custom domain): look it up by host */
  ROUTE_SELF,     /* the served domain itself, an IP literal, or localhost */
  ROUTE_USER,     /* user.DOMAIN */
  ROUTE_SERVICE,
};
struct route {
  enum route_kind kind;
  char host[NAMES_HOST_MAX + 1];     /* lower case, no port, no trailing dot; IPv6 literals with brackets */
  uint16_t port;                     /* as in the Host, 0 if none */
  char user[NET_LABEL_MAX + 1], service[NET_LABEL_MAX + 1];
  bool fixed;                        /* by a configured domain or *.localhost. When false, a custom domain of this very host wins over
                                        the guess by the number of labels: look names_key_domain(host) up first */
};
/* host: the raw Host value or authority. Never fails otherwise than by ROUTE_INVALID. */
void names_route(struct route *out, const char *const *domains, size_t domains_count, const char *host, size_t size);
bool names_reserved(const char *user);   /* labels that nobody may take unless configured */
/* May `host` be somebody's custom domain: a DNS name of two labels or more, in lower case, that the served domains do not cover? */
bool names_custom_valid(const char *const *domains, size_t domains_count, const char *host);
/* Registry keys: "service.user", or "=host" for a custom domain. */
#define NAMES_KEY_MAX (NAMES_HOST_MAX + 2)
void names_key_service(char out[static NAMES_KEY_MAX + 1], const char *user, const char *service);
void names_key_domain(char out[static NAMES_KEY_MAX + 1], const char *host);
/* The public URL of a service: scheme, the first domain (or "localhost"), port unless the scheme's own. Flat form when `flat`. */
void names_url(char *out, size_t capacity, const char *scheme, const char *domain, uint16_t port, const char *user, const char *service, bool flat);

#endif
