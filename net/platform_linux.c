/* platform_linux.c: sockets and facts of the machine, as Linux has them. */
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>
#include <uv.h>

#include "address.h"
#include "platform_linux_private.h"

#define SEND_SLICES_MAX 64u

static int last_error(void) {
  return -errno; /* UV_ codes are negated errno values on Unix */
}

/* ---- sockets ---- */
static socklen_t address_to_sockaddr(struct sockaddr_storage *out, const struct mdm_address *address) {
  memset(out, 0, sizeof *out);
  if (address->family == 4) {
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    in->sin_family = AF_INET;
    in->sin_port = htons(address->port);
    memcpy(&in->sin_addr, address->bytes, 4);
    return sizeof *in;
  }
  struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
  in6->sin6_family = AF_INET6;
  in6->sin6_port = htons(address->port);
  memcpy(&in6->sin6_addr, address->bytes, 16);
  return sizeof *in6;
}

static int set_option(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) ? last_error() : 0;
}

int platform_socket_listen(const struct mdm_address *address, bool reuse_port, bool dual_stack, int backlog, int *out) {
  struct sockaddr_storage sa;
  const socklen_t size = address_to_sockaddr(&sa, address);
  if (address->family != 4 && address->family != 6) {
    return UV_EINVAL;
  }
  const int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return last_error();
  }
  int error = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (!error && reuse_port) {
    error = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  }
  if (!error && address->family == 6) {
    error = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, dual_stack ? 0 : 1);
  }
  if (!error && bind(fd, (struct sockaddr *)&sa, size)) {
    error = last_error();
  }
  if (!error && listen(fd, backlog)) {
    error = last_error();
  }
  if (error) {
    close(fd);
    return error;
  }
  *out = fd;
  return 0;
}

/* Errors of the connection that waited rather than of the listener (accept(2) names them): the next one may be fine. */
static bool accept_error_is_passing(int error) {
  switch (error) {
  case EINTR:
  case ECONNABORTED:
  case ENETDOWN:
  case EPROTO:
  case ENOPROTOOPT:
  case EHOSTDOWN:
  case ENONET:
  case EHOSTUNREACH:
  case EOPNOTSUPP:
  case ENETUNREACH:
    return true;
  default:
    return false;
  }
}

int platform_socket_accept(int listener, int *out, struct mdm_address *peer) {
  struct sockaddr_storage sa;
  socklen_t size = sizeof sa;
  int fd;
  do {
    size = sizeof sa;
    fd = accept4(listener, (struct sockaddr *)&sa, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  } while (fd < 0 && accept_error_is_passing(errno));
  if (fd < 0) {
    return last_error();
  }
  net_address_from_sockaddr(peer, (struct sockaddr *)&sa);
  *out = fd;
  return 0;
}

static int socket_connect(int family, const struct sockaddr *sa, socklen_t size, int *out) {
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return last_error();
  }
  int outcome;
  do {
    outcome = connect(fd, sa, size);
  } while (outcome && errno == EINTR);
  if (outcome && errno != EINPROGRESS) {
    const int error = last_error();
    close(fd);
    return error;
  }
  *out = fd;
  return 0;
}

int platform_socket_connect(const struct mdm_address *address, int *fd) {
  struct sockaddr_storage sa;
  if (address->family != 4 && address->family != 6) {
    return UV_EINVAL;
  }
  const socklen_t size = address_to_sockaddr(&sa, address);
  return socket_connect(sa.ss_family, (struct sockaddr *)&sa, size, fd);
}

int platform_socket_connect_unix(const char *path, int *fd) {
  struct sockaddr_un sun = {.sun_family = AF_UNIX};
  const size_t length = strlen(path);
  if (length == 0 || length >= sizeof sun.sun_path) {
    return UV_ENAMETOOLONG;
  }
  memcpy(sun.sun_path, path, length + 1);
  return socket_connect(AF_UNIX, (struct sockaddr *)&sun, sizeof sun, fd);
}

int platform_socket_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size)) {
    return last_error();
  }
  return -error;
}

ssize_t platform_socket_recv(int fd, void *buffer, size_t capacity) {
  ssize_t size;
  do {
    size = recv(fd, buffer, capacity, 0);
  } while (size < 0 && errno == EINTR);
  return size < 0 ? last_error() : size;
}

