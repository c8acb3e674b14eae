/* ws.c: the bytes of the layer above in binary WebSocket messages, through wslay's frames. Nothing is gathered: payload
 * is handed up as it arrives, and what is to be sent leaves in frames of one buffer. The HTTP that opens it is in
 * ws_upgrade.c. */
#include "ws_private.h"

#include <assert.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct net_layer_ops ws_ops;

static struct ws_layer *ws_of(const struct net_layer *layer) {
  return (struct ws_layer *)(uintptr_t)layer; /* the layer is its first member */
}

int ws_fail(struct ws_layer *ws, int error, const char *format, ...) {
  if (ws->state != WS_FAILED) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(ws->text, sizeof ws->text, format, arguments);
    va_end(arguments);
    ws->state = WS_FAILED;
    ws->error = error;
  }
  return ws->error;
}

/* ---- out ---- */
int ws_flush_out(struct ws_layer *ws) {
  while (ws->out_sent < ws->out_size) {
    struct mdm_slice rest = {.data = ws->out + ws->out_sent, .size = ws->out_size - ws->out_sent};
    ssize_t n = net_layer_write(&ws->layer, &rest, 1);
    if (n == UV_EAGAIN) {
      return UV_EAGAIN;
    }
    if (n < 0) {
      return ws_fail(ws, (int)n, "the connection broke: %s", uv_strerror((int)n));
    }
    ws->out_sent += (size_t)n;
  }
  ws->out_size = ws->out_sent = 0;
  return 0;
}

/* wslay's way out: there is always room, because whoever makes a frame has looked before. */
static ssize_t frame_send(const uint8_t *data, size_t size, int flags, void *user) {
  struct ws_layer *ws = user;
  (void)flags;
  if (size > sizeof ws->out - ws->out_size) {
    return -1;
  }
  memcpy(ws->out + ws->out_size, data, size);
  ws->out_size += size;
  return (ssize_t)size;
}

static int frame_mask(uint8_t *out, size_t size, void *user) {
  (void)user;
  randombytes_buf(out, size);
  return 0;
}

/* One whole frame into `out`. */
static int frame_put(struct ws_layer *ws, uint8_t opcode, const struct mdm_slice *slices, size_t count, size_t total) {
  struct wslay_frame_iocb frame = {.fin = 1, .opcode = opcode, .payload_length = total, .mask = ws->client};
  size_t left = total;
  size_t i = 0;
  do {
    frame.data = i < count ? slices[i].data : NULL;
    frame.data_length = i < count && slices[i].size < left ? slices[i].size : i < count ? left : 0;
    ssize_t n = wslay_frame_send(ws->frames, &frame);
    if (n < 0 || (size_t)n != frame.data_length) {
      return ws_fail(ws, UV_ENOMEM, "a WebSocket frame could not be made");
    }
    left -= (size_t)n;
    i++;
  } while (left > 0);
  return 0;
}

/* A control frame goes into the room that data frames leave free; one that finds none is dropped: the peer asks again,
 * or hangs up. */
static void control_put(struct ws_layer *ws, uint8_t opcode, const uint8_t *data, size_t size) {
  struct mdm_slice payload = {.data = data, .size = size};
  if (sizeof ws->out - ws->out_size >= size + 14) {
    (void)frame_put(ws, opcode, &payload, 1, size);
  }
}

static void close_put(struct ws_layer *ws, uint16_t code) {
  uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};
  control_put(ws, WSLAY_CONNECTION_CLOSE, payload, sizeof payload);
}

static ssize_t ws_write(struct net_layer *layer, const struct mdm_slice *slices, size_t count) {
  struct ws_layer *ws = ws_of(layer);
  if (ws->state != WS_OPEN) {
    return ws->state == WS_FAILED ? ws->error : ws->state == WS_UPGRADE ? UV_EAGAIN : UV_EPIPE;
  }
  int error = ws_flush_out(ws);
  if (error != 0) {
    return error;
  }
  size_t total = 0;
  for (size_t i = 0; i < count; i++) {
    total += slices[i].size;
  }
  total = total < WS_PAYLOAD_MAX ? total : WS_PAYLOAD_MAX;
  if (total == 0) {
    return 0;
  }
  error = frame_put(ws, WSLAY_BINARY_FRAME, slices, count, total);
  if (error == 0) {
    error = ws_flush_out(ws); /* UV_EAGAIN: the rest waits here and leaves by itself */
  }
  return error == 0 || error == UV_EAGAIN ? (ssize_t)total : error;
}

static int ws_flush(struct net_layer *layer) {
  struct ws_layer *ws = ws_of(layer);
  return ws->state == WS_FAILED ? ws->error : ws_flush_out(ws);
}

static bool ws_holding(const struct net_layer *layer) {
  const struct ws_layer *ws = ws_of(layer);
  return ws->state != WS_FAILED && ws->out_sent < ws->out_size;
}

