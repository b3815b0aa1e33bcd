/* The cache folder, laid out as hub.h says.  Names that come from outside were checked (hub_ref.c, hub_json.c) before they are put together here. */
#include "base/file.h"
#include "http/hub_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_TREE_BYTES = 256 << 20, MAX_DEPTH = 64 };

void hub_cache_repo(const hub *h, const hub_repo *repo, buf *path) {
    buf_clear(path);
    buf_printf(path, "%s/%s--", h->cache, repo->kind == HUB_DATASET ? "datasets" : "models");
    for (const char *p = repo->id; *p; p++) {
        if (*p == '/')
            buf_add_str(path, "--");
        else
            buf_add_char(path, *p);
    }
}

void hub_cache_blob(const hub *h, const hub_repo *repo, const char *etag, buf *path) {
    hub_cache_repo(h, repo, path);
    buf_printf(path, "/blobs/%s", etag);
}

/* PLACE/COMMIT[/FILE] below the repository's folder. */
static void put_place(const hub *h, const hub_repo *repo, const char *place, const char *commit, const char *file, buf *path) {
    hub_cache_repo(h, repo, path);
    buf_printf(path, "/%s/%s%s%s", place, commit, file ? "/" : "", file ? file : "");
}

void hub_cache_snapshot(const hub *h, const hub_repo *repo, const char *commit, const char *file, buf *path) {
    put_place(h, repo, "snapshots", commit, file, path);
}

bool hub_make_folders(const char *path, gv_err *err) {
    char *copy = gv_xstrdup(path);
    bool ok = true;
    for (char *p = copy + 1; ok && (p = strchr(p, '/')); p++) {
        *p = 0;
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) ok = gv_fail_errno(err, "cannot create folder %s", copy);
        *p = '/';
    }
    free(copy);
    return ok;
}

/* ---- refs ---- */

bool hub_cache_commit(const hub *h, const hub_repo *repo, char commit[41]) {
    gv_err ignored = GV_ERR_INIT; /* not there, or not a commit: not known */
    buf path = {0}, text = {0};
    sv s = sv_of(repo->rev);
    if (!hub_commit_check(s)) {
        hub_cache_repo(h, repo, &path);
        buf_printf(&path, "/refs/%s", repo->rev);
        s = file_read_all(path.p, 100, &text, &ignored) ? buf_view(&text) : (sv){0};
        while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r')) s.n--;
    }
    const bool ok = hub_commit_check(s);
    if (ok) memcpy(commit, s.p, 40);
    if (ok) commit[40] = 0;
    buf_fini(&path);
    buf_fini(&text);
    return ok;
}

bool hub_cache_has(const hub *h, const hub_repo *repo, char commit[41]) {
    buf path = {0};
    bool there = hub_cache_commit(h, repo, commit);
    if (there) hub_cache_snapshot(h, repo, commit, NULL, &path);
    there = there && file_exists(path.p);
    buf_fini(&path);
    return there;
}

static bool replace_file(const char *path, sv text, gv_err *err) {
    file_writer w;
    const bool ok = hub_make_folders(path, err) && file_writer_open(&w, path, err);
    if (!ok) return false;
    if (file_writer_put(&w, text.p, text.n, err)) return file_writer_commit(&w, err);
    file_writer_abandon(&w);
    return false;
}

bool hub_cache_set_ref(const hub *h, const hub_repo *repo, const char *commit, gv_err *err) {
    char known[41] = "";
    buf path = {0};
    if (hub_commit_check(sv_of(repo->rev)) || (hub_cache_commit(h, repo, known) && strcmp(known, commit) == 0)) return true;
    hub_cache_repo(h, repo, &path);
    buf_printf(&path, "/refs/%s", repo->rev);
    const bool ok = replace_file(path.p, sv_of(commit), err);
    buf_fini(&path);
    return ok;
}

/* ---- listings ---- */

bool hub_cache_tree(const hub *h, const hub_repo *repo, const char *commit, hub_list *l) {
    gv_err ignored = GV_ERR_INIT; /* a listing that cannot be read is asked for again */
    buf path = {0}, text = {0};
    hub_cache_repo(h, repo, &path);
    buf_printf(&path, "/trees/%s.json", commit);
    const bool ok = file_read_all(path.p, MAX_TREE_BYTES, &text, &ignored) && hub_tree_cache_parse(buf_view(&text), l, &ignored);
    if (!ok) l->n = 0;
    buf_fini(&path);
    buf_fini(&text);
    return ok;
}

