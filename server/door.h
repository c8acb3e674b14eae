/* door.h: what happens to an accepted connection before it is a visitor's or a client's: caps, PROXY header, TLS, ALPN. */
#ifndef SERVER_DOOR_H
#define SERVER_DOOR_H

#include <stddef.h>

#include "mdm/mux.h"

#define DOOR_LINGER_MS 1000u /* a refused visitor gets so long to take its 503 */
#define DOOR_LINGERS_MAX 64u /* so many at once; others are closed without a word */

struct worker;
struct door_set;

enum door_kind {
  DOOR_HTTP,   /* public, plain */
  DOOR_HTTPS,  /* public, TLS of the certificate store; a client may come in too (ALPN) */
  DOOR_CLIENT, /* links only */
};

int door_set_new(struct door_set **out, struct worker *worker); /* 0 or UV_ENOMEM */
void door_set_close(struct door_set *set);                      /* closes what still stands at the door; takes no more */
size_t door_set_waiting(const struct door_set *set);            /* connections not yet given away */
size_t door_set_open(const struct door_set *set);               /* all that came in by a door and still live, whoever owns them now */
void door_set_free(struct door_set *set);                       /* every connection is gone. NULL is fine */

/* Takes the non-blocking socket, whatever happens. */
void door_accept(struct worker *worker, enum door_kind kind, int fd, const struct mdm_address *peer);

#endif
