/* registry.c: owns the book of names: claims, names seen lately, and what users have. Waiting requests are in registry_hold.c. */
#include "registry.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "registry_private.h"

struct claim {
  struct agent *agent;
  uint32_t service;
};

/* One name. It lives while it has claims, and for REGISTRY_SEEN_MS after the last one left; after a goodbye no request is held for it. */
struct name {
  struct strmap_node node;
  struct registry_user *owner;
  struct name *owner_next, **owner_link;
  struct name *seen_next, **seen_link; /* NULL link = it has claims */
  uint64_t seen_until_ms;
  bool goodbye;
  struct claim *claims;
  size_t claims_count, claims_capacity, turn;
  char key[NAMES_KEY_MAX + 1];
};

struct registry_user {
  struct strmap_node node;
  struct name *names;
  size_t live; /* service names with claims */
  char user[NET_LABEL_MAX + 1];
};

static bool name_is_domain(const struct name *name) {
  return name->key[0] == '=';
}

int registry_new(struct registry **out, struct net_loop *loop) {
  struct registry *registry = calloc(1, sizeof *registry);
  *out = NULL;
  if (registry == NULL) {
    return UV_ENOMEM;
  }
  if (strmap_init(&registry->names) != 0) {
    free(registry);
    return UV_ENOMEM;
  }
  if (strmap_init(&registry->users) != 0) {
    strmap_clean(&registry->names);
    free(registry);
    return UV_ENOMEM;
  }
  registry->loop = loop;
  registry->seen_tail = &registry->seen;
  registry->started_ms = net_loop_now_ms(loop);
  registry_holds_init(registry);
  *out = registry;
  return 0;
}

void registry_set_directory(struct registry *registry, const struct registry_directory *directory) {
  registry->directory = *directory;
}

/* ---- users ---- */
static struct registry_user *user_find(const struct registry *registry, const char *user) {
  struct strmap_node *node = strmap_find(&registry->users, user);
  return node == NULL ? NULL : STRMAP_OWNER(node, struct registry_user, node);
}

static struct registry_user *user_get(struct registry *registry, const char *text) {
  struct registry_user *user = user_find(registry, text);
  if (user == NULL && strlen(text) <= NET_LABEL_MAX && (user = calloc(1, sizeof *user)) != NULL) {
    memcpy(user->user, text, strlen(text) + 1);
    strmap_add(&registry->users, &user->node, user->user);
  }
  return user;
}

static void user_put(struct registry *registry, struct registry_user *user) {
  if (user->names == NULL) {
    strmap_remove(&registry->users, &user->node);
    free(user);
  }
}

static void name_set_owner(struct registry *registry, struct name *name, struct registry_user *user) {
  struct registry_user *old = name->owner;
  if (old == user) {
    return;
  }
  if (old != NULL) {
    *name->owner_link = name->owner_next;
    if (name->owner_next != NULL) {
      name->owner_next->owner_link = name->owner_link;
    }
  }
  name->owner = user;
  if (user != NULL) {
    name->owner_next = user->names;
    name->owner_link = &user->names;
    if (user->names != NULL) {
      user->names->owner_link = &name->owner_next;
    }
    user->names = name;
  }
  if (old != NULL) {
    user_put(registry, old);
  }
}

/* ---- names ---- */
static struct name *name_find(const struct registry *registry, const char *key) {
  struct strmap_node *node = strmap_find(&registry->names, key);
  return node == NULL ? NULL : STRMAP_OWNER(node, struct name, node);
}

static struct name *name_new(struct registry *registry, const char *key) {
  struct name *name = strlen(key) > NAMES_KEY_MAX ? NULL : calloc(1, sizeof *name);
  if (name != NULL) {
    memcpy(name->key, key, strlen(key) + 1);
    strmap_add(&registry->names, &name->node, name->key);
  }
  return name;
}

static void seen_unlink(struct registry *registry, struct name *name) {
  if (name->seen_link == NULL) {
    return;
  }
  *name->seen_link = name->seen_next;
  if (name->seen_next != NULL) {
    name->seen_next->seen_link = name->seen_link;
  } else {
    registry->seen_tail = name->seen_link;
  }
  name->seen_link = NULL;
  registry->seen_count--;
}

