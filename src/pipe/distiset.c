/* See distiset.h: configs, rows, and what finish writes from them.
 *
 * A row goes as one JSON line to its config's spool, a file without a name in the staging folder, and widens the config's schema.  finish reads
 * each spool twice: to add up what the rows take in Arrow's memory layout, which decides the number of shards as in `datasets`
 * (bytes / 500 MB, rounded down, plus one; rows split evenly), and to write the shards. */
#include "pipe/distiset_internal.h"

#include "base/file.h"
#include "data/parquet.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHARD_BYTES      500000000u
#define MAX_SHARDS       99999u
#define MAX_README_BYTES ((size_t)16 << 20)

/* What Arrow holds of one type of a config's tree, in preorder. */
typedef struct node_size {
    uint64_t n, n_null, n_bytes; /* n_bytes: of texts and bytes */
} node_size;

typedef struct config {
    char *name;
    schema columns, fixed; /* fixed: the types that were asked for */
    bool has_others;       /* some of them JSON does not have: times, decimals, bytes */
    FILE *spool;
    uint64_t n_rows, arrow_bytes, file_bytes;
    buf first_row;
} config;

struct distiset {
    dir_swap dir;
    config **v;
    size_t n, cap;
    buf line;
};

distiset *distiset_open(const char *dir, gv_err *err) {
    distiset *d = gv_xcalloc(1, sizeof *d);
    if (dir_swap_open(&d->dir, dir, err)) return d;
    free(d);
    return NULL;
}

static void config_free(config *c) {
    schema_fini(&c->columns);
    schema_fini(&c->fixed);
    if (c->spool) fclose(c->spool);
    buf_fini(&c->first_row);
    free(c->name);
    free(c);
}

void distiset_abandon(distiset *d) {
    if (!d) return;
    for (size_t i = 0; i < d->n; i++) config_free(d->v[i]);
    free(d->v);
    buf_fini(&d->line);
    dir_swap_fini(&d->dir);
    free(d);
}

/* ---- configs and rows ---- */

bool distiset_check_config(sv name, gv_err *err) {
    if (!distiset_is_config_name(name))
        return gv_fail(err, GV_USAGE, -1, "config \"%s\": a name consists of 1 to %u letters, digits, _ and -", str_show(name).text,
                       DISTISET_MAX_CONFIG_BYTES);
    if (sv_is(name, "data") || sv_is(name, "artifacts"))
        return gv_fail(err, GV_USAGE, -1, "config \"" SV_FMT "\": a Distiset has a folder of this name for something else", SV_ARG(name));
    return true;
}

static bool check_name(const distiset *d, sv name, gv_err *err) {
    if (!distiset_check_config(name, err)) return false;
    for (size_t i = 0; i < d->n; i++)
        if (sv_is(name, d->v[i]->name)) return gv_fail(err, GV_USAGE, -1, "config \"" SV_FMT "\" is there twice", SV_ARG(name));
    return d->n < DISTISET_MAX_CONFIGS || gv_fail(err, GV_LIMIT, -1, "more than %u configs", DISTISET_MAX_CONFIGS);
}

/* JSON has no such value: the writer checks the text. */
static bool is_other(const schema_type *t) {
    bool other =
        t->kind == TYPE_BINARY || t->kind == TYPE_DATE || t->kind == TYPE_TIME || t->kind == TYPE_TIMESTAMP || t->kind == TYPE_DECIMAL;
    for (size_t i = 0; i < t->n_fields; i++) other |= is_other(&t->fields[i].type);
    return other;
}

static bool see_row(config *c, const json_value *cells, gv_err *err) {
    if (!c->has_others) return schema_see_row(&c->columns, cells, c->n_rows, err);
    for (json_iter it = json_each(cells); json_next(&it);) {
        const schema_field *fixed = schema_find(&c->fixed, it.key);
        if (fixed && is_other(&fixed->type)) continue;
        schema_field *f = schema_find(&c->columns, it.key);
        if (!f) f = schema_add(&c->columns, it.key, err);
        if (!f || !schema_see_value(&c->columns, &f->type, it.value, it.key, c->n_rows, err)) return false;
    }
    return true;
}

static bool add_column(config *c, const distiset_column *column, gv_err *err) {
    schema_field *f = schema_add(&c->columns, column->name, err);
    if (!f || !column->type) return f != NULL;
    schema_field *fixed = schema_add(&c->fixed, column->name, err);
    if (!fixed || !schema_from_arrow(&c->fixed, &fixed->type, sv_of(column->type), err)) return false;
    c->has_others |= is_other(&fixed->type);
    return schema_copy_type(&c->columns, &f->type, &fixed->type, err);
}

