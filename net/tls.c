/* tls.c: one TLS layer of a connection: its handshake, its plaintext, its end, and what it knows of the peer. The bytes
 * below are tls_bio.c. */
#include "tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "tls_layer.h"

#define JOIN_BELOW 8192u /* a slice this large makes a record of its own */
#define ERROR_TEXT 256u

/* ---- failure ---- */
int tls_fail(struct tls_layer *tls, int error, const char *text) {
  if (!tls->failed) {
    tls->failed = error;
    tls->error_text = strdup(text); /* NULL: the code alone must do */
  }
  ERR_clear_error();
  return tls->failed;
}

static const char *tls_hint(unsigned long code) {
  if (ERR_GET_LIB(code) != ERR_LIB_SSL) {
    return "";
  }
  switch (ERR_GET_REASON(code)) {
  case SSL_R_WRONG_VERSION_NUMBER:
  case SSL_R_HTTP_REQUEST:
    return " (the other side does not speak TLS here)";
  case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
  case SSL_R_UNSUPPORTED_PROTOCOL:
    return " (no TLS version in common)";
  case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
    return " (this port does not offer the protocol that was asked for)";
  default:
    return "";
  }
}

/* OpenSSL gave up: says why, as well as can be known. */
static int tls_fail_ssl(struct tls_layer *tls) {
  char text[ERROR_TEXT];
  const long verdict = SSL_get_verify_result(tls->ssl);
  const unsigned long code = ERR_peek_last_error();
  const char *reason = code ? ERR_reason_error_string(code) : NULL;
  if (tls->below_error == UV_EOF && !tls->established) {
    return tls_fail(tls, UV_ECONNRESET, "the other side closed the connection during the TLS handshake");
  }
  if (tls->below_error == UV_EOF) {
    return tls_fail(tls, UV_ECONNRESET, "the TLS connection was cut without a close_notify");
  }
  if (tls->below_error) {
    return tls_fail(tls, tls->below_error, uv_strerror(tls->below_error));
  }
  if (tls->verifies && verdict == X509_V_ERR_HOSTNAME_MISMATCH) {
    return tls_fail(tls, NET_TLS_UNTRUSTED, "the certificate of the other side is not for this host name");
  }
  if (tls->verifies && verdict != X509_V_OK) {
    snprintf(text, sizeof text, "the certificate of the other side is not trusted: %s",
             X509_verify_cert_error_string(verdict));
    return tls_fail(tls, NET_TLS_UNTRUSTED, text);
  }
  snprintf(text, sizeof text, "TLS failed: %s%s", reason ? reason : "unknown error", tls_hint(code));
  return tls_fail(tls, UV_EPROTO, text);
}

/* ---- handshake ---- */
static int tls_handshake(struct net_layer *layer) {
  struct tls_layer *tls = tls_of(layer);
  while (!tls->established) {
    if (tls->failed) {
      return tls->failed;
    }
    tls->may_fetch = true;
    ERR_clear_error();
    const int done = SSL_do_handshake(tls->ssl);
    const int why = done == 1 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, done);
    if (why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
      const int error = tls_fail_ssl(tls);
      (void)tls_bio_push_out(tls); /* the alert that tells the peer; the first error stays */
      return error;
    }
    tls->established = why == SSL_ERROR_NONE;
    const int error = tls_bio_push_out(tls);
    if (error) {
      return error;
    }
    if (why == SSL_ERROR_WANT_READ || (why == SSL_ERROR_WANT_WRITE && tls->rest)) {
      return UV_EAGAIN;
    }
  }
  return tls->failed;
}

/* For read and write: the handshake may end inside them, and then the owner is owed both events. */
static int tls_ready(struct tls_layer *tls) {
  if (tls->established || tls->failed) {
    return tls->failed;
  }
  const int error = tls_handshake(&tls->layer);
  if (error != UV_EAGAIN) {
    net_layer_wake(&tls->layer, true, true);
  }
  return error;
}

