/* origin.c: the hot path of the client. Copies nothing and, for a connection to a socket of this machine, waits for
 * nothing. */
#include "origin.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "address.h"
#include "conn.h"
#include "dial.h"
#include "edge.h"
#include "log.h"
#include "platform.h"
#include "proxy_header.h"
#include "tls.h"

#define WRITE_BATCH 32u /* slices of one write after a partial one */

enum origin_state {
  ORIGIN_DIAL,   /* a dial is under way */
  ORIGIN_SECURE, /* TLS to the service */
  ORIGIN_RELAY,
  ORIGIN_LINGER, /* the stream is over, the last TLS record is not */
  ORIGIN_CLOSED,
};
static const char *const state_names[] = {"DIAL", "SECURE", "RELAY", "LINGER", "CLOSED"};
_Static_assert(sizeof state_names / sizeof *state_names == ORIGIN_CLOSED + 1, "a name for every state");

struct origin {
  struct origin_pool *pool;
  mdm_stream *stream;
  struct net_conn *conn;
  union {
    struct net_dial *dial; /* in DIAL, else NULL */
    struct origin *next;   /* while it waits in the pool */
  };
  struct service_entry *entry; /* until connected */
  struct mdm_address visitor;
  uint32_t id; /* the stream's, for the log */
  struct net_timer timer;
  uint64_t deadline_ms;
  enum origin_state state;
  bool second_try;   /* LOOPBACK: ::1 is being dialled */
  bool fin_received; /* before the service was connected */
  bool read_ended;   /* the service finished its half */
  bool write_broken; /* the service takes no more; its answer may still come */
  bool delivered;    /* at least one byte reached it */
  bool broken;       /* end with RST */
};
_Static_assert(sizeof(struct origin) <= 120, "with the connection and the stream, 600 bytes an idle stream");

static const struct mdm_stream_ops origin_stream_ops;
static const struct net_conn_ops origin_conn_ops;

/* ---- pool ---- */
void origin_pool_init(struct origin_pool *pool, struct net_loop *loop) {
  *pool = (struct origin_pool){.loop = loop};
}

void origin_pool_clean(struct origin_pool *pool) {
  while (pool->spare != NULL) {
    struct origin *origin = pool->spare;
    pool->spare = origin->next;
    free(origin);
  }
  net_tls_context_unref(pool->tls_verify);
  net_tls_context_unref(pool->tls_loopback);
  *pool = (struct origin_pool){0};
}

static struct origin *origin_take(struct origin_pool *pool) {
  struct origin *origin = pool->spare;
  if (origin != NULL) {
    pool->spare = origin->next;
    pool->spare_count--;
  } else if ((origin = malloc(sizeof *origin)) == NULL) {
    return NULL;
  }
  *origin = (struct origin){.pool = pool};
  pool->active++;
  return origin;
}

static void origin_give(struct origin *origin) {
  struct origin_pool *pool = origin->pool;
  pool->active--;
  if (pool->spare_count >= ORIGIN_SPARE_MAX) {
    free(origin);
    return;
  }
  origin->next = pool->spare;
  pool->spare = origin;
  pool->spare_count++;
}

/* ---- state ---- */
static void origin_log(const struct origin *origin, enum net_log_level level, const char *what) {
  struct net_log *log = origin->pool->loop->log;
  if (!net_log_enabled(log, level))
    return;
  const struct net_log_actor actor = {
      .kind = "origin",
      .id = origin->id,
      .state = state_names[origin->state],
  };
  net_log_write(log, level, &actor, "%s", what);
}

static void origin_enter(struct origin *origin, enum origin_state state) {
  const struct net_log_actor actor = {"origin", origin->id, state_names[origin->state]};
  const bool first = state == ORIGIN_DIAL && origin->state == ORIGIN_DIAL; /* a new origin is in DIAL */
  net_edge_check(state > origin->state || first, origin->pool->loop->log, &actor, state_names[state]);
  origin->state = state;
  origin_log(origin, NET_LOG_DEBUG, "entered");
}

