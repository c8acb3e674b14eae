/* scratch.h: a directory of its own for a test of files. */
#ifndef TEST_CLIENT_SCRATCH_H
#define TEST_CLIENT_SCRATCH_H

#include <stdio.h>
#include <uv.h>

struct scratch {
  char path[64];
};

static inline int scratch_make(struct scratch *scratch) {
  uv_fs_t request;
  int status = uv_fs_mkdtemp(NULL, &request, "/tmp/mdm-client-XXXXXX", NULL);
  snprintf(scratch->path, sizeof scratch->path, "%s", status == 0 ? request.path : "");
  uv_fs_req_cleanup(&request);
  return status;
}

static inline const char *scratch_file(const struct scratch *scratch, char out[static 128], const char *name) {
  snprintf(out, 128, "%s/%s", scratch->path, name);
  return out;
}

/* Removes the directory with the files in it (no directories below). */
static inline void scratch_remove(const struct scratch *scratch) {
  uv_fs_t list, request;
  uv_dirent_t entry;
  char path[128];
  if (uv_fs_scandir(NULL, &list, scratch->path, 0, NULL) >= 0)
    while (uv_fs_scandir_next(&list, &entry) == 0)
      uv_fs_unlink(NULL, &request, scratch_file(scratch, path, entry.name), NULL);
  uv_fs_req_cleanup(&list);
  uv_fs_rmdir(NULL, &request, scratch->path, NULL);
}

#endif
