/* auth_pool.c: owns the connections to one HTTP server.
 *
 * A connection: DIAL -> BUSY (sends, then reads) -> IDLE -> BUSY ... A request that dies on a kept connection before any byte of its answer goes
 * once to a fresh one: the server had closed the old one while it was idle. */
#include "auth_pool.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "address.h"
#include "conn.h"
#include "dial.h"
#include "tls.h"

enum conn_state { CONN_DIAL, CONN_IDLE, CONN_BUSY };

struct auth_pool_conn {
  struct auth_pool_conn *next, **link;
  struct auth_pool *pool;
  enum conn_state state;
  struct net_dial *dial;
  struct net_conn *conn;
  struct auth_request *request;
  struct auth_reply reply;
  size_t sent;
  bool kept; /* it has carried a request before */
  struct net_timer idle;
};

struct auth_pool {
  struct net_loop *loop;
  struct net_endpoint endpoint;
  struct net_tls_context *tls; /* NULL for http */
  char authority[300];
  char path[1024];
  struct auth_pool_conn *conns;
  size_t conns_count, idle_count;
  struct auth_request *queue, **queue_tail;
  size_t queue_count;
  struct net_task work;
};

static void conn_step(struct auth_pool_conn *conn);

/* ---- the queue ---- */
static void queue_remove(struct auth_pool *pool, struct auth_request *request) {
  *request->link = request->next;
  if (request->next != NULL) {
    request->next->link = request->link;
  } else {
    pool->queue_tail = request->link;
  }
  request->link = NULL;
  pool->queue_count--;
}

static void queue_append(struct auth_pool *pool, struct auth_request *request) {
  request->next = NULL;
  request->link = pool->queue_tail;
  *pool->queue_tail = request;
  pool->queue_tail = &request->next;
  pool->queue_count++;
}

static void request_done(struct auth_request *request, int error, const struct auth_reply *reply) {
  request->conn = NULL;
  request->done(request, error, reply);
}

/* ---- connections ---- */
static void conn_free(struct auth_pool_conn *conn) {
  struct auth_pool *pool = conn->pool;
  if (conn->state == CONN_IDLE) {
    pool->idle_count--;
  }
  if (conn->dial != NULL) {
    net_dial_cancel(conn->dial);
  }
  if (conn->conn != NULL) {
    net_conn_close(conn->conn, false);
  }
  net_timer_stop(&pool->loop->wheel, &conn->idle);
  auth_reply_clean(&conn->reply);
  *conn->link = conn->next;
  if (conn->next != NULL) {
    conn->next->link = conn->link;
  }
  pool->conns_count--;
  free(conn);
  net_loop_defer(pool->loop, &pool->work); /* there is room for another */
}

static void conn_failed(struct auth_pool_conn *conn, int error) {
  struct auth_request *request = conn->request;
  struct auth_pool *pool = conn->pool;
  bool again = request != NULL && conn->kept && !conn->reply.began && !request->again;
  conn->request = NULL;
  conn_free(conn);
  if (request == NULL) {
    return;
  }
  request->conn = NULL;
  if (again) {
    request->again = true;
    queue_append(pool, request);
  } else {
    request_done(request, error, NULL);
  }
}

static void conn_expired(struct net_timer *timer) {
  conn_free((struct auth_pool_conn *)(void *)((char *)timer - offsetof(struct auth_pool_conn, idle)));
}

static void conn_take(struct auth_pool_conn *conn, struct auth_request *request) {
  if (conn->state == CONN_IDLE) {
    conn->pool->idle_count--;
    conn->state = CONN_BUSY;
  }
  net_timer_stop(&conn->pool->loop->wheel, &conn->idle);
  conn->request = request;
  conn->sent = 0;
  request->conn = conn;
  auth_reply_clean(&conn->reply);
  auth_reply_init(&conn->reply);
}

/* True when the connection is kept. */
static bool conn_answered(struct auth_pool_conn *conn) {
  struct auth_request *request = conn->request;
  struct auth_pool *pool = conn->pool;
  bool keep = conn->reply.keep && conn->sent == request->size;
  conn->request = NULL;
  conn->kept = true;
  if (keep) {
    conn->state = CONN_IDLE;
    pool->idle_count++;
    net_timer_start(&pool->loop->wheel, &conn->idle, AUTH_POOL_IDLE_MS);
    request_done(request, 0, &conn->reply);
    net_loop_defer(pool->loop, &pool->work);
  } else {
    conn->state = CONN_BUSY;
    request_done(request, 0, &conn->reply); /* the reply goes with the connection */
    conn_free(conn);
  }
  return keep;
}

