/* http_head.c: look-ups in a head. */
#include "http_head.h"

#include "http_field.h"

const struct http_field *http_head_find(const struct http_head *head, const char *name) {
  for (size_t i = 0; i < head->fields_count; i++)
    if (http_text_is(head->fields[i].name, name))
      return &head->fields[i];
  return NULL;
}
