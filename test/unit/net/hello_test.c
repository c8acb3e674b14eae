/* hello_test.c: handshake messages there and back, hostile JSON, tokens, versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sodium.h>

#include "hello.h"
#include "tls.h"

#define INSTANCE    "AAECAwQFBgcICQoLDA0ODw"
#define HELLO_START "{\"version_min\":1,\"version_max\":1,\"client_name\":\"laptop\",\"instance\":\"" INSTANCE "\""

static void hello_there_and_back(void **state) {
  (void)state;
  struct net_hello in = {.version_min = 1,
                         .version_max = 3,
                         .name_explicit = true,
                         .epoch = 9007199254740991u,
                         .open_credit = 65536,
                         .max_streams = 100,
                         .resume = true,
                         .software = "mdm-tunnel/0.1.0",
                         .client_name = "tim's \"laptop\" \xc3\xa4"};
  for (size_t i = 0; i < sizeof in.instance; i++) {
    in.instance[i] = (uint8_t)(255 - i);
  }
  size_t size;
  char *text = net_hello_encode(&in, &size), error[256] = "";
  assert_non_null(text);
  struct net_hello out;
  assert_int_equal(net_hello_decode(&out, (const uint8_t *)text, size, error, sizeof error), 0);
  assert_int_equal(out.version_max, 3);
  assert_true(out.name_explicit && out.resume);
  assert_true(out.epoch == in.epoch);
  assert_int_equal(out.max_streams, 100);
  assert_string_equal(out.software, in.software);
  assert_string_equal(out.client_name, in.client_name);
  assert_memory_equal(out.instance, in.instance, sizeof in.instance);
  net_message_free(text, size);
}

static void challenge_there_and_back(void **state) {
  (void)state;
  struct net_challenge in = {.version = 1, .open_mode = true, .software = "x"}, out;
  randombytes_buf(in.nonce, sizeof in.nonce);
  size_t size;
  char *text = net_challenge_encode(&in, &size), error[256] = "";
  assert_int_equal(net_challenge_decode(&out, (const uint8_t *)text, size, error, sizeof error), 0);
  assert_memory_equal(out.nonce, in.nonce, sizeof in.nonce);
  assert_true(out.open_mode);
  assert_int_equal(out.version, 1);
  net_message_free(text, size);
}

static void auth_there_and_back(void **state) {
  (void)state;
  static const enum net_auth_method methods[] = {NET_AUTH_NONE, NET_AUTH_TOKEN, NET_AUTH_KEY};
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    struct net_auth in = {.method = methods[i], .user = "tim", .replace = true}, out;
    memset(in.token, methods[i] == NET_AUTH_TOKEN ? '"' : 0,
           sizeof in.token - 1); /* every byte is escaped: the longest text */
    memset(in.public_key, 7, sizeof in.public_key);
    memset(in.signature, 9, sizeof in.signature);
    size_t size;
    char *text = net_auth_encode(&in, &size), error[256] = "";
    assert_non_null(text);
    assert_int_equal(net_auth_decode(&out, (const uint8_t *)text, size, error, sizeof error), 0);
    assert_int_equal(out.method, methods[i]);
    assert_string_equal(out.user, "tim");
    assert_true(out.replace);
    if (methods[i] == NET_AUTH_TOKEN) {
      assert_string_equal(out.token, in.token);
    }
    if (methods[i] == NET_AUTH_KEY) {
      assert_memory_equal(out.public_key, in.public_key, sizeof in.public_key);
      assert_memory_equal(out.signature, in.signature, sizeof in.signature);
    }
    net_message_free(text, size);
    net_auth_clean(&out);
    assert_int_equal(out.token[0], 0);
  }
}

static void services_there_and_back(void **state) {
  (void)state;
  struct net_service list[2] = {{.name = "hello-world", .id = 1}, {.name = "Any Thing", .id = 7}};
  net_service_options_init(&list[0].options);
  net_service_options_init(&list[1].options);
  list[1].options.timeout_s = 5;
  struct net_services in = {.serial = 3, .list = list, .count = 2}, out;
  size_t size;
  char *text = net_services_encode(&in, &size), error[256] = "";
  assert_int_equal(net_services_decode(&out, (const uint8_t *)text, size, error, sizeof error), 0);
  assert_int_equal(out.count, 2);
  assert_true(out.serial == 3);
  assert_string_equal(out.list[1].name, "Any Thing");
  assert_int_equal(out.list[1].id, 7);
  assert_true(net_service_options_equal(&out.list[1].options, &list[1].options));
  net_services_clean(&out);
  net_message_free(text, size);
}

