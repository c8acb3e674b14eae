/* exchange_route.c: from a route to an upstream: pages of the server's own, the look-up, the wait for a client that is away, the service's own rules. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "exchange.h"
#include "http_side.h"
#include "passwords.h"
#include "request_rate.h"
#include "tls_store.h"

#define URL_MAX 400u

/* ---- the server's own pages ---- */
static bool only_reads(struct exchange *x) {
  if (x->request.get || x->request.head)
    return true;
  exchange_page(x, &(struct page_problem){.cause = PAGE_METHOD_REFUSED});
  return false;
}

static void show_front(struct exchange *x) {
  struct page_bytes bytes;
  struct page_view view = exchange_view(x);
  struct mdm_text path = x->request.path;
  if (!only_reads(x))
    return;
  size_t size = 0;
  while (size < path.size && path.data[size] != '?')
    size++;
  if (size > 1 || (size == 1 && path.data[0] != '/')) {
    exchange_page(x, &(struct page_problem){.cause = PAGE_UNKNOWN_PATH});
    return;
  }
  bool failed = page_front(&bytes, &view, (const char *const *)x->config->domains, x->config->domains_count) != 0;
  exchange_given(x, &bytes, 200, "", failed);
}

struct list {
  const struct exchange *x;
  size_t count, capacity;
  struct page_entry *entries;
  char *texts; /* names and URLs */
};

/* In the form of the Host used; flat where the certificate covers one label only. */
static void list_add(const char *service, void *arg) {
  struct list *list = arg;
  const struct exchange *x = list->x;
  if (list->count == list->capacity)
    return;
  char *name = list->texts + list->count * (NET_LABEL_MAX + 1 + URL_MAX), *url = name + NET_LABEL_MAX + 1;
  char port[8] = "", host[NAMES_HOST_MAX + NET_LABEL_MAX + 3];
  if (x->route.port)
    snprintf(port, sizeof port, ":%u", x->route.port);
  snprintf(name, NET_LABEL_MAX + 1, "%s", service);
  const struct tls_store *tls = x->server_name ? x->side->worker->tls : NULL;
  snprintf(host, sizeof host, "%s.%s", service, x->route.host);
  bool flat = tls && !tls_store_covers(tls, host);
  snprintf(host, sizeof host, "%s--%s", service, x->route.host);
  flat = flat && tls_store_covers(tls, host);
  snprintf(url, URL_MAX, "%s://%s%s%s%s/", x->forwarded.https ? "https" : "http", service, flat ? "--" : ".", x->route.host, port);
  list->entries[list->count++] = (struct page_entry){.name = name, .url = url};
}

static void show_list(struct exchange *x) {
  struct registry *registry = x->side->worker->registry;
  struct list list = {.x = x};
  struct page_bytes bytes = {0};
  struct page_view view = exchange_view(x);
  size_t total = registry_list(registry, x->route.user, list_add, &list); /* no room yet: counts only */
  if (!total && !registry_user_known(registry, x->route.user)) {
    exchange_page(x, &(struct page_problem){.cause = PAGE_UNKNOWN_NAME, .domains = (const char *const *)x->config->domains,
                                            .domains_count = x->config->domains_count});
    return;
  }
  if (!only_reads(x))
    return;
  bool failed = true;
  size_t room = total < PAGE_LIST_MAX ? total : PAGE_LIST_MAX;
  list.entries = calloc(room + 1, sizeof *list.entries);
  list.texts = malloc((room + 1) * (NET_LABEL_MAX + 1 + URL_MAX));
  if (list.entries && list.texts) {
    list.capacity = room;
    total = registry_list(registry, x->route.user, list_add, &list);
    failed = page_list(&bytes, &view, x->route.user, list.entries, list.count, total) != 0;
  }
  free(list.entries);
  free(list.texts);
  exchange_given(x, &bytes, 200, "", failed);
}

/* ---- the service's own rules ---- */
static void password_checked(bool right, void *user) {
  struct exchange *x = user;
  x->password = NULL;
  if (right) {
    x->password_right = true;
    exchange_find(x); /* the service may have changed meanwhile */
    return;
  }
  static const struct mdm_auth_field fields[] = {
      {.name = {"WWW-Authenticate", 16}, .value = {"Basic realm=\"tunnel\", charset=\"UTF-8\"", 37}}};
  exchange_page(x, &(struct page_problem){.cause = PAGE_UNAUTHORIZED, .fields = fields, .fields_count = 1});
}

