/* users_place.c: owns the paths that a user command works on. */
#include "users_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "config.h"

#define LOCK_WAIT_MS 10000u
#define LOCK_STEP_MS 20u

static void add_flag(char **argv, int *argc, const char *flag, const char *value) {
  if (value != NULL) {
    argv[(*argc)++] = (char *)(uintptr_t)flag; /* read only */
    argv[(*argc)++] = (char *)(uintptr_t)value;
  }
}

static char *copy(const char *text) {
  return text == NULL ? NULL : strdup(text);
}

int users_place_find(struct users_place *place, char *error, size_t error_size) {
  struct server_config *config = NULL;
  char *argv[10];
  int argc = 0;
  add_flag(argv, &argc, "--config", place->config_given);
  add_flag(argv, &argc, "--users", place->users_given);
  add_flag(argv, &argc, "--state-dir", place->state_given);
  add_flag(argv, &argc, "--link-cert", place->cert_given);
  add_flag(argv, &argc, "--link-key", place->key_given);
  if (server_config_load(&config, NULL, argc, argv, error, error_size) != CONFIG_OK) {
    return -1;
  }
  place->state_dir = copy(config->state_dir);
  place->link_cert = copy(config->link_cert);
  place->link_key = copy(config->link_key);
  if (config->users_file != NULL) {
    place->users = strdup(config->users_file);
  } else {
    place->users = users_place_default(config->state_dir);
  }
  server_config_unref(config);
  if (place->users == NULL || place->state_dir == NULL) {
    snprintf(error, error_size, "out of memory");
    return -1;
  }
  return 0;
}

char *users_place_default(const char *state_dir) {
  char *path = NULL;
  return asprintf(&path, "%s/users.json", state_dir) < 0 ? NULL : path;
}

void users_place_clean(struct users_place *place) {
  free(place->users);
  free(place->state_dir);
  free(place->link_cert);
  free(place->link_key);
}

static char *parent_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static int make_directories(char *path) {
  for (char *at = path + 1;; at++) {
    if (*at != '/' && *at != '\0') {
      continue;
    }
    char end = *at;
    *at = '\0';
    int rc = mkdir(path, 0700) != 0 && errno != EEXIST ? -errno : 0;
    *at = end;
    if (rc != 0 || end == '\0') {
      return rc;
    }
  }
}

static int lock_wait(int fd) {
  for (unsigned waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += LOCK_STEP_MS) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return -errno;
    }
    if (waited >= LOCK_WAIT_MS) {
      return UV_EBUSY;
    }
    usleep(LOCK_STEP_MS * 1000u);
  }
  return 0;
}

int users_place_lock(const char *path, char *error, size_t error_size) {
  char *directory = parent_of(path);
  int fd = -1, rc = directory == NULL ? UV_ENOMEM : make_directories(directory);
  if (rc == 0) {
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = fd < 0 ? -errno : lock_wait(fd);
  }
  if (rc != 0) {
    snprintf(error, error_size, "%s: %s", directory == NULL ? path : directory,
             rc == UV_EBUSY ? "another command is at work on the user file" : uv_strerror(rc));
    if (fd >= 0) {
      close(fd);
    }
  }
  free(directory);
  return rc == 0 ? fd : -1;
}

int users_place_owner(const char *path, struct stat *info) {
  if (stat(path, info) == 0) {
    return 0;
  }
  char *directory = parent_of(path);
  int rc = directory == NULL || stat(directory, info) != 0 ? -1 : 0;
  free(directory);
  return rc;
}

int users_place_give(const char *path, const struct stat *owner) {
  return geteuid() == 0 && owner->st_uid != 0 && chown(path, owner->st_uid, owner->st_gid) != 0 ? -errno : 0;
}

int users_place_give_key(const char *state_dir) {
  static const char *const names[] = {"link.key", "link.crt"};
  struct stat owner;
  int rc = stat(state_dir, &owner) != 0 ? -errno : 0;
  for (size_t i = 0; rc == 0 && i < sizeof names / sizeof names[0]; i++) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s", state_dir, names[i]) < 0) {
      return UV_ENOMEM;
    }
    rc = users_place_give(path, &owner);
    free(path);
  }
  return rc;
}
