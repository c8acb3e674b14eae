/* pages.c: owns the words and the looks of every answer that the server makes itself. */
#include "pages.h"

#include <ctype.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- what each cause says ---- */
struct cause {
  int status;
  const char *token; /* RFC 9209 2.3 */
  const char *title, *text;
};
static const struct cause causes[] = {
    [PAGE_BAD_REQUEST] = {400, "http_request_error", "Bad request", "The request is not valid HTTP, so it was not passed on."},
    [PAGE_UNAUTHORIZED] = {401, "http_request_denied", "Sign in needed", "This service asks for a user name and a password."},
    [PAGE_FORBIDDEN] = {403, "http_request_denied", "Not allowed", "You are not allowed to see this."},
    [PAGE_UNKNOWN_NAME] = {404, "destination_not_found", "No such service", "Nobody serves this name here."},
    [PAGE_UNKNOWN_PATH] = {404, "destination_not_found", "Nothing here", "There is no such page on this server."},
    [PAGE_METHOD_REFUSED] = {405, "http_request_denied", "Method not allowed", "This page can only be read (GET or HEAD)."},
    [PAGE_REQUEST_TIMEOUT] = {408, "http_request_error", "Request too slow", "The request did not arrive in time."},
    [PAGE_BODY_TOO_LARGE] = {413, "http_request_error", "Upload too large", "The body of the request is over the limit."},
    [PAGE_TARGET_TOO_LONG] = {414, "http_request_error", "Address too long", "The address of the request is over the limit."},
    [PAGE_MISDIRECTED] = {421, "http_request_error", "Wrong connection",
                          "This connection was made for another name; please connect again."},
    [PAGE_UPGRADE_REQUIRED] = {426, "http_request_error", "Upgrade required", "This address speaks WebSocket only."},
    [PAGE_TOO_MANY_REQUESTS] = {429, "connection_limit_reached", "Too many requests", "A limit was reached; please try again later."},
    [PAGE_HEAD_TOO_LARGE] = {431, "http_request_error", "Request head too large", "The fields of the request are over the limit."},
    [PAGE_INTERNAL] = {500, "proxy_internal_error", "Server error", "The tunnel server could not handle the request."},
    [PAGE_NOT_IMPLEMENTED] = {501, "http_request_error", "Not implemented", "This method or transfer coding is not supported."},
    [PAGE_ORIGIN_REFUSED] = {502, "connection_refused", "Service not running",
                             "The tunnel is up, but nothing answers at the local port behind it."},
    [PAGE_ORIGIN_BROKEN] = {502, "connection_terminated", "Service hung up", "The local service closed the connection without an answer."},
    [PAGE_ORIGIN_NONSENSE] = {502, "http_protocol_error", "Not an HTTP answer",
                              "The local service answered something that is not valid HTTP."},
    [PAGE_ORIGIN_UPGRADE] = {502, "http_upgrade_failed", "Unexpected upgrade",
                             "The local service switched to a protocol that was not asked for."},
    [PAGE_ORIGIN_TOO_LARGE] = {502, "http_response_header_section_size", "Answer head too large",
                               "The fields of the local service's answer are over the limit."},
    [PAGE_HOOK_FAILED] = {502, "proxy_internal_error", "Permission unknown", "The server could not find out whether this is allowed."},
    [PAGE_OFFLINE] = {503, "destination_unavailable", "Offline", "The computer that serves this name is not connected now, or does not offer it."},
    [PAGE_BUSY] = {503, "connection_limit_reached", "Busy", "The server is at one of its limits; please try again."},
    [PAGE_LINK_LOST] = {503, "connection_terminated", "Connection lost", "The connection to the service's computer was lost."},
    [PAGE_SHUTTING_DOWN] = {503, "destination_unavailable", "Restarting", "The server is shutting down; please try again."},
    [PAGE_ORIGIN_SLOW] = {504, "http_response_timeout", "No answer in time", "The local service took too long to answer."},
    [PAGE_ORIGIN_UNREACHABLE] = {504, "connection_timeout", "Service unreachable", "Connecting to the local service took too long."},
    [PAGE_HOOK_SLOW] = {504, "proxy_internal_error", "Permission unknown",
                        "Finding out whether this is allowed took too long."},
    [PAGE_VERSION] = {505, "http_request_error", "HTTP version not supported", "This server speaks HTTP/1.1 and HTTP/1.0."},
};
_Static_assert(sizeof causes / sizeof causes[0] == PAGE_CAUSES, "every cause has its words");

