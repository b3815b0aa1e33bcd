/* Messages of Arrow IPC (https://arrow.apache.org/docs/format/Columnar.html):
 *
 *   stream:   message... end          message: ffffffff | int32 n | n bytes FlatBuffer Message | body of Message.bodyLength bytes
 *   file:     "ARROW1" 00 00, then a stream, then a footer, which is not needed to read from front to back
 *   end:      ffffffff 00000000, or the end of the file
 *
 * A batch's buffers are compared with its body and with each other when it is loaded, so that making a row's text cannot fail on bounds. */
#include "data/arrow_internal.h"

#include "data/rows.h"

#include <stdlib.h>

enum { MESSAGE_HEADER_TYPE = 1, MESSAGE_HEADER = 2, MESSAGE_BODY = 3 };
enum { HEADER_SCHEMA = 1, HEADER_DICTIONARY = 2, HEADER_BATCH = 3 };
enum { BATCH_LENGTH = 0, BATCH_NODES = 1, BATCH_BUFFERS = 2, BATCH_COMPRESSION = 3 };
enum { METADATA_MAX_BYTES = 64 << 20, FREE_ROWS = 1 << 20 };

struct arrow_reader {
    file_map map;
    const uint8_t *p;
    size_t n, pos;
    char *name;
    arrow_node root;
    sv *columns;
    uint64_t row, n_rows; /* of the batch */
    bool done;
};

typedef struct message {
    flat f;
    flat_table header;
    int64_t type;
    arrow_bytes body;
    bool end;
} message;

static bool fail_at(const arrow_reader *r, size_t at, const char *what, gv_err *err) {
    return gv_fail(err, GV_FORMAT, (int64_t)at, "%s: Arrow message at byte %zu: %s", r->name, at, what);
}

/* The next message; m->end at the end of the stream. */
static bool read_message(arrow_reader *r, message *m, gv_err *err) {
    const size_t at = r->pos;
    flat_table t;
    *m = (message){0};
    m->end = r->pos == r->n;
    if (m->end) return true;
    if (r->n - r->pos < 4) return fail_at(r, at, "the file ends inside of it", err);
    int64_t size = flat_read(&(flat){.p = r->p, .n = r->n}, r->pos, 4);
    r->pos += 4;
    if (size == -1) { /* without this mark: as before Arrow 0.15 */
        if (r->n - r->pos < 4) return fail_at(r, at, "the file ends inside of it", err);
        size = flat_read(&(flat){.p = r->p, .n = r->n}, r->pos, 4);
        r->pos += 4;
    }
    m->end = size == 0;
    if (m->end) return true;
    if (size < 0 || size > METADATA_MAX_BYTES || (uint64_t)size > r->n - r->pos)
        return fail_at(r, at, "its description is longer than the file", err);
    m->f = (flat){.p = r->p + r->pos, .n = (size_t)size};
    r->pos += (size_t)size;
    if (!flat_root(&m->f, &t)) return fail_at(r, at, "its description is broken", err);
    m->type = flat_int(&m->f, &t, MESSAGE_HEADER_TYPE, 1, 0);
    const int64_t body = flat_int(&m->f, &t, MESSAGE_BODY, 8, 0);
    const bool header = flat_child(&m->f, &t, MESSAGE_HEADER, &m->header);
    if (!header || m->f.broken) return fail_at(r, at, "its description is broken", err);
    if (body < 0 || (uint64_t)body > r->n - r->pos) return fail_at(r, at, "its data are longer than the file", err);
    m->body = (arrow_bytes){r->p + r->pos, (size_t)body};
    r->pos += (size_t)body;
    return true;
}

/* ---- batches ---- */

typedef struct loading {
    const arrow_reader *r;
    const message *m;
    size_t nodes, n_nodes, buffers, n_buffers; /* places and numbers left */
    const char *why;
} loading;

static bool refuse(loading *l, const char *why) {
    l->why = why;
    return false;
}

