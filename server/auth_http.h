/* auth_http.h: forward auth: hooks that ask an HTTP server.
 *
 * Visits: GET with the visitor's fields and X-Forwarded-Method, -Proto, -Host, -Uri, -For; 2xx allows, and those of its fields that the config
 * lists go on to the origin; 401, 403 and redirects go to the visitor with their fields and body; anything else denies.
 * Logins and claims: POST of a JSON object; 2xx with {"allow": true} allows. docs/auth-hook.md has the formats. */
#ifndef SERVER_AUTH_HTTP_H
#define SERVER_AUTH_HTTP_H

#include "config.h"
#include "loop.h"
#include "mdm/auth.h"

struct auth_http;
extern const struct mdm_auth_hook auth_http_visit_hook;
extern const struct mdm_auth_hook auth_http_login_hook;

/* url: http://HOST[:PORT][/PATH] or https. `config` is where the worker keeps its current configuration (whose auth_fields may go on to origins).
 * The result is the `self` of one of the hooks: the chain closes it. 0, or -1 with a sentence. */
int auth_http_open(struct auth_http **out, struct net_loop *loop, const char *url, struct server_config *const *config, char *error,
                   size_t error_size);

#endif
