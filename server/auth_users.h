/* auth_users.h: the user file as a hook: answers logins and claims, and tells when the file takes something away. */
#ifndef SERVER_AUTH_USERS_H
#define SERVER_AUTH_USERS_H

#include "loop.h"
#include "mdm/auth.h"

struct auth_users;
struct auth_users_events {
  void (*revoked)(void *arg, const char *user);   /* removed, or another token */
  void (*regranted)(void *arg, const char *user); /* other custom domains */
  void *arg;
};

extern const struct mdm_auth_hook auth_users_hook;

/* Loads the file, which must be there and good, and watches it: a file that can no longer be read denies every login until it can. The result
 * is the hook's `self`: the chain closes it. 0, or -1 with a sentence. */
int auth_users_open(struct auth_users **out, struct net_loop *loop, const char *path, const struct auth_users_events *events, char *error,
                    size_t error_size);
/* For the registry's directory and regrants; `self` is a struct auth_users. */
bool auth_users_known(void *self, const char *user);
bool auth_users_domain_known(void *self, const char *host);
bool auth_users_granted(void *self, const char *user, const char *host);

#endif
