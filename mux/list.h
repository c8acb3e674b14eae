/* list.h: an intrusive doubly linked ring. A node that is in no ring points nowhere (NULL). */
#ifndef MDM_MUX_LIST_H
#define MDM_MUX_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
  struct list *next, *prev;
};

#define list_item(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void list_init(struct list *head) {
  head->next = head->prev = head;
}

static inline bool list_empty(const struct list *head) {
  return head->next == head;
}

static inline bool list_linked(const struct list *node) {
  return node->next != NULL;
}

static inline void list_insert(struct list *after, struct list *node) {
  node->prev = after;
  node->next = after->next;
  after->next->prev = node;
  after->next = node;
}

static inline void list_append(struct list *head, struct list *node) {
  list_insert(head->prev, node);
}

/* Does nothing for a node that is in no ring. */
static inline void list_remove(struct list *node) {
  if (!node->next)
    return;
  node->prev->next = node->next;
  node->next->prev = node->prev;
  node->next = node->prev = NULL;
}

#endif
