/* agent_claims.c: owns the judging of one SERVICES list: which of its names the client may have, who has them now, and the change over to it.
 *
 *   ASK: the hooks, a few at a time  ->  CLASH: holders in other clients are probed, one at a time  ->  PUBLISH: all at once
 *                                          ^-- a name was taken meanwhile (at most ROUNDS_MAX times) --'
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_private.h"
#include "names.h"
#include "tls_store.h"

#define ASKS_MAX 16u   /* questions of one job in flight, so that one long list cannot crowd out other logins */
#define ROUNDS_MAX 3u

enum item_state { ITEM_NEW, ITEM_ASKED, ITEM_CLASH, ITEM_GRANTED, ITEM_TAKE, ITEM_REFUSED };

/* One name that a service wants: its own web name, or a custom domain. */
struct claim_item {
  struct claim_job *job;
  size_t service; /* index in the list */
  char *key;
  enum item_state state;
  uint64_t taken_from; /* TAKE: the agent that was found alive */
  struct mdm_auth_question question;
  struct auth_ask *ask;
};

struct claim_job {
  struct agent_link *link;
  struct net_services services;
  struct net_services_ok verdicts;
  struct claim_item *items;
  size_t items_count, asked, asks, at;
  unsigned rounds;
  bool asking, stepping;
  uint64_t holder; /* agent that is, or was last, probed */
  bool holder_alive, probing;
  struct net_probe probe;
};

static void job_step(struct claim_job *job);

static void job_free(struct claim_job *job) {
  for (size_t i = 0; i < job->items_count; i++) {
    auth_ask_cancel(job->items[i].ask);
    free(job->items[i].key);
  }
  if (job->probing) {
    net_probe_cancel(&job->probe);
  }
  net_services_clean(&job->services);
  net_services_ok_clean(&job->verdicts);
  free(job->items);
  free(job);
}

void agent_claims_cancel(struct agent_link *link) {
  if (link->job != NULL) {
    job_free(link->job);
    link->job = NULL;
  }
}

/* ---- what is wanted ---- */
static bool item_is_domain(const struct claim_item *item) {
  return item->key[0] == '=';
}

/* Says no to one name. The service falls with its own name; without a custom domain it keeps the rest. */
static void __attribute__((format(printf, 2, 3))) item_refuse(struct claim_item *item, const char *format, ...) {
  struct net_service_verdict *verdict = &item->job->verdicts.list[item->service];
  char text[AGENT_SENTENCE_MAX];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  item->state = ITEM_REFUSED;
  if (!item_is_domain(item)) {
    verdict->verdict = NET_SERVICE_REFUSED;
    snprintf(verdict->reason, sizeof verdict->reason, "%s", text);
  } else if (verdict->verdict != NET_SERVICE_REFUSED) {
    snprintf(verdict->reason, sizeof verdict->reason, "%s", text);
  }
  agent_link_log(item->job->link, NET_LOG_WARN, "%s refused: %s", item_is_domain(item) ? item->key + 1 : item->key, text);
}

static int item_add(struct claim_job *job, size_t service, const char *key) {
  struct claim_item *item = &job->items[job->items_count];
  *item = (struct claim_item){.job = job, .service = service, .key = strdup(key)};
  if (item->key == NULL) {
    return UV_ENOMEM;
  }
  job->items_count++;
  return 0;
}

/* Without a web name a service is no error: it is there, and has no address. */
static void verdict_no_web(struct net_service_verdict *verdict, const char *text) {
  verdict->verdict = NET_SERVICE_NO_WEB;
  snprintf(verdict->reason, sizeof verdict->reason, "%s", text);
}

static int items_of_service(struct claim_job *job, size_t index) {
  const struct net_service *service = &job->services.list[index];
  const struct agent *agent = job->link->agent;
  struct net_service_verdict *verdict = &job->verdicts.list[index];
  char key[NAMES_KEY_MAX + 1];
  size_t size = strlen(service->name);
  verdict->id = service->id;
  verdict->verdict = NET_SERVICE_OK;
  if (!net_label_valid(service->name, size)) {
    verdict_no_web(verdict, "the name cannot be part of a web address: use letters, digits and single hyphens");
  } else if (size + strlen(agent->user) > NET_LABEL_MAX) {
    verdict_no_web(verdict, "service and user together are too long for a web address");
  } else {
    names_key_service(key, agent->user, service->name);
    if (item_add(job, index, key) != 0) {
      return UV_ENOMEM;
    }
  }
  for (size_t i = 0; i < service->options.domains_count; i++) {
    names_key_domain(key, service->options.domains[i]);
    if (item_add(job, index, key) != 0) {
      return UV_ENOMEM;
    }
  }
  return 0;
}

