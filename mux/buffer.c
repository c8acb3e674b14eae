/* buffer.c: the pool of one thread and chains of its blocks. */
#include "buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FREE_BLOCKS_MAX  256u  /* 4 MiB: the burst that a busy loop needs again at once */
#define FREE_OBJECTS_MAX 4096u /* under 1 MiB of stream objects */

void *memory_alloc(const struct mdm_allocator *allocator, size_t size) {
  return allocator->alloc ? allocator->alloc(size, allocator->user) : malloc(size);
}

void memory_release(const struct mdm_allocator *allocator, void *memory) {
  if (!memory)
    return;
  if (allocator->release)
    allocator->release(memory, allocator->user);
  else
    free(memory);
}

mdm_mux_pool *mdm_mux_pool_new(mdm_mux_budget *budget, const struct mdm_allocator *allocator) {
  static const struct mdm_allocator libc;
  if (!allocator)
    allocator = &libc;
  mdm_mux_pool *pool = memory_alloc(allocator, sizeof *pool);
  if (!pool)
    return NULL;
  *pool = (mdm_mux_pool){.allocator = *allocator, .budget = budget};
  list_init(&pool->sessions);
  return pool;
}

void mdm_mux_pool_free(mdm_mux_pool *pool) {
  if (!pool)
    return;
  assert(list_empty(&pool->sessions));
  while (pool->free_blocks) {
    struct block *block = pool->free_blocks;
    pool->free_blocks = block->next;
    memory_release(&pool->allocator, block);
  }
  while (pool->free_objects) {
    void *object = pool->free_objects;
    memcpy(&pool->free_objects, object, sizeof pool->free_objects);
    memory_release(&pool->allocator, object);
  }
  struct mdm_allocator allocator = pool->allocator;
  memory_release(&allocator, pool);
}

struct block *pool_block_take(mdm_mux_pool *pool) {
  struct block *block = pool->free_blocks;
  if (block) {
    pool->free_blocks = block->next;
    pool->free_block_count--;
  } else {
    block = memory_alloc(&pool->allocator, sizeof *block);
    if (!block)
      return NULL;
  }
  block->next = NULL;
  block->stamp_us = 0;
  block->start = block->end = 0;
  return block;
}

void pool_block_give(mdm_mux_pool *pool, struct block *block) {
  if (pool->free_block_count >= FREE_BLOCKS_MAX) {
    memory_release(&pool->allocator, block);
    return;
  }
  block->next = pool->free_blocks;
  pool->free_blocks = block;
  pool->free_block_count++;
}

void *pool_object_take(mdm_mux_pool *pool, size_t size) {
  void *object = pool->free_objects;
  if (object) {
    memcpy(&pool->free_objects, object, sizeof pool->free_objects);
    pool->free_object_count--;
  } else {
    object = memory_alloc(&pool->allocator, size);
    if (!object)
      return NULL;
  }
  memset(object, 0, size);
  return object;
}

void pool_object_give(mdm_mux_pool *pool, void *object) {
  if (pool->free_object_count >= FREE_OBJECTS_MAX) {
    memory_release(&pool->allocator, object);
    return;
  }
  memcpy(object, &pool->free_objects, sizeof pool->free_objects);
  pool->free_objects = object;
  pool->free_object_count++;
}

struct block *chain_grow(struct chain *chain, mdm_mux_pool *pool) {
  struct block *block = pool_block_take(pool);
  if (!block)
    return NULL;
  if (chain->tail)
    chain->tail->next = block;
  else
    chain->head = block;
  chain->tail = block;
  return block;
}

size_t chain_drop(struct chain *chain, mdm_mux_pool *pool, size_t size) {
  size_t blocks = 0;
  assert(size <= chain->size);
  chain->size -= size;
  while (chain->head) {
    struct block *block = chain->head;
    size_t here = block->end - block->start;
    if (size < here) {
      block->start += (uint32_t)size;
      break;
    }
    size -= here;
    chain->head = block->next;
    if (!chain->head)
      chain->tail = NULL;
    pool_block_give(pool, block);
    blocks++;
  }
  return blocks;
}

size_t chain_slices(const struct chain *chain, struct mdm_slice *slices, size_t count) {
  size_t n = 0;
  for (const struct block *block = chain->head; block && n < count; block = block->next)
    if (block->end > block->start)
      slices[n++] = (struct mdm_slice){block->data + block->start, block->end - block->start};
  return n;
}
