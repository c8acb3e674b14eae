/* tls_test.c: who talks to whom: fingerprints, chains and names, protocols, exporters, tickets, and the sentences about
 * failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "pair.h"

static bool both_settled(const struct pair *pair) {
  return (net_tls_established(pair->client.conn) || pair->client.error) &&
         (net_tls_established(pair->server.conn) || pair->server.error);
}

static void test_both_sides_agree_on_who_and_what(void **state) {
  struct pair pair;
  uint8_t fingerprint[NET_FINGERPRINT_SIZE];
  uint8_t client_secret[NET_TLS_EXPORTER_SIZE], server_secret[NET_TLS_EXPORTER_SIZE];
  const char *name;
  size_t size;
  (void)state;
  pair_open(&pair, 1);
  assert_true(net_conn_is_tls(pair.client.conn));
  assert_int_not_equal(net_tls_peer_fingerprint(pair.client.conn, fingerprint), 0);
  assert_int_not_equal(net_tls_exporter(pair.client.conn, "x", client_secret), 0);
  pair_run_until(&pair, both_settled);
  assert_int_equal(net_tls_peer_fingerprint(pair.client.conn, fingerprint), 0);
  assert_memory_equal(fingerprint, pair.identity.fingerprint, sizeof fingerprint);
  assert_int_equal(net_tls_peer_fingerprint(pair.server.conn, fingerprint), UV_ENOENT);
  assert_string_equal(net_tls_server_name(pair.server.conn), "localhost");
  net_tls_alpn(pair.client.conn, &name, &size);
  assert_int_equal(size, strlen(NET_ALPN_LINK));
  assert_memory_equal(name, NET_ALPN_LINK, size);
  net_tls_alpn(pair.server.conn, &name, &size);
  assert_int_equal(size, strlen(NET_ALPN_LINK));
  assert_int_equal(net_tls_exporter(pair.client.conn, "EXPORTER-x", client_secret), 0);
  assert_int_equal(net_tls_exporter(pair.server.conn, "EXPORTER-x", server_secret), 0);
  assert_memory_equal(client_secret, server_secret, sizeof client_secret);
  assert_int_equal(net_tls_exporter(pair.server.conn, "EXPORTER-y", server_secret), 0);
  assert_memory_not_equal(client_secret, server_secret, sizeof client_secret);
  assert_string_equal(net_tls_error(pair.client.conn), "");
  pair_close(&pair);
}

static void test_the_end_of_a_handshake_calls_the_owner_both_ways(void **state) {
  struct pair pair;
  (void)state;
  pair_open(&pair, 2);
  pair_run_until(&pair, both_settled);
  for (unsigned i = 0; i < 3; i++) {
    uv_run(pair.loop.uv, UV_RUN_NOWAIT);
  }
  assert_in_range(pair.client.readable_events, 1, 9);
  assert_in_range(pair.client.writable_events, 1, 9);
  assert_in_range(pair.server.readable_events, 1, 9);
  assert_in_range(pair.server.writable_events, 1, 9);
  pair_close(&pair);
}

/* ---- chains and names ---- */
/* A certificate for "good.test" and 127.0.0.1, its own CA. */
struct authority {
  EVP_PKEY *key;
  X509 *certificate;
  char path[64];
};

static void authority_open(struct authority *authority) {
  X509V3_CTX context;
  authority->key = EVP_EC_gen("P-256");
  authority->certificate = X509_new();
  X509 *x = authority->certificate;
  X509_set_version(x, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
  X509_gmtime_adj(X509_getm_notBefore(x), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x), 3600);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(x));
  X509_set_pubkey(x, authority->key);
  X509V3_set_ctx(&context, x, x, NULL, NULL, 0);
  static const struct {
    int nid;
    const char *value;
  } extensions[] = {{NID_basic_constraints, "critical,CA:TRUE"}, {NID_subject_alt_name, "DNS:good.test,IP:127.0.0.1"}};
  for (size_t i = 0; i < 2; i++) {
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, extensions[i].nid, extensions[i].value);
    assert_non_null(extension);
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
  }
  assert_true(X509_sign(x, authority->key, EVP_sha256()) > 0);
  strcpy(authority->path, "/tmp/mdm-ca-XXXXXX");
  const int fd = mkstemp(authority->path);
  assert_true(fd >= 0);
  FILE *file = fdopen(fd, "w");
  assert_int_equal(PEM_write_X509(file, x), 1);
  fclose(file);
}

