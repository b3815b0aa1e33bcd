/* See distiset_internal.h; and the list of a finished folder's files.
 *
 * A Distiset is flat: three files with fixed names and folders of train-NNNNN-of-NNNNN.parquet.  Only such a folder is ever replaced or removed,
 * and links inside of it are foreign, so that nothing outside can be reached. */
#include "pipe/distiset_internal.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

bool distiset_is_config_name(sv name) {
    if (!name.n || name.n > DISTISET_MAX_CONFIG_BYTES) return false;
    for (size_t i = 0; i < name.n; i++) {
        const char c = name.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-')) return false;
    }
    return true;
}

static bool is_top_file(const char *name) {
    return !strcmp(name, DISTISET_CARD) || !strcmp(name, DISTISET_PIPELINE) || !strcmp(name, DISTISET_LOG);
}

/* train-00000-of-00001.parquet */
static bool is_shard(const char *name) {
    static const char pattern[] = "train-#####-of-#####.parquet";
    if (strlen(name) != sizeof pattern - 1) return false;
    for (size_t i = 0; i < sizeof pattern - 1; i++)
        if (pattern[i] == '#' ? name[i] < '0' || name[i] > '9' : name[i] != pattern[i]) return false;
    return true;
}

typedef struct found {
    char *path; /* relative to the folder */
    bool shard;
} found;
typedef struct found_list {
    found *v;
    size_t n, cap;
} found_list;

static void found_fini(found_list *f) {
    for (size_t i = 0; i < f->n; i++) free(f->v[i].path);
    free(f->v);
    *f = (found_list){0};
}

static void found_add(found_list *f, const char *folder, const char *name, bool shard) {
    buf path = {0};
    if (*folder) buf_printf(&path, "%s/", folder);
    buf_add_str(&path, name);
    if (f->n == f->cap) f->v = gv_xrealloc(f->v, (f->cap = f->cap ? 2 * f->cap : 16) * sizeof *f->v);
    f->v[f->n++] = (found){path.p, shard};
}

/* Lists a folder that must hold only files of a Distiset; folder: "" or a config's.  GV_STATE names the first that is none. */
static bool scan(const char *dir, const char *folder, found_list *out, gv_err *err) {
    buf path = {0};
    bool ok = true;
    buf_printf(&path, "%s%s%s", dir, *folder ? "/" : "", folder);
    DIR *d = opendir(path.p);
    if (!d) ok = gv_fail_errno(err, "cannot read %s", path.p);
    for (struct dirent *e; d && ok && (e = readdir(d));) {
        struct stat st;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            ok = gv_fail_errno(err, "cannot read %s/%s", path.p, str_show(sv_of(e->d_name)).text);
        else if (!*folder && S_ISDIR(st.st_mode) && distiset_is_config_name(sv_of(e->d_name)))
            ok = scan(dir, e->d_name, out, err);
        else if (S_ISREG(st.st_mode) && (*folder ? is_shard(e->d_name) : is_top_file(e->d_name)))
            found_add(out, folder, e->d_name, *folder != 0);
        else
            ok = gv_fail(err, GV_STATE, -1, "%s/%s is no file of a Distiset", path.p, str_show(sv_of(e->d_name)).text);
    }
    if (d) closedir(d);
    buf_fini(&path);
    return ok;
}

/* Removes a staging folder or a Distiset: files, folders in it, itself.  What it cannot remove stays. */
static void remove_folder(const char *path, int depth) {
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (unlinkat(dirfd(d), e->d_name, 0) == 0 || depth == 0) continue;
        buf inner = {0};
        buf_printf(&inner, "%s/%s", path, e->d_name);
        remove_folder(inner.p, depth - 1);
        buf_fini(&inner);
    }
    if (d) closedir(d);
    rmdir(path);
}

/* Splits path: its folder (caller frees) and the last part. */
static char *folder_of(const char *path, const char **base) {
    char *folder = gv_xstrdup(path), *slash = strrchr(folder, '/');
    *base = slash ? path + (slash - folder) + 1 : path;
    if (slash) slash[slash == folder] = 0;
    if (slash) return folder;
    free(folder);
    return gv_xstrdup(".");
}

/* Removes the staging folders of path that no living writer holds. */
static void remove_stale(const char *path) {
    const char *base;
    char *folder = folder_of(path, &base);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        const size_t n = strlen(base);
        if (strncmp(e->d_name, base, n) != 0 || strncmp(e->d_name + n, ".tmp-", 5) != 0) continue;
        const char *digits = e->d_name + n + 5;
        if (!*digits || digits[strspn(digits, "0123456789")]) continue;
        const int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) continue;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            buf stale = {0};
            buf_printf(&stale, "%s/%s", folder, e->d_name);
            remove_folder(stale.p, 1);
            buf_fini(&stale);
        }
        close(fd);
    }
    if (d) closedir(d);
    free(folder);
}

static bool resolve(dir_swap *d, const char *path, gv_err *err) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    d->path = realpath(path, NULL);
    if (!d->path) {
        if (errno != ENOENT) return gv_fail_errno(err, "cannot write %s", path);
        d->path = strndup(path, n);
        return n > 0 || gv_fail(err, GV_USAGE, -1, "the output folder has no name");
    }
    struct stat st;
    if (stat(d->path, &st) != 0) return gv_fail_errno(err, "cannot write %s", path);
    if (!S_ISDIR(st.st_mode)) return gv_fail(err, GV_IO, -1, "cannot write %s: it is no folder", path);
    char *here = realpath(".", NULL);
    const bool current = here && !strcmp(here, d->path);
    free(here);
    if (current) return gv_fail(err, GV_USAGE, -1, "cannot replace %s: it is the current folder", path);
    found_list files = {0};
    const bool ok = scan(d->path, "", &files, err);
    found_fini(&files);
    return ok || gv_context(err, "cannot replace %s", path);
}

