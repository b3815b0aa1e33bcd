/* Parquet schemas as trees: what nests, which levels mark it, which column types it has; see parquet_internal.h.
 *
 * A file's schema is a list of elements in preorder without its tree's shape being told by carquet, but each leaf's path is: an element that
 * is no leaf opens a group of the next leaf's path.  LIST groups come in the shapes of the format's backward compatibility rules
 * (LogicalTypes.md): three levels, two levels, and repeated fields without any annotation.  A MAP is a list of {key, value}. */
#include "data/parquet_internal.h"

enum { MAX_PATH = 128 };

/* One element of the file, with its children. */
typedef struct raw_node {
    const char *name;
    const carquet_schema_node_t *node;
    int leaf; /* -1: group */
    struct raw_node *first, *last, *next;
    size_t n_children;
} raw_node;

static raw_node *add_raw(arena *a, raw_node *parent, const carquet_schema_node_t *n, int leaf) {
    raw_node *r = arena_alloc(a, sizeof *r);
    *r = (raw_node){.name = carquet_schema_node_name(n), .node = n, .leaf = leaf};
    if (parent->last)
        parent->last->next = r;
    else
        parent->first = r;
    parent->last = r;
    parent->n_children++;
    return r;
}

static bool read_raw(const carquet_schema_t *file, arena *a, raw_node *root, gv_err *err) {
    const int n_elements = carquet_schema_num_elements(file), n_leaves = carquet_schema_num_columns(file);
    raw_node *open[MAX_PATH] = {root};
    const char *path[MAX_PATH], *names[MAX_PATH] = {NULL};
    int depth = 0, at = 1;
    if (n_elements > (int)SCHEMA_MAX_NODES)
        return gv_fail(err, GV_LIMIT, -1, "%d schema elements, more than %u", n_elements, SCHEMA_MAX_NODES);
    for (int leaf = 0; leaf < n_leaves; leaf++) {
        const int d = carquet_schema_column_path(file, leaf, path, MAX_PATH);
        if (d < 1 || d > SCHEMA_MAX_DEPTH)
            return gv_fail(err, GV_LIMIT, -1, "column %d is nested %d levels deep, more than %d", leaf, d, SCHEMA_MAX_DEPTH);
        int common = 0;
        while (common < depth && common < d - 1 && names[common] == path[common]) common++;
        for (depth = common; depth < d; depth++, at++) {
            const carquet_schema_node_t *n = at < n_elements ? carquet_schema_get_element(file, at) : NULL;
            const bool is_leaf = depth == d - 1;
            if (!n || carquet_schema_node_name(n) != path[depth] || carquet_schema_node_is_leaf(n) != is_leaf)
                return gv_fail(err, GV_UNSUPPORTED, -1, "schema element %d is a group without columns", at);
            raw_node *r = add_raw(a, open[depth], n, is_leaf ? leaf : -1);
            open[depth + 1] = r;
            names[depth] = path[depth];
        }
        depth = d - 1;
    }
    return at == n_elements || gv_fail(err, GV_UNSUPPORTED, -1, "schema element %d is a group without columns", at);
}

/* ---- types of leaves ---- */

static bool fail_type(const raw_node *r, const char *what, gv_err *err) {
    return gv_fail(err, GV_UNSUPPORTED, -1, "column \"%s\" is of a type that is not read: %s", str_show(sv_of(r->name)).text, what);
}

