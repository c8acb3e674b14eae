/* ws_test.c: the WebSocket layer against raw bytes: what passes, what is answered, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "rig.h"
#include "ws.h"

#define KEY    "dGhlIHNhbXBsZSBub25jZQ==" /* RFC 6455 section 1.3, and its answer */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define ANSWER                                                                                                         \
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " ACCEPT     \
  "\r\n\r\n"

/* The layer's owner reads all that comes. */
struct reader {
  struct rig *rig;
  struct net_conn *conn;
  int raw; /* the other end of the socket pair */
  uint8_t got[300000];
  size_t size;
  int error; /* of the last read, other than UV_EAGAIN */
  bool ready;
};

static struct reader reader;

static void on_readable(struct net_conn *conn) {
  for (;;) {
    ssize_t n = net_conn_read(conn, reader.got + reader.size, sizeof reader.got - reader.size);
    if (n == UV_EAGAIN) {
      return;
    }
    if (n < 0) {
      reader.error = (int)n;
      return;
    }
    reader.size += (size_t)n;
  }
}

static void on_writable(struct net_conn *conn) {
  (void)conn;
  reader.ready = true;
}

static void on_hangup(struct net_conn *conn, int error) {
  (void)conn;
  reader.error = error;
}

static const struct net_conn_ops reader_ops = {.readable = on_readable, .writable = on_writable, .hangup = on_hangup};

static bool is_ready(struct rig *rig) {
  (void)rig;
  return reader.ready;
}

static bool has_ended(struct rig *rig) {
  (void)rig;
  return reader.error != 0;
}

static void connect_pair(struct rig *rig) {
  int fds[2];
  memset(&reader, 0, sizeof reader);
  reader.rig = rig;
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  assert_int_equal(net_conn_open(&reader.conn, &rig->loop, fds[0], &reader_ops, &reader), 0);
  reader.raw = fds[1];
}

static void disconnect_pair(void) {
  if (reader.conn != NULL) {
    net_conn_close(reader.conn, false);
    (void)close(reader.raw);
    reader.conn = NULL;
  }
}

/* A test that failed has not got that far. */
static int ws_close(void **state) {
  disconnect_pair();
  return rig_close(state);
}

static void send_raw(const void *data, size_t size) {
  assert_int_equal(write(reader.raw, data, size), (ssize_t)size);
  rig_run_for(reader.rig, 5);
}

static size_t receive_raw(uint8_t *out, size_t size) {
  rig_run_for(reader.rig, 5);
  ssize_t n = read(reader.raw, out, size);
  return n > 0 ? (size_t)n : 0;
}

static void serve(struct rig *rig) {
  uint8_t head[512];
  connect_pair(rig);
  assert_int_equal(net_ws_push_server(reader.conn, KEY, strlen(KEY)), 0);
  assert_true(rig_wait(rig, is_ready));
  size_t size = receive_raw(head, sizeof head);
  assert_int_equal(size, strlen(ANSWER));
  assert_memory_equal(head, ANSWER, size);
}

/* A frame as a client sends it, with a mask of four known bytes. */
static size_t frame(uint8_t *out, uint8_t first, const char *text, size_t size) {
  static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
  size_t n = 0;
  out[n++] = first;
  if (size < 126) {
    out[n++] = (uint8_t)(0x80 | size);
  } else {
    out[n++] = 0x80 | 126;
    out[n++] = (uint8_t)(size >> 8);
    out[n++] = (uint8_t)size;
  }
  memcpy(out + n, mask, 4);
  n += 4;
  for (size_t i = 0; i < size; i++) {
    out[n++] = (uint8_t)text[i] ^ mask[i % 4];
  }
  return n;
}

static void payload_passes_in_any_split(void **state) {
  struct rig *rig = *state;
  uint8_t bytes[512];
  size_t size = frame(bytes, 0x82, "hello", 5);
  size += frame(bytes + size, 0x02, " in", 3); /* three fragments, a ping between them */
  size += frame(bytes + size, 0x89, "?", 1);
  size += frame(bytes + size, 0x00, "", 0);
  size += frame(bytes + size, 0x80, " pieces", 7);
  for (size_t step = 1; step <= size; step += step < 16 ? 1 : size - 16) {
    serve(rig);
    for (size_t at = 0; at < size; at += step) {
      size_t n = size - at < step ? size - at : step;
      assert_int_equal(write(reader.raw, bytes + at, n), (ssize_t)n);
      rig_run_for(rig, 1);
    }
    rig_run_for(rig, 10);
    assert_int_equal(reader.size, 15);
    assert_memory_equal(reader.got, "hello in pieces", 15);
    assert_int_equal(reader.error, 0);
    uint8_t pong[16];
    assert_int_equal(receive_raw(pong, sizeof pong), 3);
    assert_memory_equal(pong, "\x8a\x01?", 3);
    disconnect_pair();
  }
}

