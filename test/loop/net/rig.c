/* rig.c: both ends of a link on one loop. */
#include "rig.h"

#include <assert.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "ws.h"

#define ECHO_ROOM 65536u
#define HEAD_MAX  4096u

static void must(bool condition, const char *what) {
  if (!condition) {
    (void)fprintf(stderr, "rig: %s\n", what);
    abort();
  }
}

/* ---- waiting ---- */
static void on_watchdog(uv_timer_t *timer) {
  (void)timer; /* its only use is that the loop comes round */
}

bool rig_wait(struct rig *rig, bool (*met)(struct rig *rig)) {
  uint64_t deadline = uv_hrtime() / 1000000u + RIG_WAIT_MS;
  while (!met(rig)) {
    if (uv_hrtime() / 1000000u > deadline) {
      return false;
    }
    (void)uv_run(rig->loop.uv, UV_RUN_ONCE);
  }
  return true;
}

void rig_run_for(struct rig *rig, unsigned ms) {
  uint64_t deadline = uv_hrtime() / 1000000u + ms;
  while (uv_hrtime() / 1000000u < deadline) {
    (void)uv_run(rig->loop.uv, UV_RUN_ONCE);
  }
}

/* ---- the echo ---- */
struct echo {
  struct rig *rig;
  uint8_t *buffer;
  size_t start, size;
  bool fin;
};

static size_t echo_data(mdm_stream *stream, const struct mdm_slice *slices, size_t count) {
  struct echo *echo = mdm_stream_user(stream);
  size_t taken = 0;
  for (size_t i = 0; i < count; i++) {
    if (echo->start > 0) {
      memmove(echo->buffer, echo->buffer + echo->start, echo->size);
      echo->start = 0;
    }
    size_t room = ECHO_ROOM - echo->size;
    size_t n = slices[i].size < room ? slices[i].size : room;
    memcpy(echo->buffer + echo->size, slices[i].data, n);
    echo->size += n;
    taken += n;
    if (n < slices[i].size) {
      break;
    }
  }
  mdm_stream_ready(stream);
  return taken;
}

static void echo_fin(mdm_stream *stream) {
  struct echo *echo = mdm_stream_user(stream);
  echo->fin = true;
  mdm_stream_ready(stream);
}

static bool echo_turn(mdm_stream *stream) {
  struct echo *echo = mdm_stream_user(stream);
  struct mdm_slice slice = {.data = echo->buffer + echo->start, .size = echo->size};
  size_t n = echo->size > 0 ? mdm_stream_write(stream, &slice, 1) : 0;
  echo->start += n;
  echo->size -= n;
  if (n > 0 && mdm_stream_held(stream) > 0) {
    mdm_stream_drain(stream);
  }
  if (echo->size == 0 && echo->fin) {
    mdm_stream_finish(stream);
  }
  return echo->size > 0;
}

static void echo_closed(mdm_stream *stream) {
  struct echo *echo = mdm_stream_user(stream);
  echo->rig->held_streams--;
  free(echo->buffer);
  free(echo);
}

static const struct mdm_stream_ops echo_ops = {
    .data = echo_data, .fin = echo_fin, .turn = echo_turn, .closed = echo_closed};

/* ---- the transfer ---- */
static uint8_t pattern(uint64_t at) {
  return (uint8_t)(at * 31u + (at >> 8) * 7u + (at >> 16));
}

static size_t transfer_data(mdm_stream *stream, const struct mdm_slice *slices, size_t count) {
  struct transfer *transfer = mdm_stream_user(stream);
  size_t taken = 0;
  for (size_t i = 0; i < count; i++) {
    for (size_t j = 0; j < slices[i].size; j++) {
      transfer->corrupt = transfer->corrupt || slices[i].data[j] != pattern(transfer->received);
      transfer->received++;
    }
    taken += slices[i].size;
  }
  return taken;
}

static bool transfer_turn(mdm_stream *stream) {
  struct transfer *transfer = mdm_stream_user(stream);
  size_t room = 0;
  uint64_t left = transfer->total - transfer->sent;
  uint8_t *to = left > 0 ? mdm_stream_reserve(stream, &room) : NULL;
  size_t n = left < room ? (size_t)left : room;
  for (size_t i = 0; to != NULL && i < n; i++) {
    to[i] = pattern(transfer->sent + i);
  }
  if (to != NULL) {
    mdm_stream_commit(stream, n);
    transfer->sent += n;
  }
  if (transfer->sent == transfer->total) {
    mdm_stream_finish(stream);
    return false;
  }
  return true;
}

static void transfer_fin(mdm_stream *stream) {
  ((struct transfer *)mdm_stream_user(stream))->fin = true;
}

