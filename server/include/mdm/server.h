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

/* Errors: negative exit codes of the program. */
enum mdm_server_error {
  MDM_SERVER_RUNTIME = -1, /* memory, the system */
  MDM_SERVER_USAGE = -2,   /* a wrong flag, or a call at the wrong time */
  MDM_SERVER_CONFIG = -3,  /* a wrong setting, file, key or certificate */
  MDM_SERVER_BIND = -4,    /* an address cannot be listened on */
};

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
/* Before start; hooks are asked in the order added, after those of the options. `hook` must outlive the server; config_json may be NULL. */
MDM_API int mdm_server_add_hook(mdm_server *server, const struct mdm_auth_hook *hook, const char *config_json);
/* Binds and listens. Port 0 in the options = any free one. After an error only mdm_server_free() is left to call. */
MDM_API int mdm_server_start(mdm_server *server, char *error, size_t error_size);
MDM_API uint16_t mdm_server_port(const mdm_server *server);
MDM_API uint16_t mdm_server_https_port(const mdm_server *server);
MDM_API uint16_t mdm_server_client_port(const mdm_server *server);
MDM_API uint16_t mdm_server_admin_port(const mdm_server *server);
/* Takes a connected socket that the embedder accepted itself, as if it had come in on the public port. 0 or negative; the fd is taken either way. */
MDM_API int mdm_server_accept(mdm_server *server, int fd);
MDM_API int mdm_server_run(mdm_server *server);     /* own loop only: until stopped */
/* Reads the configuration again (SIGHUP): users, certificates, access log, limits, timeouts, trusted proxies, domains apply; a wrong file changes
 * nothing. 0, or MDM_SERVER_CONFIG: the log says why. */
MDM_API int mdm_server_reload(mdm_server *server);
/* Drains: GOAWAY, exchanges finish, at most the drain time; then `stopped` is called, never from inside this call; it may be NULL. A second call
 * cuts what is left at once (its `stopped` replaces the first). */
MDM_API void mdm_server_stop(mdm_server *server, void (*stopped)(mdm_server *server, void *user), void *user);
/* After `stopped` (on a caller's loop also from inside it; else after mdm_server_run() has returned), or after a start that failed, or before one. NULL is fine. On a caller's loop the memory goes with the close
 * callbacks of the loop's next iterations: run it until nothing is left on it. The log function is not called any more. */
MDM_API void mdm_server_free(mdm_server *server);

#ifdef __cplusplus
}
#endif
#endif