static void name_free(struct registry *registry, struct name *name) {
  seen_unlink(registry, name);
  name_set_owner(registry, name, NULL);
  strmap_remove(&registry->names, &name->node);
  free(name->claims);
  free(name);
}

/* Forgets what was seen too long ago. The list is in the order of leaving, so only its front can be due. */
static void seen_expire(struct registry *registry) {
  uint64_t now = net_loop_now_ms(registry->loop);
  while (registry->seen != NULL && (registry->seen->seen_until_ms <= now || registry->seen_count > REGISTRY_SEEN_MAX)) {
    name_free(registry, registry->seen);
  }
}

static void name_left(struct registry *registry, struct name *name, bool goodbye) {
  name->owner->live -= name_is_domain(name) ? 0 : 1;
  name->goodbye = goodbye;
  name->seen_until_ms = net_loop_now_ms(registry->loop) + REGISTRY_SEEN_MS;
  name->seen_next = NULL;
  name->seen_link = registry->seen_tail;
  *registry->seen_tail = name;
  registry->seen_tail = &name->seen_next;
  registry->seen_count++;
  seen_expire(registry);
}

static struct claim *claim_find(struct name *name, const struct agent *agent) {
  for (size_t i = 0; i < name->claims_count; i++) {
    if (name->claims[i].agent == agent) {
      return &name->claims[i];
    }
  }
  return NULL;
}

static int claim_add(struct name *name, struct agent *agent, uint32_t id) {
  if (name->claims_count == name->claims_capacity) {
    size_t capacity = name->claims_capacity == 0 ? 1 : name->claims_capacity * 2;
    struct claim *claims = realloc(name->claims, capacity * sizeof *claims);
    if (claims == NULL) {
      return UV_ENOMEM;
    }
    name->claims = claims;
    name->claims_capacity = capacity;
  }
  name->claims[name->claims_count++] = (struct claim){agent, id};
  return 0;
}

int registry_claim(struct registry *registry, const char *key, struct agent *agent, uint32_t id, bool shared) {
  seen_expire(registry);
  struct name *name = name_find(registry, key);
  struct claim *own = name == NULL ? NULL : claim_find(name, agent);
  if (own != NULL) {
    own->service = id;
    registry_holds_publish(registry, key);
    return 0;
  }
  bool same_owner = name != NULL && strcmp(name->owner->user, agent_user(agent)) == 0;
  if (name != NULL && name->claims_count > 0 && !(shared && same_owner)) {
    return UV_EEXIST;
  }
  if (name != NULL && name->claims_count == 0 && !same_owner) {
    return UV_EPERM;
  }
  struct registry_user *user = user_get(registry, agent_user(agent));
  if (user == NULL) {
    return UV_ENOMEM;
  }
  bool fresh = name == NULL;
  if (fresh && (name = name_new(registry, key)) == NULL) {
    user_put(registry, user);
    return UV_ENOMEM;
  }
  name_set_owner(registry, name, user);
  if (claim_add(name, agent, id) != 0) {
    if (fresh) {
      name_free(registry, name);
    }
    return UV_ENOMEM;
  }
  seen_unlink(registry, name);
  if (name->claims_count == 1 && !name_is_domain(name)) {
    user->live++;
  }
  registry_holds_publish(registry, key);
  return 0;
}

void registry_release(struct registry *registry, const char *key, struct agent *agent, bool goodbye) {
  struct name *name = name_find(registry, key);
  struct claim *claim = name == NULL ? NULL : claim_find(name, agent);
  if (claim == NULL) {
    return;
  }
  size_t after = name->claims_count - (size_t)(claim - name->claims) - 1;
  memmove(claim, claim + 1, after * sizeof *claim);
  name->claims_count--;
  if (name->claims_count == 0) {
    name_left(registry, name, goodbye);
  }
}

struct agent *registry_holder(struct registry *registry, const char *key) {
  struct name *name = name_find(registry, key);
  return name == NULL || name->claims_count == 0 ? NULL : name->claims[0].agent;
}

