/* registry_hold.c: owns the requests that wait for a name. They are told from the end of the iteration in which the name was
 * published, so that the client has been sent READY before the first stream is opened to it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "registry_private.h"

struct registry_hold {
  struct registry_hold *next, **link;
  struct registry *registry;
  struct net_timer timer;
  registry_hold_cb done;
  void *user;
  bool live;
  char key[NAMES_KEY_MAX + 1];
  char label[NET_LABEL_MAX + 1];
};

static void hold_unlink(struct registry_hold *hold) {
  *hold->link = hold->next;
  if (hold->next != NULL) {
    hold->next->link = hold->link;
  }
  hold->registry->holds_count--;
  net_timer_stop(&hold->registry->loop->wheel, &hold->timer);
}

static void hold_finish(struct registry_hold *hold, bool live) {
  hold_unlink(hold);
  hold->done(hold, live, hold->user);
  free(hold);
}

static void hold_expired(struct net_timer *timer) {
  hold_finish(STRMAP_OWNER(timer, struct registry_hold, timer), false);
}

/* A callback may cancel other holds, so the walk starts anew after each. */
static void holds_tell(struct net_task *task) {
  struct registry *registry = STRMAP_OWNER(task, struct registry, publish);
  struct registry_hold *hold = registry->holds;
  while (hold != NULL) {
    if (hold->live) {
      hold_finish(hold, true);
      hold = registry->holds;
    } else {
      hold = hold->next;
    }
  }
}

void registry_holds_init(struct registry *registry) {
  registry->publish.run = holds_tell;
}

void registry_holds_publish(struct registry *registry, const char *key) {
  bool any = false;
  for (struct registry_hold *hold = registry->holds; hold != NULL; hold = hold->next) {
    if (!hold->live && strcmp(hold->key, key) == 0) {
      hold->live = true;
      any = true;
    }
  }
  if (any) {
    net_loop_defer(registry->loop, &registry->publish);
  }
}

void registry_holds_clean(struct registry *registry) {
  net_task_cancel(&registry->publish);
  while (registry->holds != NULL) {
    hold_finish(registry->holds, false);
  }
}

static size_t holds_of_user(const struct registry *registry, const char *label) {
  size_t count = 0;
  for (const struct registry_hold *hold = registry->holds; hold != NULL; hold = hold->next) {
    count += strcmp(hold->label, label) == 0;
  }
  return count;
}

int registry_wait(struct registry *registry, const char *key, const char *user_label, uint32_t timeout_ms, registry_hold_cb done,
                  void *user, struct registry_hold **out) {
  *out = NULL;
  if (strlen(key) > NAMES_KEY_MAX || strlen(user_label) > NET_LABEL_MAX || registry->holds_count >= REGISTRY_HOLDS_MAX ||
      holds_of_user(registry, user_label) >= REGISTRY_HOLDS_PER_USER) {
    return UV_EBUSY;
  }
  struct registry_hold *hold = calloc(1, sizeof *hold);
  if (hold == NULL) {
    return UV_EBUSY;
  }
  hold->registry = registry;
  hold->done = done;
  hold->user = user;
  hold->timer.fire = hold_expired;
  memcpy(hold->key, key, strlen(key) + 1);
  memcpy(hold->label, user_label, strlen(user_label) + 1);
  hold->next = registry->holds;
  hold->link = &registry->holds;
  if (hold->next != NULL) {
    hold->next->link = &hold->next;
  }
  registry->holds = hold;
  registry->holds_count++;
  net_timer_start(&registry->loop->wheel, &hold->timer, timeout_ms);
  *out = hold;
  return 0;
}

void registry_hold_cancel(struct registry_hold *hold) {
  if (hold != NULL) {
    hold_unlink(hold);
    free(hold);
  }
}
