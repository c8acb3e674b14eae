/* visitor_kept.c: a visitor's idle upstreams. Nobody else ever uses them, so that a confused origin harms this visitor only. */
#include "visitor_private.h"

static void on_gone(void *owner, struct upstream *upstream) {
  struct visitor *v = owner;
  for (struct upstream **link = &v->kept; *link; link = &(*link)->next) {
    if (*link == upstream) {
      *link = upstream->next;
      v->kept_count--;
      return;
    }
  }
}

/* A kept upstream tells nothing but its end. */
static const struct upstream_events kept_events = {.gone = on_gone};

static bool key_equal(const struct upstream_key *a, const struct upstream_key *b) {
  return a->agent == b->agent && a->service == b->service && a->https == b->https && net_address_equal(&a->visitor, &b->visitor, true);
}

struct upstream *visitor_take(struct exchange *x, const struct upstream_key *key, uint64_t idle_max_ms) {
  struct visitor *v = x->visitor;
  uint64_t now = net_loop_now_ms(visitor_loop(v));
  for (struct upstream **link = &v->kept; *link; link = &(*link)->next) {
    struct upstream *upstream = *link;
    if (!key_equal(&upstream->key, key) || now - upstream->kept_ms > idle_max_ms)
      continue;
    *link = upstream->next;
    v->kept_count--;
    return upstream;
  }
  return NULL;
}

static void retire_oldest(struct visitor *v) {
  struct upstream **link = &v->kept;
  while ((*link)->next)
    link = &(*link)->next;
  struct upstream *oldest = *link;
  *link = NULL;
  v->kept_count--;
  oldest->ops->retire(oldest);
}

void visitor_keep(struct exchange *x, struct upstream *upstream) {
  struct visitor *v = x->visitor;
  upstream->events = &kept_events;
  upstream->owner = v;
  upstream->kept_ms = net_loop_now_ms(visitor_loop(v));
  upstream->next = v->kept;
  v->kept = upstream;
  if (++v->kept_count > VISITOR_KEPT_MAX)
    retire_oldest(v);
}

void visitor_retire_kept(struct visitor *v) {
  while (v->kept) {
    struct upstream *upstream = v->kept;
    v->kept = upstream->next;
    v->kept_count--;
    upstream->ops->retire(upstream);
  }
}

static void visitor_forget(struct visitor *v, uint64_t agent) {
  struct upstream **link = &v->kept;
  while (*link) {
    struct upstream *upstream = *link;
    if (upstream->key.agent != agent) {
      link = &upstream->next;
      continue;
    }
    *link = upstream->next;
    v->kept_count--;
    upstream->ops->retire(upstream);
  }
}

void visitor_set_forget(struct visitor_set *set, uint64_t agent) {
  for (struct visitor *v = set->first; v; v = v->next)
    visitor_forget(v, agent);
}
