/* setup.c: checking options and turning them into a tunnel's configuration. */
#include "setup.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "identity.h"
#include "options.h"
#include "platform.h"

static bool text_given(const char *text) {
  return text != NULL && text[0] != '\0';
}

/* ---- servers ---- */
/* One item of the list: one endpoint, or two ways to the same server. */
static enum mdm_client_status add_endpoint(struct tunnel_config *config, const struct mdm_client_options *options,
                                           const char *text, size_t size, char *error, size_t error_size) {
  struct net_endpoint ways[2];
  uint16_t port = options->port == 0 ? OPTIONS_DEFAULT_PORT : options->port;
  int count =
      net_endpoint_parse(ways, text, size, port, options->plaintext ? "tls" : options->carrier, error, error_size);
  if (count < 0)
    return MDM_CLIENT_USAGE;
  for (int i = 0; i < count; i++) {
    if (config->endpoints_count == TUNNEL_ENDPOINTS_MAX) {
      snprintf(error, error_size, "too many servers: at most %u ways to reach them", TUNNEL_ENDPOINTS_MAX);
      return MDM_CLIENT_USAGE;
    }
    struct tunnel_endpoint *endpoint = &config->endpoints[config->endpoints_count++];
    *endpoint = (struct tunnel_endpoint){.endpoint = ways[i], .port = ways[0].port};
    memcpy(endpoint->host, ways[0].host, sizeof endpoint->host);
    if (!options->plaintext)
      continue;
    endpoint->endpoint.carrier = NET_CARRIER_PLAIN;
    if (!net_host_is_loopback(endpoint->host)) {
      snprintf(error, error_size, "%s is not on this machine: --plaintext is for loopback only", endpoint->host);
      return MDM_CLIENT_USAGE;
    }
  }
  return MDM_CLIENT_OK;
}

static enum mdm_client_status make_endpoints(struct tunnel_config *config, const struct mdm_client_options *options,
                                             char *error, size_t error_size) {
  const char *text = text_given(options->host) ? options->host : OPTIONS_DEFAULT_HOST;
  config->endpoints_count = 0;
  for (;;) {
    size_t size = strcspn(text, ","), skip = strspn(text, " ");
    if (skip > size)
      skip = size;
    size_t end = size;
    while (end > skip && text[end - 1] == ' ')
      end--;
    enum mdm_client_status status = add_endpoint(config, options, text + skip, end - skip, error, error_size);
    if (status != MDM_CLIENT_OK)
      return status;
    if (text[size] == '\0')
      return MDM_CLIENT_OK;
    text += size + 1;
  }
}

enum mdm_client_status setup_server(const struct mdm_client_options *options, char out[static CREDENTIALS_SERVER_MAX],
                                    char *error, size_t error_size) {
  struct tunnel_config config = {0};
  enum mdm_client_status status = make_endpoints(&config, options, error, error_size);
  if (status == MDM_CLIENT_OK)
    credentials_server(out, config.endpoints[0].host, config.endpoints[0].port);
  return status;
}

static enum mdm_client_status make_proxy(struct setup *setup, const struct mdm_client_options *options, char *error,
                                         size_t error_size) {
  if (!text_given(options->proxy_url)) {
    if (!text_given(options->proxy_username) && !text_given(options->proxy_password))
      return MDM_CLIENT_OK;
    snprintf(error, error_size, "--proxy-username and --proxy-password go with --proxy-url");
    return MDM_CLIENT_USAGE;
  }
  if (options->plaintext) {
    snprintf(error, error_size, "--plaintext is for loopback only, and a proxy is not that");
    return MDM_CLIENT_USAGE;
  }
  if (net_proxy_parse(&setup->proxy, options->proxy_url, options->proxy_username, options->proxy_password, error,
                      error_size) != 0)
    return MDM_CLIENT_USAGE;
  setup->tunnel.proxy = &setup->proxy;
  return MDM_CLIENT_OK;
}

/* ---- who we are ---- */
static enum mdm_client_status load_credentials(struct setup *setup, const struct mdm_client_options *options,
                                               char *error, size_t error_size) {
  const struct tunnel_endpoint *first = &setup->tunnel.endpoints[0];
  char server[CREDENTIALS_SERVER_MAX];
  bool named = text_given(options->credentials_file);
  char *path = net_path_expand(named ? options->credentials_file : CREDENTIALS_DEFAULT_FILE);
  if (path == NULL && !named)
    return MDM_CLIENT_OK; /* no home, no file */
  if (path == NULL) {
    snprintf(error, error_size, "%s: the home directory is unknown", options->credentials_file);
    return MDM_CLIENT_CONFIG;
  }
  int found =
      credentials_load(&setup->identity, path, credentials_server(server, first->host, first->port), error, error_size);
  if (found == 0 && named && !options->login_only) {
    snprintf(error, error_size, "%s has no token for %s", path, server);
    found = -1;
  }
  free(path);
  return found < 0 ? MDM_CLIENT_CONFIG : MDM_CLIENT_OK;
}

