/* link_test.c: a mux session over every carrier: transfers, heartbeat, drain, refusal, probes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "rig.h"

#define TRANSFERS 8u

static struct transfer transfers[TRANSFERS];

static bool transfers_closed(struct rig *rig) {
  bool all = true;
  for (size_t i = 0; i < TRANSFERS; i++) {
    all = all && (transfers[i].total == 0 || transfers[i].closed);
  }
  return all && rig->held_streams == 0;
}

static void transfers_run(struct rig *rig, uint64_t total) {
  for (size_t i = 0; i < TRANSFERS; i++) {
    assert_int_equal(transfer_begin(&transfers[i], i % 2 == 0 ? rig->client.link : rig->server.link, total + i), 0);
  }
  assert_true(rig_wait(rig, transfers_closed));
  for (size_t i = 0; i < TRANSFERS; i++) {
    assert_false(transfers[i].corrupt);
    assert_false(transfers[i].reset);
    assert_true(transfers[i].fin);
    assert_true(transfers[i].received == transfers[i].total);
  }
}

static void transfers_over(struct rig *rig, enum net_carrier carrier) {
  rig_link_carrier(rig, carrier, NULL);
  rig_link_start(rig);
  transfers_run(rig, 3u << 20);
  transfers_run(rig, 1);
}

static void streams_echo_over_a_socket_pair(void **state) {
  struct rig *rig = *state;
  rig_link_pair(rig);
  rig_link_start(rig);
  transfers_run(rig, 3u << 20);
}
static void streams_echo_over_tcp(void **state) {
  transfers_over(*state, NET_CARRIER_PLAIN);
}
static void streams_echo_over_tls(void **state) {
  transfers_over(*state, NET_CARRIER_TLS);
}
static void streams_echo_over_a_websocket(void **state) {
  transfers_over(*state, NET_CARRIER_WS);
}
static void streams_echo_over_a_websocket_in_tls(void **state) {
  transfers_over(*state, NET_CARRIER_WSS);
}

/* ---- heartbeat ---- */
static bool client_ended(struct rig *rig) {
  return rig->client.ended;
}
static bool server_ended(struct rig *rig) {
  return rig->server.ended;
}
static bool both_ended(struct rig *rig) {
  return rig->client.ended && rig->server.ended;
}

static void a_silent_peer_is_noticed(void **state) {
  struct rig *rig = *state;
  int fds[2];
  struct net_conn *conn;
  static const struct net_conn_ops nothing = {0};
  rig->client_options = (struct net_link_options){.heartbeat_ms = 100, .silence_ms = 400};
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  assert_int_equal(net_conn_open(&conn, &rig->loop, fds[0], &nothing, NULL), 0);
  (void)rig_link_over(rig, &rig->client, MDM_ROLE_CLIENT, conn);
  uint64_t begun = uv_hrtime();
  assert_true(rig_wait(rig, client_ended));
  assert_int_equal(rig->client.error, UV_ETIMEDOUT);
  assert_true(uv_hrtime() - begun >= 400u * 1000000u);
  assert_non_null(strstr(rig->client.reason, "nothing was heard"));
  uint8_t said[256];
  ssize_t n = read(fds[1], said, sizeof said);
  assert_true(n >= 8 + 16); /* the magic, and a PING before it gave up */
  (void)close(fds[1]);
}

static void an_idle_link_lives_by_its_pings(void **state) {
  struct rig *rig = *state;
  rig->client_options = rig->server_options = (struct net_link_options){.heartbeat_ms = 100, .silence_ms = 400};
  rig_link_pair(rig);
  rig_link_start(rig);
  rig_run_for(rig, 1500);
  assert_false(rig->client.ended || rig->server.ended);
  assert_true(rig->client.pongs + rig->server.pongs >= 3);
}

/* The whole process stands still for longer than the silence that it allows: the peer was not silent, we were deaf. */
static void standing_still_is_not_the_peers_silence(void **state) {
  struct rig *rig = *state;
  rig->client_options = rig->server_options = (struct net_link_options){.heartbeat_ms = 100, .silence_ms = 600};
  rig_link_pair(rig);
  rig_link_start(rig);
  rig_run_for(rig, 200);
  struct timespec still = {.tv_sec = 1, .tv_nsec = 500000000};
  (void)nanosleep(&still, NULL);
  rig_run_for(rig, 800);
  assert_false(rig->client.ended || rig->server.ended);
}

static void a_peer_that_hangs_up_is_an_end(void **state) {
  struct rig *rig = *state;
  rig_link_pair(rig);
  rig_end_close(&rig->server);
  assert_true(rig_wait(rig, client_ended));
  assert_int_not_equal(rig->client.error, 0);
  assert_non_null(strstr(rig->client.reason, "closed the connection"));
}

