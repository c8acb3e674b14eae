/* jsonfile_test.c: documents that are wrong, and the exact sentence about each. */
#include <cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "jsonfile.h"

static void test_syntax_errors_name_line_and_expectation(void **state) {
  static const struct {
    const char *text, *error;
  } table[] = {
      {"", "f:1: expected a value, but the text is empty"},
      {" \n\n ", "f:3: expected a value, but the text is empty"},
      {"{\n  \"a\": 1\n  \"b\": 2\n}", "f:3: expected ',' or '}' (opened in line 1), found '\"'"},
      {"{\"a\": 1,\n}", "f:2: a comma before '}'"},
      {"[1,\n2,]", "f:2: a comma before ']'"},
      {"{\"a\" 1}", "f:1: expected ':' after the key, found '1'"},
      {"{a: 1}", "f:1: expected a key in double quotes, found 'a'"},
      {"{'a': 1}", "f:1: expected a key in double quotes, found ''': texts stand in double quotes"},
      {"{\n// hello\n}", "f:2: expected a key in double quotes, found '/': JSON has no comments"},
      {"{\"a\": # x\n1}", "f:1: expected a value, found '#': JSON has no comments"},
      {"{\"a\": tru}", "f:1: expected a value, found 't'"},
      {"{\"a\": nul", "f:1: expected a value, found 'n'"},
      {"{\"a\": 01}", "f:1: a number may not begin with 0"},
      {"{\"a\": +1}", "f:1: expected a value, found '+'"},
      {"{\"a\": -}", "f:1: expected a digit, found '}'"},
      {"{\"a\": 1.}", "f:1: expected a digit after the point, found '}'"},
      {"{\"a\": 1e+}", "f:1: expected a digit of the exponent, found '}'"},
      {"{\"a\": NaN}", "f:1: expected a value, found 'N'"},
      {"{\"a\": 1\n", "f:2: expected ',' or '}' (opened in line 1), found the end of the text"},
      {"[\n\n", "f:3: expected a value, found the end of the text"},
      {"{\"a\": \"x\n\"}", "f:1: expected '\"' before the end of the line"},
      {"{\"a\": \"x", "f:1: expected '\"', found the end of the text"},
      {"{\"a\": \"\\x\"}", "f:1: expected one of \"\\/bfnrtu after a backslash, found 'x'"},
      {"{\"a\": \"\\u12g4\"}", "f:1: expected four hexadecimal digits after \\u, found 'g'"},
      {"{\"a\": \"\\u0000\"}", "f:1: a text may not hold \\u0000"},
      {"{\"a\": \"\\ud800\"}", "f:1: half of a surrogate pair (\\ud800)"},
      {"{\"a\": \"\\udc00\\ud800\"}", "f:1: half of a surrogate pair (\\udc00)"},
      {"{\"a\": \"\\ud800\\u0041\"}", "f:1: half of a surrogate pair (\\ud800)"},
      {"{\"a\": \"\t\"}", "f:1: a control character (\\x09) in a text"},
      {"{\"a\":\n \"\xff\"}", "f:2: a text that is not UTF-8 (byte \\xff)"},
      {"{\"a\": \"\xc0\xaf\"}", "f:1: a text that is not UTF-8 (byte \\xc0)"},
      {"{} x", "f:1: expected nothing more after the value, found 'x'"},
      {"{}\n{}", "f:2: expected nothing more after the value, found '{'"},
      {"\x01", "f:1: expected a value, found '\\x01'"},
      {"{\"a\": 1,\n \"b\": {\"c\": 1,\n  \"c\": 2}}", "f:3: \"b.c\": given twice, first in line 2"},
      {"[{\"a\": 1}, {\"x\": 1, \"x\": 1}]", "f:1: \"[1].x\": given twice, first in line 1"},
      {"{\"a\": 1111111111111111111111111111111111111111111111111111111111111111}",
       "f:1: a number of more than 63 characters"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    struct net_json *json;
    assert_int_equal(net_json_parse(&json, "f", table[i].text, strlen(table[i].text)), UV_EINVAL);
    assert_string_equal(net_json_error(json), table[i].error);
    net_json_free(json);
  }
}

static void test_nul_bytes_are_not_the_end(void **state) {
  struct net_json *json;
  (void)state;
  assert_int_equal(net_json_parse(&json, "f", "{}\0x", 4), UV_EINVAL);
  assert_string_equal(net_json_error(json), "f:1: expected nothing more after the value, found '\\x00'");
  net_json_free(json);
}

static void test_depth_is_bounded(void **state) {
  char text[200000];
  struct net_json *json;
  (void)state;
  for (unsigned depth = 31; depth <= 33; depth++) {
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    assert_int_equal(net_json_parse(&json, "f", text, depth * 2), depth <= 32 ? 0 : UV_EINVAL);
    assert_string_equal(net_json_error(json), depth <= 32 ? "" : "f:1: nested more than 32 deep");
    net_json_free(json);
  }
  memset(text, '[', sizeof text);
  assert_int_equal(net_json_parse(&json, "f", text, sizeof text), UV_EINVAL);
  net_json_free(json);
}

static struct net_json *parsed(const char *text) {
  struct net_json *json;
  const int error = net_json_parse(&json, "f", text, strlen(text));
  if (error) {
    fail_msg("%s", net_json_error(json));
  }
  return json;
}

static void test_lines_are_those_of_the_keys(void **state) {
  struct net_json *json = parsed("\xef\xbb\xbf\n{\n \"a\"\n:\n 1,\n \"b\": [\n  10,\n  {\"c\": {}},\n  30\n ]\r\n}\n");
  const cJSON *root = net_json_root(json);
  (void)state;
  assert_int_equal(net_json_line(json, root), 2);
  assert_int_equal(net_json_line(json, cJSON_GetObjectItem(root, "a")), 3);
  const cJSON *list = cJSON_GetObjectItem(root, "b");
  assert_int_equal(net_json_line(json, list), 6);
  assert_int_equal(net_json_line(json, cJSON_GetArrayItem(list, 0)), 7);
  assert_int_equal(net_json_line(json, cJSON_GetObjectItem(cJSON_GetArrayItem(list, 1), "c")), 8);
  assert_int_equal(net_json_line(json, cJSON_GetArrayItem(list, 2)), 9);
  net_json_free(json);
}

enum kind { STRING, BOOL, INT, OBJECT, ARRAY };

static int ask(struct net_json *json, enum kind kind, const cJSON *object, const char *key) {
  const char *text;
  const cJSON *item;
  bool flag;
  int64_t number;
  switch (kind) {
  case STRING:
    return net_json_string(json, object, key, &text);
  case BOOL:
    return net_json_bool(json, object, key, &flag);
  case INT:
    return net_json_int(json, object, key, 1, 65535, &number);
  case OBJECT:
    return net_json_object(json, object, key, &item);
  case ARRAY:
    return net_json_array(json, object, key, &item);
  }
  return -2;
}

static void test_wrong_types_say_what_they_must_be(void **state) {
  static const struct {
    const char *value;
    enum kind kind;
    const char *error; /* NULL: right */
  } table[] = {
      {"\"x\"", STRING, NULL},
      {"true", BOOL, NULL},
      {"65535", INT, NULL},
      {"1e2", INT, NULL},
      {"{}", OBJECT, NULL},
      {"[]", ARRAY, NULL},
      {"1", STRING, "must be a text, not 1"},
      {"null", STRING, "must be a text, not null"},
      {"\"yes\"", BOOL, "must be true or false, not \"yes\""},
      {"1", BOOL, "must be true or false, not 1"},
      {"\"eighty\"", INT, "must be a number from 1 to 65535, not \"eighty\""},
      {"0", INT, "must be a number from 1 to 65535, not 0"},
      {"65536", INT, "must be a number from 1 to 65535, not 65536"},
      {"-1e300", INT, "must be a number from 1 to 65535, not -1e+300"},
      {"1e999", INT, "must be a number from 1 to 65535, not inf"},
      {"80.5", INT, "must be a whole number from 1 to 65535, not 80.5"},
      {"false", INT, "must be a number from 1 to 65535, not false"},
      {"[]", OBJECT, "must be an object, not a list"},
      {"{}", ARRAY, "must be a list, not an object"},
      {"\"a\\nb\"", BOOL, "must be true or false, not \"a\\x0ab\""},
  };
  (void)state;
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    char text[128], expected[256];
    snprintf(text, sizeof text, "{\n\"ports\": {\n\"http\": %s}}", table[i].value);
    struct net_json *json = parsed(text);
    const cJSON *ports;
    assert_int_equal(net_json_object(json, net_json_root(json), "ports", &ports), 1);
    const int answer = ask(json, table[i].kind, ports, "http");
    assert_int_equal(answer, table[i].error ? -1 : 1);
    snprintf(expected, sizeof expected, "f:3: \"ports.http\": %s", table[i].error ? table[i].error : "");
    assert_string_equal(net_json_error(json), table[i].error ? expected : "");
    assert_int_equal(ask(json, table[i].kind, ports, "missing"), 0);
    assert_int_equal(net_json_finish(json, ports), table[i].error ? -1 : 0);
    net_json_free(json);
  }
}

