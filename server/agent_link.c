/* agent_link.c: owns one mux session with a client: its handshake, its time limits, its end. */
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_private.h"
#include "edge.h"
#include "visitor.h"

#define OPEN_CREDIT 65536u /* what the client may send on a stream before it is answered */
#define OPEN_STREAMS 65536u
#define REFUSED_OPENS_LOGGED 10u

#define BIT(state) (1u << (state))
#define ALIVE (BIT(LINK_HELLO) | BIT(LINK_AUTH) | BIT(LINK_LOGIN) | BIT(LINK_PENALTY) | BIT(LINK_NAME) | BIT(LINK_SERVICES) | BIT(LINK_CLAIM) | BIT(LINK_READY) | BIT(LINK_DRAIN))

static const struct {
  const char *name;
  unsigned from;  /* legal predecessors */
  bool own_time;  /* the client's own delay */
} states[] = {
    [LINK_HELLO] = {"HELLO", 0, true},
    [LINK_AUTH] = {"AUTH", BIT(LINK_HELLO), true},
    [LINK_LOGIN] = {"LOGIN", BIT(LINK_AUTH), false},
    [LINK_PENALTY] = {"PENALTY", BIT(LINK_LOGIN), false},
    [LINK_NAME] = {"NAME", BIT(LINK_LOGIN), false},
    [LINK_SERVICES] = {"SERVICES", BIT(LINK_NAME), true},
    [LINK_CLAIM] = {"CLAIM", BIT(LINK_SERVICES), false},
    [LINK_READY] = {"READY", BIT(LINK_CLAIM), false},
    [LINK_DRAIN] = {"DRAIN", BIT(LINK_READY), false},
    [LINK_CLOSING] = {"CLOSING", ALIVE, false},
};

void agent_link_log(const struct agent_link *link, enum net_log_level level, const char *format, ...) {
  char text[AGENT_SENTENCE_MAX * 2];
  struct net_log *log = link->set->worker->loop.log;
  struct net_log_actor actor = {.kind = "agent", .id = link->id, .state = states[link->state].name};
  va_list args;
  if (!net_log_enabled(log, level)) {
    return;
  }
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (link->agent != NULL) {
    net_log_write(log, level, &actor, "%s/%s: %s", link->agent->user, link->agent->name, text);
  } else {
    char address[NET_ADDRESS_TEXT];
    net_log_write(log, level, &actor, "%s: %s", net_address_text(address, &link->address, true), text);
  }
}

/* ---- states and time ---- */
static uint32_t link_time_left(const struct agent_link *link) {
  uint32_t limit = link->set->worker->config->timeouts.handshake_ms;
  return link->spent_ms >= limit ? 1 : limit - link->spent_ms;
}

void agent_link_enter(struct agent_link *link, enum link_state state) {
  struct net_loop *loop = &link->set->worker->loop;
  uint64_t now = net_loop_now_ms(loop);
  uint32_t delay = 0;
  const struct net_log_actor actor = {.kind = "agent", .id = link->id, .state = states[link->state].name};
  net_edge_check((states[state].from & BIT(link->state)) != 0, loop->log, &actor, states[state].name);
  if (states[link->state].own_time) {
    link->spent_ms += (uint32_t)(now - link->entered_ms);
  }
  link->state = state;
  link->entered_ms = now;
  if (state == LINK_PENALTY) {
    delay = link->penalty_ms;
  } else if (states[state].own_time) {
    delay = link_time_left(link);
  }
  if (state == LINK_SERVICES && delay > AGENT_SERVICES_GRACE_MS) {
    delay = AGENT_SERVICES_GRACE_MS;
  }
  net_timer_stop(&loop->wheel, &link->timer);
  if (delay > 0) {
    net_timer_start(&loop->wheel, &link->timer, delay);
  }
  agent_link_log(link, NET_LOG_DEBUG, "entered");
}