static FILE *open_spool(const distiset *d, gv_err *err) {
    buf path = {0};
    buf_printf(&path, "%s/.rows-%zu", d->dir.staging, d->n);
    const int fd = open(path.p, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *f = NULL;
    if (fd < 0)
        gv_fail_errno(err, "cannot create %s", path.p);
    else if (unlink(path.p) != 0) /* it would be in the finished folder */
        gv_fail_errno(err, "cannot remove %s", path.p);
    else if (!(f = fdopen(fd, "w+")))
        gv_fail_errno(err, "cannot write %s", path.p);
    if (!f && fd >= 0) close(fd);
    buf_fini(&path);
    return f;
}

bool distiset_add_config(distiset *d, sv name, const distiset_column *columns, size_t n_columns, size_t *index, gv_err *err) {
    if (!check_name(d, name, err)) return false;
    config *c = gv_xcalloc(1, sizeof *c);
    schema_init(&c->columns);
    schema_init(&c->fixed);
    c->name = strndup(name.p, name.n);
    bool ok = true;
    for (size_t i = 0; i < n_columns && ok; i++) ok = add_column(c, &columns[i], err);
    c->spool = ok ? open_spool(d, err) : NULL;
    if (!c->spool) {
        gv_context(err, "config " SV_FMT, SV_ARG(name));
        config_free(c);
        return false;
    }
    if (d->n == d->cap) d->v = gv_xrealloc(d->v, (d->cap = d->cap ? 2 * d->cap : 4) * sizeof(config *));
    *index = d->n;
    d->v[d->n++] = c;
    return true;
}

static bool check_fixed(const config *c, gv_err *err) {
    for (size_t i = 0; i < c->fixed.root.n_fields; i++) {
        const schema_field *want = &c->fixed.root.fields[i], *got = schema_find(&c->columns, want->name);
        if (schema_type_equal(&got->type, &want->type)) continue;
        buf a = {0}, b = {0};
        schema_put_arrow(&a, &want->type, "element");
        schema_put_arrow(&b, &got->type, "element");
        gv_fail(err, GV_FORMAT, (int64_t)c->n_rows, "column \"%s\": row %llu needs type %s, the column has %s", str_show(want->name).text,
                (unsigned long long)c->n_rows, b.p, a.p);
        buf_fini(&a);
        buf_fini(&b);
        return false;
    }
    return true;
}

bool distiset_put(distiset *d, size_t index, const rows_cell *cells, size_t n, gv_err *err) {
    config *c = d->v[index];
    buf_clear(&d->line);
    rows_put_line(&d->line, cells, n);
    json_doc *doc = json_parse(buf_view(&d->line), err);
    bool ok = doc && see_row(c, json_root(doc), err) && check_fixed(c, err);
    json_free(doc);
    if (!ok) return gv_context(err, "config %s, row %llu", c->name, (unsigned long long)c->n_rows);
    if (!c->n_rows) buf_add_sv(&c->first_row, buf_view(&d->line));
    c->n_rows++;
    return fwrite(d->line.p, 1, d->line.n, c->spool) == d->line.n || gv_fail_errno(err, "cannot write rows beside %s", d->dir.path);
}

uint64_t distiset_rows(const distiset *d, size_t index) {
    return d->v[index]->n_rows;
}

/* ---- sizes ---- */

static void settle_nulls(schema_type *t) {
    if (t->kind == TYPE_NULL) t->kind = TYPE_STRING;
    for (size_t i = 0; i < t->n_fields; i++) settle_nulls(&t->fields[i].type);
}

static size_t count_nodes(const schema_type *t) {
    size_t n = 1;
    for (size_t i = 0; i < t->n_fields; i++) n += count_nodes(&t->fields[i].type);
    return n;
}

/* Bytes that Base64 stands for. */
static size_t base64_size(sv text) {
    size_t padding = 0;
    while (padding < 2 && padding < text.n && text.p[text.n - 1 - padding] == '=') padding++;
    return text.n / 4 * 3 - (text.n >= 4 ? padding : 0);
}

/* Adds value v of type t, whose node is *at; returns the node behind t's. */
static node_size *measure(const schema_type *t, const json_value *v, node_size *at) {
    const bool null = !v || json_kind_of(v) == JSON_NULL;
    node_size *next = at + 1;
    at->n++;
    at->n_null += null;
    if (t->kind == TYPE_STRING && !null) at->n_bytes += json_string(v).n;
    if (t->kind == TYPE_BINARY && !null) at->n_bytes += base64_size(json_string(v));
    if (t->kind == TYPE_LIST && !null)
        for (json_iter it = json_each(v); json_next(&it);) measure(&t->fields[0].type, it.value, at + 1);
    if (t->kind == TYPE_LIST) return next + count_nodes(&t->fields[0].type);
    for (size_t i = 0; i < t->n_fields; i++) next = measure(&t->fields[i].type, null ? NULL : json_get_sv(v, t->fields[i].name), next);
    return next;
}

static uint64_t value_bytes(const schema_type *t, const node_size *s) {
    switch (t->kind) {
    case TYPE_NULL:
    case TYPE_STRUCT: return 0;
    case TYPE_BOOL: return (s->n + 7) / 8;
    case TYPE_INT8:
    case TYPE_UINT8: return s->n;
    case TYPE_INT16:
    case TYPE_UINT16:
    case TYPE_FLOAT16: return 2 * s->n;
    case TYPE_INT32:
    case TYPE_UINT32:
    case TYPE_FLOAT32:
    case TYPE_DATE:
    case TYPE_LIST: return 4 * s->n;
    case TYPE_STRING:
    case TYPE_BINARY: return 4 * s->n + s->n_bytes;
    case TYPE_FIXED_BINARY: return (uint64_t)t->width * s->n;
    case TYPE_DECIMAL: return 16 * s->n;
    default: return 8 * s->n;
    }
}

static uint64_t sum_bytes(const schema_type *t, const node_size **at) {
    const node_size *s = (*at)++;
    uint64_t bytes = value_bytes(t, s) + (s->n_null && t->kind != TYPE_NULL ? (s->n + 7) / 8 : 0);
    for (size_t i = 0; i < t->n_fields; i++) bytes += sum_bytes(&t->fields[i].type, at);
    return bytes;
}

/* The next row of the spool; line is the caller's buffer. */
static json_doc *next_row(config *c, char **line, size_t *cap, gv_err *err) {
    const ssize_t n = getline(line, cap, c->spool);
    if (n <= 0) {
        if (ferror(c->spool))
            gv_fail_errno(err, "cannot read the rows of config %s", c->name);
        else
            gv_fail(err, GV_IO, -1, "the rows of config %s end early", c->name);
        return NULL;
    }
    return json_parse((sv){*line, (size_t)n}, err);
}

static bool measure_config(config *c, gv_err *err) {
    settle_nulls(&c->columns.root);
    node_size *sizes = gv_xcalloc(count_nodes(&c->columns.root), sizeof *sizes);
    char *line = NULL;
    size_t cap = 0;
    bool ok = true;
    rewind(c->spool);
    for (uint64_t r = 0; r < c->n_rows && ok; r++) {
        json_doc *doc = next_row(c, &line, &cap, err);
        ok = doc != NULL;
        if (ok) measure(&c->columns.root, json_root(doc), sizes);
        json_free(doc);
    }
    const node_size *at = sizes;
    c->arrow_bytes = sum_bytes(&c->columns.root, &at);
    free(sizes);
    free(line);
    return ok;
}

/* ---- shards ---- */

static bool write_shard(config *c, const char *path, uint64_t n_rows, gv_err *err) {
    pq_writer *w = pq_writer_open(path, &c->columns, NULL, err);
    char *line = NULL;
    size_t cap = 0;
    bool ok = w != NULL;
    for (uint64_t r = 0; r < n_rows && ok; r++) {
        json_doc *doc = next_row(c, &line, &cap, err);
        ok = doc && pq_writer_put(w, json_root(doc), err);
        json_free(doc);
    }
    free(line);
    if (!ok) {
        pq_writer_abandon(w);
        return false;
    }
    struct stat st;
    if (!pq_writer_commit(w, err)) return false;
    if (stat(path, &st) != 0) return gv_fail_errno(err, "cannot read %s", path);
    c->file_bytes += (uint64_t)st.st_size;
    return true;
}

static bool write_config(distiset *d, config *c, uint64_t max_bytes, gv_err *err) {
    if (!measure_config(c, err)) return false;
    uint64_t n_shards = c->arrow_bytes / (max_bytes ? max_bytes : SHARD_BYTES) + 1;
    if (n_shards > c->n_rows) n_shards = c->n_rows ? c->n_rows : 1;
    if (n_shards > MAX_SHARDS) n_shards = MAX_SHARDS;
    buf path = {0};
    buf_printf(&path, "%s/%s", d->dir.staging, strcmp(c->name, DISTISET_DEFAULT) ? c->name : "data");
    bool ok = mkdir(path.p, 0777) == 0 || gv_fail_errno(err, "cannot create %s", path.p);
    const size_t folder = path.n;
    rewind(c->spool);
    for (uint64_t i = 0; i < n_shards && ok; i++) {
        path.n = folder;
        buf_printf(&path, "/train-%05llu-of-%05llu.parquet", (unsigned long long)i, (unsigned long long)n_shards);
        ok = write_shard(c, path.p, c->n_rows / n_shards + (i < c->n_rows % n_shards), err);
    }
    buf_fini(&path);
    return ok;
}

/* ---- finish ---- */

static bool write_file(const distiset *d, const char *name, sv bytes, gv_err *err) {
    buf path = {0};
    file_writer w;
    buf_printf(&path, "%s/%s", d->dir.staging, name);
    bool ok = file_writer_open(&w, path.p, err);
    if (ok && !file_writer_put(&w, bytes.p, bytes.n, err)) {
        file_writer_abandon(&w);
        ok = false;
    }
    ok = ok && file_writer_commit(&w, err);
    buf_fini(&path);
    return ok;
}

static bool copy_log(const distiset *d, const char *path, gv_err *err) {
    file_map m;
    if (!file_map_open(&m, path, err)) return false;
    const bool ok = write_file(d, DISTISET_LOG, (sv){(const char *)m.p, m.n}, err);
    file_map_close(&m);
    return ok;
}

/* The README whose metadata is kept, "" if there is none. */
static bool read_old(const distiset *d, const char *path, buf *out, gv_err *err) {
    if (path) return file_read_all(path, MAX_README_BYTES, out, err);
    buf own = {0};
    buf_printf(&own, "%s/%s", d->dir.path, DISTISET_CARD);
    const bool ok = !file_exists(own.p) || file_read_all(own.p, MAX_README_BYTES, out, err);
    buf_fini(&own);
    return ok;
}

static void put_repo_name(buf *out, const char *dir) {
    const char *slash = strrchr(dir, '/');
    for (const char *p = slash ? slash + 1 : dir; *p; p++) {
        const bool plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '.' || *p == '_';
        buf_add_char(out, plain ? *p : '-');
    }
}

static bool write_card(const distiset *d, const distiset_about *about, gv_err *err) {
    buf name = {0}, old = {0}, text = {0};
    card_config *configs = gv_xcalloc(d->n, sizeof *configs);
    for (size_t i = 0; i < d->n; i++) {
        const config *c = d->v[i];
        configs[i] = (card_config){sv_of(c->name), &c->columns, c->n_rows, c->arrow_bytes, c->file_bytes, buf_view(&c->first_row)};
    }
    put_repo_name(&name, d->dir.path);
    bool ok = read_old(d, about->readme, &old, err);
    const card what = {.repo_id = about->repo_id ? about->repo_id : name.p,
                       .configs = configs,
                       .n_configs = d->n,
                       .old_readme = buf_view(&old),
                       .keeps_old_configs = about->readme != NULL,
                       .has_pipeline = about->pipeline_yaml.n > 0,
                       .citations = about->citations,
                       .n_citations = about->n_citations,
                       .judges = about->judges,
                       .n_judges = about->n_judges};
    ok = ok && card_put(&text, &what, err) && write_file(d, DISTISET_CARD, buf_view(&text), err);
    free(configs);
    buf_fini(&name);
    buf_fini(&old);
    buf_fini(&text);
    return ok;
}

bool distiset_finish(distiset *d, const distiset_about *about, gv_err *err) {
    bool ok = d->n > 0 || gv_fail(err, GV_STATE, -1, "a Distiset without a config");
    for (size_t i = 0; i < d->n && ok; i++) {
        config *c = d->v[i];
        ok = fflush(c->spool) == 0 || gv_fail_errno(err, "cannot write rows beside %s", d->dir.path);
        if (ok && !write_config(d, c, about->max_shard_bytes, err)) ok = gv_context(err, "config %s", c->name);
    }
    if (ok && about->pipeline_yaml.n) ok = write_file(d, DISTISET_PIPELINE, about->pipeline_yaml, err);
    if (ok && about->log) ok = copy_log(d, about->log, err);
    ok = ok && write_card(d, about, err) && dir_swap_commit(&d->dir, err);
    distiset_abandon(d);
    return ok;
}
