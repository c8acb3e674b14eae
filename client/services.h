/* services.h: the service map: what this client declares and the only places that it ever dials.
 *
 * Sources: the services file (flat or long form) and the command line, which wins. A map is made whole, then takes over
 * from the one before it (service_map_adopt): entries that did not change are shared and keep their id, all others get
 * a new one, so that an id keeps its meaning for the life of the process. Entries are counted because streams being
 * dialled hold on to theirs.
 */
#ifndef CLIENT_SERVICES_H
#define CLIENT_SERVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service.h"
#include "target.h"

#define SERVICES_FILE_MAX (1024u * 1024u) /* bytes: 1024 services with every option fit */

struct net_json;

struct service_entry {
  unsigned references;
  struct net_service service;
  struct target target;
  bool tls;
  uint8_t proxy_protocol; /* 0 = none, 1, 2 */
  bool from_argument;     /* named on the command line, which wins over the file */
  bool lost;              /* another client took it over: not announced again until it changes */
};

struct service_map {
  struct service_entry **list; /* after service_map_adopt in the order of ids */
  size_t count, capacity;
};

enum service_map_error {
  SERVICE_MAP_OK = 0,
  SERVICE_MAP_ENOENT = -1,
  SERVICE_MAP_EINVAL = -2,
  SERVICE_MAP_ENOMEM = -3
};

void service_map_init(struct service_map *map);
void service_map_clean(struct service_map *map);
/* Reads a file; `error` gets "file:line: "key": what is wrong". SERVICE_MAP_ENOENT when there is none. */
int service_map_load(struct service_map *map, const char *path, char *error, size_t error_size);
/* The same from memory. */
int service_map_parse(struct service_map *map, const char *name, const char *text, size_t size, char *error,
                      size_t error_size);
/* "name=target" or a target alone, which is then named after `directory` (a path, its last part counts). Replaces an
 * entry of that name that the file gave; twice on the command line is an error. */
int service_map_argument(struct service_map *map, const char *text, const char *directory, char *error,
                         size_t error_size);
/* Gives ids: entries equal to one of `old` become that one. *next_id counts up, never back. `old` may be empty. */
void service_map_adopt(struct service_map *map, const struct service_map *old, uint32_t *next_id);
bool service_map_equal(const struct service_map *a, const struct service_map *b); /* after adopt: the same entries */
struct service_entry *service_map_find(const struct service_map *map, uint32_t id);
struct service_entry *service_map_find_name(const struct service_map *map, const char *name); /* case-insensitive */

struct service_entry *service_entry_ref(struct service_entry *entry);
void service_entry_unref(struct service_entry *entry);

#endif
