/* Answers' heads: which are nonsense, how their bodies are framed, and the bytes that the visitor gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http_message.h"
#include "http_write.h"

static const struct http_scan_limits limits = {.bytes = 32768, .fields = 100};

static int judge(const char *text, bool to_head, struct http_scan *scan, struct http_answer *answer) {
  const char *why = "";
  http_scan_init(scan, HTTP_SCAN_ANSWER, &limits);
  int status = http_scan_run(scan, text, strlen(text));
  if (status == HTTP_SCAN_MORE)
    return 1;
  return status == HTTP_SCAN_DONE ? http_answer_judge(answer, scan, to_head, &why) : -1;
}

static void nonsense_is_refused(void **state) {
  (void)state;
  static const char *const heads[] = {
      "SSH-2.0-x\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
      "HTTP/1.1 200 OK\r\n: a\r\n\r\n",
      "HTTP/1.1 200 OK\nX: a\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
      "HTTP/1.1 99 OK\r\n\r\n",
      "HTTP/1.1 600 OK\r\n\r\n",
      "HTTP/1.1 2000 OK\r\n\r\n",
      "HTTP/1.1  200 OK\r\n\r\n",
      "HTTP/1.1200 OK\r\n\r\n",
      "HTTP/1.2 200 OK\r\n\r\n",
      "HTTP/2.0 200 OK\r\n\r\n",
      "\r\nHTTP/1.1 200 OK\r\n\r\n",
  };
  static struct http_scan scan;
  struct http_answer answer;
  for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
    if (judge(heads[i], false, &scan, &answer) != -1)
      fail_msg("accepted: %s", heads[i]);
}

static void framing_follows_the_rules(void **state) {
  (void)state;
  static const struct {
    const char *head;
    bool to_head;
    enum http_framing framing;
    bool keep_alive, tainted;
  } cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, HTTP_FRAMING_LENGTH, true, false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, HTTP_FRAMING_NONE, true, false},
      {"HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n", false, HTTP_FRAMING_CHUNKED, true, false},
      {"HTTP/1.1 200 OK\r\n\r\n", false, HTTP_FRAMING_CLOSE, true, false},
      {"HTTP/1.0 200 OK\r\n\r\n", false, HTTP_FRAMING_CLOSE, false, false},
      {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n", false, HTTP_FRAMING_LENGTH, true, false},
      {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", false, HTTP_FRAMING_LENGTH, false, false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, HTTP_FRAMING_NONE, true, false},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true, HTTP_FRAMING_NONE, true, false},
      {"HTTP/1.1 304 NM\r\nContent-Length: 5\r\n\r\n", false, HTTP_FRAMING_NONE, true, false},
      {"HTTP/1.1 304 NM\r\nTransfer-Encoding: chunked\r\n\r\n", false, HTTP_FRAMING_NONE, true, false},
      {"HTTP/1.1 204 NC\r\n\r\n", false, HTTP_FRAMING_NONE, true, false},
      {"HTTP/1.1 204 NC\r\nContent-Length: 5\r\n\r\n", false, HTTP_FRAMING_NONE, true, true},
      {"HTTP/1.1 204 NC\r\nTransfer-Encoding: chunked\r\n\r\n", false, HTTP_FRAMING_NONE, true, true},
      {"HTTP/1.1 100 C\r\n\r\n", false, HTTP_FRAMING_NONE, true, false},
  };
  static struct http_scan scan;
  struct http_answer answer;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    if (judge(cases[i].head, cases[i].to_head, &scan, &answer) != 0)
      fail_msg("refused: %s", cases[i].head);
    if (answer.framing != cases[i].framing || answer.keep_alive != cases[i].keep_alive || answer.tainted != cases[i].tainted)
      fail_msg("case %zu: %s", i, cases[i].head);
  }
}

static void visitor_gets_exactly_this(void **state) {
  (void)state;
  static const struct {
    const char *head;
    enum http_framing framing;
    bool close;
    const char *visitor;
  } cases[] = {
      {"HTTP/1.1 200 Fine\r\nDate: x\r\ncontent-length: 5\r\nX: 1\r\n\r\n", HTTP_FRAMING_LENGTH, false,
       "HTTP/1.1 200 Fine\r\nDate: x\r\nX: 1\r\nContent-Length: 5\r\n\r\n"},
      {"HTTP/1.0 200 OK\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\r\n", HTTP_FRAMING_CHUNKED, false,
       "HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", HTTP_FRAMING_CLOSE, true,
       "HTTP/1.1 200 OK\r\nDate: x\r\nConnection: close\r\n\r\n"},
      {"HTTP/1.1 204 NC\r\nDate: x\r\nContent-Length: 5\r\n\r\n", HTTP_FRAMING_NONE, false, "HTTP/1.1 204 NC\r\nDate: x\r\n\r\n"},
      {"HTTP/1.1 304 NM\r\nDate: x\r\nContent-Length: 5\r\n\r\n", HTTP_FRAMING_NONE, false,
       "HTTP/1.1 304 NM\r\nDate: x\r\nContent-Length: 5\r\n\r\n"},
      {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", HTTP_FRAMING_NONE, false, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"},
      {"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX: 1\r\n\r\n", HTTP_FRAMING_NONE, false,
       "HTTP/1.1 101 Go\r\nX: 1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"},
  };
  static struct http_scan scan;
  struct http_answer answer;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[1024];
    assert_int_equal(judge(cases[i].head, false, &scan, &answer), 0);
    struct http_out out = {.data = text, .capacity = sizeof text - 1};
    const struct http_answer_rewrite rewrite = {
        .scan = &scan, .answer = &answer, .framing = cases[i].framing, .close = cases[i].close, .date = "now"};
    http_write_answer(&out, &rewrite);
    text[out.size] = '\0';
    assert_string_equal(text, cases[i].visitor);
  }
}

static void options_set_and_remove_fields(void **state) {
  (void)state;
  char name_a[] = "X-Powered-By", name_b[] = "X-Frame-Options", deny[] = "DENY", name_c[] = "Content-Length", nine[] = "9", bad[] = "X-Bad",
       split[] = "a\r\nb";
  struct net_field fields[] = {{name_a, NULL}, {name_b, deny}, {name_c, nine}, {bad, split}};
  struct net_service_options options = {.response_headers = fields, .response_headers_count = 4};
  static struct http_scan scan;
  struct http_answer answer;
  char text[512];
  assert_int_equal(judge("HTTP/1.1 200 OK\r\nDate: x\r\nX-powered-by: me\r\nX-Frame-Options: ALLOW\r\nContent-Length: 0\r\n\r\n", false, &scan, &answer), 0);
  struct http_out out = {.data = text, .capacity = sizeof text - 1};
  const struct http_answer_rewrite rewrite = {.scan = &scan, .answer = &answer, .options = &options, .framing = HTTP_FRAMING_NONE};
  http_write_answer(&out, &rewrite);
  text[out.size] = '\0';
  assert_string_equal(text, "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 0\r\nX-Frame-Options: DENY\r\n\r\n");
}

static void date_is_an_imf_fixdate(void **state) {
  (void)state;
  char date[HTTP_DATE_SIZE];
  http_date(date, 784111777);
  assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nonsense_is_refused),       cmocka_unit_test(framing_follows_the_rules),
      cmocka_unit_test(visitor_gets_exactly_this), cmocka_unit_test(options_set_and_remove_fields),
      cmocka_unit_test(date_is_an_imf_fixdate),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
