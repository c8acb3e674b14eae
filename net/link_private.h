/* link_private.h: the link as link.c and link_probe.c see it. */
#ifndef NET_LINK_PRIVATE_H
#define NET_LINK_PRIVATE_H

#include "link.h"

#define LINK_REASON_MAX          512u
#define LINK_OF(pointer, member) ((struct net_link *)(void *)((char *)(pointer)-offsetof(struct net_link, member)))

enum link_state { LINK_UP, LINK_LAST_WORDS, LINK_ENDED };

struct net_link {
  struct net_conn *conn;
  mdm_mux *mux;
  struct net_loop *loop;
  const struct net_link_ops *ops;
  void *owner;
  enum link_state state;
  unsigned busy;     /* how deep we are inside the mux */
  bool urgent : 1;   /* output that should not wait */
  bool draining : 1; /* net_link_drain was called */
  bool drained_told : 1;
  bool goaway_received : 1;
  bool said : 1;         /* error and reason stand; LAST_WORDS */
  bool shut : 1;         /* our half has ended */
  bool write_broken : 1; /* the carrier takes nothing more */
  bool closing : 1;      /* net_link_close was called */
  bool ping_waits : 1;   /* a PING of ours is unanswered */
  bool probe_skip : 1;   /* the next PONG answers a PING from before the probe */
  uint32_t heartbeat_ms, silence_ms;
  uint64_t received_ms, pinged_ms, tick_due_ms, last_words_ms;
  struct net_task flush_task, end_task, drained_task;
  struct net_timer tick;
  struct net_probe *probes;
  unsigned probes_count;
  int error;
  char reason[LINK_REASON_MAX];
};

void link_ping(struct net_link *link, uint64_t now);
void link_check_drained(struct net_link *link);
/* link_probe.c */
void link_probes_pong(struct net_link *link);
void link_probes_dismiss(struct net_link *link); /* the link is going: they are told `false` */

#endif
