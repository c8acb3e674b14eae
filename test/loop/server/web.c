/* web.c: see web.h. */
#include "web.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform.h"
#include "visitor.h"

/* ---- the origin ---- */
static const struct web_script *find_script(struct web *web, const char *head) {
  for (const struct web_script *s = web->scripts; s->path; s++) {
    const char *at = strchr(head, ' ');
    size_t size = strlen(s->path);
    if (at && strncmp(at + 1, s->path, size) == 0 && strchr(" ?", at[1 + size]))
      return s;
  }
  fail_msg("no script for %s", head);
  return NULL;
}

static void origin_answer(struct web_stream *s) {
  s->answered = true;
  s->doomed = s->script->close_next;
  s->out = s->script->answer;
  s->out_size = strlen(s->out);
  s->filler = s->script->filler;
  s->finish = s->script->then == WEB_FIN;
  s->raw = s->script->then == WEB_ECHO;
  if (s->script->then == WEB_RESET && !s->out_size)
    mdm_stream_reset(s->stream, MDM_RESET_BROKEN, false);
  else if (s->script->then != WEB_SILENT)
    mdm_stream_ready(s->stream);
}

static void origin_head(struct web_stream *s) {
  struct web *web = s->web;
  web->requests++;
  snprintf(web->head, sizeof web->head, "%.*s", (int)s->in_size, s->in);
  if (s->doomed) {
    s->finish = true;
    mdm_stream_ready(s->stream);
    return;
  }
  s->script = find_script(web, web->head);
  const char *length = strcasestr(web->head, "\r\nContent-Length:");
  s->chunked = strcasestr(web->head, "\r\nTransfer-Encoding: chunked") != NULL;
  s->body_left = length ? strtoull(length + 17, NULL, 10) : 0;
  s->body = s->chunked || s->body_left;
  s->answered = false;
  memset(s->tail, 0, sizeof s->tail);
  if (!s->body || s->script->early)
    origin_answer(s);
}

static void origin_byte(struct web_stream *s, char c) {
  struct web *web = s->web;
  if (s->raw) {
    size_t size = strlen(web->echo);
    if (size + 1 < sizeof web->echo)
      web->echo[size] = c;
    return;
  }
  if (s->body) {
    web->body_bytes++;
    web->body_sum = web->body_sum * 31 + (uint8_t)c;
    if (s->chunked) { /* raw: up to the empty line; no body of a test holds one */
      size_t size = strlen(web->echo);
      memmove(s->tail, s->tail + 1, 3);
      s->tail[3] = c;
      s->body = memcmp(s->tail, "\r\n\r\n", 4) != 0;
      if (size + 1 < sizeof web->echo)
        web->echo[size] = c;
    } else {
      s->body = --s->body_left > 0;
    }
    if (!s->body) {
      s->in_size = 0;
      if (!s->answered)
        origin_answer(s);
    }
    return;
  }
  assert_true(s->in_size < sizeof s->in);
  s->in[s->in_size++] = c;
  if (s->in_size >= 4 && memcmp(s->in + s->in_size - 4, "\r\n\r\n", 4) == 0) {
    origin_head(s);
    s->in_size = 0;
  }
}

static size_t origin_data(mdm_stream *stream, const struct mdm_slice *slices, size_t count) {
  struct web_stream *s = mdm_stream_user(stream);
  size_t size = 0;
  for (size_t i = 0; i < count; i++) {
    for (size_t k = 0; k < slices[i].size && s->stream; k++)
      origin_byte(s, (char)slices[i].data[k]);
    size += slices[i].size;
  }
  return size;
}

static bool origin_turn(mdm_stream *stream) {
  static const uint8_t filler[16384] = {'f'};
  struct web_stream *s = mdm_stream_user(stream);
  while (s->out_size || s->filler) {
    struct mdm_slice slice = {.data = (const uint8_t *)s->out, .size = s->out_size};
    if (!s->out_size)
      slice = (struct mdm_slice){.data = filler, .size = s->filler < sizeof filler ? s->filler : sizeof filler};
    size_t taken = mdm_stream_write(stream, &slice, 1);
    if (s->out_size) {
      s->out += taken;
      s->out_size -= taken;
    } else {
      s->filler -= taken;
    }
    if (taken < slice.size)
      return true;
  }
  if (s->script && s->script->then == WEB_RESET) {
    mdm_stream_reset(stream, MDM_RESET_BROKEN, false);
    return false;
  }
  if (s->finish)
    mdm_stream_finish(stream);
  return false;
}

