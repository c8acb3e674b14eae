/* identity_test.c: the link's key on disk, and atomic files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "identity.h"
#include "platform.h"

struct fixture {
  char directory[64];
  char key[96], cert[96];
  char error[512];
};

static int fixture_open(void **state) {
  struct fixture *fixture = calloc(1, sizeof *fixture);
  strcpy(fixture->directory, "/tmp/mdm-identity-XXXXXX");
  if (!mkdtemp(fixture->directory)) {
    return -1;
  }
  snprintf(fixture->key, sizeof fixture->key, "%s/link.key", fixture->directory);
  snprintf(fixture->cert, sizeof fixture->cert, "%s/link.crt", fixture->directory);
  *state = fixture;
  return 0;
}

static int fixture_close(void **state) {
  struct fixture *fixture = *state;
  unlink(fixture->key);
  unlink(fixture->cert);
  const int error = rmdir(fixture->directory); /* fails if a temporary was left */
  free(fixture);
  return error;
}

static unsigned mode_of(const char *path) {
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  return info.st_mode & 07777;
}

static void test_made_at_first_start_and_the_same_afterwards(void **state) {
  struct fixture *fixture = *state;
  struct net_identity first, second;
  bool made = false;
  assert_int_equal(net_identity_load(&first, fixture->directory, &made, fixture->error, sizeof fixture->error), 0);
  assert_true(made);
  assert_int_equal(mode_of(fixture->key), 0600);
  assert_int_equal(mode_of(fixture->cert), 0644);
  assert_int_equal(net_identity_load(&second, fixture->directory, &made, fixture->error, sizeof fixture->error), 0);
  assert_false(made);
  assert_memory_equal(first.fingerprint, second.fingerprint, sizeof first.fingerprint);
  char name[64];
  X509_NAME_get_text_by_NID(X509_get_subject_name(first.certificate), NID_commonName, name, sizeof name);
  assert_string_equal(name, "mdm-tunnel link");
  assert_int_equal(EVP_PKEY_get_bits(first.key), 256);
  /* Valid long before and long after now, so that no clock breaks the link. */
  time_t past = 1600000000;
  time_t future = 2500000000;
  assert_true(X509_cmp_time(X509_get0_notBefore(first.certificate), &past) < 0);
  assert_true(X509_cmp_time(X509_get0_notAfter(first.certificate), &future) > 0);
  net_identity_clean(&first);
  net_identity_clean(&second);
}

static void test_two_identities_differ(void **state) {
  struct fixture *fixture = *state;
  struct net_identity first, second;
  assert_int_equal(net_identity_load(&first, fixture->directory, NULL, NULL, 0), 0);
  unlink(fixture->key);
  unlink(fixture->cert);
  assert_int_equal(net_identity_load(&second, fixture->directory, NULL, NULL, 0), 0);
  assert_memory_not_equal(first.fingerprint, second.fingerprint, sizeof first.fingerprint);
  assert_int_not_equal(
      ASN1_INTEGER_cmp(X509_get0_serialNumber(first.certificate), X509_get0_serialNumber(second.certificate)), 0);
  net_identity_clean(&first);
  net_identity_clean(&second);
}

static void test_a_key_that_others_may_read_is_refused(void **state) {
  struct fixture *fixture = *state;
  struct net_identity identity;
  char expected[512];
  assert_int_equal(net_identity_load(&identity, fixture->directory, NULL, NULL, 0), 0);
  net_identity_clean(&identity);
  for (unsigned mode = 0604; mode <= 0660; mode += 0660 - 0604) {
    chmod(fixture->key, mode);
    assert_int_equal(net_identity_load(&identity, fixture->directory, NULL, fixture->error, sizeof fixture->error),
                     UV_EACCES);
    snprintf(expected, sizeof expected, "%s may be read by others: run chmod 600 %s", fixture->key, fixture->key);
    assert_string_equal(fixture->error, expected);
    assert_null(identity.key);
  }
}

static void test_a_lost_certificate_is_made_again_for_the_same_key(void **state) {
  struct fixture *fixture = *state;
  struct net_identity first, second;
  bool made = true;
  assert_int_equal(net_identity_load(&first, fixture->directory, NULL, NULL, 0), 0);
  unlink(fixture->cert);
  assert_int_equal(net_identity_load(&second, fixture->directory, &made, NULL, 0), 0);
  assert_false(made);
  assert_memory_equal(first.fingerprint, second.fingerprint, sizeof first.fingerprint);
  net_identity_clean(&first);
  net_identity_clean(&second);
}

static void test_a_lost_key_is_told_and_nothing_is_made(void **state) {
  struct fixture *fixture = *state;
  struct net_identity identity;
  assert_int_equal(net_identity_load(&identity, fixture->directory, NULL, NULL, 0), 0);
  net_identity_clean(&identity);
  unlink(fixture->key);
  assert_int_equal(net_identity_load(&identity, fixture->directory, NULL, fixture->error, sizeof fixture->error),
                   UV_ENOENT);
  assert_non_null(strstr(fixture->error, "link.key is missing: restore the key"));
  assert_int_not_equal(access(fixture->key, F_OK), 0);
}

