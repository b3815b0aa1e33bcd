/* Parquet files: rows out of one, as JSON text, and rows into one.  docs/data.md has the mapping of types to JSON.
 *
 * Reading trusts nothing: the footer is checked against the file and against itself before a page is read, and the columns of a row against
 * each other while it is put together.  Memory is a page or two of each column, whatever the size of a row group.
 * A reader or writer belongs to one thread.  The library behind it is carquet; no other file of gavel knows it. */
#ifndef GAVEL_DATA_PARQUET_H
#define GAVEL_DATA_PARQUET_H

#include "data/schema.h"

/* ---- reading ---- */

typedef struct pq_reader pq_reader;

/* Opens a file.  columns: the names of those wanted, in the file's order whatever theirs; NULL: all.  GV_IO: cannot be opened;
 * GV_FORMAT: truncated, no Parquet, or a footer that contradicts itself or the file; GV_UNSUPPORTED: encrypted, a codec or a type
 * (named) that is not read; GV_USAGE: no such column; GV_LIMIT. */
pq_reader *pq_open(const char *path, const sv *columns, size_t n_columns, gv_err *err) GV_MUST_USE;
/* The same over borrowed bytes; name is for messages. */
pq_reader *pq_open_memory(const void *p, size_t n, const char *name, const sv *columns, size_t n_columns, gv_err *err) GV_MUST_USE;
void pq_close(pq_reader *r);
/* Of the wanted columns; the reader's. */
const schema *pq_schema(const pq_reader *r);
uint64_t pq_n_rows(const pq_reader *r);
/* Value of the footer's key-value metadata ("huggingface"), NULL if there is none. */
const char *pq_metadata(const pq_reader *r, const char *key);
/* Adds the next row's JSON object to out, or nothing if out is NULL (the row is passed over).  *bad: NULL, or why the row has no text (over
 * max_bytes, a text that is no UTF-8), the reader's until the next call; then what out got is of no use, but reading goes on.  *end after the
 * last row. */
bool pq_next(pq_reader *r, buf *out, size_t max_bytes, const char **bad, bool *end, gv_err *err) GV_MUST_USE;

/* ---- writing ---- */

typedef struct pq_pair {
    const char *key, *value;
} pq_pair;

typedef struct pq_write_options {
    size_t row_group_bytes; /* of values before encoding and compression; 0: 32 MiB */
    const pq_pair *metadata;
    size_t n_metadata;   /* besides "huggingface", which is made from the schema */
    bool no_huggingface; /* leave that one out */
} pq_write_options;

typedef struct pq_writer pq_writer;

/* Columns of type null are written as Parquet's null type.  Plain values in zstd pages of 1 MiB with checksums.  The file appears at commit,
 * atomically.  GV_UNSUPPORTED: a struct without members, a name with a NUL byte; GV_IO. o may be NULL. */
pq_writer *pq_writer_open(const char *path, const schema *s, const pq_write_options *o, gv_err *err) GV_MUST_USE;
/* What pq_writer_open would say of the columns, without a file. */
bool pq_writer_check(const schema *s, gv_err *err) GV_MUST_USE;
/* What pq_writer_put would say of one value of a column, whose type is of schema_see_value: GV_FORMAT naming column and row. */
bool pq_value_check(const schema_type *t, const json_value *v, sv column, uint64_t row, gv_err *err) GV_MUST_USE;
/* One row: an object by column name (absent: null), or one value a column (NULL: null).  GV_FORMAT naming column, type and row for a value
 * that does not fit; the writer is then of no more use. */
bool pq_writer_put(pq_writer *w, const json_value *row, gv_err *err) GV_MUST_USE;
bool pq_writer_put_values(pq_writer *w, const json_value *const *values, gv_err *err) GV_MUST_USE;
/* Both free w. */
bool pq_writer_commit(pq_writer *w, gv_err *err) GV_MUST_USE;
void pq_writer_abandon(pq_writer *w);

#endif
