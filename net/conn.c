/* conn.c: a connection's layers, its events and its end. The descriptor below them is conn_socket.c. */
#include "conn.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "conn_private.h"
#include "platform.h"

#define UNREAD_MAX 65536u

/* ---- reading and writing through the layers ---- */
static struct conn_unread **unread_at(struct net_conn *conn, const struct net_layer *height) {
  struct conn_unread **link = &conn->unread;
  while (*link && (*link)->height != height) {
    link = &(*link)->next;
  }
  return link;
}

static ssize_t conn_read_at(struct net_conn *conn, struct net_layer *height, void *buffer, size_t capacity) {
  if (conn->unread) {
    struct conn_unread **link = unread_at(conn, height);
    struct conn_unread *unread = *link;
    if (unread) {
      const size_t left = unread->size - unread->taken;
      const size_t n = left < capacity ? left : capacity;
      memcpy(buffer, unread->data + unread->taken, n);
      unread->taken += n;
      if (unread->taken == unread->size) {
        *link = unread->next;
        free(unread);
      }
      return (ssize_t)n;
    }
  }
  return height ? height->ops->read(height, buffer, capacity) : conn_socket_read(conn, buffer, capacity);
}

static ssize_t conn_write_at(struct net_conn *conn, struct net_layer *height, const struct mdm_slice *slices,
                             size_t count) {
  return height ? height->ops->write(height, slices, count) : conn_socket_write(conn, slices, count);
}

ssize_t net_layer_read(struct net_layer *layer, void *buffer, size_t capacity) {
  return conn_read_at(layer->conn, layer->below, buffer, capacity);
}

ssize_t net_layer_write(struct net_layer *layer, const struct mdm_slice *slices, size_t count) {
  return conn_write_at(layer->conn, layer->below, slices, count);
}

ssize_t net_conn_read(struct net_conn *conn, void *buffer, size_t capacity) {
  assert(capacity > 0);
  if (conn->closing) {
    return UV_ECANCELED;
  }
  return conn_read_at(conn, conn->top, buffer, capacity);
}

ssize_t net_conn_write(struct net_conn *conn, const struct mdm_slice *slices, size_t count) {
  if (conn->closing) {
    return UV_ECANCELED;
  }
  if (conn->shutting) {
    return UV_EPIPE;
  }
  const ssize_t n = conn_write_at(conn, conn->top, slices, count);
  if (n == UV_EAGAIN) {
    conn->wants_write = true;
  }
  return n;
}

static bool conn_pending(const struct net_conn *conn) {
  if (conn->unread) {
    return true;
  }
  for (const struct net_layer *layer = conn->top; layer; layer = layer->below) {
    if (layer->ops->pending && layer->ops->pending(layer)) {
      return true;
    }
  }
  return false;
}

bool net_conn_flushed(const struct net_conn *conn) {
  for (const struct net_layer *layer = conn->top; layer; layer = layer->below) {
    if (layer->ops->holding && layer->ops->holding(layer)) {
      return false;
    }
  }
  return true;
}

/* From the socket upwards, so that each layer finds room in the one below. */
static int conn_flush(struct net_layer *layer) {
  if (!layer) {
    return 0;
  }
  const int error = conn_flush(layer->below);
  return error || !layer->ops->flush ? error : layer->ops->flush(layer);
}

/* From the socket upwards. A layer may have spoken before the one below was ready for it: that goes first. */
static int conn_handshake(struct net_layer *layer) {
  if (!layer) {
    return 0;
  }
  int error = conn_handshake(layer->below);
  if (!error && layer->ops->flush) {
    error = layer->ops->flush(layer);
    if (error == UV_EAGAIN) {
      error = 0; /* reading may go on meanwhile */
    }
  }
  return error || !layer->ops->handshake ? error : layer->ops->handshake(layer);
}

/* ---- events ---- */
static void deliver_writable(struct net_conn *conn) {
  conn->wants_write = false;
  conn->wake_writable = false;
  if (!conn->closing && conn->ops->writable) {
    conn->ops->writable(conn);
  }
}

static void deliver_readable(struct net_conn *conn) {
  if (conn->closing || conn->paused) {
    return;
  }
  conn->wake_readable = false;
  if (conn->ops->readable) {
    conn->ops->readable(conn);
  }
}

