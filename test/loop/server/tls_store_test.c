/* tls_store_test.c: which certificate a visitor and a client are shown, and what happens to it when the files change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conn.h"
#include "identity.h"
#include "tls_store.h"

#define WAIT_MS 8000u
#define PATH_SIZE 256

struct print {
  uint8_t bytes[NET_FINGERPRINT_SIZE];
};
struct place {
  struct net_loop loop;
  char dir[PATH_SIZE];
  struct net_tls_context *client;
};

/* ---- certificates ---- */
static EVP_PKEY *key_new(struct print *print) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  uint8_t *der = NULL;
  int size = i2d_PUBKEY(key, &der);
  assert_int_equal(EVP_Digest(der, (size_t)size, print->bytes, NULL, EVP_sha256(), NULL), 1);
  OPENSSL_free(der);
  return key;
}

static X509 *certificate_new(EVP_PKEY *key, const char *names) {
  X509 *x = X509_new();
  X509V3_CTX context;
  ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
  X509_gmtime_adj(X509_getm_notBefore(x), -60);
  X509_gmtime_adj(X509_getm_notAfter(x), 3600);
  X509_set_version(x, 2);
  X509_set_pubkey(x, key);
  X509V3_set_ctx(&context, x, x, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, names);
  assert_non_null(extension);
  X509_add_ext(x, extension, -1);
  X509_EXTENSION_free(extension);
  assert_true(X509_sign(x, key, EVP_sha256()) > 0);
  return x;
}

