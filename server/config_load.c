/* config_load.c: makes a configuration: defaults, then the JSON file, then the command line, then the rules that join settings. */
#include "config_value.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "identity.h"
#include "jsonfile.h"

#define CONFIG_FILE_MAX (1024u * 1024u)

struct loader {
  struct server_config *config;
  bool replaced[CONFIG_TABLE_MAX]; /* the command line has begun this list anew */
  unsigned line[CONFIG_TABLE_MAX]; /* of the file where the setting stands that counts; 0 = not from the file */
  char *error;
  size_t error_size;
};

/* ---- the file ---- */
static const char *json_kind(const cJSON *item, char *out, size_t size) {
  if (cJSON_IsString(item))
    snprintf(out, size, "\"%.60s\"", item->valuestring);
  else if (cJSON_IsNumber(item))
    snprintf(out, size, "%g", item->valuedouble);
  else if (cJSON_IsBool(item))
    snprintf(out, size, "%s", cJSON_IsTrue(item) ? "true" : "false");
  else
    snprintf(out, size, "%s", cJSON_IsArray(item) ? "a list" : cJSON_IsObject(item) ? "an object" : "null");
  return out;
}

static int set_strings(struct loader *l, const struct setting *s, struct net_json *json, const cJSON *item, char *why) {
  const cJSON *entry;
  if (cJSON_IsString(item)) {
    if (config_value_set(l->config, s, item->valuestring, why))
      return 0;
    net_json_fail(json, item, "%s", why);
    return -1;
  }
  if (!cJSON_IsArray(item)) {
    char found[80];
    net_json_fail(json, item, "must be a text or a list of texts, not %s", json_kind(item, found, sizeof found));
    return -1;
  }
  cJSON_ArrayForEach(entry, item) {
    char found[80];
    if (!cJSON_IsString(entry))
      snprintf(why, CONFIG_WHY_MAX, "must hold texts only, not %s", json_kind(entry, found, sizeof found));
    else if (config_value_set(l->config, s, entry->valuestring, why))
      continue;
    net_json_fail(json, entry, "%s", why);
    return -1;
  }
  return 0;
}

static int set_from_json(struct loader *l, const struct setting *s, struct net_json *json, const cJSON *object) {
  const cJSON *item = net_json_any(json, object, s->name);
  char why[CONFIG_WHY_MAX] = "", found[80];
  if (item == NULL)
    return 0;
  l->line[s - config_table] = net_json_line(json, item);
  json_kind(item, found, sizeof found);
  switch (s->type) {
  case SETTING_LIST:
  case SETTING_CIDRS:
    return set_strings(l, s, json, item, why);
  case SETTING_TEXT:
  case SETTING_CHOICE:
    if (!cJSON_IsString(item))
      snprintf(why, sizeof why, "must be a text, not %s", found);
    else if (config_value_set(l->config, s, item->valuestring, why))
      return 0;
    break;
  case SETTING_SWITCH:
    if (!cJSON_IsBool(item)) {
      snprintf(why, sizeof why, "must be true or false, not %s", found);
      break;
    }
    *(bool *)setting_member(l->config, s) = cJSON_IsTrue(item);
    return 0;
  case SETTING_COUNT:
  case SETTING_PORT:
  case SETTING_U32:
  case SETTING_U64:
  case SETTING_SECONDS:
    if (!cJSON_IsNumber(item) || !config_value_fits(s, item->valuedouble)) {
      config_value_why(s, found, why);
      break;
    }
    config_value_store(l->config, s, item->valuedouble);
    return 0;
  case SETTING_COMMAND:
    return 0;
  }
  net_json_fail(json, item, "%s", why);
  return -1;
}

