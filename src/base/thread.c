/* See thread.h.  A job is published by writing fn, ctx and n and then adding 1 to `epoch`; workers that see a new epoch run their part and
 * take 1 from `pending`; the caller runs part 0 and waits for pending to be 0.  Both waits spin, then sleep on a futex.  A sleeper first
 * counts itself in `sleepers` and then lets the kernel compare the word again, and whoever changes the word looks at `sleepers` after the
 * change (all sequentially consistent), so no wake is lost and none is paid for while all are spinning.
 *
 * A step of the engine runs hundreds of jobs, microseconds apart: spinning covers the gaps (SPIN_PAUSES is 20-100 us, by CPU).  With more
 * threads than CPUs spinning only steals time from the thread waited for, so then it is SPIN_PAUSES_CROWDED.
 *
 * Workers block all signals: handlers run on the program's own threads. */
#include "base/thread.h"

#include "base/mem.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { MAX_THREADS = 1024, SPIN_PAUSES = 2000, SPIN_PAUSES_CROWDED = 20, CACHE_LINE = 64 };

typedef struct worker {
    pool *owner;
    int index;
    pthread_t thread;
} worker;

struct pool {
    _Alignas(CACHE_LINE) _Atomic uint32_t epoch; /* futex word of the workers */
    _Atomic uint32_t sleepers;                   /* workers that sleep or are about to */
    pool_fn *fn;                                 /* NULL: end */
    void *ctx;
    int64_t n;
    _Alignas(CACHE_LINE) _Atomic uint32_t pending; /* workers not done; futex word of the caller */
    _Atomic uint32_t caller_sleeps;
    _Alignas(CACHE_LINE) int n_threads;
    int spin_pauses;
    worker *workers; /* [n_threads - 1]; worker i runs part i + 1 */
};

static void cpu_pause(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}
static void futex_wake(_Atomic uint32_t *word, int n) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

/* Returns the first value of *word other than `old`; sleepers is raised while asleep. */
static uint32_t wait_change(_Atomic uint32_t *word, uint32_t old, _Atomic uint32_t *sleepers, int pauses) {
    uint32_t now;
    for (int i = 0; i < pauses; i++) {
        now = atomic_load_explicit(word, memory_order_acquire);
        if (now != old) return now;
        cpu_pause();
    }
    atomic_fetch_add(sleepers, 1);
    while ((now = atomic_load(word)) == old) futex_wait(word, old);
    atomic_fetch_sub(sleepers, 1);
    return now;
}

#if defined(__x86_64__)
enum { MXCSR_DAZ = 1 << 6, MXCSR_MASKS = 0x1F80, MXCSR_ROUND = 3 << 13, MXCSR_FTZ = 1 << 15 };
uint64_t fp_mode_set(void) {
    uint32_t old = _mm_getcsr(), want = (old & ~(uint32_t)(MXCSR_DAZ | MXCSR_ROUND | MXCSR_FTZ)) | MXCSR_MASKS;
    if (old != want) _mm_setcsr(want);
    return old;
}
void fp_mode_restore(uint64_t mode) {
    enum { BITS = MXCSR_DAZ | MXCSR_MASKS | MXCSR_ROUND | MXCSR_FTZ };
    uint32_t now = _mm_getcsr(), want = (now & ~(uint32_t)BITS) | ((uint32_t)mode & BITS);
    if (now != want) _mm_setcsr(want);
}
#elif defined(__aarch64__)
/* FPCR: FIZ 0, AH 1, NEP 2, trap enables 8-12 and 15, FZ16 19, RMode 22-23, FZ 24, DN 25 (Arm ARM, C5.2.8). */
enum { FPCR_BITS = 0x7 | 0x9F00 | 1 << 19 | 3 << 22 | 1 << 24 | 1 << 25 };
static uint64_t fpcr_get(void) {
    uint64_t v;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(v));
    return v;
}
static void fpcr_set(uint64_t v) {
    __asm__ __volatile__("msr fpcr, %0" ::"r"(v));
}
uint64_t fp_mode_set(void) {
    uint64_t old = fpcr_get(), want = old & ~(uint64_t)FPCR_BITS;
    if (old != want) fpcr_set(want);
    return old;
}
void fp_mode_restore(uint64_t mode) {
    if (fpcr_get() != mode) fpcr_set(mode);
}
#else
#error "gavel runs on x86-64 and AArch64"
#endif

/* Part k of n_parts of [0, n): sizes differ by at most one, larger parts first. */
static void run_part(const pool *p, int k) {
    int64_t size = p->n / p->n_threads, extra = p->n % p->n_threads;
    int64_t begin = k * size + (k < extra ? k : extra);
    p->fn(p->ctx, begin, begin + size + (k < extra), k);
}

static void *worker_main(void *arg) {
    worker *w = arg;
    pool *p = w->owner;
    char name[16];
    snprintf(name, sizeof name, "gavel-%d", w->index);
    pthread_setname_np(pthread_self(), name);
    fp_mode_set();
    uint32_t seen = 0;
    for (;;) {
        seen = wait_change(&p->epoch, seen, &p->sleepers, p->spin_pauses);
        if (!p->fn) return NULL;
        run_part(p, w->index);
        if (atomic_fetch_sub(&p->pending, 1) == 1 && atomic_load(&p->caller_sleeps)) futex_wake(&p->pending, 1);
    }
}

