/* dial.c: one connection being made: socket, then layer after layer, each handshake finished before the next begins.
 *
 *   CONNECT --> PROXY_TLS --> PROXY --> WEB_TLS --> WEBSOCKET --> LINK_TLS --> done
 *
 * Steps that the carrier does not need are passed over. One clock runs for all of them; whoever fails or is too slow is
 * named. */
#include "dial.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform.h"
#include "proxy.h"
#include "race.h"
#include "text.h"
#include "ws.h"

#define REASON_MAX 1024u
#define PORT_WS    80u
#define PORT_WSS   443u

enum dial_step { DIAL_CONNECT, DIAL_PROXY_TLS, DIAL_PROXY, DIAL_WEB_TLS, DIAL_WEBSOCKET, DIAL_LINK_TLS, DIAL_DONE };

struct net_dial {
  struct net_loop *loop;
  net_dial_cb done;
  void *user;
  struct net_endpoint endpoint;
  struct net_proxy proxy;
  bool with_proxy;
  char *unix_path, *link_server_name;
  struct net_tls_context *link_tls, *web_tls;
  uint32_t timeout_ms;
  enum dial_step step;
  struct net_race *race;
  struct net_conn *conn;
  struct net_timer timeout;
  struct net_task begin; /* unix sockets connect at once, but done() may not be called from start */
  char where[300], through[300];
};

#define DIAL_OF(pointer, member) ((struct net_dial *)(void *)((char *)(pointer)-offsetof(struct net_dial, member)))

static void dial_advance(struct net_dial *dial);

static const struct net_conn_ops conn_idle_ops = {0};

/* ---- the end ---- */
static void dial_free(struct net_dial *dial) {
  net_timer_stop(&dial->loop->wheel, &dial->timeout);
  net_task_cancel(&dial->begin);
  if (dial->race != NULL) {
    net_race_cancel(dial->race);
  }
  if (dial->conn != NULL) {
    net_conn_set_owner(dial->conn, &conn_idle_ops, NULL);
    net_conn_close(dial->conn, false);
  }
  net_tls_context_unref(dial->link_tls);
  net_tls_context_unref(dial->web_tls);
  net_proxy_clean(&dial->proxy);
  free(dial->unix_path);
  free(dial->link_server_name);
  free(dial);
}

/* What the system says may change by itself; what the layers say with these two numbers does not. */
static int system_error(int error) {
  return error == NET_TLS_UNTRUSTED || error == NET_PROXY_LOGIN ? UV_EHOSTUNREACH : error;
}

