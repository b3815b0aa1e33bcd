/* See hub_push.h.  Order of requests (API of the Hub as its Python client uses it): repository and branch, or their creation (hub_push_repo.c);
 * README.md to be validated; preupload, which says how each file goes and what the repository has; large files (hub_push_lfs.c); the commit
 * (hub_push_commit.c). */
#include "http/hub_push_internal.h"

#include "base/base64.h"
#include "base/file.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PREUPLOAD_FILES = 256, READ_BYTES = 1 << 20, MAX_CARD = 4 << 20 };

sv push_text(const json_value *v, const char *key) {
    const json_value *s = v ? json_get(v, key) : NULL;
    return s && json_kind_of(s) == JSON_STRING ? json_string(s) : (sv){0};
}

bool push_post(push *p, const char *url, const char *content_type, sv body, http_retry retry, http_response *r, gv_err *err) {
    http *web = hub_web(p->h, p->repo->kind, err);
    return web && http_send(web,
                            &(http_request){.method = "POST",
                                            .url = url,
                                            .token = hub_token_for(p->h, url),
                                            .content_type = content_type ? content_type : "application/json",
                                            .has_body = true,
                                            .body = body,
                                            .retry = retry,
                                            .follow = HTTP_FOLLOW_ORIGIN},
                            r, err);
}

void push_show(push *p, bool final) {
    const int64_t now = clock_mono_us();
    if (!p->show || (!final && now - p->shown_us < 100000)) return;
    p->shown_us = now;
    p->progress.elapsed_us = now - p->start_us;
    p->progress.final = final;
    p->show(p->ctx, &p->progress);
}

/* ---- the files here ---- */

static bool digest_file(push *p, push_file *f, int fd, gv_err *err) {
    hub_digest sha, git;
    uint8_t *block = gv_xmalloc(READ_BYTES);
    uint64_t at = 0;
    bool ok = true;
    hub_digest_init(&sha, false, f->size);
    hub_digest_init(&git, true, f->size);
    for (ssize_t n; ok && (n = read(fd, block, READ_BYTES)) != 0;) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            ok = gv_fail_errno(err, "cannot read %s", f->local);
        } else if (p->h->stop && *p->h->stop) {
            ok = gv_fail(err, GV_INTERRUPTED, -1, "interrupted");
        } else {
            if (at == 0) memcpy(f->sample, block, n < PUSH_SAMPLE ? (size_t)n : PUSH_SAMPLE);
            hub_digest_add(&sha, block, (size_t)n);
            hub_digest_add(&git, block, (size_t)n);
            at += (uint64_t)n;
        }
    }
    free(block);
    if (ok && at != f->size)
        ok = gv_fail(err, GV_STATE, -1, "%s changed while it was read: %llu bytes, then %llu", f->local, (unsigned long long)f->size,
                     (unsigned long long)at);
    char hex[65];
    hub_digest_hex(&sha, f->sha256);
    hub_digest_hex(&git, hex);
    memcpy(f->git_id, hex, sizeof f->git_id);
    return ok;
}

