/* confine.h: the program gives up what a running client does not need. Of the program, not of the library: an embedding process decides for itself. */
#ifndef CLIENT_CONFINE_H
#define CLIENT_CONFINE_H

#include "mdm/client.h"
#include "options.h"
#include "report.h"

/* Once the client is made, before it starts. 0, or the status to end with; what there is to say is said by `report`. */
enum mdm_client_status client_confine(const struct options *options, struct report *report);

#endif
