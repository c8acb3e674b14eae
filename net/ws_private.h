/* ws_private.h: the WebSocket layer as ws.c (bytes, frames) and ws_upgrade.c (the HTTP before them) see it. */
#ifndef NET_WS_PRIVATE_H
#define NET_WS_PRIVATE_H

#include <wslay/wslay.h>

#include "http_answer.h"
#include "ws.h"

#define WS_KEY_TEXT        25u                     /* 16 bytes in base64, and NUL */
#define WS_ACCEPT_TEXT     29u                     /* a SHA-1 in base64, and NUL */
#define WS_PAYLOAD_MAX     (17u * 1024u)           /* of a frame of ours: a whole TLS record with its overhead */
#define WS_OUT_MAX         (WS_PAYLOAD_MAX + 512u) /* that frame with its header, a PONG and a CLOSE */
#define WS_HEAD_MAX        1024u                   /* our own request or answer, less than WS_OUT_MAX */
#define WS_IDLE_FRAMES_MAX 256u /* control and empty frames in a row without a byte of payload between them */
#define WS_ERROR_MAX       256u

enum ws_state {
  WS_UPGRADE, /* client: the request leaves, the 101 is awaited */
  WS_OPEN,
  WS_CLOSING, /* our CLOSE is out (or waits in `out`) */
  WS_FAILED,  /* `error` says why; for ever */
};

struct ws_layer {
  struct net_layer layer;
  enum ws_state state;
  bool client;
  bool close_received;
  bool may_hold; /* wslay's buffer may hold more frames */
  int error;
  wslay_frame_context_ptr frames;
  struct wslay_frame_iocb in; /* the frame being received */
  uint64_t in_left;           /* of its payload */
  uint64_t message_size;      /* of the message being received, over its fragments */
  bool in_message;
  unsigned idle_frames;
  uint8_t control[125];
  size_t control_size;
  const uint8_t *chunk; /* unmasked payload in wslay's buffer, not yet read by the layer above */
  size_t chunk_size;
  int below;        /* what the layer below said when wslay asked it */
  uint8_t *surplus; /* bytes behind the 101's head */
  size_t surplus_size, surplus_taken;
  size_t out_size, out_sent;
  uint8_t out[WS_OUT_MAX];
  struct http_answer *answer; /* client, until the 101 */
  char accept[WS_ACCEPT_TEXT];
  bool saw_accept, saw_upgrade, saw_connection, saw_extension;
  char text[WS_ERROR_MAX];
};

int ws_fail(struct ws_layer *ws, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Sends what waits in `out`: 0 when it is empty, UV_EAGAIN, or an error. */
int ws_flush_out(struct ws_layer *ws);
/* ws_upgrade.c */
int ws_upgrade_request(struct ws_layer *ws, const char *host, const char *path);
int ws_upgrade_step(struct ws_layer *ws); /* client: reads the answer; 0 = open */
int ws_upgrade_answer(struct ws_layer *ws, const char *key, size_t key_size);

#endif