static void link_timer(struct net_timer *timer) {
  struct agent_link *link = AGENT_OWNER(timer, struct agent_link, timer);
  switch (link->state) {
  case LINK_HELLO:
  case LINK_AUTH:
    agent_link_refuse(link, MDM_GOAWAY_IDLE, "the handshake took too long");
    return;
  case LINK_PENALTY:
    agent_login_penalty_over(link);
    return;
  case LINK_SERVICES: /* a client without services: it is ready with none */
    link->has_waiting = true;
    agent_link_services_next(link);
    return;
  case LINK_LOGIN:
  case LINK_NAME:
  case LINK_CLAIM:
  case LINK_READY:
  case LINK_DRAIN:
  case LINK_CLOSING:
    return;
  }
}

static void link_stop_work(struct agent_link *link) {
  agent_login_cancel(link);
  agent_claims_cancel(link);
  if (link->probing) {
    net_probe_cancel(&link->probe);
    link->probing = false;
  }
}

/* Its agent is no longer served by it. A fallback to an older link is not tried: that one is draining, with ids of its own. */
static void link_step_down(struct agent_link *link, bool goodbye) {
  if (link->agent != NULL && link->agent->current == link) {
    agent_unpublish(link->agent, goodbye);
    link->agent->current = NULL;
  }
}

void agent_link_refuse(struct agent_link *link, enum mdm_goaway code, const char *format, ...) {
  char text[AGENT_SENTENCE_MAX * 2];
  va_list args;
  if (link->state == LINK_CLOSING) {
    return;
  }
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  agent_link_log(link, NET_LOG_INFO, "goodbye: %s", text);
  link_stop_work(link);
  link_step_down(link, false);
  agent_link_enter(link, LINK_CLOSING);
  net_link_refuse(link->net, code, text);
}

void agent_link_drain(struct agent_link *link, const char *text) {
  if (link->state == LINK_READY) {
    link_stop_work(link);
    link_step_down(link, false);
    agent_link_enter(link, LINK_DRAIN);
    net_link_drain(link->net, MDM_GOAWAY_DRAIN, text);
    if (link->set->worker->visitors != NULL)
      visitor_set_forget(link->set->worker->visitors, agent_id(link->agent));
  } else if (link->state != LINK_DRAIN) {
    agent_link_refuse(link, MDM_GOAWAY_DRAIN, "%s", text);
  }
}

void agent_link_free(struct agent_link *link) {
  struct agent_set *set = link->set;
  struct agent *agent = link->agent;
  link_stop_work(link);
  link_step_down(link, false);
  net_timer_stop(&set->worker->loop.wheel, &link->timer);
  *link->link = link->next;
  if (link->next != NULL) {
    link->next->link = link->link;
  }
  set->links_count--;
  if (agent == NULL) {
    set->newcomers_count--;
  }
  net_link_close(link->net); /* its streams end with their callbacks, which find the agent without this link */
  service_ids_clean(&link->ids);
  net_services_clean(&link->waiting);
  net_services_clean(&(struct net_services){.list = link->services, .count = link->services_count});
  net_services_ok_clean(&link->verdicts);
  free(link);
  if (agent != NULL && agent->links == NULL) {
    agent_free(agent);
  }
}

/* ---- sending ---- */
static void link_send(struct agent_link *link, enum mdm_message type, char *text, size_t size) {
  int rc = text == NULL ? MDM_MUX_ENOMEM : mdm_mux_send_message(net_link_mux(link->net), type, text, size);
  if (text != NULL) {
    net_message_free(text, size);
  }
  if (rc == MDM_MUX_ENOMEM || rc == MDM_MUX_ETOOBIG) {
    agent_link_refuse(link, MDM_GOAWAY_INTERNAL, "the server could not write a message");
  }
}

static void link_send_challenge(struct agent_link *link, uint32_t version) {
  struct net_challenge challenge = {.version = version, .open_mode = link->set->worker->config->open_mode, .software = "mdm-tunnel/" MDM_VERSION};
  size_t size = 0;
  randombytes_buf(link->nonce, sizeof link->nonce);
  memcpy(challenge.nonce, link->nonce, sizeof challenge.nonce);
  char *text = net_challenge_encode(&challenge, &size);
  link_send(link, MDM_MSG_CHALLENGE, text, size);
}

