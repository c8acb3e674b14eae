/* conn.h: one duplex byte connection: a non-blocking socket with filter layers above it (TLS, HTTP CONNECT, WebSocket).
 *
 *      owner (visitor, link, origin)
 *        | net_conn_read / net_conn_write           ^ events
 *      [ layer: TLS of the link      ]
 *      [ layer: WebSocket            ]              each layer: net_layer_ops over the one below
 *      [ layer: TLS of the web port  ]
 *      [ layer: HTTP CONNECT         ]
 *      [ socket: fd + uv_poll        ]
 *
 * All calls are synchronous and never block. Bytes or UV_ codes come back: UV_EAGAIN = later (an event will say when),
 * UV_EOF = the peer finished cleanly (FIN; with TLS: close_notify), anything else = broken (and stays so).
 *
 * Events. After a read or write answered UV_EAGAIN, ops->readable / ops->writable is called once it can go on. A reader that stops
 * before UV_EAGAIN calls net_conn_pause(): no readable event until net_conn_resume(), which brings one (deferred) if anything
 * is left, also inside a layer. A paused socket still notices that the peer has gone: ops->hangup.
 * A short read says nothing: read until UV_EAGAIN (which costs no system call after a short read of the socket), or pause.
 * A socket that is not drained does not spin: the watcher is dropped until a read answers UV_EAGAIN again.
 *
 * Lifetime: heap; net_conn_close() is asynchronous, idempotent, calls no more events but `closed`, after which the memory is gone.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "loop.h"
#include "mdm/mux.h"

struct net_conn;
struct net_layer;

struct net_conn_ops {
  void (*readable)(struct net_conn *conn);
  void (*writable)(struct net_conn *conn);
  /* The peer closed (half or whole) while nobody reads (`error` 0, at most once; bytes before the FIN may still wait), or reset
   * the connection while paused or after UV_EOF was read (a UV_ code, at most once, then last). NULL = ignored. */
  void (*hangup)(struct net_conn *conn, int error);
  void (*closed)(struct net_conn *conn); /* last; may be NULL */
};

/* Takes a connected or connecting non-blocking stream socket (TCP_NODELAY is set here for TCP). On error the fd is closed. */
int net_conn_open(struct net_conn **out, struct net_loop *loop, int fd, const struct net_conn_ops *ops, void *owner);
void net_conn_set_owner(struct net_conn *conn, const struct net_conn_ops *ops, void *owner); /* changes hands; what waits is told anew */
void *net_conn_owner(const struct net_conn *conn);
struct net_loop *net_conn_loop(const struct net_conn *conn);

ssize_t net_conn_read(struct net_conn *conn, void *buffer, size_t capacity);
/* Takes a prefix of the slices; > 0 bytes taken, or UV_EAGAIN, or an error. What was taken leaves without further calls: a layer that
 * keeps a remainder (of one call's records, at most 85 KiB) flushes it itself when the socket has room, and
 * answers UV_EAGAIN until then. */
ssize_t net_conn_write(struct net_conn *conn, const struct mdm_slice *slices, size_t count);
bool net_conn_flushed(const struct net_conn *conn); /* no layer holds bytes */
void net_conn_pause(struct net_conn *conn);
void net_conn_resume(struct net_conn *conn);
bool net_conn_paused(const struct net_conn *conn);
/* Ends our half after what was taken has left: close_notify of each TLS layer, WebSocket close, then FIN. Reading goes on. */
int net_conn_shutdown(struct net_conn *conn);
/* Closes now; what a layer still holds is lost (shut down first, or wait for net_conn_flushed). `reset`: with RST, so that the peer sees a visible transport error. */
void net_conn_close(struct net_conn *conn, bool reset);

/* Tells a third party (who counts connections), whoever owns it by then, that the connection's memory is going. One a connection; NULL takes it away. */
void net_conn_set_watcher(struct net_conn *conn, void (*gone)(void *arg), void *arg);