static void authority_close(struct authority *authority) {
  unlink(authority->path);
  X509_free(authority->certificate);
  EVP_PKEY_free(authority->key);
}

static void test_a_chain_and_a_name_are_checked_when_a_ca_is_given(void **state) {
  static const struct {
    const char *name;
    bool trusted; /* the client knows the CA */
    const char *error;
  } table[] = {
      {"good.test", true, ""},
      {"good.test.", true, ""},
      {"127.0.0.1", true, ""},
      {"bad.test", true, "the certificate of the other side is not for this host name"},
      {"127.0.0.2", true, "the certificate of the other side is not trusted: IP address mismatch"},
      {"good.test", false, "the certificate of the other side is not trusted: self-signed certificate"},
  };
  struct authority authority, other;
  (void)state;
  authority_open(&authority);
  authority_open(&other);
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    struct pair pair;
    struct net_tls_context *server, *client;
    const struct net_identity identity = {.key = authority.key, .certificate = authority.certificate};
    pair_open(&pair, 0);
    assert_int_equal(net_tls_link_server(&server, &identity, NULL, 0), 0);
    assert_int_equal(net_tls_link_client(&client, table[i].trusted ? authority.path : other.path, NULL, 0), 0);
    assert_int_equal(net_tls_push(pair.client.conn, client, &(struct net_tls_options){.alpn = NET_ALPN_LINK}),
                     UV_EINVAL);
    assert_int_equal(net_tls_push(pair.client.conn, client, &(struct net_tls_options){.server_name = table[i].name}),
                     0);
    assert_int_equal(net_tls_push(pair.server.conn, server, &(struct net_tls_options){.server = true}), 0);
    net_tls_context_unref(server);
    net_tls_context_unref(client);
    pair_run_until(&pair, both_settled);
    assert_string_equal(net_tls_error(pair.client.conn), table[i].error);
    assert_int_equal(pair.client.error, table[i].error[0] ? NET_TLS_UNTRUSTED : 0);
    assert_int_equal(net_tls_established(pair.client.conn), table[i].error[0] == 0);
    pair_close(&pair);
  }
  authority_close(&authority);
  authority_close(&other);
}

static void test_a_ca_file_that_is_none_is_told(void **state) {
  struct net_tls_context *context = NULL;
  char error[256] = "";
  (void)state;
  assert_int_equal(net_tls_link_client(&context, "/nonexistent/ca.pem", error, sizeof error), UV_EINVAL);
  assert_non_null(strstr(error, "cannot load the CA certificates of /nonexistent/ca.pem"));
  assert_int_equal(net_tls_link_client(&context, "system", error, sizeof error), 0);
  net_tls_context_unref(context);
}

/* ---- strangers ---- */
static bool client_failed(const struct pair *pair) {
  return pair->client.error != 0;
}
static bool server_failed(const struct pair *pair) {
  return pair->server.error != 0;
}

static void test_a_peer_that_speaks_no_tls_is_told_apart(void **state) {
  struct pair pair, pattern;
  (void)state;
  pair_open(&pattern, 1); /* only for its contexts */
  pair_open(&pair, 0);
  assert_int_equal(net_tls_push(pair.server.conn, pattern.server_tls, &(struct net_tls_options){.server = true}), 0);
  const struct mdm_slice request = {.data = (const uint8_t *)"GET / HTTP/1.1\r\n\r\n", .size = 18};
  assert_int_equal(net_conn_write(pair.client.conn, &request, 1), 18);
  pair_run_until(&pair, server_failed);
  assert_int_equal(pair.server.error, UV_EPROTO);
  assert_string_equal(net_tls_error(pair.server.conn),
                      "TLS failed: http request (the other side does not speak TLS here)");
  pair_close(&pair);

  pair_open(&pair, 0);
  assert_int_equal(net_tls_push(pair.client.conn, pattern.client_tls, &(struct net_tls_options){.server = false}), 0);
  const struct mdm_slice banner = {.data = (const uint8_t *)"SSH-2.0-x\r\n", .size = 11};
  assert_int_equal(net_conn_write(pair.server.conn, &banner, 1), 11);
  pair_run_until(&pair, client_failed);
  assert_string_equal(net_tls_error(pair.client.conn),
                      "TLS failed: wrong version number (the other side does not speak TLS here)");
  pair_close(&pair);
  pair_close(&pattern);
}