static bool next_buffer(loading *l, arrow_bytes *out) {
    if (l->n_buffers == 0) return refuse(l, "fewer buffers than its columns need");
    const int64_t offset = flat_read(&l->m->f, l->buffers, 8), n = flat_read(&l->m->f, l->buffers + 8, 8);
    l->buffers += 16;
    l->n_buffers--;
    if (offset < 0 || n < 0 || (uint64_t)offset > l->m->body.n || (uint64_t)n > l->m->body.n - (uint64_t)offset)
        return refuse(l, "a buffer lies outside of its data");
    *out = (arrow_bytes){n ? l->m->body.p + offset : NULL, (size_t)n};
    return true;
}

/* Offsets rise from 0 or more to at most `end`. */
static bool check_offsets(loading *l, const arrow_node *n, uint64_t end) {
    int64_t before = 0;
    uint64_t bytes;
    if (n->length == 0) return true;
    if (__builtin_mul_overflow(n->length + 1, n->width, &bytes) || bytes > n->offsets.n)
        return refuse(l, "a column has fewer offsets than rows");
    const flat f = {.p = n->offsets.p, .n = n->offsets.n};
    for (uint64_t i = 0; i <= n->length; i++) {
        const int64_t v = flat_read(&f, i * n->width, n->width);
        if (v < before || (uint64_t)v > end) return refuse(l, "the offsets of a column do not rise or lead outside");
        before = v;
    }
    return true;
}

static bool load_node(loading *l, arrow_node *n, uint64_t need);

static bool load_children(loading *l, arrow_node *n) {
    uint64_t need = n->kind == ARROW_STRUCT ? n->length : 0;
    if (n->kind == ARROW_FIXED_LIST && __builtin_mul_overflow(n->length, (uint64_t)n->unit, &need))
        return refuse(l, "more elements than there can be");
    for (size_t i = 0; i < n->n_children; i++)
        if (!load_node(l, &n->children[i], need)) return false;
    return n->kind != ARROW_LIST || check_offsets(l, n, n->children[0].length);
}

/* Buffers of a node of at least `need` values, then of its children. */
static bool load_node(loading *l, arrow_node *n, uint64_t need) {
    uint64_t bytes = 0;
    if (l->n_nodes == 0) return refuse(l, "fewer nodes than columns");
    const int64_t length = flat_read(&l->m->f, l->nodes, 8), nulls = flat_read(&l->m->f, l->nodes + 8, 8);
    l->nodes += 16;
    l->n_nodes--;
    if (length < 0 || nulls < 0 || nulls > length || (uint64_t)length < need || length > INT64_MAX / 2)
        return refuse(l, "a column's length is wrong");
    n->length = (uint64_t)length;
    n->valid = n->offsets = n->data = (arrow_bytes){0};
    if (n->kind == ARROW_NULL) return true;
    if (!next_buffer(l, &n->valid)) return false;
    if (n->valid.p && n->valid.n < (n->length + 7) / 8) return refuse(l, "a column's validity bits are fewer than its rows");
    if (!n->valid.p && nulls > 0) return refuse(l, "a column with nulls has no validity bits");
    if (nulls == 0) n->valid.p = NULL;
    if (n->kind == ARROW_STRUCT || n->kind == ARROW_FIXED_LIST) return load_children(l, n);
    if (n->kind == ARROW_LIST) return next_buffer(l, &n->offsets) && load_children(l, n);
    const bool bytes_of = n->kind == ARROW_TEXT || n->kind == ARROW_BINARY;
    if ((bytes_of && !next_buffer(l, &n->offsets)) || !next_buffer(l, &n->data)) return false;
    if (bytes_of) return check_offsets(l, n, n->data.n);
    if (n->kind == ARROW_BOOL)
        bytes = (n->length + 7) / 8;
    else if (__builtin_mul_overflow(n->length, n->width, &bytes))
        bytes = UINT64_MAX;
    return bytes <= n->data.n || refuse(l, "a column's data are shorter than its rows");
}

