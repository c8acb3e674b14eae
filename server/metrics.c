/* metrics.c: counters of exchanges and events, and how they are written down. */
#include "metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "names.h"
#include "strmap.h"

#define STATUS_MAX 600u
#define OTHER "other"

/* Upper bounds in microseconds: from a local answer to the limit that visitors bear. */
static const uint64_t bounds_us[] = {1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000};
#define BOUNDS (sizeof bounds_us / sizeof *bounds_us)

struct user_counts {
  struct strmap_node node;
  char name[NET_LABEL_MAX + 1];
  uint64_t requests, errors, request_bytes, response_bytes;
};
struct metrics {
  struct exchange_observer observer;
  bool (*user_known)(void *self, const char *user);
  void *self;
  uint64_t events[METRICS_EVENTS];
  uint64_t by_status[STATUS_MAX]; /* 0 = ended before an answer */
  uint64_t active, begun, request_bytes, response_bytes;
  uint64_t buckets[BOUNDS + 1], head_sum_us; /* not cumulative here */
  struct strmap users;
  struct user_counts *list[METRICS_USERS_MAX];
  size_t users_count;
  struct user_counts other;
};

static const struct {
  const char *name, *help;
} events[] = {
    [METRICS_CONNECTIONS] = {"mdm_tunnel_connections_total", "Connections accepted on the public ports."},
    [METRICS_CONNECTIONS_REFUSED] = {"mdm_tunnel_connections_refused_total", "Public connections refused by a limit."},
    [METRICS_CONNECTIONS_BROKEN] = {"mdm_tunnel_connections_broken_total", "Connections that ended before a request: PROXY header, TLS, timeout."},
    [METRICS_CLIENT_CONNECTIONS] = {"mdm_tunnel_client_connections_total", "Connections accepted on the client port."},
    [METRICS_DRAIN_CUT] = {"mdm_tunnel_drain_cut_total", "Connections cut because the drain time was over."},
    [METRICS_ACCESS_LOG_DROPPED] = {"mdm_tunnel_access_log_dropped_total", "Lines of the access log that were dropped."},
    [METRICS_RELOADS] = {"mdm_tunnel_reloads_total", "Reloads of the configuration."},
    [METRICS_RELOADS_FAILED] = {"mdm_tunnel_reloads_failed_total", "Reloads that kept the old configuration."},
};
_Static_assert(sizeof events / sizeof *events == METRICS_EVENTS, "every event has a name");

static struct metrics *self_of(const struct exchange_observer *observer) {
  return (struct metrics *)(void *)((char *)(uintptr_t)observer - offsetof(struct metrics, observer));
}

static struct user_counts *counts_of(struct metrics *m, const char *user) {
  struct strmap_node *node;
  struct user_counts *counts;
  if (user == NULL || user[0] == '\0' || strlen(user) > NET_LABEL_MAX)
    return &m->other;
  node = strmap_find(&m->users, user);
  if (node != NULL)
    return STRMAP_OWNER(node, struct user_counts, node);
  if (m->users_count >= METRICS_USERS_MAX || m->user_known == NULL || !m->user_known(m->self, user) ||
      (counts = calloc(1, sizeof *counts)) == NULL)
    return &m->other;
  snprintf(counts->name, sizeof counts->name, "%s", user);
  strmap_add(&m->users, &counts->node, counts->name);
  m->list[m->users_count++] = counts;
  return counts;
}

static void on_begin(const struct exchange_observer *observer, const struct exchange_report *report) {
  struct metrics *m = self_of(observer);
  (void)report;
  m->begun++;
  m->active++;
}

static void on_end(const struct exchange_observer *observer, const struct exchange_report *report) {
  struct metrics *m = self_of(observer);
  struct user_counts *counts = counts_of(m, report->user);
  unsigned status = report->status > 0 && report->status < (int)STATUS_MAX ? (unsigned)report->status : 0;
  if (report->request != NULL && m->active > 0)
    m->active--;
  m->by_status[status]++;
  m->request_bytes += report->request_bytes;
  m->response_bytes += report->response_bytes;
  counts->requests++;
  counts->errors += status == 0 || status >= 500;
  counts->request_bytes += report->request_bytes;
  counts->response_bytes += report->response_bytes;
  if (report->head_us >= report->started_us && report->head_us != 0) {
    uint64_t took_us = report->head_us - report->started_us;
    size_t i = 0;
    while (i < BOUNDS && took_us > bounds_us[i])
      i++;
    m->buckets[i]++;
    m->head_sum_us += took_us;
  }
}

int metrics_new(struct metrics **out, bool (*user_known)(void *self, const char *user), void *self) {
  struct metrics *m = calloc(1, sizeof *m);
  *out = NULL;
  if (m == NULL || strmap_init(&m->users) != 0) {
    free(m);
    return UV_ENOMEM;
  }
  m->observer = (struct exchange_observer){.begin = on_begin, .end = on_end};
  m->user_known = user_known;
  m->self = self;
  snprintf(m->other.name, sizeof m->other.name, OTHER);
  *out = m;
  return 0;
}

void metrics_free(struct metrics *m) {
  if (m == NULL)
    return;
  for (size_t i = 0; i < m->users_count; i++) {
    strmap_remove(&m->users, &m->list[i]->node);
    free(m->list[i]);
  }
  strmap_clean(&m->users);
  free(m);
}

const struct exchange_observer *metrics_observer(const struct metrics *m) {
  return &m->observer;
}

void metrics_add(struct metrics *m, enum metrics_event event, uint64_t amount) {
  if (m != NULL)
    m->events[event] += amount;
}

void metrics_count(struct metrics *m, enum metrics_event event) {
  metrics_add(m, event, 1);
}

