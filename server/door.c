/* door.c: one accepted connection until it is given to visitor_accept() or agent_accept().
 *
 *   accept -> [caps] -> DOOR_PROXY -> DOOR_TLS -> given away
 *                  \          \          \-> DOOR_CLOSING
 *                   \-> DOOR_LINGER -> DOOR_CLOSING
 */
#include "door.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "address_count.h"
#include "agent.h"
#include "edge.h"
#include "log.h"
#include "metrics.h"
#include "pages.h"
#include "platform.h"
#include "proxy_header.h"
#include "tls.h"
#include "tls_store.h"
#include "visitor.h"
#include "worker.h"

#define LINGER_READS 16u

enum door_state { DOOR_START, DOOR_PROXY, DOOR_TLS, DOOR_LINGER, DOOR_CLOSING };
static const char *const state_names[] = {"START", "PROXY", "TLS", "LINGER", "CLOSING"};

struct door {
  struct door *next, **link; /* in the set's list */
  struct worker *worker;
  struct net_conn *conn;
  struct net_timer timer;
  uint64_t id;
  enum door_kind kind;
  enum door_state state;
  size_t header_size;
  uint8_t *header; /* PROXY_HEADER_MAX bytes, where one is awaited */
};
/* Lives as long as the connection, whoever owns that. */
struct pass {
  struct door_set *set;
  struct address_entry *address;
  bool public;
};
struct door_set {
  struct worker *worker;
  struct door *waiting;
  size_t waiting_count, lingering, passes, public;
  struct address_count addresses;
  uint64_t next_id;
  bool closed;
};

/* ---- the set ---- */
int door_set_new(struct door_set **out, struct worker *worker) {
  struct door_set *set = calloc(1, sizeof *set);
  *out = NULL;
  if (set == NULL || address_count_init(&set->addresses) != 0) {
    free(set);
    return UV_ENOMEM;
  }
  set->worker = worker;
  *out = set;
  return 0;
}

size_t door_set_waiting(const struct door_set *set) {
  return set->waiting_count;
}

size_t door_set_open(const struct door_set *set) {
  return set->passes;
}

void door_set_free(struct door_set *set) {
  if (set == NULL)
    return;
  assert(set->waiting == NULL && set->passes == 0);
  address_count_clean(&set->addresses);
  free(set);
}

/* ---- caps ---- */
static void pass_gone(void *arg) {
  struct pass *pass = arg;
  struct door_set *set = pass->set;
  address_count_leave(&set->addresses, pass->address);
  set->public -= pass->public;
  set->passes--;
  free(pass);
}

/* A proxy brings everybody's connections: it has no cap of its own; with the PROXY header its visitors have. */
static bool capped(const struct worker *worker, const struct mdm_address *peer) {
  return !net_cidr_any(worker->config->trusted, worker->config->trusted_count, peer);
}

/* ---- one door ---- */
static void door_log(const struct door *door, enum net_log_level level, const char *what, const char *why) {
  const struct net_log_actor actor = {.kind = "door", .id = door->id, .state = state_names[door->state]};
  char text[NET_ADDRESS_TEXT];
  net_log_write(door->worker->loop.log, level, &actor, "%s: %s%s%s", net_address_text(text, net_conn_peer(door->conn), true), what,
                why[0] == '\0' ? "" : ": ", why);
}

static void door_enter(struct door *door, enum door_state state) {
  struct net_loop *loop = &door->worker->loop;
  const struct net_log_actor actor = {.kind = "door", .id = door->id, .state = state_names[door->state]};
  net_edge_check(state > door->state, loop->log, &actor, state_names[state]);
  door->state = state;
  switch (state) {
  case DOOR_START:
    break;
  case DOOR_PROXY:
    net_timer_start(&loop->wheel, &door->timer, door->worker->config->timeouts.head_ms);
    break;
  case DOOR_TLS:
    if (!net_timer_armed(&door->timer)) /* header and handshake share one time */
      net_timer_start(&loop->wheel, &door->timer, door->worker->config->timeouts.head_ms);
    break;
  case DOOR_LINGER:
    door->worker->doors->lingering++;
    net_timer_start(&loop->wheel, &door->timer, DOOR_LINGER_MS);
    break;
  case DOOR_CLOSING:
    net_timer_stop(&loop->wheel, &door->timer);
    break;
  }
}

static void door_unlink(struct door *door) {
  if (door->link == NULL)
    return;
  *door->link = door->next;
  if (door->next != NULL)
    door->next->link = door->link;
  door->link = NULL;
  door->worker->doors->waiting_count--;
}

