/* agent_set.c: owns all agents of a worker and the connections that are on their way to become one. */
#include "agent_set.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agent_private.h"

int agent_set_new(struct agent_set **out, struct worker *worker) {
  struct agent_set *set = calloc(1, sizeof *set);
  *out = NULL;
  if (set == NULL || login_guard_init(&set->guard) != 0) {
    free(set);
    return UV_ENOMEM;
  }
  set->worker = worker;
  *out = set;
  return 0;
}

void agent_set_free(struct agent_set *set) {
  if (set != NULL) {
    assert(set->agents == NULL);
    assert(set->newcomers == NULL);
    login_guard_clean(&set->guard);
    free(set);
  }
}

size_t agent_set_count(const struct agent_set *set) {
  return set->agents_count + set->newcomers_count;
}

void agent_set_get_stats(const struct agent_set *set, struct agent_set_stats *stats) {
  *stats = (struct agent_set_stats){.agents = set->agents_count,
                                    .links = set->links_count - set->newcomers_count,
                                    .unauthenticated = set->newcomers_count,
                                    .logins = set->logins,
                                    .logins_refused = set->logins_refused};
  for (const struct agent *agent = set->agents; agent != NULL; agent = agent->next) {
    for (const struct agent_link *link = agent->links; link != NULL; link = link->next) {
      struct mdm_mux_stats mux;
      mdm_mux_get_stats(net_link_mux(link->net), &mux);
      stats->streams_active += mux.streams_active;
      stats->held_bytes += mux.held_bytes;
      stats->bytes_in += mux.bytes_in;
      stats->bytes_out += mux.bytes_out;
    }
  }
}

void agent_set_each(const struct agent_set *set, void (*each)(const struct agent *agent, void *arg), void *arg) {
  for (const struct agent *agent = set->agents; agent != NULL; agent = agent->next) {
    each(agent, arg);
  }
}

/* ---- look-ups ---- */
struct agent *agent_set_by_id(struct agent_set *set, uint64_t id) {
  struct agent *agent = set->agents;
  while (agent != NULL && agent->id != id) {
    agent = agent->next;
  }
  return agent;
}

struct agent *agent_set_by_instance(struct agent_set *set, const char *user, const uint8_t instance[static NET_INSTANCE_SIZE]) {
  struct agent *agent = set->agents;
  while (agent != NULL && (agent->name[0] == '\0' || memcmp(agent->instance, instance, NET_INSTANCE_SIZE) != 0 || strcmp(agent->user, user) != 0)) {
    agent = agent->next;
  }
  return agent;
}

struct agent *agent_set_by_name(struct agent_set *set, const char *user, const char *name) {
  struct agent *agent = set->agents;
  while (agent != NULL && (strcmp(agent->name, name) != 0 || strcmp(agent->user, user) != 0)) {
    agent = agent->next;
  }
  return agent;
}

size_t agent_set_count_user(const struct agent_set *set, const char *user) {
  size_t count = 0;
  for (const struct agent *agent = set->agents; agent != NULL; agent = agent->next) {
    count += strcmp(agent->user, user) == 0;
  }
  return count;
}

/* ---- newcomers ---- */
/* The list is newest first: the last match has waited longest. Those that the hooks or other agents keep waiting are spared. */
static struct agent_link *newcomer_oldest(struct agent_set *set, const struct mdm_address *address) {
  struct agent_link *oldest = NULL;
  for (struct agent_link *link = set->newcomers; link != NULL; link = link->next) {
    bool own_time = link->state == LINK_HELLO || link->state == LINK_AUTH || link->state == LINK_PENALTY;
    if (own_time && (address == NULL || net_address_equal(&link->address, address, false))) {
      oldest = link;
    }
  }
  return oldest;
}

static size_t newcomers_from(const struct agent_set *set, const struct mdm_address *address) {
  size_t count = 0;
  for (const struct agent_link *link = set->newcomers; link != NULL; link = link->next) {
    count += net_address_equal(&link->address, address, false);
  }
  return count;
}

bool agent_set_make_room(struct agent_set *set, const struct mdm_address *address) {
  bool crowd = newcomers_from(set, address) >= AGENT_NEWCOMERS_PER_ADDRESS;
  if (!crowd && set->newcomers_count < AGENT_NEWCOMERS_MAX) {
    return true;
  }
  struct agent_link *victim = newcomer_oldest(set, crowd ? address : NULL);
  if (victim == NULL) {
    return false;
  }
  agent_link_log(victim, NET_LOG_WARN, "too many connections that are not logged in: the longest-waiting one is closed");
  agent_link_free(victim);
  return true;
}

/* ---- all of them ---- */
void agent_set_drain(struct agent_set *set) {
  set->draining = true;
  for (struct agent *agent = set->agents; agent != NULL; agent = agent->next) {
    agent_unpublish(agent, false);
    agent->current = NULL;
    for (struct agent_link *link = agent->links; link != NULL; link = link->next) {
      agent_link_drain(link, "the server is shutting down");
    }
  }
  for (struct agent_link *link = set->newcomers; link != NULL; link = link->next) {
    agent_link_refuse(link, MDM_GOAWAY_DRAIN, "the server is shutting down");
  }
}

void agent_set_close(struct agent_set *set) {
  set->draining = true;
  while (set->newcomers != NULL) {
    agent_link_free(set->newcomers);
  }
  while (set->agents != NULL) {
    struct agent *agent = set->agents;
    agent_unpublish(agent, false);
    agent->current = NULL;
    while (agent->links->next != NULL) {
      agent_link_free(agent->links);
    }
    agent_link_free(agent->links); /* and with the last link the agent */
  }
}

void agent_set_revoke(struct agent_set *set, const char *user) {
  static const char text[] = "the credential was withdrawn";
  set->revocations++; /* logins that the hooks are thinking about are asked again */
  for (struct agent *agent = set->agents; agent != NULL; agent = agent->next) {
    if (strcmp(agent->user, user) == 0) {
      agent_end(agent, true, MDM_GOAWAY_REVOKED, text);
    }
  }
  for (struct agent_link *link = set->newcomers; link != NULL; link = link->next) {
    if (link->state == LINK_NAME && strcmp(link->user, user) == 0) {
      agent_link_refuse(link, MDM_GOAWAY_REVOKED, text);
    }
  }
}

void agent_set_regrant(struct agent_set *set, const char *user) {
  for (struct agent *agent = set->agents; agent != NULL; agent = agent->next) {
    if (strcmp(agent->user, user) != 0) {
      continue;
    }
    for (size_t i = agent->claims_count; i-- > 0;) {
      char key[NAMES_KEY_MAX + 1];
      memcpy(key, agent->claims[i].key, strlen(agent->claims[i].key) + 1);
      if (key[0] == '=' && !registry_granted(set->worker->registry, user, key + 1)) {
        agent_ungrant(agent, key);
      }
    }
    if (agent->current != NULL && agent_claims_again(agent->current) != 0) {
      agent_link_log(agent->current, NET_LOG_ERROR, "no memory to take up a grant: it counts when the services are announced again");
    }
  }
}
