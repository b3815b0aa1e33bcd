/* Shared by parquet_tree.c (types and levels), parquet_text.c (values as text), parquet_read.c and parquet_write.c. */
#ifndef GAVEL_DATA_PARQUET_INTERNAL_H
#define GAVEL_DATA_PARQUET_INTERNAL_H

#include "data/parquet.h"

#include <carquet/carquet.h>

/* A column, member or element, beside its schema_type, with the levels of Dremel's encoding: a value at or below the node is described by
 * how many optional and repeated ancestors are there (def) and by the innermost list that it continues (rep, 0: a new row). */
typedef struct pq_node {
    schema_type *type;
    sv name;           /* of a member */
    int16_t def;       /* from this definition level on the node is not null */
    int16_t outer_def; /* from this one on its parent is not null; less than def if the node may be null */
    int16_t item_def;  /* list: from this one on it has an element */
    int16_t item_rep;  /* list: repetition level of every element but the first */
    int leaf;          /* index of the Parquet column, -1 for lists and structs */
    int first_leaf, n_leaves;
    struct pq_node *children;
    size_t n_children;
} pq_node;

/* How a leaf's values are stored. */
typedef enum pq_special { PQ_PLAIN, PQ_UUID, PQ_INT96 } pq_special;
typedef struct pq_leaf {
    carquet_physical_type_t physical;
    int32_t width; /* FIXED_LEN_BYTE_ARRAY */
    int16_t max_def, max_rep;
    pq_special special;
    const schema_type *type;
} pq_leaf;

/* The tree of a file's schema.  root: a struct of all columns; its types are in s, its leaves in *leaves (all of arena a). */
bool pq_tree_read(const carquet_schema_t *file, schema *s, arena *a, pq_node *root, pq_leaf **leaves, int *n_leaves,
                  gv_err *err) GV_MUST_USE;
/* The tree to write s, and the same as carquet's schema (to be freed by the caller). */
bool pq_tree_write(schema *s, arena *a, pq_node *root, pq_leaf **leaves, int *n_leaves, carquet_schema_t **file, gv_err *err) GV_MUST_USE;

/* Bytes of a value in carquet's buffers. */
size_t pq_value_bytes(const pq_leaf *l);
/* Adds the JSON text of the value at p; false, with *why, if it has none. */
bool pq_put_value(buf *out, const pq_leaf *l, const void *p, const char **why) GV_MUST_USE;
/* The other way: adds the value's bytes as stored (BYTE_ARRAY: the text alone) to out.  False, with *why, if v is none of the type. */
bool pq_get_value(buf *out, const pq_leaf *l, const json_value *v, const char **why) GV_MUST_USE;

#endif
