/* config_table.h: the one table of settings: names, types, limits and help of every flag and key. Read by config_load.c. */
#ifndef SERVER_CONFIG_TABLE_H
#define SERVER_CONFIG_TABLE_H

#include "config.h"

enum setting_type {
  SETTING_SWITCH,  /* bool */
  SETTING_COUNT,   /* unsigned; each -v adds one */
  SETTING_PORT,    /* uint16_t */
  SETTING_U32,
  SETTING_U64,
  SETTING_SECONDS, /* uint32_t milliseconds inside */
  SETTING_TEXT,    /* char *; "~" is expanded where `path` is set */
  SETTING_LIST,    /* char ** and a size_t count */
  SETTING_CIDRS,   /* struct net_cidr * and a size_t count */
  SETTING_CHOICE,  /* an enum: the index into `choices` */
  SETTING_COMMAND, /* --help, --version: no value, no key */
};

struct setting {
  const char *section;        /* NULL: top level */
  const char *name;           /* key, and --flag when at top level */
  char letter;                /* -p, or 0 */
  enum setting_type type;
  size_t offset, count_offset;
  int command;                /* SETTING_COMMAND: what server_config_load answers */
  uint64_t min, max;          /* numbers: in the file's unit */
  const char *const *choices; /* NULL-terminated */
  bool path;
  bool fixed;                 /* cannot change while the server runs */
  bool no_file;               /* command line only */
  /* Judges a text; writes a sentence without the name ("must be ...") when it is wrong. */
  bool (*check)(const char *text, char *why, size_t why_size);
  const char *metavar, *help; /* help NULL: key only, documented in the manual */
};

extern const struct setting config_table[];
extern const size_t config_table_size;
#define CONFIG_TABLE_MAX 96u /* a bit for each in the loader's sets */

static inline void *setting_member(struct server_config *config, const struct setting *setting) {
  return (char *)config + setting->offset;
}
static inline size_t *setting_count(struct server_config *config, const struct setting *setting) {
  return (size_t *)(void *)((char *)config + setting->count_offset);
}

#endif