static void test_a_key_of_another_certificate_is_refused(void **state) {
  struct fixture *fixture = *state;
  struct net_identity identity;
  char *other;
  size_t size;
  assert_int_equal(net_identity_load(&identity, fixture->directory, NULL, NULL, 0), 0);
  net_identity_clean(&identity);
  assert_int_equal(net_file_read(fixture->cert, 100000, &other, &size), 0);
  unlink(fixture->key);
  unlink(fixture->cert);
  assert_int_equal(net_identity_load(&identity, fixture->directory, NULL, NULL, 0), 0);
  net_identity_clean(&identity);
  assert_int_equal(net_file_write(fixture->cert, other, size, 0644), 0);
  free(other);
  assert_int_equal(net_identity_load(&identity, fixture->directory, NULL, fixture->error, sizeof fixture->error),
                   UV_EINVAL);
  assert_non_null(strstr(fixture->error, "is not that of the certificate"));
}

static void test_files_without_pem_are_refused(void **state) {
  struct fixture *fixture = *state;
  struct net_identity identity;
  assert_int_equal(net_file_write(fixture->key, "nonsense", 8, 0600), 0);
  assert_int_equal(net_file_write(fixture->cert, "nonsense", 8, 0644), 0);
  assert_int_equal(net_identity_load(&identity, fixture->directory, NULL, fixture->error, sizeof fixture->error),
                   UV_EINVAL);
  assert_non_null(strstr(fixture->error, "holds no private key"));
}

static void test_an_unwritable_state_directory_is_told(void **state) {
  struct fixture *fixture = *state;
  struct net_identity identity;
  assert_int_not_equal(net_identity_load(&identity, "/proc/nowhere", NULL, fixture->error, sizeof fixture->error), 0);
  assert_non_null(strstr(fixture->error, "cannot write /proc/nowhere/link.key"));
}

/* ---- files ---- */
static void test_a_write_replaces_whole_and_makes_parents(void **state) {
  struct fixture *fixture = *state;
  char parent[96], path[128];
  char *data;
  size_t size;
  snprintf(parent, sizeof parent, "%s/deep", fixture->directory);
  snprintf(path, sizeof path, "%s/file", parent);
  assert_int_equal(net_file_write(path, "first", 5, 0640), 0);
  assert_int_equal(mode_of(parent), 0700);
  assert_int_equal(mode_of(path), 0640);
  assert_int_equal(net_file_write(path, "2nd", 3, 0600), 0);
  assert_int_equal(mode_of(path), 0600);
  assert_int_equal(net_file_read(path, 3, &data, &size), 0);
  assert_int_equal(size, 3);
  assert_string_equal(data, "2nd");
  free(data);
  assert_int_equal(net_file_read(path, 2, &data, &size), UV_EFBIG);
  assert_int_equal(net_file_read(parent, 100, &data, &size), UV_EISDIR);
  unlink(path);
  assert_int_equal(net_file_read(path, 100, &data, &size), UV_ENOENT);
  rmdir(parent);
}

static void test_private_means_owner_only(void **state) {
  struct fixture *fixture = *state;
  assert_false(net_file_is_private(fixture->key));
  assert_int_equal(net_file_write(fixture->key, "x", 1, 0600), 0);
  assert_true(net_file_is_private(fixture->key));
  chmod(fixture->key, 0400);
  assert_true(net_file_is_private(fixture->key));
  chmod(fixture->key, 0610);
  assert_false(net_file_is_private(fixture->key));
  chmod(fixture->key, 0602);
  assert_false(net_file_is_private(fixture->key));
}

static void test_tilde_is_the_home(void **state) {
  static const char *const unchanged[] = {"/a/b", "a~", "~x/y", "", "./~"};
  char expected[4096];
  (void)state;
  for (size_t i = 0; i < sizeof unchanged / sizeof unchanged[0]; i++) {
    char *path = net_path_expand(unchanged[i]);
    assert_string_equal(path, unchanged[i]);
    free(path);
  }
  snprintf(expected, sizeof expected, "%s/x", platform_home());
  char *path = net_path_expand("~/x");
  assert_string_equal(path, expected);
  free(path);
  path = net_path_expand("~");
  assert_string_equal(path, platform_home());
  free(path);
}

#define WITH_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, fixture_open, fixture_close)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_DIRECTORY(test_made_at_first_start_and_the_same_afterwards),
      WITH_DIRECTORY(test_two_identities_differ),
      WITH_DIRECTORY(test_a_key_that_others_may_read_is_refused),
      WITH_DIRECTORY(test_a_lost_certificate_is_made_again_for_the_same_key),
      WITH_DIRECTORY(test_a_lost_key_is_told_and_nothing_is_made),
      WITH_DIRECTORY(test_a_key_of_another_certificate_is_refused),
      WITH_DIRECTORY(test_files_without_pem_are_refused),
      WITH_DIRECTORY(test_an_unwritable_state_directory_is_told),
      WITH_DIRECTORY(test_a_write_replaces_whole_and_makes_parents),
      WITH_DIRECTORY(test_private_means_owner_only),
      WITH_DIRECTORY(test_tilde_is_the_home),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
