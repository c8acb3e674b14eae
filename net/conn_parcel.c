/* conn_parcel.c: a connection on its way from one loop to another: the descriptor, the layers, the bytes read too far.
 */
#include <stdlib.h>

#include "conn_private.h"
#include "platform.h"

struct net_parcel {
  struct net_conn conn; /* without a loop */
};

static const struct net_conn_ops nobody_ops = {.readable = NULL};

static int parcel_leave(struct net_conn *conn) {
  for (struct net_layer *layer = conn->top; layer; layer = layer->below) {
    const int error = layer->ops->leave && layer->ops->arrive ? layer->ops->leave(layer) : UV_ENOTSUP;
    if (error) {
      return error;
    }
  }
  return 0;
}

int net_conn_detach(struct net_conn *conn, struct net_parcel **out) {
  if (conn->closing || conn->handshaking) {
    return conn->closing ? UV_ECANCELED : UV_EBUSY;
  }
  struct net_parcel *parcel = calloc(1, sizeof *parcel);
  if (!parcel) {
    return UV_ENOMEM;
  }
  const int error = parcel_leave(conn);
  if (error) {
    free(parcel);
    return error;
  }
  parcel->conn = (struct net_conn){
      .ops = &nobody_ops,
      .top = conn->top,
      .unread = conn->unread,
      .task = {.run = conn_on_task},
      .peer = conn->peer,
      .local = conn->local,
      .fd = conn->fd,
      .error = conn->error,
      .peer_known = conn->peer_known,
      .local_known = conn->local_known,
      .fin_told = conn->fin_told,
      .error_told = conn->error_told,
      .eof_read = conn->eof_read,
      .fin_sent = conn->fin_sent,
      .shutting = conn->shutting,
  };
  for (struct net_layer *layer = conn->top; layer; layer = layer->below) {
    layer->conn = &parcel->conn;
  }
  /* What stays is the shell of the old watcher, until libuv has closed it. */
  conn->top = NULL;
  conn->unread = NULL;
  conn->ops = &nobody_ops;
  conn->closing = true;
  net_task_cancel(&conn->task);
  conn_socket_leave(conn);
  *out = parcel;
  return 0;
}

void net_parcel_free(struct net_parcel *parcel) {
  if (parcel) {
    platform_socket_close(parcel->conn.fd, false);
    conn_free(&parcel->conn);
  }
}

int net_conn_attach(struct net_conn **out, struct net_loop *loop, struct net_parcel *parcel,
                    const struct net_conn_ops *ops, void *owner) {
  struct net_conn *conn = &parcel->conn;
  int error = 0;
  conn->loop = loop;
  for (struct net_layer *layer = conn->top; layer && !error; layer = layer->below) {
    error = layer->ops->arrive(layer);
  }
  if (!error) {
    error = conn_socket_open(conn);
  }
  if (error) {
    conn->loop = NULL;
    net_parcel_free(parcel);
    return error;
  }
  conn->ops = ops;
  conn->owner = owner;
  conn_wake(conn, true, true);
  *out = conn;
  return 0;
}