static void test_another_protocol_is_refused_by_alpn(void **state) {
  struct pair pair, pattern;
  (void)state;
  pair_open(&pattern, 1);
  pair_open(&pair, 0);
  assert_int_equal(net_tls_push(pair.server.conn, pattern.server_tls, &(struct net_tls_options){.server = true}), 0);
  assert_int_equal(net_tls_push(pair.client.conn, pattern.client_tls, &(struct net_tls_options){.alpn = "h2"}), 0);
  pair_run_until(&pair, client_failed);
  assert_non_null(strstr(net_tls_error(pair.client.conn), "this port does not offer the protocol that was asked for"));
  pair_close(&pair);
  pair_close(&pattern);
}

static void test_the_link_refuses_tls_1_2(void **state) {
  struct pair pair, pattern;
  (void)state;
  pair_open(&pattern, 1);
  pair_open(&pair, 0);
  SSL_CTX *old = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(old, TLS1_2_VERSION);
  struct net_tls_context *client = net_tls_context_take(old);
  assert_int_equal(net_tls_push(pair.server.conn, pattern.server_tls, &(struct net_tls_options){.server = true}), 0);
  assert_int_equal(net_tls_push(pair.client.conn, client, &(struct net_tls_options){.server = false}), 0);
  net_tls_context_unref(client);
  pair_run_until(&pair, client_failed);
  assert_non_null(strstr(net_tls_error(pair.client.conn), "no TLS version in common"));
  pair_close(&pair);
  pair_close(&pattern);
}

static void test_nesting_is_bounded(void **state) {
  struct pair pair;
  (void)state;
  pair_open(&pair, NET_TLS_DEPTH_MAX);
  assert_int_equal(net_tls_push(pair.client.conn, pair.client_tls, &(struct net_tls_options){.server = false}),
                   UV_E2BIG);
  pair_close(&pair);
}

/* ---- tickets ---- */
static _Thread_local SSL_SESSION *kept;

static int keep_session(SSL *ssl, SSL_SESSION *session) {
  (void)ssl;
  SSL_SESSION_free(kept);
  kept = session;
  return 1;
}

/* One visit with the kept session: true if it was resumed. Over memory, without a connection. */
static bool visit(SSL_CTX *server_context, SSL_CTX *client_context) {
  char byte;
  SSL *server = SSL_new(server_context);
  SSL *client = SSL_new(client_context);
  BIO *a = NULL, *b = NULL;
  BIO_new_bio_pair(&a, 0, &b, 0);
  SSL_set_bio(server, a, a);
  SSL_set_bio(client, b, b);
  SSL_set_accept_state(server);
  SSL_set_connect_state(client);
  if (kept) {
    SSL_set_session(client, kept);
  }
  for (unsigned i = 0; i < 10; i++) {
    SSL_do_handshake(client);
    SSL_do_handshake(server);
    SSL_read(client, &byte, 1); /* takes the tickets */
  }
  assert_true(SSL_is_init_finished(client) && SSL_is_init_finished(server));
  const bool resumed = SSL_session_reused(server);
  SSL_shutdown(client);
  SSL_free(server);
  SSL_free(client);
  return resumed;
}

static SSL_CTX *web_context(const struct authority *authority, struct net_tls_tickets *tickets) {
  SSL_CTX *context;
  assert_int_equal(net_tls_web_server(&context, NULL, 0), 0);
  assert_int_equal(SSL_CTX_use_certificate(context, authority->certificate), 1);
  assert_int_equal(SSL_CTX_use_PrivateKey(context, authority->key), 1);
  if (tickets) {
    assert_int_equal(net_tls_tickets_attach(tickets, context), 0);
  }
  return context;
}

