/* The columns of a data set of JSON or CSV files (dataset_columns.c): seen once, settled, then put into each row. */
#ifndef GAVEL_DATA_DATASET_TABLE_H
#define GAVEL_DATA_DATASET_TABLE_H

#include "data/dataset_internal.h"
#include "data/schema.h"

/* What is known of a column beside its type. */
typedef struct table_column {
    uint64_t n_seen;
    bool as_is;                      /* JSON: values of different types */
    bool any, missing;               /* CSV: a value; a missing one */
    bool ints, uints, floats, bools; /* CSV: all values so far are */
} table_column;

typedef struct table {
    bool csv;
    schema schema; /* of CSV: only the kind of each column */
    buf columns;   /* of table_column */
    uint64_t n_rows;
} table;

void table_init(table *t, bool csv);
void table_fini(table *t);
size_t table_size(const table *t);
/* Learns from a good row.  GV_LIMIT: too many columns. */
bool table_see(table *t, const row *r, gv_err *err) GV_MUST_USE;
/* After the last row.  with may be NULL. */
void table_settle(table *t, const card *with, const char *config);
/* The row's JSON text with all columns, in out. */
void table_put(const table *t, const row *r, buf *out);

#endif
