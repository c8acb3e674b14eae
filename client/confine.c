/* confine.c: the places that a running client reads and writes, by its options. */
#include "confine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "identity.h"
#include "mdm/client.h"
#include "platform.h"
#include "trust.h"

#define PLACES_MAX 8u

struct places {
  struct platform_place list[PLACES_MAX];
  char *owned[PLACES_MAX];
  size_t count;
};

static void places_add(struct places *places, const char *path, unsigned access) {
  char *full = path == NULL || path[0] == '\0' ? NULL : net_path_expand(path);
  if (full == NULL)
    return;
  places->owned[places->count] = full;
  places->list[places->count++] = (struct platform_place){full, access};
}

static void places_make(struct places *places, const struct options *options) {
  const unsigned file = PLATFORM_READ | PLATFORM_PARENT;
  places_add(places, options->config == NULL ? OPTIONS_DEFAULT_FILE : options->config, file); /* also one that is not there yet */
  places_add(places, options->known_servers == NULL ? TRUST_DEFAULT_FILE : options->known_servers, file | PLATFORM_WRITE | PLATFORM_MAKE);
  if (options->ca != NULL && strcmp(options->ca, "system") != 0)
    places_add(places, options->ca, file);
  places_add(places, getenv("SSL_CERT_FILE"), file);
  places_add(places, getenv("SSL_CERT_DIR"), PLATFORM_READ);
}

enum mdm_client_status client_confine(const struct options *options, struct report *report) {
  struct places places = {0};
  char why[256] = "", text[512];
  unsigned done;
  if (options->no_sandbox) {
    report_say(report, "warning: --no-sandbox: the process keeps access to every file and system call of its user");
    return MDM_CLIENT_OK;
  }
  places_make(&places, options);
  const struct platform_confinement confinement = {.places = places.list, .places_count = places.count};
  int status = platform_confine(&confinement, &done, why, sizeof why);
  for (size_t i = 0; i < places.count; i++)
    free(places.owned[i]);
  if (status == 0 || status == UV_ENOSYS)
    return MDM_CLIENT_OK;
  snprintf(text, sizeof text, "the process cannot be confined (%s); --no-sandbox goes without", why);
  report_say(report, text);
  return MDM_CLIENT_RUNTIME;
}
