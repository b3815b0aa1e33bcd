/* Opens data sets: what path means, the card, the files of the chosen splits, their download, the rows of the slice.  Rules of names are in
 * dataset_files.c, rows in dataset_rows.c, folders of save_to_disk in dataset_disk.c. */
#include "data/dataset_open.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { NAMES_SHOWN = 12 };

#define HF_PREFIX "hf://datasets/"
#define CONVERTED "refs/convert/parquet"

/* ---- the object ---- */

dataset *dataset_new(const char *name) {
    dataset *d = gv_xcalloc(1, sizeof *d);
    arena_init(&d->a);
    d->name = gv_xstrdup(name);
    return d;
}

void dataset_close(dataset *d) {
    if (!d) return;
    if (d->has_table) table_fini(&d->table);
    if (d->has_types) schema_fini(&d->types);
    free(d->columns);
    free(d->files);
    free(d->parts);
    free(d->name);
    arena_fini(&d->a);
    free(d);
}

size_t dataset_add_file(dataset *d, const char *path, const char *shown) {
    if (d->n_files == d->cap_files) {
        d->cap_files = d->cap_files ? 2 * d->cap_files : 16;
        d->files = gv_xrealloc(d->files, d->cap_files * sizeof *d->files);
    }
    d->files[d->n_files] = (data_file){.path = arena_dup(&d->a, path, strlen(path)), .shown = arena_dup(&d->a, shown, strlen(shown))};
    return d->n_files++;
}

const char *const *dataset_splits(const dataset *d, size_t *n) {
    *n = d->n_splits;
    return d->splits;
}

const sv *dataset_columns(const dataset *d, size_t *n) {
    *n = d->n_columns;
    return d->columns;
}

