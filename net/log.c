/* log.c: formats one event into one line and writes it with one write(2). */
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "utf8.h"

#define LOG_MESSAGE_MAX  2048u /* of the formatted text, before escaping */
#define LOG_ESCAPED_MAX  2560u /* of the same text escaped; more is cut */
#define LOG_ACTOR_MAX    64u   /* of an actor's kind or state */
#define LOG_LINE_MAX     4096u /* PIPE_BUF: a pipe takes it whole or not at all */
#define LOG_WAIT_MS      20    /* how long a full pipe or terminal may hold the loop up, once until it recovers */
#define LOG_ESCAPE_WIDTH 4u    /* \xNN */

struct net_log {
  struct net_log_config config;
  atomic_ullong dropped; /* lines lost since the last that went out */
};

static const char *const level_text[] = {"ERROR", "WARN ", "INFO ", "DEBUG"};
static const char *const level_json[] = {"error", "warn", "info", "debug"};
_Static_assert(sizeof level_text / sizeof level_text[0] == NET_LOG_DEBUG + 1, "one name a level");

/* ---- escaping ---- */
static bool code_point_is_harmless(uint32_t c) {
  return c >= 0x20 && !(c >= 0x7f && c < 0xa0) /* C0, DEL, C1 */
         && !(c >= 0x200b && c <= 0x200f)      /* zero width, direction marks */
         && !(c >= 0x2028 && c <= 0x202e)      /* line separators, direction overrides */
         && !(c >= 0x2060 && c <= 0x206f) && c != 0xfeff && !(c >= 0xfff0 && c <= 0xfffb) && (c & 0xfffe) != 0xfffe &&
         !(c >= 0xe0000 && c <= 0xe007f);
}

/* Length of the sequence at `data` if it is valid UTF-8 and harmless to print, else 0. */
static size_t printable_length(const uint8_t *data, size_t size) {
  uint32_t c = 0;
  const size_t length = net_utf8_next(data, size, &c);
  return length > 0 && code_point_is_harmless(c) ? length : 0;
}

char *net_log_escape(char *out, size_t capacity, const void *data, size_t size) {
  static const char hex[] = "0123456789abcdef";
  static const char cut[] = "...";
  const uint8_t *in = data;
  size_t used = 0;
  size_t room_for_cut = 0; /* where "..." would go: the last position that still leaves room for it */
  if (capacity == 0) {
    return out;
  }
  for (size_t i = 0; i < size;) {
    const size_t length = printable_length(in + i, size - i);
    const size_t need = length ? length : LOG_ESCAPE_WIDTH;
    if (used + need + 1 > capacity) {
      const size_t dots = capacity - 1 < sizeof cut - 1 ? capacity - 1 : sizeof cut - 1;
      memcpy(out + room_for_cut, cut, dots);
      used = room_for_cut + dots;
      break;
    }
    if (length) {
      memcpy(out + used, in + i, length);
    } else {
      out[used] = '\\';
      out[used + 1] = 'x';
      out[used + 2] = hex[in[i] >> 4];
      out[used + 3] = hex[in[i] & 15];
    }
    used += need;
    i += length ? length : 1;
    if (used + sizeof cut <= capacity) {
      room_for_cut = used;
    }
  }
  out[used] = 0;
  return out;
}

/* Text that net_log_escape() made, as the inside of a JSON string. Only quotes and backslashes are left to do. */
static size_t json_put(char *out, size_t capacity, const char *text) {
  size_t used = 0;
  for (; *text; text++) {
    const bool quoted = *text == '"' || *text == '\\';
    if (used + (quoted ? 2 : 1) >= capacity) {
      break;
    }
    if (quoted) {
      out[used++] = '\\';
    }
    out[used++] = *text;
  }
  /* Do not end inside a UTF-8 sequence. */
  if (*text) {
    while (used > 0 && ((uint8_t)*text & 0xc0) == 0x80) {
      text--;
      used--;
    }
  }
  out[used] = 0;
  return used;
}

/* ---- a line ---- */
struct line {
  char text[LOG_LINE_MAX];
  size_t size;
};

#define LOG_LINE_TAIL 8u /* kept free for what closes a line: "} and a newline */

__attribute__((format(printf, 2, 3))) static void line_add(struct line *line, const char *format, ...) {
  va_list arguments;
  const size_t room = sizeof line->text - LOG_LINE_TAIL - line->size;
  va_start(arguments, format);
  const int n = vsnprintf(line->text + line->size, room, format, arguments);
  va_end(arguments);
  if (n > 0) {
    line->size += (size_t)n < room ? (size_t)n : room - 1;
  }
}

static void line_add_json(struct line *line, const char *name, const char *value) {
  line_add(line, "%s\"%s\":\"", line->size > 1 ? "," : "", name);
  line->size += json_put(line->text + line->size, sizeof line->text - LOG_LINE_TAIL - line->size, value);
  line->text[line->size++] = '"'; /* of the tail, if it came to that */
  line->text[line->size] = 0;
}

