/* conn_private.h: the connection as conn.c (layers, events) and conn_socket.c (descriptor, watcher) see it. */
#ifndef NET_CONN_PRIVATE_H
#define NET_CONN_PRIVATE_H

#include "conn.h"

/* Bytes handed back by net_conn_unread(), below everything that was pushed after them. */
struct conn_unread {
  struct conn_unread *next;
  const struct net_layer *height; /* the layer that they were read from; NULL = the socket */
  size_t size, taken;
  uint8_t data[];
};

struct net_conn {
  uv_poll_t poll;
  struct net_loop *loop;
  const struct net_conn_ops *ops;
  void *owner;
  void (*gone)(void *arg); /* set_watcher */
  void *gone_arg;
  struct net_layer *top;
  struct conn_unread *unread;
  struct net_task task;
  struct mdm_address peer, local;
  int fd;
  int error;             /* sticky: the kernel tells it once, we tell it for ever */
  uint8_t watched;       /* UV_READABLE... as libuv watches them now */
  uint8_t unread_events; /* READABLE events since the last recv() */

  bool peer_known : 1, local_known : 1;
  bool paused : 1;
  bool drained : 1;      /* the last recv() left nothing behind; no event since */
  bool full : 1;         /* the last send() left something behind; no event since */
  bool read_dropped : 1; /* READABLE is not watched because nobody reads */
  bool fin_told : 1;     /* hangup(0) was called */
  bool error_told : 1;   /* hangup(error) was called */
  bool eof_read : 1;     /* recv() answered 0 */
  bool fin_sent : 1;
  bool dead : 1; /* watching makes no sense any more */
  bool handshaking : 1;
  bool shutting : 1;
  bool wants_write : 1; /* the owner was told UV_EAGAIN */
  bool wake_readable : 1, wake_writable : 1;
  bool closing : 1;
};

/* ---- conn_socket.c ---- */
int conn_socket_open(struct net_conn *conn);
void conn_socket_leave(
    struct net_conn *conn); /* the loop forgets the descriptor, which stays open; then conn_on_closed() */
void conn_socket_close(struct net_conn *conn, bool reset); /* then conn_on_closed() */
ssize_t conn_socket_read(struct net_conn *conn, void *buffer, size_t capacity);
ssize_t conn_socket_write(struct net_conn *conn, const struct mdm_slice *slices, size_t count);
void conn_socket_resume(struct net_conn *conn); /* it is read again */
int conn_socket_shutdown(struct net_conn *conn);

/* ---- conn.c, called by the socket ---- */
void conn_on_readable(struct net_conn *conn);
void conn_on_writable(struct net_conn *conn);
void conn_on_hangup(struct net_conn *conn, int error);
void conn_on_closed(struct net_conn *conn);
void conn_on_task(struct net_task *task);
/* ---- conn.c ---- */
void conn_wake(struct net_conn *conn, bool readable, bool writable);
void conn_free(struct net_conn *conn);                         /* with layers and unread bytes */
static inline bool conn_listens(const struct net_conn *conn) { /* a handshake reads even if its owner pauses */
  return !conn->paused || conn->handshaking;
}

#endif
