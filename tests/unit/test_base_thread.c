/* The pool: every element once, also with more threads than CPUs and after sleep; floating-point mode; failures to start. */
#include "support/base_check.h"

#include "base/thread.h"

#include <pthread.h>
#include <string.h>

enum { MAX_N = 1000 };

typedef struct job {
    int64_t n;
    int threads;
    unsigned char hits[MAX_N]; /* by element; parts do not overlap, so no atomics: the thread sanitizer checks that */
    int64_t begin[16], end[16];
} job;

static void mark(void *ctx, int64_t begin, int64_t end, int worker) {
    job *j = ctx;
    j->begin[worker] = begin;
    j->end[worker] = end;
    for (; begin < end; begin++) j->hits[begin]++;
}

static void every_element_is_visited_once_in_contiguous_even_parts(void **state) {
    (void)state;
    for (int threads = 1; threads <= 9; threads++) {
        gv_err ok = GV_ERR_INIT;
        pool *p = pool_new(threads, &ok);
        assert_non_null(p);
        assert_int_equal(pool_threads(p), threads);
        for (int64_t n = 0; n < MAX_N; n += n < 20 ? 1 : 97) {
            job j = {.n = n, .threads = threads};
            memset(j.begin, -1, sizeof j.begin);
            pool_run(p, mark, &j, n);
            for (int64_t i = 0; i < n; i++) assert_int_equal(j.hits[i], 1);
            assert_int_equal(j.begin[0], 0);
            assert_int_equal(j.end[threads - 1], n);
            for (int w = 0; w < threads; w++) {
                int64_t size = j.end[w] - j.begin[w];
                assert_true(size == n / threads || size == n / threads + 1);
                if (w) assert_int_equal(j.begin[w], j.end[w - 1]);
            }
        }
        pool_free(p);
    }
    pool_free(NULL);
}

typedef struct counter {
    _Alignas(64) int64_t n;
} counter;

static void count(void *ctx, int64_t begin, int64_t end, int worker) {
    counter *c = ctx;
    c[worker].n += end - begin;
}

static void many_short_jobs_lose_no_wake(void **state) {
    (void)state;
    for (int threads = 2; threads <= 5; threads += 3) {
        gv_err ok = GV_ERR_INIT;
        pool *p = pool_new(threads, &ok);
        assert_non_null(p);
        counter c[5] = {{0}};
        enum { RUNS = 20000 };
        for (int i = 0; i < RUNS; i++) pool_run(p, count, c, threads);
        for (int w = 0; w < threads; w++) assert_int_equal(c[w].n, RUNS);
        pool_free(p);
    }
}

static void workers_that_sleep_are_woken(void **state) {
    (void)state;
    gv_err ok = GV_ERR_INIT;
    pool *p = pool_new(3, &ok);
    assert_non_null(p);
    counter c[3] = {{0}};
    for (int i = 0; i < 40; i++) {
        usleep(1000u * (unsigned)(i % 4));
        pool_run(p, count, c, 3);
    }
    for (int w = 0; w < 3; w++) assert_int_equal(c[w].n, 40);
    usleep(3000);
    pool_free(p); /* asleep */
}

static void uneven(void *ctx, int64_t begin, int64_t end, int worker) {
    counter *c = ctx;
    if (worker == 2) usleep(1500); /* the caller has to sleep */
    c[worker].n += end - begin;
}

static void a_caller_that_sleeps_is_woken(void **state) {
    (void)state;
    gv_err ok = GV_ERR_INIT;
    pool *p = pool_new(3, &ok);
    assert_non_null(p);
    counter c[3] = {{0}};
    for (int i = 0; i < 30; i++) pool_run(p, uneven, c, 3);
    for (int w = 0; w < 3; w++) assert_int_equal(c[w].n, 30);
    pool_free(p);
}

static void *own_pool(void *arg) {
    counter *c = arg;
    pool *p = pool_new(2, NULL);
    for (int i = 0; p && i < 2000; i++) pool_run(p, count, c, 2);
    pool_free(p);
    return NULL;
}

static void pools_of_different_threads_do_not_meet(void **state) {
    (void)state;
    counter c[3][2] = {{{0}}};
    pthread_t t[3];
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&t[i], NULL, own_pool, c[i]), 0);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_join(t[i], NULL), 0);
    for (int i = 0; i < 3; i++) assert_true(c[i][0].n == 2000 && c[i][1].n == 2000);
}

typedef struct fp_seen {
    float third[5];
    float tiny[5];
} fp_seen;

static float divide(float a, float b) {
    volatile float x = a, y = b;
    return x / y;
}