/* The verdicts as they are told: a service with several addresses has an entry for each, its first one first. Without memory
 * for that, the first ones are told. `out` holds copies; the caller frees out->list. */
static void link_verdicts_told(const struct agent_link *link, struct net_services_ok *out) {
  const struct agent *agent = link->agent;
  size_t room = link->verdicts.count + agent->claims_count;
  *out = link->verdicts;
  room = room < NET_SERVICES_MAX ? room : NET_SERVICES_MAX;
  out->list = room > link->verdicts.count ? calloc(room, sizeof *out->list) : NULL;
  if (out->list == NULL) {
    return;
  }
  memcpy(out->list, link->verdicts.list, link->verdicts.count * sizeof *out->list);
  for (size_t i = 0; i < agent->claims_count && out->count < room; i++) {
    struct net_service_verdict *entry = &out->list[out->count];
    for (size_t k = 0; k < link->verdicts.count && agent->claims[i].key[0] == '='; k++) {
      const struct net_service_verdict *first = &link->verdicts.list[k];
      if (first->id != agent->claims[i].service || first->verdict != NET_SERVICE_OK) {
        continue;
      }
      *entry = (struct net_service_verdict){.id = first->id, .verdict = NET_SERVICE_OK};
      agent_url_domain(link->set->worker, agent->claims[i].key + 1, entry->url, sizeof entry->url);
      out->count += strcmp(entry->url, first->url) != 0;
      break;
    }
  }
}

static void link_send_ready(struct agent_link *link) {
  struct agent *agent = link->agent;
  struct net_ready ready = {.open_credit = OPEN_CREDIT, .max_streams = OPEN_STREAMS, .services = link->verdicts};
  size_t size = 0;
  ready.heartbeat_ms = link->set->worker->config->timeouts.heartbeat_ms;
  snprintf(ready.session, sizeof ready.session, "%llu.%llu", (unsigned long long)agent->id, (unsigned long long)link->id);
  snprintf(ready.user, sizeof ready.user, "%s", agent->user);
  snprintf(ready.client_name, sizeof ready.client_name, "%s", agent->name);
  struct net_services_ok told;
  link_verdicts_told(link, &told);
  if (told.list != NULL) {
    ready.services = told;
  }
  char *text = net_ready_encode(&ready, &size);
  free(told.list);
  link_send(link, MDM_MSG_READY, text, size);
}

void agent_link_send_verdicts(struct agent_link *link) {
  size_t size = 0;
  if (link->state == LINK_READY) {
    struct net_services_ok told;
    link_verdicts_told(link, &told);
    char *text = net_services_ok_encode(told.list != NULL ? &told : &link->verdicts, &size);
    free(told.list);
    link_send(link, MDM_MSG_SERVICES_OK, text, size);
  }
}

/* ---- services ---- */
void agent_link_services_next(struct agent_link *link) {
  if (!link->has_waiting || link->job != NULL) {
    return;
  }
  if (link->state == LINK_SERVICES) {
    agent_link_enter(link, LINK_CLAIM);
  } else if (link->state != LINK_READY || link->agent->current != link) {
    return;
  }
  if (agent_claims_start(link) != 0) {
    agent_link_refuse(link, MDM_GOAWAY_INTERNAL, "the server is out of memory");
  }
}

static void link_superseded(struct net_probe *probe, bool alive) {
  struct agent_link *link = AGENT_OWNER(probe, struct agent_link, probe);
  link->probing = false;
  if (alive) {
    agent_link_drain(link, "a newer connection of this client took over");
  } else {
    agent_link_refuse(link, MDM_GOAWAY_IDLE, "a newer connection of this client took over, and this one did not answer");
  }
}

