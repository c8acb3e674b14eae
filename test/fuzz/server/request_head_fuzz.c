/* request_head_fuzz.c: any bytes as a request's head: the verdict does not depend on how they were split, and what is written for the origin is
 * itself a head that means the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http_message.h"
#include "http_write.h"

#define SIZE_LIMIT 8192u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int scan_by(struct http_scan *scan, const char *text, size_t size, size_t step) {
  static const struct http_scan_limits limits = {.bytes = 4096, .fields = 80, .target = 1024};
  int status = HTTP_SCAN_MORE;
  http_scan_init(scan, HTTP_SCAN_REQUEST, &limits);
  for (size_t have = 0; status == HTTP_SCAN_MORE && have < size;) {
    have = have + step < size ? have + step : size;
    status = http_scan_run(scan, text, have);
  }
  return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct http_scan whole, split, again;
  static char text[65536];
  const char *why = NULL;
  struct http_request request, second;
  if (size > SIZE_LIMIT)
    return 0;
  int status = scan_by(&whole, (const char *)data, size, 1);
  for (size_t step = 2; step < 70; step = step * 2 + 1) {
    int other = scan_by(&split, (const char *)data, size, step);
    if (other != status && status != 431 && status != 414 && other != 431 && other != 414)
      abort(); /* a limit may be noticed earlier in larger steps, nothing else may differ */
    if (status == HTTP_SCAN_DONE && other == HTTP_SCAN_DONE && split.size != whole.size)
      abort();
  }
  if (status != HTTP_SCAN_DONE)
    return 0;
  if (http_request_judge(&request, &whole, &why) != 0) {
    if (!why)
      abort();
    return 0;
  }
  const struct forwarded forwarded = {.peer_text = "192.0.2.1", .port = 80};
  const struct http_request_rewrite rewrite = {.scan = &whole, .request = &request, .forwarded = &forwarded};
  struct http_out out = {.data = text, .capacity = sizeof text};
  http_write_request(&out, &rewrite);
  if (out.full)
    abort();
  static const struct http_scan_limits wide = {.bytes = sizeof text, .fields = 100, .target = sizeof text};
  http_scan_init(&again, HTTP_SCAN_REQUEST, &wide);
  if (!request.host.size)
    return 0; /* 1.0 without a Host is never sent on */
  if (http_scan_run(&again, text, out.size) != HTTP_SCAN_DONE || again.size != out.size)
    abort();
  if (http_request_judge(&second, &again, &why) != 0)
    abort();
  if (second.framing != request.framing || second.length != request.length || !http_text_same(second.host, request.host) || second.upgrade.size)
    abort();
  return 0;
}
