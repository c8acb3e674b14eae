/* dial_test.c: from a name to a connection: families, refusals, black holes, proxies, and what is said when it does not
 * work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "fake.h"
#include "race.h"
#include "rig.h"

static struct net_dial_request to(struct rig *rig, enum net_carrier carrier, const char *host, uint16_t port) {
  struct net_dial_request request = {.endpoint = {.carrier = carrier, .port = port, .path = NET_LINK_PATH},
                                     .link_tls = rig->link_client,
                                     .web_tls = rig->web_client};
  (void)snprintf(request.endpoint.host, sizeof request.endpoint.host, "%s", host);
  return request;
}

static void fails(struct rig *rig, const struct net_dial_request *request, int error, const char *first,
                  const char *second) {
  rig_dial(rig, request);
  assert_null(rig->dialled);
  if (strstr(rig->dial_reason, first) == NULL || strstr(rig->dial_reason, second) == NULL ||
      (error != 0 && rig->dial_error != error)) {
    fail_msg("%d \"%s\" does not say \"%s\" and \"%s\"", rig->dial_error, rig->dial_reason, first, second);
  }
}

static uint16_t a_closed_port(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
  (void)close(fd);
  return ntohs(address.sin_port);
}

static void a_refusal_names_whom(void **state) {
  struct rig *rig = *state;
  uint16_t port = a_closed_port();
  char where[64];
  struct net_dial_request request = to(rig, NET_CARRIER_TLS, "127.0.0.1", port);
  (void)snprintf(where, sizeof where, "127.0.0.1:%u", (unsigned)port);
  fails(rig, &request, UV_ECONNREFUSED, "cannot connect", where);
}

/* The listener is on 127.0.0.1 alone: ::1 is refused, or missing, and the next one is tried at once. */
static void the_next_address_is_tried(void **state) {
  struct rig *rig = *state;
  static const char *const names[] = {"localhost", "LocalHost.", "app.localhost"};
  rig_listen(rig, RIG_LINK_TLS);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    struct net_dial_request request = to(rig, NET_CARRIER_TLS, names[i], rig->port);
    rig_dial(rig, &request);
    assert_int_equal(rig->dial_error, 0);
    net_conn_close(rig->dialled, false);
    rig->dialled = NULL;
    rig_end_close(&rig->server);
  }
}

#define FILLERS 16

/* A listener whose queue is full drops what comes: nothing answers, nothing refuses. */
struct hole {
  int listener, fillers[FILLERS];
  uint16_t port;
};

