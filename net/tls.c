/* tls.c: one TLS layer of a connection.
 *
 * OpenSSL is given a BIO whose bytes live in the loop's buffers, one pair for each depth of nesting, so that a layer
 * inside a layer never meets its own buffers:
 *
 *   read:   below --recv--> depth.in --BIO_read--> SSL --SSL_read--> caller
 *           What the caller leaves stays in depth.in under this layer's name. Who needs the buffer next makes the layer
 * save it. write:  caller --(small slices joined in staging)--> SSL_write --BIO_write--> depth.out --one write--> below
 *           What the one below does not take is copied into the layer's remainder; until it has left, write answers
 * UV_EAGAIN.
 *
 * depth.out is empty between calls. OpenSSL may also write while it reads (alerts, key updates): the same way, or
 * behind the remainder if there is one, up to REST_MAX; beyond that OpenSSL is told to try again and reading waits for
 * room. */
#include "tls.h"

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "loop_private.h"
#include "tls_private.h"

#define RECORD_PLAIN 16384u
#define RECORD_SPARE 1024u /* a record's overhead, and a key update ahead of it */
#define WRITE_MAX                                                                                                      \
  (4u * RECORD_PLAIN + RECORD_SPARE) /* one write takes records until this: four, and the rest of four below */
#define IN_SIZE NET_SCRATCH_SIZE     /* one recv() */
#define OUT_SIZE                                                                                                       \
  (5u * (RECORD_PLAIN + RECORD_SPARE)) /* the records of one write; a handshake's flight piece by piece */
#define REST_MAX   (2u * OUT_SIZE)
#define JOIN_BELOW 8192u /* a slice this large makes a record of its own */
#define ERROR_TEXT 256u

struct tls_layer {
  struct net_layer layer; /* first: the connection knows this address */
  struct net_tls_context *context;
  SSL *ssl;
  uint8_t *saved; /* ciphertext that lost its place in depth.in */
  size_t saved_size, saved_taken;
  uint8_t *rest; /* ciphertext that the one below did not take */
  size_t rest_size, rest_sent;
  char *error_text;
  int failed;      /* sticky UV_ code */
  int below_error; /* what the one below answered last, other than bytes and UV_EAGAIN */
  uint8_t depth;
  bool established : 1;
  bool may_fetch : 1;       /* BIO_read may ask the one below */
  bool read_wants_room : 1; /* reading waits until the remainder has left */
  bool goodbye_sent : 1;
  bool verifies : 1;
};

struct tls_depth {
  uint8_t *in, *out;
  size_t in_size, in_taken, out_size;
  struct tls_layer *in_owner;
};

struct net_tls_scratch {
  BIO_METHOD *method;
  uint8_t *staging;
  struct tls_depth depths[NET_TLS_DEPTH_MAX];
};

static const struct net_layer_ops tls_ops;

static struct tls_layer *tls_of(const struct net_layer *layer) {
  return (struct tls_layer *)(void *)(uintptr_t)layer;
}

static struct net_tls_scratch *scratch_of(const struct tls_layer *tls) {
  return net_conn_loop(tls->layer.conn)->private_->tls;
}

static struct tls_depth *depth_of(const struct tls_layer *tls) {
  return &scratch_of(tls)->depths[tls->depth];
}

/* ---- the buffers of a loop ---- */
static int tls_bio_read(BIO *bio, char *data, int capacity);
static int tls_bio_write(BIO *bio, const char *data, int size);
static long tls_bio_ctrl(BIO *bio, int command, long number, void *pointer);

static void scratch_free(struct net_tls_scratch *scratch) {
  for (size_t i = 0; i < NET_TLS_DEPTH_MAX; i++) {
    assert(scratch->depths[i].in_owner == NULL);
    free(scratch->depths[i].in);
    free(scratch->depths[i].out);
  }
  if (scratch->staging) {
    sodium_memzero(scratch->staging, RECORD_PLAIN);
    free(scratch->staging);
  }
  BIO_meth_free(scratch->method);
  free(scratch);
}

