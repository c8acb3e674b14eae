/* proxy.c: HTTP CONNECT as a layer: a request, its answer, and from then on nothing but bytes. */
#include "proxy.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_answer.h"

#define CREDENTIAL_MAX 2048u /* user, colon and password as net_proxy_parse lets them pass */
#define REQUEST_MAX    4096u
#define ERROR_MAX      512u

enum proxy_state { PROXY_REQUEST, PROXY_ANSWER, PROXY_OPEN, PROXY_FAILED };

struct proxy_layer {
  struct net_layer layer;
  enum proxy_state state;
  int error;
  bool with_credentials;
  char target[300], name[300]; /* for sentences; `name` is the proxy */
  char *request;               /* holds the credentials: wiped when it has left */
  size_t request_size, request_sent;
  struct http_answer answer;
  uint8_t *surplus; /* bytes behind the answer's head */
  size_t surplus_size, surplus_taken;
  char text[ERROR_MAX];
};

static struct proxy_layer *proxy_of(const struct net_layer *layer) {
  return (struct proxy_layer *)(uintptr_t)layer; /* the layer is its first member */
}

static int proxy_fail(struct proxy_layer *proxy, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int proxy_fail(struct proxy_layer *proxy, int error, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int size = snprintf(proxy->text, sizeof proxy->text, "the proxy %s ", proxy->name);
  (void)vsnprintf(proxy->text + size, sizeof proxy->text - (size_t)size, format, arguments);
  va_end(arguments);
  proxy->state = PROXY_FAILED;
  proxy->error = error;
  return error;
}

static void request_wipe(struct proxy_layer *proxy) {
  if (proxy->request != NULL) {
    sodium_memzero(proxy->request, REQUEST_MAX);
    free(proxy->request);
    proxy->request = NULL;
  }
}

static int request_send(struct proxy_layer *proxy) {
  while (proxy->request_sent < proxy->request_size) {
    struct mdm_slice rest = {.data = (const uint8_t *)proxy->request + proxy->request_sent,
                             .size = proxy->request_size - proxy->request_sent};
    ssize_t n = net_layer_write(&proxy->layer, &rest, 1);
    if (n == UV_EAGAIN) {
      return UV_EAGAIN;
    }
    if (n < 0) {
      return proxy_fail(proxy, (int)n, "broke the connection: %s", uv_strerror((int)n));
    }
    proxy->request_sent += (size_t)n;
  }
  request_wipe(proxy);
  proxy->state = PROXY_ANSWER;
  return 0;
}

static int answer_judge(struct proxy_layer *proxy) {
  int status = proxy->answer.status;
  if (status >= 200 && status < 300) {
    return 0;
  }
  if (status == 407) {
    return proxy->with_credentials
               ? proxy_fail(proxy, NET_PROXY_LOGIN, "answered 407: it does not take this user name and password")
               : proxy_fail(proxy, NET_PROXY_LOGIN,
                            "answered 407: it wants a user name and password (--proxy-username, --proxy-password)");
  }
  if (status == 403 || status == 405) {
    return proxy_fail(proxy, UV_ECONNREFUSED,
                      "answered %d: it does not allow a connection to %s; many allow only port 443 (wss://HOST)",
                      status, proxy->target);
  }
  if (status >= 500) {
    return proxy_fail(proxy, UV_EHOSTUNREACH, "answered %d: it could not reach %s", status, proxy->target);
  }
  return proxy_fail(proxy, UV_ECONNREFUSED, "answered %d to CONNECT %s", status, proxy->target);
}

static int surplus_keep(struct proxy_layer *proxy, const uint8_t *data, size_t size) {
  if (size > 0) {
    proxy->surplus = malloc(size);
    if (proxy->surplus == NULL) {
      return proxy_fail(proxy, UV_ENOMEM, "was answered, but memory is out");
    }
    memcpy(proxy->surplus, data, size);
    proxy->surplus_size = size;
  }
  return 0;
}

static int answer_read(struct proxy_layer *proxy) {
  uint8_t buffer[2048];
  for (;;) {
    ssize_t n = net_layer_read(&proxy->layer, buffer, sizeof buffer);
    if (n == UV_EAGAIN) {
      return UV_EAGAIN;
    }
    if (n == UV_EOF) {
      return proxy_fail(proxy, UV_ECONNRESET, "hung up instead of answering CONNECT %s", proxy->target);
    }
    if (n < 0) {
      return proxy_fail(proxy, (int)n, "broke the connection: %s", uv_strerror((int)n));
    }
    size_t used = 0;
    int done = http_answer_feed(&proxy->answer, buffer, (size_t)n, &used);
    if (done < 0) {
      return proxy_fail(proxy, UV_EPROTO, "answered CONNECT with nonsense: %s", http_answer_fault(&proxy->answer));
    }
    if (done > 0) {
      int error = answer_judge(proxy);
      if (error == 0) {
        error = surplus_keep(proxy, buffer + used, (size_t)n - used);
      }
      proxy->state = error == 0 ? PROXY_OPEN : PROXY_FAILED;
      return error;
    }
  }
}

static int proxy_handshake(struct net_layer *layer) {
  struct proxy_layer *proxy = proxy_of(layer);
  int error = 0;
  switch (proxy->state) {
  case PROXY_REQUEST:
    error = request_send(proxy);
    return error != 0 ? error : answer_read(proxy);
  case PROXY_ANSWER:
    return answer_read(proxy);
  case PROXY_OPEN:
    return 0;
  case PROXY_FAILED:
    return proxy->error;
  }
  return UV_EINVAL;
}

static ssize_t proxy_read(struct net_layer *layer, void *buffer, size_t capacity) {
  struct proxy_layer *proxy = proxy_of(layer);
  if (proxy->state != PROXY_OPEN) {
    return proxy->state == PROXY_FAILED ? proxy->error : UV_EAGAIN;
  }
  if (proxy->surplus == NULL) {
    return net_layer_read(layer, buffer, capacity);
  }
  size_t left = proxy->surplus_size - proxy->surplus_taken;
  size_t n = left < capacity ? left : capacity;
  memcpy(buffer, proxy->surplus + proxy->surplus_taken, n);
  proxy->surplus_taken += n;
  if (proxy->surplus_taken == proxy->surplus_size) {
    free(proxy->surplus);
    proxy->surplus = NULL;
  }
  return (ssize_t)n;
}

static ssize_t proxy_write(struct net_layer *layer, const struct mdm_slice *slices, size_t count) {
  struct proxy_layer *proxy = proxy_of(layer);
  if (proxy->state != PROXY_OPEN) {
    return proxy->state == PROXY_FAILED ? proxy->error : UV_EAGAIN;
  }
  return net_layer_write(layer, slices, count);
}

static int proxy_flush(struct net_layer *layer) {
  struct proxy_layer *proxy = proxy_of(layer);
  return proxy->state == PROXY_REQUEST ? request_send(proxy) : 0;
}

static bool proxy_pending(const struct net_layer *layer) {
  const struct proxy_layer *proxy = proxy_of(layer);
  return proxy->surplus != NULL || proxy->state == PROXY_FAILED;
}

static bool proxy_holding(const struct net_layer *layer) {
  return proxy_of(layer)->state == PROXY_REQUEST;
}

static int proxy_shutdown(struct net_layer *layer) {
  (void)layer;
  return 0; /* the FIN below says it all */
}

static void proxy_free(struct net_layer *layer) {
  struct proxy_layer *proxy = proxy_of(layer);
  request_wipe(proxy);
  free(proxy->surplus);
  free(proxy);
}

static const struct net_layer_ops proxy_ops = {
    .name = "proxy",
    .read = proxy_read,
    .write = proxy_write,
    .flush = proxy_flush,
    .pending = proxy_pending,
    .shutdown = proxy_shutdown,
    .free = proxy_free,
    .handshake = proxy_handshake,
    .holding = proxy_holding,
};

static int request_make(struct proxy_layer *proxy, const struct net_proxy *settings) {
  char plain[CREDENTIAL_MAX + 2], coded[CREDENTIAL_MAX * 2] = "";
  int result = 0;
  proxy->with_credentials = settings->user != NULL;
  proxy->request = malloc(REQUEST_MAX);
  if (proxy->request == NULL) {
    return UV_ENOMEM;
  }
  if (settings->user != NULL) {
    int size =
        snprintf(plain, sizeof plain, "%s:%s", settings->user, settings->password != NULL ? settings->password : "");
    if (size < 0 || (size_t)size >= sizeof plain ||
        sodium_base64_encoded_len((size_t)size, sodium_base64_VARIANT_ORIGINAL) > sizeof coded) {
      result = UV_EINVAL;
    } else {
      (void)sodium_bin2base64(coded, sizeof coded, (const unsigned char *)plain, (size_t)size,
                              sodium_base64_VARIANT_ORIGINAL);
    }
  }
  if (result == 0) {
    int size = snprintf(proxy->request, REQUEST_MAX, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", proxy->target,
                        proxy->target, proxy->with_credentials ? "Proxy-Authorization: Basic " : "", coded,
                        proxy->with_credentials ? "\r\n" : "");
    proxy->request_size = size > 0 && (size_t)size < REQUEST_MAX ? (size_t)size : 0;
    result = proxy->request_size > 0 ? 0 : UV_EINVAL;
  }
  sodium_memzero(plain, sizeof plain);
  sodium_memzero(coded, sizeof coded);
  return result;
}

static void host_port_text(char *out, size_t size, const char *host, uint16_t port) {
  bool literal = strchr(host, ':') != NULL;
  (void)snprintf(out, size, "%s%s%s:%u", literal ? "[" : "", host, literal ? "]" : "", (unsigned)port);
}

int net_proxy_push(struct net_conn *conn, const struct net_proxy *proxy, const char *host, uint16_t port) {
  struct proxy_layer *made = calloc(1, sizeof *made);
  if (made == NULL) {
    return UV_ENOMEM;
  }
  made->layer.ops = &proxy_ops;
  host_port_text(made->target, sizeof made->target, host, port);
  host_port_text(made->name, sizeof made->name, proxy->host, proxy->port);
  http_answer_init(&made->answer, NULL);
  int error = request_make(made, proxy);
  if (error != 0) {
    proxy_free(&made->layer);
    return error;
  }
  net_conn_push(conn, &made->layer);
  return 0;
}

static const struct proxy_layer *proxy_find(const struct net_conn *conn) {
  const struct net_layer *layer = net_conn_layer(conn, &proxy_ops);
  return layer != NULL ? proxy_of(layer) : NULL;
}

bool net_proxy_established(const struct net_conn *conn) {
  const struct proxy_layer *proxy = proxy_find(conn);
  return proxy != NULL && proxy->state == PROXY_OPEN;
}

const char *net_proxy_error(const struct net_conn *conn) {
  const struct proxy_layer *proxy = proxy_find(conn);
  return proxy != NULL ? proxy->text : "";
}
