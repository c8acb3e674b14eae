/* log_test.c: escaping, both formats, levels, and a log that cannot be written. */
#include <cJSON.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "log.h"

static void test_escaping(void **state) {
  static const struct {
    const char *in;
    size_t size;
    const char *out;
  } table[] = {
      {"plain text", 10, "plain text"},
      {"a\r\nb", 4, "a\\x0d\\x0ab"},
      {"\x1b[31mred", 8, "\\x1b[31mred"},
      {"\0\x01\x7f", 3, "\\x00\\x01\\x7f"},
      {"tab\there", 8, "tab\\x09here"},
      {"gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f"},
      {"\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80"},
      {"\xc3", 1, "\\xc3"},                   /* cut short */
      {"\xc0\xaf", 2, "\\xc0\\xaf"},          /* overlong */
      {"\xed\xa0\x80", 3, "\\xed\\xa0\\x80"}, /* surrogate */
      {"\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"},
      {"\xff\xfe", 2, "\\xff\\xfe"},
      {"\xc2\x9b"
       "1m",
       4,
       "\\xc2\\x9b"
       "1m"},                                 /* C1: an escape sequence on some terminals */
      {"\xe2\x80\xae", 3, "\\xe2\\x80\\xae"}, /* right to left override */
      {"\xe2\x80\xa8", 3, "\\xe2\\x80\\xa8"}, /* line separator */
      {"", 0, ""},
  };
  (void)state;
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    char out[64];
    assert_string_equal(net_log_escape(out, sizeof out, table[i].in, table[i].size), table[i].out);
  }
}

static void test_escaping_cuts_with_dots_and_never_overruns(void **state) {
  char in[200];
  (void)state;
  for (size_t i = 0; i < sizeof in; i++) {
    in[i] = (char)(i * 37);
  }
  for (size_t capacity = 1; capacity < 300; capacity++) {
    char *out = malloc(capacity);
    net_log_escape(out, capacity, in, sizeof in);
    assert_true(strlen(out) < capacity);
    if (capacity > 4) {
      assert_string_equal(out + strlen(out) - 3, "...");
    }
    free(out);
  }
}

struct capture {
  char line[8192];
  unsigned count;
};

static void capture_line(enum net_log_level level, const char *line, void *user) {
  struct capture *capture = user;
  (void)level;
  snprintf(capture->line, sizeof capture->line, "%s", line);
  capture->count++;
}

static struct net_log *capture_log(struct capture *capture, enum net_log_format format, enum net_log_level level) {
  memset(capture, 0, sizeof *capture);
  struct net_log *log =
      net_log_new(&(struct net_log_config){.level = level, .format = format, .sink = capture_line, .user = capture});
  assert_non_null(log);
  return log;
}

static const struct net_log_actor agent = {.kind = "agent", .id = 12, .state = "READY"};

static void test_a_text_line(void **state) {
  struct capture capture;
  struct net_log *log = capture_log(&capture, NET_LOG_TEXT, NET_LOG_INFO);
  (void)state;
  net_log_write(log, NET_LOG_INFO, &agent, "%s: serves %s", "tim\n/laptop", "hello");
  assert_int_equal(capture.line[4], '-');
  assert_int_equal(capture.line[10], 'T');
  assert_int_equal(capture.line[23], 'Z');
  assert_string_equal(capture.line + 24, " INFO  agent 12 READY  tim\\x0a/laptop: serves hello");
  net_log_write(log, NET_LOG_WARN, NULL, "alone");
  assert_string_equal(capture.line + 24, " WARN  alone");
  net_log_free(log);
}

static void test_a_json_line_is_json_whatever_it_holds(void **state) {
  struct capture capture;
  struct net_log *log = capture_log(&capture, NET_LOG_JSON, NET_LOG_DEBUG);
  char all[256 * 4 + 1];
  (void)state;
  for (size_t i = 0; i < sizeof all - 1; i++) {
    all[i] = (char)(1 + (i * 7) % 255);
  }
  all[sizeof all - 1] = 0;
  net_log_write(log, NET_LOG_DEBUG, &(struct net_log_actor){.kind = "a\"b", .id = 7, .state = "\n"}, "%s", all);
  cJSON *json = cJSON_Parse(capture.line);
  assert_non_null(json);
  assert_string_equal(cJSON_GetObjectItem(json, "level")->valuestring, "debug");
  assert_string_equal(cJSON_GetObjectItem(json, "actor")->valuestring, "a\"b");
  assert_string_equal(cJSON_GetObjectItem(json, "state")->valuestring, "\\x0a");
  assert_int_equal(cJSON_GetObjectItem(json, "id")->valueint, 7);
  assert_int_equal(strlen(cJSON_GetObjectItem(json, "time")->valuestring), 24);
  cJSON_Delete(json);
  memset(all, '"', sizeof all - 1);
  net_log_write(log, NET_LOG_DEBUG, &agent, "%s%s", all, all);
  json = cJSON_Parse(capture.line);
  assert_non_null(json);
  cJSON_Delete(json);
  assert_null(strchr(capture.line, '\n'));
  net_log_free(log);
}

static void test_long_messages_are_cut(void **state) {
  struct capture capture;
  struct net_log *log = capture_log(&capture, NET_LOG_TEXT, NET_LOG_INFO);
  char *large = malloc(100001);
  (void)state;
  memset(large, 1, 100000);
  large[100000] = 0;
  net_log_write(log, NET_LOG_INFO, &agent, "%s", large);
  assert_in_range(strlen(capture.line), 2000, 4095);
  free(large);
  net_log_free(log);
}

