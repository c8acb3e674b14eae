/* mdm/client.h: the private side of the tunnel as a library: it dials a server, declares local services and serves
 * their streams.
 *
 *   struct mdm_client_options options;
 *   mdm_client_options_init(&options);
 *   options.host = "tunnel.example.com";
 *   options.user = "tim";
 *   options.services = (const char *const[]){"hello=3000"};
 *   options.services_count = 1;
 *   options.event = on_event;
 *   if (mdm_client_new(&client, &options, error, sizeof error) == MDM_CLIENT_OK)
 *     status = mdm_client_run(client);
 *   mdm_client_close(client, NULL, NULL);
 *
 * Threads: a client belongs to the thread of its loop; every function below is called there, and every event arrives
 * there. Re-entry: an event callback may call every function below except mdm_client_close and mdm_client_run. Strings
 * in options are copied by mdm_client_new; those in events are valid during the call.
 */
#ifndef MDM_CLIENT_H
#define MDM_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef MDM_API
#define MDM_API __attribute__((visibility("default")))
#endif

struct uv_loop_s;

/* How a client ended; the program's exit status. */
enum mdm_client_status {
  MDM_CLIENT_OK = 0,      /* stopped when asked to */
  MDM_CLIENT_RUNTIME = 1, /* out of memory, no loop, a broken system */
  MDM_CLIENT_USAGE = 2,   /* options that make no sense */
  MDM_CLIENT_CONFIG =
      3,                /* a services, credentials or known-servers file that is missing, wrong or readable by others */
  MDM_CLIENT_LOGIN = 4, /* the server refused the login, or the proxy its user name and password */
  MDM_CLIENT_KEY = 5,   /* the server's key is not the known one, or unknown where that is not enough */
  MDM_CLIENT_NAME = 6,  /* every service was refused */
  MDM_CLIENT_REPLACED = 7, /* another instance took the place */
  MDM_CLIENT_VERSION = 8,  /* no protocol version in common */
  MDM_CLIENT_GAVE_UP = 9,  /* max_attempts reached */
};

enum mdm_client_event_type {
  MDM_CLIENT_EVENT_CONNECTED,    /* logged in; text = the client's name as granted, user set */
  MDM_CLIENT_EVENT_URL,          /* a service is served: service, url. Again at every connect */
  MDM_CLIENT_EVENT_REFUSED,      /* the server refused a service: service, text = why */
  MDM_CLIENT_EVENT_NOTE,         /* a service without a web address and the like: service, text */
  MDM_CLIENT_EVENT_WARNING,      /* security and configuration: text */
  MDM_CLIENT_EVENT_FINGERPRINT,  /* first contact, the server's key was remembered: text */
  MDM_CLIENT_EVENT_DISCONNECTED, /* text = why, retry_ms = when the next attempt comes (0 = at once) */
  MDM_CLIENT_EVENT_STOPPED,      /* last event: status, text = a sentence ("" after a stop that was asked for) */
};

struct mdm_client_event {
  enum mdm_client_event_type type;
  enum mdm_client_status status;
  const char *service, *url, *user; /* "" where it does not apply */
  const char *text;                 /* a sentence in English, printable characters only */
  uint32_t retry_ms;
};

typedef struct mdm_client mdm_client;

enum mdm_client_log {
  MDM_CLIENT_LOG_NONE,
  MDM_CLIENT_LOG_ERROR,
  MDM_CLIENT_LOG_WARN,
  MDM_CLIENT_LOG_INFO,
  MDM_CLIENT_LOG_DEBUG
};

/* NULL and 0 mean the default, or that it is not wanted. */
struct mdm_client_options {
  /* The server. */
  const char
      *host;     /* name, HOST:PORT, ws:// wss:// http:// https:// URL, or a comma list of them. Default "localhost" */
  uint16_t port; /* of plain hosts; default 8001 */
  const char *carrier;                                     /* "tls", "ws" or "auto" (default) */
  bool plaintext;                                          /* without TLS; only to a loopback address */
  const char *proxy_url, *proxy_username, *proxy_password; /* HTTP CONNECT */
  /* Who this client is. */
  const char *user;             /* may be NULL with a token */
  const char *name;             /* of this client; default the host's name */
  bool replace;                 /* take a service over from another client */
  const char *token;            /* copied and wiped; else the credentials file is looked at */
  const char *credentials_file; /* default ~/.config/mdm-tunnel/credentials.json */
  /* How the server is known. */
  const char *fingerprint;   /* "SHA256:..." */
  const char *ca;            /* a PEM file, or "system" */
  bool strict;               /* refuse servers that are not known */
  const char *known_servers; /* default ~/.config/mdm-tunnel/known_servers */
  /* What is served. */
  const char *services_file;   /* watched and reloaded; NULL = none */
  bool services_file_optional; /* no error when it is missing */
  const char *const *services; /* "name=3000", "name=host:port", "name=unix:/path", or a target alone */
  size_t services_count;
  /* Behaviour. */
  uint32_t max_attempts;  /* connects that may fail in a row; 0 = any number */
  uint32_t heartbeat_ms;  /* a ping after so long a silence; default 5000 */
  bool login_only;        /* log in once and stop: nothing is served, nothing retried */
  struct uv_loop_s *loop; /* the caller's loop, or NULL: the client makes its own */
  enum mdm_client_log log_level;
  bool log_json;
  void (*log)(enum mdm_client_log level, const char *line, void *user); /* NULL = stderr */
  void (*event)(mdm_client *client, const struct mdm_client_event *event, void *user);
  void *user_data; /* given to `event` and `log` */
};

MDM_API void mdm_client_options_init(struct mdm_client_options *options);

/* Checks the options and reads the files. MDM_CLIENT_OK and *out, or a status with a sentence in `error` and *out NULL.
 */
MDM_API enum mdm_client_status mdm_client_new(mdm_client **out, const struct mdm_client_options *options, char *error,
                                              size_t error_size) __attribute__((warn_unused_result));
/* Begins to dial, on the loop given in the options or the client's own. Once. From here on exactly one STOPPED event
 * comes. */
MDM_API void mdm_client_start(mdm_client *client);
/* For a client with its own loop: starts (if that was not done) and runs until STOPPED; returns its status. */
MDM_API enum mdm_client_status mdm_client_run(mdm_client *client);
/* Reads the services file again (the watcher does so by itself). A broken file keeps the old map and brings a WARNING.
 */
MDM_API void mdm_client_reload(mdm_client *client);
/* Drains: says goodbye, lets streams finish for up to 10 s, then STOPPED. The second call ends them at once. */
MDM_API void mdm_client_stop(mdm_client *client);
/* The network changed or the machine woke up, for embedders who know: dials at once, or probes the link. */
MDM_API void mdm_client_poke(mdm_client *client);
MDM_API bool mdm_client_connected(const mdm_client *client);
MDM_API size_t mdm_client_streams(const mdm_client *client); /* streams being served now */
/* Ends what still runs and frees. NULL is fine. With the client's own loop everything is gone on return (and `closed`
 * was called); on a caller's loop `closed` is called from a later iteration, when the memory and every handle are gone.
 * Never from an event. */
MDM_API void mdm_client_close(mdm_client *client, void (*closed)(void *user), void *user);

#ifdef __cplusplus
}
#endif
#endif
