/* conn_test.c: connections over real sockets, plain and through one and two layers of TLS. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "pair.h"
#include "platform.h"

/* ---- streams arrive whole ---- */
static void check_duplex(unsigned tls_layers, size_t slice_max, size_t read_max, bool slow) {
  struct pair pair;
  pair_open(&pair, tls_layers);
  pair.client.to_send = 1500000;
  pair.server.to_send = 1200007;
  pair.client.slice_max = pair.server.slice_max = slice_max;
  pair.client.read_max = pair.server.read_max = read_max;
  pair.client.slow = pair.server.slow = slow;
  pair.client.shuts_down = pair.server.shuts_down = true;
  peer_write(&pair.client);
  peer_write(&pair.server);
  pair_run_until(&pair, pair_finished);
  assert_int_equal(pair.client.error, 0);
  assert_int_equal(pair.server.error, 0);
  assert_false(pair.client.corrupt);
  assert_false(pair.server.corrupt);
  assert_int_equal(pair.client.received, pair.server.to_send);
  assert_int_equal(pair.server.received, pair.client.to_send);
  assert_true(pair.client.eof);
  assert_true(pair.server.eof);
  pair_close(&pair);
}

static void test_plain_duplex_stream_arrives_whole(void **state) {
  (void)state;
  check_duplex(0, 20000, 65536, false);
}
static void test_plain_small_reads_and_pauses_lose_nothing(void **state) {
  (void)state;
  check_duplex(0, 3000, 2000, true);
}
static void test_tls_duplex_stream_arrives_whole(void **state) {
  (void)state;
  check_duplex(1, 20000, 65536, false);
}
static void test_tls_large_slices_arrive_whole(void **state) {
  (void)state;
  check_duplex(1, 65536, 65536, false);
}
static void test_tls_small_slices_are_joined(void **state) {
  (void)state;
  check_duplex(1, 40, 65536, false);
}
static void test_tls_small_reads_and_pauses_lose_nothing(void **state) {
  (void)state;
  check_duplex(1, 20000, 2000, true);
}
static void test_tls_in_tls_duplex_stream_arrives_whole(void **state) {
  (void)state;
  check_duplex(2, 20000, 65536, false);
}
static void test_tls_in_tls_small_reads_and_pauses_lose_nothing(void **state) {
  (void)state;
  check_duplex(2, 9000, 3000, true);
}
static void test_tls_three_deep_arrives_whole(void **state) {
  (void)state;
  check_duplex(3, 20000, 30000, true);
}

/* ---- halves close alone ---- */
static bool server_has_all_and_eof(const struct pair *pair) {
  return pair->server.error || pair->client.error ||
         (pair->server.eof && pair->server.received == pair->client.to_send);
}

static void check_half_close(unsigned tls_layers) {
  struct pair pair;
  pair_open(&pair, tls_layers);
  pair.client.to_send = 1000;
  pair.client.shuts_down = true;
  peer_write(&pair.client);
  pair_run_until(&pair, server_has_all_and_eof);
  assert_int_equal(pair.server.error, 0);
  assert_false(pair.client.eof);
  pair.server.to_send = 300000;
  pair.server.shuts_down = true;
  peer_write(&pair.server);
  pair_run_until(&pair, pair_finished);
  assert_int_equal(pair.client.error, 0);
  assert_int_equal(pair.client.received, 300000);
  const struct mdm_slice more = {.data = (const uint8_t *)"x", .size = 1};
  assert_int_equal(net_conn_write(pair.client.conn, &more, 1), UV_EPIPE);
  pair_close(&pair);
}

static void test_plain_half_close_leaves_the_other_half(void **state) {
  (void)state;
  check_half_close(0);
}
static void test_tls_half_close_leaves_the_other_half(void **state) {
  (void)state;
  check_half_close(1);
}
static void test_tls_in_tls_half_close_leaves_the_other_half(void **state) {
  (void)state;
  check_half_close(2);
}