static void ready_there_and_back(void **state) {
  (void)state;
  struct net_service_verdict list[3] = {
      {.id = 1, .verdict = NET_SERVICE_OK, .url = "http://hello.tim.localhost:8000/"},
      {.id = 2, .verdict = NET_SERVICE_NO_WEB, .reason = "\"Any Thing\" is no label"},
      {.id = 3, .verdict = NET_SERVICE_REFUSED, .reason = "taken by laptop since 10:00"}};
  struct net_ready in = {.session = "s1",
                         .user = "tim",
                         .client_name = "laptop-2",
                         .open_credit = 1,
                         .max_streams = 2,
                         .heartbeat_ms = 5000,
                         .services = {.serial = 9, .list = list, .count = 3}},
                   out;
  size_t size;
  char *text = net_ready_encode(&in, &size), error[256] = "";
  assert_int_equal(net_ready_decode(&out, (const uint8_t *)text, size, error, sizeof error), 0);
  assert_string_equal(out.client_name, "laptop-2");
  assert_int_equal(out.open_credit, 1);
  assert_int_equal(out.services.count, 3);
  assert_int_equal(out.services.list[1].verdict, NET_SERVICE_NO_WEB);
  assert_string_equal(out.services.list[2].reason, list[2].reason);
  assert_string_equal(out.services.list[0].url, list[0].url);
  net_ready_clean(&out);
  net_message_free(text, size);
  text = net_services_ok_encode(&in.services, &size);
  struct net_services_ok ok;
  assert_int_equal(net_services_ok_decode(&ok, (const uint8_t *)text, size, error, sizeof error), 0);
  assert_int_equal(ok.count, 3);
  net_services_ok_clean(&ok);
  net_message_free(text, size);
}

static int decode_hello(const uint8_t *data, size_t size, char *error, size_t error_size) {
  struct net_hello m;
  return net_hello_decode(&m, data, size, error, error_size);
}
static int decode_challenge(const uint8_t *data, size_t size, char *error, size_t error_size) {
  struct net_challenge m;
  return net_challenge_decode(&m, data, size, error, error_size);
}
static int decode_auth(const uint8_t *data, size_t size, char *error, size_t error_size) {
  struct net_auth m;
  int result = net_auth_decode(&m, data, size, error, error_size);
  net_auth_clean(&m);
  return result;
}
static int decode_services(const uint8_t *data, size_t size, char *error, size_t error_size) {
  struct net_services m;
  int result = net_services_decode(&m, data, size, error, error_size);
  net_services_clean(&m);
  return result;
}
static int decode_ready(const uint8_t *data, size_t size, char *error, size_t error_size) {
  struct net_ready m;
  int result = net_ready_decode(&m, data, size, error, error_size);
  net_ready_clean(&m);
  return result;
}

typedef int (*decoder)(const uint8_t *data, size_t size, char *error, size_t error_size);

