/* From names to splits: explicit patterns (the user's, then the card's), else the library's default ones, tried in its order:
 *
 *   data/SPLIT-00000-of-00005.parquet and the like; *.eval logs; task.toml; folders, then files, named train, validation, test and their kin;
 *   else all files are "train".
 *
 * Then the builder is that of most files (all splits must agree), and files that it does not read are left out. */
#include "data/dataset_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *const default_splits[] = {"train", "validation", "test"};
static const char *const keywords[3][5] = {
    {"train", "training"}, {"validation", "valid", "dev", "val"}, {"test", "testing", "eval", "evaluation"}};
static const char *const in_folder[] = {"**/%s/**", "**/%s[-._ 0-9]*/**", "**/*[-._ 0-9]%s/**", "**/*[-._ 0-9]%s[-._ 0-9]*/**", NULL};
static const char *const in_file[] = {"**/%s[-._ 0-9]*", "**/*[-._ 0-9]%s[-._ 0-9]*", NULL};

#define SHARDED "-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]*.*"

typedef struct finder {
    listing *l;
    sv base; /* folder inside the listing's root */
    pattern_budget budget;
    buf found;       /* of sv */
    bool any_suffix; /* the user has named the format */
    resolved *r;
} finder;

static sv *found_paths(const finder *f, size_t *n) {
    *n = f->found.n / sizeof(sv);
    return (sv *)(void *)f->found.p;
}

/* Files that match, behind what is found already; *any: were there some? */
static bool find(finder *f, sv text, bool *any, gv_err *err) {
    const size_t before = f->found.n;
    if (!listing_match(f->l, f->base, text, &f->budget, &f->found, err)) return false;
    *any = f->found.n > before;
    if (f->found.n > LISTING_MAX_FILES * sizeof(sv))
        return gv_fail(err, GV_LIMIT, -1, "%s: more data files than the cap of %d", f->l->root, LISTING_MAX_FILES);
    return true;
}

static split_files *new_split(resolved *r, sv name) {
    split_files *s = &r->splits[r->n_splits++];
    *s = (split_files){.name = arena_dup(&r->a, name.p, name.n)};
    return s;
}

/* Of what is found, what has a suffix of some format; all if the user has named the format. */
static void take_found(finder *f, split_files *s) {
    size_t n;
    const sv *v = found_paths(f, &n);
    s->paths = arena_alloc(&f->r->a, (n + 1) * sizeof *s->paths);
    for (size_t i = 0; i < n; i++)
        if (f->any_suffix || kind_is_data(v[i])) s->paths[s->n++] = (sv){arena_dup(&f->r->a, v[i].p, v[i].n), v[i].n};
    buf_clear(&f->found);
}

/* ---- explicit patterns ---- */

/* Why a name that is no pattern gives no file. */
static bool fail_no_file(const finder *f, sv text, bool is_there, gv_err *err) {
    const bool listed = f->l->hub || strcmp(f->l->root, ".") != 0; /* else the name is one of the current folder, or whole */
    const char *root = listed ? f->l->root : "", *colon = listed ? ": " : "";
    const str_shown name = str_show(text);
    struct stat st;
    if (is_there)
        return gv_fail(err, GV_UNSUPPORTED, -1,
                       "%s%s\"%s\" is there, but its name does not end as a data file's: .parquet, .arrow, .csv, .tsv, "
                       ".json, .jsonl",
                       root, colon, name.text);
    if (!f->l->hub &&
        stat(listed ? arena_printf(&f->r->a, "%s/" SV_FMT, f->l->root, SV_ARG(text)) : arena_dup(&f->r->a, text.p, text.n), &st) == 0 &&
        S_ISDIR(st.st_mode))
        return gv_fail(err, GV_USAGE, -1, "%s%s\"%s\" is a folder; give it alone, or its files as a pattern: %s/**", root, colon, name.text,
                       name.text);
    return gv_fail(err, GV_USAGE, -1, "%s%sthere is no data file \"%s\"", root, colon, name.text);
}

static bool find_explicit(finder *f, const split_patterns *splits, size_t n, gv_err *err) {
    f->r->splits = arena_alloc(&f->r->a, (n + 1) * sizeof *f->r->splits);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < splits[i].n; k++) {
            const sv text = splits[i].patterns[k];
            bool any;
            if (!find(f, text, &any, err)) return false;
            if (!pattern_is_magic(text) && !(any && (f->any_suffix || kind_is_data(text)))) return fail_no_file(f, text, any, err);
        }
        take_found(f, new_split(f->r, splits[i].split));
    }
    return true;
}

