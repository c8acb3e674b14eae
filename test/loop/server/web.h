/* web.h: a scripted origin behind a client of world.h, and visitors that are bare sockets. */
#ifndef TEST_LOOP_SERVER_WEB_H
#define TEST_LOOP_SERVER_WEB_H

#include "world.h"

#define WEB_GOT_MAX (512u * 1024u)
#define WEB_STREAMS_MAX 64

enum web_then { WEB_KEEP, WEB_FIN, WEB_RESET, WEB_ECHO, WEB_SILENT };
/* What the origin does with a request for `path`. */
struct web_script {
  const char *path;
  const char *answer;   /* as it stands; "" = none */
  enum web_then then;
  bool early;           /* answers at the head, does not wait for the body */
  bool close_next;      /* the next request on this stream is met with a FIN instead of an answer */
  size_t filler;        /* so many bytes of body follow the answer */
};
struct web;
struct web_stream {
  struct web *web;
  mdm_stream *stream;
  char in[8192];        /* the head */
  size_t in_size;
  const struct web_script *script;
  bool body, chunked, doomed, raw, finish, answered;
  uint64_t body_left;
  char tail[5];
  const char *out;
  size_t out_size, filler;
};
struct web {
  struct world world;
  struct client client;
  struct net_listener *listener;
  const struct web_script *scripts;
  struct web_stream streams[WEB_STREAMS_MAX];
  unsigned streams_opened, streams_reset, streams_live, fins;
  uint64_t body_bytes, body_sum;
  char head[8192];      /* of the last request */
  unsigned requests;
  enum mdm_reset refuse_next; /* the next stream is refused with it */
  char echo[4096];
  struct exchange_observer observer;
  unsigned begun, ended;
  int last_status;
  uint64_t last_request_bytes, last_response_bytes;
  char last_error[64], last_service[64];
};
struct visit {
  struct web *web;
  int fd;
  char *got;
  size_t size, discarded;
  bool fin, rst;
};

/* User "tim" serves "one" and "two". `setup` may change config; `options` the services before they are announced. */
void web_open(struct web *web, const struct web_script *scripts, void (*setup)(struct server_config *config), const struct auth_hook_entry *hook,
              void (*options)(struct net_service *one));
void web_connect(struct web *web);
void web_close(struct web *web);

void visit_open(struct visit *visit, struct web *web);
void visit_send(struct visit *visit, const char *text);
void visit_send_bytes(struct visit *visit, const void *data, size_t size); /* runs the loop until all is sent, or the peer is gone */
void visit_until(struct visit *visit, const char *text); /* until the answer so far contains it */
void visit_until_end(struct visit *visit);               /* FIN or RST */
void visit_until_size(struct visit *visit, size_t size); /* throws bytes away past WEB_GOT_MAX */
void visit_clear(struct visit *visit);
void visit_close(struct visit *visit);
/* One request on a connection of its own, until it ends; returns the status. */
int visit_status(struct web *web, const char *request);

#endif