static int compare_items(const void *a, const void *b) {
  const struct claim_item *const *left = a;
  const struct claim_item *const *right = b;
  int order = strcmp((*left)->key, (*right)->key);
  return order != 0 ? order : (*left < *right ? -1 : *left > *right);
}

/* A name that the list wants twice goes to the first that wants it. */
static int items_refuse_doubles(struct claim_job *job) {
  struct claim_item **sorted = calloc(job->items_count + 1, sizeof(struct claim_item *));
  if (sorted == NULL) {
    return UV_ENOMEM;
  }
  for (size_t i = 0; i < job->items_count; i++) {
    sorted[i] = &job->items[i];
  }
  qsort(sorted, job->items_count, sizeof sorted[0], compare_items);
  for (size_t i = 1; i < job->items_count; i++) {
    if (strcmp(sorted[i]->key, sorted[i - 1]->key) == 0) {
      item_refuse(sorted[i], "another service of this client has that name already");
    }
  }
  free(sorted);
  return 0;
}

static int compare_services(const void *a, const void *b) {
  const struct net_service *left = a, *right = b;
  return left->id < right->id ? -1 : left->id > right->id;
}

static int job_prepare(struct claim_job *job) {
  size_t domains = 0;
  for (size_t i = 0; i < job->services.count; i++) {
    domains += job->services.list[i].options.domains_count;
  }
  job->verdicts.list = calloc(job->services.count + 1, sizeof *job->verdicts.list);
  job->items = calloc(job->services.count + domains + 1, sizeof *job->items);
  if (job->verdicts.list == NULL || job->items == NULL) {
    return UV_ENOMEM;
  }
  job->verdicts.serial = job->services.serial;
  job->verdicts.count = job->services.count;
  if (job->services.count > 0) {
    qsort(job->services.list, job->services.count, sizeof job->services.list[0], compare_services);
  }
  for (size_t i = 0; i < job->services.count; i++) {
    if (items_of_service(job, i) != 0) {
      return UV_ENOMEM;
    }
  }
  return items_refuse_doubles(job);
}

/* A service that is still this client's, with a domain that it wanted, has not got, and would be granted now. */
static bool service_misses_domain(const struct agent *agent, struct registry *registry, const struct net_service *service) {
  for (size_t i = 0; i < service->options.domains_count; i++) {
    char key[NAMES_KEY_MAX + 1];
    names_key_domain(key, service->options.domains[i]);
    if (!agent_has_claim(agent, key) && registry_granted(registry, agent->user, key + 1)) {
      return true;
    }
  }
  return false;
}

static bool service_stands(const struct agent_link *link, uint32_t id) {
  for (size_t i = 0; i < link->verdicts.count; i++) {
    if (link->verdicts.list[i].id == id) {
      return link->verdicts.list[i].verdict != NET_SERVICE_REFUSED;
    }
  }
  return false;
}

int agent_claims_again(struct agent_link *link) {
  struct registry *registry = link->set->worker->registry;
  bool misses = false;
  if (link->state != LINK_READY || link->agent->current != link || link->has_waiting) {
    return 0;
  }
  for (size_t i = 0; i < link->services_count && !misses; i++) {
    misses = service_misses_domain(link->agent, registry, &link->services[i]);
  }
  if (!misses) {
    return 0;
  }
  struct net_services again = {.serial = link->verdicts.serial, .list = calloc(link->services_count, sizeof *again.list)};
  if (again.list == NULL) {
    return UV_ENOMEM;
  }
  for (size_t i = 0; i < link->services_count; i++) {
    const struct net_service *from = &link->services[i];
    struct net_service *to = &again.list[again.count];
    if (!service_stands(link, from->id)) {
      continue;
    }
    *to = *from;
    if (net_service_options_copy(&to->options, &from->options) != 0) {
      net_services_clean(&again);
      return UV_ENOMEM;
    }
    again.count++;
  }
  link->waiting = again;
  link->has_waiting = true;
  agent_link_services_next(link);
  return 0;
}

int agent_claims_start(struct agent_link *link) {
  struct claim_job *job = calloc(1, sizeof *job);
  if (job == NULL) {
    return UV_ENOMEM;
  }
  job->link = link;
  job->services = link->waiting;
  link->waiting = (struct net_services){0};
  link->has_waiting = false;
  if (job_prepare(job) != 0) {
    job_free(job);
    return UV_ENOMEM;
  }
  link->job = job;
  job_step(job);
  return 0;
}

