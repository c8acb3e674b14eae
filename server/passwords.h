/* passwords.h: checks `basic_auth` of services without blocking the loop: Argon2 runs on one thread of its own at idle priority, at most 64 wait, and
 * what was right lately is remembered by a keyed hash. One per worker. */
#ifndef SERVER_PASSWORDS_H
#define SERVER_PASSWORDS_H

#include "http_field.h"
#include "loop.h"
#include "service.h"

#define PASSWORDS_QUEUE_MAX 64u       /* more are told to come back */
#define PASSWORDS_CACHE_SLOTS 256u    /* right credentials remembered; a slot is taken over by the next that falls on it */
#define PASSWORDS_CACHE_MS 300000u

struct passwords;
struct password_job;

enum password_verdict { PASSWORD_WRONG, PASSWORD_RIGHT, PASSWORD_PENDING, PASSWORD_BUSY };
typedef void (*password_done_cb)(bool right, void *user);

int passwords_new(struct passwords **out, struct net_loop *loop);
/* Waits for the check that runs; nobody may wait for an answer any more. NULL is fine. */
void passwords_free(struct passwords *passwords);
/* `authorization`: the field's value. On PENDING *job is set and `done` comes later, on the loop's thread, unless cancelled. */
enum password_verdict passwords_check(struct passwords *passwords, const struct net_basic_user *users, size_t count,
                                      struct mdm_text authorization, password_done_cb done, void *user, struct password_job **job);
void password_cancel(struct password_job *job);

#endif
