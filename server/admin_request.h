/* admin_request.h: what the admin listener is asked, judged strictly: own Host, own Origin, GET or HEAD, two paths. Pure. */
#ifndef SERVER_ADMIN_REQUEST_H
#define SERVER_ADMIN_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "mdm/mux.h"

#define ADMIN_HEAD_MAX 8192u

enum admin_wish {
  ADMIN_MORE,       /* the head is not complete yet */
  ADMIN_METRICS,
  ADMIN_HEALTH,
  ADMIN_BAD,        /* 400 */
  ADMIN_MISDIRECTED,/* 421: not our Host; a name that was pointed here (DNS rebinding) gets nothing */
  ADMIN_FORBIDDEN,  /* 403: asked from another site's page */
  ADMIN_METHOD,     /* 405 */
  ADMIN_UNKNOWN,    /* 404 */
  ADMIN_TOO_LARGE,  /* 431 */
};
struct admin_request {
  enum admin_wish wish;
  bool head; /* HEAD: no body */
};
/* `own`: the address and port that the connection came in on. Loopback literals and "localhost" with that port are its names. */
void admin_request_parse(struct admin_request *out, const char *data, size_t size, const struct mdm_address *own);

#endif
