/* websockets.c: a WebSocket echo and the page that uses it, such as you would put behind the tunnel.
 *
 *   example-websockets [PORT]    9001 unless told; 0 takes any free port
 *
 * GET / is the page; the same address with "Upgrade: websocket" is the echo: every message comes back as
 * it was. llhttp reads the one request of a connection, wslay the frames after it (RFC 6455).
 */
#include <llhttp.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <wslay/wslay.h>

#define DEFAULT_PORT 9001
#define BACKLOG 128
#define INPUT_BYTES 16384
#define MESSAGE_BYTES (1u << 20) /* a longer message ends the connection (close code 1009) */
#define UNSENT_BYTES (2u << 20)  /* more than this unsent: nothing is read until it is out */
#define REQUEST_MS 10000         /* for the request; a WebSocket may be silent as long as it likes */

struct connection {
  uv_tcp_t tcp;
  uv_timer_t deadline;
  int handles;                   /* still open; the last one to close frees */
  llhttp_t parser;
  wslay_event_context_ptr ws;    /* once upgraded */
  int last;                      /* close when everything is written */
  const uint8_t *unread;         /* what wslay has yet to take of the read at hand */
  size_t unread_size;
  char field[32], key[32], version[8];
  char input[INPUT_BYTES];
};

struct output {
  uv_write_t write;
  struct connection *connection;
  char bytes[];
};

static const char page[] =
  "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>WebSocket echo</title>\n"
  "<body style=\"font:18px/1.5 sans-serif;max-width:40em;margin:4em auto\">\n"
  "<h1>WebSocket echo</h1><form><input autofocus placeholder=\"Say something\"> <button>Send</button></form><pre></pre>\n"
  "<script>\n"
  "const log = line => document.querySelector('pre').append(line + '\\n');\n"
  "const socket = new WebSocket(location.href.replace(/^http/, 'ws'));\n"
  "socket.onopen = () => { log('connected'); socket.send('hello'); };\n"
  "socket.onmessage = event => log('echo: ' + event.data);\n"
  "socket.onclose = event => log('closed, code ' + event.code);\n"
  "document.querySelector('form').onsubmit = event => {\n"
  "  event.preventDefault();\n"
  "  socket.send(event.target[0].value);\n"
  "  event.target[0].value = '';\n"
  "};\n"
  "</script>\n";

static void on_handle_closed(uv_handle_t *handle) {
  struct connection *c = handle->data;
  if (--c->handles > 0)
    return;
  if (c->ws)
    wslay_event_context_free(c->ws);
  free(c);
}
static void connection_close(struct connection *c) {
  if (uv_is_closing((uv_handle_t *)&c->tcp))
    return;
  uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
  uv_close((uv_handle_t *)&c->deadline, on_handle_closed);
}
static void on_deadline(uv_timer_t *timer) { connection_close(timer->data); }

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer);

/* ---- writing ---- */

static size_t unsent(struct connection *c) { return uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp); }

static void connection_step(struct connection *c) {
  if (c->ws && wslay_event_send(c->ws) != 0) /* what wslay has queued: echoes, pongs, close */
    c->last = 1;
  if (c->ws && !wslay_event_want_read(c->ws) && !wslay_event_want_write(c->ws))
    c->last = 1; /* both sides have said close */
  if (c->last && unsent(c) == 0)
    connection_close(c);
  else if (c->last || unsent(c) >= UNSENT_BYTES)
    uv_read_stop((uv_stream_t *)&c->tcp);
  else
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read); /* no harm if it is reading already */
}
static void on_written(uv_write_t *write, int status) {
  struct output *output = (struct output *)write;
  struct connection *c = output->connection;
  free(output);
  if (status < 0)
    connection_close(c);
  else if (!uv_is_closing((uv_handle_t *)&c->tcp))
    connection_step(c);
}
static int connection_send(struct connection *c, const void *data, size_t size) {
  struct output *output = malloc(sizeof *output + size);
  if (!output)
    return -1;
  output->connection = c;
  memcpy(output->bytes, data, size);
  uv_buf_t buffer = uv_buf_init(output->bytes, (unsigned)size);
  if (uv_write(&output->write, (uv_stream_t *)&c->tcp, &buffer, 1, on_written) < 0) {
    free(output);
    return -1;
  }
  return 0;
}

