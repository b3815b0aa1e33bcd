/* Rows into a Parquet file.
 *
 * A row's values are cut into one series of entries a leaf (Dremel's levels, see parquet_internal.h) and kept until a MiB has come together;
 * then carquet encodes and compresses them page by page.  carquet believes what it is given, so flush looks at every level and counts the
 * rows of every leaf before.  The file is written beside its name and takes it at commit. */
#include "data/parquet_internal.h"

#include "base/file.h"

#include <stdlib.h>

enum { FLUSH_BYTES = 1 << 20, GROUP_BYTES = 32 << 20, ENTRY_BYTES = 4 };

typedef struct leaf_buf {
    buf def, rep; /* int16_t each */
    buf values;   /* as stored; of byte arrays the bytes */
    buf lengths;  /* int32_t, of byte arrays */
} leaf_buf;

struct pq_writer {
    file_writer f;
    carquet_writer_t *lib;
    schema types;
    arena a;
    pq_node root;
    pq_leaf *leaves;
    int n_leaves;
    leaf_buf *bufs;
    size_t buffered_bytes, group_bytes, max_group_bytes;
    uint64_t row, flushed_rows;
    buf arrays;                /* scratch: carquet_byte_array_t */
    const json_value **values; /* scratch: one a column */
};

static bool fail_lib(const pq_writer *w, carquet_status_t s, const char *what, gv_err *err) {
    const gv_code code = s == CARQUET_ERROR_OUT_OF_MEMORY ? GV_MEMORY : s == CARQUET_ERROR_FILE_WRITE ? GV_IO : GV_STATE;
    return gv_fail(err, code, -1, "%s: %s: %s", w->f.path, what, code == GV_MEMORY ? "out of memory" : carquet_status_string(s));
}

/* ---- opening ---- */

static bool add_metadata(pq_writer *w, const schema *s, const pq_write_options *o, gv_err *err) {
    carquet_status_t st = CARQUET_OK;
    if (!o->no_huggingface) {
        buf info = {0};
        buf_add_str(&info, "{\"info\": {\"features\": ");
        schema_put_features(&info, s);
        buf_add_str(&info, "}}");
        st = carquet_writer_add_metadata(w->lib, "huggingface", info.p);
        buf_fini(&info);
    }
    for (size_t i = 0; st == CARQUET_OK && i < o->n_metadata; i++)
        st = carquet_writer_add_metadata(w->lib, o->metadata[i].key, o->metadata[i].value);
    return st == CARQUET_OK || fail_lib(w, st, "metadata", err);
}

static bool open_lib(pq_writer *w, const carquet_schema_t *file, gv_err *err) {
    carquet_error_t e = CARQUET_ERROR_INIT;
    carquet_writer_options_t o;
    carquet_writer_options_init(&o);
    o.compression = CARQUET_COMPRESSION_ZSTD;
    o.row_group_size = INT64_MAX / 4; /* ended here, never by carquet between two leaves of a row */
    o.created_by = "gavel " GAVEL_VERSION;
    o.write_arrow_schema = false; /* pyarrow would take the metadata ("huggingface") from carquet's, which has none */
    o.async_io = false;
    w->lib = carquet_writer_create_file(w->f.f, file, &o, &e);
    if (!w->lib && e.code == CARQUET_ERROR_OUT_OF_MEMORY) return gv_fail(err, GV_MEMORY, -1, "%s: out of memory: %s", w->f.path, e.message);
    if (!w->lib) return gv_fail(err, GV_IO, -1, "%s: %s", w->f.path, e.message);
    for (int i = 0; i < w->n_leaves; i++) {
        const carquet_status_t s = carquet_writer_set_column_encoding(w->lib, i, CARQUET_ENCODING_PLAIN);
        if (s != CARQUET_OK) return fail_lib(w, s, "encoding", err);
    }
    return true;
}

pq_writer *pq_writer_open(const char *path, const schema *s, const pq_write_options *o, gv_err *err) {
    static const pq_write_options plain = {0};
    carquet_schema_t *file = NULL;
    pq_writer *w = gv_xcalloc(1, sizeof *w);
    if (!o) o = &plain;
    w->max_group_bytes = o->row_group_bytes ? o->row_group_bytes : GROUP_BYTES;
    arena_init(&w->a);
    schema_init(&w->types);
    bool ok = schema_copy_type(&w->types, &w->types.root, &s->root, err);
    if (ok && !pq_tree_write(&w->types, &w->a, &w->root, &w->leaves, &w->n_leaves, &file, err)) ok = gv_context(err, "%s", path);
    if (ok) {
        w->bufs = gv_xcalloc((size_t)w->n_leaves, sizeof *w->bufs);
        w->values = gv_xcalloc(w->root.n_children, sizeof *w->values);
    }
    ok = ok && file_writer_open(&w->f, path, err) && open_lib(w, file, err) && add_metadata(w, &w->types, o, err);
    if (file) carquet_schema_free(file);
    if (ok) return w;
    pq_writer_abandon(w);
    return NULL;
}