bool dataset_is_source(const char *path) {
    struct stat st;
    return !strncmp(path, "hf://", 5) || (strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

/* ---- slices ---- */

static void add_part(dataset *d, size_t file, uint64_t skip, uint64_t take) {
    if (d->n_parts == d->cap_parts) {
        d->cap_parts = d->cap_parts ? 2 * d->cap_parts : 16;
        d->parts = gv_xrealloc(d->parts, d->cap_parts * sizeof *d->parts);
    }
    d->parts[d->n_parts++] = (data_part){file, skip, take};
}

static bool cut_term(dataset *d, const split_term *t, size_t first, size_t end, gv_err *err) {
    uint64_t n = 0, from, to, begin = 0;
    if (!t->has_from && !t->has_to) {
        for (size_t i = first; i < end; i++) add_part(d, i, 0, UINT64_MAX);
        return true;
    }
    for (size_t i = first; i < end; i++) {
        if (!dataset_count(d, i, err)) return false;
        n += d->files[i].n_rows;
    }
    if (!split_bounds(t, n, &from, &to, err)) return false;
    for (size_t i = first; i < end; begin += d->files[i++].n_rows) {
        const uint64_t stop = begin + d->files[i].n_rows, a = from > begin ? from : begin, b = to < stop ? to : stop;
        if (a < b) add_part(d, i, a - begin, b - a);
    }
    return true;
}

bool dataset_cut(dataset *d, const split_spec *s, const size_t *first, gv_err *err) {
    for (size_t i = 0; i < s->n; i++)
        if (!cut_term(d, &s->terms[i], first[2 * i], first[2 * i + 1], err)) return false;
    if (d->n_parts) return true;
    return gv_fail(err, GV_USAGE, -1, "%s: the split asked for has no rows", d->name);
}

/* ---- choosing splits ---- */

static void list_names(const char *const *names, size_t n, buf *out) {
    for (size_t i = 0; i < n && i < NAMES_SHOWN; i++) buf_printf(out, "%s\"%s\"", i ? ", " : "", str_show(sv_of(names[i])).text);
    if (n > NAMES_SHOWN) buf_printf(out, ", ... (%zu in all)", n);
}

static bool fail_split(const dataset *d, const char *wish, gv_err *err) {
    buf names = {0};
    list_names(d->splits, d->n_splits, &names);
    if (wish)
        gv_fail(err, GV_USAGE, -1, "%s: no split \"%s\"; there %s %s", d->name, str_show(sv_of(wish)).text, d->n_splits == 1 ? "is" : "are",
                names.p ? names.p : "none");
    else
        gv_fail(err, GV_USAGE, -1, "%s: which split? there are %s", d->name, names.p);
    buf_fini(&names);
    return false;
}

/* The terms of wish, or the only split; each must exist. */
bool dataset_choose(const dataset *d, const char *wish, split_spec *out, gv_err *err) {
    if (!wish && d->n_splits != 1) return fail_split(d, NULL, err);
    if (!split_parse(wish ? wish : d->splits[0], out, err)) return false;
    for (size_t i = 0; i < out->n; i++) {
        size_t k = 0;
        while (k < d->n_splits && strcmp(d->splits[k], out->terms[i].name) != 0) k++;
        if (k < d->n_splits) continue;
        fail_split(d, out->terms[i].name, err);
        split_fini(out);
        return false;
    }
    return true;
}

/* ---- opening ---- */

typedef struct opening {
    const dataset_spec *spec;
    dataset *d;
    listing l;
    card c;
    resolved r;
    split_spec s;
    hub *own_hub;
    size_t *first;               /* of each term: its files' first index and the one behind the last */
    char *split, *config, *file; /* file: of the repository, or a pattern */
} opening;

/* Where in ORG/NAME[@REV]/FILE the slash before FILE is; NULL: there is no FILE.  A revision may hold slashes: refs/convert/X, refs/pr/N, and any
 * other if what is behind the first of them does not end as a data file's name does. */
static const char *file_slash(const char *text) {
    const char *org = strchr(text, '/'), *at = org ? strchr(org + 1, '@') : NULL, *slash = org ? strchr(org + 1, '/') : NULL;
    if (!slash || (at && at > slash)) return slash;
    if (at && (!strncmp(at, "@refs/convert/", 14) || !strncmp(at, "@refs/pr/", 9))) slash = strchr(strchr(slash + 1, '/') + 1, '/');
    return slash && (!at || kind_is_data(sv_of(slash + 1))) ? slash : NULL;
}

/* hf://datasets/ORG/NAME[@REV][:CONFIG[/SPLIT]], hf://datasets/ORG/NAME[@REV]/FILE or ORG/NAME[@REV] */
static bool parse_hub(opening *o, const char *path, hub_repo *repo, gv_err *err) {
    const bool url = !strncmp(path, "hf://", 5);
    if (url && strncmp(path, HF_PREFIX, strlen(HF_PREFIX)) != 0)
        return gv_fail(err, GV_USAGE, -1,
                       "%s: a data set is written hf://datasets/ORG/NAME[@REVISION][:CONFIG/SPLIT], a file of it "
                       "hf://datasets/ORG/NAME[@REVISION]/FILE",
                       path);
    const char *text = url ? path + strlen(HF_PREFIX) : path, *colon = url ? strchr(text, ':') : NULL;
    const size_t whole = colon ? (size_t)(colon - text) : strlen(text);
    const char *named = arena_dup(&o->d->a, text, whole), *file = url ? file_slash(named) : NULL;
    const size_t n = file ? (size_t)(file - named) : whole;
    if (file && colon) return gv_fail(err, GV_USAGE, -1, "%s: a file has no configuration; give the file or :CONFIG/SPLIT", path);
    if (file && o->spec->data_files) return gv_fail(err, GV_USAGE, -1, "%s: a file, and data files beside it", path);
    if (file) o->file = arena_dup(&o->d->a, file + 1, strlen(file + 1));
    if (colon) {
        const char *slash = strchr(colon + 1, '/');
        const size_t config = slash ? (size_t)(slash - colon) - 1 : strlen(colon + 1);
        if ((config && o->spec->config) || (slash && slash[1] && o->spec->split))
            return gv_fail(err, GV_USAGE, -1, "%s: the %s is given twice, the other is \"%s\"", path,
                           config && o->spec->config ? "configuration" : "split",
                           str_show(sv_of(config && o->spec->config ? o->spec->config : o->spec->split)).text);
        if (config) o->config = arena_dup(&o->d->a, colon + 1, config);
        if (slash && slash[1]) o->split = arena_dup(&o->d->a, slash + 1, strlen(slash + 1));
    }
    char *ref = arena_dup(&o->d->a, text, n);
    const char *revision = o->spec->revision;
    if (revision && strchr(ref, '@'))
        return gv_fail(err, GV_USAGE, -1, "%s: the revision is given twice, the other is \"%s\"", path, revision);
    if (revision) ref = arena_printf(&o->d->a, "%s@%s", ref, revision);
    return hub_repo_parse(HUB_DATASET, ref, repo, err);
}

static bool open_repository(opening *o, const char *path, gv_err *err) {
    hub_repo repo;
    if (!parse_hub(o, path, &repo, err)) return false;
    hub *h = o->spec->hub;
    if (!h) h = o->own_hub = hub_open(&(hub_options){0}, err);
    if (!h || !listing_open_hub(&o->l, h, &repo, err)) return false;
    memcpy(o->d->commit, o->l.files.commit, sizeof o->d->commit);
    return true;
}

/* The files of the split that the Hub has converted, when it has only what gavel does not read. */
static bool use_converted(opening *o, const hub_parquet *p, gv_err *err) {
    const char *wish = o->config;
    char *fresh = NULL;
    hub_repo repo = o->l.repo;
    for (size_t i = 0; i < p->n && !wish; i++)
        if (!strcmp(p->files[i].config, "default")) wish = p->files[i].config;
    if (!wish) wish = p->files[0].config;
    buf configs = {0};
    size_t n_configs = 0, n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const bool is_new = i == 0 || strcmp(p->files[i - 1].config, p->files[i].config) != 0;
        n_configs += is_new;
        if (is_new && n_configs <= NAMES_SHOWN) buf_printf(&configs, "%s\"%s\"", i ? ", " : "", str_show(sv_of(p->files[i].config)).text);
        n += !strcmp(p->files[i].config, wish);
    }
    bool ok = true;
    if (n == 0)
        ok = gv_fail(err, GV_USAGE, -1, "%s: no configuration \"%s\"; there are %s", o->d->name, wish, configs.p);
    else if (!o->config && n_configs > 1 && strcmp(wish, "default") != 0)
        ok = gv_fail(err, GV_USAGE, -1, "%s: which configuration? there are %s", o->d->name, configs.p);
    buf_fini(&configs);
    if (!ok) return false;
    hub *h = o->l.hub;
    listing_close(&o->l);
    snprintf(repo.rev, sizeof repo.rev, CONVERTED);
    if (!listing_open_hub(&o->l, h, &repo, err)) return false;
    resolved_fini(&o->r);
    arena_init(&o->r.a);
    o->r.kind = KIND_PARQUET;
    o->r.module = "parquet";
    o->r.config = arena_dup(&o->r.a, wish, strlen(wish));
    o->r.splits = arena_alloc(&o->r.a, n * sizeof *o->r.splits);
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->files[i].config, wish) != 0) continue;
        split_files *s = o->r.n_splits ? &o->r.splits[o->r.n_splits - 1] : NULL;
        if (!s || strcmp(s->name, p->files[i].split) != 0) {
            s = &o->r.splits[o->r.n_splits++];
            *s = (split_files){.name = arena_dup(&o->r.a, p->files[i].split, strlen(p->files[i].split)),
                               .paths = arena_alloc(&o->r.a, n * sizeof(sv))};
        }
        fresh = arena_printf(&o->r.a, "%s/%s/%s", wish, s->name, p->files[i].filename);
        if (!hub_list_find(&o->l.files, fresh))
            return gv_fail(err, GV_FORMAT, -1, "%s: the Hub speaks of %s, but %s has no such file", o->d->name, str_show(sv_of(fresh)).text,
                           CONVERTED);
        s->paths[s->n++] = sv_of(fresh);
    }
    return true;
}

