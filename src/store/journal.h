/* The run journal: one SQLite file (OUT.run) with opaque records by key and a table of texts about the run.  docs/journal.md has the schema
 * and why a crash cannot lose or corrupt a record.
 *
 * A put is committed when it returns: killing the process at any moment loses none.  journal_sync makes it hold against power loss too.  One
 * process holds a journal at a time; a journal belongs to one thread. */
#ifndef GAVEL_STORE_JOURNAL_H
#define GAVEL_STORE_JOURNAL_H

#include "base/err.h"
#include "base/str.h"

#include <stddef.h>

#define JOURNAL_MAX_ROW          ((UINT64_C(1) << 36) - 1)
#define JOURNAL_MAX_VARIANT      ((1u << 13) - 1) /* order and rubric, packed by the caller */
#define JOURNAL_MAX_SAMPLE       ((1u << 14) - 1)
#define JOURNAL_MAX_RECORD_BYTES ((size_t)256 << 20)

/* Records are ordered by row, then variant, then sample. */
typedef struct journal_key {
    uint64_t row;
    uint32_t variant, sample;
} journal_key;

typedef enum journal_mode {
    JOURNAL_OPEN, /* continue it, or create it if absent or empty */
    JOURNAL_READ, /* must exist; nothing is changed (works on read-only media) */
} journal_mode;

typedef struct journal journal;

/* NULL on failure.  GV_STATE: another process has it open (message names its process id when known), or a newer schema; GV_FORMAT: not a gavel
 * journal, or damaged; GV_IO: folder read-only or absent, disk full. */
journal *journal_open(const char *path, journal_mode mode, gv_err *err) GV_MUST_USE;
/* Checkpoints, so that the file alone holds everything; NULL is fine. */
void journal_close(journal *j);
/* Removes the files of a journal that was opened for writing, then closes it; j is gone in any case.  NULL is fine. */
bool journal_drop(journal *j, gv_err *err) GV_MUST_USE;
/* Removes a journal and its side files (--fresh).  True if there is none; refuses what is not a gavel journal or is in use. */
bool journal_remove(const char *path, gv_err *err) GV_MUST_USE;

/* Adds or replaces; committed on return.  failed marks the record for journal_delete_failed.  GV_LIMIT for a key or record over the caps above,
 * GV_IO when the disk is full: then nothing changed, the journal stays good, and the put can be tried again. */
bool journal_put(journal *j, journal_key key, bool failed, sv record, gv_err *err) GV_MUST_USE;
/* Appends the record to out, which may be NULL; failed may be NULL.  Every reader gives GV_FORMAT for what is not as it was written. */
bool journal_get(journal *j, journal_key key, bool *found, bool *failed, buf *out, gv_err *err) GV_MUST_USE;

/* Walks records in key order: journal_cursor c = {0}; while (journal_next(j, &c, &end, &err) && !end) use c.key, c.failed, c.record.  Puts and
 * deletes in between are fine.  To begin at a key: {.next = key}. */
typedef struct journal_cursor {
    journal_key next; /* the lowest key to visit */
    bool done;
    journal_key key;
    bool failed;
    sv record; /* the journal's, until its next call */
} journal_cursor;
bool journal_next(journal *j, journal_cursor *c, bool *end, gv_err *err) GV_MUST_USE;

/* Deletes the records put as failed; *n says how many (may be NULL). */
bool journal_delete_failed(journal *j, uint64_t *n, gv_err *err) GV_MUST_USE;
bool journal_delete(journal *j, journal_key key, gv_err *err) GV_MUST_USE;

typedef struct journal_counts {
    uint64_t records, failed; /* records includes failed */
} journal_counts;
journal_counts journal_count(const journal *j);

/* Texts about the run by name: settings, versions, digests. */
bool journal_set_meta(journal *j, const char *name, sv text, gv_err *err) GV_MUST_USE;
/* Appends to out (may be NULL). */
bool journal_get_meta(journal *j, const char *name, bool *found, buf *out, gv_err *err) GV_MUST_USE;
/* Calls fn for each in order of name; stops when fn returns false, which is no error. */
typedef bool journal_meta_fn(void *ctx, sv name, sv text);
bool journal_each_meta(journal *j, journal_meta_fn *fn, void *ctx, gv_err *err) GV_MUST_USE;
/* Several puts and meta texts as one atom: begin, puts, commit; rollback undoes.  Inside, a put is committed only by journal_commit. */
bool journal_begin(journal *j, gv_err *err) GV_MUST_USE;
bool journal_commit(journal *j, gv_err *err) GV_MUST_USE;
void journal_rollback(journal *j);

/* Flushes to the disk (fsync) and folds the write-ahead log into the file. */
bool journal_sync(journal *j, gv_err *err) GV_MUST_USE;
/* Reads everything: SQLite's integrity check, our digests and counters; GV_FORMAT names the first damage. */
bool journal_check(journal *j, gv_err *err) GV_MUST_USE;
const char *journal_path(const journal *j);

#endif
