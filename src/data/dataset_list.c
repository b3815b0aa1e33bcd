/* Which files a data set has: the tree of a repository at a commit, or a folder here, walked only where a pattern can match.
 *
 * Order is that of the names' bytes, which for UTF-8 is Python's.  Links are followed; depth and number of files are capped. */
#include "data/dataset_internal.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Never data, unless a pattern ends in the name itself. */
static const char *const ignored_names[] = {"README.md",          "config.json",    "dataset_info.json",
                                            "dataset_infos.json", "dummy_data.zip", "dataset_dict.json"};

bool listing_open_local(listing *l, const char *folder, gv_err *err) {
    struct stat st;
    *l = (listing){0};
    arena_init(&l->a);
    if (stat(folder, &st) != 0) return gv_fail_errno(err, "cannot open %s", folder);
    if (!S_ISDIR(st.st_mode)) return gv_fail(err, GV_USAGE, -1, "%s is no folder", folder);
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') n--;
    l->root = arena_dup(&l->a, folder, n);
    return true;
}

bool listing_open_hub(listing *l, hub *h, const hub_repo *repo, gv_err *err) {
    *l = (listing){.hub = h, .repo = *repo};
    arena_init(&l->a);
    if (!hub_ls(h, repo, NULL, &l->files, err)) return false;
    if (l->files.n > LISTING_MAX_FILES)
        return gv_fail(err, GV_LIMIT, -1, "%s: %zu files, more than the cap of %d", repo->id, l->files.n, LISTING_MAX_FILES);
    snprintf(l->repo.rev, sizeof l->repo.rev, "%s", l->files.commit); /* all that follows is of this commit */
    l->root = arena_printf(&l->a, "hf://datasets/%s@%s", repo->id, l->files.commit);
    return true;
}

void listing_close(listing *l) {
    hub_list_fini(&l->files);
    arena_fini(&l->a);
    *l = (listing){0};
}

static int compare_paths(const void *a, const void *b) {
    const sv *x = a, *y = b;
    const int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

static sv base_of(sv path) {
    const char *slash = memrchr(path.p, '/', path.n);
    return slash ? sv_sub(path, (size_t)(slash - path.p) + 1, path.n) : path;
}

static bool is_ignored(sv path, sv asked) {
    const sv name = base_of(path);
    for (size_t i = 0; i < sizeof ignored_names / sizeof ignored_names[0]; i++)
        if (sv_is(name, ignored_names[i])) return !sv_eq(name, base_of(asked));
    return false;
}

/* ---- a folder here ---- */

typedef struct walk {
    listing *l;
    const pattern *p;
    sv asked, prefix; /* asked: text of p; prefix: bytes of the names that do not count for it: the root and its slash */
    pattern_budget *budget;
    size_t max_depth, n_seen;
    buf path; /* of the folder being walked */
    buf *out;
} walk;

static bool take_file(walk *w, gv_err *err) {
    const sv full = buf_view(&w->path), path = sv_sub(full, w->prefix.n, full.n);
    bool matches;
    if (++w->n_seen > LISTING_MAX_FILES)
        return gv_fail(err, GV_LIMIT, -1, "%s: more files than the cap of %d", w->l->root, LISTING_MAX_FILES);
    if (!pattern_match(w->p, path, w->budget, &matches, err)) return false;
    if (!matches || is_ignored(path, w->asked) || pattern_is_unasked(path, w->asked)) return true;
    const sv kept = {arena_dup(&w->l->a, path.p, path.n), path.n};
    buf_add(w->out, &kept, sizeof kept);
    return true;
}

static bool walk_folder(walk *w, size_t depth, gv_err *err) {
    if (depth > LISTING_MAX_DEPTH)
        return gv_fail(err, GV_LIMIT, -1, "%s: folders nested deeper than the cap of %d", w->path.p, LISTING_MAX_DEPTH);
    DIR *d = opendir(w->path.n ? w->path.p : ".");
    if (!d) return errno == ENOENT || errno == ENOTDIR || gv_fail_errno(err, "cannot read folder %s", w->path.n ? w->path.p : ".");
    const size_t n = w->path.n;
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(d));) {
        struct stat st;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (n && w->path.p[n - 1] != '/') buf_add_char(&w->path, '/');
        buf_add_str(&w->path, e->d_name);
        if (stat(w->path.p, &st) == 0) { /* a link to nothing is no file */
            if (S_ISREG(st.st_mode)) ok = take_file(w, err);
            if (S_ISDIR(st.st_mode) && depth < w->max_depth) ok = walk_folder(w, depth + 1, err);
        }
        w->path.n = n;
        w->path.p[n] = 0;
    }
    closedir(d);
    return ok;
}

