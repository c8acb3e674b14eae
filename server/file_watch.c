/* file_watch.c: owns the watch of one file. */
#include "file_watch.h"

#include <stdlib.h>
#include <string.h>

struct file_state {
  bool there;
  uint64_t inode, size;
  uv_timespec_t modified, status;
};

struct file_watch {
  uv_fs_event_t event;
  uv_timer_t timer;
  unsigned handles;
  bool closing;
  char *path;
  struct file_state state;
  void (*changed)(void *user);
  void *user;
};

static struct file_state state_of(const char *path) {
  struct file_state state = {0};
  uv_fs_t request;
  if (uv_fs_stat(NULL, &request, path, NULL) == 0) {
    state = (struct file_state){true, request.statbuf.st_ino, request.statbuf.st_size, request.statbuf.st_mtim, request.statbuf.st_ctim};
  }
  uv_fs_req_cleanup(&request);
  return state;
}

static bool same_time(const uv_timespec_t *a, const uv_timespec_t *b) {
  return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static void watch_look(struct file_watch *watch) {
  struct file_state now = state_of(watch->path), old = watch->state;
  if (watch->closing || (now.there == old.there && now.inode == old.inode && now.size == old.size && same_time(&now.modified, &old.modified) &&
                         same_time(&now.status, &old.status))) {
    return;
  }
  watch->state = now;
  watch->changed(watch->user);
}

static void watch_on_timer(uv_timer_t *timer) {
  watch_look(timer->data);
}

static void watch_on_event(uv_fs_event_t *event, const char *name, int events, int status) {
  (void)name;
  (void)events;
  (void)status; /* the timer goes on looking */
  watch_look(event->data);
}

static void watch_on_close(uv_handle_t *handle) {
  struct file_watch *watch = handle->data;
  if (--watch->handles == 0) {
    free(watch->path);
    free(watch);
  }
}

void file_watch_close(struct file_watch *watch) {
  if (watch == NULL || watch->closing) {
    return;
  }
  watch->closing = true;
  uv_close((uv_handle_t *)&watch->timer, watch_on_close);
  uv_close((uv_handle_t *)&watch->event, watch_on_close);
}

int file_watch_open(struct file_watch **out, struct net_loop *loop, const char *path, void (*changed)(void *user), void *user) {
  struct file_watch *watch = calloc(1, sizeof *watch);
  *out = NULL;
  if (watch == NULL || (watch->path = strdup(path)) == NULL) {
    free(watch);
    return UV_ENOMEM;
  }
  watch->changed = changed;
  watch->user = user;
  watch->state = state_of(path);
  watch->handles = 2;
  uv_timer_init(loop->uv, &watch->timer);
  uv_fs_event_init(loop->uv, &watch->event);
  watch->timer.data = watch->event.data = watch;
  char *slash = strrchr(watch->path, '/');
  char *directory = slash == NULL ? strdup(".") : strndup(watch->path, slash == watch->path ? 1 : (size_t)(slash - watch->path));
  int rc = directory == NULL ? UV_ENOMEM : uv_fs_event_start(&watch->event, watch_on_event, directory, 0);
  free(directory);
  if (rc == UV_ENOMEM) {
    file_watch_close(watch);
    return rc;
  }
  uv_timer_start(&watch->timer, watch_on_timer, FILE_WATCH_POLL_MS, FILE_WATCH_POLL_MS); /* also when the system gives no notices */
  uv_unref((uv_handle_t *)&watch->timer);
  uv_unref((uv_handle_t *)&watch->event);
  *out = watch;
  return 0;
}
