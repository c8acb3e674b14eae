/* admin.h: the admin listener: GET /metrics and /healthz, on a loopback address of its own. */
#ifndef SERVER_ADMIN_H
#define SERVER_ADMIN_H

#include <stddef.h>
#include <stdint.h>

#define ADMIN_CONNECTIONS_MAX 32u
#define ADMIN_TIMEOUT_MS 5000u /* from accept to the last byte of the answer */

struct admin;
struct mdm_address;
struct worker;

/* 0, or -1 with a sentence. */
int admin_open(struct admin **out, struct worker *worker, const struct mdm_address *address, char *error, size_t error_size);
uint16_t admin_port(const struct admin *admin);
/* Closes the listener and what is connected; frees itself when the last connection is gone. NULL is fine. */
void admin_close(struct admin *admin);

#endif