/* Bytes that were read too far (a PROXY header, a request head) come first out of the next read at this height: a layer that is
 * pushed afterwards reads them. Copied; at most 64 KiB. Brings a readable event. */
int net_conn_unread(struct net_conn *conn, const void *data, size_t size);

/* Handing over to another loop, with the state of the layers and what was read too far. On success `conn` is dead at once, without any
 * event; the parcel belongs to the caller and may cross threads. UV_EBUSY during a handshake, UV_ENOTSUP with a layer that cannot
 * travel, UV_ENOMEM: then nothing has changed. */
struct net_parcel;
int net_conn_detach(struct net_conn *conn, struct net_parcel **out);
/* On the thread of the new loop; takes the parcel, also on error. Not paused; both ops->writable and ops->readable follow. */
int net_conn_attach(struct net_conn **out, struct net_loop *loop, struct net_parcel *parcel, const struct net_conn_ops *ops,
                    void *owner);
void net_parcel_free(struct net_parcel *parcel); /* of one that nobody wants: closes it */

int net_conn_fd(const struct net_conn *conn);
/* Of the socket, or as PROXY said. Asked from the system at the first call: who got it from accept() saves that by set_peer. */
const struct mdm_address *net_conn_peer(const struct net_conn *conn);
const struct mdm_address *net_conn_local(const struct net_conn *conn);
void net_conn_set_peer(struct net_conn *conn, const struct mdm_address *peer);
void net_conn_set_notsent_lowat(struct net_conn *conn, unsigned bytes);

/* ---- layers ---- */
struct net_layer_ops {
  const char *name;
  /* As net_conn_read/write, over layer->below (net_layer_read/net_layer_write). A handshake is driven inside read and write;
   * until it is done they answer UV_EAGAIN. */
  ssize_t (*read)(struct net_layer *layer, void *buffer, size_t capacity);
  ssize_t (*write)(struct net_layer *layer, const struct mdm_slice *slices, size_t count);
  int (*flush)(struct net_layer *layer);   /* own remainder to the one below: 0 = empty, UV_EAGAIN, error */
  bool (*pending)(const struct net_layer *layer); /* has readable bytes of its own */
  int (*shutdown)(struct net_layer *layer);       /* say goodbye; 0 or UV_EAGAIN (called again) */
  void (*free)(struct net_layer *layer);
  /* The following may be NULL. */
  int (*handshake)(struct net_layer *layer);      /* 0 = done (again and again), UV_EAGAIN = goes on with the next event, error */
  bool (*holding)(const struct net_layer *layer); /* keeps bytes that are still to be sent */
  /* To another loop: `leave` takes what it has in buffers of its loop to itself, `arrive` makes what it needs on the new one; 0 or a
   * UV_ code. In between there is no loop, and `free` may come. NULL: this kind cannot travel. */
  int (*leave)(struct net_layer *layer);
  int (*arrive)(struct net_layer *layer);
};
struct net_layer {
  const struct net_layer_ops *ops;
  struct net_layer *below; /* NULL: the socket */
  struct net_conn *conn;
};
/* Puts a layer on top (owned from now on, freed with the connection). */
void net_conn_push(struct net_conn *conn, struct net_layer *layer);
struct net_layer *net_conn_top(const struct net_conn *conn);
struct net_layer *net_conn_layer(const struct net_conn *conn, const struct net_layer_ops *ops); /* find by kind, topmost first */
/* For layers: the owner is to be called (deferred to the end of the iteration) although the socket may say nothing: a handshake
 * is done, bytes came out of a buffer, room appeared. The conn does it by itself when a handshake() ends inside an event. */
void net_layer_wake(struct net_layer *layer, bool readable, bool writable);
/* For layers: the one below (or the socket). */
ssize_t net_layer_read(struct net_layer *layer, void *buffer, size_t capacity);
ssize_t net_layer_write(struct net_layer *layer, const struct mdm_slice *slices, size_t count);

#endif
