/* observer.h: who watches exchanges: access log, metrics, later an inspector. Observers see, and never hold back. */
#ifndef SERVER_OBSERVER_H
#define SERVER_OBSERVER_H

#include <stddef.h>
#include <stdint.h>

#include "mdm/mux.h"

struct http_head;

/* All that is known of one exchange, filled in as it goes. Pointers are valid during the call. */
struct exchange_report {
  uint64_t id, visitor_id;
  struct mdm_address client;        /* the visitor, as trusted proxies say */
  const struct http_head *request;  /* NULL when none could be parsed */
  const char *host, *user, *service;/* "" when unknown */
  const char *scheme;               /* "http" or "https" */
  int status;                       /* 0 = the connection ended before an answer; 101 = upgraded */
  const char *error;                /* Proxy-Status error token of answers made here and of cut ones, "" if none */
  uint64_t started_wall_ms;         /* Unix time */
  uint64_t started_us, head_us, end_us; /* monotonic; head_us 0 = no answer head */
  uint64_t request_bytes, response_bytes; /* of bodies, on the visitor's side */
  uint64_t request_head_bytes;
};
struct exchange_observer {
  void (*begin)(const struct exchange_observer *self, const struct exchange_report *report);  /* the request's head is there; may be NULL */
  void (*end)(const struct exchange_observer *self, const struct exchange_report *report);    /* once an exchange */
};

#endif
