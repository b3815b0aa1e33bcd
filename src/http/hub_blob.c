/* One blob: under its lock, from what an earlier try left, checked by size and digest, renamed to its name when it is whole.
 *
 * The content at COMMIT/PATH never changes and its digest is known before, so resuming needs no If-Range: bytes of anything else would not
 * give the digest.  A reply is still checked as early as it shows: X-Linked-ETag of the wrong blob, a Content-Range that is not
 * what was asked for, more bytes than the size. */
#include "http/hub_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 1 << 18, LOCK_POLL_US = 100000, PROGRESS_BYTES = 1 << 20, MAX_WRONG = 2 };

typedef struct blob_job {
    const hub_getter *g;
    const hub_file *f;
    buf part, blob;   /* paths: .incomplete, final */
    int fd, lock;     /* -1: none */
    uint64_t have;    /* bytes in .incomplete, all in the digest */
    bool asked_range; /* this try */
    bool begun;       /* the sink has seen this try's headers */
    hub_digest digest;
} blob_job;

bool hub_blob_there(const hub *h, const hub_repo *repo, const hub_file *f) {
    buf path = {0};
    struct stat st;
    hub_cache_blob(h, repo, f->etag, &path);
    const bool there = stat(path.p, &st) == 0 && S_ISREG(st.st_mode) && (f->size == HUB_SIZE_UNKNOWN || (uint64_t)st.st_size == f->size);
    buf_fini(&path);
    return there;
}

static void count(const blob_job *j, int64_t n) {
    if (j->g->n_bytes) atomic_fetch_add(j->g->n_bytes, n);
}

/* ---- the lock that the Python client takes too ---- */

static bool lock(blob_job *j, gv_err *err) {
    buf path = {0};
    buf_printf(&path, "%s/.locks/", j->g->h->cache);
    buf repo = {0};
    hub_cache_repo(j->g->h, j->g->repo, &repo);
    buf_printf(&path, "%s/%s.lock", strrchr(repo.p, '/') + 1, j->f->etag);
    bool ok = hub_make_folders(path.p, err), told = false;
    if (ok && (j->lock = open(path.p, O_RDWR | O_CREAT | O_CLOEXEC, 0666)) < 0) ok = gv_fail_errno(err, "cannot open %s", path.p);
    while (ok && flock(j->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) break; /* a file system without locks: the digest still guards */
        if (!told) http_tell(j->g->web, "%s: waits for another download of it", j->f->path);
        told = true;
        ok = http_pause(j->g->web, 1, LOCK_POLL_US, err);
    }
    buf_fini(&repo);
    buf_fini(&path);
    return ok;
}

/* ---- what is there already ---- */

static void start_digest(blob_job *j) {
    hub_digest_init(&j->digest, strlen(j->f->etag) == 40, j->f->size);
}

static bool start_over(blob_job *j, gv_err *err) {
    count(j, -(int64_t)j->have);
    j->have = 0;
    start_digest(j);
    if (ftruncate(j->fd, 0) == 0 && lseek(j->fd, 0, SEEK_SET) == 0) return true;
    return gv_fail_errno(err, "cannot write %s", j->part.p);
}

