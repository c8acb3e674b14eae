/* map_test.c: the id map against a plain array. */
#include "pair.h"
#include "map.h"

#define IDS 4096

static void it_agrees_with_an_array(void **state) {
  (void)state;
  static mdm_stream *want[IDS];
  struct test_random random = {test_seed()};
  struct test_memory memory = {0};
  struct mdm_allocator allocator = test_allocator(&memory);
  struct map map;
  static char things[IDS];
  uint32_t used = 0;
  map_init(&map, test_next(&random));
  for (int round = 0; round < 200000; round++) {
    uint32_t id = 1 + test_below(&random, IDS - 1);
    if (want[id]) {
      assert_ptr_equal(map_get(&map, id), want[id]);
      map_remove(&map, id);
      want[id] = NULL;
      used--;
    } else {
      assert_null(map_get(&map, id));
      map_remove(&map, id); /* of nothing: nothing */
      want[id] = (mdm_stream *)(void *)&things[id];
      assert_int_equal(map_put(&map, &allocator, id, want[id]), 0);
      used++;
    }
    assert_int_equal(map.used, used);
  }
  for (uint32_t id = 1; id < IDS; id++) {
    assert_ptr_equal(map_get(&map, id), want[id]);
    map_remove(&map, id);
  }
  assert_int_equal(map.used, 0);
  map_rest(&map, &allocator);
  assert_int_equal(memory.live, 0);
  map_clean(&map, &allocator);
}

static void it_says_when_memory_is_out(void **state) {
  (void)state;
  struct test_memory memory = {.fail_at = 2};
  struct mdm_allocator allocator = test_allocator(&memory);
  struct map map;
  char thing;
  uint32_t id = 0;
  map_init(&map, 1);
  while (map_put(&map, &allocator, ++id, (mdm_stream *)(void *)&thing) == 0)
    continue;
  assert_int_equal(map.used, id - 1);
  for (uint32_t i = 1; i < id; i++)
    assert_non_null(map_get(&map, i)); /* nothing was lost */
  assert_null(map_get(&map, id));
  map_clean(&map, &allocator);
  assert_int_equal(memory.live, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_agrees_with_an_array),
      cmocka_unit_test(it_says_when_memory_is_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
