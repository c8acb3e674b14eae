/* world.c: see world.h. */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "platform.h"
#include "visitor.h"

static void conn_nothing(struct net_conn *conn) {
  (void)conn;
}

static const struct net_conn_ops idle_ops = {.readable = conn_nothing, .writable = conn_nothing};

static void world_accepted(struct net_listener *listener, int fd, const struct mdm_address *peer, void *user) {
  struct world *world = user;
  struct net_conn *conn;
  (void)listener;
  (void)peer;
  if (net_conn_open(&conn, &world->worker.loop, fd, &idle_ops, NULL) == 0) {
    (void)agent_accept(&world->worker, conn, "plain");
  }
}

void world_open(struct world *world, const struct auth_hook_entry *hooks, size_t count, void (*setup)(struct server_config *config)) {
  char error[256] = "";
  struct mdm_address any = {0};
  struct net_log_config log = {.level = getenv("MDM_TEST_VERBOSE") != NULL ? NET_LOG_DEBUG : NET_LOG_ERROR, .fd = 2, .quiet = getenv("MDM_TEST_VERBOSE") == NULL};
  struct net_listener_options options = {0};
  memset(world, 0, sizeof *world);
  assert_true(sodium_init() >= 0);
  world->config = malloc(sizeof *world->config);
  assert_non_null(world->config);
  server_config_defaults(world->config);
  world->config->references = 1;
  if (setup != NULL) {
    setup(world->config);
  }
  world->log = net_log_new(&log);
  world->budget = mdm_mux_budget_new(64u << 20, NULL);
  mdm_mux_pool *pool = mdm_mux_pool_new(world->budget, NULL);
  assert_non_null(pool);
  assert_int_equal(net_loop_init(&world->worker.loop, NULL, pool, world->log), 0);
  world->worker.config = world->config;
  world->worker.public_port = 8000;
  assert_int_equal(registry_new(&world->worker.registry, &world->worker.loop), 0);
  assert_int_equal(agent_set_new(&world->worker.agents, &world->worker), 0);
  assert_int_equal(visitor_set_new(&world->worker.visitors, &world->worker), 0);
  int rc;
  if (hooks == NULL) {
    rc = auth_hooks_new(&world->hooks, world->config, error, sizeof error);
    world->config->open_mode = rc == 0 && !auth_hooks_login(world->hooks);
    rc = rc == 0 ? auth_hooks_open(world->hooks, &world->worker, error, sizeof error) : rc;
  } else {
    rc = auth_chain_open(&world->worker.auth, &world->worker.loop, hooks, count, false, world->config->timeouts.auth_ms, error, sizeof error);
  }
  if (rc != 0) {
    fail_msg("%s", error);
  }
  assert_int_equal(net_address_parse(&any, "127.0.0.1", 9), 0);
  assert_int_equal(net_listener_open(&world->listener, &world->worker.loop, &any, &options, world_accepted, world), 0);
}

void world_close(struct world *world) {
  mdm_mux_pool *pool = world->worker.loop.pool;
  net_listener_close(world->listener);
  visitor_set_close(world->worker.visitors);
  while (visitor_set_count(world->worker.visitors) > 0) {
    uv_run(world->worker.loop.uv, UV_RUN_NOWAIT);
  }
  agent_set_close(world->worker.agents);
  auth_hooks_close(&world->worker);
  auth_hooks_free(world->hooks);
  visitor_set_free(world->worker.visitors);
  agent_set_free(world->worker.agents);
  registry_free(world->worker.registry);
  net_loop_clean(&world->worker.loop);
  mdm_mux_pool_free(pool);
  mdm_mux_budget_free(world->budget);
  net_log_free(world->log);
  server_config_unref(world->config);
}

/* ---- waiting ---- */
struct waiting {
  uv_timer_t timer;
  bool late, closed;
};

static void waiting_late(uv_timer_t *timer) {
  ((struct waiting *)timer->data)->late = true;
}

static void waiting_closed(uv_handle_t *handle) {
  ((struct waiting *)handle->data)->closed = true;
}

static bool world_wait(struct world *world, bool (*done)(void *arg), void *arg, uint32_t ms) {
  struct waiting waiting = {0};
  uv_timer_init(world->worker.loop.uv, &waiting.timer);
  waiting.timer.data = &waiting;
  uv_timer_start(&waiting.timer, waiting_late, ms, 0);
  while (!waiting.late && !(done != NULL && done(arg))) {
    uv_run(world->worker.loop.uv, UV_RUN_ONCE);
  }
  uv_close((uv_handle_t *)&waiting.timer, waiting_closed);
  while (!waiting.closed) {
    uv_run(world->worker.loop.uv, UV_RUN_NOWAIT);
  }
  return !waiting.late;
}