static bool load_batch(arrow_reader *r, message *m, size_t at, gv_err *err) {
    flat_table compression;
    loading l = {.r = r, .m = m};
    const int64_t length = flat_int(&m->f, &m->header, BATCH_LENGTH, 8, 0);
    if (flat_child(&m->f, &m->header, BATCH_COMPRESSION, &compression))
        return gv_fail(err, GV_UNSUPPORTED, -1, "%s: compressed Arrow data are not read", r->name);
    if (!flat_vector(&m->f, &m->header, BATCH_NODES, 16, &l.nodes, &l.n_nodes)) l.n_nodes = 0;
    if (!flat_vector(&m->f, &m->header, BATCH_BUFFERS, 16, &l.buffers, &l.n_buffers)) l.n_buffers = 0;
    if (m->f.broken) return fail_at(r, at, "its description is broken", err);
    /* columns of nulls take no room, so only this bounds their number */
    if (length < 0 || (uint64_t)length > 8 * (uint64_t)m->body.n + FREE_ROWS)
        return fail_at(r, at, "more rows than its data can hold", err);
    for (size_t i = 0; i < r->root.n_children; i++) {
        if (!load_node(&l, &r->root.children[i], (uint64_t)length)) return fail_at(r, at, l.why, err);
        if (r->root.children[i].length != (uint64_t)length) return fail_at(r, at, "its columns differ in length", err);
    }
    r->n_rows = (uint64_t)length;
    r->row = 0;
    return true;
}

/* The next batch that has rows, or r->done. */
static bool next_batch(arrow_reader *r, gv_err *err) {
    while (!r->done && r->row == r->n_rows) {
        message m;
        const size_t at = r->pos;
        if (!read_message(r, &m, err)) return false;
        if (m.end) {
            r->done = true;
        } else if (m.type == HEADER_BATCH) {
            if (!load_batch(r, &m, at, err)) return false;
        } else {
            return fail_at(r, at, m.type == HEADER_SCHEMA ? "a second schema" : "neither a record batch nor the end", err);
        }
    }
    return true;
}

/* ---- opening ---- */

static bool start(arrow_reader *r, gv_err *err) {
    message m;
    if (r->n == 0) return gv_fail(err, GV_FORMAT, -1, "%s: the file is empty", r->name);
    if (r->n >= 8 && !memcmp(r->p, "ARROW1", 6)) r->pos = 8;
    if (!read_message(r, &m, err)) return false;
    if (m.end || m.type != HEADER_SCHEMA) return fail_at(r, 0, "not a schema, so this is no Arrow file", err);
    if (!arrow_read_schema(&m.f, &m.header, r->name, &r->root, err)) return false;
    r->columns = gv_xcalloc(r->root.n_children + 1, sizeof *r->columns);
    for (size_t i = 0; i < r->root.n_children; i++) r->columns[i] = r->root.children[i].name;
    return true;
}

arrow_reader *arrow_open(const char *path, const char *name, gv_err *err) {
    arrow_reader *r = gv_xcalloc(1, sizeof *r);
    r->name = gv_xstrdup(name ? name : path);
    if (file_map_open(&r->map, path, err)) {
        r->p = r->map.p;
        r->n = r->map.n;
        if (start(r, err)) return r;
    }
    arrow_close(r);
    return NULL;
}

arrow_reader *arrow_open_memory(const void *p, size_t n, const char *name, gv_err *err) {
    arrow_reader *r = gv_xcalloc(1, sizeof *r);
    r->name = gv_xstrdup(name);
    r->p = p;
    r->n = n;
    if (start(r, err)) return r;
    arrow_close(r);
    return NULL;
}

void arrow_close(arrow_reader *r) {
    if (!r) return;
    arrow_free_node(&r->root);
    free(r->columns);
    if (r->map.p) file_map_close(&r->map);
    free(r->name);
    free(r);
}

const sv *arrow_columns(const arrow_reader *r, size_t *n) {
    *n = r->root.n_children;
    return r->columns;
}

bool arrow_next(arrow_reader *r, buf *out, bool *end, gv_err *err) {
    buf_clear(out);
    if (!next_batch(r, err)) return false;
    *end = r->done;
    return *end || arrow_put_value(&r->root, r->row++, out, ROWS_MAX_ROW_BYTES, r->name, err);
}

bool arrow_skip(arrow_reader *r, uint64_t n, uint64_t *skipped, gv_err *err) {
    *skipped = 0;
    while (*skipped < n) {
        if (!next_batch(r, err)) return false;
        if (r->done) return true;
        const uint64_t left = r->n_rows - r->row, take = left < n - *skipped ? left : n - *skipped;
        r->row += take;
        *skipped += take;
    }
    return true;
}
