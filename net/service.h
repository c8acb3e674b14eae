/* service.h: one declared service, as the client announces it and the server applies it. No I/O.
 *
 * The same JSON object stands in ~/.tunnel-services.json (client/services.h reads it) and in SERVICES (hello.h), less what only
 * the client needs (the target, `tls`, `proxy_protocol`): targets never leave the client.
 */
#ifndef NET_SERVICE_H
#define NET_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"

struct cJSON;

#define NET_LABEL_MAX 61          /* service and user together, DNS label less "--" */
#define NET_SERVICE_NAME_MAX 128  /* any string may be a key; only labels have a web address */
#define NET_SERVICE_LIST_MAX 64   /* entries of headers, allow, domains, basic_auth, upgrades */
#define NET_SERVICES_MAX 1024     /* services of one client */
#define NET_TIMEOUT_DEFAULT_S 300

struct net_field {
  char *name, *value; /* value NULL or "" in response/request headers = remove the field */
};
struct net_basic_user {
  char *user;
  char *hash;         /* crypto_pwhash_str, as `mdm-tunnel-client hash` prints it */
};

/* The HTTP options, applied by the server. */
struct net_service_options {
  enum { NET_REWRITE_NONE, NET_REWRITE_TARGET, NET_REWRITE_NAME } rewrite_host;
  char *rewrite_name;  /* the Host to send: the target's host:port for `true` (the client fills it in), the given name else */
  struct net_field *headers, *response_headers;
  size_t headers_count, response_headers_count;
  struct net_basic_user *basic_auth;
  size_t basic_auth_count;
  struct net_cidr *allow;
  size_t allow_count;
  char **domains, **upgrades;
  size_t domains_count, upgrades_count;
  uint32_t timeout_s;  /* until the answer's head; 0 = never */
};
struct net_service {
  char name[NET_SERVICE_NAME_MAX + 1];
  uint32_t id;         /* never reassigned within a session, 1 and up */
  struct net_service_options options;
};

void net_service_options_init(struct net_service_options *options); /* the defaults */
void net_service_options_clean(struct net_service_options *options);
int net_service_options_copy(struct net_service_options *out, const struct net_service_options *in);
bool net_service_options_equal(const struct net_service_options *a, const struct net_service_options *b);
/* Reads the options out of a JSON object (SERVICES entry). Unknown keys are ignored. 0, or -1 with a sentence naming the key. */
int net_service_options_read(struct net_service_options *out, const struct cJSON *object, char *error, size_t error_size);
int net_service_options_write(const struct net_service_options *options, struct cJSON *object); /* only what is not default */

/* [a-z0-9-], no hyphen at either end, no "--", 1 to 61. Compares case-insensitively: out gets lower case. */
bool net_label_valid(const char *text, size_t size);
/* Case-folded copy of a valid label; returns false when it is none. */
bool net_label_fold(char out[static NET_LABEL_MAX + 1], const char *text, size_t size);

#endif
