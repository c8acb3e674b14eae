/* auth_plugin.c: who may have written a plugin, and its loading. */
#include "auth_plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_one(const char *path, bool file, char *error, size_t error_size) {
  struct stat info;
  if (lstat(path, &info) != 0) {
    snprintf(error, error_size, "auth plugin: %s: %s", path, strerror(errno));
    return -1;
  }
  if (file ? !S_ISREG(info.st_mode) : !S_ISDIR(info.st_mode)) {
    snprintf(error, error_size, "auth plugin: %s is no %s", path, file ? "file" : "directory");
    return -1;
  }
  if (info.st_uid != 0 && info.st_uid != geteuid()) {
    snprintf(error, error_size, "auth plugin: %s belongs to another user, who could change the plugin: it must be root's or the server's", path);
    return -1;
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    snprintf(error, error_size, "auth plugin: %s can be written by others, who could change the plugin: chmod go-w %s", path, path);
    return -1;
  }
  return 0;
}

int auth_plugin_check(const char *path, char *error, size_t error_size) {
  if (path[0] != '/') {
    snprintf(error, error_size, "auth plugin: %s must be an absolute path", path);
    return -1;
  }
  char *real = realpath(path, NULL);
  if (real == NULL) {
    snprintf(error, error_size, "auth plugin: %s: %s", path, strerror(errno));
    return -1;
  }
  int rc = 0;
  if (strcmp(real, path) != 0) {
    snprintf(error, error_size, "auth plugin: %s is not its plain path: give %s", path, real);
    rc = -1;
  } else {
    rc = check_one(real, true, error, error_size);
  }
  while (rc == 0 && strcmp(real, "/") != 0) {
    char *slash = strrchr(real, '/');
    slash[slash == real ? 1 : 0] = '\0';
    rc = check_one(real, false, error, error_size);
  }
  free(real);
  return rc;
}

int auth_plugin_load(void **handle, const struct mdm_auth_hook **hook, const char *path, char *error, size_t error_size) {
  mdm_auth_plugin_fn entry = NULL;
  *handle = NULL;
  *hook = NULL;
  if (auth_plugin_check(path, error, error_size) != 0) {
    return -1;
  }
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    const char *why = dlerror();
    snprintf(error, error_size, "auth plugin: %s", why == NULL ? path : why);
    return -1;
  }
  void *symbol = dlsym(library, MDM_AUTH_PLUGIN_SYMBOL);
  _Static_assert(sizeof entry == sizeof symbol, "POSIX: a function's address fits into void *");
  memcpy(&entry, &symbol, sizeof entry);
  *hook = entry == NULL ? NULL : entry();
  if (*hook == NULL) {
    snprintf(error, error_size, "auth plugin: %s %s", path, entry == NULL ? "does not export " MDM_AUTH_PLUGIN_SYMBOL "()" : "gives no hook");
    dlclose(library);
    return -1;
  }
  if ((*hook)->abi != MDM_AUTH_ABI) {
    snprintf(error, error_size, "auth plugin: %s was built for interface %u; this server has %u: build it anew", path, (*hook)->abi, MDM_AUTH_ABI);
    *hook = NULL;
    dlclose(library);
    return -1;
  }
  *handle = library;
  return 0;
}

void auth_plugin_unload(void *handle) {
  if (handle != NULL) {
    dlclose(handle);
  }
}
