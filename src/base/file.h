/* Files: read-only maps, whole-file reads with a cap, and writes that replace a file atomically. */
#ifndef GAVEL_BASE_FILE_H
#define GAVEL_BASE_FILE_H

#include "base/err.h"
#include "base/str.h"

#include <stdio.h>

/* Which file it is, and in which state: another file, or a change of this one, gives another file_id. */
typedef struct file_id {
    uint64_t dev, ino, size;
    int64_t mtime_ns, ctime_ns;
} file_id;

/* A file mapped read-only.  Truncating it elsewhere while mapped is a fault we cannot catch; documented in README's limits. */
typedef struct file_map {
    const uint8_t *p; /* NULL for an empty file */
    size_t n;
    file_id id;
} file_map;

/* GV_IO: no regular file; GV_FORMAT: a Git LFS pointer that stands for a file. */
bool file_map_open(file_map *m, const char *path, gv_err *err) GV_MUST_USE;
void file_map_close(file_map *m);
/* Tells the kernel that the pages of [from, from+n) are not needed again; rounds inward to pages. */
void file_map_drop(const file_map *m, size_t from, size_t n);

/* Appends the whole file to out; GV_LIMIT if it is larger than cap bytes. */
bool file_read_all(const char *path, size_t cap, buf *out, gv_err *err) GV_MUST_USE;
bool file_exists(const char *path);
/* The path from the root, free of links but for the file itself, which keeps its name: in the Hub's cache a model is a link to a blob, and its parts are
 * found by their names.  NULL if there is no such file; the caller's (free). */
char *file_absolute(const char *path);
/* NAME-00002-of-00003, five digits each, as files of one model are numbered: cuts *name to NAME and gives 2 and 3.  False, and nothing changed, if it
 * does not end so or the number is not among 1 to the count. */
bool file_take_part(sv *name, uint32_t *part, uint32_t *parts);

/* Write to PATH.tmp-<pid>, then fsync, rename over PATH and fsync the folder.  A failed or abandoned write leaves PATH as it was.
 * Opening removes the temporary files that killed writers of PATH left. */
typedef struct file_writer {
    FILE *f;
    char *path, *tmp;
} file_writer;
bool file_writer_open(file_writer *w, const char *path, gv_err *err) GV_MUST_USE;
bool file_writer_put(file_writer *w, const void *p, size_t n, gv_err *err) GV_MUST_USE;
/* Checks every write (disk full shows here), then replaces PATH.  On failure the temporary file is removed. */
bool file_writer_commit(file_writer *w, gv_err *err) GV_MUST_USE;
/* Drops the temporary file; safe after commit and on a zeroed writer. */
void file_writer_abandon(file_writer *w);

#endif
