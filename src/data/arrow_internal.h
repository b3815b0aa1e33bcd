/* Shared by arrow_flat.c (FlatBuffers), arrow_schema.c (types) and arrow_ipc.c (messages, batches, rows). */
#ifndef GAVEL_DATA_ARROW_INTERNAL_H
#define GAVEL_DATA_ARROW_INTERNAL_H

#include "base/file.h"
#include "base/mem.h"
#include "data/arrow_ipc.h"

/* ---- arrow_flat.c: FlatBuffers with every offset checked ----
 * A buffer is p[0, n); a table stands at `at` and has its fields' places in a vtable.  Functions that return a place return 0 for an absent
 * field; a broken buffer sets *broken, once and for all, and reads as absent. */
typedef struct flat {
    const uint8_t *p;
    size_t n;
    bool broken;
} flat;
typedef struct flat_table {
    size_t at, vtable;
    uint16_t vtable_bytes, bytes;
} flat_table;

bool flat_root(flat *f, flat_table *t);
/* Scalars with their default. */
int64_t flat_int(flat *f, const flat_table *t, int field, size_t width, int64_t absent);
bool flat_child(flat *f, const flat_table *t, int field, flat_table *child);
sv flat_string(flat *f, const flat_table *t, int field);
/* A vector of elements of width bytes: its first element's place and number. */
bool flat_vector(flat *f, const flat_table *t, int field, size_t width, size_t *at, size_t *n);
/* The i-th table of a vector of tables that flat_vector found with width 4. */
bool flat_element(flat *f, size_t at, size_t i, flat_table *child);
int64_t flat_read(const flat *f, size_t at, size_t width); /* little-endian, signed; the place is checked already */

/* ---- arrow_schema.c ---- */

typedef enum arrow_kind {
    ARROW_NULL,
    ARROW_BOOL,
    ARROW_INT,
    ARROW_UINT,
    ARROW_FLOAT,
    ARROW_TEXT,
    ARROW_BINARY,
    ARROW_FIXED_BINARY,
    ARROW_DATE, /* per_day units a day */
    ARROW_TIME,
    ARROW_TIMESTAMP,
    ARROW_DECIMAL,
    ARROW_LIST,
    ARROW_FIXED_LIST,
    ARROW_STRUCT,
} arrow_kind;

typedef struct arrow_bytes {
    const uint8_t *p;
    size_t n;
} arrow_bytes;

typedef struct arrow_node {
    sv name;
    buf key; /* JSON text of the name and a colon */
    arrow_kind kind;
    size_t width; /* bytes of a value, or of an offset; 1 for bool stands for a bit */
    int64_t unit; /* date: units a day; time and timestamp: units a second; fixed list: elements */
    int scale;    /* decimal */
    bool utc;
    struct arrow_node *children;
    size_t n_children;
    /* of the current batch */
    uint64_t length;
    arrow_bytes valid, offsets, data; /* valid.p NULL: no nulls */
} arrow_node;

/* The Schema table as a struct node whose children are the columns. */
bool arrow_read_schema(flat *f, const flat_table *table, const char *name, arrow_node *root, gv_err *err) GV_MUST_USE;
void arrow_free_node(arrow_node *n);
/* The value at index i as JSON text.  Its batch has been checked. */
bool arrow_put_value(const arrow_node *n, uint64_t i, buf *out, size_t cap, const char *name, gv_err *err) GV_MUST_USE;

#endif
