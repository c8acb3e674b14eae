/* budget.c: bytes held for slow readers over all threads, against one cap. */
#include "buffer.h"

#include <assert.h>
#include <stdatomic.h>

struct mdm_mux_budget {
  struct mdm_allocator allocator;
  size_t cap;
  atomic_size_t held;
};

mdm_mux_budget *mdm_mux_budget_new(size_t cap_bytes, const struct mdm_allocator *allocator) {
  static const struct mdm_allocator libc;
  if (!allocator)
    allocator = &libc;
  mdm_mux_budget *budget = memory_alloc(allocator, sizeof *budget);
  if (!budget)
    return NULL;
  budget->allocator = *allocator;
  budget->cap = cap_bytes;
  atomic_init(&budget->held, 0);
  return budget;
}

void mdm_mux_budget_free(mdm_mux_budget *budget) {
  if (!budget)
    return;
  assert(mdm_mux_budget_held(budget) == 0);
  struct mdm_allocator allocator = budget->allocator;
  memory_release(&allocator, budget);
}

size_t mdm_mux_budget_held(const mdm_mux_budget *budget) {
  return atomic_load_explicit(&budget->held, memory_order_relaxed);
}

size_t mdm_mux_budget_cap(const mdm_mux_budget *budget) {
  return budget->cap;
}

void budget_add(mdm_mux_budget *budget, size_t size) {
  if (budget)
    atomic_fetch_add_explicit(&budget->held, size, memory_order_relaxed);
}

void budget_remove(mdm_mux_budget *budget, size_t size) {
  if (budget && size)
    atomic_fetch_sub_explicit(&budget->held, size, memory_order_relaxed);
}

enum budget_level budget_level(const mdm_mux_budget *budget) {
  if (!budget)
    return BUDGET_FREE;
  size_t held = mdm_mux_budget_held(budget);
  if (held > budget->cap)
    return BUDGET_FULL;
  if (held >= budget->cap - budget->cap / 4)
    return BUDGET_NO_OPEN;
  if (held >= budget->cap / 2)
    return BUDGET_NO_GROWTH;
  return BUDGET_FREE;
}
