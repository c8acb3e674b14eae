/* platform_none_confine.c: for systems without a confinement of ours. */
#include <stdio.h>
#include <uv.h>

#include "platform.h"

int platform_confine(const struct platform_confinement *confinement, unsigned *done, char *error, size_t error_size) {
  (void)confinement;
  *done = 0;
  snprintf(error, error_size, "not available on this system");
  return UV_ENOSYS;
}
