/* metrics.h: what the server counts, and its exposition in the text format of Prometheus (version 0.0.4). One per worker; an observer of exchanges. */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include <stdbool.h>

#include "observer.h"

#define METRICS_USERS_MAX 1000u /* users with numbers of their own; later ones are counted together as "other" */

struct metrics;

/* Events that are no exchange. The table in metrics.c gives each its name and help. */
enum metrics_event {
  METRICS_CONNECTIONS,         /* accepted on a public port */
  METRICS_CONNECTIONS_REFUSED, /* over a cap, or while draining */
  METRICS_CONNECTIONS_BROKEN,  /* bad PROXY header, failed TLS, too slow before a request */
  METRICS_CLIENT_CONNECTIONS,  /* accepted on the client port */
  METRICS_DRAIN_CUT,           /* connections cut at the end of a drain */
  METRICS_ACCESS_LOG_DROPPED,  /* lines of the access log that did not fit */
  METRICS_RELOADS,
  METRICS_RELOADS_FAILED,
  METRICS_EVENTS,
};

/* What is true now, collected by the caller when somebody asks. */
struct metrics_gauges {
  const char *version;
  size_t visitors, agents, links, streams;
  size_t held_bytes, held_bytes_max;
  uint64_t logins, logins_refused, link_bytes_in, link_bytes_out;
  double uptime_s;
  bool draining;
};

/* `user_known` tells whether a name is a user's: others, which any visitor can make up, get no numbers of their own. 0 or UV_ENOMEM. */
int metrics_new(struct metrics **out, bool (*user_known)(void *self, const char *user), void *self);
void metrics_free(struct metrics *metrics);
const struct exchange_observer *metrics_observer(const struct metrics *metrics);
void metrics_count(struct metrics *metrics, enum metrics_event event); /* NULL is fine */
void metrics_add(struct metrics *metrics, enum metrics_event event, uint64_t amount);
uint64_t metrics_get(const struct metrics *metrics, enum metrics_event event);
/* The whole page; caller frees; NULL when memory is out. */
char *metrics_render(const struct metrics *metrics, const struct metrics_gauges *gauges, size_t *size);

#endif
