/* access_log_test.c: lines reach the file in order, also over a reopening; a full disk and a full buffer cost lines, never the loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "access_log.h"
#include "http_head.h"
#include "identity.h"

struct place {
  struct net_loop loop;
  char dir[64], path[96], moved[96];
};

static int set_up(void **state) {
  struct place *place = calloc(1, sizeof *place);
  snprintf(place->dir, sizeof place->dir, "/tmp/mdm-access-log-XXXXXX");
  assert_non_null(mkdtemp(place->dir));
  snprintf(place->path, sizeof place->path, "%s/a.log", place->dir);
  snprintf(place->moved, sizeof place->moved, "%s/a.log.1", place->dir);
  assert_int_equal(net_loop_init(&place->loop, NULL, NULL, NULL), 0);
  *state = place;
  return 0;
}

static int tear_down(void **state) {
  struct place *place = *state;
  net_loop_clean(&place->loop); /* runs until the log has written what was left */
  remove(place->path);
  remove(place->moved);
  assert_int_equal(rmdir(place->dir), 0);
  free(place);
  return 0;
}

static void report(const struct access_log *log, unsigned number) {
  char target[32];
  int size = snprintf(target, sizeof target, "/%u", number);
  const struct http_head request = {.method = {"GET", 3}, .target = {target, (size_t)size}, .minor = 1};
  const struct exchange_report report = {.request = &request, .status = 200, .host = "", .user = "", .service = "", .scheme = "http", .error = ""};
  const struct exchange_observer *observer = access_log_observer(log);
  observer->end(observer, &report);
}

/* The numbers in the file, in order from `first`; returns how many. */
static unsigned read_numbers(const char *path, unsigned first) {
  char *text, *rest, *line;
  size_t size;
  unsigned count = 0;
  assert_int_equal(net_file_read(path, 64u << 20, &text, &size), 0);
  rest = text;
  while ((line = strsep(&rest, "\n")) != NULL && line[0] != '\0') {
    unsigned number = 0;
    const char *request = strstr(line, "\"GET /");
    assert_non_null(request);
    assert_int_equal(sscanf(request, "\"GET /%u HTTP/1.1\" 200", &number), 1);
    assert_int_equal(number, first + count);
    count++;
  }
  free(text);
  return count;
}

/* Lines are written from a deferred task by requests of the loop: when neither is left the loop ends. */
static void run_until_written(struct place *place) {
  uv_run(place->loop.uv, UV_RUN_DEFAULT);
}

static void test_lines_arrive_in_order(void **state) {
  struct place *place = *state;
  struct access_log *log;
  assert_int_equal(access_log_open(&log, &place->loop, place->path, ACCESS_COMBINED), 0);
  for (unsigned i = 0; i < 5000; i++) {
    report(log, i);
    if (i % 100 == 0)
      uv_run(place->loop.uv, UV_RUN_NOWAIT);
  }
  access_log_close(log);
  uv_run(place->loop.uv, UV_RUN_DEFAULT);
  assert_int_equal(read_numbers(place->path, 0), 5000);
}

static void test_reopening_loses_nothing(void **state) {
  struct place *place = *state;
  struct access_log *log;
  assert_int_equal(access_log_open(&log, &place->loop, place->path, ACCESS_COMBINED), 0);
  for (unsigned i = 0; i < 100; i++)
    report(log, i);
  run_until_written(place);
  assert_int_equal(rename(place->path, place->moved), 0);
  assert_int_equal(access_log_reopen(log, place->path, ACCESS_COMBINED), 0);
  for (unsigned i = 100; i < 300; i++)
    report(log, i);
  access_log_close(log);
  uv_run(place->loop.uv, UV_RUN_DEFAULT);
  assert_int_equal(read_numbers(place->moved, 0), 100);
  assert_int_equal(read_numbers(place->path, 100), 200);
}

static void test_a_path_that_cannot_be_opened_keeps_the_old_file(void **state) {
  struct place *place = *state;
  struct access_log *log;
  assert_int_equal(access_log_open(&log, &place->loop, "/nowhere-at-all/a.log", ACCESS_JSON), UV_ENOENT);
  assert_int_equal(access_log_open(&log, &place->loop, place->path, ACCESS_COMBINED), 0);
  assert_int_equal(access_log_reopen(log, "/nowhere-at-all/a.log", ACCESS_JSON), UV_ENOENT);
  report(log, 0);
  access_log_close(log);
  uv_run(place->loop.uv, UV_RUN_DEFAULT);
  assert_int_equal(read_numbers(place->path, 0), 1);
}

static void test_a_full_disk_drops_and_counts(void **state) {
  struct place *place = *state;
  struct access_log *log;
  assert_int_equal(access_log_open(&log, &place->loop, "/dev/full", ACCESS_COMBINED), 0);
  for (unsigned i = 0; i < 10; i++)
    report(log, i);
  run_until_written(place);
  assert_int_equal(access_log_take_dropped(log), 10);
  assert_int_equal(access_log_take_dropped(log), 0);
  access_log_close(log);
}

static void test_a_full_buffer_drops_and_counts(void **state) {
  struct place *place = *state;
  struct access_log *log;
  unsigned written;
  assert_int_equal(access_log_open(&log, &place->loop, place->path, ACCESS_COMBINED), 0);
  for (unsigned i = 0; i < 40000; i++) /* without letting the loop run */
    report(log, i);
  uint64_t dropped = access_log_take_dropped(log);
  access_log_close(log);
  uv_run(place->loop.uv, UV_RUN_DEFAULT);
  written = read_numbers(place->path, 0);
  assert_true(dropped > 0);
  assert_int_equal(written + dropped, 40000);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(test_lines_arrive_in_order),
      TEST(test_reopening_loses_nothing),
      TEST(test_a_path_that_cannot_be_opened_keeps_the_old_file),
      TEST(test_a_full_disk_drops_and_counts),
      TEST(test_a_full_buffer_drops_and_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
