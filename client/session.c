/* session.c: the client's half of the handshake (net/hello.h) and what follows it. */
#include "session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "edge.h"
#include "link.h"
#include "log.h"

#define SESSION_HANDSHAKE_MS 15000u /* HELLO to READY: an asynchronous hook at the server may take its 10 s */
#define SESSION_PROBE_MS     2000u  /* after a change of the network */
#define SESSION_OPEN_CREDIT  (64u * 1024u)
#define SESSION_MAX_STREAMS  65536u
#define SESSION_EARLY_MAX    (64u * 1024u) /* what a server takes in one message before READY (PROTOCOL.md) */

enum session_state { SESSION_HELLO, SESSION_LOGIN, SESSION_SERVE, SESSION_DRAIN, SESSION_ENDED };
static const char *const state_names[] = {"HELLO", "LOGIN", "SERVE", "DRAIN", "ENDED"};
_Static_assert(sizeof state_names / sizeof *state_names == SESSION_ENDED + 1, "a name for every state");

struct session {
  enum session_state state;
  struct net_loop *loop;
  struct net_link *link;
  struct session_config config;
  struct net_timer timer; /* the handshake's deadline */
  struct net_probe probe;
  bool probing;
  bool services_late; /* SERVICES is longer than what goes before READY: an empty list went, the real one follows it */
  const char *end_reason; /* why this side ended it, or NULL */
  uint64_t ready_since_ms;
};

static void session_log(const struct session *session, enum net_log_level level, const char *what, const char *detail) {
  const struct net_log_actor actor = {"session", session->config.epoch, state_names[session->state]};
  net_log_write(session->loop->log, level, &actor, "%s%s%s", what, detail[0] == '\0' ? "" : ": ", detail);
}

static void session_enter(struct session *session, enum session_state state) {
  const struct net_log_actor actor = {"session", session->config.epoch, state_names[session->state]};
  const bool again = state == SESSION_DRAIN && session->state == SESSION_DRAIN; /* both sides may ask for it */
  net_edge_check(state > session->state || again, session->loop->log, &actor, state_names[state]);
  session->state = state;
  if (state != SESSION_HELLO && state != SESSION_LOGIN)
    net_timer_stop(&session->loop->wheel, &session->timer);
  session_log(session, NET_LOG_DEBUG, "entered", "");
}

/* ---- sending ---- */
static int send_text(struct session *session, enum mdm_message type, char *text, size_t size) {
  int status = text == NULL ? MDM_MUX_ENOMEM : mdm_mux_send_message(net_link_mux(session->link), type, text, size);
  if (text != NULL)
    net_message_free(text, size);
  return status == 0 ? 0 : status == MDM_MUX_ENOMEM ? UV_ENOMEM : UV_EPROTO;
}

static int send_hello(struct session *session) {
  const struct session_identity *identity = session->config.identity;
  size_t size = 0;
  struct net_hello hello = {
      .version_min = NET_PROTOCOL_MIN,
      .version_max = NET_PROTOCOL_MAX,
      .software = "mdm-tunnel/" MDM_VERSION,
      .name_explicit = identity->name_explicit,
      .epoch = session->config.epoch,
      .open_credit = SESSION_OPEN_CREDIT,
      .max_streams = SESSION_MAX_STREAMS,
  };
  snprintf(hello.client_name, sizeof hello.client_name, "%s", identity->client_name);
  memcpy(hello.instance, identity->instance, sizeof hello.instance);
  char *text = net_hello_encode(&hello, &size);
  return send_text(session, MDM_MSG_HELLO, text, size);
}

static int send_auth(struct session *session, bool open_mode) {
  const struct session_identity *identity = session->config.identity;
  struct net_auth auth = {.method = open_mode ? NET_AUTH_NONE : NET_AUTH_TOKEN, .replace = identity->replace};
  size_t size = 0;
  snprintf(auth.user, sizeof auth.user, "%s", identity->user);
  if (!open_mode) /* a token goes only where one is wanted */
    snprintf(auth.token, sizeof auth.token, "%s", identity->token);
  char *text = net_auth_encode(&auth, &size);
  net_auth_clean(&auth);
  return send_text(session, MDM_MSG_AUTH, text, size);
}

/* The list as text, of the whole map or (`empty`) of nothing. NULL: out of memory. */
static char *encode_services(struct session *session, bool empty, size_t *size) {
  const struct service_map *map = session->config.map;
  struct net_services services = {.serial = ++*session->config.serial};
  services.list = calloc(map->count == 0 ? 1 : map->count, sizeof *services.list);
  if (services.list == NULL)
    return NULL;
  for (size_t i = 0; i < map->count && !empty; i++)
    if (!map->list[i]->lost)
      services.list[services.count++] = map->list[i]->service; /* options are lent for the encoding */
  char *text = net_services_encode(&services, size);
  free(services.list);
  return text;
}

