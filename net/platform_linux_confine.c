/* platform_linux_confine.c: the process gives up what it will not need: new rights, files outside its places, system calls outside its list. */
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "platform_linux_private.h"

#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14) /* since version 3 of the interface */
#endif
#define TRUNCATE_SINCE 3
#define REFER_SINCE    2

#define RIGHTS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RIGHTS_WRITE                                                                                                                                         \
  (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR)
#define RIGHTS_FILE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE) /* what a rule of a file may hold */
#define RIGHTS_ALL                                                                                                                                           \
  (RIGHTS_READ | RIGHTS_WRITE | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_SOCK |   \
   LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER)

struct files {
  int ruleset;
  uint64_t handled;
};

/* Host names, certificates of authorities, time zones, the libraries that the C library loads for names, figures of the machine. */
static const struct platform_place everybody[] = {
    {"/etc", PLATFORM_READ},
    {"/usr", PLATFORM_READ},
    {"/lib", PLATFORM_READ},
    {"/lib32", PLATFORM_READ},
    {"/lib64", PLATFORM_READ},
    {"/proc", PLATFORM_READ},
    {"/sys", PLATFORM_READ},
    {"/run/systemd/resolve", PLATFORM_READ},
    {"/run/resolvconf", PLATFORM_READ},
    {"/run/NetworkManager", PLATFORM_READ},
    {"/run/nscd", PLATFORM_READ},
    {"/etc/resolv.conf", PLATFORM_READ | PLATFORM_PARENT},
    {"/dev/null", PLATFORM_READ | PLATFORM_WRITE},
    {"/dev/urandom", PLATFORM_READ},
    {"/dev/random", PLATFORM_READ},
};

/* ---- files ---- */
static int add_descriptor(const struct files *files, int fd, unsigned access) {
  struct stat info;
  uint64_t rights = (access & PLATFORM_READ ? RIGHTS_READ : 0) | (access & PLATFORM_WRITE ? RIGHTS_WRITE : 0);
  if (fstat(fd, &info) != 0) {
    return -errno;
  }
  if (!S_ISDIR(info.st_mode)) {
    rights &= RIGHTS_FILE;
  }
  const struct landlock_path_beneath_attr rule = {.allowed_access = rights & files->handled, .parent_fd = fd};
  return syscall(SYS_landlock_add_rule, files->ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0 ? -errno : 0;
}

/* The directory of a file, so that one that replaces it by rename is covered, too. `out` holds PATH_MAX bytes. */
static bool parent_of(char *out, const char *path) {
  const char *slash = strrchr(path, '/');
  const size_t size = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
  if (size >= PATH_MAX) {
    return false;
  }
  snprintf(out, PATH_MAX, "%.*s", slash == NULL ? 1 : (int)size, slash == NULL ? "." : path);
  return true;
}

/* What is not there, or not for this user to open, needs no rule: it could not be read anyway. */
static int add_path(const struct files *files, const char *path, unsigned access) {
  const int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) {
    return 0;
  }
  const int error = add_descriptor(files, fd, access);
  close(fd);
  return error;
}

static int make_directories(const char *path) {
  char part[PATH_MAX];
  const size_t size = strlen(path);
  for (size_t i = 1; i <= size && size < sizeof part; i++) {
    if (path[i] == '/' || path[i] == '\0') {
      snprintf(part, sizeof part, "%.*s", (int)i, path);
      if (mkdir(part, 0700) != 0 && errno != EEXIST) {
        return -errno;
      }
    }
  }
  return 0;
}

static int add_place(const struct files *files, const struct platform_place *place) {
  char directory[PATH_MAX], real[PATH_MAX];
  if (!(place->access & PLATFORM_PARENT)) {
    return add_path(files, place->path, place->access);
  }
  if (!parent_of(directory, place->path)) {
    return 0;
  }
  if (place->access & PLATFORM_MAKE) {
    (void)make_directories(directory); /* where that fails, writing would have failed later in the same way */
  }
  int error = add_path(files, directory, place->access);
  if (error == 0 && realpath(place->path, real) != NULL && parent_of(directory, real)) {
    error = add_path(files, directory, place->access); /* a link to another place */
  }
  return error;
}

static int add_places(const struct files *files, const struct platform_place *places, size_t count) {
  int error = 0;
  for (size_t i = 0; i < count && error == 0; i++) {
    error = places[i].path == NULL ? 0 : add_place(files, &places[i]);
  }
  return error;
}

/* 0, UV_ENOSYS or UV_ENOTSUP where the kernel has no Landlock, or another UV_ code. */
static int confine_files(const struct platform_confinement *confinement) {
  const long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 0) {
    return -errno;
  }
  struct files files = {.handled = RIGHTS_ALL};
  if (version < TRUNCATE_SINCE) {
    files.handled &= ~(uint64_t)LANDLOCK_ACCESS_FS_TRUNCATE;
  }
  if (version < REFER_SINCE) {
    files.handled &= ~(uint64_t)LANDLOCK_ACCESS_FS_REFER;
  }
  const struct landlock_ruleset_attr attributes = {.handled_access_fs = files.handled};
  files.ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
  if (files.ruleset < 0) {
    return -errno;
  }
  char program[PATH_MAX];
  int error = add_places(&files, everybody, sizeof everybody / sizeof everybody[0]);
  if (error == 0) {
    error = add_places(&files, confinement->places, confinement->places_count);
  }
  if (error == 0 && PLATFORM_SANITIZED && platform_program_dir(program, sizeof program) != NULL) {
    error = add_path(&files, program, PLATFORM_READ); /* for the names in a report */
  }
  if (error == 0 && syscall(SYS_landlock_restrict_self, files.ruleset, 0) != 0) {
    error = -errno;
  }
  close(files.ruleset);
  return error;
}

/* ---- all of it ---- */
int platform_confine(const struct platform_confinement *confinement, unsigned *done, char *error, size_t error_size) {
  *done = 0;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    snprintf(error, error_size, "no_new_privs: %s", strerror(errno));
    return -errno;
  }
  *done |= PLATFORM_CONFINED_RIGHTS;
  int status = confine_files(confinement);
  if (status == 0) {
    *done |= PLATFORM_CONFINED_FILES;
  } else if (status != UV_ENOSYS && status != UV_ENOTSUP) {
    snprintf(error, error_size, "Landlock: %s", strerror(-status));
    return status;
  }
  if ((status = platform_linux_filter(confinement->plugin)) != 0) {
    snprintf(error, error_size, "the filter of system calls: %s", strerror(-status));
    return status;
  }
  *done |= PLATFORM_CONFINED_CALLS;
  return 0;
}
