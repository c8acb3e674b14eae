/* mdm/auth.h: the hook that authorises everything: a client's login, its claim of a name, each stream, each visitor's request.
 *
 * A hook is a table of functions, used in three ways: given to mdm_server_add_hook() by an embedder, exported by a plugin
 * (`const struct mdm_auth_hook *mdm_auth_plugin(void)`, loaded by --auth-plugin /abs/path.so), or built in (user file, HTTP sub-request).
 * Hooks form a chain in the order they were added. A step is allowed only if EVERY hook that declares it allows it; an answer of all zeroes
 * denies; so do a missed deadline, an error and a crash of open(). Steps that no hook declares: login is denied (but in open mode),
 * a claim is granted for the user's own names only, a stream and a visit are allowed.
 *
 * Threads: every call for one `self` comes on the thread of the loop given to open(); with N workers open() is called N times.
 * Never block in a call: answer now, or keep `call` and answer later from the same thread.
 */
#ifndef MDM_AUTH_H
#define MDM_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mdm/mux.h" /* struct mdm_address, MDM_API */

#ifdef __cplusplus
extern "C" {
#endif

#define MDM_AUTH_ABI 1u

struct uv_loop_s;
struct mdm_auth_call; /* one question in flight; opaque */

enum mdm_auth_step { MDM_AUTH_LOGIN = 0, MDM_AUTH_CLAIM = 1, MDM_AUTH_STREAM = 2, MDM_AUTH_VISIT = 3 };
#define MDM_AUTH_BIT(step) (1u << (step))

/* Not NUL-terminated: trust only `size`. */
struct mdm_text {
  const char *data;
  size_t size;
};
struct mdm_auth_field {
  struct mdm_text name, value;
};

/* Valid until the call is answered or cancelled. Parts that do not belong to the step are empty. */
struct mdm_auth_question {
  enum mdm_auth_step step;
  struct mdm_address address;     /* of the client (login, claim, stream) or of the visitor */
  bool encrypted;                 /* the peer's connection to us is TLS (or a trusted proxy said https) */
  /* LOGIN, CLAIM, STREAM: who. LOGIN: `user` is what the client asked for (-u), not proven. */
  struct mdm_text user, client_name;
  /* LOGIN: the credential as sent. `key` is 32 bytes and its signature has been checked. */
  struct mdm_text token, key;
  /* CLAIM: the service, and its full public name ("hello.tim" under the served domains, or a custom domain). */
  struct mdm_text service, name;
  bool custom_domain;
  /* STREAM: what is to be dialled. */
  struct mdm_text target;
  /* VISIT: `user` and `service` above are the default route that the Host gives, both empty for a foreign Host, service empty
   * for the list page user.DOMAIN. The target as the service gets it: a path with its query, or "*". Fields in the order
   * received, before ours are added. */
  struct mdm_text method, request_target, host, scheme;
  const struct mdm_auth_field *fields;
  size_t fields_count;
  bool websocket;
};

/* Everything is copied by mdm_auth_answer(). Zero-initialise: all zeroes denies. */
struct mdm_auth_answer {
  bool allow;
  /* LOGIN: the proven user name (empty: the one asked for). VISIT: the route, replaces the default one when `user` is not empty. */
  struct mdm_text user, service;
  /* A sentence for the one who was refused (login, claim, stream) and for the log. */
  struct mdm_text reason;
  /* VISIT, denied: the answer to the visitor: status (0 = 403), its fields (Location, WWW-Authenticate, Set-Cookie, ...), body (text/html or as a field says). */
  int status;
  const struct mdm_auth_field *answer_fields;
  size_t answer_fields_count;
  struct mdm_text body;
  /* VISIT, allowed: fields handed on to the origin. Only names listed in the server's `auth-field` pass; the visitor's own
   * fields of those names are removed from every request, always. */
  const struct mdm_auth_field *origin_fields;
  size_t origin_fields_count;
  /* Limits; 0 = the server's own. */
  struct {
    uint64_t request_body_bytes; /* VISIT: over it 413 */
    uint32_t timeout_s;          /* VISIT: until the answer's head */
    uint32_t max_streams;        /* LOGIN: streams of this client at once */
    uint32_t max_services;       /* LOGIN */
  } limits;
};

struct mdm_auth_hook {
  uint32_t abi;     /* MDM_AUTH_ABI */
  const char *name; /* for logs */
  unsigned steps;   /* MDM_AUTH_BIT()s that it answers; it is not asked the others */
  /* Once per worker. config_json: the text of --auth-config's file or of the embedder, "" if none. Non-zero: the server does not start. */
  int (*open)(void **self, struct uv_loop_s *loop, const char *config_json);
  void (*ask)(void *self, const struct mdm_auth_question *question, struct mdm_auth_call *call);
  /* The asker left or the deadline passed: `call` is dead after this returns; do not answer it. May be NULL only if ask() always answers at once. */
  void (*cancel)(void *self, struct mdm_auth_call *call);
  void (*close)(void *self); /* every call has been answered or cancelled before */
};

/* Answers once, now (inside ask) or later. Copies `answer`. */
MDM_API void mdm_auth_answer(struct mdm_auth_call *call, const struct mdm_auth_answer *answer);
/* A place for the hook's own pointer while it works on the call. */
MDM_API void mdm_auth_call_set(struct mdm_auth_call *call, void *data);
MDM_API void *mdm_auth_call_get(const struct mdm_auth_call *call);

/* The symbol that a plugin exports. */
typedef const struct mdm_auth_hook *(*mdm_auth_plugin_fn)(void);
#define MDM_AUTH_PLUGIN_SYMBOL "mdm_auth_plugin"

#ifdef __cplusplus
}
#endif
#endif
