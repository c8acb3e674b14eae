/* link.c: one mux session over one connection: what arrives is fed, what waits is flushed, silence is noticed.
 *
 *   UP ------- refuse, failure of the session ------> LAST_WORDS (GOAWAY leaves, what arrives is thrown away, 1 s)
 *    |                                                      |
 *    +--- carrier broken, silence --------------------------+--> ENDED (end of the iteration: streams closed,
 * ops->ended)
 *
 * The mux may not be fed, drained or freed inside its own callbacks: `busy` counts how deep we are in it, and
 * everything that ends the session waits for the end of the iteration. Probes are in link_probe.c. */
#include "link_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge.h"
#include "tls.h"
#include "ws.h"

#define READ_BYTES_MAX  (4u * NET_SCRATCH_SIZE) /* of one link in one iteration; then the others have their turn */
#define READ_CALLS_MAX  16u                     /* TLS gives one record a call */
#define FLUSH_BYTES_MAX (256u * 1024u)          /* likewise */
#define FLUSH_SLICES    16u
#define GOAWAY_TEXT_MAX 1024u /* of the protocol */
#define TICK_BUSY_MS    100u  /* drain steps, stall limits and growth of the mux */
#define TICK_IDLE_MS    1000u
#define TICK_LEAST_MS   50u  /* of the wheel */
#define LATE_MS         500u /* a tick so late was not run: this process stood still */

static void link_tick(struct net_timer *timer);
static void link_flush(struct net_link *link);

void *net_link_owner(const struct net_link *link) {
  return link->owner;
}

mdm_mux *net_link_mux(const struct net_link *link) {
  return link->mux;
}

struct net_conn *net_link_conn(const struct net_link *link) {
  return link->conn;
}

static void link_enter(struct net_link *link, enum link_state state) {
  static const char *const names[] = {"UP", "LAST_WORDS", "ENDED"};
  const struct net_log_actor actor = {.kind = "link", .state = names[link->state]};
  net_edge_check(state > link->state, link->loop->log, &actor, names[state]);
  link->state = state;
}

/* ---- the end ---- */
static void link_finish(struct net_link *link, int error, const char *reason) {
  if (link->state == LINK_ENDED) {
    return;
  }
  link_enter(link, LINK_ENDED);
  if (!link->said) {
    link->error = error;
    (void)snprintf(link->reason, sizeof link->reason, "%s", reason);
  }
  net_conn_pause(link->conn);
  net_loop_defer(link->loop, &link->end_task);
}

static void conn_nothing(struct net_conn *conn) {
  (void)conn;
}

static const struct net_conn_ops conn_closed_ops = {.readable = conn_nothing, .writable = conn_nothing};

/* Streams first, with their callbacks, then the carrier. */
static void link_dismantle(struct net_link *link) {
  mdm_mux *mux = link->mux;
  net_timer_stop(&link->loop->wheel, &link->tick);
  net_task_cancel(&link->flush_task);
  net_task_cancel(&link->drained_task);
  link->busy++;
  mdm_mux_free(mux);
  link->busy--;
  link->mux = NULL;
  link_probes_dismiss(link);
  if (link->conn != NULL) {
    net_conn_set_owner(link->conn, &conn_closed_ops, NULL);
    if (link->drained_told || link->said) {
      (void)net_conn_shutdown(link->conn); /* goodbye in order, as far as the socket takes it now */
    }
    net_conn_close(link->conn, false);
    link->conn = NULL;
  }
}

static void link_free(struct net_link *link) {
  net_task_cancel(&link->end_task);
  free(link);
}

static void link_end(struct net_task *task) {
  struct net_link *link = LINK_OF(task, end_task);
  link_dismantle(link);
  if (link->closing) {
    link_free(link);
    return;
  }
  link->ops->ended(link, link->error, link->reason);
}

