/* ws_upgrade.c: the HTTP that opens a WebSocket (RFC 6455 section 4): the client's request and its judgement of the
 * answer, the server's 101. */
#include "ws_private.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "text.h"

#define WS_GUID   "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 section 1.3 */
#define KEY_SIZE  16u
#define SHA1_SIZE 20u

static int accept_text(char out[static WS_ACCEPT_TEXT], const char *key, size_t key_size) {
  char text[WS_KEY_TEXT + sizeof WS_GUID];
  uint8_t digest[SHA1_SIZE];
  unsigned digest_size = sizeof digest;
  int size = snprintf(text, sizeof text, "%.*s" WS_GUID, (int)key_size, key);
  if (EVP_Digest(text, (size_t)size, digest, &digest_size, EVP_sha1(), NULL) != 1) {
    return UV_EIO;
  }
  (void)sodium_bin2base64(out, WS_ACCEPT_TEXT, digest, sizeof digest, sodium_base64_VARIANT_ORIGINAL);
  return 0;
}

/* "token, token": is `word` one of them, in any case? */
static bool list_has(const char *list, const char *word) {
  size_t size = strlen(word);
  for (const char *at = list; *at != '\0';) {
    at += strspn(at, " \t,");
    size_t length = strcspn(at, " \t,");
    if (length == size && strncasecmp(at, word, size) == 0) {
      return true;
    }
    at += length;
  }
  return false;
}

static struct ws_layer *answer_owner(struct http_answer *answer);

static void on_answer_field(struct http_answer *answer, const char *name, const char *value) {
  struct ws_layer *ws = answer_owner(answer);
  if (strcasecmp(name, "Sec-WebSocket-Accept") == 0) {
    ws->saw_accept = strcmp(value, ws->accept) == 0;
  } else if (strcasecmp(name, "Upgrade") == 0) {
    ws->saw_upgrade = strcasecmp(value, "websocket") == 0;
  } else if (strcasecmp(name, "Connection") == 0) {
    ws->saw_connection = ws->saw_connection || list_has(value, "upgrade");
  } else if (strcasecmp(name, "Sec-WebSocket-Extensions") == 0 || strcasecmp(name, "Sec-WebSocket-Protocol") == 0) {
    ws->saw_extension = true; /* none was offered */
  }
}

/* The answer and the layer that reads it, together on the heap until the 101. */
struct upgrade_answer {
  struct http_answer answer;
  struct ws_layer *ws;
};

static struct ws_layer *answer_owner(struct http_answer *answer) {
  return ((struct upgrade_answer *)(void *)answer)->ws;
}

int ws_upgrade_request(struct ws_layer *ws, const char *host, const char *path) {
  uint8_t key[KEY_SIZE];
  char key_text[WS_KEY_TEXT];
  randombytes_buf(key, sizeof key);
  (void)sodium_bin2base64(key_text, sizeof key_text, key, sizeof key, sodium_base64_VARIANT_ORIGINAL);
  struct upgrade_answer *waiting = calloc(1, sizeof *waiting);
  if (waiting == NULL) {
    return UV_ENOMEM;
  }
  waiting->ws = ws;
  ws->answer = &waiting->answer;
  http_answer_init(ws->answer, on_answer_field);
  int error = accept_text(ws->accept, key_text, sizeof key_text - 1);
  if (error != 0) {
    return error;
  }
  int size = snprintf(
      (char *)ws->out, WS_HEAD_MAX,
      "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: %s\r\nUser-Agent: mdm-tunnel/" MDM_VERSION "\r\n\r\n",
      path, host, key_text);
  if (size < 0 || (size_t)size >= WS_HEAD_MAX) {
    return UV_EINVAL;
  }
  ws->out_size = (size_t)size;
  return 0;
}

static int answer_judge(struct ws_layer *ws) {
  int status = ws->answer->status;
  if (status == 101) {
    if (!ws->saw_upgrade || !ws->saw_connection || !ws->saw_accept) {
      return ws_fail(ws, UV_EPROTO,
                     "the WebSocket upgrade was answered 101 without the right proof: something between rewrites it");
    }
    return ws->saw_extension
               ? ws_fail(ws, UV_EPROTO, "the WebSocket upgrade was answered with an extension that was not offered")
               : 0;
  }
  const char *hint = status == 404
                         ? ": no tunnel server answers at this path, or the host is not the served domain itself"
                     : status == 401 || status == 403 ? ": something in front of the server wants authentication"
                     : status >= 300 && status < 400  ? ": it redirects; give the address that it redirects to"
                     : status == 426 || status == 400 ? ": something between does not pass WebSockets on"
                                                      : "";
  return ws_fail(ws, UV_ECONNREFUSED, "the WebSocket upgrade was answered %d, not 101%s", status, hint);
}

static int surplus_keep(struct ws_layer *ws, const uint8_t *data, size_t size) {
  if (size > 0) {
    ws->surplus = malloc(size);
    if (ws->surplus == NULL) {
      return ws_fail(ws, UV_ENOMEM, "out of memory");
    }
    memcpy(ws->surplus, data, size);
    ws->surplus_size = size;
    ws->may_hold = true;
  }
  return 0;
}

int ws_upgrade_step(struct ws_layer *ws) {
  uint8_t buffer[2048];
  int error = ws_flush_out(ws);
  if (error != 0) {
    return error;
  }
  for (;;) {
    ssize_t n = net_layer_read(&ws->layer, buffer, sizeof buffer);
    if (n == UV_EAGAIN) {
      return UV_EAGAIN;
    }
    if (n < 0) {
      return n == UV_EOF
                 ? ws_fail(ws, UV_ECONNRESET, "the server hung up instead of answering the WebSocket upgrade")
                 : ws_fail(ws, (int)n, "the connection broke during the WebSocket upgrade: %s", uv_strerror((int)n));
    }
    size_t used = 0;
    int done = http_answer_feed(ws->answer, buffer, (size_t)n, &used);
    if (done < 0) {
      return ws_fail(ws, UV_EPROTO, "the server answered the WebSocket upgrade with nonsense: %s",
                     http_answer_fault(ws->answer));
    }
    if (done == 0) {
      continue;
    }
    error = answer_judge(ws);
    if (error == 0) {
      error = surplus_keep(ws, buffer + used, (size_t)n - used);
    }
    if (error == 0) {
      ws->state = WS_OPEN;
      free(ws->answer);
      ws->answer = NULL;
    }
    return error;
  }
}

static bool key_valid(const char *key, size_t size) {
  uint8_t bytes[KEY_SIZE];
  size_t got = 0;
  const char *end = NULL;
  return size == WS_KEY_TEXT - 1 &&
         sodium_base642bin(bytes, sizeof bytes, key, size, NULL, &got, &end, sodium_base64_VARIANT_ORIGINAL) == 0 &&
         end == key + size && got == sizeof bytes;
}

int ws_upgrade_answer(struct ws_layer *ws, const char *key, size_t key_size) {
  char accept[WS_ACCEPT_TEXT];
  if (!key_valid(key, key_size)) {
    return UV_EINVAL;
  }
  int error = accept_text(accept, key, key_size);
  if (error != 0) {
    return error;
  }
  int size = snprintf((char *)ws->out, WS_HEAD_MAX,
                      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "
                      "websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                      accept);
  ws->out_size = (size_t)size;
  return 0;
}
