/* tls_layer.h: a TLS layer and the buffers of a loop that it works on, as tls.c (the session) and tls_bio.c (the bytes)
 * see them. */
#ifndef NET_TLS_LAYER_H
#define NET_TLS_LAYER_H

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "loop_private.h"
#include "tls_private.h"

#define TLS_RECORD_PLAIN 16384u
#define TLS_RECORD_SPARE 1024u /* a record's overhead, and a key update ahead of it */
/* One write takes records until this: four, and the rest of the four of a layer above. */
#define TLS_WRITE_MAX (4u * TLS_RECORD_PLAIN + TLS_RECORD_SPARE)
#define TLS_IN_SIZE   NET_SCRATCH_SIZE /* one recv() */
/* The records of one write; a handshake's flight piece by piece. */
#define TLS_OUT_SIZE (5u * (TLS_RECORD_PLAIN + TLS_RECORD_SPARE))
#define TLS_REST_MAX (2u * TLS_OUT_SIZE)

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
  uint8_t *staging;
  struct tls_depth depths[NET_TLS_DEPTH_MAX];
};

extern const struct net_layer_ops net_tls_layer_ops;

static inline struct tls_layer *tls_of(const struct net_layer *layer) {
  return (struct tls_layer *)(void *)(uintptr_t)layer;
}

static inline struct net_tls_scratch *tls_scratch_of(const struct tls_layer *tls) {
  return net_conn_loop(tls->layer.conn)->private_->tls;
}

static inline struct tls_depth *tls_depth_of(const struct tls_layer *tls) {
  return &tls_scratch_of(tls)->depths[tls->depth];
}

/* ---- tls.c ---- */
/* Keeps the first failure and its sentence; answers it. */
int tls_fail(struct tls_layer *tls, int error, const char *text);

/* ---- tls_bio.c ---- */
int tls_scratch_prepare(struct net_loop *loop,
                        unsigned depth); /* what a layer at this depth needs on this loop; 0 or UV_ENOMEM */
BIO *tls_bio_new(struct tls_layer *tls); /* NULL: out of memory */
bool tls_bio_has_ciphertext(const struct tls_layer *tls);
/* Sends what OpenSSL has put into depth.out and keeps what the one below does not take: 0, or an error of the one
 * below. */
int tls_bio_push_out(struct tls_layer *tls);
int tls_bio_flush(struct tls_layer *tls); /* the remainder: 0 = gone, UV_EAGAIN, error */
int tls_bio_leave(struct tls_layer *tls); /* takes its bytes out of the loop's buffers; 0 or UV_ENOMEM */
void tls_bio_clean(struct tls_layer *tls);

#endif
