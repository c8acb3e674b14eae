/* users_command.c: the commands over the user file. One at a time: a lock is held from reading to writing. */
#include "users_command.h"

#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "hello.h"
#include "identity.h"
#include "names.h"
#include "users.h"
#include "users_place.h"

#define SENTENCE_MAX 1024
#define EXIT_USAGE 2

struct command {
  const char *name;          /* of the user */
  char *domains[USERS_DOMAINS_MAX];
  size_t domains_count;
  bool reserved;
  struct users_place place;  /* where the files are */
  int lock;
  struct users *users;
  char error[SENTENCE_MAX];
};

static const char usage[] =
    "usage: mdm-tunnel-server user add NAME [--domain HOST]... [--reserved]   makes a user and prints the token, once\n"
    "       mdm-tunnel-server user rotate NAME                               replaces the token and prints the new one\n"
    "       mdm-tunnel-server user remove NAME                               live sessions end within a second\n"
    "       mdm-tunnel-server user list\n"
    "options: --users FILE       the user file (default users.json in the state directory)\n"
    "         --state-dir DIR    where the server keeps its link key, whose fingerprint is part of a token\n"
    "         --link-cert FILE, --link-key FILE   as the server was started with\n"
    "         --config FILE      the server's own, for these four\n";

static int fail(const struct command *command) {
  fprintf(stderr, "mdm-tunnel-server user: %s\n", command->error);
  return EXIT_FAILURE;
}

static void time_now(char out[static USERS_TIME_SIZE]) {
  time_t now = time(NULL);
  struct tm tm;
  out[0] = '\0';
  if (gmtime_r(&now, &tm) != NULL) {
    strftime(out, USERS_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm);
  }
}

/* ---- the file ---- */
/* Made anew by the first `add`; any other command wants it to be there. */
static int file_open(struct command *command, bool may_be_new) {
  if (!may_be_new && access(command->place.users, F_OK) != 0) {
    snprintf(command->error, sizeof command->error, "%s: there is no user file; `user add NAME` makes one", command->place.users);
    return -1;
  }
  command->lock = users_place_lock(command->place.users, command->error, sizeof command->error);
  if (command->lock < 0) {
    return -1;
  }
  int rc = users_load(&command->users, command->place.users, command->error, sizeof command->error);
  if (rc == UV_ENOENT && may_be_new) {
    rc = users_new(&command->users);
  }
  return rc;
}

/* Beside the file first, so that it has its owner before the server sees it. */
static int file_save(struct command *command) {
  struct stat owner;
  const char *path = command->place.users;
  char *fresh = NULL;
  int known = users_place_owner(path, &owner);
  if (asprintf(&fresh, "%s.new", path) < 0) {
    snprintf(command->error, sizeof command->error, "out of memory");
    return -1;
  }
  int rc = users_save(command->users, fresh, command->error, sizeof command->error);
  if (rc == 0) {
    rc = known == 0 ? users_place_give(fresh, &owner) : 0;
    if (rc == 0 && rename(fresh, path) != 0) {
      rc = -errno;
    }
    if (rc != 0) {
      snprintf(command->error, sizeof command->error, "%s: cannot be replaced: %s", path, uv_strerror(rc));
      unlink(fresh);
    }
  }
  free(fresh);
  return rc;
}

/* ---- tokens ---- */
static int token_make(struct command *command, char token[static NET_TEXT_MAX + 1]) {
  struct net_identity identity = {0};
  const struct users_place *place = &command->place;
  bool made = false;
  int rc = place->link_cert != NULL ? net_identity_load_files(&identity, place->link_cert, place->link_key, command->error, sizeof command->error)
                                    : net_identity_load(&identity, place->state_dir, &made, command->error, sizeof command->error);
  if (rc != 0) {
    return -1;
  }
  if (made && users_place_give_key(place->state_dir) != 0) {
    snprintf(command->error, sizeof command->error, "%s: the new link key cannot be given to the directory's owner", place->state_dir);
    rc = -1;
  } else if ((rc = net_token_make(token, identity.fingerprint)) != 0) {
    snprintf(command->error, sizeof command->error, "no token could be made: %s", uv_strerror(rc));
  }
  net_identity_clean(&identity);
  return rc;
}

