/* visitor.h: one public connection. Speaks HTTP/1.1 and nothing of tunnels; each request becomes an exchange. */
#ifndef SERVER_VISITOR_H
#define SERVER_VISITOR_H

#include "conn.h"

struct worker;
struct visitor_set;

int visitor_set_new(struct visitor_set **out, struct worker *worker);
void visitor_set_free(struct visitor_set *set);   /* every visitor has closed */
size_t visitor_set_count(const struct visitor_set *set);
void visitor_set_drain(struct visitor_set *set);  /* idle ones close now, others after their answer (Connection: close) */
void visitor_set_close(struct visitor_set *set);  /* all, now */

/* A link of this agent drains: idle upstreams to it end, so that it does not wait for their visitors. */
void visitor_set_forget(struct visitor_set *set, uint64_t agent);

/* Takes an accepted connection: PROXY header read, TLS established if it has any; net_conn_peer() is the visitor's (or proxy's) address. */
int visitor_accept(struct worker *worker, struct net_conn *conn);

#endif
