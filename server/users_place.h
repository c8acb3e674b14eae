/* users_place.h: where the user file and the link key of a server are, as its command line and its config file say; the lock between two
 * commands; and who the files belong to (root often works on those of the server's own user). */
#ifndef SERVER_USERS_PLACE_H
#define SERVER_USERS_PLACE_H

#include <stddef.h>

struct stat;

struct users_place {
  /* in: the options as given, or NULL */
  const char *users_given, *state_given, *cert_given, *key_given, *config_given;
  /* out */
  char *users;                /* the user file */
  char *state_dir;
  char *link_cert, *link_key; /* NULL: in the state directory */
};
int users_place_find(struct users_place *place, char *error, size_t error_size); /* 0, or -1 with a sentence */
void users_place_clean(struct users_place *place);
char *users_place_default(const char *state_dir); /* the caller frees; NULL: out of memory */

/* Locks the file's directory, made if missing: no lock file is left behind. A descriptor to close, or -1 with a sentence after 10 s. */
int users_place_lock(const char *path, char *error, size_t error_size);

int users_place_owner(const char *path, struct stat *info); /* of the file, or of its directory while there is none. 0 or -1 */
int users_place_give(const char *path, const struct stat *owner); /* done only by root for another user. 0 or UV_ */
int users_place_give_key(const char *state_dir);            /* a link key that was just made, to the directory's owner */

#endif
