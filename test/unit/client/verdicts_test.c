/* verdicts_test.c: the server's answers on services, as events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "verdicts.h"

struct heard {
  char text[1024];
};

static void hear(const struct mdm_client_event *event, void *user) {
  struct heard *heard = user;
  size_t size = strlen(heard->text);
  snprintf(heard->text + size, sizeof heard->text - size, "[%d %s %s %s]", (int)event->type, event->service, event->url,
           event->text);
}

static void make_map(struct service_map *map) {
  static const char text[] = "{\"a\": 1, \"b\": 2, \"My App\": 3}";
  struct service_map none;
  uint32_t next = 1;
  char error[256];
  service_map_init(&none);
  assert_int_equal(service_map_parse(map, "x", text, sizeof text - 1, error, sizeof error), SERVICE_MAP_OK);
  service_map_adopt(map, &none, &next);
}

static void each_verdict_is_an_event(void **state) {
  static struct net_service_verdict list[] = {
      {.id = 1, .verdict = NET_SERVICE_OK, .url = "http://a.tim.localhost:8000/"},
      {.id = 2, .verdict = NET_SERVICE_REFUSED, .reason = "held by tim/desk\nsince 10:00"},
      {.id = 3, .verdict = NET_SERVICE_NO_WEB, .reason = "no label"},
      {.id = 77, .verdict = NET_SERVICE_OK, .url = "http://unknown/"},
  };
  const struct net_services_ok services = {.serial = 1, .list = list, .count = 4};
  struct verdicts_count count;
  struct service_map map;
  struct heard heard = {""};
  char wanted[512];
  (void)state;
  make_map(&map);
  verdicts_tell(&services, &map, &count, hear, &heard);
  snprintf(wanted, sizeof wanted,
           "[%d a http://a.tim.localhost:8000/ ][%d b  held by tim/desk\\x0asince 10:00][%d My App  no label]",
           MDM_CLIENT_EVENT_URL, MDM_CLIENT_EVENT_REFUSED, MDM_CLIENT_EVENT_NOTE);
  assert_string_equal(heard.text, wanted);
  assert_int_equal(count.served, 2);
  assert_int_equal(count.refused, 1);
  assert_non_null(strstr(count.first_refusal, "b: held by"));
  service_map_clean(&map);
}

static void what_was_taken_over_is_withdrawn(void **state) {
  static struct net_service_verdict list[] = {{.id = 2, .verdict = NET_SERVICE_REFUSED},
                                              {.id = 1, .verdict = NET_SERVICE_OK}};
  const struct net_services_ok services = {.serial = 1, .list = list, .count = 2};
  struct service_map map;
  (void)state;
  make_map(&map);
  assert_int_equal(verdicts_withdraw(&services, &map), 2);
  assert_true(service_map_find(&map, 2)->lost);
  assert_false(service_map_find(&map, 1)->lost);
  service_map_clean(&map);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_verdict_is_an_event),
      cmocka_unit_test(what_was_taken_over_is_withdrawn),
  };
  return cmocka_run_group_tests_name("verdicts", tests, NULL, NULL);
}
