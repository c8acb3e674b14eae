/* auth_answer.c: owns the copies of what hooks answered, and the rule by which several answers become one. */
#include "auth_answer.h"

#include <stdlib.h>
#include <string.h>

struct auth_text_block {
  struct auth_text_block *next;
  char data[];
};

static bool text_copy(struct auth_joined *joined, struct mdm_text *out, const struct mdm_text *in) {
  *out = (struct mdm_text){"", 0};
  if (in->size == 0) {
    return true;
  }
  if (in->size > AUTH_TEXT_MAX - joined->text_size) {
    return false;
  }
  struct auth_text_block *block = malloc(sizeof *block + in->size + 1);
  if (block == NULL) {
    return false;
  }
  memcpy(block->data, in->data, in->size);
  block->data[in->size] = '\0';
  block->next = joined->blocks;
  joined->blocks = block;
  joined->text_size += in->size;
  *out = (struct mdm_text){block->data, in->size};
  return true;
}

/* RFC 9110 5.6.2 */
static bool is_token(const struct mdm_text *text) {
  for (size_t i = 0; i < text->size; i++) {
    unsigned char c = (unsigned char)text->data[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && (c == 0 || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
      return false;
    }
  }
  return text->size > 0;
}

static bool is_field_value(const struct mdm_text *text) {
  for (size_t i = 0; i < text->size; i++) {
    unsigned char c = (unsigned char)text->data[i];
    if ((c < 0x20 && c != '\t') || c == 0x7f) {
      return false;
    }
  }
  return true;
}

static bool fields_add(struct auth_joined *joined, struct mdm_auth_field **list, size_t *list_count,
                       const struct mdm_auth_field *fields, size_t count) {
  if (count == 0) {
    return true;
  }
  if (count > AUTH_FIELDS_MAX - *list_count) {
    return false;
  }
  struct mdm_auth_field *grown = realloc(*list, (*list_count + count) * sizeof *grown);
  if (grown == NULL) {
    return false;
  }
  *list = grown;
  for (size_t i = 0; i < count; i++) {
    struct mdm_auth_field *field = &grown[*list_count];
    if (!is_token(&fields[i].name) || !is_field_value(&fields[i].value) || !text_copy(joined, &field->name, &fields[i].name) ||
        !text_copy(joined, &field->value, &fields[i].value)) {
      return false;
    }
    (*list_count)++;
  }
  return true;
}

static void forget(struct auth_joined *joined) {
  struct auth_text_block *block = joined->blocks;
  while (block != NULL) {
    struct auth_text_block *next = block->next;
    free(block);
    block = next;
  }
  free(joined->answer_fields);
  free(joined->origin_fields);
  *joined = (struct auth_joined){0};
}

static const char *deny(struct auth_joined *joined, const struct mdm_auth_answer *answer) {
  forget(joined);
  joined->denied = true;
  if (answer->status != 0 && (answer->status < 200 || answer->status > 599)) {
    return "denied with a status that is none";
  }
  struct mdm_auth_answer *own = &joined->answer;
  if (!text_copy(joined, &own->reason, &answer->reason) || !text_copy(joined, &own->body, &answer->body) ||
      !fields_add(joined, &joined->answer_fields, &own->answer_fields_count, answer->answer_fields, answer->answer_fields_count)) {
    forget(joined);
    joined->denied = true;
    return "denied with fields or texts that are malformed or too big; they are left out";
  }
  own->status = answer->status;
  own->answer_fields = joined->answer_fields;
  return NULL;
}

static const char *malformed(struct auth_joined *joined, const char *text) {
  forget(joined);
  joined->denied = true;
  return text;
}

static bool same_text(const struct mdm_text *a, const struct mdm_text *b) {
  return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

static uint32_t smaller(uint32_t a, uint32_t b) {
  return a == 0 || (b != 0 && b < a) ? b : a;
}

static uint64_t smaller64(uint64_t a, uint64_t b) {
  return a == 0 || (b != 0 && b < a) ? b : a;
}

const char *auth_joined_add(struct auth_joined *joined, enum mdm_auth_step step, const struct mdm_auth_answer *answer) {
  struct mdm_auth_answer *own = &joined->answer;
  if (!answer->allow) {
    return deny(joined, answer);
  }
  if (answer->user.size > 0) {
    if (step == MDM_AUTH_LOGIN && own->user.size > 0 && !same_text(&own->user, &answer->user)) {
      return malformed(joined, "proves another user than the hook before it: denied");
    }
    if (!text_copy(joined, &own->user, &answer->user) || !text_copy(joined, &own->service, &answer->service)) {
      return malformed(joined, "allowed with texts that are too big: denied");
    }
  }
  if (!fields_add(joined, &joined->origin_fields, &own->origin_fields_count, answer->origin_fields, answer->origin_fields_count)) {
    return malformed(joined, "allowed with fields that are malformed or too many: denied");
  }
  own->allow = true;
  own->origin_fields = joined->origin_fields;
  own->limits.request_body_bytes = smaller64(own->limits.request_body_bytes, answer->limits.request_body_bytes);
  own->limits.timeout_s = smaller(own->limits.timeout_s, answer->limits.timeout_s);
  own->limits.max_streams = smaller(own->limits.max_streams, answer->limits.max_streams);
  own->limits.max_services = smaller(own->limits.max_services, answer->limits.max_services);
  return NULL;
}

const struct mdm_auth_answer *auth_joined_answer(const struct auth_joined *joined) {
  return &joined->answer;
}

void auth_joined_clean(struct auth_joined *joined) {
  forget(joined);
}
