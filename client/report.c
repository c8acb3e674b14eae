/* report.c: printing, once. */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void report_init(struct report *report, bool quiet, bool urls, bool sentences) {
  *report = (struct report){.quiet = quiet, .urls = urls, .sentences = sentences};
}

void report_clean(struct report *report) {
  for (size_t i = 0; i < report->count; i++)
    free(report->lines[i]);
  free(report->lines);
  *report = (struct report){0};
}

void report_say(const struct report *report, const char *text) {
  if (!report->quiet)
    fprintf(stderr, "mdm-tunnel-client: %s\n", text);
}

/* True for a line that was not printed before. What cannot be remembered is printed again. */
static bool is_new(struct report *report, const char *line) {
  for (size_t i = 0; i < report->count; i++)
    if (strcmp(report->lines[i], line) == 0)
      return false;
  if (report->lines == NULL)
    report->lines = calloc(REPORT_LINES_MAX, sizeof *report->lines);
  if (report->lines != NULL && report->count < REPORT_LINES_MAX &&
      (report->lines[report->count] = strdup(line)) != NULL)
    report->count++;
  return true;
}

static void print_url(struct report *report, const char *url) {
  if (report->quiet || !report->urls || url[0] == '\0' || !is_new(report, url))
    return;
  puts(url);
  fflush(stdout); /* into a pipe too: scripts wait for it */
}

static void print_refusal(struct report *report, const struct mdm_client_event *event) {
  char line[1400];
  snprintf(line, sizeof line, "%.256s is refused: %.1024s", event->service, event->text);
  if (is_new(report, line))
    report_say(report, line);
}

void report_event(struct report *report, const struct mdm_client_event *event) {
  switch (event->type) {
  case MDM_CLIENT_EVENT_URL:
    print_url(report, event->url);
    break;
  case MDM_CLIENT_EVENT_REFUSED:
    if (report->sentences)
      print_refusal(report, event);
    break;
  case MDM_CLIENT_EVENT_WARNING:
    /* Of a service: comes with every connect. Of the file: whenever it is read again and still wrong. */
    if (report->sentences && (event->service[0] == '\0' || is_new(report, event->text)))
      report_say(report, event->text);
    break;
  case MDM_CLIENT_EVENT_FINGERPRINT:
    if (report->sentences)
      report_say(report, event->text);
    break;
  case MDM_CLIENT_EVENT_STOPPED:
    if (report->sentences && event->status != MDM_CLIENT_OK)
      report_say(report, event->text);
    break;
  case MDM_CLIENT_EVENT_CONNECTED:
  case MDM_CLIENT_EVENT_NOTE:
  case MDM_CLIENT_EVENT_DISCONNECTED:
    break;
  }
}