/* ---- ASK ---- */
static void item_asked(enum auth_verdict verdict, const struct mdm_auth_answer *answer, void *user) {
  struct claim_item *item = user;
  struct claim_job *job = item->job;
  item->ask = NULL;
  job->asks--;
  switch (verdict) {
  case AUTH_ALLOWED:
    item->state = ITEM_CLASH;
    break;
  case AUTH_DENIED:
    if (answer->reason.size > 0) {
      item_refuse(item, "%.*s", (int)(answer->reason.size > 400 ? 400 : answer->reason.size), answer->reason.data);
    } else if (item_is_domain(item)) {
      item_refuse(item, "the domain %s is not granted to user %s", item->key + 1, job->link->agent->user);
    } else {
      item_refuse(item, "the name was refused");
    }
    break;
  case AUTH_TIMED_OUT:
  case AUTH_BUSY:
    item_refuse(item, "the claim could not be checked in time: try again later");
    break;
  }
  job_step(job);
}

static void item_ask(struct claim_item *item) {
  struct claim_job *job = item->job;
  struct agent_link *link = job->link;
  struct agent *agent = link->agent;
  const struct server_config *config = link->set->worker->config;
  const char *service = job->services.list[item->service].name;
  const char *name = item_is_domain(item) ? item->key + 1 : item->key;
  if (item_is_domain(item) && !names_custom_valid((const char *const *)config->domains, config->domains_count, name)) {
    item_refuse(item, "%s cannot be a custom domain here", name);
    return;
  }
  item->question = (struct mdm_auth_question){
      .step = MDM_AUTH_CLAIM,
      .address = link->address,
      .encrypted = net_conn_is_tls(net_link_conn(link->net)),
      .user = {agent->user, strlen(agent->user)},
      .client_name = {agent->name, strlen(agent->name)},
      .service = {service, strlen(service)},
      .name = {name, strlen(name)},
      .custom_domain = item_is_domain(item),
  };
  item->state = ITEM_ASKED;
  job->asks++;
  auth_chain_ask(link->set->worker->auth, &item->question, item_asked, item, &item->ask);
}

static bool job_ask(struct claim_job *job) {
  while (job->asked < job->items_count && job->asks < ASKS_MAX) {
    struct claim_item *item = &job->items[job->asked++];
    if (item->state == ITEM_NEW) {
      item_ask(item);
    }
  }
  return job->asked == job->items_count && job->asks == 0;
}

/* ---- CLASH ---- */
static void job_probed(struct net_probe *probe, bool alive) {
  struct claim_job *job = AGENT_OWNER(probe, struct claim_job, probe);
  struct agent *holder = agent_set_by_id(job->link->set, job->holder);
  job->probing = false;
  job->holder_alive = alive;
  if (!alive && holder != NULL) {
    agent_end(holder, false, MDM_GOAWAY_IDLE, "the client did not answer while another one wanted its name");
  }
  job_step(job);
}

static void item_settle(struct claim_item *item, struct agent *holder) {
  struct agent_link *link = item->job->link;
  enum clash_policy policy = link->set->worker->config->clash;
  char who[256];
  if (strcmp(holder->user, link->agent->user) != 0) {
    item_refuse(item, "%s is in use by another user", item_is_domain(item) ? item->key + 1 : item->key);
  } else if (policy == CLASH_BALANCE) {
    item->state = ITEM_GRANTED;
  } else if (policy == CLASH_REPLACE || link->replace) {
    item->state = ITEM_TAKE;
    item->taken_from = holder->id;
  } else {
    item_refuse(item, "%s is served by %s: stop that one, or take over with --replace", item_is_domain(item) ? item->key + 1 : item->key,
                agent_describe(holder, who, sizeof who));
  }
}

/* True when every clash is settled; false while a holder is probed. */
static bool job_clash(struct claim_job *job) {
  struct agent_link *link = job->link;
  for (; job->at < job->items_count; job->at++) {
    struct claim_item *item = &job->items[job->at];
    struct agent *holder = item->state == ITEM_CLASH ? registry_holder(link->set->worker->registry, item->key) : NULL;
    if (item->state != ITEM_CLASH) {
      continue;
    }
    if (holder == NULL || holder == link->agent || holder->current == NULL) {
      item->state = ITEM_GRANTED;
    } else if (job->holder == holder->id && job->holder_alive) {
      item_settle(item, holder);
    } else {
      job->holder = holder->id;
      job->probing = true;
      job->probe.done = job_probed;
      net_link_probe(holder->current->net, &job->probe, AGENT_PROBE_MS);
      return false;
    }
  }
  return true;
}