void net_link_close(struct net_link *link) {
  if (link->closing) {
    return;
  }
  link->closing = true;
  if (link->busy > 0) {
    if (link->state != LINK_ENDED) {
      link_enter(link, LINK_ENDED);
    }
    if (link->mux != NULL) {
      net_loop_defer(link->loop, &link->end_task);
      return;
    }
  }
  if (link->mux != NULL) {
    if (link->state != LINK_ENDED) {
      link_enter(link, LINK_ENDED);
    }
    link_dismantle(link);
  }
  link_free(link);
}

/* GOAWAY is in the mux's output: it leaves, then we say goodbye and wait for the peer to hang up, because closing a
 * socket with unread bytes would reset it and could take the GOAWAY with it. */
static void link_last_words(struct net_link *link, int error, const char *reason) {
  if (link->state != LINK_UP) {
    return;
  }
  link_enter(link, LINK_LAST_WORDS);
  link->error = error;
  link->said = true;
  (void)snprintf(link->reason, sizeof link->reason, "%s", reason);
  link->last_words_ms = net_loop_now_ms(link->loop) + NET_LINK_LAST_WORDS_MS;
  net_timer_start(&link->loop->wheel, &link->tick, TICK_BUSY_MS);
  net_loop_defer(link->loop, &link->flush_task);
}

/* The session itself may have failed in any call into it. */
static bool link_session_failed(struct net_link *link) {
  const char *failure = mdm_mux_failure(link->mux);
  if (failure != NULL) {
    link_last_words(link, UV_EPROTO, failure);
  }
  return failure != NULL;
}

static void link_carrier_failed(struct net_link *link, int error) {
  char reason[LINK_REASON_MAX];
  const char *layer = net_tls_error(link->conn);
  if (layer == NULL || layer[0] == '\0') {
    layer = net_ws_error(link->conn);
  }
  mdm_mux *mux = link->mux;
  struct mdm_mux_stats stats;
  mdm_mux_get_stats(mux, &stats);
  if ((link->goaway_received || link->drained_told) && stats.streams_active == 0) {
    link_finish(link, 0, "the link was drained and closed");
  } else if (layer != NULL && layer[0] != '\0') {
    link_finish(link, error, layer);
  } else if (error == UV_EOF || error == UV_EPIPE) {
    link_finish(link, error, "the other side closed the connection");
  } else {
    (void)snprintf(reason, sizeof reason, "the connection broke: %s", uv_strerror(error));
    link_finish(link, error, reason);
  }
}

/* ---- in ---- */
static void link_discard(struct net_link *link) {
  for (unsigned calls = 0; calls < READ_CALLS_MAX; calls++) {
    ssize_t n = net_conn_read(link->conn, link->loop->scratch, NET_SCRATCH_SIZE);
    if (n == UV_EAGAIN) {
      return;
    }
    if (n < 0) {
      link_finish(link, (int)n, "");
      return;
    }
  }
  net_conn_pause(link->conn);
  net_conn_resume(link->conn);
}

/* One read and its feed. False when there is no more to do now: nothing there, or not UP any more. */
static bool link_take(struct net_link *link, size_t *total) {
  ssize_t n = net_conn_read(link->conn, link->loop->scratch, NET_SCRATCH_SIZE);
  if (n == UV_EAGAIN) {
    return false;
  }
  if (n < 0) {
    link_carrier_failed(link, (int)n);
    return false;
  }
  *total += (size_t)n;
  link->received_ms = net_loop_now_ms(link->loop);
  link->busy++;
  int fed = mdm_mux_feed(link->mux, link->loop->scratch, (size_t)n);
  link->busy--;
  if (fed != 0) {
    (void)link_session_failed(link);
  }
  return link->state == LINK_UP;
}

static void link_read(struct net_link *link) {
  size_t total = 0;
  for (unsigned calls = 0; calls < READ_CALLS_MAX && total < READ_BYTES_MAX; calls++) {
    bool more = link_take(link, &total);
    if (link->urgent || link->state == LINK_LAST_WORDS) {
      link_flush(link);
    }
    if (!more || link->state != LINK_UP) {
      return;
    }
  }
  net_conn_pause(link->conn); /* one deferred event brings us back after the others */
  net_conn_resume(link->conn);
}

