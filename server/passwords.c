/* passwords.c: the queue of password checks, its thread and its memory of right ones. */
#include "passwords.h"

#include <sched.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define CREDENTIAL_MAX 512u /* decoded user:password; crypto_pwhash takes more, people do not */

struct password_job {
  struct net_message message;   /* brings it back to the loop */
  struct password_job *next;
  struct passwords *passwords;
  password_done_cb done;        /* NULL = cancelled */
  void *user;
  bool forced_wrong;            /* unknown user: takes as long, is never right */
  bool right;
  uint8_t key[crypto_generichash_BYTES];
  char hash[crypto_pwhash_STRBYTES];
  char secret[CREDENTIAL_MAX + 1];
  size_t secret_size;
};
struct remembered {
  uint8_t key[crypto_generichash_BYTES];
  uint64_t until_ms;
};

struct passwords {
  struct net_loop *loop;
  uint8_t cache_key[crypto_generichash_KEYBYTES];
  struct remembered cache[PASSWORDS_CACHE_SLOTS];
  unsigned alive;               /* jobs between check and their return to the loop */
  bool started, freed;
  uv_thread_t thread;
  uv_mutex_t mutex;
  uv_cond_t wake;
  /* under the mutex */
  struct password_job *first, **last;
  bool stop;
};

int passwords_new(struct passwords **out, struct net_loop *loop) {
  struct passwords *p = calloc(1, sizeof *p);
  *out = NULL;
  if (!p)
    return UV_ENOMEM;
  p->loop = loop;
  p->last = &p->first;
  crypto_generichash_keygen(p->cache_key);
  int error = uv_mutex_init(&p->mutex);
  if (error)
    goto no_mutex;
  error = uv_cond_init(&p->wake);
  if (error)
    goto no_cond;
  *out = p;
  return 0;
no_cond:
  uv_mutex_destroy(&p->mutex);
no_mutex:
  free(p);
  return error;
}

static void job_free(struct password_job *job) {
  sodium_memzero(job, sizeof *job);
  free(job);
}

static void destroy(struct passwords *p) {
  uv_cond_destroy(&p->wake);
  uv_mutex_destroy(&p->mutex);
  sodium_memzero(p, sizeof *p);
  free(p);
}

static void job_returns(struct net_message *message, struct net_loop *loop) {
  struct password_job *job = (struct password_job *)(void *)message;
  struct passwords *p = job->passwords;
  password_done_cb done = job->done;
  void *user = job->user;
  bool right = job->right;
  p->alive--;
  if (right) {
    struct remembered *slot = &p->cache[(job->key[0] | (unsigned)job->key[1] << 8) % PASSWORDS_CACHE_SLOTS];
    memcpy(slot->key, job->key, sizeof slot->key);
    slot->until_ms = net_loop_now_ms(loop) + PASSWORDS_CACHE_MS;
  }
  job_free(job);
  if (done)
    done(right, user);
  else if (p->freed && !p->alive)
    destroy(p);
}

static void run_checks(void *argument) {
  struct passwords *p = argument;
  struct sched_param param = {0};
  (void)sched_setscheduler(0, SCHED_IDLE, &param); /* of this thread alone; without it the checks are merely less polite */
  uv_mutex_lock(&p->mutex);
  while (!p->stop) {
    struct password_job *job = p->first;
    if (!job) {
      uv_cond_wait(&p->wake, &p->mutex);
      continue;
    }
    p->first = job->next;
    if (!p->first)
      p->last = &p->first;
    uv_mutex_unlock(&p->mutex);
    job->right = crypto_pwhash_str_verify(job->hash, job->secret, job->secret_size) == 0 && !job->forced_wrong;
    sodium_memzero(job->secret, sizeof job->secret);
    job->message.run = job_returns;
    net_loop_post(p->loop, &job->message);
    uv_mutex_lock(&p->mutex);
  }
  uv_mutex_unlock(&p->mutex);
}

void passwords_free(struct passwords *p) {
  if (!p)
    return;
  if (p->started) {
    uv_mutex_lock(&p->mutex);
    p->stop = true;
    uv_cond_signal(&p->wake);
    uv_mutex_unlock(&p->mutex);
    uv_thread_join(&p->thread);
  }
  while (p->first) {
    struct password_job *next = p->first->next;
    job_free(p->first);
    p->first = next;
    p->alive--;
  }
  p->freed = true;
  if (!p->alive)
    destroy(p); /* else the last check that is on its way back to the loop does it */
}