/* ---- endings that are not clean ---- */
static bool both_established(const struct pair *pair) {
  return net_tls_established(pair->client.conn) && net_tls_established(pair->server.conn);
}
static bool server_ended(const struct pair *pair) {
  return pair->server.error || pair->server.eof;
}
static bool client_closed(const struct pair *pair) {
  return pair->client.conn == NULL;
}

static void test_reset_is_an_error_of_the_reader(void **state) {
  struct pair pair;
  (void)state;
  pair_open(&pair, 0);
  net_conn_close(pair.client.conn, true);
  pair_run_until(&pair, server_ended);
  assert_int_equal(pair.server.error, UV_ECONNRESET);
  uint8_t byte;
  assert_int_equal(net_conn_read(pair.server.conn, &byte, 1), UV_ECONNRESET);
  const struct mdm_slice more = {.data = &byte, .size = 1};
  assert_int_equal(net_conn_write(pair.server.conn, &more, 1), UV_ECONNRESET);
  pair_close(&pair);
}

static void test_bytes_before_a_reset_can_be_read(void **state) {
  struct pair pair;
  (void)state;
  pair_open(&pair, 0);
  pair.client.to_send = 1000;
  peer_write(&pair.client);
  net_conn_close(pair.client.conn, true);
  pair_run_until(&pair, server_ended);
  assert_int_equal(pair.server.received, 1000);
  assert_int_equal(pair.server.error, UV_ECONNRESET);
  pair_close(&pair);
}

static void test_tls_fin_without_close_notify_is_a_truncation(void **state) {
  struct pair pair;
  (void)state;
  pair_open(&pair, 1);
  pair_run_until(&pair, both_established);
  pair.client.to_send = 5000;
  peer_write(&pair.client);
  net_conn_close(pair.client.conn, false);
  pair_run_until(&pair, server_ended);
  assert_int_equal(pair.server.received, 5000);
  assert_int_equal(pair.server.error, UV_ECONNRESET);
  assert_false(pair.server.eof);
  assert_string_equal(net_tls_error(pair.server.conn), "the TLS connection was cut without a close_notify");
  pair_close(&pair);
}

static void test_tls_close_during_handshake_is_told(void **state) {
  struct pair pair;
  (void)state;
  pair_open(&pair, 1);
  net_conn_close(pair.client.conn, false);
  pair_run_until(&pair, client_closed);
  pair_run_until(&pair, server_ended);
  assert_int_equal(pair.server.error, UV_ECONNRESET);
  assert_string_equal(net_tls_error(pair.server.conn), "the other side closed the connection during the TLS handshake");
  pair_close(&pair);
}

/* ---- pausing ---- */
static bool server_hung_up(const struct pair *pair) {
  return pair->server.hangups > 0;
}
static bool server_hung_up_with_error(const struct pair *pair) {
  return pair->server.hangup_errors > 0;
}
static bool server_got_event(const struct pair *pair) {
  return pair->server.readable_events > 0;
}

static void on_idle_over(uv_timer_t *timer) {
  uv_timer_stop(timer);
}

/* How often the loop wakes up in 300 ms when it has nothing to do. */
static unsigned idle_iterations(struct pair *pair) {
  unsigned count = 0;
  uv_timer_start(&pair->watchdog, on_idle_over, 300, 0);
  while (uv_is_active((uv_handle_t *)&pair->watchdog)) {
    uv_run(pair->loop.uv, UV_RUN_ONCE);
    count++;
  }
  return count;
}

static void test_unread_bytes_do_not_spin(void **state) {
  struct pair pair;
  (void)state;
  pair_open(&pair, 0);
  pair.server.reads = false;
  pair.client.to_send = 1000;
  peer_write(&pair.client);
  pair_run_until(&pair, server_got_event);
  assert_in_range(idle_iterations(&pair), 0, 20);
  assert_int_equal(pair.server.received, 0);
  pair.server.reads = true;
  pair.client.shuts_down = true;
  peer_write(&pair.client);
  net_conn_resume(pair.server.conn);
  pair_run_until(&pair, pair_finished);
  assert_int_equal(pair.server.received, 1000);
  pair_close(&pair);
}