/* The peer takes nothing more, but what it said before may lie unread, a GOAWAY with its reason above all. */
static void link_salvage(struct net_link *link, int error) {
  size_t total = 0;
  link->write_broken = true;
  for (unsigned calls = 0; link->state == LINK_UP && calls < READ_CALLS_MAX; calls++) {
    if (!link_take(link, &total)) {
      break;
    }
  }
  if (link->state != LINK_ENDED) {
    link_carrier_failed(link, error);
  }
}

static void link_on_readable(struct net_conn *conn) {
  struct net_link *link = net_conn_owner(conn);
  switch (link->state) {
  case LINK_UP:
    link_read(link);
    link_check_drained(link);
    return;
  case LINK_LAST_WORDS:
    link_discard(link);
    return;
  case LINK_ENDED:
    return;
  }
}

/* ---- out ---- */
/* Everything has left: in LAST_WORDS our half ends, and the peer's end is waited for. */
static void link_flushed(struct net_link *link) {
  if (link->state != LINK_LAST_WORDS || link->shut || mdm_mux_has_output(link->mux)) {
    return;
  }
  int error = net_conn_shutdown(link->conn);
  link->shut = error == 0 || error == UV_EAGAIN;
  if (!link->shut) {
    link_finish(link, error, "");
  }
}

static void link_flush(struct net_link *link) {
  struct mdm_slice slices[FLUSH_SLICES];
  size_t total = 0;
  link->urgent = false;
  if (link->state == LINK_ENDED || link->busy > 0 || link->write_broken) {
    return;
  }
  while (total < FLUSH_BYTES_MAX) {
    link->busy++;
    size_t count = mdm_mux_output(link->mux, slices, FLUSH_SLICES);
    link->busy--;
    if (link->state == LINK_UP) {
      (void)link_session_failed(link);
    }
    if (link->state == LINK_ENDED) {
      return;
    }
    if (count == 0) {
      link_flushed(link);
      return;
    }
    ssize_t n = net_conn_write(link->conn, slices, count);
    if (n == UV_EAGAIN) {
      return; /* link_on_writable goes on */
    }
    if (n < 0) {
      link_salvage(link, (int)n);
      return;
    }
    mdm_mux_sent(link->mux, (size_t)n);
    total += (size_t)n;
  }
  net_loop_defer(link->loop, &link->flush_task);
}

static void link_on_writable(struct net_conn *conn) {
  struct net_link *link = net_conn_owner(conn);
  link_flush(link);
  link_check_drained(link);
}

static void link_on_hangup(struct net_conn *conn, int error) {
  struct net_link *link = net_conn_owner(conn);
  if (link->state != LINK_ENDED && error != 0) {
    link_carrier_failed(link, error);
  }
}

static void link_run_flush(struct net_task *task) {
  struct net_link *link = LINK_OF(task, flush_task);
  link_flush(link);
  link_check_drained(link);
}

/* ---- drain ---- */
static void link_run_drained(struct net_task *task) {
  struct net_link *link = LINK_OF(task, drained_task);
  if (link->state != LINK_UP) {
    return;
  }
  if (link->ops->drained != NULL) {
    link->ops->drained(link);
  } else {
    link_finish(link, 0, "the link was drained and closed");
  }
}

void link_check_drained(struct net_link *link) {
  if (link->state == LINK_UP && link->draining && !link->drained_told && mdm_mux_drained(link->mux) &&
      net_conn_flushed(link->conn)) {
    link->drained_told = true;
    net_loop_defer(link->loop, &link->drained_task);
  }
}

/* A sentence of any length, cut to what a GOAWAY holds, between two characters. */
static int link_goaway(struct net_link *link, enum mdm_goaway code, const char *text) {
  char cut[GOAWAY_TEXT_MAX + 1];
  size_t size = strnlen(text, GOAWAY_TEXT_MAX + 1);
  if (size > GOAWAY_TEXT_MAX) {
    size = GOAWAY_TEXT_MAX;
    while (size > 0 && ((uint8_t)text[size] & 0xc0) == 0x80) {
      size--;
    }
  }
  memcpy(cut, text, size);
  cut[size] = '\0';
  return mdm_mux_goaway(link->mux, code, cut);
}