static void door_close(struct door *door) {
  if (door->state == DOOR_CLOSING)
    return;
  if (door->state == DOOR_LINGER)
    door->worker->doors->lingering--;
  door_enter(door, DOOR_CLOSING);
  door_unlink(door);
  net_conn_close(door->conn, false);
}

static void door_break(struct door *door, const char *what, const char *why) {
  metrics_count(door->worker->metrics, METRICS_CONNECTIONS_BROKEN);
  door_log(door, NET_LOG_INFO, what, why);
  door_close(door);
}

static void door_free(struct door *door) {
  free(door->header);
  free(door);
}

static void on_nothing(struct net_conn *conn) {
  (void)conn;
}

/* Between two owners: whoever takes the connection may fail and close it before it has set its own. */
static const struct net_conn_ops nobody_ops = {.readable = on_nothing, .writable = on_nothing};

/* The connection changes hands; the door is gone afterwards. */
static void door_give(struct door *door, bool link, const char *carrier) {
  struct worker *worker = door->worker;
  struct net_conn *conn = door->conn;
  net_timer_stop(&worker->loop.wheel, &door->timer);
  door_unlink(door);
  door_free(door);
  net_conn_set_owner(conn, &nobody_ops, NULL);
  if (link)
    agent_accept(worker, conn, carrier);
  else
    visitor_accept(worker, conn);
}

static int push_link_tls(struct door *door) {
  static const struct net_tls_options options = {.server = true};
  return net_tls_push(door->conn, door->worker->link_tls, &options);
}

static void door_arrive(struct door *door) {
  static const struct net_tls_options options = {.server = true};
  int status;
  switch (door->kind) {
  case DOOR_HTTP:
    door_give(door, false, NULL);
    return;
  case DOOR_CLIENT:
    if (door->worker->link_tls == NULL) {
      door_give(door, true, "plain");
    } else if ((status = push_link_tls(door)) != 0) {
      door_break(door, "no link", uv_strerror(status));
    } else {
      door_give(door, true, "tls");
    }
    return;
  case DOOR_HTTPS:
    door_enter(door, DOOR_TLS);
    status = net_tls_push(door->conn, tls_store_context(door->worker->tls), &options);
    if (status != 0)
      door_break(door, "no TLS", uv_strerror(status));
    return;
  }
}

/* ---- steps ---- */
static void step_proxy(struct door *door) {
  struct proxy_header header;
  if (door->header == NULL && (door->header = malloc(PROXY_HEADER_MAX)) == NULL) {
    door_break(door, "out of memory", "");
    return;
  }
  for (;;) {
    ssize_t got = net_conn_read(door->conn, door->header + door->header_size, PROXY_HEADER_MAX - door->header_size);
    if (got == UV_EAGAIN)
      return;
    if (got <= 0) {
      door_break(door, "ended before its PROXY header", door->header_size == 0 ? "" : "cut");
      return;
    }
    door->header_size += (size_t)got;
    enum proxy_header_result result = proxy_header_parse(&header, door->header, door->header_size);
    if (result == PROXY_HEADER_DONE)
      break;
    if (result == PROXY_HEADER_BAD) {
      door_break(door, "no PROXY header", "a trusted proxy must send one (proxy-protocol is on)");
      return;
    }
  }
  if (header.size < door->header_size && net_conn_unread(door->conn, door->header + header.size, door->header_size - header.size) != 0) {
    door_break(door, "out of memory", "");
    return;
  }
  if (!header.local)
    net_conn_set_peer(door->conn, &header.source);
  door_arrive(door);
}

static void step_tls(struct door *door) {
  const char *alpn = NULL;
  size_t size = 0;
  uint8_t first;
  if (!net_tls_established(door->conn)) {
    ssize_t got = net_conn_read(door->conn, &first, 1); /* drives the handshake on; a failed one answers its error */
    if (got == 1)
      got = net_conn_unread(door->conn, &first, 1);
    if (got != UV_EAGAIN && got < 0) {
      door_break(door, "TLS failed", net_tls_error(door->conn));
      return;
    }
    if (!net_tls_established(door->conn))
      return;
  }
  net_tls_alpn(door->conn, &alpn, &size);
  bool link = size == strlen(NET_ALPN_LINK) && memcmp(alpn, NET_ALPN_LINK, size) == 0;
  door_give(door, link, "tls");
}

static void step_linger(struct door *door) {
  uint8_t waste[512];
  for (unsigned i = 0; i < LINGER_READS; i++)
    if (net_conn_read(door->conn, waste, sizeof waste) == UV_EAGAIN)
      return;
  door_close(door); /* the end, an error, or somebody who goes on and on */
}