static bool hole_open(struct hole *hole) {
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  socklen_t size = sizeof address;
  int on = 1;
  for (size_t i = 0; i < FILLERS; i++) {
    hole->fillers[i] = -1;
  }
  hole->listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (hole->listener < 0 || setsockopt(hole->listener, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0 ||
      bind(hole->listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(hole->listener, 0) != 0 ||
      getsockname(hole->listener, (struct sockaddr *)&address, &size) != 0) {
    return false;
  }
  hole->port = ntohs(address.sin6_port);
  for (size_t i = 0; i < FILLERS; i++) {
    hole->fillers[i] = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)connect(hole->fillers[i], (struct sockaddr *)&address, sizeof address);
  }
  return true;
}

static void hole_close(struct hole *hole) {
  for (size_t i = 0; i < FILLERS; i++) {
    if (hole->fillers[i] >= 0) {
      (void)close(hole->fillers[i]);
    }
  }
  if (hole->listener >= 0) {
    (void)close(hole->listener);
  }
}

static void a_black_hole_costs_one_attempt_delay(void **state) {
  struct rig *rig = *state;
  struct hole hole;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (!hole_open(&hole)) { /* no IPv6 on this machine */
    hole_close(&hole);
    skip();
  }
  int good = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  address.sin_port = htons(hole.port);
  if (bind(good, (struct sockaddr *)&address, sizeof address) != 0) { /* somebody else has the port */
    (void)close(good);
    hole_close(&hole);
    skip();
  }
  assert_int_equal(listen(good, 8), 0);
  struct net_dial_request request = to(rig, NET_CARRIER_NONE, "localhost", hole.port);
  uint64_t begun = uv_hrtime();
  rig_dial(rig, &request);
  uint64_t took_ms = (uv_hrtime() - begun) / 1000000u;
  assert_int_equal(rig->dial_error, 0);
  assert_int_equal(net_conn_peer(rig->dialled)->family, 4);
  assert_true(took_ms + 100 >= NET_DIAL_ATTEMPT_MS); /* libuv counts from the start of its iteration */
  assert_true(took_ms < 5000);
  (void)close(good);
  hole_close(&hole);
}

static void a_black_hole_alone_is_a_timeout(void **state) {
  struct rig *rig = *state;
  struct hole hole;
  if (!hole_open(&hole)) {
    hole_close(&hole);
    skip();
  }
  struct net_dial_request request = to(rig, NET_CARRIER_TLS, "::1", hole.port);
  request.timeout_ms = 300;
  fails(rig, &request, UV_ETIMEDOUT, "did not answer", "[::1]:");
  hole_close(&hole);
}

static void a_name_that_is_nobodys_is_said_so(void **state) {
  struct rig *rig = *state;
  struct net_dial_request request = to(rig, NET_CARRIER_TLS, "no-such-host.invalid", 1);
  request.timeout_ms = 5000;
  fails(rig, &request, 0, "no-such-host.invalid", "");
}

static void a_dial_may_be_cancelled_at_any_step(void **state) {
  struct rig *rig = *state;
  struct fake fake = {.mode = FAKE_SILENT};
  fake_open(&fake, rig);
  static const char *const hosts[] = {"127.0.0.1", "localhost", "no-such-host.invalid"};
  for (size_t i = 0; i < 12; i++) {
    struct net_dial *dial;
    struct net_dial_request request = to(rig, i % 2 == 0 ? NET_CARRIER_WSS : NET_CARRIER_WS, hosts[i % 3], fake.port);
    assert_int_equal(net_dial_start(&dial, &rig->loop, &request, NULL, NULL), 0); /* an answer would crash */
    if (i >= 3 && i % 3 != 2) {
      rig_run_for(rig, (unsigned)i * 5);
    }
    net_dial_cancel(dial);
  }
  fake_close(&fake);
}

static void a_unix_socket_is_dialled(void **state) {
  struct rig *rig = *state;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", rig->directory);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(listen(fd, 1), 0);
  struct net_dial_request request = {.unix_path = address.sun_path};
  rig_dial(rig, &request);
  assert_int_equal(rig->dial_error, 0);
  (void)close(fd);
  (void)unlink(address.sun_path);
  net_conn_close(rig->dialled, false);
  rig->dialled = NULL;
  fails(rig, &request, UV_ENOENT, "cannot connect", address.sun_path);
}

/* ---- what the other side may be ---- */
static void a_server_without_tls_is_named(void **state) {
  struct rig *rig = *state;
  struct fake fake = {.mode = FAKE_HANG_UP};
  fake_open(&fake, rig);
  struct net_dial_request request = to(rig, NET_CARRIER_TLS, "127.0.0.1", fake.port);
  fails(rig, &request, 0, "the link's TLS", "127.0.0.1:");
  request.endpoint.carrier = NET_CARRIER_WSS;
  fails(rig, &request, 0, "TLS with", "127.0.0.1:");
  fake_close(&fake);
}

static void a_silent_server_is_a_timeout_that_names_the_step(void **state) {
  struct rig *rig = *state;
  struct fake fake = {.mode = FAKE_SILENT};
  fake_open(&fake, rig);
  struct net_dial_request request = to(rig, NET_CARRIER_TLS, "127.0.0.1", fake.port);
  request.timeout_ms = 200;
  fails(rig, &request, UV_ETIMEDOUT, "did not answer", "the link's TLS");
  request.endpoint.carrier = NET_CARRIER_WS;
  fails(rig, &request, UV_ETIMEDOUT, "did not answer", "WebSocket");
  fake_close(&fake);
}

static void upgrades_that_are_none(void **state) {
  struct rig *rig = *state;
#define UPGRADED "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
  static const struct {
    const char *answer, *says;
  } table[] = {
      {"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "404"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200"},
      {"HTTP/1.1 301 Moved\r\nLocation: https://x/\r\n\r\n", "redirects"},
      {"HTTP/1.1 403 Forbidden\r\n\r\n", "authentication"},
      {UPGRADED "\r\n", "proof"},
      {UPGRADED "Sec-WebSocket-Accept: c29tZXRoaW5nIHdyb25nIGhlcmU=\r\n\r\n", "proof"},
      {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "proof"},
      {"SSH-2.0-OpenSSH_9.2\r\n\r\n", "nonsense"},
      {"HTTP/1.1 200 OK\nX: y\n\n", "nonsense"},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    struct fake fake = {.mode = FAKE_ANSWER, .answer = table[i].answer};
    fake_open(&fake, rig);
    struct net_dial_request request = to(rig, NET_CARRIER_WS, "127.0.0.1", fake.port);
    fails(rig, &request, 0, table[i].says, "127.0.0.1:");
    fake_close(&fake);
  }
}

static void an_answer_without_end_is_refused(void **state) {
  struct rig *rig = *state;
  char answer[12000] = "HTTP/1.1 101 Switching Protocols\r\nX: ";
  memset(answer + strlen(answer), 'x', sizeof answer - 1 - strlen(answer));
  struct fake fake = {.mode = FAKE_ANSWER, .answer = answer};
  fake_open(&fake, rig);
  struct net_dial_request request = to(rig, NET_CARRIER_WS, "127.0.0.1", fake.port);
  fails(rig, &request, UV_EPROTO, "too long", "");
  fake_close(&fake);
}

static void the_upgrade_names_host_and_path(void **state) {
  struct rig *rig = *state;
  struct fake fake = {.mode = FAKE_ANSWER, .answer = "HTTP/1.1 404 Not Found\r\n\r\n"};
  char line[128];
  fake_open(&fake, rig);
  struct net_dial_request request = to(rig, NET_CARRIER_WS, "127.0.0.1", fake.port);
  rig_dial(rig, &request);
  assert_int_equal(strncmp(fake.head, "GET " NET_LINK_PATH " HTTP/1.1\r\n", strlen(NET_LINK_PATH) + 15), 0);
  (void)snprintf(line, sizeof line, "\r\nHost: 127.0.0.1:%u\r\n", (unsigned)fake.port);
  assert_non_null(strstr(fake.head, line));
  fake_close(&fake);
}

/* ---- through a proxy ---- */
#define TIM_SECRET "Basic dGltOnNlY3JldA==" /* tim:secret */

static struct net_proxy proxy_at(const struct fake *fake, const char *user, const char *password) {
  struct net_proxy proxy;
  char url[64];
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", (unsigned)fake->port);
  assert_int_equal(net_proxy_parse(&proxy, url, user, password, NULL, 0), 0);
  return proxy;
}

static struct transfer transfer;

static bool transfer_over(struct rig *rig) {
  (void)rig;
  return transfer.closed;
}

static void links_pass_a_proxy_that_wants_a_password(void **state) {
  struct rig *rig = *state;
  static const enum net_carrier carriers[] = {NET_CARRIER_TLS, NET_CARRIER_WS, NET_CARRIER_WSS};
  struct fake fake = {.mode = FAKE_PROXY, .authorization = TIM_SECRET};
  fake_open(&fake, rig);
  struct net_proxy proxy = proxy_at(&fake, "tim", "secret");
  for (size_t i = 0; i < sizeof carriers / sizeof *carriers; i++) {
    rig_link_carrier(rig, carriers[i], &proxy);
    rig_link_start(rig);
    assert_int_equal(transfer_begin(&transfer, rig->client.link, 2000000), 0);
    assert_true(rig_wait(rig, transfer_over));
    assert_true(transfer.fin && !transfer.corrupt && transfer.received == transfer.total);
    rig_end_close(&rig->client);
    rig_end_close(&rig->server);
    net_listener_close(rig->listener);
    rig->listener = NULL;
  }
  assert_int_equal(fake.connections, 3);
  net_proxy_clean(&proxy);
  fake_close(&fake);
}

static void a_proxy_that_does_not_let_us_through_is_quoted(void **state) {
  struct rig *rig = *state;
  static const struct {
    enum fake_mode mode;
    const char *answer, *user, *password, *says;
    int error; /* 0 = any */
  } table[] = {
      {FAKE_PROXY, NULL, NULL, NULL, "--proxy-username", NET_PROXY_LOGIN},
      {FAKE_PROXY, NULL, "tim", "wrong-password", "does not take", NET_PROXY_LOGIN},
      {FAKE_ANSWER, "HTTP/1.1 403 Forbidden\r\n\r\n", NULL, NULL, "443", 0},
      {FAKE_ANSWER, "HTTP/1.1 502 Bad Gateway\r\n\r\n", NULL, NULL, "could not reach 127.0.0.1:9", 0},
      {FAKE_ANSWER, "HTTP/1.1 418 Teapot\r\n\r\n", NULL, NULL, "418", 0},
      {FAKE_ANSWER, "nonsense\r\n\r\n", NULL, NULL, "nonsense", 0},
      {FAKE_HANG_UP, NULL, NULL, NULL, "hung up", 0},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    struct fake fake = {.mode = table[i].mode, .answer = table[i].answer, .authorization = TIM_SECRET};
    fake_open(&fake, rig);
    struct net_proxy proxy = proxy_at(&fake, table[i].user, table[i].password);
    struct net_dial_request request = to(rig, NET_CARRIER_TLS, "127.0.0.1", 9);
    request.proxy = &proxy;
    fails(rig, &request, table[i].error, table[i].says, "the proxy 127.0.0.1:");
    assert_null(strstr(rig->dial_reason, "wrong-password"));
    net_proxy_clean(&proxy);
    fake_close(&fake);
  }
}

/* RFC 9110 section 9.3.6: a 2xx to CONNECT has no body, whatever its fields say; the target may speak first. */
static void what_comes_behind_the_proxys_answer_is_kept(void **state) {
  struct rig *rig = *state;
  static const char *const answers[] = {
      "HTTP/1.1 200 OK\r\n\r\nSSH-2.0",
      "HTTP/1.0 200 OK\r\nX-Empty:\r\nContent-Length: 0\r\n\r\nSSH-2.0",
      "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nSSH-2.0",
      "HTTP/1.1 299 Odd\r\nTransfer-Encoding: chunked\r\n\r\nSSH-2.0",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nSSH-2.0",
  };
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    struct fake fake = {.mode = FAKE_ANSWER, .answer = answers[i]};
    char got[64];
    fake_open(&fake, rig);
    struct net_proxy proxy = proxy_at(&fake, NULL, NULL);
    struct net_dial_request request = to(rig, NET_CARRIER_NONE, "127.0.0.1", 22);
    request.proxy = &proxy;
    rig_dial(rig, &request);
    assert_string_equal(rig->dial_reason, "");
    if (net_conn_read(rig->dialled, got, sizeof got) != 7 || memcmp(got, "SSH-2.0", 7) != 0) {
      fail_msg("lost behind %s", answers[i]);
    }
    net_conn_close(rig->dialled, false);
    rig->dialled = NULL;
    net_proxy_clean(&proxy);
    fake_close(&fake);
  }
}

