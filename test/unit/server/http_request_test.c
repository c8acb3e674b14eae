/* Requests' heads: what is refused and with which status, and the exact bytes that the origin gets of what is accepted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http_message.h"
#include "http_write.h"

#define OURS                                                                                                                    \
  "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.b.localhost\r\nX-Forwarded-Port: 8000\r\n"       \
  "Forwarded: for=192.0.2.7;host=\"a.b.localhost\";proto=http\r\n\r\n"
#define HOST "Host: a.b.localhost\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST

static const struct http_scan_limits limits = {.bytes = 32768, .fields = 100, .target = 8192};

/* Scans all of `text`, `step` bytes at a time, each time from a fresh place in memory. 0 = accepted; `kept` must be freed. */
static int judge(const char *text, size_t size, size_t step, struct http_scan *scan, struct http_request *request, char **kept) {
  const char *why = "";
  int status = HTTP_SCAN_MORE;
  char *place = NULL;
  http_scan_init(scan, HTTP_SCAN_REQUEST, &limits);
  for (size_t have = 0; status == HTTP_SCAN_MORE && have < size;) {
    have = have + step < size ? have + step : size;
    char *next = malloc(have); /* exactly: a read past the end is found by the sanitizer */
    assert_non_null(next);
    memcpy(next, text, have);
    status = http_scan_run(scan, next, have);
    free(place);
    place = next;
  }
  *kept = place;
  if (status != HTTP_SCAN_DONE)
    return status == HTTP_SCAN_MORE ? -1 : status;
  return http_request_judge(request, scan, &why);
}