static int conn_send(struct auth_pool_conn *conn) {
  const struct auth_request *request = conn->request;
  while (conn->sent < request->size) {
    struct mdm_slice slice = {(const uint8_t *)request->bytes + conn->sent, request->size - conn->sent};
    ssize_t n = net_conn_write(conn->conn, &slice, 1);
    if (n <= 0) {
      return (int)n;
    }
    conn->sent += (size_t)n;
  }
  return 0;
}

static void conn_read(struct auth_pool_conn *conn) {
  char *buffer = (char *)conn->pool->loop->scratch;
  for (;;) {
    ssize_t n = net_conn_read(conn->conn, buffer, NET_SCRATCH_SIZE);
    if (n == UV_EAGAIN) {
      return;
    }
    if (conn->request == NULL) { /* idle: closed, or speaks unasked */
      conn_failed(conn, UV_EPROTO);
      return;
    }
    int rc = n > 0 ? auth_reply_feed(&conn->reply, buffer, (size_t)n) : n == UV_EOF && conn->reply.began ? auth_reply_end(&conn->reply) : 0;
    if (rc > 0 && !conn_answered(conn)) {
      return;
    }
    if (rc < 0 || (n < 0 && rc == 0)) {
      conn_failed(conn, rc < 0 ? UV_EPROTO : (int)n);
      return;
    }
  }
}

static void conn_step(struct auth_pool_conn *conn) {
  if (conn->request != NULL) {
    int rc = conn_send(conn);
    if (rc != 0 && rc != UV_EAGAIN) {
      conn_failed(conn, rc);
      return;
    }
  }
  conn_read(conn);
}

static void conn_event(struct net_conn *net) {
  conn_step(net_conn_owner(net));
}

static void conn_hangup(struct net_conn *net, int error) {
  conn_failed(net_conn_owner(net), error == 0 ? UV_EOF : error);
}

static const struct net_conn_ops conn_ops = {.readable = conn_event, .writable = conn_event, .hangup = conn_hangup};

static void conn_dialled(struct net_dial *dial, struct net_conn *net, int error, const char *reason, void *user) {
  struct auth_pool_conn *conn = user;
  struct auth_pool *pool = conn->pool;
  (void)dial;
  (void)reason;
  conn->dial = NULL;
  if (error != 0) {
    conn_failed(conn, error);
    return;
  }
  conn->conn = net;
  conn->state = CONN_BUSY;
  net_conn_set_owner(net, &conn_ops, conn);
  if (pool->tls != NULL) {
    struct net_tls_options options = {.server_name = pool->endpoint.host};
    int rc = net_tls_push(net, pool->tls, &options);
    if (rc != 0) {
      conn_failed(conn, rc);
      return;
    }
  }
  net_conn_resume(net);
  conn_step(conn);
}

/* ---- the pool ---- */
static int conn_new(struct auth_pool *pool, struct auth_request *request) {
  struct auth_pool_conn *conn = calloc(1, sizeof *conn);
  struct net_dial_request dial = {.endpoint = pool->endpoint};
  if (conn == NULL) {
    return UV_ENOMEM;
  }
  conn->pool = pool;
  conn->idle.fire = conn_expired;
  conn->next = pool->conns;
  conn->link = &pool->conns;
  if (conn->next != NULL) {
    conn->next->link = &conn->next;
  }
  pool->conns = conn;
  pool->conns_count++;
  conn_take(conn, request);
  int rc = net_dial_start(&conn->dial, pool->loop, &dial, conn_dialled, conn);
  if (rc != 0) {
    conn->dial = NULL;
    conn->request = NULL;
    conn_free(conn);
  }
  return rc;
}

static struct auth_pool_conn *pool_idle(struct auth_pool *pool, bool fresh) {
  struct auth_pool_conn *conn = fresh || pool->idle_count == 0 ? NULL : pool->conns;
  while (conn != NULL && conn->state != CONN_IDLE) {
    conn = conn->next;
  }
  return conn;
}

