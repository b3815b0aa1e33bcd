/* The row reader: options, numbering, sharding, ids, columns; the formats are in rows_json.c and rows_csv.c, see rows.h for the contract.
 *
 * Life of a row: the format finds its bytes, the number decides whether it is ours, json_parse judges it, rows_cut_object pairs each member's
 * raw text with its value.  Rows of other shards are parsed only when there is an id column, because duplicates are looked for everywhere. */
#include "data/rows_internal.h"

#include "base/file.h"
#include "data/dataset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { NAMES_SHOWN = 12, NAME_SHOWN = 100, NEAREST_COLUMNS = 256, SPOOL_CHUNK = 1 << 16 };

/* ---- the column map ---- */

static char *dup_bytes(const char *p, size_t n) {
    char *s = gv_xmalloc(n + 1);
    memcpy(s, p, n);
    s[n] = 0;
    return s;
}

bool rows_map_add(rows_map *m, const char *text, gv_err *err) {
    while (*text) {
        const char *end = strchrnul(text, ','), *equals = memchr(text, '=', (size_t)(end - text));
        int shown = (int)(end - text > NAME_SHOWN ? NAME_SHOWN : end - text);
        if (!equals || equals == text || equals + 1 == end)
            return gv_fail(err, GV_USAGE, -1, "column map: \"%.*s\" is not NAME=COLUMN", shown, text);
        for (size_t i = 0; i < m->n; i++)
            if (strlen(m->v[i].name) == (size_t)(equals - text) && !memcmp(m->v[i].name, text, (size_t)(equals - text)))
                return gv_fail(err, GV_USAGE, -1, "column map: \"%s\" is mapped twice", m->v[i].name);
        m->v = gv_xrealloc(m->v, (m->n + 1) * sizeof *m->v);
        m->v[m->n++] = (struct rows_map_entry){dup_bytes(text, (size_t)(equals - text)), dup_bytes(equals + 1, (size_t)(end - equals - 1))};
        text = *end ? end + 1 : end;
    }
    return true;
}

void rows_map_fini(rows_map *m) {
    for (size_t i = 0; i < m->n; i++) {
        free(m->v[i].name);
        free(m->v[i].column);
    }
    free(m->v);
    *m = (rows_map){0};
}

static const char *mapped(const rows_map *m, const char *name) {
    for (size_t i = 0; m && i < m->n; i++)
        if (!strcmp(m->v[i].name, name)) return m->v[i].column;
    return name;
}

/* ---- opening ---- */

static bool ends_nocase(sv s, const char *suffix) {
    const size_t n = strlen(suffix);
    return s.n >= n && !strncasecmp(s.p + s.n - n, suffix, n);
}

/* path without a last .gz or .zst */
static sv without_packing(sv path) {
    return sv_sub(path, 0, path.n - (ends_nocase(path, ".gz") ? 3 : ends_nocase(path, ".zst") ? 4 : 0));
}

rows_format rows_suffix(const char *path, pack_kind *packing) {
    static const struct {
        const char *suffix;
        rows_format format;
    } known[] = {{".jsonl", ROWS_JSONL}, {".json", ROWS_JSON}, {".csv", ROWS_CSV}, {".tsv", ROWS_TSV}, {".parquet", ROWS_PARQUET}};
    const sv whole = sv_of(path), name = without_packing(whole);
    *packing = name.n == whole.n ? PACK_NONE : ends_nocase(whole, ".gz") ? PACK_GZIP : PACK_ZSTD;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (name.n > strlen(known[i].suffix) && ends_nocase(name, known[i].suffix)) return known[i].format;
    return ROWS_AUTO;
}

static bool format_of(const char *path, rows_format *out, gv_err *err) {
    pack_kind packing;
    *out = strcmp(path, "-") == 0 ? ROWS_JSONL : rows_suffix(path, &packing);
    if (*out == ROWS_PARQUET && packing != PACK_NONE)
        return gv_fail(err, GV_UNSUPPORTED, -1, "%s: a Parquet file is not read compressed; decompress it first", path);
    return *out != ROWS_AUTO ||
           gv_fail(err, GV_USAGE, -1,
                   "%s: unknown suffix; rows are read from .jsonl, .json, .csv, .tsv, also with .gz or .zst behind it, from "
                   ".parquet, or - for JSON lines on standard input",
                   path);
}

