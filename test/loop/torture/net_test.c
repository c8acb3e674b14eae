/* net_test.c: no memory in net/: messages, options of services, JSON documents, proxies and known servers. */
#include "each.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <sodium.h>

#include "dial.h"
#include "hello.h"
#include "identity.h"
#include "jsonfile.h"
#include "known_servers.h"
#include "log.h"
#include "loop.h"
#include "service.h"

#define HASH "$argon2id$v=19$m=65536,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"
#define OPTIONS                                                                                          \
  "{\"rewrite_host\":\"app.internal:8080\",\"headers\":{\"X-Team\":\"blue\",\"X-Debug\":null},"           \
  "\"response_headers\":{\"Server\":\"\"},\"basic_auth\":[\"tim:" HASH "\",\"ann:" HASH "\"],"            \
  "\"allow\":[\"10.0.0.0/8\",\"2001:db8::/32\"],\"domains\":[\"App.Example.org.\"],"                     \
  "\"upgrades\":[\"H2C\",\"foo/2\"],\"timeout\":0}"

static char error[NET_SENTENCE_MAX + 1];

/* ---- options of a service ---- */
static int options_round(void *arg) {
  struct net_service_options read, copy;
  int rc = -1;
  cJSON *object = cJSON_Parse(OPTIONS), *out = NULL;
  (void)arg;
  if (object == NULL) {
    return -1;
  }
  net_service_options_init(&copy);
  if (net_service_options_read(&read, object, error, sizeof error) == 0) {
    out = cJSON_CreateObject();
    if (out != NULL && net_service_options_write(&read, out) == 0 && net_service_options_copy(&copy, &read) == 0) {
      assert_true(net_service_options_equal(&copy, &read));
      rc = 0;
    }
    net_service_options_clean(&read);
  }
  net_service_options_clean(&copy);
  cJSON_Delete(out);
  cJSON_Delete(object);
  return rc;
}

static void options_of_a_service(void **state) {
  (void)state;
  each_allocation(options_round, NULL, 40);
}

/* ---- messages: what is encoded whole can be decoded, and what cannot be encoded is not half a message ---- */
static int hello_round(void *arg) {
  struct net_hello hello = {.version_min = 1, .version_max = 1, .epoch = 3, .open_credit = 65536, .max_streams = 10}, back;
  size_t size;
  int rc;
  (void)arg;
  strcpy(hello.software, "test/1");
  strcpy(hello.client_name, "lap\"top");
  char *text = net_hello_encode(&hello, &size);
  if (text == NULL) {
    return -1;
  }
  rc = net_hello_decode(&back, (const uint8_t *)text, size, error, sizeof error);
  if (rc == 0) {
    assert_string_equal(back.client_name, hello.client_name);
    assert_int_equal(back.epoch, 3);
  }
  net_message_free(text, size);
  return rc;
}

static int challenge_round(void *arg) {
  struct net_challenge challenge = {.version = 1, .open_mode = true, .software = "s"}, back;
  size_t size;
  int rc;
  (void)arg;
  char *text = net_challenge_encode(&challenge, &size);
  if (text == NULL) {
    return -1;
  }
  rc = net_challenge_decode(&back, (const uint8_t *)text, size, error, sizeof error);
  net_message_free(text, size);
  return rc;
}

static int auth_round(void *arg) {
  struct net_auth auth = {.method = NET_AUTH_TOKEN, .user = "tim", .replace = true}, back;
  size_t size;
  int rc;
  (void)arg;
  strcpy(auth.token, "a foreign token");
  char *text = net_auth_encode(&auth, &size);
  if (text == NULL) {
    return -1;
  }
  rc = net_auth_decode(&back, (const uint8_t *)text, size, error, sizeof error);
  if (rc == 0) {
    assert_string_equal(back.token, auth.token);
    net_auth_clean(&back);
  }
  net_message_free(text, size);
  return rc;
}

static int services_round(void *arg) {
  struct net_service list[3];
  struct net_services services = {.serial = 7, .list = list, .count = 3}, back;
  int rc = -1;
  size_t size, made = 0;
  char *text = NULL;
  (void)arg;
  cJSON *object = cJSON_Parse(OPTIONS);
  if (object == NULL) {
    return -1;
  }
  for (; made < 3; made++) {
    list[made].id = (uint32_t)made + 1;
    snprintf(list[made].name, sizeof list[made].name, "service-%zu", made);
    if (net_service_options_read(&list[made].options, object, error, sizeof error) != 0) {
      goto done;
    }
  }
  text = net_services_encode(&services, &size);
  if (text != NULL) {
    rc = net_services_decode(&back, (const uint8_t *)text, size, error, sizeof error);
  }
  if (rc == 0) {
    assert_int_equal(back.count, 3);
    assert_true(net_service_options_equal(&back.list[2].options, &list[2].options)); /* an option less would be a door open */
    net_services_clean(&back);
  }
done:
  if (text != NULL) {
    net_message_free(text, size);
  }
  while (made > 0) {
    net_service_options_clean(&list[--made].options);
  }
  cJSON_Delete(object);
  return rc;
}