/* ---- the echo: wslay asks for bytes, gives bytes, and tells of messages ---- */

static ssize_t ws_recv(wslay_event_context_ptr ws, uint8_t *data, size_t capacity, int flags, void *user) {
  struct connection *c = user;
  size_t n = c->unread_size < capacity ? c->unread_size : capacity;
  (void)flags;
  if (n == 0) {
    wslay_event_set_error(ws, WSLAY_ERR_WOULDBLOCK);
    return -1;
  }
  memcpy(data, c->unread, n);
  c->unread += n;
  c->unread_size -= n;
  return (ssize_t)n;
}
static ssize_t ws_send(wslay_event_context_ptr ws, const uint8_t *data, size_t size, int flags, void *user) {
  struct connection *c = user;
  (void)flags;
  if (unsent(c) >= UNSENT_BYTES) {
    wslay_event_set_error(ws, WSLAY_ERR_WOULDBLOCK);
    return -1;
  }
  if (connection_send(c, data, size) < 0) {
    wslay_event_set_error(ws, WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
  }
  return (ssize_t)size;
}
static void ws_message(wslay_event_context_ptr ws, const struct wslay_event_on_msg_recv_arg *arg, void *user) {
  (void)user;
  if (wslay_is_ctrl_frame(arg->opcode)) /* wslay itself answers ping and close */
    return;
  struct wslay_event_msg echo = { .opcode = arg->opcode, .msg = arg->msg, .msg_length = arg->msg_length };
  if (wslay_event_queue_msg(ws, &echo) != 0)
    wslay_event_queue_close(ws, WSLAY_CODE_INTERNAL_SERVER_ERROR, NULL, 0);
}

/* ---- the request ---- */

static int add(char *text, size_t capacity, const char *data, size_t n) {
  size_t size = strlen(text);
  if (n >= capacity - size)
    n = capacity - size - 1; /* longer than anything we look for, so it will not match */
  memcpy(text + size, data, n);
  text[size + n] = '\0';
  return 0;
}
static int on_field(llhttp_t *parser, const char *data, size_t n) {
  struct connection *c = parser->data;
  return add(c->field, sizeof c->field, data, n);
}
static int on_value(llhttp_t *parser, const char *data, size_t n) {
  struct connection *c = parser->data;
  if (strcasecmp(c->field, "sec-websocket-key") == 0)
    return add(c->key, sizeof c->key, data, n);
  if (strcasecmp(c->field, "sec-websocket-version") == 0)
    return add(c->version, sizeof c->version, data, n);
  return 0;
}
static int on_value_end(llhttp_t *parser) {
  ((struct connection *)parser->data)->field[0] = '\0';
  return 0;
}
static int answer(struct connection *c, const char *status, const char *fields, const char *body, size_t size) {
  char head[512];
  int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n", status, size, fields);
  c->last = 1;
  return connection_send(c, head, (size_t)n) < 0 || (c->parser.method != HTTP_HEAD && connection_send(c, body, size) < 0) ? HPE_USER : HPE_OK;
}
static int upgrade(struct connection *c) {
  static const struct wslay_event_callbacks callbacks = { .recv_callback = ws_recv, .send_callback = ws_send, .on_msg_recv_callback = ws_message };
  char text[128], head[256];
  unsigned char digest[EVP_MAX_MD_SIZE], accept[64];
  unsigned digest_size = 0;
  snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", c->key);
  if (EVP_Digest(text, strlen(text), digest, &digest_size, EVP_sha1(), NULL) != 1 || wslay_event_context_server_init(&c->ws, &callbacks, c) != 0)
    return HPE_USER;
  wslay_event_config_set_max_recv_msg_length(c->ws, MESSAGE_BYTES);
  EVP_EncodeBlock(accept, digest, (int)digest_size);
  int n = snprintf(head, sizeof head, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", (char *)accept);
  uv_timer_stop(&c->deadline);
  return connection_send(c, head, (size_t)n) < 0 ? HPE_USER : HPE_OK;
}
static int on_request(llhttp_t *parser) {
  struct connection *c = parser->data;
  if (c->last)
    return HPE_OK; /* one request a connection */
  if (parser->method != HTTP_GET && parser->method != HTTP_HEAD)
    return answer(c, "405 Method Not Allowed", "Allow: GET, HEAD\r\n", "", 0);
  if (!parser->upgrade)
    return answer(c, "200 OK", "Content-Type: text/html; charset=utf-8\r\n", page, sizeof page - 1);
  if (strlen(c->key) != 24 || strcmp(c->version, "13") != 0)
    return answer(c, "426 Upgrade Required", "Sec-WebSocket-Version: 13\r\n", "", 0);
  return upgrade(c);
}
static const llhttp_settings_t callbacks = { .on_header_field = on_field, .on_header_value = on_value, .on_header_value_complete = on_value_end, .on_message_complete = on_request };

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  struct connection *c = handle->data;
  (void)suggested;
  *buffer = uv_buf_init(c->input, sizeof c->input);
}
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer) {
  struct connection *c = stream->data;
  if (n < 0) {
    connection_close(c);
    return;
  }
  c->unread = (const uint8_t *)buffer->base;
  c->unread_size = (size_t)n;
  if (!c->ws) {
    enum llhttp_errno error = llhttp_execute(&c->parser, buffer->base, (size_t)n);
    if (error == HPE_PAUSED_UPGRADE) { /* frames may stand right behind the request */
      const uint8_t *end = (const uint8_t *)llhttp_get_error_pos(&c->parser);
      c->unread_size -= (size_t)(end - c->unread);
      c->unread = end;
    } else if (error != HPE_OK && !c->last) {
      fprintf(stderr, "websockets: closing a connection: %s\n", llhttp_get_error_reason(&c->parser));
      c->last = 1;
    }
  }
  if (c->ws && wslay_event_recv(c->ws) != 0)
    c->last = 1;
  connection_step(c);
}