struct refused {
  const char *name, *head;
  size_t size;
  int status;
};
#define R(name, head, status) {name, head, sizeof(head) - 1, status}
static const struct refused refused[] = {
    R("content-length with transfer-encoding", GET "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    R("content-length twice", GET "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
    R("content-length list", GET "Content-Length: 5, 5\r\n\r\n", 400),
    R("content-length sign", GET "Content-Length: +5\r\n\r\n", 400),
    R("content-length negative", GET "Content-Length: -5\r\n\r\n", 400),
    R("content-length space", GET "Content-Length: 5 5\r\n\r\n", 400),
    R("content-length hex", GET "Content-Length: 0x5\r\n\r\n", 400),
    R("content-length empty", GET "Content-Length:\r\n\r\n", 400),
    R("content-length 2^64", GET "Content-Length: 18446744073709551616\r\n\r\n", 400),
    R("content-length 2^63", GET "Content-Length: 9223372036854775808\r\n\r\n", 400),
    R("folded line", GET "X: a\r\n b\r\n\r\n", 400),
    R("folded line, tab", GET "X: a\r\n\tb\r\n\r\n", 400),
    R("folded host", "GET / HTTP/1.1\r\nHost:\r\n a.b.localhost\r\n\r\n", 400),
    R("folded length", GET "Content-Length:\r\n 5\r\n\r\n", 400),
    R("space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    R("bare CR in a value", GET "X: \rTransfer-Encoding: chunked\r\n\r\n", 400),
    R("bare LF ends the request line", "GET / HTTP/1.1\n" HOST "\r\n", 400),
    R("bare LF ends a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
    R("CRLF CR X", GET "\rX\n", 400),
    R("NUL", GET "X: a\0b\r\n\r\n", 400),
    R("control character", GET "X: a\001b\r\n\r\n", 400),
    R("DEL", GET "X: a\177b\r\n\r\n", 400),
    R("empty name", GET ": a\r\n\r\n", 400),
    R("space before the colon", GET "X : a\r\n\r\n", 400),
    R("tab before the colon", GET "X\t: a\r\n\r\n", 400),
    R("no colon", GET "X\r\n\r\n", 400),
    R("name with a quote", GET "X\": a\r\n\r\n", 400),
    R("no host", "GET / HTTP/1.1\r\n\r\n", 400),
    R("empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    R("two hosts", GET "Host: a.b.localhost\r\n\r\n", 400),
    R("host with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    R("host with path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    R("host with space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    R("host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    R("host with a bad port", "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", 400),
    R("host with a quote in brackets", "GET / HTTP/1.1\r\nHost: [\"]\r\n\r\n", 400),
    R("absolute target of another host", "GET http://c.d.localhost/ HTTP/1.1\r\n" HOST "\r\n", 400),
    R("absolute target with user", "GET http://u@a.b.localhost/ HTTP/1.1\r\n" HOST "\r\n", 400),
    R("absolute target of another scheme", "GET ftp://a.b.localhost/ HTTP/1.1\r\n" HOST "\r\n", 400),
    R("star without OPTIONS", "GET * HTTP/1.1\r\n" HOST "\r\n", 400),
    R("authority without CONNECT", "GET a.b.localhost:80 HTTP/1.1\r\n" HOST "\r\n", 400),
    R("transfer-encoding in 1.0", "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400),
    R("transfer-encoding twice", GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    R("transfer-encoding empty", GET "Transfer-Encoding:\r\n\r\n", 400),
    R("gzip, chunked", GET "Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    R("identity", GET "Transfer-Encoding: identity\r\n\r\n", 501),
    R("chunked, chunked", GET "Transfer-Encoding: chunked, chunked\r\n\r\n", 501),
    R("xchunked", GET "Transfer-Encoding: xchunked\r\n\r\n", 501),
    R("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
    R("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    R("HTTP/1.2", "GET / HTTP/1.2\r\n" HOST "\r\n", 505),
    R("HTTP/3.0", "GET / HTTP/3.0\r\n" HOST "\r\n", 505),
    R("HTTP/0.9", "GET /\r\n", 400),
    R("RTSP", "DESCRIBE / RTSP/1.0\r\n\r\n", 400),
    R("ICE", "SOURCE / ICE/1.0\r\n\r\n", 400),
    R("lower-case version", "GET / http/1.1\r\n" HOST "\r\n", 400),
    R("two spaces", "GET  / HTTP/1.1\r\n" HOST "\r\n", 400),
    R("space at the end of the line", "GET / HTTP/1.1 \r\n" HOST "\r\n", 400),
    R("tab for a space", "GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400),
    R("control in the target", "GET /\001 HTTP/1.1\r\n" HOST "\r\n", 400),
    R("non-ASCII in the target", "GET /\303\251 HTTP/1.1\r\n" HOST "\r\n", 400),
    R("unknown method", "BREW / HTTP/1.1\r\n" HOST "\r\n", 501),
    R("another expectation", GET "Expect: tea\r\n\r\n", 417),
    R("two Authorizations", GET "Authorization: a\r\nAuthorization: b\r\n\r\n", 400),
    R("five empty lines", "\r\n\r\n\r\n\r\n\r\n" GET "\r\n", 400),
    R("a TLS handshake", "\026\003\001\002", 400),
};

static void refuses_at_every_split(void **state) {
  (void)state;
  static struct http_scan scan;
  struct http_request request;
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
    for (size_t step = 1; step <= refused[i].size; step++) {
      char *kept;
      int status = judge(refused[i].head, refused[i].size, step, &scan, &request, &kept);
      free(kept);
      if (status != refused[i].status)
        fail_msg("%s, %zu bytes at a time: %d instead of %d", refused[i].name, step, status, refused[i].status);
    }
  }
}

struct accepted {
  const char *name, *head, *origin;
};
static const struct accepted accepted[] = {
    {"plain", GET "Accept: */*\r\n\r\n", "GET / HTTP/1.1\r\n" HOST "Accept: */*\r\n" OURS},
    {"empty lines before", "\r\n\r\n" GET "\r\n", "GET / HTTP/1.1\r\n" HOST OURS},
    {"optional white space", "GET / HTTP/1.1\r\nHost:a.b.localhost\t\r\nX:  a b \t\r\n\r\n", "GET / HTTP/1.1\r\n" HOST "X: a b\r\n" OURS},
    {"empty value, obs-text", GET "X:\r\nY: \303\251\r\n\r\n", "GET / HTTP/1.1\r\n" HOST "X: \r\nY: \303\251\r\n" OURS},
    {"absolute target", "GET http://A.b.localhost/x?y HTTP/1.1\r\n" HOST "\r\n", "GET /x?y HTTP/1.1\r\n" HOST OURS},
    {"absolute target, own port", "GET http://a.b.localhost:80?y HTTP/1.1\r\n" HOST "\r\n", "GET /?y HTTP/1.1\r\n" HOST OURS},
    {"OPTIONS *", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "OPTIONS * HTTP/1.1\r\n" HOST OURS},
    {"length", "POST / HTTP/1.1\r\n" HOST "content-length: 005\r\n\r\n", "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n" OURS},
    {"length nought", "POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", "POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n" OURS},
    {"chunked", "POST / HTTP/1.1\r\n" HOST "transfer-encoding: CHUNKED\r\n\r\n", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" OURS},
    {"1.0", "GET / HTTP/1.0\r\n" HOST "\r\n", "GET / HTTP/1.1\r\n" HOST OURS},
    {"forged forwarding fields",
     GET "X-Forwarded-For: 1\r\nx-forwarded-proto: https\r\nX-Forwarded-Server: x\r\nForwarded: for=1\r\nX-Real-IP: 1\r\n\r\n",
     "GET / HTTP/1.1\r\n" HOST OURS},
    {"the same with underscores", GET "X_Forwarded_For: 1\r\nX-Forwarded_Proto: 1\r\nx_real_ip: 1\r\nContent_Length: 5\r\nMy_Field: 1\r\n\r\n",
     "GET / HTTP/1.1\r\n" HOST "My_Field: 1\r\n" OURS},
    {"hop-by-hop", GET "Connection: close, X-Hop\r\nX-Hop: 1\r\nX-Stay: 1\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nProxy: x\r\n\r\n",
     "GET / HTTP/1.1\r\n" HOST "X-Stay: 1\r\n" OURS},
    {"naming what must stay", GET "Connection: host, authorization, cookie, content-type, x-forwarded-for\r\nAuthorization: a\r\nCookie: b\r\nContent-Type: c\r\n\r\n",
     "GET / HTTP/1.1\r\n" HOST "Authorization: a\r\nCookie: b\r\nContent-Type: c\r\n" OURS},
    {"TE: trailers alone", GET "TE: gzip, trailers\r\nConnection: TE\r\n\r\n", "GET / HTTP/1.1\r\n" HOST "TE: trailers\r\nConnection: TE\r\n" OURS},
    {"h2c", GET "Upgrade: h2c\r\nHTTP2-Settings: AAA\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n", "GET / HTTP/1.1\r\n" HOST OURS},
    {"hook's own fields", GET "X-User: root\r\nx_user: root\r\n\r\n", "GET / HTTP/1.1\r\n" HOST OURS},
};

static void writes_what_the_origin_gets(void **state) {
  (void)state;
  static struct http_scan scan;
  struct http_request request;
  char user[] = "X-User", *strip[] = {user};
  for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
    size_t size = strlen(accepted[i].head);
    for (size_t step = 1; step <= size; step++) {
      char text[4096], *kept;
      int status = judge(accepted[i].head, size, step, &scan, &request, &kept);
      if (status)
        fail_msg("%s: refused with %d", accepted[i].name, status);
      struct forwarded forwarded = {.peer_text = "192.0.2.7", .port = 8000};
      struct http_out out = {.data = text, .capacity = sizeof text - 1};
      const struct http_request_rewrite rewrite = {
          .scan = &scan, .request = &request, .forwarded = &forwarded, .strip = strip, .strip_count = 1};
      http_write_request(&out, &rewrite);
      assert_false(out.full);
      text[out.size] = '\0';
      assert_string_equal(text, accepted[i].origin);
      free(kept);
    }
  }
}

static void full_output_never_writes_past_its_end(void **state) {
  (void)state;
  static struct http_scan scan;
  struct http_request request;
  char *kept;
  assert_int_equal(judge(accepted[0].head, strlen(accepted[0].head), 4096, &scan, &request, &kept), 0);
  struct forwarded forwarded = {.peer_text = "192.0.2.7", .port = 8000};
  const struct http_request_rewrite rewrite = {.scan = &scan, .request = &request, .forwarded = &forwarded};
  size_t whole = strlen(accepted[0].origin);
  for (size_t capacity = 0; capacity <= whole; capacity++) {
    char *text = malloc(capacity + 1);
    struct http_out out = {.data = text, .capacity = capacity};
    http_write_request(&out, &rewrite);
    assert_int_equal(out.full, capacity < whole);
    free(text);
  }
  free(kept);
}

static void limits_have_their_own_status(void **state) {
  (void)state;
  static struct http_scan scan;
  struct http_request request;
  size_t big = 40000;
  char *text = malloc(big), *kept;
  memset(text, 'a', big);
  memcpy(text, "GET /", 5);
  assert_int_equal(judge(text, 9000, 9000, &scan, &request, &kept), 414);
  free(kept);
  memcpy(text + 8300, " HTTP/1.1\r\n", 11);
  assert_int_equal(judge(text, 8311, 8311, &scan, &request, &kept), 414);
  free(kept);
  memset(text, 'a', big);
  memcpy(text, GET "X: ", sizeof GET "X: " - 1);
  assert_int_equal(judge(text, big, 1000, &scan, &request, &kept), 431);
  free(kept);
  size_t size = sizeof GET - 1;
  memcpy(text, GET, size);
  for (int i = 0; i < 101; i++)
    size += (size_t)sprintf(text + size, "X%d: a\r\n", i);
  memcpy(text + size, "\r\n", 2);
  assert_int_equal(judge(text, size + 2, 100, &scan, &request, &kept), 431);
  free(kept);
  free(text);
}

static void knows_a_websocket_handshake(void **state) {
  (void)state;
  static const struct {
    const char *fields;
    bool websocket;
  } cases[] = {
      {"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n", true},
      {"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\nSec-WebSocket-Version: 13\r\n", false},
      {"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 12\r\n", false},
      {"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", false},
      {"Sec-WebSocket-Version: 13\r\n", false},
      {"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nContent-Length: 1\r\n", false},
  };
  static struct http_scan scan;
  struct http_request request;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[512], *kept;
    int size = snprintf(text, sizeof text, GET "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n%s\r\n", cases[i].fields);
    assert_int_equal(judge(text, (size_t)size, 512, &scan, &request, &kept), 0);
    assert_int_equal(request.websocket, cases[i].websocket);
    free(kept);
  }
}

static void knows_whether_the_visitor_stays(void **state) {
  (void)state;
  static const struct {
    const char *head;
    bool keeps;
  } cases[] = {
      {GET "\r\n", true},
      {GET "Connection: close\r\n\r\n", false},
      {GET "Connection: keep-alive, Close\r\n\r\n", false},
      {GET "Connection: close\t\r\n\r\n", false},
      {"GET / HTTP/1.0\r\n" HOST "\r\n", false},
      {"GET / HTTP/1.0\r\n" HOST "Connection: Keep-Alive\r\n\r\n", true},
  };
  static struct http_scan scan;
  struct http_request request;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *kept;
    assert_int_equal(judge(cases[i].head, strlen(cases[i].head), 512, &scan, &request, &kept), 0);
    assert_int_equal(request.keep_alive, cases[i].keeps);
    free(kept);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(refuses_at_every_split),
      cmocka_unit_test(writes_what_the_origin_gets),
      cmocka_unit_test(full_output_never_writes_past_its_end),
      cmocka_unit_test(limits_have_their_own_status),
      cmocka_unit_test(knows_a_websocket_handshake),
      cmocka_unit_test(knows_whether_the_visitor_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
