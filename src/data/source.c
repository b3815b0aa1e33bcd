/* Bytes of a row file in chunks of 256 KiB.  A leading UTF-8 byte order mark is skipped; what is certainly no text (UTF-16, gzip, zstd,
 * Parquet) is refused at the first chunk by its magic number. */
#include "data/rows_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_BYTES = 1 << 18 };

bool source_open(source *s, const char *path, gv_err *err) {
    *s = (source){.fd = STDIN_FILENO, .name = path, .bytes_all = -1, .line = 1};
    if (strcmp(path, "-") != 0) s->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0) return gv_fail_errno(err, "cannot open %s", path);
    struct stat st;
    if (fstat(s->fd, &st) != 0) return gv_fail_errno(err, "cannot read %s", path);
    if (S_ISDIR(st.st_mode))
        return gv_fail(err, GV_UNSUPPORTED, -1, "%s is a folder; rows are read from a .jsonl, .json, .csv, .tsv or .parquet file", path);
    if (S_ISREG(st.st_mode)) {
        s->bytes_all = st.st_size;
        (void)posix_fadvise(s->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* advice only */
    }
    s->chunk = gv_xmalloc(CHUNK_BYTES);
    return true;
}

void source_open_memory(source *s, const void *p, size_t n) {
    *s = (source){.fd = -1, .p = p, .bytes_all = (int64_t)n, .line = 1};
}

void source_close(source *s) {
    if (s->fd > STDIN_FILENO) close(s->fd);
    free(s->chunk);
    *s = (source){.fd = -1};
}

static bool starts(const source *s, const char *magic, size_t n) {
    return s->n >= n && memcmp(s->p, magic, n) == 0;
}

static bool check_magic(source *s, gv_err *err) {
    if (starts(s, "\xef\xbb\xbf", 3)) s->pos = 3;
    const char *what = NULL;
    if (starts(s, "\xff\xfe", 2) || starts(s, "\xfe\xff", 2)) what = "UTF-16 text; convert it to UTF-8 first";
    if (starts(s, "\x1f\x8b", 2)) what = "gzip-compressed; decompress it first";
    if (starts(s, "\x28\xb5\x2f\xfd", 4)) what = "zstd-compressed; decompress it first";
    if (starts(s, "PAR1", 4)) what = "a Parquet file; name it .parquet";
    return !what || gv_fail(err, GV_UNSUPPORTED, -1, "%s is %s", s->name, what);
}

bool source_fill(source *s, gv_err *err) {
    if (s->pos < s->n || s->at_end) return true;
    bool first = s->bytes_read == 0;
    if (s->fd < 0) { /* memory is one chunk */
        s->n = first ? (size_t)s->bytes_all : s->n;
        s->at_end = true;
    } else {
        s->p = s->chunk;
        s->pos = s->n = 0;
        while (s->n < CHUNK_BYTES) { /* whole chunks also from pipes, so that magic numbers and lines are not cut needlessly */
            ssize_t got = read(s->fd, s->chunk + s->n, CHUNK_BYTES - s->n);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) return gv_fail_errno(err, "cannot read %s", s->name);
            if (got == 0) {
                s->at_end = true;
                break;
            }
            s->n += (size_t)got;
        }
    }
    if (s->digest && s->n > s->pos) sha256_add(s->digest, s->p + s->pos, s->n - s->pos);
    s->bytes_read += (int64_t)(s->n - s->pos);
    return !first || s->binary || check_magic(s, err);
}

bool source_drain(source *s, gv_err *err) {
    do {
        s->pos = s->n;
        if (!source_fill(s, err)) return false;
    } while (s->pos < s->n);
    return true;
}

bool source_peek(source *s, int *c, gv_err *err) {
    if (s->pos == s->n && !source_fill(s, err)) return false;
    *c = s->pos < s->n ? (unsigned char)s->p[s->pos] : -1;
    return true;
}

void source_take(source *s, size_t n) {
    const char *p = s->p + s->pos, *end = p + n;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
        s->line++;
        p++;
    }
    s->pos += n;
}