static void pool_work(struct net_task *task) {
  struct auth_pool *pool = (struct auth_pool *)(void *)((char *)task - offsetof(struct auth_pool, work));
  while (pool->queue != NULL) {
    struct auth_request *request = pool->queue;
    struct auth_pool_conn *conn = pool_idle(pool, request->again);
    if (conn == NULL && pool->conns_count >= AUTH_POOL_CONNECTIONS) {
      conn = pool_idle(pool, false);
      if (!request->again || conn == NULL) {
        return;
      }
      conn_free(conn); /* in favour of a fresh one */
      conn = NULL;
    }
    queue_remove(pool, request);
    if (conn != NULL) {
      conn_take(conn, request);
      conn_step(conn);
    } else {
      int rc = conn_new(pool, request);
      if (rc != 0) {
        request_done(request, rc, NULL);
      }
    }
  }
}

int auth_pool_submit(struct auth_pool *pool, struct auth_request *request) {
  if (pool->queue_count >= AUTH_POOL_QUEUE) {
    return UV_EBUSY;
  }
  request->conn = NULL;
  request->again = false;
  queue_append(pool, request);
  net_loop_defer(pool->loop, &pool->work);
  return 0;
}

void auth_pool_cancel(struct auth_pool *pool, struct auth_request *request) {
  if (request->link != NULL) {
    queue_remove(pool, request);
  } else if (request->conn != NULL) {
    request->conn->request = NULL;
    conn_free(request->conn);
    request->conn = NULL;
  }
}

const char *auth_pool_authority(const struct auth_pool *pool) {
  return pool->authority;
}

const char *auth_pool_path(const struct auth_pool *pool) {
  return pool->path;
}

void auth_pool_close(struct auth_pool *pool) {
  assert(pool->queue == NULL);
  while (pool->conns != NULL) {
    conn_free(pool->conns);
  }
  net_task_cancel(&pool->work);
  if (pool->tls != NULL) {
    net_tls_context_unref(pool->tls);
  }
  free(pool);
}

static bool url_text_valid(const char *url) {
  for (const char *p = url; *p != '\0'; p++) {
    if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f) {
      return false;
    }
  }
  return true;
}

static int url_parse(struct auth_pool *pool, const char *url, bool *tls) {
  const char *rest = url, *host = NULL;
  size_t host_size = 0;
  uint16_t port = 0;
  *tls = strncasecmp(url, "https://", 8) == 0;
  if (!*tls && strncasecmp(url, "http://", 7) != 0) {
    return -1;
  }
  rest += *tls ? 8 : 7;
  size_t authority = strcspn(rest, "/?#");
  if (!url_text_valid(url) || authority == 0 || authority >= sizeof pool->authority || memchr(rest, '@', authority) != NULL || strchr(rest, '#') != NULL ||
      net_host_port_split(rest, authority, &host, &host_size, &port) != 0 || host_size == 0 || host_size >= sizeof pool->endpoint.host) {
    return -1;
  }
  memcpy(pool->authority, rest, authority);
  memcpy(pool->endpoint.host, host, host_size);
  pool->endpoint.port = port != 0 ? port : *tls ? 443 : 80;
  pool->endpoint.carrier = NET_CARRIER_NONE;
  const char *path = rest + authority;
  int size = snprintf(pool->path, sizeof pool->path, "%s%s", *path == '/' ? "" : "/", path);
  return size > 0 && (size_t)size < sizeof pool->path ? 0 : -1;
}

int auth_pool_open(struct auth_pool **out, struct net_loop *loop, const char *url, char *error, size_t error_size) {
  struct auth_pool *pool = calloc(1, sizeof *pool);
  bool tls = false;
  *out = NULL;
  if (pool == NULL) {
    snprintf(error, error_size, "out of memory");
    return -1;
  }
  pool->loop = loop;
  pool->queue_tail = &pool->queue;
  pool->work.run = pool_work;
  if (url_parse(pool, url, &tls) != 0) {
    snprintf(error, error_size, "\"%s\" must be http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]", url);
    free(pool);
    return -1;
  }
  if (tls && net_tls_web_client(&pool->tls, true, NULL, error, error_size) != 0) {
    free(pool);
    return -1;
  }
  *out = pool;
  return 0;
}
