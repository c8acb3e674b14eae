/* options.c: reading command line, environment and file into struct options by the table. */
#include "options.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "identity.h"
#include "jsonfile.h"
#include "mdm/client.h"
#include "services.h"

#define ENVIRONMENT_NAME_MAX 64u
#define CHOICES_TEXT_MAX     64u

static char **text_member(struct options *options, const struct options_row *row) {
  return (char **)(void *)((char *)options + row->offset);
}

static int64_t *integer_member(struct options *options, const struct options_row *row) {
  return (int64_t *)(void *)((char *)options + row->offset);
}

static bool *switch_member(struct options *options, const struct options_row *row) {
  return (bool *)(void *)((char *)options + row->offset);
}

static void wipe_text(char **text, unsigned flags) {
  if (*text != NULL && (flags & OPTIONS_SECRET))
    sodium_memzero(*text, strlen(*text));
  free(*text);
  *text = NULL;
}

void options_init(struct options *options) {
  *options = (struct options){.command = OPTIONS_RUN, .port = OPTIONS_DEFAULT_PORT, .heartbeat_s = 5};
}

void options_clean(struct options *options) {
  for (size_t i = 0; i < options_table_size; i++)
    if (options_table[i].kind == OPTIONS_TEXT)
      wipe_text(text_member(options, &options_table[i]), options_table[i].flags);
  free(options->services);
  options_init(options);
}

/* ---- one value ---- */
/* Has a stronger source spoken for this member already (under either of its names)? */
static bool is_overruled(const struct options *options, const struct options_row *row, enum options_source source) {
  for (size_t i = 0; i < options_table_size; i++)
    if (options_table[i].kind == row->kind && options_table[i].offset == row->offset &&
        options->source[i] > (uint8_t)source)
      return true;
  return false;
}

static void note_source(struct options *options, const struct options_row *row, enum options_source source) {
  options->source[row - options_table] = (uint8_t)source;
}

static int parse_integer(const struct options_row *row, const char *text, int64_t *value) {
  char *end;
  if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0')
    return -1;
  errno = 0;
  long long number = strtoll(text, &end, 10);
  if (errno != 0 || number < row->min || number > row->max)
    return -1;
  *value = number;
  return 0;
}

static int parse_switch(const char *text, bool *value) {
  static const char *const yes[] = {"1", "true", "yes", "on"}, *const no[] = {"0", "false", "no", "off"};
  for (size_t i = 0; i < 4; i++) {
    if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
      *value = strcmp(text, yes[i]) == 0;
      return 0;
    }
  }
  return -1;
}

/* Is the text one of the words that the option may be? If not, says which are right ("a, b or c"). */
static bool is_choice(const struct options_row *row, const char *text, char *right, size_t right_size) {
  size_t length = strlen(text), used = 0;
  right[0] = '\0';
  const char *choices = row->flags & OPTIONS_CHOICES ? row->metavar : NULL;
  for (const char *word = choices; word != NULL; word = strchr(word, '|') == NULL ? NULL : strchr(word, '|') + 1) {
    size_t size = strcspn(word, "|");
    if (size == length && strncmp(word, text, size) == 0)
      return true;
    const char *joint = word == choices ? "" : word[size] == '\0' ? " or " : ", ";
    if (used < right_size)
      used += (size_t)snprintf(right + used, right_size - used, "%s%.*s", joint, (int)size, word);
  }
  return choices == NULL;
}

/* Text from the command line or the environment; `shown` is how messages call the option. */
static int set_from_text(struct options *options, const struct options_row *row, enum options_source source,
                         const char *shown, const char *text, char *error, size_t error_size) {
  char right[CHOICES_TEXT_MAX];
  if (is_overruled(options, row, source))
    return 0;
  note_source(options, row, source);
  switch (row->kind) {
  case OPTIONS_TEXT:
    if (text[0] == '\0') {
      snprintf(error, error_size, "%s is empty", shown);
      return MDM_CLIENT_USAGE;
    }
    if (!is_choice(row, text, right, sizeof right)) {
      snprintf(error, error_size, "%s must be %s, not \"%s\"", shown, right, text);
      return MDM_CLIENT_USAGE;
    }
    wipe_text(text_member(options, row), row->flags);
    *text_member(options, row) = strdup(text);
    if (*text_member(options, row) == NULL) {
      snprintf(error, error_size, "out of memory");
      return MDM_CLIENT_RUNTIME;
    }
    return 0;
  case OPTIONS_INTEGER:
  case OPTIONS_COUNT:
    if (parse_integer(row, text, integer_member(options, row)) == 0)
      return 0;
    snprintf(error, error_size, "%s must be a number from %lld to %lld, not \"%s\"", shown, (long long)row->min,
             (long long)row->max, text);
    return MDM_CLIENT_USAGE;
  case OPTIONS_SWITCH:
    if (parse_switch(text, switch_member(options, row)) == 0)
      return 0;
    snprintf(error, error_size, "%s must be true or false, not \"%s\"", shown, text);
    return MDM_CLIENT_USAGE;
  case OPTIONS_COMMAND:
    break;
  }
  return 0;
}

