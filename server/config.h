/* config.h: everything that the operator can set: defaults, then the JSON file, then the command line. Immutable once made; counted, so that a reload makes
 * a new one while old exchanges finish with theirs. Every key is documented in mdm-tunnel-server.1 and docs/configuration.md. */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "address.h"
#include "log.h"

enum access_format { ACCESS_COMBINED, ACCESS_JSON };
enum clash_policy { CLASH_REJECT, CLASH_REPLACE, CLASH_BALANCE };

struct server_limits {           /* "limits": {...}; 0 = none unless said otherwise */
  uint32_t head_bytes;           /* 32768 */
  uint32_t head_fields;          /* 100 */
  uint32_t target_bytes;         /* 8192 */
  uint32_t trailer_bytes;        /* 8192 */
  uint32_t chunk_extension_bytes;/* 1024 a message */
  uint64_t request_body_bytes;   /* 0 = any */
  uint32_t connections;          /* 10000 public ones */
  uint32_t connections_per_address; /* 1000 */
  uint32_t requests_per_address; /* a second; 0 = any number */
  uint32_t requests_per_user;    /* a second, to all services of a user; 0 = any number */
  uint32_t agents;               /* 1000 */
  uint32_t agents_per_user;      /* 100 */
  uint32_t services_per_user;    /* 1000 */
  uint32_t streams_per_agent;    /* 10000 */
  uint64_t held_bytes;           /* 0 = an eighth of the machine's memory */
};
struct server_timeouts {         /* "timeouts": {...}, milliseconds inside, seconds in the file */
  uint32_t head_ms;              /* 10 s: request head */
  uint32_t idle_ms;              /* 60 s: kept-alive visitor */
  uint32_t answer_ms;            /* 300 s: answer's head; a service's `timeout` wins */
  uint32_t write_stall_ms;       /* 300 s: a visitor that reads nothing of an HTTP body */
  uint32_t handshake_ms;         /* 5 s: unauthenticated client connection */
  uint32_t auth_ms;              /* 5 s: hook deadline */
  uint32_t hold_ms;              /* 5 s: --hold */
  uint32_t drain_ms;             /* 30 s: --drain */
  uint32_t heartbeat_ms, silence_ms; /* 5 s, 14 s */
};
struct server_config {
  unsigned references;
  uint16_t port;                 /* 8000; public HTTP */
  uint16_t client_port;          /* 8001 */
  uint16_t https_port;           /* 0 = none unless certificates are given, then 8443 */
  bool https_port_set;
  char **domains;   size_t domains_count;   /* --domain */
  char **binds;     size_t binds_count;     /* --bind; empty = by mode */
  char *tls_cert, *tls_key, *tls_dir;
  char *link_cert, *link_key;
  bool redirect_http;
  char *users_file;
  char *auth_plugin, *auth_config, *auth_url, *auth_login_url;
  char **auth_fields; size_t auth_fields_count;   /* names that hooks may hand on to origins */
  struct net_cidr *trusted; size_t trusted_count; /* --trusted-proxy */
  bool proxy_protocol;
  char *access_log;              /* NULL none, "-" stdout, or a path */
  enum access_format access_format;
  char *state_dir;
  char *admin;                   /* "127.0.0.1:9090"; NULL none */
  bool open;                     /* --open: open mode may bind elsewhere */
  bool open_mode;                /* derived: neither users nor a login hook */
  bool plaintext;                /* link without TLS, loopback only */
  enum clash_policy clash;
  char **reserved_allowed; size_t reserved_allowed_count;
  struct server_limits limits;
  struct server_timeouts timeouts;
  char *file;                    /* --config; NULL none */
  bool no_sandbox;               /* --no-sandbox: confine.h is left out */
  char *run_as;                  /* --user: user that the program becomes once its ports are open; NULL = stays */
  unsigned verbose;              /* -v, -v -v */
  bool quiet;                    /* -q */
  enum net_log_format log_format;
};
void server_config_defaults(struct server_config *config); /* in place; the caller frees with server_config_clean or made it by malloc */
void server_config_clean(struct server_config *config);    /* what it points to; for one that is embedded or failed half-way */
struct server_config *server_config_ref(struct server_config *config);
void server_config_unref(struct server_config *config);

/* What server_config_load() answers; the positive ones are the program's exit codes too. */
enum config_result { CONFIG_HELP = -2, CONFIG_VERSION = -1, CONFIG_OK = 0, CONFIG_USAGE = 2, CONFIG_WRONG = 3 };
/* Makes a configuration with one reference: defaults, then `json_text` (may be NULL), then the file of --config, then the flags (without argv[0]).
 * On CONFIG_USAGE and CONFIG_WRONG `error` has a sentence; for a file it names file, line and key. */
int server_config_load(struct server_config **out, const char *json_text, int argc, char **argv, char *error, size_t error_size);
/* Names of settings that differ but cannot change while the server runs. */
size_t server_config_fixed_changes(struct server_config *now, struct server_config *next, const char **names, size_t capacity);
/* Gives `next` the values that `now` has for those. False: memory is out. */
bool server_config_keep_fixed(struct server_config *now, struct server_config *next);
bool server_config_loopback_only(const struct server_config *config); /* no --bind leads out of this machine */
int server_config_admin_address(const char *text, struct mdm_address *address); /* "PORT", "ADDRESS:PORT"; 0 or UV_EINVAL */
void server_config_help(FILE *out);

#endif