static void a_proxy_that_is_not_there_is_named(void **state) {
  struct rig *rig = *state;
  struct fake nowhere = {.port = a_closed_port()};
  struct net_proxy proxy = proxy_at(&nowhere, NULL, NULL);
  struct net_dial_request request = to(rig, NET_CARRIER_TLS, "127.0.0.1", 9);
  request.proxy = &proxy;
  fails(rig, &request, UV_ECONNREFUSED, "the proxy", "127.0.0.1:");
  net_proxy_clean(&proxy);
}

static bool client_ended(struct rig *rig) {
  return rig->client.ended && rig->server.ended;
}

static void a_proxy_that_cuts_ends_the_link(void **state) {
  struct rig *rig = *state;
  struct fake fake = {.mode = FAKE_PROXY, .cut_after = 300000};
  fake_open(&fake, rig);
  struct net_proxy proxy = proxy_at(&fake, NULL, NULL);
  rig_link_carrier(rig, NET_CARRIER_WSS, &proxy);
  rig_link_start(rig);
  assert_int_equal(transfer_begin(&transfer, rig->client.link, 20000000), 0);
  assert_true(rig_wait(rig, client_ended));
  assert_true(transfer.closed && transfer.reset && !transfer.corrupt);
  assert_int_not_equal(rig->client.error, 0);
  net_proxy_clean(&proxy);
  fake_close(&fake);
}

