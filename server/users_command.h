/* users_command.h: `mdm-tunnel-server user add|remove|list|rotate`. */
#ifndef SERVER_USERS_COMMAND_H
#define SERVER_USERS_COMMAND_H

/* argv[0] is the word after `user`. Prints to stdout and stderr; returns the exit code: 0 done, 1 failed, 2 wrong usage. */
int users_command_main(int argc, char **argv);

#endif
