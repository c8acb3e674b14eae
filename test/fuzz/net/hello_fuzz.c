/* hello_fuzz.c: any bytes are a message or a sentence; a message that was read is written and read again as the same
 * text. The first byte chooses which. */
#include <sodium.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hello.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds) {
  if (!holds) {
    abort();
  }
}

/* Reads and writes one kind of message: NULL when it is refused. */
#define ROUND(kind, clean)                                                                                             \
  static char *round_##kind(const uint8_t *data, size_t size, size_t *out_size, char *error, size_t error_size) {      \
    struct net_##kind m;                                                                                               \
    if (net_##kind##_decode(&m, data, size, error, error_size) != 0) {                                                 \
      return NULL;                                                                                                     \
    }                                                                                                                  \
    char *text = net_##kind##_encode(&m, out_size);                                                                    \
    check(text != NULL);                                                                                               \
    clean;                                                                                                             \
    return text;                                                                                                       \
  }
ROUND(hello, (void)m)
ROUND(challenge, (void)m)
ROUND(auth, net_auth_clean(&m))
ROUND(services, net_services_clean(&m))
ROUND(services_ok, net_services_ok_clean(&m))
ROUND(ready, net_ready_clean(&m))

typedef char *(*round_trip)(const uint8_t *data, size_t size, size_t *out_size, char *error, size_t error_size);

static void token_parse(const uint8_t *data, size_t size) {
  char text[NET_TEXT_MAX + 1];
  uint8_t secret[NET_TOKEN_SECRET_SIZE], fingerprint[32];
  bool has;
  size_t n = size < NET_TEXT_MAX ? size : NET_TEXT_MAX;
  memcpy(text, data, n);
  text[n] = '\0';
  check(net_token_parse(text, secret, fingerprint, &has) == 0 || !has);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const round_trip kinds[] = {round_hello,    round_challenge,   round_auth,
                                     round_services, round_services_ok, round_ready};
  if (size == 0 || sodium_init() < 0) {
    return 0;
  }
  unsigned kind = data[0] % (sizeof kinds / sizeof *kinds + 1);
  if (kind == sizeof kinds / sizeof *kinds) {
    token_parse(data + 1, size - 1);
    return 0;
  }
  char error[512] = "";
  size_t first_size = 0, second_size = 0;
  char *first = kinds[kind](data + 1, size - 1, &first_size, error, sizeof error);
  check((first == NULL) == (error[0] != '\0'));
  if (first == NULL) {
    return 0;
  }
  check(net_text_is_utf8(first, first_size));
  char *second = kinds[kind]((const uint8_t *)first, first_size, &second_size, error, sizeof error);
  check(second != NULL && second_size == first_size && memcmp(first, second, first_size) == 0);
  net_message_free(first, first_size);
  net_message_free(second, second_size);
  return 0;
}
