/* agent_private.h: an agent, its links and its claims, as agent*.c and agent_set.c see them.
 *
 *   agent_set --owns--> agent (a client process) --owns--> agent_link (one mux session each)
 *            \--owns--> agent_link that is not logged in yet (a newcomer)
 *
 * States of a link. Those with (t) run on the client's own time, of which it has timeouts.handshake in all:
 *
 *   HELLO(t) -> AUTH(t) -> LOGIN (hooks) -> NAME (is the name free?) -> SERVICES(t) -> CLAIM -> READY -> DRAIN -> CLOSING
 *                            \-> PENALTY (the refusal is held back) -------------------------------------------> CLOSING
 */
#ifndef SERVER_AGENT_PRIVATE_H
#define SERVER_AGENT_PRIVATE_H

#include "agent.h"
#include "agent_set.h"
#include "auth.h"
#include "hello.h"
#include "link.h"
#include "log.h"
#include "login_guard.h"
#include "names.h"
#include "registry.h"
#include "service_ids.h"
#include "tls.h"
#include "worker.h"

#define AGENT_PROBE_MS 2000u            /* a holder that is silent for so long is gone */
#define AGENT_SERVICES_GRACE_MS 1000u   /* SERVICES that did not come with AUTH: then READY without any */
#define AGENT_NEWCOMERS_MAX 256u        /* connections that are not logged in; over it the longest-waiting one goes */
#define AGENT_NEWCOMERS_PER_ADDRESS 64u
#define AGENT_PENALTIES_MAX 64u         /* refusals held back; over it the oldest is told at once */
#define AGENT_DOMAINS_MAX 1024u         /* custom domains that one client may ask for */
#define AGENT_SENTENCE_MAX 512u

struct claim_job;

enum link_state {
  LINK_HELLO,
  LINK_AUTH,
  LINK_LOGIN,
  LINK_PENALTY,
  LINK_NAME,
  LINK_SERVICES,
  LINK_CLAIM,
  LINK_READY,
  LINK_DRAIN,
  LINK_CLOSING
};

struct agent_link {
  struct agent_link *next, **link; /* set->newcomers or agent->links */
  struct agent_set *set;
  struct agent *agent;             /* NULL: newcomer */
  struct net_link *net;
  uint64_t id;
  enum link_state state;
  struct net_timer timer;
  uint64_t entered_ms;
  uint32_t spent_ms;               /* of the client's own time */
  char carrier[8];
  struct mdm_address address;

  struct net_hello hello;
  uint8_t nonce[NET_NONCE_SIZE];
  struct net_auth auth;
  struct mdm_auth_question question;
  struct auth_ask *ask;
  uint64_t revocations;            /* set's count when the hooks were asked */
  char refusal[AGENT_SENTENCE_MAX];
  uint32_t penalty_ms;
  bool replace;                    /* --replace */
  uint32_t refused_opens;
  char user[NET_LABEL_MAX + 1];
  uint32_t max_streams, max_services;
  uint64_t name_holder;            /* NAME: id of the agent that is probed */
  struct net_probe probe;          /* of another agent's link (NAME), or of this one when it is superseded */
  bool probing;

  struct service_ids ids;
  struct net_services waiting;     /* SERVICES to be judged next */
  bool has_waiting;
  struct claim_job *job;
  struct net_service *services;    /* accepted, sorted by id */
  size_t services_count;
  struct net_services_ok verdicts; /* as told last */
};

struct agent_claim {
  char *key;
  uint32_t service;
};

struct agent {
  struct agent *next, **link;
  struct agent_set *set;
  uint64_t id;
  char user[NET_LABEL_MAX + 1];
  char name[NET_TEXT_MAX + 1];     /* "" once another client has taken it: the links are closing */
  uint8_t instance[NET_INSTANCE_SIZE];
  uint64_t epoch;                  /* highest seen */
  struct mdm_address address;      /* of the newest link */
  uint64_t since_wall_s;
  struct agent_link *links;        /* newest first */
  struct agent_link *current;      /* takes new streams; NULL: none does */
  uint32_t max_streams, max_services;
  struct agent_claim *claims;
  size_t claims_count, claims_capacity;
};