static void origin_fin(mdm_stream *stream) {
  struct web_stream *s = mdm_stream_user(stream);
  s->web->fins++;
  if (s->script && s->script->then == WEB_SILENT)
    return;
  s->finish = true;
  mdm_stream_ready(stream);
}

static void origin_reset(mdm_stream *stream, enum mdm_reset code, bool not_delivered) {
  struct web_stream *s = mdm_stream_user(stream);
  (void)code;
  (void)not_delivered;
  s->web->streams_reset++;
}

static void origin_closed(mdm_stream *stream) {
  struct web_stream *s = mdm_stream_user(stream);
  s->stream = NULL;
  s->web->streams_live--;
}

static const struct mdm_stream_ops origin_ops = {
    .data = origin_data, .fin = origin_fin, .turn = origin_turn, .reset = origin_reset, .closed = origin_closed};

static enum mdm_reset origin_open(struct client *client, mdm_stream *stream, const struct mdm_open *open) {
  struct web *web = client->user;
  (void)open;
  web->streams_opened++;
  if (web->refuse_next != MDM_RESET_NONE) {
    enum mdm_reset code = web->refuse_next;
    web->refuse_next = MDM_RESET_NONE;
    return code;
  }
  for (size_t i = 0; i < WEB_STREAMS_MAX; i++) {
    struct web_stream *s = &web->streams[i];
    if (s->stream)
      continue;
    memset(s, 0, sizeof *s);
    s->web = web;
    s->stream = stream;
    web->streams_live++;
    mdm_stream_attach(stream, &origin_ops, s);
    mdm_stream_accept(stream);
    return MDM_RESET_NONE;
  }
  return MDM_RESET_LIMIT;
}

/* ---- the server's side ---- */
static void visitor_came(struct net_listener *listener, int fd, const struct mdm_address *peer, void *user) {
  static const struct net_conn_ops nothing;
  struct web *web = user;
  struct net_conn *conn;
  (void)listener;
  assert_int_equal(net_conn_open(&conn, &web->world.worker.loop, fd, &nothing, NULL), 0);
  net_conn_set_peer(conn, peer);
  assert_int_equal(visitor_accept(&web->world.worker, conn), 0);
}

static void observe_begin(const struct exchange_observer *self, const struct exchange_report *report) {
  struct web *web = (struct web *)(void *)((char *)(uintptr_t)self - offsetof(struct web, observer));
  (void)report;
  web->begun++;
}

static void observe_end(const struct exchange_observer *self, const struct exchange_report *report) {
  struct web *web = (struct web *)(void *)((char *)(uintptr_t)self - offsetof(struct web, observer));
  web->ended++;
  web->last_status = report->status;
  web->last_request_bytes = report->request_bytes;
  web->last_response_bytes = report->response_bytes;
  snprintf(web->last_error, sizeof web->last_error, "%s", report->error);
  snprintf(web->last_service, sizeof web->last_service, "%s", report->service);
}

void web_open(struct web *web, const struct web_script *scripts, void (*setup)(struct server_config *config), const struct auth_hook_entry *hook,
              void (*options)(struct net_service *one)) {
  struct net_listener_options listener = {0};
  struct mdm_address any = {.family = 4, .bytes = {127, 0, 0, 1}};
  memset(web, 0, sizeof *web);
  web->scripts = scripts;
  world_open(&web->world, hook, hook ? 1 : 0, setup);
  web->observer = (struct exchange_observer){.begin = observe_begin, .end = observe_end};
  web->world.worker.observers[0] = &web->observer;
  web->world.worker.observers_count = 1;
  assert_int_equal(net_listener_open(&web->listener, &web->world.worker.loop, &any, &listener, visitor_came, web), 0);
  client_init(&web->client, &web->world, "tim", "laptop", "one", "two", NULL);
  web->client.on_open = origin_open;
  web->client.user = web;
  if (options)
    options(&web->client.services[0]);
  web_connect(web);
}

void web_connect(struct web *web) {
  client_connect(&web->client);
  client_wait_ready(&web->client);
}