/* Bytes of the leading components without magic, with their last slash. */
static size_t literal_folder(sv text) {
    size_t folder = 0;
    for (size_t i = 0; i < text.n && !strchr("*?[", text.p[i]); i++)
        if (text.p[i] == '/') folder = i + 1;
    return folder;
}

static bool match_local(listing *l, sv base, sv text, const pattern *p, pattern_budget *b, buf *out, gv_err *err) {
    walk w = {.l = l, .p = p, .asked = text, .budget = b, .out = out};
    const bool absolute = text.n && text.p[0] == '/';
    const size_t folder = literal_folder(text);
    if (!absolute) {
        buf_printf(&w.path, "%s/", l->root);
        w.prefix = (sv){NULL, w.path.n};
        if (base.n) buf_printf(&w.path, SV_FMT "/", SV_ARG(base));
        w.prefix.n = w.path.n;
    }
    bool ok = true;
    if (!pattern_is_magic(text)) {
        struct stat st;
        buf_add_sv(&w.path, text);
        if (stat(w.path.p, &st) == 0 && S_ISREG(st.st_mode)) ok = take_file(&w, err);
    } else {
        buf_add(&w.path, text.p, folder);
        if (w.path.n > 1 && w.path.p[w.path.n - 1] == '/') w.path.p[--w.path.n] = 0;
        w.max_depth = LISTING_MAX_DEPTH;
        if (sv_find(text, SV("**"), 0) == SIZE_MAX) {
            w.max_depth = 0;
            for (size_t i = folder; i < text.n; i++) w.max_depth += text.p[i] == '/';
        }
        ok = walk_folder(&w, 0, err);
    }
    buf_fini(&w.path);
    return ok;
}

/* ---- a repository ---- */

static bool match_hub(listing *l, sv base, sv text, const pattern *p, pattern_budget *b, buf *out, gv_err *err) {
    for (size_t i = 0; i < l->files.n; i++) {
        sv path = sv_of(l->files.files[i].path);
        bool matches;
        if (base.n && !(path.n > base.n && sv_starts(path, base) && path.p[base.n] == '/')) continue;
        if (base.n) path = sv_sub(path, base.n + 1, path.n);
        if (!pattern_match(p, path, b, &matches, err)) return false;
        if (matches && !is_ignored(path, text) && !pattern_is_unasked(path, text)) buf_add(out, &path, sizeof path);
    }
    return true;
}

bool listing_match(listing *l, sv base, sv text, pattern_budget *b, buf *out, gv_err *err) {
    pattern *p = pattern_compile(text, err);
    if (!p) return false;
    const size_t before = out->n;
    const bool ok = l->hub ? match_hub(l, base, text, p, b, out, err) : match_local(l, base, text, p, b, out, err);
    pattern_free(p);
    if (!ok) return false;
    sv *found = (sv *)(void *)(out->p + before);
    const size_t n = out->n > before ? (out->n - before) / sizeof *found : 0;
    if (n > 1) qsort(found, n, sizeof *found, compare_paths);
    for (size_t i = 0; i < n && base.n; i++) { /* relative to the root */
        if (found[i].p[0] == '/') continue;
        char *full = arena_printf(&l->a, SV_FMT "/" SV_FMT, SV_ARG(base), SV_ARG(found[i]));
        found[i] = sv_of(full);
    }
    return true;
}

bool listing_read(listing *l, const char *path, size_t cap, buf *out, bool *found, gv_err *err) {
    if (l->hub) {
        *found = hub_list_find(&l->files, path) != NULL;
        return !*found || hub_read(l->hub, &l->repo, path, cap, out, found, err);
    }
    buf full = {0};
    buf_printf(&full, "%s/%s", l->root, path);
    *found = file_exists(full.p);
    const bool ok = !*found || file_read_all(full.p, cap, out, err);
    buf_fini(&full);
    return ok;
}