void net_link_drain(struct net_link *link, enum mdm_goaway code, const char *text) {
  if (link->state != LINK_UP || link->draining) {
    return;
  }
  link->draining = true;
  if (link_goaway(link, code, text) != 0) {
    link_finish(link, UV_ENOMEM, "the goodbye could not be written");
    return;
  }
  net_timer_start(&link->loop->wheel, &link->tick, TICK_BUSY_MS);
  net_loop_defer(link->loop, &link->flush_task);
}

void net_link_refuse(struct net_link *link, enum mdm_goaway code, const char *text) {
  if (link->state != LINK_UP) {
    return;
  }
  (void)link_goaway(link, code, text); /* without memory for it the connection just closes */
  link_last_words(link, UV_ECANCELED, text);
}

/* ---- time ---- */
/* A late tick means that this process stood still (SIGSTOP, suspend, a blocked loop): what the peer said meanwhile lies
 * unread, so it is asked again and given a moment before its silence is held against it. */
static void link_forgive(struct net_link *link, uint64_t now) {
  uint64_t silence = link->silence_ms, grace = silence < NET_LINK_GRACE_MS ? silence : NET_LINK_GRACE_MS;
  if (now > link->tick_due_ms + LATE_MS) {
    uint64_t least = now + grace > silence ? now + grace - silence : 0;
    link->received_ms = link->received_ms > least ? link->received_ms : least;
    link_ping(link, now);
  }
}

void link_ping(struct net_link *link, uint64_t now) {
  link->pinged_ms = now;
  link->ping_waits = true;
  (void)mdm_mux_ping(link->mux); /* fails only with the session, which is seen at the next flush */
  net_loop_defer(link->loop, &link->flush_task);
}

static void link_heartbeat(struct net_link *link, uint64_t now, bool streams) {
  bool silent = now - link->received_ms >= link->heartbeat_ms;
  if ((silent || streams) && now - link->pinged_ms >= link->heartbeat_ms) {
    link_ping(link, now);
  }
  if (now >= link->received_ms && now - link->received_ms >= link->silence_ms) {
    char reason[LINK_REASON_MAX];
    (void)snprintf(reason, sizeof reason, "nothing was heard from the other side for %u.%u s", link->silence_ms / 1000,
                   link->silence_ms % 1000 / 100);
    link_finish(link, UV_ETIMEDOUT, reason);
  }
}

static uint32_t link_tick_delay(const struct net_link *link, bool streams) {
  uint32_t delay = streams || link->draining || link->state == LINK_LAST_WORDS ? TICK_BUSY_MS : TICK_IDLE_MS;
  uint32_t fine = link->heartbeat_ms / 2;
  delay = fine < delay ? fine : delay;
  return delay < TICK_LEAST_MS ? TICK_LEAST_MS : delay;
}

static void link_tick(struct net_timer *timer) {
  struct net_link *link = LINK_OF(timer, tick);
  uint64_t now = net_loop_now_ms(link->loop);
  struct mdm_mux_stats stats = {0};
  if (link->state == LINK_UP) {
    link_forgive(link, now);
    link->busy++;
    mdm_mux_tick(link->mux);
    link->busy--;
    mdm_mux_get_stats(link->mux, &stats);
    if (!link_session_failed(link)) {
      link_heartbeat(link, now, stats.streams_active > 0);
      link_check_drained(link);
    }
  } else if (link->state == LINK_LAST_WORDS && now >= link->last_words_ms) {
    link_finish(link, link->error, ""); /* the reason has been said */
  }
  if (link->state != LINK_ENDED) {
    uint32_t delay = link_tick_delay(link, stats.streams_active > 0);
    link->tick_due_ms = now + delay;
    net_timer_start(&link->loop->wheel, &link->tick, delay);
  }
}