static bool open_part(blob_job *j, gv_err *err) {
    char *block = NULL;
    ssize_t n = 0;
    if (!hub_make_folders(j->part.p, err)) return false;
    j->fd = open(j->part.p, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (j->fd < 0) return gv_fail_errno(err, "cannot write %s", j->part.p);
    start_digest(j);
    block = gv_xmalloc(BLOCK);
    while ((n = read(j->fd, block, BLOCK)) > 0) {
        hub_digest_add(&j->digest, block, (size_t)n);
        j->have += (uint64_t)n;
        count(j, n);
    }
    free(block);
    if (n < 0) return gv_fail_errno(err, "cannot read %s", j->part.p);
    return j->have <= j->f->size || start_over(j, err);
}

/* ---- one try ---- */

/* Is this reply the one we resume with?  GV_FORMAT when it is another blob or range. */
static bool check_reply(blob_job *j, const http_response *r, gv_err *err) {
    unsigned long long first = 0, last = 0, all = 0;
    sv etag = http_header_any(r, "X-Linked-ETag");
    if (sv_starts(etag, SV("W/"))) etag = sv_sub(etag, 2, etag.n);
    if (etag.n >= 2 && etag.p[0] == '"') etag = sv_sub(etag, 1, etag.n - 2);
    if (etag.n && !sv_is(etag, j->f->etag))
        return gv_fail(err, GV_FORMAT, -1, "%s: the server has %s there, expected %s", j->f->path, str_show(etag).text, j->f->etag);
    if (r->status != 206) return j->have == 0 || start_over(j, err); /* the whole content: Range was ignored */
    char text[80] = "";
    const sv range = http_header(r, "Content-Range");
    if (range.n < sizeof text) memcpy(text, range.p ? range.p : "", range.n);
    const int n = sscanf(text, "bytes %llu-%llu/%llu", &first, &last, &all);
    if (!j->asked_range || n < 2 || first != j->have || (n == 3 && j->f->size != HUB_SIZE_UNKNOWN && all != j->f->size))
        return gv_fail(err, GV_FORMAT, -1, "%s: asked for bytes from %" PRIu64 " on of %" PRIu64 ", got %s", j->f->path, j->have,
                       j->f->size, n < 2 ? "no such range" : text);
    return true;
}

static bool take(void *ctx, const http_response *r, sv bytes, gv_err *err) {
    blob_job *j = ctx;
    if (!j->begun && !check_reply(j, r, err)) return false;
    j->begun = true;
    if (j->f->size != HUB_SIZE_UNKNOWN && bytes.n > j->f->size - j->have)
        return gv_fail(err, GV_FORMAT, -1, "%s: the server sends more than the %" PRIu64 " bytes it lists", j->f->path, j->f->size);
    for (size_t done = 0; done < bytes.n;) {
        const ssize_t n = write(j->fd, bytes.p + done, bytes.n - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return gv_fail_errno(err, "cannot write %s (%" PRIu64 " of %" PRIu64 " bytes are there and will be continued)", j->part.p,
                                 j->have, j->f->size);
        hub_digest_add(&j->digest, bytes.p + done, (size_t)n);
        done += (size_t)n;
        j->have += (uint64_t)n;
        count(j, n);
    }
    return true;
}

typedef enum outcome { GOT_ALL, GOT_PART, GOT_NOTHING } outcome; /* PART: may be tried again, err says why; NOTHING: err is final */

static outcome one_try(blob_job *j, gv_err *err) {
    const hub_getter *g = j->g;
    buf url = {0}, range = {0};
    http_response r = {0};
    outcome out = GOT_NOTHING;
    hub_resolve_url(g->h, g->repo, g->commit, j->f->path, &url);
    buf_printf(&range, "Range: bytes=%" PRIu64 "-", j->have);
    j->asked_range = j->have > 0;
    j->begun = false;
    const char *const with[] = {range.p, NULL};
    http_request q = {.url = url.p,
                      .token = hub_token_for(g->h, url.p),
                      .headers = j->asked_range ? with : NULL,
                      .max_bytes = UINT64_MAX,
                      .sink = take,
                      .ctx = j};
    const bool replied = http_send(g->web, &q, &r, err);
    const bool elsewhere = r.url.n && !http_same_origin(r.url.p, g->h->endpoint);
    if (!replied) {
        /* a body that broke off; or, with GV_FORMAT, a reply that was not what it should be */
        out = r.transient || err->code == GV_FORMAT ? GOT_PART : GOT_NOTHING;
    } else if (r.status == 416) {
        if (start_over(j, err)) gv_fail(err, GV_FORMAT, -1, "%s: the server has no bytes from there on (416)", j->f->path);
        out = j->have ? GOT_NOTHING : GOT_PART;
    } else if (r.status == 403 && elsewhere) {
        gv_fail(err, GV_IO, -1, "%s: the signed address was refused (403)", j->f->path);
        out = GOT_PART;
    } else if (hub_check(g->h, g->repo, j->f->path, &r, err)) {
        out = j->f->size == HUB_SIZE_UNKNOWN || j->have == j->f->size ? GOT_ALL : GOT_PART;
        if (out == GOT_PART)
            gv_fail(err, GV_FORMAT, -1, "%s: the server ended after %" PRIu64 " of %" PRIu64 " bytes", j->f->path, j->have, j->f->size);
    }
    http_response_fini(&r);
    buf_fini(&url);
    buf_fini(&range);
    return out;
}

static bool transfer(blob_job *j, gv_err *err) {
    const int tries = http_tries(j->g->web);
    for (int n = 1;; n++) {
        const uint64_t before = j->have;
        const outcome out = j->have == j->f->size && j->f->size ? GOT_ALL : one_try(j, err);
        if (out == GOT_ALL) return true;
        if (out == GOT_NOTHING) return false;
        if (j->have >= before + PROGRESS_BYTES) n = 1; /* it does come */
        if (n >= tries) return n > 1 && gv_context(err, "given up after %d tries", n);
        http_tell(j->g->web, "%s; goes on at byte %" PRIu64 ", try %d of %d", err->msg, j->have, n + 1, tries);
        gv_err_clear(err);
        if (!http_pause(j->g->web, n, 0, err)) return false;
    }
}

/* Digest and name.  *wrong: the bytes are not those of the name. */
static bool finish(blob_job *j, bool *wrong, gv_err *err) {
    char hex[65];
    hub_digest_hex(&j->digest, hex);
    *wrong = strcmp(hex, j->f->etag) != 0;
    if (*wrong)
        return gv_fail(err, GV_FORMAT, -1, "%s: %s of what came is %s, expected %s", j->f->path,
                       strlen(j->f->etag) == 40 ? "git blob id" : "sha256", hex, j->f->etag);
    if (fsync(j->fd) != 0) return gv_fail_errno(err, "cannot write %s", j->part.p);
    if (rename(j->part.p, j->blob.p) != 0) return gv_fail_errno(err, "cannot rename %s", j->part.p);
    return true;
}

static bool get_whole(blob_job *j, gv_err *err) {
    for (int n = 1;; n++) {
        bool wrong = false;
        if (!transfer(j, err)) return false;
        /* a git blob id begins with the size: without it, it is computed when the size is known */
        if (j->f->size == HUB_SIZE_UNKNOWN && strlen(j->f->etag) == 40) {
            const hub_file known = {j->f->path, j->have, j->f->etag, j->f->blob_id};
            const hub_file *given = j->f;
            j->f = &known;
            count(j, -(int64_t)j->have);
            j->have = 0;
            close(j->fd);
            const bool ok = open_part(j, err) && finish(j, &wrong, err);
            j->f = given;
            if (ok) return true;
        } else if (finish(j, &wrong, err)) {
            return true;
        }
        if (!wrong) return false;
        if (n == MAX_WRONG) {
            unlink(j->part.p);
            return gv_context(err, "downloaded %d times", n);
        }
        http_tell(j->g->web, "%s; from the beginning", err->msg);
        gv_err_clear(err);
        if (!start_over(j, err)) return false;
    }
}

bool hub_blob_get(const hub_getter *g, const hub_file *f, gv_err *err) {
    blob_job j = {.g = g, .f = f, .fd = -1, .lock = -1};
    hub_cache_blob(g->h, g->repo, f->etag, &j.blob);
    buf_printf(&j.part, "%s.incomplete", j.blob.p);
    bool ok = true;
    if (!hub_blob_there(g->h, g->repo, f)) {
        ok = lock(&j, err);
        if (ok && hub_blob_there(g->h, g->repo, f)) /* another process brought it */
            count(&j, f->size == HUB_SIZE_UNKNOWN ? 0 : (int64_t)f->size);
        else
            ok = ok && open_part(&j, err) && get_whole(&j, err);
    } else {
        count(&j, f->size == HUB_SIZE_UNKNOWN ? 0 : (int64_t)f->size);
    }
    ok = ok && hub_cache_link(g->h, g->repo, g->commit, f->path, f->etag, err);
    if (j.fd >= 0) close(j.fd);
    if (j.lock >= 0) close(j.lock);
    buf_fini(&j.blob);
    buf_fini(&j.part);
    return ok;
}