static int ws_shutdown(struct net_layer *layer) {
  struct ws_layer *ws = ws_of(layer);
  if (ws->state == WS_UPGRADE || ws->state == WS_FAILED) {
    return 0; /* nothing was opened, or nothing is left to say */
  }
  int error = ws_flush_out(ws);
  if (error == 0 && ws->state == WS_OPEN) {
    ws->state = WS_CLOSING;
    close_put(ws, WSLAY_CODE_NORMAL_CLOSURE);
    error = ws_flush_out(ws);
  }
  return error;
}

/* ---- in ---- */
/* wslay's way in. */
static ssize_t frame_recv(uint8_t *buffer, size_t size, int flags, void *user) {
  struct ws_layer *ws = user;
  (void)flags;
  if (ws->surplus != NULL) {
    size_t left = ws->surplus_size - ws->surplus_taken;
    size_t n = left < size ? left : size;
    memcpy(buffer, ws->surplus + ws->surplus_taken, n);
    ws->surplus_taken += n;
    if (ws->surplus_taken == ws->surplus_size) {
      free(ws->surplus);
      ws->surplus = NULL;
    }
    return (ssize_t)n;
  }
  ssize_t n = net_layer_read(&ws->layer, buffer, size);
  ws->below = n < 0 ? (int)n : 0;
  return n > 0 ? n : -1;
}

/* Fails, and tells the peer why if there is room: what follows cannot be understood. */
static int ws_violation(struct ws_layer *ws, uint16_t code, const char *what) {
  if (ws->state == WS_OPEN && ws_flush_out(ws) == 0) {
    close_put(ws, code);
    (void)ws_flush_out(ws);
  }
  return ws_fail(ws, UV_EPROTO, "the WebSocket broke its protocol: %s", what);
}

static int frame_begin(struct ws_layer *ws) {
  const struct wslay_frame_iocb *in = &ws->in;
  if (in->rsv != 0) {
    return ws_violation(ws, WSLAY_CODE_PROTOCOL_ERROR, "reserved bits are set");
  }
  if ((in->mask != 0) == ws->client) {
    return ws_violation(ws, WSLAY_CODE_PROTOCOL_ERROR,
                        ws->client ? "a server's frame is masked" : "a client's frame is not masked");
  }
  switch (in->opcode) {
  case WSLAY_BINARY_FRAME:
  case WSLAY_CONTINUATION_FRAME:
    if (ws->in_message != (in->opcode == WSLAY_CONTINUATION_FRAME)) {
      return ws_violation(ws, WSLAY_CODE_PROTOCOL_ERROR, "a message is in fragments that do not fit");
    }
    ws->message_size = ws->in_message ? ws->message_size : 0;
    if (in->payload_length > NET_WS_MESSAGE_MAX - ws->message_size) {
      return ws_violation(ws, WSLAY_CODE_MESSAGE_TOO_BIG, "a message is over 64 KiB");
    }
    ws->message_size += in->payload_length;
    ws->in_message = in->fin == 0;
    return 0;
  case WSLAY_TEXT_FRAME:
    return ws_violation(ws, WSLAY_CODE_UNSUPPORTED_DATA, "a text message");
  case WSLAY_PING:
  case WSLAY_PONG:
  case WSLAY_CONNECTION_CLOSE:
    ws->control_size = 0;
    return 0;
  default: /* a number of the peer's, not an enum of ours */
    return ws_violation(ws, WSLAY_CODE_PROTOCOL_ERROR, "an unknown kind of frame");
  }
}

/* UV_EOF after a CLOSE. */
static int control_end(struct ws_layer *ws) {
  switch (ws->in.opcode) {
  case WSLAY_PING:
    if (ws->state == WS_OPEN) {
      control_put(ws, WSLAY_PONG, ws->control, ws->control_size);
      int error = ws_flush_out(ws);
      return error == UV_EAGAIN ? 0 : error;
    }
    return 0;
  case WSLAY_CONNECTION_CLOSE:
    ws->close_received = true;
    if (ws->state == WS_OPEN) {
      ws->state = WS_CLOSING;
      close_put(ws, WSLAY_CODE_NORMAL_CLOSURE);
      (void)ws_flush_out(ws);
    }
    return UV_EOF;
  default:
    return 0;
  }
}

/* A piece of a frame has come. */
static int frame_piece(struct ws_layer *ws, bool first) {
  if (first) {
    int error = frame_begin(ws);
    if (error != 0) {
      return error;
    }
    ws->in_left = ws->in.payload_length;
  }
  assert(ws->in.data_length <= ws->in_left);
  ws->in_left -= ws->in.data_length;
  if (ws->in.data_length > 0 && !wslay_is_ctrl_frame(ws->in.opcode)) {
    ws->idle_frames = 0;
    ws->chunk = ws->in.data;
    ws->chunk_size = ws->in.data_length;
    return 0;
  }
  if (wslay_is_ctrl_frame(ws->in.opcode)) { /* wslay lets none pass over 125 bytes */
    memcpy(ws->control + ws->control_size, ws->in.data, ws->in.data_length);
    ws->control_size += ws->in.data_length;
  }
  if (ws->in_left == 0 && ++ws->idle_frames > WS_IDLE_FRAMES_MAX) {
    return ws_violation(ws, WSLAY_CODE_POLICY_VIOLATION, "a flood of empty frames");
  }
  return ws->in_left == 0 && wslay_is_ctrl_frame(ws->in.opcode) ? control_end(ws) : 0;
}