bool pq_writer_check(const schema *s, gv_err *err) {
    schema copy;
    arena a;
    pq_node root;
    pq_leaf *leaves;
    int n_leaves;
    carquet_schema_t *file = NULL;
    schema_init(&copy);
    arena_init(&a);
    const bool ok = schema_copy_type(&copy, &copy.root, &s->root, err) && pq_tree_write(&copy, &a, &root, &leaves, &n_leaves, &file, err);
    if (file) carquet_schema_free(file);
    schema_fini(&copy);
    arena_fini(&a);
    return ok;
}

/* ---- rows to entries ---- */

static void add_levels(pq_writer *w, int leaf, int16_t def, int16_t rep) {
    buf_add(&w->bufs[leaf].def, &def, sizeof def);
    buf_add(&w->bufs[leaf].rep, &rep, sizeof rep);
    w->buffered_bytes += ENTRY_BYTES;
}

static void add_nulls(pq_writer *w, const pq_node *n, int16_t def, int16_t rep) {
    for (int leaf = n->first_leaf; leaf < n->first_leaf + n->n_leaves; leaf++) add_levels(w, leaf, def, rep);
}

static bool fail_value(const pq_writer *w, const pq_node *n, const char *why, gv_err *err) {
    buf type = {0};
    schema_put_arrow(&type, n->type, "element");
    gv_fail(err, GV_FORMAT, (int64_t)w->row, "%s: row %llu, column \"%s\" of type " SV_FMT ": %s", w->f.path, (unsigned long long)w->row,
            str_show(n->name).text, SV_ARG(sv_sub(buf_view(&type), 0, 200)), why);
    buf_fini(&type);
    return false;
}

static bool add_value(pq_writer *w, const pq_node *n, const json_value *v, int16_t rep, gv_err *err) {
    leaf_buf *b = &w->bufs[n->leaf];
    const size_t before = b->values.n;
    const char *why = NULL;
    if (!pq_get_value(&b->values, &w->leaves[n->leaf], v, &why)) return fail_value(w, n, why, err);
    const size_t got = b->values.n - before;
    if (w->leaves[n->leaf].physical == CARQUET_PHYSICAL_BYTE_ARRAY) {
        const int32_t length = (int32_t)got;
        if (got > INT32_MAX) return fail_value(w, n, "a text of more than 2^31 bytes", err);
        buf_add(&b->lengths, &length, sizeof length);
    }
    w->buffered_bytes += got;
    add_levels(w, n->leaf, n->def, rep);
    return true;
}

static bool add_node(pq_writer *w, const pq_node *n, const json_value *v, int16_t rep, gv_err *err);

static bool add_list(pq_writer *w, const pq_node *n, const json_value *v, int16_t rep, gv_err *err) {
    if (json_kind_of(v) != JSON_ARRAY) return fail_value(w, n, "a list is expected", err);
    if (json_size(v) == 0) add_nulls(w, n, n->def, rep);
    for (json_iter it = json_each(v); json_next(&it); rep = n->item_rep)
        if (!add_node(w, n->children, it.value, rep, err)) return false;
    return true;
}

/* A member that the type does not have is refused: it would be lost. */
static bool fail_member(const pq_writer *w, const pq_node *n, const json_value *v, gv_err *err) {
    for (json_iter it = json_each(v); json_next(&it);) {
        size_t k = 0;
        while (k < n->n_children && !sv_eq(n->children[k].name, it.key)) k++;
        if (k < n->n_children) continue;
        const str_shown member = str_show(it.key);
        char why[160];
        snprintf(why, sizeof why, "no member \"%s\" in the type", member.text);
        return fail_value(w, n, why, err);
    }
    return fail_value(w, n, "members that the type does not have", err);
}

static bool add_struct(pq_writer *w, const pq_node *n, const json_value *v, int16_t rep, gv_err *err) {
    size_t found = 0;
    if (json_kind_of(v) != JSON_OBJECT) return fail_value(w, n, "an object is expected", err);
    for (size_t i = 0; i < n->n_children; i++) {
        const json_value *member = json_get_sv(v, n->children[i].name);
        found += member != NULL;
        if (!add_node(w, &n->children[i], member, rep, err)) return false;
    }
    return found == json_size(v) || fail_member(w, n, v, err);
}

/* v may be NULL. */
static bool add_node(pq_writer *w, const pq_node *n, const json_value *v, int16_t rep, gv_err *err) {
    if (!v || json_kind_of(v) == JSON_NULL) {
        add_nulls(w, n, n->outer_def, rep);
        return true;
    }
    if (n->leaf >= 0) return add_value(w, n, v, rep, err);
    return n->type->kind == TYPE_LIST ? add_list(w, n, v, rep, err) : add_struct(w, n, v, rep, err);
}

/* ---- entries to pages ---- */