static bool decimal_type(const raw_node *r, const carquet_logical_type_t *l, const pq_leaf *leaf, schema_type *t, gv_err *err) {
    const int32_t p = l->params.decimal.precision, s = l->params.decimal.scale;
    if (p < 1 || p > 38 || s < 0 || s > p) return fail_type(r, "a decimal of more than 38 digits", err);
    if (leaf->physical == CARQUET_PHYSICAL_FIXED_LEN_BYTE_ARRAY && leaf->width > 16)
        return fail_type(r, "a decimal of more than 16 bytes", err);
    if (leaf->physical == CARQUET_PHYSICAL_BOOLEAN || leaf->physical == CARQUET_PHYSICAL_FLOAT ||
        leaf->physical == CARQUET_PHYSICAL_DOUBLE || leaf->physical == CARQUET_PHYSICAL_INT96)
        return fail_type(r, "a decimal that is stored as another type", err);
    t->kind = TYPE_DECIMAL;
    t->precision = p;
    t->scale = s;
    return true;
}

static type_kind integer_kind(const carquet_logical_type_t *l) {
    const bool s = l->params.integer.is_signed;
    switch (l->params.integer.bit_width) {
    case 8: return s ? TYPE_INT8 : TYPE_UINT8;
    case 16: return s ? TYPE_INT16 : TYPE_UINT16;
    case 32: return s ? TYPE_INT32 : TYPE_UINT32;
    default: return s ? TYPE_INT64 : TYPE_UINT64;
    }
}

static time_unit unit_of(carquet_time_unit_t u) {
    return u == CARQUET_TIME_UNIT_MILLIS ? UNIT_MS : u == CARQUET_TIME_UNIT_MICROS ? UNIT_US : UNIT_NS;
}

/* The type by the physical type alone. */
static void plain_type(pq_leaf *leaf, schema_type *t) {
    switch (leaf->physical) {
    case CARQUET_PHYSICAL_BOOLEAN: t->kind = TYPE_BOOL; break;
    case CARQUET_PHYSICAL_INT32: t->kind = TYPE_INT32; break;
    case CARQUET_PHYSICAL_INT64: t->kind = TYPE_INT64; break;
    case CARQUET_PHYSICAL_INT96:
        *t = (schema_type){.kind = TYPE_TIMESTAMP, .unit = UNIT_NS};
        leaf->special = PQ_INT96;
        break;
    case CARQUET_PHYSICAL_FLOAT: t->kind = TYPE_FLOAT32; break;
    case CARQUET_PHYSICAL_DOUBLE: t->kind = TYPE_FLOAT64; break;
    case CARQUET_PHYSICAL_BYTE_ARRAY: t->kind = TYPE_BINARY; break;
    default: *t = (schema_type){.kind = TYPE_FIXED_BINARY, .width = leaf->width}; break;
    }
}

/* The annotation counts where it goes with the physical type; else the value is what it is stored as. */
static bool leaf_type(const raw_node *r, pq_leaf *leaf, schema_type *t, gv_err *err) {
    const carquet_logical_type_t *l = carquet_schema_node_logical_type(r->node);
    const carquet_physical_type_t p = leaf->physical;
    plain_type(leaf, t);
    switch (l ? l->id : CARQUET_LOGICAL_UNKNOWN) {
    case CARQUET_LOGICAL_NULL: t->kind = TYPE_NULL; return true;
    case CARQUET_LOGICAL_STRING:
    case CARQUET_LOGICAL_ENUM:
    case CARQUET_LOGICAL_JSON:
        if (p == CARQUET_PHYSICAL_BYTE_ARRAY) t->kind = TYPE_STRING;
        return true;
    case CARQUET_LOGICAL_INTEGER:
        if (p == CARQUET_PHYSICAL_INT32 && l->params.integer.bit_width <= 32) t->kind = integer_kind(l);
        if (p == CARQUET_PHYSICAL_INT64 && l->params.integer.bit_width == 64) t->kind = integer_kind(l);
        return true;
    case CARQUET_LOGICAL_DATE:
        if (p == CARQUET_PHYSICAL_INT32) t->kind = TYPE_DATE;
        return true;
    case CARQUET_LOGICAL_TIME: {
        const time_unit u = unit_of(l->params.time.unit);
        if (p == (u == UNIT_MS ? CARQUET_PHYSICAL_INT32 : CARQUET_PHYSICAL_INT64)) *t = (schema_type){.kind = TYPE_TIME, .unit = u};
        return true;
    }
    case CARQUET_LOGICAL_TIMESTAMP:
        if (p == CARQUET_PHYSICAL_INT64)
            *t = (schema_type){
                .kind = TYPE_TIMESTAMP, .unit = unit_of(l->params.timestamp.unit), .utc = l->params.timestamp.is_adjusted_to_utc};
        return true;
    case CARQUET_LOGICAL_DECIMAL: return decimal_type(r, l, leaf, t, err);
    case CARQUET_LOGICAL_UUID:
        if (p != CARQUET_PHYSICAL_FIXED_LEN_BYTE_ARRAY || leaf->width != 16) return true;
        *t = (schema_type){.kind = TYPE_STRING};
        leaf->special = PQ_UUID;
        return true;
    case CARQUET_LOGICAL_FLOAT16:
        if (p == CARQUET_PHYSICAL_FIXED_LEN_BYTE_ARRAY && leaf->width == 2) *t = (schema_type){.kind = TYPE_FLOAT16};
        return true;
    case CARQUET_LOGICAL_INTERVAL: return fail_type(r, "an interval", err);
    default: return true;
    }
}

