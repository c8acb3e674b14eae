/* confine.h: the program gives up what a running server does not need. Of the program, not of the library: an embedding process decides for itself. */
#ifndef SERVER_CONFINE_H
#define SERVER_CONFINE_H

#include <stddef.h>

struct mdm_server;

/* Once started, before the loop runs. 0, or an MDM_SERVER_ code with a sentence in `error`. */
int server_confine(struct mdm_server *server, char *error, size_t error_size);

#endif
