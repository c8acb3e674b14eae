/* agent.h: one connected client: its handshake, its links, its claims. An agent is a client process (user, client name, instance id);
 * it owns one or more links, the newest takes new streams. */
#ifndef SERVER_AGENT_H
#define SERVER_AGENT_H

#include "conn.h"
#include "mdm/mux.h"
#include "service.h"

struct worker;
struct agent;

/* A connection that shall become a link: transport-level layers are on it (link TLS pushed, perhaps not yet established). Takes it; `carrier` is
 * "tls", "plain", "ws" or "wss" for logs. Not authenticated within 5 s of the client's own delay: closed. */
int agent_accept(struct worker *worker, struct net_conn *conn, const char *carrier);

uint64_t agent_id(const struct agent *agent);          /* never reused in this process: key for kept upstreams */
const char *agent_user(const struct agent *agent);
const char *agent_name(const struct agent *agent);
const struct mdm_address *agent_address(const struct agent *agent); /* of its newest link */
/* Opens a stream to a service of the agent on its newest link. Errors as mdm_stream_open, MDM_MUX_ECLOSED when it has no link. */
int agent_stream_open(struct agent *agent, uint32_t service, enum mdm_kind kind, const struct mdm_address *visitor, enum mdm_scheme scheme,
                      const struct mdm_stream_ops *ops, void *user, mdm_stream **out) MDM_MUST_USE;
/* The service's entry while the agent still serves that id, else NULL. */
const struct net_service *agent_service(const struct agent *agent, uint32_t id);
/* Whether the stream's link still takes new streams of the agent. One that drains waits for its streams: keep none idle on it. */
bool agent_stream_stays(const struct agent *agent, const mdm_stream *stream);

#endif
