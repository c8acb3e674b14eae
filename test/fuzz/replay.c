/* replay.c: runs a fuzz target over the files of its corpus without libFuzzer: every file, and every file of a
 * directory, named on the command line. A directory that is missing is an error: a corpus that ran on nothing proves
 * nothing. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (16u * 1024u * 1024u) /* no corpus file is near it */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    perror(path);
    return -1;
  }
  uint8_t *data = malloc(INPUT_MAX);
  size_t size = data ? fread(data, 1, INPUT_MAX, file) : 0;
  int rc = !data || ferror(file) ? -1 : 0;
  fclose(file);
  if (rc == 0) {
    uint8_t *exact = malloc(size ? size : 1); /* so that a sanitizer sees the first byte read too many */
    if (exact) {
      memcpy(exact, data, size);
      (void)LLVMFuzzerTestOneInput(exact, size);
      free(exact);
    } else {
      rc = -1;
    }
  }
  free(data);
  return rc;
}

/* Returns how many files ran, or -1. */
static long replay_path(const char *path) {
  struct stat info;
  if (stat(path, &info)) {
    perror(path);
    return -1;
  }
  if (!S_ISDIR(info.st_mode))
    return replay_file(path) ? -1 : 1;
  DIR *dir = opendir(path);
  if (!dir) {
    perror(path);
    return -1;
  }
  long count = 0;
  for (struct dirent *entry; (entry = readdir(dir));) {
    char name[4096];
    if (entry->d_name[0] == '.')
      continue;
    snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
    long n = replay_path(name);
    if (n < 0) {
      count = -1;
      break;
    }
    count += n;
  }
  closedir(dir);
  return count;
}

int main(int argc, char **argv) {
  long total = 0;
  for (int i = 1; i < argc; i++) {
    long n = replay_path(argv[i]);
    if (n < 0)
      return 1;
    total += n;
  }
  printf("%ld inputs\n", total);
  return total > 0 ? 0 : 1;
}
