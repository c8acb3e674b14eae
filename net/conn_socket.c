/* conn_socket.c: the bottom of a connection: its descriptor, and what libuv watches of it.
 *
 * A change of the watched events costs two epoll_ctl() calls (libuv removes and adds), so the mask is changed as late
 * as possible:
 *
 *   READABLE     stays while the reader drains; after IGNORED_MAX events in a row that nobody read it is dropped, until
 *                a read answers UV_EAGAIN again.
 *
 *   WRITABLE     is added when a send() leaves something behind and dropped when it fires without anybody waiting.
 *
 *   DISCONNECT   is there from the start and until the FIN has been seen.
 *
 *   PRIORITIZED  stands alone for "only errors": after the FIN there is nothing to wait for but a reset, which epoll
 *                reports under any mask, but not under none.
 *
 * In steady request and response the mask never changes. */
#include <assert.h>

#include "conn_private.h"
#include "platform.h"

#define IGNORED_MAX 4u /* a pause of a few iterations is shorter than the two system calls that end the watching */

static void socket_on_poll(uv_poll_t *poll, int status, int events);

static uint8_t socket_wanted(const struct net_conn *conn) {
  uint8_t wanted = 0;
  if (conn->dead || conn->error) {
    return 0;
  }
  if (!conn->eof_read && !conn->read_dropped) {
    wanted |= UV_READABLE;
  }
  if (!conn->eof_read && !conn->fin_told) {
    wanted |= UV_DISCONNECT;
  }
  if (conn->full) {
    wanted |= UV_WRITABLE;
  }
  if (wanted == 0 && !(conn->fin_sent && (conn->eof_read || conn->fin_told))) {
    wanted = UV_PRIORITIZED;
  }
  return wanted;
}

static void socket_watch(struct net_conn *conn, uint8_t events) {
  if (events == conn->watched) {
    return;
  }
  const int error = uv_poll_start(&conn->poll, events, socket_on_poll); /* 0 events stop it */
  assert(error == 0); /* it fails only when another watcher has the same descriptor */
  (void)error;
  conn->watched = events;
}

/* Adds what is missing; what is too much goes when it fires. */
static void socket_watch_more(struct net_conn *conn) {
  const uint8_t wanted = socket_wanted(conn);
  if ((wanted & ~conn->watched) != 0) {
    socket_watch(conn, wanted);
  }
}

static void socket_fail(struct net_conn *conn, int error) {
  if (!conn->error) {
    conn->error = error ? error : UV_ECONNRESET;
  }
}

/* The kernel reports an error or a full hang-up; libuv may have stopped watching already. */
static void socket_on_error(struct net_conn *conn) {
  const int error = platform_socket_error(conn->fd);
  if (error || conn->error) {
    socket_fail(conn, error);
  } else if (conn->watched == 0) {
    socket_fail(conn, UV_ECONNRESET);
  }
  conn->dead = true;
  socket_watch(conn, 0);
  conn->drained = false;
  conn->full = false;
  if (!conn->error) {
    return;
  }
  const bool reader_listens = conn_listens(conn) && !conn->eof_read;
  conn_on_writable(conn);
  if (conn->closing) {
    return;
  }
  if (reader_listens) {
    conn_on_readable(conn);
  } else {
    conn_on_hangup(conn, conn->error);
  }
}

void conn_socket_resume(struct net_conn *conn) {
  conn->unread_events = 0; /* the events of the pause were not for this reader */
}

static void socket_on_readable(struct net_conn *conn) {
  conn->drained = false;
  if (conn->unread_events >= IGNORED_MAX) {
    conn->read_dropped = true;
    return;
  }
  conn->unread_events++;
  if (conn_listens(conn)) {
    conn_on_readable(conn);
  }
}

