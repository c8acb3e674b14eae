/* http_pool.h: buffers and scans of one worker's HTTP side, recycled, so that a request allocates nothing in steady state. One thread. */
#ifndef SERVER_HTTP_POOL_H
#define SERVER_HTTP_POOL_H

#include <stddef.h>

#include "http_scan.h"
#include "http_write.h"

#define HTTP_BUFFER_SMALL 4096u          /* most heads fit; larger ones come from malloc and go back there */
#define HTTP_BUFFER_MAX (1024u * 1024u)  /* a head at its limit with everything that is added to it; a page at its limit */
#define HTTP_POOL_KEPT 64u               /* free ones of each kind kept for the next request */

struct http_buffer {
  struct http_buffer *next;
  uint32_t capacity, start, size;        /* what waits: data[start..size) */
  _Alignas(max_align_t) char data[];      /* holds arrays of fields, too */
};
struct http_scan_object {
  struct http_scan scan;
  struct http_scan_object *next;
};
struct http_pool {
  struct http_buffer *buffers;
  struct http_scan_object *scans;
  unsigned buffers_count, scans_count;
};

void http_pool_init(struct http_pool *pool);
void http_pool_clean(struct http_pool *pool);

/* NULL when memory is out (or over HTTP_BUFFER_MAX). */
struct http_buffer *http_buffer_take(struct http_pool *pool, size_t capacity);
void http_buffer_give(struct http_pool *pool, struct http_buffer **buffer); /* sets NULL; NULL is fine */
/* Makes room for `more` bytes behind *buffer (NULL: takes one). What is there may move. 0 or -1. */
int http_buffer_room(struct http_pool *pool, struct http_buffer **buffer, size_t more);
int http_buffer_append(struct http_pool *pool, struct http_buffer **buffer, const void *data, size_t size);

struct http_scan *http_scan_take(struct http_pool *pool);
void http_scan_give(struct http_pool *pool, struct http_scan **scan); /* sets NULL; NULL is fine */

/* Calls `write` until what it writes fits behind *buffer. 0 or -1. */
int http_buffer_write(struct http_pool *pool, struct http_buffer **buffer, void (*write)(struct http_out *out, const void *arg), const void *arg);

#endif
