/* tunnel.c: the actor of the client. Callbacks store what happened and ask for a step at the end of the iteration,
 * because a session must not be closed from inside its own events. */
#include "tunnel.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "address.h"
#include "carrier_tls.h"
#include "edge.h"
#include "goaway.h"
#include "log.h"
#include "verdicts.h"

enum tunnel_state {
  TUNNEL_IDLE,
  TUNNEL_DIAL,
  TUNNEL_LOGIN,
  TUNNEL_SERVE,
  TUNNEL_BACKOFF,
  TUNNEL_DRAIN,
  TUNNEL_STOPPED
};
static const char *const state_names[] = {"IDLE", "DIAL", "LOGIN", "SERVE", "BACKOFF", "DRAIN", "STOPPED"};
_Static_assert(sizeof state_names / sizeof *state_names == TUNNEL_STOPPED + 1, "a name for every state");

#define TO(state) (1u << (state))
/* From each state: where it may go. */
static const unsigned edges[] = {
    [TUNNEL_IDLE] = TO(TUNNEL_DIAL) | TO(TUNNEL_DRAIN) | TO(TUNNEL_STOPPED),
    [TUNNEL_DIAL] = TO(TUNNEL_DIAL) | TO(TUNNEL_LOGIN) | TO(TUNNEL_BACKOFF) | TO(TUNNEL_DRAIN) | TO(TUNNEL_STOPPED),
    [TUNNEL_LOGIN] = TO(TUNNEL_DIAL) | TO(TUNNEL_SERVE) | TO(TUNNEL_BACKOFF) | TO(TUNNEL_DRAIN) | TO(TUNNEL_STOPPED),
    [TUNNEL_SERVE] = TO(TUNNEL_DIAL) | TO(TUNNEL_BACKOFF) | TO(TUNNEL_DRAIN) | TO(TUNNEL_STOPPED),
    [TUNNEL_BACKOFF] = TO(TUNNEL_DIAL) | TO(TUNNEL_DRAIN) | TO(TUNNEL_STOPPED),
    [TUNNEL_DRAIN] = TO(TUNNEL_STOPPED),
    [TUNNEL_STOPPED] = 0,
};

struct draining {
  struct session *session;
  bool ended;
};

struct tunnel {
  enum tunnel_state state;
  struct net_loop *loop;
  const struct tunnel_config *config;
  const struct tunnel_ops *ops;
  void *owner;

  struct carrier_tls tls;
  struct net_dial *dial;
  size_t preferred, tried; /* endpoint that worked last; how many of this round have failed */
  struct session *current;
  struct draining draining[TUNNEL_DRAINING_MAX];
  size_t draining_count;
  uint64_t epoch, serial, answered; /* serial: of the last SERVICES, and of the last that was answered */
  uint32_t failures;                /* rounds that failed in a row */
  struct backoff backoff;
  struct net_timer timer; /* BACKOFF: the next attempt; DRAIN: the end of patience */

  struct net_task step; /* what callbacks leave for it: */
  bool current_ended, current_leaving, stop, stop_now, patience_over;
  bool final; /* with: */
  enum mdm_client_status final_status;
  char text[TUNNEL_TEXT_MAX]; /* of the last failure or the end */
};

/* ---- telling ---- */
static void tunnel_log(const struct tunnel *tunnel, enum net_log_level level, const char *what, const char *detail) {
  const struct net_log_actor actor = {"tunnel", tunnel->epoch, state_names[tunnel->state]};
  net_log_write(tunnel->loop->log, level, &actor, "%s%s%s", what, detail[0] == '\0' ? "" : ": ", detail);
}

static void tell(struct tunnel *tunnel, struct mdm_client_event event) {
  event.service = event.service == NULL ? "" : event.service;
  event.url = event.url == NULL ? "" : event.url;
  event.user = event.user == NULL ? "" : event.user;
  event.text = event.text == NULL ? "" : event.text;
  tunnel->ops->event(tunnel, &event, tunnel->owner);
}

