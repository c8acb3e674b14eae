/* tls_bio.c: the bytes of a TLS layer: what OpenSSL reads and writes, in buffers of the loop.
 *
 * OpenSSL is given a BIO whose bytes live in the loop's buffers, one pair for each depth of nesting, so that a layer
 * inside a layer never meets its own buffers:
 *
 *   read:   below --recv--> depth.in --BIO_read--> SSL --SSL_read--> caller
 *
 *           What the caller leaves stays in depth.in under this layer's name. Who needs the buffer next makes the layer
 *           save it.
 *
 *   write:  caller --(small slices joined in staging)--> SSL_write --BIO_write--> depth.out --one write--> below
 *
 *           What the one below does not take is copied into the layer's remainder; until it has left, write answers
 *           UV_EAGAIN.
 *
 * depth.out is empty between calls. OpenSSL may also write while it reads (alerts, key updates): the same way, or
 * behind the remainder if there is one, up to TLS_REST_MAX; beyond that OpenSSL is told to try again and reading waits
 * for room. */
#include "tls_layer.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

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
    sodium_memzero(scratch->staging, TLS_RECORD_PLAIN);
    free(scratch->staging);
  }
  free(scratch);
}

static struct net_tls_scratch *scratch_new(void) {
  struct net_tls_scratch *scratch = calloc(1, sizeof *scratch);
  if (!scratch) {
    return NULL;
  }
  scratch->staging = malloc(TLS_RECORD_PLAIN);
  if (!scratch->staging) {
    scratch_free(scratch);
    return NULL;
  }
  return scratch;
}

/* OpenSSL's table of our functions: made once a process, because a session may move between loops. */
static BIO_METHOD *bio_method;
static uv_once_t bio_method_once = UV_ONCE_INIT;

static void bio_make_method(void) {
  BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "mdm connection");
  if (method && (BIO_meth_set_read(method, tls_bio_read) != 1 || BIO_meth_set_write(method, tls_bio_write) != 1 ||
                 BIO_meth_set_ctrl(method, tls_bio_ctrl) != 1)) {
    BIO_meth_free(method);
    method = NULL;
  }
  bio_method = method;
}

/* Makes what a layer at this depth needs on this loop. */
int tls_scratch_prepare(struct net_loop *loop, unsigned depth) {
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
    buffers->in = malloc(TLS_IN_SIZE);
  }
  if (!buffers->out) {
    buffers->out = malloc(TLS_OUT_SIZE);
  }
  return buffers->in && buffers->out ? 0 : UV_ENOMEM;
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

int tls_bio_leave(struct tls_layer *tls) {
  struct tls_depth *depth = tls_depth_of(tls);
  if (depth->in_owner == tls) {
    depth_evict(depth);
  }
  return tls->failed == UV_ENOMEM ? UV_ENOMEM : 0;
}

bool tls_bio_has_ciphertext(const struct tls_layer *tls) {
  const struct tls_depth *depth = tls_depth_of(tls);
  return tls->saved || (depth->in_owner == tls && depth->in_taken < depth->in_size);
}

static int tls_bio_read(BIO *bio, char *data, int capacity) {
  struct tls_layer *tls = BIO_get_data(bio);
  struct tls_depth *depth = tls_depth_of(tls);
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
    const ssize_t n = net_layer_read(&tls->layer, depth->in, TLS_IN_SIZE);
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
  struct tls_depth *depth = tls_depth_of(tls);
  BIO_clear_retry_flags(bio);
  if (size <= 0) {
    return 0;
  }
  if (tls->rest) {
    if (tls->rest_size - tls->rest_sent + (size_t)size > TLS_REST_MAX || !tls_keep_rest(tls, data, (size_t)size)) {
      BIO_set_retry_write(bio);
      return -1;
    }
    return size;
  }
  const size_t room = TLS_OUT_SIZE - depth->out_size;
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
int tls_bio_push_out(struct tls_layer *tls) {
  struct tls_depth *depth = tls_depth_of(tls);
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

int tls_bio_flush(struct tls_layer *tls) {
  while (tls->rest) {
    const struct mdm_slice slice = {.data = tls->rest + tls->rest_sent, .size = tls->rest_size - tls->rest_sent};
    const ssize_t n = net_layer_write(&tls->layer, &slice, 1);
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
    net_layer_wake(&tls->layer, true, false);
  }
  return 0;
}

void tls_bio_clean(struct tls_layer *tls) {
  if (net_conn_loop(tls->layer.conn)) { /* else it is on its way, and has left its loop's buffers */
    struct tls_depth *depth = tls_depth_of(tls);
    if (depth->in_owner == tls) {
      depth->in_owner = NULL;
    }
  }
  free(tls->saved);
  free(tls->rest);
}

BIO *tls_bio_new(struct tls_layer *tls) {
  uv_once(&bio_method_once, bio_make_method);
  BIO *bio = bio_method ? BIO_new(bio_method) : NULL;
  if (bio) {
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
  }
  return bio;
}