void web_close(struct web *web) {
  net_listener_close(web->listener);
  client_clean(&web->client);
  world_close(&web->world);
  assert_int_equal(web->begun, web->ended);
}

/* ---- visitors ---- */
void visit_open(struct visit *visit, struct web *web) {
  struct mdm_address address = {.family = 4, .bytes = {127, 0, 0, 1}, .port = net_listener_port(web->listener)};
  *visit = (struct visit){.web = web, .got = calloc(1, WEB_GOT_MAX + 1)};
  assert_non_null(visit->got);
  assert_int_equal(platform_socket_connect(&address, &visit->fd), 0);
}

static void visit_read(struct visit *visit) {
  char waste[65536];
  for (;;) {
    size_t room = WEB_GOT_MAX - visit->size;
    ssize_t n = recv(visit->fd, room ? visit->got + visit->size : waste, room ? room : sizeof waste, MSG_DONTWAIT);
    if (n > 0 && room)
      visit->size += (size_t)n;
    else if (n > 0)
      visit->discarded += (size_t)n;
    else if (n == 0)
      visit->fin = true;
    else if (errno == ECONNRESET || errno == EPIPE)
      visit->rst = true;
    if (n <= 0)
      return;
  }
}

void visit_send_bytes(struct visit *visit, const void *data, size_t size) {
  const char *at = data;
  for (unsigned idle = 0; size && idle < 200;) {
    ssize_t n = send(visit->fd, at, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
      at += n;
      size -= (size_t)n;
      idle = 0;
      continue;
    }
    if (n < 0 && errno != EAGAIN && errno != EINPROGRESS && errno != ENOTCONN)
      return;
    idle++;
    world_run_ms(&visit->web->world, 5);
  }
  uv_run(visit->web->world.worker.loop.uv, UV_RUN_NOWAIT);
}

void visit_send(struct visit *visit, const char *text) {
  visit_send_bytes(visit, text, strlen(text));
}

struct wanted {
  struct visit *visit;
  const char *text;
  size_t size;
};
static bool has_text(void *arg) {
  struct wanted *wanted = arg;
  visit_read(wanted->visit);
  return memmem(wanted->visit->got, wanted->visit->size, wanted->text, strlen(wanted->text)) != NULL;
}
static bool has_end(void *arg) {
  struct visit *visit = arg;
  visit_read(visit);
  return visit->fin || visit->rst;
}
static bool has_size(void *arg) {
  struct wanted *wanted = arg;
  visit_read(wanted->visit);
  return wanted->visit->size + wanted->visit->discarded >= wanted->size;
}

/* The visitor's socket is not on the loop: a turn of it between two looks, and a moment's rest when nothing came. */
static void look_until(struct visit *visit, bool (*done)(void *arg), void *arg) {
  const struct timespec rest = {.tv_nsec = 200000};
  uint64_t end = uv_hrtime() + WORLD_WAIT_MS * UINT64_C(1000000);
  while (uv_hrtime() < end) {
    size_t before = visit->size + visit->discarded;
    if (done(arg))
      return;
    uv_run(visit->web->world.worker.loop.uv, UV_RUN_NOWAIT);
    if (visit->size + visit->discarded == before)
      nanosleep(&rest, NULL);
  }
  fail_msg("what the test waits for did not come; so far: %.2000s", visit->got);
}

void visit_until(struct visit *visit, const char *text) {
  struct wanted wanted = {.visit = visit, .text = text};
  look_until(visit, has_text, &wanted);
}
void visit_until_end(struct visit *visit) {
  look_until(visit, has_end, visit);
}
void visit_until_size(struct visit *visit, size_t size) {
  struct wanted wanted = {.visit = visit, .size = size};
  look_until(visit, has_size, &wanted);
}

void visit_clear(struct visit *visit) {
  memset(visit->got, 0, visit->size);
  visit->size = visit->discarded = 0;
}

void visit_close(struct visit *visit) {
  close(visit->fd);
  free(visit->got);
  world_run_ms(&visit->web->world, 10);
}

int visit_status(struct web *web, const char *request) {
  struct visit visit;
  int status = 0;
  visit_open(&visit, web);
  visit_send(&visit, request);
  visit_until_end(&visit);
  (void)sscanf(visit.got, "HTTP/1.1 %d", &status);
  visit_close(&visit);
  return status;
}
