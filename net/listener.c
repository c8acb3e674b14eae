/* listener.c: one listening socket of a worker: accepts in batches and survives a full descriptor table. */
#include "listener.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "platform.h"

#define LISTENER_BACKLOG  1024
#define LISTENER_BATCH    32u  /* accepted in one go, so that a flood leaves room for what is already open */
#define LISTENER_PAUSE_MS 100u /* after EMFILE: time for others to close something */

struct net_listener {
  struct net_loop *loop;
  uv_poll_t poll;
  struct net_timer pause;
  struct mdm_address address;
  net_accept_cb accepted;
  void *user;
  int fd;
  int reserve;     /* a descriptor to give up when there is none left */
  bool complained; /* once until an accept works again */
  bool closing;
};

static int reserve_open(void) {
  return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* The table is full: without this the connection stays in the queue and the loop spins on it. */
static void listener_refuse_one(struct net_listener *listener) {
  struct mdm_address peer;
  int fd;
  if (listener->reserve < 0) {
    return;
  }
  close(listener->reserve);
  listener->reserve = -1;
  if (platform_socket_accept(listener->fd, &fd, &peer) == 0) {
    platform_socket_close(fd, true);
  }
  listener->reserve = reserve_open();
}

static void listener_pause(struct net_listener *listener, int error) {
  char text[NET_ADDRESS_TEXT];
  if (!listener->complained) {
    listener->complained = true;
    net_log_write(listener->loop->log, NET_LOG_ERROR, NULL,
                  "cannot accept on %s: %s; new connections are refused meanwhile",
                  net_address_text(text, &listener->address, true), uv_strerror(error));
  }
  uv_poll_stop(&listener->poll);
  net_timer_start(&listener->loop->wheel, &listener->pause, LISTENER_PAUSE_MS);
}

static void listener_on_poll(uv_poll_t *poll, int status, int events) {
  struct net_listener *listener = poll->data;
  (void)status;
  (void)events;
  for (unsigned i = 0; i < LISTENER_BATCH && !listener->closing; i++) {
    struct mdm_address peer;
    int fd;
    const int error = platform_socket_accept(listener->fd, &fd, &peer);
    if (error == UV_EAGAIN) {
      return;
    }
    if (error) {
      if (error == UV_EMFILE || error == UV_ENFILE) {
        listener_refuse_one(listener);
      }
      listener_pause(listener, error);
      return;
    }
    listener->complained = false;
    listener->accepted(listener, fd, &peer, listener->user);
  }
}

static int listener_start(struct net_listener *listener) {
  return uv_poll_start(&listener->poll, UV_READABLE, listener_on_poll);
}

static void listener_on_pause(struct net_timer *timer) {
  struct net_listener *listener = (struct net_listener *)(void *)((char *)timer - offsetof(struct net_listener, pause));
  if (listener->reserve < 0) {
    listener->reserve = reserve_open();
  }
  const int error = listener_start(listener);
  if (error) {
    net_timer_start(&listener->loop->wheel, &listener->pause, LISTENER_PAUSE_MS);
  }
}

int net_listener_open(struct net_listener **out, struct net_loop *loop, const struct mdm_address *address,
                      const struct net_listener_options *options, net_accept_cb accepted, void *user) {
  struct net_listener *listener = calloc(1, sizeof *listener);
  if (!listener) {
    return UV_ENOMEM;
  }
  *listener = (struct net_listener){
      .loop = loop, .accepted = accepted, .user = user, .fd = -1, .pause = {.fire = listener_on_pause}};
  const int backlog = options->backlog > 0 ? options->backlog : LISTENER_BACKLOG;
  listener->reserve = reserve_open();
  int error = platform_socket_listen(address, options->reuse_port, options->dual_stack, backlog, &listener->fd);
  if (!error) {
    error = platform_socket_names(listener->fd, &listener->address, NULL);
  }
  if (!error) {
    error = uv_poll_init(loop->uv, &listener->poll, listener->fd);
  }
  if (error) {
    goto failed;
  }
  listener->poll.data = listener;
  error = listener_start(listener);
  if (error) {
    net_listener_close(listener);
    return error;
  }
  *out = listener;
  return 0;

failed:
  if (listener->fd >= 0) {
    close(listener->fd);
  }
  if (listener->reserve >= 0) {
    close(listener->reserve);
  }
  free(listener);
  return error;
}

uint16_t net_listener_port(const struct net_listener *listener) {
  return listener->address.port;
}

const struct mdm_address *net_listener_address(const struct net_listener *listener) {
  return &listener->address;
}

static void listener_on_closed(uv_handle_t *handle) {
  free(handle->data);
}

void net_listener_close(struct net_listener *listener) {
  if (!listener || listener->closing) {
    return;
  }
  listener->closing = true;
  net_timer_stop(&listener->loop->wheel, &listener->pause);
  uv_close((uv_handle_t *)&listener->poll, listener_on_closed);
  close(listener->fd);
  if (listener->reserve >= 0) {
    close(listener->reserve);
  }
}
