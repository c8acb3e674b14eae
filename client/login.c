/* login.c: reading secrets from the terminal or stdin, and what is done with them. */
#include "login.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "credentials.h"
#include "identity.h"
#include "platform.h"
#include "setup.h"

#define PASSWORD_MAX 1024u

/* A line without its end. 0, or -1 when there is none, or it does not fit. */
static int read_secret(const char *prompt, char *out, size_t capacity) {
  if (platform_is_terminal(0))
    return platform_read_password(prompt, out, capacity) == 0 ? 0 : -1;
  if (fgets(out, (int)capacity, stdin) == NULL)
    return -1;
  size_t length = strcspn(out, "\r\n");
  if (out[length] == '\0' && length == capacity - 1)
    return -1;
  out[length] = '\0';
  return 0;
}

struct attempt {
  struct report *report;
  struct credentials credentials;
  bool accepted;
};

static void on_event(mdm_client *client, const struct mdm_client_event *event, void *user) {
  struct attempt *attempt = user;
  (void)client;
  if (event->type == MDM_CLIENT_EVENT_CONNECTED) {
    attempt->accepted = true;
    snprintf(attempt->credentials.user, sizeof attempt->credentials.user, "%s", event->user);
  }
  report_event(attempt->report, event);
}

static enum mdm_client_status save(const struct options *options, const struct credentials *credentials,
                                   const char *server, struct report *report) {
  char error[1024], line[1400];
  const char *name = options->credentials == NULL ? CREDENTIALS_DEFAULT_FILE : options->credentials;
  char *path = net_path_expand(name);
  if (path == NULL) {
    report_say(report, "the home directory is unknown: say where with --credentials FILE");
    return MDM_CLIENT_CONFIG;
  }
  enum mdm_client_status status = MDM_CLIENT_OK;
  if (credentials_save(credentials, path, server, error, sizeof error) != 0) {
    report_say(report, error);
    status = MDM_CLIENT_CONFIG;
  } else if (!report->quiet) {
    snprintf(line, sizeof line, "logged in at %s as %s; the token is saved in %s", server, credentials->user, path);
    puts(line);
  }
  free(path);
  return status;
}

/* One login as `attempt->credentials`, nothing served. */
static enum mdm_client_status try_login(struct attempt *attempt, struct mdm_client_options *client_options) {
  mdm_client *client;
  char error[1024];
  client_options->token = attempt->credentials.token;
  client_options->login_only = true;
  client_options->services = NULL;
  client_options->services_count = 0;
  client_options->services_file = NULL;
  client_options->loop = NULL;
  client_options->event = on_event;
  client_options->user_data = attempt;
  enum mdm_client_status status = mdm_client_new(&client, client_options, error, sizeof error);
  if (status != MDM_CLIENT_OK) {
    report_say(attempt->report, error);
    return status;
  }
  status = mdm_client_run(client);
  mdm_client_close(client, NULL, NULL);
  return status;
}

enum mdm_client_status login_run(const struct options *options, struct mdm_client_options *client_options,
                                 struct report *report) {
  struct attempt attempt = {.report = report};
  char server[CREDENTIALS_SERVER_MAX], error[512];
  enum mdm_client_status status = setup_server(client_options, server, error, sizeof error);
  if (status != MDM_CLIENT_OK) {
    report_say(report, error);
    return status;
  }
  struct credentials *credentials = &attempt.credentials;
  if (options->token != NULL)
    snprintf(credentials->token, sizeof credentials->token, "%s", options->token);
  else if (read_secret("Token: ", credentials->token, sizeof credentials->token) != 0)
    credentials->token[0] = '\0';
  const char *fault = credentials_token_fault(credentials->token);
  if (fault != NULL) {
    report_say(report, fault);
    status = MDM_CLIENT_USAGE;
  } else {
    status = try_login(&attempt, client_options);
  }
  if (status == MDM_CLIENT_OK && attempt.accepted)
    status = save(options, credentials, server, report);
  credentials_clean(credentials);
  return status;
}

enum mdm_client_status login_hash(const struct report *report) {
  char password[PASSWORD_MAX], hash[crypto_pwhash_STRBYTES];
  enum mdm_client_status status = MDM_CLIENT_OK;
  if (sodium_init() < 0)
    return MDM_CLIENT_RUNTIME;
  if (read_secret("Password: ", password, sizeof password) != 0 || password[0] == '\0') {
    report_say(report, "a password of 1 to 1022 bytes is wanted on the terminal or on standard input");
    status = MDM_CLIENT_USAGE;
  } else if (crypto_pwhash_str(hash, password, strlen(password), crypto_pwhash_OPSLIMIT_INTERACTIVE,
                               crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0) {
    report_say(report, "out of memory");
    status = MDM_CLIENT_RUNTIME;
  } else {
    puts(hash);
  }
  sodium_memzero(password, sizeof password);
  return status;
}
