/* identity.c: the link's key and certificate: made, saved and loaded. */
#include "identity.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tls_private.h"

#define FILE_LIMIT       (256u * 1024u)
#define SERIAL_SIZE      16
#define CHAIN_MAX        16
#define CERTIFICATE_NAME "mdm-tunnel link"
/* Fixed dates, so that a clock that jumps does not break the link: what counts is the fingerprint. */
#define VALID_FROM "20200101000000Z"
#define VALID_TO   "20500101000000Z"

__attribute__((format(printf, 4, 5))) static int identity_fail(char *error, size_t error_size, int code,
                                                               const char *format, ...) {
  va_list arguments;
  if (error && error_size > 0) {
    va_start(arguments, format);
    vsnprintf(error, error_size, format, arguments);
    va_end(arguments);
  }
  ERR_clear_error();
  return code;
}

void net_identity_clean(struct net_identity *identity) {
  EVP_PKEY_free(identity->key);
  X509_free(identity->certificate);
  sk_X509_pop_free(identity->chain, X509_free);
  *identity = (struct net_identity){0};
}

/* ---- making ---- */
static bool certificate_fill(X509 *certificate, EVP_PKEY *key) {
  uint8_t serial[SERIAL_SIZE];
  if (RAND_bytes(serial, sizeof serial) != 1) {
    return false;
  }
  serial[0] = (serial[0] & 0x7fu) | 0x40u; /* positive, and of full length */
  BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
  bool done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
  BN_free(number);
  X509_NAME *name = X509_get_subject_name(certificate);
  done =
      done && X509_set_version(certificate, X509_VERSION_3) == 1 &&
      ASN1_TIME_set_string_X509(X509_getm_notBefore(certificate), VALID_FROM) == 1 &&
      ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate), VALID_TO) == 1 &&
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)CERTIFICATE_NAME, -1, -1, 0) == 1 &&
      X509_set_issuer_name(certificate, name) == 1 && X509_set_pubkey(certificate, key) == 1;
  return done && X509_sign(certificate, key, EVP_sha256()) > 0;
}

static X509 *certificate_new(EVP_PKEY *key) {
  X509 *certificate = X509_new();
  if (certificate && !certificate_fill(certificate, key)) {
    X509_free(certificate);
    certificate = NULL;
  }
  return certificate;
}

static int write_pem(const char *path, BIO *pem, unsigned mode, char *error, size_t error_size) {
  char *data = NULL;
  const long size = BIO_get_mem_data(pem, &data);
  const int outcome = net_file_write(path, data, (size_t)size, mode);
  if (mode == 0600) {
    sodium_memzero(data, (size_t)size);
  }
  return outcome ? identity_fail(error, error_size, outcome, "cannot write %s: %s", path, uv_strerror(outcome)) : 0;
}

static int save_key(EVP_PKEY *key, const char *path, char *error, size_t error_size) {
  BIO *pem = BIO_new(BIO_s_secmem());
  int outcome = UV_ENOMEM;
  if (!pem || PEM_write_bio_PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL) != 1) {
    identity_fail(error, error_size, UV_ENOMEM, "cannot write %s: out of memory", path);
  } else {
    outcome = write_pem(path, pem, 0600, error, error_size);
  }
  BIO_free(pem);
  return outcome;
}

static int save_certificate(X509 *certificate, const char *path, char *error, size_t error_size) {
  BIO *pem = BIO_new(BIO_s_mem());
  int outcome = UV_ENOMEM;
  if (!pem || PEM_write_bio_X509(pem, certificate) != 1) {
    identity_fail(error, error_size, UV_ENOMEM, "cannot write %s: out of memory", path);
  } else {
    outcome = write_pem(path, pem, 0644, error, error_size);
  }
  BIO_free(pem);
  return outcome;
}

/* The key goes first: with it alone the certificate can be made again. */
static int identity_make(const char *cert_path, const char *key_path, char *error, size_t error_size) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  if (!key) {
    return identity_fail(error, error_size, UV_ENOMEM, "cannot make a link key");
  }
  int outcome = save_key(key, key_path, error, error_size);
  X509 *certificate = outcome ? NULL : certificate_new(key);
  if (!outcome && !certificate) {
    outcome = identity_fail(error, error_size, UV_ENOMEM, "cannot make the link's certificate");
  }
  if (!outcome) {
    outcome = save_certificate(certificate, cert_path, error, error_size);
  }
  X509_free(certificate);
  EVP_PKEY_free(key);
  return outcome;
}

/* ---- loading ---- */
static int no_password(char *out, int capacity, int writing, void *user) {
  (void)out;
  (void)capacity;
  (void)writing;
  (void)user;
  return -1; /* never asks on a terminal */
}