/* ---- from the file to nodes ---- */

typedef struct tree_reader {
    const carquet_schema_t *file;
    schema *s;
    arena *a;
    pq_leaf *leaves;
    int next_leaf;
} tree_reader;

static carquet_logical_type_id_t annotation(const raw_node *r) {
    const carquet_logical_type_t *l = carquet_schema_node_logical_type(r->node);
    return l ? l->id : CARQUET_LOGICAL_UNKNOWN;
}

static bool is_repeated(const raw_node *r) {
    return carquet_schema_node_repetition(r->node) == CARQUET_REPETITION_REPEATED;
}

static bool read_node(tree_reader *t, const raw_node *r, bool as_element, schema_type *type, pq_node *out, int16_t def, int16_t rep,
                      gv_err *err);

static bool read_leaf(tree_reader *t, const raw_node *r, schema_type *type, pq_node *out, int16_t def, int16_t rep, gv_err *err) {
    pq_leaf *leaf = &t->leaves[r->leaf];
    *leaf = (pq_leaf){.physical = carquet_schema_node_physical_type(r->node), .max_def = def, .max_rep = rep, .type = type};
    if (r->leaf != t->next_leaf++ || carquet_schema_max_def_level(t->file, r->leaf) != def ||
        carquet_schema_max_rep_level(t->file, r->leaf) != rep)
        return gv_fail(err, GV_FORMAT, -1, "column \"%s\": its levels do not follow from the schema", str_show(sv_of(r->name)).text);
    if (leaf->physical == CARQUET_PHYSICAL_FIXED_LEN_BYTE_ARRAY) {
        leaf->width = carquet_schema_node_type_length(r->node);
        if (leaf->width < 1 || leaf->width > 1 << 20)
            return gv_fail(err, GV_FORMAT, -1, "column \"%s\": a fixed length of %d bytes", str_show(sv_of(r->name)).text,
                           (int)leaf->width);
    }
    out->leaf = r->leaf;
    return leaf_type(r, leaf, type, err);
}

static bool read_struct(tree_reader *t, const raw_node *r, schema_type *type, pq_node *out, int16_t def, int16_t rep, gv_err *err) {
    type->kind = TYPE_STRUCT;
    out->children = arena_alloc(t->a, (r->n_children + 1) * sizeof *out->children);
    for (const raw_node *c = r->first; c; c = c->next) /* first all, so that the fields stay where they are */
        if (!schema_add_member(t->s, type, sv_of(c->name), false, err)) return false;
    for (const raw_node *c = r->first; c; c = c->next) {
        schema_field *f = &type->fields[out->n_children];
        pq_node *child = &out->children[out->n_children++];
        if (!read_node(t, c, false, &f->type, child, def, rep, err)) return false;
        child->name = f->name;
    }
    return true;
}

