/* file.c: whole files, read with a bound and written atomically. Blocking: for start, reload and state, never per
 * request. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "identity.h"
#include "platform.h"

#define FILE_READ_STEP 16384u

/* Makes every missing directory above the last slash of `path`, which is changed meanwhile. */
static int file_make_parents(char *path) {
  for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    const int outcome = mkdir(path, 0700);
    const int error = outcome && errno != EEXIST && errno != EROFS && errno != EACCES ? -errno : 0;
    *slash = '/';
    if (error) {
      return error;
    }
  }
  return 0;
}

static int file_write_all(int fd, const char *data, size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return -errno;
    }
    data += n;
    size -= (size_t)n;
  }
  return fsync(fd) ? -errno : 0;
}

/* The rename itself survives a power cut only once its directory is on disk. Some file systems cannot; that is no
 * error. */
static void file_sync_directory(char *path) {
  char *slash = strrchr(path, '/');
  char keep = 0;
  const char *directory = ".";
  if (slash) {
    char *cut = slash == path ? slash + 1 : slash;
    keep = *cut;
    *cut = 0;
    slash = cut;
    directory = path;
  }
  const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (slash) {
    *slash = keep;
  }
  if (fd >= 0) {
    (void)fsync(fd);
    close(fd);
  }
}

int net_file_write(const char *path, const void *data, size_t size, unsigned mode) {
  static const char suffix[] = ".XXXXXX";
  const size_t length = strlen(path);
  if (length == 0) {
    return UV_EINVAL;
  }
  char *temporary = malloc(length + sizeof suffix);
  if (!temporary) {
    return UV_ENOMEM;
  }
  memcpy(temporary, path, length);
  memcpy(temporary + length, suffix, sizeof suffix);
  int error = file_make_parents(temporary);
  if (error) {
    goto out;
  }
  const int fd = mkostemp(temporary, O_CLOEXEC); /* made 0600 */
  if (fd < 0) {
    error = -errno;
    goto out;
  }
  error = file_write_all(fd, data, size);
  if (!error && fchmod(fd, (mode_t)mode)) {
    error = -errno;
  }
  if (close(fd) && !error) {
    error = -errno;
  }
  if (!error && rename(temporary, path)) {
    error = -errno;
  }
  if (error) {
    unlink(temporary);
    goto out;
  }
  file_sync_directory(temporary);
out:
  free(temporary);
  return error;
}

int net_file_read(const char *path, size_t limit, char **out, size_t *out_size) {
  char *data = NULL;
  size_t size = 0;
  size_t capacity = 0;
  int error = 0;
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) {
    return -errno;
  }
  for (;;) {
    if (capacity - size < 2) {
      capacity += FILE_READ_STEP;
      char *grown = realloc(data, capacity);
      if (!grown) {
        error = UV_ENOMEM;
        goto failed;
      }
      data = grown;
    }
    const ssize_t n = read(fd, data + size, capacity - size - 1);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      error = -errno;
      goto failed;
    }
    if (n == 0) {
      break;
    }
    size += (size_t)n;
    if (size > limit) {
      error = UV_EFBIG;
      goto failed;
    }
  }
  close(fd);
  data[size] = 0;
  *out = data;
  *out_size = size;
  return 0;

failed:
  close(fd);
  if (data) {
    explicit_bzero(data, size); /* it may have been a key */
    free(data);
  }
  return error;
}

bool net_file_is_private(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && (info.st_mode & 077) == 0 && (info.st_uid == geteuid() || info.st_uid == 0 || geteuid() == 0);
}

char *net_path_expand(const char *path) {
  if (path[0] != '~' || (path[1] != '/' && path[1] != 0)) {
    return strdup(path);
  }
  const char *home = platform_home();
  if (!home) {
    return NULL;
  }
  const size_t home_size = strlen(home);
  const size_t rest_size = strlen(path + 1);
  char *full = malloc(home_size + rest_size + 1);
  if (!full) {
    return NULL;
  }
  memcpy(full, home, home_size);
  memcpy(full + home_size, path + 1, rest_size + 1);
  return full;
}