static int load_key(EVP_PKEY **out, const char *path, char *error, size_t error_size) {
  char *text = NULL;
  size_t size = 0;
  int outcome = net_file_read(path, FILE_LIMIT, &text, &size);
  if (outcome) {
    return identity_fail(error, error_size, outcome, "cannot read %s: %s", path, uv_strerror(outcome));
  }
  if (!net_file_is_private(path)) {
    sodium_memzero(text, size);
    free(text);
    return identity_fail(error, error_size, UV_EACCES, "%s may be read by others: run chmod 600 %s", path, path);
  }
  BIO *pem = BIO_new_mem_buf(text, (int)size);
  *out = pem ? PEM_read_bio_PrivateKey(pem, NULL, no_password, NULL) : NULL;
  BIO_free(pem);
  sodium_memzero(text, size);
  free(text);
  return *out
             ? 0
             : identity_fail(error, error_size, UV_EINVAL, "%s holds no private key in PEM without a passphrase", path);
}

static int read_chain(struct net_identity *identity, BIO *pem) {
  for (int i = 0; i < CHAIN_MAX; i++) {
    X509 *next = PEM_read_bio_X509(pem, NULL, no_password, NULL);
    if (!next) {
      const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
      ERR_clear_error();
      return at_end ? 0 : UV_EINVAL;
    }
    if (!identity->chain) {
      identity->chain = sk_X509_new_null();
    }
    if (!identity->chain || sk_X509_push(identity->chain, next) <= 0) {
      X509_free(next);
      return UV_ENOMEM;
    }
  }
  return UV_E2BIG;
}

static int load_certificates(struct net_identity *identity, const char *path, char *error, size_t error_size) {
  char *text = NULL;
  size_t size = 0;
  int outcome = net_file_read(path, FILE_LIMIT, &text, &size);
  if (outcome) {
    return identity_fail(error, error_size, outcome, "cannot read %s: %s", path, uv_strerror(outcome));
  }
  BIO *pem = BIO_new_mem_buf(text, (int)size);
  identity->certificate = pem ? PEM_read_bio_X509(pem, NULL, no_password, NULL) : NULL;
  outcome = identity->certificate ? read_chain(identity, pem) : UV_EINVAL;
  BIO_free(pem);
  free(text);
  return outcome ? identity_fail(error, error_size, outcome, "%s holds no usable certificate in PEM", path) : 0;
}

int net_identity_load_files(struct net_identity *identity, const char *cert, const char *key, char *error,
                            size_t error_size) {
  *identity = (struct net_identity){0};
  int outcome = load_key(&identity->key, key, error, error_size);
  if (!outcome) {
    outcome = load_certificates(identity, cert, error, error_size);
  }
  if (!outcome && X509_check_private_key(identity->certificate, identity->key) != 1) {
    outcome =
        identity_fail(error, error_size, UV_EINVAL, "the key in %s is not that of the certificate in %s", key, cert);
  }
  if (!outcome && net_tls_key_fingerprint(identity->fingerprint, identity->key)) {
    outcome = identity_fail(error, error_size, UV_ENOMEM, "cannot fingerprint the key in %s", key);
  }
  if (outcome) {
    net_identity_clean(identity);
  }
  return outcome;
}

/* Something lost the certificate, or the first start was cut short: the key still says who we are. */
static int identity_remake_certificate(const char *cert_path, const char *key_path, char *error, size_t error_size) {
  EVP_PKEY *key = NULL;
  int outcome = load_key(&key, key_path, error, error_size);
  if (outcome) {
    return outcome;
  }
  X509 *certificate = certificate_new(key);
  outcome = certificate ? save_certificate(certificate, cert_path, error, error_size)
                        : identity_fail(error, error_size, UV_ENOMEM, "cannot make the link's certificate");
  X509_free(certificate);
  EVP_PKEY_free(key);
  return outcome;
}

int net_identity_load(struct net_identity *identity, const char *state_dir, bool *made, char *error,
                      size_t error_size) {
  char cert_path[4096];
  char key_path[4096];
  *identity = (struct net_identity){0};
  if (made) {
    *made = false;
  }
  const int size = snprintf(cert_path, sizeof cert_path, "%s/link.crt", state_dir);
  if (size < 0 || (size_t)size >= sizeof cert_path) {
    return identity_fail(error, error_size, UV_ENAMETOOLONG, "the path of the state directory is too long");
  }
  snprintf(key_path, sizeof key_path, "%s/link.key", state_dir);
  const bool has_cert = access(cert_path, F_OK) == 0;
  const bool has_key = access(key_path, F_OK) == 0;
  int outcome = 0;
  if (has_cert && !has_key) {
    return identity_fail(
        error, error_size, UV_ENOENT,
        "%s is there but %s is missing: restore the key, or remove the certificate to make a new identity "
        "(clients that remember the old one will refuse it)",
        cert_path, key_path);
  }
  if (!has_key) {
    outcome = identity_make(cert_path, key_path, error, error_size);
    if (made) {
      *made = !outcome;
    }
  } else if (!has_cert) {
    outcome = identity_remake_certificate(cert_path, key_path, error, error_size);
  }
  return outcome ? outcome : net_identity_load_files(identity, cert_path, key_path, error, error_size);
}