uint64_t metrics_get(const struct metrics *m, enum metrics_event event) {
  return m->events[event];
}

/* ---- exposition ---- */
static void head(FILE *out, const char *name, const char *type, const char *help) {
  fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(FILE *out, const char *name, const char *type, const char *help, uint64_t value) {
  head(out, name, type, help);
  fprintf(out, "%s %llu\n", name, (unsigned long long)value);
}

static void render_histogram(FILE *out, const struct metrics *m) {
  static const char name[] = "mdm_tunnel_answer_seconds";
  uint64_t total = 0;
  head(out, name, "histogram", "Time from a request's head to the answer's.");
  for (size_t i = 0; i < BOUNDS; i++) {
    total += m->buckets[i];
    fprintf(out, "%s_bucket{le=\"%g\"} %llu\n", name, (double)bounds_us[i] / 1e6, (unsigned long long)total);
  }
  total += m->buckets[BOUNDS];
  fprintf(out, "%s_bucket{le=\"+Inf\"} %llu\n", name, (unsigned long long)total);
  fprintf(out, "%s_sum %.6f\n%s_count %llu\n", name, (double)m->head_sum_us / 1e6, name, (unsigned long long)total);
}

/* User names are labels or what a hook gave: escaped as the format asks. */
static void user_line(FILE *out, const char *name, const struct user_counts *counts, uint64_t value) {
  fprintf(out, "%s{user=\"", name);
  for (const char *c = counts->name; *c != '\0'; c++)
    fprintf(out, *c == '\n' ? "\\n" : *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
  fprintf(out, "\"} %llu\n", (unsigned long long)value);
}

static void render_users(FILE *out, const struct metrics *m) {
  static const struct {
    const char *name, *help;
    size_t offset;
  } rows[] = {
      {"mdm_tunnel_user_requests_total", "Requests of a user's services.", offsetof(struct user_counts, requests)},
      {"mdm_tunnel_user_errors_total", "Those answered 5xx or not at all.", offsetof(struct user_counts, errors)},
      {"mdm_tunnel_user_request_bytes_total", "Bytes of request bodies.", offsetof(struct user_counts, request_bytes)},
      {"mdm_tunnel_user_response_bytes_total", "Bytes of answer bodies.", offsetof(struct user_counts, response_bytes)},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    head(out, rows[i].name, "counter", rows[i].help);
    for (size_t k = 0; k < m->users_count; k++)
      user_line(out, rows[i].name, m->list[k], *(const uint64_t *)(const void *)((const char *)m->list[k] + rows[i].offset));
    user_line(out, rows[i].name, &m->other, *(const uint64_t *)(const void *)((const char *)&m->other + rows[i].offset));
  }
}

static void render_gauges(FILE *out, const struct metrics_gauges *g) {
  head(out, "mdm_tunnel_info", "gauge", "The version that runs.");
  fprintf(out, "mdm_tunnel_info{version=\"%s\"} 1\n", g->version);
  head(out, "mdm_tunnel_uptime_seconds", "gauge", "Since the start.");
  fprintf(out, "mdm_tunnel_uptime_seconds %.3f\n", g->uptime_s);
  single(out, "mdm_tunnel_draining", "gauge", "1 while the server is being stopped.", g->draining);
  single(out, "mdm_tunnel_visitors", "gauge", "Public connections open now.", g->visitors);
  single(out, "mdm_tunnel_agents", "gauge", "Clients logged in now.", g->agents);
  single(out, "mdm_tunnel_sessions", "gauge", "Sessions with clients now.", g->links);
  single(out, "mdm_tunnel_streams", "gauge", "Streams to clients open now.", g->streams);
  single(out, "mdm_tunnel_held_bytes", "gauge", "Bytes held for slow readers.", g->held_bytes);
  single(out, "mdm_tunnel_held_bytes_max", "gauge", "Their limit.", g->held_bytes_max);
  single(out, "mdm_tunnel_session_receive_bytes", "gauge", "Bytes received on the sessions that live now.", g->link_bytes_in);
  single(out, "mdm_tunnel_session_send_bytes", "gauge", "Bytes sent on the sessions that live now.", g->link_bytes_out);
  single(out, "mdm_tunnel_logins_total", "counter", "Logins of clients.", g->logins);
  single(out, "mdm_tunnel_logins_refused_total", "counter", "Logins that were refused.", g->logins_refused);
}

char *metrics_render(const struct metrics *m, const struct metrics_gauges *gauges, size_t *size) {
  char *text = NULL;
  FILE *out = open_memstream(&text, size);
  if (out == NULL)
    return NULL;
  render_gauges(out, gauges);
  for (size_t i = 0; i < METRICS_EVENTS; i++)
    single(out, events[i].name, "counter", events[i].help, m->events[i]);
  single(out, "mdm_tunnel_requests_active", "gauge", "Requests being answered now.", m->active);
  head(out, "mdm_tunnel_requests_total", "counter", "Requests by status of the answer; 0: the connection ended before one.");
  for (unsigned i = 0; i < STATUS_MAX; i++)
    if (m->by_status[i] != 0)
      fprintf(out, "mdm_tunnel_requests_total{code=\"%u\"} %llu\n", i, (unsigned long long)m->by_status[i]);
  single(out, "mdm_tunnel_request_bytes_total", "counter", "Bytes of request bodies.", m->request_bytes);
  single(out, "mdm_tunnel_response_bytes_total", "counter", "Bytes of answer bodies.", m->response_bytes);
  render_histogram(out, m);
  render_users(out, m);
  bool failed = ferror(out) != 0;
  if (fclose(out) != 0 || failed) {
    free(text);
    return NULL;
  }
  return text;
}