static void test_fin_is_noticed_while_paused(void **state) {
  struct pair pair;
  (void)state;
  pair_open(&pair, 0);
  pair.server.reads = false;
  pair.client.to_send = 1000;
  pair.client.shuts_down = true;
  peer_write(&pair.client);
  pair_run_until(&pair, server_hung_up);
  assert_in_range(idle_iterations(&pair), 0, 20);
  assert_int_equal(pair.server.hangups, 1);
  assert_int_equal(pair.server.hangup_errors, 0);
  pair.server.reads = true;
  net_conn_resume(pair.server.conn);
  pair_run_until(&pair, pair_finished);
  assert_int_equal(pair.server.received, 1000);
  assert_true(pair.server.eof);
  assert_in_range(idle_iterations(&pair), 0, 20);
  pair_close(&pair);
}

static void test_fin_of_both_halves_does_not_spin(void **state) {
  struct pair pair;
  (void)state;
  pair_open(&pair, 0);
  pair.server.reads = false;
  pair.client.shuts_down = pair.server.shuts_down = true;
  pair.client.to_send = 10;
  peer_write(&pair.client);
  peer_write(&pair.server);
  pair_run_until(&pair, server_hung_up);
  assert_in_range(idle_iterations(&pair), 0, 20);
  pair.server.reads = true;
  net_conn_resume(pair.server.conn);
  pair_run_until(&pair, pair_finished);
  assert_in_range(idle_iterations(&pair), 0, 20);
  pair_close(&pair);
}

static void test_reset_is_noticed_while_paused(void **state) {
  struct pair pair;
  (void)state;
  pair_open(&pair, 0);
  net_conn_pause(pair.server.conn);
  net_conn_close(pair.client.conn, true);
  pair_run_until(&pair, server_hung_up_with_error);
  assert_int_equal(pair.server.hangup_error, UV_ECONNRESET);
  assert_in_range(idle_iterations(&pair), 0, 20);
  assert_int_equal(pair.server.hangup_errors, 1);
  net_conn_resume(pair.server.conn);
  pair_run_until(&pair, server_ended);
  assert_int_equal(pair.server.error, UV_ECONNRESET);
  pair_close(&pair);
}

static void test_reset_after_fin_is_noticed(void **state) {
  struct pair pair;
  (void)state;
  pair_open(&pair, 0);
  pair.client.shuts_down = true;
  peer_write(&pair.client);
  pair_run_until(&pair, server_ended);
  assert_true(pair.server.eof);
  net_conn_close(pair.client.conn, true);
  pair_run_until(&pair, server_hung_up_with_error);
  assert_int_equal(pair.server.hangups, 0);
  assert_in_range(idle_iterations(&pair), 0, 20);
  pair_close(&pair);
}

static void test_resume_brings_what_a_tls_layer_still_has(void **state) {
  struct pair pair;
  (void)state;
  pair_open(&pair, 1);
  pair_run_until(&pair, both_established);
  pair.server.reads = false;
  pair.server.readable_events = 0;
  pair.client.to_send = 10000;
  peer_write(&pair.client);
  pair_run_until(&pair, server_got_event);
  /* One byte is read: the rest of the record is decrypted and in OpenSSL, nothing is in the kernel. */
  uint8_t byte;
  ssize_t n;
  do {
    n = net_conn_read(pair.server.conn, &byte, 1);
    uv_run(pair.loop.uv, UV_RUN_NOWAIT);
  } while (n == UV_EAGAIN);
  assert_int_equal(n, 1);
  assert_int_equal(byte, stream_byte(pair.server.seed_in, 0));
  pair.server.received = 1;
  pair.server.reads = true;
  net_conn_resume(pair.server.conn);
  pair_run_until(&pair, pair_finished);
  assert_int_equal(pair.server.received, 10000);
  pair_close(&pair);
}

