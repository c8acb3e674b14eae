/* platform_linux_private.h: what the files of Linux share. */
#ifndef NET_PLATFORM_LINUX_PRIVATE_H
#define NET_PLATFORM_LINUX_PRIVATE_H

#include <stdbool.h>

/* The sanitizers' checks at exit fork, trace and read the process itself. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PLATFORM_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define PLATFORM_SANITIZED 1
#endif
#endif
#ifndef PLATFORM_SANITIZED
#define PLATFORM_SANITIZED 0
#endif

/* Loads the filter of system calls for every thread of the process; `plugin` is the wide one. 0 or UV_. */
int platform_linux_filter(bool plugin);

#endif