static void compute(void *ctx, int64_t begin, int64_t end, int worker) {
    fp_seen *s = ctx;
    (void)begin;
    (void)end;
    s->third[worker] = divide(1, 3);
    s->tiny[worker] = divide(1e-38f, 16);
}

/* Round towards -infinity (a third, rounded up by default, shows it) and flush subnormals, as a host program might. */
static void set_odd_mode(void) {
#if defined(__x86_64__)
    unsigned csr = (__builtin_ia32_stmxcsr() & ~(3u << 13)) | 1u << 13 | 1u << 15 | 1u << 6;
    __builtin_ia32_ldmxcsr(csr);
#elif defined(__aarch64__)
    uint64_t v;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(v));
    v = (v & ~((uint64_t)3 << 22)) | (uint64_t)2 << 22 | (uint64_t)1 << 24;
    __asm__ __volatile__("msr fpcr, %0" ::"r"(v));
#endif
}

static void engine_code_runs_in_the_standard_mode_and_the_callers_comes_back(void **state) {
    (void)state;
    float third = divide(1, 3), tiny = divide(1e-38f, 16);
    assert_true(tiny > 0);
    gv_err ok = GV_ERR_INIT;
    uint64_t before = fp_mode_set();
    for (int threads = 1; threads <= 5; threads++) {
        set_odd_mode(); /* also inherited by the workers that start now */
        pool *p = pool_new(threads, &ok);
        fp_seen s;
        pool_run(p, compute, &s, threads);
        bool odd = divide(1, 3) < third && divide(1e-38f, 16) == 0;
        uint64_t mode = fp_mode_set();
        bool plain = divide(1, 3) == third && divide(1e-38f, 16) == tiny;
        fp_mode_restore(mode);
        bool odd_again = divide(1, 3) < third && divide(1e-38f, 16) == 0;
        fp_mode_restore(before);
        assert_true(odd && plain && odd_again);
        for (int w = 0; w < threads; w++) assert_true(s.third[w] == third && s.tiny[w] == tiny);
        pool_free(p);
    }
}

static void signals_go_to_the_programs_own_threads(void **state) {
    (void)state;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    pool *p = pool_new(2, NULL);
    assert_non_null(p);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&before, SIGINT), sigismember(&after, SIGINT));
    pool_free(p);
}

static void a_senseless_number_of_threads_is_refused(void **state) {
    (void)state;
    CHECK_FAILS(pool_new(0, &err), GV_USAGE, -1, "0 threads: at least 1 is needed");
    CHECK_FAILS(pool_new(-3, &err), GV_USAGE, -1, "-3 threads: at least 1 is needed");
    CHECK_FAILS(pool_new(1025, &err), GV_LIMIT, -1, "1025 threads: at most 1024 can be used");
}

static void start_too_many(void) {
    struct rlimit none = {0, 0};
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) _exit(3);
    setrlimit(RLIMIT_NPROC, &none);
    gv_err err = GV_ERR_INIT;
    pool *p = pool_new(3, &err);
    if (!p && strcmp(err.msg, "cannot start thread 2 of 3: Resource temporarily unavailable") == 0) abort();
    if (write(2, err.msg, strlen(err.msg)) < 0) _exit(4);
}

static void a_thread_that_cannot_start_is_an_error(void **state) {
    (void)state;
    char text[1100];
    if (!aborts(start_too_many, text, sizeof text)) fail_msg("%s", text);
}

static void the_clocks_and_the_cpu_count_are_sane(void **state) {
    (void)state;
    int n = cpu_count();
    assert_true(n >= 1 && n <= sysconf(_SC_NPROCESSORS_CONF));
    int64_t mono = clock_mono_us(), wall = clock_wall_us();
    usleep(2000);
    assert_true(clock_mono_us() - mono >= 2000);
    assert_true(clock_mono_us() - mono < 60 * 1000000ll);
    assert_true(wall > 1600000000ll * 1000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_element_is_visited_once_in_contiguous_even_parts),
        cmocka_unit_test(many_short_jobs_lose_no_wake),
        cmocka_unit_test(workers_that_sleep_are_woken),
        cmocka_unit_test(a_caller_that_sleeps_is_woken),
        cmocka_unit_test(pools_of_different_threads_do_not_meet),
        cmocka_unit_test(engine_code_runs_in_the_standard_mode_and_the_callers_comes_back),
        cmocka_unit_test(signals_go_to_the_programs_own_threads),
        cmocka_unit_test(a_senseless_number_of_threads_is_refused),
        cmocka_unit_test(a_thread_that_cannot_start_is_an_error),
        cmocka_unit_test(the_clocks_and_the_cpu_count_are_sane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