static void tunnel_enter(struct tunnel *tunnel, enum tunnel_state state) {
  const struct net_log_actor actor = {"tunnel", tunnel->epoch, state_names[tunnel->state]};
  net_edge_check(edges[tunnel->state] & TO(state), tunnel->loop->log, &actor, state_names[state]);
  tunnel->state = state;
  net_timer_stop(&tunnel->loop->wheel, &tunnel->timer);
  if (state == TUNNEL_DRAIN)
    net_timer_start(&tunnel->loop->wheel, &tunnel->timer, TUNNEL_DRAIN_MS);
  tunnel_log(tunnel, NET_LOG_DEBUG, "entered", "");
}

static void want_step(struct tunnel *tunnel) {
  net_loop_defer(tunnel->loop, &tunnel->step);
}

/* The end is near: the first reason stays. */
static void __attribute__((format(printf, 3, 4)))
tunnel_finally(struct tunnel *tunnel, enum mdm_client_status status, const char *format, ...) {
  va_list arguments;
  if (tunnel->final)
    return;
  tunnel->final = true;
  tunnel->final_status = status;
  va_start(arguments, format);
  vsnprintf(tunnel->text, sizeof tunnel->text, format, arguments);
  va_end(arguments);
  want_step(tunnel);
}

/* ---- sessions ---- */
static void drop_current(struct tunnel *tunnel) {
  if (tunnel->dial != NULL)
    net_dial_cancel(tunnel->dial);
  tunnel->dial = NULL;
  if (tunnel->current != NULL)
    session_close(tunnel->current);
  tunnel->current = NULL;
  tunnel->current_ended = tunnel->current_leaving = false;
}

static void drop_draining(struct tunnel *tunnel, size_t index) {
  session_close(tunnel->draining[index].session);
  memmove(&tunnel->draining[index], &tunnel->draining[index + 1],
          (tunnel->draining_count - index - 1) * sizeof *tunnel->draining);
  tunnel->draining_count--;
}

static void reap(struct tunnel *tunnel) {
  for (size_t i = tunnel->draining_count; i-- > 0;)
    if (tunnel->draining[i].ended)
      drop_draining(tunnel, i);
}

/* The current session finishes its streams beside a new one. */
static void move_aside(struct tunnel *tunnel, const char *text) {
  if (tunnel->draining_count == TUNNEL_DRAINING_MAX)
    drop_draining(tunnel, 0);
  tunnel->draining[tunnel->draining_count++] = (struct draining){.session = tunnel->current};
  session_drain(tunnel->current, text);
  tunnel->current = NULL;
  tunnel->current_ended = tunnel->current_leaving = false;
}

static void tunnel_end(struct tunnel *tunnel) {
  drop_current(tunnel);
  while (tunnel->draining_count > 0)
    drop_draining(tunnel, tunnel->draining_count - 1);
  tunnel_enter(tunnel, TUNNEL_STOPPED);
  net_task_cancel(&tunnel->step);
  if (tunnel->final_status != MDM_CLIENT_OK)
    tunnel_log(tunnel, NET_LOG_DEBUG, "stopped", tunnel->text);
  else
    tunnel->text[0] = '\0';
  tell(tunnel,
       (struct mdm_client_event){MDM_CLIENT_EVENT_STOPPED, .status = tunnel->final_status, .text = tunnel->text});
}

/* ---- dialling ---- */
static void tunnel_dial(struct tunnel *tunnel);
static const struct session_ops session_events;

static const struct tunnel_endpoint *endpoint_now(const struct tunnel *tunnel) {
  const struct tunnel_config *config = tunnel->config;
  return &config->endpoints[(tunnel->preferred + tunnel->tried) % config->endpoints_count];
}

static void tunnel_back_off(struct tunnel *tunnel) {
  uint32_t delay = backoff_next(&tunnel->backoff, randombytes_random());
  tunnel_enter(tunnel, TUNNEL_BACKOFF);
  net_timer_start(&tunnel->loop->wheel, &tunnel->timer, delay);
  tunnel_log(tunnel, NET_LOG_DEBUG, "not connected", tunnel->text);
  tell(tunnel, (struct mdm_client_event){MDM_CLIENT_EVENT_DISCONNECTED, .text = tunnel->text, .retry_ms = delay});
}