static struct net_tls_scratch *scratch_new(void) {
  struct net_tls_scratch *scratch = calloc(1, sizeof *scratch);
  if (!scratch) {
    return NULL;
  }
  scratch->staging = malloc(RECORD_PLAIN);
  scratch->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "mdm connection");
  if (!scratch->staging || !scratch->method || BIO_meth_set_read(scratch->method, tls_bio_read) != 1 ||
      BIO_meth_set_write(scratch->method, tls_bio_write) != 1 ||
      BIO_meth_set_ctrl(scratch->method, tls_bio_ctrl) != 1) {
    scratch_free(scratch);
    return NULL;
  }
  return scratch;
}

/* Makes what a layer at this depth needs on this loop. */
static int scratch_prepare(struct net_loop *loop, unsigned depth) {
  struct net_loop_private *own = loop->private_;
  if (!own->tls) {
    own->tls = scratch_new();
    own->tls_free = scratch_free;
    if (!own->tls) {
      return UV_ENOMEM;
    }
  }
  struct tls_depth *buffers = &own->tls->depths[depth];
  if (!buffers->in) {
    buffers->in = malloc(IN_SIZE);
  }
  if (!buffers->out) {
    buffers->out = malloc(OUT_SIZE);
  }
  return buffers->in && buffers->out ? 0 : UV_ENOMEM;
}

/* ---- failure ---- */
static int tls_fail(struct tls_layer *tls, int error, const char *text) {
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
    snprintf(text, sizeof text, "the certificate of the other side is not for this host name");
  } else if (tls->verifies && verdict != X509_V_OK) {
    snprintf(text, sizeof text, "the certificate of the other side is not trusted: %s",
             X509_verify_cert_error_string(verdict));
  } else {
    snprintf(text, sizeof text, "TLS failed: %s%s", reason ? reason : "unknown error", tls_hint(code));
  }
  return tls_fail(tls, UV_EPROTO, text);
}

/* ---- incoming ciphertext ---- */
/* The buffer is needed by another layer: its owner keeps what it has not read. */
static void depth_evict(struct tls_depth *depth) {
  struct tls_layer *owner = depth->in_owner;
  const size_t left = depth->in_size - depth->in_taken;
  depth->in_owner = NULL;
  if (!owner || left == 0) {
    return;
  }
  assert(owner->saved == NULL); /* saved bytes are read before the buffer is filled */
  owner->saved = malloc(left);
  if (!owner->saved) {
    tls_fail(owner, UV_ENOMEM, "out of memory");
    return;
  }
  memcpy(owner->saved, depth->in + depth->in_taken, left);
  owner->saved_size = left;
  owner->saved_taken = 0;
}

static bool tls_has_ciphertext(const struct tls_layer *tls) {
  const struct tls_depth *depth = depth_of(tls);
  return tls->saved || (depth->in_owner == tls && depth->in_taken < depth->in_size);
}

static int tls_bio_read(BIO *bio, char *data, int capacity) {
  struct tls_layer *tls = BIO_get_data(bio);
  struct tls_depth *depth = depth_of(tls);
  BIO_clear_retry_flags(bio);
  if (capacity <= 0) {
    return 0;
  }
  if (tls->saved) {
    const size_t left = tls->saved_size - tls->saved_taken;
    const size_t n = left < (size_t)capacity ? left : (size_t)capacity;
    memcpy(data, tls->saved + tls->saved_taken, n);
    tls->saved_taken += n;
    if (tls->saved_taken == tls->saved_size) {
      free(tls->saved);
      tls->saved = NULL;
    }
    return (int)n;
  }
  if (depth->in_owner != tls || depth->in_taken == depth->in_size) {
    if (!tls->may_fetch) {
      BIO_set_retry_read(bio);
      return -1;
    }
    if (depth->in_owner != tls) {
      depth_evict(depth);
    }
    const ssize_t n = net_layer_read(&tls->layer, depth->in, IN_SIZE);
    depth->in_owner = n > 0 ? tls : NULL;
    depth->in_taken = 0;
    depth->in_size = n > 0 ? (size_t)n : 0;
    if (n == UV_EAGAIN) {
      BIO_set_retry_read(bio);
      return -1;
    }
    if (n <= 0) {
      tls->below_error = n == 0 ? UV_EOF : (int)n;
      return n == 0 || n == UV_EOF ? 0 : -1;
    }
  }
  const size_t left = depth->in_size - depth->in_taken;
  const size_t n = left < (size_t)capacity ? left : (size_t)capacity;
  memcpy(data, depth->in + depth->in_taken, n);
  depth->in_taken += n;
  if (depth->in_taken == depth->in_size) {
    depth->in_owner = NULL;
  }
  return (int)n;
}