void world_until(struct world *world, bool (*done)(void *arg), void *arg) {
  if (!world_wait(world, done, arg, WORLD_WAIT_MS)) {
    fail_msg("what the test waits for did not come");
  }
}

void world_run_ms(struct world *world, uint32_t ms) {
  (void)world_wait(world, NULL, NULL, ms);
}

/* ---- clients ---- */
static void client_send(struct client *client, enum mdm_message type, char *text, size_t size) {
  assert_non_null(text);
  assert_int_equal(mdm_mux_send_message(net_link_mux(client->net), type, text, size), 0);
  net_message_free(text, size);
}

static void client_send_services(struct client *client) {
  size_t size;
  struct net_services services = {.serial = ++client->serial, .list = client->services, .count = client->services_count};
  char *text = net_services_encode(&services, &size);
  client_send(client, MDM_MSG_SERVICES, text, size);
}

static int client_message(struct net_link *net, enum mdm_message type, const uint8_t *data, size_t size) {
  struct client *client = net_link_owner(net);
  char error[NET_SENTENCE_MAX];
  size_t out;
  if (type == MDM_MSG_CHALLENGE && !client->mute) {
    struct net_challenge challenge;
    assert_int_equal(net_challenge_decode(&challenge, data, size, error, sizeof error), 0);
    client->open_mode = challenge.open_mode;
    char *text = net_auth_encode(&client->auth, &out);
    client_send(client, MDM_MSG_AUTH, text, out);
    client_send_services(client);
  } else if (type == MDM_MSG_READY) {
    assert_int_equal(net_ready_decode(&client->ready, data, size, error, sizeof error), 0);
    client->is_ready = true;
    mdm_mux_start(net_link_mux(net), client->ready.open_credit, client->ready.max_streams);
  } else if (type == MDM_MSG_SERVICES_OK) {
    net_services_ok_clean(&client->verdicts);
    assert_int_equal(net_services_ok_decode(&client->verdicts, data, size, error, sizeof error), 0);
    client->verdicts_count++;
  }
  return 0;
}

static enum mdm_reset client_open(struct net_link *net, mdm_stream *stream, const struct mdm_open *open) {
  struct client *client = net_link_owner(net);
  client->opened++;
  client->opened_service = open->service;
  return client->on_open != NULL ? client->on_open(client, stream, open) : MDM_RESET_CONNECT;
}

static void client_goaway(struct net_link *net, uint32_t last_id, uint16_t code, const char *text, size_t size) {
  struct client *client = net_link_owner(net);
  (void)last_id;
  client->goaway = code;
  if (size > 0) {
    snprintf(client->text, sizeof client->text, "%.*s", (int)size, text);
  }
}

static void client_ended(struct net_link *net, int error, const char *reason) {
  struct client *client = net_link_owner(net);
  (void)error;
  (void)reason;
  client->ended = true;
  client->net = NULL;
  net_link_close(net);
}

static const struct net_link_ops client_ops = {.message = client_message, .open = client_open, .goaway = client_goaway, .ended = client_ended};

static void client_list(struct client *client, va_list names, uint32_t first_id) {
  client->services_count = 0;
  for (const char *name = va_arg(names, const char *); name != NULL; name = va_arg(names, const char *)) {
    struct net_service *service = &client->services[client->services_count];
    net_service_options_clean(&service->options);
    net_service_options_init(&service->options);
    snprintf(service->name, sizeof service->name, "%s", name);
    service->id = first_id + (uint32_t)client->services_count++;
  }
}

void client_init(struct client *client, struct world *world, const char *user, const char *name, ...) {
  va_list names;
  memset(client, 0, sizeof *client);
  client->world = world;
  client->goaway = -1;
  client->hello = (struct net_hello){.version_min = 1, .version_max = 1, .open_credit = 65536, .max_streams = 1000};
  snprintf(client->hello.software, sizeof client->hello.software, "test");
  snprintf(client->hello.client_name, sizeof client->hello.client_name, "%s", name);
  randombytes_buf(client->hello.instance, sizeof client->hello.instance);
  snprintf(client->auth.user, sizeof client->auth.user, "%s", user);
  for (size_t i = 0; i < CLIENT_LIST_MAX; i++) {
    net_service_options_init(&client->services[i].options);
  }
  va_start(names, name);
  client_list(client, names, 1);
  va_end(names);
}