/* One step of wslay: 0 = something was understood, UV_EAGAIN, UV_EOF, or an error. */
static int frame_step(struct ws_layer *ws) {
  bool first = ws->in_left == 0;
  ws->below = UV_EAGAIN;
  ssize_t n = wslay_frame_recv(ws->frames, &ws->in);
  if (n >= 0) {
    ws->may_hold = true;
    return frame_piece(ws, first);
  }
  ws->may_hold = false;
  if (n == WSLAY_ERR_WANT_READ) {
    if (ws->below == 0 || ws->below == UV_EAGAIN) {
      return ws->below; /* 0: bytes came, but less than a header; there may be more */
    }
    if (ws->below == UV_EOF) {
      return ws_fail(ws, UV_ECONNRESET, "the WebSocket was cut without a goodbye");
    }
    return ws_fail(ws, ws->below, "the connection broke: %s", uv_strerror(ws->below));
  }
  return ws_violation(ws, WSLAY_CODE_PROTOCOL_ERROR, "a malformed frame");
}

static ssize_t ws_read(struct net_layer *layer, void *buffer, size_t capacity) {
  struct ws_layer *ws = ws_of(layer);
  if (ws->state == WS_UPGRADE) {
    return UV_EAGAIN;
  }
  while (ws->chunk_size == 0) {
    if (ws->state == WS_FAILED) {
      return ws->error;
    }
    if (ws->close_received) {
      return UV_EOF;
    }
    int error = frame_step(ws);
    if (error != 0) {
      return error;
    }
  }
  size_t n = ws->chunk_size < capacity ? ws->chunk_size : capacity;
  memcpy(buffer, ws->chunk, n);
  ws->chunk += n;
  ws->chunk_size -= n;
  return (ssize_t)n;
}

static bool ws_pending(const struct net_layer *layer) {
  const struct ws_layer *ws = ws_of(layer);
  return ws->state != WS_UPGRADE &&
         (ws->chunk_size > 0 || ws->may_hold || ws->close_received || ws->state == WS_FAILED);
}

static int ws_handshake(struct net_layer *layer) {
  struct ws_layer *ws = ws_of(layer);
  if (ws->state == WS_UPGRADE) {
    return ws_upgrade_step(ws);
  }
  return ws->state == WS_FAILED ? ws->error : ws_flush_out(ws); /* the server's 101 leaves here */
}

/* ---- life ---- */
static void ws_free(struct net_layer *layer) {
  struct ws_layer *ws = ws_of(layer);
  if (ws->frames != NULL) {
    wslay_frame_context_free(ws->frames);
  }
  free(ws->answer);
  free(ws->surplus);
  free(ws);
}

static const struct net_layer_ops ws_ops = {
    .name = "websocket",
    .read = ws_read,
    .write = ws_write,
    .flush = ws_flush,
    .pending = ws_pending,
    .shutdown = ws_shutdown,
    .free = ws_free,
    .handshake = ws_handshake,
    .holding = ws_holding,
};

static struct ws_layer *ws_new(bool client) {
  static const struct wslay_frame_callbacks callbacks = {
      .send_callback = frame_send, .recv_callback = frame_recv, .genmask_callback = frame_mask};
  struct ws_layer *ws = calloc(1, sizeof *ws);
  if (ws == NULL) {
    return NULL;
  }
  ws->layer.ops = &ws_ops;
  ws->client = client;
  if (wslay_frame_context_init(&ws->frames, &callbacks, ws) != 0) {
    free(ws);
    return NULL;
  }
  return ws;
}

int net_ws_push_client(struct net_conn *conn, const char *host, const char *path) {
  struct ws_layer *ws = ws_new(true);
  if (ws == NULL) {
    return UV_ENOMEM;
  }
  ws->state = WS_UPGRADE;
  int error = ws_upgrade_request(ws, host, path);
  if (error != 0) {
    ws_free(&ws->layer);
    return error;
  }
  net_conn_push(conn, &ws->layer);
  return 0;
}

int net_ws_push_server(struct net_conn *conn, const char *key, size_t key_size) {
  struct ws_layer *ws = ws_new(false);
  if (ws == NULL) {
    return UV_ENOMEM;
  }
  ws->state = WS_OPEN;
  int error = ws_upgrade_answer(ws, key, key_size);
  if (error != 0) {
    ws_free(&ws->layer);
    return error;
  }
  net_conn_push(conn, &ws->layer);
  return 0;
}

static const struct ws_layer *ws_find(const struct net_conn *conn) {
  const struct net_layer *layer = net_conn_layer(conn, &ws_ops);
  return layer != NULL ? ws_of(layer) : NULL;
}

bool net_ws_established(const struct net_conn *conn) {
  const struct ws_layer *ws = ws_find(conn);
  return ws != NULL && ws->state == WS_OPEN;
}

const char *net_ws_error(const struct net_conn *conn) {
  const struct ws_layer *ws = ws_find(conn);
  return ws != NULL ? ws->text : "";
}