static void origin_forget_entry(struct origin *origin) {
  service_entry_unref(origin->entry);
  origin->entry = NULL;
}

/* The last thing that happens to an origin. */
static void origin_end(struct origin *origin) {
  origin_enter(origin, ORIGIN_CLOSED);
  net_timer_stop(&origin->pool->loop->wheel, &origin->timer);
  if (origin->dial != NULL)
    net_dial_cancel(origin->dial);
  if (origin->conn != NULL)
    net_conn_close(origin->conn, origin->broken);
  origin_forget_entry(origin);
  origin_give(origin);
}

static void origin_expired(struct net_timer *timer) {
  struct origin *origin = (struct origin *)(void *)((char *)timer - offsetof(struct origin, timer));
  if (origin->state == ORIGIN_SECURE) {
    origin_log(origin, NET_LOG_INFO, "the service did not finish its TLS handshake in time");
    origin->broken = true;
    mdm_stream_reset(origin->stream, MDM_RESET_TIMEOUT, true); /* closed() ends the origin */
    return;
  }
  if (net_conn_flushed(origin->conn) || net_loop_now_ms(origin->pool->loop) >= origin->deadline_ms)
    origin_end(origin);
  else
    net_timer_start(&origin->pool->loop->wheel, &origin->timer, 50);
}

static void origin_set_deadline(struct origin *origin, uint32_t delay_ms, uint32_t limit_ms) {
  origin->timer.fire = origin_expired;
  origin->deadline_ms = net_loop_now_ms(origin->pool->loop) + limit_ms;
  net_timer_start(&origin->pool->loop->wheel, &origin->timer, delay_ms);
}

/* ---- from the service to the mux ---- */
static bool origin_turn(mdm_stream *stream) {
  struct origin *origin = mdm_stream_user(stream);
  if (origin->state != ORIGIN_RELAY || origin->read_ended)
    return false;
  for (;;) {
    size_t capacity;
    uint8_t *room = mdm_stream_reserve(stream, &capacity);
    if (room == NULL) {
      /* Another turn comes with credit; until then the socket is only watched for a hang-up. */
      net_conn_pause(origin->conn);
      return true;
    }
    ssize_t n = net_conn_read(origin->conn, room, capacity);
    mdm_stream_commit(stream, n > 0 ? (size_t)n : 0);
    if (n > 0)
      continue;
    if (n == UV_EAGAIN) {
      if (net_conn_paused(origin->conn))
        net_conn_resume(origin->conn);
      return false;
    }
    origin->read_ended = true;
    if (n == UV_EOF) {
      mdm_stream_finish(stream);
    } else {
      origin->broken = true;
      mdm_stream_reset(stream, MDM_RESET_BROKEN, !origin->delivered);
    }
    return false;
  }
}

/* ---- from the mux to the service ---- */
/* The service takes no more bytes. What it has sent may still be worth reading (413 and close): throw away the rest of
 * the request and go on until its end or its reset is read. */
static void origin_write_failed(struct origin *origin) {
  if (origin->read_ended) {
    origin->broken = true;
    mdm_stream_reset(origin->stream, MDM_RESET_BROKEN, !origin->delivered);
    return;
  }
  origin->write_broken = true;
  mdm_stream_discard(origin->stream);
  mdm_stream_ready(origin->stream);
}

/* Up to WRITE_BATCH of the slices, less `skip` bytes from the front of the first. */
static ssize_t origin_write_rest(struct origin *origin, const struct mdm_slice *slices, size_t count, size_t skip) {
  struct mdm_slice batch[WRITE_BATCH];
  size_t n = count < WRITE_BATCH ? count : WRITE_BATCH;
  memcpy(batch, slices, n * sizeof *batch);
  batch[0].data += skip;
  batch[0].size -= skip;
  return net_conn_write(origin->conn, batch, n);
}

