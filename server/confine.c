/* confine.c: the places that a running server reads and writes, by its configuration. */
#include "confine.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#include "mdm/server.h"
#include "platform.h"
#include "server_private.h"

#define PLACES_FIXED 16u
#define LINKS_MAX    1024u /* links in the directory of certificates whose targets are let in; one that has more keeps its files in itself */
#define LINK_DEPTH   2u    /* NAME.crt and NAME/fullchain.pem */

static const struct net_log_actor actor = {.kind = "confine"};

struct places {
  struct platform_place list[PLACES_FIXED + LINKS_MAX];
  size_t count;
  char *links[LINKS_MAX]; /* theirs */
  size_t links_count;
};

static void places_add(struct places *places, const char *path, unsigned access) {
  if (path != NULL && path[0] != '\0')
    places->list[places->count++] = (struct platform_place){path, access};
}

/* Certificates are often links into a place that a renewal writes: that place, too. */
static void places_add_links(struct places *places, const char *directory, unsigned depth) {
  DIR *stream = opendir(directory);
  const struct dirent *entry;
  while (stream != NULL && places->links_count < LINKS_MAX && (entry = readdir(stream)) != NULL) {
    char path[PATH_MAX];
    struct stat info, target;
    if (entry->d_name[0] == '.' || snprintf(path, sizeof path, "%s/%s", directory, entry->d_name) >= (int)sizeof path || lstat(path, &info) != 0 ||
        stat(path, &target) != 0)
      continue;
    if (S_ISLNK(info.st_mode) && (places->links[places->links_count] = strdup(path)) != NULL)
      places_add(places, places->links[places->links_count++], PLATFORM_READ | (S_ISDIR(target.st_mode) ? 0u : PLATFORM_PARENT));
    if (S_ISDIR(target.st_mode) && depth > 1)
      places_add_links(places, path, depth - 1);
  }
  if (stream != NULL)
    closedir(stream);
}

static void places_make(struct places *places, const struct server_config *config) {
  const unsigned file = PLATFORM_READ | PLATFORM_PARENT;
  places_add(places, config->state_dir, PLATFORM_READ | PLATFORM_WRITE);
  places_add(places, config->file, file);
  places_add(places, config->users_file, file);
  places_add(places, config->tls_cert, file);
  places_add(places, config->tls_key, file);
  places_add(places, config->tls_dir, PLATFORM_READ);
  places_add(places, config->link_cert, file);
  places_add(places, config->link_key, file);
  places_add(places, config->auth_plugin, file);
  places_add(places, config->auth_config, file | (config->auth_plugin == NULL ? 0u : PLATFORM_WRITE)); /* a place for the plugin's own things */
  places_add(places, getenv("SSL_CERT_FILE"), file);
  places_add(places, getenv("SSL_CERT_DIR"), PLATFORM_READ);
  if (config->access_log != NULL && strcmp(config->access_log, "-") != 0)
    places_add(places, config->access_log, PLATFORM_WRITE | PLATFORM_PARENT);
  if (config->tls_dir != NULL)
    places_add_links(places, config->tls_dir, LINK_DEPTH);
}

int server_confine(struct mdm_server *server, char *error, size_t error_size) {
  const struct server_config *config = server->config;
  struct places *places;
  char why[256] = "";
  unsigned done = 0;
  if (config->no_sandbox) {
    server_notice(server, "warning: --no-sandbox: the process keeps access to every file and system call of its user");
    return 0;
  }
  places = calloc(1, sizeof *places);
  if (places == NULL) {
    snprintf(error, error_size, "out of memory");
    return MDM_SERVER_RUNTIME;
  }
  places_make(places, config);
  const struct platform_confinement confinement = {.places = places->list, .places_count = places->count, .plugin = config->auth_plugin != NULL};
  int status = platform_confine(&confinement, &done, why, sizeof why);
  for (size_t i = 0; i < places->links_count; i++)
    free(places->links[i]);
  free(places);
  if (status != 0 && status != UV_ENOSYS) {
    snprintf(error, error_size, "the process cannot be confined (%s); --no-sandbox goes without", why);
    return MDM_SERVER_RUNTIME;
  }
  net_log_write(server->log, NET_LOG_INFO, &actor, "system calls %s, files %s", done & PLATFORM_CONFINED_CALLS ? "confined" : "not confined",
                done & PLATFORM_CONFINED_FILES ? "confined" : "not confined");
  return 0;
}