static void door_step(struct door *door) {
  switch (door->state) {
  case DOOR_PROXY:
    step_proxy(door);
    break;
  case DOOR_TLS:
    step_tls(door);
    break;
  case DOOR_LINGER:
    step_linger(door);
    break;
  case DOOR_START:
  case DOOR_CLOSING:
    break;
  }
}

static void on_event(struct net_conn *conn) {
  door_step(net_conn_owner(conn));
}

static void on_closed(struct net_conn *conn) {
  door_free(net_conn_owner(conn));
}

static void on_timer(struct net_timer *timer) {
  struct door *door = (struct door *)(void *)((char *)timer - offsetof(struct door, timer));
  if (door->state == DOOR_LINGER)
    door_close(door);
  else
    door_break(door, door->state == DOOR_PROXY ? "too slow with its PROXY header" : "too slow with TLS", "");
}

static const struct net_conn_ops door_ops = {.readable = on_event, .writable = on_event, .closed = on_closed};

/* ---- accepting ---- */
/* Over a cap: a visitor of the plain port is told so, as long as few are. */
static void door_refuse(struct door *door, const char *why) {
  struct door_set *set = door->worker->doors;
  struct page_bytes page = {0};
  static const struct page_view view = {.keep_alive = false};
  static const struct page_problem problem = {.cause = PAGE_BUSY};
  metrics_count(door->worker->metrics, METRICS_CONNECTIONS_REFUSED);
  door_log(door, NET_LOG_INFO, "refused", why);
  if (door->kind != DOOR_HTTP || set->lingering >= DOOR_LINGERS_MAX || page_problem(&page, &view, &problem) != 0) {
    door_close(door);
    return;
  }
  struct mdm_slice slice = {.data = (const uint8_t *)page.data, .size = page.size};
  ssize_t sent = net_conn_write(door->conn, &slice, 1); /* the empty buffer of a new socket takes all of it */
  page_bytes_clean(&page);
  if (sent < 0 || net_conn_shutdown(door->conn) != 0) {
    door_close(door);
    return;
  }
  door_enter(door, DOOR_LINGER);
  step_linger(door);
}

/* Returns why not, or NULL when the connection has been counted. */
static const char *take_pass(struct door *door, const struct mdm_address *peer) {
  struct worker *worker = door->worker;
  struct door_set *set = worker->doors;
  const struct server_limits *limits = &worker->config->limits;
  bool public = door->kind != DOOR_CLIENT;
  struct pass *pass = calloc(1, sizeof *pass);
  const char *why = pass == NULL ? "out of memory" : NULL;
  if (why == NULL && public && limits->connections != 0 && set->public >= limits->connections)
    why = "too many connections (limits: connections)";
  if (why == NULL && public && capped(worker, peer)) {
    pass->address = address_count_enter(&set->addresses, peer, limits->connections_per_address);
    why = pass->address == NULL ? "too many connections of this address (limits: connections-per-address)" : NULL;
  }
  if (why != NULL) {
    free(pass);
    return why;
  }
  pass->set = set;
  pass->public = public;
  set->public += public;
  set->passes++;
  net_conn_set_watcher(door->conn, pass_gone, pass);
  return NULL;
}

void door_accept(struct worker *worker, enum door_kind kind, int fd, const struct mdm_address *peer) {
  struct door_set *set = worker->doors;
  struct door *door = set->closed ? NULL : calloc(1, sizeof *door);
  if (door == NULL) {
    platform_socket_close(fd, false);
    return;
  }
  *door = (struct door){.worker = worker, .kind = kind, .id = ++set->next_id, .timer = {.fire = on_timer}};
  if (net_conn_open(&door->conn, &worker->loop, fd, &door_ops, door) != 0) {
    door_free(door);
    return;
  }
  net_conn_set_peer(door->conn, peer);
  door->next = set->waiting;
  door->link = &set->waiting;
  if (door->next != NULL)
    door->next->link = &door->next;
  set->waiting = door;
  set->waiting_count++;
  metrics_count(worker->metrics, kind == DOOR_CLIENT ? METRICS_CLIENT_CONNECTIONS : METRICS_CONNECTIONS);
  const char *why = take_pass(door, peer);
  if (why != NULL) {
    door_refuse(door, why);
  } else if (worker->config->proxy_protocol && !capped(worker, peer)) {
    door_enter(door, DOOR_PROXY);
    door_step(door);
  } else {
    door_arrive(door);
    /* A TLS door waits for its first event; the others are gone. */
  }
}

void door_set_close(struct door_set *set) {
  set->closed = true;
  while (set->waiting != NULL)
    door_close(set->waiting);
}
