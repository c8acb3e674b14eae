/* platform_linux_filter.c: which system calls a confined program may make. docs/confinement.md gives the reasons. */
#include "platform_linux_private.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESS_SPACE_WX ((scmp_datum_t)(PROT_WRITE | PROT_EXEC))

/* What the loop, the libraries and this program need. By name: not every machine has every call. */
static const char *const allowed[] = {
    /* descriptors and files; which files is Landlock's part */
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "sendfile", "sendfile64", "lseek", "_llseek",
    "open", "openat", "creat", "close", "close_range", "dup", "dup2", "dup3", "pipe", "pipe2", "fcntl", "fcntl64", "flock", "fsync", "fdatasync",
    "ftruncate", "ftruncate64", "fallocate", "stat", "stat64", "lstat", "lstat64", "fstat", "fstat64", "fstatat64", "newfstatat", "statx", "statfs",
    "statfs64", "fstatfs", "fstatfs64", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getdents", "getdents64", "getcwd", "mkdir",
    "mkdirat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "chmod", "fchmod", "fchmodat", "umask", "inotify_init", "inotify_init1",
    "inotify_add_watch", "inotify_rm_watch", "fadvise64", "fadvise64_64", "arm_fadvise64_64",
    /* waiting */
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "ppoll_time64", "select", "_newselect",
    "pselect6", "pselect6_time64", "eventfd", "eventfd2",
    /* sockets; socket() itself is below */
    "socketpair", "bind", "listen", "accept", "accept4", "connect", "getsockname", "getpeername", "setsockopt", "getsockopt", "send", "sendto", "sendmsg",
    "sendmmsg", "recv", "recvfrom", "recvmsg", "recvmmsg", "recvmmsg_time64", "shutdown",
    /* memory; mmap() and mprotect() are below */
    "brk", "munmap", "mremap", "madvise", "mincore", "mlock", "mlock2", "munlock", "membarrier",
    /* threads; clone() is below. The password thread lowers itself. */
    "set_robust_list", "get_robust_list", "set_tid_address", "rseq", "futex", "futex_time64", "futex_waitv", "sched_yield", "sched_getaffinity",
    "sched_getparam", "sched_getscheduler", "sched_setscheduler", "arch_prctl", "set_tls", "prctl", "exit", "exit_group",
    /* signals, to itself only (tgkill() is below) */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn", "rt_sigpending", "rt_sigtimedwait", "rt_sigtimedwait_time64", "sigaltstack",
    "restart_syscall",
    /* clocks and what can be asked */
    "clock_gettime", "clock_gettime64", "clock_getres", "clock_getres_time64", "clock_nanosleep", "clock_nanosleep_time64", "nanosleep", "gettimeofday",
    "time", "times", "getpid", "gettid", "getppid", "getuid", "getuid32", "geteuid", "geteuid32", "getgid", "getgid32", "getegid", "getegid32",
    "getresuid", "getresuid32", "getresgid", "getresgid32", "getgroups", "getgroups32", "getpgrp", "getrandom", "getrlimit", "ugetrlimit", "getrusage",
    "getcpu", "uname", "sysinfo",
};

/* What only somebody who has taken the process over would do: it ends at once. */
static const char *const hostile[] = {
    "execve", "execveat", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "mount", "umount", "umount2", "mount_setattr", "move_mount",
    "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "pivot_root", "chroot", "setns", "unshare", "bpf", "perf_event_open", "userfaultfd",
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module", "reboot", "swapon", "swapoff", "acct", "syslog",
    "add_key", "request_key", "keyctl", "open_by_handle_at", "ioperm", "iopl", "settimeofday", "stime", "clock_settime", "clock_settime64",
    "clock_adjtime", "clock_adjtime64", "adjtimex", "quotactl", "quotactl_fd",
};

/* What the address and thread sanitizers do besides; refused in other builds. */
static const char *const for_sanitizers[] = {"ptrace", "clone", "clone3", "fork", "vfork", "wait4", "waitid", "kill", "tkill", "tgkill", "mmap",
                                             "mmap2", "mprotect", "personality", "process_madvise", "sched_setaffinity", "setrlimit", "prlimit64"};