/* An endpoint did not lead to READY: the next one, or a pause. `tunnel->text` says why. */
static void tunnel_failed(struct tunnel *tunnel) {
  const struct tunnel_endpoint *endpoint = endpoint_now(tunnel);
  char where[300];
  snprintf(where, sizeof where, "%s:%u", endpoint->endpoint.host, endpoint->endpoint.port);
  tunnel_log(tunnel, NET_LOG_INFO, where, tunnel->text);
  drop_current(tunnel);
  if (++tunnel->tried < tunnel->config->endpoints_count) {
    tunnel_dial(tunnel);
    return;
  }
  tunnel->tried = 0;
  tunnel->failures++;
  if (tunnel->config->login_only ||
      (tunnel->config->max_attempts != 0 && tunnel->failures >= tunnel->config->max_attempts)) {
    char reason[TUNNEL_TEXT_MAX];
    memcpy(reason, tunnel->text, sizeof reason);
    tunnel_finally(tunnel, MDM_CLIENT_GAVE_UP, "no connection to %.300s after %" PRIu32 " %s: %.700s", where,
                   tunnel->failures, tunnel->failures == 1 ? "attempt" : "attempts", reason);
    return;
  }
  tunnel_back_off(tunnel);
}

/* Plaintext only to this machine; else the key is judged. True: go on. */
static bool server_is_trusted(struct tunnel *tunnel, const struct tunnel_endpoint *endpoint, struct net_conn *conn) {
  uint8_t fingerprint[NET_FINGERPRINT_SIZE];
  char text[TRUST_TEXT_MAX];
  bool loopback = tunnel->config->proxy == NULL && net_address_is_loopback(net_conn_peer(conn));
  if (endpoint->endpoint.carrier == NET_CARRIER_PLAIN) {
    if (!loopback)
      tunnel_finally(tunnel, MDM_CLIENT_USAGE, "%s is not on this machine: --plaintext is for loopback only",
                     endpoint->host);
    return loopback;
  }
  if (net_tls_peer_fingerprint(conn, fingerprint) != 0) {
    tunnel_finally(tunnel, MDM_CLIENT_KEY, "%s:%u showed no key", endpoint->host, endpoint->port);
    return false;
  }
  switch (trust_judge(&tunnel->config->trust, endpoint->host, endpoint->port, loopback, fingerprint, text)) {
  case TRUST_OK:
    return true;
  case TRUST_FIRST:
    tell(tunnel, (struct mdm_client_event){MDM_CLIENT_EVENT_FINGERPRINT, .text = text});
    return true;
  case TRUST_REFUSED:
    tunnel_finally(tunnel, MDM_CLIENT_KEY, "%s", text);
    return false;
  case TRUST_BROKEN:
    tunnel_finally(tunnel, MDM_CLIENT_CONFIG, "%s", text);
    return false;
  }
  return false;
}

static void tunnel_dialled(struct net_dial *dial, struct net_conn *conn, int error, const char *reason, void *user) {
  struct tunnel *tunnel = user;
  const struct tunnel_endpoint *endpoint = endpoint_now(tunnel);
  (void)dial;
  tunnel->dial = NULL;
  if (conn == NULL) {
    snprintf(tunnel->text, sizeof tunnel->text, "%s",
             reason != NULL && reason[0] != '\0' ? reason : uv_strerror(error));
    if (error == NET_TLS_UNTRUSTED)
      tunnel_finally(tunnel, MDM_CLIENT_KEY, "%s", reason);
    else if (error == NET_PROXY_LOGIN)
      tunnel_finally(tunnel, MDM_CLIENT_LOGIN, "%s", reason);
    else
      tunnel_failed(tunnel);
    return;
  }
  if (!server_is_trusted(tunnel, endpoint, conn)) {
    net_conn_close(conn, false);
    return;
  }
  const struct session_config config = {
      .identity = &tunnel->config->identity,
      .map = tunnel->config->map,
      .origins = tunnel->config->origins,
      .epoch = ++tunnel->epoch,
      .serial = &tunnel->serial,
      .heartbeat_ms = tunnel->config->heartbeat_ms,
      .ops = &session_events,
      .owner = tunnel,
  };
  int status = session_open(&tunnel->current, tunnel->loop, conn, &config);
  if (status == 0) {
    tunnel_enter(tunnel, TUNNEL_LOGIN);
    return;
  }
  tunnel->current = NULL;
  snprintf(tunnel->text, sizeof tunnel->text, "%s", uv_strerror(status));
  tunnel_failed(tunnel);
}

