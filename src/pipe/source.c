/* Rows of the loading steps: of the Hub, of files and folders here, or of --dataset.  See run_pipe_internal.h.
 *
 * Every row gets all columns, null where it has none, because a table has one set of columns.  The digest is of the cells, so it does not
 * depend on where the rows came from. */
#include "data/dataset.h"
#include "pipe/pipe_internal.h"
#include "pipe/run_pipe_internal.h"

#include <stdlib.h>

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

static bool read_rows(pipe_runner *r, rows_reader *reader, uint64_t limit, pipe_table *t, pipe_names *columns, gv_err *err) {
    bool end = false;
    row at;
    while (!limit || t->n < limit) {
        if (!rows_next(reader, &at, &end, err)) return false;
        if (end) return true;
        if (at.bad) return gv_fail(err, GV_FORMAT, at.line, SV_FMT, SV_ARG(at.message));
        pipe_row got = {0};
        take_columns(r, &at, columns);
        pipe_row_reserve(&got, at.n_columns, &r->a);
        for (size_t i = 0; i < at.n_columns; i++)
            pipe_row_set(&got, columns->v[place_of(columns, at.columns[i].name)], copied(&r->a, at.columns[i].raw), &r->a);
        pipe_table_add(t, got);
    }
    return true;
}

static bool load_file(pipe_runner *r, const char *path, uint64_t limit, pipe_table *t, pipe_names *columns, gv_err *err) {
    const rows_options o = {0};
    rows_reader *reader = rows_open(path, &o, err);
    const bool ok = reader && read_rows(r, reader, limit, t, columns, err);
    rows_close(reader);
    return ok;
}

/* Takes d, which may be NULL: err says why. */
static bool read_dataset(pipe_runner *r, dataset *d, uint64_t limit, pipe_table *t, pipe_names *columns, gv_err *err) {
    const rows_options o = {0};
    rows_reader *reader = d ? dataset_rows(d, &o, err) : NULL;
    const bool ok = reader && read_rows(r, reader, limit, t, columns, err);
    rows_close(reader);
    dataset_close(d);
    return ok;
}

/* One that may be of the Hub, which is asked until the run is stopped. */
static bool load_dataset(pipe_runner *r, dataset_spec *d, uint64_t limit, pipe_table *t, pipe_names *columns, gv_err *err) {
    d->hub = hub_open(&(hub_options){.stop = r->spec->stop}, err);
    const bool ok = d->hub && read_dataset(r, dataset_open(d, err), limit, t, columns, err);
    hub_close(d->hub);
    return ok;
}

static bool load_given(pipe_runner *r, const char *path, uint64_t limit, pipe_table *t, pipe_names *columns, gv_err *err) {
    dataset_spec d = {.path = path, .config = r->spec->config, .split = r->spec->split};
    if (!d.config && !d.split && !dataset_is_source(path)) return load_file(r, path, limit, t, columns, err);
    return load_dataset(r, &d, limit, t, columns, err);
}

static bool load_hub(pipe_runner *r, const pipe_step *s, uint64_t limit, pipe_table *t, pipe_names *columns, gv_err *err) {
    dataset_spec d = {0};
    return pipe_arg_text(s, s->json, "repo_id", "", &r->a, &d.path, err) &&
           pipe_arg_text(s, s->json, "split", "train", &r->a, &d.split, err) &&
           pipe_arg_text(s, s->json, "config", NULL, &r->a, &d.config, err) &&
           pipe_arg_text(s, s->json, "revision", NULL, &r->a, &d.revision, err) && load_dataset(r, &d, limit, t, columns, err);
}

/* distilabel overwrites a given filetype by the suffix; so the suffix is what counts here too. */
static bool load_files(pipe_runner *r, const pipe_step *s, uint64_t limit, pipe_table *t, pipe_names *columns, gv_err *err) {
    dataset_spec d = {.data_files = pipe_arg(s->json, "data_files")};
    return pipe_arg_text(s, s->json, "split", "train", &r->a, &d.split, err) &&
           read_dataset(r, dataset_open(&d, err), limit, t, columns, err);
}

static bool load_disk(pipe_runner *r, const pipe_step *s, uint64_t limit, pipe_table *t, pipe_names *columns, gv_err *err) {
    dataset_disk_spec d = {0};
    return pipe_arg_text(s, s->json, "dataset_path", "", &r->a, &d.path, err) &&
           pipe_arg_bool(s, s->json, "is_distiset", false, &d.is_distiset, err) &&
           pipe_arg_text(s, s->json, "config", NULL, &r->a, &d.config, err) &&
           pipe_arg_text(s, s->json, "split", NULL, &r->a, &d.split, err) &&
           read_dataset(r, dataset_open_disk(&d, err), limit, t, columns, err);
}

static bool load_step(pipe_runner *r, const pipe_step *s, uint64_t limit, pipe_table *t, pipe_names *columns, gv_err *err) {
    switch (s->kind) {
    case PIPE_LOAD_HUB: return load_hub(r, s, limit, t, columns, err);
    case PIPE_LOAD_FILES: return load_files(r, s, limit, t, columns, err);
    case PIPE_LOAD_DISK: return load_disk(r, s, limit, t, columns, err);
    case PIPE_LOAD_DICTS:
        return gv_fail(
            err, GV_USAGE, -1,
            "distilabel does not save the rows of LoadDataFromDicts; give them with --dataset FILE (JSON lines, one object a row)");
    default: return gv_fail(err, GV_USAGE, -1, "no step leads to it, so its rows must come with --dataset FILE");
    }
}

bool pipe_load_rows(pipe_runner *r, const pipe_step *s, pipe_table *out, pipe_names *columns, char digest[65], gv_err *err) {
    const char *given = pipe_for_step(r->p, r->spec->datasets, r->spec->n_datasets, s->name);
    int64_t most = 0;
    *columns = (pipe_names){0};
    if (pipe_is_source(s->kind) && !pipe_arg_int(s, s->json, "num_examples", 0, &most, err)) return false;
    uint64_t limit = most > 0 ? (uint64_t)most : 0;
    if (r->spec->limit && (!limit || r->spec->limit < limit)) limit = r->spec->limit;
    const bool ok = given ? load_given(r, given, limit, out, columns, err) : load_step(r, s, limit, out, columns, err);
    if (!ok) return gv_context(err, "step \"%s\"", s->name);
    fill(r, columns, out, digest);
    r->sum->rows_in += out->n;
    return true;
}
