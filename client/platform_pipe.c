/* platform_pipe.c: POSIX. */
#include "platform_pipe.h"

#include <signal.h>

void
platform_ignore_broken_pipes(void)
{
  signal(SIGPIPE, SIG_IGN);
}