static void line_add_time(char out[static 32]) {
  struct timespec now;
  struct tm parts;
  char seconds[24];
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &parts);
  strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(out, 32, "%s.%03dZ", seconds, (int)(now.tv_nsec / 1000000) % 1000);
}

static void line_format(struct line *line, enum net_log_format format, enum net_log_level level,
                        const struct net_log_actor *actor, const char *message) {
  char when[32];
  char kind[LOG_ACTOR_MAX] = "";
  char state[LOG_ACTOR_MAX] = "";
  line_add_time(when);
  line->size = 0;
  if (actor && actor->kind) {
    net_log_escape(kind, sizeof kind, actor->kind, strlen(actor->kind));
  }
  if (actor && actor->state) {
    net_log_escape(state, sizeof state, actor->state, strlen(actor->state));
  }
  if (format == NET_LOG_TEXT) {
    line_add(line, "%s %s", when, level_text[level]);
    if (kind[0]) {
      line_add(line, " %s", kind);
    }
    if (actor && actor->id) {
      line_add(line, " %llu", (unsigned long long)actor->id);
    }
    if (state[0]) {
      line_add(line, " %s", state);
    }
    line_add(line, "%s%s", actor ? "  " : " ", message);
    return;
  }
  line_add(line, "{");
  line_add_json(line, "time", when);
  line_add_json(line, "level", level_json[level]);
  if (kind[0]) {
    line_add_json(line, "actor", kind);
  }
  if (actor && actor->id) {
    line_add(line, ",\"id\":%llu", (unsigned long long)actor->id);
  }
  if (state[0]) {
    line_add_json(line, "state", state);
  }
  line_add_json(line, "message", message);
  line->text[line->size++] = '}';
  line->text[line->size] = 0;
}

/* ---- output ---- */
/* True if the line went out whole. A pipe with room takes it at once, so poll() first keeps the loop from blocking. */
static bool log_put(const struct net_log *log, const char *text, size_t size, int wait_ms) {
  struct pollfd ready = {.fd = log->config.fd, .events = POLLOUT};
  if (poll(&ready, 1, wait_ms) == 0) {
    return false;
  }
  ssize_t n;
  do {
    n = write(log->config.fd, text, size);
  } while (n < 0 && errno == EINTR);
  if (n > 0 && (size_t)n < size) {
    /* A disk that is filling up: end the torn line where it is; if that fails too the next line continues it. */
    (void)!write(log->config.fd, "\n", 1);
  }
  return n == (ssize_t)size;
}

static void log_emit(struct net_log *log, struct line *line) {
  unsigned long long dropped = atomic_load(&log->dropped);
  line->text[line->size++] = '\n';
  if (dropped > 0) {
    struct line notice = {.size = 0};
    char message[96];
    snprintf(message, sizeof message, "%llu log lines were lost: the log could not be written", dropped);
    line_format(&notice, log->config.format, NET_LOG_WARN, NULL, message);
    notice.text[notice.size++] = '\n';
    if (!log_put(log, notice.text, notice.size, 0)) {
      atomic_fetch_add(&log->dropped, 1);
      return;
    }
    atomic_fetch_sub(&log->dropped, dropped);
  }
  if (!log_put(log, line->text, line->size, dropped > 0 ? 0 : LOG_WAIT_MS)) {
    atomic_fetch_add(&log->dropped, 1);
  }
}

struct net_log *net_log_new(const struct net_log_config *config) {
  struct net_log *log = calloc(1, sizeof *log);
  if (log) {
    log->config = *config;
    atomic_init(&log->dropped, 0);
  }
  return log;
}

void net_log_free(struct net_log *log) {
  free(log);
}

bool net_log_enabled(const struct net_log *log, enum net_log_level level) {
  return log && !log->config.quiet && level <= log->config.level;
}

void net_log_write(struct net_log *log, enum net_log_level level, const struct net_log_actor *actor, const char *format,
                   ...) {
  char message[LOG_MESSAGE_MAX];
  char escaped[LOG_ESCAPED_MAX];
  struct line line = {.size = 0};
  va_list arguments;
  if (!net_log_enabled(log, level)) {
    return;
  }
  const int saved_errno = errno;
  va_start(arguments, format);
  int n = vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  if (n < 0) {
    n = 0;
  }
  const size_t size = (size_t)n < sizeof message ? (size_t)n : sizeof message - 1;
  net_log_escape(escaped, sizeof escaped, message, size);
  line_format(&line, log->config.format, level, actor, escaped);
  if (log->config.sink) {
    log->config.sink(level, line.text, log->config.user);
  } else {
    log_emit(log, &line);
  }
  errno = saved_errno;
}