void agent_link_take_over(struct agent_link *link) {
  struct agent_link *older = link->agent->current;
  if (older == link) {
    return;
  }
  link->agent->current = link;
  if (older != NULL && older->state == LINK_READY) {
    link_stop_work(older);
    older->probing = true;
    older->probe.done = link_superseded;
    net_link_probe(older->net, &older->probe, AGENT_PROBE_MS);
  }
}

static const char *link_first_refusal(const struct agent_link *link) {
  for (size_t i = 0; i < link->verdicts.count; i++) {
    if (link->verdicts.list[i].verdict == NET_SERVICE_REFUSED) {
      return link->verdicts.list[i].reason;
    }
  }
  return "every service was refused";
}

void agent_link_claimed(struct agent_link *link) {
  if (link->state == LINK_CLAIM) {
    if (link->agent->current != link) { /* the job found nothing to serve */
      agent_link_refuse(link, MDM_GOAWAY_NAME, "%s", link_first_refusal(link));
      return;
    }
    mdm_mux_start(net_link_mux(link->net), link->hello.open_credit, link->hello.max_streams);
    agent_link_enter(link, LINK_READY);
    link_send_ready(link);
    agent_link_log(link, NET_LOG_INFO, "ready: %zu services, by %s", link->services_count, link->carrier);
  } else {
    agent_link_send_verdicts(link);
    agent_link_log(link, NET_LOG_INFO, "serves %zu services now", link->services_count);
  }
  agent_link_services_next(link);
}

/* ---- messages ---- */
static void link_read_hello(struct agent_link *link, const uint8_t *data, size_t size) {
  char error[NET_SENTENCE_MAX];
  if (net_hello_decode(&link->hello, data, size, error, sizeof error) != 0) {
    agent_link_refuse(link, MDM_GOAWAY_PROTOCOL, "%s", error);
    return;
  }
  uint32_t version = net_version_choose(&link->hello);
  if (version == 0) {
    agent_link_refuse(link, MDM_GOAWAY_VERSION, "this server speaks versions %d to %d of the protocol, the client %u to %u: update the older one",
                      NET_PROTOCOL_MIN, NET_PROTOCOL_MAX, link->hello.version_min, link->hello.version_max);
    return;
  }
  agent_link_enter(link, LINK_AUTH);
  link_send_challenge(link, version);
}

static void link_read_auth(struct agent_link *link, const uint8_t *data, size_t size) {
  char error[NET_SENTENCE_MAX];
  if (net_auth_decode(&link->auth, data, size, error, sizeof error) != 0) {
    agent_link_refuse(link, MDM_GOAWAY_PROTOCOL, "%s", error);
    return;
  }
  agent_link_enter(link, LINK_LOGIN);
  agent_login_start(link);
}

static bool link_note_ids(struct agent_link *link, const struct net_services *services) {
  for (size_t i = 0; i < services->count; i++) {
    const struct net_service *service = &services->list[i];
    int rc = service->id == 0 ? UV_EINVAL : service_ids_note(&link->ids, service->id, service->name);
    if (rc == UV_EINVAL) {
      agent_link_refuse(link, MDM_GOAWAY_PROTOCOL, "SERVICES: id %u meant another service before", service->id);
      return false;
    }
    if (rc != 0) {
      agent_link_refuse(link, MDM_GOAWAY_BUSY, "this session has announced too many services: connect again");
      return false;
    }
  }
  return true;
}

static void link_read_services(struct agent_link *link, const uint8_t *data, size_t size) {
  char error[NET_SENTENCE_MAX];
  struct net_services services;
  if (net_services_decode(&services, data, size, error, sizeof error) != 0) {
    agent_link_refuse(link, MDM_GOAWAY_PROTOCOL, "%s", error);
    return;
  }
  if (!link_note_ids(link, &services)) {
    net_services_clean(&services);
    return;
  }
  net_services_clean(&link->waiting); /* only the newest list counts */
  link->waiting = services;
  link->has_waiting = true;
  agent_link_services_next(link);
}

