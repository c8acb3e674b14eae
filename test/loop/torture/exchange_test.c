/* exchange_test.c: no memory somewhere between visitor and origin: server and client on one loop, each of their allocations failing in turn, from
 * the start of both to the end of an exchange. The start is refused in words, the client gives up in words, or the visitor gets an answer or a closed
 * connection; nobody waits for ever, nothing is left, and once memory is back the tunnel works. Visitor and origin are threads of their own, which
 * are never refused. Most of the time is spent waiting for the client's next attempt, so the allocations are dealt out to processes. */
#include "each.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sodium.h>
#include <uv.h>

#include "hello.h"
#include "identity.h"
#include "mdm/client.h"
#include "mdm/server.h"
#include "users.h"

#define WAIT_MS   15000u
#define PROCESSES 8u
#define BODY_SIZE 300000u /* both ways: more than the sockets and windows take at once */

static unsigned process; /* which of them this is */

struct rig {
  uv_loop_t loop;
  uv_async_t wake;
  char dir[64], state[96], known[96], access[96];
  int origin_fd;
  uint16_t origin_port;
  uv_thread_t origin;
  mdm_server *server;
  mdm_client *client;
  char users[96], certificate[112], key[112], token[NET_TEXT_MAX + 1];
  bool websocket; /* carries the link */
  bool guarded;   /* users with tokens, HTTPS, and a hook that is asked about visits */
  bool url, refused, client_stopped, server_stopped, client_closed;
};

/* ---- sockets of the threads ---- */
static bool send_all(int fd, const char *data, size_t size) {
  for (ssize_t n; size > 0; data += n, size -= (size_t)n) {
    if ((n = send(fd, data, size, MSG_NOSIGNAL)) <= 0) {
      return false;
    }
  }
  return true;
}

static const char filler[BODY_SIZE];

/* ---- origin: reads a request with its body and answers with another; one connection after the other ---- */
static void origin_serve(int fd) {
  char head[4096];
  size_t used = 0;
  ssize_t n;
  char *end = NULL, *length;
  while (end == NULL && used < sizeof head - 1 && (n = recv(fd, head + used, sizeof head - 1 - used, 0)) > 0) {
    used += (size_t)n;
    head[used] = '\0';
    end = strstr(head, "\r\n\r\n");
  }
  if (end == NULL) {
    return;
  }
  length = strcasestr(head, "content-length:");
  size_t body = length != NULL ? strtoul(length + 15, NULL, 10) : 0, have = used - (size_t)(end + 4 - head);
  static char waste[65536];
  while (have < body && (n = recv(fd, waste, sizeof waste, 0)) > 0) {
    have += (size_t)n;
  }
  char answer[128];
  const int size = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %u\r\n\r\n", BODY_SIZE);
  if (strncmp(head, "GET /auth ", 10) == 0) {
    static const char granted[] = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    (void)send_all(fd, granted, sizeof granted - 1);
  } else if (have == body && send_all(fd, answer, (size_t)size)) {
    (void)send_all(fd, filler, sizeof filler);
  }
}

static void origin_main(void *arg) {
  const struct timeval patience = {.tv_sec = WAIT_MS / 1000};
  struct rig *rig = arg;
  int fd;
  while ((fd = accept(rig->origin_fd, NULL, NULL)) >= 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    origin_serve(fd);
    close(fd);
  }
}

/* ---- visitor: one request on a connection of its own ---- */
enum { VISIT_CLOSED = 0, VISIT_HUNG = -1, VISIT_CUT = -2 }; /* else the status */

struct visit {
  struct rig *rig;
  uint16_t port;
  const char *host;
  size_t body;
  int result;
  atomic_bool done;
};

static int visit(const struct visit *visit) {
  static char answer[BODY_SIZE + 65536];
  const struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(visit->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const struct timeval patience = {.tv_sec = WAIT_MS / 1000};
  size_t used = 0;
  ssize_t n = 0;
  char head[256];
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int result = VISIT_CLOSED;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  const int size = snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", visit->host, visit->body);
  if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 && send_all(fd, head, (size_t)size)) {
    (void)send_all(fd, filler, visit->body); /* an answer may come before the end of it */
    while (used < sizeof answer - 1 && (n = recv(fd, answer + used, sizeof answer - 1 - used, 0)) > 0) {
      used += (size_t)n;
    }
    answer[used] = '\0';
    const char *end = strstr(answer, "\r\n\r\n"), *length = strcasestr(answer, "content-length:");
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      result = VISIT_HUNG;
    } else if (end != NULL && length != NULL && length < end) {
      const size_t have = used - (size_t)(end + 4 - answer);
      result = have == strtoul(length + 15, NULL, 10) ? atoi(answer + 9) : VISIT_CUT; /* the visitor can see that */
    }
  }
  close(fd);
  return result;
}

