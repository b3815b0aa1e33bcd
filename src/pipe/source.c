/* Rows of the loading steps: of the Hub, of files and folders here, or of --dataset.  See run_pipe_internal.h.
 *
 * Every row gets all columns, null where it has none, because a table has one set of columns.  The digest is of the cells, so it does not
 * depend on where the rows came from. */
#include "base/log.h"
#include "data/dataset.h"
#include "pipe/pipe_internal.h"
#include "pipe/run_pipe_internal.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_BAD_TOLD = 10 };

/* Place of a name, v->n if it is not there. */
static size_t place_of(const pipe_names *v, sv name) {
    size_t i = 0;
    while (i < v->n && !sv_eq(v->v[i], name)) i++;
    return i;
}

static sv copied(arena *a, sv s) {
    return (sv){arena_dup(a, s.p, s.n), s.n};
}

/* Columns in order of first appearance. */
static void take_columns(pipe_runner *r, const row *at, pipe_names *columns) {
    for (size_t i = 0; i < at->n_columns; i++) {
        if (place_of(columns, at->columns[i].name) < columns->n) continue;
        sv *more = arena_alloc(&r->a, (columns->n + 1) * sizeof *more);
        if (columns->n) memcpy(more, columns->v, columns->n * sizeof *more);
        more[columns->n] = copied(&r->a, at->columns[i].name);
        columns->v = more;
        columns->n++;
    }
}

static void fill(pipe_runner *r, const pipe_names *columns, pipe_table *t, char digest[65]) {
    sha256 h;
    arena scratch;
    sha256_init(&h);
    arena_init(&scratch);
    for (size_t i = 0; i < t->n; i++) {
        pipe_row whole = {0};
        pipe_row_reserve(&whole, columns->n, &scratch);
        for (size_t c = 0; c < columns->n; c++) {
            const rows_cell *cell = pipe_row_get(&t->v[i], columns->v[c]);
            const sv raw = cell ? cell->raw : SV("null");
            const uint64_t n[2] = {columns->v[c].n, raw.n};
            pipe_row_set(&whole, columns->v[c], raw, &scratch);
            sha256_add(&h, n, sizeof n);
            sha256_add(&h, columns->v[c].p, columns->v[c].n);
            sha256_add(&h, raw.p, raw.n);
        }
        if (t->v[i].n == columns->n) /* it has all: their order may differ */
            memcpy(t->v[i].cells, whole.cells, whole.n * sizeof *whole.cells);
        else
            t->v[i] = pipe_row_copy(&whole, &r->a);
        arena_reset(&scratch);
    }
    arena_fini(&scratch);
    sha256_hex(&h, digest);
}

/* What pa.Table.from_pylist makes of a column's Python objects: integers and floats of one width, times in microseconds unless they need nanoseconds.
 * *other: JSON has no such value, so the type does not follow from the text. */
static void as_python(schema_type *t, bool *other) {
    switch (t->kind) {
    case TYPE_TIMESTAMP:
    case TYPE_TIME:
        if (t->unit == UNIT_MS) t->unit = UNIT_US;
        *other = true;
        break;
    case TYPE_FIXED_BINARY: *t = (schema_type){.kind = TYPE_BINARY}; /* fall through */
    case TYPE_BINARY:
    case TYPE_DATE:
    case TYPE_DECIMAL: *other = true; break;
    case TYPE_FLOAT16:
    case TYPE_FLOAT32:
    case TYPE_FLOAT64: /* NaN and infinities are text in JSON */
        t->kind = TYPE_FLOAT64;
        *other = true;
        break;
    case TYPE_INT8:
    case TYPE_INT16:
    case TYPE_INT32:
    case TYPE_UINT8:
    case TYPE_UINT16:
    case TYPE_UINT32: t->kind = TYPE_INT64; break;
    default: break;
    }
    for (size_t i = 0; i < t->n_fields; i++) as_python(&t->fields[i].type, other);
}