struct agent_set {
  struct worker *worker;
  struct agent *agents;
  struct agent_link *newcomers;
  size_t agents_count, newcomers_count, links_count, penalties_count;
  uint64_t next_id, revocations;
  uint64_t logins, logins_refused;
  struct login_guard guard;
  bool draining;
};

/* ---- agent.c ---- */
int agent_new(struct agent **out, struct agent_link *link, const char *name);
void agent_free(struct agent *agent); /* no link left */
struct agent_link *agent_link_current(struct agent *agent);
int agent_claim_note(struct agent *agent, const char *key, uint32_t service);
void agent_claim_drop(struct agent *agent, const char *key, bool goodbye);
bool agent_has_claim(const struct agent *agent, const char *key);
void agent_unpublish(struct agent *agent, bool goodbye);
/* Releases all its names and refuses all its links. */
void agent_end(struct agent *agent, bool goodbye, enum mdm_goaway code, const char *text);
/* Another client of the user took the key over. */
void agent_lose(struct agent *agent, const char *key, const struct agent *winner);
/* The operator took the grant of a custom domain (`key` with its '=') back: the client is told, the rest stays. */
void agent_ungrant(struct agent *agent, const char *key);
/* "client laptop, connected since 2026-11-21 06:00:01 UTC from 192.0.2.1" */
const char *agent_describe(const struct agent *agent, char *out, size_t capacity);

/* ---- agent_link.c ---- */
void agent_link_enter(struct agent_link *link, enum link_state state);
void agent_link_refuse(struct agent_link *link, enum mdm_goaway code, const char *format, ...) __attribute__((format(printf, 3, 4)));
void agent_link_log(const struct agent_link *link, enum net_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));
void agent_link_free(struct agent_link *link); /* closes everything of it now */
void agent_link_drain(struct agent_link *link, const char *text);
void agent_link_services_next(struct agent_link *link); /* starts the job for what waits, if it may */
void agent_link_claimed(struct agent_link *link);       /* the job has published; verdicts are there */
void agent_link_send_verdicts(struct agent_link *link);
void agent_link_take_over(struct agent_link *link);     /* becomes its agent's current one; an older one is probed and drained */

/* ---- agent_login.c ---- */
void agent_login_start(struct agent_link *link);         /* LOGIN: asks the hooks */
void agent_login_penalty_over(struct agent_link *link);
void agent_login_cancel(struct agent_link *link);
/* ---- agent_name.c ---- */
void agent_name_settle(struct agent_link *link);         /* NAME: finds or makes the agent, probes the holder of the name */

/* ---- agent_claims.c ---- */
void agent_url_domain(const struct worker *worker, const char *host, char *out, size_t size); /* of a custom domain */
/* Judges the list anew when a domain that it wanted in vain would be granted now. 0 (also when there is nothing to do) or UV_ENOMEM. */
int agent_claims_again(struct agent_link *link);
int agent_claims_start(struct agent_link *link);         /* takes link->waiting; 0 or UV_ENOMEM. Ends by agent_link_claimed() or a refusal */
void agent_claims_cancel(struct agent_link *link);

/* ---- agent_set.c ---- */
struct agent *agent_set_by_id(struct agent_set *set, uint64_t id);
struct agent *agent_set_by_instance(struct agent_set *set, const char *user, const uint8_t instance[static NET_INSTANCE_SIZE]);
struct agent *agent_set_by_name(struct agent_set *set, const char *user, const char *name);
size_t agent_set_count_user(const struct agent_set *set, const char *user);
/* Room for one more connection that is not logged in; the longest-waiting one may have been closed for it. */
bool agent_set_make_room(struct agent_set *set, const struct mdm_address *address);

#define AGENT_OWNER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