static void visit_main(void *arg) {
  struct visit *v = arg;
  v->result = visit(v);
  atomic_store(&v->done, true);
  uv_async_send(&v->rig->wake);
}

/* ---- the loop ---- */
static void on_wake(uv_async_t *async) {
  (void)async;
}

static void on_late(uv_timer_t *timer) {
  *(bool *)timer->data = true;
}

static bool until(struct rig *rig, bool (*done)(void *arg), void *arg, uint64_t ms) {
  uv_timer_t timer;
  bool late = false;
  uv_timer_init(&rig->loop, &timer);
  timer.data = &late;
  uv_timer_start(&timer, on_late, ms, 0);
  while (!late && !done(arg)) {
    uv_run(&rig->loop, UV_RUN_ONCE);
  }
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&rig->loop, UV_RUN_NOWAIT);
  return !late;
}

static bool visit_done(void *arg) {
  return atomic_load(&((struct visit *)arg)->done);
}

static int ask(struct rig *rig, uint16_t port, const char *host, size_t body) {
  struct visit v = {.rig = rig, .port = port, .host = host, .body = body};
  uv_thread_t thread;
  assert_int_equal(uv_thread_create(&thread, visit_main, &v), 0);
  if (!until(rig, visit_done, &v, 2 * WAIT_MS)) {
    fail_msg("the visitor of %s waits for ever", host);
  }
  uv_thread_join(&thread);
  return v.result;
}

/* ---- server and client ---- */
static void on_event(mdm_client *client, const struct mdm_client_event *event, void *user) {
  struct rig *rig = user;
  (void)client;
  rig->url |= event->type == MDM_CLIENT_EVENT_URL;
  rig->refused |= event->type == MDM_CLIENT_EVENT_REFUSED;
  rig->client_stopped |= event->type == MDM_CLIENT_EVENT_STOPPED;
}

static void on_log(int level, const char *line, void *user) {
  (void)user;
  if (getenv("MDM_TEST_VERBOSE") != NULL) {
    fprintf(stderr, "server %d: %s\n", level, line);
  }
}

static void on_client_log(enum mdm_client_log level, const char *line, void *user) {
  on_log((int)level, line, user);
}

static void on_server_stopped(mdm_server *server, void *user) {
  (void)server;
  ((struct rig *)user)->server_stopped = true;
}

static bool server_stopped(void *arg) {
  return ((struct rig *)arg)->server_stopped;
}

static void on_client_closed(void *user) {
  ((struct rig *)user)->client_closed = true;
}

static bool client_closed(void *arg) {
  return ((struct rig *)arg)->client_closed;
}

static bool client_served_or_stopped(void *arg) {
  const struct rig *rig = arg;
  return rig->url || rig->client_stopped;
}

static int start_server(struct rig *rig) {
  char error[512] = "";
  char url[64];
  char *argv[] = {"-p", "0", "-c", "0", "--hold", "0", "-v", "--access-log", rig->access, "--state-dir", rig->state, "--bind", "127.0.0.1",
                  /* when guarded: */
                  "--users", rig->users, "--https-port", "0", "--tls-cert", rig->certificate, "--tls-key", rig->key, "--auth-url", url};
  const int argc = sizeof argv / sizeof *argv - (rig->guarded ? 0 : 10);
  const struct mdm_server_options options = {.loop = &rig->loop, .argc = argc, .argv = argv, .log = on_log, .user = rig};
  snprintf(url, sizeof url, "http://127.0.0.1:%u/auth", rig->origin_port);
  int rc = mdm_server_new(&rig->server, &options, error, sizeof error);
  if (rc == 0) {
    rc = mdm_server_start(rig->server, error, sizeof error);
    if (rc != 0) {
      mdm_server_free(rig->server);
    }
  }
  if (rc != 0) {
    if (error[0] == '\0') {
      fail_msg("allocation %zu failed: the server says %d and not why", failing_calls(), rc);
    }
    rig->server = NULL;
  }
  return rc;
}

