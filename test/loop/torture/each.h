/* each.h: runs a piece of work with each of its allocations failing in turn. */
#ifndef TEST_TORTURE_EACH_H
#define TEST_TORTURE_EACH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "failing.h"

#define EACH_MAX 20000u /* a piece of work that asks for more never ends */

/* `work` returns 0 or an error; `arg` is its own. It frees what it made. Without a failure it must succeed; with one it may do either, and
 * nothing may be left. At least `least` allocations must have been reached, or the test tests nothing. */
static inline void each_allocation(int (*work)(void *arg), void *arg, size_t least) {
  size_t nth = 0, refused = 0;
  int rc;
  do {
    failing_forget();
    failing_begin(nth);
    rc = work(arg);
    const bool failed = failing_end();
    if (failing_live() != 0) {
      failing_tell();
      fail_msg("allocation %zu failed: %zu blocks are left", nth, failing_live());
    }
    if (!failed) {
      if (rc != 0) {
        fail_msg("refused with %d although no allocation failed", rc);
      }
      if (nth > 0) {
        break;
      }
    }
    refused += rc != 0;
    nth++;
  } while (nth < EACH_MAX);
  assert_true(nth < EACH_MAX);
  print_message("%zu allocations failed in turn, %zu times the work was refused\n", nth - 1, refused);
  assert_true(nth - 1 >= least);
}

#endif
