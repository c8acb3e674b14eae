/* verdicts.c: a list of verdicts, one event each. Their texts come from the server and are escaped here. */
#include "verdicts.h"

#include <stdio.h>
#include <string.h>

#include "log.h"

/* No address is worth a note; but where a custom domain was wanted, it was refused. */
static enum mdm_client_event_type event_type(enum net_verdict verdict, const struct net_service *service) {
  switch (verdict) {
  case NET_SERVICE_OK:
    return MDM_CLIENT_EVENT_URL;
  case NET_SERVICE_NO_WEB:
    return service->options.domains_count > 0 ? MDM_CLIENT_EVENT_WARNING : MDM_CLIENT_EVENT_NOTE;
  case NET_SERVICE_REFUSED:
    break;
  }
  return MDM_CLIENT_EVENT_REFUSED;
}

/* The service is served, but not all that it wanted: a custom domain was refused. */
static void tell_part(const char *name, const char *reason,
                      void (*tell)(const struct mdm_client_event *event, void *user), void *user) {
  const struct mdm_client_event event = {
      .type = MDM_CLIENT_EVENT_WARNING, .service = name, .url = "", .user = "", .text = reason};
  tell(&event, user);
}

void verdicts_tell(const struct net_services_ok *services, const struct service_map *map, struct verdicts_count *count,
                   void (*tell)(const struct mdm_client_event *event, void *user), void *user) {
  *count = (struct verdicts_count){0};
  for (size_t i = 0; i < services->count; i++) {
    const struct net_service_verdict *verdict = &services->list[i];
    const struct service_entry *entry = service_map_find(map, verdict->id);
    char name[4 * NET_SERVICE_NAME_MAX + 8], url[sizeof verdict->url], reason[NET_SENTENCE_MAX + 1];
    if (entry == NULL)
      continue; /* withdrawn meanwhile */
    net_log_escape(name, sizeof name, entry->service.name, strnlen(entry->service.name, sizeof entry->service.name));
    net_log_escape(url, sizeof url, verdict->url, strnlen(verdict->url, sizeof verdict->url));
    net_log_escape(reason, sizeof reason, verdict->reason, strnlen(verdict->reason, sizeof verdict->reason));
    const struct mdm_client_event event = {
        .type = event_type(verdict->verdict, &entry->service),
        .service = name,
        .url = verdict->verdict == NET_SERVICE_OK ? url : "",
        .user = "",
        .text = reason,
    };
    if (verdict->verdict == NET_SERVICE_REFUSED) {
      if (count->refused++ == 0)
        snprintf(count->first_refusal, sizeof count->first_refusal, "%.128s: %s", name, reason);
    } else {
      count->served++;
    }
    tell(&event, user);
    if (verdict->verdict == NET_SERVICE_OK && reason[0] != '\0')
      tell_part(name, reason, tell, user);
  }
}

size_t verdicts_withdraw(const struct net_services_ok *services, const struct service_map *map) {
  size_t left = 0;
  for (size_t i = 0; i < services->count; i++) {
    struct service_entry *entry = service_map_find(map, services->list[i].id);
    if (entry != NULL && services->list[i].verdict == NET_SERVICE_REFUSED)
      entry->lost = true;
  }
  for (size_t i = 0; i < map->count; i++)
    left += !map->list[i]->lost;
  return left;
}