void conn_on_hangup(struct net_conn *conn, int error) {
  if (conn->closing || conn->error_told) {
    return;
  }
  conn->error_told = error != 0;
  if (conn->ops->hangup) {
    conn->ops->hangup(conn, error);
  }
}

/* One more step of the handshakes. When they are over, well or badly, the owner is called both ways. */
static void conn_drive(struct net_conn *conn) {
  const int error = conn_handshake(conn->top);
  if (error == UV_EAGAIN || conn->closing) {
    return;
  }
  conn->handshaking = false;
  deliver_writable(conn);
  if (error && conn->paused) {
    conn_on_hangup(conn, error);
  } else if (conn->paused) {
    conn->wake_readable = true; /* for resume */
  } else {
    deliver_readable(conn);
  }
}

/* Goodbyes from the top down, then FIN. What stops at a full socket goes on when it has room. */
static int conn_shut_step(struct net_conn *conn) {
  for (struct net_layer *layer = conn->top; layer; layer = layer->below) {
    if (layer->ops->shutdown) {
      const int error = layer->ops->shutdown(layer);
      if (error) {
        return error;
      }
    }
  }
  return net_conn_flushed(conn) ? conn_socket_shutdown(conn) : UV_EAGAIN;
}

static void conn_continue_shutdown(struct net_conn *conn) {
  if (conn->shutting && !conn->fin_sent && !conn->closing) {
    const int error = conn_shut_step(conn);
    if (error && error != UV_EAGAIN) {
      conn_socket_shutdown(conn); /* the layer cannot say goodbye any more; its reader will see that it is cut */
    }
  }
}

void conn_on_readable(struct net_conn *conn) {
  if (conn->handshaking) {
    conn_drive(conn);
  } else {
    deliver_readable(conn);
  }
}

void conn_on_writable(struct net_conn *conn) {
  const int error = conn_flush(conn->top);
  if (error == UV_EAGAIN) {
    return;
  }
  if (conn->handshaking) {
    conn_drive(conn);
    return;
  }
  conn_continue_shutdown(conn);
  if (conn->wants_write) {
    deliver_writable(conn);
  }
}

void conn_on_task(struct net_task *task) {
  struct net_conn *conn = (struct net_conn *)(void *)((char *)task - offsetof(struct net_conn, task));
  if (conn->handshaking) {
    conn_drive(conn);
    return;
  }
  (void)conn_flush(conn->top); /* a layer below may have found room; an error is told by the next write */
  conn_continue_shutdown(conn);
  if (conn->wake_writable) {
    deliver_writable(conn);
  }
  if (conn->wake_readable) {
    deliver_readable(conn);
  }
}

void conn_wake(struct net_conn *conn, bool readable, bool writable) {
  conn->wake_readable |= readable;
  conn->wake_writable |= writable;
  if (!conn->closing) {
    net_loop_defer(conn->loop, &conn->task);
  }
}

void net_layer_wake(struct net_layer *layer, bool readable, bool writable) {
  conn_wake(layer->conn, readable, writable);
}

void net_conn_pause(struct net_conn *conn) {
  conn->paused = true;
}

/* There is something to read of which the socket will not speak by itself. While READABLE is watched it does. */
static bool conn_is_silent(const struct net_conn *conn) {
  return conn->read_dropped || conn->dead || conn->error || conn_pending(conn);
}

void net_conn_resume(struct net_conn *conn) {
  if (!conn->paused) {
    return;
  }
  conn->paused = false;
  conn_socket_resume(conn);
  if (conn->wake_readable || conn_is_silent(conn)) {
    conn_wake(conn, true, false);
  }
}

bool net_conn_paused(const struct net_conn *conn) {
  return conn->paused;
}

/* ---- layers ---- */
void net_conn_push(struct net_conn *conn, struct net_layer *layer) {
  layer->conn = conn;
  layer->below = conn->top;
  conn->top = layer;
  if (layer->ops->handshake) {
    conn->handshaking = true;
    conn_wake(conn, false, false);
  }
}

struct net_layer *net_conn_top(const struct net_conn *conn) {
  return conn->top;
}

struct net_layer *net_conn_layer(const struct net_conn *conn, const struct net_layer_ops *ops) {
  struct net_layer *layer = conn->top;
  while (layer && layer->ops != ops) {
    layer = layer->below;
  }
  return layer;
}

