/* users_test.c: the user file: round trips, mistakes, verification; its commands as a user runs them; who may have written a plugin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>
#include <uv.h>

#include "auth_plugin.h"
#include "hello.h"
#include "identity.h"
#include "users.h"
#include "users_command.h"

struct place {
  char dir[64], file[128], state[128], out[128], err[128];
};

static int setup(void **state) {
  struct place *p = calloc(1, sizeof *p);
  snprintf(p->dir, sizeof p->dir, "/tmp/mdm-users-XXXXXX");
  assert_non_null(mkdtemp(p->dir));
  snprintf(p->file, sizeof p->file, "%s/users.json", p->dir);
  snprintf(p->state, sizeof p->state, "%s/state", p->dir);
  snprintf(p->out, sizeof p->out, "%s/out", p->dir);
  snprintf(p->err, sizeof p->err, "%s/err", p->dir);
  *state = p;
  return 0;
}

static int teardown(void **state) {
  struct place *p = *state;
  const char *names[] = {"users.json", "out", "err", "state/link.key", "state/link.crt", "state/users.json", "state", "plugin.so", "link.so", "."};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", p->dir, names[i]);
    if (remove(path) != 0 && strcmp(names[i], ".") == 0) {
      assert_int_equal(rmdir(p->dir), 0);
    }
  }
  free(p);
  return 0;
}

static void put(const char *path, const char *text, unsigned mode) {
  assert_int_equal(net_file_write(path, text, strlen(text), mode), 0);
}

static char *get(const char *path) {
  char *text = NULL;
  size_t size;
  assert_int_equal(net_file_read(path, 1u << 20, &text, &size), 0);
  return text;
}

static void token_of(char token[static NET_TEXT_MAX + 1]) {
  uint8_t fingerprint[32];
  randombytes_buf(fingerprint, sizeof fingerprint);
  assert_int_equal(net_token_make(token, fingerprint), 0);
}

static void a_file_goes_round(void **state) {
  struct place *p = *state;
  struct users *users, *again;
  struct users_entry *entry;
  char tim[NET_TEXT_MAX + 1], sue[NET_TEXT_MAX + 1], error[512];
  struct stat info;
  token_of(tim);
  token_of(sue);
  assert_int_equal(users_new(&users), 0);
  assert_int_equal(users_add(users, "Tim", tim, "2026-11-21T06:00:00Z", &entry), 0);
  assert_int_equal(users_grant(entry, "App.Example.org"), 0);
  assert_int_equal(users_add(users, "sue", sue, "2026-11-21T06:00:00Z", &entry), 0);
  entry->reserved = true;
  assert_int_equal(users_add(users, "tim", sue, "", &entry), UV_EEXIST);
  assert_int_equal(users_save(users, p->file, error, sizeof error), 0);
  assert_int_equal(stat(p->file, &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);
  char *text = get(p->file);
  char secret[64];
  snprintf(secret, sizeof secret, "%.43s", tim + 5);
  assert_null(strstr(text, secret)); /* no token in the file */
  free(text);
  if (users_load(&again, p->file, error, sizeof error) != 0) {
    fail_msg("%s", error);
  }
  assert_int_equal(again->count, 2);
  assert_string_equal(again->list[0].name, "sue");
  assert_true(again->list[0].reserved);
  assert_string_equal(users_verify(again, tim, strlen(tim))->name, "tim");
  assert_string_equal(users_verify(again, sue, strlen(sue))->name, "sue");
  assert_true(users_granted(again, "tim", "app.example.org"));
  assert_false(users_granted(again, "sue", "app.example.org"));
  assert_true(users_domain_known(again, "app.example.org"));
  users_free(users);
  users_free(again);
}

static void only_the_right_token_verifies(void **state) {
  struct users *users;
  struct users_entry *entry;
  char token[NET_TEXT_MAX + 1], other[NET_TEXT_MAX + 1];
  (void)state;
  token_of(token);
  token_of(other);
  assert_int_equal(users_new(&users), 0);
  assert_int_equal(users_add(users, "tim", token, "", &entry), 0);
  assert_null(users_verify(users, other, strlen(other)));
  assert_null(users_verify(users, "", 0));
  assert_null(users_verify(users, "abc", 3));
  assert_null(users_verify(users, token, strlen(token) - 1));
  for (size_t i = 0; i < 48; i++) {
    char changed[NET_TEXT_MAX + 1];
    memcpy(changed, token, sizeof changed);
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    assert_null(users_verify(users, changed, strlen(changed)));
  }
  assert_int_equal(users_rotate(users, entry, other, "now"), 0);
  assert_null(users_verify(users, token, strlen(token)));
  assert_non_null(users_verify(users, other, strlen(other)));
  users_remove(users, entry);
  assert_null(users_verify(users, other, strlen(other)));
  users_free(users);
}