ssize_t platform_socket_send(int fd, const struct mdm_slice *slices, size_t count) {
  struct iovec vectors[SEND_SLICES_MAX];
  ssize_t size;
  if (count == 1) {
    do {
      size = send(fd, slices[0].data, slices[0].size, MSG_NOSIGNAL);
    } while (size < 0 && errno == EINTR);
    return size < 0 ? last_error() : size;
  }
  if (count > SEND_SLICES_MAX) {
    count = SEND_SLICES_MAX;
  }
  for (size_t i = 0; i < count; i++) {
    vectors[i] = (struct iovec){.iov_base = (void *)(uintptr_t)slices[i].data, .iov_len = slices[i].size};
  }
  const struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count};
  do {
    size = sendmsg(fd, &message, MSG_NOSIGNAL);
  } while (size < 0 && errno == EINTR);
  return size < 0 ? last_error() : size;
}

int platform_socket_shutdown(int fd) {
  return shutdown(fd, SHUT_WR) ? last_error() : 0;
}

void platform_socket_close(int fd, bool reset) {
  if (reset) {
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  }
  close(fd);
}

void platform_socket_nodelay(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* a Unix socket refuses; nothing is lost */
}

void platform_socket_notsent_lowat(int fd, unsigned bytes) {
  set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, (int)bytes);
}

int platform_socket_names(int fd, struct mdm_address *local, struct mdm_address *peer) {
  struct sockaddr_storage sa;
  socklen_t size = sizeof sa;
  if (local) {
    if (getsockname(fd, (struct sockaddr *)&sa, &size)) {
      return last_error();
    }
    net_address_from_sockaddr(local, (struct sockaddr *)&sa);
  }
  size = sizeof sa;
  if (peer) {
    if (getpeername(fd, (struct sockaddr *)&sa, &size)) {
      return last_error();
    }
    net_address_from_sockaddr(peer, (struct sockaddr *)&sa);
  }
  return 0;
}

/* ---- the machine ---- */
const char *platform_host_name(char *out, size_t capacity) {
  if (gethostname(out, capacity) || memchr(out, 0, capacity) == NULL || out[0] == 0) {
    snprintf(out, capacity, "localhost");
  }
  return out;
}

const char *platform_home(void) {
  const char *home = getenv("HOME");
  if (home && home[0] == '/') {
    return home;
  }
  const struct passwd *entry = getpwuid(geteuid());
  return entry ? entry->pw_dir : NULL;
}

const char *platform_program_dir(char *out, size_t capacity) {
  const ssize_t size = readlink("/proc/self/exe", out, capacity);
  if (size <= 0 || (size_t)size >= capacity) {
    return NULL;
  }
  out[size] = 0;
  char *slash = strrchr(out, '/');
  if (!slash) {
    return NULL;
  }
  slash[slash == out ? 1 : 0] = 0;
  return out;
}

uint64_t platform_memory_total(void) {
  const uint64_t total = uv_get_total_memory();
  const uint64_t limit = uv_get_constrained_memory(); /* of the control group; 0 = unknown */
  return limit != 0 && limit < total ? limit : total;
}

bool platform_is_terminal(int fd) {
  return isatty(fd) == 1;
}

void platform_no_core_dumps(void) {
  const struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  if (!PLATFORM_SANITIZED) { /* the leak checker traces the process */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  }
}

void platform_no_new_rights(void) {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* Reads up to the end of the line; what does not fit is an error, not a cut password. */
static int read_line(int fd, char *out, size_t capacity) {
  size_t size = 0;
  for (;;) {
    char c;
    const ssize_t n = read(fd, &c, 1);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return last_error();
    }
    if (n == 0 && size == 0) {
      return UV_EOF;
    }
    if (n == 0 || c == '\n' || c == '\r') {
      out[size] = 0;
      return 0;
    }
    if (c == 3) {
      return UV_ECANCELED; /* Ctrl-C: signals are off here so that the echo comes back */
    }
    if (size + 1 >= capacity) {
      return UV_ENOBUFS;
    }
    out[size++] = c;
  }
}

int platform_read_password(const char *prompt, char *out, size_t capacity) {
  struct termios before;
  const int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) {
    return last_error();
  }
  int error = 0;
  if (tcgetattr(fd, &before)) {
    error = last_error();
    goto out;
  }
  struct termios silent = before;
  silent.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
  if (tcsetattr(fd, TCSAFLUSH, &silent)) {
    error = last_error();
    goto out;
  }
  if (write(fd, prompt, strlen(prompt)) < 0) {
    error = last_error();
  } else {
    error = read_line(fd, out, capacity);
    if (write(fd, "\n", 1) < 0 && !error) {
      error = last_error();
    }
  }
  if (tcsetattr(fd, TCSAFLUSH, &before) && !error) {
    error = last_error();
  }
out:
  close(fd);
  if (error && capacity > 0) {
    memset(out, 0, capacity);
  }
  return error;
}

void platform_ignore_broken_pipes(void) {
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  sigaction(SIGPIPE, &ignore, NULL);
}
