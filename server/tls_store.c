/* tls_store.c: the context of the public HTTPS port, its callbacks, and the watch over the files. */
#include "tls_store.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "identity.h"
#include "log.h"
#include "tls_pairs.h"

#define WATCHES_MAX 64u /* directories watched at once; what is beyond is found by the poll */
#define ALPN_HTTP "http/1.1"

static const struct net_log_actor actor = {.kind = "tls"};

struct watch {
  uv_fs_event_t event;
  struct tls_store *store;
  char *dir;
};
struct tls_store {
  struct net_loop *loop;
  char *certificate, *key, *dir;
  const struct net_identity *link;
  struct tls_pairs *pairs;
  struct net_tls_context *context;
  struct net_tls_tickets *tickets; /* one ring over all contexts: a reload keeps tickets good */
  uint64_t stamp, reloads;
  struct net_timer timer;
  struct watch *watches[WATCHES_MAX];
  size_t watches_count;
  unsigned handles; /* not yet closed */
  bool closing;
};

/* ---- the context: reached by SSL callbacks of any thread, immutable ---- */
struct store_keys {
  struct tls_pairs *pairs;
  const struct net_identity *link;
};

static void keys_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp) {
  struct store_keys *keys = ptr;
  (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
  if (keys != NULL)
    tls_pairs_unref(keys->pairs);
  free(keys);
}

/* OpenSSL hands out the same number for the whole process; taken once. */
static CRYPTO_ONCE keys_once = CRYPTO_ONCE_STATIC_INIT;
static int keys_index = -1;
static void keys_make_index(void) {
  keys_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, keys_free);
}

/* Is `protocol` in the list of an ALPN extension's body (RFC 7301 3.1)? */
static bool alpn_offers(const unsigned char *list, size_t size, const char *protocol) {
  size_t wanted = strlen(protocol);
  for (size_t i = 0; i < size; i += 1u + list[i])
    if (list[i] == wanted && i + 1 + wanted <= size && memcmp(list + i + 1, protocol, wanted) == 0)
      return true;
  return false;
}

static bool hello_wants_link(SSL *ssl) {
  const unsigned char *body;
  size_t size;
  return SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &body, &size) == 1 && size >= 2 &&
         alpn_offers(body + 2, size - 2, NET_ALPN_LINK);
}

/* RFC 6066 3: u16 list length, u8 type (0 = host name), u16 length, name. */
static const char *hello_server_name(SSL *ssl, size_t *name_size) {
  const unsigned char *body;
  size_t size;
  *name_size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &body, &size) != 1 || size < 5 || body[2] != TLSEXT_NAMETYPE_host_name)
    return NULL;
  *name_size = (size_t)body[3] << 8 | body[4];
  return *name_size <= size - 5 ? (const char *)body + 5 : NULL;
}

/* Chooses the certificate before anything else is decided: a resumed session must be of the same one. */
static int on_client_hello(SSL *ssl, int *alert, void *arg) {
  const struct store_keys *keys = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), keys_index);
  static const unsigned char link_context[] = "mdm-link";
  (void)arg;
  *alert = SSL_AD_INTERNAL_ERROR;
  if (keys->link != NULL && hello_wants_link(ssl)) {
    SSL_set_options(ssl, SSL_OP_NO_TICKET);
    if (SSL_use_cert_and_key(ssl, keys->link->certificate, keys->link->key, keys->link->chain, 1) != 1 ||
        SSL_set_num_tickets(ssl, 0) != 1 || SSL_set_min_proto_version(ssl, TLS1_3_VERSION) != 1 || SSL_set_session_id_context(ssl, link_context, sizeof link_context - 1) != 1)
      return SSL_CLIENT_HELLO_ERROR;
    return SSL_CLIENT_HELLO_SUCCESS;
  }
  size_t size = 0;
  const char *name = hello_server_name(ssl, &size);
  const struct tls_pair *pair = tls_pairs_choose(keys->pairs, name, name == NULL ? 0 : size);
  if (SSL_use_cert_and_key(ssl, pair->certificate, pair->key, pair->chain, 1) != 1 ||
      SSL_set_session_id_context(ssl, pair->digest, TLS_PAIR_DIGEST) != 1)
    return SSL_CLIENT_HELLO_ERROR;
  return SSL_CLIENT_HELLO_SUCCESS;
}

