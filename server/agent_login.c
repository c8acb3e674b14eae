/* agent_login.c: the login of one link: the question to the hooks, the proof of a key, the verdict, and the wait before a refusal. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent_private.h"
#include "tls.h"

static void login_asked(enum auth_verdict verdict, const struct mdm_auth_answer *answer, void *user);

static void login_refuse(struct agent_link *link, const char *text) {
  struct agent_set *set = link->set;
  struct net_loop *loop = &set->worker->loop;
  char user[NET_LABEL_MAX * 2];
  net_log_escape(user, sizeof user, link->auth.user, strlen(link->auth.user));
  uint32_t delay = login_guard_failed(&set->guard, net_loop_now_ms(loop), &link->address, link->auth.user);
  set->logins_refused++;
  agent_link_log(link, NET_LOG_WARN, "login of \"%s\" refused: %s", user, text);
  net_auth_clean(&link->auth);
  snprintf(link->refusal, sizeof link->refusal, "%s", text);
  if (delay == 0) {
    agent_link_refuse(link, MDM_GOAWAY_AUTH, "%s", text);
    return;
  }
  if (set->penalties_count >= AGENT_PENALTIES_MAX) {
    struct agent_link *oldest = NULL;
    for (struct agent_link *other = set->newcomers; other != NULL; other = other->next) {
      oldest = other->state == LINK_PENALTY ? other : oldest;
    }
    if (oldest != NULL) {
      agent_login_penalty_over(oldest);
    }
  }
  link->penalty_ms = delay;
  agent_link_enter(link, LINK_PENALTY);
}

void agent_login_penalty_over(struct agent_link *link) {
  agent_link_refuse(link, MDM_GOAWAY_AUTH, "%s", link->refusal);
}

/* Ed25519 over the nonce and the TLS exporter: a signature is good for this connection only, so a key needs TLS. */
static bool key_proven(struct agent_link *link) {
  uint8_t exporter[NET_TLS_EXPORTER_SIZE], signed_text[NET_AUTH_SIGNED_SIZE];
  struct net_conn *conn = net_link_conn(link->net);
  if (!net_conn_is_tls(conn) || net_tls_exporter(conn, NET_AUTH_EXPORTER, exporter) != 0) {
    return false;
  }
  net_auth_signed_text(signed_text, link->nonce, exporter);
  return crypto_sign_verify_detached(link->auth.signature, signed_text, sizeof signed_text, link->auth.public_key) == 0;
}

static struct mdm_text text_of(const char *text) {
  return (struct mdm_text){text, strlen(text)};
}

void agent_login_start(struct agent_link *link) {
  struct net_auth *auth = &link->auth;
  if (auth->method == NET_AUTH_KEY && !key_proven(link)) {
    login_refuse(link, "the signature of the key is wrong");
    return;
  }
  link->question = (struct mdm_auth_question){
      .step = MDM_AUTH_LOGIN,
      .address = link->address,
      .encrypted = net_conn_is_tls(net_link_conn(link->net)),
      .user = text_of(auth->user),
      .client_name = text_of(link->hello.client_name),
  };
  if (auth->method == NET_AUTH_TOKEN) {
    link->question.token = text_of(auth->token);
  } else if (auth->method == NET_AUTH_KEY) {
    link->question.key = (struct mdm_text){(const char *)auth->public_key, sizeof auth->public_key};
  }
  link->revocations = link->set->revocations;
  auth_chain_ask(link->set->worker->auth, &link->question, login_asked, link, &link->ask);
}

void agent_login_cancel(struct agent_link *link) {
  auth_ask_cancel(link->ask);
  link->ask = NULL;
  net_auth_clean(&link->auth);
}

static bool user_reserved(const struct worker *worker, const char *user) {
  const struct server_config *config = worker->config;
  if (!names_reserved(user) || registry_user_configured(worker->registry, user)) {
    return false;
  }
  for (size_t i = 0; i < config->reserved_allowed_count; i++) {
    if (strcasecmp(config->reserved_allowed[i], user) == 0) {
      return false;
    }
  }
  return true;
}

/* The user that the link belongs to from now on; or a sentence why not. */
static bool login_user(struct agent_link *link, const struct mdm_auth_answer *answer, char *error, size_t error_size) {
  const struct net_auth *auth = &link->auth;
  size_t asked_size = strlen(auth->user);
  char asked[NET_LABEL_MAX + 1] = "", shown[NET_LABEL_MAX * 2];
  const char *proven = answer->user.size > 0 ? answer->user.data : auth->user;
  size_t proven_size = answer->user.size > 0 ? answer->user.size : asked_size;
  net_log_escape(shown, sizeof shown, auth->user, asked_size);
  if (proven_size == 0) {
    snprintf(error, error_size, "no user name was given: start the client with -u NAME");
    return false;
  }
  if (!net_label_fold(link->user, proven, proven_size)) {
    net_log_escape(shown, sizeof shown, proven, proven_size);
    snprintf(error, error_size, "the user name \"%s\" cannot be part of a web address: use letters, digits and single hyphens", shown);
    return false;
  }
  if (asked_size > 0 && (!net_label_fold(asked, auth->user, asked_size) || strcmp(asked, link->user) != 0)) {
    snprintf(error, error_size, "the credential belongs to user %s, not to \"%s\": leave -u away, or give -u %s", link->user, shown, link->user);
    return false;
  }
  if (user_reserved(link->set->worker, link->user)) {
    snprintf(error, error_size, "the user name %s is reserved on this server: choose another one", link->user);
    return false;
  }
  return true;
}

static void login_allowed(struct agent_link *link, const struct mdm_auth_answer *answer) {
  struct agent_set *set = link->set;
  char error[AGENT_SENTENCE_MAX];
  if (!login_user(link, answer, error, sizeof error)) {
    login_refuse(link, error);
    return;
  }
  login_guard_passed(&set->guard, &link->address, link->auth.user);
  link->replace = link->auth.replace;
  link->max_streams = answer->limits.max_streams;
  link->max_services = answer->limits.max_services;
  net_auth_clean(&link->auth);
  set->logins++;
  agent_link_enter(link, LINK_NAME);
  agent_name_settle(link);
}

static void login_asked(enum auth_verdict verdict, const struct mdm_auth_answer *answer, void *user) {
  struct agent_link *link = user;
  link->ask = NULL;
  switch (verdict) {
  case AUTH_ALLOWED:
    if (link->revocations != link->set->revocations) {
      agent_login_start(link); /* something was withdrawn while the hooks were thinking */
    } else {
      login_allowed(link, answer);
    }
    return;
  case AUTH_DENIED: {
    char reason[AGENT_SENTENCE_MAX];
    snprintf(reason, sizeof reason, "%.*s", (int)(answer->reason.size > 400 ? 400 : answer->reason.size),
             answer->reason.size == 0 ? "" : answer->reason.data);
    login_refuse(link, reason[0] == '\0' ? "the login was refused" : reason);
    return;
  }
  case AUTH_TIMED_OUT:
    agent_link_refuse(link, MDM_GOAWAY_BUSY, "the login could not be checked in time");
    return;
  case AUTH_BUSY:
    agent_link_refuse(link, MDM_GOAWAY_BUSY, "the server is busy with other logins");
    return;
  }
}
