/* agent.c: owns one client process: its identity, its claims and which of its links takes new streams. */
#include "agent.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent_private.h"

int agent_new(struct agent **out, struct agent_link *link, const char *name) {
  struct agent_set *set = link->set;
  struct agent *agent = calloc(1, sizeof *agent);
  *out = NULL;
  if (agent == NULL) {
    return UV_ENOMEM;
  }
  agent->set = set;
  agent->id = ++set->next_id;
  agent->since_wall_s = (uint64_t)time(NULL);
  snprintf(agent->user, sizeof agent->user, "%s", link->user);
  snprintf(agent->name, sizeof agent->name, "%s", name);
  memcpy(agent->instance, link->hello.instance, sizeof agent->instance);
  agent->next = set->agents;
  agent->link = &set->agents;
  if (agent->next != NULL) {
    agent->next->link = &agent->next;
  }
  set->agents = agent;
  set->agents_count++;
  *out = agent;
  return 0;
}

void agent_free(struct agent *agent) {
  assert(agent->links == NULL);
  agent_unpublish(agent, false);
  *agent->link = agent->next;
  if (agent->next != NULL) {
    agent->next->link = agent->link;
  }
  agent->set->agents_count--;
  free(agent->claims);
  free(agent);
}

uint64_t agent_id(const struct agent *agent) {
  return agent->id;
}

const char *agent_user(const struct agent *agent) {
  return agent->user;
}

const char *agent_name(const struct agent *agent) {
  return agent->name;
}

const struct mdm_address *agent_address(const struct agent *agent) {
  return &agent->address;
}

const char *agent_describe(const struct agent *agent, char *out, size_t capacity) {
  char when[32] = "", address[NET_ADDRESS_TEXT], name[2 * NET_LABEL_MAX];
  time_t since = (time_t)agent->since_wall_s;
  struct tm tm;
  if (gmtime_r(&since, &tm) != NULL) {
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &tm);
  }
  net_log_escape(name, sizeof name, agent->name, strlen(agent->name));
  snprintf(out, capacity, "client %s, connected since %s from %s", name, when, net_address_text(address, &agent->address, false));
  return out;
}

/* ---- services and streams ---- */
static int compare_id(const void *key, const void *entry) {
  uint32_t id = *(const uint32_t *)key;
  const struct net_service *service = entry;
  return id < service->id ? -1 : id > service->id;
}

const struct net_service *agent_service(const struct agent *agent, uint32_t id) {
  const struct agent_link *link = agent->current;
  if (link == NULL || link->services_count == 0) {
    return NULL;
  }
  return bsearch(&id, link->services, link->services_count, sizeof link->services[0], compare_id);
}

bool agent_stream_stays(const struct agent *agent, const mdm_stream *stream) {
  return agent->current != NULL && net_link_mux(agent->current->net) == mdm_stream_mux(stream);
}

static size_t agent_streams(const struct agent *agent) {
  size_t count = 0;
  for (const struct agent_link *link = agent->links; link != NULL; link = link->next) {
    struct mdm_mux_stats stats;
    mdm_mux_get_stats(net_link_mux(link->net), &stats);
    count += stats.streams_active;
  }
  return count;
}

int agent_stream_open(struct agent *agent, uint32_t service, enum mdm_kind kind, const struct mdm_address *visitor, enum mdm_scheme scheme,
                      const struct mdm_stream_ops *ops, void *user, mdm_stream **out) {
  *out = NULL;
  if (agent->current == NULL || agent->current->state != LINK_READY) {
    return MDM_MUX_ECLOSED;
  }
  if (agent_service(agent, service) == NULL) {
    return MDM_MUX_ESTATE;
  }
  if (agent->max_streams != 0 && agent_streams(agent) >= agent->max_streams) {
    return MDM_MUX_ELIMIT;
  }
  struct mdm_open open = {.kind = kind, .service = service, .visitor = *visitor, .scheme = scheme};
  return mdm_stream_open(net_link_mux(agent->current->net), &open, ops, user, out);
}

/* ---- claims ---- */
int agent_claim_note(struct agent *agent, const char *key, uint32_t service) {
  for (size_t i = 0; i < agent->claims_count; i++) {
    if (strcmp(agent->claims[i].key, key) == 0) {
      agent->claims[i].service = service;
      return 0;
    }
  }
  if (agent->claims_count == agent->claims_capacity) {
    size_t capacity = agent->claims_capacity == 0 ? 4 : agent->claims_capacity * 2;
    struct agent_claim *claims = realloc(agent->claims, capacity * sizeof *claims);
    if (claims == NULL) {
      return UV_ENOMEM;
    }
    agent->claims = claims;
    agent->claims_capacity = capacity;
  }
  char *copy = strdup(key);
  if (copy == NULL) {
    return UV_ENOMEM;
  }
  agent->claims[agent->claims_count++] = (struct agent_claim){copy, service};
  return 0;
}