/* ---- PUBLISH ---- */
/* Names that somebody took since they were looked at go back to CLASH. */
static bool job_still_true(struct claim_job *job) {
  struct agent_link *link = job->link;
  bool balance = link->set->worker->config->clash == CLASH_BALANCE;
  bool same = true;
  for (size_t i = 0; i < job->items_count; i++) {
    struct claim_item *item = &job->items[i];
    struct agent *holder = registry_holder(link->set->worker->registry, item->key);
    bool taken = holder != NULL && holder != link->agent && !(balance && strcmp(holder->user, link->agent->user) == 0);
    if ((item->state == ITEM_GRANTED && taken) || (item->state == ITEM_TAKE && taken && holder->id != item->taken_from)) {
      item->state = ITEM_CLASH;
      same = false;
    }
  }
  return same;
}

static size_t job_room(const struct claim_job *job) {
  const struct agent *agent = job->link->agent;
  const struct worker *worker = job->link->set->worker;
  size_t limit = worker->config->limits.services_per_user, others = registry_user_services(worker->registry, agent->user);
  for (size_t i = 0; i < agent->claims_count; i++) {
    others -= agent->claims[i].key[0] != '=' && others > 0;
  }
  size_t room = limit == 0 ? SIZE_MAX : limit > others ? limit - others : 0;
  return agent->max_services != 0 && agent->max_services < room ? agent->max_services : room;
}

static void job_limit(struct claim_job *job) {
  size_t room = job_room(job), domains = 0;
  for (size_t i = 0; i < job->items_count; i++) {
    struct claim_item *item = &job->items[i];
    if (item->state != ITEM_GRANTED && item->state != ITEM_TAKE) {
      continue;
    }
    if (item_is_domain(item) && ++domains > AGENT_DOMAINS_MAX) {
      item_refuse(item, "a client may have %u custom domains at most", AGENT_DOMAINS_MAX);
    } else if (!item_is_domain(item) && room == 0) {
      item_refuse(item, "user %s has as many services as a user may have", job->link->agent->user);
    } else if (!item_is_domain(item)) {
      room--;
    }
  }
}

static bool item_publish(struct claim_item *item) {
  struct claim_job *job = item->job;
  struct agent *agent = job->link->agent;
  struct worker *worker = job->link->set->worker;
  uint32_t id = job->services.list[item->service].id;
  struct agent *holder = registry_holder(worker->registry, item->key);
  if (item->state == ITEM_TAKE && holder != NULL && holder != agent) {
    agent_lose(holder, item->key, agent);
  }
  int rc = agent_claim_note(agent, item->key, id);
  if (rc == 0) {
    rc = registry_claim(worker->registry, item->key, agent, id, worker->config->clash == CLASH_BALANCE);
    if (rc != 0) {
      agent_claim_drop(agent, item->key, true);
    }
  }
  if (rc == UV_EPERM) {
    item_refuse(item, "%s is kept for the user who had it until a moment ago", item->key + 1);
  } else if (rc != 0) {
    item_refuse(item, "the name could not be published");
  }
  return rc == 0;
}

/* One wildcard certificate covers only one label: then the flat form is the one to show. */
static bool only_flat_is_covered(const struct worker *worker, const char *service, const char *user, const char *domain) {
  char host[NAMES_HOST_MAX + 2 * NET_LABEL_MAX + 3];
  if (worker->tls == NULL) {
    return false;
  }
  snprintf(host, sizeof host, "%s.%s.%s", service, user, domain);
  if (tls_store_covers(worker->tls, host)) {
    return false;
  }
  snprintf(host, sizeof host, "%s--%s.%s", service, user, domain);
  return tls_store_covers(worker->tls, host);
}

void agent_url_domain(const struct worker *worker, const char *host, char *out, size_t size) {
  bool secure = worker->public_https_port != 0;
  uint16_t port = secure ? worker->public_https_port : worker->public_port;
  if (port == (secure ? 443 : 80)) {
    snprintf(out, size, "%s://%s", secure ? "https" : "http", host);
  } else {
    snprintf(out, size, "%s://%s:%u", secure ? "https" : "http", host, (unsigned)port);
  }
}

