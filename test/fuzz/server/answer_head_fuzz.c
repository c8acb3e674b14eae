/* answer_head_fuzz.c: any bytes as an answer's head: the same at any split, and what the visitor gets is a head of the same status and framing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http_message.h"
#include "http_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int scan_by(struct http_scan *scan, const char *text, size_t size, size_t step, uint32_t fields) {
  const struct http_scan_limits limits = {.bytes = 65536, .fields = fields};
  int status = HTTP_SCAN_MORE;
  http_scan_init(scan, HTTP_SCAN_ANSWER, &limits);
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
  struct http_answer answer, second;
  if (size > 8192)
    return 0;
  int status = scan_by(&whole, (const char *)data, size, size ? size : 1, 90);
  if (scan_by(&split, (const char *)data, size, 1, 90) != status)
    abort();
  if (status != HTTP_SCAN_DONE)
    return 0;
  if (http_answer_judge(&answer, &whole, false, &why) != 0) {
    if (!why)
      abort();
    return 0;
  }
  if (whole.head.status == 101)
    return 0; /* only after the exchange has checked its Upgrade */
  const struct http_answer_rewrite rewrite = {.scan = &whole, .answer = &answer, .framing = answer.framing, .date = "now"};
  struct http_out out = {.data = text, .capacity = sizeof text};
  http_write_answer(&out, &rewrite);
  if (out.full || scan_by(&again, text, out.size, 7, HTTP_FIELDS_MAX) /* some were added */ != HTTP_SCAN_DONE || again.size != out.size)
    abort();
  if (http_answer_judge(&second, &again, false, &why) != 0 || again.head.status != whole.head.status)
    abort();
  if (second.framing != answer.framing || (answer.framing == HTTP_FRAMING_LENGTH && second.length != answer.length) || second.tainted)
    abort();
  return 0;
}