/* ---- outgoing ciphertext ---- */
/* Moves the front of the remainder away and appends. */
static bool tls_keep_rest(struct tls_layer *tls, const void *data, size_t size) {
  const size_t left = tls->rest_size - tls->rest_sent;
  uint8_t *grown = malloc(left + size);
  if (!grown) {
    return false;
  }
  if (left > 0) {
    memcpy(grown, tls->rest + tls->rest_sent, left);
  }
  memcpy(grown + left, data, size);
  free(tls->rest);
  tls->rest = grown;
  tls->rest_size = left + size;
  tls->rest_sent = 0;
  return true;
}

static int tls_bio_write(BIO *bio, const char *data, int size) {
  struct tls_layer *tls = BIO_get_data(bio);
  struct tls_depth *depth = depth_of(tls);
  BIO_clear_retry_flags(bio);
  if (size <= 0) {
    return 0;
  }
  if (tls->rest) {
    if (tls->rest_size - tls->rest_sent + (size_t)size > REST_MAX || !tls_keep_rest(tls, data, (size_t)size)) {
      BIO_set_retry_write(bio);
      return -1;
    }
    return size;
  }
  const size_t room = OUT_SIZE - depth->out_size;
  const size_t n = (size_t)size < room ? (size_t)size : room;
  if (n == 0) {
    BIO_set_retry_write(bio);
    return -1;
  }
  memcpy(depth->out + depth->out_size, data, n);
  depth->out_size += n;
  return (int)n;
}

static long tls_bio_ctrl(BIO *bio, int command, long number, void *pointer) {
  const struct tls_layer *tls = BIO_get_data(bio);
  (void)number;
  (void)pointer;
  switch (command) {
  case BIO_CTRL_FLUSH:
    return 1;
  case BIO_CTRL_EOF:
    return tls->below_error == UV_EOF;
  default:
    return 0;
  }
}

/* Sends what OpenSSL has put into depth.out and keeps what the one below does not take: 0, or an error of the one
 * below. */
static int tls_push_out(struct tls_layer *tls) {
  struct tls_depth *depth = depth_of(tls);
  struct mdm_slice slice = {.data = depth->out, .size = depth->out_size};
  depth->out_size = 0;
  while (slice.size > 0) {
    const ssize_t n = net_layer_write(&tls->layer, &slice, 1);
    if (n == UV_EAGAIN) {
      return tls_keep_rest(tls, slice.data, slice.size) ? 0 : tls_fail(tls, UV_ENOMEM, "out of memory");
    }
    if (n < 0) {
      return tls_fail(tls, (int)n, uv_strerror((int)n));
    }
    slice.data += n;
    slice.size -= (size_t)n;
  }
  return 0;
}

static int tls_flush(struct net_layer *layer) {
  struct tls_layer *tls = tls_of(layer);
  while (tls->rest) {
    const struct mdm_slice slice = {.data = tls->rest + tls->rest_sent, .size = tls->rest_size - tls->rest_sent};
    const ssize_t n = net_layer_write(layer, &slice, 1);
    if (n == UV_EAGAIN) {
      return UV_EAGAIN;
    }
    if (n < 0) {
      return tls_fail(tls, (int)n, uv_strerror((int)n));
    }
    tls->rest_sent += (size_t)n;
    if (tls->rest_sent == tls->rest_size) {
      free(tls->rest);
      tls->rest = NULL;
      tls->rest_size = 0;
      tls->rest_sent = 0;
    }
  }
  if (tls->read_wants_room) {
    tls->read_wants_room = false;
    net_layer_wake(layer, true, false);
  }
  return 0;
}