static void hostile_messages_are_refused(void **state) {
  (void)state;
  static const struct {
    decoder decode;
    const char *json, *says;
  } table[] = {
      {decode_hello, "", "empty"},
      {decode_hello, "null", "object"},
      {decode_hello, "[]", "object"},
      {decode_hello, "{", "object"},
      {decode_hello, "{}{}", "object"},
      {decode_hello, "{\"a\":[[[[[[[[[[[[]]]]]]]]]]]]}", "deep"},
      {decode_hello, "{\"a\":\"\\u0000\"}", "NUL"},
      {decode_hello, "{\"a\":\"\xff\"}", "UTF-8"},
      {decode_hello, "{\"a\":\"\\ud800\"}", "object"},
      {decode_hello, HELLO_START "}", "epoch"},
      {decode_hello, HELLO_START ",\"epoch\":-1}", "epoch"},
      {decode_hello, HELLO_START ",\"epoch\":1.5}", "epoch"},
      {decode_hello, HELLO_START ",\"epoch\":9007199254740993}", NULL},
      {decode_hello, HELLO_START ",\"epoch\":1e400}", "epoch"},
      {decode_hello, HELLO_START ",\"epoch\":\"1\"}", "epoch"},
      {decode_hello, HELLO_START ",\"epoch\":1,\"name_explicit\":1}", "name_explicit"},
      {decode_hello, HELLO_START ",\"epoch\":1,\"open_credit\":2147483648}", "open_credit"},
      {decode_hello, HELLO_START ",\"epoch\":1,\"features\":\"resume\"}", "features"},
      {decode_hello, HELLO_START ",\"epoch\":1,\"features\":[1]}", "features"},
      {decode_hello, HELLO_START ",\"epoch\":1,\"software\":\"a\\nb\"}", "software"},
      {decode_hello, "{\"version_min\":2,\"version_max\":1}", "version_max"},
      {decode_hello, "{\"version_min\":0,\"version_max\":1}", "version_min"},
      {decode_hello, "{\"version_min\":1,\"version_max\":1,\"client_name\":\"a\",\"instance\":\"AAEC\",\"epoch\":1}",
       "instance"},
      {decode_hello,
       "{\"version_min\":1,\"version_max\":1,\"client_name\":\"a\",\"instance\":\"" INSTANCE "==\",\"epoch\":1}",
       "instance"},
      {decode_hello, "{\"version_min\":1,\"version_max\":1,\"client_name\":\"a\",\"instance\":7,\"epoch\":1}",
       "instance"},
      {decode_challenge, "{\"version\":1}", "nonce"},
      {decode_auth, "{\"user\":\"tim\"}", "method"},
      {decode_auth, "{\"method\":\"password\"}", "method"},
      {decode_auth, "{\"method\":\"token\"}", "token"},
      {decode_auth, "{\"method\":\"token\",\"token\":\"a\\tb\"}", "token"},
      {decode_auth, "{\"method\":\"key\",\"public_key\":\"\",\"signature\":\"\"}", "public_key"},
      {decode_services, "{\"list\":[]}", "serial"},
      {decode_services, "{\"serial\":1,\"list\":{}}", "list"},
      {decode_services, "{\"serial\":1,\"list\":[1]}", "list"},
      {decode_services, "{\"serial\":1,\"list\":[{\"id\":0,\"name\":\"a\"}]}", "id"},
      {decode_services, "{\"serial\":1,\"list\":[{\"id\":1}]}", "name"},
      {decode_services, "{\"serial\":1,\"list\":[{\"id\":1,\"name\":\"\"}]}", "empty"},
      {decode_services, "{\"serial\":1,\"list\":[{\"id\":1,\"name\":\"a\"},{\"id\":1,\"name\":\"b\"}]}", "twice"},
      {decode_services, "{\"serial\":1,\"list\":[{\"id\":1,\"name\":\"a\"},{\"id\":2,\"name\":\"a\"}]}", "twice"},
      {decode_services, "{\"serial\":1,\"list\":[{\"id\":1,\"name\":\"a\",\"timeout\":-1}]}", "timeout"},
      {decode_services, "{\"serial\":1,\"list\":[{\"id\":1,\"name\":\"a\",\"rewrite_host\":true}]}", "rewrite_host"},
      {decode_services, "{\"serial\":1}", "list"},
      {decode_ready, "{\"session\":\"s\"}", "user"},
      {decode_ready, "{\"session\":\"s\",\"user\":\"u\"}", "client_name"},
      {decode_ready, "{\"session\":\"s\",\"user\":\"u\",\"client_name\":\"c\"}", "services"},
      {decode_ready, "{\"session\":\"s\",\"user\":\"u\",\"client_name\":\"c\",\"services\":[]}", "services"},
      {decode_ready,
       "{\"session\":\"s\",\"user\":\"u\",\"client_name\":\"c\",\"services\":{\"serial\":1,\"list\":[{\"id\":1,"
       "\"verdict\":\"maybe\"}]}}",
       "verdict"},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    char error[512] = "";
    int result = table[i].decode((const uint8_t *)table[i].json, strlen(table[i].json), error, sizeof error);
    if (table[i].says != NULL && (result != -1 || strstr(error, table[i].says) == NULL)) {
      fail_msg("%s: %d \"%s\" does not say %s", table[i].json, result, error, table[i].says);
    }
  }
  assert_int_equal(decode_hello((const uint8_t *)"{\"a\":\"\0\"}", 9, NULL, 0), -1);
}

static void every_cut_of_a_message_is_refused(void **state) {
  (void)state;
  static const char whole[] = HELLO_START ",\"epoch\":1,\"features\":[\"resume\",\"later\"],\"new\":{\"key\":[1,2]}}";
  for (size_t size = 0; size < sizeof whole - 1; size++) {
    uint8_t *cut = malloc(size + 1); /* exact memory, so that reading past it is caught */
    memcpy(cut, whole, size);
    assert_int_equal(decode_hello(cut, size, NULL, 0), -1);
    free(cut);
  }
  assert_int_equal(decode_hello((const uint8_t *)whole, sizeof whole - 1, NULL, 0), 0);
}

