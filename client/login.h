/* login.h: the program's commands that are no tunnel: `login` saves a token that the server takes, `hash` turns a
 * password into what basic_auth wants. */
#ifndef CLIENT_LOGIN_H
#define CLIENT_LOGIN_H

#include "mdm/client.h"
#include "options.h"
#include "report.h"

/* Reads the token (unless one was given) without echo, tries it, saves it. */
enum mdm_client_status login_run(const struct options *options, struct mdm_client_options *client_options,
                                 struct report *report);
enum mdm_client_status login_hash(const struct report *report);

#endif
