/* Many files at a time: threads that each have a connection of their own take the next file of the list; the calling thread shows progress,
 * says what the threads have to say, and asks them to end when one of them failed or the user wants it.  And one file by name. */
#include "base/file.h"
#include "base/log.h"
#include "base/thread.h"
#include "http/hub_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

enum { SHOW_MS = 100, SPARE_BYTES = 16 << 20 };

typedef struct fetch_job {
    hub *h;
    const hub_repo *repo;
    const hub_list *l;
    const size_t *chosen;
    size_t n;
    uint64_t bytes, bytes_before;
    _Atomic int64_t n_bytes;
    _Atomic size_t next;
    _Atomic bool quit;
    pthread_mutex_t mutex; /* what is below */
    pthread_cond_t changed;
    size_t done, running;
    const char *what;
    buf notices; /* lines for the calling thread to say */
    gv_err err;  /* of the first that failed */
} fetch_job;

static bool worker_stopped(void *ctx) {
    return atomic_load(&((fetch_job *)ctx)->quit);
}

static void worker_tells(void *ctx, const char *msg) {
    fetch_job *f = ctx;
    pthread_mutex_lock(&f->mutex);
    buf_printf(&f->notices, "%s\n", msg);
    pthread_mutex_unlock(&f->mutex);
}

static const hub_file *file_at(const fetch_job *f, size_t i) {
    return &f->l->files[f->chosen ? f->chosen[i] : i];
}

static void work(fetch_job *f, http *web, gv_err *err) {
    const hub_getter g = {f->h, web, f->repo, f->l->commit, &f->n_bytes};
    for (size_t i; !atomic_load(&f->quit) && (i = atomic_fetch_add(&f->next, 1)) < f->n;) {
        pthread_mutex_lock(&f->mutex);
        f->what = file_at(f, i)->path;
        pthread_mutex_unlock(&f->mutex);
        if (!hub_blob_get(&g, file_at(f, i), err)) return;
        pthread_mutex_lock(&f->mutex);
        f->done++;
        pthread_cond_signal(&f->changed);
        pthread_mutex_unlock(&f->mutex);
    }
}

static void *worker(void *ctx) {
    fetch_job *f = ctx;
    gv_err err = GV_ERR_INIT;
    http *web = http_open(
        &(http_options){.ca_file = f->h->ca_file, .retries = f->h->retries, .stopped = worker_stopped, .on_wait = worker_tells, .ctx = f},
        &err);
    if (web) work(f, web, &err);
    http_close(web);
    pthread_mutex_lock(&f->mutex);
    if (err.code && !f->err.code) f->err = err;
    if (err.code) atomic_store(&f->quit, true);
    f->running--;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->mutex);
    return NULL;
}

static void show(fetch_job *f, hub_show *shower, void *ctx, int64_t start_us, bool final) {
    pthread_mutex_lock(&f->mutex);
    const int64_t bytes = atomic_load(&f->n_bytes);
    const hub_progress p = {.files = f->n,
                            .files_done = f->done,
                            .bytes = f->bytes,
                            .bytes_done = bytes > 0 ? (uint64_t)bytes : 0,
                            .bytes_before = f->bytes_before,
                            .elapsed_us = clock_mono_us() - start_us,
                            .what = f->what ? f->what : "",
                            .final = final};
    buf notices = f->notices;
    f->notices = (buf){0};
    pthread_mutex_unlock(&f->mutex);
    char *rest = notices.p;
    for (char *line; rest && (line = strsep(&rest, "\n"));)
        if (line[0]) log_msg(LOG_WARN, "%s", line);
    buf_fini(&notices);
    if (shower) shower(ctx, &p);
}

/* Waits for the workers, showing how far they are. */
static void watch(fetch_job *f, hub_show *shower, void *ctx, int64_t start_us) {
    for (size_t running = 1; running;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += SHOW_MS * 1000000;
        if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
        pthread_mutex_lock(&f->mutex);
        if (f->running) pthread_cond_timedwait(&f->changed, &f->mutex, &until);
        running = f->running;
        pthread_mutex_unlock(&f->mutex);
        if (f->h->stop && *f->h->stop) atomic_store(&f->quit, true);
        if (running) show(f, shower, ctx, start_us, false);
    }
}

