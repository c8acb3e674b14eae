/* report.h: what the program prints beside its log: URLs on stdout, sentences on stderr.
 *
 * Without -v: one line a URL when services were named on the command line, and on stderr fatal errors, refusals,
 * security warnings and the fingerprint at first contact. With -v, or JSON, the log says those. With -q nothing. Each
 * line once, not at every reconnect. */
#ifndef CLIENT_REPORT_H
#define CLIENT_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "mdm/client.h"

#define REPORT_LINES_MAX                                                                                               \
  4096u /* remembered, so as not to say them again: two a service for all that a client may have */

struct report {
  bool quiet, urls, sentences;
  char **lines;
  size_t count;
};

void report_init(struct report *report, bool quiet, bool urls, bool sentences);
void report_clean(struct report *report);
void report_event(struct report *report, const struct mdm_client_event *event);
/* A sentence of the program itself, always meant for stderr. */
void report_say(const struct report *report, const char *text);

#endif