static bool fail_no_data(const opening *o, const char *more, gv_err *err) {
    if (o->r.kind == KIND_NONE)
        return gv_fail(err, GV_UNSUPPORTED, -1, "%s: no data files: .parquet, .arrow, .csv, .tsv, .json, .jsonl%s", o->d->name, more);
    return gv_fail(err, GV_UNSUPPORTED, -1, "%s: the data files are of type \"%s\", which gavel does not read%s", o->d->name, o->r.module,
                   more);
}

static bool try_converted(opening *o, gv_err *err) {
    hub_parquet p;
    bool found;
    if (!o->l.hub || o->spec->data_files || hub_is_offline(o->l.hub, HUB_DATASET)) return fail_no_data(o, "", err);
    hub_repo converted = o->l.repo;
    char commit[41];
    gv_err none = GV_ERR_INIT;
    snprintf(converted.rev, sizeof converted.rev, CONVERTED);
    if (!hub_commit(o->l.hub, &converted, commit, &none)) { /* the server that knows the files takes long to say that there are none */
        fail_no_data(o, ", nor is there a Parquet conversion of it", err);
        const size_t n = err ? strlen(err->msg) : 0;
        if (n) snprintf(err->msg + n, sizeof err->msg - n, " (%s)", none.msg);
        return false;
    }
    if (!hub_parquet_export(o->l.hub, &o->l.repo, &p, &found, err)) return false;
    bool ok;
    if (!found || p.n == 0)
        ok = fail_no_data(o, ", and the Hub has no Parquet conversion of it", err);
    else if (p.partial)
        ok = fail_no_data(o, ", and the Hub's Parquet conversion has not all of its rows", err);
    else if (p.revision[0] && strcmp(p.revision, o->d->commit) != 0)
        ok = fail_no_data(o, ", and the Hub's Parquet conversion is of another revision", err);
    else
        ok = use_converted(o, &p, err);
    if (found) hub_parquet_fini(&p);
    return ok;
}

