/* fake.h: a server that answers the first request with what a test tells it, or passes on as an HTTP proxy does. */
#ifndef TEST_LOOP_NET_FAKE_H
#define TEST_LOOP_NET_FAKE_H

#include "rig.h"

enum fake_mode {
  FAKE_SILENT,  /* accepts and says nothing */
  FAKE_HANG_UP, /* closes after the request */
  FAKE_ANSWER,  /* says `answer` */
  FAKE_PROXY,   /* CONNECT with the right credentials is passed on */
};

struct splice;
struct fake {
  struct rig *rig;
  struct net_listener *listener;
  uint16_t port;
  enum fake_mode mode;
  const char *answer;
  const char *authorization; /* FAKE_PROXY: the whole field value that it wants, or NULL */
  size_t cut_after;          /* FAKE_PROXY: closes after so many bytes from the target; 0 = never */
  char head[4096];           /* of the last request */
  unsigned connections;
  struct splice *splices;
};

void fake_open(struct fake *fake, struct rig *rig);
void fake_close(struct fake *fake);

#endif