static void check_tickets(const struct authority *authority, int version) {
  struct net_tls_tickets *tickets = net_tls_tickets_new();
  SSL_CTX *first = web_context(authority, tickets);
  SSL_CTX *reloaded = web_context(authority, tickets);
  SSL_CTX *without = web_context(authority, NULL);
  net_tls_tickets_unref(tickets); /* the contexts hold it */
  tickets = net_tls_tickets_new();
  SSL_CTX *stranger = web_context(authority, tickets);
  net_tls_tickets_unref(tickets);
  SSL_CTX *client = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(client, version);
  SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(client, keep_session);
  assert_false(visit(without, client));
  assert_null(kept);
  assert_false(visit(first, client));
  assert_non_null(kept);
  assert_true(visit(first, client));
  assert_true(visit(reloaded, client));
  assert_false(visit(stranger, client));
  SSL_SESSION_free(kept);
  kept = NULL;
  SSL_CTX_free(client);
  SSL_CTX_free(stranger);
  SSL_CTX_free(without);
  SSL_CTX_free(reloaded);
  SSL_CTX_free(first);
}

static void test_tickets_outlive_a_reload_and_no_other_ring_opens_them(void **state) {
  struct authority authority;
  (void)state;
  authority_open(&authority);
  check_tickets(&authority, TLS1_3_VERSION);
  check_tickets(&authority, TLS1_2_VERSION);
  authority_close(&authority);
}

#define TICKET_THREADS 4u
#define TICKET_VISITS  25u

struct ticket_thread {
  uv_thread_t thread;
  const struct authority *authority;
  struct net_tls_tickets *tickets;
  SSL_CTX *server;
  unsigned resumed;
};

/* Visits the one that all share and one of its own, as after a reload, in turn. */
static void ticket_thread_main(void *arg) {
  struct ticket_thread *own = arg;
  SSL_CTX *client = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(client, keep_session);
  for (unsigned i = 0; i < TICKET_VISITS; i++) {
    SSL_CTX *reloaded = web_context(own->authority, own->tickets);
    own->resumed += visit(own->server, client);
    own->resumed += visit(reloaded, client);
    SSL_CTX_free(reloaded);
  }
  SSL_SESSION_free(kept);
  kept = NULL;
  SSL_CTX_free(client);
}

static void test_a_ring_serves_threads_at_once(void **state) {
  struct authority authority;
  struct ticket_thread threads[TICKET_THREADS];
  struct net_tls_tickets *tickets = net_tls_tickets_new();
  (void)state;
  authority_open(&authority);
  SSL_CTX *server = web_context(&authority, tickets);
  for (unsigned i = 0; i < TICKET_THREADS; i++) {
    threads[i] = (struct ticket_thread){.authority = &authority, .tickets = tickets, .server = server};
    assert_int_equal(uv_thread_create(&threads[i].thread, ticket_thread_main, &threads[i]), 0);
  }
  for (unsigned i = 0; i < TICKET_THREADS; i++) {
    uv_thread_join(&threads[i].thread);
    assert_int_equal(threads[i].resumed, 2 * TICKET_VISITS - 1); /* all but the first */
  }
  net_tls_tickets_unref(tickets);
  SSL_CTX_free(server);
  authority_close(&authority);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_both_sides_agree_on_who_and_what),
      cmocka_unit_test(test_the_end_of_a_handshake_calls_the_owner_both_ways),
      cmocka_unit_test(test_a_chain_and_a_name_are_checked_when_a_ca_is_given),
      cmocka_unit_test(test_a_ca_file_that_is_none_is_told),
      cmocka_unit_test(test_a_peer_that_speaks_no_tls_is_told_apart),
      cmocka_unit_test(test_another_protocol_is_refused_by_alpn),
      cmocka_unit_test(test_the_link_refuses_tls_1_2),
      cmocka_unit_test(test_nesting_is_bounded),
      cmocka_unit_test(test_tickets_outlive_a_reload_and_no_other_ring_opens_them),
      cmocka_unit_test(test_a_ring_serves_threads_at_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