bool dir_swap_open(dir_swap *d, const char *path, gv_err *err) {
    *d = (dir_swap){.lock = -1};
    if (!resolve(d, path, err)) goto fail;
    remove_stale(d->path);
    buf staging = {0};
    buf_printf(&staging, "%s.tmp-%ld", d->path, (long)getpid());
    if (mkdir(staging.p, 0777) != 0) {
        gv_fail_errno(err, "cannot create %s", staging.p);
        buf_fini(&staging);
        goto fail;
    }
    d->staging = staging.p;
    d->lock = open(d->staging, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->lock >= 0) (void)flock(d->lock, LOCK_EX | LOCK_NB); /* a file system without locks keeps what killed writers left */
    return true;
fail:
    dir_swap_fini(d);
    return false;
}

static bool sync_folder(const char *path, gv_err *err) {
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool ok = fd < 0 || fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP || gv_fail_errno(err, "cannot sync %s", path);
    if (fd >= 0) close(fd);
    return ok;
}

/* Where the file system cannot exchange two names: the old folder is renamed away first. */
static bool replace_in_steps(dir_swap *d, gv_err *err) {
    buf old = {0};
    buf_printf(&old, "%s.old-%ld", d->path, (long)getpid());
    bool ok = rename(d->path, old.p) == 0 || gv_fail_errno(err, "cannot replace %s", d->path);
    if (ok && rename(d->staging, d->path) != 0) {
        ok = gv_fail_errno(err, "cannot replace %s", d->path);
        if (rename(old.p, d->path) != 0) gv_context(err, "its files are in %s", old.p);
    } else if (ok) {
        remove_folder(old.p, 1);
    }
    buf_fini(&old);
    return ok;
}

bool dir_swap_commit(dir_swap *d, gv_err *err) {
    const char *base;
    bool ok = true;
    if (!sync_folder(d->staging, err)) return false;
    if (rename(d->staging, d->path) != 0) { /* this replaces an empty folder too */
        if (errno != ENOTEMPTY && errno != EEXIST) return gv_fail_errno(err, "cannot replace %s", d->path);
        found_list files = {0}; /* hours may have passed since it was looked at */
        ok = scan(d->path, "", &files, err) || gv_context(err, "cannot replace %s", d->path);
        found_fini(&files);
        if (!ok) return false;
        if (renameat2(AT_FDCWD, d->staging, AT_FDCWD, d->path, RENAME_EXCHANGE) == 0)
            remove_folder(d->staging, 1);
        else
            ok = replace_in_steps(d, err);
    }
    if (!ok) return false;
    free(d->staging);
    d->staging = NULL;
    char *folder = folder_of(d->path, &base);
    ok = sync_folder(folder, err);
    free(folder);
    return ok;
}

void dir_swap_fini(dir_swap *d) {
    if (d->staging) remove_folder(d->staging, 1);
    if (d->lock >= 0) close(d->lock);
    free(d->staging);
    free(d->path);
    *d = (dir_swap){.lock = -1};
}

/* ---- the files of a finished folder ---- */

static int rank(const found *f) {
    if (f->shard) return 0;
    return !strcmp(f->path, DISTISET_CARD) ? 2 : 1;
}

static int compare_found(const void *a, const void *b) {
    const found *x = a, *y = b;
    return rank(x) != rank(y) ? rank(x) - rank(y) : strcmp(x->path, y->path);
}

static bool add_file(distiset_files *out, const char *dir, const char *path, gv_err *err) {
    distiset_file *f = &out->v[out->n];
    file_map m;
    sha256 hash;
    buf full = {0};
    buf_printf(&full, "%s/%s", dir, path);
    const bool ok = file_map_open(&m, full.p, err);
    buf_fini(&full);
    if (!ok) return false;
    sha256_init(&hash);
    for (size_t from = 0, n; from < m.n; from += n) {
        n = m.n - from < (8u << 20) ? m.n - from : 8u << 20;
        sha256_add(&hash, m.p + from, n);
        file_map_drop(&m, from, n);
    }
    sha256_hex(&hash, f->sha256);
    f->bytes = m.n;
    f->path = gv_xstrdup(path);
    out->n++;
    file_map_close(&m);
    return true;
}

bool distiset_list(const char *dir, distiset_files *out, gv_err *err) {
    found_list files = {0};
    *out = (distiset_files){0};
    bool ok = scan(dir, "", &files, err), has_card = false, has_shards = false;
    if (files.n) qsort(files.v, files.n, sizeof *files.v, compare_found);
    for (size_t i = 0; i < files.n; i++) {
        has_card = has_card || rank(&files.v[i]) == 2;
        has_shards = has_shards || files.v[i].shard;
    }
    if (ok && (!has_card || !has_shards))
        ok = gv_fail(err, GV_STATE, -1, "%s is no Distiset: it has no %s", dir, has_card ? "data/train-*.parquet" : DISTISET_CARD);
    if (ok) out->v = gv_xcalloc(files.n, sizeof *out->v);
    for (size_t i = 0; i < files.n && ok; i++) ok = add_file(out, dir, files.v[i].path, err);
    found_fini(&files);
    if (!ok) distiset_files_fini(out);
    return ok;
}

void distiset_files_fini(distiset_files *f) {
    for (size_t i = 0; i < f->n; i++) free(f->v[i].path);
    free(f->v);
    *f = (distiset_files){0};
}