/* UV_E2BIG: no message is so long; the server still has the list before it. */
static int send_services(struct session *session) {
  size_t size = 0;
  char *text = encode_services(session, false, &size);
  session->services_late = false;
  if (text != NULL && size > MDM_MESSAGE_MAX) {
    net_message_free(text, size);
    return UV_E2BIG;
  }
  if (text != NULL && size > SESSION_EARLY_MAX && session->state == SESSION_HELLO) {
    net_message_free(text, size);
    session->services_late = true;
    text = encode_services(session, true, &size);
  }
  return send_text(session, MDM_MSG_SERVICES, text, size);
}

/* ---- receiving ---- */
static void refuse(struct session *session, enum mdm_goaway code, const char *sentence) {
  session->config.ops->refused(session, (uint16_t)code, sentence);
  net_link_refuse(session->link, code, sentence);
}

static int on_challenge(struct session *session, const uint8_t *data, size_t size) {
  const struct session_identity *identity = session->config.identity;
  struct net_challenge challenge;
  char error[NET_SENTENCE_MAX];
  if (net_challenge_decode(&challenge, data, size, error, sizeof error) != 0) {
    session_log(session, NET_LOG_WARN, "CHALLENGE", error);
    return -1;
  }
  if (challenge.version < NET_PROTOCOL_MIN || challenge.version > NET_PROTOCOL_MAX) {
    snprintf(error, sizeof error, "the server chose version %" PRIu32 " of the protocol; this client speaks %d to %d",
             challenge.version, NET_PROTOCOL_MIN, NET_PROTOCOL_MAX);
    refuse(session, MDM_GOAWAY_VERSION, error);
    return 0;
  }
  if (challenge.open_mode && identity->user[0] == '\0') {
    refuse(session, MDM_GOAWAY_AUTH, "the server has no users and takes any name: say which with -u NAME");
    return 0;
  }
  if (!challenge.open_mode && identity->token[0] == '\0') {
    refuse(session, MDM_GOAWAY_AUTH,
           "the server wants a login: get a token from its operator (mdm-tunnel-server user add NAME) and save it with "
           "mdm-tunnel-client login");
    return 0;
  }
  int status = send_auth(session, challenge.open_mode);
  if (status == 0)
    status = send_services(session);
  if (status == UV_E2BIG) {
    refuse(session, MDM_GOAWAY_NAME, "the services and their options are over 1 MiB together, which no server takes: declare fewer");
    return 0;
  }
  if (status != 0)
    return -1;
  session_enter(session, SESSION_LOGIN);
  return 0;
}

static int on_ready(struct session *session, const uint8_t *data, size_t size) {
  struct net_ready ready;
  char error[NET_SENTENCE_MAX];
  if (net_ready_decode(&ready, data, size, error, sizeof error) != 0) {
    session_log(session, NET_LOG_WARN, "READY", error);
    return -1;
  }
  mdm_mux_start(net_link_mux(session->link), ready.open_credit, ready.max_streams);
  session->ready_since_ms = net_loop_now_ms(session->loop);
  session_enter(session, SESSION_SERVE);
  session->config.ops->ready(session, &ready);
  net_ready_clean(&ready);
  return session->services_late ? send_services(session) : 0;
}

static int on_services_ok(struct session *session, const uint8_t *data, size_t size) {
  struct net_services_ok services;
  char error[NET_SENTENCE_MAX];
  if (net_services_ok_decode(&services, data, size, error, sizeof error) != 0) {
    session_log(session, NET_LOG_WARN, "SERVICES_OK", error);
    return -1;
  }
  session->config.ops->verdicts(session, &services);
  net_services_ok_clean(&services);
  return 0;
}

static int link_message(struct net_link *link, enum mdm_message type, const uint8_t *data, size_t size) {
  struct session *session = net_link_owner(link);
  switch (session->state) {
  case SESSION_HELLO:
    return type == MDM_MSG_CHALLENGE ? on_challenge(session, data, size) : -1;
  case SESSION_LOGIN:
    return type == MDM_MSG_READY ? on_ready(session, data, size) : -1;
  case SESSION_SERVE:
  case SESSION_DRAIN:
    return type == MDM_MSG_SERVICES_OK ? on_services_ok(session, data, size) : -1;
  case SESSION_ENDED:
    return 0;
  }
  return -1;
}

/* The policy of every stream: only what is declared at this moment is dialled. */
static enum mdm_reset link_open(struct net_link *link, mdm_stream *stream, const struct mdm_open *open) {
  struct session *session = net_link_owner(link);
  struct service_entry *entry = NULL;
  if (session->state != SESSION_SERVE && session->state != SESSION_DRAIN)
    return MDM_RESET_REFUSED;
  if (open->service != 0)
    entry = service_map_find(session->config.map, open->service);
  if (entry == NULL || entry->lost) {
    char detail[96];
    snprintf(detail, sizeof detail, "stream %" PRIu32 " asks for service %" PRIu32 ", which is not declared",
             mdm_stream_id(stream), open->service);
    session_log(session, NET_LOG_WARN, "refused", detail);
    return MDM_RESET_REFUSED;
  }
  /* Options that this version does not know and that the server calls mandatory. */
  struct mdm_slice rest = open->options, value;
  uint16_t type;
  int more;
  while ((more = mdm_option_next(&rest, &type, &value)) == 1)
    if (type & 0x8000u)
      return MDM_RESET_PROTOCOL;
  if (more != 0)
    return MDM_RESET_PROTOCOL;
  return origin_open(session->config.origins, stream, open, entry);
}