static bool read_card_file(opening *o, gv_err *err) {
    buf text = {0};
    bool found;
    char *name = arena_printf(&o->d->a, "%s/README.md", o->d->name);
    bool ok = listing_read(&o->l, "README.md", CARD_MAX_BYTES, &text, &found, err);
    if (ok && found) ok = card_parse(buf_view(&text), name, &o->c, err);
    buf_fini(&text);
    return ok;
}

/* The files of the terms of the split as files of the data set, fetched if they are of a repository. */
static bool take_files(opening *o, gv_err *err) {
    dataset *d = o->d;
    size_t n = 0, *chosen = NULL;
    char *folder = NULL;
    bool ok = true;
    o->first = arena_alloc(&d->a, (2 * o->s.n + 1) * sizeof *o->first);
    for (size_t i = 0; i < o->s.n; i++)
        for (size_t k = 0; k < o->r.n_splits; k++) n += strcmp(o->r.splits[k].name, o->s.terms[i].name) ? 0 : o->r.splits[k].n;
    if (o->l.hub) {
        size_t c = 0;
        chosen = gv_xcalloc(n + 1, sizeof *chosen);
        for (size_t i = 0; i < o->s.n; i++)
            for (size_t k = 0; k < o->r.n_splits; k++)
                for (size_t f = 0; !strcmp(o->r.splits[k].name, o->s.terms[i].name) && f < o->r.splits[k].n; f++)
                    chosen[c++] = (size_t)(hub_list_find(&o->l.files, o->r.splits[k].paths[f].p) - o->l.files.files);
        ok = hub_fetch(o->l.hub, &o->l.repo, &o->l.files, chosen, n, o->spec->show, o->spec->show_ctx, &folder, err);
    }
    const char *root = folder ? folder : o->l.root;
    for (size_t i = 0; ok && i < o->s.n; i++) {
        o->first[2 * i] = d->n_files;
        for (size_t k = 0; k < o->r.n_splits; k++) {
            const split_files *s = &o->r.splits[k];
            for (size_t f = 0; !strcmp(s->name, o->s.terms[i].name) && f < s->n; f++) {
                const char *path =
                    s->paths[f].p[0] == '/' || !o->spec->path ? s->paths[f].p : arena_printf(&d->a, "%s/%s", root, s->paths[f].p);
                const char *shown = o->l.hub ? arena_printf(&d->a, "%s:%s", o->l.repo.id, s->paths[f].p) : path;
                dataset_add_file(d, path, shown);
            }
        }
        o->first[2 * i + 1] = d->n_files;
    }
    free(folder);
    free(chosen);
    return ok;
}