#define KEY "\"key\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""
#define TOKEN "\"token\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""

static void mistakes_name_file_line_and_key(void **state) {
  static const struct {
    const char *text, *words;
  } table[] = {
      {"{\n\"version\": 1," KEY ",\n\"users\": {\"tim\": {" TOKEN ",\n\"domain\": []}}}", ":4:"},
      {"{\"version\": 1," KEY ",\"users\": {\"tim\": {" TOKEN ",\"domains\": [\"x\"]}}}", "host name"},
      {"{\"version\": 1," KEY ",\"users\": {\"tim\": {" TOKEN ",\"domains\": [1]}}}", "host names"},
      {"{\"version\": 1," KEY ",\"users\": {\"tim\": {}}}", "token"},
      {"{\"version\": 1," KEY ",\"users\": {\"tim\": {\"token\":\"short\"}}}", "32 bytes"},
      {"{\"version\": 1," KEY ",\"users\": {\"Tim\": {" TOKEN "}}}", "no user name"},
      {"{\"version\": 1," KEY ",\"users\": {\"a.b\": {" TOKEN "}}}", "no user name"},
      {"{\"version\": 1," KEY ",\"users\": {\"tim\": 1}}", "object"},
      {"{\"version\": 2," KEY ",\"users\": {}}", "version"},
      {"{" KEY "}", "version"},
      {"{\"version\": 1}", "key"},
      {"{\"version\": 1," KEY ",\"extra\": 1}", "extra"},
      {"[]", ""},
      {"{", ""},
  };
  struct place *p = *state;
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    struct users *users;
    char error[512] = "";
    put(p->file, table[i].text, 0600);
    int rc = users_load(&users, p->file, error, sizeof error);
    if (rc != UV_EINVAL || users != NULL || strstr(error, table[i].words) == NULL || strstr(error, "users.json") == NULL) {
      fail_msg("%s: %d %s", table[i].text, rc, error);
    }
  }
}

static void missing_empty_and_open_files_are_told_apart(void **state) {
  struct place *p = *state;
  struct users *users;
  char error[512];
  assert_int_equal(users_load(&users, p->file, error, sizeof error), UV_ENOENT);
  put(p->file, "", 0600);
  assert_int_equal(users_load(&users, p->file, error, sizeof error), UV_ENOENT);
  put(p->file, "{\"version\": 1," KEY "}", 0644);
  assert_int_equal(users_load(&users, p->file, error, sizeof error), UV_EACCES);
  assert_non_null(strstr(error, "chmod 600"));
  put(p->file, "{\"version\": 1," KEY "}", 0600);
  assert_int_equal(users_load(&users, p->file, error, sizeof error), 0);
  users_free(users);
}