static void what_is_written_leaves_in_binary_frames(void **state) {
  struct rig *rig = *state;
  static uint8_t big[100000], got[120000];
  serve(rig);
  struct mdm_slice slices[2] = {{.data = (const uint8_t *)"ab", .size = 2}, {.data = (const uint8_t *)"cd", .size = 2}};
  assert_int_equal(net_conn_write(reader.conn, slices, 2), 4);
  assert_int_equal(receive_raw(got, sizeof got), 6);
  assert_memory_equal(got,
                      "\x82\x04"
                      "abcd",
                      6);
  size_t sent = 0, seen = 0;
  while (sent < sizeof big) {
    struct mdm_slice slice = {.data = big + sent, .size = sizeof big - sent};
    ssize_t n = net_conn_write(reader.conn, &slice, 1);
    assert_true(n > 0 || n == UV_EAGAIN);
    sent += n > 0 ? (size_t)n : 0;
    seen += receive_raw(got, sizeof got);
  }
  for (unsigned i = 0; i < 10; i++) {
    seen += receive_raw(got, sizeof got);
  }
  assert_true(seen > sizeof big && seen < sizeof big + 100);
  disconnect_pair();
}

static void a_close_is_answered_and_is_an_end(void **state) {
  struct rig *rig = *state;
  uint8_t bytes[64];
  serve(rig);
  size_t size = frame(bytes, 0x82, "last", 4);
  size += frame(bytes + size, 0x88, "\x03\xe8", 2);
  send_raw(bytes, size);
  assert_int_equal(reader.size, 4);
  assert_int_equal(reader.error, UV_EOF);
  assert_int_equal(receive_raw(bytes, sizeof bytes), 4);
  assert_memory_equal(bytes, "\x88\x02\x03\xe8", 4);
  disconnect_pair();
}

static void a_shutdown_says_goodbye(void **state) {
  struct rig *rig = *state;
  uint8_t bytes[64];
  serve(rig);
  assert_int_equal(net_conn_shutdown(reader.conn), 0);
  assert_int_equal(receive_raw(bytes, sizeof bytes), 4);
  assert_memory_equal(bytes, "\x88\x02\x03\xe8", 4);
  assert_int_equal(read(reader.raw, bytes, sizeof bytes), 0); /* and the FIN */
  size_t size = frame(bytes, 0x88, "\x03\xe8", 2);
  send_raw(bytes, size);
  assert_int_equal(reader.error, UV_EOF);
  disconnect_pair();
}

static void a_cut_is_no_goodbye(void **state) {
  struct rig *rig = *state;
  serve(rig);
  (void)shutdown(reader.raw, SHUT_WR);
  assert_true(rig_wait(rig, has_ended));
  assert_int_equal(reader.error, UV_ECONNRESET);
  assert_non_null(strstr(net_ws_error(reader.conn), "without a goodbye"));
  disconnect_pair();
}

static void hostile_frames_end_it(void **state) {
  struct rig *rig = *state;
  static const struct {
    const char *name, *bytes;
    size_t size;
    uint16_t code;
  } table[] = {
      {"not masked", "\x82\x01x", 3, 1002},
      {"text",
       "\x81\x81"
       "abcdx",
       7, 1003},
      {"reserved bit",
       "\xc2\x81"
       "abcdx",
       7, 1002},
      {"unknown opcode",
       "\x83\x81"
       "abcdx",
       7, 1002},
      {"unknown control opcode",
       "\x8b\x81"
       "abcdx",
       7, 1002},
      {"continuation of nothing",
       "\x80\x81"
       "abcdx",
       7, 1002},
      {"a message inside a message",
       "\x02\x81"
       "abcdx\x82\x81"
       "abcdx",
       14, 1002},
      {"over 64 KiB",
       "\x82\xff\0\0\0\0\0\1\0\1"
       "abcdx",
       15, 1009},
      {"2^63",
       "\x82\xff\x80\0\0\0\0\0\0\0"
       "abcdx",
       15, 1002},
      {"length not minimal",
       "\x82\xfe\0\1"
       "abcdx",
       9, 1002},
      {"a ping in fragments",
       "\x09\x81"
       "abcdx",
       7, 1002},
      {"a ping over 125",
       "\x89\xfe\0\x7e"
       "abcd",
       8, 1002},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    uint8_t answer[64];
    serve(rig);
    send_raw(table[i].bytes, table[i].size);
    if (reader.error != UV_EPROTO || net_ws_error(reader.conn)[0] == '\0') {
      fail_msg("%s: %d", table[i].name, reader.error);
    }
    assert_int_equal(receive_raw(answer, sizeof answer), 4);
    if ((answer[2] << 8 | answer[3]) != table[i].code) {
      fail_msg("%s: closed with %d", table[i].name, answer[2] << 8 | answer[3]);
    }
    struct mdm_slice slice = {.data = answer, .size = 1};
    assert_int_equal(net_conn_write(reader.conn, &slice, 1), UV_EPROTO); /* for ever */
    disconnect_pair();
  }
}

