/* service.c: local services of the tests: one that sends everything back, one that keeps it, one that never reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "address.h"
#include "tls.h"
#include "world.h"

#define KEEP_MAX (8u * 1024u * 1024u)

/* True when everything held has left. */
static bool send_held(struct service_conn *c) {
  while (c->held_size > 0) {
    struct mdm_slice slice = {c->held, c->held_size};
    ssize_t n = net_conn_write(c->conn, &slice, 1);
    if (n <= 0)
      return false;
    memmove(c->held, c->held + n, c->held_size - (size_t)n);
    c->held_size -= (size_t)n;
  }
  return true;
}

static void take(struct service_conn *c, const uint8_t *data, size_t size) {
  if (c->bytes == NULL)
    c->bytes = malloc(KEEP_MAX);
  assert_non_null(c->bytes);
  assert_true(size <= KEEP_MAX - c->size);
  memcpy(c->bytes + c->size, data, size);
  c->size += size;
}

static void step(struct service_conn *c) {
  if (c->service->behaviour == ORIGIN_STALL)
    return;
  while (c->conn != NULL && send_held(c)) {
    ssize_t n = net_conn_read(c->conn, c->held, sizeof c->held);
    if (n == UV_EAGAIN)
      return;
    if (n == UV_EOF) {
      c->ended = true;
      if (c->service->behaviour == ORIGIN_ECHO)
        (void)net_conn_shutdown(c->conn);
      return;
    }
    if (n < 0) {
      c->error = (int)n;
      return;
    }
    if (c->service->behaviour == ORIGIN_ECHO)
      c->held_size = (size_t)n;
    else
      take(c, c->held, (size_t)n);
  }
}

static void on_event(struct net_conn *conn) {
  step(net_conn_owner(conn));
}

static void on_hangup(struct net_conn *conn, int error) {
  struct service_conn *c = net_conn_owner(conn);
  c->error = error;
}

static const struct net_conn_ops conn_ops = {.readable = on_event, .writable = on_event, .hangup = on_hangup};

static void join(struct service *service, int fd) {
  assert_true(service->count < ORIGIN_CONNS_MAX);
  struct service_conn *c = &service->conns[service->count++];
  memset(c, 0, sizeof *c);
  c->service = service;
  assert_int_equal(net_conn_open(&c->conn, &service->world->loop, fd, &conn_ops, c), 0);
  if (service->tls != NULL)
    assert_int_equal(net_tls_push(c->conn, service->tls, &(struct net_tls_options){.server = true}), 0);
}

static void on_accept(struct net_listener *listener, int fd, const struct mdm_address *peer, void *user) {
  (void)listener;
  (void)peer;
  join(user, fd);
}

/* libuv listens on the socket file; each connection is then one of ours. */
static void on_pipe(uv_stream_t *stream, int status) {
  struct service *service = stream->data;
  static uv_pipe_t client;
  uv_os_fd_t fd;
  assert_int_equal(status, 0);
  uv_pipe_init(stream->loop, &client, 0);
  assert_int_equal(uv_accept(stream, (uv_stream_t *)&client), 0);
  assert_int_equal(uv_fileno((uv_handle_t *)&client, &fd), 0);
  join(service, dup(fd));
  uv_close((uv_handle_t *)&client, NULL);
}

void service_open_unix(struct service *service, struct world *world, const char *path) {
  memset(service, 0, sizeof *service);
  service->world = world;
  service->has_pipe = true;
  uv_pipe_init(&world->uv, &service->pipe, 0);
  service->pipe.data = service;
  assert_int_equal(uv_pipe_bind(&service->pipe, path), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&service->pipe, 8, on_pipe), 0);
}

/* "127.0.0.1" or "::1". */
void service_open(struct service *service, struct world *world, const char *address, enum origin_behaviour behaviour,
                  bool tls) {
  struct mdm_address where;
  const struct net_listener_options options = {0};
  char error[256];
  memset(service, 0, sizeof *service);
  service->world = world;
  service->behaviour = behaviour;
  if (tls)
    assert_int_equal(net_tls_link_server(&service->tls, &world->peer.identity, error, sizeof error), 0);
  assert_int_equal(net_address_parse(&where, address, strlen(address)), 0);
  assert_int_equal(net_listener_open(&service->listener, &world->loop, &where, &options, on_accept, service), 0);
  service->port = net_listener_port(service->listener);
}

void service_forget(struct service *service) {
  for (size_t i = 0; i < service->count; i++) {
    if (service->conns[i].conn != NULL)
      net_conn_close(service->conns[i].conn, false);
    service->conns[i].conn = NULL;
    free(service->conns[i].bytes);
    service->conns[i].bytes = NULL;
  }
  service->count = 0;
}

void service_close(struct service *service) {
  if (service->listener != NULL)
    net_listener_close(service->listener);
  service->listener = NULL;
  if (service->has_pipe)
    uv_close((uv_handle_t *)&service->pipe, NULL);
  service->has_pipe = false;
  service_forget(service);
  net_tls_context_unref(service->tls);
  service->tls = NULL;
}
