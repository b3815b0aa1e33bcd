/* See digest.h.  The thread blocks all signals, as those of base/thread.c do. */
#include "base/digest.h"

#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

struct digest_job {
    digest_file *file;
    size_t n_files;
    bool list; /* digest of the list, not of the bytes */
    pthread_t thread;
    bool started, done; /* by the owner's knowledge: the thread runs; hex is there */
    atomic_bool stop;
    char hex[65];
};

static void add_map(digest_job *j, const file_map *m, sha256 *h) {
    for (size_t at = 0; at < m->n && !atomic_load_explicit(&j->stop, memory_order_relaxed); at += DIGEST_WINDOW) {
        const size_t n = m->n - at < DIGEST_WINDOW ? m->n - at : DIGEST_WINDOW;
        sha256_add(h, m->p + at, n);
        file_map_drop(m, at, n);
    }
}

static void add_line(digest_job *j, const digest_file *f, sha256 *list) {
    sha256 h;
    char hex[65];
    sha256_init(&h);
    add_map(j, f->map, &h);
    sha256_hex(&h, hex);
    sha256_add(list, hex, 64);
    sha256_add(list, "  ", 2);
    sha256_add(list, f->name, strlen(f->name));
    sha256_add(list, "\n", 1);
}

static void hash_all(digest_job *j) {
    sha256 h;
    sha256_init(&h);
    for (size_t i = 0; i < j->n_files; i++) {
        if (j->list)
            add_line(j, &j->file[i], &h);
        else
            add_map(j, j->file[i].map, &h);
    }
    sha256_hex(&h, j->hex);
}

static void *thread_main(void *arg) {
    pthread_setname_np(pthread_self(), "gavel-sha256");
    hash_all(arg);
    return NULL;
}

static digest_job *start(const digest_file *files, size_t n, bool list) {
    digest_job *j = gv_xcalloc(1, sizeof *j);
    j->file = gv_xcalloc(n + 1, sizeof *j->file);
    memcpy(j->file, files, n * sizeof *files);
    j->n_files = n;
    j->list = list;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    j->started = pthread_create(&j->thread, NULL, thread_main, j) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return j;
}

digest_job *digest_start(const file_map *map) {
    return start(&(digest_file){NULL, map}, 1, false);
}
digest_job *digest_start_list(const digest_file *files, size_t n) {
    return start(files, n, true);
}
digest_job *digest_start_joined(const digest_file *files, size_t n) {
    return start(files, n, false);
}

const char *digest_wait(digest_job *j) {
    if (j->started)
        pthread_join(j->thread, NULL);
    else if (!j->done)
        hash_all(j);
    j->started = false;
    j->done = true;
    return j->hex;
}

void digest_free(digest_job *j) {
    if (!j) return;
    atomic_store(&j->stop, true);
    if (j->started) pthread_join(j->thread, NULL);
    free(j->file);
    free(j);
}