static void a_message_of_many_fragments_is_bounded(void **state) {
  struct rig *rig = *state;
  static char payload[32768];
  static uint8_t bytes[40000];
  serve(rig);
  for (unsigned i = 0; i < 3 && reader.error == 0; i++) {
    send_raw(bytes, frame(bytes, i == 0 ? 0x02 : 0x00, payload, sizeof payload));
  }
  assert_int_equal(reader.size, NET_WS_MESSAGE_MAX);
  assert_int_equal(reader.error, UV_EPROTO);
  disconnect_pair();
}

static void a_flood_of_pings_ends_it(void **state) {
  struct rig *rig = *state;
  uint8_t bytes[16];
  serve(rig);
  size_t size = frame(bytes, 0x89, "", 0);
  for (unsigned i = 0; i < 10000 && reader.error == 0; i++) {
    if (write(reader.raw, bytes, size) != (ssize_t)size) {
      break;
    }
    (void)uv_run(rig->loop.uv, UV_RUN_NOWAIT);
  }
  assert_int_equal(reader.error, UV_EPROTO);
  assert_non_null(strstr(net_ws_error(reader.conn), "flood"));
  disconnect_pair();
}

static void keys_that_are_none_are_refused(void **state) {
  struct rig *rig = *state;
  static const char *const keys[] = {"", "short", "dGhlIHNhbXBsZSBub25jZQ=!", "dGhlIHNhbXBsZSBub25jZQ==x",
                                     "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"};
  connect_pair(rig);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    assert_int_equal(net_ws_push_server(reader.conn, keys[i], strlen(keys[i])), UV_EINVAL);
  }
  disconnect_pair();
}

/* ---- the client's end ---- */
/* The accept value depends on the key, so the right answer is made by a server's layer on the other end of the pair. */
static void a_client_reads_what_came_with_the_answer(void **state) {
  struct rig *rig = *state;
  uint8_t bytes[2048];
  connect_pair(rig);
  assert_int_equal(net_ws_push_client(reader.conn, "example.com", "/path"), 0);
  size_t size = receive_raw(bytes, sizeof bytes - 1);
  bytes[size] = '\0';
  assert_int_equal(strncmp((char *)bytes, "GET /path HTTP/1.1\r\nHost: example.com\r\n", 39), 0);
  char *key = strstr((char *)bytes, "Sec-WebSocket-Key: ");
  assert_non_null(key);
  struct reader client = reader;
  connect_pair(rig);
  assert_int_equal(net_ws_push_server(reader.conn, key + 19, 24), 0);
  assert_true(rig_wait(rig, is_ready));
  size = receive_raw(bytes, sizeof bytes);
  disconnect_pair();
  static const char early[] = "\x82\x05"
                              "early\x82\x03!!!";
  memcpy(bytes + size, early, sizeof early - 1);
  reader = client;
  assert_int_equal(write(reader.raw, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 37), 37);
  send_raw(bytes, size + sizeof early - 1);
  assert_true(net_ws_established(reader.conn));
  assert_int_equal(reader.size, 8);
  assert_memory_equal(reader.got, "early!!!", 8);
  struct mdm_slice slice = {.data = (const uint8_t *)"x", .size = 1};
  assert_int_equal(net_conn_write(reader.conn, &slice, 1), 1);
  assert_int_equal(receive_raw(bytes, sizeof bytes), 7);
  assert_int_equal(bytes[1], 0x81); /* masked */
  assert_int_equal(bytes[6] ^ bytes[2], 'x');
  disconnect_pair();
}

static void a_masked_frame_from_a_server_ends_it(void **state) {
  struct rig *rig = *state;
  uint8_t bytes[2048];
  connect_pair(rig);
  assert_int_equal(net_ws_push_client(reader.conn, "example.com", "/"), 0);
  size_t size = receive_raw(bytes, sizeof bytes - 1);
  bytes[size] = '\0';
  char *key = strstr((char *)bytes, "Sec-WebSocket-Key: ");
  assert_non_null(key);
  struct reader client = reader;
  connect_pair(rig);
  assert_int_equal(net_ws_push_server(reader.conn, key + 19, 24), 0);
  assert_true(rig_wait(rig, is_ready));
  size = receive_raw(bytes, sizeof bytes);
  disconnect_pair();
  reader = client;
  send_raw(bytes, size);
  send_raw(bytes, frame(bytes, 0x82, "x", 1));
  assert_int_equal(reader.error, UV_EPROTO);
  disconnect_pair();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_open, ws_close)

int main(void) {
  static const struct CMUnitTest tests[] = {
      TEST(payload_passes_in_any_split),
      TEST(what_is_written_leaves_in_binary_frames),
      TEST(a_close_is_answered_and_is_an_end),
      TEST(a_shutdown_says_goodbye),
      TEST(a_cut_is_no_goodbye),
      TEST(hostile_frames_end_it),
      TEST(a_message_of_many_fragments_is_bounded),
      TEST(a_flood_of_pings_ends_it),
      TEST(keys_that_are_none_are_refused),
      TEST(a_client_reads_what_came_with_the_answer),
      TEST(a_masked_frame_from_a_server_ends_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
