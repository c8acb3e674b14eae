/* auth.c: owns the questions in flight to the hooks of one worker. How answers are joined is in auth_answer.c. */
#include "auth.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth_answer.h"
#include "log.h"

/* Finished calls wait here before their memory is used again, oldest first, so that a hook that answers a dead call is found out
 * and not mistaken for the answer to another question. */
#define AUTH_CALLS_IDLE 256u

struct mdm_auth_call {
  struct auth_chain *chain;
  struct auth_ask *ask; /* NULL: answered, cancelled or late */
  struct mdm_auth_call *next;
  void *data;
  const struct mdm_auth_hook *hook;
};

struct auth_ask {
  struct auth_ask *next, **link; /* pending ones; idle ones use next only */
  struct auth_chain *chain;
  const struct mdm_auth_question *question;
  auth_done_cb done;
  void *user;
  struct mdm_auth_call *call; /* with the hook now */
  size_t hook;                /* its number */
  bool asking, answered;
  struct net_timer deadline;
  struct net_task go_on;      /* after an answer that came later */
  struct auth_joined joined;
};

struct auth_chain {
  struct net_loop *loop;
  struct auth_hook_entry *hooks;
  size_t hooks_count;
  bool open_mode, closing;
  uint32_t deadline_ms;
  struct auth_ask *pending, *idle;
  size_t pending_count;
  struct mdm_auth_call *calls, **calls_tail; /* finished, oldest first */
  size_t calls_count;
};

static const char *const step_names[] = {"login", "claim", "stream", "visit"};

static void chain_log(const struct auth_chain *chain, enum net_log_level level, const struct mdm_auth_hook *hook, const char *text) {
  struct net_log_actor actor = {.kind = "hook", .state = hook->name};
  net_log_write(chain->loop->log, level, &actor, "%s", text);
}

/* ---- calls ---- */
static struct mdm_auth_call *call_take(struct auth_chain *chain) {
  struct mdm_auth_call *call = chain->calls;
  if (chain->calls_count >= AUTH_CALLS_IDLE) {
    chain->calls = call->next;
    chain->calls_count--;
  } else if ((call = malloc(sizeof *call)) == NULL) {
    return NULL;
  }
  *call = (struct mdm_auth_call){.chain = chain};
  return call;
}

static void call_finish(struct auth_ask *ask) {
  struct auth_chain *chain = ask->chain;
  struct mdm_auth_call *call = ask->call;
  ask->call = NULL;
  call->ask = NULL;
  call->next = NULL;
  if (chain->calls_count == 0) {
    chain->calls_tail = &chain->calls;
  }
  *chain->calls_tail = call;
  chain->calls_tail = &call->next;
  chain->calls_count++;
}

void mdm_auth_call_set(struct mdm_auth_call *call, void *data) {
  call->data = data;
}

void *mdm_auth_call_get(const struct mdm_auth_call *call) {
  return call->data;
}

void mdm_auth_answer(struct mdm_auth_call *call, const struct mdm_auth_answer *answer) {
  struct auth_ask *ask = call->ask;
  if (ask == NULL || ask->answered) {
    chain_log(call->chain, NET_LOG_ERROR, call->hook, "answered a question that is over (twice, or too late); ignored");
    return;
  }
  const char *fault = auth_joined_add(&ask->joined, ask->question->step, answer);
  if (fault != NULL) {
    chain_log(ask->chain, NET_LOG_ERROR, call->hook, fault);
  }
  ask->answered = true;
  if (!ask->asking) {
    call_finish(ask);
    net_timer_stop(&ask->chain->loop->wheel, &ask->deadline);
    net_loop_defer(ask->chain->loop, &ask->go_on);
  }
}

/* ---- questions ---- */
static void ask_release(struct auth_ask *ask) {
  struct auth_chain *chain = ask->chain;
  *ask->link = ask->next;
  if (ask->next != NULL) {
    ask->next->link = ask->link;
  }
  net_timer_stop(&chain->loop->wheel, &ask->deadline);
  net_task_cancel(&ask->go_on);
  auth_joined_clean(&ask->joined);
  chain->pending_count--;
  ask->next = chain->idle;
  chain->idle = ask;
}

static void ask_finish(struct auth_ask *ask, enum auth_verdict verdict) {
  static const struct mdm_auth_answer nothing;
  bool said = verdict == AUTH_ALLOWED || ask->joined.denied;
  const struct mdm_auth_answer *answer = said ? auth_joined_answer(&ask->joined) : &nothing;
  ask->done(verdict, answer, ask->user);
  ask_release(ask);
}

