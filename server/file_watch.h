/* file_watch.h: tells when a file has changed, been replaced, come or gone. The system's notice comes from its directory; a look every half second
 * catches what gives none (network file systems, a directory that is itself replaced). */
#ifndef SERVER_FILE_WATCH_H
#define SERVER_FILE_WATCH_H

#include "loop.h"

#define FILE_WATCH_POLL_MS 500u

struct file_watch;
/* `changed` is called from the loop, with what is on the disk then; never from inside this call. 0 or UV_. */
int file_watch_open(struct file_watch **out, struct net_loop *loop, const char *path, void (*changed)(void *user), void *user);
void file_watch_close(struct file_watch *watch); /* asynchronous; no more calls. NULL is fine */

#endif
