/* platform.h: the verbs that differ by system. One file per system implements them (platform_linux.c). System headers are
 * included there and nowhere else in client/ and mux/. Sockets are ints, errors are UV_ codes. */
#ifndef NET_PLATFORM_H
#define NET_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mdm/mux.h"

int platform_socket_listen(const struct mdm_address *address, bool reuse_port, bool dual_stack, int backlog, int *fd);
int platform_socket_accept(int listener, int *fd, struct mdm_address *peer);      /* UV_EAGAIN when none waits */
int platform_socket_connect(const struct mdm_address *address, int *fd);           /* in progress = 0; finish by platform_socket_error when writable */
int platform_socket_connect_unix(const char *path, int *fd);
int platform_socket_error(int fd);                                                 /* SO_ERROR as a UV_ code, 0 = connected */
ssize_t platform_socket_recv(int fd, void *buffer, size_t capacity);               /* > 0, 0 = FIN, or UV_ code */
ssize_t platform_socket_send(int fd, const struct mdm_slice *slices, size_t count);/* at most 64 slices; no SIGPIPE */
int platform_socket_shutdown(int fd);
void platform_socket_close(int fd, bool reset);
void platform_socket_nodelay(int fd);
void platform_socket_notsent_lowat(int fd, unsigned bytes);
int platform_socket_names(int fd, struct mdm_address *local, struct mdm_address *peer);
const char *platform_host_name(char *out, size_t capacity);
const char *platform_home(void);
const char *platform_program_dir(char *out, size_t capacity);
uint64_t platform_memory_total(void);
bool platform_is_terminal(int fd);
/* Reads a line without echo from the terminal. 0 or UV_. */
int platform_read_password(const char *prompt, char *out, size_t capacity);
void platform_no_core_dumps(void);
/* Nothing that this process starts, or becomes, has more rights than it: set-user-id and file capabilities give nothing. For good. */
void platform_no_new_rights(void);
/* A log on a pipe whose reader is gone must not end the program. Sockets never raise SIGPIPE here. Call it first in main(). */
void platform_ignore_broken_pipes(void);

/* ---- confinement ---- */
/* A file or directory that stays reachable. PARENT: the directory of the file, and of what it links to, with all in it, so that a file may be
 * replaced by rename. MAKE: that directory is made when it is missing. */
enum platform_access { PLATFORM_READ = 1, PLATFORM_WRITE = 2, PLATFORM_PARENT = 4, PLATFORM_MAKE = 8 };
struct platform_place {
  const char *path; /* NULL: none */
  unsigned access;  /* enum platform_access */
};
struct platform_confinement {
  const struct platform_place *places;
  size_t places_count;
  bool plugin; /* foreign code runs in the process: only what is clearly hostile is refused */
};
enum platform_confined { PLATFORM_CONFINED_RIGHTS = 1, PLATFORM_CONFINED_FILES = 2, PLATFORM_CONFINED_CALLS = 4 };
/* For the rest of the process's life: no new rights, no file outside the places (where the kernel can), no system call outside the list. Threads that run
 * already keep their files. `done` tells what was reached, as bits. 0; UV_ENOSYS where the system has nothing of the kind; else UV_ and a sentence in
 * `error`, and the program had better not go on. */
int platform_confine(const struct platform_confinement *confinement, unsigned *done, char *error, size_t error_size);

/* Tells when the network changed or the machine woke up (netlink on Linux). The fd becomes readable; drain returns true if it was a real change. */
int platform_network_watch(int *fd);
bool platform_network_drain(int fd);

#endif
