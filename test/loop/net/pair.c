/* pair.c: two connected connections on one loop. */
#include "pair.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "listener.h"
#include "platform.h"

#define KERNEL_BUFFER                                                                                                  \
  32768 /* for sending; a small one for receiving meets the loopback's large segments with 200 ms stalls */
#define WATCHDOG_MS 20000u
#define SLICES      5u

uint8_t stream_byte(uint8_t seed, uint64_t at) {
  return (uint8_t)((at * UINT64_C(0x9e3779b97f4a7c15)) >> 56) ^ seed;
}

static uint64_t peer_random(struct peer *peer) {
  peer->random ^= peer->random << 13;
  peer->random ^= peer->random >> 7;
  peer->random ^= peer->random << 17;
  return peer->random;
}

/* ---- sending ---- */
void peer_write(struct peer *peer) {
  static uint8_t bytes[SLICES * 65536u];
  while (peer->conn && peer->sent < peer->to_send) {
    struct mdm_slice slices[SLICES];
    size_t size = 0;
    for (size_t i = 0; i < SLICES; i++) {
      slices[i] = (struct mdm_slice){.data = bytes + size, .size = peer_random(peer) % (peer->slice_max + 1)};
      size += slices[i].size;
    }
    if (size > peer->to_send - peer->sent) {
      size = (size_t)(peer->to_send - peer->sent);
      slices[0] = (struct mdm_slice){.data = bytes, .size = size};
      memset(slices + 1, 0, sizeof slices - sizeof slices[0]);
      for (size_t i = 1; i < SLICES; i++) {
        slices[i].data = bytes;
      }
    }
    if (size == 0) {
      continue;
    }
    for (size_t i = 0; i < size; i++) {
      bytes[i] = stream_byte(peer->seed_out, peer->sent + i);
    }
    const ssize_t n = net_conn_write(peer->conn, slices, SLICES);
    if (n == UV_EAGAIN) {
      return;
    }
    if (n < 0) {
      peer->error = (int)n;
      return;
    }
    peer->sent += (uint64_t)n;
  }
  if (peer->conn && peer->shuts_down && !peer->shut && !peer->error) {
    peer->shut = true;
    const int error = net_conn_shutdown(peer->conn);
    if (error) {
      peer->error = error;
    }
  }
}

/* ---- receiving ---- */
static void peer_on_resume_timer(struct net_timer *timer) {
  struct peer *peer = (struct peer *)(void *)((char *)timer - offsetof(struct peer, resume_timer));
  if (peer->conn) {
    net_conn_resume(peer->conn);
  }
}

static void peer_on_resume_task(struct net_task *task) {
  struct peer *peer = (struct peer *)(void *)((char *)task - offsetof(struct peer, resume_task));
  if (peer->conn) {
    net_conn_resume(peer->conn);
  }
}

/* True if it paused. */
static bool peer_may_pause(struct peer *peer) {
  const uint64_t dice = peer->slow ? peer_random(peer) % 64 : 64;
  if (dice >= 8) {
    return false;
  }
  net_conn_pause(peer->conn);
  if (dice == 0 && peer_random(peer) % 8 == 0) {
    net_timer_start(&peer->loop->wheel, &peer->resume_timer, 20); /* long enough for the watcher to be dropped */
  } else {
    net_loop_defer(peer->loop, &peer->resume_task);
  }
  return true;
}

static void peer_on_readable(struct net_conn *conn) {
  struct peer *peer = net_conn_owner(conn);
  static uint8_t buffer[65536];
  peer->readable_events++;
  if (!peer->reads) {
    net_conn_pause(conn);
    return;
  }
  for (;;) {
    const size_t want = 1 + peer_random(peer) % peer->read_max;
    const ssize_t n = net_conn_read(conn, buffer, want);
    if (n == UV_EAGAIN) {
      return;
    }
    if (n < 0) {
      peer->eof = n == UV_EOF;
      if (n != UV_EOF) {
        peer->error = (int)n;
      }
      return;
    }
    for (ssize_t i = 0; i < n; i++) {
      if (buffer[i] != stream_byte(peer->seed_in, peer->received + (uint64_t)i)) {
        peer->corrupt = true;
      }
    }
    peer->received += (uint64_t)n;
    if (peer_may_pause(peer)) {
      return;
    }
  }
}

static void peer_on_writable(struct net_conn *conn) {
  struct peer *peer = net_conn_owner(conn);
  peer->writable_events++;
  peer_write(peer);
}

static void peer_on_hangup(struct net_conn *conn, int error) {
  struct peer *peer = net_conn_owner(conn);
  if (error) {
    peer->hangup_errors++;
    peer->hangup_error = error;
  } else {
    peer->hangups++;
  }
}

static void peer_on_closed(struct net_conn *conn) {
  struct peer *peer = net_conn_owner(conn);
  peer->conn = NULL;
}

static const struct net_conn_ops peer_ops = {
    .readable = peer_on_readable,
    .writable = peer_on_writable,
    .hangup = peer_on_hangup,
    .closed = peer_on_closed,
};

const struct net_conn_ops *peer_events(void) {
  return &peer_ops;
}

static void peer_init(struct peer *peer, struct pair *pair, uint8_t out, uint8_t in) {
  *peer = (struct peer){.loop = &pair->loop,
                        .random = UINT64_C(0x1234567) + out,
                        .seed_out = out,
                        .seed_in = in,
                        .slice_max = 20000,
                        .read_max = 65536,
                        .reads = true,
                        .resume_timer = {.fire = peer_on_resume_timer},
                        .resume_task = {.run = peer_on_resume_task}};
}