static bool run_workers(fetch_job *f, hub_show *shower, void *ctx, gv_err *err) {
    const int64_t start_us = clock_mono_us();
    const size_t want = (size_t)f->h->parallel < f->n ? (size_t)f->h->parallel : f->n;
    pthread_t *threads = gv_xcalloc(want + 1, sizeof *threads);
    size_t n = 0;
    pthread_mutex_init(&f->mutex, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->running = want;
    while (n < want && pthread_create(&threads[n], NULL, worker, f) == 0) n++;
    pthread_mutex_lock(&f->mutex);
    f->running -= want - n;
    if (n == 0 && want) gv_fail(&f->err, GV_MEMORY, -1, "no thread can be started");
    pthread_mutex_unlock(&f->mutex);
    if (n) watch(f, shower, ctx, start_us);
    for (size_t i = 0; i < n; i++) pthread_join(threads[i], NULL);
    const bool stopped = f->h->stop && *f->h->stop;
    if (stopped) f->err = (gv_err)GV_ERR_INIT, gv_fail(&f->err, GV_INTERRUPTED, -1, "interrupted");
    show(f, f->err.code ? NULL : shower, ctx, start_us, true); /* after a failure only what the workers had to say */
    free(threads);
    buf_fini(&f->notices);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->mutex);
    return !f->err.code || gv_fail(err, f->err.code, f->err.where, "%s", f->err.msg);
}

/* Are there bytes enough on the disk for what is missing? */
static bool check_space(const hub *h, uint64_t need, gv_err *err) {
    struct statvfs s;
    if (need == 0 || statvfs(h->cache, &s) != 0) return true; /* the cache does not exist yet, or cannot tell: writing will */
    const uint64_t there = (uint64_t)s.f_bavail * s.f_frsize;
    if (need + SPARE_BYTES <= there) return true;
    return gv_fail(err, GV_IO, -1, "%.2f GB are to be downloaded and %s has %.2f GB free: make room, or set HF_HOME to another disk",
                   (double)need * 1e-9, h->cache, (double)there * 1e-9);
}

/* Offline every file must be there: in its snapshot if nothing else is known of it. */
static bool check_there(const hub *h, const hub_repo *repo, const hub_list *l, const hub_file *f, gv_err *err) {
    buf path = {0};
    hub_cache_snapshot(h, repo, l->commit, f->path, &path);
    bool ok = file_exists(path.p) || (f->etag && hub_blob_there(h, repo, f) && hub_cache_link(h, repo, l->commit, f->path, f->etag, err));
    if (!ok && err->code == GV_OK)
        gv_fail(err, GV_STATE, -1, "offline, and the cache %s lacks %s of %s %s at %s: gavel pull %s while online", h->cache, f->path,
                hub_kind_name(repo->kind), repo->id, l->commit, repo->id);
    buf_fini(&path);
    return ok;
}

bool hub_has(const hub *h, const hub_repo *repo, const hub_file *f) {
    return !f->etag || hub_blob_there(h, repo, f); /* without one the snapshot's folder was looked at */
}

bool hub_fetch(hub *h, const hub_repo *repo, const hub_list *l, const size_t *chosen, size_t n, hub_show *shower, void *ctx, char **folder,
               gv_err *err) {
    fetch_job f = {.h = h, .repo = repo, .l = l, .chosen = chosen, .n = chosen ? n : l->n, .err = GV_ERR_INIT};
    const bool offline = hub_is_offline(h, repo->kind);
    bool ok = true;
    buf path = {0};
    for (size_t i = 0; ok && i < f.n; i++) {
        const hub_file *file = file_at(&f, i);
        f.bytes += file->size;
        if (offline)
            ok = check_there(h, repo, l, file, err);
        else if (hub_blob_there(h, repo, file))
            f.bytes_before += file->size;
    }
    ok = ok && (offline || (check_space(h, f.bytes - f.bytes_before, err) && run_workers(&f, shower, ctx, err)));
    hub_cache_snapshot(h, repo, l->commit, NULL, &path);
    if (ok)
        *folder = path.p;
    else
        buf_fini(&path);
    return ok;
}

/* ---- one file by name ---- */

