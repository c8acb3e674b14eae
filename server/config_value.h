/* config_value.h: one value of one setting: judged, converted, stored. `why` has CONFIG_WHY_MAX bytes and gets a sentence without the setting's name. */
#ifndef SERVER_CONFIG_VALUE_H
#define SERVER_CONFIG_VALUE_H

#include "config_table.h"

#define CONFIG_WHY_MAX 512u
#define CONFIG_LIST_MAX 1000u /* entries of one list: more is a mistake, not a configuration */

/* From a text of either source; a list gets one more entry. False: `why` says what is wrong. */
bool config_value_set(struct server_config *config, const struct setting *s, const char *text, char *why);
void config_value_clear(struct server_config *config, const struct setting *s); /* empties a list */
/* Numbers, in the unit of the file. */
bool config_value_fits(const struct setting *s, double value);
void config_value_why(const struct setting *s, const char *found, char *why); /* "must be a whole number from ..., not FOUND" */
void config_value_store(struct server_config *config, const struct setting *s, double value);

#endif