static void tunnel_dial(struct tunnel *tunnel) {
  const struct tunnel_endpoint *endpoint = endpoint_now(tunnel);
  tunnel_enter(tunnel, TUNNEL_DIAL);
  tunnel->text[0] = '\0';
  int status = carrier_tls_make(&tunnel->tls, endpoint->endpoint.carrier, tunnel->config->ca, tunnel->config->proxy,
                                tunnel->text, sizeof tunnel->text);
  if (status != 0) {
    char reason[512];
    snprintf(reason, sizeof reason, "%.500s", tunnel->text);
    tunnel_finally(tunnel, MDM_CLIENT_CONFIG, "%s", reason);
    return;
  }
  const struct net_dial_request request = {
      .endpoint = endpoint->endpoint,
      .proxy = tunnel->config->proxy,
      .link_tls = tunnel->tls.link,
      .web_tls = tunnel->tls.web,
      .link_server_name = tunnel->config->ca != NULL ? endpoint->host : NULL,
  };
  status = net_dial_start(&tunnel->dial, tunnel->loop, &request, tunnel_dialled, tunnel);
  if (status != 0) {
    tunnel->dial = NULL;
    snprintf(tunnel->text, sizeof tunnel->text, "%s", uv_strerror(status));
    tunnel_failed(tunnel);
  }
}

static void on_timer(struct net_timer *timer) {
  struct tunnel *tunnel = (struct tunnel *)(void *)((char *)timer - offsetof(struct tunnel, timer));
  if (tunnel->state == TUNNEL_BACKOFF) {
    tunnel_dial(tunnel);
    return;
  }
  tunnel->patience_over = true;
  want_step(tunnel);
}

/* ---- events of the session ---- */
static void tell_verdict(const struct mdm_client_event *event, void *user) {
  struct tunnel *tunnel = user;
  char line[TUNNEL_TEXT_MAX];
  const char *said = event->type == MDM_CLIENT_EVENT_URL ? event->url : event->text;
  snprintf(line, sizeof line, "%.200s%s: %.1024s", event->service,
           event->type == MDM_CLIENT_EVENT_REFUSED ? " is refused" : "", said);
  if (event->type != MDM_CLIENT_EVENT_WARNING) /* those are logged where they all pass, in client.c */
    tunnel_log(tunnel, event->type == MDM_CLIENT_EVENT_REFUSED ? NET_LOG_WARN : NET_LOG_INFO, line, "");
  tell(tunnel, *event);
}

static void judge_verdicts(struct tunnel *tunnel, const struct net_services_ok *services) {
  struct verdicts_count count;
  bool unasked = services->serial == tunnel->answered;
  tunnel->answered = services->serial;
  verdicts_tell(services, tunnel->config->map, &count, tell_verdict, tunnel);
  if (unasked) {
    if (count.refused > 0 && verdicts_withdraw(services, tunnel->config->map) == 0 && !tunnel->stop)
      tunnel_finally(tunnel, MDM_CLIENT_REPLACED, "nothing is left to serve: %s", count.first_refusal);
    return;
  }
  if (count.refused > 0 && count.served == 0 && !tunnel->stop)
    tunnel_finally(tunnel, MDM_CLIENT_NAME, "%s%s",
                   count.refused == 1 ? "" : "every service is refused; the first: ", count.first_refusal);
}