/* An id column must be in a CSV header; for JSON the first good row shows it. */
static bool fail_id_column(const rows_reader *r, const sv *names, size_t n, gv_err *err) {
    const char *list[NEAREST_COLUMNS + 1];
    arena a;
    arena_init(&a);
    size_t k = 0;
    for (; k < n && k < NEAREST_COLUMNS; k++) list[k] = arena_dup(&a, names[k].p, names[k].n);
    list[k] = NULL;
    const char *near = nearest_name(r->o.id_col, list);
    gv_fail(err, GV_USAGE, -1, "%s: no id column \"%s\"%s%s%s", r->name, r->o.id_col, near ? "; did you mean \"" : "", near ? near : "",
            near ? "\"?" : "");
    arena_fini(&a);
    return false;
}

/* path NULL: memory. */
static bool start_reader(rows_reader *r, const char *path, gv_err *err) {
    const rows_options *o = &r->o;
    if (o->shard_count && o->shard_index >= o->shard_count)
        return gv_fail(err, GV_USAGE, -1, "shard %llu/%llu: the index runs from 0 to %llu", (unsigned long long)o->shard_index,
                       (unsigned long long)o->shard_count, (unsigned long long)o->shard_count - 1);
    if (r->feed.next) return true;
    if (r->format == ROWS_PARQUET) return rows_open_parquet(r, path, err);
    if (!source_fill(&r->src, err)) return false;
    if (r->src.n == 0) return o->may_be_empty ? r->done = true : gv_fail(err, GV_FORMAT, -1, "%s: the file is empty", r->name);
    if (r->format != ROWS_CSV && r->format != ROWS_TSV) return true;
    r->delimiter = o->delimiter ? o->delimiter : r->format == ROWS_CSV ? ',' : '\t';
    if (!rows_read_header(r, err)) return false;
    if (!o->id_col) return true;
    for (size_t i = 0; i < r->n_header; i++)
        if (sv_is(r->header[i], o->id_col)) return true;
    return fail_id_column(r, r->header, r->n_header, err);
}

static rows_reader *new_reader(const rows_options *o, const char *name) {
    rows_reader *r = gv_xcalloc(1, sizeof *r);
    r->src.fd = -1;
    if (o) r->o = *o;
    r->name = gv_xstrdup(r->o.name ? r->o.name : name);
    r->format = r->o.format;
    r->max_row_bytes = r->o.max_row_bytes ? r->o.max_row_bytes : ROWS_MAX_ROW_BYTES;
    return r;
}

/* digest: fed with the bytes, may be NULL.  again: compare them at the end, may be NULL. */
static rows_reader *open_with(const char *path, const rows_options *o, sha256 *digest, const rows_summary *again, gv_err *err) {
    rows_reader *r = new_reader(o, strcmp(path, "-") ? path : "standard input");
    if (again) {
        memcpy(r->want_sha256, again->sha256, sizeof r->want_sha256);
        sha256_init(&r->digest);
        digest = &r->digest;
    }
    if (r->o.data || (r->format == ROWS_AUTO && dataset_is_source(path))) {
        r->src.digest = digest;
        r->src.bytes_all = -1;
        r->src.at_end = true;
        if (dataset_feed_open(path, &r->o, &r->feed, err) && start_reader(r, path, err)) return r;
    } else if ((r->format != ROWS_AUTO || format_of(path, &r->format, err)) && source_open(&r->src, path, err)) {
        r->src.name = r->name;
        r->src.digest = digest;
        if (start_reader(r, path, err)) return r;
    }
    rows_close(r);
    return NULL;
}

rows_reader *rows_open(const char *path, const rows_options *o, gv_err *err) {
    return open_with(path, o, NULL, NULL, err);
}

rows_reader *rows_open_again(const char *path, const rows_options *o, const rows_summary *s, gv_err *err) {
    return open_with(path, o, NULL, s, err);
}

rows_reader *rows_open_memory(const void *p, size_t n, const rows_options *o, gv_err *err) {
    rows_reader *r = new_reader(o, "memory");
    source_open_memory(&r->src, p, n);
    r->src.name = r->name;
    if (r->format == ROWS_AUTO) gv_fail(err, GV_USAGE, -1, "%s: rows in memory need a format", r->name);
    if (r->format != ROWS_AUTO && start_reader(r, NULL, err)) return r;
    rows_close(r);
    return NULL;
}

const schema *rows_types(const rows_reader *r) {
    return r->parquet ? pq_schema(r->parquet) : r->feed.types;
}

void rows_close(rows_reader *r) {
    if (!r) return;
    json_free(r->doc);
    source_close(&r->src);
    if (r->feed.close) r->feed.close(r->feed.self);
    rows_fini_csv(r);
    pq_close(r->parquet);
    id_set_fini(&r->ids);
    buf *all[] = {&r->text, &r->key, &r->message, &r->columns, &r->id, &r->json_skipped};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) buf_fini(all[i]);
    free(r->name);
    free(r);
}

