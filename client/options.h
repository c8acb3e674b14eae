/* options.h: what the program is told: command line first, then MDM_TUNNEL_* in the environment, then the long form of
 * the services file. One table (options_table.c) says every option's names, type and help; nothing else knows them. */
#ifndef CLIENT_OPTIONS_H
#define CLIENT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTIONS_ROWS_MAX     40u
#define OPTIONS_DEFAULT_HOST "localhost"
#define OPTIONS_DEFAULT_PORT 8001u
#define OPTIONS_DEFAULT_FILE "~/.tunnel-services.json"

struct cJSON;
struct net_json;

enum options_command { OPTIONS_RUN, OPTIONS_LOGIN, OPTIONS_HASH, OPTIONS_HELP, OPTIONS_VERSION };
enum options_source { OPTIONS_UNSET, OPTIONS_FILE, OPTIONS_ENVIRONMENT, OPTIONS_ARGUMENT };

/* Strings are owned here; the secrets are wiped by options_clean. */
struct options {
  enum options_command command;
  char *host, *user, *name, *config, *credentials, *token, *fingerprint, *ca, *known_servers;
  char *carrier, *proxy_url, *proxy_username, *proxy_password, *log_format;
  int64_t port, max_attempts, heartbeat_s, verbose;
  bool replace, strict, plaintext, quiet, no_sandbox;
  char **services; /* into argv */
  size_t services_count;
  bool secret_in_argv;
  uint8_t source[OPTIONS_ROWS_MAX]; /* enum options_source by row of the table */
};

enum options_kind { OPTIONS_TEXT, OPTIONS_INTEGER, OPTIONS_SWITCH, OPTIONS_COUNT, OPTIONS_COMMAND };
#define OPTIONS_SECRET  1u /* wiped; overwritten in argv; a file that holds it must be private */
#define OPTIONS_NO_FILE 2u /* makes no sense in the services file */
#define OPTIONS_NO_ENV  4u
#define OPTIONS_CHOICES 8u /* TEXT: one of the words of its metavar */

struct options_row {
  const char *name; /* long form, key and (upper case) environment variable */
  char letter;      /* or 0 */
  enum options_kind kind;
  size_t offset;    /* of the member in struct options */
  int64_t min, max; /* INTEGER; COMMAND: min is the enum options_command */
  unsigned flags;
  const char *metavar; /* for the help; NULL: not shown, an older spelling of another row */
  const char *help;
};
extern const struct options_row options_table[];
extern const size_t options_table_size;

typedef const char *(*options_getenv)(const char *name);

void options_init(struct options *options);
void options_clean(struct options *options);
/* All three sources, in order. 0, or the exit status (enum mdm_client_status) with a sentence in `error`.
 * argv is permuted: services point into it, secrets in it are overwritten. */
int options_read(struct options *options, int argc, char **argv, options_getenv env, char *error, size_t error_size);
/* The parts of it. */
int options_read_arguments(struct options *options, int argc, char **argv, char *error, size_t error_size);
int options_read_environment(struct options *options, options_getenv env, char *error, size_t error_size);
int options_read_file(struct options *options, char *error, size_t error_size);

/* "services" of a long-form file, or NULL: the flat form. Long = "services" is an object that is not a service itself.
 */
const struct cJSON *options_long_form(const struct cJSON *root);
/* Every key but "services". `options` NULL: only judges them. 0, or -1 with the error recorded in `json`. */
int options_read_json(struct options *options, struct net_json *json, const struct cJSON *root);

void options_print_help(void); /* to stdout */

#endif
