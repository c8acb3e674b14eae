/* frame.h: the frame header and the numbers on the wire (PROTOCOL.md). No state. */
#ifndef MDM_MUX_FRAME_H
#define MDM_MUX_FRAME_H

#include "mdm/mux.h"

enum frame_type {
  /* 0x01 to 0x06 are the messages of enum mdm_message. */
  FRAME_OPEN = 0x10,
  FRAME_OPEN_OK = 0x11,
  FRAME_DATA = 0x12,
  FRAME_WINDOW = 0x13,
  FRAME_RESET = 0x14,
  FRAME_DATAGRAM = 0x15, /* reserved: feature "datagram" */
  FRAME_PING = 0x20,
  FRAME_PONG = 0x21,
  FRAME_GOAWAY = 0x22,
  FRAME_LINK_ACK = 0x30, /* reserved: feature "resume"; belongs to the link, never reaches the mux */
  FRAME_SKIPPABLE = 0x40 /* unknown types from here on are skipped */
};

#define FRAME_FLAG_MORE          0x01u /* messages: another frame of the same message follows */
#define FRAME_FLAG_FIN           0x01u /* DATA: the last of this half */
#define FRAME_FLAG_BLOCKED       0x02u /* DATA: ended at zero credit with more ready */
#define FRAME_FLAG_NOT_DELIVERED 0x01u /* RESET: no byte reached the target */

#define FRAME_ID_MAX      0x7fffffffu /* the highest stream id */
#define FRAME_CREDIT_MAX  0x7fffffffu /* credit never exceeds this */
#define FRAME_OPEN_FIXED  16u         /* OPEN up to the address */
#define FRAME_TARGET_MAX  512u        /* a host name with its port, and more */
#define FRAME_OPTIONS_MAX 4096u       /* options of one OPEN: no request's worth of data fits by accident */
#define OPTION_MANDATORY  0x8000u     /* bit of an option's type */
#define FRAME_TEXT_MAX    1024u       /* the sentence in a GOAWAY */
#define FRAME_PING_SIZE   8u
#define FRAME_MAGIC_SIZE  8u

struct frame {
  uint16_t length;
  uint8_t type;
  uint8_t flags;
  uint32_t stream;
};

static inline void put_u16(uint8_t *p, uint16_t v) {
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}

static inline void put_u32(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)(v >> 24);
  p[1] = (uint8_t)(v >> 16);
  p[2] = (uint8_t)(v >> 8);
  p[3] = (uint8_t)v;
}

static inline uint16_t get_u16(const uint8_t *p) {
  return (uint16_t)((unsigned)p[0] << 8 | p[1]);
}

static inline uint32_t get_u32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void frame_pack(uint8_t out[MDM_FRAME_HEADER], size_t length, uint8_t type, uint8_t flags,
                              uint32_t stream) {
  put_u16(out, (uint16_t)length);
  out[2] = type;
  out[3] = flags;
  put_u32(out + 4, stream);
}

static inline struct frame frame_unpack(const uint8_t in[MDM_FRAME_HEADER]) {
  return (struct frame){.length = get_u16(in), .type = in[2], .flags = in[3], .stream = get_u32(in + 4)};
}

/* Payload of OPEN. `credit` is what the acceptor may send before any WINDOW. */
size_t frame_open_size(const struct mdm_open *open);
void frame_open_pack(uint8_t *out, const struct mdm_open *open, uint32_t credit);
/* false when the lengths do not add up. Kind and scheme are not judged; slices point into `in`. */
bool frame_open_unpack(const uint8_t *in, size_t size, struct mdm_open *open, uint32_t *credit);

#endif
