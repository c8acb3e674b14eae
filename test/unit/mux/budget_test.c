/* budget_test.c: the budget is all that sessions of different threads share: under pressure from all of them it neither loses nor invents a byte,
 * and each thread relieves it by its own streams. */
#include "buffer.h"
#include "pair.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define THREADS 4
#define ROUNDS  60
#define STREAMS 12       /* of a round, 100 KB each that nobody takes: five times the budget, over all threads */
#define CAP     (1 << 20)

struct worker {
  pthread_t thread;
  mdm_mux_budget *budget;
  atomic_size_t *most; /* held at once, over all threads */
  unsigned stalled, refused;
};

static void look(struct worker *worker) {
  size_t held = mdm_mux_budget_held(worker->budget), most = atomic_load(worker->most);
  while (held > most && !atomic_compare_exchange_weak(worker->most, &most, held)) {
  }
}

static void *work(void *arg) {
  struct worker *worker = arg;
  struct test_pair *pair = calloc(1, sizeof *pair);
  pair->budget = worker->budget;
  if (pair_open(pair, NULL, 0) != 0)
    abort();
  for (int round = 0; round < ROUNDS; round++) {
    pair->client.count = pair->server.count = 0;
    pair->client.room = 0;
    for (int i = 0; i < STREAMS; i++) {
      struct test_end *end = side_open(&pair->server, NULL);
      if (!end) {
        worker->refused++;
        continue;
      }
      end->to_send = 100000;
      end->finish = true;
      mdm_stream_ready(end->stream);
      if (i % 4 == 0)
        pair_run(pair);
      look(worker);
    }
    pair_run(pair);
    look(worker);
    for (size_t i = 0; i < pair->client.count; i++) {
      struct test_end *end = &pair->client.ends[i];
      worker->stalled += end->resets > 0 && end->code == MDM_RESET_STALLED;
      end->room = UINT64_MAX;
      end->finish = true;
      if (end->stream)
        mdm_stream_drain(end->stream);
      if (end->stream)
        mdm_stream_ready(end->stream);
    }
    pair_run(pair);
    for (size_t i = 0; i < pair->server.count; i++)
      if (pair->server.ends[i].stream)
        mdm_stream_reset(pair->server.ends[i].stream, MDM_RESET_CANCEL, false);
    pair_run(pair);
    pair->clock += 1000000;
    mdm_mux_tick(pair->client.mux);
    mdm_mux_tick(pair->server.mux);
  }
  pair->budget = NULL; /* of them all */
  pair_end(pair);
  return NULL;
}

static void threads_share_one_budget(void **state) {
  struct worker workers[THREADS];
  atomic_size_t most = 0;
  unsigned stalled = 0, refused = 0;
  mdm_mux_budget *budget = mdm_mux_budget_new(CAP, NULL);
  (void)state;
  assert_non_null(budget);
  for (int i = 0; i < THREADS; i++) {
    workers[i] = (struct worker){.budget = budget, .most = &most};
    assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    stalled += workers[i].stalled;
    refused += workers[i].refused;
  }
  print_message("held %zu of %u at most; %u streams stalled, %u not opened\n", atomic_load(&most), CAP, stalled, refused);
  assert_int_equal(mdm_mux_budget_held(budget), 0);
  assert_true(stalled + refused > 0);
  assert_true(atomic_load(&most) > CAP / 2);
  assert_true(atomic_load(&most) <= CAP + THREADS * 65536u); /* each may be a frame and its block over it before it acts */
  mdm_mux_budget_free(budget);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(threads_share_one_budget),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
