/* link_probe.c: who asks whether the other side of a link is alive, and what they are told. */
#include "link_private.h"

#include <stddef.h>

#define ANSWER_SOON_MS 1u

static void probe_unlink(struct net_probe *probe) {
  struct net_link *link = probe->link;
  if (link == NULL) {
    return;
  }
  for (struct net_probe **at = &link->probes; *at != NULL; at = &(*at)->next) {
    if (*at == probe) {
      *at = probe->next;
      link->probes_count--;
      break;
    }
  }
  probe->link = NULL;
  probe->next = NULL;
}

static void probe_on_time(struct net_timer *timer) {
  struct net_probe *probe = (struct net_probe *)(void *)((char *)timer - offsetof(struct net_probe, timer));
  bool heard = probe->link != NULL && probe->link->received_ms >= probe->alive_from_ms;
  bool alive = probe->surplus || heard;
  probe_unlink(probe);
  probe->done(probe, alive);
}

void net_link_probe(struct net_link *link, struct net_probe *probe, uint32_t timeout_ms) {
  uint64_t now = net_loop_now_ms(link->loop);
  probe->loop = link->loop;
  probe->link = NULL;
  probe->next = NULL;
  probe->timer = (struct net_timer){.fire = probe_on_time};
  probe->alive_from_ms = now + timeout_ms / 2;
  probe->surplus = link->state == LINK_UP && link->probes_count >= NET_PROBES_MAX;
  if (link->state != LINK_UP || probe->surplus) {
    net_timer_start(&link->loop->wheel, &probe->timer, ANSWER_SOON_MS);
    return;
  }
  if (link->probes == NULL) {
    link->probe_skip = link->ping_waits;
    link_ping(link, now);
  }
  probe->link = link;
  probe->next = link->probes;
  link->probes = probe;
  link->probes_count++;
  net_timer_start(&link->loop->wheel, &probe->timer, timeout_ms);
}

void net_probe_cancel(struct net_probe *probe) {
  probe_unlink(probe);
  if (probe->loop != NULL) {
    net_timer_stop(&probe->loop->wheel, &probe->timer);
  }
}

/* The answers are given from the timer, because this runs inside the mux and an answer may close the link. */
void link_probes_pong(struct net_link *link) {
  link->ping_waits = false;
  if (link->probes == NULL) {
    return;
  }
  if (link->probe_skip) {
    link->probe_skip = false;
    link_ping(link, net_loop_now_ms(link->loop));
    return;
  }
  for (struct net_probe *probe = link->probes; probe != NULL; probe = probe->next) {
    probe->alive_from_ms = 0; /* heard */
    net_timer_start(&link->loop->wheel, &probe->timer, ANSWER_SOON_MS);
  }
}

void link_probes_dismiss(struct net_link *link) {
  while (link->probes != NULL) {
    struct net_probe *probe = link->probes;
    probe_unlink(probe);
    net_timer_start(&link->loop->wheel, &probe->timer, ANSWER_SOON_MS);
  }
}