/* True when the visitor has shown a password of the service, or needs none. Otherwise it is answered, or waits. */
static bool password_ok(struct exchange *x, const struct net_service_options *options) {
  if (!options->basic_auth_count || x->password_right)
    return true;
  enum password_verdict verdict = passwords_check(x->side->passwords, options->basic_auth, options->basic_auth_count,
                                                  x->request.authorization, password_checked, x, &x->password);
  switch (verdict) {
  case PASSWORD_RIGHT:
    return true;
  case PASSWORD_WRONG:
    password_checked(false, x);
    return false;
  case PASSWORD_BUSY:
    exchange_page(x, &(struct page_problem){.cause = PAGE_BUSY, .retry_after_s = 1});
    return false;
  case PASSWORD_PENDING:
    exchange_enter(x, EXCHANGE_PASSWORD);
    return false;
  }
  return false;
}

/* ---- the upstream ---- */
static bool upgrade_allowed(const struct exchange *x, const struct net_service_options *options) {
  const struct mdm_text upgrade = x->request.upgrade;
  if (!upgrade.size || x->request.framing != HTTP_FRAMING_NONE)
    return false;
  if (http_text_is(upgrade, "websocket"))
    return x->request.websocket;
  for (size_t i = 0; i < options->upgrades_count; i++)
    if (http_text_is(upgrade, options->upgrades[i]))
      return true;
  return false;
}

static void write_head(struct http_out *out, const void *arg) {
  http_write_request(out, arg);
}

static void wait_for_name(struct exchange *x, enum page_cause otherwise);

static int open_upstream(struct exchange *x) {
  const struct server_config *config = x->config;
  const struct upstream_key key = {
      .agent = agent_id(x->agent),
      .service = x->service,
      .https = x->forwarded.https,
      .visitor = x->forwarded.client,
  };
  bool repeatable = x->request.idempotent && x->request.framing == HTTP_FRAMING_NONE;
  if (!x->retried && !x->upgrade_sent)
    x->upstream = x->front->take(x, &key, repeatable ? UINT64_MAX : EXCHANGE_IDLE_UNSAFE_MS);
  x->upstream_used = x->upstream != NULL;
  if (x->upstream) {
    x->upstream->events = &exchange_upstream_events;
    x->upstream->owner = x;
    return 0;
  }
  const struct upstream_options options = {
      .pool = &x->side->pool,
      .loop = &x->side->worker->loop,
      .agent = x->agent,
      .kind = x->upgrade_sent ? MDM_KIND_WS : MDM_KIND_HTTP,
      .limits = {.head_bytes = config->limits.head_bytes,
                 .head_fields = config->limits.head_fields,
                 .trailer_bytes = config->limits.trailer_bytes,
                 .chunk_extension_bytes = config->limits.chunk_extension_bytes,
                 .stall_s = config->timeouts.write_stall_ms / 1000u},
  };
  return upstream_stream_open(&x->upstream, &options, &key, &exchange_upstream_events, x);
}

/* Opens or takes an upstream and sends the head. */
static void dispatch(struct exchange *x, const struct registry_target *target) {
  const struct net_service_options *options = &target->service->options;
  x->agent = target->agent;
  x->service = target->service->id;
  snprintf(x->user, sizeof x->user, "%s", target->user);
  snprintf(x->service_name, sizeof x->service_name, "%s", target->service->name);
  x->report.user = x->user;
  x->report.service = x->service_name;
  x->upgrade_sent = upgrade_allowed(x, options);
  const struct http_request_rewrite rewrite = {
      .scan = &x->scan,
      .request = &x->request,
      .forwarded = &x->forwarded,
      .options = options,
      .strip = x->config->auth_fields,
      .strip_count = x->config->auth_fields_count,
      .added = x->added_bytes ? (const struct http_field *)(const void *)x->added_bytes->data : NULL,
      .added_count = x->added_count,
      .upgrade = x->upgrade_sent,
  };
  struct http_buffer *head = NULL;
  if (http_buffer_write(&x->side->pool, &head, write_head, &rewrite) != 0) {
    exchange_page(x, &(struct page_problem){.cause = PAGE_INTERNAL});
    return;
  }
  int error = open_upstream(x);
  if (error) {
    http_buffer_give(&x->side->pool, &head);
    if (error == MDM_MUX_ECLOSED || error == MDM_MUX_ESTATE)
      wait_for_name(x, PAGE_LINK_LOST);
    else
      exchange_page(x, &(struct page_problem){.cause = error == MDM_MUX_ELIMIT ? PAGE_BUSY : PAGE_INTERNAL});
    return;
  }
  exchange_enter(x, EXCHANGE_OPEN);
  x->upstream->ops->start(x->upstream, &head, x->request.framing, x->request.head);
  if (x->fin)
    exchange_finish(x);
}