static void link_goaway(struct net_link *link, uint32_t last_id, uint16_t code, const char *text, size_t size) {
  struct session *session = net_link_owner(link);
  char sentence[NET_SENTENCE_MAX + 1];
  (void)last_id;
  net_log_escape(sentence, sizeof sentence, text, size);
  session_log(session, session->state == SESSION_DRAIN ? NET_LOG_DEBUG : NET_LOG_INFO, "the server says goodbye",
              sentence);
  if (code == MDM_GOAWAY_DRAIN && session->state == SESSION_SERVE)
    session_enter(session, SESSION_DRAIN);
  session->config.ops->goaway(session, code, sentence);
}

static void link_drained(struct net_link *link) {
  struct session *session = net_link_owner(link);
  session->config.ops->drained(session);
}

static void link_ended(struct net_link *link, int error, const char *reason) {
  struct session *session = net_link_owner(link);
  session_enter(session, SESSION_ENDED);
  if (session->end_reason != NULL)
    reason = session->end_reason;
  session->config.ops->ended(session, error, reason == NULL ? "" : reason);
}

static const struct net_link_ops link_ops = {
    .message = link_message,
    .open = link_open,
    .goaway = link_goaway,
    .drained = link_drained,
    .ended = link_ended,
};

/* ---- lifetime ---- */
static void handshake_expired(struct net_timer *timer) {
  struct session *session = (struct session *)(void *)((char *)timer - offsetof(struct session, timer));
  session->end_reason = "the server did not finish the handshake in time";
  net_link_refuse(session->link, MDM_GOAWAY_IDLE, session->end_reason);
}

int session_open(struct session **out, struct net_loop *loop, struct net_conn *conn,
                 const struct session_config *config) {
  struct session *session = calloc(1, sizeof *session);
  if (session == NULL) {
    net_conn_close(conn, true);
    return UV_ENOMEM;
  }
  session->loop = loop;
  session->config = *config;
  session->timer.fire = handshake_expired;
  const struct net_link_options options = {
      .role = MDM_ROLE_CLIENT,
      .heartbeat_ms = config->heartbeat_ms,
      .silence_ms = config->heartbeat_ms == 0 ? 0 : 2 * config->heartbeat_ms + 4000,
      .max_streams = SESSION_MAX_STREAMS,
      .open_credit = SESSION_OPEN_CREDIT,
      .ops = &link_ops,
      .owner = session,
  };
  int status = net_link_open(&session->link, conn, &options);
  if (status == 0) {
    status = send_hello(session);
    if (status == 0) {
      net_timer_start(&loop->wheel, &session->timer, SESSION_HANDSHAKE_MS);
      *out = session;
      return 0;
    }
    net_link_close(session->link);
  }
  free(session);
  return status;
}

void session_close(struct session *session) {
  net_timer_stop(&session->loop->wheel, &session->timer);
  if (session->probing)
    net_probe_cancel(&session->probe);
  net_link_close(session->link);
  free(session);
}

void *session_owner(const struct session *session) {
  return session->config.owner;
}

bool session_is_ready(const struct session *session) {
  return session->state == SESSION_SERVE;
}

uint64_t session_ready_since_ms(const struct session *session) {
  return session->ready_since_ms;
}

size_t session_streams(const struct session *session) {
  struct mdm_mux_stats stats;
  if (session->state == SESSION_ENDED) /* the link has taken the mux apart */
    return 0;
  mdm_mux_get_stats(net_link_mux(session->link), &stats);
  return stats.streams_active;
}

int session_announce(struct session *session) {
  return session->state == SESSION_SERVE ? send_services(session) : 0;
}

void session_drain(struct session *session, const char *text) {
  if (session->state == SESSION_ENDED)
    return;
  session_enter(session, SESSION_DRAIN);
  net_link_drain(session->link, MDM_GOAWAY_DRAIN, text);
}

static void probe_done(struct net_probe *probe, bool alive) {
  struct session *session = (struct session *)(void *)((char *)probe - offsetof(struct session, probe));
  session->probing = false;
  session_log(session, NET_LOG_INFO, "after a change of the network", alive ? "the link lives" : "the link is dead");
  if (alive || session->state == SESSION_ENDED)
    return;
  session->end_reason = "no answer after a change of the network";
  net_link_refuse(session->link, MDM_GOAWAY_IDLE, session->end_reason);
}

void session_probe(struct session *session) {
  if (session->probing || session->state == SESSION_ENDED)
    return;
  session->probing = true;
  session->probe.done = probe_done;
  net_link_probe(session->link, &session->probe, SESSION_PROBE_MS);
}