static void on_ready(struct session *session, const struct net_ready *ready) {
  struct tunnel *tunnel = session_owner(session);
  char name[2 * NET_TEXT_MAX], user[2 * NET_TEXT_MAX], line[4 * NET_TEXT_MAX + 8];
  if (session != tunnel->current || tunnel->state != TUNNEL_LOGIN)
    return;
  net_log_escape(name, sizeof name, ready->client_name, strnlen(ready->client_name, sizeof ready->client_name));
  net_log_escape(user, sizeof user, ready->user, strnlen(ready->user, sizeof ready->user));
  tunnel->preferred = (tunnel->preferred + tunnel->tried) % tunnel->config->endpoints_count;
  tunnel->tried = 0;
  tunnel->failures = 0;
  tunnel->text[0] = '\0';
  tunnel_enter(tunnel, TUNNEL_SERVE);
  snprintf(line, sizeof line, "%s/%s", user, name);
  tunnel_log(tunnel, NET_LOG_INFO, "connected as", line);
  tell(tunnel, (struct mdm_client_event){MDM_CLIENT_EVENT_CONNECTED, .user = user, .text = name});
  if (tunnel->config->login_only)
    tunnel_finally(tunnel, MDM_CLIENT_OK, "%s", "");
  else
    judge_verdicts(tunnel, &ready->services);
}

static void on_verdicts(struct session *session, const struct net_services_ok *services) {
  struct tunnel *tunnel = session_owner(session);
  if (session == tunnel->current)
    judge_verdicts(tunnel, services);
}

static void on_goaway(struct session *session, uint16_t code, const char *text) {
  struct tunnel *tunnel = session_owner(session);
  enum mdm_client_status status = goaway_status(code);
  if (session != tunnel->current && status == MDM_CLIENT_OK)
    return;
  const char *words = goaway_words(code);
  bool adds = text[0] != '\0' && strcmp(text, words) != 0;
  if (status != MDM_CLIENT_OK) {
    tunnel_finally(tunnel, status, "%s%s%s", words, adds ? ": " : "", adds ? text : "");
    return;
  }
  snprintf(tunnel->text, sizeof tunnel->text, "%s%s%s", words, adds ? ": " : "", adds ? text : "");
  if (code == MDM_GOAWAY_DRAIN && tunnel->state == TUNNEL_SERVE)
    tunnel->current_leaving = true;
  want_step(tunnel);
}

static void on_refused(struct session *session, uint16_t code, const char *text) {
  struct tunnel *tunnel = session_owner(session);
  enum mdm_client_status status = goaway_status(code);
  tunnel_finally(tunnel, status == MDM_CLIENT_OK ? MDM_CLIENT_RUNTIME : status, "%s", text);
}

static void note_end(struct tunnel *tunnel, const struct session *session, const char *reason) {
  if (session == tunnel->current) {
    tunnel->current_ended = true;
    if (reason[0] != '\0' && tunnel->text[0] == '\0')
      net_log_escape(tunnel->text, sizeof tunnel->text, reason, strlen(reason));
  }
  for (size_t i = 0; i < tunnel->draining_count; i++)
    if (tunnel->draining[i].session == session)
      tunnel->draining[i].ended = true;
  want_step(tunnel);
}

static void on_drained(struct session *session) {
  note_end(session_owner(session), session, "");
}

static void on_ended(struct session *session, int error, const char *reason) {
  note_end(session_owner(session), session, reason[0] != '\0' || error == 0 ? reason : uv_strerror(error));
}

static const struct session_ops session_events = {
    .ready = on_ready,
    .verdicts = on_verdicts,
    .goaway = on_goaway,
    .refused = on_refused,
    .drained = on_drained,
    .ended = on_ended,
};

/* ---- the step ---- */
static bool current_held(const struct tunnel *tunnel) {
  return net_loop_now_ms(tunnel->loop) - session_ready_since_ms(tunnel->current) >= BACKOFF_HELD_MS;
}

static void step_stop(struct tunnel *tunnel) {
  if (tunnel->state != TUNNEL_DRAIN) {
    bool serving = tunnel->state == TUNNEL_SERVE && !tunnel->current_ended;
    tunnel_enter(tunnel, TUNNEL_DRAIN);
    if (serving)
      move_aside(tunnel, "the client stops");
    else
      drop_current(tunnel);
  }
  reap(tunnel);
  if (tunnel->draining_count > 0 && !tunnel->stop_now && !tunnel->patience_over)
    return;
  tunnel->final_status = MDM_CLIENT_OK;
  tunnel_end(tunnel);
}