/* ---- command line ---- */
struct arguments {
  struct options *options;
  int count, next;
  char **values;
  char *error;
  size_t error_size;
};

/* An option without a value. */
static void set_flag(struct arguments *a, const struct options_row *row) {
  note_source(a->options, row, OPTIONS_ARGUMENT);
  if (row->kind == OPTIONS_SWITCH)
    *switch_member(a->options, row) = true;
  else if (row->kind == OPTIONS_COUNT && *integer_member(a->options, row) < row->max)
    ++*integer_member(a->options, row);
  else if (row->kind == OPTIONS_COMMAND && a->options->command != OPTIONS_HELP)
    a->options->command = (enum options_command)row->min;
}

static bool wants_value(const struct options_row *row) {
  return row->kind == OPTIONS_TEXT || row->kind == OPTIONS_INTEGER;
}

/* `attached` is the value in the same argument, or NULL: then it is the next one. */
static int set_argument(struct arguments *a, const struct options_row *row, const char *shown, char *attached) {
  if (!wants_value(row)) {
    if (attached != NULL) {
      snprintf(a->error, a->error_size, "%s takes no value", shown);
      return MDM_CLIENT_USAGE;
    }
    set_flag(a, row);
    return 0;
  }
  char *value = attached;
  bool missing = value == NULL && a->next == a->count;
  /* -h is two options in one, as it always was: with an address the host, alone the help. */
  if (row->letter == 'h' && value == NULL && (missing || a->values[a->next][0] == '-')) {
    a->options->command = OPTIONS_HELP;
    return 0;
  }
  if (missing) {
    snprintf(a->error, a->error_size, "%s needs a value", shown);
    return MDM_CLIENT_USAGE;
  }
  if (value == NULL)
    value = a->values[a->next++];
  int status = set_from_text(a->options, row, OPTIONS_ARGUMENT, shown, value, a->error, a->error_size);
  if (row->flags & OPTIONS_SECRET) {
    a->options->secret_in_argv = true;
    memset(value, '*', strlen(value)); /* out of the process list from now on */
  }
  return status;
}

static int read_long(struct arguments *a, char *argument) {
  char *name = argument + 2, *equals = strchr(name, '=');
  size_t length = equals == NULL ? strlen(name) : (size_t)(equals - name);
  char shown[ENVIRONMENT_NAME_MAX];
  for (size_t i = 0; i < options_table_size; i++)
    if (strlen(options_table[i].name) == length && strncmp(options_table[i].name, name, length) == 0) {
      snprintf(shown, sizeof shown, "--%s", options_table[i].name);
      return set_argument(a, &options_table[i], shown, equals == NULL ? NULL : equals + 1);
    }
  snprintf(a->error, a->error_size, "unknown option --%.*s", (int)(length > 64 ? 64 : length), name);
  return MDM_CLIENT_USAGE;
}

/* -v, -vv, -utim, -u tim, -vutim */
static int read_letters(struct arguments *a, char *argument) {
  for (char *letter = argument + 1; *letter != '\0'; letter++) {
    const struct options_row *row = NULL;
    for (size_t i = 0; i < options_table_size; i++)
      if (options_table[i].letter == *letter)
        row = &options_table[i];
    char shown[3] = {'-', *letter, '\0'};
    if (row == NULL) {
      snprintf(a->error, a->error_size, "unknown option %s", shown);
      return MDM_CLIENT_USAGE;
    }
    bool takes_rest = wants_value(row) && letter[1] != '\0';
    int status = set_argument(a, row, shown, takes_rest ? letter + 1 : NULL);
    if (status != 0 || takes_rest)
      return status;
  }
  return 0;
}