/* "Basic" SP base64(user ":" password). 0 or -1. */
static int decode(struct mdm_text authorization, char out[static CREDENTIAL_MAX + 1], size_t *size) {
  struct mdm_text scheme = {.data = authorization.data, .size = 5};
  if (authorization.size < 7 || !http_text_is(scheme, "Basic") || authorization.data[5] != ' ')
    return -1;
  struct mdm_text encoded = http_trim((struct mdm_text){.data = authorization.data + 6, .size = authorization.size - 6});
  const char *end;
  if (sodium_base642bin((unsigned char *)out, CREDENTIAL_MAX, encoded.data, encoded.size, NULL, size, &end,
                        sodium_base64_VARIANT_ORIGINAL) != 0 ||
      end != encoded.data + encoded.size)
    return -1;
  out[*size] = '\0';
  return 0;
}

static const struct net_basic_user *find_user(const struct net_basic_user *users, size_t count, const char *name, size_t size) {
  for (size_t i = 0; i < count; i++)
    if (strlen(users[i].user) == size && memcmp(users[i].user, name, size) == 0)
      return &users[i];
  return NULL;
}

static int start_thread(struct passwords *p) {
  if (p->started)
    return 0;
  if (uv_thread_create(&p->thread, run_checks, p) != 0)
    return -1;
  p->started = true;
  return 0;
}

static bool remembered(const struct passwords *p, const uint8_t key[static crypto_generichash_BYTES]) {
  const struct remembered *slot = &p->cache[(key[0] | (unsigned)key[1] << 8) % PASSWORDS_CACHE_SLOTS];
  return sodium_memcmp(slot->key, key, sizeof slot->key) == 0 && net_loop_now_ms(p->loop) < slot->until_ms;
}

enum password_verdict passwords_check(struct passwords *p, const struct net_basic_user *users, size_t count, struct mdm_text authorization,
                                      password_done_cb done, void *user, struct password_job **out) {
  char text[CREDENTIAL_MAX + 1];
  size_t size;
  enum password_verdict verdict = PASSWORD_WRONG;
  struct password_job *job = NULL;
  *out = NULL;
  if (!count || decode(authorization, text, &size) != 0)
    goto done;
  const char *colon = memchr(text, ':', size);
  if (!colon)
    goto done;
  const struct net_basic_user *known = find_user(users, count, text, (size_t)(colon - text));
  const char *hash = known ? known->hash : users[0].hash;
  if (strlen(hash) >= crypto_pwhash_STRBYTES)
    goto done;
  uint8_t key[crypto_generichash_BYTES];
  crypto_generichash_state state;
  crypto_generichash_init(&state, p->cache_key, sizeof p->cache_key, sizeof key);
  crypto_generichash_update(&state, (const unsigned char *)hash, strlen(hash) + 1);
  crypto_generichash_update(&state, (const unsigned char *)text, size);
  crypto_generichash_final(&state, key, sizeof key);
  if (known && remembered(p, key)) {
    verdict = PASSWORD_RIGHT;
    goto done;
  }
  verdict = PASSWORD_BUSY;
  if (p->alive >= PASSWORDS_QUEUE_MAX || start_thread(p) != 0 || !(job = calloc(1, sizeof *job)))
    goto done;
  job->passwords = p;
  job->done = done;
  job->user = user;
  job->forced_wrong = !known;
  memcpy(job->key, key, sizeof key);
  memcpy(job->hash, hash, strlen(hash) + 1);
  job->secret_size = (size_t)(text + size - colon - 1);
  memcpy(job->secret, colon + 1, job->secret_size);
  p->alive++;
  uv_mutex_lock(&p->mutex);
  *p->last = job;
  p->last = &job->next;
  uv_cond_signal(&p->wake);
  uv_mutex_unlock(&p->mutex);
  *out = job;
  verdict = PASSWORD_PENDING;
done:
  sodium_memzero(text, sizeof text);
  return verdict;
}

void password_cancel(struct password_job *job) {
  if (job)
    job->done = NULL; /* read on this thread only */
}
