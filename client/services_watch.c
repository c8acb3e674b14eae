/* services_watch.c: one file, by its directory and by looking. */
#include "services_watch.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* What tells one version of the file from another; all zero when there is none. */
static void take_signature(const char *path, uint64_t signature[static 4]) {
  uv_fs_t request;
  memset(signature, 0, 4 * sizeof *signature);
  if (uv_fs_stat(NULL, &request, path, NULL) == 0) {
    signature[0] = request.statbuf.st_ino;
    signature[1] = request.statbuf.st_size;
    signature[2] = (uint64_t)request.statbuf.st_mtim.tv_sec;
    signature[3] = (uint64_t)request.statbuf.st_mtim.tv_nsec;
  }
  uv_fs_req_cleanup(&request);
}

static void look(struct services_watch *watch) {
  uint64_t now[4];
  take_signature(watch->path, now);
  if (memcmp(now, watch->signature, sizeof now) == 0)
    return;
  memcpy(watch->signature, now, sizeof now);
  net_timer_start(&watch->loop->wheel, &watch->settle, SERVICES_WATCH_SETTLE_MS);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status) {
  struct services_watch *watch = event->data;
  (void)name;
  (void)events;
  if (status == 0)
    look(watch);
}

static void on_poll(struct net_timer *timer) {
  struct services_watch *watch =
      (struct services_watch *)(void *)((char *)timer - offsetof(struct services_watch, poll));
  look(watch);
  net_timer_start(&watch->loop->wheel, &watch->poll, SERVICES_WATCH_POLL_MS);
}

static void on_settled(struct net_timer *timer) {
  struct services_watch *watch =
      (struct services_watch *)(void *)((char *)timer - offsetof(struct services_watch, settle));
  uint64_t now[4];
  take_signature(watch->path, now);
  if (memcmp(now, watch->signature, sizeof now) != 0) {
    memcpy(watch->signature, now, sizeof now); /* still being written */
    net_timer_start(&watch->loop->wheel, &watch->settle, SERVICES_WATCH_SETTLE_MS);
    return;
  }
  watch->changed(watch);
}

static char *directory_of(const char *path) {
  const char *slash = strrchr(path, '/');
  if (slash == NULL)
    return strdup(".");
  return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

int services_watch_start(struct services_watch *watch, struct net_loop *loop, const char *path,
                         void (*changed)(struct services_watch *watch)) {
  *watch = (struct services_watch){.loop = loop, .changed = changed};
  char *directory = directory_of(path);
  watch->path = strdup(path);
  if (directory == NULL || watch->path == NULL) {
    free(directory);
    free(watch->path);
    watch->path = NULL;
    return UV_ENOMEM;
  }
  watch->settle.fire = on_settled;
  watch->poll.fire = on_poll;
  take_signature(path, watch->signature);
  if (uv_fs_event_init(loop->uv, &watch->event) == 0) {
    watch->event_open = true;
    watch->event.data = watch;
    /* Without events (no such directory yet, no watches left) looking remains. */
    (void)uv_fs_event_start(&watch->event, on_event, directory, 0);
    uv_unref((uv_handle_t *)&watch->event);
  }
  net_timer_start(&loop->wheel, &watch->poll, SERVICES_WATCH_POLL_MS);
  free(directory);
  return 0;
}

void services_watch_stop(struct services_watch *watch) {
  if (watch->path == NULL)
    return;
  net_timer_stop(&watch->loop->wheel, &watch->settle);
  net_timer_stop(&watch->loop->wheel, &watch->poll);
  if (watch->event_open)
    uv_close((uv_handle_t *)&watch->event, NULL);
  watch->event_open = false;
  free(watch->path);
  watch->path = NULL;
}
