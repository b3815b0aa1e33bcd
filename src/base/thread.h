/* A fixed pool of worker threads that run one function over a range, split evenly, and meet at a barrier.
 *
 * The thread that calls pool_run takes part as worker 0.  Workers wait by spinning briefly, then sleeping.  Engine threads run with
 * round-to-nearest and without FTZ/DAZ; pool_run restores the caller's floating-point mode before it returns. */
#ifndef GAVEL_BASE_THREAD_H
#define GAVEL_BASE_THREAD_H

#include "base/err.h"

typedef struct pool pool;

/* n_threads >= 1, the caller included (1 starts no thread).  GV_LIMIT above 1024. */
pool *pool_new(int n_threads, gv_err *err) GV_MUST_USE;
void pool_free(pool *p);
int pool_threads(const pool *p);

/* fn(ctx, begin, end, worker): each worker gets one contiguous part of [0, n); parts may be empty.  Returns when all are done.
 * One pool_run at a time; fn must not call pool_run of the same pool. */
typedef void pool_fn(void *ctx, int64_t begin, int64_t end, int worker);
void pool_run(pool *p, pool_fn *fn, void *ctx, int64_t n);

/* The floating-point mode of the calling thread: fp_mode_set makes it round-to-nearest without FTZ/DAZ and returns what it was, for
 * fp_mode_restore.  pool_run does both by itself; for engine code that computes outside it. */
uint64_t fp_mode_set(void);
void fp_mode_restore(uint64_t mode);

/* Usable CPUs of this process (affinity and cgroup quota respected), at least 1. */
int cpu_count(void);

/* Monotonic and wall clocks in microseconds. */
int64_t clock_mono_us(void);
int64_t clock_wall_us(void);

#endif