static int start_client(struct rig *rig) {
  char error[512] = "", service[32], url[64];
  struct mdm_client_options options;
  snprintf(service, sizeof service, "o=127.0.0.1:%u", rig->origin_port);
  mdm_client_options_init(&options);
  snprintf(url, sizeof url, "ws://127.0.0.1:%u", mdm_server_port(rig->server));
  options.host = rig->websocket ? url : "127.0.0.1";
  options.port = mdm_server_client_port(rig->server);
  options.user = "tim";
  options.token = rig->guarded ? rig->token : NULL;
  options.known_servers = rig->known;
  options.services = (const char *const[]){service};
  options.services_count = 1;
  options.loop = &rig->loop;
  options.log_level = MDM_CLIENT_LOG_DEBUG;
  options.log = on_client_log;
  options.event = on_event;
  options.user_data = rig;
  const enum mdm_client_status status = mdm_client_new(&rig->client, &options, error, sizeof error);
  if (status != MDM_CLIENT_OK) {
    assert_string_not_equal(error, "");
    return (int)status;
  }
  mdm_client_start(rig->client);
  return 0;
}

static void end_both(struct rig *rig) {
  if (rig->client != NULL) {
    mdm_client_close(rig->client, on_client_closed, rig);
    assert_true(until(rig, client_closed, rig, WAIT_MS));
  }
  if (rig->server != NULL) {
    mdm_server_stop(rig->server, on_server_stopped, rig);
    mdm_server_stop(rig->server, on_server_stopped, rig);
    assert_true(until(rig, server_stopped, rig, WAIT_MS));
    mdm_server_free(rig->server);
  }
  rig->client = NULL;
  rig->server = NULL;
}

static void fair(int result, int expected, size_t nth, const char *host) {
  if (result != expected && result != VISIT_CLOSED && result != VISIT_CUT && result / 100 != 5) {
    fail_msg("allocation %zu failed: the visitor of %s got %d", nth, host, result);
  }
}

enum outcome { REFUSED_TO_START, CLIENT_GAVE_UP, SERVED };

/* Everything once, with the nth allocation failing in the part that is armed. */
static enum outcome run_once(struct rig *rig, size_t nth, bool arm_start, bool arm_exchange, bool *reached) {
  static const struct {
    const char *host;
    size_t body;
    int status;
  } visits[] = {{"o.tim.localhost", BODY_SIZE, 200}, {"tim.localhost", 0, 405}, {"x.nobody.localhost", 0, 404}, {"o.tim.localhost", 0, 200}};
  enum outcome outcome = REFUSED_TO_START;
  uv_loop_init(&rig->loop);
  uv_async_init(&rig->loop, &rig->wake, on_wake);
  rig->url = rig->refused = rig->client_stopped = rig->server_stopped = rig->client_closed = false;
  unlink(rig->known);
  failing_forget();
  *reached = false;
  if (arm_start) {
    failing_begin(nth);
  }
  if (start_server(rig) == 0 && start_client(rig) == 0) {
    if (!until(rig, client_served_or_stopped, rig, WAIT_MS)) {
      fail_msg("allocation %zu failed: the client neither serves nor ends", nth);
    }
    outcome = rig->client_stopped ? CLIENT_GAVE_UP : SERVED;
  }
  if (arm_start) {
    *reached = failing_end();
  }
  if (outcome == SERVED) {
    const uint16_t port = mdm_server_port(rig->server);
    if (arm_exchange) {
      failing_begin(nth);
    }
    for (size_t i = 0; i < sizeof visits / sizeof *visits; i++) {
      const int result = ask(rig, port, visits[i].host, visits[i].body);
      if (nth == 0) {
        assert_int_equal(result, visits[i].status);
      }
      fair(result, visits[i].status, nth, visits[i].host);
    }
    if (arm_exchange) {
      *reached = failing_end();
    }
    /* Memory is back. The link may have been lost: then the client dials again. */
    int result = 0;
    for (unsigned i = 0; i < 100 && !rig->client_stopped && (result = ask(rig, port, "o.tim.localhost", 0)) != 200; i++) {
      until(rig, client_closed, rig, 50);
    }
    if (result != 200 && !rig->client_stopped) {
      fail_msg("allocation %zu failed: with memory again the visitor gets %d", nth, result);
    }
  }
  end_both(rig);
  uv_close((uv_handle_t *)&rig->wake, NULL);
  uv_run(&rig->loop, UV_RUN_DEFAULT);
  if (uv_loop_close(&rig->loop) != 0) {
    uv_print_all_handles(&rig->loop, stderr);
    fail_msg("allocation %zu failed: these handles are left", nth);
  }
  if (failing_live() != 0) {
    failing_tell();
    fail_msg("allocation %zu failed: %zu blocks are left", nth, failing_live());
  }
  return outcome;
}

