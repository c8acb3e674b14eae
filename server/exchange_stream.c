/* exchange_stream.c: asks the hooks that judge streams before one is opened to a client. Once an exchange: its name leads to one service, and clients
 * that serve it in turn are the same to the hooks. */
#include <string.h>

#include "agent.h"
#include "exchange.h"
#include "http_side.h"

static struct mdm_text text_of(const char *text) {
  return (struct mdm_text){text, strlen(text)};
}

static void stream_answered(enum auth_verdict verdict, const struct mdm_auth_answer *answer, void *user) {
  struct exchange *x = user;
  (void)answer;
  x->ask = NULL;
  http_buffer_give(&x->side->pool, &x->question_fields);
  switch (verdict) {
  case AUTH_ALLOWED:
    x->stream_allowed = true;
    exchange_find(x); /* the client may have left meanwhile */
    return;
  case AUTH_DENIED:
    exchange_page(x, &(struct page_problem){.cause = PAGE_FORBIDDEN});
    return;
  case AUTH_TIMED_OUT:
    exchange_page(x, &(struct page_problem){.cause = PAGE_HOOK_SLOW});
    return;
  case AUTH_BUSY:
    exchange_page(x, &(struct page_problem){.cause = PAGE_BUSY});
    return;
  }
}

bool exchange_stream_ok(struct exchange *x, const struct registry_target *target) {
  const struct worker *worker = x->side->worker;
  if (x->stream_allowed || worker->auth == NULL || !auth_chain_declares(worker->auth, MDM_AUTH_STREAM)) {
    return true;
  }
  /* The question outlives the look-up: its texts are copied. */
  const char *texts[] = {target->user, agent_name(target->agent), target->service->name};
  char *copies[sizeof texts / sizeof texts[0]], *at;
  size_t size = 0;
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    size += strlen(texts[i]) + 1;
  }
  x->question_fields = http_buffer_take(&x->side->pool, size);
  if (x->question_fields == NULL) {
    exchange_page(x, &(struct page_problem){.cause = PAGE_INTERNAL});
    return false;
  }
  at = (char *)x->question_fields->data;
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    copies[i] = memcpy(at, texts[i], strlen(texts[i]) + 1);
    at += strlen(texts[i]) + 1;
  }
  x->question = (struct mdm_auth_question){
      .step = MDM_AUTH_STREAM,
      .address = *agent_address(target->agent),
      .encrypted = x->forwarded.https,
      .user = text_of(copies[0]),
      .client_name = text_of(copies[1]),
      .service = text_of(copies[2]),
      .target = text_of(copies[2]),
  };
  exchange_enter(x, EXCHANGE_STREAM);
  auth_chain_ask(worker->auth, &x->question, stream_answered, x, &x->ask);
  return false;
}