static int64_t changed_at(const struct stat *st) {
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static bool read_file(push *p, const hub_push_file *from, push_file *f, gv_err *err) {
    struct stat st;
    *f = (push_file){.path = from->path, .local = from->local};
    if (!hub_path_check(sv_of(f->path), err)) return false;
    const int fd = open(f->local, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return gv_fail_errno(err, "cannot open %s", f->local);
    bool ok = fstat(fd, &st) == 0 || gv_fail_errno(err, "%s", f->local);
    if (ok && !S_ISREG(st.st_mode)) ok = gv_fail(err, GV_IO, -1, "%s is no file", f->local);
    if (ok) {
        f->size = (uint64_t)st.st_size;
        f->changed_ns = changed_at(&st);
        ok = digest_file(p, f, fd, err);
    }
    close(fd);
    return ok;
}

static bool read_files(push *p, const hub_push_file *files, gv_err *err) {
    for (size_t i = 0; i < p->n; i++)
        if (!read_file(p, &files[i], &p->files[i], err)) return false;
    return true;
}

/* Nothing that was read may have changed by the time it is committed. */
static bool still_same(const push *p, gv_err *err) {
    for (size_t i = 0; i < p->n; i++) {
        struct stat st;
        const push_file *f = &p->files[i];
        if (stat(f->local, &st) != 0) return gv_fail_errno(err, "%s", f->local);
        if ((uint64_t)st.st_size != f->size || changed_at(&st) != f->changed_ns)
            return gv_fail(err, GV_STATE, -1, "%s changed while it was being pushed; nothing was committed", f->local);
    }
    return true;
}

/* ---- the card ---- */

/* The Hub's words about the card, before anything is sent. */
static bool validate_card(push *p, gv_err *err) {
    const push_file *card = NULL;
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->files[i].path, "README.md") == 0) card = &p->files[i];
    if (!card) return true;
    buf text = {0}, body = {0}, url = {0};
    http_response r = {0};
    bool ok = file_read_all(card->local, MAX_CARD, &text, err);
    buf_add_str(&body, "{\"content\":");
    json_put_string(&body, buf_view(&text));
    buf_printf(&body, ",\"repoType\":\"%s\"}", p->repo->kind == HUB_DATASET ? "dataset" : "model");
    buf_printf(&url, "%s/api/validate-yaml", p->h->endpoint);
    ok = ok && push_post(p, url.p, NULL, buf_view(&body), HTTP_RETRY_ALWAYS, &r, err);
    if (ok && r.status == 400) {
        gv_err words = GV_ERR_INIT;
        ok = http_check(&r, &words) || gv_fail(err, GV_FORMAT, -1, "the Hub refuses the card %s: %s", card->local, words.msg);
    }
    /* another failure is not about the card: the commit will tell */
    http_response_fini(&r);
    buf_fini(&text);
    buf_fini(&body);
    buf_fini(&url);
    return ok;
}

/* ---- preupload ---- */

static push_file *find_file(push *p, size_t from, size_t n, sv path) {
    for (size_t i = from; i < from + n; i++)
        if (sv_is(path, p->files[i].path)) return &p->files[i];
    return NULL;
}

static bool read_modes(push *p, size_t from, size_t n, sv json, gv_err *err) {
    json_doc *d = json_parse(json, err);
    const json_value *list = d ? json_get(json_root(d), "files") : NULL;
    size_t known = 0;
    bool ok = d != NULL;
    if (ok && (!list || json_kind_of(list) != JSON_ARRAY)) ok = gv_fail(err, GV_FORMAT, -1, "preupload: the reply has no list of files");
    for (json_iter it = json_each(list); ok && list && json_next(&it);) {
        push_file *f = find_file(p, from, n, push_text(it.value, "path"));
        const json_value *ignore = json_get(it.value, "shouldIgnore");
        if (!f) continue;
        known++;
        if (ignore && json_kind_of(ignore) == JSON_BOOL && json_bool(ignore))
            ok = gv_fail(err, GV_STATE, -1, "%s would be lost: .gitignore of %s excludes it", f->path, p->repo->id);
        f->lfs = f->size > 0 && sv_is(push_text(it.value, "uploadMode"), "lfs");
        f->there = sv_is(push_text(it.value, "oid"), f->lfs ? f->sha256 : f->git_id);
    }
    if (ok && known != n) ok = gv_fail(err, GV_FORMAT, -1, "preupload: the Hub told how %zu of %zu files go", known, n);
    json_free(d);
    return ok;
}

