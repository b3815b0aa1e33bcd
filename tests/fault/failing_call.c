/* Runs a program and makes its n-th system call of some kinds fail, or kills it there: faults that the program cannot tell from real ones.
 *
 *   failing_call KINDS N ACTION COUNT_FILE COMMAND...
 *
 * KINDS: a list of open, read, write, sync, rename, unlink, truncate, close, stat, lock, map, thread.  N counts from 1 over all of them; 0
 * never.  Writes to standard error always succeed, so that there can be a message.  ACTION: an errno name (EIO, ENOSPC, EACCES, ENOMEM, EMFILE, EAGAIN, EINTR), the same with + (that call and every later one), kill
 * (SIGKILL before the call), or torn (a write of half its bytes, then SIGKILL; other calls: kill).  COUNT_FILE gets the number of calls
 * seen.  Counting begins when the program ignores SIGPIPE, the first thing gavel's main does: what the loader does before is not ours.
 * Exits as the program did; 126 if tracing is not allowed here.
 *
 * By ptrace(2), because stdio's own calls cannot be replaced by a preloaded library; so it also works under the sanitizers. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    const char *kind;
    long nr;
} calls[] = {
#ifdef SYS_open
    {"open", SYS_open},        {"stat", SYS_stat},       {"stat", SYS_lstat},         {"rename", SYS_rename},  {"unlink", SYS_unlink},
#endif
    {"open", SYS_openat},      {"read", SYS_read},       {"read", SYS_pread64},       {"read", SYS_readv},     {"write", SYS_write},
    {"write", SYS_pwrite64},   {"write", SYS_writev},    {"sync", SYS_fsync},         {"sync", SYS_fdatasync}, {"rename", SYS_renameat},
    {"rename", SYS_renameat2}, {"unlink", SYS_unlinkat}, {"truncate", SYS_ftruncate}, {"close", SYS_close},    {"stat", SYS_fstat},
    {"stat", SYS_newfstatat},  {"stat", SYS_faccessat},  {"lock", SYS_fcntl},         {"map", SYS_mmap},       {"map", SYS_mremap},
    {"map", SYS_brk},          {"thread", SYS_clone},
#ifdef SYS_clone3
    {"thread", SYS_clone3},
#endif
};

static const struct {
    const char *name;
    int value;
} errors[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EACCES", EACCES}, {"ENOMEM", ENOMEM},
              {"EMFILE", EMFILE}, {"EAGAIN", EAGAIN}, {"EINTR", EINTR}};

enum { MAX_TASKS = 256 };

typedef struct task {
    pid_t pid;
    int inject;             /* errno to return from the call it is in, 0 none */
    unsigned long long brk; /* the address asked for, when it is a brk that shall fail */
    int die;                /* kill when the call ends */
} task;

static task tasks[MAX_TASKS];
static const char *kinds;
static long at, seen;
static int error_value, sticky, kill_it, torn, counting;

static task *task_of(pid_t pid) {
    for (int i = 0; i < MAX_TASKS; i++)
        if (tasks[i].pid == pid) return &tasks[i];
    for (int i = 0; i < MAX_TASKS; i++)
        if (!tasks[i].pid) return tasks[i] = (task){.pid = pid}, &tasks[i];
    abort();
}

static int wanted(long nr) {
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (calls[i].nr != nr) continue;
        const size_t n = strlen(calls[i].kind);
        for (const char *p = kinds; (p = strstr(p, calls[i].kind)); p += n)
            if ((p == kinds || p[-1] == ',') && (p[n] == 0 || p[n] == ',')) return 1;
    }
    return 0;
}

#if defined(__x86_64__)
typedef struct user_regs_struct regs;
#define REG_ARG0(r)   ((r).rdi)
#define REG_ARG2(r)   ((r).rdx)
#define REG_RESULT(r) ((r).rax)
static void set_nr(pid_t pid, regs *r, long nr) {
    (void)pid;
    r->orig_rax = (unsigned long long)nr;
}
#elif defined(__aarch64__)
typedef struct user_regs_struct regs;
#define REG_ARG0(r)   ((r).regs[0])
#define REG_ARG2(r)   ((r).regs[2])
#define REG_RESULT(r) ((r).regs[0])
static void set_nr(pid_t pid, regs *r, long nr) {
    int value = (int)nr;
    struct iovec v = {&value, sizeof value};
    (void)r;
    ptrace(PTRACE_SETREGSET, pid, 0x404 /* NT_ARM_SYSTEM_CALL */, &v);
}
#else
#error "no register names for this machine"
#endif