static void test_keys_differ_by_case(void **state) {
  struct net_json *json = parsed("{\"Port\": 1}");
  int64_t port = 7;
  (void)state;
  assert_int_equal(net_json_int(json, net_json_root(json), "port", 1, 9, &port), 0);
  assert_int_equal(port, 7);
  assert_int_equal(net_json_finish(json, net_json_root(json)), -1);
  assert_string_equal(net_json_error(json), "f:1: \"Port\": unknown key; known here: port");
  net_json_free(json);
}

static void test_unknown_keys_list_the_known_nearest_first(void **state) {
  struct net_json *json = parsed("{\"bind\": \"x\",\n \"a\": {\"prot\": 1}}");
  const cJSON *root = net_json_root(json);
  const cJSON *inner;
  const char *text;
  int64_t number;
  (void)state;
  net_json_string(json, root, "bind", &text);
  net_json_object(json, root, "a", &inner);
  net_json_string(json, inner, "host", &text);
  net_json_int(json, inner, "port", 1, 65535, &number);
  net_json_any(json, inner, "timeout");
  assert_int_equal(net_json_finish(json, root), 0);
  assert_int_equal(net_json_finish(json, inner), -1);
  assert_string_equal(net_json_error(json), "f:2: \"a.prot\": unknown key; known here: port, host, timeout");
  net_json_free(json);
}

