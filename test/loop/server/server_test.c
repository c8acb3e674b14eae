/* server_test.c: the whole server as an embedder has it, on the test's own loop: starting, doors, admin listener, reload, drain, freeing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "mdm/server.h"

#define WAIT_MS 8000u
#define ANSWER_MAX 65536
#define ARGS_MAX 24
#define LOG_MAX 16384

struct rig {
  uv_loop_t loop;
  uv_async_t wake;
  mdm_server *server;
  char dir[64];
  char log[LOG_MAX];
  bool stopped;
};

static void log_line(int level, const char *line, void *user) {
  struct rig *rig = user;
  size_t used = strlen(rig->log);
  (void)level;
  snprintf(rig->log + used, sizeof rig->log - used, "%s\n", line);
}

static void on_wake(uv_async_t *async) {
  (void)async;
}

static int set_up(void **state) {
  struct rig *rig = calloc(1, sizeof *rig);
  snprintf(rig->dir, sizeof rig->dir, "/tmp/mdm-server-XXXXXX");
  assert_non_null(mkdtemp(rig->dir));
  assert_int_equal(uv_loop_init(&rig->loop), 0);
  assert_int_equal(uv_async_init(&rig->loop, &rig->wake, on_wake), 0);
  *state = rig;
  return 0;
}

static int tear_down(void **state) {
  static const char *const names[] = {"state/link.key", "state/link.crt", "state", "access.log", "config.json"};
  struct rig *rig = *state;
  char path[128];
  uv_close((uv_handle_t *)&rig->wake, NULL);
  uv_run(&rig->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&rig->loop), 0); /* whatever the server left would show here */
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(path, sizeof path, "%s/%s", rig->dir, names[i]);
    remove(path);
  }
  assert_int_equal(rmdir(rig->dir), 0);
  free(rig);
  return 0;
}

/* flags are added to what every test wants: any free ports, a state directory of its own, no waiting for clients. */
static int try_start(struct rig *rig, char *error, size_t error_size, const char *const *flags) {
  char state[128];
  char *argv[ARGS_MAX] = {"-p", "0", "-c", "0", "-v", "--hold", "0", "--state-dir", state};
  int argc = 9, status;
  snprintf(state, sizeof state, "%s/state", rig->dir);
  for (; flags != NULL && *flags != NULL; flags++)
    argv[argc++] = (char *)(uintptr_t)*flags;
  const struct mdm_server_options options = {.loop = &rig->loop, .argc = argc, .argv = argv, .log = log_line, .user = rig};
  status = mdm_server_new(&rig->server, &options, error, error_size);
  return status == 0 ? mdm_server_start(rig->server, error, error_size) : status;
}

#define START(rig, ...)                                                   \
  do {                                                                    \
    char start_error[1024] = "";                                          \
    const char *const start_flags[] = {__VA_ARGS__, NULL};                \
    if (try_start(rig, start_error, sizeof start_error, start_flags) != 0) \
      fail_msg("%s", start_error);                                        \
  } while (0)

static void on_stopped(mdm_server *server, void *user) {
  struct rig *rig = user;
  rig->stopped = true;
  mdm_server_free(server);
}

static void on_late(uv_timer_t *timer) {
  *(bool *)timer->data = true;
}

static void until(struct rig *rig, bool (*done)(void *arg), void *arg) {
  uv_timer_t timer;
  bool late = false;
  uv_timer_init(&rig->loop, &timer);
  timer.data = &late;
  uv_timer_start(&timer, on_late, WAIT_MS, 0);
  while (!late && !done(arg))
    uv_run(&rig->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&rig->loop, UV_RUN_NOWAIT);
  if (late)
    fail_msg("what the test waits for did not come; log:\n%s", rig->log);
}

static bool has_stopped(void *arg) {
  return ((struct rig *)arg)->stopped;
}

static void stop(struct rig *rig) {
  mdm_server_stop(rig->server, on_stopped, rig);
  until(rig, has_stopped, rig);
}

/* ---- somebody who connects, in a thread with blocking calls ---- */
struct talk {
  struct rig *rig;
  uint16_t port;
  const char *request;
  size_t request_size;
  char answer[ANSWER_MAX];
  atomic_bool done;
};

