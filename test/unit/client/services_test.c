/* services_test.c: the service map: its file, the command line, ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "services.h"

static int parse(struct service_map *map, const char *text, char error[static 512]) {
  error[0] = '\0';
  return service_map_parse(map, "map.json", text, strlen(text), error, 512);
}

static void every_form_of_a_value(void **state) {
  static const struct {
    const char *name, *target;
  } rows[] = {
      {"hello-world", "127.0.0.1:3000"}, {"api", "10.0.0.7:8080"},     {"sock", "unix:/run/app.sock"},
      {"text", "127.0.0.1:4000"},        {"object", "127.0.0.1:9000"}, {"far", "nas:5000"},
      {"file", "unix:/run/b.sock"},
  };
  struct service_map map;
  char error[512], text[TARGET_TEXT];
  (void)state;
  assert_int_equal(
      parse(
          &map,
          "{\"hello-world\": 3000, \"api\": \"10.0.0.7:8080\", \"sock\": \"unix:/run/app.sock\", \"text\": \"4000\",\n"
          " \"object\": {\"port\": 9000}, \"far\": {\"host\": \"nas\", \"port\": 5000},\n"
          " \"file\": {\"unix\": \"/run/b.sock\"}}",
          error),
      SERVICE_MAP_OK);
  assert_int_equal(map.count, sizeof rows / sizeof *rows);
  for (size_t i = 0; i < map.count; i++) {
    assert_string_equal(map.list[i]->service.name, rows[i].name);
    assert_string_equal(target_text(text, &map.list[i]->target), rows[i].target);
  }
  service_map_clean(&map);
}

static void options_of_an_object(void **state) {
  struct service_map map;
  char error[512];
  (void)state;
  assert_int_equal(
      parse(&map,
            "{\"app\": {\"port\": 9000, \"host\": \"shop.internal\", \"rewrite_host\": true, \"tls\": true,\n"
            "  \"proxy_protocol\": 2, \"timeout\": 0, \"headers\": {\"X-From\": \"tunnel\"}, \"allow\": "
            "[\"10.0.0.0/8\"],\n"
            "  \"domains\": [\"app.example.org\"], \"upgrades\": [\"foo\"]},\n"
            " \"b\": {\"port\": 80, \"rewrite_host\": \"shop\"}}",
            error),
      SERVICE_MAP_OK);
  const struct service_entry *entry = map.list[0];
  assert_true(entry->tls);
  assert_int_equal(entry->proxy_protocol, 2);
  assert_int_equal(entry->service.options.rewrite_host, NET_REWRITE_TARGET);
  assert_string_equal(entry->service.options.rewrite_name, "shop.internal:9000");
  assert_int_equal(entry->service.options.timeout_s, 0);
  assert_int_equal(entry->service.options.headers_count, 1);
  assert_int_equal(entry->service.options.allow_count, 1);
  assert_int_equal(map.list[1]->service.options.rewrite_host, NET_REWRITE_NAME);
  service_map_clean(&map);
}

static void an_error_names_file_line_and_key(void **state) {
  static const struct {
    const char *text, *line, *says;
  } rows[] = {
      {"{\"a\": 1,\n \"b\": 70000}", "map.json:2", "\"b\""},
      {"{\"a\": 1,\n\n \"b\": \"nonsense\"}", "map.json:3", "\"b\""},
      {"{\"a\": true}", "map.json:1", "\"a\""},
      {"{\"a\": null}", "map.json:1", "\"a\""},
      {"{\"a\": 3000.5}", "map.json:1", "\"a\""},
      {"{\"a\": -1}", "map.json:1", "\"a\""},
      {"{\"a\": {\n\"port\": 1,\n\"colour\": 2}}", "map.json:3", "colour"},
      {"{\"a\": {\n\"port\": 1,\n\"allow\": [\"nonsense\"]}}", "map.json:3", "allow"},
      {"{\"a\": {\n\"port\": 1,\n\"proxy_protocol\": 3}}", "map.json:3", "proxy_protocol"},
      {"{\"a\": {\"tls\": true}}", "map.json:1", "\"port\""},
      {"{\"a\": {\"port\": 1, \"unix\": \"/x\"}}", "map.json:1", "either"},
      {"{\"hello\": 1,\n\"Hello\": 2}", "map.json:2", "only in case"},
      {"{\"hello\": 1,\n\"hello\": 2}", "map.json:2", "hello"},
      {"{\"\": 1}", "map.json:1", "needs a name"},
      {"[1]", "map.json:1", "object"},
      {"{\"services\": {\"a\": 1},\n \"colour\": 2}", "map.json:2", "colour"},
      {"{\"services\": {\n\"a\": 0}}", "map.json:2", "a"},
      {"{\"a\": 1", "map.json", ""},
      {"", "map.json", ""},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct service_map map;
    char error[512];
    assert_int_equal(parse(&map, rows[i].text, error), SERVICE_MAP_EINVAL);
    if (strstr(error, rows[i].line) == NULL || strstr(error, rows[i].says) == NULL)
      fail_msg("%s\nsays: %s", rows[i].text, error);
    assert_int_equal(map.count, 0);
    service_map_clean(&map);
  }
}

static void flat_and_long_form(void **state) {
  static const struct {
    const char *text, *names;
  } rows[] = {
      {"{\"services\": {\"port\": 9000}}", "services"},
      {"{\"services\": {\"unix\": \"/x\"}, \"user\": 3000}", "services user"},
      {"{\"services\": 9000, \"server\": 4000}", "services server"},
      {"{\"services\": {\"a\": 1, \"b\": 2}, \"user\": \"tim\", \"server\": \"h\", \"max-attempts\": 3}", "a b"},
      {"{\"services\": {\"port\": {\"port\": 1}}}", "port"},
      {"{\"services\": {}}", ""},
      {"{}", ""},
      {"{\"user\": 1, \"token\": 2, \"proxy\": 3}", "user token proxy"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct service_map map;
    char error[512], names[256] = "";
    if (parse(&map, rows[i].text, error) != SERVICE_MAP_OK)
      fail_msg("%s: %s", rows[i].text, error);
    for (size_t k = 0; k < map.count; k++)
      snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", k == 0 ? "" : " ",
               map.list[k]->service.name);
    assert_string_equal(names, rows[i].names);
    service_map_clean(&map);
  }
}

static void any_key_is_a_name(void **state) {
  struct service_map map;
  char error[512];
  (void)state;
  assert_int_equal(parse(&map, "{\"My App\": 1, \"__proto__\": 2, \"a--b\": 3, \"\xc3\xa4\": 4}", error),
                   SERVICE_MAP_OK);
  assert_int_equal(map.count, 4);
  service_map_clean(&map);
}

static void a_missing_file_is_told_apart(void **state) {
  struct service_map map;
  char error[512];
  (void)state;
  assert_int_equal(service_map_load(&map, "/nonexistent/services.json", error, sizeof error), SERVICE_MAP_ENOENT);
  assert_non_null(strstr(error, "/nonexistent/services.json"));
  service_map_clean(&map);
}

static void arguments_add_to_the_map_and_win(void **state) {
  struct service_map map;
  char error[512], text[TARGET_TEXT];
  (void)state;
  assert_int_equal(parse(&map, "{\"hello\": 3000, \"api\": 4000}", error), SERVICE_MAP_OK);
  assert_int_equal(service_map_argument(&map, "HELLO=3001", "/x", error, sizeof error), SERVICE_MAP_OK);
  assert_int_equal(service_map_argument(&map, "new=unix:/s", "/x", error, sizeof error), SERVICE_MAP_OK);
  assert_int_equal(map.count, 3);
  assert_string_equal(target_text(text, &service_map_find_name(&map, "hello")->target), "127.0.0.1:3001");
  assert_non_null(service_map_find_name(&map, "new"));
  service_map_clean(&map);
}

static void a_name_twice_on_the_command_line_is_an_error(void **state) {
  struct service_map map;
  char error[512];
  (void)state;
  service_map_init(&map);
  assert_int_equal(service_map_argument(&map, "hello=3000", "/x", error, sizeof error), SERVICE_MAP_OK);
  assert_int_equal(service_map_argument(&map, "HELLO=3001", "/x", error, sizeof error), SERVICE_MAP_EINVAL);
  assert_non_null(strstr(error, "HELLO=3001"));
  service_map_clean(&map);
}

static void a_target_alone_is_named_after_the_directory(void **state) {
  static const struct {
    const char *directory, *name;
  } rows[] = {
      {"/home/tim/hello", "hello"},
      {"/srv/My App_2", "my-app-2"},
      {"/x/--a..b--", "a-b"},
      {"relative", "relative"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct service_map map;
    char error[512];
    service_map_init(&map);
    assert_int_equal(service_map_argument(&map, "3000", rows[i].directory, error, sizeof error), SERVICE_MAP_OK);
    assert_string_equal(map.list[0]->service.name, rows[i].name);
    service_map_clean(&map);
  }
}

static void wrong_arguments_are_quoted(void **state) {
  static const char *const rows[] = {"hello=", "=3000", "hello=x", "hello", "hello=0", "a=b=3000"};
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct service_map map;
    char error[512] = "";
    service_map_init(&map);
    assert_int_equal(service_map_argument(&map, rows[i], "/home/tim", error, sizeof error), SERVICE_MAP_EINVAL);
    if (strstr(error, rows[i]) == NULL)
      fail_msg("%s says: %s", rows[i], error);
    service_map_clean(&map);
  }
  struct service_map map;
  char error[512];
  service_map_init(&map);
  assert_int_equal(service_map_argument(&map, "3000", "/", error, sizeof error), SERVICE_MAP_EINVAL);
  assert_non_null(strstr(error, "NAME=3000"));
}

/* ---- ids ---- */
static uint32_t id_of(const struct service_map *map, const char *name) {
  const struct service_entry *entry = service_map_find_name(map, name);
  return entry == NULL ? 0 : entry->service.id;
}