/* What HEAD of resolve says of a file. */
static bool ask_head(hub *h, const hub_repo *repo, const char *file, char commit[41], char etag[65], uint64_t *size, bool *found,
                     http_response *r, gv_err *err) {
    buf url = {0};
    hub_resolve_url(h, repo, repo->rev, file, &url);
    http_request q = {.method = "HEAD", .url = url.p, .follow = HTTP_FOLLOW_ORIGIN, .token = hub_token_for(h, url.p)};
    http *web = hub_web(h, repo->kind, err);
    bool ok = web && http_send(web, &q, r, err);
    buf_fini(&url);
    if (!ok) return false;
    const sv sha = http_header_any(r, "X-Repo-Commit");
    if (hub_commit_check(sha)) memcpy(commit, sha.p, 40);
    *found = !(r->status == 404 && hub_error_is(r, "EntryNotFound"));
    if (!*found) return true;
    if (r->status < 300 || r->status >= 400) ok = hub_check(h, repo, file, r, err);
    if (!ok) return false;
    sv tag = http_header_any(r, "X-Linked-ETag"), length = http_header_any(r, "X-Linked-Size");
    if (!tag.n) tag = http_header(r, "ETag");
    if (sv_starts(tag, SV("W/"))) tag = sv_sub(tag, 2, tag.n);
    if (tag.n >= 2 && tag.p[0] == '"') tag = sv_sub(tag, 1, tag.n - 2);
    if (!length.n && r->status == 200) length = http_header(r, "Content-Length");
    if (!commit[0]) return gv_fail(err, GV_FORMAT, -1, "%s: the server does not say which commit it is of (X-Repo-Commit)", file);
    if (!hub_etag_check(tag))
        return gv_fail(err, GV_FORMAT, -1, "%s: the server's ETag %s is neither a sha256 nor a git blob id", file, str_show(tag).text);
    memcpy(etag, tag.p, tag.n);
    *size = HUB_SIZE_UNKNOWN;
    if (length.n && length.n < 20 && length.p[0] >= '0' && length.p[0] <= '9') *size = strtoull(length.p, NULL, 10);
    return true;
}

/* The file in the snapshot that the cache knows for repo's revision. */
static bool find_cached(const hub *h, const hub_repo *repo, const char *file, char **path) {
    char commit[41];
    buf p = {0};
    if (!hub_cache_commit(h, repo, commit)) return false;
    hub_cache_snapshot(h, repo, commit, file, &p);
    const bool there = file_exists(p.p);
    if (there)
        *path = p.p;
    else
        buf_fini(&p);
    return there;
}

/* Online: asks, downloads. */
static bool get_online(hub *h, const hub_repo *repo, const char *file, char **path, bool *found, gv_err *err) {
    char commit[41] = "", etag[65] = "";
    hub_file f = {.path = file, .etag = etag};
    http_response r = {0};
    buf p = {0};
    bool ok = ask_head(h, repo, file, commit, etag, &f.size, found, &r, err);
    if (!ok && (r.transient || r.status >= 500) && find_cached(h, repo, file, path)) {
        log_msg(LOG_WARN, "%s cannot be reached; %s of the cache is used (%s)", h->endpoint, file, err->msg);
        gv_err_clear(err);
        http_response_fini(&r);
        return *found = true;
    }
    http_response_fini(&r);
    if (ok && commit[0]) ok = hub_cache_set_ref(h, repo, commit, err);
    if (ok && !*found) {
        if (commit[0]) hub_cache_set_no_exist(h, repo, commit, file);
        return true;
    }
    const hub_getter g = {h, h->web, repo, commit, NULL};
    ok = ok && hub_blob_get(&g, &f, err);
    if (ok) {
        hub_cache_snapshot(h, repo, commit, file, &p);
        *path = p.p;
    }
    return ok;
}

bool hub_get(hub *h, const hub_repo *repo, const char *file, char **path, bool *found, gv_err *err) {
    *path = NULL;
    *found = true;
    if (!hub_path_check(sv_of(file), err)) return false;
    const bool fixed = hub_commit_check(sv_of(repo->rev)), offline = hub_is_offline(h, repo->kind);
    if ((fixed || offline) && find_cached(h, repo, file, path)) return true;
    char commit[41];
    if ((fixed || offline) && hub_cache_commit(h, repo, commit) && hub_cache_no_exist(h, repo, commit, file)) {
        *found = false;
        return true;
    }
    if (offline)
        return gv_fail(err, GV_STATE, -1, "offline, and the cache %s lacks %s of %s %s at revision %s", h->cache, file,
                       hub_kind_name(repo->kind), repo->id, repo->rev);
    return get_online(h, repo, file, path, found, err);
}

bool hub_read(hub *h, const hub_repo *repo, const char *file, size_t cap, buf *out, bool *found, gv_err *err) {
    char *path = NULL;
    const bool ok = hub_get(h, repo, file, &path, found, err) && (!*found || file_read_all(path, cap, out, err));
    free(path);
    return ok;
}