static void transfer_reset(mdm_stream *stream, enum mdm_reset code, bool not_delivered) {
  struct transfer *transfer = mdm_stream_user(stream);
  (void)not_delivered;
  transfer->reset = true;
  transfer->code = code;
}

static void transfer_closed(mdm_stream *stream) {
  struct transfer *transfer = mdm_stream_user(stream);
  transfer->closed = true;
  transfer->stream = NULL;
}

static const struct mdm_stream_ops transfer_ops = {.data = transfer_data,
                                                   .fin = transfer_fin,
                                                   .turn = transfer_turn,
                                                   .reset = transfer_reset,
                                                   .closed = transfer_closed};

int transfer_begin(struct transfer *transfer, struct net_link *link, uint64_t total) {
  struct mdm_open open = {.kind = MDM_KIND_TCP, .service = 1};
  *transfer = (struct transfer){.total = total};
  int error = mdm_stream_open(net_link_mux(link), &open, &transfer_ops, transfer, &transfer->stream);
  if (error == 0) {
    mdm_stream_ready(transfer->stream);
  }
  return error;
}

/* ---- the ends ---- */
static int end_message(struct net_link *link, enum mdm_message type, const uint8_t *data, size_t size) {
  struct end *end = net_link_owner(link);
  (void)type;
  (void)data;
  (void)size;
  end->messages++;
  if (end->close_on_message) {
    end->link = NULL;
    net_link_close(link);
  }
  return 0;
}

static enum mdm_reset end_open(struct net_link *link, mdm_stream *stream, const struct mdm_open *open) {
  struct end *end = net_link_owner(link);
  (void)open;
  end->opens++;
  if (end->refuse_streams) {
    return MDM_RESET_REFUSED;
  }
  struct echo *echo = calloc(1, sizeof *echo);
  must(echo != NULL, "memory");
  echo->buffer = malloc(ECHO_ROOM);
  must(echo->buffer != NULL, "memory");
  echo->rig = end->rig;
  end->rig->held_streams++;
  mdm_stream_attach(stream, &echo_ops, echo);
  mdm_stream_accept(stream);
  return MDM_RESET_NONE;
}

static void end_goaway(struct net_link *link, uint32_t last_id, uint16_t code, const char *text, size_t size) {
  struct end *end = net_link_owner(link);
  (void)last_id;
  if (!end->goaway) {
    end->goaway = true;
    end->goaway_code = code;
    (void)snprintf(end->goaway_text, sizeof end->goaway_text, "%.*s", (int)size, text);
  }
}

static void end_pong(struct net_link *link, uint64_t rtt_us) {
  struct end *end = net_link_owner(link);
  (void)rtt_us;
  end->pongs++;
}

static void end_drained(struct net_link *link) {
  struct end *end = net_link_owner(link);
  end->drained = true;
}

static void end_ended(struct net_link *link, int error, const char *reason) {
  struct end *end = net_link_owner(link);
  must(!end->ended, "ended twice");
  must(net_link_mux(link) == NULL, "streams outlived the end");
  end->ended = true;
  end->error = error;
  (void)snprintf(end->reason, sizeof end->reason, "%s", reason);
  end->link = NULL;
  net_link_close(link);
}

static const struct net_link_ops end_ops = {.message = end_message,
                                            .open = end_open,
                                            .goaway = end_goaway,
                                            .pong = end_pong,
                                            .drained = end_drained,
                                            .ended = end_ended};

struct net_link *rig_link_over(struct rig *rig, struct end *end, enum mdm_role role, struct net_conn *conn) {
  struct net_link_options options = role == MDM_ROLE_CLIENT ? rig->client_options : rig->server_options;
  options.role = role;
  options.ops = &end_ops;
  options.owner = end;
  *end = (struct end){.rig = rig};
  must(net_link_open(&end->link, conn, &options) == 0, "a link opens");
  return end->link;
}

void rig_end_close(struct end *end) {
  if (end->link != NULL) {
    net_link_close(end->link);
    end->link = NULL;
  }
}

/* ---- the server's side ---- */
static void server_takes(struct rig *rig, struct net_conn *conn, bool tls) {
  struct net_tls_options options = {.server = true};
  must(!tls || net_tls_push(conn, rig->link_server, &options) == 0, "link TLS");
  (void)rig_link_over(rig, &rig->server, MDM_ROLE_SERVER, conn);
}

struct upgrade {
  struct rig *rig;
  char head[HEAD_MAX];
  size_t size;
};

