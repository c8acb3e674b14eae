/* service_ids.h: which name each service id of one session has ever meant. An id keeps its meaning for the whole session. */
#ifndef SERVER_SERVICE_IDS_H
#define SERVER_SERVICE_IDS_H

#include <stddef.h>
#include <stdint.h>

#define SERVICE_IDS_MAX 16384u /* ids of one session: sixteen complete changes of a full list */

struct service_id;
struct service_ids {
  struct service_id *list; /* sorted by id */
  size_t count, capacity;
};

/* 0; UV_EINVAL: the id meant another name before; UV_E2BIG over SERVICE_IDS_MAX; UV_ENOMEM. */
int service_ids_note(struct service_ids *ids, uint32_t id, const char *name);
void service_ids_clean(struct service_ids *ids);

#endif