static bool resolve(opening *o, gv_err *err) {
    dataset *d = o->d;
    dataset_spec spec = *o->spec;
    spec.config = o->config;
    if (!resolve_files(&o->l, &o->c, &spec, d->name, &o->r, err)) return false;
    if ((o->r.kind == KIND_NONE || o->r.kind == KIND_OTHER) && !try_converted(o, err)) return false;
    d->kind = o->r.kind;
    d->delimiter = o->r.delimiter;
    d->n_splits = o->r.n_splits;
    d->splits = arena_alloc(&d->a, (d->n_splits + 1) * sizeof *d->splits);
    for (size_t i = 0; i < d->n_splits; i++) d->splits[i] = arena_dup(&d->a, o->r.splits[i].name, strlen(o->r.splits[i].name));
    return dataset_choose(d, o->split, &o->s, err) && take_files(o, err) && dataset_learn(d, &o->c, o->r.config, err) &&
           dataset_cut(d, &o->s, o->first, err);
}

/* resolve with this file alone as the data files; path: as spec.path. */
static bool resolve_one(opening *o, const char *path, const char *file, gv_err *err) {
    buf text = {0};
    gv_err ignored = GV_ERR_INIT;
    json_put_string(&text, sv_of(file));
    json_doc *doc = json_parse(buf_view(&text), &ignored);
    buf_fini(&text);
    if (!doc) return gv_fail(err, GV_USAGE, -1, "%s: the name is not UTF-8", file);
    const dataset_spec *given = o->spec;
    dataset_spec spec = *given;
    spec.path = path;
    spec.data_files = json_root(doc);
    o->spec = &spec;
    const bool ok = resolve(o, err);
    o->spec = given;
    json_free(doc);
    return ok;
}

bool dataset_is_file_name(const char *path) {
    return kind_is_data(sv_of(path));
}

static bool open_all(opening *o, gv_err *err) {
    const dataset_spec *s = o->spec;
    struct stat st;
    if (s->config) o->config = arena_dup(&o->d->a, s->config, strlen(s->config));
    if (s->split) o->split = arena_dup(&o->d->a, s->split, strlen(s->split));
    if (!s->path) {
        if (!s->data_files) return gv_fail(err, GV_USAGE, -1, "a data set needs a path or data files");
        return listing_open_local(&o->l, ".", err) && resolve(o, err);
    }
    const bool here = strncmp(s->path, "hf://", 5) != 0 && stat(s->path, &st) == 0;
    if (here && S_ISREG(st.st_mode)) return listing_open_local(&o->l, ".", err) && resolve_one(o, NULL, s->path, err);
    if (here && s->revision) return gv_fail(err, GV_USAGE, -1, "%s: a folder here has no revision \"%s\"", s->path, s->revision);
    if (here) return listing_open_local(&o->l, s->path, err) && read_card_file(o, err) && resolve(o, err);
    if (strncmp(s->path, "hf://", 5) != 0 && !hub_is_ref(s->path))
        return gv_fail(err, GV_USAGE, -1, "%s: no such folder or file, and no name of a data set (ORG/NAME)", s->path);
    if (!open_repository(o, s->path, err)) return false;
    if (o->file) return resolve_one(o, s->path, o->file, err);
    return read_card_file(o, err) && resolve(o, err);
}

dataset *dataset_open(const dataset_spec *spec, gv_err *err) {
    opening o = {.spec = spec, .d = dataset_new(spec->path ? spec->path : "data files")};
    const bool ok = open_all(&o, err);
    split_fini(&o.s);
    resolved_fini(&o.r);
    card_fini(&o.c);
    listing_close(&o.l);
    hub_close(o.own_hub);
    if (ok) return o.d;
    dataset_close(o.d);
    return NULL;
}
