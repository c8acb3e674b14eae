/* report_test.c: what the program prints, and that it prints it once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "report.h"
#include "scratch.h"

static struct scratch scratch;

static int make(void **state) {
  (void)state;
  return scratch_make(&scratch);
}

static int clean(void **state) {
  (void)state;
  scratch_remove(&scratch);
  return 0;
}

/* What `events` print with these settings: stdout, a bar, stderr. */
static void print(char out[static 2048], bool quiet, bool urls, bool sentences) {
  static const struct mdm_client_event events[] = {
      {MDM_CLIENT_EVENT_FINGERPRINT, .text = "first contact"},
      {MDM_CLIENT_EVENT_CONNECTED, .user = "tim", .text = "desk"},
      {MDM_CLIENT_EVENT_URL, .service = "a", .url = "http://a.tim.localhost"},
      {MDM_CLIENT_EVENT_URL, .service = "n", .url = ""},
      {MDM_CLIENT_EVENT_REFUSED, .service = "b", .url = "", .text = "taken"},
      {MDM_CLIENT_EVENT_NOTE, .service = "n", .url = "", .text = "no label"},
      {MDM_CLIENT_EVENT_DISCONNECTED, .text = "lost"},
      {MDM_CLIENT_EVENT_CONNECTED, .user = "tim", .text = "desk"},
      {MDM_CLIENT_EVENT_URL, .service = "a", .url = "http://a.tim.localhost"},
      {MDM_CLIENT_EVENT_REFUSED, .service = "b", .url = "", .text = "taken"},
      {MDM_CLIENT_EVENT_STOPPED, .status = MDM_CLIENT_REPLACED, .text = "replaced"},
  };
  char paths[2][128];
  struct report report;
  size_t size = 0;
  int saved[2];
  FILE *streams[2] = {stdout, stderr};
  for (int i = 0; i < 2; i++) {
    fflush(streams[i]);
    saved[i] = dup(i + 1);
    FILE *file = fopen(scratch_file(&scratch, paths[i], i == 0 ? "out" : "err"), "w");
    assert_non_null(file);
    assert_true(dup2(fileno(file), i + 1) >= 0);
    fclose(file);
  }
  report_init(&report, quiet, urls, sentences);
  for (size_t i = 0; i < sizeof events / sizeof *events; i++)
    report_event(&report, &events[i]);
  report_clean(&report);
  for (int i = 0; i < 2; i++) {
    fflush(streams[i]);
    dup2(saved[i], i + 1);
    close(saved[i]);
    FILE *file = fopen(paths[i], "r");
    assert_non_null(file);
    size += fread(out + size, 1, 1000, file);
    fclose(file);
    out[size++] = i == 0 ? '|' : '\0';
  }
}

static void each_line_once_where_it_belongs(void **state) {
  static const struct {
    bool quiet, urls, sentences;
    const char *printed;
  } rows[] = {
      {false, true, true,
       "http://a.tim.localhost\n|mdm-tunnel-client: first contact\nmdm-tunnel-client: b is refused: taken\n"
       "mdm-tunnel-client: replaced\n"},
      {false, false, true,
       "|mdm-tunnel-client: first contact\nmdm-tunnel-client: b is refused: taken\nmdm-tunnel-client: replaced\n"},
      {false, true, false, "http://a.tim.localhost\n|"},
      {true, true, true, "|"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char out[2048];
    print(out, rows[i].quiet, rows[i].urls, rows[i].sentences);
    assert_string_equal(out, rows[i].printed);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(each_line_once_where_it_belongs)};
  return cmocka_run_group_tests_name("report", tests, make, clean);
}
