/* known_servers_test.c: the file of server keys seen before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "identity.h"
#include "known_servers.h"

struct place {
  char directory[64], path[96];
  uint8_t key[32], other[32];
};

static int place_make(void **state) {
  static struct place place;
  (void)snprintf(place.directory, sizeof place.directory, "/tmp/mdm-known-XXXXXX");
  if (mkdtemp(place.directory) == NULL) {
    return -1;
  }
  (void)snprintf(place.path, sizeof place.path, "%s/known_servers", place.directory);
  memset(place.key, 1, sizeof place.key);
  memset(place.other, 2, sizeof place.other);
  *state = &place;
  return 0;
}

static int place_remove(void **state) {
  struct place *place = *state;
  (void)unlink(place->path);
  return rmdir(place->directory);
}

static enum net_known look_up(const struct place *place, const char *host, uint16_t port, const uint8_t *key,
                              unsigned *line) {
  char error[256] = "";
  enum net_known known = net_known_lookup(place->path, host, port, key, line, error, sizeof error);
  assert_int_equal(known == NET_KNOWN_ERROR, error[0] != '\0');
  return known;
}

static void a_server_is_new_then_known_then_changed(void **state) {
  struct place *place = *state;
  unsigned line;
  assert_int_equal(look_up(place, "example.com", 8001, place->key, &line), NET_KNOWN_NEW);
  assert_int_equal(net_known_add(place->path, "Example.com.", 8001, place->key), 0);
  assert_int_equal(net_known_add(place->path, "::1", 8001, place->other), 0);
  assert_int_equal(look_up(place, "EXAMPLE.com", 8001, place->key, &line), NET_KNOWN_MATCH);
  assert_int_equal(line, 1);
  assert_int_equal(look_up(place, "example.com", 8001, place->other, &line), NET_KNOWN_CHANGED);
  assert_int_equal(look_up(place, "example.com", 8002, place->key, &line), NET_KNOWN_NEW);
  assert_int_equal(look_up(place, "0:0::1", 8001, place->other, &line), NET_KNOWN_MATCH);
  assert_int_equal(line, 2);
  struct stat status;
  assert_int_equal(stat(place->path, &status), 0);
  assert_int_equal(status.st_mode & 0777, 0600);
}

static void hand_edited_files(void **state) {
  struct place *place = *state;
  char print[NET_FINGERPRINT_TEXT], other[NET_FINGERPRINT_TEXT], text[512];
  (void)net_fingerprint_text(print, place->key);
  (void)net_fingerprint_text(other, place->other);
  struct {
    const char *format;
    enum net_known known;
    unsigned line;
  } table[] = {
      {"# a comment\n\n  h:1 %s  \r\n", NET_KNOWN_MATCH, 3},
      {"h:1\t%s", NET_KNOWN_MATCH, 1},
      {"h:1 nonsense\n#%s", NET_KNOWN_ERROR, 1},
      {"h:1\n#%s", NET_KNOWN_ERROR, 1},
      {"\nx:1 %s extra\n", NET_KNOWN_ERROR, 2},
      {"h:2 %s\n", NET_KNOWN_NEW, 0},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    int before = 0;
    const char *mark = strstr(table[i].format, "%s");
    before = (int)(mark - table[i].format);
    (void)snprintf(text, sizeof text, "%.*s%s%s", before, table[i].format, print, mark + 2);
    assert_int_equal(net_file_write(place->path, text, strlen(text), 0600), 0);
    unsigned line = 0;
    assert_int_equal(look_up(place, "h", 1, place->key, &line), table[i].known);
    assert_int_equal(line, table[i].line);
  }
  (void)snprintf(text, sizeof text, "h:1 %s\nh:1 %s", other, print); /* an old key and a new one; no last newline */
  assert_int_equal(net_file_write(place->path, text, strlen(text), 0600), 0);
  unsigned line;
  assert_int_equal(look_up(place, "h", 1, place->key, &line), NET_KNOWN_MATCH);
  assert_int_equal(net_known_add(place->path, "k", 2, place->key), 0);
  assert_int_equal(look_up(place, "k", 2, place->key, &line), NET_KNOWN_MATCH);
  assert_int_equal(line, 3);
}

static void a_name_that_is_none_is_an_error(void **state) {
  struct place *place = *state;
  unsigned line;
  assert_int_equal(look_up(place, "a b", 1, place->key, &line), NET_KNOWN_ERROR);
  assert_int_equal(net_known_add(place->path, "h\n127.0.0.1", 1, place->key), UV_EINVAL);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_server_is_new_then_known_then_changed, place_make, place_remove),
      cmocka_unit_test_setup_teardown(hand_edited_files, place_make, place_remove),
      cmocka_unit_test_setup_teardown(a_name_that_is_none_is_an_error, place_make, place_remove),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