static void each(struct rig *rig, bool start, bool exchange, size_t least) {
  size_t counts[SERVED + 1] = {0}, nth = process + 1, tried = 0;
  bool reached;
  assert_int_equal(run_once(rig, 0, start, exchange, &reached), SERVED);
  for (;; nth += PROCESSES, tried++) {
    const enum outcome outcome = run_once(rig, nth, start, exchange, &reached);
    if (!reached) {
      break;
    }
    counts[outcome]++;
  }
  print_message("%zu allocations failed in turn: %zu starts refused, %zu times the client gave up, %zu times served\n", tried, counts[REFUSED_TO_START],
                counts[CLIENT_GAVE_UP], counts[SERVED]);
  assert_true(nth >= least);
}

static void no_memory_while_server_and_client_start(void **state) {
  each(*state, true, false, 50);
}

static void no_memory_while_a_websocket_is_set_up(void **state) {
  ((struct rig *)*state)->websocket = true;
  each(*state, true, false, 50);
}

/* The user file with one user, whose token pins the server's key. */
static void guard(struct rig *rig) {
  struct net_identity identity;
  struct users *users;
  struct users_entry *entry;
  char error[512];
  rig->guarded = true;
  assert_int_equal(net_identity_load(&identity, rig->state, NULL, error, sizeof error), 0);
  assert_int_equal(net_token_make(rig->token, identity.fingerprint), 0);
  net_identity_clean(&identity);
  assert_int_equal(users_new(&users), 0);
  assert_int_equal(users_add(users, "tim", rig->token, "2026-11-21T06:00:00Z", &entry), 0);
  assert_int_equal(users_save(users, rig->users, error, sizeof error), 0);
  users_free(users);
}

static void no_memory_while_a_guarded_server_starts(void **state) {
  guard(*state);
  each(*state, true, false, 100);
}

static void no_memory_while_a_hook_is_asked(void **state) {
  guard(*state);
  each(*state, false, true, 15);
}

static void no_memory_while_visitors_are_served(void **state) {
  each(*state, false, true, 10);
}

static int set_up(void **state) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  struct rig *rig = calloc(1, sizeof *rig);
  snprintf(rig->dir, sizeof rig->dir, "/tmp/mdm-torture-XXXXXX");
  assert_non_null(mkdtemp(rig->dir));
  snprintf(rig->state, sizeof rig->state, "%s/state", rig->dir);
  snprintf(rig->known, sizeof rig->known, "%s/known", rig->dir);
  snprintf(rig->users, sizeof rig->users, "%s/users.json", rig->dir);
  snprintf(rig->certificate, sizeof rig->certificate, "%s/link.crt", rig->state);
  snprintf(rig->key, sizeof rig->key, "%s/link.key", rig->state);
  snprintf(rig->access, sizeof rig->access, "%s/access.log", rig->dir);
  rig->origin_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(rig->origin_fd, (struct sockaddr *)&address, size), 0);
  assert_int_equal(listen(rig->origin_fd, 16), 0);
  getsockname(rig->origin_fd, (struct sockaddr *)&address, &size);
  rig->origin_port = ntohs(address.sin_port);
  assert_int_equal(uv_thread_create(&rig->origin, origin_main, rig), 0);
  *state = rig;
  return 0;
}

static int tear_down(void **state) {
  static const char *const names[] = {"state/link.key", "state/link.crt", "state", "access.log", "known", "users.json"};
  struct rig *rig = *state;
  char path[128];
  shutdown(rig->origin_fd, SHUT_RDWR);
  uv_thread_join(&rig->origin);
  close(rig->origin_fd);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(path, sizeof path, "%s/%s", rig->dir, names[i]);
    remove(path);
  }
  assert_int_equal(rmdir(rig->dir), 0);
  free(rig);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(no_memory_while_server_and_client_start, set_up, tear_down),
      cmocka_unit_test_setup_teardown(no_memory_while_a_websocket_is_set_up, set_up, tear_down),
      cmocka_unit_test_setup_teardown(no_memory_while_a_guarded_server_starts, set_up, tear_down),
      cmocka_unit_test_setup_teardown(no_memory_while_a_hook_is_asked, set_up, tear_down),
      cmocka_unit_test_setup_teardown(no_memory_while_visitors_are_served, set_up, tear_down),
  };
  int failures = 0, status;
  for (; process < PROCESSES; process++) {
    const pid_t child = fork();
    if (child == 0) {
      failing_init();
      return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
    }
    failures += child < 0;
  }
  while (wait(&status) > 0) {
    failures += status != 0;
  }
  return failures > 0;
}