static bool take_types(pipe_runner *r, const schema *of, pipe_types *out, gv_err *err) {
    schema s;
    buf text = {0};
    schema_init(&s);
    const size_t n = of->root.n_fields;
    const bool ok = schema_copy_type(&s, &s.root, &of->root, err);
    *out = (pipe_types){arena_alloc(&r->a, (n + 1) * sizeof *out->names), arena_alloc(&r->a, (n + 1) * sizeof *out->types), 0};
    for (size_t i = 0; ok && i < n; i++) {
        schema_field *f = &s.root.fields[i];
        bool other = false;
        as_python(&f->type, &other);
        if (!other) continue;
        buf_clear(&text);
        schema_put_arrow(&text, &f->type, "element");
        out->names[out->n] = copied(&r->a, f->name);
        out->types[out->n++] = arena_dup(&r->a, text.p, text.n);
    }
    buf_fini(&text);
    schema_fini(&s);
    return ok;
}

/* Each is said up to a number; all are counted, for the run's log. */
static void tell_bad(pipe_runner *r, const row *at) {
    if (r->n_bad_rows++ >= MAX_BAD_TOLD) return;
    log_msg(LOG_WARN, SV_FMT "; its columns are null%s", SV_ARG(at->message), r->n_bad_rows == MAX_BAD_TOLD ? " (more are not shown)" : "");
    if (!r->first_bad_row) r->first_bad_row = arena_dup(&r->a, at->message.p, at->message.n);
}

static bool read_rows(pipe_runner *r, rows_reader *reader, uint64_t limit, const pipe_loaded *to, gv_err *err) {
    bool end = false;
    row at;
    const schema *types = rows_types(reader);
    if (types && !take_types(r, types, to->types, err)) return false;
    while (!limit || to->rows->n < limit) {
        if (!rows_next(reader, &at, &end, err)) return false;
        if (end) return true;
        pipe_row got = {0}; /* of a bad row nothing is known: it keeps its place, with null in every column */
        if (at.bad) tell_bad(r, &at);
        take_columns(r, &at, to->columns);
        pipe_row_reserve(&got, at.n_columns, &r->a);
        for (size_t i = 0; i < at.n_columns; i++)
            pipe_row_set(&got, to->columns->v[place_of(to->columns, at.columns[i].name)], copied(&r->a, at.columns[i].raw), &r->a);
        pipe_table_add(to->rows, got);
    }
    return true;
}

static bool load_file(pipe_runner *r, const char *path, uint64_t limit, const pipe_loaded *to, gv_err *err) {
    const rows_options o = {0};
    rows_reader *reader = rows_open(path, &o, err);
    const bool ok = reader && read_rows(r, reader, limit, to, err);
    rows_close(reader);
    return ok;
}

/* Takes d, which may be NULL: err says why. */
static bool read_dataset(pipe_runner *r, dataset *d, uint64_t limit, const pipe_loaded *to, gv_err *err) {
    const rows_options o = {0};
    rows_reader *reader = d ? dataset_rows(d, &o, err) : NULL;
    const bool ok = reader && read_rows(r, reader, limit, to, err);
    rows_close(reader);
    dataset_close(d);
    return ok;
}

/* One that may be of the Hub, which is asked until the run is stopped. */
static bool load_dataset(pipe_runner *r, dataset_spec *d, uint64_t limit, const pipe_loaded *to, gv_err *err) {
    d->hub = hub_open(&(hub_options){.stop = r->spec->stop}, err);
    const bool ok = d->hub && read_dataset(r, dataset_open(d, err), limit, to, err);
    hub_close(d->hub);
    return ok;
}

static bool load_given(pipe_runner *r, const char *path, uint64_t limit, const pipe_loaded *to, gv_err *err) {
    dataset_spec d = {.path = path, .config = r->spec->config, .split = r->spec->split};
    if (!d.config && !d.split && !dataset_is_source(path)) return load_file(r, path, limit, to, err);
    return load_dataset(r, &d, limit, to, err);
}