static void an_id_keeps_its_meaning_over_reloads(void **state) {
  struct service_map none, first, second, third;
  uint32_t next = 1;
  char error[512];
  (void)state;
  service_map_init(&none);
  assert_int_equal(parse(&first, "{\"a\": 1, \"b\": 2, \"c\": {\"port\": 3}}", error), SERVICE_MAP_OK);
  service_map_adopt(&first, &none, &next);
  uint32_t a = id_of(&first, "a"), b = id_of(&first, "b"), c = id_of(&first, "c");
  assert_int_equal(a, 1);
  assert_true(a != b && b != c && a != c);

  /* a stays, b's target changes, c's option changes, d is new. */
  assert_int_equal(parse(&second, "{\"d\": 4, \"c\": {\"port\": 3, \"timeout\": 9}, \"b\": 22, \"a\": 1}", error),
                   SERVICE_MAP_OK);
  service_map_adopt(&second, &first, &next);
  assert_int_equal(id_of(&second, "a"), a);
  assert_true(id_of(&second, "b") > c);
  assert_true(id_of(&second, "c") > c);
  assert_true(id_of(&second, "d") > c);
  assert_false(service_map_equal(&first, &second));
  assert_null(service_map_find(&second, b));
  assert_ptr_equal(service_map_find(&second, a), service_map_find(&first, a));

  /* b comes back as it was first: still not its first id. */
  assert_int_equal(parse(&third, "{\"a\": 1, \"b\": 2}", error), SERVICE_MAP_OK);
  service_map_adopt(&third, &second, &next);
  assert_true(id_of(&third, "b") > id_of(&second, "d"));
  for (uint32_t id = 0; id <= next; id++) {
    const struct service_entry *entry = service_map_find(&third, id);
    assert_true(entry == NULL || entry->service.id == id);
  }
  service_map_clean(&first);
  service_map_clean(&second);
  service_map_clean(&third);
}