static void upgrade_readable(struct net_conn *conn) {
  struct upgrade *upgrade = net_conn_owner(conn);
  ssize_t n = net_conn_read(conn, upgrade->head + upgrade->size, HEAD_MAX - 1 - upgrade->size);
  if (n < 0) {
    if (n != UV_EAGAIN) {
      net_conn_close(conn, false);
    }
    return;
  }
  upgrade->size += (size_t)n;
  upgrade->head[upgrade->size] = '\0';
  char *end = strstr(upgrade->head, "\r\n\r\n");
  if (end == NULL) {
    return;
  }
  size_t head = (size_t)(end + 4 - upgrade->head);
  must(net_conn_unread(conn, upgrade->head + head, upgrade->size - head) == 0, "unread");
  char *key = strcasestr(upgrade->head, "Sec-WebSocket-Key: ");
  must(key != NULL, "a key in the request");
  must(net_ws_push_server(conn, key + 19, 24) == 0, "WebSocket");
  struct rig *rig = upgrade->rig;
  free(upgrade);
  static const struct net_conn_ops nothing = {0};
  net_conn_set_owner(conn, &nothing, NULL);
  server_takes(rig, conn, true);
}

static void upgrade_closed(struct net_conn *conn) {
  free(net_conn_owner(conn));
}

static const struct net_conn_ops upgrade_ops = {.readable = upgrade_readable, .closed = upgrade_closed};

static void on_accept(struct net_listener *listener, int fd, const struct mdm_address *peer, void *user) {
  struct rig *rig = user;
  struct net_conn *conn;
  struct net_tls_options options = {.server = true};
  (void)listener;
  (void)peer;
  rig->accepted++;
  must(net_conn_open(&conn, &rig->loop, fd, &upgrade_ops, NULL) == 0, "a connection");
  switch (rig->front) {
  case RIG_BARE:
  case RIG_LINK_TLS:
    server_takes(rig, conn, rig->front == RIG_LINK_TLS);
    return;
  case RIG_WSS:
    must(net_tls_push(conn, rig->web_server, &options) == 0, "web TLS");
    break;
  case RIG_WS:
    break;
  }
  struct upgrade *upgrade = calloc(1, sizeof *upgrade);
  must(upgrade != NULL, "memory");
  upgrade->rig = rig;
  net_conn_set_owner(conn, &upgrade_ops, upgrade);
}

void rig_listen(struct rig *rig, enum rig_front front) {
  struct mdm_address address;
  struct net_listener_options options = {0};
  rig->front = front;
  must(net_address_parse(&address, "127.0.0.1", 9) == 0, "an address");
  must(net_listener_open(&rig->listener, &rig->loop, &address, &options, on_accept, rig) == 0, "a listener");
  rig->port = net_listener_port(rig->listener);
}

/* ---- the client's side ---- */
static void on_dialled(struct net_dial *dial, struct net_conn *conn, int error, const char *reason, void *user) {
  struct rig *rig = user;
  must(dial == rig->dial && !rig->dial_done, "one answer a dial");
  must((conn != NULL) == (error == 0) && (error == 0 || reason != NULL), "a connection or a reason");
  rig->dial = NULL;
  rig->dial_done = true;
  rig->dialled = conn;
  rig->dial_error = error;
  (void)snprintf(rig->dial_reason, sizeof rig->dial_reason, "%s", reason != NULL ? reason : "");
}

static bool dial_is_done(struct rig *rig) {
  return rig->dial_done;
}

void rig_dial(struct rig *rig, const struct net_dial_request *request) {
  rig->dial_done = false;
  rig->dialled = NULL;
  must(net_dial_start(&rig->dial, &rig->loop, request, on_dialled, rig) == 0, "a dial starts");
  must(rig_wait(rig, dial_is_done), "a dial ends");
}

void rig_link_pair(struct rig *rig) {
  int fds[2];
  struct net_conn *a, *b;
  static const struct net_conn_ops nothing = {0};
  must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0, "a socket pair");
  must(net_conn_open(&a, &rig->loop, fds[0], &nothing, NULL) == 0, "a connection");
  must(net_conn_open(&b, &rig->loop, fds[1], &nothing, NULL) == 0, "a connection");
  (void)rig_link_over(rig, &rig->client, MDM_ROLE_CLIENT, a);
  (void)rig_link_over(rig, &rig->server, MDM_ROLE_SERVER, b);
}

static bool server_has_link(struct rig *rig) {
  return rig->server.link != NULL;
}

