/* simple.c: a small web service, such as you would put behind the tunnel. It knows nothing of tunnels.
 *
 *   example-simple [PORT]        9000 unless told; 0 takes any free port
 *
 * Every GET is answered with a greeting and the request as it arrived here (look for X-Forwarded-For).
 * One struct per connection: it reads, answers what it has read, and reads on only when the answers are
 * out, so a connection never holds more than one input buffer and the answers to it.
 */
#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define DEFAULT_PORT 9000
#define BACKLOG 128
#define INPUT_BYTES 4096     /* one read */
#define REQUEST_BYTES 4096   /* what we show of a request; the rest is left out */
#define PAGE_BYTES 16384     /* a page, its request escaped */
#define IDLE_MS 75000        /* a connection that sends nothing for so long is closed */

struct connection {
  uv_tcp_t tcp;
  uv_timer_t idle;
  int handles;               /* still open; the last one to close frees */
  llhttp_t parser;
  int unsent;                /* answers on their way */
  int last;                  /* no request after this one */
  char input[INPUT_BYTES];
  char request[REQUEST_BYTES];
  size_t request_size;
};

struct answer {
  uv_write_t write;
  struct connection *connection;
  size_t page_size;
  char head[256], page[PAGE_BYTES];
};

/* Adds to a text of bounded size; what does not fit is left out. */
static void add(char *text, size_t *size, size_t capacity, const char *data, size_t n) {
  n = n < capacity - *size ? n : capacity - *size;
  memcpy(text + *size, data, n);
  *size += n;
}

static void on_handle_closed(uv_handle_t *handle) {
  struct connection *c = handle->data;
  if (--c->handles == 0)
    free(c);
}
static void connection_close(struct connection *c) {
  if (uv_is_closing((uv_handle_t *)&c->tcp))
    return;
  uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
  uv_close((uv_handle_t *)&c->idle, on_handle_closed);
}
static void on_idle(uv_timer_t *timer) { connection_close(timer->data); }

/* ---- reading: llhttp calls these while it parses ---- */

static int on_begin(llhttp_t *parser) {
  ((struct connection *)parser->data)->request_size = 0;
  return 0;
}
static int on_text(llhttp_t *parser, const char *data, size_t n) {
  struct connection *c = parser->data;
  add(c->request, &c->request_size, sizeof c->request, data, n);
  return 0;
}
static int on_name_end(llhttp_t *parser) { return on_text(parser, ": ", 2); }
static int on_line_end(llhttp_t *parser) { return on_text(parser, "\n", 1); }

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  struct connection *c = handle->data;
  (void)suggested;
  *buffer = uv_buf_init(c->input, sizeof c->input);
}
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer) {
  struct connection *c = stream->data;
  if (n >= 0) {
    uv_timer_start(&c->idle, on_idle, IDLE_MS, 0);
    if (llhttp_execute(&c->parser, buffer->base, (size_t)n) != HPE_OK && !c->last) {
      fprintf(stderr, "simple: closing a connection: %s\n", llhttp_get_error_reason(&c->parser));
      c->last = 1;
    }
  } else { /* the visitor has finished (UV_EOF), or is gone */
    c->last = 1;
  }
  if (c->unsent > 0 || c->last)
    uv_read_stop(stream);
  if (c->unsent == 0 && c->last)
    connection_close(c);
}

/* ---- answering ---- */

static void on_written(uv_write_t *write, int status) {
  struct answer *answer = (struct answer *)write;
  struct connection *c = answer->connection;
  free(answer);
  c->unsent--;
  if (status < 0 || (c->unsent == 0 && c->last))
    connection_close(c);
  else if (c->unsent == 0)
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

/* A stranger's bytes inside HTML: the characters that mean something there become entities. */
static void add_escaped(struct answer *answer, const char *data, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const char *entity = data[i] == '<' ? "&lt;" : data[i] == '&' ? "&amp;" : NULL;
    add(answer->page, &answer->page_size, sizeof answer->page, entity ? entity : &data[i], entity ? strlen(entity) : 1);
  }
}
static int on_request(llhttp_t *parser) {
  static const char top[] = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Hello, world</title>\n"
                            "<body style=\"font:18px/1.5 sans-serif;max-width:40em;margin:4em auto\">\n"
                            "<h1>Hello, world</h1><p>This is examples/simple. Your request, as it arrived here:</p><pre>";
  struct connection *c = parser->data;
  int known = parser->method == HTTP_GET || parser->method == HTTP_HEAD;
  struct answer *answer = malloc(sizeof *answer);
  if (!answer)
    return HPE_USER;
  answer->connection = c;
  answer->page_size = 0;
  add(answer->page, &answer->page_size, sizeof answer->page, top, sizeof top - 1);
  add_escaped(answer, c->request, c->request_size);
  c->last = !llhttp_should_keep_alive(parser);
  int head = snprintf(answer->head, sizeof answer->head, "HTTP/1.1 %s\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %zu\r\n%s\r\n",
                      known ? "200 OK" : "405 Method Not Allowed\r\nAllow: GET, HEAD", answer->page_size, c->last ? "Connection: close\r\n" : "");
  uv_buf_t parts[2] = { uv_buf_init(answer->head, (unsigned)head), uv_buf_init(answer->page, (unsigned)answer->page_size) };
  if (uv_write(&answer->write, (uv_stream_t *)&c->tcp, parts, parser->method == HTTP_HEAD ? 1 : 2, on_written) < 0) {
    free(answer);
    return HPE_USER;
  }
  c->unsent++;
  return HPE_OK;
}
static const llhttp_settings_t callbacks = {
  .on_message_begin = on_begin, .on_url = on_text, .on_url_complete = on_line_end, .on_header_field = on_text, .on_header_field_complete = on_name_end,
  .on_header_value = on_text, .on_header_value_complete = on_line_end, .on_message_complete = on_request,
};

/* ---- the program ---- */

static void on_connection(uv_stream_t *listener, int status) {
  struct connection *c = status == 0 ? calloc(1, sizeof *c) : NULL;
  if (!c) {
    fprintf(stderr, "simple: cannot accept: %s\n", uv_strerror(status ? status : UV_ENOMEM));
    return;
  }
  uv_tcp_init(listener->loop, &c->tcp);
  uv_timer_init(listener->loop, &c->idle);
  c->tcp.data = c->idle.data = c->parser.data = c;
  c->handles = 2;
  llhttp_init(&c->parser, HTTP_REQUEST, &callbacks);
  c->parser.data = c;
  uv_timer_start(&c->idle, on_idle, IDLE_MS, 0);
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
    fprintf(stderr, "simple: cannot listen on 127.0.0.1:%ld: %s\n", port, uv_strerror(error));
    return 1;
  }
  printf("simple: listening on http://127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return uv_run(uv_default_loop(), UV_RUN_DEFAULT); /* until a signal ends it */
}