/* ---- plaintext ---- */
static ssize_t tls_read(struct net_layer *layer, void *buffer, size_t capacity) {
  struct tls_layer *tls = tls_of(layer);
  const int error = tls_ready(tls);
  size_t got = 0;
  if (error) {
    return error;
  }
  while (got < capacity) {
    size_t n;
    tls->may_fetch = got == 0; /* as long as nothing was read; then only what is here, or a busy peer holds the loop */
    ERR_clear_error();
    if (SSL_read_ex(tls->ssl, (uint8_t *)buffer + got, capacity - got, &n) == 1) {
      got += n;
      continue;
    }
    const int why = SSL_get_error(tls->ssl, 0);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_ZERO_RETURN) {
      const int failure = tls_fail_ssl(tls);
      (void)tls_bio_push_out(tls); /* the alert; the first error stays */
      return got > 0 ? (ssize_t)got : failure;
    }
    const int pushed = tls_bio_push_out(tls);
    if (why == SSL_ERROR_WANT_WRITE && !pushed && !tls->rest) {
      continue; /* OpenSSL had something to say and depth.out was full; it has room now */
    }
    tls->read_wants_room = why == SSL_ERROR_WANT_WRITE;
    if (got > 0) {
      return (ssize_t)got; /* whatever it is comes again with the next read */
    }
    if (pushed) {
      return pushed;
    }
    return why == SSL_ERROR_ZERO_RETURN ? UV_EOF : UV_EAGAIN;
  }
  const int pushed = tls_bio_push_out(tls);
  return got > 0 ? (ssize_t)got : pushed;
}

/* A position in a list of slices. */
struct slice_cursor {
  const struct mdm_slice *slices;
  size_t count, index, offset;
};

static size_t cursor_here(struct slice_cursor *cursor) {
  while (cursor->index < cursor->count && cursor->offset == cursor->slices[cursor->index].size) {
    cursor->index++;
    cursor->offset = 0;
  }
  return cursor->index < cursor->count ? cursor->slices[cursor->index].size - cursor->offset : 0;
}

/* The next record's plaintext: one large slice as it is, or small ones joined. */
static const uint8_t *cursor_take(struct slice_cursor *cursor, uint8_t *staging, size_t *size) {
  size_t here = cursor_here(cursor);
  const bool last = cursor->index + 1 >= cursor->count;
  if (here >= JOIN_BELOW || last) {
    const uint8_t *data = here > 0 ? cursor->slices[cursor->index].data + cursor->offset : NULL;
    *size = here < TLS_RECORD_PLAIN ? here : TLS_RECORD_PLAIN;
    cursor->offset += *size;
    return data;
  }
  size_t joined = 0;
  while (here > 0 && joined < TLS_RECORD_PLAIN) {
    const size_t n = here < TLS_RECORD_PLAIN - joined ? here : TLS_RECORD_PLAIN - joined;
    memcpy(staging + joined, cursor->slices[cursor->index].data + cursor->offset, n);
    cursor->offset += n;
    joined += n;
    here = cursor_here(cursor);
  }
  *size = joined;
  return staging;
}

static ssize_t tls_write(struct net_layer *layer, const struct mdm_slice *slices, size_t count) {
  struct tls_layer *tls = tls_of(layer);
  struct slice_cursor cursor = {.slices = slices, .count = count};
  const struct tls_depth *depth = tls_depth_of(tls);
  size_t taken = 0;
  int error = tls_ready(tls);
  if (!error && tls->rest) {
    error = tls_bio_flush(tls);
  }
  if (error) {
    return error;
  }
  while (taken < TLS_WRITE_MAX && TLS_OUT_SIZE - depth->out_size >= TLS_RECORD_PLAIN + TLS_RECORD_SPARE) {
    size_t size, written;
    const uint8_t *data = cursor_take(&cursor, tls_scratch_of(tls)->staging, &size);
    if (size == 0) {
      break;
    }
    ERR_clear_error();
    /* There is room for the record, so OpenSSL takes all of it or fails. */
    if (SSL_write_ex(tls->ssl, data, size, &written) != 1 || written != size) {
      return tls_fail_ssl(tls);
    }
    taken += size;
  }
  error = tls_bio_push_out(tls);
  return error ? error : (ssize_t)taken;
}

