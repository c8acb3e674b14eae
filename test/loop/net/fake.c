/* fake.c: a server that answers as it is told, and a small forward proxy. */
#include "fake.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "address.h"

#define CHUNK 65536u

/* One direction of a passed-on connection. */
struct half {
  struct net_conn *from, *to;
  uint8_t buffer[CHUNK];
  size_t start, size;
  bool fin;
};

/* One connection to the fake, and its way on. */
struct splice {
  struct splice *next;
  struct fake *fake;
  struct net_conn *near, *far;
  struct net_dial *dial;
  char head[4096];
  size_t head_size, passed;
  bool answered;
  struct half up, down;
};

static const struct net_conn_ops splice_ops;

static void splice_close(struct splice *splice) {
  if (splice->dial != NULL) {
    net_dial_cancel(splice->dial);
    splice->dial = NULL;
  }
  if (splice->near != NULL) {
    net_conn_close(splice->near, false);
    splice->near = NULL;
  }
  if (splice->far != NULL) {
    net_conn_close(splice->far, false);
    splice->far = NULL;
  }
}

static void half_pump(struct splice *splice, struct half *half) {
  for (;;) {
    while (half->size > 0) {
      struct mdm_slice slice = {.data = half->buffer + half->start, .size = half->size};
      ssize_t n = net_conn_write(half->to, &slice, 1);
      if (n == UV_EAGAIN) {
        return;
      }
      if (n < 0) {
        splice_close(splice);
        return;
      }
      half->start += (size_t)n;
      half->size -= (size_t)n;
      splice->passed += half == &splice->down ? (size_t)n : 0;
    }
    if (splice->fake->cut_after > 0 && splice->passed >= splice->fake->cut_after) {
      splice_close(splice);
      return;
    }
    if (half->fin) {
      return;
    }
    ssize_t n = net_conn_read(half->from, half->buffer, sizeof half->buffer);
    if (n == UV_EAGAIN) {
      return;
    }
    if (n == UV_EOF) {
      half->fin = true;
      (void)net_conn_shutdown(half->to);
      if (splice->up.fin && splice->down.fin) {
        splice_close(splice);
      }
      return;
    }
    if (n < 0) {
      splice_close(splice);
      return;
    }
    half->start = 0;
    half->size = (size_t)n;
  }
}

static void say(struct splice *splice, const char *text) {
  struct mdm_slice slice = {.data = (const uint8_t *)text, .size = strlen(text)};
  ssize_t n = net_conn_write(splice->near, &slice, 1);
  assert(n == (ssize_t)slice.size);
  (void)n;
  splice->answered = true;
}

static void on_far(struct net_dial *dial, struct net_conn *conn, int error, const char *reason, void *user) {
  struct splice *splice = user;
  (void)dial;
  (void)reason;
  splice->dial = NULL;
  if (error != 0) {
    say(splice, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    return;
  }
  splice->far = conn;
  net_conn_set_owner(conn, &splice_ops, splice);
  splice->up = (struct half){.from = splice->near, .to = conn};
  splice->down = (struct half){.from = conn, .to = splice->near};
  say(splice, "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
  net_conn_resume(conn);
}

static void proxy_request(struct splice *splice) {
  struct fake *fake = splice->fake;
  const char *field = strcasestr(splice->head, "\r\nProxy-Authorization: ");
  size_t size = field != NULL ? strcspn(field + 23, "\r") : 0;
  if (fake->authorization != NULL &&
      (field == NULL || strlen(fake->authorization) != size || strncmp(field + 23, fake->authorization, size) != 0)) {
    say(splice, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic "
                "realm=\"x\"\r\nContent-Length: 5\r\n\r\nsorry");
    return;
  }
  char host[256];
  unsigned port;
  if (sscanf(splice->head, "CONNECT %255[^: ]:%u HTTP/1.1\r\n", host, &port) != 2) {
    say(splice, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    return;
  }
  struct net_dial_request request = {.endpoint = {.carrier = NET_CARRIER_NONE, .port = (uint16_t)port}};
  (void)snprintf(request.endpoint.host, sizeof request.endpoint.host, "%s", host);
  int error = net_dial_start(&splice->dial, &fake->rig->loop, &request, on_far, splice);
  assert(error == 0);
  (void)error;
}

static void head_read(struct splice *splice) {
  struct fake *fake = splice->fake;
  ssize_t n =
      net_conn_read(splice->near, splice->head + splice->head_size, sizeof splice->head - 1 - splice->head_size);
  if (n <= 0) {
    if (n != UV_EAGAIN) {
      splice_close(splice);
    }
    return;
  }
  splice->head_size += (size_t)n;
  splice->head[splice->head_size] = '\0';
  (void)snprintf(fake->head, sizeof fake->head, "%s", splice->head);
  if (strstr(splice->head, "\r\n\r\n") == NULL && fake->mode != FAKE_HANG_UP) {
    return;
  }
  switch (fake->mode) {
  case FAKE_SILENT:
    return;
  case FAKE_HANG_UP:
    splice_close(splice);
    return;
  case FAKE_ANSWER:
    say(splice, fake->answer);
    return;
  case FAKE_PROXY:
    proxy_request(splice);
    return;
  }
}

static void on_readable(struct net_conn *conn) {
  struct splice *splice = net_conn_owner(conn);
  if (splice->far != NULL) {
    half_pump(splice, conn == splice->near ? &splice->up : &splice->down);
  } else if (splice->near != NULL && !splice->answered && splice->dial == NULL) {
    head_read(splice);
  } else {
    net_conn_pause(conn);
  }
}

static void on_writable(struct net_conn *conn) {
  struct splice *splice = net_conn_owner(conn);
  if (splice->far != NULL) {
    half_pump(splice, conn == splice->near ? &splice->down : &splice->up);
  }
}

static const struct net_conn_ops splice_ops = {.readable = on_readable, .writable = on_writable};

static void on_accept(struct net_listener *listener, int fd, const struct mdm_address *peer, void *user) {
  struct fake *fake = user;
  struct splice *splice = calloc(1, sizeof *splice);
  (void)listener;
  (void)peer;
  assert(splice != NULL);
  fake->connections++;
  splice->fake = fake;
  splice->next = fake->splices;
  fake->splices = splice;
  int error = net_conn_open(&splice->near, &fake->rig->loop, fd, &splice_ops, splice);
  assert(error == 0);
  (void)error;
}

void fake_open(struct fake *fake, struct rig *rig) {
  struct mdm_address address;
  struct net_listener_options options = {0};
  fake->rig = rig;
  int error = net_address_parse(&address, "127.0.0.1", 9);
  assert(error == 0);
  error = net_listener_open(&fake->listener, &rig->loop, &address, &options, on_accept, fake);
  assert(error == 0);
  (void)error;
  fake->port = net_listener_port(fake->listener);
}

void fake_close(struct fake *fake) {
  net_listener_close(fake->listener);
  for (struct splice *splice = fake->splices; splice != NULL; splice = splice->next) {
    splice_close(splice);
  }
  rig_run_for(fake->rig, 1); /* their last events */
  while (fake->splices != NULL) {
    struct splice *next = fake->splices->next;
    free(fake->splices);
    fake->splices = next;
  }
}