static int on_server_name(SSL *ssl, int *alert, void *arg) {
  (void)ssl, (void)alert, (void)arg;
  return SSL_TLSEXT_ERR_OK; /* so that OpenSSL keeps the name */
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_size, const unsigned char *in, unsigned in_size, void *arg) {
  const struct store_keys *keys = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), keys_index);
  const char *chosen = NULL;
  (void)arg;
  if (keys->link != NULL && alpn_offers(in, in_size, NET_ALPN_LINK))
    chosen = NET_ALPN_LINK;
  else if (alpn_offers(in, in_size, ALPN_HTTP))
    chosen = ALPN_HTTP;
  if (chosen == NULL)
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol */
  *out = (const unsigned char *)chosen;
  *out_size = (unsigned char)strlen(chosen);
  return SSL_TLSEXT_ERR_OK;
}

static void context_set_callbacks(SSL_CTX *ctx) {
  SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
  SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
  SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
}

static struct net_tls_context *context_make(struct tls_pairs *pairs, const struct net_identity *link, struct net_tls_tickets *tickets,
                                            char *error, size_t error_size) {
  struct net_tls_context *context;
  struct store_keys *keys = malloc(sizeof *keys);
  SSL_CTX *ctx = NULL;
  snprintf(error, error_size, "out of memory");
  if (keys == NULL || CRYPTO_THREAD_run_once(&keys_once, keys_make_index) != 1 || keys_index < 0 ||
      net_tls_web_server(&ctx, error, error_size) != 0)
    goto failed;
  snprintf(error, error_size, "out of memory"); /* what is left to go wrong */
  *keys = (struct store_keys){.pairs = pairs, .link = link};
  if (SSL_CTX_set_ex_data(ctx, keys_index, keys) != 1)
    goto failed;
  tls_pairs_ref(pairs);
  keys = NULL; /* the context's */
  if (net_tls_tickets_attach(tickets, ctx) != 0)
    goto failed;
  context_set_callbacks(ctx);
  context = net_tls_context_take(ctx); /* takes it also when it fails */
  return context;
failed:
  ERR_clear_error();
  SSL_CTX_free(ctx);
  free(keys);
  return NULL;
}

/* ---- loading ---- */
static void complain(const char *sentence, void *user) {
  const struct tls_store *store = user;
  net_log_write(store->loop->log, NET_LOG_ERROR, &actor, "%s", sentence);
}

static bool copy_text(char **place, const char *text) {
  free(*place);
  *place = text == NULL ? NULL : strdup(text);
  return text == NULL || *place != NULL;
}

/* Makes a new context from the files; on failure everything stays as it was, except the stamp: what is bad is not tried again until it changes. */
static int load(struct tls_store *store, char *error, size_t error_size) {
  struct tls_sources sources;
  struct tls_pairs *pairs = NULL;
  struct net_tls_context *context = NULL;
  if (tls_sources_find(&sources, store->certificate, store->key, store->dir, error, error_size) != 0)
    return -1;
  store->stamp = tls_sources_stamp(&sources);
  int status = tls_pairs_load(&pairs, &sources, store->pairs, complain, store, error, error_size);
  tls_sources_clean(&sources);
  if (status != 0)
    return -1;
  context = context_make(pairs, store->link, store->tickets, error, error_size);
  if (context == NULL) {
    tls_pairs_unref(pairs);
    return -1;
  }
  store->reloads += store->context != NULL;
  net_tls_context_unref(store->context);
  tls_pairs_unref(store->pairs);
  store->context = context;
  store->pairs = pairs;
  return 0;
}

static void look_again(struct tls_store *store) {
  struct tls_sources sources;
  char error[1024];
  if (tls_sources_find(&sources, store->certificate, store->key, store->dir, error, sizeof error) != 0) {
    net_log_write(store->loop->log, NET_LOG_WARN, &actor, "%s; the certificates loaded before stay in use", error);
    return;
  }
  uint64_t stamp = tls_sources_stamp(&sources);
  tls_sources_clean(&sources);
  if (stamp == store->stamp)
    return;
  if (load(store, error, sizeof error) == 0)
    net_log_write(store->loop->log, NET_LOG_INFO, &actor, "the files changed: %zu certificates loaded", store->pairs->count);
  else
    net_log_write(store->loop->log, NET_LOG_ERROR, &actor, "%s; the certificates loaded before stay in use", error);
}

/* ---- the watch ---- */
static void watch_closed(uv_handle_t *handle) {
  struct watch *watch = handle->data;
  struct tls_store *store = watch->store;
  free(watch->dir);
  free(watch);
  if (--store->handles == 0 && store->closing)
    free(store);
}

static void on_change(uv_fs_event_t *event, const char *name, int events, int status) {
  struct watch *watch = event->data;
  (void)name, (void)events, (void)status;
  net_timer_start(&watch->store->loop->wheel, &watch->store->timer, TLS_STORE_SETTLE_MS);
}

