/* See file.h.  Read-only maps, whole reads with a cap, and replacement of a file in one step.
 *
 * The writer creates PATH.tmp-<pid> beside PATH, so that rename stays on one file system; a PATH that is a symbolic link is followed first,
 * and an existing file's permissions are kept.  A PATH that exists and is no regular file (a device, a pipe) is written in place: renaming
 * over /dev/null would destroy it.  fsync order: file, rename, folder.
 *
 * A killed process leaves its temporary file behind.  A live one holds flock(2) on it until the rename, so whoever next writes the same PATH
 * removes those that nobody holds.  File systems without flock keep them. */
#include "base/file.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LFS_POINTER "version https://git-lfs.github.com/spec/" /* no model or tokenizer begins like this */

enum { WRITE_BUFFER = 1 << 16, READ_CHUNK = 1 << 16 };

static file_id id_of(const struct stat *st) {
    return (file_id){(uint64_t)st->st_dev, (uint64_t)st->st_ino, (uint64_t)st->st_size,
                     (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
                     (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec};
}

bool file_map_open(file_map *m, const char *path, gv_err *err) {
    *m = (file_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* opening a pipe would wait for a writer */
    if (fd < 0) return gv_fail_errno(err, "cannot open %s", path);
    struct stat st;
    bool ok = false;
    if (fstat(fd, &st) != 0) {
        gv_fail_errno(err, "cannot read %s", path);
    } else if (!S_ISREG(st.st_mode)) {
        gv_fail(err, GV_IO, -1, "cannot read %s: %s", path, S_ISDIR(st.st_mode) ? "it is a folder" : "not a regular file");
    } else if (st.st_size == 0) {
        ok = true;
    } else if ((uint64_t)st.st_size > PTRDIFF_MAX) {
        gv_fail(err, GV_LIMIT, -1, "%s: too large to map", path);
    } else {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            gv_fail_errno(err, "cannot map %s", path);
        } else if (sv_starts((sv){(const char *)p, (size_t)st.st_size}, SV(LFS_POINTER))) {
            munmap(p, (size_t)st.st_size);
            gv_fail(err, GV_FORMAT, -1, "%s: a Git LFS pointer, not the file itself; `git lfs pull` fetches it", path);
        } else {
            *m = (file_map){p, (size_t)st.st_size, id_of(&st)};
            ok = true;
        }
    }
    close(fd);
    return ok;
}

void file_map_close(file_map *m) {
    if (m->p) munmap((void *)(uintptr_t)m->p, m->n);
    *m = (file_map){0};
}

void file_map_drop(const file_map *m, size_t from, size_t n) {
    if (!m->p || from >= m->n) return;
    if (n > m->n - from) n = m->n - from;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t end = from + n == m->n ? (m->n + page - 1) / page * page : (from + n) / page * page; /* the last page is ours to its end */
    size_t begin = (from + page - 1) / page * page;
    if (begin < end) madvise((void *)(uintptr_t)(m->p + begin), end - begin, MADV_DONTNEED); /* advice only: a failure changes nothing */
}

bool file_read_all(const char *path, size_t cap, buf *out, gv_err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return gv_fail_errno(err, "cannot open %s", path);
    size_t start = out->n;
    struct stat st;
    bool ok = false;
    if (fstat(fd, &st) != 0) {
        gv_fail_errno(err, "cannot read %s", path);
        goto done;
    }
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > cap) {
        gv_fail(err, GV_LIMIT, -1, "%s: %lld bytes, more than the cap of %zu", path, (long long)st.st_size, cap);
        goto done;
    }
    size_t want = S_ISREG(st.st_mode) ? (size_t)st.st_size + 1 : READ_CHUNK; /* one more, to see the end without growing */
    for (;;) {
        if (!buf_try_reserve(out, want, path, err)) goto done;
        ssize_t got = read(fd, out->p + out->n, want);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            gv_fail_errno(err, "cannot read %s", path);
            goto done;
        }
        if (got == 0) break;
        out->n += (size_t)got;
        if (out->n - start > cap) {
            gv_fail(err, GV_LIMIT, -1, "%s: more than the cap of %zu bytes", path, cap);
            goto done;
        }
        want = READ_CHUNK;
    }
    ok = true;
done:
    if (!ok) out->n = start;
    if (out->p) out->p[out->n] = 0;
    close(fd);
    return ok;
}

bool file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

char *file_absolute(const char *path) {
    struct stat st;
    const char *slash = strrchr(path, '/');
    if (stat(path, &st) != 0) return NULL;
    if (S_ISDIR(st.st_mode)) return realpath(path, NULL);
    buf out = {0};
    buf_add(&out, path, slash ? (size_t)(slash - path) + 1 : 0);
    char *folder = realpath(out.n ? out.p : ".", NULL);
    buf_clear(&out);
    if (folder) buf_printf(&out, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, slash ? slash + 1 : path);
    free(folder);
    return out.p;
}

static bool five_digits(const char *p, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < 5; i++) {
        if (p[i] < '0' || p[i] > '9') return false;
        *out = *out * 10 + (uint32_t)(p[i] - '0');
    }
    return true;
}

bool file_take_part(sv *name, uint32_t *part, uint32_t *parts) {
    const size_t n = strlen("-00002-of-00003");
    uint32_t i, count;
    if (name->n <= n) return false;
    const char *p = name->p + name->n - n;
    if (p[0] != '-' || memcmp(p + 6, "-of-", 4) != 0 || !five_digits(p + 1, &i) || !five_digits(p + 10, &count)) return false;
    if (i < 1 || i > count) return false;
    name->n -= n;
    *part = i;
    *parts = count;
    return true;
}