/* The element of a list whose repeated field is `repeated`; def and rep count it already. */
static bool read_element(tree_reader *t, const raw_node *list, const raw_node *repeated, schema_type *type, pq_node *out, int16_t def,
                         int16_t rep, gv_err *err) {
    if (repeated->leaf >= 0) return read_node(t, repeated, true, type, out, def, rep, err);
    char tuple[128];
    snprintf(tuple, sizeof tuple, "%.100s_tuple", list->name);
    const bool whole = repeated->n_children != 1 || strcmp(repeated->name, "array") == 0 || strcmp(repeated->name, tuple) == 0;
    return read_node(t, whole ? repeated : repeated->first, whole, type, out, def, rep, err);
}

static bool read_list(tree_reader *t, const raw_node *list, const raw_node *repeated, schema_type *type, pq_node *out, int16_t def,
                      int16_t rep, gv_err *err) {
    schema_type *element = schema_make_list(t->s, type, err);
    if (!element) return false;
    out->item_def = (int16_t)(def + 1);
    out->item_rep = (int16_t)(rep + 1);
    out->children = arena_alloc(t->a, sizeof *out->children);
    out->n_children = 1;
    if (annotation(list) == CARQUET_LOGICAL_MAP && repeated->leaf < 0)
        return read_node(t, repeated, true, element, out->children, out->item_def, out->item_rep, err);
    return read_element(t, list, repeated, element, out->children, out->item_def, out->item_rep, err);
}

/* def, rep: levels of the parent.  as_element: the node's own repetition is counted in them already. */
static bool read_node(tree_reader *t, const raw_node *r, bool as_element, schema_type *type, pq_node *out, int16_t def, int16_t rep,
                      gv_err *err) {
    const bool optional = !as_element && carquet_schema_node_repetition(r->node) == CARQUET_REPETITION_OPTIONAL;
    *out = (pq_node){.type = type, .outer_def = def, .def = (int16_t)(def + optional), .leaf = -1, .first_leaf = t->next_leaf};
    const carquet_logical_type_id_t as = annotation(r);
    bool ok;
    if (!as_element && is_repeated(r)) { /* a bare repeated field: a list that is never null */
        schema_type *element = schema_make_list(t->s, type, err);
        if (!element) return false;
        out->item_def = (int16_t)(def + 1);
        out->item_rep = (int16_t)(rep + 1);
        out->children = arena_alloc(t->a, sizeof *out->children);
        out->n_children = 1;
        ok = read_node(t, r, true, element, out->children, out->item_def, out->item_rep, err);
    } else if (r->leaf >= 0) {
        ok = read_leaf(t, r, type, out, out->def, rep, err);
    } else if ((as == CARQUET_LOGICAL_LIST || as == CARQUET_LOGICAL_MAP) && r->n_children == 1 && is_repeated(r->first)) {
        ok = read_list(t, r, r->first, type, out, out->def, rep, err);
    } else {
        ok = read_struct(t, r, type, out, out->def, rep, err);
    }
    out->n_leaves = t->next_leaf - out->first_leaf;
    return ok;
}

bool pq_tree_read(const carquet_schema_t *file, schema *s, arena *a, pq_node *root, pq_leaf **leaves, int *n_leaves, gv_err *err) {
    raw_node raw = {0};
    if (!read_raw(file, a, &raw, err)) return false;
    *n_leaves = carquet_schema_num_columns(file);
    *leaves = arena_alloc(a, ((size_t)*n_leaves + 1) * sizeof **leaves);
    tree_reader t = {file, s, a, *leaves, 0};
    *root = (pq_node){.type = &s->root, .leaf = -1, .n_leaves = *n_leaves};
    return read_struct(&t, &raw, &s->root, root, 0, 0, err);
}