void client_connect(struct client *client) {
  struct mdm_address address = *net_listener_address(client->world->listener);
  struct net_link_options options = {.role = MDM_ROLE_CLIENT, .ops = &client_ops, .owner = client};
  struct net_conn *conn;
  int fd;
  size_t size;
  address.port = net_listener_port(client->world->listener);
  client->hello.epoch++;
  client->is_ready = client->ended = false;
  client->goaway = -1;
  client->text[0] = '\0';
  net_ready_clean(&client->ready);
  assert_int_equal(platform_socket_connect(&address, &fd), 0);
  assert_int_equal(net_conn_open(&conn, &client->world->worker.loop, fd, &idle_ops, NULL), 0);
  assert_int_equal(net_link_open(&client->net, conn, &options), 0);
  char *text = net_hello_encode(&client->hello, &size);
  client_send(client, MDM_MSG_HELLO, text, size);
}

void client_services(struct client *client, ...) {
  va_list names;
  va_start(names, client);
  client_list(client, names, (uint32_t)(client->serial * CLIENT_LIST_MAX) + 1);
  va_end(names);
  client_send_services(client);
}

void client_close(struct client *client) {
  if (client->net != NULL) {
    net_link_close(client->net);
    client->net = NULL;
  }
}

void client_leave(struct client *client) {
  net_link_drain(client->net, MDM_GOAWAY_DRAIN, "leaving");
}

void client_token(struct client *client, const char *token) {
  client->auth.method = NET_AUTH_TOKEN;
  snprintf(client->auth.token, sizeof client->auth.token, "%s", token);
}

void client_freeze(struct client *client) {
  net_conn_pause(net_link_conn(client->net));
}

void client_thaw(struct client *client) {
  net_conn_resume(net_link_conn(client->net));
}

void client_clean(struct client *client) {
  client_close(client);
  net_ready_clean(&client->ready);
  net_services_ok_clean(&client->verdicts);
  net_auth_clean(&client->auth);
  for (size_t i = 0; i < CLIENT_LIST_MAX; i++) {
    net_service_options_clean(&client->services[i].options);
  }
}

static bool is_ready(void *arg) {
  struct client *client = arg;
  return client->is_ready || client->ended;
}

void client_wait_ready(struct client *client) {
  world_until(client->world, is_ready, client);
  if (!client->is_ready) {
    fail_msg("refused (%d): %s", client->goaway, client->text);
  }
}

static bool is_ended(void *arg) {
  return ((struct client *)arg)->ended;
}

void client_wait_ended(struct client *client) {
  world_until(client->world, is_ended, client);
}

const struct net_service_verdict *client_verdict(const struct client *client, const char *service) {
  const struct net_services_ok *verdicts = client->verdicts_count > 0 ? &client->verdicts : &client->ready.services;
  for (size_t i = 0; i < client->services_count; i++) {
    for (size_t k = 0; k < verdicts->count; k++) {
      if (verdicts->list[k].id == client->services[i].id && strcmp(client->services[i].name, service) == 0) {
        return &verdicts->list[k];
      }
    }
  }
  fail_msg("no verdict on %s", service);
  return NULL;
}

enum registry_state world_find(struct world *world, const char *key) {
  struct registry_target target;
  bool hold;
  return registry_find(world->worker.registry, key, &target, &hold);
}

struct agent *world_holder(struct world *world, const char *key) {
  struct registry_target target;
  bool hold;
  return registry_find(world->worker.registry, key, &target, &hold) == REGISTRY_LIVE ? target.agent : NULL;
}

struct visit {
  int fd;
  char *answer;
  size_t size, capacity;
};

/* Looked at after each turn of the loop: the socket is non-blocking, and a timer keeps the loop turning. */
static bool visit_over(void *arg) {
  struct visit *visit = arg;
  ssize_t n;
  while ((n = recv(visit->fd, visit->answer + visit->size, visit->capacity - 1 - visit->size, MSG_DONTWAIT)) > 0) {
    visit->size += (size_t)n;
  }
  visit->answer[visit->size] = '\0';
  return n == 0;
}

static void visit_turn(uv_timer_t *timer) {
  (void)timer;
}

void world_visit(struct world *world, const char *request, char *answer, size_t capacity) {
  struct visit visit = {.answer = answer, .capacity = capacity};
  struct net_conn *conn;
  uv_timer_t turn;
  int fds[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
  visit.fd = fds[0];
  assert_int_equal(send(fds[0], request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
  assert_int_equal(net_conn_open(&conn, &world->worker.loop, fds[1], &idle_ops, NULL), 0);
  assert_int_equal(visitor_accept(&world->worker, conn), 0);
  uv_timer_init(world->worker.loop.uv, &turn);
  uv_timer_start(&turn, visit_turn, 10, 10);
  world_until(world, visit_over, &visit);
  uv_close((uv_handle_t *)&turn, NULL);
  uv_run(world->worker.loop.uv, UV_RUN_NOWAIT);
  close(fds[0]);
}
