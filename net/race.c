/* race.c: resolve a name, connect to its addresses in turn, a new attempt every 250 ms or as soon as one fails; the
 * first that connects wins.
 *
 *   start --> resolve (thread of libuv) --> attempt 0, 1, 2, ... --> done(fd)
 *      \--- literal, localhost: at the end of the iteration ---/ \-> done(error) when all have failed
 *
 * The memory goes when the resolver's thread and every watcher have let go of it. */
#include "race.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "dial.h"
#include "platform.h"

#define REASON_MAX 512u

struct attempt {
  uv_poll_t poll;
  int fd; /* -1 once closed or given away */
};

struct net_race {
  struct net_loop *loop;
  net_race_cb done; /* NULL: cancelled or told */
  void *user;
  char host[256];
  uint16_t port;
  uv_getaddrinfo_t resolver;
  bool resolving;
  struct net_task begin;
  struct net_timer delay;
  struct mdm_address addresses[NET_DIAL_ADDRESSES_MAX];
  struct attempt attempts[NET_DIAL_ADDRESSES_MAX];
  size_t count, next;
  unsigned running; /* attempts that may still connect */
  unsigned handles; /* watchers that are not closed yet */
  int error;
};

#define RACE_OF(pointer, member) ((struct net_race *)(void *)((char *)(pointer)-offsetof(struct net_race, member)))

static void race_next(struct net_race *race);

static void race_free_if_done(struct net_race *race) {
  if (race->done == NULL && race->handles == 0 && !race->resolving) {
    free(race);
  }
}

static void on_watcher_closed(uv_handle_t *handle) {
  struct net_race *race = handle->data;
  race->handles--;
  race_free_if_done(race);
}

/* The descriptor leaves epoll here and now, so it may be closed or given away. */
static int attempt_end(struct attempt *attempt) {
  int fd = attempt->fd;
  attempt->fd = -1;
  uv_close((uv_handle_t *)&attempt->poll, on_watcher_closed);
  return fd;
}

static void race_stop(struct net_race *race) {
  race->done = NULL;
  net_task_cancel(&race->begin);
  net_timer_stop(&race->loop->wheel, &race->delay);
  for (size_t i = 0; i < race->next; i++) {
    if (race->attempts[i].fd >= 0) {
      platform_socket_close(attempt_end(&race->attempts[i]), false);
    }
  }
  if (race->resolving) {
    (void)uv_cancel((uv_req_t *)&race->resolver); /* refused when it runs: its callback frees */
  }
}

static void race_tell(struct net_race *race, int fd, int error, const char *reason) {
  net_race_cb done = race->done;
  race_stop(race);
  done(race, fd, error, reason, race->user);
  race_free_if_done(race);
}

static void race_lost(struct net_race *race) {
  char reason[REASON_MAX];
  int error = race->error != 0 ? race->error : UV_EADDRNOTAVAIL;
  bool literal = strchr(race->host, ':') != NULL;
  (void)snprintf(reason, sizeof reason, "cannot connect to %s%s%s:%u: %s", literal ? "[" : "", race->host,
                 literal ? "]" : "", (unsigned)race->port, uv_strerror(error));
  race_tell(race, -1, error, reason);
}

/* A refusal says more than "no such route", which is only this machine lacking one of the families. */
static void race_note(struct net_race *race, int error) {
  bool vague = race->error == 0 || race->error == UV_ENETUNREACH || race->error == UV_EADDRNOTAVAIL ||
               race->error == UV_EAFNOSUPPORT;
  if (vague) {
    race->error = error;
  }
}

static void on_attempt(uv_poll_t *poll, int status, int events) {
  struct net_race *race = poll->data;
  struct attempt *attempt = (struct attempt *)(void *)((char *)poll - offsetof(struct attempt, poll));
  (void)events;
  int error = platform_socket_error(attempt->fd);
  if (error == 0 && status < 0) {
    error = status;
  }
  int fd = attempt_end(attempt);
  race->running--;
  if (error == 0) {
    race_tell(race, fd, 0, NULL);
    return;
  }
  platform_socket_close(fd, false);
  race_note(race, error);
  race_next(race);
}

static int attempt_begin(struct net_race *race, struct attempt *attempt, const struct mdm_address *address) {
  int fd = -1;
  int error = platform_socket_connect(address, &fd);
  if (error != 0) {
    return error;
  }
  error = uv_poll_init(race->loop->uv, &attempt->poll, fd);
  if (error != 0) {
    platform_socket_close(fd, false);
    return error;
  }
  attempt->fd = fd;
  attempt->poll.data = race;
  race->handles++;
  error = uv_poll_start(&attempt->poll, UV_WRITABLE, on_attempt);
  if (error != 0) {
    platform_socket_close(attempt_end(attempt), false);
    return error;
  }
  race->running++;
  return 0;
}

