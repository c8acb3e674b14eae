/* confine_test.c: what a confined process may do, tried in children: each confines itself, tries one thing and tells by its exit status how it went. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "platform.h"
#include "platform_linux_private.h"

#define NOT_CONFINED 200

static char inside[] = "/tmp/mdm-confine-in.XXXXXX", outside[] = "/tmp/mdm-confine-out.XXXXXX";
static char inside_file[64], outside_file[64];

static int result(long value) {
  return value < 0 ? errno : 0;
}

/* ---- what is tried ---- */
static int try_read_inside(void) {
  return result(open(inside_file, O_RDONLY));
}
static int try_replace_inside(void) {
  char fresh[80];
  snprintf(fresh, sizeof fresh, "%s.new", inside_file);
  int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  return fd < 0 || rename(fresh, inside_file) != 0 ? errno : try_read_inside();
}
static int try_read_outside(void) {
  return result(open(outside_file, O_RDONLY));
}
static int try_make_outside(void) {
  char fresh[80];
  snprintf(fresh, sizeof fresh, "%s.new", outside_file);
  return result(open(fresh, O_WRONLY | O_CREAT, 0600));
}
static void thread_main(void *argument) {
  *(int *)argument = 1;
}
static int try_thread(void) {
  uv_thread_t thread;
  int ran = 0;
  return uv_thread_create(&thread, thread_main, &ran) != 0 || uv_thread_join(&thread) != 0 || ran != 1;
}
static int try_inet(void) {
  return result(socket(AF_INET, SOCK_STREAM, 0));
}
static int try_packet(void) {
  return result(socket(AF_PACKET, SOCK_RAW, 0));
}
static int try_process(void) {
  return result(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}
static int try_code_in_data(void) {
  return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}
static int try_become_root(void) {
  return result(setuid(0));
}
static int try_kill_others(void) {
  return result(kill(getppid(), 0));
}
static int try_program(void) {
  char *argv[] = {(char *)(uintptr_t)"true", NULL};
  return result(execv("/bin/true", argv));
}
static int try_namespace(void) {
  return result(unshare(CLONE_NEWUSER));
}
static int try_abort(void) {
  signal(SIGABRT, SIG_DFL);
  abort();
}

/* ---- trying ---- */
static int confined(int (*attempt)(void), bool plugin) {
  const struct platform_place places[] = {{inside_file, PLATFORM_READ | PLATFORM_WRITE | PLATFORM_PARENT}, {NULL, PLATFORM_READ}, {"/nowhere/at/all", PLATFORM_READ}};
  const struct platform_confinement confinement = {.places = places, .places_count = 3, .plugin = plugin};
  int status;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    unsigned done;
    char error[256];
    _exit(platform_confine(&confinement, &done, error, sizeof error) == 0 && (done & PLATFORM_CONFINED_CALLS) ? attempt() : NOT_CONFINED);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  return status;
}

static void assert_answer(int status, int wanted) {
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), wanted);
}

static void assert_killed(int status, int number) {
  assert_true(WIFSIGNALED(status));
  assert_int_equal(WTERMSIG(status), number);
}

static bool has_landlock(void) {
  return syscall(444, NULL, 0, 1u) > 0; /* landlock_create_ruleset: its version */
}

static void what_is_needed_works(void **state) {
  (void)state;
  assert_answer(confined(try_read_inside, false), 0);
  assert_answer(confined(try_replace_inside, false), 0);
  assert_answer(confined(try_thread, false), 0);
  assert_answer(confined(try_inet, false), 0);
}

static void files_outside_are_refused(void **state) {
  (void)state;
  if (!has_landlock())
    skip();
  assert_answer(confined(try_read_outside, false), EACCES);
  assert_answer(confined(try_make_outside, false), EACCES);
  assert_answer(confined(try_read_outside, true), EACCES);
}

static void what_is_not_needed_is_refused(void **state) {
  (void)state;
  assert_answer(confined(try_packet, false), EPERM);
  assert_answer(confined(try_become_root, false), EPERM);
  if (PLATFORM_SANITIZED)
    skip(); /* what follows the sanitizers do themselves */
  assert_answer(confined(try_process, false), EPERM);
  assert_answer(confined(try_code_in_data, false), EPERM);
  assert_answer(confined(try_kill_others, false), EPERM);
}

static void what_is_hostile_ends_the_process(void **state) {
  (void)state;
  for (int plugin = 0; plugin < 2; plugin++) {
    assert_killed(confined(try_program, plugin), SIGSYS);
    assert_killed(confined(try_namespace, plugin), SIGSYS);
  }
}

static void own_faults_still_end_it_by_their_signal(void **state) {
  (void)state;
  assert_killed(confined(try_abort, false), SIGABRT);
}

static void a_plugin_may_make_memory_and_processes(void **state) {
  (void)state;
  assert_answer(confined(try_code_in_data, true), 0);
  assert_answer(confined(try_kill_others, true), 0);
}

static int make_file(char *out, size_t size, char *directory) {
  if (mkdtemp(directory) == NULL)
    return -1;
  snprintf(out, size, "%s/file", directory);
  int fd = open(out, O_WRONLY | O_CREAT, 0600);
  return fd < 0 ? -1 : close(fd);
}

static int make_files(void **state) {
  (void)state;
  return make_file(inside_file, sizeof inside_file, inside) != 0 || make_file(outside_file, sizeof outside_file, outside) != 0;
}

static int remove_files(void **state) {
  (void)state;
  return unlink(inside_file) != 0 || unlink(outside_file) != 0 || rmdir(inside) != 0 || rmdir(outside) != 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_needed_works),
      cmocka_unit_test(files_outside_are_refused),
      cmocka_unit_test(what_is_not_needed_is_refused),
      cmocka_unit_test(what_is_hostile_ends_the_process),
      cmocka_unit_test(own_faults_still_end_it_by_their_signal),
      cmocka_unit_test(a_plugin_may_make_memory_and_processes),
  };
  return cmocka_run_group_tests(tests, make_files, remove_files);
}
