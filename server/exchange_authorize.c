/* exchange_authorize.c: what is settled before any name is looked up: the right connection, the right scheme, the client's own path, and the hook. */
#include <stdio.h>
#include <string.h>

#include "dial.h"
#include "exchange.h"
#include "http_side.h"
#include "request_rate.h"
#include "tls_store.h"

/* ---- 421, 308 and the carrier's path ---- */
static bool misdirected(const struct exchange *x) {
  const struct worker *worker = x->side->worker;
  return x->server_name && worker->tls && !tls_store_same_certificate(worker->tls, x->server_name, x->route.host);
}

static bool is_carrier(const struct exchange *x) {
  return x->route.kind == ROUTE_SELF && !x->request.path_slash && x->request.path.size == sizeof NET_LINK_PATH - 1 &&
         memcmp(x->request.path.data, NET_LINK_PATH, sizeof NET_LINK_PATH - 1) == 0;
}

static void carrier(struct exchange *x) {
  static const struct mdm_auth_field fields[] = {
      {.name = {"Upgrade", 7}, .value = {"websocket", 9}},
      {.name = {"Connection", 10}, .value = {"Upgrade", 7}},
  };
  if (x->request.websocket && !x->side->worker->draining) {
    x->report.status = 101;
    x->front->link(x);
    exchange_over(x);
    return;
  }
  exchange_page(x, &(struct page_problem){.cause = x->side->worker->draining ? PAGE_SHUTTING_DOWN : PAGE_UPGRADE_REQUIRED,
                                          .fields = fields,
                                          .fields_count = x->side->worker->draining ? 0 : 2});
}

static void redirect(struct exchange *x) {
  char port[8] = "";
  struct page_bytes bytes;
  struct page_view view = exchange_view(x);
  uint16_t https = x->side->worker->public_https_port;
  struct http_buffer *location = NULL;
  struct http_pool *pool = &x->side->pool;
  if (https != 443)
    snprintf(port, sizeof port, ":%u", https);
  bool failed = http_buffer_append(pool, &location, "https://", 8) || http_buffer_append(pool, &location, x->route.host, strlen(x->route.host)) ||
                http_buffer_append(pool, &location, port, strlen(port)) ||
                (x->request.path_slash && http_buffer_append(pool, &location, "/", 1)) ||
                (x->request.path.data[0] != '*' && http_buffer_append(pool, &location, x->request.path.data, x->request.path.size));
  if (!failed) {
    struct mdm_auth_field field = {.name = {"Location", 8}, .value = {location->data, location->size}};
    failed = page_given(&bytes, &view, 308, &field, 1, (struct mdm_text){0}) != 0;
  }
  http_buffer_give(pool, &location);
  exchange_given(x, &bytes, 308, "", failed);
}

/* ---- the hook ---- */
static bool label_or_empty(char out[static NET_LABEL_MAX + 1], struct mdm_text text) {
  out[0] = '\0';
  return !text.size || net_label_fold(out, text.data, text.size);
}

static bool field_allowed(const struct exchange *x, const struct mdm_auth_field *field) {
  if (!http_is_token(field->name) || http_find_control(field->value.data, field->value.size))
    return false;
  for (size_t i = 0; i < x->config->auth_fields_count; i++)
    if (http_text_is(field->name, x->config->auth_fields[i]))
      return true;
  return false;
}

/* Copies the fields for the origin: the answer is gone when this returns. 0 or -1. */
static int take_fields(struct exchange *x, const struct mdm_auth_answer *answer) {
  struct http_pool *pool = &x->side->pool;
  size_t count = 0, size = 0;
  for (size_t i = 0; i < answer->origin_fields_count; i++) {
    if (!field_allowed(x, &answer->origin_fields[i]))
      continue;
    count++;
    size += answer->origin_fields[i].name.size + answer->origin_fields[i].value.size;
  }
  if (!count)
    return 0;
  x->added_bytes = http_buffer_take(pool, count * sizeof(struct http_field) + size);
  if (!x->added_bytes)
    return -1;
  struct http_field *fields = (struct http_field *)(void *)x->added_bytes->data;
  char *at = x->added_bytes->data + count * sizeof *fields;
  for (size_t i = 0; i < answer->origin_fields_count; i++) {
    const struct mdm_auth_field *from = &answer->origin_fields[i];
    if (!field_allowed(x, from))
      continue;
    struct http_field *to = &fields[x->added_count++];
    to->name = (struct mdm_text){.data = at, .size = from->name.size};
    memcpy(at, from->name.data, from->name.size);
    at += from->name.size;
    to->value = (struct mdm_text){.data = at, .size = from->value.size};
    if (from->value.size)
      memcpy(at, from->value.data, from->value.size);
    at += from->value.size;
  }
  return 0;
}