static int read_json(struct loader *l, struct net_json *json) {
  static const char *const sections[] = {NULL, "limits", "timeouts"};
  const cJSON *root = net_json_root(json);
  if (!cJSON_IsObject(root)) {
    net_json_fail(json, root, "the file must hold an object: { \"port\": 8000, ... }");
    return -1;
  }
  for (size_t k = 0; k < sizeof sections / sizeof *sections; k++) {
    const cJSON *object = root;
    if (sections[k] != NULL) {
      int there = net_json_object(json, root, sections[k], &object);
      if (there < 0)
        return -1;
      if (there == 0)
        continue;
    }
    for (size_t i = 0; i < config_table_size; i++) {
      const struct setting *s = &config_table[i];
      bool here = sections[k] == NULL ? s->section == NULL : s->section != NULL && strcmp(s->section, sections[k]) == 0;
      if (here && !s->no_file && set_from_json(l, s, json, object) != 0)
        return -1;
    }
    if (sections[k] != NULL && net_json_finish(json, object) != 0)
      return -1;
  }
  return net_json_finish(json, root);
}

static int read_file(struct loader *l, const char *path, const char *text) {
  struct net_json *json = NULL;
  int status = path != NULL ? net_json_load(&json, path, CONFIG_FILE_MAX) : net_json_parse(&json, "configuration", text, strlen(text));
  if (status == 0)
    status = read_json(l, json);
  if (status != 0) {
    const char *said = json == NULL ? "" : net_json_error(json);
    snprintf(l->error, l->error_size, "%s", said[0] == '\0' ? "the configuration cannot be read" : said);
  }
  net_json_free(json);
  return status == 0 ? CONFIG_OK : CONFIG_WRONG;
}

/* ---- the command line ---- */
struct arguments {
  int next, count;
  char **values;
};

static int set_argument(struct loader *l, const struct setting *s, const char *shown, const char *value, struct arguments *a) {
  char why[CONFIG_WHY_MAX] = "";
  size_t index = (size_t)(s - config_table);
  bool wants_value = s->type != SETTING_SWITCH && s->type != SETTING_COUNT && s->type != SETTING_COMMAND;
  if (!wants_value && value != NULL) {
    snprintf(l->error, l->error_size, "%s takes no value", shown);
    return CONFIG_USAGE;
  }
  if (s->type == SETTING_COMMAND)
    return s->command;
  l->line[index] = 0;
  if (s->type == SETTING_SWITCH) {
    *(bool *)setting_member(l->config, s) = true;
    return CONFIG_OK;
  }
  if (s->type == SETTING_COUNT) {
    unsigned *count = setting_member(l->config, s);
    *count += *count < s->max;
    return CONFIG_OK;
  }
  if (value == NULL) {
    if (a->next >= a->count) {
      snprintf(l->error, l->error_size, "%s wants %s", shown, s->metavar);
      return CONFIG_USAGE;
    }
    value = a->values[a->next++];
  }
  if ((s->type == SETTING_LIST || s->type == SETTING_CIDRS) && !l->replaced[index]) {
    config_value_clear(l->config, s);
    l->replaced[index] = true;
  }
  if (config_value_set(l->config, s, value, why))
    return CONFIG_OK;
  snprintf(l->error, l->error_size, "%s %s", shown, why);
  return CONFIG_USAGE;
}

static int read_long(struct loader *l, const char *argument, struct arguments *a) {
  const char *name = argument + 2, *equals = strchr(name, '=');
  size_t size = equals == NULL ? strlen(name) : (size_t)(equals - name);
  for (size_t i = 0; i < config_table_size; i++) {
    const struct setting *s = &config_table[i];
    if (s->section == NULL && strlen(s->name) == size && strncmp(s->name, name, size) == 0) {
      char shown[64];
      snprintf(shown, sizeof shown, "--%s", s->name);
      return set_argument(l, s, shown, equals == NULL ? NULL : equals + 1, a);
    }
  }
  snprintf(l->error, l->error_size, "unknown option --%.*s; --help lists them", (int)(size > 64 ? 64 : size), name);
  return CONFIG_USAGE;
}

/* -v, -vv, -p8000, -p 8000 */
static int read_letters(struct loader *l, const char *argument, struct arguments *a) {
  for (const char *letter = argument + 1; *letter != '\0'; letter++) {
    const struct setting *s = NULL;
    char shown[3] = {'-', *letter, '\0'};
    for (size_t i = 0; i < config_table_size; i++)
      if (config_table[i].letter == *letter)
        s = &config_table[i];
    if (s == NULL) {
      snprintf(l->error, l->error_size, "unknown option %s; --help lists them", shown);
      return CONFIG_USAGE;
    }
    bool takes_rest = s->metavar != NULL && letter[1] != '\0';
    int status = set_argument(l, s, shown, takes_rest ? letter + 1 : NULL, a);
    if (status != CONFIG_OK || takes_rest)
      return status;
  }
  return CONFIG_OK;
}

