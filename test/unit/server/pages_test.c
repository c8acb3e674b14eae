/* Tests of pages.c: forms by Accept, escaping, statuses, Proxy-Status, policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <cjson/cJSON.h>

#include "pages.h"

static struct mdm_text text(const char *string) {
  return (struct mdm_text){string, strlen(string)};
}
static char *whole(const struct page_bytes *bytes) {
  char *copy = malloc(bytes->size + 1);
  assert_non_null(copy);
  memcpy(copy, bytes->data, bytes->size);
  copy[bytes->size] = '\0';
  return copy;
}
static char *render(const char *accept, bool head, const struct page_problem *problem) {
  struct page_view view = {.accept = text(accept), .head = head, .keep_alive = true};
  struct page_bytes bytes;
  assert_int_equal(page_problem(&bytes, &view, problem), 0);
  char *copy = whole(&bytes);
  page_bytes_clean(&bytes);
  return copy;
}

static void form_follows_accept(void **state) {
  (void)state;
  static const struct {
    const char *accept, *type;
  } cases[] = {
      {"", "text/plain"},
      {"*/*", "text/plain"},
      {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"},
      {"TEXT/HTML", "text/html"},
      {"application/json", "application/json"},
      {"application/problem+json", "application/json"},
      {"application/json, text/html;q=0.5", "application/json"},
      {"application/json;q=0.5, text/html;q=0.9", "text/html"},
      {"text/html;q=0, application/json", "application/json"},
      {"text/html;q=0", "text/plain"},
      {",,;;q=,text/plain", "text/plain"},
      {"text/html;q=zzz", "text/html"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char expected[64];
    snprintf(expected, sizeof expected, "Content-Type: %s", cases[i].type);
    char *page = render(cases[i].accept, false, &(struct page_problem){.cause = PAGE_UNKNOWN_NAME});
    if (!strstr(page, expected)) {
      fail_msg("Accept \"%s\" should give %s", cases[i].accept, cases[i].type);
    }
    free(page);
  }
}

