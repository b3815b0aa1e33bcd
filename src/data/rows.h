/* Row streams: read rows from JSONL, JSON, CSV, TSV (all also as gzip or zstd) and Parquet files one at a time, and write
 * rows to the same.  docs/data.md has the formats.
 *
 * A row is an ordered list of columns, each with its raw JSON text (byte-exact for JSONL and JSON; a JSON string made of the field for CSV
 * and TSV, by the column's type for Parquet) and the parsed value.  A row that breaks its format is delivered with bad = true and a message, and reading goes on behind it;
 * what breaks the file as a whole (it cannot be opened, a broken CSV header, JSON that ends early) fails the call.
 * Memory is bounded by the row cap (64 MiB) plus, with an id column, at most 48 bytes a row.  A reader belongs to one thread. */
#ifndef GAVEL_DATA_ROWS_H
#define GAVEL_DATA_ROWS_H

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "data/schema.h"

#define ROWS_MAX_ROW_BYTES ((size_t)64 << 20) /* a line, JSON element or CSV record */
#define ROWS_MAX_COLUMNS   10000u

/* Names asked for -> columns of the input: "instruction=prompt,generation=completion". */
typedef struct rows_map {
    struct rows_map_entry {
        char *name, *column;
    } * v;
    size_t n;
} rows_map;
/* Adds the pairs of text; GV_USAGE if a pair is not NAME=COLUMN or a name is mapped twice. */
bool rows_map_add(rows_map *m, const char *text, gv_err *err) GV_MUST_USE;
void rows_map_fini(rows_map *m);

typedef enum rows_format { ROWS_AUTO, ROWS_JSONL, ROWS_JSON, ROWS_CSV, ROWS_TSV, ROWS_PARQUET } rows_format;

/* Zero is the default everywhere. Strings and the map are borrowed until the reader is closed. */
typedef struct rows_options {
    rows_format format;   /* ROWS_AUTO: by suffix; "-" is JSONL */
    const char *name;     /* shown in messages instead of the path (for spooled standard input); NULL: the path */
    uint64_t limit;       /* only the first `limit` rows of the input, before sharding; 0: all */
    uint64_t shard_index; /* row r belongs to shard r % shard_count == shard_index */
    uint64_t shard_count; /* 0: no sharding */
    const char *id_col;   /* column with the row's id: text or an integer; a second row with the same id is a GV_FORMAT error naming both */
    const rows_map *map;
    size_t max_row_bytes; /* 0: ROWS_MAX_ROW_BYTES */
    char delimiter;       /* CSV; 0: a comma, for TSV a tab */
    bool may_be_empty;    /* an input without rows, or without bytes, is no error */
    bool short_rows;      /* CSV: fields missing at a record's end are empty; else the row is bad */
    struct dataset *data; /* these rows instead of those of path (data/dataset.h), which is then only shown */
    bool blank_lines;     /* JSON lines: a line of white space is delivered as a bad row with `blank` set; else it is nothing */
    bool types;           /* rows_scan also finds the columns' types; a column of mixed types is then GV_FORMAT */
} rows_options;

typedef struct row_column {
    sv name;                 /* decoded */
    sv raw_name;             /* with quotes, as in the source; made for CSV */
    sv raw;                  /* JSON text of the value */
    const json_value *value; /* the same, parsed */
} row_column;

/* All views are the reader's and hold until the next rows_next or rows_close. */
typedef struct row {
    uint64_t number; /* global, from 0, also under limit and shard */
    int64_t line;    /* line of the file where the row begins, from 1; Parquet: number of the row, from 1 */
    sv id;           /* the id column's text, or the row number in decimal */
    sv key;          /* the member's name when the input is an object of objects, else empty */
    sv text;         /* the whole row's JSON text (made for CSV); empty if bad */
    bool bad;        /* no columns; message says why: "FILE:LINE: reason" */
    bool blank;      /* a blank line: it has no number of its own (number is the next row's) */
    sv message;
    const row_column *columns; /* in input order; names are distinct */
    size_t n_columns;
    const struct rows_reader *reader;
} row;

typedef struct rows_reader rows_reader;

/* NULL on failure.  GV_IO: cannot open or read; GV_UNSUPPORTED: UTF-16, xz, compressed Parquet; GV_USAGE: unknown suffix, shard out of
 * range; GV_FORMAT: empty file, broken CSV header.  path "-" reads JSONL from standard input (once; see rows_spool_stdin). */
rows_reader *rows_open(const char *path, const rows_options *o, gv_err *err) GV_MUST_USE;
/* The same over borrowed bytes; o->format must be given. */
rows_reader *rows_open_memory(const void *p, size_t n, const rows_options *o, gv_err *err) GV_MUST_USE;
void rows_close(rows_reader *r);

