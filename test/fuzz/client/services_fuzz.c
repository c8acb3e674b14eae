/* services_fuzz.c: any bytes as the services file: a map or an error with a sentence, and a second reading of the same
 * says the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "services.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct service_map first, second, none;
  char error[512] = "";
  uint32_t next = 1;
  service_map_init(&none);
  int status = service_map_parse(&first, "fuzz", (const char *)data, size, error, sizeof error);
  if (status != SERVICE_MAP_OK && error[0] == '\0')
    abort();
  service_map_adopt(&first, &none, &next);
  if (service_map_parse(&second, "fuzz", (const char *)data, size, error, sizeof error) != status)
    abort();
  service_map_adopt(&second, &first, &next);
  if (!service_map_equal(&first, &second) || next != first.count + 1)
    abort();
  for (size_t i = 0; i < first.count; i++)
    if (service_map_find(&first, first.list[i]->service.id) != first.list[i])
      abort();
  service_map_clean(&second);
  service_map_clean(&first);
  return 0;
}