static void test_levels_and_quiet(void **state) {
  struct capture capture;
  struct net_log *log = capture_log(&capture, NET_LOG_TEXT, NET_LOG_WARN);
  (void)state;
  assert_true(net_log_enabled(log, NET_LOG_ERROR));
  assert_true(net_log_enabled(log, NET_LOG_WARN));
  assert_false(net_log_enabled(log, NET_LOG_INFO));
  net_log_write(log, NET_LOG_INFO, NULL, "no");
  assert_int_equal(capture.count, 0);
  net_log_free(log);
  log = net_log_new(
      &(struct net_log_config){.level = NET_LOG_DEBUG, .quiet = true, .sink = capture_line, .user = &capture});
  net_log_write(log, NET_LOG_ERROR, NULL, "no");
  assert_int_equal(capture.count, 0);
  net_log_free(log);
  assert_false(net_log_enabled(NULL, NET_LOG_ERROR));
  net_log_write(NULL, NET_LOG_ERROR, NULL, "nowhere");
}

static size_t read_some(int fd, char *out, size_t capacity) {
  size_t size = 0;
  ssize_t n;
  while ((n = read(fd, out + size, capacity - 1 - size)) > 0) {
    size += (size_t)n;
  }
  out[size] = 0;
  return size;
}

static void test_a_full_pipe_loses_lines_and_says_so_later(void **state) {
  static char text[1 << 20];
  int ends[2];
  (void)state;
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0); /* blocking to write, as a stderr is */
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  struct net_log *log = net_log_new(&(struct net_log_config){.level = NET_LOG_INFO, .fd = ends[1]});
  for (unsigned i = 0; i < 3000; i++) {
    net_log_write(log, NET_LOG_INFO, NULL, "line %u of a log that nobody reads for a while", i);
  }
  read_some(ends[0], text, sizeof text);
  assert_null(strstr(text, "were lost"));
  net_log_write(log, NET_LOG_INFO, NULL, "again");
  read_some(ends[0], text, sizeof text);
  assert_non_null(strstr(text, " log lines were lost"));
  assert_non_null(strstr(text, "again\n"));
  net_log_write(log, NET_LOG_INFO, NULL, "on");
  read_some(ends[0], text, sizeof text);
  assert_null(strstr(text, "were lost"));
  net_log_free(log);
  close(ends[0]);
  close(ends[1]);
}

static void test_a_full_disk_does_not_stop_the_program(void **state) {
  (void)state;
  const int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
  if (fd < 0) {
    skip();
  }
  struct net_log *log = net_log_new(&(struct net_log_config){.level = NET_LOG_INFO, .fd = fd});
  for (unsigned i = 0; i < 100; i++) {
    net_log_write(log, NET_LOG_INFO, NULL, "nothing goes out");
  }
  net_log_free(log);
  close(fd);
}

#define WRITERS      4u
#define WRITER_LINES 500u

struct writer {
  pthread_t thread;
  struct net_log *log;
  unsigned number;
};

static void *writer_main(void *arg) {
  const struct writer *writer = arg;
  for (unsigned i = 0; i < WRITER_LINES; i++) {
    net_log_write(writer->log, NET_LOG_INFO, &agent, "writer %u line %u with a tail that is long enough to be torn", writer->number, i);
  }
  return NULL;
}

static void test_lines_of_threads_stay_whole_and_in_order(void **state) {
  FILE *file = tmpfile();
  struct writer writers[WRITERS];
  unsigned next[WRITERS] = {0};
  char line[512];
  (void)state;
  assert_non_null(file);
  fcntl(fileno(file), F_SETFL, O_APPEND);
  struct net_log *log = net_log_new(&(struct net_log_config){.level = NET_LOG_INFO, .fd = fileno(file)});
  for (unsigned i = 0; i < WRITERS; i++) {
    writers[i] = (struct writer){.log = log, .number = i};
    assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]), 0);
  }
  for (unsigned i = 0; i < WRITERS; i++) {
    pthread_join(writers[i].thread, NULL);
  }
  net_log_free(log);
  rewind(file);
  while (fgets(line, sizeof line, file) != NULL) {
    unsigned writer, number;
    int end = 0;
    const char *text = strstr(line, "agent 12 READY  writer ");
    assert_non_null(text);
    sscanf(text, "agent 12 READY  writer %u line %u with a tail that is long enough to be torn%n", &writer, &number, &end);
    assert_string_equal(text + end, "\n");
    assert_true(writer < WRITERS);
    assert_int_equal(number, next[writer]++);
  }
  for (unsigned i = 0; i < WRITERS; i++) {
    assert_int_equal(next[i], WRITER_LINES);
  }
  fclose(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_escaping),
      cmocka_unit_test(test_escaping_cuts_with_dots_and_never_overruns),
      cmocka_unit_test(test_a_text_line),
      cmocka_unit_test(test_a_json_line_is_json_whatever_it_holds),
      cmocka_unit_test(test_long_messages_are_cut),
      cmocka_unit_test(test_levels_and_quiet),
      cmocka_unit_test(test_a_full_pipe_loses_lines_and_says_so_later),
      cmocka_unit_test(test_a_full_disk_does_not_stop_the_program),
      cmocka_unit_test(test_lines_of_threads_stay_whole_and_in_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