static void use_target(struct exchange *x, const struct registry_target *target) {
  const struct net_service_options *options = &target->service->options;
  const struct worker *worker = x->side->worker;
  bool first = !x->counted; /* the same request comes by again after a wait */
  x->counted = true;
  if (first && worker->rate &&
      !request_rate_user(worker->rate, net_loop_now_ms(&worker->loop), target->user, x->config->limits.requests_per_user)) {
    exchange_page(x, &(struct page_problem){.cause = PAGE_TOO_MANY_REQUESTS, .retry_after_s = 1});
    return;
  }
  if (options->allow_count && !net_cidr_any(options->allow, options->allow_count, &x->forwarded.client)) {
    exchange_page(x, &(struct page_problem){.cause = PAGE_FORBIDDEN});
    return;
  }
  if (password_ok(x, options) && exchange_stream_ok(x, target))
    dispatch(x, target);
}

/* ---- the look-up ---- */
static void name_came(struct registry_hold *hold, bool live, void *user) {
  struct exchange *x = user;
  (void)hold;
  (void)live;
  x->hold = NULL;
  exchange_find(x); /* published or not, its state says what to answer */
}

/* Waits for the client to come (back), once; else answers. */
static void wait_for_name(struct exchange *x, enum page_cause otherwise) {
  const struct worker *worker = x->side->worker;
  uint32_t limit = x->config->timeouts.hold_ms;
  if (!x->held && limit && !worker->draining &&
      registry_wait(worker->registry, x->key, x->route.user, limit, name_came, x, &x->hold) == 0) {
    x->held = true;
    exchange_enter(x, EXCHANGE_HOLD);
    return;
  }
  bool unknown = otherwise == PAGE_UNKNOWN_NAME;
  exchange_page(x, &(struct page_problem){.cause = otherwise,
                                          .domains = unknown ? (const char *const *)x->config->domains : NULL,
                                          .domains_count = unknown ? x->config->domains_count : 0});
}

void exchange_find(struct exchange *x) {
  struct registry_target target;
  bool hold_allowed;
  enum registry_state state = registry_find(x->side->worker->registry, x->key, &target, &hold_allowed);
  if (!hold_allowed)
    x->held = x->held || state != REGISTRY_LIVE; /* waiting would not help */
  switch (state) {
  case REGISTRY_LIVE:
    use_target(x, &target);
    return;
  case REGISTRY_OFFLINE:
    wait_for_name(x, PAGE_OFFLINE);
    return;
  case REGISTRY_UNKNOWN:
    wait_for_name(x, PAGE_UNKNOWN_NAME);
    return;
  }
}

void exchange_route(struct exchange *x) {
  struct registry *registry = x->side->worker->registry;
  struct route *route = &x->route;
  bool guess = !route->fixed && (route->kind == ROUTE_SERVICE || route->kind == ROUTE_USER);
  if (route->kind == ROUTE_FOREIGN || (guess && registry_domain_known(registry, route->host))) {
    names_key_domain(x->key, route->host);
    exchange_find(x);
    return;
  }
  x->report.user = route->user;
  x->report.service = route->service;
  switch (route->kind) {
  case ROUTE_SELF:
    show_front(x);
    return;
  case ROUTE_USER:
    show_list(x);
    return;
  case ROUTE_SERVICE:
    names_key_service(x->key, route->user, route->service);
    exchange_find(x);
    return;
  case ROUTE_INVALID: case ROUTE_FOREIGN:
    break;
  }
  exchange_page(x, &(struct page_problem){.cause = PAGE_BAD_REQUEST});
}