static void the_same_file_again_changes_nothing(void **state) {
  static const char text[] = "{\"b\": 2, \"a\": {\"port\": 1, \"headers\": {\"X\": \"y\"}}}";
  struct service_map none, first, second;
  uint32_t next = 1;
  char error[512];
  (void)state;
  service_map_init(&none);
  assert_int_equal(parse(&first, text, error), SERVICE_MAP_OK);
  service_map_adopt(&first, &none, &next);
  assert_int_equal(parse(&second, text, error), SERVICE_MAP_OK);
  service_map_adopt(&second, &first, &next);
  assert_true(service_map_equal(&first, &second));
  assert_int_equal(next, 3);
  service_map_clean(&first);
  assert_int_equal(second.list[0]->references, 1);
  service_map_clean(&second);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_form_of_a_value),
      cmocka_unit_test(options_of_an_object),
      cmocka_unit_test(an_error_names_file_line_and_key),
      cmocka_unit_test(flat_and_long_form),
      cmocka_unit_test(any_key_is_a_name),
      cmocka_unit_test(a_missing_file_is_told_apart),
      cmocka_unit_test(arguments_add_to_the_map_and_win),
      cmocka_unit_test(a_name_twice_on_the_command_line_is_an_error),
      cmocka_unit_test(a_target_alone_is_named_after_the_directory),
      cmocka_unit_test(wrong_arguments_are_quoted),
      cmocka_unit_test(an_id_keeps_its_meaning_over_reloads),
      cmocka_unit_test(the_same_file_again_changes_nothing),
  };
  return cmocka_run_group_tests_name("services", tests, NULL, NULL);
}