static void every_cause_has_status_token_and_words(void **state) {
  (void)state;
  for (int cause = 0; cause < PAGE_CAUSES; cause++) {
    char *page = render("text/html", false, &(struct page_problem){.cause = (enum page_cause)cause});
    char expected[160];
    int status = page_cause_status((enum page_cause)cause);
    snprintf(expected, sizeof expected, "HTTP/1.1 %d %s\r\n", status, page_reason(status));
    assert_memory_equal(page, expected, strlen(expected));
    assert_true(strlen(page_reason(status)) > 0);
    snprintf(expected, sizeof expected, "\r\nProxy-Status: mdm-tunnel; error=%s\r\n", page_cause_token((enum page_cause)cause));
    assert_non_null(strstr(page, expected));
    assert_int_equal(strstr(page, "Retry-After: ") != NULL, status == 503 || status == 429);
    assert_non_null(strstr(page, "X-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(page, "Content-Security-Policy: default-src 'none'; style-src 'sha256-"));
    assert_null(strstr(page, "unsafe-inline"));
    free(page);
  }
}

static void nothing_of_the_request_is_unescaped(void **state) {
  (void)state;
  const struct page_problem problem = {
      .cause = PAGE_UNKNOWN_NAME,
      .host = "<script>alert('x')</script>&\"\\.tim\r\nSet-Cookie: a=b\x1b[31m\xff",
      .detail = "</p><img src=x onerror=\"y\">",
  };
  char *html = render("text/html", false, &problem);
  assert_null(strstr(html, "<script"));
  assert_null(strstr(html, "<img"));
  assert_null(strstr(html, "\r\nSet-Cookie"));
  assert_null(strchr(html, '\x1b'));
  assert_null(strchr(html, '\xff'));
  assert_non_null(strstr(html, "&#60;script&#62;"));
  free(html);
  char *plain = render("", false, &problem);
  assert_null(strstr(plain, "\nSet-Cookie"));
  assert_null(strchr(plain, '\x1b'));
  free(plain);
  char *json = render("application/json", false, &problem);
  cJSON *document = cJSON_Parse(strstr(json, "\r\n\r\n") + 4);
  assert_non_null(document);
  assert_int_equal(cJSON_GetObjectItemCaseSensitive(document, "status")->valueint, 404);
  assert_string_equal(cJSON_GetObjectItemCaseSensitive(document, "detail")->valuestring, problem.detail);
  cJSON_Delete(document);
  free(json);
}

static void head_has_no_body_but_its_length(void **state) {
  (void)state;
  char *with = render("text/html", false, &(struct page_problem){.cause = PAGE_OFFLINE});
  char *without = render("text/html", true, &(struct page_problem){.cause = PAGE_OFFLINE});
  const char *end = strstr(with, "\r\n\r\n") + 4;
  assert_int_equal(strlen(without), (size_t)(end - with));
  assert_memory_equal(with, without, strlen(without));
  char length[48];
  snprintf(length, sizeof length, "Content-Length: %zu\r\n", strlen(end));
  assert_non_null(strstr(without, length));
  free(with);
  free(without);
}

static void unknown_name_tells_the_served_domains(void **state) {
  (void)state;
  const char *const domains[] = {"example.com", "example.org"};
  struct page_problem problem = {.cause = PAGE_UNKNOWN_NAME, .domains = domains, .domains_count = 2};
  char *page = render("", false, &problem);
  assert_non_null(strstr(page, "service.user.example.com"));
  assert_non_null(strstr(page, "service.user.example.org"));
  free(page);
  problem.cause = PAGE_OFFLINE;
  page = render("", false, &problem);
  assert_null(strstr(page, "example.org"));
  free(page);
}

static void retry_after_and_fields_are_the_callers(void **state) {
  (void)state;
  const struct mdm_auth_field field = {{"WWW-Authenticate", 16}, {"Basic realm=\"x\"", 15}};
  char *page = render("", false, &(struct page_problem){.cause = PAGE_UNAUTHORIZED, .fields = &field, .fields_count = 1});
  assert_non_null(strstr(page, "\r\nWWW-Authenticate: Basic realm=\"x\"\r\n"));
  free(page);
  page = render("", false, &(struct page_problem){.cause = PAGE_OFFLINE, .retry_after_s = 17});
  assert_non_null(strstr(page, "\r\nRetry-After: 17\r\n"));
  free(page);
}

static void list_escapes_and_counts(void **state) {
  (void)state;
  const struct page_entry entries[] = {{"api", "http://api.tim.localhost:8000/"}, {"a\"<b>", "http://x/\"><i>"}};
  static const char *const forms[] = {"text/html", "application/json", ""};
  for (size_t i = 0; i < 3; i++) {
    struct page_view view = {.accept = text(forms[i]), .keep_alive = false};
    struct page_bytes bytes;
    assert_int_equal(page_list(&bytes, &view, "tim", entries, 2, 7), 0);
    char *page = whole(&bytes);
    assert_non_null(strstr(page, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(page, "Connection: close\r\n"));
    assert_non_null(strstr(page, "http://api.tim.localhost:8000/"));
    if (i == 0) {
      assert_null(strstr(page, "<i>"));
      assert_null(strstr(page, "<b>"));
      assert_non_null(strstr(page, "and 5 more"));
    }
    if (i == 1) {
      cJSON *document = cJSON_Parse(page + bytes.head_size);
      assert_non_null(document);
      assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(document, "services")), 2);
      assert_int_equal(cJSON_GetObjectItemCaseSensitive(document, "total")->valueint, 7);
      cJSON_Delete(document);
    }
    free(page);
    page_bytes_clean(&bytes);
  }
}

static void a_list_of_a_thousand_fits(void **state) {
  (void)state;
  static struct page_entry entries[PAGE_LIST_MAX];
  char name[62], url[300];
  memset(name, 'n', sizeof name - 1);
  name[61] = '\0';
  memset(url, 'u', 200);
  url[200] = '\0';
  for (size_t i = 0; i < PAGE_LIST_MAX; i++) {
    entries[i] = (struct page_entry){name, url};
  }
  struct page_view view = {.accept = text("text/html"), .keep_alive = true};
  struct page_bytes bytes;
  assert_int_equal(page_list(&bytes, &view, "tim", entries, PAGE_LIST_MAX, PAGE_LIST_MAX), 0);
  assert_true(bytes.size > PAGE_LIST_MAX * 460);
  page_bytes_clean(&bytes);
}

static void a_hooks_answer_keeps_its_fields_and_cannot_split(void **state) {
  (void)state;
  const struct mdm_auth_field fields[] = {
      {{"Location", 8}, {"https://login.example/", 22}}, {{"Set-Cookie", 10}, {"a=b", 3}},
      {{"content-length", 14}, {"999", 3}},              {{"Transfer-Encoding", 17}, {"chunked", 7}},
      {{"X-Bad", 5}, {"a\r\nX-Evil: 1", 12}},            {{"X Bad", 5}, {"a", 1}},
      {{"", 0}, {"a", 1}},
  };
  struct page_view view = {.keep_alive = true};
  struct page_bytes bytes;
  assert_int_equal(page_given(&bytes, &view, 302, fields, sizeof fields / sizeof fields[0], text("go")), 0);
  char *page = whole(&bytes);
  assert_non_null(strstr(page, "HTTP/1.1 302 Found\r\n"));
  assert_non_null(strstr(page, "\r\nLocation: https://login.example/\r\n"));
  assert_non_null(strstr(page, "\r\nSet-Cookie: a=b\r\n"));
  assert_non_null(strstr(page, "\r\nContent-Length: 2\r\n"));
  assert_null(strstr(page, "999"));
  assert_null(strstr(page, "chunked"));
  assert_null(strstr(page, "Evil"));
  assert_null(strstr(page, "X Bad"));
  assert_string_equal(page + bytes.head_size, "go");
  free(page);
  page_bytes_clean(&bytes);
  assert_int_equal(page_given(&bytes, &view, 101, NULL, 0, text("")), 0);
  assert_memory_equal(bytes.data, "HTTP/1.1 403 ", 13);
  page_bytes_clean(&bytes);
}

static void front_names_the_domains(void **state) {
  (void)state;
  const char *const domains[] = {"example.com"};
  struct page_view view = {.accept = text("text/html"), .keep_alive = true};
  struct page_bytes bytes;
  assert_int_equal(page_front(&bytes, &view, domains, 1), 0);
  char *page = whole(&bytes);
  assert_non_null(strstr(page, "service.user.example.com"));
  free(page);
  page_bytes_clean(&bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(form_follows_accept),
      cmocka_unit_test(every_cause_has_status_token_and_words),
      cmocka_unit_test(nothing_of_the_request_is_unescaped),
      cmocka_unit_test(head_has_no_body_but_its_length),
      cmocka_unit_test(unknown_name_tells_the_served_domains),
      cmocka_unit_test(retry_after_and_fields_are_the_callers),
      cmocka_unit_test(list_escapes_and_counts),
      cmocka_unit_test(a_list_of_a_thousand_fits),
      cmocka_unit_test(a_hooks_answer_keeps_its_fields_and_cannot_split),
      cmocka_unit_test(front_names_the_domains),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