static void publish(pool *p, pool_fn *fn, void *ctx, int64_t n) {
    p->fn = fn;
    p->ctx = ctx;
    p->n = n;
    atomic_store_explicit(&p->pending, (uint32_t)(p->n_threads - 1), memory_order_relaxed);
    atomic_fetch_add(&p->epoch, 1);
    if (atomic_load(&p->sleepers)) futex_wake(&p->epoch, MAX_THREADS);
}

void pool_run(pool *p, pool_fn *fn, void *ctx, int64_t n) {
    uint64_t mode = fp_mode_set();
    if (p->n_threads == 1) {
        fn(ctx, 0, n, 0);
    } else {
        publish(p, fn, ctx, n);
        run_part(p, 0);
        uint32_t left = atomic_load_explicit(&p->pending, memory_order_acquire);
        while (left) left = wait_change(&p->pending, left, &p->caller_sleeps, p->spin_pauses);
    }
    fp_mode_restore(mode);
}

static void stop(pool *p, int started) {
    if (started) publish(p, NULL, NULL, 0);
    for (int i = 0; i < started; i++) pthread_join(p->workers[i].thread, NULL);
    free(p->workers);
    free(p);
}

pool *pool_new(int n_threads, gv_err *err) {
    if (n_threads < 1) {
        gv_fail(err, GV_USAGE, -1, "%d threads: at least 1 is needed", n_threads);
        return NULL;
    }
    if (n_threads > MAX_THREADS) {
        gv_fail(err, GV_LIMIT, -1, "%d threads: at most %d can be used", n_threads, MAX_THREADS);
        return NULL;
    }
    pool *p = gv_try_aligned(sizeof *p, "thread pool", err);
    if (!p) return NULL;
    memset(p, 0, sizeof *p);
    p->n_threads = n_threads;
    p->spin_pauses = n_threads <= cpu_count() ? SPIN_PAUSES : SPIN_PAUSES_CROWDED;
    p->workers = gv_xcalloc((size_t)n_threads, sizeof *p->workers);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int started = 0, why = 0;
    while (started < n_threads - 1 && !why) {
        worker *w = &p->workers[started];
        w->owner = p;
        w->index = started + 1;
        why = pthread_create(&w->thread, NULL, worker_main, w);
        if (!why) started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (why) {
        errno = why;
        gv_fail_errno(err, "cannot start thread %d of %d", started + 2, n_threads);
        stop(p, started);
        return NULL;
    }
    return p;
}

void pool_free(pool *p) {
    if (p) stop(p, p->n_threads - 1);
}

int pool_threads(const pool *p) {
    return p->n_threads;
}

/* CPUs that the scheduler may give us. */
static int affinity_count(void) {
    for (int size = 1024; size <= 1 << 18; size *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)size);
        if (!set) break;
        size_t bytes = CPU_ALLOC_SIZE((size_t)size);
        int n = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        bool too_small = n == 0 && errno == EINVAL;
        CPU_FREE(set);
        if (n > 0) return n;
        if (!too_small) break;
    }
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 && n < 1 << 20 ? (int)n : 1;
}

static int quota_of(const char *quota_file, const char *period_file) {
    char text[64] = "";
    long long quota = -1, period = 100000;
    FILE *f = fopen(quota_file, "re");
    if (!f) return 0;
    if (fgets(text, sizeof text, f) && sscanf(text, "%lld %lld", &quota, &period) < 1) quota = -1; /* "max" */
    fclose(f);
    if (period_file && (f = fopen(period_file, "re"))) {
        if (fscanf(f, "%lld", &period) != 1) period = 0;
        fclose(f);
    }
    if (quota <= 0 || period <= 0) return 0;
    long long cpus = quota / period;
    return cpus < 1 ? 1 : cpus > 1 << 20 ? 1 << 20 : (int)cpus;
}

/* Smallest CPU quota of our control group and those above it, in whole CPUs; 0 if there is none (kernel: cgroup-v2.rst, cpu.max; v1:
 * cpu.cfs_quota_us). */
static int cgroup_count(void) {
    int best = quota_of("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    char line[2048], path[2200];
    FILE *f = fopen("/proc/self/cgroup", "re");
    char group[2048] = "/";
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "0::/", 4) == 0) memcpy(group, line + 3, strlen(line + 3) + 1);
    }
    if (f) fclose(f);
    for (;;) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", strcmp(group, "/") ? group : "");
        int n = quota_of(path, NULL);
        if (n && (!best || n < best)) best = n;
        char *slash = strrchr(group, '/');
        if (!slash || strcmp(group, "/") == 0) return best;
        slash[slash == group] = 0;
    }
}

int cpu_count(void) {
    int n = affinity_count(), quota = cgroup_count();
    return quota && quota < n ? quota : n;
}

static int64_t clock_us(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_mono_us(void) {
    return clock_us(CLOCK_MONOTONIC);
}
int64_t clock_wall_us(void) {
    return clock_us(CLOCK_REALTIME);
}