static void dial_fail(struct net_dial *dial, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void dial_fail(struct net_dial *dial, int error, const char *format, ...) {
  char reason[REASON_MAX];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  dial->done(dial, NULL, error, reason, dial->user);
  dial_free(dial);
}

static void dial_succeed(struct net_dial *dial) {
  struct net_conn *conn = dial->conn;
  dial->conn = NULL;
  net_conn_set_owner(conn, &conn_idle_ops, NULL);
  dial->done(dial, conn, 0, NULL, dial->user);
  dial_free(dial);
}

/* ---- what went wrong, in words ---- */
static const char *const step_names[] = {
    [DIAL_CONNECT] = "the connection",
    [DIAL_PROXY_TLS] = "TLS with the proxy",
    [DIAL_PROXY] = "CONNECT through the proxy",
    [DIAL_WEB_TLS] = "TLS",
    [DIAL_WEBSOCKET] = "the WebSocket",
    [DIAL_LINK_TLS] = "the link's TLS",
    [DIAL_DONE] = "",
};

/* What would be right, where that can be guessed. */
static const char *link_hint(const struct net_dial *dial) {
  return dial->endpoint.carrier == NET_CARRIER_TLS ? "; is this the server's client port (-p, 8001 by default)?" : "";
}

static void dial_fail_step(struct net_dial *dial, int error) {
  const char *text = "";
  switch (dial->step) {
  case DIAL_PROXY_TLS:
  case DIAL_WEB_TLS:
  case DIAL_LINK_TLS:
    text = net_tls_error(dial->conn);
    break;
  case DIAL_PROXY:
    text = net_proxy_error(dial->conn);
    break;
  case DIAL_WEBSOCKET:
    text = net_ws_error(dial->conn);
    break;
  case DIAL_CONNECT:
  case DIAL_DONE:
    break;
  }
  if (error == 0 || error == UV_EOF) {
    error = UV_ECONNRESET;
  }
  if (text[0] == '\0') {
    text = uv_strerror(error);
    error = system_error(error);
  }
  if (dial->step == DIAL_PROXY) {
    dial_fail(dial, error, "%s", text);
    return;
  }
  dial_fail(dial, error, "%s with %s failed: %s%s", dial->step == DIAL_PROXY_TLS ? "TLS" : step_names[dial->step],
            dial->step == DIAL_PROXY_TLS ? dial->through : dial->where, text,
            dial->step == DIAL_LINK_TLS && error != NET_TLS_UNTRUSTED ? link_hint(dial) : "");
}

static void on_timeout(struct net_timer *timer) {
  struct net_dial *dial = DIAL_OF(timer, timeout);
  const char *whom = dial->with_proxy && dial->step <= DIAL_PROXY ? dial->through : dial->where;
  dial_fail(dial, UV_ETIMEDOUT, "%s did not answer within %u.%u s (%s)", whom, dial->timeout_ms / 1000,
            dial->timeout_ms % 1000 / 100, step_names[dial->step]);
}

/* ---- the layers ---- */
static bool step_wanted(const struct net_dial *dial, enum dial_step step) {
  enum net_carrier carrier = dial->endpoint.carrier;
  switch (step) {
  case DIAL_PROXY_TLS:
    return dial->with_proxy && dial->proxy.tls;
  case DIAL_PROXY:
    return dial->with_proxy;
  case DIAL_WEB_TLS:
    return carrier == NET_CARRIER_WSS;
  case DIAL_WEBSOCKET:
    return carrier == NET_CARRIER_WS || carrier == NET_CARRIER_WSS;
  case DIAL_LINK_TLS:
    return carrier == NET_CARRIER_TLS || carrier == NET_CARRIER_WS || carrier == NET_CARRIER_WSS;
  case DIAL_CONNECT:
  case DIAL_DONE:
    break;
  }
  return true;
}

static int websocket_push(struct net_dial *dial) {
  const struct net_endpoint *e = &dial->endpoint;
  char host[300];
  bool literal = strchr(e->host, ':') != NULL;
  bool usual = e->port == (e->carrier == NET_CARRIER_WSS ? PORT_WSS : PORT_WS);
  int size = snprintf(host, sizeof host, "%s%s%s", literal ? "[" : "", e->host, literal ? "]" : "");
  if (!usual) {
    (void)snprintf(host + size, sizeof host - (size_t)size, ":%u", (unsigned)e->port);
  }
  return net_ws_push_client(dial->conn, host, e->path);
}

static int step_push(struct net_dial *dial) {
  struct net_tls_options web = {.server_name = dial->endpoint.host, .alpn = "http/1.1"};
  switch (dial->step) {
  case DIAL_PROXY_TLS:
    web.server_name = dial->proxy.host;
    return net_tls_push(dial->conn, dial->web_tls, &web);
  case DIAL_PROXY:
    return net_proxy_push(dial->conn, &dial->proxy, dial->endpoint.host, dial->endpoint.port);
  case DIAL_WEB_TLS:
    return net_tls_push(dial->conn, dial->web_tls, &web);
  case DIAL_WEBSOCKET:
    return websocket_push(dial);
  case DIAL_LINK_TLS: {
    struct net_tls_options link = {.server_name = dial->link_server_name, .alpn = NET_ALPN_LINK};
    return net_tls_push(dial->conn, dial->link_tls, &link);
  }
  case DIAL_CONNECT:
  case DIAL_DONE:
    break;
  }
  return 0;
}

static bool step_established(const struct net_dial *dial) {
  switch (dial->step) {
  case DIAL_PROXY_TLS:
  case DIAL_WEB_TLS:
  case DIAL_LINK_TLS:
    return net_tls_established(dial->conn);
  case DIAL_PROXY:
    return net_proxy_established(dial->conn);
  case DIAL_WEBSOCKET:
    return net_ws_established(dial->conn);
  case DIAL_CONNECT:
  case DIAL_DONE:
    break;
  }
  return true;
}

static void dial_advance(struct net_dial *dial) {
  assert(dial->step < DIAL_DONE);
  do {
    dial->step++;
  } while (!step_wanted(dial, dial->step));
  if (dial->step == DIAL_DONE) {
    dial_succeed(dial);
    return;
  }
  int error = step_push(dial);
  if (error != 0) {
    dial_fail(dial, system_error(error), "%s with %s cannot begin: %s", step_names[dial->step], dial->where, uv_strerror(error));
  }
}

/* The handshake of the layer that was pushed last is over; if badly, on_hangup follows with its error. */
static void on_writable(struct net_conn *conn) {
  struct net_dial *dial = net_conn_owner(conn);
  if (step_established(dial)) {
    dial_advance(dial);
  }
}

static void on_hangup(struct net_conn *conn, int error) {
  dial_fail_step(net_conn_owner(conn), error);
}

static const struct net_conn_ops conn_ops = {.writable = on_writable, .hangup = on_hangup};

static void dial_connected(struct net_dial *dial, int fd) {
  int error = net_conn_open(&dial->conn, dial->loop, fd, &conn_ops, dial);
  if (error != 0) {
    dial->conn = NULL;
    dial_fail(dial, system_error(error), "cannot use the connection to %s: %s", dial->where, uv_strerror(error));
    return;
  }
  net_conn_pause(dial->conn);
  dial_advance(dial);
}

static void on_raced(struct net_race *race, int fd, int error, const char *reason, void *user) {
  struct net_dial *dial = user;
  (void)race;
  dial->race = NULL;
  if (error != 0) {
    dial_fail(dial, system_error(error), "%s%s", dial->with_proxy ? "the proxy: " : "", reason);
    return;
  }
  dial_connected(dial, fd);
}

static void on_begin(struct net_task *task) {
  struct net_dial *dial = DIAL_OF(task, begin);
  int fd = -1;
  int error = platform_socket_connect_unix(dial->unix_path, &fd);
  if (error != 0) {
    dial_fail(dial, system_error(error), "cannot connect to %s: %s", dial->where, uv_strerror(error));
    return;
  }
  dial_connected(dial, fd);
}

/* ---- the beginning ---- */
static void where_write(char out[static 300], const char *host, uint16_t port) {
  bool literal = strchr(host, ':') != NULL;
  (void)snprintf(out, 300, "%s%s%s:%u", literal ? "[" : "", host, literal ? "]" : "", (unsigned)port);
}

static bool text_take(char **out, const char *text) {
  *out = text != NULL ? net_text_copy(text, strlen(text)) : NULL;
  return text == NULL || *out != NULL;
}

static bool proxy_take(struct net_dial *dial, const struct net_proxy *proxy) {
  if (proxy == NULL) {
    return true;
  }
  dial->with_proxy = true;
  dial->proxy.port = proxy->port;
  dial->proxy.tls = proxy->tls;
  (void)snprintf(dial->proxy.host, sizeof dial->proxy.host, "%s", proxy->host);
  where_write(dial->through, proxy->host, proxy->port);
  return text_take(&dial->proxy.user, proxy->user) && text_take(&dial->proxy.password, proxy->password);
}

static bool contexts_suffice(const struct net_dial_request *request) {
  enum net_carrier carrier = request->endpoint.carrier;
  bool link = carrier == NET_CARRIER_TLS || carrier == NET_CARRIER_WS || carrier == NET_CARRIER_WSS;
  bool web = carrier == NET_CARRIER_WSS || (request->proxy != NULL && request->proxy->tls);
  return (!link || request->link_tls != NULL) && (!web || request->web_tls != NULL);
}

int net_dial_start(struct net_dial **out, struct net_loop *loop, const struct net_dial_request *request,
                   net_dial_cb done, void *user) {
  *out = NULL;
  if (!contexts_suffice(request) || (request->unix_path != NULL && request->proxy != NULL)) {
    return UV_EINVAL;
  }
  struct net_dial *dial = calloc(1, sizeof *dial);
  if (dial == NULL) {
    return UV_ENOMEM;
  }
  dial->loop = loop;
  dial->done = done;
  dial->user = user;
  dial->endpoint = request->endpoint;
  dial->timeout_ms = request->timeout_ms != 0 ? request->timeout_ms : NET_DIAL_TIMEOUT_MS;
  dial->timeout.fire = on_timeout;
  dial->begin.run = on_begin;
  dial->link_tls = request->link_tls != NULL ? net_tls_context_ref(request->link_tls) : NULL;
  dial->web_tls = request->web_tls != NULL ? net_tls_context_ref(request->web_tls) : NULL;
  int error = UV_ENOMEM;
  if (!text_take(&dial->unix_path, request->unix_path) ||
      !text_take(&dial->link_server_name, request->link_server_name) || !proxy_take(dial, request->proxy)) {
    goto failed;
  }
  if (request->unix_path != NULL) {
    (void)snprintf(dial->where, sizeof dial->where, "%s", request->unix_path);
    net_loop_defer(loop, &dial->begin);
  } else {
    where_write(dial->where, dial->endpoint.host, dial->endpoint.port);
    const char *host = dial->with_proxy ? dial->proxy.host : dial->endpoint.host;
    error = net_race_start(&dial->race, loop, host, dial->with_proxy ? dial->proxy.port : dial->endpoint.port, on_raced,
                           dial);
    if (error != 0) {
      goto failed;
    }
  }
  net_timer_start(&loop->wheel, &dial->timeout, dial->timeout_ms);
  *out = dial;
  return 0;

failed:
  dial_free(dial);
  return error;
}

void net_dial_cancel(struct net_dial *dial) {
  dial_free(dial);
}