static size_t origin_data(mdm_stream *stream, const struct mdm_slice *slices, size_t count) {
  struct origin *origin = mdm_stream_user(stream);
  size_t taken = 0, skip = 0;
  if (origin->state != ORIGIN_RELAY)
    return 0;
  ssize_t n = net_conn_write(origin->conn, slices, count);
  for (;;) {
    if (n == UV_EAGAIN)
      return taken;
    if (n < 0) {
      origin_write_failed(origin);
      return taken;
    }
    origin->delivered = true;
    taken += (size_t)n;
    skip += (size_t)n;
    while (count > 0 && skip >= slices->size) {
      skip -= slices->size;
      slices++;
      count--;
    }
    if (count == 0)
      return taken;
    n = origin_write_rest(origin, slices, count, skip);
  }
}

static void origin_shutdown(struct origin *origin) {
  int status = net_conn_shutdown(origin->conn);
  if (status != 0 && status != UV_EAGAIN && status != UV_ENOTCONN)
    origin_write_failed(origin);
}

static void origin_fin(mdm_stream *stream) {
  struct origin *origin = mdm_stream_user(stream);
  origin->fin_received = true;
  if (origin->state == ORIGIN_RELAY && !origin->write_broken)
    origin_shutdown(origin);
}

static void origin_reset(mdm_stream *stream, enum mdm_reset code, bool not_delivered) {
  struct origin *origin = mdm_stream_user(stream);
  (void)code;
  (void)not_delivered;
  origin->broken = true;
}

static void origin_closed(mdm_stream *stream) {
  struct origin *origin = mdm_stream_user(stream);
  bool linger = origin->conn != NULL && !origin->broken && !net_conn_flushed(origin->conn);
  origin->stream = NULL;
  if (!linger) {
    origin_end(origin);
    return;
  }
  origin_enter(origin, ORIGIN_LINGER);
  origin_set_deadline(origin, 50, ORIGIN_LINGER_MS);
}

static const struct mdm_stream_ops origin_stream_ops = {
    .data = origin_data,
    .fin = origin_fin,
    .turn = origin_turn,
    .reset = origin_reset,
    .closed = origin_closed,
};

/* ---- connected ---- */
static void origin_relay(struct origin *origin) {
  mdm_stream *stream = origin->stream;
  net_timer_stop(&origin->pool->loop->wheel, &origin->timer);
  origin_forget_entry(origin);
  origin_enter(origin, ORIGIN_RELAY);
  mdm_stream_accept(stream);
  if (origin->fin_received)
    origin_shutdown(origin);
  else if (mdm_stream_held(stream) > 0)
    mdm_stream_drain(stream);
}

/* Everything that says NOT_DELIVERED because the service has seen no byte of the stream. */
static void origin_fail(struct origin *origin, enum mdm_reset code, const char *reason) {
  struct net_log *log = origin->pool->loop->log;
  if (net_log_enabled(log, NET_LOG_INFO)) {
    char target[TARGET_TEXT];
    const struct net_log_actor actor = {"origin", origin->id, state_names[origin->state]};
    net_log_write(log, NET_LOG_INFO, &actor, "%s at %s: %s", origin->entry->service.name,
                  target_text(target, &origin->entry->target), reason);
  }
  origin->broken = true;
  mdm_stream_reset(origin->stream, code, true);
}

static void origin_conn_event(struct net_conn *conn) {
  struct origin *origin = net_conn_owner(conn);
  if (origin->state == ORIGIN_RELAY) {
    mdm_stream_ready(origin->stream);
    return;
  }
  if (origin->state != ORIGIN_SECURE)
    return;
  /* The handshake is driven from inside read; the service speaks first only where its protocol says so, and such a byte
   * goes back. */
  uint8_t byte;
  ssize_t n = net_conn_read(conn, &byte, 1);
  if (n == 1 && net_conn_unread(conn, &byte, 1) != 0)
    n = UV_ENOMEM;
  if (n < 0 && n != UV_EAGAIN)
    origin_fail(origin, MDM_RESET_CONNECT, net_tls_error(conn)[0] != '\0' ? net_tls_error(conn) : uv_strerror((int)n));
  else if (net_tls_established(conn))
    origin_relay(origin);
}

