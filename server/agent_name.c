/* agent_name.c: who a link belongs to once its login is good: the agent that it had before, or a new one under a free client name. */
#include <stdio.h>
#include <string.h>

#include "agent_private.h"

static uint32_t smaller(uint32_t a, uint32_t b) {
  return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The link changes from the newcomers to its agent. */
static void link_join(struct agent_link *link, struct agent *agent) {
  *link->link = link->next;
  if (link->next != NULL) {
    link->next->link = link->link;
  }
  link->set->newcomers_count--;
  link->agent = agent;
  link->next = agent->links;
  link->link = &agent->links;
  if (link->next != NULL) {
    link->next->link = &link->next;
  }
  agent->links = link;
  agent->epoch = link->hello.epoch;
  agent->address = link->address;
  agent->max_streams = smaller(link->max_streams, link->set->worker->config->limits.streams_per_agent);
  agent->max_services = link->max_services;
  agent_link_enter(link, LINK_SERVICES);
  agent_link_services_next(link);
}

static void name_create(struct agent_link *link, const char *name) {
  struct agent *agent = NULL;
  if (agent_new(&agent, link, name) != 0) {
    agent_link_refuse(link, MDM_GOAWAY_INTERNAL, "the server is out of memory");
    return;
  }
  link_join(link, agent);
}

/* NAME, NAME-2, NAME-3, ... The user's agents are counted, so one of the first count + 1 is free. */
static void name_next_free(struct agent_link *link) {
  const char *wanted = link->hello.client_name[0] == '\0' ? "client" : link->hello.client_name;
  char name[NET_TEXT_MAX + 1];
  snprintf(name, sizeof name, "%s", wanted);
  for (unsigned number = 2; agent_set_by_name(link->set, link->user, name) != NULL; number++) {
    snprintf(name, sizeof name, "%.*s-%u", NET_TEXT_MAX - 11, wanted, number);
  }
  name_create(link, name);
}

static void name_probed(struct net_probe *probe, bool alive) {
  struct agent_link *link = AGENT_OWNER(probe, struct agent_link, probe);
  link->probing = false;
  if (link->state != LINK_NAME) {
    return;
  }
  struct agent *holder = agent_set_by_id(link->set, link->name_holder);
  bool replace = link->replace || link->set->worker->config->clash == CLASH_REPLACE;
  char who[256], newcomer[NET_ADDRESS_TEXT], text[AGENT_SENTENCE_MAX];
  if (holder != NULL && alive && !replace) {
    agent_link_refuse(link, MDM_GOAWAY_NAME, "the client name is in use by %s: give another --name, or --replace to take it over",
                      agent_describe(holder, who, sizeof who));
    return;
  }
  if (holder != NULL) {
    snprintf(text, sizeof text, alive ? "another client with the same name took over from %s" : "the client did not answer; another one took over from %s",
             net_address_text(newcomer, &link->address, false));
    agent_link_log(link, NET_LOG_INFO, "takes the name from %s (%s)", agent_describe(holder, who, sizeof who), alive ? "replaced" : "silent");
    holder->name[0] = '\0'; /* free at once; the holder's links still have to close */
    agent_end(holder, alive, alive ? MDM_GOAWAY_REPLACED : MDM_GOAWAY_IDLE, text);
  }
  agent_name_settle(link);
}

/* An older link of the same process is superseded once this one has its names (agent_link_take_over). */
static void name_same_instance(struct agent_link *link, struct agent *agent) {
  if (link->hello.epoch <= agent->epoch) {
    agent_link_refuse(link, MDM_GOAWAY_PROTOCOL, "a newer connection of this client is there already");
    return;
  }
  link_join(link, agent);
}

void agent_name_settle(struct agent_link *link) {
  struct agent_set *set = link->set;
  const struct server_limits *limits = &set->worker->config->limits;
  struct agent *agent = agent_set_by_instance(set, link->user, link->hello.instance);
  if (agent != NULL) {
    name_same_instance(link, agent);
    return;
  }
  if (limits->agents != 0 && set->agents_count >= limits->agents) {
    agent_link_refuse(link, MDM_GOAWAY_BUSY, "the server has as many clients as it may have (%u)", limits->agents);
    return;
  }
  if (limits->agents_per_user != 0 && agent_set_count_user(set, link->user) >= limits->agents_per_user) {
    agent_link_refuse(link, MDM_GOAWAY_BUSY, "user %s has as many clients as a user may have (%u)", link->user, limits->agents_per_user);
    return;
  }
  bool pinned = link->hello.name_explicit && set->worker->config->clash != CLASH_BALANCE && link->hello.client_name[0] != '\0';
  struct agent *holder = pinned ? agent_set_by_name(set, link->user, link->hello.client_name) : NULL;
  if (holder == NULL) {
    name_next_free(link);
    return;
  }
  link->name_holder = holder->id;
  link->probing = true;
  link->probe.done = name_probed;
  net_link_probe(holder->links->net, &link->probe, AGENT_PROBE_MS);
}