/* Takes the question away from the hook that has it. */
static void ask_withdraw(struct auth_ask *ask) {
  if (ask->call != NULL) {
    const struct auth_hook_entry *entry = &ask->chain->hooks[ask->hook];
    ask->answered = true; /* whatever it says from now on is ignored */
    if (entry->hook->cancel != NULL) {
      entry->hook->cancel(entry->self, ask->call);
    }
    call_finish(ask);
  }
}

static void ask_late(struct net_timer *timer) {
  struct auth_ask *ask = (struct auth_ask *)(void *)((char *)timer - offsetof(struct auth_ask, deadline));
  char text[96];
  snprintf(text, sizeof text, "did not answer a %s within %u ms: denied", step_names[ask->question->step], ask->chain->deadline_ms);
  chain_log(ask->chain, NET_LOG_WARN, ask->chain->hooks[ask->hook].hook, text);
  ask_withdraw(ask);
  ask_finish(ask, AUTH_TIMED_OUT);
}

static bool hook_declares(const struct auth_hook_entry *entry, enum mdm_auth_step step) {
  return (entry->hook->steps & MDM_AUTH_BIT(step)) != 0;
}

/* What holds where no hook has a say. */
static enum auth_verdict step_default(const struct auth_chain *chain, const struct mdm_auth_question *question) {
  switch (question->step) {
  case MDM_AUTH_LOGIN:
    return chain->open_mode ? AUTH_ALLOWED : AUTH_DENIED;
  case MDM_AUTH_CLAIM:
    return question->custom_domain ? AUTH_DENIED : AUTH_ALLOWED;
  case MDM_AUTH_STREAM:
  case MDM_AUTH_VISIT:
    return AUTH_ALLOWED;
  }
  return AUTH_DENIED;
}

/* Asks from hook number ask->hook on until one has to think, one denies, or all have allowed. True when the question is over. */
static bool ask_run(struct auth_ask *ask) {
  struct auth_chain *chain = ask->chain;
  for (; !ask->joined.denied && ask->hook < chain->hooks_count; ask->hook++) {
    const struct auth_hook_entry *entry = &chain->hooks[ask->hook];
    if (!hook_declares(entry, ask->question->step)) {
      continue;
    }
    struct mdm_auth_call *call = call_take(chain);
    if (call == NULL) {
      ask_finish(ask, AUTH_BUSY);
      return true;
    }
    call->hook = entry->hook;
    call->ask = ask;
    ask->call = call;
    ask->answered = false;
    ask->asking = true;
    entry->hook->ask(entry->self, ask->question, call);
    ask->asking = false;
    if (!ask->answered && entry->hook->cancel != NULL) {
      if (!net_timer_armed(&ask->deadline)) {
        net_timer_start(&chain->loop->wheel, &ask->deadline, chain->deadline_ms);
      }
      return false;
    }
    if (!ask->answered) {
      chain_log(chain, NET_LOG_ERROR, entry->hook, "has no cancel() and did not answer at once: denied");
      call_finish(ask);
      ask_finish(ask, AUTH_DENIED);
      return true;
    }
    call_finish(ask);
  }
  ask_finish(ask, ask->joined.denied ? AUTH_DENIED : AUTH_ALLOWED);
  return true;
}

static void ask_go_on(struct net_task *task) {
  struct auth_ask *ask = (struct auth_ask *)(void *)((char *)task - offsetof(struct auth_ask, go_on));
  ask->hook++;
  ask_run(ask);
}

static struct auth_ask *ask_take(struct auth_chain *chain) {
  struct auth_ask *ask = chain->idle;
  if (chain->closing || chain->pending_count >= AUTH_PENDING_MAX) {
    return NULL;
  }
  if (ask != NULL) {
    chain->idle = ask->next;
  } else if ((ask = malloc(sizeof *ask)) == NULL) {
    return NULL;
  }
  *ask = (struct auth_ask){.chain = chain, .next = chain->pending, .link = &chain->pending};
  ask->deadline.fire = ask_late;
  ask->go_on.run = ask_go_on;
  if (ask->next != NULL) {
    ask->next->link = &ask->next;
  }
  chain->pending = ask;
  chain->pending_count++;
  return ask;
}