/* ---- the program ---- */

static void on_connection(uv_stream_t *listener, int status) {
  struct connection *c = status == 0 ? calloc(1, sizeof *c) : NULL;
  if (!c) {
    fprintf(stderr, "websockets: cannot accept: %s\n", uv_strerror(status ? status : UV_ENOMEM));
    return;
  }
  uv_tcp_init(listener->loop, &c->tcp);
  uv_timer_init(listener->loop, &c->deadline);
  llhttp_init(&c->parser, HTTP_REQUEST, &callbacks);
  c->tcp.data = c->deadline.data = c->parser.data = c;
  c->handles = 2;
  uv_timer_start(&c->deadline, on_deadline, REQUEST_MS, 0);
  if (uv_accept(listener, (uv_stream_t *)&c->tcp) < 0 || uv_tcp_nodelay(&c->tcp, 1) < 0 || uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
    connection_close(c);
}

int main(int argc, char **argv) {
  char *end = "";
  long port = argc > 1 ? strtol(argv[1], &end, 10) : DEFAULT_PORT;
  if (argc > 2 || *end || (argc > 1 && end == argv[1]) || port < 0 || port > 65535) {
    fprintf(stderr, "usage: %s [PORT]\n", argv[0]);
    return 2;
  }
  uv_tcp_t listener;
  struct sockaddr_in address;
  int size = sizeof address, error;
  uv_tcp_init(uv_default_loop(), &listener);
  uv_ip4_addr("127.0.0.1", (int)port, &address);
  if ((error = uv_tcp_bind(&listener, (struct sockaddr *)&address, 0)) < 0 || (error = uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection)) < 0 ||
      (error = uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &size)) < 0) {
    fprintf(stderr, "websockets: cannot listen on 127.0.0.1:%ld: %s\n", port, uv_strerror(error));
    return 1;
  }
  printf("websockets: listening on http://127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return uv_run(uv_default_loop(), UV_RUN_DEFAULT); /* until a signal ends it */
}