/* ---- rows ---- */

void rows_bad(rows_reader *r, int64_t line, const char *fmt, ...) {
    gv_err e = GV_ERR_INIT;
    va_list ap;
    va_start(ap, fmt);
    gv_vfail(&e, GV_FORMAT, line, fmt, ap);
    va_end(ap);
    buf_clear(&r->message);
    buf_printf(&r->message, "%s:%lld: %s", r->name, (long long)line, e.msg);
    r->bad = true;
}

static const char *kind_article(const json_value *v) {
    switch (json_kind_of(v)) {
    case JSON_NULL: return "";
    case JSON_ARRAY:
    case JSON_OBJECT: return "an ";
    default: return "a ";
    }
}

/* Parses the row's text; a row that is no JSON object becomes bad.  False only when memory is out. */
static bool parse_row(rows_reader *r, gv_err *err) {
    gv_err e = GV_ERR_INIT;
    r->doc = json_parse(r->row_text, &e);
    if (!r->doc) {
        if (e.code == GV_MEMORY) return gv_fail(err, e.code, r->row_line, "%s:%lld: %s", r->name, (long long)r->row_line, e.msg);
        size_t invalid = utf8_invalid_at(r->row_text), at = e.where > 0 ? (size_t)e.where : 0;
        if (invalid != SIZE_MAX && e.code == GV_FORMAT) at = invalid;
        int64_t line = r->row_line;
        for (size_t i = 0; i < at && i < r->row_text.n; i++) line += r->row_text.p[i] == '\n';
        if (invalid != SIZE_MAX && e.code == GV_FORMAT)
            rows_bad(r, line, "invalid UTF-8 at byte %zu of the row", invalid);
        else
            rows_bad(r, line, "%s", e.msg);
        return true;
    }
    const json_value *root = json_root(r->doc);
    if (json_kind_of(root) != JSON_OBJECT)
        rows_bad(r, r->row_line, "a row must be an object, found %s%s", kind_article(root), json_kind_name(root));
    else if (!rows_cut_object(r->row_text, root, &r->columns))
        rows_bad(r, r->row_line, "the row's members cannot be told apart");
    return true;
}

static const row_column *column_of(const rows_reader *r, const char *name) {
    const row_column *c = (const row_column *)(const void *)r->columns.p;
    for (size_t i = 0; i < r->columns.n / sizeof *c; i++)
        if (sv_is(c[i].name, name)) return &c[i];
    return NULL;
}

/* The id column's text into r->id.  Without that column the first good row fails the input (a mistyped name), later ones are bad. */
static bool read_id(rows_reader *r, uint64_t number, gv_err *err) {
    const row_column *c = column_of(r, r->o.id_col);
    if (!c && !r->id_seen) {
        const row_column *v = (const row_column *)(const void *)r->columns.p;
        sv names[NEAREST_COLUMNS];
        size_t n = 0;
        for (; n < NEAREST_COLUMNS && n < r->columns.n / sizeof *v; n++) names[n] = v[n].name;
        return fail_id_column(r, names, n, err);
    }
    r->id_seen = true;
    if (!c) {
        rows_bad(r, r->row_line, "no id column \"%s\"", r->o.id_col);
        return true;
    }
    buf_clear(&r->id);
    if (json_kind_of(c->value) == JSON_STRING)
        buf_add_sv(&r->id, json_string(c->value));
    else if (json_kind_of(c->value) == JSON_NUMBER && !memchr(c->raw.p, '.', c->raw.n) && !memchr(c->raw.p, 'e', c->raw.n) &&
             !memchr(c->raw.p, 'E', c->raw.n))
        buf_add_sv(&r->id, c->raw);
    else {
        rows_bad(r, r->row_line, "id column \"%s\" must be text or an integer, this is " SV_FMT, r->o.id_col,
                 SV_ARG(sv_sub(c->raw, 0, 40)));
        return true;
    }
    uint64_t before;
    if (!id_set_add(&r->ids, buf_view(&r->id), number, &before, err)) return false;
    if (before == UINT64_MAX) return true;
    return gv_fail(err, GV_FORMAT, (int64_t)number, "%s:%lld: row %llu has the id \"" SV_FMT "\" of row %llu; ids must be distinct",
                   r->name, (long long)r->row_line, (unsigned long long)number, SV_ARG(sv_sub(buf_view(&r->id), 0, NAME_SHOWN)),
                   (unsigned long long)before);
}

