/* test_agent.c: clients log in, publish their services, clash, leave and are lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

static void open_mode_ready_and_published(void **state) {
  struct world world;
  struct client client;
  (void)state;
  world_open(&world, NULL, 0, NULL);
  client_init(&client, &world, "tim", "laptop", "hello-world", "api", NULL);
  client_connect(&client);
  client_wait_ready(&client);
  assert_true(client.open_mode);
  assert_string_equal(client.ready.user, "tim");
  assert_string_equal(client.ready.client_name, "laptop");
  assert_int_equal(client_verdict(&client, "hello-world")->verdict, NET_SERVICE_OK);
  assert_string_equal(client_verdict(&client, "hello-world")->url, "http://hello-world.tim.localhost:8000");
  assert_int_equal(world_find(&world, "hello-world.tim"), REGISTRY_LIVE);
  assert_int_equal(world_find(&world, "api.tim"), REGISTRY_LIVE);
  client_clean(&client);
  world_close(&world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(open_mode_ready_and_published),
  };
  return cmocka_run_group_tests_name("agent", tests, NULL, NULL);
}