static void test_a_unix_peer_that_leaves_does_not_spin(void **state) {
  struct pair pair;
  (void)state;
  pair_open_unix(&pair);
  pair.server.reads = false;
  pair.client.to_send = 1000;
  peer_write(&pair.client);
  net_conn_close(pair.client.conn, false); /* closes both halves at once: the server sees a hang-up, and no error */
  pair_run_until(&pair, server_hung_up);
  assert_in_range(idle_iterations(&pair), 0, 20);
  pair.server.reads = true;
  net_conn_resume(pair.server.conn);
  pair_run_until(&pair, server_ended);
  assert_int_equal(pair.server.received, 1000);
  assert_true(pair.server.eof);
  assert_in_range(idle_iterations(&pair), 0, 20);
  pair_close(&pair);
}

static void test_a_new_owner_is_told_what_waits(void **state) {
  struct pair pair;
  (void)state;
  for (unsigned tls_layers = 0; tls_layers <= 1; tls_layers++) {
    pair_open(&pair, tls_layers);
    struct peer first = pair.server;
    first.reads = false;
    const struct net_conn_ops *ops = peer_events();
    net_conn_set_owner(pair.server.conn, ops, &first);
    pair.client.to_send = 3000;
    peer_write(&pair.client);
    while (pair.client.sent < 3000 || first.readable_events < (tls_layers ? 2u : 1u)) {
      uv_run(pair.loop.uv, UV_RUN_ONCE);
      net_conn_resume(pair.server.conn);
    }
    net_conn_pause(pair.server.conn);
    idle_iterations(&pair);
    net_conn_resume(pair.server.conn);
    net_conn_set_owner(pair.server.conn, ops, &pair.server);
    pair_run_until(&pair, pair_finished);
    assert_int_equal(pair.server.received, 3000);
    pair_close(&pair);
  }
}

static bool client_failed(const struct pair *pair) {
  return pair->client.error != 0;
}

static void test_a_refused_connection_is_told_to_the_writer(void **state) {
  struct pair pair;
  struct mdm_address address;
  int fd;
  (void)state;
  pair_open(&pair, 0);
  net_conn_close(pair.client.conn, true);
  pair_run_until(&pair, client_closed);
  /* Bound, so that nobody else gets the port, but not listening. */
  const struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  const int bound = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(bound, (const struct sockaddr *)&loopback, sizeof loopback), 0);
  assert_int_equal(platform_socket_names(bound, &address, NULL), 0);
  const int error = platform_socket_connect(&address, &fd);
  if (error) {
    assert_int_equal(error, UV_ECONNREFUSED); /* the loopback may know at once */
  } else {
    assert_int_equal(net_conn_open(&pair.client.conn, &pair.loop, fd, peer_events(), &pair.client), 0);
    pair.client.to_send = 10;
    peer_write(&pair.client);
    pair_run_until(&pair, client_failed);
    assert_int_equal(pair.client.error, UV_ECONNREFUSED);
    assert_in_range(idle_iterations(&pair), 0, 20);
  }
  close(bound);
  pair_close(&pair);
}

/* ---- unread ---- */
static void test_unread_bytes_come_first_and_below_a_later_layer(void **state) {
  struct pair pair;
  uint8_t start[3];
  ssize_t n;
  (void)state;
  pair_open(&pair, 0);
  pair.client.to_send = 3;
  peer_write(&pair.client);
  pair.server.reads = false;
  pair_run_until(&pair, server_got_event);
  n = net_conn_read(pair.server.conn, start, sizeof start);
  assert_int_equal(n, 3);
  assert_int_equal(net_conn_unread(pair.server.conn, start + 1, 2), 0);
  assert_int_equal(net_conn_unread(pair.server.conn, start, 1), 0);
  pair.server.reads = true;
  net_conn_resume(pair.server.conn);
  pair_run_until(&pair, pair_finished);
  assert_int_equal(pair.server.received, 3);
  assert_false(pair.server.corrupt);
  static uint8_t large[65537];
  assert_int_equal(net_conn_unread(pair.server.conn, large, sizeof large), UV_ENOBUFS);
  pair_close(&pair);
}