/* ---- default patterns ---- */

static int default_rank(sv name) {
    for (int i = 0; i < 3; i++)
        if (sv_is(name, default_splits[i])) return i;
    return 3;
}

static int compare_splits(const void *pa, const void *pb) {
    const sv *a = pa, *b = pb;
    const int x = default_rank(*a), y = default_rank(*b);
    if (x != y) return x - y;
    const int c = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);
    return c ? c : (a->n > b->n) - (a->n < b->n);
}

/* data/NAME-00000-of-00001.EXT -> NAME: the library's regular expression takes the longest name. */
static sv sharded_name(sv path) {
    static const char tail[] = "-#####-of-#####";
    const char *slash = memrchr(path.p, '/', path.n);
    const sv base = slash ? sv_sub(path, (size_t)(slash - path.p) + 1, path.n) : path;
    for (size_t at = base.n; at-- > 0;) {
        size_t k = 0;
        while (k + 1 < sizeof tail && at + k < base.n &&
               (tail[k] == '#' ? base.p[at + k] >= '0' && base.p[at + k] <= '9' : base.p[at + k] == tail[k]))
            k++;
        if (k + 1 == sizeof tail && memchr(base.p + at + k, '.', base.n - at - k)) return sv_sub(base, 0, at);
    }
    return SV("");
}

static bool find_sharded(finder *f, bool *any, gv_err *err) {
    if (!find(f, SV("data/*" SHARDED), any, err)) return false;
    if (!*any) return true;
    size_t n, n_names = 0;
    const sv *v = found_paths(f, &n);
    sv *names = arena_alloc(&f->r->a, n * sizeof *names);
    for (size_t i = 0; i < n; i++) {
        const sv name = sharded_name(v[i]);
        if (!split_name_check(name))
            return gv_fail(err, GV_FORMAT, -1, "%s: %s: \"%s\" is no name of a split", f->l->root, str_show(v[i]).text,
                           str_show(name).text);
        bool known = n_names && sv_eq(names[n_names - 1], name); /* sorted paths: equal names mostly stand together */
        for (size_t k = 0; k < n_names && !known; k++) known = sv_eq(names[k], name);
        if (!known && n_names == SPLITS_MAX)
            return gv_fail(err, GV_LIMIT, -1, "%s: more than the cap of %d splits", f->l->root, SPLITS_MAX);
        if (!known) names[n_names++] = name;
    }
    qsort(names, n_names, sizeof *names, compare_splits);
    f->r->splits = arena_alloc(&f->r->a, n_names * sizeof *f->r->splits);
    buf all = f->found;
    f->found = (buf){0};
    for (size_t s = 0; s < n_names; s++) {
        for (size_t i = 0; i < n; i++)
            if (sv_eq(sharded_name(v[i]), names[s])) buf_add(&f->found, &v[i], sizeof v[i]);
        take_found(f, new_split(f->r, names[s]));
    }
    buf_fini(&all);
    return true;
}

/* All files of the split by its patterns, one pattern after the other; a file that two patterns match stands twice, as in the library. */
static bool find_by_words(finder *f, int split, const char *const *forms, gv_err *err) {
    bool any;
    for (int k = 0; k < 5 && keywords[split][k]; k++)
        for (int i = 0; forms[i]; i++) {
            char text[96];
            snprintf(text, sizeof text, forms[i], keywords[split][k]);
            if (!find(f, sv_of(text), &any, err)) return false;
        }
    return true;
}

/* A split of given patterns, if they match anything. */
static bool find_one(finder *f, const char *split, const char *const *patterns, gv_err *err) {
    bool any;
    for (int i = 0; patterns[i]; i++)
        if (!find(f, sv_of(patterns[i]), &any, err)) return false;
    if (f->found.n) take_found(f, new_split(f->r, sv_of(split)));
    return true;
}