static void allowed(struct exchange *x, const struct mdm_auth_answer *answer) {
  if (answer) {
    char user[NET_LABEL_MAX + 1], service[NET_LABEL_MAX + 1];
    if (!label_or_empty(user, answer->user) || !label_or_empty(service, answer->service)) {
      exchange_page(x, &(struct page_problem){.cause = PAGE_HOOK_FAILED});
      return;
    }
    if (user[0]) {
      x->route.kind = service[0] ? ROUTE_SERVICE : ROUTE_USER;
      x->route.fixed = true;
      memcpy(x->route.user, user, sizeof user);
      memcpy(x->route.service, service, sizeof service);
    }
    if (take_fields(x, answer) != 0) {
      exchange_page(x, &(struct page_problem){.cause = PAGE_INTERNAL});
      return;
    }
    x->hook_timeout_s = answer->limits.timeout_s;
    if (answer->limits.request_body_bytes)
      x->body_limit = answer->limits.request_body_bytes;
    if (x->request.framing == HTTP_FRAMING_LENGTH && x->body_limit && x->request.length > x->body_limit) {
      exchange_refuse(x, PAGE_BODY_TOO_LARGE, 0, "the request's body is over the limit");
      return;
    }
  }
  exchange_route(x);
}

/* A hook that says no differs from one that could not say: its 5xx is its own trouble, not the visitor's. */
static enum page_cause cause_of_denial(int status) {
  return status == 401 ? PAGE_UNAUTHORIZED : status < 500 ? PAGE_FORBIDDEN : status == 504 ? PAGE_HOOK_SLOW : PAGE_HOOK_FAILED;
}

static void denied(struct exchange *x, const struct mdm_auth_answer *answer) {
  int status = answer && answer->status >= 200 && answer->status <= 599 ? answer->status : 403;
  if (!answer || (!answer->answer_fields_count && !answer->body.size)) {
    exchange_page(x, &(struct page_problem){.cause = cause_of_denial(status), .status = status});
    return;
  }
  struct page_bytes bytes;
  struct page_view view = exchange_view(x);
  bool failed = page_given(&bytes, &view, status, answer->answer_fields, answer->answer_fields_count, answer->body) != 0;
  exchange_given(x, &bytes, status, "http_request_denied", failed);
}

static void answered(enum auth_verdict verdict, const struct mdm_auth_answer *answer, void *user) {
  struct exchange *x = user;
  x->ask = NULL;
  http_buffer_give(&x->side->pool, &x->question_fields);
  switch (verdict) {
  case AUTH_ALLOWED:
    allowed(x, answer);
    return;
  case AUTH_DENIED:
    denied(x, answer);
    return;
  case AUTH_TIMED_OUT:
    exchange_page(x, &(struct page_problem){.cause = PAGE_HOOK_SLOW});
    return;
  case AUTH_BUSY:
    exchange_page(x, &(struct page_problem){.cause = PAGE_BUSY});
    return;
  }
}

static void ask(struct exchange *x) {
  size_t count = x->scan.head.fields_count;
  struct http_pool *pool = &x->side->pool;
  struct mdm_text target = x->request.path;
  x->question_fields = http_buffer_take(pool, count * sizeof(struct mdm_auth_field) + target.size + 1);
  if (!x->question_fields) {
    exchange_page(x, &(struct page_problem){.cause = PAGE_INTERNAL});
    return;
  }
  struct mdm_auth_field *fields = (struct mdm_auth_field *)(void *)x->question_fields->data;
  if (x->request.path_slash) {
    char *text = (char *)(fields + count);
    text[0] = '/';
    if (target.size)
      memcpy(text + 1, target.data, target.size);
    target = (struct mdm_text){.data = text, .size = target.size + 1};
  }
  for (size_t i = 0; i < count; i++)
    fields[i] = (struct mdm_auth_field){.name = x->scan.fields[i].name, .value = x->scan.fields[i].value};
  x->question = (struct mdm_auth_question){
      .step = MDM_AUTH_VISIT,
      .address = x->forwarded.client,
      .encrypted = x->forwarded.https,
      .user = http_text(x->route.user),
      .service = http_text(x->route.service),
      .method = x->scan.head.method,
      .request_target = target, /* what the origin gets: of an absolute-form target only the path */
      .host = x->request.host,
      .scheme = http_text(x->forwarded.https ? "https" : "http"),
      .fields = fields,
      .fields_count = count,
      .websocket = x->request.websocket,
  };
  exchange_enter(x, EXCHANGE_AUTHORIZE);
  auth_chain_ask(x->side->worker->auth, &x->question, answered, x, &x->ask);
}

void exchange_authorize(struct exchange *x) {
  const struct worker *worker = x->side->worker;
  if (worker->rate &&
      !request_rate_address(worker->rate, net_loop_now_ms(&worker->loop), &x->forwarded.client, x->config->limits.requests_per_address))
    exchange_page(x, &(struct page_problem){.cause = PAGE_TOO_MANY_REQUESTS, .retry_after_s = 1});
  else if (misdirected(x))
    exchange_page(x, &(struct page_problem){.cause = PAGE_MISDIRECTED});
  else if (is_carrier(x))
    carrier(x);
  else if (x->config->redirect_http && !x->forwarded.https && worker->public_https_port)
    redirect(x);
  else if (worker->auth && auth_chain_declares(worker->auth, MDM_AUTH_VISIT))
    ask(x);
  else
    exchange_route(x);
}