/* The first URL of a service: its own name, else its first custom domain. */
static void verdict_url(struct claim_item *item) {
  struct net_service_verdict *verdict = &item->job->verdicts.list[item->service];
  const struct worker *worker = item->job->link->set->worker;
  const struct server_config *config = worker->config;
  bool secure = worker->public_https_port != 0;
  uint16_t port = secure ? worker->public_https_port : worker->public_port;
  const char *scheme = secure ? "https" : "http";
  if (verdict->url[0] != '\0') {
    return;
  }
  if (!item_is_domain(item)) {
    char service[NET_LABEL_MAX + 1];
    snprintf(service, sizeof service, "%.*s", (int)strcspn(item->key, "."), item->key);
    const char *user = item->job->link->agent->user, *domain = config->domains_count > 0 ? config->domains[0] : "localhost";
    bool flat = secure && only_flat_is_covered(worker, service, user, domain);
    names_url(verdict->url, sizeof verdict->url, scheme, domain, port, user, service, flat);
  } else {
    agent_url_domain(worker, item->key + 1, verdict->url, sizeof verdict->url);
  }
  if (verdict->verdict == NET_SERVICE_NO_WEB) { /* it has an address after all */
    verdict->verdict = NET_SERVICE_OK;
    verdict->reason[0] = '\0';
  }
}

/* Is there something for this client to serve? A client that wants nothing is content with that. */
static bool job_serves(const struct claim_job *job) {
  bool refused = false;
  for (size_t i = 0; i < job->verdicts.count; i++) {
    if (job->verdicts.list[i].verdict != NET_SERVICE_REFUSED) {
      return true;
    }
    refused = true;
  }
  return !refused;
}

/* The names of a service that fell are not published either. */
static void job_drop_fallen(struct claim_job *job) {
  for (size_t i = 0; i < job->items_count; i++) {
    struct claim_item *item = &job->items[i];
    if (job->verdicts.list[item->service].verdict == NET_SERVICE_REFUSED) {
      item->state = ITEM_REFUSED;
    }
  }
}

static bool item_stays(const struct claim_item *item) {
  return item->state == ITEM_GRANTED || item->state == ITEM_TAKE;
}

static void job_release_old(struct claim_job *job) {
  struct agent *agent = job->link->agent;
  for (size_t i = agent->claims_count; i-- > 0;) {
    bool kept = false;
    for (size_t k = 0; k < job->items_count && !kept; k++) {
      kept = item_stays(&job->items[k]) && strcmp(job->items[k].key, agent->claims[i].key) == 0;
    }
    if (!kept) {
      char key[NAMES_KEY_MAX + 1];
      memcpy(key, agent->claims[i].key, strlen(agent->claims[i].key) + 1);
      agent_claim_drop(agent, key, true);
    }
  }
}

/* The list without what was refused becomes the link's. */
static void job_hand_over(struct claim_job *job) {
  struct agent_link *link = job->link;
  size_t kept = 0;
  net_services_clean(&(struct net_services){.list = link->services, .count = link->services_count});
  for (size_t i = 0; i < job->services.count; i++) {
    struct net_service *service = &job->services.list[i];
    if (job->verdicts.list[i].verdict == NET_SERVICE_REFUSED) {
      net_service_options_clean(&service->options);
    } else {
      job->services.list[kept++] = *service;
    }
  }
  link->services = job->services.list;
  link->services_count = kept;
  job->services = (struct net_services){0};
  net_services_ok_clean(&link->verdicts);
  link->verdicts = job->verdicts;
  job->verdicts = (struct net_services_ok){0};
}

/* Names that changed hands again and again while they were looked at. */
static void job_give_up_clashes(struct claim_job *job) {
  for (size_t i = 0; i < job->items_count; i++) {
    if (job->items[i].state == ITEM_CLASH) {
      item_refuse(&job->items[i], "other clients are just changing over this name: try again");
    }
  }
}

static void job_publish(struct claim_job *job) {
  struct agent_link *link = job->link;
  const struct agent_link *current = link->agent->current;
  if (current != NULL && current->hello.epoch > link->hello.epoch) {
    agent_link_refuse(link, MDM_GOAWAY_IDLE, "a newer connection of this client took over"); /* and the job with it */
    return;
  }
  job_give_up_clashes(job);
  job_limit(job);
  job_drop_fallen(job);
  if (link->state == LINK_READY || job_serves(job)) {
    for (size_t i = 0; i < job->items_count; i++) {
      if (item_stays(&job->items[i]) && item_publish(&job->items[i])) {
        verdict_url(&job->items[i]);
      }
    }
    job_drop_fallen(job);
    job_release_old(job);
    job_hand_over(job);
    agent_link_take_over(link);
  } else {
    job_hand_over(job);
  }
  link->job = NULL;
  job_free(job);
  agent_link_claimed(link);
}

static void job_step(struct claim_job *job) {
  if (job->stepping) {
    return;
  }
  job->stepping = true;
  while (job_ask(job) && job_clash(job)) {
    if (job_still_true(job) || ++job->rounds > ROUNDS_MAX) {
      job->stepping = false;
      job_publish(job);
      return;
    }
    job->at = 0;
    job->holder = 0;
  }
  job->stepping = false;
}