/* ---- to another loop ---- */
static bool server_began(const struct pair *pair) {
  return pair->server.received > 100000 && pair->server.sent > 0;
}

static void check_hand_over(unsigned tls_layers) {
  struct pair pair;
  struct net_loop other;
  struct net_parcel *parcel;
  pair_open(&pair, tls_layers);
  assert_int_equal(net_loop_init(&other, NULL, NULL, NULL), 0);
  pair.client.to_send = 2000000;
  pair.server.to_send = 2000000;
  pair.client.shuts_down = pair.server.shuts_down = true;
  pair.server.read_max = 5000;
  pair.server.slow = true; /* so that something is left in the layers and in the kernel, both ways */
  if (tls_layers > 0) {
    assert_int_equal(net_conn_detach(pair.server.conn, &parcel), UV_EBUSY);
  }
  peer_write(&pair.client);
  peer_write(&pair.server);
  pair_run_until(&pair, server_began);
  net_timer_stop(&pair.loop.wheel, &pair.server.resume_timer);
  net_task_cancel(&pair.server.resume_task);
  const uint8_t back = stream_byte(pair.server.seed_in, pair.server.received - 1);
  assert_int_equal(net_conn_unread(pair.server.conn, &back, 1), 0);
  pair.server.received--;
  assert_int_equal(net_conn_detach(pair.server.conn, &parcel), 0);
  uv_run(pair.loop.uv, UV_RUN_NOWAIT); /* the old watcher goes */
  pair.server.loop = &other;
  assert_int_equal(net_conn_attach(&pair.server.conn, &other, parcel, peer_events(), &pair.server), 0);
  assert_ptr_equal(net_conn_loop(pair.server.conn), &other);
  const uint64_t end = uv_hrtime() + UINT64_C(20000000000);
  while (!pair_finished(&pair) && uv_hrtime() < end) {
    uv_run(pair.loop.uv, UV_RUN_NOWAIT);
    uv_run(other.uv, UV_RUN_NOWAIT);
  }
  assert_true(pair_finished(&pair));
  assert_int_equal(pair.server.error, 0);
  assert_int_equal(pair.client.error, 0);
  assert_false(pair.server.corrupt);
  assert_false(pair.client.corrupt);
  net_timer_stop(&other.wheel, &pair.server.resume_timer);
  net_task_cancel(&pair.server.resume_task);
  net_conn_close(pair.server.conn, false);
  uv_run(other.uv, UV_RUN_DEFAULT);
  net_loop_clean(&other);
  pair_close(&pair);
}

static void test_a_connection_moves_to_another_loop_whole(void **state) {
  (void)state;
  check_hand_over(0);
  check_hand_over(1);
  check_hand_over(2);
}

static void test_a_parcel_that_nobody_wants_closes_the_connection(void **state) {
  struct pair pair;
  struct net_parcel *parcel;
  (void)state;
  pair_open(&pair, 1);
  pair_run_until(&pair, both_established);
  assert_int_equal(net_conn_detach(pair.client.conn, &parcel), 0);
  pair.client.conn = NULL; /* no event tells of it */
  net_parcel_free(parcel);
  pair_run_until(&pair, server_ended);
  assert_int_equal(pair.server.error, UV_ECONNRESET);
  pair_close(&pair);
}

/* ---- closing ---- */
static void close_itself(struct net_conn *conn) {
  net_conn_close(conn, false);
  net_conn_close(conn, true);
}
static void note_closed(struct net_conn *conn) {
  struct peer *peer = net_conn_owner(conn);
  peer->conn = NULL;
}
static const struct net_conn_ops closing_ops = {
    .readable = close_itself, .writable = close_itself, .closed = note_closed};

static bool server_closed(const struct pair *pair) {
  return pair->server.conn == NULL;
}