static void origin_writable(struct net_conn *conn) {
  struct origin *origin = net_conn_owner(conn);
  if (origin->state != ORIGIN_RELAY) {
    origin_conn_event(conn);
    return;
  }
  if (mdm_stream_held(origin->stream) > 0)
    mdm_stream_drain(origin->stream);
}

/* FIN while paused: what came before it is still to be read, and then the FIN itself. */
static const struct net_conn_ops origin_conn_ops = {
    .readable = origin_conn_event,
    .writable = origin_writable,
};

static int origin_send_proxy_header(struct origin *origin) {
  uint8_t header[PROXY_HEADER_MAX];
  struct mdm_address peer = *net_conn_peer(origin->conn);
  struct mdm_slice slice = {header, proxy_header_write(header, origin->entry->proxy_protocol, &origin->visitor, &peer)};
  ssize_t n = net_conn_write(origin->conn, &slice, 1);
  if (n == (ssize_t)slice.size)
    return 0;
  return n < 0 ? (int)n : UV_EPIPE; /* a new connection that cannot take 108 bytes is broken */
}

static int origin_start_tls(struct origin *origin) {
  const struct target *target = &origin->entry->target;
  bool loopback = target->kind == TARGET_LOOPBACK || target->kind == TARGET_UNIX ||
                  net_address_is_loopback(net_conn_peer(origin->conn));
  struct net_tls_context **context = loopback ? &origin->pool->tls_loopback : &origin->pool->tls_verify;
  if (*context == NULL) {
    char error[256];
    int status = net_tls_web_client(context, !loopback, NULL, error, sizeof error);
    if (status != 0) {
      origin_log(origin, NET_LOG_WARN, error);
      return status;
    }
  }
  bool named = target->kind == TARGET_NAME || target->kind == TARGET_ADDRESS;
  struct net_tls_options options = {.server_name = named ? target->host : "localhost"};
  return net_tls_push(origin->conn, *context, &options);
}

/* A socket that is connected: what the entry wants before the stream's own bytes. 0 or a UV_ code. */
static int origin_connected(struct origin *origin) {
  if (origin->entry->proxy_protocol != 0) {
    int status = origin_send_proxy_header(origin);
    if (status != 0)
      return status;
  }
  if (!origin->entry->tls) {
    origin_relay(origin);
    return 0;
  }
  int status = origin_start_tls(origin);
  if (status != 0)
    return status;
  origin_enter(origin, ORIGIN_SECURE);
  origin_set_deadline(origin, ORIGIN_CONNECT_MS, ORIGIN_CONNECT_MS);
  return 0;
}

/* ---- dialling ---- */
static int origin_dial(struct origin *origin, const char *host);

static enum mdm_reset reset_code(int error) {
  if (error == UV_ETIMEDOUT)
    return MDM_RESET_TIMEOUT;
  if (error == UV_EMFILE || error == UV_ENFILE)
    return MDM_RESET_LIMIT;
  return error == UV_ENOMEM ? MDM_RESET_INTERNAL : MDM_RESET_CONNECT;
}

static void origin_dialled(struct net_dial *dial, struct net_conn *conn, int error, const char *reason, void *user) {
  struct origin *origin = user;
  (void)dial;
  origin->dial = NULL;
  if (conn == NULL && origin->entry->target.kind == TARGET_LOOPBACK && !origin->second_try &&
      error == UV_ECONNREFUSED) {
    origin->second_try = true;
    if (origin_dial(origin, "::1") == 0)
      return;
  }
  if (conn == NULL) {
    origin_fail(origin, reset_code(error), reason);
    return;
  }
  origin->conn = conn;
  net_conn_set_owner(conn, &origin_conn_ops, origin);
  net_conn_resume(conn);
  error = origin_connected(origin);
  if (error != 0)
    origin_fail(origin, reset_code(error), uv_strerror(error));
}