static enum mdm_client_status make_identity(struct setup *setup, const struct mdm_client_options *options, char *error,
                                            size_t error_size) {
  struct credentials *identity = &setup->identity;
  struct session_identity *out = &setup->tunnel.identity;
  enum mdm_client_status status = MDM_CLIENT_OK;
  if (options->token != NULL) {
    const char *fault = credentials_token_fault(options->token);
    if (fault != NULL) {
      snprintf(error, error_size, "%s", fault);
      return MDM_CLIENT_USAGE;
    }
    snprintf(identity->token, sizeof identity->token, "%s", options->token);
  } else if ((status = load_credentials(setup, options, error, error_size)) != MDM_CLIENT_OK) {
    return status;
  }
  if (text_given(options->user) && strlen(options->user) >= sizeof identity->user) {
    snprintf(error, error_size, "the user name is too long");
    return MDM_CLIENT_USAGE;
  }
  if (text_given(options->user))
    snprintf(identity->user, sizeof identity->user, "%s", options->user);
  if (identity->user[0] == '\0' && identity->token[0] == '\0') {
    snprintf(error, error_size,
             "say who you are: -u NAME, or save the token that the server's operator gave you with "
             "mdm-tunnel-client login");
    return MDM_CLIENT_USAGE;
  }
  if (text_given(options->name) && strlen(options->name) >= sizeof setup->client_name) {
    snprintf(error, error_size, "the client's name is too long");
    return MDM_CLIENT_USAGE;
  }
  if (text_given(options->name))
    snprintf(setup->client_name, sizeof setup->client_name, "%s", options->name);
  else
    (void)platform_host_name(setup->client_name, sizeof setup->client_name);
  *out = (struct session_identity){
      .user = identity->user,
      .token = identity->token,
      .client_name = setup->client_name,
      .name_explicit = text_given(options->name),
      .replace = options->replace,
  };
  randombytes_buf(out->instance, sizeof out->instance);
  return MDM_CLIENT_OK;
}

/* ---- what we trust ---- */
static enum mdm_client_status make_trust(struct setup *setup, const struct mdm_client_options *options, char *error,
                                         size_t error_size) {
  struct trust *trust = &setup->tunnel.trust;
  trust->strict = options->strict;
  trust->ca = text_given(options->ca);
  trust->bearer = setup->identity.token[0] != '\0';
  if (trust->bearer) {
    uint8_t secret[NET_TOKEN_SECRET_SIZE];
    int status = net_token_parse(setup->identity.token, secret, trust->token_pin, &trust->pinned_by_token);
    sodium_memzero(secret, sizeof secret);
    if (status != 0) {
      snprintf(error, error_size, "the token is damaged: copy all of it, from \"mdm1.\" to its end");
      return MDM_CLIENT_USAGE;
    }
  }
  if (text_given(options->fingerprint)) {
    trust->pinned = net_fingerprint_parse(trust->pin, options->fingerprint, strlen(options->fingerprint)) == 0;
    if (!trust->pinned) {
      snprintf(error, error_size,
               "--fingerprint must look like SHA256: and 43 characters, as the server prints it at its start");
      return MDM_CLIENT_USAGE;
    }
  }
  trust->known_servers =
      net_path_expand(text_given(options->known_servers) ? options->known_servers : TRUST_DEFAULT_FILE);
  if (trust->known_servers == NULL && text_given(options->known_servers)) {
    snprintf(error, error_size, "%s: the home directory is unknown", options->known_servers);
    return MDM_CLIENT_CONFIG;
  }
  if (!trust->ca)
    return MDM_CLIENT_OK;
  setup->ca = strcmp(options->ca, "system") == 0 ? strdup("system") : net_path_expand(options->ca);
  setup->tunnel.ca = setup->ca;
  if (setup->ca == NULL) {
    snprintf(error, error_size, "%s: the home directory is unknown", options->ca);
    return MDM_CLIENT_CONFIG;
  }
  return MDM_CLIENT_OK;
}

enum mdm_client_status setup_make(struct setup *setup, const struct mdm_client_options *options, char *error,
                                  size_t error_size) {
  typedef enum mdm_client_status step(struct setup *, const struct mdm_client_options *, char *, size_t);
  static step *const steps[] = {make_proxy, make_identity, make_trust};
  *setup = (struct setup){0};
  enum mdm_client_status status = make_endpoints(&setup->tunnel, options, error, error_size);
  for (size_t i = 0; status == MDM_CLIENT_OK && i < sizeof steps / sizeof *steps; i++)
    status = steps[i](setup, options, error, error_size);
  setup->tunnel.heartbeat_ms = options->heartbeat_ms;
  setup->tunnel.max_attempts = options->max_attempts;
  setup->tunnel.login_only = options->login_only;
  if (status != MDM_CLIENT_OK)
    setup_clean(setup);
  return status;
}

void setup_clean(struct setup *setup) {
  credentials_clean(&setup->identity);
  net_proxy_clean(&setup->proxy);
  trust_clean(&setup->tunnel.trust);
  free(setup->ca);
  *setup = (struct setup){0};
}