static bool find_default(finder *f, gv_err *err) {
    bool any;
    resolved *r = f->r;
    if (!find_sharded(f, &any, err)) return false;
    if (any) return true;
    r->splits = arena_alloc(&r->a, 3 * sizeof *r->splits);
    if (!find_one(f, "logs", (const char *const[]){"**/*.eval", NULL}, err)) return false;
    if (r->n_splits) return true;
    if (!find_one(f, "test", (const char *const[]){"**/task.toml", "**/instruction.md", NULL}, err)) return false;
    for (int forms = 0; forms < 2 && !r->n_splits; forms++)
        for (int split = 0; split < 3; split++) {
            if (!find_by_words(f, split, forms ? in_file : in_folder, err)) return false;
            if (f->found.n) take_found(f, new_split(r, sv_of(default_splits[split])));
        }
    return r->n_splits || find_one(f, "train", (const char *const[]){"**", NULL}, err);
}

/* ---- builder ---- */

static bool choose_builder(finder *f, const dataset_spec *spec, const char *who, gv_err *err) {
    resolved *r = f->r;
    size_t kept_splits = 0;
    for (size_t i = 0; i < r->n_splits; i++)
        if (r->splits[i].n) r->splits[kept_splits++] = r->splits[i];
    r->n_splits = kept_splits;
    if (r->n_splits == 0) return true; /* KIND_NONE */
    if (spec->builder) {
        r->module = spec->builder;
        return kind_by_name(spec->builder, &r->kind, err);
    }
    for (size_t i = 0; i < r->n_splits; i++) {
        const char *module;
        const kind k = kind_infer(r->splits[i].paths, r->splits[i].n, &module);
        if (i && (k != r->kind || (module && r->module && strcmp(module, r->module) != 0)))
            return gv_fail(err, GV_UNSUPPORTED, -1, "%s: the splits differ in their format: %s in \"%s\", %s in \"%s\"", who,
                           r->kind == KIND_TSV ? "tsv"
                           : r->module         ? r->module
                                               : "none",
                           r->splits[0].name,
                           k == KIND_TSV ? "tsv"
                           : module      ? module
                                         : "none",
                           r->splits[i].name);
        r->kind = k;
        r->module = module;
    }
    r->unsupported = r->kind == KIND_OTHER;
    for (size_t i = 0; i < r->n_splits; i++) {
        split_files *s = &r->splits[i];
        size_t kept = 0;
        for (size_t k = 0; k < s->n; k++)
            if (kind_keeps(r->module, s->paths[k])) s->paths[kept++] = s->paths[k];
        s->n = kept;
    }
    return true;
}

static bool find_all(finder *f, const card *c, const dataset_spec *spec, const char *who, gv_err *err) {
    resolved *r = f->r;
    split_patterns *splits;
    size_t n;
    buf base = {0};
    if (spec->data_dir) buf_add_str(&base, spec->data_dir);
    while (base.n && base.p[base.n - 1] == '/') base.p[--base.n] = 0;
    bool ok = true, outside = false;
    const json_value *files = spec->data_files;
    if (files) {
        outside = !f->l->hub;
        r->config = arena_dup(&r->a, spec->config ? spec->config : "default", strlen(spec->config ? spec->config : "default"));
    } else if (c->n_configs) {
        size_t at = 0;
        ok = card_choose(c, spec->config, who, &at, err);
        if (ok) {
            const card_config *k = &c->configs[at];
            r->config = arena_dup(&r->a, k->name.p, k->name.n);
            r->delimiter = k->delimiter;
            files = spec->data_dir ? NULL : k->data_files;
            if (!spec->data_dir) buf_add_sv(&base, k->data_dir);
        }
    } else {
        r->config = "default";
        if (spec->config && strcmp(spec->config, "default") != 0)
            ok = gv_fail(err, GV_USAGE, -1, "%s: no configuration \"%s\"; there is \"default\"", who, spec->config);
    }
    f->base = (sv){base.n ? arena_dup(&r->a, base.p, base.n) : "", base.n};
    buf_fini(&base);
    if (!ok) return false;
    if (!files) return find_default(f, err);
    return data_files_read(files, who, outside, &r->a, &splits, &n, err) && find_explicit(f, splits, n, err);
}

bool resolve_files(listing *l, const card *c, const dataset_spec *spec, const char *who, resolved *out, gv_err *err) {
    finder f = {.l = l, .budget = {PATTERN_BUDGET}, .r = out, .any_suffix = spec->builder != NULL};
    *out = (resolved){0};
    arena_init(&out->a);
    const bool ok = find_all(&f, c, spec, who, err) && choose_builder(&f, spec, who, err);
    buf_fini(&f.found);
    if (!ok) resolved_fini(out);
    return ok;
}

void resolved_fini(resolved *r) {
    arena_fini(&r->a);
    *r = (resolved){0};
}