static int read_arguments(struct loader *l, int argc, char **argv) {
  struct arguments a = {.count = argc, .values = argv};
  while (a.next < argc) {
    const char *argument = argv[a.next++];
    int status;
    if (strncmp(argument, "--", 2) == 0 && argument[2] != '\0') {
      status = read_long(l, argument, &a);
    } else if (argument[0] == '-' && argument[1] != '\0' && argument[1] != '-') {
      status = read_letters(l, argument, &a);
    } else {
      snprintf(l->error, l->error_size, "\"%.64s\" is no option; --help lists them", argument);
      return CONFIG_USAGE;
    }
    if (status != CONFIG_OK)
      return status;
  }
  return CONFIG_OK;
}

/* ---- rules that join settings ---- */
/* Says what is wrong with a setting whose value alone is fine; where it came from the file, with its place there. False. */
static bool __attribute__((format(printf, 3, 4))) rule_broken(struct loader *l, const char *name, const char *format, ...) {
  const char *file = l->config->file != NULL ? l->config->file : "configuration";
  char text[CONFIG_WHY_MAX];
  unsigned line = 0;
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  for (size_t i = 0; i < config_table_size; i++)
    if (config_table[i].section == NULL && strcmp(config_table[i].name, name) == 0)
      line = l->line[i];
  if (line > 0)
    snprintf(l->error, l->error_size, "%s:%u: \"%s\": %s", file, line, name, text);
  else
    snprintf(l->error, l->error_size, "%s", text);
  return false;
}

static bool pair_whole(struct loader *l, const char *a, const char *a_name, const char *b, const char *b_name) {
  if ((a == NULL) == (b == NULL))
    return true;
  return rule_broken(l, a == NULL ? b_name : a_name, "%s and %s belong together: %s is missing", a_name, b_name, a == NULL ? a_name : b_name);
}

static bool bind_is_loopback(const char *text) {
  struct mdm_address address;
  return strcmp(text, "localhost") == 0 || (net_address_parse(&address, text, strlen(text)) == 0 && net_address_is_loopback(&address));
}

bool server_config_loopback_only(const struct server_config *config) {
  for (size_t i = 0; i < config->binds_count; i++)
    if (!bind_is_loopback(config->binds[i]))
      return false;
  return true;
}

static bool check_rules(struct loader *l) {
  struct server_config *c = l->config;
  bool certificates = c->tls_cert != NULL || c->tls_dir != NULL;
  if (!pair_whole(l, c->tls_cert, "tls-cert", c->tls_key, "tls-key") || !pair_whole(l, c->link_cert, "link-cert", c->link_key, "link-key"))
    return false;
  if (c->redirect_http && !certificates)
    return rule_broken(l, "redirect-http", "redirect-http needs a certificate: give tls-cert and tls-key, or tls-dir");
  if (c->https_port_set && !certificates)
    return rule_broken(l, "https-port", "https-port needs a certificate: give tls-cert and tls-key, or tls-dir");
  if (certificates && !c->https_port_set)
    c->https_port = 8443;
  if ((c->port != 0 && (c->port == c->client_port || (certificates && c->port == c->https_port))) ||
      (certificates && c->client_port != 0 && c->client_port == c->https_port))
    return rule_broken(l, "port", "port, client-port and https-port must differ");
  if (c->proxy_protocol && c->trusted_count == 0)
    return rule_broken(l, "proxy-protocol", "proxy-protocol needs trusted-proxy: the header is taken only from addresses named there");
  if (c->plaintext && !server_config_loopback_only(c))
    return rule_broken(l, "plaintext", "plaintext is for loopback only: take bind away, or plaintext");
  if (c->auth_config != NULL && c->auth_plugin == NULL)
    return rule_broken(l, "auth-config", "auth-config is the configuration of auth-plugin, which is not given");
  if (c->timeouts.silence_ms <= c->timeouts.heartbeat_ms) {
    snprintf(l->error, l->error_size, "timeouts: silence must be longer than heartbeat");
    return false;
  }
  return true;
}

