/* access_log.c: gathers lines and writes them out, one buffer filling while the other is written. */
#include "access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

static const struct net_log_actor actor = {.kind = "access-log"};

struct buffer {
  char *data;
  size_t size, lines;
};
struct access_log {
  struct exchange_observer observer;
  struct net_loop *loop; /* NULL once closing */
  uv_loop_t *uv;
  struct net_task task;
  uv_fs_t request;
  bool writing, failing;
  struct buffer filling, leaving;
  size_t left; /* bytes of `leaving` already written */
  int fd, retired_fd; /* -1 = none; the retired one is closed when its write is done */
  enum access_format format;
  uint64_t dropped, dropped_taken;
  char line[ACCESS_LOG_LINE_MAX];
};

static void write_on(struct access_log *log);

static void fd_close(int fd) {
  if (fd > STDERR_FILENO)
    close(fd);
}

static void free_now(struct access_log *log) {
  fd_close(log->fd);
  fd_close(log->retired_fd);
  free(log->filling.data);
  free(log->leaving.data);
  free(log);
}

static void write_failed(struct access_log *log, int error) {
  log->dropped += log->leaving.lines;
  log->leaving.size = log->left = 0;
  if (!log->failing && log->loop != NULL)
    net_log_write(log->loop->log, NET_LOG_ERROR, &actor, "cannot write: %s; lines are dropped", uv_strerror(error));
  log->failing = true;
}

static void on_written(uv_fs_t *request) {
  struct access_log *log = request->data;
  ssize_t result = request->result;
  uv_fs_req_cleanup(request);
  log->writing = false;
  if (result < 0) {
    write_failed(log, (int)result);
  } else {
    log->left += (size_t)result;
    if (log->failing && log->loop != NULL)
      net_log_write(log->loop->log, NET_LOG_ERROR, &actor, "writing again; %llu lines were dropped", (unsigned long long)log->dropped);
    log->failing = false;
  }
  if (log->left == log->leaving.size) {
    fd_close(log->retired_fd);
    log->retired_fd = -1;
  }
  write_on(log);
}

/* Goes on with the buffer that leaves, or takes the next one; frees the log when it is closing and nothing is left. */
static void write_on(struct access_log *log) {
  if (log->writing)
    return;
  if (log->left == log->leaving.size) {
    struct buffer empty = log->leaving;
    empty.size = empty.lines = 0;
    log->leaving = log->filling;
    log->filling = empty;
    log->left = 0;
  }
  if (log->leaving.size == 0) {
    if (log->loop == NULL)
      free_now(log);
    return;
  }
  uv_buf_t part = uv_buf_init(log->leaving.data + log->left, (unsigned)(log->leaving.size - log->left));
  int fd = log->retired_fd >= 0 ? log->retired_fd : log->fd;
  int status = uv_fs_write(log->uv, &log->request, fd, &part, 1, -1, on_written);
  log->writing = status == 0;
  if (status != 0) {
    write_failed(log, status);
    write_on(log); /* the other buffer; ends when both are empty */
  }
}

static void on_task(struct net_task *task) {
  write_on((struct access_log *)(void *)((char *)task - offsetof(struct access_log, task)));
}

static void on_end(const struct exchange_observer *observer, const struct exchange_report *report) {
  struct access_log *log = (struct access_log *)(void *)((char *)(uintptr_t)observer - offsetof(struct access_log, observer));
  size_t size = access_log_format(log->line, sizeof log->line, log->format, report);
  if (size > ACCESS_LOG_BUFFER - log->filling.size) {
    log->dropped++;
    return;
  }
  memcpy(log->filling.data + log->filling.size, log->line, size);
  log->filling.size += size;
  log->filling.lines++;
  net_loop_defer(log->loop, &log->task);
}

/* A pipe without a reader must not hold the loop up: O_NONBLOCK. */
static int path_open(const char *path) {
  int fd = strcmp(path, "-") == 0 ? STDOUT_FILENO : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
  return fd < 0 ? uv_translate_sys_error(errno) : fd;
}

int access_log_open(struct access_log **out, struct net_loop *loop, const char *path, enum access_format format) {
  struct access_log *log = calloc(1, sizeof *log);
  int fd;
  *out = NULL;
  if (log == NULL)
    return UV_ENOMEM;
  log->fd = log->retired_fd = -1;
  log->filling.data = malloc(ACCESS_LOG_BUFFER);
  log->leaving.data = malloc(ACCESS_LOG_BUFFER);
  fd = log->filling.data == NULL || log->leaving.data == NULL ? UV_ENOMEM : path_open(path);
  if (fd < 0) {
    free_now(log);
    return fd;
  }
  log->observer.end = on_end;
  log->loop = loop;
  log->uv = loop->uv;
  log->task.run = on_task;
  log->request.data = log;
  log->format = format;
  log->fd = fd;
  *out = log;
  return 0;
}

const struct exchange_observer *access_log_observer(const struct access_log *log) {
  return &log->observer;
}

int access_log_reopen(struct access_log *log, const char *path, enum access_format format) {
  int fd = path_open(path);
  if (fd < 0)
    return fd;
  if (log->writing && log->retired_fd < 0)
    log->retired_fd = log->fd;
  else
    fd_close(log->fd);
  log->fd = fd;
  log->format = format;
  return 0;
}

uint64_t access_log_take_dropped(struct access_log *log) {
  uint64_t fresh = log->dropped - log->dropped_taken;
  log->dropped_taken = log->dropped;
  return fresh;
}

void access_log_close(struct access_log *log) {
  if (log == NULL)
    return;
  net_task_cancel(&log->task);
  log->loop = NULL;
  write_on(log);
}