static int token_print(struct command *command, char token[static NET_TEXT_MAX + 1], const char *what) {
  int rc = EXIT_SUCCESS;
  fprintf(stderr, "%s. The token below is shown only this once:\n", what);
  if (printf("%s\n", token) < 0 || fflush(stdout) != 0) {
    snprintf(command->error, sizeof command->error, "the token could not be printed: run `user rotate %s` for another", command->name);
    rc = fail(command);
  } else {
    fprintf(stderr, "Its owner uses it so:\n  MDM_TUNNEL_TOKEN=<token> mdm-tunnel-client -h THIS-SERVER hello=3000\n"
                    "or keeps it:\n  mdm-tunnel-client -h THIS-SERVER login\n");
  }
  sodium_memzero(token, NET_TEXT_MAX + 1);
  return rc;
}

/* ---- commands ---- */
static int add_check(struct command *command) {
  char folded[NET_LABEL_MAX + 1];
  if (!net_label_fold(folded, command->name, strlen(command->name))) {
    snprintf(command->error, sizeof command->error,
             "\"%s\" cannot be a user name: letters, digits and single hyphens, none at the ends, at most %d", command->name, NET_LABEL_MAX);
    return -1;
  }
  if (names_reserved(folded) && !command->reserved) {
    snprintf(command->error, sizeof command->error, "%s is a reserved name (visitors may take %s.YOUR-DOMAIN for your own); add --reserved if you mean it",
             folded, folded);
    return -1;
  }
  if (users_find(command->users, folded) != NULL) {
    snprintf(command->error, sizeof command->error, "user %s is there already; `user rotate %s` makes a new token", folded, folded);
    return -1;
  }
  return 0;
}

static int add_domains(struct command *command, struct users_entry *entry) {
  for (size_t i = 0; i < command->domains_count; i++) {
    if (users_grant(entry, command->domains[i]) != 0) {
      snprintf(command->error, sizeof command->error, "out of memory");
      return -1;
    }
    const char *host = entry->domains[entry->domains_count - 1];
    if (!names_custom_valid(NULL, 0, host)) {
      snprintf(command->error, sizeof command->error, "\"%s\" is no host name that could be a custom domain", host);
      return -1;
    }
  }
  return 0;
}

static int command_add(struct command *command) {
  char token[NET_TEXT_MAX + 1], now[USERS_TIME_SIZE], what[NET_LABEL_MAX + 32];
  struct users_entry *entry = NULL;
  if (file_open(command, true) != 0 || add_check(command) != 0 || token_make(command, token) != 0) {
    return fail(command);
  }
  time_now(now);
  int rc = users_add(command->users, command->name, token, now, &entry);
  if (rc != 0) {
    snprintf(command->error, sizeof command->error, rc == UV_ENOMEM ? "out of memory" : "the user file is full (%u users)", USERS_MAX);
    return fail(command);
  }
  entry->reserved = command->reserved;
  snprintf(what, sizeof what, "User %s is there", entry->name);
  if (add_domains(command, entry) != 0 || file_save(command) != 0) {
    sodium_memzero(token, sizeof token);
    return fail(command);
  }
  return token_print(command, token, what);
}

static struct users_entry *command_user(struct command *command) {
  char folded[NET_LABEL_MAX + 1];
  struct users_entry *entry = net_label_fold(folded, command->name, strlen(command->name)) ? users_find(command->users, folded) : NULL;
  if (entry == NULL) {
    snprintf(command->error, sizeof command->error, "there is no user \"%s\"; `user list` shows who there is", command->name);
  }
  return entry;
}

static int command_rotate(struct command *command) {
  char token[NET_TEXT_MAX + 1], now[USERS_TIME_SIZE], what[NET_LABEL_MAX + 64];
  struct users_entry *entry = NULL;
  if (file_open(command, false) != 0 || (entry = command_user(command)) == NULL || token_make(command, token) != 0) {
    return fail(command);
  }
  time_now(now);
  snprintf(what, sizeof what, "User %s has a new token; the old one is void", entry->name);
  if (users_rotate(command->users, entry, token, now) != 0 || file_save(command) != 0) {
    sodium_memzero(token, sizeof token);
    return fail(command);
  }
  return token_print(command, token, what);
}

static int command_remove(struct command *command) {
  struct users_entry *entry = NULL;
  if (file_open(command, false) != 0 || (entry = command_user(command)) == NULL) {
    return fail(command);
  }
  users_remove(command->users, entry);
  if (file_save(command) != 0) {
    return fail(command);
  }
  fprintf(stderr, "User %s is removed; a running server ends its sessions now.\n", command->name);
  return EXIT_SUCCESS;
}