int net_conn_unread(struct net_conn *conn, const void *data, size_t size) {
  struct conn_unread **link = unread_at(conn, conn->top);
  struct conn_unread *old = *link;
  const size_t old_size = old ? old->size - old->taken : 0;
  if (size == 0) {
    return 0;
  }
  if (size > UNREAD_MAX || old_size > UNREAD_MAX - size) {
    return UV_ENOBUFS;
  }
  struct conn_unread *unread = malloc(sizeof *unread + size + old_size);
  if (!unread) {
    return UV_ENOMEM;
  }
  *unread = (struct conn_unread){.height = conn->top, .size = size + old_size};
  memcpy(unread->data, data, size);
  if (old) {
    memcpy(unread->data + size, old->data + old->taken, old_size);
    unread->next = old->next;
    free(old);
  }
  *link = unread;
  conn_wake(conn, true, false);
  return 0;
}

/* ---- life ---- */
int net_conn_open(struct net_conn **out, struct net_loop *loop, int fd, const struct net_conn_ops *ops, void *owner) {
  int error = UV_ENOMEM;
  struct net_conn *conn = calloc(1, sizeof *conn);
  if (!conn) {
    goto failed;
  }
  conn->loop = loop;
  conn->fd = fd;
  conn->ops = ops;
  conn->owner = owner;
  conn->task.run = conn_on_task;
  error = conn_socket_open(conn);
  if (error) {
    goto failed;
  }
  *out = conn;
  return 0;

failed:
  free(conn);
  platform_socket_close(fd, false);
  return error;
}

void net_conn_set_watcher(struct net_conn *conn, void (*gone)(void *arg), void *arg) {
  conn->gone = gone;
  conn->gone_arg = arg;
}

int net_conn_shutdown(struct net_conn *conn) {
  if (conn->closing) {
    return UV_ECANCELED;
  }
  if (conn->shutting) {
    return 0;
  }
  conn->shutting = true;
  const int error = conn_shut_step(conn);
  return error == UV_EAGAIN ? 0 : error;
}

void net_conn_close(struct net_conn *conn, bool reset) {
  if (!conn || conn->closing) {
    return;
  }
  conn->closing = true;
  net_task_cancel(&conn->task);
  conn_socket_close(conn, reset);
}

void conn_on_closed(struct net_conn *conn) {
  if (conn->ops->closed) {
    conn->ops->closed(conn);
  }
  conn_free(conn);
}

void conn_free(struct net_conn *conn) {
  for (struct net_layer *layer = conn->top; layer;) {
    struct net_layer *below = layer->below;
    layer->ops->free(layer);
    layer = below;
  }
  for (struct conn_unread *unread = conn->unread; unread;) {
    struct conn_unread *next = unread->next;
    free(unread);
    unread = next;
  }
  if (conn->gone) {
    conn->gone(conn->gone_arg);
  }
  free(conn);
}

/* ---- facts ---- */
void net_conn_set_owner(struct net_conn *conn, const struct net_conn_ops *ops, void *owner) {
  conn->ops = ops;
  conn->owner = owner;
  conn_socket_resume(conn);
  if (conn_is_silent(conn)) {
    conn_wake(conn, true, false);
  }
}

void *net_conn_owner(const struct net_conn *conn) {
  return conn->owner;
}

struct net_loop *net_conn_loop(const struct net_conn *conn) {
  return conn->loop;
}

int net_conn_fd(const struct net_conn *conn) {
  return conn->fd;
}

/* Every connection was made by net_conn_open(), so its memory is not const; remembering an answer changes nothing
 * outside. */
const struct mdm_address *net_conn_peer(const struct net_conn *conn) {
  struct net_conn *memory = (struct net_conn *)(uintptr_t)conn;
  if (!conn->peer_known) {
    memory->peer_known = platform_socket_names(conn->fd, NULL, &memory->peer) == 0;
  }
  return &conn->peer;
}

const struct mdm_address *net_conn_local(const struct net_conn *conn) {
  struct net_conn *memory = (struct net_conn *)(uintptr_t)conn;
  if (!conn->local_known) {
    memory->local_known = platform_socket_names(conn->fd, &memory->local, NULL) == 0;
  }
  return &conn->local;
}

void net_conn_set_peer(struct net_conn *conn, const struct mdm_address *peer) {
  conn->peer = *peer;
  conn->peer_known = true;
}

void net_conn_set_notsent_lowat(struct net_conn *conn, unsigned bytes) {
  platform_socket_notsent_lowat(conn->fd, bytes);
}