size_t registry_user_services(struct registry *registry, const char *user) {
  struct registry_user *entry = user_find(registry, user);
  return entry == NULL ? 0 : entry->live;
}

/* ---- look-ups ---- */
static bool name_pick(struct name *name, struct registry_target *target) {
  for (size_t i = 0; i < name->claims_count; i++) {
    struct claim *claim = &name->claims[name->turn++ % name->claims_count];
    const struct net_service *service = agent_service(claim->agent, claim->service);
    if (service != NULL) {
      *target = (struct registry_target){claim->agent, service, name->owner->user};
      return true;
    }
  }
  return false;
}

/* The user of a key "service.user"; "" for a custom domain. */
static const char *key_user(const char *key) {
  const char *dot = key[0] == '=' ? NULL : strchr(key, '.');
  return dot == NULL ? "" : dot + 1;
}

enum registry_state registry_find(struct registry *registry, const char *key, struct registry_target *target, bool *hold_allowed) {
  *target = (struct registry_target){0};
  seen_expire(registry);
  struct name *name = name_find(registry, key);
  if (name != NULL && name_pick(name, target)) {
    *hold_allowed = false;
    return REGISTRY_LIVE;
  }
  *hold_allowed = (name != NULL && !name->goodbye) || net_loop_now_ms(registry->loop) - registry->started_ms < REGISTRY_STARTUP_MS;
  if (name != NULL || (key[0] == '=' ? registry_domain_known(registry, key + 1) : registry_user_known(registry, key_user(key)))) {
    return REGISTRY_OFFLINE;
  }
  return REGISTRY_UNKNOWN;
}

bool registry_user_configured(struct registry *registry, const char *user) {
  const struct registry_directory *directory = &registry->directory;
  return directory->user_known != NULL && directory->user_known(directory->self, user);
}

bool registry_granted(struct registry *registry, const char *user, const char *host) {
  const struct registry_directory *directory = &registry->directory;
  return directory->granted == NULL || directory->granted(directory->self, user, host);
}

bool registry_user_known(struct registry *registry, const char *user) {
  seen_expire(registry);
  return user[0] != '\0' && (user_find(registry, user) != NULL || registry_user_configured(registry, user));
}

bool registry_domain_known(struct registry *registry, const char *host) {
  char key[NAMES_KEY_MAX + 1];
  const struct registry_directory *directory = &registry->directory;
  names_key_domain(key, host);
  struct name *name = name_find(registry, key);
  return (name != NULL && name->claims_count > 0) ||
         (directory->domain_known != NULL && directory->domain_known(directory->self, key + 1));
}

static int compare_names(const void *a, const void *b) {
  const struct name *const *left = a;
  const struct name *const *right = b;
  return strcmp((*left)->key, (*right)->key);
}

size_t registry_list(struct registry *registry, const char *user, void (*each)(const char *service, void *arg), void *arg) {
  struct registry_user *entry = user_find(registry, user);
  if (entry == NULL || entry->live == 0) {
    return 0;
  }
  struct name **sorted = malloc(entry->live * sizeof(struct name *));
  size_t count = 0;
  for (struct name *name = entry->names; sorted != NULL && name != NULL; name = name->owner_next) {
    if (!name_is_domain(name) && name->claims_count > 0) {
      assert(count < entry->live);
      sorted[count++] = name;
    }
  }
  if (count > 0) {
    qsort(sorted, count, sizeof sorted[0], compare_names);
  }
  for (size_t i = 0; i < count; i++) {
    char service[NAMES_KEY_MAX + 1];
    size_t size = strcspn(sorted[i]->key, ".");
    memcpy(service, sorted[i]->key, size);
    service[size] = '\0';
    each(service, arg);
  }
  free(sorted);
  return entry->live;
}

void registry_free(struct registry *registry) {
  if (registry == NULL) {
    return;
  }
  registry_holds_clean(registry);
  while (registry->seen != NULL) {
    name_free(registry, registry->seen);
  }
  strmap_clean(&registry->names); /* asserts that no agent holds a name */
  strmap_clean(&registry->users);
  free(registry);
}