/* ---- the pair ---- */
static void small_buffer(int fd) {
  const int size = KERNEL_BUFFER;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static void pair_on_accept(struct net_listener *listener, int fd, const struct mdm_address *peer, void *user) {
  struct pair *pair = user;
  (void)listener;
  small_buffer(fd);
  assert_int_equal(net_conn_open(&pair->server.conn, &pair->loop, fd, &peer_ops, &pair->server), 0);
  net_conn_set_peer(pair->server.conn, peer);
}

static void pair_on_watchdog(uv_timer_t *timer) {
  (void)timer;
  fail_msg("nothing more happened in %u ms", WATCHDOG_MS);
}

static bool pair_accepted(const struct pair *pair) {
  return pair->server.conn != NULL;
}

void pair_run_until(struct pair *pair, bool (*done)(const struct pair *pair)) {
  uv_timer_start(&pair->watchdog, pair_on_watchdog, WATCHDOG_MS, 0);
  while (!done(pair)) {
    uv_run(pair->loop.uv, UV_RUN_ONCE);
  }
  uv_timer_stop(&pair->watchdog);
}

bool pair_finished(const struct pair *pair) {
  const struct peer *client = &pair->client;
  const struct peer *server = &pair->server;
  if (client->error || server->error || client->corrupt || server->corrupt) {
    return true;
  }
  return client->sent == client->to_send && server->sent == server->to_send && client->received == server->to_send &&
         server->received == client->to_send && client->eof == server->shuts_down && server->eof == client->shuts_down;
}

static void pair_make_tls(struct pair *pair) {
  char error[256] = "";
  strcpy(pair->directory, "/tmp/mdm-net-XXXXXX");
  assert_non_null(mkdtemp(pair->directory));
  const int outcome = net_identity_load(&pair->identity, pair->directory, NULL, error, sizeof error);
  if (outcome) {
    fail_msg("%s", error);
  }
  assert_int_equal(net_tls_link_server(&pair->server_tls, &pair->identity, error, sizeof error), 0);
  assert_int_equal(net_tls_link_client(&pair->client_tls, NULL, error, sizeof error), 0);
}

static void pair_init(struct pair *pair) {
  memset(pair, 0, sizeof *pair);
  assert_int_equal(net_loop_init(&pair->loop, NULL, NULL, NULL), 0);
  uv_timer_init(pair->loop.uv, &pair->watchdog);
  peer_init(&pair->client, pair, 0x5a, 0xc3);
  peer_init(&pair->server, pair, 0xc3, 0x5a);
}

void pair_open_unix(struct pair *pair) {
  int ends[2];
  pair_init(pair);
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
  assert_int_equal(net_conn_open(&pair->client.conn, &pair->loop, ends[0], &peer_ops, &pair->client), 0);
  assert_int_equal(net_conn_open(&pair->server.conn, &pair->loop, ends[1], &peer_ops, &pair->server), 0);
}

void pair_open(struct pair *pair, unsigned tls_layers) {
  static const struct net_tls_options as_server = {.server = true};
  static const struct net_tls_options as_client = {.server_name = "localhost", .alpn = NET_ALPN_LINK};
  const struct mdm_address loopback = {.family = 4, .bytes = {127, 0, 0, 1}};
  const struct net_listener_options options = {.backlog = 4};
  struct net_listener *listener;
  int fd;
  pair_init(pair);
  assert_int_equal(net_listener_open(&listener, &pair->loop, &loopback, &options, pair_on_accept, pair), 0);
  assert_int_equal(platform_socket_connect(net_listener_address(listener), &fd), 0);
  small_buffer(fd);
  assert_int_equal(net_conn_open(&pair->client.conn, &pair->loop, fd, &peer_ops, &pair->client), 0);
  pair_run_until(pair, pair_accepted);
  net_listener_close(listener);
  if (tls_layers > 0) {
    pair_make_tls(pair);
  }
  for (unsigned i = 0; i < tls_layers; i++) {
    assert_int_equal(net_tls_push(pair->server.conn, pair->server_tls, &as_server), 0);
    assert_int_equal(net_tls_push(pair->client.conn, pair->client_tls, &as_client), 0);
  }
}

static void remove_file(const char *directory, const char *name) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  unlink(path);
}

void pair_close(struct pair *pair) {
  net_timer_stop(&pair->loop.wheel, &pair->client.resume_timer);
  net_timer_stop(&pair->loop.wheel, &pair->server.resume_timer);
  net_task_cancel(&pair->client.resume_task);
  net_task_cancel(&pair->server.resume_task);
  net_conn_close(pair->client.conn, false);
  net_conn_close(pair->server.conn, false);
  uv_close((uv_handle_t *)&pair->watchdog, NULL);
  uv_run(pair->loop.uv, UV_RUN_DEFAULT);
  assert_null(pair->client.conn);
  assert_null(pair->server.conn);
  net_loop_clean(&pair->loop);
  if (pair->directory[0]) {
    net_tls_context_unref(pair->server_tls);
    net_tls_context_unref(pair->client_tls);
    net_identity_clean(&pair->identity);
    remove_file(pair->directory, "link.key");
    remove_file(pair->directory, "link.crt");
    rmdir(pair->directory);
  }
}

unsigned open_descriptors(void) {
  unsigned count = 0;
  DIR *directory = opendir("/proc/self/fd");
  assert_non_null(directory);
  while (readdir(directory)) {
    count++;
  }
  closedir(directory);
  return count;
}
