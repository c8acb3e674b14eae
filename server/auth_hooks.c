/* auth_hooks.c: owns the list of hooks that a server was configured with. */
#include "auth_hooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_set.h"
#include "auth_http.h"
#include "auth_plugin.h"
#include "auth_users.h"
#include "identity.h"
#include "registry.h"
#include "users_place.h"
#include "worker.h"

#define AUTH_CONFIG_MAX (1024u * 1024u)

struct auth_hooks {
  const struct server_config *config;
  char *users;                        /* path of the user file, NULL for none */
  void *plugin;                       /* dlopen's handle */
  struct auth_hook_entry given[AUTH_HOOKS_MAX]; /* the plugin, then the embedder's; config_json is ours */
  size_t given_count;
};

int auth_hooks_add(struct auth_hooks *hooks, const struct mdm_auth_hook *hook, const char *config_json) {
  if (hooks->given_count == AUTH_HOOKS_MAX) {
    return UV_E2BIG;
  }
  char *copy = strdup(config_json == NULL ? "" : config_json);
  if (copy == NULL) {
    return UV_ENOMEM;
  }
  hooks->given[hooks->given_count++] = (struct auth_hook_entry){.hook = hook, .config_json = copy};
  return 0;
}

static int plugin_add(struct auth_hooks *hooks, char *error, size_t error_size) {
  const struct server_config *config = hooks->config;
  const struct mdm_auth_hook *hook = NULL;
  char *text = NULL;
  size_t size = 0;
  if (config->auth_plugin == NULL) {
    return 0;
  }
  int rc = config->auth_config == NULL ? 0 : net_file_read(config->auth_config, AUTH_CONFIG_MAX, &text, &size);
  if (rc != 0) {
    snprintf(error, error_size, "auth-config: %s: %s", config->auth_config, uv_strerror(rc));
    return -1;
  }
  rc = auth_plugin_load(&hooks->plugin, &hook, config->auth_plugin, error, error_size);
  if (rc == 0 && (rc = auth_hooks_add(hooks, hook, text)) != 0) {
    snprintf(error, error_size, "out of memory");
  }
  free(text);
  return rc == 0 ? 0 : -1;
}

/* Without --users a user file in the state directory counts too: whoever has run `user add` does not want an open server. */
static int users_find_file(struct auth_hooks *hooks) {
  const struct server_config *config = hooks->config;
  uv_fs_t request;
  if (config->users_file != NULL) {
    hooks->users = strdup(config->users_file);
    return hooks->users == NULL ? UV_ENOMEM : 0;
  }
  if (config->state_dir == NULL) {
    return 0;
  }
  hooks->users = users_place_default(config->state_dir);
  if (hooks->users == NULL) {
    return UV_ENOMEM;
  }
  int rc = uv_fs_stat(NULL, &request, hooks->users, NULL);
  uv_fs_req_cleanup(&request);
  if (rc == UV_ENOENT || rc == UV_ENOTDIR) {
    free(hooks->users);
    hooks->users = NULL;
  }
  return 0;
}

int auth_hooks_new(struct auth_hooks **out, const struct server_config *config, char *error, size_t error_size) {
  struct auth_hooks *hooks = calloc(1, sizeof *hooks);
  *out = NULL;
  if (hooks == NULL) {
    snprintf(error, error_size, "out of memory");
    return -1;
  }
  hooks->config = config;
  if (users_find_file(hooks) != 0) {
    snprintf(error, error_size, "out of memory");
    auth_hooks_free(hooks);
    return -1;
  }
  if (plugin_add(hooks, error, error_size) != 0) {
    auth_hooks_free(hooks);
    return -1;
  }
  *out = hooks;
  return 0;
}

void auth_hooks_free(struct auth_hooks *hooks) {
  if (hooks == NULL) {
    return;
  }
  for (size_t i = 0; i < hooks->given_count; i++) {
    free((char *)(uintptr_t)hooks->given[i].config_json);
  }
  auth_plugin_unload(hooks->plugin);
  free(hooks->users);
  free(hooks);
}

bool auth_hooks_login(const struct auth_hooks *hooks) {
  bool login = hooks->users != NULL || hooks->config->auth_login_url != NULL;
  for (size_t i = 0; i < hooks->given_count; i++) {
    login = login || (hooks->given[i].hook->steps & MDM_AUTH_BIT(MDM_AUTH_LOGIN)) != 0;
  }
  return login;
}

/* ---- on a worker ---- */
static void users_revoked(void *arg, const char *user) {
  struct worker *worker = arg;
  agent_set_revoke(worker->agents, user);
}

static void users_regranted(void *arg, const char *user) {
  struct worker *worker = arg;
  agent_set_regrant(worker->agents, user);
}

static int users_open(struct auth_hooks *hooks, struct worker *worker, struct auth_hook_entry *entry, char *error, size_t error_size) {
  struct auth_users_events events = {users_revoked, users_regranted, worker};
  struct auth_users *users = NULL;
  if (auth_users_open(&users, &worker->loop, hooks->users, &events, error, error_size) != 0) {
    return -1;
  }
  struct registry_directory directory = {auth_users_known, auth_users_domain_known, auth_users_granted, users};
  registry_set_directory(worker->registry, &directory);
  *entry = (struct auth_hook_entry){.hook = &auth_users_hook, .self = users};
  return 0;
}

static int http_open(const struct mdm_auth_hook *hook, const char *url, struct worker *worker, struct auth_hook_entry *entry, char *error,
                     size_t error_size) {
  struct auth_http *http = NULL;
  if (auth_http_open(&http, &worker->loop, url, &worker->config, error, error_size) != 0) {
    return -1;
  }
  *entry = (struct auth_hook_entry){.hook = hook, .self = http};
  return 0;
}

int auth_hooks_open(struct auth_hooks *hooks, struct worker *worker, char *error, size_t error_size) {
  const struct server_config *config = hooks->config;
  struct auth_hook_entry entries[AUTH_HOOKS_MAX + 3];
  size_t count = 0;
  bool open_mode = config->open_mode && !auth_hooks_login(hooks);
  if (hooks->users != NULL) {
    if (users_open(hooks, worker, &entries[count], error, error_size) != 0) {
      goto failed;
    }
    count++;
  }
  if (config->auth_login_url != NULL) {
    if (http_open(&auth_http_login_hook, config->auth_login_url, worker, &entries[count], error, error_size) != 0) {
      goto failed;
    }
    count++;
  }
  if (config->auth_url != NULL) {
    if (http_open(&auth_http_visit_hook, config->auth_url, worker, &entries[count], error, error_size) != 0) {
      goto failed;
    }
    count++;
  }
  for (size_t i = 0; i < hooks->given_count; i++) {
    entries[count++] = hooks->given[i];
  }
  if (auth_chain_open(&worker->auth, &worker->loop, entries, count, open_mode, config->timeouts.auth_ms, error, error_size) == 0) {
    return 0;
  }
  count = 0; /* the chain has closed them */
failed:
  while (count > 0) {
    count--;
    entries[count].hook->close(entries[count].self);
  }
  registry_set_directory(worker->registry, &(struct registry_directory){0});
  return -1;
}

void auth_hooks_close(struct worker *worker) {
  registry_set_directory(worker->registry, &(struct registry_directory){0});
  auth_chain_close(worker->auth);
  worker->auth = NULL;
}