static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

/* Not TIOCSTI, which types into the terminal that the program was started from. */
static const unsigned requests[] = {FIONBIO, FIONREAD, FIOCLEX, FIONCLEX, TCGETS, TIOCGWINSZ, TIOCGPGRP, SIOCOUTQ, SIOCGIFNAME, SIOCGIFINDEX, SIOCGIFFLAGS,
                                    SIOCGIFADDR, SIOCGIFCONF};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static int add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t count) {
  int error = 0;
  for (size_t i = 0; i < count && error == 0; i++) {
    const int number = seccomp_syscall_resolve_name(names[i]);
    if (number != __NR_SCMP_ERROR) { /* the library may be older than the call */
      error = seccomp_rule_add(filter, action, number, 0);
    }
  }
  return error;
}

/* A later rule of the same call adds to the earlier ones. On machines where the call has another number or none nothing is added. */
static int add_one(scmp_filter_ctx filter, const char *name, struct scmp_arg_cmp condition) {
  const int number = seccomp_syscall_resolve_name(name);
  return number == __NR_SCMP_ERROR ? 0 : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &condition);
}

/* Memory is writable or executable, not both. */
static int add_memory(scmp_filter_ctx filter) {
  static const char *const calls[] = {"mmap", "mmap2", "mprotect"};
  int error = 0;
  for (size_t i = 0; i < COUNT(calls) && error == 0; i++) {
    error = add_one(filter, calls[i], SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (error == 0) {
      error = add_one(filter, calls[i], SCMP_A2(SCMP_CMP_MASKED_EQ, ADDRESS_SPACE_WX, PROT_EXEC));
    }
  }
  return error;
}

/* Threads, not processes. clone3() has its flags in memory, where a filter cannot look: told that there is none, the C library uses clone(). */
static int add_threads(scmp_filter_ctx filter) {
  int error = add_one(filter, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
  const int number = seccomp_syscall_resolve_name("clone3");
  if (error == 0 && number != __NR_SCMP_ERROR) {
    error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), number, 0);
  }
  return error;
}

static int add_narrow(scmp_filter_ctx filter) {
  int error = add_names(filter, SCMP_ACT_ALLOW, allowed, COUNT(allowed));
  for (size_t i = 0; i < COUNT(families) && error == 0; i++) {
    error = add_one(filter, "socket", SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
  }
  for (size_t i = 0; i < COUNT(requests) && error == 0; i++) {
    error = add_one(filter, "ioctl", SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, requests[i]));
  }
  if (error == 0 && PLATFORM_SANITIZED) {
    return add_names(filter, SCMP_ACT_ALLOW, for_sanitizers, COUNT(for_sanitizers));
  }
  if (error == 0) { /* a limit may be read, of itself, and not set */
    error = add_one(filter, "prlimit64", SCMP_A2(SCMP_CMP_EQ, 0));
  }
  if (error == 0) {
    error = add_one(filter, "tgkill", SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
  }
  return error != 0 ? error : (error = add_memory(filter)) != 0 ? error : add_threads(filter);
}

int platform_linux_filter(bool plugin) {
  static const char *const tracing[] = {"ptrace"};
  scmp_filter_ctx filter = seccomp_init(plugin ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM));
  if (filter == NULL) {
    return -ENOMEM;
  }
  int error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
  if (error == 0) {
    error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  }
  if (error == 0) {
    error = add_names(filter, SCMP_ACT_KILL_PROCESS, hostile, COUNT(hostile));
  }
  if (error == 0 && !PLATFORM_SANITIZED) {
    error = add_names(filter, SCMP_ACT_KILL_PROCESS, tracing, COUNT(tracing));
  }
  if (error == 0 && !plugin) {
    error = add_narrow(filter);
  }
  if (error == 0) {
    error = seccomp_load(filter);
  }
  seccomp_release(filter);
  return error;
}
