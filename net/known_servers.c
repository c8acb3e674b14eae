/* known_servers.c: the file of server keys seen before. */
#include "known_servers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "address.h"
#include "identity.h"
#include "text.h"

#define FILE_MAX  (1024u * 1024u) /* some ten thousand servers */
#define ENTRY_MAX 400u            /* "[host]:port SHA256:..." */

/* "host:port" as it stands in the file: folded, an IPv6 literal in brackets. */
static int name_text(char out[static ENTRY_MAX], const char *host, uint16_t port) {
  struct mdm_address address;
  char folded[NET_HOST_NAME_MAX + 1], literal[NET_ADDRESS_TEXT];
  if (net_address_parse(&address, host, strlen(host)) == 0) {
    address.port = port;
    (void)snprintf(out, ENTRY_MAX, "%s", net_address_text(literal, &address, true));
    return 0;
  }
  if (!net_text_host_fold(folded, host, strlen(host))) {
    return UV_EINVAL;
  }
  (void)snprintf(out, ENTRY_MAX, "%s:%u", folded, (unsigned)port);
  return 0;
}

struct entry {
  const char *name;
  size_t name_size;
  uint8_t fingerprint[NET_FINGERPRINT_SIZE];
};

/* 1 and the entry, 0 for a blank line or comment, -1 for a malformed one. */
static int line_read(struct entry *out, const char *line, size_t size) {
  static const char blank[] = " \t\r";
  while (size > 0 && strchr(blank, line[size - 1]) != NULL && line[size - 1] != '\0') {
    size--;
  }
  while (size > 0 && (*line == ' ' || *line == '\t')) {
    line++;
    size--;
  }
  if (size == 0 || *line == '#') {
    return 0;
  }
  size_t name = 0;
  while (name < size && line[name] != ' ' && line[name] != '\t') {
    name++;
  }
  size_t key = name;
  while (key < size && (line[key] == ' ' || line[key] == '\t')) {
    key++;
  }
  out->name = line;
  out->name_size = name;
  return key < size && net_fingerprint_parse(out->fingerprint, line + key, size - key) == 0 ? 1 : -1;
}

/* An entry of this name with another key does not end the search: a server may be listed with its old and its new key.
 */
static enum net_known lines_search(const char *text, size_t size, const char *name,
                                   const uint8_t fingerprint[static NET_FINGERPRINT_SIZE], unsigned *line,
                                   const char *path, char *error, size_t error_size) {
  enum net_known result = NET_KNOWN_NEW;
  unsigned number = 0;
  for (size_t at = 0; at < size;) {
    const char *end = memchr(text + at, '\n', size - at);
    size_t length = end != NULL ? (size_t)(end - text) - at : size - at;
    struct entry entry;
    number++;
    int found = line_read(&entry, text + at, length);
    at += length + 1;
    if (found < 0) {
      *line = number;
      (void)net_sentence(error, error_size, "%s:%u: a line must be \"host:port SHA256:fingerprint\"", path, number);
      return NET_KNOWN_ERROR;
    }
    if (found == 0 || entry.name_size != strlen(name) || memcmp(entry.name, name, entry.name_size) != 0) {
      continue;
    }
    if (memcmp(entry.fingerprint, fingerprint, sizeof entry.fingerprint) == 0) {
      *line = number;
      return NET_KNOWN_MATCH;
    }
    if (result == NET_KNOWN_NEW) {
      *line = number;
      result = NET_KNOWN_CHANGED;
    }
  }
  return result;
}

enum net_known net_known_lookup(const char *path, const char *host, uint16_t port,
                                const uint8_t fingerprint[static NET_FINGERPRINT_SIZE], unsigned *line, char *error,
                                size_t error_size) {
  char name[ENTRY_MAX], *text = NULL;
  size_t size = 0;
  *line = 0;
  if (name_text(name, host, port) != 0) {
    (void)net_sentence(error, error_size, "\"%.255s\" is no host name", host);
    return NET_KNOWN_ERROR;
  }
  int result = net_file_read(path, FILE_MAX, &text, &size);
  if (result == UV_ENOENT) {
    return NET_KNOWN_NEW;
  }
  if (result != 0) {
    (void)net_sentence(error, error_size, "cannot read %s: %s", path, uv_strerror(result));
    return NET_KNOWN_ERROR;
  }
  enum net_known known = lines_search(text, size, name, fingerprint, line, path, error, error_size);
  free(text);
  return known;
}

int net_known_add(const char *path, const char *host, uint16_t port,
                  const uint8_t fingerprint[static NET_FINGERPRINT_SIZE]) {
  char name[ENTRY_MAX], print[NET_FINGERPRINT_TEXT], *text = NULL;
  size_t size = 0;
  int result = name_text(name, host, port);
  if (result != 0) {
    return result;
  }
  result = net_file_read(path, FILE_MAX - ENTRY_MAX, &text, &size);
  if (result != 0 && result != UV_ENOENT) {
    return result;
  }
  char *whole = malloc(size + ENTRY_MAX + NET_FINGERPRINT_TEXT + 3);
  if (whole == NULL) {
    free(text);
    return UV_ENOMEM;
  }
  if (size > 0) {
    memcpy(whole, text, size);
  }
  const char *newline = size > 0 && text[size - 1] != '\n' ? "\n" : "";
  int added = snprintf(whole + size, ENTRY_MAX + NET_FINGERPRINT_TEXT + 3, "%s%s %s\n", newline, name,
                       net_fingerprint_text(print, fingerprint));
  result = net_file_write(path, whole, size + (size_t)added, 0600);
  free(whole);
  free(text);
  return result;
}
