/* ws_fuzz.c: any bytes in any pieces below a WebSocket layer, at either end: bytes come out, or an error that stays.
 * First byte: bit 0 = the client's end, bit 1 = the peer takes what we say only in drops. Second byte: the size of the
 * pieces. At the client's end, 28 '@' in a row stand for the right Sec-WebSocket-Accept, which nobody can know
 * beforehand. */
#include <openssl/evp.h>
#include <sodium.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "platform.h"
#include "ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ACCEPT_SIZE 28u
#define READS_MAX   100000u

static void check(int holds) {
  if (!holds) {
    abort();
  }
}

/* The bottom: memory instead of a socket. */
struct memory {
  struct net_layer layer;
  uint8_t *data;
  size_t size, taken, piece;
  bool drops, full, dry;
  char request[1024];
  size_t request_size;
};

static ssize_t memory_read(struct net_layer *layer, void *buffer, size_t capacity) {
  struct memory *memory = (struct memory *)(void *)layer;
  memory->dry = !memory->dry;
  if (memory->taken == memory->size) {
    return UV_EOF;
  }
  if (memory->dry) {
    return UV_EAGAIN;
  }
  size_t n = memory->size - memory->taken;
  n = n < memory->piece ? n : memory->piece;
  n = n < capacity ? n : capacity;
  memcpy(buffer, memory->data + memory->taken, n);
  memory->taken += n;
  return (ssize_t)n;
}

static ssize_t memory_write(struct net_layer *layer, const struct mdm_slice *slices, size_t count) {
  struct memory *memory = (struct memory *)(void *)layer;
  (void)count;
  memory->full = memory->drops && !memory->full;
  if (memory->full) {
    return UV_EAGAIN;
  }
  size_t n = memory->drops && slices[0].size > 3 ? 3 : slices[0].size;
  size_t room = sizeof memory->request - 1 - memory->request_size;
  size_t kept = n < room ? n : room;
  memcpy(memory->request + memory->request_size, slices[0].data, kept);
  memory->request_size += kept;
  return (ssize_t)n;
}

static int memory_nothing(struct net_layer *layer) {
  (void)layer;
  return 0;
}

static void memory_free(struct net_layer *layer) {
  free(((struct memory *)(void *)layer)->data);
  free(layer);
}

static const struct net_layer_ops memory_ops = {
    .name = "memory", .read = memory_read, .write = memory_write, .shutdown = memory_nothing, .free = memory_free};

static void accept_fill(struct memory *memory) {
  static const char marks[] = "@@@@@@@@@@@@@@@@@@@@@@@@@@@@";
  char text[128], accept[ACCEPT_SIZE + 1];
  uint8_t digest[20];
  unsigned digest_size = sizeof digest;
  memory->request[memory->request_size] = '\0';
  const char *key = strstr(memory->request, "Sec-WebSocket-Key: ");
  uint8_t *at = memmem(memory->data, memory->size, marks, ACCEPT_SIZE);
  if (key == NULL || at == NULL) {
    return;
  }
  int size = snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
  check(EVP_Digest(text, (size_t)size, digest, &digest_size, EVP_sha1(), NULL) == 1);
  (void)sodium_bin2base64(accept, sizeof accept, digest, sizeof digest, sodium_base64_VARIANT_ORIGINAL);
  memcpy(at, accept, ACCEPT_SIZE);
}

static void run(struct net_loop *loop, const uint8_t *data, size_t size) {
  static const struct net_conn_ops nothing = {0};
  static uint8_t out[8192];
  int fds[2];
  struct net_conn *conn;
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
  check(net_conn_open(&conn, loop, fds[0], &nothing, NULL) == 0);
  net_conn_pause(conn);
  struct memory *memory = calloc(1, sizeof *memory);
  check(memory != NULL);
  memory->layer.ops = &memory_ops;
  memory->data = malloc(size);
  check(memory->data != NULL);
  memcpy(memory->data, data + 2, size - 2);
  memory->size = size - 2;
  memory->drops = (data[0] & 2) != 0;
  memory->piece = data[1] == 0 ? 65536 : data[1];
  net_conn_push(conn, &memory->layer);
  bool client = (data[0] & 1) != 0;
  check((client ? net_ws_push_client(conn, "example.com", "/")
                : net_ws_push_server(conn, "dGhlIHNhbXBsZSBub25jZQ==", 24)) == 0);
  struct net_layer *top = net_conn_top(conn);
  ssize_t n = 0;
  for (unsigned i = 0; i < READS_MAX; i++) {
    int shaken = top->ops->handshake(top);
    if (i == 0 || !net_ws_established(conn)) {
      accept_fill(memory);
    }
    if (shaken != 0 && shaken != UV_EAGAIN) {
      n = shaken;
      break;
    }
    n = net_conn_read(conn, out, sizeof out);
    check(n != 0);
    if (n < 0 && n != UV_EAGAIN) {
      break;
    }
    if (i % 16 == 3) {
      struct mdm_slice slice = {.data = out, .size = i % 200};
      ssize_t written = net_conn_write(conn, &slice, 1);
      check(written <= (ssize_t)slice.size);
    }
  }
  check(n < 0 && n != UV_EAGAIN); /* the memory ends, so this does */
  check(net_conn_read(conn, out, sizeof out) < 0);
  (void)net_conn_shutdown(conn);
  net_conn_close(conn, false);
  (void)uv_run(loop->uv, UV_RUN_NOWAIT);
  platform_socket_close(fds[1], false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct net_loop loop;
  mdm_mux_budget *budget = mdm_mux_budget_new(1u << 20, NULL);
  mdm_mux_pool *pool = mdm_mux_pool_new(budget, NULL);
  if (size >= 2 && sodium_init() >= 0 && pool != NULL && net_loop_init(&loop, NULL, pool, NULL) == 0) {
    run(&loop, data, size);
    net_loop_clean(&loop);
  }
  mdm_mux_pool_free(pool);
  mdm_mux_budget_free(budget);
  return 0;
}
