/* confine_probe.c: a hook that tries, for each visit, what the request target says, and answers with how it went: /read/PATH, /write/PATH, /execute/PATH,
 * /trace. The body is "done" or the number of the error. For test_confine.py. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include <mdm/auth.h>

static const char *after(const char *text, const char *prefix) {
  size_t size = strlen(prefix);
  return strncmp(text, prefix, size) == 0 ? text + size : NULL;
}

static int descriptor_result(int fd) {
  int error = fd < 0 ? errno : 0;
  if (fd >= 0)
    close(fd);
  return error;
}

static int attempt(const char *target) {
  const char *path;
  if ((path = after(target, "/read")) != NULL)
    return descriptor_result(open(path, O_RDONLY | O_CLOEXEC));
  if ((path = after(target, "/write")) != NULL)
    return descriptor_result(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if ((path = after(target, "/execute")) != NULL)
    return execl(path, path, (char *)NULL) == 0 ? 0 : errno;
  if (after(target, "/trace") != NULL)
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : errno;
  return ENOTSUP;
}

static void probe_ask(void *self, const struct mdm_auth_question *question, struct mdm_auth_call *call) {
  char target[1024], text[32];
  (void)self;
  snprintf(target, sizeof target, "%.*s", (int)question->request_target.size, question->request_target.data);
  int error = attempt(target);
  snprintf(text, sizeof text, error == 0 ? "done" : "%d", error);
  mdm_auth_answer(call, &(struct mdm_auth_answer){.status = 403, .body = {text, strlen(text)}});
}

static int probe_open(void **self, struct uv_loop_s *loop, const char *config_json) {
  (void)loop;
  (void)config_json;
  *self = NULL;
  return 0;
}

static void probe_close(void *self) {
  (void)self;
}

MDM_API const struct mdm_auth_hook *mdm_auth_plugin(void);
const struct mdm_auth_hook *mdm_auth_plugin(void) {
  static const struct mdm_auth_hook hook = {.abi = MDM_AUTH_ABI, .name = "probe", .steps = MDM_AUTH_BIT(MDM_AUTH_VISIT), .open = probe_open, .ask = probe_ask, .close = probe_close};
  return &hook;
}