static int ready_round(void *arg) {
  static struct net_service_verdict verdicts[2] = {{.id = 1, .url = "http://a.tim.localhost/"},
                                                   {.id = 2, .verdict = NET_SERVICE_REFUSED, .reason = "taken"}};
  struct net_ready ready = {.session = "1", .user = "tim", .client_name = "laptop", .open_credit = 65536, .max_streams = 10,
                            .heartbeat_ms = 5000, .services = {.serial = 7, .list = verdicts, .count = 2}};
  struct net_ready back;
  struct net_services_ok verdict_back;
  size_t size;
  int rc;
  (void)arg;
  char *text = net_ready_encode(&ready, &size);
  if (text == NULL) {
    return -1;
  }
  rc = net_ready_decode(&back, (const uint8_t *)text, size, error, sizeof error);
  net_message_free(text, size);
  if (rc != 0) {
    return rc;
  }
  assert_int_equal(back.services.count, 2);
  assert_int_equal(back.services.list[1].verdict, NET_SERVICE_REFUSED);
  net_ready_clean(&back);
  text = net_services_ok_encode(&ready.services, &size);
  if (text == NULL) {
    return -1;
  }
  rc = net_services_ok_decode(&verdict_back, (const uint8_t *)text, size, error, sizeof error);
  net_message_free(text, size);
  if (rc == 0) {
    net_services_ok_clean(&verdict_back);
  }
  return rc;
}

static void messages(void **state) {
  (void)state;
  each_allocation(hello_round, NULL, 10);
  each_allocation(challenge_round, NULL, 6);
  each_allocation(auth_round, NULL, 6);
  each_allocation(services_round, NULL, 100);
  each_allocation(ready_round, NULL, 30);
}

/* ---- documents ---- */
static int document(void *arg) {
  static const char text[] = "{\n\"port\": 80,\n\"list\": [1, \"two\", {\"three\": 3}],\n\"wrong\": \"x\"\n}";
  struct net_json *json;
  int64_t port = 0, wrong;
  int rc = net_json_parse(&json, "server.json", text, sizeof text - 1);
  (void)arg;
  if (rc == 0) {
    const cJSON *list;
    const int found = net_json_int(json, net_json_root(json), "port", 0, 65535, &port);
    assert_true(found == 1 || found == -1); /* never "missing" */
    rc = found == 1 ? 0 : -1;
    assert_int_equal(port, found == 1 ? 80 : 0);
    assert_int_equal(net_json_array(json, net_json_root(json), "list", &list), 1);
    assert_int_equal(net_json_int(json, net_json_root(json), "wrong", 0, 1, &wrong), -1);
    assert_string_not_equal(net_json_error(json), "");
    assert_int_equal(net_json_finish(json, net_json_root(json)), -1);
  }
  net_json_free(json);
  return rc;
}

static void documents(void **state) {
  (void)state;
  each_allocation(document, NULL, 15);
}

/* ---- the rest of what is read before a link is up ---- */
static int proxy(void *arg) {
  struct net_proxy out;
  int rc = net_proxy_parse(&out, "http://tim:s%20ecret@proxy.example:3128", NULL, NULL, error, sizeof error);
  (void)arg;
  if (rc == 0) {
    assert_string_equal(out.password, "s ecret");
    net_proxy_clean(&out);
    rc = net_proxy_parse(&out, "proxy.example:3128", "sue", "pass", error, sizeof error);
  }
  if (rc == 0) {
    assert_string_equal(out.user, "sue");
    net_proxy_clean(&out);
  }
  return rc;
}

static int known_servers(void *arg) {
  const char *path = arg;
  static const uint8_t key[NET_FINGERPRINT_SIZE] = {1};
  unsigned line;
  int rc = net_known_add(path, "a.example", 8001, key);
  const enum net_known known = rc == 0 ? net_known_lookup(path, "a.example", 8001, key, &line, error, sizeof error) : NET_KNOWN_ERROR;
  assert_true(known == NET_KNOWN_MATCH || known == NET_KNOWN_ERROR);
  unlink(path);
  return known == NET_KNOWN_MATCH ? 0 : -1;
}

static int loop(void *arg) {
  struct net_loop made;
  int rc = net_loop_init(&made, NULL, NULL, NULL);
  (void)arg;
  if (rc == 0) {
    net_loop_clean(&made);
  }
  return rc;
}

static int log_line(void *arg) {
  struct net_log *log = net_log_new(&(struct net_log_config){.fd = 2, .quiet = true});
  (void)arg;
  net_log_write(log, NET_LOG_ERROR, NULL, "not seen");
  net_log_free(log);
  return log != NULL ? 0 : -1;
}

static void what_a_start_reads(void **state) {
  char directory[] = "/tmp/mdm-torture-XXXXXX", path[64];
  (void)state;
  assert_non_null(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/known", directory);
  each_allocation(proxy, NULL, 4);
  each_allocation(known_servers, path, 2);
  each_allocation(loop, NULL, 2);
  each_allocation(log_line, NULL, 1);
  assert_int_equal(rmdir(directory), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(options_of_a_service),
      cmocka_unit_test(messages),
      cmocka_unit_test(documents),
      cmocka_unit_test(what_a_start_reads),
  };
  failing_init();
  return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
