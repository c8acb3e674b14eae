/* auth_plugin.h: a hook out of a shared object. Nobody but root and the server's own user can have written it, or put another in its place. */
#ifndef SERVER_AUTH_PLUGIN_H
#define SERVER_AUTH_PLUGIN_H

#include <stddef.h>

#include "mdm/auth.h"

/* The path must be absolute and without symbolic links; the file and every directory above it must belong to root or the current user and be
 * writable by nobody else. 0, or -1 with a sentence. */
int auth_plugin_check(const char *path, char *error, size_t error_size);
/* Checks and loads. `handle` goes to auth_plugin_unload() after the last use of `hook`. 0, or -1 with a sentence. */
int auth_plugin_load(void **handle, const struct mdm_auth_hook **hook, const char *path, char *error, size_t error_size);
void auth_plugin_unload(void *handle); /* NULL is fine */

#endif
