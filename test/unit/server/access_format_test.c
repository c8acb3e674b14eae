/* access_format_test.c: lines of the access log: both forms, byte for byte, and that nothing a visitor sends breaks out of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "access_log.h"
#include "http_head.h"

#define TEXT(literal) {literal, sizeof literal - 1}

static struct exchange_report report_of(const struct http_head *request) {
  return (struct exchange_report){
      .id = 12, .visitor_id = 3, .client = {.family = 4, .bytes = {192, 0, 2, 1}, .port = 999}, .request = request, .host = "hello.tim.example.com",
      .user = "tim", .service = "hello", .scheme = "https", .status = 200, .error = "", .started_wall_ms = 971211336123, .started_us = 1000000,
      .head_us = 1250000, .end_us = 1500000, .request_bytes = 5, .response_bytes = 2326,
  };
}

static const char *format(char *out, size_t capacity, enum access_format how, const struct exchange_report *report) {
  size_t size = access_log_format(out, capacity - 1, how, report);
  out[size] = '\0';
  return out;
}

static void test_combined(void **state) {
  static struct http_field fields[] = {{TEXT("Referer"), TEXT("http://r/")}, {TEXT("user-agent"), TEXT("tester/1")}};
  const struct http_head request = {.method = TEXT("GET"), .target = TEXT("/a?b"), .minor = 1, .fields = fields, .fields_count = 2};
  struct exchange_report report = report_of(&request);
  char line[ACCESS_LOG_LINE_MAX];
  (void)state;
  assert_string_equal(format(line, sizeof line, ACCESS_COMBINED, &report),
                      "192.0.2.1 - - [10/Oct/2000:20:55:36 +0000] \"GET /a?b HTTP/1.1\" 200 2326 \"http://r/\" \"tester/1\"\n");
}

static void test_combined_without_a_request(void **state) {
  struct exchange_report report = report_of(NULL);
  char line[ACCESS_LOG_LINE_MAX];
  (void)state;
  report.status = 0;
  assert_string_equal(format(line, sizeof line, ACCESS_COMBINED, &report), "192.0.2.1 - - [10/Oct/2000:20:55:36 +0000] \"-\" 000 2326 \"-\" \"-\"\n");
}

static void test_json(void **state) {
  static struct http_field fields[] = {{TEXT("User-Agent"), TEXT("a\"b")}};
  const struct http_head request = {.method = TEXT("POST"), .target = TEXT("/"), .minor = 0, .fields = fields, .fields_count = 1};
  struct exchange_report report = report_of(&request);
  char line[ACCESS_LOG_LINE_MAX];
  (void)state;
  report.status = 502;
  report.error = "connection_refused";
  assert_string_equal(format(line, sizeof line, ACCESS_JSON, &report),
                      "{\"time\":\"2000-10-10T20:55:36.123Z\",\"id\":12,\"visitor\":3,\"client\":\"192.0.2.1\",\"scheme\":\"https\","
                      "\"host\":\"hello.tim.example.com\",\"user\":\"tim\",\"service\":\"hello\",\"method\":\"POST\",\"target\":\"/\","
                      "\"protocol\":\"HTTP/1.0\",\"status\":502,\"error\":\"connection_refused\",\"request_bytes\":5,\"response_bytes\":2326,"
                      "\"seconds\":0.500000,\"head_seconds\":0.250000,\"user_agent\":\"a\\\"b\"}\n");
}

/* Every byte value in every text, at any length: one line of printable ASCII, and valid JSON. */
static void test_nothing_breaks_out(void **state) {
  static char all[20000];
  static struct http_field fields[] = {{TEXT("Referer"), {all, sizeof all}}, {TEXT("User-Agent"), {all, sizeof all}}};
  const struct http_head request = {.method = {all, sizeof all}, .target = {all, sizeof all}, .minor = 1, .fields = fields, .fields_count = 2};
  struct exchange_report report = report_of(&request);
  char *line = malloc(ACCESS_LOG_LINE_MAX);
  (void)state;
  for (int shift = 0; shift < 256; shift += 37) {
    for (size_t i = 0; i < sizeof all; i++)
      all[i] = (char)(shift == 0 ? 1 : i + (size_t)shift); /* first the longest escape everywhere */
    for (int how = ACCESS_COMBINED; how <= ACCESS_JSON; how++) {
      size_t size = access_log_format(line, ACCESS_LOG_LINE_MAX, (enum access_format)how, &report);
      assert_true(size < ACCESS_LOG_LINE_MAX);
      for (size_t i = 0; i + 1 < size; i++)
        assert_true(line[i] >= 0x20 && line[i] < 0x7f);
      assert_int_equal(line[size - 1], '\n');
      if (how == ACCESS_JSON) {
        cJSON *json = cJSON_ParseWithLength(line, size);
        assert_non_null(json);
        cJSON_Delete(json);
      } else {
        unsigned quotes = 0;
        for (size_t i = 0; i < size; i++)
          quotes += line[i] == '"';
        assert_int_equal(quotes, 6);
      }
    }
  }
  free(line);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_combined),
      cmocka_unit_test(test_combined_without_a_request),
      cmocka_unit_test(test_json),
      cmocka_unit_test(test_nothing_breaks_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
