/* listener_test.c: accepting, also when descriptors run out. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "listener.h"
#include "log.h"
#include "platform.h"

#define CLIENTS 8u

static const struct mdm_address loopback4 = {.family = 4, .bytes = {127, 0, 0, 1}};

struct fixture {
  struct net_loop loop;
  struct net_log *log;
  struct net_listener *listener;
  unsigned accepted, logged, iterations;
  uint8_t peer_family;
  struct net_timer timeout;
  bool timed_out;
};

static void on_log(enum net_log_level level, const char *line, void *user) {
  struct fixture *fixture = user;
  assert_int_equal(level, NET_LOG_ERROR);
  assert_non_null(strstr(line, "too many open files"));
  fixture->logged++;
}

static void on_accept(struct net_listener *listener, int fd, const struct mdm_address *peer, void *user) {
  struct fixture *fixture = user;
  assert_ptr_equal(listener, fixture->listener);
  assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
  assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  fixture->peer_family = peer->family;
  fixture->accepted++;
  close(fd);
}

static void on_timeout(struct net_timer *timer) {
  struct fixture *fixture = (struct fixture *)(void *)((char *)timer - offsetof(struct fixture, timeout));
  fixture->timed_out = true;
}

static void fixture_open(struct fixture *fixture, const struct mdm_address *address, bool dual_stack) {
  memset(fixture, 0, sizeof *fixture);
  fixture->timeout.fire = on_timeout;
  fixture->log = net_log_new(&(struct net_log_config){.level = NET_LOG_INFO, .sink = on_log, .user = fixture});
  assert_int_equal(net_loop_init(&fixture->loop, NULL, NULL, fixture->log), 0);
  const struct net_listener_options options = {.dual_stack = dual_stack, .reuse_port = true};
  assert_int_equal(net_listener_open(&fixture->listener, &fixture->loop, address, &options, on_accept, fixture), 0);
}

static void fixture_close(struct fixture *fixture) {
  net_timer_stop(&fixture->loop.wheel, &fixture->timeout);
  net_listener_close(fixture->listener);
  net_listener_close(fixture->listener);
  net_loop_clean(&fixture->loop);
  net_log_free(fixture->log);
}

static void run_for(struct fixture *fixture, uint64_t ms, unsigned until_accepted) {
  fixture->timed_out = false;
  net_timer_start(&fixture->loop.wheel, &fixture->timeout, ms);
  while (!fixture->timed_out && fixture->accepted < until_accepted) {
    uv_run(fixture->loop.uv, UV_RUN_ONCE);
    fixture->iterations++;
  }
}

static int client_connect(const struct fixture *fixture) {
  int fd;
  assert_int_equal(platform_socket_connect(net_listener_address(fixture->listener), &fd), 0);
  return fd;
}

static void test_accepts_a_batch(void **state) {
  struct fixture fixture;
  int clients[CLIENTS];
  (void)state;
  fixture_open(&fixture, &loopback4, false);
  assert_int_not_equal(net_listener_port(fixture.listener), 0);
  for (unsigned i = 0; i < CLIENTS; i++) {
    clients[i] = client_connect(&fixture);
  }
  run_for(&fixture, 5000, CLIENTS);
  assert_int_equal(fixture.accepted, CLIENTS);
  assert_int_equal(fixture.peer_family, 4);
  for (unsigned i = 0; i < CLIENTS; i++) {
    close(clients[i]);
  }
  fixture_close(&fixture);
}

static void test_the_any_address_takes_both_families(void **state) {
  struct fixture fixture;
  const struct mdm_address any6 = {.family = 6};
  (void)state;
  struct mdm_address target = loopback4;
  const int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) {
    skip();
  }
  close(probe);
  fixture_open(&fixture, &any6, true);
  target.port = net_listener_port(fixture.listener);
  int fd;
  assert_int_equal(platform_socket_connect(&target, &fd), 0);
  run_for(&fixture, 5000, 1);
  assert_int_equal(fixture.accepted, 1);
  assert_int_equal(fixture.peer_family, 4); /* not a mapped IPv6 address */
  close(fd);
  fixture_close(&fixture);
}

static void test_an_address_in_use_is_an_error(void **state) {
  struct fixture fixture;
  struct net_listener *second = NULL;
  const struct net_listener_options options = {.reuse_port = false};
  (void)state;
  fixture_open(&fixture, &loopback4, false);
  assert_int_equal(
      net_listener_open(&second, &fixture.loop, net_listener_address(fixture.listener), &options, on_accept, &fixture),
      UV_EADDRINUSE);
  assert_null(second);
  fixture_close(&fixture);
}

static void test_full_descriptor_table_refuses_rests_and_recovers(void **state) {
  struct fixture fixture;
  struct rlimit before;
  (void)state;
  fixture_open(&fixture, &loopback4, false);
  int client = client_connect(&fixture);
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
  /* No room above what is open: the lowest free descriptor becomes the limit. */
  const int lowest = dup(0);
  assert_true(lowest >= 0);
  close(lowest);
  const struct rlimit tight = {.rlim_cur = (rlim_t)lowest, .rlim_max = before.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
  run_for(&fixture, 400, 1);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
  assert_int_equal(fixture.accepted, 0);
  assert_int_equal(fixture.logged, 1);        /* once, however long it lasts */
  assert_in_range(fixture.iterations, 1, 40); /* it does not spin */
  uint8_t byte;
  assert_int_equal(platform_socket_recv(client, &byte, 1), UV_ECONNRESET); /* it was told, not left in the queue */
  close(client);
  client = client_connect(&fixture);
  run_for(&fixture, 5000, 1);
  assert_int_equal(fixture.accepted, 1);
  close(client);
  fixture_close(&fixture);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_accepts_a_batch),
      cmocka_unit_test(test_the_any_address_takes_both_families),
      cmocka_unit_test(test_an_address_in_use_is_an_error),
      cmocka_unit_test(test_full_descriptor_table_refuses_rests_and_recovers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