static FILE *open_in(const struct place *place, const char *name) {
  char path[2 * PATH_SIZE];
  snprintf(path, sizeof path, "%s/%s", place->dir, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  return file;
}

/* `crt` and `key` may be the same file. */
static struct print write_pair(const struct place *place, const char *crt, const char *key, const char *names) {
  struct print print;
  EVP_PKEY *pkey = key_new(&print);
  X509 *x = certificate_new(pkey, names);
  FILE *file = open_in(place, crt);
  PEM_write_X509(file, x);
  if (strcmp(crt, key) != 0) {
    fclose(file);
    file = open_in(place, key);
  }
  PEM_write_PrivateKey(file, pkey, NULL, NULL, 0, NULL, NULL);
  fclose(file);
  X509_free(x);
  EVP_PKEY_free(pkey);
  return print;
}

/* ---- the place ---- */
static int set_up(void **state) {
  struct place *place = calloc(1, sizeof *place);
  char error[256];
  snprintf(place->dir, sizeof place->dir, "/tmp/mdm-tls-store-XXXXXX");
  assert_non_null(mkdtemp(place->dir));
  assert_int_equal(net_loop_init(&place->loop, NULL, NULL, NULL), 0);
  assert_int_equal(net_tls_web_client(&place->client, false, NULL, error, sizeof error), 0);
  *state = place;
  return 0;
}

static void remove_tree(const char *dir) {
  char path[2 * PATH_SIZE];
  static const char *const names[] = {"a.crt", "a.key", "b.crt", "b.key", "c.pem", "state/link.key", "state/link.crt", "state", "live/d.example/fullchain.pem",
                                      "live/d.example/privkey.pem", "live/d.example", "live"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(path, sizeof path, "%s/%s", dir, names[i]);
    remove(path);
  }
  assert_int_equal(rmdir(dir), 0);
}

static int tear_down(void **state) {
  struct place *place = *state;
  net_tls_context_unref(place->client);
  net_loop_clean(&place->loop);
  remove_tree(place->dir);
  free(place);
  return 0;
}

static struct tls_store *store_open(struct place *place, const struct net_identity *link) {
  struct tls_store *store = NULL;
  char error[1024] = "";
  const struct tls_store_options options = {.dir = place->dir, .link = link};
  if (tls_store_open(&store, &place->loop, &options, error, sizeof error) != 0)
    fail_msg("%s", error);
  return store;
}

/* ---- a handshake over a socket pair ---- */
struct meeting {
  struct net_conn *client, *server;
  bool client_gone, server_gone;
};

static void drive(struct net_conn *conn) {
  uint8_t byte;
  (void)net_conn_read(conn, &byte, 1);
}

static void meeting_gone(struct net_conn *conn) {
  struct meeting *meeting = net_conn_owner(conn);
  if (conn == meeting->client)
    meeting->client_gone = true;
  else
    meeting->server_gone = true;
}

static const struct net_conn_ops meeting_ops = {.readable = drive, .writable = drive, .closed = meeting_gone};

static void on_late(uv_timer_t *timer) {
  *(bool *)timer->data = true;
}

static void until(struct place *place, bool (*done)(void *arg), void *arg, uint32_t ms) {
  uv_timer_t timer;
  bool late = false;
  uv_timer_init(place->loop.uv, &timer);
  timer.data = &late;
  uv_timer_start(&timer, on_late, ms, 0);
  while (!late && !done(arg))
    uv_run(place->loop.uv, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(place->loop.uv, UV_RUN_NOWAIT);
  if (late)
    fail_msg("what the test waits for did not come");
}

static bool met(void *arg) {
  const struct meeting *meeting = arg;
  return (net_tls_established(meeting->client) && net_tls_established(meeting->server)) || net_tls_error(meeting->client)[0] != '\0';
}

static bool parted(void *arg) {
  const struct meeting *meeting = arg;
  return meeting->client_gone && meeting->server_gone;
}

static void meet(struct place *place, struct tls_store *store, struct meeting *meeting, const char *server_name, const char *alpn) {
  static const struct net_tls_options accepting = {.server = true};
  const struct net_tls_options asking = {.server_name = server_name, .alpn = alpn};
  int fds[2];
  *meeting = (struct meeting){0};
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  assert_int_equal(net_conn_open(&meeting->client, &place->loop, fds[0], &meeting_ops, meeting), 0);
  assert_int_equal(net_conn_open(&meeting->server, &place->loop, fds[1], &meeting_ops, meeting), 0);
  assert_int_equal(net_tls_push(meeting->client, place->client, &asking), 0);
  assert_int_equal(net_tls_push(meeting->server, tls_store_context(store), &accepting), 0);
  drive(meeting->client);
  drive(meeting->server);
  until(place, met, meeting, WAIT_MS);
}

static void part(struct place *place, struct meeting *meeting) {
  net_conn_close(meeting->client, false);
  net_conn_close(meeting->server, false);
  until(place, parted, meeting, WAIT_MS);
}

static struct print shown(struct place *place, struct tls_store *store, const char *server_name, const char *alpn) {
  struct meeting meeting;
  struct print print;
  meet(place, store, &meeting, server_name, alpn);
  if (!net_tls_established(meeting.client))
    fail_msg("%s: %s", server_name, net_tls_error(meeting.client));
  assert_int_equal(net_tls_peer_fingerprint(meeting.client, print.bytes), 0);
  part(place, &meeting);
  return print;
}

static bool same(struct print a, struct print b) {
  return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

/* ---- tests ---- */
static void test_certificate_by_server_name(void **state) {
  struct place *place = *state;
  char path[2 * PATH_SIZE];
  struct print a = write_pair(place, "a.crt", "a.key", "DNS:a.example,DNS:www.a.example");
  struct print b = write_pair(place, "b.crt", "b.key", "DNS:*.b.example,DNS:special.a.example");
  struct print c = write_pair(place, "c.pem", "c.pem", "DNS:c.example,DNS:x.b.example");
  snprintf(path, sizeof path, "%s/live", place->dir);
  assert_int_equal(mkdir(path, 0700), 0);
  snprintf(path, sizeof path, "%s/live/d.example", place->dir);
  assert_int_equal(mkdir(path, 0700), 0);
  struct print d = write_pair(place, "live/d.example/fullchain.pem", "live/d.example/privkey.pem", "DNS:d.example");
  struct tls_store *store = store_open(place, NULL);
  assert_int_equal(tls_store_count(store), 4);
  assert_true(same(shown(place, store, "a.example", NULL), a));
  assert_true(same(shown(place, store, "WWW.A.example", "http/1.1"), a));
  assert_true(same(shown(place, store, "one.b.example", NULL), b));
  assert_true(same(shown(place, store, "special.a.example", NULL), b));
  assert_true(same(shown(place, store, "x.b.example", NULL), c)); /* the exact name before the wildcard */
  assert_true(same(shown(place, store, "c.example", NULL), c));
  assert_true(same(shown(place, store, "d.example", NULL), d));
  assert_true(same(shown(place, store, "two.labels.b.example", NULL), a)); /* nobody's: the first */
  assert_true(same(shown(place, store, NULL, NULL), a));
  tls_store_close(store);
}

static void test_requests_under_another_certificate(void **state) {
  struct place *place = *state;
  write_pair(place, "a.crt", "a.key", "DNS:a.example,DNS:*.a.example");
  write_pair(place, "b.crt", "b.key", "DNS:b.example,DNS:shared.a.example");
  struct tls_store *store = store_open(place, NULL);
  assert_true(tls_store_same_certificate(store, "a.example", "a.example"));
  assert_true(tls_store_same_certificate(store, "a.example", "x.a.example"));
  assert_true(tls_store_same_certificate(store, "x.a.example", "y.a.example"));
  assert_true(tls_store_same_certificate(store, "x.a.example", "shared.a.example")); /* the wildcard that was shown covers it too */
  assert_false(tls_store_same_certificate(store, "a.example", "b.example"));
  assert_false(tls_store_same_certificate(store, "b.example", "a.example"));
  assert_true(tls_store_same_certificate(store, NULL, "a.example"));
  assert_false(tls_store_same_certificate(store, NULL, "b.example"));
  assert_true(tls_store_same_certificate(store, NULL, "nobody.example")); /* both are answered with the first */
  assert_false(tls_store_same_certificate(store, "b.example", "nobody.example"));
  tls_store_close(store);
}

static void test_link_certificate_by_alpn_whatever_the_name(void **state) {
  struct place *place = *state;
  struct net_identity link;
  struct print print;
  char path[2 * PATH_SIZE], error[256];
  struct print a = write_pair(place, "a.crt", "a.key", "DNS:a.example");
  snprintf(path, sizeof path, "%s/state", place->dir);
  assert_int_equal(net_identity_load(&link, path, NULL, error, sizeof error), 0);
  memcpy(print.bytes, link.fingerprint, sizeof print.bytes);
  struct tls_store *store = store_open(place, &link);
  assert_true(same(shown(place, store, "a.example", NET_ALPN_LINK), print));
  assert_true(same(shown(place, store, NULL, NET_ALPN_LINK), print));
  assert_true(same(shown(place, store, "a.example", "http/1.1"), a));
  tls_store_close(store);
  net_identity_clean(&link);
}

static void test_without_link_identity_its_protocol_is_refused(void **state) {
  struct place *place = *state;
  struct meeting meeting;
  write_pair(place, "a.crt", "a.key", "DNS:a.example");
  struct tls_store *store = store_open(place, NULL);
  meet(place, store, &meeting, "a.example", NET_ALPN_LINK);
  assert_false(net_tls_established(meeting.client));
  part(place, &meeting);
  tls_store_close(store);
}

static uint64_t reloads_wanted;
static bool reloaded(void *arg) {
  return tls_store_reloads(arg) >= reloads_wanted;
}

static void test_changed_files_are_loaded_and_connections_stay(void **state) {
  struct place *place = *state;
  struct meeting old;
  uint8_t byte = 'x', got = 0;
  struct mdm_slice slice = {&byte, 1};
  struct print first = write_pair(place, "a.crt", "a.key", "DNS:a.example"), second;
  struct tls_store *store = store_open(place, NULL);
  meet(place, store, &old, "a.example", NULL);
  second = write_pair(place, "a.crt", "a.key", "DNS:a.example");
  reloads_wanted = 1;
  until(place, reloaded, store, WAIT_MS);
  assert_false(same(first, second));
  assert_true(same(shown(place, store, "a.example", NULL), second));
  net_conn_pause(old.server);
  assert_int_equal(net_conn_write(old.client, &slice, 1), 1);
  for (unsigned i = 0; i < 100 && got == 0; i++) {
    uv_run(place->loop.uv, UV_RUN_NOWAIT);
    if (net_conn_read(old.server, &got, 1) == 1)
      break;
  }
  assert_int_equal(got, 'x');
  part(place, &old);
  tls_store_close(store);
}

static void test_a_new_file_is_found(void **state) {
  struct place *place = *state;
  struct print b;
  write_pair(place, "a.crt", "a.key", "DNS:a.example");
  struct tls_store *store = store_open(place, NULL);
  b = write_pair(place, "b.crt", "b.key", "DNS:b.example");
  reloads_wanted = 1;
  until(place, reloaded, store, WAIT_MS);
  assert_true(same(shown(place, store, "b.example", NULL), b));
  tls_store_close(store);
}

static void test_a_bad_pair_keeps_the_old_one(void **state) {
  struct place *place = *state;
  char error[1024];
  struct print a = write_pair(place, "a.crt", "a.key", "DNS:a.example"), b = write_pair(place, "b.crt", "b.key", "DNS:b.example");
  struct tls_store *store = store_open(place, NULL);
  const struct tls_store_options options = {.dir = place->dir};
  FILE *file = open_in(place, "a.crt");
  fputs("no certificate", file);
  fclose(file);
  file = open_in(place, "b.key");
  fclose(file);
  assert_int_equal(tls_store_reload(store, &options, error, sizeof error), 0);
  assert_int_equal(tls_store_count(store), 2);
  assert_true(same(shown(place, store, "a.example", NULL), a));
  assert_true(same(shown(place, store, "b.example", NULL), b));
  tls_store_close(store);
}

static void test_start_without_any_good_pair_fails_in_words(void **state) {
  struct place *place = *state;
  struct tls_store *store = NULL;
  char error[1024] = "", crt[2 * PATH_SIZE], key[2 * PATH_SIZE];
  const struct tls_store_options directory = {.dir = place->dir}, missing = {.dir = "/nowhere-at-all"};
  assert_int_not_equal(tls_store_open(&store, &place->loop, &directory, error, sizeof error), 0);
  assert_string_equal(error, "no usable certificate found");
  assert_int_not_equal(tls_store_open(&store, &place->loop, &missing, error, sizeof error), 0);
  assert_string_equal(error, "tls-dir /nowhere-at-all: No such file or directory");
  write_pair(place, "a.crt", "a.key", "DNS:a.example");
  write_pair(place, "b.crt", "b.key", "DNS:b.example");
  snprintf(crt, sizeof crt, "%s/a.crt", place->dir);
  snprintf(key, sizeof key, "%s/b.key", place->dir);
  const struct tls_store_options mixed = {.certificate = crt, .key = key};
  assert_int_not_equal(tls_store_open(&store, &place->loop, &mixed, error, sizeof error), 0);
  assert_non_null(strstr(error, "the key does not belong to the certificate"));
  assert_null(store);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(test_certificate_by_server_name),
      TEST(test_requests_under_another_certificate),
      TEST(test_link_certificate_by_alpn_whatever_the_name),
      TEST(test_without_link_identity_its_protocol_is_refused),
      TEST(test_changed_files_are_loaded_and_connections_stay),
      TEST(test_a_new_file_is_found),
      TEST(test_a_bad_pair_keeps_the_old_one),
      TEST(test_start_without_any_good_pair_fails_in_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
