/* admin.c: one request a connection; the answer is written and the connection closed. */
#include "admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "access_log.h"
#include "admin_request.h"
#include "agent_set.h"
#include "conn.h"
#include "listeners.h"
#include "log.h"
#include "metrics.h"
#include "platform.h"
#include "visitor.h"
#include "worker.h"

#define LINGER_READS 16u

enum client_state { CLIENT_READ, CLIENT_WRITE, CLIENT_LINGER, CLIENT_CLOSING };

struct client {
  struct client *next, **link;
  struct admin *admin;
  struct net_conn *conn;
  struct net_timer timer;
  enum client_state state;
  char head[ADMIN_HEAD_MAX];
  size_t head_size;
  char *answer;
  size_t answer_size, sent;
};
struct admin {
  struct worker *worker;
  struct net_loop *loop; /* outlives the connections */
  struct net_listener *listener;
  struct mdm_address own;
  struct client *clients;
  size_t count;
  bool closing;
};

/* ---- the answers ---- */
static void gauges_collect(const struct worker *worker, struct metrics_gauges *out) {
  struct agent_set_stats agents = {0};
  mdm_mux_budget *budget = worker->budget;
  agent_set_get_stats(worker->agents, &agents);
  *out = (struct metrics_gauges){
      .version = MDM_VERSION,
      .visitors = visitor_set_count(worker->visitors),
      .agents = agents.agents,
      .links = agents.links,
      .streams = (size_t)agents.streams_active,
      .held_bytes = mdm_mux_budget_held(budget),
      .held_bytes_max = mdm_mux_budget_cap(budget),
      .logins = agents.logins,
      .logins_refused = agents.logins_refused,
      .link_bytes_in = agents.bytes_in,
      .link_bytes_out = agents.bytes_out,
      .uptime_s = (double)(net_loop_now_ms(&worker->loop) - worker->started_ms) / 1000.0,
      .draining = worker->draining,
  };
}

struct reply {
  int status;
  const char *reason, *type, *body, *field;
};
static const struct reply replies[] = {
    [ADMIN_MORE] = {408, "Request Timeout", "text/plain", "too slow\n", ""},
    [ADMIN_METRICS] = {200, "OK", "text/plain; version=0.0.4; charset=utf-8", NULL, ""},
    [ADMIN_HEALTH] = {200, "OK", "text/plain", "ok\n", ""},
    [ADMIN_BAD] = {400, "Bad Request", "text/plain", "not a request that this listener understands\n", ""},
    [ADMIN_MISDIRECTED] = {421, "Misdirected Request", "text/plain", "this listener answers only to its own address\n", ""},
    [ADMIN_FORBIDDEN] = {403, "Forbidden", "text/plain", "not for pages of other sites\n", ""},
    [ADMIN_METHOD] = {405, "Method Not Allowed", "text/plain", "GET and HEAD only\n", "Allow: GET, HEAD\r\n"},
    [ADMIN_UNKNOWN] = {404, "Not Found", "text/plain", "here are /metrics and /healthz\n", ""},
    [ADMIN_TOO_LARGE] = {431, "Request Header Fields Too Large", "text/plain", "too large\n", ""},
};
static const struct reply draining_reply = {503, "Service Unavailable", "text/plain", "draining\n", ""};

static bool client_compose(struct client *client, const struct admin_request *request) {
  const struct worker *worker = client->admin->worker;
  const struct reply *reply = &replies[request->wish];
  char *made = NULL;
  const char *body = reply->body;
  size_t body_size = 0;
  if (request->wish == ADMIN_METRICS) {
    struct metrics_gauges gauges;
    if (worker->access_log != NULL)
      metrics_add(worker->metrics, METRICS_ACCESS_LOG_DROPPED, access_log_take_dropped(worker->access_log));
    gauges_collect(worker, &gauges);
    body = made = metrics_render(worker->metrics, &gauges, &body_size);
    if (made == NULL)
      return false;
  } else {
    if (request->wish == ADMIN_HEALTH && worker->draining)
      reply = &draining_reply;
    body = reply->body;
    body_size = strlen(body);
  }
  int size = asprintf(&client->answer,
                      "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
                      "X-Content-Type-Options: nosniff\r\n%sConnection: close\r\n\r\n%s",
                      reply->status, reply->reason, reply->type, body_size, reply->field, request->head ? "" : body);
  free(made);
  if (size < 0)
    client->answer = NULL;
  client->answer_size = size < 0 ? 0 : (size_t)size;
  return size >= 0;
}

/* ---- a connection ---- */
static void client_close(struct client *client) {
  if (client->state == CLIENT_CLOSING)
    return;
  client->state = CLIENT_CLOSING;
  net_timer_stop(&client->admin->loop->wheel, &client->timer);
  net_conn_close(client->conn, false);
}