static bool load_hub(pipe_runner *r, const pipe_step *s, uint64_t limit, const pipe_loaded *to, gv_err *err) {
    dataset_spec d = {0};
    return pipe_arg_text(s, s->json, "repo_id", "", &r->a, &d.path, err) &&
           pipe_arg_text(s, s->json, "split", "train", &r->a, &d.split, err) &&
           pipe_arg_text(s, s->json, "config", NULL, &r->a, &d.config, err) &&
           pipe_arg_text(s, s->json, "revision", NULL, &r->a, &d.revision, err) && load_dataset(r, &d, limit, to, err);
}

/* One text is a file, a folder, an hf:// address or a pattern.  distilabel overwrites a given filetype by the suffix, so the suffix counts here too;
 * the filetype is that of a file whose suffix tells none. */
static bool load_files(pipe_runner *r, const pipe_step *s, uint64_t limit, const pipe_loaded *to, gv_err *err) {
    dataset_spec d = {.data_files = pipe_arg(s->json, "data_files")};
    const char *one = NULL, *filetype = NULL;
    struct stat st;
    if (d.data_files && json_kind_of(d.data_files) == JSON_STRING && !pipe_arg_text(s, s->json, "data_files", NULL, &r->a, &one, err))
        return false;
    if (!pipe_arg_text(s, s->json, "filetype", NULL, &r->a, &filetype, err)) return false;
    const bool here = one && stat(one, &st) == 0;
    if (one && (strncmp(one, "hf://", 5) == 0 || (here && S_ISDIR(st.st_mode)))) {
        d.path = one;
        d.data_files = NULL;
    } else if (here && filetype && !dataset_is_file_name(one)) {
        d.builder = strcmp(filetype, "jsonl") == 0 ? "json" : filetype;
    }
    return pipe_arg_text(s, s->json, "split", "train", &r->a, &d.split, err) && load_dataset(r, &d, limit, to, err);
}

static bool load_disk(pipe_runner *r, const pipe_step *s, uint64_t limit, const pipe_loaded *to, gv_err *err) {
    dataset_disk_spec d = {0};
    return pipe_arg_text(s, s->json, "dataset_path", "", &r->a, &d.path, err) &&
           pipe_arg_bool(s, s->json, "is_distiset", false, &d.is_distiset, err) &&
           pipe_arg_text(s, s->json, "config", NULL, &r->a, &d.config, err) &&
           pipe_arg_text(s, s->json, "split", NULL, &r->a, &d.split, err) && read_dataset(r, dataset_open_disk(&d, err), limit, to, err);
}

static bool load_step(pipe_runner *r, const pipe_step *s, uint64_t limit, const pipe_loaded *to, gv_err *err) {
    switch (s->kind) {
    case PIPE_LOAD_HUB: return load_hub(r, s, limit, to, err);
    case PIPE_LOAD_FILES: return load_files(r, s, limit, to, err);
    case PIPE_LOAD_DISK: return load_disk(r, s, limit, to, err);
    case PIPE_LOAD_DICTS:
        return gv_fail(
            err, GV_USAGE, -1,
            "distilabel does not save the rows of LoadDataFromDicts; give them with --dataset FILE (JSON lines, one object a row)");
    default: return gv_fail(err, GV_USAGE, -1, "no step leads to it, so its rows must come with --dataset FILE");
    }
}

bool pipe_load_rows(pipe_runner *r, const pipe_step *s, const pipe_loaded *out, char digest[65], gv_err *err) {
    const char *given = pipe_for_step(r->p, r->spec->datasets, r->spec->n_datasets, s->name);
    int64_t most = 0;
    *out->columns = (pipe_names){0};
    *out->types = (pipe_types){0};
    if (pipe_is_source(s->kind) && !pipe_arg_int(s, s->json, "num_examples", 0, &most, err)) return false;
    uint64_t limit = most > 0 ? (uint64_t)most : 0;
    if (r->spec->limit && (!limit || r->spec->limit < limit)) limit = r->spec->limit;
    const bool ok = given ? load_given(r, given, limit, out, err) : load_step(r, s, limit, out, err);
    if (!ok) return gv_context(err, "step \"%s\"", s->name);
    fill(r, out->columns, out->rows, digest);
    r->sum->rows_in += out->rows->n;
    return true;
}
