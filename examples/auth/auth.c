/* auth.c: the server inside another program, with a router of its own.
 *
 *   example-auth [PORT [server flags]]      visitors on PORT (9000), clients on 8001, all on loopback
 *   mdm-tunnel-client -u tim hello=3000
 *   curl -H 'X-Api-Key: open-sesame' http://127.0.0.1:9000/
 *
 * Three things that an embedder may want are shown: a hook that routes every visit by a header after an asynchronous look-up, a listening socket
 * of the program's own whose connections are handed to the server, and the server on the program's loop. */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <mdm/auth.h>
#include <mdm/server.h>

/* ---- the look-up: who may see what ---- */
static const struct {
  const char *key, *user, *service;
} keys[] = {{"open-sesame", "tim", "hello"}, {"other-door", "tim", "other"}};

struct lookup {
  uv_work_t work;
  struct mdm_auth_call *call; /* NULL once the asker has gone */
  char key[64];
  int found;                  /* index, -1 for none */
};

static struct mdm_text text(const char *string) {
  return (struct mdm_text){string, strlen(string)};
}

/* On a thread of the pool: a database would be asked here. */
static void lookup_run(uv_work_t *work) {
  struct lookup *lookup = work->data;
  lookup->found = -1;
  for (int i = 0; i < (int)(sizeof keys / sizeof keys[0]); i++) {
    if (strcmp(lookup->key, keys[i].key) == 0) {
      lookup->found = i;
    }
  }
}

/* Back on the loop: answer, unless nobody waits any more. */
static void lookup_done(uv_work_t *work, int status) {
  struct lookup *lookup = work->data;
  struct mdm_auth_answer answer = {0}; /* all zeroes deny, with 403 */
  if (status == 0 && lookup->found >= 0) {
    answer.allow = true;
    answer.user = text(keys[lookup->found].user);
    answer.service = text(keys[lookup->found].service);
  }
  if (lookup->call != NULL) {
    mdm_auth_answer(lookup->call, &answer);
  }
  free(lookup);
}

/* ---- the hook ---- */
static int router_open(void **self, struct uv_loop_s *loop, const char *config_json) {
  (void)config_json;
  *self = loop;
  return 0;
}

static void router_ask(void *self, const struct mdm_auth_question *question, struct mdm_auth_call *call) {
  static const struct mdm_auth_field wanted = {{"WWW-Authenticate", 16}, {"X-Api-Key", 9}};
  struct mdm_auth_answer refusal = {.status = 401, .answer_fields = &wanted, .answer_fields_count = 1};
  struct lookup *lookup = calloc(1, sizeof *lookup);
  for (size_t i = 0; lookup != NULL && i < question->fields_count; i++) {
    const struct mdm_auth_field *field = &question->fields[i];
    if (field->name.size == 9 && strncasecmp(field->name.data, "X-Api-Key", 9) == 0 && field->value.size < sizeof lookup->key) {
      memcpy(lookup->key, field->value.data, field->value.size);
    }
  }
  if (lookup == NULL || lookup->key[0] == '\0') {
    free(lookup);
    mdm_auth_answer(call, &refusal); /* an answer may come at once, too */
    return;
  }
  lookup->call = call;
  lookup->work.data = lookup;
  mdm_auth_call_set(call, lookup);
  uv_queue_work(self, &lookup->work, lookup_run, lookup_done);
}

static void router_cancel(void *self, struct mdm_auth_call *call) {
  struct lookup *lookup = mdm_auth_call_get(call);
  (void)self;
  lookup->call = NULL; /* lookup_done frees it */
}

static const struct mdm_auth_hook router = {
    .abi = MDM_AUTH_ABI,
    .name = "router",
    .steps = MDM_AUTH_BIT(MDM_AUTH_VISIT),
    .open = router_open,
    .ask = router_ask,
    .cancel = router_cancel,
};

/* ---- a door of our own ---- */
struct program {
  mdm_server *server;
  uv_poll_t door;
  uv_signal_t quit;
  int fd;
};

static void door_knock(uv_poll_t *door, int status, int events) {
  struct program *program = door->data;
  (void)events;
  int fd = status == 0 ? accept4(program->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
  if (fd >= 0) {
    mdm_server_accept(program->server, fd); /* takes the descriptor, whatever comes of it */
  }
}

static int door_open(struct program *program, unsigned short port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  int on = 1;
  program->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (program->fd < 0 || setsockopt(program->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(program->fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(program->fd, 128) != 0 ||
      getsockname(program->fd, (struct sockaddr *)&address, &size) != 0) {
    perror("example-auth");
    return -1;
  }
  uv_poll_init(uv_default_loop(), &program->door, program->fd);
  program->door.data = program;
  uv_poll_start(&program->door, UV_READABLE, door_knock);
  return ntohs(address.sin_port);
}

/* ---- life and death ---- */
static void server_stopped(mdm_server *server, void *user) {
  struct program *program = user;
  mdm_server_free(server);
  program->server = NULL;
}

static void quit(uv_signal_t *signal, int number) {
  struct program *program = signal->data;
  (void)number;
  uv_close((uv_handle_t *)&program->door, NULL);
  uv_close((uv_handle_t *)signal, NULL);
  mdm_server_stop(program->server, server_stopped, program);
}

int main(int argc, char **argv) {
  static char flag_port[] = "-p", any[] = "0"; /* the server's own public port is not used here */
  char *flags[32] = {flag_port, any}, error[1024] = "";
  struct program program = {.fd = -1};
  struct mdm_server_options options = {.loop = uv_default_loop(), .argc = 2, .argv = flags};
  char *end = NULL;
  unsigned long port = argc > 1 ? strtoul(argv[1], &end, 10) : 9000;
  if (port > 65535 || (argc > 1 && (*argv[1] == '\0' || *end != '\0')) || argc > 31) {
    fprintf(stderr, "usage: example-auth [PORT [server flags]]\n");
    return 2;
  }
  for (int i = 2; i < argc; i++) {
    flags[options.argc++] = argv[i];
  }
  if (mdm_server_new(&program.server, &options, error, sizeof error) != 0 || mdm_server_add_hook(program.server, &router, NULL) != 0 ||
      mdm_server_start(program.server, error, sizeof error) != 0) {
    fprintf(stderr, "example-auth: %s\n", error);
    return 1;
  }
  int door = door_open(&program, (unsigned short)port);
  if (door < 0) {
    return 1;
  }
  printf("listening on http://127.0.0.1:%d, clients on %u\n", door, (unsigned)mdm_server_client_port(program.server));
  fflush(stdout);
  uv_signal_init(uv_default_loop(), &program.quit);
  program.quit.data = &program;
  uv_signal_start(&program.quit, quit, SIGTERM);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  close(program.fd);
  return uv_loop_close(uv_default_loop()) == 0 ? 0 : 1;
}