void rig_link_carrier(struct rig *rig, enum net_carrier carrier, const struct net_proxy *proxy) {
  static const enum rig_front fronts[] = {[NET_CARRIER_NONE] = RIG_BARE,
                                          [NET_CARRIER_PLAIN] = RIG_BARE,
                                          [NET_CARRIER_TLS] = RIG_LINK_TLS,
                                          [NET_CARRIER_WS] = RIG_WS,
                                          [NET_CARRIER_WSS] = RIG_WSS};
  rig_listen(rig, fronts[carrier]);
  struct net_dial_request request = {
      .endpoint = {.carrier = carrier, .host = "127.0.0.1", .port = rig->port, .path = NET_LINK_PATH},
      .proxy = proxy,
      .link_tls = rig->link_client,
      .web_tls = rig->web_client,
  };
  rig_dial(rig, &request);
  if (rig->dialled == NULL) {
    (void)fprintf(stderr, "dial: %s\n", rig->dial_reason);
  }
  must(rig->dialled != NULL, "the dial succeeds");
  (void)rig_link_over(rig, &rig->client, MDM_ROLE_CLIENT, rig->dialled);
  rig->dialled = NULL;
  must(rig_wait(rig, server_has_link), "the server takes the link");
}

void rig_link_start(struct rig *rig) {
  mdm_mux_start(net_link_mux(rig->client.link), 65536, 65536);
  mdm_mux_start(net_link_mux(rig->server.link), 65536, 65536);
}

/* ---- life ---- */
static void contexts_make(struct rig *rig) {
  char error[256] = "";
  bool made;
  SSL_CTX *web = NULL;
  (void)snprintf(rig->directory, sizeof rig->directory, "/tmp/mdm-rig-XXXXXX");
  must(mkdtemp(rig->directory) != NULL, "a directory");
  must(net_identity_load(&rig->identity, rig->directory, &made, error, sizeof error) == 0, error);
  must(net_tls_link_server(&rig->link_server, &rig->identity, error, sizeof error) == 0, error);
  must(net_tls_link_client(&rig->link_client, NULL, error, sizeof error) == 0, error);
  must(net_tls_web_client(&rig->web_client, false, NULL, error, sizeof error) == 0, error);
  must(net_tls_web_server(&web, error, sizeof error) == 0, error);
  must(SSL_CTX_use_certificate(web, rig->identity.certificate) == 1 &&
           SSL_CTX_use_PrivateKey(web, rig->identity.key) == 1,
       "a certificate");
  rig->web_server = net_tls_context_take(web);
  must(rig->web_server != NULL, "a context");
}

int rig_open(void **state) {
  struct rig *rig = calloc(1, sizeof *rig);
  must(sodium_init() >= 0 && rig != NULL, "memory");
  rig->budget = mdm_mux_budget_new(64u << 20, NULL);
  rig->pool = mdm_mux_pool_new(rig->budget, NULL);
  must(rig->pool != NULL, "a pool");
  must(net_loop_init(&rig->loop, NULL, rig->pool, NULL) == 0, "a loop");
  must(uv_timer_init(rig->loop.uv, &rig->watchdog) == 0, "a timer");
  must(uv_timer_start(&rig->watchdog, on_watchdog, 10, 10) == 0, "a timer");
  contexts_make(rig);
  *state = rig;
  return 0;
}

int rig_close(void **state) {
  struct rig *rig = *state;
  char path[128];
  rig_end_close(&rig->client);
  rig_end_close(&rig->server);
  if (rig->dial != NULL) {
    net_dial_cancel(rig->dial);
  }
  if (rig->dialled != NULL) {
    net_conn_close(rig->dialled, false);
  }
  if (rig->listener != NULL) {
    net_listener_close(rig->listener);
  }
  uv_unref((uv_handle_t *)&rig->watchdog);
  uint64_t deadline = uv_hrtime() / 1000000u + RIG_WAIT_MS;
  while (uv_loop_alive(rig->loop.uv) && uv_hrtime() / 1000000u < deadline) {
    (void)uv_run(rig->loop.uv, UV_RUN_ONCE);
  }
  must(!uv_loop_alive(rig->loop.uv), "something that the test left behind keeps the loop alive");
  uv_close((uv_handle_t *)&rig->watchdog, NULL);
  (void)uv_run(rig->loop.uv, UV_RUN_DEFAULT);
  must(rig->held_streams == 0, "every stream was closed");
  net_loop_clean(&rig->loop);
  mdm_mux_pool_free(rig->pool);
  must(mdm_mux_budget_held(rig->budget) == 0, "no byte is held");
  mdm_mux_budget_free(rig->budget);
  net_tls_context_unref(rig->link_server);
  net_tls_context_unref(rig->link_client);
  net_tls_context_unref(rig->web_server);
  net_tls_context_unref(rig->web_client);
  net_identity_clean(&rig->identity);
  static const char *const files[] = {"link.key", "link.crt"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    (void)snprintf(path, sizeof path, "%s/%s", rig->directory, files[i]);
    (void)unlink(path);
  }
  int left = rmdir(rig->directory);
  free(rig);
  return left;
}
