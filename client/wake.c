/* wake.c: the two sources of wake.h, settled into one call. */
#include "wake.h"

#include <stddef.h>

#include "log.h"
#include "platform.h"

static void wake_note(struct wake *wake, const char *source) {
  const struct net_log_actor actor = {"wake", 0, NULL};
  if (net_timer_armed(&wake->settle))
    return;
  net_log_write(wake->loop->log, NET_LOG_INFO, &actor, "%s", source);
  net_timer_start(&wake->loop->wheel, &wake->settle, WAKE_SETTLE_MS);
}

static void on_settled(struct net_timer *timer) {
  struct wake *wake = (struct wake *)(void *)((char *)timer - offsetof(struct wake, settle));
  wake->changed(wake);
}

static void on_network(uv_poll_t *poll, int status, int events) {
  struct wake *wake = poll->data;
  (void)events;
  if (status < 0)
    uv_poll_stop(poll); /* the clocks are left */
  else if (platform_network_drain(wake->fd))
    wake_note(wake, "the network changed");
}

static int64_t clock_offset_ms(void) {
  uv_timeval64_t wall;
  if (uv_gettimeofday(&wall) != 0)
    return 0;
  return wall.tv_sec * 1000 + wall.tv_usec / 1000 - (int64_t)(uv_hrtime() / 1000000u);
}

static void on_clock(struct net_timer *timer) {
  struct wake *wake = (struct wake *)(void *)((char *)timer - offsetof(struct wake, clock));
  int64_t offset = clock_offset_ms(), jump = offset - wake->offset_ms;
  wake->offset_ms = offset;
  if (jump > WAKE_JUMP_MS)
    wake_note(wake, "the machine woke up, or its clock was set");
  net_timer_start(&wake->loop->wheel, &wake->clock, WAKE_CLOCK_MS);
}

void wake_start(struct wake *wake, struct net_loop *loop, void (*changed)(struct wake *wake)) {
  *wake = (struct wake){.loop = loop, .fd = -1, .offset_ms = clock_offset_ms(), .changed = changed};
  wake->settle.fire = on_settled;
  wake->clock.fire = on_clock;
  net_timer_start(&loop->wheel, &wake->clock, WAKE_CLOCK_MS);
  if (platform_network_watch(&wake->fd) != 0) {
    wake->fd = -1;
    return;
  }
  if (uv_poll_init(loop->uv, &wake->poll, wake->fd) != 0) {
    platform_socket_close(wake->fd, false);
    wake->fd = -1;
    return;
  }
  wake->poll.data = wake;
  uv_poll_start(&wake->poll, UV_READABLE, on_network);
  uv_unref((uv_handle_t *)&wake->poll);
}

void wake_stop(struct wake *wake) {
  net_timer_stop(&wake->loop->wheel, &wake->settle);
  net_timer_stop(&wake->loop->wheel, &wake->clock);
  if (wake->fd < 0)
    return;
  uv_close((uv_handle_t *)&wake->poll, NULL);
  platform_socket_close(wake->fd, false);
  wake->fd = -1;
}