static int tls_flush(struct net_layer *layer) {
  return tls_bio_flush(tls_of(layer));
}

static bool tls_holding(const struct net_layer *layer) {
  return tls_of(layer)->rest != NULL;
}

static bool tls_pending(const struct net_layer *layer) {
  const struct tls_layer *tls = tls_of(layer);
  return SSL_pending(tls->ssl) > 0 || tls_bio_has_ciphertext(tls);
}

static int tls_shutdown(struct net_layer *layer) {
  struct tls_layer *tls = tls_of(layer);
  if (tls->failed) {
    return tls->failed;
  }
  if (!tls->established) {
    return 0; /* no session, no goodbye: the peer sees the FIN */
  }
  int error = tls_bio_flush(tls);
  if (!error && !tls->goodbye_sent) {
    tls->goodbye_sent = true;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl); /* writes close_notify; the peer's is read by tls_read */
    ERR_clear_error();
    error = tls_bio_push_out(tls);
    if (!error && tls->rest) {
      error = UV_EAGAIN;
    }
  }
  return error;
}

static void tls_free(struct net_layer *layer) {
  struct tls_layer *tls = tls_of(layer);
  tls_bio_clean(tls);
  SSL_free(tls->ssl);
  net_tls_context_unref(tls->context);
  free(tls->error_text);
  free(tls);
}

static int tls_leave(struct net_layer *layer) {
  return tls_bio_leave(tls_of(layer));
}

static int tls_arrive(struct net_layer *layer) {
  return tls_scratch_prepare(net_conn_loop(layer->conn), tls_of(layer)->depth);
}

const struct net_layer_ops net_tls_layer_ops = {
    .name = "tls",
    .read = tls_read,
    .write = tls_write,
    .flush = tls_flush,
    .pending = tls_pending,
    .shutdown = tls_shutdown,
    .free = tls_free,
    .handshake = tls_handshake,
    .holding = tls_holding,
    .leave = tls_leave,
    .arrive = tls_arrive,
};

/* ---- making one ---- */
static int tls_set_server_name(struct tls_layer *tls, const char *name) {
  struct mdm_address address;
  size_t size = strlen(name);
  char host[256];
  if (size > 1 && name[size - 1] == '.') {
    size--; /* the root's dot is for the resolver */
  }
  if (size == 0 || size >= sizeof host) {
    return UV_EINVAL;
  }
  memcpy(host, name, size);
  host[size] = 0;
  if (net_address_parse(&address, host, size) == 0) { /* an IP literal has no SNI */
    char literal[NET_ADDRESS_TEXT];
    net_address_text(literal, &address, false);
    return !tls->verifies || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), literal) == 1 ? 0 : UV_EINVAL;
  }
  if (SSL_set_tlsext_host_name(tls->ssl, host) != 1) {
    return UV_EINVAL;
  }
  return !tls->verifies || SSL_set1_host(tls->ssl, host) == 1 ? 0 : UV_EINVAL;
}

static int tls_set_alpn(struct tls_layer *tls, const char *name) {
  uint8_t list[256];
  const size_t size = strlen(name);
  if (size == 0 || size >= sizeof list) {
    return UV_EINVAL;
  }
  list[0] = (uint8_t)size;
  memcpy(list + 1, name, size);
  return SSL_set_alpn_protos(tls->ssl, list, (unsigned)size + 1) == 0 ? 0 : UV_ENOMEM;
}

