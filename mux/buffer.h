/* buffer.h: memory of one thread: 16 KiB blocks and stream objects, each with a bounded free list; the chains that
 * blocks are put into; and the budget that all threads share. */
#ifndef MDM_MUX_BUFFER_H
#define MDM_MUX_BUFFER_H

#include "list.h"
#include "mdm/mux.h"

#define BLOCK_SIZE (MDM_FRAME_HEADER + MDM_FRAME_PAYLOAD_MAX)

struct block {
  struct block *next;
  uint64_t stamp_us; /* when its first byte was held */
  uint32_t start, end;
  uint8_t data[BLOCK_SIZE];
};

struct chain {
  struct block *head, *tail;
  size_t size; /* bytes in it */
};

struct mdm_mux_pool {
  struct mdm_allocator allocator;
  mdm_mux_budget *budget;
  struct block *free_blocks;
  void *free_objects;
  size_t free_block_count, free_object_count;
  struct list sessions; /* every session that uses this pool */
};

void *memory_alloc(const struct mdm_allocator *allocator, size_t size);
void memory_release(const struct mdm_allocator *allocator, void *memory);

struct block *pool_block_take(mdm_mux_pool *pool); /* NULL: out of memory */
void pool_block_give(mdm_mux_pool *pool, struct block *block);
void *pool_object_take(mdm_mux_pool *pool, size_t size); /* always the same size; zeroed */
void pool_object_give(mdm_mux_pool *pool, void *object);

/* Adds an empty block at the end; NULL when out of memory. */
struct block *chain_grow(struct chain *chain, mdm_mux_pool *pool);
/* Drops bytes from the front; returns how many blocks went back to the pool. */
size_t chain_drop(struct chain *chain, mdm_mux_pool *pool, size_t size);
size_t chain_slices(const struct chain *chain, struct mdm_slice *slices, size_t count);

/* A NULL budget is one without a cap. */
enum budget_level { BUDGET_FREE, BUDGET_NO_GROWTH, BUDGET_NO_OPEN, BUDGET_FULL };
void budget_add(mdm_mux_budget *budget, size_t size);
void budget_remove(mdm_mux_budget *budget, size_t size);
enum budget_level budget_level(const mdm_mux_budget *budget);

#endif