static void families_take_turns(void **state) {
  (void)state;
  static const uint8_t before[] = {4, 4, 6, 4, 6}, after[] = {6, 4, 6, 4, 4};
  struct mdm_address list[5] = {{0}};
  for (uint8_t i = 0; i < 5; i++) {
    list[i].family = before[i];
    list[i].port = i;
  }
  net_race_interleave(list, 5);
  for (size_t i = 0; i < 5; i++) {
    assert_int_equal(list[i].family, after[i]);
  }
  assert_int_equal(list[0].port, 2); /* each family keeps its order */
  assert_int_equal(list[1].port, 0);
  assert_int_equal(list[4].port, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(families_take_turns),
      TEST(a_refusal_names_whom),
      TEST(the_next_address_is_tried),
      TEST(a_black_hole_costs_one_attempt_delay),
      TEST(a_black_hole_alone_is_a_timeout),
      TEST(a_name_that_is_nobodys_is_said_so),
      TEST(a_dial_may_be_cancelled_at_any_step),
      TEST(a_unix_socket_is_dialled),
      TEST(a_server_without_tls_is_named),
      TEST(a_silent_server_is_a_timeout_that_names_the_step),
      TEST(upgrades_that_are_none),
      TEST(an_answer_without_end_is_refused),
      TEST(the_upgrade_names_host_and_path),
      TEST(links_pass_a_proxy_that_wants_a_password),
      TEST(a_proxy_that_does_not_let_us_through_is_quoted),
      TEST(what_comes_behind_the_proxys_answer_is_kept),
      TEST(a_proxy_that_is_not_there_is_named),
      TEST(a_proxy_that_cuts_ends_the_link),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