static void show_row(rows_reader *r, uint64_t number, row *out) {
    snprintf(r->number_text, sizeof r->number_text, "%llu", (unsigned long long)number);
    *out = (row){.number = number, .line = r->row_line, .id = sv_of(r->number_text), .key = buf_view(&r->key), .bad = r->bad, .reader = r};
    if (r->bad) {
        out->message = buf_view(&r->message);
        return;
    }
    if (r->o.id_col) out->id = buf_view(&r->id);
    out->text = r->row_text;
    out->columns = (const row_column *)(const void *)r->columns.p;
    out->n_columns = r->columns.n / sizeof(row_column);
}

/* The next row of a feed; the digest of such an input is of its rows' texts. */
static bool next_fed(rows_reader *r, bool *end, gv_err *err) {
    if (!r->feed.next(r->feed.self, r, end, err)) return false;
    if (*end || !r->src.digest) return true;
    const sv text = r->bad ? buf_view(&r->message) : r->row_text;
    sha256_add(r->src.digest, text.p, text.n);
    sha256_add(r->src.digest, "\n", 1);
    return true;
}

/* What is left of the input, for the digest. */
static bool drain(rows_reader *r, gv_err *err) {
    if (!r->feed.next) return source_drain(&r->src, err);
    for (bool end = r->done; !end;) {
        r->bad = false;
        if (!next_fed(r, &end, err)) return false;
    }
    return r->done = true;
}

/* The end of a pass: were its bytes those of the first one? */
static bool check_same(rows_reader *r, gv_err *err) {
    char now[65];
    if (!r->want_sha256[0]) return true;
    if (!drain(r, err)) return false;
    sha256_hex(&r->digest, now);
    const bool same = strcmp(now, r->want_sha256) == 0;
    r->want_sha256[0] = 0;
    return same || gv_fail(err, GV_STATE, -1, "%s changed while it was being judged", r->name);
}

bool rows_next(rows_reader *r, row *out, bool *end, gv_err *err) {
    const rows_options *o = &r->o;
    for (;;) {
        *end = r->done || (o->limit && r->next_number >= o->limit);
        if (*end) return check_same(r, err);
        uint64_t number = r->next_number;
        bool ours = !o->shard_count || number % o->shard_count == o->shard_index, ok;
        json_free(r->doc);
        r->doc = NULL;
        r->bad = r->blank = false;
        buf_clear(&r->columns);
        if (r->feed.next)
            ok = next_fed(r, end, err);
        else
            switch (r->format) {
            case ROWS_JSON: ok = rows_next_json(r, end, err); break;
            case ROWS_CSV:
            case ROWS_TSV: ok = rows_next_csv(r, ours || o->id_col, end, err); break;
            case ROWS_PARQUET: ok = rows_next_parquet(r, ours || o->id_col, end, err); break;
            default: ok = rows_next_jsonl(r, end, err);
            }
        if (!ok) return false;
        if (*end) {
            r->done = true;
            if (number == 0 && !o->blank_lines && !o->may_be_empty) return gv_fail(err, GV_FORMAT, -1, "%s: no rows", r->name);
            return check_same(r, err);
        }
        if (r->blank) {
            rows_bad(r, r->row_line, "the line is empty");
            show_row(r, number, out);
            out->blank = true;
            return true;
        }
        r->next_number++;
        if (!ours && !o->id_col) continue;
        if (!r->bad && !parse_row(r, err)) return false;
        if (!r->bad && o->id_col && !read_id(r, number, err)) return false;
        if (!ours) continue;
        show_row(r, number, out);
        return true;
    }
}

const sv *rows_header(const rows_reader *r, size_t *n) {
    *n = r->n_header;
    return r->header;
}

void rows_position(const rows_reader *r, int64_t *bytes_read, int64_t *bytes_all) {
    if (r->parquet) {
        rows_position_parquet(r, bytes_read, bytes_all);
        return;
    }
    *bytes_read = r->src.bytes_read - (int64_t)(r->src.unpacker ? r->src.packed.n : r->src.n - r->src.pos);
    *bytes_all = r->src.bytes_all;
}

const row_column *row_get(const row *r, const char *name) {
    const char *column = mapped(r->reader->o.map, name);
    for (size_t i = 0; i < r->n_columns; i++)
        if (sv_is(r->columns[i].name, column)) return &r->columns[i];
    return NULL;
}