static void race_next(struct net_race *race) {
  net_timer_stop(&race->loop->wheel, &race->delay);
  while (race->next < race->count) {
    size_t i = race->next++;
    int error = attempt_begin(race, &race->attempts[i], &race->addresses[i]);
    if (error == 0) {
      if (race->next < race->count) {
        net_timer_start(&race->loop->wheel, &race->delay, NET_DIAL_ATTEMPT_MS);
      }
      return;
    }
    race_note(race, error);
  }
  if (race->running == 0) {
    race_lost(race);
  }
}

static void on_delay(struct net_timer *timer) {
  race_next(RACE_OF(timer, delay));
}

static void on_begin(struct net_task *task) {
  race_next(RACE_OF(task, begin));
}

void net_race_interleave(struct mdm_address *addresses, size_t count) {
  struct mdm_address six[NET_DIAL_ADDRESSES_MAX], four[NET_DIAL_ADDRESSES_MAX];
  size_t sixes = 0, fours = 0;
  assert(count <= NET_DIAL_ADDRESSES_MAX);
  for (size_t i = 0; i < count; i++) {
    if (addresses[i].family == 6) {
      six[sixes++] = addresses[i];
    } else {
      four[fours++] = addresses[i];
    }
  }
  size_t n = 0;
  for (size_t i = 0; i < sixes || i < fours; i++) {
    if (i < sixes) {
      addresses[n++] = six[i];
    }
    if (i < fours) {
      addresses[n++] = four[i];
    }
  }
}

static void on_resolved(uv_getaddrinfo_t *resolver, int status, struct addrinfo *list) {
  struct net_race *race = resolver->data;
  race->resolving = false;
  if (race->done == NULL) {
    uv_freeaddrinfo(list);
    race_free_if_done(race);
    return;
  }
  for (const struct addrinfo *at = list; at != NULL && race->count < NET_DIAL_ADDRESSES_MAX; at = at->ai_next) {
    struct mdm_address address;
    net_address_from_sockaddr(&address, at->ai_addr);
    if (address.family != 0) {
      address.port = race->port;
      race->addresses[race->count++] = address;
    }
  }
  uv_freeaddrinfo(list);
  if (status != 0 || race->count == 0) {
    char reason[REASON_MAX];
    int error = status != 0 ? status : UV_EAI_NONAME;
    (void)snprintf(reason, sizeof reason, "cannot find the host %s: %s", race->host, uv_strerror(error));
    race_tell(race, -1, error, reason);
    return;
  }
  net_race_interleave(race->addresses, race->count);
  race_next(race);
}

static void race_add_literal(struct net_race *race, const char *text) {
  struct mdm_address *address = &race->addresses[race->count];
  if (net_address_parse(address, text, strlen(text)) == 0) {
    address->port = race->port;
    race->count++;
  }
}

static int race_resolve(struct net_race *race) {
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  race->resolver.data = race;
  int error = uv_getaddrinfo(race->loop->uv, &race->resolver, on_resolved, race->host, NULL, &hints);
  race->resolving = error == 0;
  return error;
}

int net_race_start(struct net_race **out, struct net_loop *loop, const char *host, uint16_t port, net_race_cb done,
                   void *user) {
  *out = NULL;
  if (strlen(host) >= sizeof((struct net_race *)0)->host) {
    return UV_ENAMETOOLONG;
  }
  struct net_race *race = calloc(1, sizeof *race);
  if (race == NULL) {
    return UV_ENOMEM;
  }
  race->loop = loop;
  race->done = done;
  race->user = user;
  race->port = port;
  race->begin.run = on_begin;
  race->delay.fire = on_delay;
  (void)snprintf(race->host, sizeof race->host, "%s", host);
  for (size_t i = 0; i < NET_DIAL_ADDRESSES_MAX; i++) {
    race->attempts[i].fd = -1;
  }
  race_add_literal(race, host);
  if (race->count == 0 && net_host_is_loopback(host)) {
    race_add_literal(race, "::1");
    race_add_literal(race, "127.0.0.1");
  }
  if (race->count > 0) {
    net_loop_defer(loop, &race->begin);
  } else {
    int error = race_resolve(race);
    if (error != 0) {
      free(race);
      return error;
    }
  }
  *out = race;
  return 0;
}

void net_race_cancel(struct net_race *race) {
  race_stop(race);
  race_free_if_done(race);
}
