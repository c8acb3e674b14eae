/* http_side.h: what the visitors and exchanges of one worker share: recycled memory, password checks, ids, the date. Owned by the visitor set. */
#ifndef SERVER_HTTP_SIDE_H
#define SERVER_HTTP_SIDE_H

#include "http_pool.h"
#include "http_write.h"

struct exchange;
struct passwords;
struct worker;

struct http_side {
  struct worker *worker;
  struct http_pool pool;
  struct passwords *passwords;
  struct exchange *exchanges;     /* free ones */
  unsigned exchanges_count;
  uint64_t last_exchange_id, last_visitor_id;
  uint64_t clock_ms, wall_ms;     /* the loop's time when the wall clock was asked last, and its answer */
  uint64_t date_s;                /* what `date` tells */
  char date[HTTP_DATE_SIZE];
};

int http_side_init(struct http_side *side, struct worker *worker);
void http_side_clean(struct http_side *side);
const char *http_side_date(struct http_side *side);
uint64_t http_side_wall_ms(struct http_side *side); /* Unix time; the system is asked once a second */

#endif
