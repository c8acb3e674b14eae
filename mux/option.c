/* option.c: the type-length-value options of an OPEN: u16 type, u16 length, value. */
#include "frame.h"

#include <string.h>

#define OPTION_HEADER 4u

int mdm_option_next(struct mdm_slice *rest, uint16_t *type, struct mdm_slice *value) {
  if (rest->size == 0)
    return 0;
  if (rest->size < OPTION_HEADER)
    return MDM_MUX_EPROTOCOL;
  size_t length = get_u16(rest->data + 2);
  if (length > rest->size - OPTION_HEADER)
    return MDM_MUX_EPROTOCOL;
  *type = get_u16(rest->data);
  *value = (struct mdm_slice){rest->data + OPTION_HEADER, length};
  rest->data += OPTION_HEADER + length;
  rest->size -= OPTION_HEADER + length;
  return 1;
}

long mdm_option_put(uint8_t *buf, size_t capacity, size_t size, uint16_t type, const void *value, size_t length) {
  if (length > FRAME_OPTIONS_MAX || size > FRAME_OPTIONS_MAX)
    return MDM_MUX_ETOOBIG;
  size_t end = size + OPTION_HEADER + length;
  if (end > capacity || end > FRAME_OPTIONS_MAX)
    return MDM_MUX_ETOOBIG;
  put_u16(buf + size, type);
  put_u16(buf + size + 2, (uint16_t)length);
  if (length)
    memcpy(buf + size + OPTION_HEADER, value, length);
  return (long)end;
}