/* What must be there at the start is looked for here, where its place in the file is known. */
static bool check_files(struct loader *l) {
  const struct server_config *c = l->config;
  const struct {
    const char *name, *path;
  } files[] = {
      {"tls-cert", c->tls_cert},   {"tls-key", c->tls_key},   {"tls-dir", c->tls_dir},
      {"link-cert", c->link_cert}, {"link-key", c->link_key}, {"auth-config", c->auth_config},
  };
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    if (files[i].path != NULL && access(files[i].path, R_OK) != 0)
      return rule_broken(l, files[i].name, "%s: cannot read %.200s: %s", files[i].name, files[i].path, uv_strerror(-errno));
  return true;
}

/* $STATE_DIRECTORY (systemd), else the system's place for root, else the user's. */
static bool default_state_dir(struct loader *l) {
  const char *systemd = getenv("STATE_DIRECTORY"), *xdg = getenv("XDG_STATE_HOME");
  char *dir = NULL;
  if (l->config->state_dir != NULL)
    return true;
  if (systemd != NULL && systemd[0] == '/')
    dir = strndup(systemd, strcspn(systemd, ":"));
  else if (geteuid() == 0)
    dir = strdup("/var/lib/mdm-tunnel");
  else if (xdg != NULL && xdg[0] == '/') {
    if (asprintf(&dir, "%s/mdm-tunnel", xdg) < 0)
      dir = NULL;
  } else
    dir = net_path_expand("~/.local/state/mdm-tunnel");
  l->config->state_dir = dir;
  if (dir == NULL)
    snprintf(l->error, l->error_size, "no place for the link key: HOME is not set; give state-dir");
  return dir != NULL;
}

int server_config_load(struct server_config **out, const char *json_text, int argc, char **argv, char *error, size_t error_size) {
  struct loader l = {.error = error, .error_size = error_size};
  struct server_config scratch;
  *out = NULL;
  error[0] = '\0';
  /* First only to find --config, --help and mistakes. */
  server_config_defaults(&scratch);
  l.config = &scratch;
  int status = read_arguments(&l, argc, argv);
  if (status != CONFIG_OK) {
    server_config_clean(&scratch);
    return status;
  }
  l = (struct loader){.error = error, .error_size = error_size, .config = malloc(sizeof *l.config)};
  if (l.config == NULL) {
    server_config_clean(&scratch);
    snprintf(error, error_size, "out of memory");
    return CONFIG_WRONG;
  }
  server_config_defaults(l.config);
  if (json_text != NULL)
    status = read_file(&l, NULL, json_text);
  if (status == CONFIG_OK && scratch.file != NULL)
    status = read_file(&l, scratch.file, NULL);
  server_config_clean(&scratch);
  if (status == CONFIG_OK)
    status = read_arguments(&l, argc, argv);
  if (status == CONFIG_OK && (!check_rules(&l) || !check_files(&l) || !default_state_dir(&l)))
    status = CONFIG_WRONG;
  if (status == CONFIG_OK)
    *out = l.config;
  else
    server_config_unref(l.config);
  return status;
}

int server_config_admin_address(const char *text, struct mdm_address *address) {
  const char *colon = strrchr(text, ':'), *host = text, *digits = colon == NULL ? text : colon + 1;
  size_t host_size = colon == NULL ? 0 : (size_t)(colon - text);
  unsigned long port = strtoul(digits, NULL, 10);
  if (digits[0] == '\0' || strlen(digits) > 5 || strspn(digits, "0123456789") != strlen(digits) || port > 65535)
    return UV_EINVAL;
  if (colon == NULL || (host_size == 9 && memcmp(host, "localhost", 9) == 0)) {
    host = "127.0.0.1";
    host_size = 9;
  }
  if ((host[0] != '[' && memchr(host, ':', host_size) != NULL) || net_address_parse(address, host, host_size) != 0)
    return UV_EINVAL;
  address->port = (uint16_t)port;
  return 0;
}