/* ---- the end of a session ---- */
static void nonsense_ends_the_session_with_a_goaway(void **state) {
  struct rig *rig = *state;
  int fds[2];
  struct net_conn *conn;
  static const struct net_conn_ops nothing = {0};
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  assert_int_equal(net_conn_open(&conn, &rig->loop, fds[0], &nothing, NULL), 0);
  (void)rig_link_over(rig, &rig->server, MDM_ROLE_SERVER, conn);
  static const char nonsense[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  assert_int_equal(write(fds[1], nonsense, sizeof nonsense - 1), sizeof nonsense - 1);
  uint64_t begun = uv_hrtime();
  assert_true(rig_wait(rig, server_ended)); /* nobody hangs up: it does not wait for ever */
  assert_true(uv_hrtime() - begun < 5000u * 1000000ull);
  assert_int_equal(rig->server.error, UV_EPROTO);
  assert_true(strlen(rig->server.reason) > 0);
  uint8_t said[512];
  ssize_t n = read(fds[1], said, sizeof said);
  assert_true(n > 8 + 8 + 6);
  assert_memory_equal(said, MDM_MAGIC, 8);
  (void)close(fds[1]);
}

static void a_refusal_reaches_the_peer_in_words(void **state) {
  struct rig *rig = *state;
  rig_link_carrier(rig, NET_CARRIER_TLS, NULL);
  /* Unread bytes at the refusing end must not turn its goodbye into a reset. */
  char services[40000];
  memset(services, ' ', sizeof services);
  assert_int_equal(mdm_mux_send_message(net_link_mux(rig->client.link), MDM_MSG_SERVICES, services, sizeof services),
                   0);
  net_link_refuse(rig->server.link, MDM_GOAWAY_AUTH, "this token is not known here");
  assert_true(rig_wait(rig, both_ended));
  assert_true(rig->client.goaway);
  assert_int_equal(rig->client.goaway_code, MDM_GOAWAY_AUTH);
  assert_string_equal(rig->client.goaway_text, "this token is not known here");
  assert_int_equal(rig->server.error, UV_ECANCELED);
  assert_int_equal(rig->server.messages, 0);
}

static void a_refusal_in_very_many_words_is_cut(void **state) {
  struct rig *rig = *state;
  char text[3000];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  rig_link_pair(rig);
  net_link_refuse(rig->server.link, MDM_GOAWAY_NAME, text);
  assert_true(rig_wait(rig, both_ended));
  assert_int_equal(rig->client.goaway_code, MDM_GOAWAY_NAME);
}

static bool server_drained(struct rig *rig) {
  return rig->server.drained;
}
static bool client_knows(struct rig *rig) {
  return rig->client.goaway;
}

static void a_drain_lets_streams_finish(void **state) {
  struct rig *rig = *state;
  rig_link_carrier(rig, NET_CARRIER_TLS, NULL);
  rig_link_start(rig);
  struct transfer transfer;
  assert_int_equal(transfer_begin(&transfer, rig->client.link, 4u << 20), 0);
  while (transfer.received == 0) {
    rig_run_for(rig, 1);
  }
  net_link_drain(rig->server.link, MDM_GOAWAY_DRAIN, "restarting");
  assert_true(rig_wait(rig, client_knows));
  assert_true(rig_wait(rig, server_drained));
  assert_true(transfer.received == transfer.total && transfer.fin && !transfer.corrupt);
  rig_end_close(&rig->server);
  assert_true(rig_wait(rig, client_ended));
  assert_int_equal(rig->client.error, 0); /* a clean end */
}

static void a_link_that_ends_closes_its_streams_first(void **state) {
  struct rig *rig = *state;
  rig_link_pair(rig);
  rig_link_start(rig);
  struct transfer transfer;
  assert_int_equal(transfer_begin(&transfer, rig->client.link, 1u << 30), 0);
  while (transfer.received == 0) {
    rig_run_for(rig, 1);
  }
  (void)shutdown(net_conn_fd(net_link_conn(rig->server.link)), SHUT_RDWR);
  assert_true(rig_wait(rig, both_ended));
  assert_true(transfer.closed && transfer.reset);
  assert_int_equal(transfer.code, MDM_RESET_SHUTDOWN);
}

static void a_link_may_be_closed_inside_its_own_callback(void **state) {
  struct rig *rig = *state;
  rig_link_pair(rig);
  rig->server.close_on_message = true;
  assert_int_equal(mdm_mux_send_message(net_link_mux(rig->client.link), MDM_MSG_HELLO, "{}", 2), 0);
  assert_true(rig_wait(rig, client_ended));
  assert_int_equal(rig->server.messages, 1);
  assert_false(rig->server.ended); /* closed by its owner: it is told no more */
}

static void refused_streams_do_not_hurt_the_link(void **state) {
  struct rig *rig = *state;
  rig_link_pair(rig);
  rig_link_start(rig);
  rig->server.refuse_streams = true;
  for (size_t i = 0; i < TRANSFERS; i++) {
    assert_int_equal(transfer_begin(&transfers[i], rig->client.link, 100000), 0);
  }
  assert_true(rig_wait(rig, transfers_closed));
  for (size_t i = 0; i < TRANSFERS; i++) {
    assert_true(transfers[i].reset);
    assert_int_equal(transfers[i].code, MDM_RESET_REFUSED);
  }
  rig->server.refuse_streams = false;
  transfers_run(rig, 1000);
}

/* ---- probes ---- */
struct asked {
  struct net_probe probe;
  unsigned answers;
  bool alive;
};

static void on_answer(struct net_probe *probe, bool alive) {
  struct asked *asked = (struct asked *)(void *)probe;
  asked->answers++;
  asked->alive = alive;
}

static struct asked asked[NET_PROBES_MAX + 2];

static bool all_answered(struct rig *rig) {
  (void)rig;
  for (size_t i = 0; i < NET_PROBES_MAX + 2; i++) {
    if (asked[i].probe.done != NULL && asked[i].answers == 0) {
      return false;
    }
  }
  return true;
}

static void ask(struct rig *rig, size_t count, uint32_t timeout_ms) {
  memset(asked, 0, sizeof asked);
  for (size_t i = 0; i < count; i++) {
    asked[i].probe.done = on_answer;
    net_link_probe(rig->client.link, &asked[i].probe, timeout_ms);
  }
}

static void a_probe_finds_a_living_peer(void **state) {
  struct rig *rig = *state;
  rig_link_pair(rig);
  ask(rig, 3, 5000);
  uint64_t begun = uv_hrtime();
  assert_true(rig_wait(rig, all_answered));
  assert_true(uv_hrtime() - begun < 2000u * 1000000ull);
  for (size_t i = 0; i < 3; i++) {
    assert_true(asked[i].alive);
    assert_int_equal(asked[i].answers, 1);
  }
}

static void a_probe_finds_a_frozen_peer(void **state) {
  struct rig *rig = *state;
  rig_link_pair(rig);
  rig_run_for(rig, 100);
  net_conn_pause(net_link_conn(rig->server.link)); /* as SIGSTOP would: connected, and silent */
  ask(rig, 2, 300);
  assert_true(rig_wait(rig, all_answered));
  assert_false(asked[0].alive || asked[1].alive);
}

static void a_probe_of_a_link_that_closes_is_answered(void **state) {
  struct rig *rig = *state;
  rig_link_pair(rig);
  net_conn_pause(net_link_conn(rig->server.link));
  ask(rig, 2, 60000);
  net_probe_cancel(&asked[1].probe);
  asked[1].probe.done = NULL;
  rig_end_close(&rig->client);
  assert_int_equal(asked[0].answers, 0); /* not from inside */
  assert_true(rig_wait(rig, all_answered));
  assert_false(asked[0].alive);
  assert_int_equal(asked[1].answers, 0);
}

static void probes_beyond_the_limit_are_told_that_it_lives(void **state) {
  struct rig *rig = *state;
  rig_link_pair(rig);
  rig_run_for(rig, 100);
  net_conn_pause(net_link_conn(rig->server.link));
  ask(rig, NET_PROBES_MAX + 1, 300);
  assert_true(rig_wait(rig, all_answered));
  assert_false(asked[0].alive || asked[NET_PROBES_MAX - 1].alive);
  assert_true(asked[NET_PROBES_MAX].alive);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)

int main(void) {
  static const struct CMUnitTest tests[] = {
      TEST(streams_echo_over_a_socket_pair),
      TEST(streams_echo_over_tcp),
      TEST(streams_echo_over_tls),
      TEST(streams_echo_over_a_websocket),
      TEST(streams_echo_over_a_websocket_in_tls),
      TEST(a_silent_peer_is_noticed),
      TEST(an_idle_link_lives_by_its_pings),
      TEST(standing_still_is_not_the_peers_silence),
      TEST(a_peer_that_hangs_up_is_an_end),
      TEST(nonsense_ends_the_session_with_a_goaway),
      TEST(a_refusal_reaches_the_peer_in_words),
      TEST(a_refusal_in_very_many_words_is_cut),
      TEST(a_drain_lets_streams_finish),
      TEST(a_link_that_ends_closes_its_streams_first),
      TEST(a_link_may_be_closed_inside_its_own_callback),
      TEST(refused_streams_do_not_hurt_the_link),
      TEST(a_probe_finds_a_living_peer),
      TEST(a_probe_finds_a_frozen_peer),
      TEST(a_probe_of_a_link_that_closes_is_answered),
      TEST(probes_beyond_the_limit_are_told_that_it_lives),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
