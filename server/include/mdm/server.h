/* mdm/server.h: the server as a library: what mdm-tunnel-server is made of.
 *
 * One server, made from the same options as the program (argv-like or JSON), run on the caller's loop or on its own. Thread: the caller's
 * loop thread, unless said otherwise.
 */
#ifndef MDM_SERVER_H
#define MDM_SERVER_H

#include "mdm/auth.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mdm_server mdm_server;

struct mdm_server_options {
  struct uv_loop_s *loop;      /* the caller's; NULL = the server makes its own and mdm_server_run() runs it */
  const char *config_json;     /* text of a config file, or NULL */
  int argc;                    /* flags as of the program, without argv[0]; 0 for none */
  char **argv;
  /* One formatted log line without newline; NULL = stderr. level: 0 error, 1 warn, 2 info, 3 debug. */
  void (*log)(int level, const char *line, void *user);
  void *user;
};

/* 0, or negative with a sentence in `error`. Nothing is bound yet. */
MDM_API int mdm_server_new(mdm_server **out, const struct mdm_server_options *options, char *error, size_t error_size);
/* Before start. `hook` must outlive the server; config_json may be NULL. */
MDM_API int mdm_server_add_hook(mdm_server *server, const struct mdm_auth_hook *hook, const char *config_json);
/* Binds and listens. Port 0 in the options = any free one. */
MDM_API int mdm_server_start(mdm_server *server, char *error, size_t error_size);
MDM_API uint16_t mdm_server_port(const mdm_server *server);
MDM_API uint16_t mdm_server_https_port(const mdm_server *server);
MDM_API uint16_t mdm_server_client_port(const mdm_server *server);
MDM_API uint16_t mdm_server_admin_port(const mdm_server *server);
/* Takes a connected socket that the embedder accepted itself, as if it had come in on the public port. 0 or negative; the fd is taken either way. */
MDM_API int mdm_server_accept(mdm_server *server, int fd);
MDM_API int mdm_server_run(mdm_server *server);     /* own loop only: until stopped */
MDM_API void mdm_server_reload(mdm_server *server);
/* Drains: GOAWAY, exchanges finish, at most the drain time; then `stopped` is called. A second call stops at once. */
MDM_API void mdm_server_stop(mdm_server *server, void (*stopped)(mdm_server *server, void *user), void *user);
MDM_API void mdm_server_free(mdm_server *server);   /* after stopped, or before start */

#ifdef __cplusplus
}
#endif
#endif
