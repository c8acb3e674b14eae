/* credentials.c: the credentials file, read and rewritten whole. */
#include "credentials.h"

#include <cjson/cJSON.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "identity.h"

#define TOKEN_MIN 8u /* shorter is a slip of the keyboard */

void credentials_clean(struct credentials *credentials) {
  sodium_memzero(credentials, sizeof *credentials);
}

const char *credentials_server(char out[static CREDENTIALS_SERVER_MAX], const char *host, uint16_t port) {
  snprintf(out, CREDENTIALS_SERVER_MAX, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
  for (char *c = out; *c != '\0'; c++)
    if (*c >= 'A' && *c <= 'Z')
      *c = (char)(*c | 0x20);
  return out;
}

const char *credentials_token_fault(const char *token) {
  size_t length = strlen(token);
  if (length == 0)
    return "the token is empty";
  if (length < TOKEN_MIN)
    return "the token is too short to be one";
  if (length >= CREDENTIALS_TEXT_MAX)
    return "the token is too long to be one";
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)token[i] <= ' ' || (unsigned char)token[i] >= 0x7f)
      return "the token holds a space or a character that no token has";
  return NULL;
}

/* cJSON keeps copies of the tokens: they go before the memory does. */
static void wipe_tree(cJSON *root) {
  for (cJSON *entry = root == NULL ? NULL : root->child; entry != NULL; entry = entry->next) {
    cJSON *token = cJSON_GetObjectItemCaseSensitive(entry, "token");
    if (cJSON_IsString(token))
      sodium_memzero(token->valuestring, strlen(token->valuestring));
  }
  cJSON_Delete(root);
}

/* 1 and *root, 0 when there is no file, -1. */
static int load_tree(cJSON **root, const char *path, char *error, size_t error_size) {
  char *text = NULL;
  size_t size = 0;
  *root = NULL;
  int status = net_file_read(path, CREDENTIALS_FILE_MAX, &text, &size);
  if (status == UV_ENOENT || status == UV_ENOTDIR)
    return 0;
  if (status != 0) {
    snprintf(error, error_size, "%s: %s", path, uv_strerror(status));
    return -1;
  }
  if (!net_file_is_private(path)) {
    snprintf(error, error_size, "%s holds tokens and can be read by others: chmod 600 it", path);
    status = -1;
  } else {
    *root = cJSON_ParseWithLength(text, size);
    if (!cJSON_IsObject(*root)) {
      snprintf(error, error_size, "%s is not a credentials file (JSON, written by mdm-tunnel-client login)", path);
      wipe_tree(*root);
      *root = NULL;
      status = -1;
    }
  }
  sodium_memzero(text, size);
  free(text);
  return status == 0 ? 1 : -1;
}

static bool copy_text(char out[static CREDENTIALS_TEXT_MAX], const cJSON *item) {
  if (!cJSON_IsString(item) || strlen(item->valuestring) >= CREDENTIALS_TEXT_MAX)
    return false;
  memcpy(out, item->valuestring, strlen(item->valuestring) + 1);
  return true;
}

int credentials_load(struct credentials *out, const char *path, const char *server, char *error, size_t error_size) {
  cJSON *root;
  credentials_clean(out);
  int status = load_tree(&root, path, error, error_size);
  if (status != 1)
    return status;
  const cJSON *entry = cJSON_GetObjectItemCaseSensitive(root, server);
  const cJSON *user = cJSON_GetObjectItemCaseSensitive(entry, "user");
  if (entry == NULL) {
    status = 0;
  } else if (!copy_text(out->token, cJSON_GetObjectItemCaseSensitive(entry, "token")) ||
             credentials_token_fault(out->token) != NULL || (user != NULL && !copy_text(out->user, user))) {
    snprintf(error, error_size, "%s: the entry \"%s\" has no usable token", path, server);
    credentials_clean(out);
    status = -1;
  }
  wipe_tree(root);
  return status;
}

static cJSON *entry_tree(const struct credentials *credentials) {
  cJSON *entry = cJSON_CreateObject();
  if (entry != NULL &&
      (credentials->user[0] == '\0' || cJSON_AddStringToObject(entry, "user", credentials->user) != NULL) &&
      cJSON_AddStringToObject(entry, "token", credentials->token) != NULL)
    return entry;
  cJSON_Delete(entry);
  return NULL;
}

int credentials_save(const struct credentials *credentials, const char *path, const char *server, char *error,
                     size_t error_size) {
  cJSON *root;
  char *text = NULL;
  int status = load_tree(&root, path, error, error_size);
  if (status < 0)
    return -1;
  if (root == NULL)
    root = cJSON_CreateObject();
  cJSON *entry = root == NULL ? NULL : entry_tree(credentials);
  status = UV_ENOMEM;
  if (entry != NULL) {
    cJSON_DeleteItemFromObjectCaseSensitive(root, server);
    if (!cJSON_AddItemToObject(root, server, entry))
      cJSON_Delete(entry);
    else if ((text = cJSON_Print(root)) != NULL)
      status = net_file_write(path, text, strlen(text), 0600);
  }
  if (text != NULL)
    sodium_memzero(text, strlen(text));
  cJSON_free(text);
  wipe_tree(root);
  if (status != 0)
    snprintf(error, error_size, "%s: %s", path, uv_strerror(status));
  return status == 0 ? 0 : -1;
}
