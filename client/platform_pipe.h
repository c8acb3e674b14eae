/* platform_pipe.h: a reader of our output that leaves must not end the program. */
#ifndef CLIENT_PLATFORM_PIPE_H
#define CLIENT_PLATFORM_PIPE_H

void platform_ignore_broken_pipes(void);

#endif
