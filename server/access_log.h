/* access_log.h: one line for each exchange: combined (as other web servers write it) or JSON. An observer. Lines gather in a bounded buffer that
 * a thread of libuv's pool writes out; the loop never waits for a disk. What does not fit is dropped and counted. */
#ifndef SERVER_ACCESS_LOG_H
#define SERVER_ACCESS_LOG_H

#include "config.h"
#include "loop.h"
#include "observer.h"

#define ACCESS_LOG_BUFFER (1024u * 1024u) /* a second of 5,000 requests, while the disk is busy */
#define ACCESS_LOG_LINE_MAX (80u * 1024u)  /* every part at its limit and escaped: no line is ever cut in the middle of a JSON text */

struct access_log;

/* path "-": standard output. 0, or a UV_ code of opening the file. */
int access_log_open(struct access_log **out, struct net_loop *loop, const char *path, enum access_format format);
const struct exchange_observer *access_log_observer(const struct access_log *log);
/* Opens the file anew (SIGHUP, after it was moved away); on failure the old one stays in use and its UV_ code comes back. */
int access_log_reopen(struct access_log *log, const char *path, enum access_format format);
uint64_t access_log_take_dropped(struct access_log *log); /* lines dropped since the last call */
void access_log_close(struct access_log *log); /* writes what is left, then closes. NULL is fine */

/* Pure, for tests: the line with its newline. Returns its size, at most capacity. */
size_t access_log_format(char *out, size_t capacity, enum access_format format, const struct exchange_report *report);

#endif
