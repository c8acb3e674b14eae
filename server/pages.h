/* pages.h: the answers that the server makes itself: errors, the list of a user's services, its own front page.
 *
 * Each comes as HTML, JSON or plain text by the visitor's Accept, with a status that tells the truth and Proxy-Status (RFC 9209) on
 * errors. Nothing of the request appears unescaped; the HTML runs no script and loads nothing (CSP with the style's hash).
 * Pure: no I/O, no state.
 */
#ifndef SERVER_PAGES_H
#define SERVER_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mdm/auth.h"

#define PAGE_SIZE_MAX (512u * 1024u) /* of a whole answer: a list of 1,000 services fits */
#define PAGE_LIST_MAX 1000u          /* services shown; the rest is counted */

/* Why there is no answer of the service. The table in pages.c gives each its status, Proxy-Status error token and words. */
enum page_cause {
  PAGE_BAD_REQUEST,        /* 400 */
  PAGE_UNAUTHORIZED,       /* 401 */
  PAGE_FORBIDDEN,          /* 403 */
  PAGE_UNKNOWN_NAME,       /* 404: nobody by that name */
  PAGE_UNKNOWN_PATH,       /* 404 on the server's own name */
  PAGE_METHOD_REFUSED,     /* 405 on the server's own pages */
  PAGE_REQUEST_TIMEOUT,    /* 408 */
  PAGE_BODY_TOO_LARGE,     /* 413 */
  PAGE_TARGET_TOO_LONG,    /* 414 */
  PAGE_MISDIRECTED,        /* 421 */
  PAGE_UPGRADE_REQUIRED,   /* 426 */
  PAGE_TOO_MANY_REQUESTS,  /* 429 */
  PAGE_HEAD_TOO_LARGE,     /* 431 */
  PAGE_INTERNAL,           /* 500: our own failure, memory */
  PAGE_NOT_IMPLEMENTED,    /* 501 */
  PAGE_ORIGIN_REFUSED,     /* 502: nothing listens at the local port */
  PAGE_ORIGIN_BROKEN,      /* 502: connection lost before an answer */
  PAGE_ORIGIN_NONSENSE,    /* 502: not HTTP, or against its rules */
  PAGE_ORIGIN_UPGRADE,     /* 502: a 101 not asked for, or another protocol */
  PAGE_ORIGIN_TOO_LARGE,   /* 502: answer head over the limits */
  PAGE_HOOK_FAILED,        /* 502: the auth hook gave no usable answer */
  PAGE_OFFLINE,            /* 503: known, not connected now */
  PAGE_BUSY,               /* 503: a limit of the server */
  PAGE_LINK_LOST,          /* 503: the client's link was lost before an answer */
  PAGE_SHUTTING_DOWN,      /* 503 */
  PAGE_ORIGIN_SLOW,        /* 504: no answer in time */
  PAGE_ORIGIN_UNREACHABLE, /* 504: connecting took too long */
  PAGE_HOOK_SLOW,          /* 504: the auth hook's deadline */
  PAGE_VERSION,            /* 505 */
  PAGE_CAUSES,
};
int page_cause_status(enum page_cause cause);
const char *page_cause_token(enum page_cause cause); /* RFC 9209 2.3 error type */

/* How the visitor wants it. */
struct page_view {
  struct mdm_text accept; /* value of Accept, empty when missing */
  bool head;              /* HEAD: the head alone */
  bool keep_alive;        /* false: says Connection: close */
  const char *date;       /* IMF-fixdate (RFC 9110 6.6.1); NULL = not told */
};
struct page_problem {
  enum page_cause cause;
  int status;                    /* 0 = the cause's own */
  const char *detail;            /* a sentence of ours, may quote the request: it is escaped here; NULL = none */
  const char *host;              /* the name asked for, or NULL */
  const char *const *domains;    /* the served ones, told on PAGE_UNKNOWN_NAME */
  size_t domains_count;
  unsigned retry_after_s;        /* 0 = the cause's own (5 for the 503s), none for the others */
  const struct mdm_auth_field *fields; /* more fields, already checked as RFC 9110 tokens and values (WWW-Authenticate, a hook's) */
  size_t fields_count;
};
struct page_entry {
  const char *name, *url;
};
/* A whole answer: head and body in one piece, from malloc. */
struct page_bytes {
  char *data;
  size_t size, head_size;
};

/* 0 or -1 when memory is out (then *out is empty). */
int page_problem(struct page_bytes *out, const struct page_view *view, const struct page_problem *problem);
/* 200: the services of `user`. `total` >= count. */
int page_list(struct page_bytes *out, const struct page_view *view, const char *user, const struct page_entry *entries, size_t count,
              size_t total);
/* 200: the served domain itself. */
int page_front(struct page_bytes *out, const struct page_view *view, const char *const *domains, size_t domains_count);
/* A status, fields and a body that a hook gave; body as text/html unless a field says Content-Type. Fields that frame the message
 * (Content-Length, Transfer-Encoding, Connection, ...) and malformed ones are left out. */
int page_given(struct page_bytes *out, const struct page_view *view, int status, const struct mdm_auth_field *fields, size_t fields_count,
               struct mdm_text body);
void page_bytes_clean(struct page_bytes *bytes);

/* The reason phrase of a status ("" if unknown). */
const char *page_reason(int status);

#endif