static void test_the_first_error_stays(void **state) {
  struct net_json *json = parsed("{\"a\": [1, {\"b\": 2}]}");
  const cJSON *item = cJSON_GetArrayItem(cJSON_GetObjectItem(net_json_root(json), "a"), 1);
  (void)state;
  net_json_fail(json, cJSON_GetObjectItem(item, "b"), "is %s", "odd");
  net_json_fail(json, item, "is later");
  assert_string_equal(net_json_error(json), "f:1: \"a[1].b\": is odd");
  net_json_free(json);
}

static void test_files_that_cannot_be_read(void **state) {
  char path[] = "/tmp/mdm-json-XXXXXX";
  char expected[128];
  struct net_json *json;
  (void)state;
  assert_int_equal(net_json_load(&json, "/nonexistent/x.json", 100), UV_ENOENT);
  assert_string_equal(net_json_error(json), "/nonexistent/x.json: cannot be read: no such file or directory");
  net_json_free(json);
  const int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, "{\"a\": 1}", 8), 8);
  close(fd);
  assert_int_equal(net_json_load(&json, path, 7), UV_EFBIG);
  snprintf(expected, sizeof expected, "%s: larger than 7 bytes", path);
  assert_string_equal(net_json_error(json), expected);
  net_json_free(json);
  assert_int_equal(net_json_load(&json, path, 8), 0);
  net_json_free(json);
  unlink(path);
}

static void test_many_keys_are_not_slow(void **state) {
  const size_t keys = 20000;
  char *text = malloc(keys * 16 + 16);
  size_t size = (size_t)sprintf(text, "{");
  struct net_json *json;
  (void)state;
  for (size_t i = 0; i < keys; i++) {
    size += (size_t)sprintf(text + size, "\"k%zu\":%zu,\n", i, i);
  }
  size += (size_t)sprintf(text + size, "\"k7\":0}");
  assert_int_equal(net_json_parse(&json, "f", text, size), UV_EINVAL);
  assert_string_equal(net_json_error(json), "f:20001: \"k7\": given twice, first in line 8");
  net_json_free(json);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_syntax_errors_name_line_and_expectation),
      cmocka_unit_test(test_nul_bytes_are_not_the_end),
      cmocka_unit_test(test_depth_is_bounded),
      cmocka_unit_test(test_lines_are_those_of_the_keys),
      cmocka_unit_test(test_wrong_types_say_what_they_must_be),
      cmocka_unit_test(test_keys_differ_by_case),
      cmocka_unit_test(test_unknown_keys_list_the_known_nearest_first),
      cmocka_unit_test(test_the_first_error_stays),
      cmocka_unit_test(test_files_that_cannot_be_read),
      cmocka_unit_test(test_many_keys_are_not_slow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