static int dial(uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct timeval patience = {.tv_sec = WAIT_MS / 1000};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

static void talk_main(void *arg) {
  struct talk *talk = arg;
  size_t used = 0;
  ssize_t got;
  int fd = dial(talk->port);
  if (fd >= 0 && send(fd, talk->request, talk->request_size, MSG_NOSIGNAL) >= 0) {
    while (used < sizeof talk->answer - 1 && (got = recv(fd, talk->answer + used, sizeof talk->answer - 1 - used, 0)) > 0)
      used += (size_t)got;
  }
  talk->answer[used] = '\0';
  close(fd);
  atomic_store(&talk->done, true);
  uv_async_send(&talk->rig->wake);
}

static bool talked(void *arg) {
  return atomic_load(&((struct talk *)arg)->done);
}

/* Until the server closes. */
static const char *ask_bytes(struct rig *rig, struct talk *talk, uint16_t port, const char *request, size_t size) {
  uv_thread_t thread;
  memset(talk, 0, sizeof *talk);
  talk->rig = rig;
  talk->port = port;
  talk->request = request;
  talk->request_size = size;
  assert_int_equal(uv_thread_create(&thread, talk_main, talk), 0);
  until(rig, talked, talk);
  uv_thread_join(&thread);
  return talk->answer;
}

static const char *ask(struct rig *rig, struct talk *talk, uint16_t port, const char *request) {
  return ask_bytes(rig, talk, port, request, strlen(request));
}

static void starts_with(const char *text, const char *begin) {
  if (strncmp(text, begin, strlen(begin)) != 0)
    fail_msg("does not begin with \"%s\": %.200s", begin, text);
}

#define VISIT_ON "GET / HTTP/1.1\r\nHost: x.nobody.localhost\r\n\r\n"
#define VISIT "GET / HTTP/1.1\r\nHost: x.nobody.localhost\r\nConnection: close\r\n\r\n"

/* ---- tests ---- */
static void test_freed_without_a_start(void **state) {
  struct rig *rig = *state;
  char error[256];
  const struct mdm_server_options options = {.loop = &rig->loop, .config_json = "{\"port\": 0}", .log = log_line, .user = rig};
  assert_int_equal(mdm_server_new(&rig->server, &options, error, sizeof error), 0);
  mdm_server_free(rig->server);
  mdm_server_free(NULL);
}

static void test_options_are_judged_in_words(void **state) {
  struct rig *rig = *state;
  char error[256], *flag[] = {"--nonsense"};
  const struct mdm_server_options json = {.loop = &rig->loop, .config_json = "{\"prot\": 0}"}, flags = {.loop = &rig->loop, .argc = 1, .argv = flag};
  assert_int_equal(mdm_server_new(&rig->server, &json, error, sizeof error), MDM_SERVER_CONFIG);
  starts_with(error, "configuration:1: \"prot\": unknown key");
  assert_int_equal(mdm_server_new(&rig->server, &flags, error, sizeof error), MDM_SERVER_USAGE);
  starts_with(error, "unknown option --nonsense");
  assert_null(rig->server);
}

static void test_starts_serves_and_stops_on_the_callers_loop(void **state) {
  struct rig *rig = *state;
  struct talk talk;
  START(rig, "-v");
  assert_true(mdm_server_port(rig->server) != 0);
  assert_true(mdm_server_client_port(rig->server) != 0);
  assert_int_equal(mdm_server_https_port(rig->server), 0);
  assert_int_equal(mdm_server_admin_port(rig->server), 0);
  assert_non_null(strstr(rig->log, "listening on loopback only: no users"));
  assert_non_null(strstr(rig->log, "fingerprint SHA256:"));
  starts_with(ask(rig, &talk, mdm_server_port(rig->server), VISIT), "HTTP/1.1 404 ");
  stop(rig);
}

static void test_both_loopback_families_have_the_same_port(void **state) {
  struct rig *rig = *state;
  char line[64];
  START(rig, "-v");
  snprintf(line, sizeof line, "listening: http 127.0.0.1:%u", mdm_server_port(rig->server));
  assert_non_null(strstr(rig->log, line));
  snprintf(line, sizeof line, "listening: http [::1]:%u", mdm_server_port(rig->server));
  if (strstr(rig->log, "listening: http [::1]") != NULL)
    assert_non_null(strstr(rig->log, line));
  stop(rig);
}

static void test_a_taken_port_is_told_and_everything_freed(void **state) {
  struct rig *rig = *state;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  char error[512] = "", port[16], expected[128];
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
  assert_int_equal(listen(fd, 1), 0);
  getsockname(fd, (struct sockaddr *)&address, &size);
  snprintf(port, sizeof port, "%u", ntohs(address.sin_port));
  const char *const flags[] = {"-c", port, NULL};
  assert_int_equal(try_start(rig, error, sizeof error, flags), MDM_SERVER_BIND);
  snprintf(expected, sizeof expected, "cannot listen on 127.0.0.1:%s: already in use; another server? choose --client-port", port);
  assert_string_equal(error, expected);
  mdm_server_free(rig->server);
  close(fd);
}

static void test_open_mode_refuses_other_addresses(void **state) {
  struct rig *rig = *state;
  char error[512] = "";
  const char *const flags[] = {"--bind", "0.0.0.0", NULL};
  assert_int_equal(try_start(rig, error, sizeof error, flags), MDM_SERVER_CONFIG);
  assert_non_null(strstr(error, "--users FILE"));
  assert_non_null(strstr(error, "--open"));
  mdm_server_free(rig->server);
}

static void deny(void *self, const struct mdm_auth_question *question, struct mdm_auth_call *call) {
  static const struct mdm_auth_answer none = {0};
  (void)self, (void)question;
  mdm_auth_answer(call, &none);
}
static int open_nothing(void **self, struct uv_loop_s *loop, const char *config_json) {
  (void)loop, (void)config_json;
  *self = NULL;
  return 0;
}
static void close_nothing(void *self) {
  (void)self;
}
static const struct mdm_auth_hook denying = {.abi = MDM_AUTH_ABI, .name = "denying", .steps = MDM_AUTH_BIT(MDM_AUTH_LOGIN) | MDM_AUTH_BIT(MDM_AUTH_VISIT),
                                             .open = open_nothing, .ask = deny, .close = close_nothing};

static void test_an_embedders_login_hook_ends_open_mode(void **state) {
  struct rig *rig = *state;
  struct talk talk;
  char error[512] = "", directory[128], *argv[] = {"-p", "0", "-c", "0", "--state-dir", directory, "--bind", "127.0.0.1"};
  snprintf(directory, sizeof directory, "%s/state", rig->dir);
  const struct mdm_server_options options = {.loop = &rig->loop, .argc = 8, .argv = argv, .log = log_line, .user = rig};
  assert_int_equal(mdm_server_new(&rig->server, &options, error, sizeof error), 0);
  assert_int_equal(mdm_server_add_hook(rig->server, &denying, NULL), 0);
  assert_int_equal(mdm_server_start(rig->server, error, sizeof error), 0);
  assert_int_equal(mdm_server_add_hook(rig->server, &denying, NULL), MDM_SERVER_USAGE);
  assert_null(strstr(rig->log, "loopback only"));
  starts_with(ask(rig, &talk, mdm_server_port(rig->server), VISIT), "HTTP/1.1 403 ");
  stop(rig);
}

static void test_a_socket_of_the_embedder(void **state) {
  struct rig *rig = *state;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  char answer[64] = "";
  int listener = socket(AF_INET, SOCK_STREAM, 0), fd;
  START(rig, "-v");
  assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
  assert_int_equal(listen(listener, 1), 0);
  getsockname(listener, (struct sockaddr *)&address, &size);
  fd = dial(ntohs(address.sin_port));
  assert_int_equal(send(fd, VISIT, sizeof VISIT - 1, 0), sizeof VISIT - 1);
  assert_int_equal(mdm_server_accept(rig->server, accept(listener, NULL, NULL)), 0);
  for (unsigned i = 0; i < 100 && recv(fd, answer, sizeof answer - 1, MSG_DONTWAIT) <= 0; i++)
    uv_run(&rig->loop, UV_RUN_ONCE);
  starts_with(answer, "HTTP/1.1 404 ");
  close(fd);
  close(listener);
  assert_int_not_equal(mdm_server_accept(rig->server, -1), 0);
  stop(rig);
}

static void test_admin_answers_only_to_its_own_name(void **state) {
  struct rig *rig = *state;
  struct talk talk;
  char request[256];
  START(rig, "--admin", "127.0.0.1:0");
  uint16_t port = mdm_server_admin_port(rig->server);
  snprintf(request, sizeof request, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", port);
  starts_with(ask(rig, &talk, port, request), "HTTP/1.1 200 ");
  assert_non_null(strstr(talk.answer, "\r\n\r\nok\n"));
  snprintf(request, sizeof request, "GET /metrics HTTP/1.1\r\nHost: localhost:%u\r\n\r\n", port);
  starts_with(ask(rig, &talk, port, request), "HTTP/1.1 200 ");
  assert_non_null(strstr(talk.answer, "\nmdm_tunnel_visitors 0\n"));
  snprintf(request, sizeof request, "HEAD /metrics HTTP/1.1\r\nHost: localhost:%u\r\n\r\n", port);
  starts_with(ask(rig, &talk, port, request), "HTTP/1.1 200 ");
  assert_null(strstr(talk.answer, "mdm_tunnel"));
  snprintf(request, sizeof request, "GET /metrics HTTP/1.1\r\nHost: evil.example:%u\r\n\r\n", port);
  starts_with(ask(rig, &talk, port, request), "HTTP/1.1 421 ");
  assert_null(strstr(talk.answer, "mdm_tunnel"));
  snprintf(request, sizeof request, "GET /metrics HTTP/1.1\r\nHost: localhost:%u\r\nOrigin: http://evil.example\r\n\r\n", port);
  starts_with(ask(rig, &talk, port, request), "HTTP/1.1 403 ");
  starts_with(ask(rig, &talk, port, "nonsense\r\n\r\n"), "HTTP/1.1 400 ");
  stop(rig);
}

static void test_over_the_cap_of_an_address_a_visitor_is_told(void **state) {
  struct rig *rig = *state;
  struct talk talk;
  char path[128];
  FILE *file;
  snprintf(path, sizeof path, "%s/config.json", rig->dir);
  file = fopen(path, "w");
  fputs("{\"limits\": {\"connections-per-address\": 2}}", file);
  fclose(file);
  START(rig, "--config", path);
  int one = dial(mdm_server_port(rig->server)), two = dial(mdm_server_port(rig->server));
  for (unsigned i = 0; i < 5; i++)
    uv_run(&rig->loop, UV_RUN_NOWAIT);
  starts_with(ask(rig, &talk, mdm_server_port(rig->server), VISIT), "HTTP/1.1 503 ");
  assert_non_null(strstr(talk.answer, "Connection: close"));
  close(one);
  for (unsigned i = 0; i < 5; i++)
    uv_run(&rig->loop, UV_RUN_NOWAIT);
  starts_with(ask(rig, &talk, mdm_server_port(rig->server), VISIT), "HTTP/1.1 404 ");
  close(two);
  stop(rig);
}

static void test_over_the_rate_of_an_address_a_visitor_is_told(void **state) {
  struct rig *rig = *state;
  struct talk talk;
  char path[128];
  FILE *file;
  snprintf(path, sizeof path, "%s/config.json", rig->dir);
  file = fopen(path, "w");
  fputs("{\"limits\": {\"requests-per-second-per-address\": 1}}", file);
  fclose(file);
  START(rig, "--config", path);
  static const char five[] = VISIT_ON VISIT_ON VISIT_ON VISIT_ON VISIT;
  starts_with(ask(rig, &talk, mdm_server_port(rig->server), five), "HTTP/1.1 404 ");
  const char *refused = strstr(talk.answer, "HTTP/1.1 429 ");
  assert_non_null(refused);
  assert_non_null(strstr(refused, "Retry-After: 1\r\n"));
  stop(rig);
}

static void test_proxy_header_is_wanted_of_trusted_proxies(void **state) {
  struct rig *rig = *state;
  struct talk talk;
  char path[128], line[256] = "";
  snprintf(path, sizeof path, "%s/access.log", rig->dir);
  START(rig, "--trusted-proxy", "127.0.0.1", "--proxy-protocol", "--access-log", path);
  uint16_t port = mdm_server_port(rig->server);
  assert_string_equal(ask(rig, &talk, port, VISIT), "");
  assert_non_null(strstr(rig->log, "no PROXY header"));
  starts_with(ask(rig, &talk, port, "PROXY TCP4 192.0.2.7 198.51.100.7 5 80\r\n" VISIT), "HTTP/1.1 404 ");
  stop(rig);
  uv_run(&rig->loop, UV_RUN_NOWAIT);
  for (unsigned i = 0; i < 100; i++) {
    FILE *file = fopen(path, "r");
    if (file != NULL && fgets(line, sizeof line, file) != NULL)
      i = 100;
    if (file != NULL)
      fclose(file);
    uv_run(&rig->loop, UV_RUN_NOWAIT);
  }
  starts_with(line, "192.0.2.7 - - [");
}

static void test_reload_applies_limits_and_names_what_it_cannot(void **state) {
  struct rig *rig = *state;
  char path[128];
  FILE *file;
  snprintf(path, sizeof path, "%s/config.json", rig->dir);
  file = fopen(path, "w");
  fputs("{\"domain\": \"one.test\"}", file);
  fclose(file);
  START(rig, "--config", path);
  file = fopen(path, "w");
  fputs("{\"domain\": \"two.test\", \"admin\": \"9090\"}", file);
  fclose(file);
  assert_int_equal(mdm_server_reload(rig->server), 0);
  assert_non_null(strstr(rig->log, "\"admin\" cannot change while the server runs"));
  assert_int_equal(mdm_server_admin_port(rig->server), 0);
  file = fopen(path, "w");
  fputs("{\"domian\": \"three.test\"}", file);
  fclose(file);
  assert_int_equal(mdm_server_reload(rig->server), MDM_SERVER_CONFIG);
  assert_non_null(strstr(rig->log, "\"domian\": unknown key"));
  stop(rig);
}

static void test_second_stop_cuts_what_is_left(void **state) {
  struct rig *rig = *state;
  char byte;
  START(rig, "--drain", "3600");
  int fd = dial(mdm_server_port(rig->server));
  assert_int_equal(send(fd, "GET / HT", 8, 0), 8); /* a request that is under way */
  for (unsigned i = 0; i < 5; i++)
    uv_run(&rig->loop, UV_RUN_NOWAIT);
  mdm_server_stop(rig->server, NULL, NULL);
  stop(rig);
  assert_true(recv(fd, &byte, 1, 0) <= 0);
  close(fd);
}

static void test_a_drain_is_bounded(void **state) {
  struct rig *rig = *state;
  START(rig, "--drain", "0.1");
  int fd = dial(mdm_server_port(rig->server));
  assert_int_equal(send(fd, "GET / HT", 8, 0), 8);
  for (unsigned i = 0; i < 5; i++)
    uv_run(&rig->loop, UV_RUN_NOWAIT);
  stop(rig);
  close(fd);
}

static void test_its_own_loop(void **state) {
  struct rig *rig = *state;
  char error[256], directory[128], *argv[] = {"-p", "0", "-c", "0", "--state-dir", directory};
  snprintf(directory, sizeof directory, "%s/state", rig->dir);
  const struct mdm_server_options options = {.argc = 6, .argv = argv, .log = log_line, .user = rig};
  assert_int_equal(mdm_server_new(&rig->server, &options, error, sizeof error), 0);
  assert_int_equal(mdm_server_start(rig->server, error, sizeof error), 0);
  mdm_server_stop(rig->server, NULL, NULL);
  assert_int_equal(mdm_server_run(rig->server), 0);
  mdm_server_free(rig->server);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(test_freed_without_a_start),
      TEST(test_options_are_judged_in_words),
      TEST(test_starts_serves_and_stops_on_the_callers_loop),
      TEST(test_both_loopback_families_have_the_same_port),
      TEST(test_a_taken_port_is_told_and_everything_freed),
      TEST(test_open_mode_refuses_other_addresses),
      TEST(test_an_embedders_login_hook_ends_open_mode),
      TEST(test_a_socket_of_the_embedder),
      TEST(test_admin_answers_only_to_its_own_name),
      TEST(test_over_the_cap_of_an_address_a_visitor_is_told),
      TEST(test_over_the_rate_of_an_address_a_visitor_is_told),
      TEST(test_proxy_header_is_wanted_of_trusted_proxies),
      TEST(test_reload_applies_limits_and_names_what_it_cannot),
      TEST(test_second_stop_cuts_what_is_left),
      TEST(test_a_drain_is_bounded),
      TEST(test_its_own_loop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
