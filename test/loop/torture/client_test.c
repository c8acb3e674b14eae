/* client_test.c: no memory in client/: the service map, its take-over, options and credentials. */
#include "each.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "credentials.h"
#include "mdm/client.h"
#include "options.h"
#include "services.h"

#define MAP                                                                                                          \
  "{\"hello\": 3000, \"shop\": {\"host\": \"shop.internal\", \"port\": 9000, \"tls\": true, \"rewrite_host\": true," \
  " \"headers\": {\"X\": \"1\"}, \"allow\": [\"10.0.0.0/8\"], \"domains\": [\"a.example.org\"]},"                    \
  " \"sock\": {\"unix\": \"/run/x\"}}"

static char error[1024];

static int map_round(void *arg) {
  struct service_map map, old;
  uint32_t next_id = 1;
  (void)arg;
  service_map_init(&map);
  service_map_init(&old);
  int rc = service_map_parse(&old, "map.json", MAP, sizeof MAP - 1, error, sizeof error);
  if (rc == 0) {
    struct service_map none;
    service_map_init(&none);
    service_map_adopt(&old, &none, &next_id);
    rc = service_map_parse(&map, "map.json", MAP, sizeof MAP - 1, error, sizeof error);
  }
  if (rc == 0)
    rc = service_map_argument(&map, "extra=127.0.0.1:80", "/home/tim/app", error, sizeof error);
  if (rc == 0)
    rc = service_map_argument(&map, "4000", "/home/tim/app", error, sizeof error);
  if (rc == 0) {
    service_map_adopt(&map, &old, &next_id);
    assert_int_equal(map.count, 5);
    assert_int_equal(service_map_find_name(&map, "shop")->service.id, service_map_find_name(&old, "shop")->service.id);
  }
  service_map_clean(&map);
  service_map_clean(&old);
  return rc;
}

static void a_service_map(void **state) {
  (void)state;
  each_allocation(map_round, NULL, 60);
}

static const char *environment(const char *name) {
  return strcmp(name, "MDM_TUNNEL_NAME") == 0 ? "laptop" : NULL;
}

static int options_round(void *arg) {
  char words[][32] = {"mdm-tunnel-client", "-h", "tunnel.example", "-u", "tim", "--token", "abcdef", "hello=3000"}, *argv[9] = {0};
  struct options options;
  (void)arg;
  for (size_t i = 0; i < 8; i++)
    argv[i] = words[i];
  options_init(&options);
  int rc = options_read_arguments(&options, 8, argv, error, sizeof error);
  if (rc == 0)
    rc = options_read_environment(&options, environment, error, sizeof error);
  if (rc == 0) {
    assert_string_equal(options.user, "tim");
    assert_string_equal(options.name, "laptop");
    assert_int_equal(options.services_count, 1);
  }
  options_clean(&options);
  return rc;
}

static void options_of_the_program(void **state) {
  (void)state;
  each_allocation(options_round, NULL, 4);
}

static int credentials_round(void *arg) {
  const char *path = arg;
  struct credentials in = {.user = "tim", .token = "a-token-of-sixteen-or-more"}, out = {0};
  int rc = credentials_save(&in, path, "a.example:8001", error, sizeof error);
  if (rc == 0)
    rc = credentials_save(&in, path, "b.example:8001", error, sizeof error);
  if (rc == 0)
    rc = credentials_load(&out, path, "a.example:8001", error, sizeof error) == 1 ? 0 : -1;
  if (rc == 0)
    assert_string_equal(out.token, in.token);
  credentials_clean(&out);
  unlink(path);
  return rc;
}

static void kept_credentials(void **state) {
  char directory[] = "/tmp/mdm-torture-XXXXXX", path[64];
  (void)state;
  assert_non_null(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/credentials.json", directory);
  each_allocation(credentials_round, path, 30);
  assert_int_equal(rmdir(directory), 0);
}

static int client_round(void *arg) {
  struct mdm_client_options options;
  mdm_client *client;
  mdm_client_options_init(&options);
  options.host = "tunnel.example,ws://other.example/path";
  options.proxy_url = "http://a:b@proxy.example:3128";
  options.fingerprint = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
  options.known_servers = arg;
  options.token = "a-token-of-sixteen-or-more";
  options.services = (const char *const[]){"hello=3000", "other=4000"};
  options.services_count = 2;
  enum mdm_client_status status = mdm_client_new(&client, &options, error, sizeof error);
  if (status != MDM_CLIENT_OK)
    assert_null(client);
  mdm_client_close(client, NULL, NULL);
  return (int)status;
}

static void a_client_that_never_starts(void **state) {
  (void)state;
  each_allocation(client_round, "/nonexistent/file", 15);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_service_map),
      cmocka_unit_test(options_of_the_program),
      cmocka_unit_test(kept_credentials),
      cmocka_unit_test(a_client_that_never_starts),
  };
  failing_init();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
