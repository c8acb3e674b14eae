/* frame.c: the payload of OPEN, the only frame with a layout worth a function. */
#include "frame.h"

#include <string.h>

/*  0      1        2        3         4          8        12      14       16
 *  | kind | scheme | family | 0       | service  | credit | port  | target | address | target | options ...
 *                                                                  length    0/4/16            to the end */
static size_t address_size(uint8_t family) {
  return family == 4 ? 4 : family == 6 ? 16 : 0;
}

size_t frame_open_size(const struct mdm_open *open) {
  return FRAME_OPEN_FIXED + address_size(open->visitor.family) + open->target.size + open->options.size;
}

void frame_open_pack(uint8_t *out, const struct mdm_open *open, uint32_t credit) {
  size_t size = address_size(open->visitor.family);

  out[0] = (uint8_t)open->kind;
  out[1] = (uint8_t)open->scheme;
  out[2] = size ? open->visitor.family : 0;
  out[3] = 0;
  put_u32(out + 4, open->service);
  put_u32(out + 8, credit);
  put_u16(out + 12, open->visitor.port);
  put_u16(out + 14, (uint16_t)open->target.size);
  out += FRAME_OPEN_FIXED;
  if (size)
    memcpy(out, open->visitor.bytes, size);
  out += size;
  if (open->target.size)
    memcpy(out, open->target.data, open->target.size);
  out += open->target.size;
  if (open->options.size)
    memcpy(out, open->options.data, open->options.size);
}

bool frame_open_unpack(const uint8_t *in, size_t size, struct mdm_open *open, uint32_t *credit) {
  *open = (struct mdm_open){0};
  if (size < FRAME_OPEN_FIXED)
    return false;
  if (in[2] != 0 && in[2] != 4 && in[2] != 6)
    return false;
  size_t address = address_size(in[2]);
  size_t target = get_u16(in + 14);
  if (target > FRAME_TARGET_MAX || FRAME_OPEN_FIXED + address + target > size)
    return false;
  open->kind = (enum mdm_kind)in[0];
  open->scheme = (enum mdm_scheme)in[1];
  open->visitor.family = in[2];
  open->service = get_u32(in + 4);
  *credit = get_u32(in + 8);
  open->visitor.port = get_u16(in + 12);
  if (address)
    memcpy(open->visitor.bytes, in + FRAME_OPEN_FIXED, address);
  open->target = (struct mdm_slice){in + FRAME_OPEN_FIXED + address, target};
  size_t fixed = FRAME_OPEN_FIXED + address + target;
  open->options = (struct mdm_slice){in + fixed, size - fixed};
  return open->options.size <= FRAME_OPTIONS_MAX && *credit <= FRAME_CREDIT_MAX;
}
