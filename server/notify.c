/* notify.c: the datagram of notify.h. */
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int notify_send(const char *state) {
  const char *path = getenv("NOTIFY_SOCKET");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t size = path == NULL ? 0 : strlen(path);
  int fd, status = 0;
  if (size == 0)
    return 0;
  if ((path[0] != '/' && path[0] != '@') || size >= sizeof address.sun_path)
    return -EINVAL;
  memcpy(address.sun_path, path, size);
  if (path[0] == '@') /* the abstract name space */
    address.sun_path[0] = '\0';
  fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -errno;
  if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)) < 0)
    status = -errno;
  close(fd);
  return status;
}

int notify_reloading(void) {
  char state[96];
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
  return notify_send(state);
}