static void socket_on_poll(uv_poll_t *poll, int status, int events) {
  struct net_conn *conn = poll->data;
  const bool waited_for_room = conn->full;
  if (status < 0) {
    conn->watched = 0;
    socket_on_error(conn);
    return;
  }
  if (events & UV_PRIORITIZED) {
    socket_on_error(conn);
    return;
  }
  if (events & UV_WRITABLE) {
    conn->full = false;
    if (waited_for_room) {
      conn_on_writable(conn);
    }
  }
  if ((events & UV_READABLE) && !conn->closing) {
    socket_on_readable(conn);
  }
  if ((events & UV_DISCONNECT) && !conn->closing && !conn->eof_read && !conn->fin_told &&
      (!conn_listens(conn) || conn->read_dropped)) {
    conn->read_dropped = true; /* everything is in the kernel's buffer already: no event is needed to read it */
    conn->fin_told = true;
    conn->drained = false; /* the FIN itself is still to be read */
    conn_on_hangup(conn, 0);
  }
  if (conn->closing) {
    return;
  }
  /* What fired though it was not wanted would fire again at once; WRITABLE stays while its waiter fills the socket each
   * time. */
  const uint8_t wanted = socket_wanted(conn);
  const uint8_t keep = waited_for_room ? UV_WRITABLE : 0;
  if (((uint8_t)events & ~wanted & ~keep) != 0) {
    socket_watch(conn, wanted);
  }
}

int conn_socket_open(struct net_conn *conn) {
  const int error = uv_poll_init(conn->loop->uv, &conn->poll, conn->fd);
  if (error) {
    return error;
  }
  conn->poll.data = conn;
  platform_socket_nodelay(conn->fd);
  socket_watch(conn, socket_wanted(conn));
  return 0;
}

static void socket_on_closed(uv_handle_t *handle) {
  conn_on_closed(handle->data);
}

void conn_socket_leave(struct net_conn *conn) {
  uv_close((uv_handle_t *)&conn->poll, socket_on_closed); /* leaves epoll here and now */
  conn->fd = -1;
}

void conn_socket_close(struct net_conn *conn, bool reset) {
  const int fd = conn->fd;
  conn_socket_leave(conn);
  platform_socket_close(fd, reset);
}

ssize_t conn_socket_read(struct net_conn *conn, void *buffer, size_t capacity) {
  if (conn->drained) {
    return UV_EAGAIN;
  }
  if (conn->eof_read) {
    return conn->error ? conn->error : UV_EOF;
  }
  conn->unread_events = 0;
  const ssize_t n = platform_socket_recv(conn->fd, buffer, capacity);
  if (n == 0 && !conn->error) {
    conn->eof_read = true;
    return UV_EOF;
  }
  if (n > 0 && (size_t)n == capacity) {
    return n;
  }
  if (n > 0 || n == UV_EAGAIN) {
    if (conn->error) {
      return n > 0 ? n : conn->error;
    }
    if (n > 0 && conn->fin_told) {
      return n; /* the FIN is next in the queue */
    }
    /* Nothing is left. What comes now raises the level-triggered event, the FIN too. */
    conn->drained = true;
    conn->read_dropped = false;
    socket_watch_more(conn);
    return n;
  }
  socket_fail(conn, n == 0 ? conn->error : (int)n);
  return conn->error;
}

ssize_t conn_socket_write(struct net_conn *conn, const struct mdm_slice *slices, size_t count) {
  if (conn->error) {
    return conn->error;
  }
  if (conn->full) {
    return UV_EAGAIN;
  }
  size_t total = 0;
  for (size_t i = 0; i < count && i < 64; i++) {
    total += slices[i].size;
  }
  if (total == 0) {
    return 0;
  }
  const ssize_t n = platform_socket_send(conn->fd, slices, count);
  if (n < 0 && n != UV_EAGAIN) {
    socket_fail(conn, (int)n);
    return n;
  }
  if (n == UV_EAGAIN || (size_t)n < total) {
    conn->full = true;
    socket_watch_more(conn);
  }
  return n;
}

int conn_socket_shutdown(struct net_conn *conn) {
  if (conn->fin_sent) {
    return 0;
  }
  conn->fin_sent = true;
  const int error = platform_socket_shutdown(conn->fd);
  return error == UV_ENOTCONN && conn->error ? conn->error : error;
}