/* The next selected row, or *end = true.  An input without a single row (selected or not) is GV_FORMAT at its end. */
bool rows_next(rows_reader *r, row *out, bool *end, gv_err *err) GV_MUST_USE;
/* Columns of a CSV or TSV header; *n = 0 and NULL for JSON, where each row has its own. */
const sv *rows_header(const rows_reader *r, size_t *n);
/* The types that the input itself declares for its columns (Parquet; of several files those that are the same in all), TYPE_NULL for the others; NULL:
 * it declares none.  The reader's. */
const schema *rows_types(const rows_reader *r);
/* Stored bytes read so far and the file's size (-1 if unknown), for progress. */
void rows_position(const rows_reader *r, int64_t *bytes_read, int64_t *bytes_all);

/* Column by the name asked for, through the map; NULL if the row has none. */
const row_column *row_get(const row *r, const char *name);
/* As row_get; absent is GV_USAGE: 'FILE:3: no column "instruction"; the row has "instructions", "id"; did you mean "instructions"?' */
const row_column *row_need(const row *r, const char *name, gv_err *err) GV_MUST_USE;

/* One whole pass over the input, before a run: counts, digest and columns; also finds duplicate ids before anything is judged. */
typedef struct rows_summary {
    uint64_t n_rows;     /* in the input, up to limit */
    uint64_t n_selected; /* of these in this shard */
    uint64_t n_bad;      /* of the selected */
    char sha256[65];     /* of the whole input's bytes, as stored */
    sv *columns;         /* of all good selected rows, in order of first appearance */
    size_t n_columns;
    schema types; /* of the columns, if asked for: those of a Parquet file, else as the values of all good selected rows need them */
    arena a;      /* holds columns */
} rows_summary;
/* GV_LIMIT if the rows have more than ROWS_MAX_COLUMNS different columns. */
bool rows_scan(const char *path, const rows_options *o, rows_summary *s, gv_err *err) GV_MUST_USE;
/* As rows_open, for a later pass: at its end rows_next fails with GV_STATE if the bytes are not those that s was made from. */
rows_reader *rows_open_again(const char *path, const rows_options *o, const rows_summary *s, gv_err *err) GV_MUST_USE;
void rows_summary_fini(rows_summary *s);

/* Copies standard input into path (replaced atomically), so that it can be read twice.  GV_FORMAT if it is empty, GV_INTERRUPTED when a signal
 * handler ran while it waited for more. */
bool rows_spool_stdin(const char *path, gv_err *err) GV_MUST_USE;

/* ---- writing ---- */

typedef struct rows_cell {
    sv name;     /* decoded */
    sv raw_name; /* JSON text of the name, or empty: then made from name */
    sv raw;      /* JSON text of the value; line breaks between its tokens are dropped, nothing else */
} rows_cell;

typedef struct rows_writer rows_writer;

/* Can rows be written there?  GV_UNSUPPORTED for folders, GV_USAGE for other suffixes, GV_IO if the folder is absent or not
 * writable. */
bool rows_writer_check(const char *path, gv_err *err) GV_MUST_USE;
/* Is path a row file by its suffix: .jsonl, .json, .csv, .tsv, with .gz or .zst behind it, or .parquet? */
bool rows_is_file_name(const char *path);
/* Suffix decides: .jsonl, .json, .csv, .tsv, also with .gz or .zst behind it.  CSV and TSV need their columns here (RFC 4180 with LF line ends, header
 * first); the others ignore them.  The file appears at commit, atomically. */
rows_writer *rows_writer_open(const char *path, const sv *columns, size_t n_columns, gv_err *err) GV_MUST_USE;
/* JSONL, JSON: the cells in order.  CSV, TSV: cells by name, absent ones empty; GV_STATE for a name that is not a column of the writer. */
/* The same with the columns' types, which .parquet needs.  Parquet: cells by name, absent ones null; a value that does not
 * fit its column's type is GV_FORMAT at put. */
rows_writer *rows_writer_open_typed(const char *path, const schema *columns, gv_err *err) GV_MUST_USE;
/* Could these columns be written to path?  Before the work that makes them. */
bool rows_writer_check_types(const char *path, const schema *columns, gv_err *err) GV_MUST_USE;
bool rows_writer_is_typed(const char *path); /* .parquet */
bool rows_writer_put(rows_writer *w, const rows_cell *cells, size_t n, gv_err *err) GV_MUST_USE;
/* Both free w; commit fails with GV_IO (disk full shows here) and leaves what was at path. abandon(NULL) is fine. */
bool rows_writer_commit(rows_writer *w, gv_err *err) GV_MUST_USE;
void rows_writer_abandon(rows_writer *w);

/* One JSON line with its newline, as the JSONL writer writes it. */
void rows_put_line(buf *out, const rows_cell *cells, size_t n);

#endif
