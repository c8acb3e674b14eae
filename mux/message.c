/* message.c: handshake and control messages: split over frames with MORE, and put together again. */
#include "session.h"

#include <string.h>

#define MESSAGE_FIRST 4096u /* most fit; it doubles from here */

int mdm_mux_send_message(mdm_mux *mux, enum mdm_message type, const void *data, size_t size) {
  const uint8_t *p = data;
  if (mux->failed || mux->closing)
    return MDM_MUX_ECLOSED;
  if (size > MDM_MESSAGE_MAX)
    return MDM_MUX_ETOOBIG;
  if (mux->output.chain.size + size > OUTPUT_MAX)
    return MDM_MUX_ELIMIT;
  do {
    size_t n = size < MDM_FRAME_PAYLOAD_MAX ? size : MDM_FRAME_PAYLOAD_MAX;
    uint8_t flags = size > n ? FRAME_FLAG_MORE : 0;
    if (output_frame(mux, (uint8_t)type, flags, 0, p, n))
      return MDM_MUX_ENOMEM; /* half a message may be out: the session ends at the next step */
    p += n;
    size -= n;
  } while (size > 0);
  mux_want_output(mux, false);
  return 0;
}

static int append(mdm_mux *mux, const uint8_t *data, size_t size) {
  struct input *input = &mux->input;
  if (input->message_size + size > input->message_capacity) {
    size_t capacity = input->message_capacity ? input->message_capacity : MESSAGE_FIRST;
    while (capacity < input->message_size + size)
      capacity *= 2;
    uint8_t *bigger = memory_alloc(&mux->config.allocator, capacity);
    if (!bigger)
      return MDM_MUX_ENOMEM;
    if (input->message_size)
      memcpy(bigger, input->message, input->message_size);
    memory_release(&mux->config.allocator, input->message);
    input->message = bigger;
    input->message_capacity = capacity;
  }
  if (size)
    memcpy(input->message + input->message_size, data, size);
  input->message_size += size;
  return 0;
}

static void deliver(mdm_mux *mux, uint8_t type, const uint8_t *data, size_t size) {
  static const uint8_t nothing[1];
  const struct mdm_mux_callbacks *callbacks = &mux->config.callbacks;
  int rc = callbacks->message
               ? callbacks->message(mux, (enum mdm_message)type, size ? data : nothing, size, mux->config.user)
               : -1;
  if (rc)
    mux_fail(mux, MDM_MUX_EPROTOCOL, MDM_GOAWAY_PROTOCOL, "a message that makes no sense here");
}

void message_receive(mdm_mux *mux, const uint8_t *data, size_t size) {
  struct input *input = &mux->input;
  uint8_t type = input->frame.type;
  bool more = input->frame.flags & FRAME_FLAG_MORE;
  size_t limit = mux->started ? MDM_MESSAGE_MAX : mux->config.handshake_max;

  if (input->message_size + size > limit) {
    mux_fail(mux, MDM_MUX_EPROTOCOL, MDM_GOAWAY_PROTOCOL, "a message over its limit");
    return;
  }
  if (!more && !input->message_type) {
    deliver(mux, type, data, size);
    return;
  }
  if (append(mux, data, size)) {
    mux_fail(mux, MDM_MUX_ENOMEM, MDM_GOAWAY_INTERNAL, "out of memory for a message");
    return;
  }
  input->message_type = type;
  if (more)
    return;
  uint8_t *message = input->message;
  size_t whole = input->message_size;
  input->message = NULL;
  input->message_size = input->message_capacity = 0;
  input->message_type = 0;
  deliver(mux, type, message, whole);
  memory_release(&mux->config.allocator, message);
}
