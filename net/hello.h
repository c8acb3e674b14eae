/* hello.h: the handshake and SERVICES messages as structs, and their JSON. No I/O.
 *
 *   client                                server
 *     magic, HELLO             ->
 *                              <-  magic, CHALLENGE   (version chosen, nonce, whether credentials are wanted)
 *     AUTH, SERVICES           ->                     (AUTH proves the user; SERVICES may follow at once)
 *                              <-  READY              (session, limits, and the verdict on every service with its URLs)
 *     SERVICES                 ->                     (any time later, the whole list again)
 *                              <-  SERVICES_OK
 * A refusal is GOAWAY with a code of enum mdm_goaway and a sentence. Unknown JSON keys are ignored.
 * Decoders own what they return: strings are inside the struct or freed by the _clean function. Limits are checked
 * here.
 */
#ifndef NET_HELLO_H
#define NET_HELLO_H

#include <stdbool.h>
#include <stdint.h>

#include "mdm/mux.h"
#include "service.h"

#define NET_PROTOCOL_MIN  1
#define NET_PROTOCOL_MAX  1
#define NET_NONCE_SIZE    32
#define NET_INSTANCE_SIZE 16
#define NET_TEXT_MAX      255
#define NET_SENTENCE_MAX  1024

struct net_hello {
  uint32_t version_min, version_max;
  char software[NET_TEXT_MAX + 1];     /* "mdm-tunnel/0.1.0" */
  char client_name[NET_TEXT_MAX + 1];  /* --name, default the host's name */
  bool name_explicit;                  /* --name was given: a clash is refused; otherwise NAME-2 is taken */
  uint8_t instance[NET_INSTANCE_SIZE]; /* random, of this process */
  uint64_t epoch;                      /* raised at each connect of the instance; at most 2^53 - 1 (JSON) */
  uint32_t open_credit, max_streams;
  bool resume; /* feature; not offered in version 0.1 */
};
struct net_challenge {
  uint32_t version;
  uint8_t nonce[NET_NONCE_SIZE];
  bool open_mode; /* no credentials wanted: AUTH with method NONE */
  char software[NET_TEXT_MAX + 1];
};
enum net_auth_method { NET_AUTH_NONE, NET_AUTH_TOKEN, NET_AUTH_KEY };
struct net_auth {
  enum net_auth_method method;
  char user[NET_TEXT_MAX + 1];           /* -u; may be empty when the credential says it */
  char token[NET_TEXT_MAX + 1];          /* wiped by net_auth_clean */
  uint8_t public_key[32], signature[64]; /* KEY: Ed25519 over the nonce and the TLS exporter */
  bool replace;                          /* --replace */
};
enum net_verdict {
  NET_SERVICE_OK,
  NET_SERVICE_NO_WEB,
  NET_SERVICE_REFUSED
}; /* NO_WEB: accepted, the name is no label */
struct net_service_verdict {
  uint32_t id;
  enum net_verdict verdict;
  char reason[NET_SENTENCE_MAX + 1]; /* REFUSED: a sentence; NO_WEB: why */
  char url[512];                     /* OK: first public URL, "" if none */
};
struct net_services { /* SERVICES */
  uint64_t serial;    /* counts up; echoed by the answer */
  struct net_service *list;
  size_t count;
};
struct net_services_ok { /* SERVICES_OK, and inside READY. A service with several URLs has an entry for each */
  uint64_t serial;
  struct net_service_verdict *list;
  size_t count;
};
struct net_ready {
  char session[64];                   /* id, for logs on both sides */
  char user[NET_TEXT_MAX + 1];        /* the credential's user */
  char client_name[NET_TEXT_MAX + 1]; /* as granted (NAME-2) */
  uint32_t open_credit, max_streams;
  uint32_t heartbeat_ms; /* what the server does; information */
  struct net_services_ok services;
};

/* Encoders return a malloc'd JSON text (caller frees; auth: net_message_free wipes) or NULL when memory is out. */
char *net_hello_encode(const struct net_hello *m, size_t *size);
char *net_challenge_encode(const struct net_challenge *m, size_t *size);
char *net_auth_encode(const struct net_auth *m, size_t *size);
char *net_services_encode(const struct net_services *m, size_t *size);
char *net_services_ok_encode(const struct net_services_ok *m, size_t *size);
char *net_ready_encode(const struct net_ready *m, size_t *size);
void net_message_free(char *text, size_t size);
/* 0, or -1 with a sentence for GOAWAY PROTOCOL. */
int net_hello_decode(struct net_hello *m, const uint8_t *data, size_t size, char *error, size_t error_size);
int net_challenge_decode(struct net_challenge *m, const uint8_t *data, size_t size, char *error, size_t error_size);
int net_auth_decode(struct net_auth *m, const uint8_t *data, size_t size, char *error, size_t error_size);
int net_services_decode(struct net_services *m, const uint8_t *data, size_t size, char *error, size_t error_size);
int net_services_ok_decode(struct net_services_ok *m, const uint8_t *data, size_t size, char *error, size_t error_size);
int net_ready_decode(struct net_ready *m, const uint8_t *data, size_t size, char *error, size_t error_size);
void net_auth_clean(struct net_auth *m);
void net_services_clean(struct net_services *m);
void net_services_ok_clean(struct net_services_ok *m);
void net_ready_clean(struct net_ready *m);

/* The version that both sides speak, the highest one, or 0 when there is none (GOAWAY VERSION). */
uint32_t net_version_choose(const struct net_hello *m);

/* What an Ed25519 key signs in AUTH: the label, the challenge's nonce, the link's TLS exporter. The exporter's own
 * label is NET_AUTH_EXPORTER. */
#define NET_AUTH_CONTEXT     "mdm-mux auth v1"
#define NET_AUTH_EXPORTER    "EXPORTER-mdm-mux-auth-v1"
#define NET_AUTH_SIGNED_SIZE (sizeof NET_AUTH_CONTEXT - 1 + NET_NONCE_SIZE + 32)
void net_auth_signed_text(uint8_t out[static NET_AUTH_SIGNED_SIZE], const uint8_t nonce[static NET_NONCE_SIZE],
                          const uint8_t exporter[static 32]);

/* Tokens: "mdm1." base64url(32 random bytes) "." fingerprint text without "SHA256:". The text after the last dot pins
 * the server. */
#define NET_TOKEN_SECRET_SIZE 32
int net_token_make(char out[static NET_TEXT_MAX + 1], const uint8_t fingerprint[static 32]);
/* 0 or UV_EINVAL: it begins as one of ours but is cut or mistyped. Splits: secret (32 bytes) and fingerprint.
 * has_fingerprint false for foreign tokens (a hook's own), which are opaque text. */
int net_token_parse(const char *token, uint8_t secret[static NET_TOKEN_SECRET_SIZE], uint8_t fingerprint[static 32],
                    bool *has_fingerprint);

#endif