static bool preupload(push *p, size_t from, size_t n, gv_err *err) {
    buf body = {0}, below = {0}, url = {0};
    http_response r = {0};
    buf_add_str(&body, "{\"files\":[");
    for (size_t i = from; i < from + n; i++) {
        const push_file *f = &p->files[i];
        buf_add_str(&body, i > from ? ",{\"path\":" : "{\"path\":");
        json_put_string(&body, sv_of(f->path));
        buf_add_str(&body, ",\"sample\":\"");
        base64_encode(f->sample, f->size < PUSH_SAMPLE ? (size_t)f->size : PUSH_SAMPLE, &body);
        buf_printf(&body, "\",\"size\":%llu}", (unsigned long long)f->size);
    }
    buf_add_str(&body, "]}");
    buf_add_str(&below, "/preupload/");
    http_url_escape(sv_of(p->repo->rev), "", &below);
    hub_api_url(p->h, p->repo, below.p, &url);
    bool ok = push_post(p, url.p, NULL, buf_view(&body), HTTP_RETRY_ALWAYS, &r, err) && hub_check(p->h, p->repo, NULL, &r, err) &&
              read_modes(p, from, n, buf_view(&r.body), err);
    http_response_fini(&r);
    buf_fini(&body);
    buf_fini(&below);
    buf_fini(&url);
    return ok;
}

/* ---- deletions ---- */

static bool is_pushed(const push *p, const char *path) {
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->files[i].path, path) == 0) return true;
    return false;
}

static bool is_deleted(const push *p, const char *path) {
    return hub_glob_match(p->o->delete_globs, p->o->n_delete_globs, path) && !is_pushed(p, path);
}

/* What the head has, matches, and is not pushed. */
static bool find_deletions(push *p, hub_list *out, gv_err *err) {
    if (p->o->n_delete_globs == 0) return true;
    hub_repo at = *p->repo;
    memcpy(at.rev, p->head, sizeof p->head);
    if (!hub_ls(p->h, &at, NULL, out, err)) return false;
    size_t n = 0;
    for (size_t i = 0; i < out->n; i++)
        if (is_deleted(p, out->files[i].path)) out->files[n++] = out->files[i];
    out->n = n;
    return true;
}

/* ---- all of it ---- */

static void count_work(push *p) {
    p->progress.files = p->n;
    for (size_t i = 0; i < p->n; i++) {
        const push_file *f = &p->files[i];
        p->progress.bytes += f->size;
        if (!f->there && f->lfs) continue;
        p->progress.bytes_before += f->there ? f->size : 0;
        p->progress.bytes_done += f->there ? f->size : 0;
        p->progress.files_done += f->there;
    }
}

static bool push_all(push *p, const hub_push_file *files, hub_list *deleted, hub_push_result *out, gv_err *err) {
    if (!read_files(p, files, err) || !push_open_repo(p, out, err) || !validate_card(p, err)) return false;
    for (size_t i = 0; i < p->n; i += PREUPLOAD_FILES)
        if (!preupload(p, i, p->n - i < PREUPLOAD_FILES ? p->n - i : PREUPLOAD_FILES, err)) return false;
    count_work(p);
    if (!find_deletions(p, deleted, err) || !push_lfs(p, err) || !still_same(p, err)) return false;
    if (!push_commit(p, deleted, out, err)) return false;
    p->progress.files_done = p->n;
    p->progress.bytes_done = p->progress.bytes;
    push_show(p, true);
    return true;
}

bool hub_push(hub *h, const hub_repo *repo, const hub_push_file *files, size_t n, const hub_push_options *o, hub_show *show, void *ctx,
              hub_push_result *out, gv_err *err) {
    push p = {.h = h, .repo = repo, .o = o, .n = n, .show = show, .ctx = ctx, .start_us = clock_mono_us()};
    hub_list deleted = {0};
    *out = (hub_push_result){0};
    if (n == 0) return gv_fail(err, GV_USAGE, -1, "no files to push");
    if (n > HUB_PUSH_MAX_FILES) return gv_fail(err, GV_LIMIT, -1, "%zu files, more than the cap of %d for one push", n, HUB_PUSH_MAX_FILES);
    p.files = gv_xcalloc(n, sizeof *p.files);
    const bool ok = push_all(&p, files, &deleted, out, err);
    hub_list_fini(&deleted);
    free(p.files);
    return ok;
}