static void too_many_services_are_refused(void **state) {
  (void)state;
  for (unsigned extra = 0; extra < 2; extra++) {
    size_t capacity = 64 * (NET_SERVICES_MAX + 2), size;
    char *text = malloc(capacity);
    size = (size_t)snprintf(text, capacity, "{\"serial\":1,\"list\":[");
    for (unsigned i = 0; i < NET_SERVICES_MAX + extra; i++) {
      size +=
          (size_t)snprintf(text + size, capacity - size, "%s{\"id\":%u,\"name\":\"s%u\"}", i > 0 ? "," : "", i + 1, i);
    }
    size += (size_t)snprintf(text + size, capacity - size, "]}");
    assert_int_equal(decode_services((const uint8_t *)text, size, NULL, 0), -(int)extra);
    free(text);
  }
}

static void a_text_over_its_length_is_refused(void **state) {
  (void)state;
  for (size_t length = NET_TEXT_MAX; length <= NET_TEXT_MAX + 1; length++) {
    char name[NET_TEXT_MAX + 2], text[1024];
    memset(name, 'n', length);
    int size = snprintf(text, sizeof text, "{\"method\":\"none\",\"user\":\"%.*s\"}", (int)length, name);
    assert_int_equal(decode_auth((const uint8_t *)text, (size_t)size, NULL, 0), length > NET_TEXT_MAX ? -1 : 0);
  }
}

static void the_highest_common_version_is_chosen(void **state) {
  (void)state;
  static const struct {
    uint32_t min, max, chosen;
  } table[] = {{1, 1, 1},
               {1, 9, NET_PROTOCOL_MAX},
               {2, 9, NET_PROTOCOL_MAX >= 2 ? NET_PROTOCOL_MAX : 0},
               {1, 4294967295u, NET_PROTOCOL_MAX}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    struct net_hello m = {.version_min = table[i].min, .version_max = table[i].max};
    assert_int_equal(net_version_choose(&m), table[i].chosen);
  }
}

static void token_there_and_back(void **state) {
  (void)state;
  uint8_t print[32], secret[NET_TOKEN_SECRET_SIZE], other[NET_TOKEN_SECRET_SIZE], found[32];
  char token[NET_TEXT_MAX + 1], again[NET_TEXT_MAX + 1];
  bool has;
  randombytes_buf(print, sizeof print);
  assert_int_equal(net_token_make(token, print), 0);
  assert_int_equal(net_token_make(again, print), 0);
  assert_string_not_equal(token, again);
  assert_int_equal(net_token_parse(token, secret, found, &has), 0);
  assert_true(has);
  assert_memory_equal(found, print, sizeof print);
  assert_int_equal(net_token_parse(again, other, found, &has), 0);
  assert_memory_not_equal(secret, other, sizeof secret);
  for (size_t size = 5; size < strlen(token); size++) {
    memcpy(again, token, size);
    again[size] = '\0';
    assert_int_equal(net_token_parse(again, secret, found, &has), UV_EINVAL);
    assert_false(has);
  }
  assert_int_equal(net_token_parse("a foreign token", secret, found, &has), 0);
  assert_false(has);
}

static void a_key_signs_nonce_and_exporter(void **state) {
  (void)state;
  uint8_t nonce[NET_NONCE_SIZE], exporter[32], text[NET_AUTH_SIGNED_SIZE], again[NET_AUTH_SIGNED_SIZE];
  memset(nonce, 1, sizeof nonce);
  memset(exporter, 2, sizeof exporter);
  net_auth_signed_text(text, nonce, exporter);
  assert_memory_equal(text, "mdm-mux auth v1", 15);
  exporter[31] ^= 1;
  net_auth_signed_text(again, nonce, exporter);
  assert_memory_not_equal(text, again, sizeof text);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(hello_there_and_back),
      cmocka_unit_test(challenge_there_and_back),
      cmocka_unit_test(auth_there_and_back),
      cmocka_unit_test(services_there_and_back),
      cmocka_unit_test(ready_there_and_back),
      cmocka_unit_test(hostile_messages_are_refused),
      cmocka_unit_test(every_cut_of_a_message_is_refused),
      cmocka_unit_test(too_many_services_are_refused),
      cmocka_unit_test(a_text_over_its_length_is_refused),
      cmocka_unit_test(the_highest_common_version_is_chosen),
      cmocka_unit_test(token_there_and_back),
      cmocka_unit_test(a_key_signs_nonce_and_exporter),
  };
  return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
