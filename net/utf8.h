/* utf8.h: UTF-8, strictly: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef NET_UTF8_H
#define NET_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the sequence that starts at `data` (size > 0), 0 if it is not valid. *code_point may be NULL. */
size_t net_utf8_next(const uint8_t *data, size_t size, uint32_t *code_point);

#endif