int auth_chain_ask(struct auth_chain *chain, const struct mdm_auth_question *question, auth_done_cb done, void *user,
                   struct auth_ask **out) {
  static const struct mdm_auth_answer nothing;
  *out = NULL;
  if (!auth_chain_declares(chain, question->step)) {
    enum auth_verdict verdict = step_default(chain, question);
    struct mdm_auth_answer answer = {.allow = verdict == AUTH_ALLOWED};
    done(verdict, &answer, user);
    return 0;
  }
  struct auth_ask *ask = ask_take(chain);
  if (ask == NULL) {
    done(chain->closing ? AUTH_DENIED : AUTH_BUSY, &nothing, user);
    return 0;
  }
  ask->question = question;
  ask->done = done;
  ask->user = user;
  if (!ask_run(ask)) {
    *out = ask;
  }
  return 0;
}

void auth_ask_cancel(struct auth_ask *ask) {
  if (ask != NULL) {
    ask_withdraw(ask);
    ask_release(ask);
  }
}

/* ---- the chain ---- */
bool auth_chain_declares(const struct auth_chain *chain, enum mdm_auth_step step) {
  for (size_t i = 0; i < chain->hooks_count; i++) {
    if (hook_declares(&chain->hooks[i], step)) {
      return true;
    }
  }
  return false;
}

static void hook_close(const struct auth_hook_entry *entry) {
  if (entry->hook->close != NULL) {
    entry->hook->close(entry->self);
  }
}

static int hook_open(struct auth_chain *chain, struct auth_hook_entry *entry, char *error, size_t error_size) {
  const struct mdm_auth_hook *hook = entry->hook;
  const char *name = hook->name == NULL ? "unnamed" : hook->name;
  if (hook->abi != MDM_AUTH_ABI) {
    snprintf(error, error_size, "auth hook %s was built for interface %u; this server has %u: build it anew", name, hook->abi, MDM_AUTH_ABI);
    return -1;
  }
  if (hook->name == NULL || hook->ask == NULL || hook->steps == 0 || hook->steps >= MDM_AUTH_BIT(MDM_AUTH_VISIT + 1)) {
    snprintf(error, error_size, "auth hook %s is incomplete: it needs a name, ask() and the steps that it answers", name);
    return -1;
  }
  if (entry->self == NULL && hook->open != NULL &&
      hook->open(&entry->self, chain->loop->uv, entry->config_json == NULL ? "" : entry->config_json) != 0) {
    snprintf(error, error_size, "auth hook %s failed to start", name);
    return -1;
  }
  return 0;
}

int auth_chain_open(struct auth_chain **out, struct net_loop *loop, const struct auth_hook_entry *hooks, size_t count, bool open_mode,
                    uint32_t deadline_ms, char *error, size_t error_size) {
  struct auth_chain *chain = calloc(1, sizeof *chain);
  struct auth_hook_entry *copy = calloc(count == 0 ? 1 : count, sizeof *copy);
  size_t opened = 0;
  int rc = -1;
  *out = NULL;
  if (chain == NULL || copy == NULL) {
    snprintf(error, error_size, "out of memory");
    for (size_t i = 0; i < count; i++) {
      if (hooks[i].self != NULL) {
        hook_close(&hooks[i]);
      }
    }
    goto out;
  }
  chain->loop = loop;
  chain->hooks = copy;
  chain->open_mode = open_mode;
  chain->deadline_ms = deadline_ms == 0 ? AUTH_DEADLINE_MS : deadline_ms;
  for (size_t i = 0; i < count; i++) {
    copy[i] = hooks[i];
  }
  while (opened < count && hook_open(chain, &copy[opened], error, error_size) == 0) {
    opened++;
  }
  if (opened == count) {
    chain->hooks_count = count;
    *out = chain;
    return 0;
  }
  for (size_t i = 0; i < count; i++) {
    if (i < opened || copy[i].self != NULL) {
      hook_close(&copy[i]);
    }
  }
out:
  free(copy);
  free(chain);
  return rc;
}

void auth_chain_close(struct auth_chain *chain) {
  if (chain == NULL) {
    return;
  }
  chain->closing = true;
  while (chain->pending != NULL) {
    struct auth_ask *ask = chain->pending;
    ask_withdraw(ask);
    ask->joined.denied = false; /* no hook's word */
    ask_finish(ask, AUTH_DENIED);
  }
  for (size_t i = 0; i < chain->hooks_count; i++) {
    hook_close(&chain->hooks[i]);
  }
  while (chain->calls_count > 0) {
    struct mdm_auth_call *call = chain->calls;
    chain->calls = call->next;
    chain->calls_count--;
    free(call);
  }
  while (chain->idle != NULL) {
    struct auth_ask *ask = chain->idle;
    chain->idle = ask->next;
    free(ask);
  }
  free(chain->hooks);
  free(chain);
}