static void client_read(struct client *client) {
  struct admin_request request = {.wish = ADMIN_MORE};
  while (request.wish == ADMIN_MORE) {
    ssize_t got = net_conn_read(client->conn, client->head + client->head_size, sizeof client->head - client->head_size);
    if (got == UV_EAGAIN)
      return;
    if (got <= 0) {
      client_close(client);
      return;
    }
    client->head_size += (size_t)got;
    admin_request_parse(&request, client->head, client->head_size, &client->admin->own);
  }
  if (client_compose(client, &request))
    client->state = CLIENT_WRITE;
  else
    client_close(client);
}

static void client_write(struct client *client) {
  while (client->sent < client->answer_size) {
    struct mdm_slice slice = {(const uint8_t *)client->answer + client->sent, client->answer_size - client->sent};
    ssize_t sent = net_conn_write(client->conn, &slice, 1);
    if (sent == UV_EAGAIN)
      return;
    if (sent <= 0) {
      client_close(client);
      return;
    }
    client->sent += (size_t)sent;
  }
  client->state = CLIENT_LINGER; /* until the peer closes too: what it sent more must not reset the answer away */
  if (net_conn_shutdown(client->conn) != 0)
    client_close(client);
}

static void client_linger(struct client *client) {
  char waste[1024];
  for (unsigned i = 0; i < LINGER_READS; i++)
    if (net_conn_read(client->conn, waste, sizeof waste) == UV_EAGAIN)
      return;
  client_close(client); /* the end, an error, or somebody who goes on and on */
}

static void client_step(struct client *client) {
  enum client_state before;
  do {
    before = client->state;
    switch (client->state) {
    case CLIENT_READ:
      client_read(client);
      break;
    case CLIENT_WRITE:
      client_write(client);
      break;
    case CLIENT_LINGER:
      client_linger(client);
      break;
    case CLIENT_CLOSING:
      return;
    }
  } while (client->state != before);
}

static void on_event(struct net_conn *conn) {
  client_step(net_conn_owner(conn));
}

static void on_timer(struct net_timer *timer) {
  client_close((struct client *)(void *)((char *)timer - offsetof(struct client, timer)));
}

static void on_closed(struct net_conn *conn) {
  struct client *client = net_conn_owner(conn);
  struct admin *admin = client->admin;
  *client->link = client->next;
  if (client->next != NULL)
    client->next->link = client->link;
  free(client->answer);
  free(client);
  if (--admin->count == 0 && admin->closing)
    free(admin);
}

static const struct net_conn_ops client_ops = {.readable = on_event, .writable = on_event, .closed = on_closed};

static void on_accept(struct net_listener *listener, int fd, const struct mdm_address *peer, void *user) {
  struct admin *admin = user;
  struct client *client = admin->count < ADMIN_CONNECTIONS_MAX ? calloc(1, sizeof *client) : NULL;
  (void)listener, (void)peer;
  if (client == NULL) {
    platform_socket_close(fd, false);
    return;
  }
  client->admin = admin;
  client->timer.fire = on_timer;
  if (net_conn_open(&client->conn, admin->loop, fd, &client_ops, client) != 0) {
    free(client);
    return;
  }
  client->next = admin->clients;
  client->link = &admin->clients;
  if (client->next != NULL)
    client->next->link = &client->next;
  admin->clients = client;
  admin->count++;
  net_timer_start(&admin->loop->wheel, &client->timer, ADMIN_TIMEOUT_MS);
  client_step(client);
}

/* ---- the listener ---- */
int admin_open(struct admin **out, struct worker *worker, const struct mdm_address *address, char *error, size_t error_size) {
  static const struct net_listener_options options = {.backlog = (int)ADMIN_CONNECTIONS_MAX};
  struct admin *admin = calloc(1, sizeof *admin);
  *out = NULL;
  if (admin == NULL) {
    snprintf(error, error_size, "out of memory");
    return -1;
  }
  admin->worker = worker;
  admin->loop = &worker->loop;
  int code = net_listener_open(&admin->listener, &worker->loop, address, &options, on_accept, admin);
  if (code != 0) {
    listeners_explain(error, error_size, address, code, "--admin");
    free(admin);
    return -1;
  }
  admin->own = *net_listener_address(admin->listener);
  *out = admin;
  return 0;
}

uint16_t admin_port(const struct admin *admin) {
  return admin->own.port;
}

void admin_close(struct admin *admin) {
  if (admin == NULL || admin->closing)
    return;
  net_listener_close(admin->listener);
  admin->closing = true;
  if (admin->count == 0) {
    free(admin);
    return;
  }
  for (struct client *client = admin->clients, *next; client != NULL; client = next) {
    next = client->next; /* closing is asynchronous: nothing is unlinked now */
    client_close(client);
  }
}