const row_column *row_need(const row *r, const char *name, gv_err *err) {
    const row_column *found = row_get(r, name);
    if (found) return found;
    const char *column = mapped(r->reader->o.map, name), *list[NEAREST_COLUMNS + 1];
    arena a;
    arena_init(&a);
    buf b = {0};
    size_t k = 0;
    for (; k < r->n_columns && k < NEAREST_COLUMNS; k++) {
        sv n = sv_sub(r->columns[k].name, 0, NAME_SHOWN);
        list[k] = arena_dup(&a, n.p, n.n);
        if (k < NAMES_SHOWN) buf_printf(&b, "%s\"%s\"", k ? ", " : "", list[k]);
    }
    list[k] = NULL;
    const char *near = nearest_name(column, list);
    buf_add_str(&b, r->n_columns == 0 ? "no columns" : r->n_columns > NAMES_SHOWN ? ", ..." : "");
    gv_fail(err, GV_USAGE, r->line, "%s:%lld: no column \"%s\"%s%s%s; the row has %s%s%s%s", r->reader->name, (long long)r->line, column,
            column != name ? " (for " : "", column != name ? name : "", column != name ? ")" : "", b.p, near ? "; did you mean \"" : "",
            near ? near : "", near ? "\"?" : "");
    buf_fini(&b);
    arena_fini(&a);
    return NULL;
}

/* ---- a whole pass ---- */

static bool add_columns(rows_summary *s, size_t *cap, const row *r, const char *name, gv_err *err) {
    size_t hint = 0;
    for (size_t i = 0; i < r->n_columns; i++) {
        sv want = r->columns[i].name;
        size_t k = 0, at = hint;
        while (k < s->n_columns && !sv_eq(s->columns[at], want)) {
            k++;
            at = at + 1 < s->n_columns ? at + 1 : 0;
        }
        if (k == s->n_columns) {
            if (s->n_columns == ROWS_MAX_COLUMNS)
                return gv_fail(err, GV_LIMIT, r->line, "%s:%lld: more than %u different columns", name, (long long)r->line,
                               ROWS_MAX_COLUMNS);
            if (s->n_columns == *cap) {
                *cap = *cap ? *cap * 2 : 16;
                s->columns = gv_xrealloc(s->columns, *cap * sizeof *s->columns);
            }
            at = s->n_columns++;
            s->columns[at] = (sv){arena_dup(&s->a, want.p, want.n), want.n};
        }
        hint = at + 1 < s->n_columns ? at + 1 : 0;
    }
    return true;
}

/* Widens the columns' types by the row's values; a Parquet file tells them itself. */
static bool see_types(rows_summary *s, const rows_reader *r, const row *at, gv_err *err) {
    if (r->parquet || schema_see_row(&s->types, json_root(r->doc), at->number, err)) return true;
    return gv_context(err, "%s", r->name);
}

bool rows_scan(const char *path, const rows_options *o, rows_summary *s, gv_err *err) {
    sha256 digest;
    size_t cap = 0;
    bool ok = false, end = false;
    *s = (rows_summary){0};
    arena_init(&s->a);
    schema_init(&s->types);
    sha256_init(&digest);
    rows_reader *r = open_with(path, o, &digest, NULL, err);
    if (!r) goto done;
    if (o && o->types && r->parquet && !schema_copy_type(&s->types, &s->types.root, &pq_schema(r->parquet)->root, err)) goto done;
    for (row at;;) {
        if (!rows_next(r, &at, &end, err)) goto done;
        if (end) break;
        s->n_selected++;
        s->n_bad += at.bad;
        if (!at.bad && !add_columns(s, &cap, &at, r->name, err)) goto done;
        if (!at.bad && o && o->types && !see_types(s, r, &at, err)) goto done;
    }
    s->n_rows = r->next_number;
    ok = drain(r, err);
    sha256_hex(&digest, s->sha256);
done:
    rows_close(r);
    if (!ok) rows_summary_fini(s);
    return ok;
}

void rows_summary_fini(rows_summary *s) {
    arena_fini(&s->a);
    schema_fini(&s->types);
    free(s->columns);
    *s = (rows_summary){0};
}

bool rows_spool_stdin(const char *path, gv_err *err) {
    file_writer w;
    if (!file_writer_open(&w, path, err)) return false;
    char chunk[SPOOL_CHUNK];
    bool any = false;
    for (;;) {
        ssize_t got = read(STDIN_FILENO, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) {
            gv_fail(err, GV_INTERRUPTED, -1, "interrupted while reading standard input");
            goto fail;
        }
        if (got < 0) {
            gv_fail_errno(err, "cannot read standard input");
            goto fail;
        }
        if (got == 0) break;
        any = true;
        if (!file_writer_put(&w, chunk, (size_t)got, err)) goto fail;
    }
    if (any) return file_writer_commit(&w, err);
    gv_fail(err, GV_FORMAT, -1, "standard input: the file is empty");
fail:
    file_writer_abandon(&w);
    return false;
}
