/* config.c: the defaults of every setting, and the count of those who hold a configuration. */
#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void server_config_defaults(struct server_config *config) {
  *config = (struct server_config){
      .references = 1,
      .port = 8000,
      .client_port = 8001,
      .access_format = ACCESS_COMBINED,
      .clash = CLASH_REJECT,
      .limits =
          {
              .head_bytes = 32768,
              .head_fields = 100,
              .target_bytes = 8192,
              .trailer_bytes = 8192,
              .chunk_extension_bytes = 1024,
              .connections = 10000,
              .connections_per_address = 1000,
              .agents = 1000,
              .agents_per_user = 100,
              .services_per_user = 1000,
              .streams_per_agent = 10000,
          },
      .timeouts =
          {
              .head_ms = 10000,
              .idle_ms = 60000,
              .answer_ms = 300000,
              .write_stall_ms = 300000,
              .handshake_ms = 5000,
              .auth_ms = 5000,
              .hold_ms = 5000,
              .drain_ms = 30000,
              .heartbeat_ms = 5000,
              .silence_ms = 14000,
          },
  };
}

struct server_config *server_config_ref(struct server_config *config) {
  assert(config->references > 0);
  config->references++;
  return config;
}

static void list_free(char **list, size_t count) {
  for (size_t i = 0; i < count; i++)
    free(list[i]);
  free(list);
}

void server_config_clean(struct server_config *config) {
  list_free(config->domains, config->domains_count);
  list_free(config->binds, config->binds_count);
  list_free(config->auth_fields, config->auth_fields_count);
  list_free(config->reserved_allowed, config->reserved_allowed_count);
  free(config->trusted);
  free(config->tls_cert);
  free(config->tls_key);
  free(config->tls_dir);
  free(config->link_cert);
  free(config->link_key);
  free(config->users_file);
  free(config->auth_plugin);
  free(config->auth_config);
  free(config->auth_url);
  free(config->auth_login_url);
  free(config->access_log);
  free(config->state_dir);
  free(config->admin);
  free(config->file);
  free(config->run_as);
  memset(config, 0, sizeof *config);
}

void server_config_unref(struct server_config *config) {
  if (config == NULL)
    return;
  assert(config->references > 0);
  if (--config->references > 0)
    return;
  server_config_clean(config);
  free(config);
}
