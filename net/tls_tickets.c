/* tls_tickets.c: session tickets without state on the server: the keys that seal them, and their rotation. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tls.h"

#define TICKET_KEY_SECONDS (12u * 3600u) /* a key seals for so long and opens for twice as long */

struct ticket_key {
  uint8_t name[16];
  uint8_t cipher[32];
  uint8_t mac[32];
  uint64_t made_s; /* 0 = no key */
};

struct net_tls_tickets {
  atomic_uint references;
  uv_mutex_t lock;
  struct ticket_key current, previous;
};

static uint64_t ticket_clock_s(void) {
  return uv_hrtime() / 1000000000u + 1u;
}

static void tickets_on_context_free(void *parent, void *value, CRYPTO_EX_DATA *ex, int index, long argl, void *argp) {
  (void)parent;
  (void)ex;
  (void)index;
  (void)argl;
  (void)argp;
  net_tls_tickets_unref(value);
}

/* OpenSSL gives out such an index once a process; it does not change afterwards. */
static int tickets_index;
static uv_once_t tickets_index_once = UV_ONCE_INIT;

static void tickets_make_index(void) {
  tickets_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, tickets_on_context_free);
}

struct net_tls_tickets *net_tls_tickets_new(void) {
  struct net_tls_tickets *tickets = calloc(1, sizeof *tickets);
  if (!tickets) {
    return NULL;
  }
  if (uv_mutex_init(&tickets->lock)) {
    free(tickets);
    return NULL;
  }
  atomic_init(&tickets->references, 1);
  return tickets;
}

void net_tls_tickets_unref(struct net_tls_tickets *tickets) {
  if (tickets && atomic_fetch_sub_explicit(&tickets->references, 1, memory_order_acq_rel) == 1) {
    uv_mutex_destroy(&tickets->lock);
    sodium_memzero(tickets, sizeof *tickets);
    free(tickets);
  }
}

/* The key that seals now. Called with the lock held. */
static bool tickets_rotate(struct net_tls_tickets *tickets, uint64_t now_s) {
  struct ticket_key fresh = {.made_s = now_s};
  if (tickets->current.made_s != 0 && now_s - tickets->current.made_s < TICKET_KEY_SECONDS) {
    return true;
  }
  if (RAND_bytes(fresh.name, sizeof fresh.name) != 1 || RAND_priv_bytes(fresh.cipher, sizeof fresh.cipher) != 1 ||
      RAND_priv_bytes(fresh.mac, sizeof fresh.mac) != 1) {
    return false;
  }
  tickets->previous = tickets->current;
  tickets->current = fresh;
  sodium_memzero(&fresh, sizeof fresh);
  return true;
}

/* 1 = found, 2 = found but old: seal anew, 0 = unknown or too old. */
static int tickets_find(const struct net_tls_tickets *tickets, uint64_t now_s, const uint8_t name[static 16],
                        struct ticket_key *out) {
  const struct ticket_key *keys[] = {&tickets->current, &tickets->previous};
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    if (keys[i]->made_s != 0 && now_s - keys[i]->made_s < 2u * TICKET_KEY_SECONDS &&
        memcmp(keys[i]->name, name, 16) == 0) {
      *out = *keys[i];
      return i == 0 ? 1 : 2;
    }
  }
  return 0;
}

static int ticket_set_mac(EVP_MAC_CTX *mac, struct ticket_key *key) {
  char digest[] = "SHA256";
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof key->mac),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_end(),
  };
  return EVP_MAC_CTX_set_params(mac, parameters);
}

static int tickets_on_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                          int seal) {
  struct net_tls_tickets *tickets = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), tickets_index);
  struct ticket_key key = {0};
  int found = 0;
  if (!tickets) {
    return 0; /* switched to an SSL_CTX that has no ring: no ticket */
  }
  const uint64_t now_s = ticket_clock_s();
  uv_mutex_lock(&tickets->lock);
  if (!seal) {
    found = tickets_find(tickets, now_s, name, &key);
  } else if (tickets_rotate(tickets, now_s)) {
    key = tickets->current;
    found = 1;
  }
  uv_mutex_unlock(&tickets->lock);
  if (found == 0) {
    return seal ? -1 : 0;
  }
  int done;
  if (seal) {
    memcpy(name, key.name, sizeof key.name);
    done = RAND_bytes(iv, 16) == 1 && EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) == 1;
  } else {
    done = EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) == 1;
  }
  done = done && ticket_set_mac(mac, &key) == 1;
  sodium_memzero(&key, sizeof key);
  if (done && !seal && SSL_version(ssl) == TLS1_3_VERSION) {
    found = 2; /* a client uses a ticket of TLS 1.3 once (RFC 8446, C.4): it gets the next one now */
  }
  return done ? found : -1;
}

int net_tls_tickets_attach(struct net_tls_tickets *tickets, SSL_CTX *ssl) {
  uv_once(&tickets_index_once, tickets_make_index);
  if (tickets_index < 0) {
    return UV_ENOMEM;
  }
  net_tls_tickets_unref(SSL_CTX_get_ex_data(ssl, tickets_index));
  if (SSL_CTX_set_ex_data(ssl, tickets_index, tickets) != 1) {
    return UV_ENOMEM;
  }
  atomic_fetch_add_explicit(&tickets->references, 1, memory_order_relaxed);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, tickets_on_key);
  SSL_CTX_set_timeout(ssl, TICKET_KEY_SECONDS);
  SSL_CTX_set_num_tickets(ssl, 1);
  SSL_CTX_clear_options(ssl, SSL_OP_NO_TICKET);
  return 0;
}