static bool take_command(struct options *options, const char *word) {
  static const struct {
    const char *word;
    enum options_command command;
  } commands[] = {{"login", OPTIONS_LOGIN}, {"hash", OPTIONS_HASH}, {"help", OPTIONS_HELP}};
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
    if (strcmp(commands[i].word, word) == 0) {
      if (options->command == OPTIONS_RUN)
        options->command = commands[i].command;
      return true;
    }
  return false;
}

int options_read_arguments(struct options *options, int argc, char **argv, char *error, size_t error_size) {
  struct arguments a = {
      .options = options, .count = argc, .next = 1, .values = argv, .error = error, .error_size = error_size};
  bool only_services = false, first = true;
  if (options->services == NULL)
    options->services = calloc((size_t)argc + 1, sizeof *options->services);
  if (options->services == NULL) {
    snprintf(error, error_size, "out of memory");
    return MDM_CLIENT_RUNTIME;
  }
  while (a.next < argc) {
    char *argument = argv[a.next++];
    int status = 0;
    if (!only_services && strcmp(argument, "--") == 0)
      only_services = true;
    else if (!only_services && strncmp(argument, "--", 2) == 0)
      status = read_long(&a, argument);
    else if (!only_services && argument[0] == '-' && argument[1] != '\0')
      status = read_letters(&a, argument);
    else if (first && !only_services && take_command(options, argument))
      first = false;
    else {
      options->services[options->services_count++] = argument;
      first = false;
    }
    if (status != 0)
      return status;
  }
  if (options->services_count > 0 && (options->command == OPTIONS_LOGIN || options->command == OPTIONS_HASH)) {
    snprintf(error, error_size, "\"%s\": this command takes no services", options->services[0]);
    return MDM_CLIENT_USAGE;
  }
  return 0;
}

/* ---- environment ---- */
int options_read_environment(struct options *options, options_getenv env, char *error, size_t error_size) {
  for (size_t i = 0; i < options_table_size; i++) {
    const struct options_row *row = &options_table[i];
    char name[ENVIRONMENT_NAME_MAX];
    if (row->flags & OPTIONS_NO_ENV)
      continue;
    snprintf(name, sizeof name, "MDM_TUNNEL_%s", row->name);
    for (char *c = name; *c != '\0'; c++)
      *c = *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - ('a' - 'A')) : *c;
    const char *value = env(name);
    if (value == NULL)
      continue;
    int status = set_from_text(options, row, OPTIONS_ENVIRONMENT, name, value, error, error_size);
    if (status != 0)
      return status;
  }
  return 0;
}

/* ---- services file ---- */
const cJSON *options_long_form(const cJSON *root) {
  const cJSON *services = cJSON_GetObjectItemCaseSensitive(root, "services");
  if (!cJSON_IsObject(services))
    return NULL;
  if (cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(services, "port")) ||
      cJSON_IsString(cJSON_GetObjectItemCaseSensitive(services, "unix")))
    return NULL; /* {"services": {"port": 9000}} is a service named "services" */
  return services;
}

static int set_from_json(struct options *options, const struct options_row *row, struct net_json *json,
                         const cJSON *object, const char *key) {
  const char *text = NULL;
  char right[CHOICES_TEXT_MAX];
  int64_t number = 0;
  bool truth = false;
  int found = 0;
  switch (row->kind) {
  case OPTIONS_TEXT:
    found = net_json_string(json, object, key, &text);
    break;
  case OPTIONS_INTEGER:
  case OPTIONS_COUNT:
    found = net_json_int(json, object, key, row->min, row->max, &number);
    break;
  case OPTIONS_SWITCH:
    found = net_json_bool(json, object, key, &truth);
    break;
  case OPTIONS_COMMAND:
    break;
  }
  if (found == 1 && text != NULL && text[0] == '\0') {
    net_json_fail(json, cJSON_GetObjectItemCaseSensitive(object, key), "is empty");
    return -1;
  }
  if (found == 1 && text != NULL && !is_choice(row, text, right, sizeof right)) {
    net_json_fail(json, cJSON_GetObjectItemCaseSensitive(object, key), "must be %s, not \"%s\"", right, text);
    return -1;
  }
  if (found != 1 || options == NULL || is_overruled(options, row, OPTIONS_FILE))
    return found < 0 ? -1 : 0;
  note_source(options, row, OPTIONS_FILE);
  if (row->kind == OPTIONS_SWITCH) {
    *switch_member(options, row) = truth;
  } else if (row->kind == OPTIONS_TEXT) {
    wipe_text(text_member(options, row), row->flags);
    *text_member(options, row) = strdup(text);
    if (*text_member(options, row) == NULL) {
      net_json_fail(json, cJSON_GetObjectItemCaseSensitive(object, key), "out of memory");
      return -1;
    }
  } else {
    *integer_member(options, row) = number;
  }
  return 0;
}