static bool check_entries(const pq_writer *w, int leaf, size_t n, const int16_t *def, const int16_t *rep, gv_err *err) {
    const pq_leaf *l = &w->leaves[leaf];
    uint64_t rows = 0;
    size_t present = 0;
    bool ok = n > 0 && rep[0] == 0;
    for (size_t i = 0; ok && i < n; i++) {
        ok = def[i] >= 0 && def[i] <= l->max_def && rep[i] >= 0 && rep[i] <= l->max_rep;
        rows += rep[i] == 0;
        present += def[i] == l->max_def;
    }
    const size_t stored =
        l->physical == CARQUET_PHYSICAL_BYTE_ARRAY ? w->bufs[leaf].lengths.n / sizeof(int32_t) : w->bufs[leaf].values.n / pq_value_bytes(l);
    ok = ok && rows == w->row - w->flushed_rows && present == stored;
    return ok || gv_fail(err, GV_STATE, -1, "%s: levels of Parquet column %d do not make %llu rows", w->f.path, leaf,
                         (unsigned long long)(w->row - w->flushed_rows));
}

static bool write_leaf(pq_writer *w, int leaf, gv_err *err) {
    leaf_buf *b = &w->bufs[leaf];
    const pq_leaf *l = &w->leaves[leaf];
    const size_t n = b->def.n / sizeof(int16_t);
    const int16_t *def = (const void *)b->def.p, *rep = (const void *)b->rep.p;
    const void *values = b->values.p ? b->values.p : "";
    if (!check_entries(w, leaf, n, def, rep, err)) return false;
    if (l->physical == CARQUET_PHYSICAL_BYTE_ARRAY) {
        const int32_t *length = (const void *)b->lengths.p;
        uint8_t *at = (uint8_t *)b->values.p;
        static uint8_t empty[1];
        buf_clear(&w->arrays);
        for (size_t i = 0; i < b->lengths.n / sizeof *length; i++) {
            const carquet_byte_array_t a = {length[i] ? at : empty, length[i]};
            buf_add(&w->arrays, &a, sizeof a);
            at += length[i];
        }
        values = w->arrays.p ? w->arrays.p : "";
    }
    const carquet_status_t s = carquet_writer_write_batch(w->lib, leaf, values, (int64_t)n, def, l->max_rep ? rep : NULL);
    if (s != CARQUET_OK) return fail_lib(w, s, "cannot write a column", err);
    buf *used[] = {&b->def, &b->rep, &b->values, &b->lengths};
    for (size_t i = 0; i < sizeof used / sizeof used[0]; i++) buf_clear(used[i]);
    return true;
}

static bool flush(pq_writer *w, gv_err *err) {
    if (w->row == w->flushed_rows) return true;
    for (int i = 0; i < w->n_leaves; i++)
        if (!write_leaf(w, i, err)) return false;
    w->flushed_rows = w->row;
    w->group_bytes += w->buffered_bytes;
    w->buffered_bytes = 0;
    return true;
}

bool pq_writer_put_values(pq_writer *w, const json_value *const *values, gv_err *err) {
    if (w->group_bytes >= w->max_group_bytes) { /* only in front of a row: no empty group at the end */
        const carquet_status_t s = carquet_writer_new_row_group(w->lib);
        if (s != CARQUET_OK) return fail_lib(w, s, "cannot end a row group", err);
        w->group_bytes = 0;
    }
    for (size_t i = 0; i < w->root.n_children; i++)
        if (!add_node(w, &w->root.children[i], values[i], 0, err)) return false;
    w->row++;
    const size_t most = w->max_group_bytes < FLUSH_BYTES ? w->max_group_bytes : FLUSH_BYTES;
    return w->buffered_bytes < most || flush(w, err);
}

bool pq_writer_put(pq_writer *w, const json_value *row, gv_err *err) {
    size_t found = 0;
    if (json_kind_of(row) != JSON_OBJECT)
        return gv_fail(err, GV_FORMAT, (int64_t)w->row, "%s: row %llu is no object", w->f.path, (unsigned long long)w->row);
    for (size_t i = 0; i < w->root.n_children; i++) {
        w->values[i] = json_get_sv(row, w->root.children[i].name);
        found += w->values[i] != NULL;
    }
    if (found != json_size(row)) return fail_member(w, &w->root, row, err);
    return pq_writer_put_values(w, w->values, err);
}

bool pq_writer_commit(pq_writer *w, gv_err *err) {
    bool ok = flush(w, err);
    if (ok) {
        const carquet_status_t s = carquet_writer_close(w->lib);
        w->lib = NULL;
        ok = s == CARQUET_OK || fail_lib(w, s, "cannot write the footer", err);
    }
    ok = ok && file_writer_commit(&w->f, err);
    pq_writer_abandon(w);
    return ok;
}

void pq_writer_abandon(pq_writer *w) {
    if (!w) return;
    if (w->lib) carquet_writer_abort(w->lib);
    file_writer_abandon(&w->f);
    for (int i = 0; w->bufs && i < w->n_leaves; i++) {
        buf *all[] = {&w->bufs[i].def, &w->bufs[i].rep, &w->bufs[i].values, &w->bufs[i].lengths};
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) buf_fini(all[k]);
    }
    free(w->bufs);
    free(w->values);
    buf_fini(&w->arrays);
    schema_fini(&w->types);
    arena_fini(&w->a);
    free(w);
}