static void step_lost(struct tunnel *tunnel) {
  bool was_ready = tunnel->state == TUNNEL_SERVE;
  if (tunnel->text[0] == '\0')
    snprintf(tunnel->text, sizeof tunnel->text, "the connection was lost");
  if (!was_ready) {
    tunnel_failed(tunnel);
    return;
  }
  if (current_held(tunnel))
    backoff_reset(&tunnel->backoff);
  tunnel_log(tunnel, NET_LOG_INFO, "the link is lost", tunnel->text);
  drop_current(tunnel);
  tunnel_back_off(tunnel);
}

static void step_leave(struct tunnel *tunnel) {
  bool held = current_held(tunnel);
  tunnel_log(tunnel, NET_LOG_INFO, "moving to a new link", tunnel->text);
  move_aside(tunnel, "moved to another link");
  if (!held) { /* a server that says goodbye at once would otherwise be dialled without end */
    tunnel_back_off(tunnel);
    return;
  }
  backoff_reset(&tunnel->backoff);
  tell(tunnel, (struct mdm_client_event){MDM_CLIENT_EVENT_DISCONNECTED, .text = tunnel->text});
  tunnel_dial(tunnel);
}

static void tunnel_step(struct net_task *task) {
  struct tunnel *tunnel = (struct tunnel *)(void *)((char *)task - offsetof(struct tunnel, step));
  if (tunnel->state == TUNNEL_STOPPED)
    return;
  if (tunnel->stop || tunnel->stop_now) {
    step_stop(tunnel);
    return;
  }
  if (tunnel->final) {
    tunnel_end(tunnel);
    return;
  }
  reap(tunnel);
  if (tunnel->current_ended)
    step_lost(tunnel);
  else if (tunnel->current_leaving)
    step_leave(tunnel);
}

/* ---- public ---- */
int tunnel_new(struct tunnel **out, const struct tunnel_config *config, const struct tunnel_ops *ops, void *owner) {
  struct tunnel *tunnel = calloc(1, sizeof *tunnel);
  if (tunnel == NULL)
    return UV_ENOMEM;
  tunnel->loop = config->loop;
  tunnel->config = config;
  tunnel->ops = ops;
  tunnel->owner = owner;
  tunnel->step.run = tunnel_step;
  tunnel->timer.fire = on_timer;
  *out = tunnel;
  return 0;
}

void tunnel_free(struct tunnel *tunnel) {
  if (tunnel == NULL)
    return;
  drop_current(tunnel);
  while (tunnel->draining_count > 0)
    drop_draining(tunnel, tunnel->draining_count - 1);
  net_task_cancel(&tunnel->step);
  net_timer_stop(&tunnel->loop->wheel, &tunnel->timer);
  carrier_tls_clean(&tunnel->tls);
  free(tunnel);
}

void tunnel_start(struct tunnel *tunnel) {
  if (tunnel->state == TUNNEL_IDLE && !tunnel->stop)
    tunnel_dial(tunnel);
}

void tunnel_stop(struct tunnel *tunnel) {
  if (tunnel->state == TUNNEL_STOPPED)
    return;
  if (tunnel->stop)
    tunnel->stop_now = true;
  tunnel->stop = true;
  want_step(tunnel);
}

void tunnel_poke(struct tunnel *tunnel) {
  if (tunnel->state == TUNNEL_BACKOFF)
    tunnel_dial(tunnel);
  else if (tunnel->state == TUNNEL_SERVE)
    session_probe(tunnel->current);
}

void tunnel_announce(struct tunnel *tunnel) {
  if (tunnel->state != TUNNEL_SERVE || tunnel->current_ended)
    return;
  int status = session_announce(tunnel->current);
  if (status != 0)
    tunnel_log(tunnel, NET_LOG_WARN, "SERVICES could not be sent", uv_strerror(status));
}

bool tunnel_is_connected(const struct tunnel *tunnel) {
  return tunnel->state == TUNNEL_SERVE && !tunnel->current_ended;
}

size_t tunnel_streams(const struct tunnel *tunnel) {
  size_t count = tunnel->current == NULL ? 0 : session_streams(tunnel->current);
  for (size_t i = 0; i < tunnel->draining_count; i++)
    count += session_streams(tunnel->draining[i].session);
  return count;
}
