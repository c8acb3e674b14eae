/* text.h: judging text that a stranger sent, and composing the sentences that say what is wrong with it. No I/O. */
#ifndef NET_TEXT_H
#define NET_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#define NET_HOST_NAME_MAX 253 /* RFC 1035 section 2.3.4, without the trailing dot */

/* Well-formed UTF-8 (RFC 3629) without control characters (C0, DEL, C1). */
bool net_text_valid(const char *text, size_t size);
/* Well-formed UTF-8; control characters and all. */
bool net_text_is_utf8(const char *text, size_t size);
/* RFC 9110 section 5.6.2: one or more tchar. */
bool net_text_is_token(const char *text, size_t size);
/* A host name of letters, digits, "-" and "_" in labels of 1 to 63, case-folded into `out`, a trailing dot dropped. An
 * IP literal is none. */
bool net_text_host_fold(char out[static NET_HOST_NAME_MAX + 1], const char *text, size_t size);
/* Formats `error` (may be NULL when error_size is 0) and returns -1, for `return net_sentence(...)`. */
int net_sentence(char *error, size_t error_size, const char *format, ...) __attribute__((format(printf, 3, 4)));
char *net_text_copy(const char *text, size_t size); /* NUL-terminated; NULL when memory is out */

#endif
