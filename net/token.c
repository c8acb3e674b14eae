/* token.c: the text of a token: "mdm1." secret "." fingerprint of the server's link key. */
#include "hello.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "tls.h"

#define TOKEN_PREFIX       "mdm1."
#define FINGERPRINT_PREFIX "SHA256:"
#define SECRET_TEXT        44u /* 32 bytes in base64url without padding, and NUL */

int net_token_make(char out[static NET_TEXT_MAX + 1], const uint8_t fingerprint[static 32]) {
  if (sodium_init() < 0) {
    return UV_EIO;
  }
  uint8_t secret[NET_TOKEN_SECRET_SIZE];
  char secret_text[SECRET_TEXT], print[NET_FINGERPRINT_TEXT];
  randombytes_buf(secret, sizeof secret);
  (void)sodium_bin2base64(secret_text, sizeof secret_text, secret, sizeof secret,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  (void)net_fingerprint_text(print, fingerprint);
  (void)snprintf(out, NET_TEXT_MAX + 1, TOKEN_PREFIX "%s.%s", secret_text, print + strlen(FINGERPRINT_PREFIX));
  sodium_memzero(secret, sizeof secret);
  sodium_memzero(secret_text, sizeof secret_text);
  return 0;
}

int net_token_parse(const char *token, uint8_t secret[static NET_TOKEN_SECRET_SIZE], uint8_t fingerprint[static 32],
                    bool *has_fingerprint) {
  *has_fingerprint = false;
  if (strncmp(token, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) != 0) {
    return 0;
  }
  const char *text = token + strlen(TOKEN_PREFIX), *dot = strchr(text, '.');
  size_t size = 0;
  const char *end = NULL;
  if (dot == NULL ||
      sodium_base642bin(secret, NET_TOKEN_SECRET_SIZE, text, (size_t)(dot - text), NULL, &size, &end,
                        sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
      end != dot || size != NET_TOKEN_SECRET_SIZE ||
      strncmp(dot + 1, FINGERPRINT_PREFIX, strlen(FINGERPRINT_PREFIX)) == 0 ||
      net_fingerprint_parse(fingerprint, dot + 1, strlen(dot + 1)) != 0) {
    sodium_memzero(secret, NET_TOKEN_SECRET_SIZE);
    return UV_EINVAL;
  }
  *has_fingerprint = true;
  return 0;
}