/* ---- from types to carquet's schema ---- */

typedef struct tree_writer {
    carquet_schema_t *file;
    schema *s;
    arena *a;
    pq_leaf *leaves;
    int n_leaves;
} tree_writer;

static void stored_as(const schema_type *t, pq_leaf *leaf, carquet_logical_type_t *l) {
    static const carquet_time_unit_t unit[] = {CARQUET_TIME_UNIT_MILLIS, CARQUET_TIME_UNIT_MICROS, CARQUET_TIME_UNIT_NANOS};
    *l = (carquet_logical_type_t){.id = CARQUET_LOGICAL_UNKNOWN};
    switch (t->kind) {
    case TYPE_NULL:
        leaf->physical = CARQUET_PHYSICAL_INT32;
        l->id = CARQUET_LOGICAL_NULL;
        break;
    case TYPE_BOOL: leaf->physical = CARQUET_PHYSICAL_BOOLEAN; break;
    case TYPE_FLOAT32: leaf->physical = CARQUET_PHYSICAL_FLOAT; break;
    case TYPE_FLOAT64: leaf->physical = CARQUET_PHYSICAL_DOUBLE; break;
    case TYPE_INT64: leaf->physical = CARQUET_PHYSICAL_INT64; break;
    case TYPE_INT32: leaf->physical = CARQUET_PHYSICAL_INT32; break;
    case TYPE_STRING:
        leaf->physical = CARQUET_PHYSICAL_BYTE_ARRAY;
        l->id = CARQUET_LOGICAL_STRING;
        break;
    case TYPE_BINARY: leaf->physical = CARQUET_PHYSICAL_BYTE_ARRAY; break;
    case TYPE_FIXED_BINARY:
        leaf->physical = CARQUET_PHYSICAL_FIXED_LEN_BYTE_ARRAY;
        leaf->width = t->width;
        break;
    case TYPE_FLOAT16:
        leaf->physical = CARQUET_PHYSICAL_FIXED_LEN_BYTE_ARRAY;
        leaf->width = 2;
        l->id = CARQUET_LOGICAL_FLOAT16;
        break;
    case TYPE_DATE:
        leaf->physical = CARQUET_PHYSICAL_INT32;
        l->id = CARQUET_LOGICAL_DATE;
        break;
    case TYPE_TIME:
        leaf->physical = t->unit == UNIT_MS ? CARQUET_PHYSICAL_INT32 : CARQUET_PHYSICAL_INT64;
        l->id = CARQUET_LOGICAL_TIME;
        l->params.time.unit = unit[t->unit];
        break;
    case TYPE_TIMESTAMP:
        leaf->physical = CARQUET_PHYSICAL_INT64;
        l->id = CARQUET_LOGICAL_TIMESTAMP;
        l->params.timestamp.unit = unit[t->unit];
        l->params.timestamp.is_adjusted_to_utc = t->utc;
        break;
    case TYPE_DECIMAL:
        leaf->physical = CARQUET_PHYSICAL_FIXED_LEN_BYTE_ARRAY;
        leaf->width = 16;
        l->id = CARQUET_LOGICAL_DECIMAL;
        l->params.decimal.precision = t->precision;
        l->params.decimal.scale = t->scale;
        break;
    default: { /* the other integers */
        static const int8_t bits[] = {8, 16, 32, 64};
        const bool is_signed = t->kind <= TYPE_INT64;
        l->id = CARQUET_LOGICAL_INTEGER;
        l->params.integer.bit_width = bits[t->kind - (is_signed ? TYPE_INT8 : TYPE_UINT8)];
        l->params.integer.is_signed = is_signed;
        leaf->physical = t->kind == TYPE_UINT64 ? CARQUET_PHYSICAL_INT64 : CARQUET_PHYSICAL_INT32;
    }
    }
}

