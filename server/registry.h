/* registry.h: which agent serves which name. Names are claimed, held, released here and nowhere else.
 *
 * A name ("service.user" or "=custom.domain") maps to one or, under `balance`, several claims, each of one agent's service. Today one worker owns
 * the registry; look-ups take a callback so that a name on another loop or node can answer later.
 */
#ifndef SERVER_REGISTRY_H
#define SERVER_REGISTRY_H

#include "agent.h"
#include "loop.h"
#include "names.h"

#define REGISTRY_SEEN_MS (10u * 60u * 1000u)   /* a name is remembered so long after its agent left: 503, and holds unless it said goodbye */
#define REGISTRY_STARTUP_MS 5000u              /* after start any well-formed name may be held */
#define REGISTRY_HOLDS_MAX 1000u
#define REGISTRY_HOLDS_PER_USER 50u
#define REGISTRY_SEEN_MAX 10000u               /* remembered names without an agent, oldest out; about 200 bytes each */

struct registry;
struct registry_hold; /* one waiting request */

enum registry_state {
  REGISTRY_LIVE,     /* *target is filled in */
  REGISTRY_OFFLINE,  /* known user or recently seen name: 503 */
  REGISTRY_UNKNOWN,  /* 404 */
};
/* Where an exchange goes. The service is the agent's current entry: use it before returning to the loop, or look it up again. */
struct registry_target {
  struct agent *agent;
  const struct net_service *service;
  const char *user;
};
/* `key` by names_key_*(). Balance picks the next agent in turn. `hold_allowed`: a hold may help (seen lately without goodbye, or start-up). */
enum registry_state registry_find(struct registry *registry, const char *key, struct registry_target *target, bool *hold_allowed);
/* Waits until the key is published or `timeout_ms` passed (live tells), then calls done once. 0, or UV_EBUSY over the caps. */
typedef void (*registry_hold_cb)(struct registry_hold *hold, bool live, void *user);
int registry_wait(struct registry *registry, const char *key, const char *user_label, uint32_t timeout_ms, registry_hold_cb done, void *user,
                  struct registry_hold **hold);
void registry_hold_cancel(struct registry_hold *hold);
/* Lists a user's live services for the page of user.DOMAIN. Returns how many exist; `each` is called with sorted names. */
size_t registry_list(struct registry *registry, const char *user, void (*each)(const char *service, void *arg), void *arg);
bool registry_user_known(struct registry *registry, const char *user);
/* Is `host` granted or claimed as a custom domain? (certificate choice, 421, redirect) */
bool registry_domain_known(struct registry *registry, const char *host);

/* ---- the worker's side ---- */
int registry_new(struct registry **out, struct net_loop *loop); /* 0 or UV_ENOMEM */
void registry_free(struct registry *registry);                  /* no agent holds a name any more; holds are told false. NULL is fine */
/* Who is known beyond the live names (the user file). Copied; a NULL member knows nobody. */
struct registry_directory {
  bool (*user_known)(void *self, const char *user);
  bool (*domain_known)(void *self, const char *host);
  bool (*granted)(void *self, const char *user, const char *host); /* NULL: the hooks alone decide */
  void *self;
};
void registry_set_directory(struct registry *registry, const struct registry_directory *directory);

/* ---- the agents' side ---- */
/* `agent` serves `key` with its service `id` from now on; a claim that it has already gets the new id. `shared`: beside other agents (balance).
 * Holds for the key are told at the end of this iteration. 0, UV_EEXIST (held by another agent), UV_EPERM (a custom domain kept for the user who
 * had it within REGISTRY_SEEN_MS), UV_ENOMEM. */
int registry_claim(struct registry *registry, const char *key, struct agent *agent, uint32_t id, bool shared);
/* Takes away the agent's own claim, if it has one. goodbye: it said so, or it was sent away; otherwise it was lost, and may be back soon. */
void registry_release(struct registry *registry, const char *key, struct agent *agent, bool goodbye);
/* The agent that holds the key, the longest-standing first under balance; NULL for none. */
struct agent *registry_holder(struct registry *registry, const char *key);
bool registry_user_configured(struct registry *registry, const char *user); /* the directory knows the user: the operator made it */
bool registry_granted(struct registry *registry, const char *user, const char *host); /* the directory still grants the custom domain */
size_t registry_user_services(struct registry *registry, const char *user); /* live names, custom domains not counted */

#endif
