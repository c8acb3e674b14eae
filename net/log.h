/* log.h: what the programs say of themselves. One line an event, text or JSON lines, never blocking the loop for long
 * and never failing it: a write error (ENOSPC) is counted and logging goes on.
 *
 * Everything that a stranger sent is escaped (CR, LF, ESC, non-printables as \xNN; invalid UTF-8 too).
 * Text:  2026-11-21T05:48:14.123Z INFO  agent 12 READY  tim/laptop: serves hello-world
 * JSON:  {"time":"...","level":"info","actor":"agent","id":12,"state":"READY","message":"...", "key":"value"...}
 */
#ifndef NET_LOG_H
#define NET_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum net_log_level { NET_LOG_ERROR, NET_LOG_WARN, NET_LOG_INFO, NET_LOG_DEBUG };
enum net_log_format { NET_LOG_TEXT, NET_LOG_JSON };

struct net_log; /* thread-safe: a line is one write(2) */

struct net_log_config {
  enum net_log_level level; /* lines above it are dropped. Default ERROR; -v = INFO; -v -v = DEBUG */
  enum net_log_format format;
  bool quiet;               /* -q: nothing at all */
  int fd;                   /* where to; 2 for stderr */
  /* For embedding: called instead of writing, with one formatted line without newline. */
  void (*sink)(enum net_log_level level, const char *line, void *user);
  void *user;
};

/* Which actor speaks. Any member may be 0/NULL. */
struct net_log_actor {
  const char *kind;  /* "agent", "visitor", ... */
  uint64_t id;
  const char *state;
};

struct net_log *net_log_new(const struct net_log_config *config);
void net_log_free(struct net_log *log);
bool net_log_enabled(const struct net_log *log, enum net_log_level level);
/* log may be NULL: nothing happens. The formatted line is cut at 2 KiB. */
void net_log_write(struct net_log *log, enum net_log_level level, const struct net_log_actor *actor, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Escapes `size` bytes into `out` (capacity incl. NUL); cuts with "..." when it does not fit. Returns out. */
char *net_log_escape(char *out, size_t capacity, const void *data, size_t size);

#endif
