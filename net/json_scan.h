/* json_scan.h: checks that a text is strict JSON and tells the line of each value, in document order. */
#ifndef NET_JSON_SCAN_H
#define NET_JSON_SCAN_H

#include <stddef.h>

#define JSON_DEPTH_MAX 32u

struct json_scan {
  unsigned *lines; /* of each value, parents before children; of its key where it has one. The caller frees */
  size_t count;
  unsigned error_line;
  char error[160]; /* what was expected and what was found */
};

/* 0, UV_EINVAL with error and error_line, or UV_ENOMEM. */
int json_scan(struct json_scan *scan, const char *text, size_t size);

#endif
