/* service_test.c: the options of a service, read, written, copied, compared; labels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <cjson/cJSON.h>

#include "service.h"
#include "text.h"

#define HASH "$argon2id$v=19$m=65536,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"
#define EVERYTHING                                                                                                     \
  "{\"rewrite_host\":\"app.internal:8080\",\"headers\":{\"X-Team\":\"blue\",\"X-Debug\":null},\"response_headers\":{"  \
  "\"Server\":\"\"},"                                                                                                  \
  "\"basic_auth\":[\"tim:" HASH "\",\"ann:" HASH "\"],\"allow\":[\"10.0.0.0/8\",\"2001:db8::/32\",\"127.0.0.1\"],"     \
  "\"domains\":[\"App.Example.org.\"],\"upgrades\":[\"H2C\",\"foo/2\"],\"timeout\":0,\"unknown\":{\"deep\":[1]}}"

static int options_read(struct net_service_options *out, const char *json, char *error, size_t size) {
  cJSON *object = cJSON_Parse(json);
  assert_non_null(object);
  int result = net_service_options_read(out, object, error, size);
  cJSON_Delete(object);
  return result;
}

static void reads_every_option(void **state) {
  (void)state;
  struct net_service_options o;
  char error[512] = "";
  assert_int_equal(options_read(&o, EVERYTHING, error, sizeof error), 0);
  assert_int_equal(o.rewrite_host, NET_REWRITE_NAME);
  assert_string_equal(o.rewrite_name, "app.internal:8080");
  assert_int_equal(o.headers_count, 2);
  assert_string_equal(o.headers[0].name, "X-Team");
  assert_string_equal(o.headers[0].value, "blue");
  assert_string_equal(o.headers[1].value, "");
  assert_int_equal(o.response_headers_count, 1);
  assert_int_equal(o.basic_auth_count, 2);
  assert_string_equal(o.basic_auth[1].user, "ann");
  assert_string_equal(o.basic_auth[1].hash, HASH);
  assert_int_equal(o.allow_count, 3);
  assert_int_equal(o.allow[0].prefix, 8);
  assert_int_equal(o.allow[2].prefix, 32);
  assert_string_equal(o.domains[0], "app.example.org");
  assert_string_equal(o.upgrades[0], "h2c");
  assert_string_equal(o.upgrades[1], "foo/2");
  assert_int_equal(o.timeout_s, 0);
  net_service_options_clean(&o);
}

static void what_is_written_reads_back_equal(void **state) {
  (void)state;
  struct net_service_options a, b, c;
  char error[512] = "";
  assert_int_equal(options_read(&a, EVERYTHING, error, sizeof error), 0);
  cJSON *object = cJSON_CreateObject();
  assert_int_equal(net_service_options_write(&a, object), 0);
  assert_int_equal(net_service_options_read(&b, object, error, sizeof error), 0);
  cJSON_Delete(object);
  assert_true(net_service_options_equal(&a, &b));
  assert_int_equal(net_service_options_copy(&c, &b), 0);
  net_service_options_clean(&b);
  assert_true(net_service_options_equal(&a, &c));
  net_service_options_clean(&a);
  net_service_options_clean(&c);
}

static void defaults_are_not_written(void **state) {
  (void)state;
  struct net_service_options o;
  net_service_options_init(&o);
  assert_int_equal(o.timeout_s, NET_TIMEOUT_DEFAULT_S);
  cJSON *object = cJSON_CreateObject();
  assert_int_equal(net_service_options_write(&o, object), 0);
  assert_null(object->child);
  cJSON_Delete(object);
  net_service_options_clean(&o);
}

static void a_difference_in_any_option_is_seen(void **state) {
  (void)state;
  static const char *const different[] = {
      "{}",
      "{\"rewrite_host\":true}",
      "{\"rewrite_host\":\"a.b\"}",
      "{\"headers\":{\"A\":\"1\"}}",
      "{\"headers\":{\"A\":\"2\"}}",
      "{\"response_headers\":{\"A\":\"1\"}}",
      "{\"basic_auth\":[\"a:" HASH "\"]}",
      "{\"basic_auth\":[\"b:" HASH "\"]}",
      "{\"allow\":[\"10.0.0.0/8\"]}",
      "{\"allow\":[\"10.0.0.0/9\"]}",
      "{\"domains\":[\"a.example\"]}",
      "{\"upgrades\":[\"h2c\"]}",
      "{\"timeout\":1}",
  };
  for (size_t i = 0; i < sizeof different / sizeof *different; i++) {
    for (size_t j = 0; j < sizeof different / sizeof *different; j++) {
      struct net_service_options a, b;
      char error[256] = "";
      assert_int_equal(options_read(&a, different[i], error, sizeof error), 0);
      assert_int_equal(options_read(&b, different[j], error, sizeof error), 0);
      assert_int_equal(net_service_options_equal(&a, &b), i == j);
      net_service_options_clean(&a);
      net_service_options_clean(&b);
    }
  }
}

static void wrong_options_are_refused_by_name(void **state) {
  (void)state;
  static const struct {
    const char *json, *names;
  } wrong[] = {
      {"[]", "object"},
      {"{\"rewrite_host\":1}", "rewrite_host"},
      {"{\"rewrite_host\":\"\"}", "rewrite_host"},
      {"{\"rewrite_host\":\"a b\"}", "rewrite_host"},
      {"{\"rewrite_host\":\"a\\r\\nX: y\"}", "rewrite_host"},
      {"{\"headers\":[]}", "headers"},
      {"{\"headers\":{\"A\":1}}", "headers"},
      {"{\"headers\":{\"\":\"x\"}}", "headers"},
      {"{\"headers\":{\"A B\":\"x\"}}", "headers"},
      {"{\"headers\":{\"A:\":\"x\"}}", "headers"},
      {"{\"headers\":{\"A\":\"x\\ny\"}}", "headers"},
      {"{\"headers\":{\"A\":\"x\\u007f\"}}", "headers"},
      {"{\"headers\":{\"A\":\"1\",\"a\":\"2\"}}", "twice"},
      {"{\"headers\":{\"host\":\"x\"}}", "rewrite_host"},
      {"{\"headers\":{\"Content-length\":\"1\"}}", "frames"},
      {"{\"headers\":{\"Transfer-Encoding\":\"chunked\"}}", "frames"},
      {"{\"headers\":{\"connection\":null}}", "frames"},
      {"{\"response_headers\":{\"Upgrade\":\"h2c\"}}", "response_headers"},
      {"{\"headers\":{\"TE\":\"x\"}}", "frames"},
      {"{\"headers\":{\"Trailer\":\"x\"}}", "frames"},
      {"{\"basic_auth\":\"tim:x\"}", "basic_auth"},
      {"{\"basic_auth\":[]}", "basic_auth"},
      {"{\"basic_auth\":[\"tim\"]}", "basic_auth"},
      {"{\"basic_auth\":[\":" HASH "\"]}", "basic_auth"},
      {"{\"basic_auth\":[\"tim:secret\"]}", "mdm-tunnel-client hash"},
      {"{\"basic_auth\":[3]}", "basic_auth"},
      {"{\"allow\":[\"10.0.0.0/33\"]}", "allow"},
      {"{\"allow\":[\"everybody\"]}", "allow"},
      {"{\"allow\":[]}", "allow"},
      {"{\"allow\":{}}", "allow"},
      {"{\"domains\":[\"localhost\"]}", "domains"},
      {"{\"domains\":[\"a..b\"]}", "domains"},
      {"{\"domains\":[\"-a.example\"]}", "domains"},
      {"{\"domains\":[\"*.example.org\"]}", "domains"},
      {"{\"domains\":[\"10.0.0.1\"]}", "domains"},
      {"{\"domains\":[\"a.example\",\"A.EXAMPLE\"]}", "twice"},
      {"{\"upgrades\":[\"a b\"]}", "upgrades"},
      {"{\"upgrades\":[\"\"]}", "upgrades"},
      {"{\"upgrades\":[\"a/\"]}", "upgrades"},
      {"{\"timeout\":-1}", "timeout"},
      {"{\"timeout\":1.5}", "timeout"},
      {"{\"timeout\":\"300\"}", "timeout"},
      {"{\"timeout\":1e300}", "timeout"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct net_service_options o;
    char error[512] = "";
    if (options_read(&o, wrong[i].json, error, sizeof error) != -1 || strstr(error, wrong[i].names) == NULL) {
      fail_msg("%s: \"%s\" does not name %s", wrong[i].json, error, wrong[i].names);
    }
    net_service_options_clean(&o);
  }
}

static void secrets_stay_out_of_sentences(void **state) {
  (void)state;
  struct net_service_options o;
  char error[512] = "";
  assert_int_equal(options_read(&o, "{\"basic_auth\":[\"tim:hunter2\"]}", error, sizeof error), -1);
  assert_null(strstr(error, "hunter2"));
}

static void lists_are_bounded(void **state) {
  (void)state;
  for (int extra = 0; extra < 2; extra++) {
    cJSON *object = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(object, "allow");
    for (int i = 0; i < NET_SERVICE_LIST_MAX + extra; i++) {
      assert_true(cJSON_AddItemToArray(list, cJSON_CreateString("10.0.0.0/8")));
    }
    struct net_service_options o;
    char error[256] = "";
    assert_int_equal(net_service_options_read(&o, object, error, sizeof error), -extra);
    net_service_options_clean(&o);
    cJSON_Delete(object);
  }
}

static void labels(void **state) {
  (void)state;
  static const struct {
    const char *text, *folded;
  } table[] = {
      {"a", "a"},
      {"hello-world", "hello-world"},
      {"HeLLo", "hello"},
      {"9", "9"},
      {"", NULL},
      {"-a", NULL},
      {"a-", NULL},
      {"a--b", NULL},
      {"a_b", NULL},
      {"a.b", NULL},
      {"a b", NULL},
      {"\xc3\xa4", NULL},
      {"xn--a", NULL},
      {"__proto__", NULL},
      {"a\nb", NULL},
      {"0123456789012345678901234567890123456789012345678901234567890",
       "0123456789012345678901234567890123456789012345678901234567890"},
      {"01234567890123456789012345678901234567890123456789012345678901", NULL},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    char folded[NET_LABEL_MAX + 1] = "";
    bool right = net_label_fold(folded, table[i].text, strlen(table[i].text));
    assert_int_equal(right, table[i].folded != NULL);
    assert_int_equal(net_label_valid(table[i].text, strlen(table[i].text)), right);
    if (right) {
      assert_string_equal(folded, table[i].folded);
    }
  }
  assert_false(net_label_valid("a\0b", 3));
}

static void utf8_is_judged(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool valid;
  } table[] = {
      {"plain", true},
      {"", true},
      {"\xc3\xa4", true},
      {"\xe2\x82\xac", true},
      {"\xf0\x9f\x9a\x87", true},
      {"\xc3", false},
      {"\xc0\xaf", false},
      {"\xed\xa0\x80", false},
      {"\xf4\x90\x80\x80", false},
      {"\xff", false},
      {"a\nb", false},
      {"\x7f", false},
      {"\xc2\x85", false},
      {"\x1b[0m", false},
      {"\x80", false},
      {"\xe0\x80\xaf", false},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    assert_int_equal(net_text_valid(table[i].text, strlen(table[i].text)), table[i].valid);
  }
  assert_true(net_text_is_utf8("a\nb", 3));
  assert_false(net_text_is_utf8("\xff", 1));
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_every_option),
      cmocka_unit_test(what_is_written_reads_back_equal),
      cmocka_unit_test(defaults_are_not_written),
      cmocka_unit_test(a_difference_in_any_option_is_seen),
      cmocka_unit_test(wrong_options_are_refused_by_name),
      cmocka_unit_test(secrets_stay_out_of_sentences),
      cmocka_unit_test(lists_are_bounded),
      cmocka_unit_test(labels),
      cmocka_unit_test(utf8_is_judged),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
