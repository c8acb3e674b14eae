/* auth_answer.h: the answers of several hooks to one question, joined and owned. */
#ifndef SERVER_AUTH_ANSWER_H
#define SERVER_AUTH_ANSWER_H

#include "auth.h"

struct auth_text_block;

struct auth_joined {
  bool denied;                      /* a hook said no: the answer is its own */
  struct mdm_auth_answer answer;    /* texts live in blocks, fields in the arrays below */
  struct mdm_auth_field *answer_fields, *origin_fields;
  struct auth_text_block *blocks;
  size_t text_size;
};

/* Copies one hook's answer in. NULL, or what is wrong with it (then it counts as a denial without words). */
const char *auth_joined_add(struct auth_joined *joined, enum mdm_auth_step step, const struct mdm_auth_answer *answer);
const struct mdm_auth_answer *auth_joined_answer(const struct auth_joined *joined);
void auth_joined_clean(struct auth_joined *joined);

#endif