/* Runs a command in a process of its own, with its words in files. */
static int run(struct place *p, const char *a, const char *b, const char *c, const char *d) {
  fflush(NULL);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    char users[] = "--users", state[] = "--state-dir";
    char *argv[9];
    int argc = 0;
    const char *words[] = {a, b, c, d};
    for (size_t i = 0; i < 4 && words[i] != NULL; i++) {
      argv[argc++] = strdup(words[i]);
    }
    argv[argc++] = users;
    argv[argc++] = p->file;
    argv[argc++] = state;
    argv[argc++] = p->state;
    if (freopen(p->out, "w", stdout) == NULL || freopen(p->err, "w", stderr) == NULL) {
      _exit(99);
    }
    int status = users_command_main(argc, argv);
    fflush(NULL);
    _exit(status);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static void expect(const char *path, const char *words) {
  char *text = get(path);
  if (strstr(text, words) == NULL) {
    fail_msg("\"%s\" is not in: %s", words, text);
  }
  free(text);
}

static void commands_add_list_rotate_remove(void **state) {
  struct place *p = *state;
  struct users *users;
  char error[512];
  assert_int_equal(run(p, "list", NULL, NULL, NULL), 1);
  assert_int_equal(run(p, "add", "tim", "--domain", "app.example.org"), 0);
  char *first = get(p->out);
  first[strcspn(first, "\n")] = '\0';
  assert_int_equal(strncmp(first, "mdm1.", 5), 0);
  expect(p->err, "MDM_TUNNEL_TOKEN");
  assert_int_equal(users_load(&users, p->file, error, sizeof error), 0);
  assert_string_equal(users_verify(users, first, strlen(first))->name, "tim");
  users_free(users);
  assert_int_equal(run(p, "list", NULL, NULL, NULL), 0);
  expect(p->out, "tim");
  expect(p->out, "app.example.org");
  assert_int_equal(run(p, "rotate", "tim", NULL, NULL), 0);
  char *second = get(p->out);
  second[strcspn(second, "\n")] = '\0';
  assert_int_equal(users_load(&users, p->file, error, sizeof error), 0);
  assert_null(users_verify(users, first, strlen(first)));
  assert_non_null(users_verify(users, second, strlen(second)));
  assert_true(users_granted(users, "tim", "app.example.org"));
  users_free(users);
  assert_int_equal(run(p, "remove", "tim", NULL, NULL), 0);
  assert_int_equal(run(p, "remove", "tim", NULL, NULL), 1);
  expect(p->err, "no user");
  free(first);
  free(second);
}

static void commands_refuse_in_words(void **state) {
  struct place *p = *state;
  static const char *const bad[] = {"", "-a", "a.b", "a--b", "a b", "\xc3\x84"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_int_not_equal(run(p, "add", bad[i], NULL, NULL), 0);
    char *text = get(p->err);
    assert_true(text[0] != '\0');
    free(text);
  }
  assert_int_equal(run(p, "add", "admin", NULL, NULL), 1);
  expect(p->err, "--reserved");
  assert_int_equal(run(p, "add", "admin", "--reserved", NULL), 0);
  assert_int_equal(run(p, "add", "admin", "--reserved", NULL), 1);
  expect(p->err, "rotate");
  assert_int_equal(run(p, "add", "tim", "--domain", "localhost"), 1);
  assert_int_equal(run(p, "frobnicate", NULL, NULL, NULL), 2);
  assert_int_equal(run(p, "add", NULL, NULL, NULL), 2);
  assert_int_equal(run(p, "list", "tim", NULL, NULL), 2);
  assert_int_equal(run(p, "add", "a", "b", NULL), 2);
  assert_int_equal(run(p, "add", "a", "--frob", NULL), 2);
  assert_int_equal(run(p, "--help", NULL, NULL, NULL), 0);
}

static void commands_at_once_lose_nothing(void **state) {
  struct place *p = *state;
  struct users *users;
  char error[512];
  pid_t pids[8];
  assert_int_equal(run(p, "add", "first", NULL, NULL), 0);
  for (int i = 0; i < 8; i++) {
    fflush(NULL);
    pids[i] = fork();
    if (pids[i] == 0) {
      char name[16];
      snprintf(name, sizeof name, "u%d", i);
      char add[] = "add", flag[] = "--users", dir[] = "--state-dir";
      char *argv[] = {add, name, flag, p->file, dir, p->state};
      if (freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL) {
        _exit(99);
      }
      _exit(users_command_main(6, argv));
    }
  }
  for (int i = 0; i < 8; i++) {
    int status;
    assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
    assert_int_equal(status, 0);
  }
  assert_int_equal(users_load(&users, p->file, error, sizeof error), 0);
  assert_int_equal(users->count, 9);
  users_free(users);
}

static void a_plugin_that_others_can_write_is_refused(void **state) {
  struct place *p = *state;
  char path[128], error[512];
  snprintf(path, sizeof path, "%s/plugin.so", p->dir);
  assert_int_equal(auth_plugin_check("plugin.so", error, sizeof error), -1);
  assert_non_null(strstr(error, "absolute"));
  assert_int_equal(auth_plugin_check(path, error, sizeof error), -1);
  put(path, "x", 0644);
  assert_int_equal(auth_plugin_check(path, error, sizeof error), -1); /* /tmp is everybody's */
  assert_non_null(strstr(error, "/tmp"));
  put(path, "x", 0666);
  assert_int_equal(auth_plugin_check(path, error, sizeof error), -1);
  assert_non_null(strstr(error, "plugin.so"));
  char link[160];
  snprintf(link, sizeof link, "%s/link.so", p->dir);
  assert_int_equal(symlink(path, link), 0);
  assert_int_equal(auth_plugin_check(link, error, sizeof error), -1);
  assert_non_null(strstr(error, "plain path"));
  assert_int_equal(auth_plugin_check(p->dir, error, sizeof error), -1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_file_goes_round, setup, teardown),
      cmocka_unit_test_setup_teardown(only_the_right_token_verifies, setup, teardown),
      cmocka_unit_test_setup_teardown(mistakes_name_file_line_and_key, setup, teardown),
      cmocka_unit_test_setup_teardown(missing_empty_and_open_files_are_told_apart, setup, teardown),
      cmocka_unit_test_setup_teardown(commands_add_list_rotate_remove, setup, teardown),
      cmocka_unit_test_setup_teardown(commands_refuse_in_words, setup, teardown),
      cmocka_unit_test_setup_teardown(commands_at_once_lose_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(a_plugin_that_others_can_write_is_refused, setup, teardown),
  };
  return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("users", tests, NULL, NULL);
}
