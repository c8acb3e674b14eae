/* tls_context.c: SSL_CTX objects with the settings of the house. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "identity.h"
#include "tls_private.h"

#define SUITES_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define CIPHERS_12                                                                                                     \
  "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-"      \
  "SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define GROUPS_LINK "X25519:P-256"
#define GROUPS_WEB  "X25519:P-256:P-384"

void net_tls_explain(char *error, size_t error_size, const char *what) {
  const unsigned long first = ERR_peek_error(), code = ERR_peek_last_error();
  const char *reason = code ? ERR_reason_error_string(code) : NULL;
  if (ERR_SYSTEM_ERROR(first)) { /* the later ones only say that there was one */
    reason = uv_strerror(uv_translate_sys_error(ERR_GET_REASON(first)));
  }
  if (error && error_size > 0) {
    snprintf(error, error_size, "%s: %s", what, reason ? reason : "unknown error");
  }
  ERR_clear_error();
}

static int context_fail(SSL_CTX *ssl, char *error, size_t error_size, const char *what) {
  net_tls_explain(error, error_size, what);
  SSL_CTX_free(ssl);
  return UV_EINVAL;
}

static SSL_CTX *context_new(const SSL_METHOD *method, int min_version, const char *groups) {
  SSL_CTX *ssl = SSL_CTX_new(method);
  if (!ssl) {
    return NULL;
  }
  SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                               SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
  if (SSL_CTX_set_min_proto_version(ssl, min_version) != 1 || SSL_CTX_set_ciphersuites(ssl, SUITES_13) != 1 ||
      SSL_CTX_set_cipher_list(ssl, CIPHERS_12) != 1 || SSL_CTX_set1_groups_list(ssl, groups) != 1 ||
      SSL_CTX_set_num_tickets(ssl, 0) != 1) {
    SSL_CTX_free(ssl);
    return NULL;
  }
  return ssl;
}

static int link_select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_size, const unsigned char *offered,
                            unsigned int offered_size, void *user) {
  static const unsigned char ours[] = "\x09" NET_ALPN_LINK;
  unsigned char *selected;
  (void)ssl;
  (void)user;
  if (SSL_select_next_proto(&selected, out_size, ours, sizeof ours - 1, offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}
_Static_assert(sizeof NET_ALPN_LINK - 1 == 9, "the length byte in link_select_alpn");

struct net_tls_context *net_tls_context_take(SSL_CTX *ssl) {
  struct net_tls_context *context = malloc(sizeof *context);
  if (!context) {
    SSL_CTX_free(ssl);
    return NULL;
  }
  context->ssl = ssl;
  atomic_init(&context->references, 1);
  return context;
}

struct net_tls_context *net_tls_context_ref(struct net_tls_context *context) {
  atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
  return context;
}

void net_tls_context_unref(struct net_tls_context *context) {
  if (context && atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) == 1) {
    SSL_CTX_free(context->ssl);
    free(context);
  }
}

SSL_CTX *net_tls_context_ssl(struct net_tls_context *context) {
  return context->ssl;
}

static int context_give(struct net_tls_context **out, SSL_CTX *ssl, char *error, size_t error_size) {
  *out = net_tls_context_take(ssl);
  if (!*out && error && error_size > 0) {
    snprintf(error, error_size, "out of memory");
  }
  return *out ? 0 : UV_ENOMEM;
}

int net_tls_link_server(struct net_tls_context **out, const struct net_identity *identity, char *error,
                        size_t error_size) {
  SSL_CTX *ssl = context_new(TLS_server_method(), TLS1_3_VERSION, GROUPS_LINK);
  if (!ssl) {
    return context_fail(NULL, error, error_size, "cannot set up TLS");
  }
  if (SSL_CTX_use_certificate(ssl, identity->certificate) != 1 || SSL_CTX_use_PrivateKey(ssl, identity->key) != 1 ||
      (identity->chain && SSL_CTX_set1_chain(ssl, identity->chain) != 1) || SSL_CTX_check_private_key(ssl) != 1) {
    return context_fail(ssl, error, error_size, "cannot use the link's certificate and key");
  }
  SSL_CTX_set_alpn_select_cb(ssl, link_select_alpn, NULL);
  return context_give(out, ssl, error, error_size);
}

static int context_trust(SSL_CTX *ssl, const char *ca_file) {
  SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
  X509_VERIFY_PARAM_set_hostflags(SSL_CTX_get0_param(ssl), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (strcmp(ca_file, "system") == 0) {
    return SSL_CTX_set_default_verify_paths(ssl);
  }
  return SSL_CTX_load_verify_file(ssl, ca_file);
}

static int context_client(struct net_tls_context **out, int min_version, const char *groups, const char *ca_file,
                          char *error, size_t error_size) {
  SSL_CTX *ssl = context_new(TLS_client_method(), min_version, groups);
  if (!ssl) {
    return context_fail(NULL, error, error_size, "cannot set up TLS");
  }
  if (!ca_file) {
    SSL_CTX_set_verify(ssl, SSL_VERIFY_NONE, NULL);
  } else if (context_trust(ssl, ca_file) != 1) {
    char what[512];
    snprintf(what, sizeof what, "cannot load the CA certificates of %s", ca_file);
    return context_fail(ssl, error, error_size, what);
  }
  return context_give(out, ssl, error, error_size);
}

int net_tls_link_client(struct net_tls_context **out, const char *ca_file, char *error, size_t error_size) {
  return context_client(out, TLS1_3_VERSION, GROUPS_LINK, ca_file, error, error_size);
}

int net_tls_web_client(struct net_tls_context **out, bool verify, const char *ca_file, char *error, size_t error_size) {
  const char *trusted = verify ? (ca_file ? ca_file : "system") : NULL;
  return context_client(out, TLS1_2_VERSION, GROUPS_WEB, trusted, error, error_size);
}

int net_tls_web_server(SSL_CTX **out, char *error, size_t error_size) {
  *out = context_new(TLS_server_method(), TLS1_2_VERSION, GROUPS_WEB);
  return *out ? 0 : context_fail(NULL, error, error_size, "cannot set up TLS");
}
