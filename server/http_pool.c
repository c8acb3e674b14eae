/* http_pool.c: free lists of one worker. */
#include "http_pool.h"

#include <stdlib.h>
#include <string.h>

void http_pool_init(struct http_pool *pool) {
  *pool = (struct http_pool){0};
}

void http_pool_clean(struct http_pool *pool) {
  while (pool->buffers) {
    struct http_buffer *next = pool->buffers->next;
    free(pool->buffers);
    pool->buffers = next;
  }
  while (pool->scans) {
    struct http_scan_object *next = pool->scans->next;
    free(pool->scans);
    pool->scans = next;
  }
}

struct http_buffer *http_buffer_take(struct http_pool *pool, size_t capacity) {
  struct http_buffer *buffer;
  if (capacity > HTTP_BUFFER_MAX)
    return NULL;
  if (capacity <= HTTP_BUFFER_SMALL && pool->buffers) {
    buffer = pool->buffers;
    pool->buffers = buffer->next;
    pool->buffers_count--;
  } else {
    if (capacity < HTTP_BUFFER_SMALL)
      capacity = HTTP_BUFFER_SMALL;
    buffer = malloc(sizeof *buffer + capacity);
    if (!buffer)
      return NULL;
    buffer->capacity = (uint32_t)capacity;
  }
  buffer->next = NULL;
  buffer->start = buffer->size = 0;
  return buffer;
}

void http_buffer_give(struct http_pool *pool, struct http_buffer **place) {
  struct http_buffer *buffer = *place;
  *place = NULL;
  if (!buffer)
    return;
  if (buffer->capacity > HTTP_BUFFER_SMALL || pool->buffers_count >= HTTP_POOL_KEPT) {
    free(buffer);
    return;
  }
  buffer->next = pool->buffers;
  pool->buffers = buffer;
  pool->buffers_count++;
}

int http_buffer_room(struct http_pool *pool, struct http_buffer **place, size_t more) {
  struct http_buffer *old = *place;
  size_t used = old ? old->size - old->start : 0;
  if (more > HTTP_BUFFER_MAX)
    return -1;
  if (old && old->capacity - old->size >= more)
    return 0;
  size_t need = used + more, capacity = old ? old->capacity * (size_t)2 : HTTP_BUFFER_SMALL;
  if (capacity > HTTP_BUFFER_MAX)
    capacity = HTTP_BUFFER_MAX;
  struct http_buffer *grown = http_buffer_take(pool, need > capacity ? need : capacity);
  if (!grown)
    return -1;
  if (old)
    memcpy(grown->data, old->data + old->start, used);
  grown->size = (uint32_t)used;
  http_buffer_give(pool, place);
  *place = grown;
  return 0;
}

int http_buffer_append(struct http_pool *pool, struct http_buffer **place, const void *data, size_t size) {
  if (http_buffer_room(pool, place, size) != 0)
    return -1;
  if (size)
    memcpy((*place)->data + (*place)->size, data, size);
  (*place)->size += (uint32_t)size;
  return 0;
}

int http_buffer_write(struct http_pool *pool, struct http_buffer **place, void (*write)(struct http_out *out, const void *arg), const void *arg) {
  size_t room = *place ? (*place)->capacity - (*place)->size : HTTP_BUFFER_SMALL;
  for (;; room *= 2) {
    if (room < HTTP_BUFFER_SMALL / 4)
      room = HTTP_BUFFER_SMALL;
    if (http_buffer_room(pool, place, room) != 0)
      return -1;
    struct http_buffer *buffer = *place;
    struct http_out out = {.data = buffer->data + buffer->size, .capacity = buffer->capacity - buffer->size};
    write(&out, arg);
    if (out.full)
      continue;
    buffer->size += (uint32_t)out.size;
    return 0;
  }
}

struct http_scan *http_scan_take(struct http_pool *pool) {
  struct http_scan_object *object = pool->scans;
  if (object) {
    pool->scans = object->next;
    pool->scans_count--;
  } else {
    object = malloc(sizeof *object);
    if (!object)
      return NULL;
  }
  return &object->scan;
}

void http_scan_give(struct http_pool *pool, struct http_scan **place) {
  struct http_scan_object *object = (struct http_scan_object *)(void *)*place;
  *place = NULL;
  if (!object)
    return;
  if (pool->scans_count >= HTTP_POOL_KEPT) {
    free(object);
    return;
  }
  object->next = pool->scans;
  pool->scans = object;
  pool->scans_count++;
}
