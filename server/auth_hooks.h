/* auth_hooks.h: which hooks a server has: the user file, forward auth, the plugin, the embedder's own. Made once a server from its config; opened
 * once a worker. They are asked in this order. */
#ifndef SERVER_AUTH_HOOKS_H
#define SERVER_AUTH_HOOKS_H

#include "auth.h"
#include "config.h"

#define AUTH_HOOKS_MAX 16u

struct auth_hooks;
struct worker;

/* Checks and loads the plugin, reads --auth-config. 0, or -1 with a sentence. The config must live as long. */
int auth_hooks_new(struct auth_hooks **out, const struct server_config *config, char *error, size_t error_size);
/* Appends an embedder's hook; its config_json is copied. 0, UV_E2BIG over AUTH_HOOKS_MAX, UV_ENOMEM. */
int auth_hooks_add(struct auth_hooks *hooks, const struct mdm_auth_hook *hook, const char *config_json);
/* Does any of them answer LOGIN? If not, the server is in open mode (config->open_mode). */
bool auth_hooks_login(const struct auth_hooks *hooks);
/* Opens all of them on the worker's loop: makes worker->auth, watches the user file (live sessions end on revocation), tells the registry which
 * users are known. worker->registry and worker->agents must exist. 0, or -1 with a sentence. */
int auth_hooks_open(struct auth_hooks *hooks, struct worker *worker, char *error, size_t error_size);
void auth_hooks_close(struct worker *worker); /* closes worker->auth; after agent_set_close and visitor_set_close */
void auth_hooks_free(struct auth_hooks *hooks); /* after every worker's close. NULL is fine */

#endif