/* ---- callbacks of the mux ---- */
static uint64_t mux_now(void *user) {
  const struct net_link *link = user;
  return net_loop_now_us(link->loop);
}

static int mux_on_message(mdm_mux *mux, enum mdm_message type, const uint8_t *data, size_t size, void *user) {
  struct net_link *link = user;
  (void)mux;
  return link->state == LINK_UP ? link->ops->message(link, type, data, size) : 0;
}

static enum mdm_reset mux_on_open(mdm_mux *mux, mdm_stream *stream, const struct mdm_open *open, void *user) {
  struct net_link *link = user;
  (void)mux;
  if (link->state != LINK_UP) {
    return MDM_RESET_SHUTDOWN;
  }
  return link->ops->open != NULL ? link->ops->open(link, stream, open) : MDM_RESET_REFUSED;
}

static void mux_on_pong(mdm_mux *mux, uint64_t rtt_us, void *user) {
  struct net_link *link = user;
  (void)mux;
  link_probes_pong(link);
  if (link->state == LINK_UP && link->ops->pong != NULL) {
    link->ops->pong(link, rtt_us);
  }
}

static void mux_on_goaway(mdm_mux *mux, uint32_t last_id, uint16_t code, const char *text, size_t text_size,
                          void *user) {
  struct net_link *link = user;
  (void)mux;
  link->goaway_received = true;
  if (link->state == LINK_UP && link->ops->goaway != NULL) {
    link->ops->goaway(link, last_id, code, text, text_size);
  }
}

static void mux_on_output(mdm_mux *mux, bool urgent, void *user) {
  struct net_link *link = user;
  (void)mux;
  link->urgent = link->urgent || urgent;
  if (link->state != LINK_ENDED) {
    net_loop_defer(link->loop, &link->flush_task);
  }
}

/* ---- the beginning ---- */
static const struct net_conn_ops conn_ops = {
    .readable = link_on_readable,
    .writable = link_on_writable,
    .hangup = link_on_hangup,
};

int net_link_open(struct net_link **out, struct net_conn *conn, const struct net_link_options *options) {
  struct net_link *link = calloc(1, sizeof *link);
  struct net_loop *loop = net_conn_loop(conn);
  *out = NULL;
  if (link == NULL) {
    goto failed;
  }
  link->conn = conn;
  link->loop = loop;
  link->ops = options->ops;
  link->owner = options->owner;
  link->heartbeat_ms = options->heartbeat_ms != 0 ? options->heartbeat_ms : NET_HEARTBEAT_MS;
  link->silence_ms = options->silence_ms != 0 ? options->silence_ms : NET_SILENCE_MS;
  link->flush_task.run = link_run_flush;
  link->end_task.run = link_end;
  link->drained_task.run = link_run_drained;
  link->tick.fire = link_tick;
  link->received_ms = link->pinged_ms = net_loop_now_ms(loop);
  struct mdm_mux_config config = {
      .role = options->role,
      .pool = loop->pool,
      .callbacks = {.now_us = mux_now,
                    .message = mux_on_message,
                    .open = mux_on_open,
                    .pong = mux_on_pong,
                    .goaway = mux_on_goaway,
                    .want_output = mux_on_output},
      .user = link,
      .max_streams = options->max_streams,
      .open_credit = options->open_credit,
  };
  if (mdm_mux_new(&link->mux, &config) != 0) {
    goto failed;
  }
  net_conn_set_owner(conn, &conn_ops, link);
  net_conn_set_notsent_lowat(conn, NET_LINK_NOTSENT_LOWAT);
  net_conn_resume(conn);
  net_loop_defer(loop, &link->flush_task); /* the magic waits */
  uint32_t delay = link_tick_delay(link, false);
  link->tick_due_ms = link->received_ms + delay;
  net_timer_start(&loop->wheel, &link->tick, delay);
  *out = link;
  return 0;

failed:
  free(link);
  net_conn_set_owner(conn, &conn_closed_ops, NULL);
  net_conn_close(conn, false);
  return UV_ENOMEM;
}