static void get_regs(pid_t pid, regs *r) {
    struct iovec v = {r, sizeof *r};
    ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v);
}
static void set_regs(pid_t pid, regs *r) {
    struct iovec v = {r, sizeof *r};
    ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &v);
}

static void on_entry(task *t, pid_t leader, const struct __ptrace_syscall_info *info) {
    const long nr = (long)info->entry.nr;
    if (!counting) {
        counting = nr == SYS_rt_sigaction && info->entry.args[0] == SIGPIPE;
        return;
    }
    if (!wanted(nr) || ((nr == SYS_write || nr == SYS_writev) && info->entry.args[0] == STDERR_FILENO)) return;
    seen++;
    if (!at || seen < at || (seen > at && !sticky)) return;
    if (kill_it && !(torn && (nr == SYS_write || nr == SYS_pwrite64) && info->entry.args[2] > 1)) {
        kill(leader, SIGKILL);
        return;
    }
    regs r;
    get_regs(t->pid, &r);
    if (kill_it) {
        REG_ARG2(r) = info->entry.args[2] / 2;
        t->die = 1;
    } else if (nr == SYS_brk) {
        REG_ARG0(r) = 0; /* brk(2) says no by giving back the present break */
        t->brk = info->entry.args[0];
    } else {
        set_nr(t->pid, &r, -1);
        t->inject = error_value;
    }
    set_regs(t->pid, &r);
}

static void on_exit_of_call(task *t, pid_t leader) {
    if (t->die) kill(leader, SIGKILL);
    if (!t->inject && !t->brk) return;
    regs r;
    get_regs(t->pid, &r);
#if defined(__x86_64__)
    if (t->brk) REG_ARG0(r) = t->brk; /* the kernel keeps it, so the C library counts on it */
#endif
    if (t->inject) REG_RESULT(r) = (unsigned long long)-(long long)t->inject;
    set_regs(t->pid, &r);
    t->inject = 0;
    t->brk = 0;
}

static void on_stop(pid_t pid, pid_t leader, int status) {
    task *t = task_of(pid);
    int deliver = WSTOPSIG(status);
    if (deliver == (SIGTRAP | 0x80)) {
        struct __ptrace_syscall_info info;
        deliver = 0;
        if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0) {
            if (info.op == PTRACE_SYSCALL_INFO_ENTRY) on_entry(t, leader, &info);
            if (info.op == PTRACE_SYSCALL_INFO_EXIT) on_exit_of_call(t, leader);
        }
    } else if (status >> 16 || deliver == SIGSTOP) { /* a ptrace event, or the first stop of a new thread */
        deliver = 0;
    }
    ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)deliver);
}

static void parse_action(const char *action) {
    torn = strcmp(action, "torn") == 0;
    kill_it = torn || strcmp(action, "kill") == 0;
    const size_t n = strlen(action);
    sticky = n && action[n - 1] == '+';
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strncmp(action, errors[i].name, strlen(errors[i].name)) == 0) error_value = errors[i].value;
    if (!kill_it && !error_value) exit(125);
}

int main(int argc, char **argv) {
    if (argc < 6) return 125;
    kinds = argv[1];
    at = atol(argv[2]);
    parse_action(argv[3]);
    const pid_t leader = fork();
    if (leader == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(126);
        raise(SIGSTOP);
        execvp(argv[5], argv + 5);
        _exit(127);
    }
    int status, code = 126;
    if (leader < 0 || waitpid(leader, &status, 0) < 0 || !WIFSTOPPED(status)) return 126;
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SETOPTIONS, leader, NULL, (void *)options) != 0) return 126;
    ptrace(PTRACE_SYSCALL, leader, NULL, NULL);
    for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
        if (WIFSTOPPED(status)) {
            on_stop(pid, leader, status);
            continue;
        }
        *task_of(pid) = (task){0};
        if (pid == leader) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    FILE *f = fopen(argv[4], "w");
    if (!f || fprintf(f, "%ld\n", seen) < 0 || fclose(f) != 0) return 125;
    return code;
}