static int command_list(struct command *command) {
  if (users_load(&command->users, command->place.users, command->error, sizeof command->error) != 0) {
    return fail(command);
  }
  for (size_t i = 0; i < command->users->count; i++) {
    const struct users_entry *entry = &command->users->list[i];
    const char *changed = entry->rotated[0] != '\0' ? entry->rotated : "-";
    printf("%-24s created %-20s  rotated %-20s ", entry->name, entry->created[0] != '\0' ? entry->created : "-", changed);
    for (size_t k = 0; k < entry->domains_count; k++) {
      printf("%s%s", k == 0 ? " domains " : ",", entry->domains[k]);
    }
    printf("%s\n", entry->reserved ? "  reserved" : "");
  }
  if (fflush(stdout) != 0) {
    snprintf(command->error, sizeof command->error, "the list could not be printed");
    return fail(command);
  }
  return EXIT_SUCCESS;
}

static const struct {
  const char *word;
  bool named;
  int (*run)(struct command *command);
} verbs[] = {
    {"add", true, command_add},
    {"remove", true, command_remove},
    {"rotate", true, command_rotate},
    {"list", false, command_list},
};

static bool command_option(struct command *command, int option, char *value) {
  switch (option) {
  case 'd':
    if (command->domains_count == USERS_DOMAINS_MAX) {
      return false;
    }
    command->domains[command->domains_count++] = value;
    return true;
  case 'r':
    command->reserved = true;
    return true;
  case 'u':
    command->place.users_given = value;
    return true;
  case 's':
    command->place.state_given = value;
    return true;
  case 'c':
    command->place.cert_given = value;
    return true;
  case 'k':
    command->place.key_given = value;
    return true;
  case 'f':
    command->place.config_given = value;
    return true;
  default: /* getopt_long has said what is wrong */
    return false;
  }
}

int users_command_main(int argc, char **argv) {
  static const struct option options[] = {
      {"domain", required_argument, NULL, 'd'},    {"reserved", no_argument, NULL, 'r'},        {"users", required_argument, NULL, 'u'},
      {"state-dir", required_argument, NULL, 's'}, {"link-cert", required_argument, NULL, 'c'}, {"link-key", required_argument, NULL, 'k'},
      {"config", required_argument, NULL, 'f'},    {"help", no_argument, NULL, 'h'},            {0},
  };
  struct command command = {.lock = -1};
  char *words[2] = {NULL, NULL};
  size_t words_count = 0, verb = 0;
  int option, status = EXIT_USAGE;
  if (sodium_init() < 0) {
    fputs("mdm-tunnel-server user: no source of random numbers\n", stderr);
    return EXIT_FAILURE;
  }
  char **shifted = calloc((size_t)argc + 2, sizeof(char *)); /* getopt skips the first */
  if (shifted == NULL) {
    return EXIT_FAILURE;
  }
  shifted[0] = (char *)(uintptr_t)"mdm-tunnel-server user";
  for (int i = 0; i < argc; i++) {
    shifted[i + 1] = argv[i];
  }
  optind = 1;
  while ((option = getopt_long(argc + 1, shifted, "-", options, NULL)) != -1) {
    if (option == 'h') {
      fputs(usage, stdout);
      status = EXIT_SUCCESS;
      goto out;
    }
    if (option == 1 && words_count < 2) {
      words[words_count++] = optarg;
    } else if (option == 1 || !command_option(&command, option, optarg)) {
      fputs(usage, stderr);
      goto out;
    }
  }
  while (optind < argc + 1 && words_count < 2) { /* after "--" */
    words[words_count++] = shifted[optind++];
  }
  while (words_count > 0 && verb < sizeof verbs / sizeof verbs[0] && strcmp(verbs[verb].word, words[0]) != 0) {
    verb++;
  }
  if (words_count == 0 || optind < argc + 1 || verb == sizeof verbs / sizeof verbs[0] || verbs[verb].named != (words_count == 2)) {
    fputs(usage, stderr);
    goto out;
  }
  command.name = words[1];
  if (users_place_find(&command.place, command.error, sizeof command.error) != 0) {
    fprintf(stderr, "mdm-tunnel-server user: %s\n", command.error);
    goto out;
  }
  status = verbs[verb].run(&command);
out:
  if (command.lock >= 0) {
    close(command.lock);
  }
  users_free(command.users);
  users_place_clean(&command.place);
  free(shifted);
  return status;
}