static const struct options_row *row_named(const char *name) {
  for (size_t i = 0; i < options_table_size; i++)
    if (strcmp(options_table[i].name, name) == 0)
      return &options_table[i];
  return NULL;
}

/* "proxy": an address, or an object with its parts. */
static int read_proxy(struct options *options, struct net_json *json, const cJSON *root) {
  const cJSON *proxy = net_json_any(json, root, "proxy");
  if (proxy == NULL)
    return 0;
  if (cJSON_IsString(proxy))
    return set_from_json(options, row_named("proxy-url"), json, root, "proxy");
  if (!cJSON_IsObject(proxy)) {
    net_json_fail(json, proxy, "must be an address, or an object with \"url\", \"username\" and \"password\"");
    return -1;
  }
  if (set_from_json(options, row_named("proxy-url"), json, proxy, "url") != 0 ||
      set_from_json(options, row_named("proxy-username"), json, proxy, "username") != 0 ||
      set_from_json(options, row_named("proxy-password"), json, proxy, "password") != 0)
    return -1;
  return net_json_finish(json, proxy);
}

int options_read_json(struct options *options, struct net_json *json, const cJSON *root) {
  for (size_t i = 0; i < options_table_size; i++)
    if (!(options_table[i].flags & OPTIONS_NO_FILE) &&
        set_from_json(options, &options_table[i], json, root, options_table[i].name) != 0)
      return -1;
  return read_proxy(options, json, root);
}

static bool secret_from_file(const struct options *options) {
  for (size_t i = 0; i < options_table_size; i++)
    if ((options_table[i].flags & OPTIONS_SECRET) && options->source[i] == OPTIONS_FILE)
      return true;
  return false;
}

int options_read_file(struct options *options, char *error, size_t error_size) {
  struct net_json *json = NULL;
  int status = 0;
  char *path = net_path_expand(options->config == NULL ? OPTIONS_DEFAULT_FILE : options->config);
  if (path == NULL)
    return 0; /* no home directory: services_file says so where it matters */
  int loaded = net_json_load(&json, path, SERVICES_FILE_MAX);
  const cJSON *root = loaded == 0 ? net_json_root(json) : NULL;
  /* What is wrong with the services themselves is said when they are read. */
  if (loaded == 0 && cJSON_IsObject(root) && options_long_form(root) != NULL) {
    if (options_read_json(options, json, root) != 0) {
      snprintf(error, error_size, "%s", net_json_error(json));
      status = MDM_CLIENT_CONFIG;
    } else if (secret_from_file(options) && !net_file_is_private(path)) {
      snprintf(error, error_size, "%s holds a secret and can be read by others: chmod 600 it", path);
      status = MDM_CLIENT_CONFIG;
    }
  } else if (loaded != 0 && loaded != UV_ENOENT && json != NULL && net_json_error(json)[0] != '\0') {
    snprintf(error, error_size, "%s", net_json_error(json));
    status = MDM_CLIENT_CONFIG;
  }
  net_json_free(json);
  free(path);
  return status;
}

int options_read(struct options *options, int argc, char **argv, options_getenv env, char *error, size_t error_size) {
  int status = options_read_arguments(options, argc, argv, error, error_size);
  if (options->command == OPTIONS_HELP || (status == 0 && options->command == OPTIONS_VERSION))
    return 0;
  if (status == 0)
    status = options_read_environment(options, env, error, error_size);
  if (status == 0 && options->command != OPTIONS_HASH)
    status = options_read_file(options, error, error_size);
  return status;
}