static bool tls_holding(const struct net_layer *layer) {
  return tls_of(layer)->rest != NULL;
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
      (void)tls_push_out(tls); /* the alert that tells the peer; the first error stays */
      return error;
    }
    tls->established = why == SSL_ERROR_NONE;
    const int error = tls_push_out(tls);
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
      (void)tls_push_out(tls); /* the alert; the first error stays */
      return got > 0 ? (ssize_t)got : failure;
    }
    const int pushed = tls_push_out(tls);
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
  const int pushed = tls_push_out(tls);
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
    *size = here < RECORD_PLAIN ? here : RECORD_PLAIN;
    cursor->offset += *size;
    return data;
  }
  size_t joined = 0;
  while (here > 0 && joined < RECORD_PLAIN) {
    const size_t n = here < RECORD_PLAIN - joined ? here : RECORD_PLAIN - joined;
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
  const struct tls_depth *depth = depth_of(tls);
  size_t taken = 0;
  int error = tls_ready(tls);
  if (!error && tls->rest) {
    error = tls_flush(layer);
  }
  if (error) {
    return error;
  }
  while (taken < WRITE_MAX && OUT_SIZE - depth->out_size >= RECORD_PLAIN + RECORD_SPARE) {
    size_t size, written;
    const uint8_t *data = cursor_take(&cursor, scratch_of(tls)->staging, &size);
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
  error = tls_push_out(tls);
  return error ? error : (ssize_t)taken;
}

static bool tls_pending(const struct net_layer *layer) {
  const struct tls_layer *tls = tls_of(layer);
  return SSL_pending(tls->ssl) > 0 || tls_has_ciphertext(tls);
}

static int tls_shutdown(struct net_layer *layer) {
  struct tls_layer *tls = tls_of(layer);
  if (tls->failed) {
    return tls->failed;
  }
  if (!tls->established) {
    return 0; /* no session, no goodbye: the peer sees the FIN */
  }
  int error = tls_flush(layer);
  if (!error && !tls->goodbye_sent) {
    tls->goodbye_sent = true;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl); /* writes close_notify; the peer's is read by tls_read */
    ERR_clear_error();
    error = tls_push_out(tls);
    if (!error && tls->rest) {
      error = UV_EAGAIN;
    }
  }
  return error;
}

static void tls_free(struct net_layer *layer) {
  struct tls_layer *tls = tls_of(layer);
  struct tls_depth *depth = depth_of(tls);
  if (depth->in_owner == tls) {
    depth->in_owner = NULL;
  }
  SSL_free(tls->ssl);
  net_tls_context_unref(tls->context);
  free(tls->saved);
  free(tls->rest);
  free(tls->error_text);
  free(tls);
}

static const struct net_layer_ops tls_ops = {
    .name = "tls",
    .read = tls_read,
    .write = tls_write,
    .flush = tls_flush,
    .pending = tls_pending,
    .shutdown = tls_shutdown,
    .free = tls_free,
    .handshake = tls_handshake,
    .holding = tls_holding,
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
    depth += layer->ops == &tls_ops;
  }
  if (depth >= NET_TLS_DEPTH_MAX) {
    return UV_E2BIG;
  }
  int error = scratch_prepare(net_conn_loop(conn), depth);
  if (error) {
    return error;
  }
  struct tls_layer *tls = calloc(1, sizeof *tls);
  if (!tls) {
    return UV_ENOMEM;
  }
  tls->layer.ops = &tls_ops;
  tls->depth = (uint8_t)depth;
  tls->ssl = SSL_new(context->ssl);
  BIO *bio = tls->ssl ? BIO_new(net_conn_loop(conn)->private_->tls->method) : NULL;
  if (!bio) {
    error = UV_ENOMEM;
    goto failed;
  }
  BIO_set_data(bio, tls);
  BIO_set_init(bio, 1);
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
  struct net_layer *layer = net_conn_layer(conn, &tls_ops);
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
