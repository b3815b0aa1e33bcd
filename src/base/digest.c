/* See digest.h.  The thread blocks all signals, as those of base/thread.c do. */
#include "base/digest.h"

#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

struct digest_job {
    const file_map *map;
    pthread_t thread;
    bool started, done; /* by the owner's knowledge: the thread runs; hex is there */
    atomic_bool stop;
    char hex[65];
};

static void hash_map(digest_job *j) {
    const file_map *m = j->map;
    sha256 h;
    sha256_init(&h);
    for (size_t at = 0; at < m->n && !atomic_load_explicit(&j->stop, memory_order_relaxed); at += DIGEST_WINDOW) {
        const size_t n = m->n - at < DIGEST_WINDOW ? m->n - at : DIGEST_WINDOW;
        sha256_add(&h, m->p + at, n);
        file_map_drop(m, at, n);
    }
    sha256_hex(&h, j->hex);
}

static void *thread_main(void *arg) {
    pthread_setname_np(pthread_self(), "gavel-sha256");
    hash_map(arg);
    return NULL;
}

digest_job *digest_start(const file_map *map) {
    digest_job *j = gv_xcalloc(1, sizeof *j);
    j->map = map;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    j->started = pthread_create(&j->thread, NULL, thread_main, j) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return j;
}

const char *digest_wait(digest_job *j) {
    if (j->started)
        pthread_join(j->thread, NULL);
    else if (!j->done)
        hash_map(j);
    j->started = false;
    j->done = true;
    return j->hex;
}

void digest_free(digest_job *j) {
    if (!j) return;
    atomic_store(&j->stop, true);
    if (j->started) pthread_join(j->thread, NULL);
    free(j);
}
