/* setup.h: from the options of mdm/client.h to what a tunnel needs: where to dial, who to be, what to trust. Checks
 * everything before the first packet, and reads the credentials file. */
#ifndef CLIENT_SETUP_H
#define CLIENT_SETUP_H

#include <stddef.h>

#include "credentials.h"
#include "mdm/client.h"
#include "tunnel.h"

struct setup {
  struct tunnel_config tunnel; /* loop, map and origins are the client's to fill in */
  struct net_proxy proxy;
  char *ca;
  struct credentials identity; /* user and token as they will be sent; wiped by setup_clean */
  char client_name[NET_TEXT_MAX + 1];
};

enum mdm_client_status setup_make(struct setup *setup, const struct mdm_client_options *options, char *error,
                                  size_t error_size);
void setup_clean(struct setup *setup);
/* The first server of the -h list as the key of the credentials file. Same errors as setup_make. */
enum mdm_client_status setup_server(const struct mdm_client_options *options, char out[static CREDENTIALS_SERVER_MAX],
                                    char *error, size_t error_size);

#endif
