/* config_value.c: one value of one setting: judged, converted, stored. */
#include "config_value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "identity.h"

static bool list_add(struct server_config *config, const struct setting *s, const char *text, char *why) {
  char ***list = setting_member(config, s);
  size_t *count = setting_count(config, s);
  if (*count >= CONFIG_LIST_MAX) {
    snprintf(why, CONFIG_WHY_MAX, "has more than %u entries", CONFIG_LIST_MAX);
    return false;
  }
  char *copy = strdup(text);
  char **larger = realloc(*list, (*count + 1) * sizeof **list);
  if (larger != NULL)
    *list = larger;
  if (copy == NULL || larger == NULL) {
    free(copy);
    snprintf(why, CONFIG_WHY_MAX, "out of memory");
    return false;
  }
  larger[(*count)++] = copy;
  return true;
}

static bool cidrs_add(struct server_config *config, const struct setting *s, const char *text, char *why) {
  struct net_cidr **list = setting_member(config, s), cidr;
  size_t *count = setting_count(config, s);
  if (net_cidr_parse(&cidr, text, strlen(text)) != 0) {
    snprintf(why, CONFIG_WHY_MAX, "must be an address or a range such as 10.0.0.0/8, not \"%s\"", text);
    return false;
  }
  struct net_cidr *larger = *count < CONFIG_LIST_MAX ? realloc(*list, (*count + 1) * sizeof *larger) : NULL;
  if (larger == NULL) {
    snprintf(why, CONFIG_WHY_MAX, "has too many entries");
    return false;
  }
  *list = larger;
  larger[(*count)++] = cidr;
  return true;
}

void config_value_clear(struct server_config *config, const struct setting *s) {
  size_t *count = setting_count(config, s);
  if (s->type == SETTING_LIST) {
    char ***list = setting_member(config, s);
    for (size_t i = 0; i < *count; i++)
      free((*list)[i]);
    free(*list);
    *list = NULL;
  } else {
    struct net_cidr **list = setting_member(config, s);
    free(*list);
    *list = NULL;
  }
  *count = 0;
}

static bool set_text(struct server_config *config, const struct setting *s, const char *text, char *why) {
  char **place = setting_member(config, s);
  char *copy = s->path && text[0] == '~' ? net_path_expand(text) : strdup(text);
  if (copy == NULL) {
    snprintf(why, CONFIG_WHY_MAX, s->path && text[0] == '~' ? "cannot be expanded: HOME is not set" : "out of memory");
    return false;
  }
  free(*place);
  *place = copy;
  return true;
}

static bool set_choice(struct server_config *config, const struct setting *s, const char *text, char *why) {
  size_t used;
  for (unsigned i = 0; s->choices[i] != NULL; i++)
    if (strcmp(s->choices[i], text) == 0) {
      *(unsigned *)setting_member(config, s) = i;
      return true;
    }
  used = (size_t)snprintf(why, CONFIG_WHY_MAX, "must be");
  for (unsigned i = 0; s->choices[i] != NULL; i++)
    used += (size_t)snprintf(why + used, CONFIG_WHY_MAX - used, "%s \"%s\"", i == 0 ? "" : s->choices[i + 1] == NULL ? " or" : ",", s->choices[i]);
  snprintf(why + used, CONFIG_WHY_MAX - used, ", not \"%.64s\"", text);
  return false;
}

bool config_value_fits(const struct setting *s, double value) {
  return value >= (double)s->min && value <= (double)s->max && (s->type == SETTING_SECONDS || value == floor(value));
}

void config_value_why(const struct setting *s, const char *found, char *why) {
  snprintf(why, CONFIG_WHY_MAX, "must be a %snumber %sfrom %llu to %llu, not %.64s", s->type == SETTING_SECONDS ? "" : "whole ",
           s->type == SETTING_SECONDS ? "of seconds " : "", (unsigned long long)s->min, (unsigned long long)s->max, found);
}

void config_value_store(struct server_config *config, const struct setting *s, double value) {
  void *place = setting_member(config, s);
  if (s->type == SETTING_PORT)
    *(uint16_t *)place = (uint16_t)value;
  else if (s->type == SETTING_U64)
    *(uint64_t *)place = (uint64_t)value;
  else if (s->type == SETTING_SECONDS)
    *(uint32_t *)place = (uint32_t)(value * 1000.0 + 0.5);
  else
    *(uint32_t *)place = (uint32_t)value;
  if (s->offset == offsetof(struct server_config, https_port))
    config->https_port_set = true;
}

/* A text from either source. */
bool config_value_set(struct server_config *config, const struct setting *s, const char *text, char *why) {
  char *end = NULL;
  char found[80];
  double value;
  if (text[0] == '\0') {
    snprintf(why, CONFIG_WHY_MAX, "is empty");
    return false;
  }
  if (s->check != NULL && !s->check(text, why, CONFIG_WHY_MAX))
    return false;
  switch (s->type) {
  case SETTING_TEXT:
    return set_text(config, s, text, why);
  case SETTING_LIST:
    return list_add(config, s, text, why);
  case SETTING_CIDRS:
    return cidrs_add(config, s, text, why);
  case SETTING_CHOICE:
    return set_choice(config, s, text, why);
  case SETTING_PORT:
  case SETTING_U32:
  case SETTING_U64:
  case SETTING_SECONDS:
    value = strspn(text, "0123456789.") == strlen(text) ? strtod(text, &end) : -1;
    if (end == NULL || *end != '\0' || !config_value_fits(s, value)) {
      snprintf(found, sizeof found, "\"%.60s\"", text);
      config_value_why(s, found, why);
      return false;
    }
    config_value_store(config, s, value);
    return true;
  case SETTING_SWITCH:
  case SETTING_COUNT:
  case SETTING_COMMAND:
    break;
  }
  snprintf(why, CONFIG_WHY_MAX, "takes no value");
  return false;
}