/* By the general way: resolves, tries all addresses, takes its time. */
static int origin_dial(struct origin *origin, const char *host) {
  const struct target *target = &origin->entry->target;
  struct net_dial_request request = {
      .endpoint = {.carrier = NET_CARRIER_NONE, .port = target->port},
      .unix_path = target->kind == TARGET_UNIX ? target->host : NULL,
      .timeout_ms = ORIGIN_CONNECT_MS,
  };
  if (host != NULL)
    memcpy(request.endpoint.host, host, strlen(host) + 1);
  return net_dial_start(&origin->dial, origin->pool->loop, &request, origin_dialled, origin);
}

/* A connect that this machine answers before the call returns, as it does for its own sockets. UV_EAGAIN: it did not.
 */
static int connect_at_once(const struct mdm_address *address, int *fd) {
  struct mdm_address local, peer;
  int status = platform_socket_connect(address, fd);
  if (status != 0)
    return status;
  status = platform_socket_error(*fd);
  if (status == 0 && platform_socket_names(*fd, &local, &peer) != 0)
    status = UV_EAGAIN;
  if (status != 0)
    platform_socket_close(*fd, false);
  return status;
}

static int origin_connect_local(const struct target *target, int *fd) {
  static const struct mdm_address v4 = {.family = 4, .bytes = {127, 0, 0, 1}}, v6 = {.family = 6, .bytes = {[15] = 1}};
  struct mdm_address address;
  int status;
  switch (target->kind) {
  case TARGET_LOOPBACK:
    address = v4;
    address.port = target->port;
    status = connect_at_once(&address, fd);
    if (status != UV_ECONNREFUSED)
      return status;
    address = v6;
    address.port = target->port;
    status = connect_at_once(&address, fd);
    return status == UV_EAFNOSUPPORT || status == UV_EADDRNOTAVAIL ? UV_ECONNREFUSED : status;
  case TARGET_ADDRESS:
    return net_address_is_loopback(&target->address) ? connect_at_once(&target->address, fd) : UV_EAGAIN;
  case TARGET_UNIX:
    return platform_socket_connect_unix(target->host, fd);
  case TARGET_NAME:
    break;
  }
  return UV_EAGAIN;
}

static int origin_connect(struct origin *origin) {
  const struct target *target = &origin->entry->target;
  int fd, status = origin_connect_local(target, &fd);
  if (status == UV_EAGAIN) {
    origin_enter(origin, ORIGIN_DIAL);
    return origin_dial(origin, target->kind == TARGET_LOOPBACK ? "127.0.0.1"
                               : target->kind == TARGET_UNIX   ? NULL
                                                               : target->host);
  }
  if (status == 0)
    status = net_conn_open(&origin->conn, origin->pool->loop, fd, &origin_conn_ops, origin);
  return status == 0 ? origin_connected(origin) : status;
}

enum mdm_reset origin_open(struct origin_pool *pool, mdm_stream *stream, const struct mdm_open *open,
                           struct service_entry *entry) {
  struct origin *origin = origin_take(pool);
  if (origin == NULL)
    return MDM_RESET_INTERNAL;
  origin->stream = stream;
  origin->id = mdm_stream_id(stream);
  origin->entry = service_entry_ref(entry);
  origin->visitor = open->visitor;
  mdm_stream_attach(stream, &origin_stream_ops, origin);
  int status = origin_connect(origin);
  if (status == 0)
    return MDM_RESET_NONE;
  if (net_log_enabled(pool->loop->log, NET_LOG_INFO)) {
    char target[TARGET_TEXT];
    const struct net_log_actor actor = {"origin", origin->id, state_names[origin->state]};
    net_log_write(pool->loop->log, NET_LOG_INFO, &actor, "%s at %s: %s", entry->service.name,
                  target_text(target, &entry->target), uv_strerror(status));
  }
  origin->broken = true;
  origin_end(origin);
  return reset_code(status);
}
