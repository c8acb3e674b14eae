/* config_fuzz.c: any text as a configuration file: it is taken or refused with a sentence, and never crashes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct server_config *config = NULL;
  char error[1024], *text = malloc(size + 1);
  if (text == NULL)
    return 0;
  memcpy(text, data, size);
  text[size] = '\0';
  int status = server_config_load(&config, text, 0, NULL, error, sizeof error);
  if ((status == CONFIG_OK) != (config != NULL) || (status != CONFIG_OK && error[0] == '\0'))
    abort();
  server_config_unref(config);
  free(text);
  return 0;
}
