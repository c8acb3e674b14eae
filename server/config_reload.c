/* config_reload.c: two configurations side by side: what differs that cannot, and how the old value is kept. */
#include <stdlib.h>
#include <string.h>

#include "config_table.h"

static bool same_list(char **a, size_t a_count, char **b, size_t b_count) {
  if (a_count != b_count)
    return false;
  for (size_t i = 0; i < a_count; i++)
    if (strcmp(a[i], b[i]) != 0)
      return false;
  return true;
}

static bool same_value(const struct setting *s, struct server_config *a, struct server_config *b) {
  const void *x = setting_member(a, s), *y = setting_member(b, s);
  switch (s->type) {
  case SETTING_SWITCH:
    return *(const bool *)x == *(const bool *)y;
  case SETTING_PORT:
    return *(const uint16_t *)x == *(const uint16_t *)y;
  case SETTING_COUNT:
  case SETTING_U32:
  case SETTING_SECONDS:
  case SETTING_CHOICE:
    return *(const uint32_t *)x == *(const uint32_t *)y;
  case SETTING_U64:
    return *(const uint64_t *)x == *(const uint64_t *)y;
  case SETTING_TEXT: {
    const char *p = *(char *const *)x, *q = *(char *const *)y;
    return p == NULL || q == NULL ? p == q : strcmp(p, q) == 0;
  }
  case SETTING_LIST:
    return same_list(*(char **const *)x, *setting_count(a, s), *(char **const *)y, *setting_count(b, s));
  case SETTING_CIDRS:
  case SETTING_COMMAND:
    return true;
  }
  return true;
}

size_t server_config_fixed_changes(struct server_config *now, struct server_config *next, const char **names, size_t capacity) {
  size_t count = 0;
  for (size_t i = 0; i < config_table_size && count < capacity; i++)
    if (config_table[i].fixed && config_table[i].type != SETTING_COMMAND && !same_value(&config_table[i], now, next))
      names[count++] = config_table[i].name;
  return count;
}

/* ---- keeping ---- */
static bool keep_text(char **to, const char *from) {
  char *copy = from == NULL ? NULL : strdup(from);
  if (from != NULL && copy == NULL)
    return false;
  free(*to);
  *to = copy;
  return true;
}

static bool keep_list(char ***to, size_t *to_count, char **from, size_t from_count) {
  char **copy = calloc(from_count + 1, sizeof *copy);
  size_t copied = 0;
  while (copy != NULL && copied < from_count && (copy[copied] = strdup(from[copied])) != NULL)
    copied++;
  if (copy == NULL || copied < from_count) {
    while (copied > 0)
      free(copy[--copied]);
    free(copy);
    return false;
  }
  for (size_t i = 0; i < *to_count; i++)
    free((*to)[i]);
  free(*to);
  *to = copy;
  *to_count = from_count;
  return true;
}

static bool keep(const struct setting *s, struct server_config *now, struct server_config *next) {
  void *to = setting_member(next, s);
  const void *from = setting_member(now, s);
  switch (s->type) {
  case SETTING_SWITCH:
    *(bool *)to = *(const bool *)from;
    return true;
  case SETTING_PORT:
    *(uint16_t *)to = *(const uint16_t *)from;
    return true;
  case SETTING_COUNT:
  case SETTING_U32:
  case SETTING_SECONDS:
  case SETTING_CHOICE:
    *(uint32_t *)to = *(const uint32_t *)from;
    return true;
  case SETTING_U64:
    *(uint64_t *)to = *(const uint64_t *)from;
    return true;
  case SETTING_TEXT:
    return keep_text(to, *(char *const *)from);
  case SETTING_LIST:
    return keep_list(to, setting_count(next, s), *(char **const *)from, *setting_count(now, s));
  case SETTING_CIDRS:
  case SETTING_COMMAND:
    return true; /* none of these is fixed */
  }
  return true;
}

bool server_config_keep_fixed(struct server_config *now, struct server_config *next) {
  for (size_t i = 0; i < config_table_size; i++)
    if (config_table[i].fixed && !keep(&config_table[i], now, next))
      return false;
  next->open_mode = now->open_mode;
  next->https_port_set = now->https_port_set;
  return true;
}