static void check_close_in_event(unsigned tls_layers) {
  struct pair pair;
  pair_open(&pair, tls_layers);
  net_conn_set_owner(pair.server.conn, &closing_ops, &pair.server);
  pair.client.to_send = 100000;
  peer_write(&pair.client);
  pair_run_until(&pair, server_closed);
  pair_close(&pair);
}

static void test_close_inside_an_event_is_safe(void **state) {
  (void)state;
  check_close_in_event(0);
  check_close_in_event(1);
  check_close_in_event(2);
}

static void test_many_connections_give_their_descriptors_back(void **state) {
  (void)state;
  unsigned before = 0;
  for (unsigned round = 0; round < 60; round++) {
    struct pair pair;
    pair_open(&pair, round % 3 == 0);
    pair.client.to_send = 100;
    peer_write(&pair.client);
    if (round % 2) {
      net_conn_close(pair.client.conn, true);
    }
    pair_close(&pair);
    if (round == 1) {
      before = open_descriptors();
    }
  }
  assert_int_equal(open_descriptors(), before);
}

static void test_addresses_are_those_of_the_socket(void **state) {
  struct pair pair;
  (void)state;
  pair_open(&pair, 0);
  assert_int_equal(net_conn_peer(pair.client.conn)->port, net_conn_local(pair.server.conn)->port);
  assert_int_equal(net_conn_peer(pair.server.conn)->port, net_conn_local(pair.client.conn)->port);
  assert_int_equal(net_conn_peer(pair.server.conn)->family, 4);
  pair_close(&pair);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_plain_duplex_stream_arrives_whole),
      cmocka_unit_test(test_plain_small_reads_and_pauses_lose_nothing),
      cmocka_unit_test(test_tls_duplex_stream_arrives_whole),
      cmocka_unit_test(test_tls_large_slices_arrive_whole),
      cmocka_unit_test(test_tls_small_slices_are_joined),
      cmocka_unit_test(test_tls_small_reads_and_pauses_lose_nothing),
      cmocka_unit_test(test_tls_in_tls_duplex_stream_arrives_whole),
      cmocka_unit_test(test_tls_in_tls_small_reads_and_pauses_lose_nothing),
      cmocka_unit_test(test_tls_three_deep_arrives_whole),
      cmocka_unit_test(test_plain_half_close_leaves_the_other_half),
      cmocka_unit_test(test_tls_half_close_leaves_the_other_half),
      cmocka_unit_test(test_tls_in_tls_half_close_leaves_the_other_half),
      cmocka_unit_test(test_reset_is_an_error_of_the_reader),
      cmocka_unit_test(test_bytes_before_a_reset_can_be_read),
      cmocka_unit_test(test_tls_fin_without_close_notify_is_a_truncation),
      cmocka_unit_test(test_tls_close_during_handshake_is_told),
      cmocka_unit_test(test_unread_bytes_do_not_spin),
      cmocka_unit_test(test_fin_is_noticed_while_paused),
      cmocka_unit_test(test_fin_of_both_halves_does_not_spin),
      cmocka_unit_test(test_reset_is_noticed_while_paused),
      cmocka_unit_test(test_reset_after_fin_is_noticed),
      cmocka_unit_test(test_resume_brings_what_a_tls_layer_still_has),
      cmocka_unit_test(test_a_unix_peer_that_leaves_does_not_spin),
      cmocka_unit_test(test_a_new_owner_is_told_what_waits),
      cmocka_unit_test(test_a_refused_connection_is_told_to_the_writer),
      cmocka_unit_test(test_unread_bytes_come_first_and_below_a_later_layer),
      cmocka_unit_test(test_a_connection_moves_to_another_loop_whole),
      cmocka_unit_test(test_a_parcel_that_nobody_wants_closes_the_connection),
      cmocka_unit_test(test_close_inside_an_event_is_safe),
      cmocka_unit_test(test_many_connections_give_their_descriptors_back),
      cmocka_unit_test(test_addresses_are_those_of_the_socket),
  };
  cmocka_set_test_filter(getenv("FILTER"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
