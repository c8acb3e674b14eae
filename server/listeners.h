/* listeners.h: on which addresses a port is opened, and the sentences when it cannot be. */
#ifndef SERVER_LISTENERS_H
#define SERVER_LISTENERS_H

#include "config.h"
#include "listener.h"

#define LISTENERS_MAX 64u       /* addresses of one port */
#define LISTENERS_PORT_TRIES 16u /* port 0: other free ports are tried when one family has it and the other has not */

struct listeners {
  struct net_listener *list[LISTENERS_MAX];
  size_t count;
  uint16_t port; /* really bound, the same on all */
};
struct listeners_request {
  const struct server_config *config;
  bool loopback_only;    /* by mode, where no --bind is given */
  uint16_t port;         /* 0 = any free one */
  const char *flag;      /* for the message: "--port" */
  net_accept_cb accepted;
  void *user;
};
/* 0, or -1 with a sentence; then nothing is open. ::1 may be missing where localhost is meant, not where it was asked for. */
int listeners_open(struct listeners *out, struct net_loop *loop, const struct listeners_request *request, char *error, size_t error_size);
void listeners_close(struct listeners *listeners);
/* "cannot listen on 127.0.0.1:8000: already in use; ..." */
void listeners_explain(char *error, size_t error_size, const struct mdm_address *address, int code, const char *flag);

#endif
