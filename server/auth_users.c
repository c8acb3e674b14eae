/* auth_users.c: owns the loaded user file of one worker and answers from it. */
#include "auth_users.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file_watch.h"
#include "log.h"
#include "names.h"
#include "users.h"

struct auth_users {
  struct net_loop *loop;
  char *path;
  struct users *users; /* the last good state of the file */
  bool stale;          /* the file is gone, empty or closed to us: no login */
  struct file_watch *watch;
  struct net_task check;
  struct auth_users_events events;
};

/* ---- change ---- */
static bool same_domains(const struct users_entry *a, const struct users_entry *b) {
  if (a->domains_count != b->domains_count) {
    return false;
  }
  for (size_t i = 0; i < a->domains_count; i++) {
    if (strcmp(a->domains[i], b->domains[i]) != 0) {
      return false;
    }
  }
  return true;
}

/* The new file counts from before the events, so that a login which is asked again sees it. */
static void users_changed(struct auth_users *self, struct users *users) {
  struct users *old = self->users;
  self->users = users;
  for (size_t i = 0; i < old->count; i++) {
    const struct users_entry *before = &old->list[i], *now = users_find(users, before->name);
    bool gone = now == NULL || sodium_memcmp(old->key, users->key, sizeof old->key) != 0 ||
                sodium_memcmp(before->hash, now->hash, sizeof now->hash) != 0;
    if (gone) {
      self->events.revoked(self->events.arg, before->name);
    } else if (!same_domains(before, now)) {
      self->events.regranted(self->events.arg, before->name);
    }
  }
  users_free(old);
}

static void users_reload(void *user) {
  struct auth_users *self = user;
  struct users *users = NULL;
  struct net_log_actor actor = {.kind = "hook", .state = "users"};
  char error[512];
  int rc = users_load(&users, self->path, error, sizeof error);
  self->stale = rc == UV_ENOENT || rc == UV_EACCES;
  if (rc != 0) {
    net_log_write(self->loop->log, NET_LOG_ERROR, &actor, "%s; %s", error,
                  self->stale ? "no new logins until it is back" : "the users stay as they were until it is right");
    return;
  }
  net_log_write(self->loop->log, NET_LOG_INFO, &actor, "%s: read again, %zu users", self->path, users->count);
  users_changed(self, users);
}

/* Once the loop runs, root has been given up (--user): a file that only root can read could be loaded, but its changes, revocations among
 * them, would never be seen. */
static void users_check(struct net_task *task) {
  struct auth_users *self = (struct auth_users *)(void *)((char *)task - offsetof(struct auth_users, check));
  struct net_log_actor actor = {.kind = "hook", .state = "users"};
  uv_fs_t request;
  int rc = uv_fs_access(NULL, &request, self->path, R_OK, NULL);
  uv_fs_req_cleanup(&request);
  if (rc != 0 && rc != UV_ENOENT) {
    self->stale = true;
    net_log_write(self->loop->log, NET_LOG_ERROR, &actor, "%s: cannot be read by the server's own user (%s), so no change would be seen: no logins; chown it",
                  self->path, uv_strerror(rc));
  }
}

/* ---- answers ---- */
static struct mdm_text text_of(const char *text) {
  return (struct mdm_text){text, strlen(text)};
}

static void answer_no(struct mdm_auth_call *call, const char *reason) {
  struct mdm_auth_answer answer = {.reason = text_of(reason)};
  mdm_auth_answer(call, &answer);
}

static void answer_login(const struct auth_users *self, const struct mdm_auth_question *question, struct mdm_auth_call *call) {
  if (self->stale) {
    answer_no(call, "the server cannot read its user file: tell its operator");
    return;
  }
  if (question->token.size == 0) {
    answer_no(call, "this server wants a token: give the one that the operator's `mdm-tunnel-server user add` printed, with --token or MDM_TUNNEL_TOKEN");
    return;
  }
  const struct users_entry *entry = users_verify(self->users, question->token.data, question->token.size);
  if (entry == NULL) {
    answer_no(call, "the token is not valid: it may have been withdrawn; ask the operator for a new one");
    return;
  }
  if (names_reserved(entry->name) && !entry->reserved) {
    answer_no(call, "the user name is reserved on this server");
    return;
  }
  struct mdm_auth_answer answer = {.allow = true, .user = text_of(entry->name)};
  mdm_auth_answer(call, &answer);
}

