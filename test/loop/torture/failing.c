/* failing.c: see failing.h. */
#include "failing.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#define SLOTS (1u << 17) /* far more than anything here keeps at a time */

static _Thread_local struct {
  bool armed, failed;
  size_t nth, calls;
} own;

static struct {
  pthread_mutex_t lock;
  struct slot {
    uintptr_t block; /* 0 = free, 1 = freed: look on */
    size_t number, size;
  } slots[SLOTS];
  size_t live;
} table = {.lock = PTHREAD_MUTEX_INITIALIZER};

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __wrap_free(void *block);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static struct slot *slot_of(uintptr_t block, bool for_new) {
  for (size_t i = (block >> 4) * 2654435761u % SLOTS;; i = (i + 1) % SLOTS) {
    struct slot *slot = &table.slots[i];
    if (slot->block == block || slot->block == 0 || (for_new && slot->block == 1)) {
      return slot;
    }
  }
}

static void *remember(void *block, size_t size) {
  if (own.armed && block != NULL) {
    pthread_mutex_lock(&table.lock);
    *slot_of((uintptr_t)block, true) = (struct slot){(uintptr_t)block, own.calls, size};
    table.live++;
    if (table.live > SLOTS / 2) {
      abort();
    }
    pthread_mutex_unlock(&table.lock);
  }
  return block;
}

static struct slot forget(void *block) {
  struct slot was = {0};
  if (block == NULL) {
    return was;
  }
  pthread_mutex_lock(&table.lock);
  struct slot *slot = slot_of((uintptr_t)block, false);
  if (slot->block == (uintptr_t)block) {
    was = *slot;
    slot->block = 1;
    table.live--;
  }
  pthread_mutex_unlock(&table.lock);
  return was;
}

static bool refuse(void) {
  if (!own.armed || ++own.calls != own.nth) {
    return false;
  }
  own.failed = true; /* a debugger's breakpoint goes here */
  return true;
}

void *__wrap_malloc(size_t size) {
  return refuse() ? NULL : remember(__real_malloc(size), size);
}

void *__wrap_calloc(size_t count, size_t size) {
  return refuse() ? NULL : remember(__real_calloc(count, size), count * size);
}

void *__wrap_realloc(void *block, size_t size) {
  if (refuse()) {
    return NULL;
  }
  const struct slot was = forget(block);
  void *moved = __real_realloc(block, size);
  if (own.armed) {
    return remember(moved, size);
  }
  if (was.block != 0) { /* still counts */
    pthread_mutex_lock(&table.lock);
    *slot_of((uintptr_t)moved, true) = (struct slot){(uintptr_t)moved, was.number, size};
    table.live++;
    pthread_mutex_unlock(&table.lock);
  }
  return moved;
}

void __wrap_free(void *block) {
  (void)forget(block);
  __real_free(block);
}

char *__wrap_strndup(const char *text, size_t size) {
  const size_t length = strnlen(text, size);
  char *copy = __wrap_malloc(length + 1);
  if (copy != NULL) {
    memcpy(copy, text, length);
    copy[length] = '\0';
  }
  return copy;
}

char *__wrap_strdup(const char *text) {
  return __wrap_strndup(text, SIZE_MAX);
}

int __wrap_asprintf(char **out, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int size = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  *out = __wrap_malloc((size_t)size + 1);
  if (*out == NULL) {
    return -1;
  }
  va_start(arguments, format);
  vsnprintf(*out, (size_t)size + 1, format, arguments);
  va_end(arguments);
  return size;
}

/* ---- for the tests ---- */
void failing_init(void) {
  cJSON_Hooks hooks = {.malloc_fn = __wrap_malloc, .free_fn = __wrap_free};
  cJSON_InitHooks(&hooks);
}

void failing_begin(size_t nth) {
  own.armed = true;
  own.failed = false;
  own.nth = nth;
  own.calls = 0;
}

bool failing_end(void) {
  own.armed = false;
  return own.failed;
}

size_t failing_calls(void) {
  return own.calls;
}

size_t failing_live(void) {
  pthread_mutex_lock(&table.lock);
  const size_t live = table.live;
  pthread_mutex_unlock(&table.lock);
  return live;
}

void failing_forget(void) {
  pthread_mutex_lock(&table.lock);
  memset(table.slots, 0, sizeof table.slots);
  table.live = 0;
  pthread_mutex_unlock(&table.lock);
}

void failing_tell(void) {
  unsigned told = 0;
  pthread_mutex_lock(&table.lock);
  for (size_t i = 0; i < SLOTS && told < 10; i++) {
    if (table.slots[i].block > 1) {
      fprintf(stderr, "  left: allocation %zu of %zu bytes\n", table.slots[i].number, table.slots[i].size);
      told++;
    }
  }
  pthread_mutex_unlock(&table.lock);
}
