/* agent_set.h: the connected clients of one worker: look-ups, limits, revocation, drain. */
#ifndef SERVER_AGENT_SET_H
#define SERVER_AGENT_SET_H

#include "agent.h"

struct agent_set;

struct agent_set_stats {
  size_t agents, links, unauthenticated;
  uint64_t logins, logins_refused;  /* since the start */
  uint64_t streams_active, held_bytes;
  uint64_t bytes_in, bytes_out;     /* of the links that live now */
};

/* worker->registry must exist. The auth chain may be opened later, before the first agent_accept(). */
int agent_set_new(struct agent_set **out, struct worker *worker); /* 0 or UV_ENOMEM */
void agent_set_free(struct agent_set *set);                       /* every agent has closed. NULL is fine */
size_t agent_set_count(const struct agent_set *set);              /* agents that are logged in, and connections on their way there */
void agent_set_get_stats(const struct agent_set *set, struct agent_set_stats *stats);
/* GOAWAY DRAIN to all: streams finish, then the links close. New connections are refused. */
void agent_set_drain(struct agent_set *set);
void agent_set_close(struct agent_set *set); /* all, now; before auth_hooks_close and registry_free */
/* Each agent that is logged in, with its user, client name, address and number of services. */
void agent_set_each(const struct agent_set *set, void (*each)(const struct agent *agent, void *arg), void *arg);

/* The user's credential is no longer good: GOAWAY REVOKED to all its agents, names released. */
void agent_set_revoke(struct agent_set *set, const char *user);
/* The user's grants of custom domains changed: those that registry_granted() no longer knows are released, and
 * clients that wait for a domain which it knows now get it. */
void agent_set_regrant(struct agent_set *set, const char *user);

#endif
