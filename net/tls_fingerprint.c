/* tls_fingerprint.c: a key's fingerprint, and its text as ssh prints it. */
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <string.h>

#include "tls_private.h"

#define PREFIX      "SHA256:"
#define PREFIX_SIZE (sizeof PREFIX - 1)
#define BASE64_SIZE 43u /* 32 bytes, no padding */

_Static_assert(PREFIX_SIZE + BASE64_SIZE + 1 <= NET_FINGERPRINT_TEXT, "the text fits");

int net_tls_key_fingerprint(uint8_t out[static NET_FINGERPRINT_SIZE], const EVP_PKEY *key) {
  unsigned char *der = NULL;
  const int size = key ? i2d_PUBKEY(key, &der) : -1;
  if (size <= 0) {
    ERR_clear_error();
    return UV_ENOMEM;
  }
  SHA256(der, (size_t)size, out);
  OPENSSL_free(der);
  return 0;
}

const char *net_fingerprint_text(char out[static NET_FINGERPRINT_TEXT],
                                 const uint8_t fingerprint[static NET_FINGERPRINT_SIZE]) {
  memcpy(out, PREFIX, PREFIX_SIZE);
  sodium_bin2base64(out + PREFIX_SIZE, NET_FINGERPRINT_TEXT - PREFIX_SIZE, fingerprint, NET_FINGERPRINT_SIZE,
                    sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
  return out;
}

int net_fingerprint_parse(uint8_t out[static NET_FINGERPRINT_SIZE], const char *text, size_t size) {
  uint8_t bytes[NET_FINGERPRINT_SIZE];
  size_t decoded;
  if (size >= PREFIX_SIZE && memcmp(text, PREFIX, PREFIX_SIZE) == 0) {
    text += PREFIX_SIZE;
    size -= PREFIX_SIZE;
  }
  if (size != BASE64_SIZE ||
      sodium_base642bin(bytes, sizeof bytes, text, size, NULL, &decoded, NULL,
                        sodium_base64_VARIANT_ORIGINAL_NO_PADDING) != 0 ||
      decoded != sizeof bytes) {
    return UV_EINVAL;
  }
  memcpy(out, bytes, sizeof bytes);
  return 0;
}