static bool fail_add(sv name, gv_err *err) {
    return gv_fail(err, GV_LIMIT, -1, "column \"%s\" cannot be added to a Parquet schema", str_show(name).text);
}

static bool write_node(tree_writer *t, sv name, schema_type *type, int32_t parent, pq_node *out, int16_t def, int16_t rep, int depth,
                       gv_err *err) {
    if (memchr(name.p, 0, name.n)) return gv_fail(err, GV_UNSUPPORTED, -1, "column \"%s\": a NUL byte in a name", str_show(name).text);
    if (depth > 30) return gv_fail(err, GV_LIMIT, -1, "column \"%s\" is nested more than 30 levels deep", str_show(name).text);
    if (type->kind == TYPE_STRUCT && type->n_fields == 0)
        return gv_fail(err, GV_UNSUPPORTED, -1, "column \"%s\": an object without members cannot be stored in Parquet",
                       str_show(name).text);
    const char *cname = arena_dup(t->a, name.p, name.n);
    *out = (pq_node){.type = type, .name = name, .outer_def = def, .def = (int16_t)(def + 1), .leaf = -1, .first_leaf = t->n_leaves};
    if (type->kind != TYPE_LIST && type->kind != TYPE_STRUCT) {
        carquet_logical_type_t l;
        pq_leaf *leaf = &t->leaves[t->n_leaves];
        *leaf = (pq_leaf){.max_def = out->def, .max_rep = rep, .type = type};
        stored_as(type, leaf, &l);
        out->leaf = t->n_leaves++;
        out->n_leaves = 1;
        return carquet_schema_add_column(t->file, cname, leaf->physical, l.id == CARQUET_LOGICAL_UNKNOWN ? NULL : &l,
                                         CARQUET_REPETITION_OPTIONAL, leaf->width, parent) == CARQUET_OK ||
               fail_add(name, err);
    }
    const bool list = type->kind == TYPE_LIST;
    const int32_t group = list ? carquet_schema_add_list_group(t->file, cname, CARQUET_REPETITION_OPTIONAL, parent)
                               : carquet_schema_add_group(t->file, cname, CARQUET_REPETITION_OPTIONAL, parent);
    if (group < 0) return fail_add(name, err);
    out->item_def = (int16_t)(out->def + list);
    out->item_rep = (int16_t)(rep + list);
    out->n_children = type->n_fields;
    out->children = arena_alloc(t->a, type->n_fields * sizeof *out->children);
    for (size_t i = 0; i < type->n_fields; i++)
        if (!write_node(t, type->fields[i].name, &type->fields[i].type, group, &out->children[i], out->item_def, out->item_rep,
                        depth + 1 + list, err))
            return false;
    out->n_leaves = t->n_leaves - out->first_leaf;
    return true;
}

bool pq_tree_write(schema *s, arena *a, pq_node *root, pq_leaf **leaves, int *n_leaves, carquet_schema_t **file, gv_err *err) {
    carquet_error_t e = CARQUET_ERROR_INIT;
    *leaves = arena_alloc(a, (s->n_nodes + 1) * sizeof **leaves);
    *file = carquet_schema_create(&e);
    if (!*file) return gv_fail(err, GV_MEMORY, -1, "a Parquet schema: out of memory");
    tree_writer t = {*file, s, a, *leaves, 0};
    *root = (pq_node){.type = &s->root, .leaf = -1, .n_children = s->root.n_fields};
    root->children = arena_alloc(a, (s->root.n_fields + 1) * sizeof *root->children);
    if (s->root.n_fields == 0) return gv_fail(err, GV_UNSUPPORTED, -1, "a table without columns cannot be stored in Parquet");
    for (size_t i = 0; i < s->root.n_fields; i++)
        if (!write_node(&t, s->root.fields[i].name, &s->root.fields[i].type, 0, &root->children[i], 0, 0, 1, err)) return false;
    *n_leaves = root->n_leaves = t.n_leaves;
    return true;
}
