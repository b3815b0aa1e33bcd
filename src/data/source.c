/* Bytes of a row file in chunks of 256 KiB, unpacked if they are gzip or zstd.  A leading UTF-8 byte order mark is skipped; what is certainly no text
 * (UTF-16, other compressions, Parquet) is refused at the first chunk by its magic number. */
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
    free(s->unpacked);
    unpack_close(s->unpacker);
    *s = (source){.fd = -1};
}

static bool check_magic(source *s, gv_err *err) {
    static const struct {
        sv magic;
        const char *what;
    } known[] = {{{"\xff\xfe", 2}, "UTF-16 text; convert it to UTF-8 first"},
                 {{"\xfe\xff", 2}, "UTF-16 text; convert it to UTF-8 first"},
                 {{"\x1f\x8b", 2}, "compressed twice; decompress it once"},
                 {{"\x28\xb5\x2f\xfd", 4}, "compressed twice; decompress it once"},
                 {{"\xfd"
                   "7zXZ\0",
                   6},
                  "xz-compressed; decompress it first"},
                 {{"PAR1", 4}, "a Parquet file; name it .parquet"}};
    const sv head = {s->p, s->n};
    if (sv_starts(head, SV("\xef\xbb\xbf"))) s->pos = 3;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (sv_starts(head, known[i].magic)) return gv_fail(err, GV_UNSUPPORTED, -1, "%s is %s", s->name, known[i].what);
    return true;
}

/* The next bytes as they are stored; none at the end.  Whole chunks also from pipes, so that magic numbers and lines are not cut needlessly. */
static bool read_stored(source *s, sv *out, gv_err *err) {
    *out = (sv){s->chunk, 0};
    if (s->fd < 0 && !s->started) *out = (sv){s->p, (size_t)s->bytes_all}; /* memory is one chunk */
    while (s->fd >= 0 && out->n < CHUNK_BYTES && !s->stored_end) {
        ssize_t got = read(s->fd, s->chunk + out->n, CHUNK_BYTES - out->n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return gv_fail_errno(err, "cannot read %s", s->name);
        s->stored_end = got == 0;
        out->n += (size_t)got;
    }
    s->started = true;
    s->stored_end |= s->fd < 0;
    if (s->digest && out->n) sha256_add(s->digest, out->p, out->n);
    s->bytes_read += (int64_t)out->n;
    return true;
}

/* A chunk of what s->packed and what is stored behind it unpack to. */
static bool fill_unpacked(source *s, gv_err *err) {
    s->p = s->unpacked;
    for (size_t got = 1; s->n < CHUNK_BYTES; s->n += got) {
        if (got == 0 && s->packed.n == 0 && s->stored_end) {
            s->at_end = true;
            return unpack_finish(s->unpacker, err);
        }
        if (got == 0 && s->packed.n == 0 && !read_stored(s, &s->packed, err)) return false;
        if (!unpack_some(s->unpacker, &s->packed, s->unpacked + s->n, CHUNK_BYTES - s->n, &got, err)) return false;
    }
    return true;
}

bool source_fill(source *s, gv_err *err) {
    if (s->pos < s->n || s->at_end) return true;
    const bool first = !s->started;
    sv stored = {0};
    s->pos = s->n = 0;
    if (!s->unpacker && !read_stored(s, &stored, err)) return false;
    if (first && !s->binary && !unpack_open(stored, s->name, &s->unpacker, err)) return false;
    if (s->unpacker) {
        if (first) {
            s->packed = stored;
            s->unpacked = gv_xmalloc(CHUNK_BYTES);
        }
        if (!fill_unpacked(s, err)) return false;
    } else {
        s->p = stored.p;
        s->n = stored.n;
        s->at_end = s->stored_end;
    }
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