static int tls_configure(struct tls_layer *tls, const struct net_tls_options *options) {
  if (options->server) {
    SSL_set_accept_state(tls->ssl);
    return 0;
  }
  SSL_set_connect_state(tls->ssl);
  tls->verifies = (SSL_get_verify_mode(tls->ssl) & SSL_VERIFY_PEER) != 0;
  if (tls->verifies && !options->server_name) {
    return UV_EINVAL; /* a chain without a name proves nothing */
  }
  int error = options->server_name ? tls_set_server_name(tls, options->server_name) : 0;
  if (!error && options->alpn) {
    error = tls_set_alpn(tls, options->alpn);
  }
  return error;
}

int net_tls_push(struct net_conn *conn, struct net_tls_context *context, const struct net_tls_options *options) {
  unsigned depth = 0;
  for (const struct net_layer *layer = net_conn_top(conn); layer; layer = layer->below) {
    depth += layer->ops == &net_tls_layer_ops;
  }
  if (depth >= NET_TLS_DEPTH_MAX) {
    return UV_E2BIG;
  }
  int error = tls_scratch_prepare(net_conn_loop(conn), depth);
  if (error) {
    return error;
  }
  struct tls_layer *tls = calloc(1, sizeof *tls);
  if (!tls) {
    return UV_ENOMEM;
  }
  tls->layer.ops = &net_tls_layer_ops;
  tls->depth = (uint8_t)depth;
  tls->ssl = SSL_new(context->ssl);
  BIO *bio = tls->ssl ? tls_bio_new(tls) : NULL;
  if (!bio) {
    error = UV_ENOMEM;
    goto failed;
  }
  SSL_set_bio(tls->ssl, bio, bio);
  error = tls_configure(tls, options);
  if (error) {
    goto failed;
  }
  tls->context = net_tls_context_ref(context);
  net_conn_push(conn, &tls->layer);
  return 0;

failed:
  SSL_free(tls->ssl);
  ERR_clear_error();
  free(tls);
  return error;
}

/* ---- asking ---- */
static struct tls_layer *tls_top(const struct net_conn *conn) {
  struct net_layer *layer = net_conn_layer(conn, &net_tls_layer_ops);
  return layer ? tls_of(layer) : NULL;
}

bool net_tls_established(const struct net_conn *conn) {
  const struct tls_layer *tls = tls_top(conn);
  return tls && tls->established;
}

bool net_conn_is_tls(const struct net_conn *conn) {
  return tls_top(conn) != NULL;
}

int net_tls_peer_fingerprint(const struct net_conn *conn, uint8_t out[static NET_FINGERPRINT_SIZE]) {
  const struct tls_layer *tls = tls_top(conn);
  X509 *certificate = tls && tls->established ? SSL_get0_peer_certificate(tls->ssl) : NULL;
  return certificate ? net_tls_key_fingerprint(out, X509_get0_pubkey(certificate)) : UV_ENOENT;
}

const char *net_tls_server_name(const struct net_conn *conn) {
  const struct tls_layer *tls = tls_top(conn);
  return tls ? SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name) : NULL;
}

void net_tls_alpn(const struct net_conn *conn, const char **name, size_t *size) {
  const struct tls_layer *tls = tls_top(conn);
  const unsigned char *selected = NULL;
  unsigned selected_size = 0;
  if (tls) {
    SSL_get0_alpn_selected(tls->ssl, &selected, &selected_size);
  }
  *name = (const char *)selected;
  *size = selected_size;
}

int net_tls_exporter(const struct net_conn *conn, const char *label, uint8_t out[static NET_TLS_EXPORTER_SIZE]) {
  const struct tls_layer *tls = tls_top(conn);
  if (!tls || !tls->established ||
      SSL_export_keying_material(tls->ssl, out, NET_TLS_EXPORTER_SIZE, label, strlen(label), NULL, 0, 0) != 1) {
    ERR_clear_error();
    return UV_ENOTCONN;
  }
  return 0;
}

const char *net_tls_error(const struct net_conn *conn) {
  const struct tls_layer *tls = tls_top(conn);
  if (!tls || !tls->failed) {
    return "";
  }
  return tls->error_text ? tls->error_text : "TLS failed";
}
