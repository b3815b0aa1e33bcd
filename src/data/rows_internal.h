/* Shared by rows.c (the reader), source.c (bytes), rows_json.c, rows_csv.c and rows_parquet.c (formats), ids.c (duplicate ids). */
#ifndef GAVEL_DATA_ROWS_INTERNAL_H
#define GAVEL_DATA_ROWS_INTERNAL_H

#include "data/pack.h"
#include "data/parquet.h"
#include "data/rows.h"
#include "data/unpack.h"

/* Bytes of a file or of memory, unpacked, chunk by chunk: p[pos, n) is what is left of the current chunk. */
typedef struct source {
    const char *p;
    size_t pos, n;
    bool at_end; /* no chunk after this one */
    bool binary; /* need not be text */
    int fd;      /* -1: memory */
    char *chunk; /* owned, for fd */
    const char *name;
    bool started, stored_end;      /* something was read; there is no more to read */
    int64_t bytes_read, bytes_all; /* as stored; -1: unknown */
    sha256 *digest;                /* NULL: none; fed with what is stored */
    unpacker *unpacker;            /* NULL: not compressed */
    sv packed;                     /* read and not yet unpacked */
    char *unpacked;                /* owned; the chunk of an unpacker */
    int64_t line;                  /* of p[pos], kept by the formats */
} source;

bool source_open(source *s, const char *path, gv_err *err) GV_MUST_USE;
void source_open_memory(source *s, const void *p, size_t n);
void source_close(source *s);
/* Brings the next chunk once the current one is used up; s->at_end with pos == n afterwards means the input is over. */
bool source_fill(source *s, gv_err *err) GV_MUST_USE;
/* Reads and forgets the rest, for the digest. */
bool source_drain(source *s, gv_err *err) GV_MUST_USE;
/* Next byte without taking it, or -1 at the end. */
bool source_peek(source *s, int *c, gv_err *err) GV_MUST_USE;
/* Takes n bytes of the current chunk and counts their lines. */
void source_take(source *s, size_t n);

/* Format and compression that a name's end tells, in any case of letters; ROWS_AUTO: none that is known. */
rows_format rows_suffix(const char *path, pack_kind *packing);

/* Seen ids: 16 bytes each (88 bits of SHA-256, 40 bits of row number), at most 3/4 full. */
typedef struct id_set {
    struct id_slot *slots;
    size_t n, cap;
} id_set;
/* *before: UINT64_MAX when id is new, else the number of the row that has it. */
bool id_set_add(id_set *s, sv id, uint64_t number, uint64_t *before, gv_err *err) GV_MUST_USE;
void id_set_fini(id_set *s);

/* Rows that another file makes (dataset_rows.c), in place of a source and a format.  next fills row_text and row_line, or marks the row bad. */
typedef struct rows_feed {
    void *self;
    bool (*next)(void *self, rows_reader *r, bool *end, gv_err *err);
    void (*close)(void *self);
    const schema *types; /* as rows_types */
} rows_feed;
/* The rows of o->data, or of the data set at path, which is then opened for this feed alone. */
bool dataset_feed_open(const char *path, const rows_options *o, rows_feed *out, gv_err *err) GV_MUST_USE;

typedef enum json_state { JS_START, JS_ARRAY, JS_OBJECT, JS_TAIL, JS_DONE } json_state;

struct rows_reader {
    rows_options o;
    rows_format format;
    char *name; /* for messages */
    size_t max_row_bytes;
    source src;
    rows_feed feed;       /* feed.next is NULL: none */
    uint64_t next_number; /* of the next row */
    bool done;

    /* the current row, filled by the format */
    buf text;    /* its JSON text when it could not be a view of the source */
    sv row_text; /* the JSON text: of `text` or of the source's chunk */
    buf key;     /* member's name, object of objects */
    int64_t row_line;
    buf message;
    bool bad, blank;

    /* the current row, parsed */
    json_doc *doc;
    buf columns; /* of row_column */
    char number_text[24];
    buf id;

    /* JSON */
    json_state json;
    bool json_first, json_wrapped, json_rows; /* no element yet; inside {"data": [; an object of objects */
    buf json_skipped;                         /* name of the first member that was no row */

    /* CSV and TSV */
    char delimiter;
    sv *header;
    size_t n_header;
    arena header_arena;
    buf header_json; /* "name": of each column, one after the other */
    size_t *header_ends;
    buf fields; /* bytes of the record's fields, one after the other */
    size_t *field_ends;
    size_t n_fields; /* of the record; only the first n_header + 1 have an end */

    pq_reader *parquet;

    id_set ids;
    bool id_seen; /* some row had the id column */

    /* a later pass (rows_open_again) */
    sha256 digest;
    char want_sha256[65]; /* empty: nothing to compare */
};

/* Marks the current row bad: "NAME:LINE: ...". */
void rows_bad(rows_reader *r, int64_t line, const char *fmt, ...) GV_PRINTF(3, 4);
/* The next row of the file into row_text, row_line and key, or bad with a message.  With want false a CSV row's text is not made. */
bool rows_next_jsonl(rows_reader *r, bool *end, gv_err *err) GV_MUST_USE;
bool rows_next_json(rows_reader *r, bool *end, gv_err *err) GV_MUST_USE;
bool rows_next_csv(rows_reader *r, bool want, bool *end, gv_err *err) GV_MUST_USE;
bool rows_read_header(rows_reader *r, gv_err *err) GV_MUST_USE;
void rows_fini_csv(rows_reader *r);
/* path NULL: from r->src, which is memory. */
bool rows_open_parquet(rows_reader *r, const char *path, gv_err *err) GV_MUST_USE;
bool rows_next_parquet(rows_reader *r, bool want, bool *end, gv_err *err) GV_MUST_USE;
void rows_position_parquet(const rows_reader *r, int64_t *bytes_read, int64_t *bytes_all);
/* A row of n columns; cell_of: of each column cell + 1, or 0; values and docs: scratch of n. */
bool rows_parquet_put(pq_writer *w, const json_value **values, json_doc **docs, const rows_cell *cells, const size_t *cell_of, size_t n,
                      gv_err *err) GV_MUST_USE;
/* Cuts text, an object that root was parsed from, into its members; the array is out's bytes. False if they disagree (never for valid JSON). */
bool rows_cut_object(sv text, const json_value *root, buf *out);

#endif