#define RETRY_AFTER_S 5u /* about one reconnect with its backoff */

int page_cause_status(enum page_cause cause) {
  return causes[cause].status;
}
const char *page_cause_token(enum page_cause cause) {
  return causes[cause].token;
}

/* IANA's HTTP status code registry, as far as we or a hook may send them. */
static const struct {
  int status;
  const char *reason;
} reasons[] = {
    {200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"},
    {301, "Moved Permanently"}, {302, "Found"}, {303, "See Other"}, {304, "Not Modified"}, {307, "Temporary Redirect"},
    {308, "Permanent Redirect"}, {400, "Bad Request"}, {401, "Unauthorized"}, {402, "Payment Required"}, {403, "Forbidden"},
    {404, "Not Found"}, {405, "Method Not Allowed"}, {406, "Not Acceptable"}, {408, "Request Timeout"}, {409, "Conflict"},
    {410, "Gone"}, {411, "Length Required"}, {413, "Content Too Large"}, {414, "URI Too Long"}, {415, "Unsupported Media Type"},
    {417, "Expectation Failed"}, {421, "Misdirected Request"}, {422, "Unprocessable Content"}, {426, "Upgrade Required"},
    {428, "Precondition Required"}, {429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"}, {500, "Internal Server Error"}, {501, "Not Implemented"}, {502, "Bad Gateway"},
    {503, "Service Unavailable"}, {504, "Gateway Timeout"}, {505, "HTTP Version Not Supported"},
};

const char *page_reason(int status) {
  for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
    if (reasons[i].status == status) {
      return reasons[i].reason;
    }
  }
  return "";
}

/* ---- a growing text with a bound ---- */
struct text {
  char *data;
  size_t size, capacity;
  bool failed;
};

static void text_bytes(struct text *text, const char *data, size_t size) {
  if (text->failed || !size) {
    return;
  }
  if (size > text->capacity - text->size) {
    size_t capacity = text->capacity ? text->capacity : 4096;
    while (capacity - text->size < size && capacity < PAGE_SIZE_MAX) {
      capacity *= 2;
    }
    char *grown = capacity - text->size < size ? NULL : realloc(text->data, capacity);
    if (!grown) {
      text->failed = true;
      return;
    }
    text->data = grown;
    text->capacity = capacity;
  }
  memcpy(text->data + text->size, data, size);
  text->size += size;
}
static void text_put(struct text *text, const char *string) {
  text_bytes(text, string, strlen(string));
}
__attribute__((format(printf, 2, 3))) static void text_format(struct text *text, const char *format, ...) {
  char line[1024];
  va_list arguments;
  va_start(arguments, format);
  int size = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (size < 0 || (size_t)size >= sizeof line) {
    text->failed = true;
    return;
  }
  text_bytes(text, line, (size_t)size);
}

enum form { FORM_HTML, FORM_JSON, FORM_PLAIN };

/* Writes `string` so that it means itself in HTML text and attributes, in a JSON string, or on a terminal. */
static void text_escaped(struct text *text, enum form form, const char *string) {
  for (const char *p = string; *p; p++) {
    unsigned char c = (unsigned char)*p;
    bool control = c < 0x20 || c == 0x7f;
    if (form == FORM_HTML && strchr("&<>\"'", c)) {
      text_format(text, "&#%u;", c);
    } else if (form == FORM_JSON && (c == '"' || c == '\\')) {
      text_format(text, "\\%c", c);
    } else if (c >= 0x80) {
      text_put(text, form == FORM_JSON ? "\\ufffd" : "?"); /* names are ASCII: anything else is noise */
    } else if (control) {
      text_put(text, form == FORM_JSON ? "\\ufffd" : "?");
    } else {
      text_bytes(text, p, 1);
    }
  }
}

/* ---- Accept (RFC 9110 12.5.1) ---- */
static double accept_quality(const char *parameters, size_t size) {
  for (size_t i = 0; i + 2 < size; i++) {
    if ((parameters[i] == 'q' || parameters[i] == 'Q') && parameters[i + 1] == '=') {
      char number[8] = "";
      size_t length = size - i - 2 < sizeof number - 1 ? size - i - 2 : sizeof number - 1;
      memcpy(number, parameters + i + 2, length);
      char *end;
      double quality = strtod(number, &end);
      return end == number || quality < 0 || quality > 1 ? 1 : quality;
    }
  }
  return 1;
}

/* A browser names text/html; an API client names JSON; whoever names neither gets plain text. */
static enum form accept_form(struct mdm_text accept) {
  double html = 0, json = 0;
  size_t at = 0;
  while (at < accept.size) {
    const char *item = accept.data + at;
    const char *comma = memchr(item, ',', accept.size - at);
    size_t size = comma ? (size_t)(comma - item) : accept.size - at;
    at += size + 1;
    while (size && (*item == ' ' || *item == '\t')) {
      item++;
      size--;
    }
    size_t type = 0;
    while (type < size && !strchr("; \t", item[type])) {
      type++;
    }
    double quality = accept_quality(item + type, size - type);
    if ((type == 9 && !strncasecmp(item, "text/html", 9)) || (type == 21 && !strncasecmp(item, "application/xhtml+xml", 21))) {
      html = quality > html ? quality : html;
    } else if ((type == 16 && !strncasecmp(item, "application/json", 16)) ||
               (type > 5 && !strncasecmp(item + type - 5, "+json", 5))) {
      json = quality > json ? quality : json;
    }
  }
  if (html > 0 && html >= json) {
    return FORM_HTML;
  }
  return json > 0 ? FORM_JSON : FORM_PLAIN;
}

/* ---- HTML frame ---- */
static const char style[] =
    ":root{color-scheme:light dark;--b:#f6f7f9;--c:#fff;--t:#1c2430;--m:#5b6675;--l:#dfe4ea;--a:#0b65d8}"
    "@media(prefers-color-scheme:dark){:root{--b:#12161c;--c:#1b212a;--t:#e8edf3;--m:#9aa6b5;--l:#2c3541;--a:#6cb0ff}}"
    "*{box-sizing:border-box}"
    "body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1.5rem;background:var(--b);"
    "color:var(--t);font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}"
    "main{width:100%;max-width:36rem;background:var(--c);border:1px solid var(--l);border-radius:14px;padding:2rem 2.25rem;"
    "box-shadow:0 1px 2px rgba(0,0,0,.05),0 8px 30px rgba(0,0,0,.06)}"
    "h1{font-size:1.5rem;line-height:1.25;margin:.1rem 0 .75rem}"
    "p{margin:.5rem 0}.s{color:var(--m);font-weight:600;letter-spacing:.06em;font-size:.85rem}"
    "code{font:0.92em ui-monospace,SFMono-Regular,Menlo,monospace;background:var(--b);border:1px solid var(--l);border-radius:6px;"
    "padding:.08em .4em;overflow-wrap:anywhere}"
    "ul{list-style:none;margin:1rem 0 0;padding:0;border-top:1px solid var(--l)}"
    "li{border-bottom:1px solid var(--l)}li a{display:block;padding:.7rem .25rem;text-decoration:none;color:var(--a);"
    "overflow-wrap:anywhere}li a:hover,li a:focus{text-decoration:underline}li span{display:block;color:var(--m);font-size:.85rem}"
    "footer{margin-top:1.5rem;color:var(--m);font-size:.85rem}";

static void html_open(struct text *body, const char *title) {
  text_put(body, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                 "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"robots\" content=\"noindex\"><title>");
  text_escaped(body, FORM_HTML, title);
  text_put(body, "</title><style>");
  text_put(body, style);
  text_put(body, "</style></head><body><main>\n");
}
static void html_close(struct text *body) {
  text_put(body, "<footer>mdm-tunnel</footer>\n</main></body></html>\n");
}

/* ---- the head ---- */
static const char *const form_types[] = {
    [FORM_HTML] = "text/html; charset=utf-8",
    [FORM_JSON] = "application/json",
    [FORM_PLAIN] = "text/plain; charset=utf-8",
};

/* The style's hash goes into the policy, so that no inline style of anybody else's would be honoured. */
static void head_policy(struct text *head) {
  unsigned char digest[crypto_hash_sha256_BYTES];
  char hash[sodium_base64_ENCODED_LEN(crypto_hash_sha256_BYTES, sodium_base64_VARIANT_ORIGINAL)];
  crypto_hash_sha256(digest, (const unsigned char *)style, sizeof style - 1);
  sodium_bin2base64(hash, sizeof hash, digest, sizeof digest, sodium_base64_VARIANT_ORIGINAL);
  text_format(head, "Content-Security-Policy: default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; "
                    "frame-ancestors 'none'\r\n", hash);
}

static void head_start(struct text *head, const struct page_view *view, int status) {
  text_format(head, "HTTP/1.1 %d %s\r\n", status, page_reason(status));
  text_put(head, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n");
  if (view->date) {
    text_format(head, "Date: %s\r\n", view->date);
  }
  if (!view->keep_alive) {
    text_put(head, "Connection: close\r\n");
  }
}

/* Ends the head and joins head and body. Consumes both texts. */
static int answer_finish(struct page_bytes *out, const struct page_view *view, int status, struct text *head, struct text *body) {
  bool bodyless = status == 204 || status == 304;
  if (!bodyless) {
    text_format(head, "Content-Length: %zu\r\n", body->size);
  }
  text_put(head, "\r\n");
  size_t head_size = head->size;
  if (!view->head && !bodyless) {
    text_bytes(head, body->data ? body->data : "", body->size);
  }
  bool failed = head->failed || body->failed;
  free(body->data);
  if (failed) {
    free(head->data);
    *out = (struct page_bytes){0};
    return -1;
  }
  *out = (struct page_bytes){.data = head->data, .size = head->size, .head_size = head_size};
  return 0;
}

static void head_form(struct text *head, enum form form) {
  text_format(head, "Content-Type: %s\r\nVary: Accept\r\n", form_types[form]);
  if (form == FORM_HTML) {
    head_policy(head);
  } else {
    text_put(head, "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n");
  }
}

/* ---- errors ---- */
static void problem_body(struct text *body, enum form form, int status, const struct cause *cause, const struct page_problem *problem) {
  bool tell_domains = problem->cause == PAGE_UNKNOWN_NAME;
  switch (form) {
  case FORM_HTML:
    html_open(body, cause->title);
    text_format(body, "<div class=\"s\">%d</div>\n<h1>%s</h1>\n<p>%s</p>\n", status, cause->title, cause->text);
    if (problem->host && problem->host[0]) {
      text_put(body, "<p><code>");
      text_escaped(body, form, problem->host);
      text_put(body, "</code></p>\n");
    }
    if (problem->detail) {
      text_put(body, "<p>");
      text_escaped(body, form, problem->detail);
      text_put(body, "</p>\n");
    }
    if (tell_domains && problem->domains_count) {
      text_put(body, "<p>This server serves names of the form ");
      for (size_t i = 0; i < problem->domains_count; i++) {
        text_put(body, i ? ", <code>service.user." : "<code>service.user.");
        text_escaped(body, form, problem->domains[i]);
        text_put(body, "</code>");
      }
      text_put(body, ".</p>\n");
    }
    html_close(body);
    return;
  case FORM_JSON:
    text_format(body, "{\"status\":%d,\"error\":\"%s\",\"title\":\"%s\",\"message\":\"%s\"", status, cause->token, cause->title, cause->text);
    if (problem->host && problem->host[0]) {
      text_put(body, ",\"host\":\"");
      text_escaped(body, form, problem->host);
      text_put(body, "\"");
    }
    if (problem->detail) {
      text_put(body, ",\"detail\":\"");
      text_escaped(body, form, problem->detail);
      text_put(body, "\"");
    }
    if (tell_domains && problem->domains_count) {
      text_put(body, ",\"domains\":[");
      for (size_t i = 0; i < problem->domains_count; i++) {
        text_put(body, i ? ",\"" : "\"");
        text_escaped(body, form, problem->domains[i]);
        text_put(body, "\"");
      }
      text_put(body, "]");
    }
    text_put(body, "}\n");
    return;
  case FORM_PLAIN:
    text_format(body, "%d %s: %s\n", status, cause->title, cause->text);
    if (problem->host && problem->host[0]) {
      text_put(body, "Name: ");
      text_escaped(body, form, problem->host);
      text_put(body, "\n");
    }
    if (problem->detail) {
      text_escaped(body, form, problem->detail);
      text_put(body, "\n");
    }
    if (tell_domains && problem->domains_count) {
      text_put(body, "Served here:");
      for (size_t i = 0; i < problem->domains_count; i++) {
        text_put(body, " service.user.");
        text_escaped(body, form, problem->domains[i]);
      }
      text_put(body, "\n");
    }
    return;
  }
}

static bool status_retries(int status) {
  return status == 503 || status == 429;
}

int page_problem(struct page_bytes *out, const struct page_view *view, const struct page_problem *problem) {
  const struct cause *cause = &causes[problem->cause];
  int status = problem->status ? problem->status : cause->status;
  enum form form = accept_form(view->accept);
  struct text head = {0}, body = {0};
  problem_body(&body, form, status, cause, problem);
  head_start(&head, view, status);
  text_format(&head, "Proxy-Status: mdm-tunnel; error=%s\r\n", cause->token);
  if (status_retries(status)) {
    text_format(&head, "Retry-After: %u\r\n", problem->retry_after_s ? problem->retry_after_s : RETRY_AFTER_S);
  }
  if (problem->cause == PAGE_METHOD_REFUSED) {
    text_put(&head, "Allow: GET, HEAD\r\n");
  }
  for (size_t i = 0; i < problem->fields_count; i++) {
    const struct mdm_auth_field *field = &problem->fields[i];
    text_bytes(&head, field->name.data, field->name.size);
    text_put(&head, ": ");
    text_bytes(&head, field->value.data, field->value.size);
    text_put(&head, "\r\n");
  }
  head_form(&head, form);
  return answer_finish(out, view, status, &head, &body);
}

/* ---- the list of a user's services ---- */
static void list_html(struct text *body, const char *user, const struct page_entry *entries, size_t count, size_t total) {
  html_open(body, user);
  text_put(body, "<div class=\"s\">SERVICES</div>\n<h1>");
  text_escaped(body, FORM_HTML, user);
  text_put(body, "</h1>\n");
  if (!count) {
    text_put(body, "<p>No service is connected now.</p>\n");
  } else {
    text_put(body, "<ul>\n");
    for (size_t i = 0; i < count; i++) {
      text_put(body, "<li><a href=\"");
      text_escaped(body, FORM_HTML, entries[i].url);
      text_put(body, "\">");
      text_escaped(body, FORM_HTML, entries[i].name);
      text_put(body, "<span>");
      text_escaped(body, FORM_HTML, entries[i].url);
      text_put(body, "</span></a></li>\n");
    }
    text_put(body, "</ul>\n");
    if (total > count) {
      text_format(body, "<p>and %zu more</p>\n", total - count);
    }
  }
  html_close(body);
}

int page_list(struct page_bytes *out, const struct page_view *view, const char *user, const struct page_entry *entries, size_t count,
              size_t total) {
  enum form form = accept_form(view->accept);
  struct text head = {0}, body = {0};
  switch (form) {
  case FORM_HTML:
    list_html(&body, user, entries, count, total);
    break;
  case FORM_JSON:
    text_put(&body, "{\"user\":\"");
    text_escaped(&body, form, user);
    text_format(&body, "\",\"total\":%zu,\"services\":[", total);
    for (size_t i = 0; i < count; i++) {
      text_put(&body, i ? ",{\"name\":\"" : "{\"name\":\"");
      text_escaped(&body, form, entries[i].name);
      text_put(&body, "\",\"url\":\"");
      text_escaped(&body, form, entries[i].url);
      text_put(&body, "\"}");
    }
    text_put(&body, "]}\n");
    break;
  case FORM_PLAIN:
    for (size_t i = 0; i < count; i++) {
      text_escaped(&body, form, entries[i].name);
      text_put(&body, " ");
      text_escaped(&body, form, entries[i].url);
      text_put(&body, "\n");
    }
    if (total > count) {
      text_format(&body, "and %zu more\n", total - count);
    }
    break;
  }
  head_start(&head, view, 200);
  head_form(&head, form);
  return answer_finish(out, view, 200, &head, &body);
}

/* ---- the server's own page ---- */
int page_front(struct page_bytes *out, const struct page_view *view, const char *const *domains, size_t domains_count) {
  static const char *const fallback[] = {"localhost"};
  if (!domains_count) {
    domains = fallback;
    domains_count = 1;
  }
  enum form form = accept_form(view->accept);
  struct text head = {0}, body = {0};
  switch (form) {
  case FORM_HTML:
    html_open(&body, "mdm-tunnel");
    text_put(&body, "<div class=\"s\">TUNNEL SERVER</div>\n<h1>It works</h1>\n<p>Services of connected clients are reached by name:</p>\n<ul>\n");
    for (size_t i = 0; i < domains_count; i++) {
      text_put(&body, "<li><p><code>service.user.");
      text_escaped(&body, form, domains[i]);
      text_put(&body, "</code></p></li>\n");
    }
    text_put(&body, "</ul>\n");
    html_close(&body);
    break;
  case FORM_JSON:
    text_put(&body, "{\"software\":\"mdm-tunnel\",\"domains\":[");
    for (size_t i = 0; i < domains_count; i++) {
      text_put(&body, i ? ",\"" : "\"");
      text_escaped(&body, form, domains[i]);
      text_put(&body, "\"");
    }
    text_put(&body, "]}\n");
    break;
  case FORM_PLAIN:
    text_put(&body, "mdm-tunnel server. Services are reached as");
    for (size_t i = 0; i < domains_count; i++) {
      text_put(&body, " service.user.");
      text_escaped(&body, form, domains[i]);
    }
    text_put(&body, "\n");
    break;
  }
  head_start(&head, view, 200);
  head_form(&head, form);
  return answer_finish(out, view, 200, &head, &body);
}

/* ---- a hook's own answer ---- */
static bool field_is(const struct mdm_auth_field *field, const char *name) {
  return field->name.size == strlen(name) && !strncasecmp(field->name.data, name, field->name.size);
}

/* May this field of a hook stand in an answer of ours? Framing is ours alone; a malformed field would split the answer. */
static bool field_passes(const struct mdm_auth_field *field) {
  static const char *const ours[] = {"Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Upgrade",
                                     "Trailer",        "TE",                "Proxy-Connection", "Date"};
  for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
    if (field_is(field, ours[i])) {
      return false;
    }
  }
  if (!field->name.size) {
    return false;
  }
  for (size_t i = 0; i < field->name.size; i++) {
    unsigned char c = (unsigned char)field->name.data[i];
    if (c >= 0x80 || (!isalnum(c) && !strchr("!#$%&'*+-.^_`|~", c)) || !c) {
      return false;
    }
  }
  for (size_t i = 0; i < field->value.size; i++) {
    unsigned char c = (unsigned char)field->value.data[i];
    if ((c < 0x20 && c != '\t') || c == 0x7f) {
      return false;
    }
  }
  return true;
}

int page_given(struct page_bytes *out, const struct page_view *view, int status, const struct mdm_auth_field *fields, size_t fields_count,
               struct mdm_text body_text) {
  struct text head = {0}, body = {0};
  if (status < 200 || status > 599) {
    status = 403; /* no status that could stand alone: the denial's default */
  }
  bool typed = false, cached = false;
  text_bytes(&body, body_text.data ? body_text.data : "", body_text.size);
  for (size_t i = 0; i < fields_count; i++) {
    typed = typed || field_is(&fields[i], "Content-Type");
    cached = cached || field_is(&fields[i], "Cache-Control");
  }
  text_format(&head, "HTTP/1.1 %d %s\r\nX-Content-Type-Options: nosniff\r\n", status, page_reason(status));
  if (view->date) {
    text_format(&head, "Date: %s\r\n", view->date);
  }
  if (!cached) {
    text_put(&head, "Cache-Control: no-store\r\n");
  }
  if (!view->keep_alive) {
    text_put(&head, "Connection: close\r\n");
  }
  if (!typed && body.size) {
    text_put(&head, "Content-Type: text/html; charset=utf-8\r\n");
  }
  for (size_t i = 0; i < fields_count; i++) {
    if (field_passes(&fields[i]) && !field_is(&fields[i], "X-Content-Type-Options")) {
      text_bytes(&head, fields[i].name.data, fields[i].name.size);
      text_put(&head, ": ");
      text_bytes(&head, fields[i].value.data, fields[i].value.size);
      text_put(&head, "\r\n");
    }
  }
  return answer_finish(out, view, status, &head, &body);
}

void page_bytes_clean(struct page_bytes *bytes) {
  free(bytes->data);
  *bytes = (struct page_bytes){0};
}