void hub_cache_set_tree(const hub *h, const hub_repo *repo, const hub_list *l) {
    gv_err ignored = GV_ERR_INIT;
    buf path = {0}, text = {0};
    hub_cache_repo(h, repo, &path);
    buf_printf(&path, "/trees/%s.json", l->commit);
    hub_tree_cache_put(l, &text);
    if (!replace_file(path.p, buf_view(&text), &ignored)) unlink(path.p);
    buf_fini(&path);
    buf_fini(&text);
}

static bool walk(buf *path, size_t root, int depth, hub_list *l, gv_err *err) {
    DIR *d = opendir(path->p);
    if (!d) return errno == ENOENT || gv_fail_errno(err, "cannot read folder %s", path->p);
    const size_t here = path->n;
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(d));) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        buf_printf(path, "/%s", e->d_name);
        if (stat(path->p, &st) == 0 && S_ISDIR(st.st_mode) && depth < MAX_DEPTH)
            ok = walk(path, root, depth + 1, l, err);
        else if (stat(path->p, &st) == 0 && S_ISREG(st.st_mode) && l->n < HUB_MAX_FILES) /* a link to a missing blob is not there */
            hub_list_add(l, sv_sub(buf_view(path), root, path->n), (uint64_t)st.st_size, (sv){0}, (sv){0});
        path->n = here;
        path->p[here] = 0;
    }
    closedir(d);
    return ok;
}

bool hub_cache_walk(const hub *h, const hub_repo *repo, const char *commit, hub_list *l, gv_err *err) {
    buf path = {0};
    hub_cache_snapshot(h, repo, commit, NULL, &path);
    const bool ok = walk(&path, path.n + 1, 0, l, err) && hub_list_sort(l, err);
    buf_fini(&path);
    return ok;
}

/* ---- files that are not there ---- */

bool hub_cache_no_exist(const hub *h, const hub_repo *repo, const char *commit, const char *file) {
    buf path = {0};
    put_place(h, repo, ".no_exist", commit, file, &path);
    const bool known = file_exists(path.p);
    buf_fini(&path);
    return known;
}

void hub_cache_set_no_exist(const hub *h, const hub_repo *repo, const char *commit, const char *file) {
    gv_err ignored = GV_ERR_INIT; /* only saves asking again */
    buf path = {0};
    put_place(h, repo, ".no_exist", commit, file, &path);
    const int fd = hub_make_folders(path.p, &ignored) ? open(path.p, O_WRONLY | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (fd >= 0) close(fd);
    buf_fini(&path);
}

/* ---- links ---- */

bool hub_cache_link(const hub *h, const hub_repo *repo, const char *commit, const char *file, const char *etag, gv_err *err) {
    buf path = {0}, target = {0}, tmp = {0};
    char there[256];
    hub_cache_snapshot(h, repo, commit, file, &path);
    buf_add_str(&target, "../../"); /* from snapshots/COMMIT to the repository's folder */
    for (const char *p = file; (p = strchr(p, '/')); p++) buf_add_str(&target, "../");
    buf_printf(&target, "blobs/%s", etag);
    const ssize_t n = readlink(path.p, there, sizeof there);
    bool ok = true;
    if (n < 0 || !sv_eq((sv){there, (size_t)n}, buf_view(&target))) {
        /* a link under a name of ours, then renamed: nobody sees the place without a link */
        buf_printf(&tmp, "%s.tmp-%ld", path.p, (long)getpid());
        ok = hub_make_folders(path.p, err);
        if (ok) unlink(tmp.p);
        if (ok && (symlink(target.p, tmp.p) != 0 || rename(tmp.p, path.p) != 0)) {
            ok = gv_fail_errno(err, "cannot link %s to its blob", path.p);
            unlink(tmp.p);
        }
    }
    buf_fini(&path);
    buf_fini(&target);
    buf_fini(&tmp);
    return ok;
}