static void watch_dir(struct tls_store *store, const char *dir) {
  struct watch *watch;
  for (size_t i = 0; i < store->watches_count; i++)
    if (strcmp(store->watches[i]->dir, dir) == 0)
      return;
  if (store->watches_count >= WATCHES_MAX || (watch = calloc(1, sizeof *watch)) == NULL)
    return; /* the poll finds it */
  watch->store = store;
  watch->dir = strdup(dir);
  if (watch->dir == NULL || uv_fs_event_init(store->loop->uv, &watch->event) != 0) {
    free(watch->dir);
    free(watch);
    return;
  }
  watch->event.data = watch;
  store->handles++;
  if (uv_fs_event_start(&watch->event, on_change, dir, 0) != 0) {
    uv_close((uv_handle_t *)&watch->event, watch_closed);
    return;
  }
  uv_unref((uv_handle_t *)&watch->event);
  store->watches[store->watches_count++] = watch;
}

static void unwatch(struct tls_store *store) {
  for (size_t i = 0; i < store->watches_count; i++)
    uv_close((uv_handle_t *)&store->watches[i]->event, watch_closed);
  store->watches_count = 0;
}

static void watch_dir_of(struct tls_store *store, const char *path) {
  char *dir = strdup(path), *slash = dir == NULL ? NULL : strrchr(dir, '/');
  if (slash != NULL)
    slash[slash == dir] = '\0';
  if (dir != NULL)
    watch_dir(store, slash == NULL ? "." : dir);
  free(dir);
}

static void watch_all(struct tls_store *store) {
  unwatch(store);
  if (store->certificate != NULL) {
    watch_dir_of(store, store->certificate);
    watch_dir_of(store, store->key);
  }
  if (store->dir != NULL)
    watch_dir(store, store->dir);
  for (size_t i = 0; i < store->pairs->count; i++)
    watch_dir_of(store, store->pairs->list[i]->path);
}

static void on_timer(struct net_timer *timer) {
  struct tls_store *store = (struct tls_store *)(void *)((char *)timer - offsetof(struct tls_store, timer));
  uint64_t before = store->reloads;
  look_again(store);
  if (store->reloads != before)
    watch_all(store); /* directories may have come or gone */
  net_timer_start(&store->loop->wheel, &store->timer, TLS_STORE_POLL_MS);
}

/* ---- the store ---- */
int tls_store_open(struct tls_store **out, struct net_loop *loop, const struct tls_store_options *options, char *error, size_t error_size) {
  struct tls_store *store = calloc(1, sizeof *store);
  *out = NULL;
  if (store == NULL) {
    snprintf(error, error_size, "out of memory");
    return -1;
  }
  store->loop = loop;
  store->timer.fire = on_timer;
  store->tickets = net_tls_tickets_new();
  if (store->tickets == NULL)
    snprintf(error, error_size, "out of memory");
  if (store->tickets == NULL || tls_store_reload(store, options, error, error_size) != 0) {
    tls_store_close(store);
    return -1;
  }
  *out = store;
  return 0;
}

int tls_store_reload(struct tls_store *store, const struct tls_store_options *options, char *error, size_t error_size) {
  store->link = options->link;
  if (!copy_text(&store->certificate, options->certificate) || !copy_text(&store->key, options->key) || !copy_text(&store->dir, options->dir)) {
    snprintf(error, error_size, "out of memory");
    return -1;
  }
  if (load(store, error, error_size) != 0)
    return -1;
  watch_all(store);
  net_timer_start(&store->loop->wheel, &store->timer, TLS_STORE_POLL_MS);
  return 0;
}

struct net_tls_context *tls_store_context(struct tls_store *store) {
  return store->context;
}

size_t tls_store_count(const struct tls_store *store) {
  return store->pairs->count;
}

uint64_t tls_store_reloads(const struct tls_store *store) {
  return store->reloads;
}

bool tls_store_same_certificate(const struct tls_store *store, const char *server_name, const char *host) {
  const struct tls_pair *shown = tls_pairs_choose(store->pairs, server_name, server_name == NULL ? 0 : strlen(server_name));
  return tls_pair_covers(shown, host) || tls_pairs_choose(store->pairs, host, strlen(host)) == shown;
}

bool tls_store_covers(const struct tls_store *store, const char *host) {
  return tls_pair_covers(tls_pairs_choose(store->pairs, host, strlen(host)), host);
}

void tls_store_close(struct tls_store *store) {
  if (store == NULL)
    return;
  net_timer_stop(&store->loop->wheel, &store->timer);
  unwatch(store);
  net_tls_context_unref(store->context);
  net_tls_tickets_unref(store->tickets);
  tls_pairs_unref(store->pairs);
  free(store->certificate);
  free(store->key);
  free(store->dir);
  store->closing = true;
  if (store->handles == 0)
    free(store);
}