static int link_message(struct net_link *net, enum mdm_message type, const uint8_t *data, size_t size) {
  struct agent_link *link = net_link_owner(net);
  if (link->state == LINK_CLOSING || link->state == LINK_PENALTY || (link->state == LINK_DRAIN && type == MDM_MSG_SERVICES)) {
    return 0;
  }
  if (type == MDM_MSG_HELLO && link->state == LINK_HELLO) {
    link_read_hello(link, data, size);
  } else if (type == MDM_MSG_AUTH && link->state == LINK_AUTH) {
    link_read_auth(link, data, size);
  } else if (type == MDM_MSG_SERVICES && link->state >= LINK_LOGIN) {
    link_read_services(link, data, size);
  } else {
    agent_link_refuse(link, MDM_GOAWAY_PROTOCOL, "message %d is out of place", (int)type);
  }
  return 0;
}

/* Nothing that a client may open is declared yet: whoever tries is refused, and named in the log. */
static enum mdm_reset link_open(struct net_link *net, mdm_stream *stream, const struct mdm_open *open) {
  struct agent_link *link = net_link_owner(net);
  (void)stream;
  if (link->refused_opens++ < REFUSED_OPENS_LOGGED) {
    char target[256];
    net_log_escape(target, sizeof target, open->target.data, open->target.size);
    agent_link_log(link, NET_LOG_WARN, "refused to open service %u \"%s\": not declared here", open->service, target);
  }
  return MDM_RESET_REFUSED;
}

static void link_goaway(struct net_link *net, uint32_t last_id, uint16_t code, const char *text, size_t size) {
  struct agent_link *link = net_link_owner(net);
  (void)last_id;
  agent_link_log(link, NET_LOG_INFO, "the client says goodbye (%u): %.*s", code, (int)(size > 200 ? 200 : size), text);
  link_step_down(link, true);
  agent_link_drain(link, "goodbye");
}

static void link_drained(struct net_link *net) {
  agent_link_free(net_link_owner(net));
}

static void link_ended(struct net_link *net, int error, const char *reason) {
  struct agent_link *link = net_link_owner(net);
  if (link->state != LINK_CLOSING) {
    agent_link_log(link, NET_LOG_INFO, "ended: %s%s%s", reason, error == 0 ? "" : ": ", error == 0 ? "" : uv_strerror(error));
  }
  agent_link_free(link);
}

static const struct net_link_ops link_ops = {
    .message = link_message,
    .open = link_open,
    .goaway = link_goaway,
    .drained = link_drained,
    .ended = link_ended,
};

int agent_accept(struct worker *worker, struct net_conn *conn, const char *carrier) {
  struct agent_set *set = worker->agents;
  const struct server_timeouts *timeouts = &worker->config->timeouts;
  struct agent_link *link = NULL;
  if (set->draining || !agent_set_make_room(set, net_conn_peer(conn)) || (link = calloc(1, sizeof *link)) == NULL) {
    net_conn_close(conn, false);
    return set->draining ? UV_ECANCELED : UV_EBUSY;
  }
  struct net_link_options options = {.role = MDM_ROLE_SERVER,
                                     .heartbeat_ms = timeouts->heartbeat_ms,
                                     .silence_ms = timeouts->silence_ms,
                                     .open_credit = OPEN_CREDIT,
                                     .max_streams = OPEN_STREAMS,
                                     .ops = &link_ops,
                                     .owner = link};
  link->set = set;
  link->id = ++set->next_id;
  link->address = *net_conn_peer(conn);
  link->entered_ms = net_loop_now_ms(&worker->loop);
  link->timer.fire = link_timer;
  snprintf(link->carrier, sizeof link->carrier, "%s", carrier);
  int rc = net_link_open(&link->net, conn, &options);
  if (rc != 0) {
    free(link);
    return rc;
  }
  link->next = set->newcomers;
  link->link = &set->newcomers;
  if (link->next != NULL) {
    link->next->link = &link->next;
  }
  set->newcomers = link;
  set->newcomers_count++;
  set->links_count++;
  net_timer_start(&worker->loop.wheel, &link->timer, link_time_left(link));
  return 0;
}
