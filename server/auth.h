/* auth.h: the chain of hooks of one worker: asks, waits at most the deadline, joins the answers. Fails closed.
 *
 * Hooks are asked one after the other in the order they were added; the first denial ends it, and its words are the answer. The deadline is for
 * all of them together. Joined: the last non-empty route wins, fields are appended in order, of each limit the smallest that is not 0. Two hooks
 * that prove different users for one login deny it. */
#ifndef SERVER_AUTH_H
#define SERVER_AUTH_H

#include "loop.h"
#include "mdm/auth.h"

#define AUTH_DEADLINE_MS 5000u
#define AUTH_PENDING_MAX 4096u /* questions in flight on one worker; more are denied with `busy` */
#define AUTH_TEXT_MAX (128u * 1024u) /* texts of one joined answer, its body among them; a hook that says more is denied */
#define AUTH_FIELDS_MAX 64u    /* fields of one kind in a joined answer */

struct auth_chain;
struct auth_ask; /* one question to the whole chain */

/* The joined answer, owned by the chain, valid during the callback. For a denial that is no hook's word: */
enum auth_verdict { AUTH_ALLOWED, AUTH_DENIED, AUTH_TIMED_OUT, AUTH_BUSY };
typedef void (*auth_done_cb)(enum auth_verdict verdict, const struct mdm_auth_answer *answer, void *user);

struct auth_hook_entry {
  const struct mdm_auth_hook *hook;
  const char *config_json;
  void *self; /* a built-in hook that its maker has opened already; NULL: open() is called */
};
/* Opens every hook (and closes them, those given opened too, when one fails) on `loop`. 0 or -1 with a sentence. open_mode: no users and no hook: login is allowed. */
int auth_chain_open(struct auth_chain **out, struct net_loop *loop, const struct auth_hook_entry *hooks, size_t count, bool open_mode,
                    uint32_t deadline_ms, char *error, size_t error_size);
void auth_chain_close(struct auth_chain *chain); /* cancels what is in flight with AUTH_DENIED */
bool auth_chain_declares(const struct auth_chain *chain, enum mdm_auth_step step);
/* Deep-copies nothing: the question and its texts must stay valid until done or cancel. done may be called before this returns (then *ask is
 * NULL), else once, from the end of the iteration in which the last hook answered. A step that no
 * hook declares has its default at once. Always 0. */
int auth_chain_ask(struct auth_chain *chain, const struct mdm_auth_question *question, auth_done_cb done, void *user, struct auth_ask **ask);
void auth_ask_cancel(struct auth_ask *ask); /* no done after this */

#endif
