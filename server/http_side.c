/* http_side.c: what one worker's HTTP side shares. */
#include "http_side.h"

#include <stdlib.h>
#include <time.h>

#include "exchange.h"
#include "passwords.h"
#include "worker.h"

int http_side_init(struct http_side *side, struct worker *worker) {
  *side = (struct http_side){.worker = worker};
  http_pool_init(&side->pool);
  return passwords_new(&side->passwords, &worker->loop);
}

void http_side_clean(struct http_side *side) {
  while (side->exchanges) {
    struct exchange *next = side->exchanges->next;
    free(side->exchanges);
    side->exchanges = next;
  }
  passwords_free(side->passwords);
  http_pool_clean(&side->pool);
}

uint64_t http_side_wall_ms(struct http_side *side) {
  uint64_t now = net_loop_now_ms(&side->worker->loop);
  if (!side->wall_ms || now - side->clock_ms >= 1000u) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    side->wall_ms = (uint64_t)wall.tv_sec * 1000u + (uint64_t)wall.tv_nsec / 1000000u;
    side->clock_ms = now;
  }
  return side->wall_ms + (now - side->clock_ms);
}

const char *http_side_date(struct http_side *side) {
  uint64_t now = http_side_wall_ms(side) / 1000u;
  if (now != side->date_s) {
    http_date(side->date, now);
    side->date_s = now;
  }
  return side->date;
}