/* Is name BASE.tmp-DIGITS? */
static bool is_temporary_of(const char *name, const char *base) {
    const size_t n = strlen(base);
    if (strncmp(name, base, n) != 0 || strncmp(name + n, ".tmp-", 5) != 0) return false;
    const char *digits = name + n + 5;
    return *digits && digits[strspn(digits, "0123456789")] == 0;
}

/* Removes what killed processes left of writing path.  Failures change nothing. */
static void remove_stale(const char *path) {
    char *folder = gv_xstrdup(path), *slash = strrchr(folder, '/');
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    if (slash) slash[slash == folder] = 0;
    DIR *d = opendir(slash ? folder : ".");
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!is_temporary_of(e->d_name, base)) continue;
        const int fd = openat(dirfd(d), e->d_name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) unlinkat(dirfd(d), e->d_name, 0);
        if (fd >= 0) close(fd);
    }
    if (d) closedir(d);
    free(folder);
}

/* Creates the temporary file and holds its lock; -1 with errno.  Another process's remove_stale may take the file in the moment between
 * creation and lock: then it has no name any more, and a second one is made. */
static int create_temporary(const char *tmp) {
    for (int tries = 0; tries < 10; tries++) {
        int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno == EEXIST) { /* left by a dead process of our number */
            unlink(tmp);
            fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        }
        struct stat st;
        if (fd < 0 || flock(fd, LOCK_EX) != 0 || fstat(fd, &st) != 0 || st.st_nlink > 0) return fd;
        close(fd);
    }
    errno = EBUSY;
    return -1;
}

bool file_writer_open(file_writer *w, const char *path, gv_err *err) {
    *w = (file_writer){0};
    struct stat st;
    bool exists = stat(path, &st) == 0;
    if (exists && S_ISDIR(st.st_mode)) return gv_fail(err, GV_IO, -1, "cannot write %s: it is a folder", path);
    int fd;
    if (exists && !S_ISREG(st.st_mode)) {
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0) return gv_fail_errno(err, "cannot write %s", path);
        w->path = gv_xstrdup(path);
    } else {
        char *real = exists ? realpath(path, NULL) : NULL;
        if (exists && !real) return gv_fail_errno(err, "cannot write %s", path);
        w->path = real ? real : gv_xstrdup(path);
        buf name = {0};
        buf_printf(&name, "%s.tmp-%ld", w->path, (long)getpid());
        w->tmp = name.p;
        remove_stale(w->path);
        fd = create_temporary(w->tmp);
        if (fd < 0) {
            gv_fail_errno(err, "cannot create %s", w->tmp);
            free(w->tmp);
            w->tmp = NULL;
            file_writer_abandon(w);
            return false;
        }
        if (exists && fchmod(fd, st.st_mode & 07777) != 0) errno = 0; /* not our file: the default permissions must do */
    }
    w->f = fdopen(fd, "w");
    if (!w->f) {
        gv_fail_errno(err, "cannot write %s", w->path);
        close(fd);
        file_writer_abandon(w);
        return false;
    }
    setvbuf(w->f, NULL, _IOFBF, WRITE_BUFFER);
    return true;
}

bool file_writer_put(file_writer *w, const void *p, size_t n, gv_err *err) {
    if (n == 0 || fwrite(p, 1, n, w->f) == n) return true;
    return gv_fail_errno(err, "cannot write %s", w->path);
}

/* Makes the rename in this file's folder durable.  File systems that cannot sync a folder say EINVAL; a folder we may write but not read
 * cannot be opened: both leave nothing to do. */
static bool sync_folder(const char *path, gv_err *err) {
    char *folder = gv_xstrdup(path), *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = 0;
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd < 0 || fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP || gv_fail_errno(err, "cannot sync the folder of %s", path);
    if (fd >= 0) close(fd);
    free(folder);
    return ok;
}

bool file_writer_commit(file_writer *w, gv_err *err) {
    bool ok = true;
    if (!w->f) return gv_fail(err, GV_STATE, -1, "file writer: commit without an open file");
    bool failed = ferror(w->f) != 0; /* errno of that write is gone: put has reported it, or a caller that wrote to w->f itself */
    if (fflush(w->f) != 0 || (fsync(fileno(w->f)) != 0 && w->tmp)) {
        ok = gv_fail_errno(err, "cannot write %s", w->path);
    } else if (failed) {
        ok = gv_fail(err, GV_IO, -1, "cannot write %s: an earlier write failed", w->path);
    }
    const int lock = w->tmp ? dup(fileno(w->f)) : -1; /* the lock lasts until the rename is done */
    if (fclose(w->f) != 0 && ok) ok = gv_fail_errno(err, "cannot write %s", w->path);
    w->f = NULL;
    if (ok && w->tmp) {
        if (rename(w->tmp, w->path) != 0) {
            ok = gv_fail_errno(err, "cannot replace %s", w->path);
        } else {
            free(w->tmp);
            w->tmp = NULL;
            ok = sync_folder(w->path, err);
        }
    }
    file_writer_abandon(w);
    if (lock >= 0) close(lock);
    return ok;
}

void file_writer_abandon(file_writer *w) {
    if (w->tmp) unlink(w->tmp);
    if (w->f) fclose(w->f);
    free(w->tmp);
    free(w->path);
    *w = (file_writer){0};
}