bool agent_has_claim(const struct agent *agent, const char *key) {
  for (size_t i = 0; i < agent->claims_count; i++) {
    if (strcmp(agent->claims[i].key, key) == 0) {
      return true;
    }
  }
  return false;
}

void agent_claim_drop(struct agent *agent, const char *key, bool goodbye) {
  for (size_t i = 0; i < agent->claims_count; i++) {
    if (strcmp(agent->claims[i].key, key) == 0) {
      registry_release(agent->set->worker->registry, key, agent, goodbye);
      free(agent->claims[i].key);
      agent->claims[i] = agent->claims[--agent->claims_count];
      return;
    }
  }
}

void agent_unpublish(struct agent *agent, bool goodbye) {
  while (agent->claims_count > 0) {
    struct agent_claim *claim = &agent->claims[--agent->claims_count];
    registry_release(agent->set->worker->registry, claim->key, agent, goodbye);
    free(claim->key);
  }
}

void agent_end(struct agent *agent, bool goodbye, enum mdm_goaway code, const char *text) {
  agent_unpublish(agent, goodbye);
  agent->current = NULL;
  for (struct agent_link *link = agent->links; link != NULL; link = link->next) {
    agent_link_refuse(link, code, "%s", text);
  }
}

/* Another name that leads to the service, or NULL. */
static const char *agent_other_key(const struct agent *agent, uint32_t service) {
  for (size_t i = 0; i < agent->claims_count; i++) {
    if (agent->claims[i].service == service) {
      return agent->claims[i].key;
    }
  }
  return NULL;
}

/* The URL named a custom domain that is lost: it names another one. An own name, where there is one, is the URL from the start. */
static void verdict_move_url(struct net_service_verdict *verdict, const char *lost, const char *other) {
  const char *host = strstr(verdict->url, "://");
  char url[sizeof verdict->url];
  if (lost[0] != '=' || other[0] != '=' || host == NULL || strncmp(host + 3, lost + 1, strlen(lost + 1)) != 0) {
    return;
  }
  const char *rest = host + 3 + strlen(lost + 1);
  if (rest[0] != '\0' && rest[0] != ':') {
    return;
  }
  int size = snprintf(url, sizeof url, "%.*s%s%s", (int)(host + 3 - verdict->url), verdict->url, other + 1, rest);
  if (size > 0 && (size_t)size < sizeof url) {
    memcpy(verdict->url, url, (size_t)size + 1);
  }
}

/* The verdict on the service that the key belonged to turns into a refusal, unless another name still leads to it. */
static void agent_tell_loss(struct agent *agent, uint32_t service, const char *key, const char *text) {
  struct agent_link *link = agent->current;
  const char *other = agent_other_key(agent, service);
  if (link == NULL) {
    return;
  }
  for (size_t i = 0; i < link->verdicts.count; i++) {
    struct net_service_verdict *verdict = &link->verdicts.list[i];
    if (verdict->id != service) {
      continue;
    }
    if (other == NULL) {
      verdict->verdict = NET_SERVICE_REFUSED;
      verdict->url[0] = '\0';
    } else {
      verdict_move_url(verdict, key, other);
    }
    snprintf(verdict->reason, sizeof verdict->reason, "%s", text);
  }
  agent_link_send_verdicts(link);
}

static uint32_t agent_service_of(const struct agent *agent, const char *key) {
  uint32_t service = 0;
  for (size_t i = 0; i < agent->claims_count; i++) {
    service = strcmp(agent->claims[i].key, key) == 0 ? agent->claims[i].service : service;
  }
  return service;
}

void agent_ungrant(struct agent *agent, const char *key) {
  char text[AGENT_SENTENCE_MAX];
  uint32_t service = agent_service_of(agent, key);
  agent_claim_drop(agent, key, true);
  snprintf(text, sizeof text, "the domain %s is no longer granted to this user", key + 1);
  if (agent->current != NULL) {
    agent_link_log(agent->current, NET_LOG_INFO, "%s", text);
  }
  agent_tell_loss(agent, service, key, text);
}

void agent_lose(struct agent *agent, const char *key, const struct agent *winner) {
  char text[AGENT_SENTENCE_MAX], who[256];
  uint32_t service = agent_service_of(agent, key);
  agent_claim_drop(agent, key, true);
  snprintf(text, sizeof text, "%s was taken over by %s", key[0] == '=' ? key + 1 : key, agent_describe(winner, who, sizeof who));
  if (agent->current != NULL) {
    agent_link_log(agent->current, NET_LOG_INFO, "%s", text);
  }
  if (agent->claims_count == 0) {
    agent_end(agent, true, MDM_GOAWAY_REPLACED, text);
  } else {
    agent_tell_loss(agent, service, key, text);
  }
}