static bool copy_text(char *out, size_t capacity, const struct mdm_text *text) {
  if (text->size >= capacity) {
    return false;
  }
  memcpy(out, text->data, text->size);
  out[text->size] = '\0';
  return true;
}

static void answer_claim(const struct auth_users *self, const struct mdm_auth_question *question, struct mdm_auth_call *call) {
  char user[NET_LABEL_MAX + 1], host[NAMES_HOST_MAX + 1], reason[2 * NAMES_HOST_MAX];
  struct mdm_auth_answer answer = {.allow = true};
  if (question->custom_domain) {
    answer.allow = copy_text(user, sizeof user, &question->user) && copy_text(host, sizeof host, &question->name) &&
                   users_granted(self->users, user, host);
    if (!answer.allow) {
      snprintf(reason, sizeof reason, "the domain %.*s is not granted to this user: the operator adds it to the user file",
               (int)(question->name.size > NAMES_HOST_MAX ? NAMES_HOST_MAX : question->name.size), question->name.data);
      answer.reason = text_of(reason);
    }
  }
  mdm_auth_answer(call, &answer);
}

static void users_ask(void *user, const struct mdm_auth_question *question, struct mdm_auth_call *call) {
  const struct auth_users *self = user;
  if (question->step == MDM_AUTH_LOGIN) {
    answer_login(self, question, call);
  } else {
    answer_claim(self, question, call);
  }
}

bool auth_users_known(void *self, const char *user) {
  return users_find(((struct auth_users *)self)->users, user) != NULL;
}

bool auth_users_domain_known(void *self, const char *host) {
  return users_domain_known(((struct auth_users *)self)->users, host);
}

bool auth_users_granted(void *self, const char *user, const char *host) {
  return users_granted(((struct auth_users *)self)->users, user, host);
}

static void users_close(void *user) {
  struct auth_users *self = user;
  net_task_cancel(&self->check);
  file_watch_close(self->watch);
  users_free(self->users);
  free(self->path);
  free(self);
}

const struct mdm_auth_hook auth_users_hook = {
    .abi = MDM_AUTH_ABI,
    .name = "users",
    .steps = MDM_AUTH_BIT(MDM_AUTH_LOGIN) | MDM_AUTH_BIT(MDM_AUTH_CLAIM),
    .ask = users_ask,
    .close = users_close,
};

int auth_users_open(struct auth_users **out, struct net_loop *loop, const char *path, const struct auth_users_events *events, char *error,
                    size_t error_size) {
  struct auth_users *self = calloc(1, sizeof *self);
  *out = NULL;
  if (self == NULL || (self->path = strdup(path)) == NULL) {
    snprintf(error, error_size, "out of memory");
    goto failed;
  }
  self->loop = loop;
  self->events = *events;
  /* The watch comes first: a change between the two is seen. */
  int rc = file_watch_open(&self->watch, loop, path, users_reload, self);
  if (rc != 0) {
    snprintf(error, error_size, "%s: cannot be watched: %s", path, uv_strerror(rc));
    goto failed;
  }
  rc = users_load(&self->users, path, error, error_size);
  if (rc == UV_ENOENT) {
    snprintf(error, error_size, "%s: there is no such user file; make it with: mdm-tunnel-server user add NAME --users %s", path, path);
  }
  if (rc != 0) {
    goto failed;
  }
  self->check.run = users_check;
  net_loop_defer(loop, &self->check);
  *out = self;
  return 0;
failed:
  if (self != NULL) {
    file_watch_close(self->watch);
    free(self->path);
    free(self);
  }
  return -1;
}
