/* The card's metadata: what the Hub shows, and where datasets.load_dataset finds configs, files and types.
 *
 * Order of keys as huggingface_hub's DatasetCardData has it: its named fields first, then the others in the order in which they came.  The
 * metadata of an existing README is kept but for what this run knows better: size_categories, dataset_info, configs; tags are added. */
#include "pipe/card_internal.h"

#include "base/yaml.h"
#include "base/yaml_out.h"

#include <stdlib.h>

static const char *const NAMED[] = {"annotations_creators", "language_creators", "language",        "license",  "multilinguality",
                                    "size_categories",      "source_datasets",   "task_categories", "task_ids", "paperswithcode_id",
                                    "pretty_name",          "config_names"};
static const char *const TAGS[] = {"synthetic", "distilabel", "rlaif", "gavel"};
enum { N_NAMED = sizeof NAMED / sizeof *NAMED, N_TAGS = sizeof TAGS / sizeof *TAGS };
#define LAST_KEY "train-eval-index"

static void put_key(buf *out, sv key) {
    if (out->n && out->p[out->n - 1] != '{' && out->p[out->n - 1] != '[') buf_add_char(out, ',');
    json_put_string(out, key);
    buf_add_char(out, ':');
}

static void put_pair(buf *out, const char *key, sv text) {
    put_key(out, sv_of(key));
    json_put_string(out, text);
}

static void put_count(buf *out, const char *key, uint64_t n) {
    put_key(out, sv_of(key));
    buf_printf(out, "%llu", (unsigned long long)n);
}

static const char *size_category(uint64_t rows) {
    static const struct {
        uint64_t below;
        const char *name;
    } steps[] = {
        {1000, "n<1K"},
        {10000, "1K<n<10K"},
        {100000, "10K<n<100K"},
        {1000000, "100K<n<1M"},
        {10000000, "1M<n<10M"},
        {100000000, "10M<n<100M"},
        {1000000000, "100M<n<1B"},
        {10000000000, "1B<n<10B"},
        {100000000000, "10B<n<100B"},
        {1000000000000, "100B<n<1T"},
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (rows < steps[i].below) return steps[i].name;
    return "n>1T";
}

/* ---- features ---- */

/* A list's element: its dtype alone or its members alone where that says everything. */
static void put_element(buf *out, const char *key, const buf *inner) {
    json_doc *d = json_parse(buf_view(inner), NULL);
    const json_value *v = d ? json_root(d) : NULL, *only = NULL;
    if (v && json_size(v) == 1) only = json_get(v, "dtype") ? json_get(v, "dtype") : json_get(v, "struct");
    put_key(out, sv_of(key));
    if (only)
        json_put_value(out, only);
    else
        buf_add_sv(out, buf_view(inner));
    json_free(d);
}

/* The members of the YAML object for a feature in the Hub's JSON form. */
static void put_feature(buf *out, const json_value *f);

static void put_members(buf *out, const json_value *object) {
    buf_add_char(out, '[');
    for (json_iter it = json_each(object); json_next(&it);) {
        if (out->p[out->n - 1] != '[') buf_add_char(out, ',');
        buf_add_char(out, '{');
        put_pair(out, "name", it.key);
        put_feature(out, it.value);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void put_feature(buf *out, const json_value *f) {
    const json_value *type = json_get(f, "_type"), *element = json_get(f, "feature");
    if (type && json_kind_of(type) != JSON_STRING) type = NULL; /* a member of a struct that has this name */
    const bool list = json_kind_of(f) == JSON_ARRAY;
    if (list || (type && element)) {
        buf inner = {0};
        buf_add_char(&inner, '{');
        if (list) {
            json_iter it = json_each(f);
            if (json_next(&it)) put_feature(&inner, it.value);
        } else {
            put_feature(&inner, element);
        }
        buf_add_char(&inner, '}');
        put_element(out, list ? "list" : "sequence", &inner);
        buf_fini(&inner);
    } else if (type && json_get(f, "dtype")) {
        put_pair(out, "dtype", json_string(json_get(f, "dtype")));
    } else {
        put_key(out, SV("struct"));
        put_members(out, f);
    }
}

/* ---- sections ---- */

static bool put_info(buf *out, const card_config *c, bool named, gv_err *err) {
    buf features = {0};
    schema_put_features(&features, c->columns);
    json_doc *d = json_parse(buf_view(&features), err);
    buf_fini(&features);
    if (!d) return gv_context(err, "features of config " SV_FMT, SV_ARG(c->name));
    buf_add_char(out, '{');
    if (named) put_pair(out, "config_name", c->name);
    put_key(out, SV("features"));
    put_members(out, json_root(d));
    buf_add_str(out, ",\"splits\":[{\"name\":\"train\"");
    put_count(out, "num_bytes", c->arrow_bytes);
    put_count(out, "num_examples", c->n_rows);
    buf_add_str(out, "}]");
    put_count(out, "download_size", c->file_bytes);
    put_count(out, "dataset_size", c->arrow_bytes);
    buf_add_char(out, '}');
    json_free(d);
    return true;
}

static void put_files(buf *out, const card_config *c) {
    buf path = {0};
    buf_printf(&path, SV_FMT "/train-*", SV_ARG(sv_is(c->name, "default") ? SV("data") : c->name));
    buf_add_char(out, '{');
    put_pair(out, "config_name", c->name);
    buf_add_str(out, ",\"data_files\":[{\"split\":\"train\"");
    put_pair(out, "path", buf_view(&path));
    buf_add_str(out, "}]}");
    buf_fini(&path);
}

static bool is_ours(const card *c, sv name) {
    for (size_t i = 0; i < c->n_configs; i++)
        if (sv_eq(c->configs[i].name, name)) return true;
    return false;
}

/* An entry of dataset_info or configs of the old README that stays: it is of a config that this run does not write. */
static bool stays(const card *c, const json_value *entry) {
    const json_value *name = json_get(entry, "config_name");
    if (!c->keeps_old_configs || json_kind_of(entry) != JSON_OBJECT) return false;
    return name ? json_kind_of(name) == JSON_STRING && !is_ours(c, json_string(name)) : !is_ours(c, SV("default"));
}

typedef struct entry {
    const json_value *old; /* of the old README, or */
    const card_config *config;
    sv name;
} entry;

static int compare_entries(const void *a, const void *b) {
    const sv x = ((const entry *)a)->name, y = ((const entry *)b)->name;
    const size_t n = x.n < y.n ? x.n : y.n;
    const int d = n ? memcmp(x.p, y.p, n) : 0;
    return d ? d : (x.n > y.n) - (x.n < y.n);
}

static void add_old(const card *c, const json_value *v, entry *e, size_t *n) {
    if (!stays(c, v)) return;
    const json_value *name = json_get(v, "config_name");
    e[(*n)++] = (entry){.old = v, .name = name ? json_string(name) : SV("default")};
}

/* dataset_info (info) or configs: old entries and ours, by name.  A single dataset_info is an object, not a list. */
static bool put_entries(buf *out, const card *c, const json_value *old, bool info, gv_err *err) {
    const json_kind kind = old ? json_kind_of(old) : JSON_NULL;
    entry *e = gv_xcalloc(c->n_configs + (kind == JSON_ARRAY ? json_size(old) : 1), sizeof *e);
    size_t n = 0;
    bool ok = true;
    for (size_t i = 0; i < c->n_configs; i++) e[n++] = (entry){.config = &c->configs[i], .name = c->configs[i].name};
    if (kind == JSON_ARRAY)
        for (json_iter it = json_each(old); json_next(&it);) add_old(c, it.value, e, &n);
    else if (kind == JSON_OBJECT)
        add_old(c, old, e, &n);
    qsort(e, n, sizeof *e, compare_entries);
    const bool list = !info || n > 1;
    if (list) buf_add_char(out, '[');
    for (size_t i = 0; i < n && ok; i++) {
        if (i) buf_add_char(out, ',');
        if (e[i].old)
            json_put_value(out, e[i].old);
        else if (info)
            ok = put_info(out, e[i].config, n > 1 || !sv_is(e[i].name, "default"), err);
        else
            put_files(out, e[i].config);
    }
    if (list) buf_add_char(out, ']');
    free(e);
    return ok;
}

static void put_tags(buf *out, const json_value *old) {
    bool seen[N_TAGS] = {false};
    const json_kind kind = old ? json_kind_of(old) : JSON_NULL;
    buf_add_char(out, '[');
    if (kind == JSON_STRING) json_put_string(out, json_string(old));
    if (kind == JSON_ARRAY)
        for (json_iter it = json_each(old); json_next(&it);) {
            if (out->p[out->n - 1] != '[') buf_add_char(out, ',');
            json_put_value(out, it.value);
            for (size_t i = 0; i < N_TAGS; i++)
                seen[i] = seen[i] || (json_kind_of(it.value) == JSON_STRING && sv_is(json_string(it.value), TAGS[i]));
        }
    for (size_t i = 0; i < N_TAGS; i++) {
        if (seen[i] || (kind == JSON_STRING && sv_is(json_string(old), TAGS[i]))) continue;
        if (out->p[out->n - 1] != '[') buf_add_char(out, ',');
        json_put_string(out, sv_of(TAGS[i]));
    }
    buf_add_char(out, ']');
}

static bool is_named(sv key) {
    for (size_t i = 0; i < N_NAMED; i++)
        if (sv_is(key, NAMED[i])) return true;
    return false;
}

static bool put_value(buf *out, const card *c, const json_value *old, sv key, gv_err *err) {
    const json_value *v = json_get_sv(old, key);
    put_key(out, key);
    if (sv_is(key, "dataset_info")) return put_entries(out, c, v, true, err);
    if (sv_is(key, "configs")) return put_entries(out, c, v, false, err);
    if (sv_is(key, "tags"))
        put_tags(out, v);
    else
        json_put_value(out, v);
    return true;
}

static bool put_all(buf *out, const card *c, const json_value *old, gv_err *err) {
    static const char *const added[] = {"dataset_info", "configs", "tags"};
    uint64_t rows = 0;
    for (size_t i = 0; i < c->n_configs; i++) rows += c->configs[i].n_rows;
    buf_add_char(out, '{');
    for (size_t i = 0; i < N_NAMED; i++) {
        const json_value *v = json_get(old, NAMED[i]);
        if (!strcmp(NAMED[i], "size_categories")) {
            put_pair(out, NAMED[i], sv_of(size_category(rows)));
        } else if (v && json_kind_of(v) != JSON_NULL) {
            put_key(out, sv_of(NAMED[i]));
            json_put_value(out, v);
        }
    }
    for (json_iter it = json_each(old); json_next(&it);) {
        if (is_named(it.key) || sv_is(it.key, LAST_KEY) || json_kind_of(it.value) == JSON_NULL) continue;
        if (!put_value(out, c, old, it.key, err)) return false;
    }
    for (size_t i = 0; i < sizeof added / sizeof *added; i++) {
        const json_value *v = json_get(old, added[i]);
        if ((!v || json_kind_of(v) == JSON_NULL) && !put_value(out, c, old, sv_of(added[i]), err)) return false;
    }
    const json_value *last = json_get(old, LAST_KEY);
    if (last && json_kind_of(last) != JSON_NULL) {
        put_key(out, SV(LAST_KEY));
        json_put_value(out, last);
    }
    buf_add_char(out, '}');
    return true;
}

/* The YAML between a first line "---" and the next; empty if there is none. */
static sv front_matter(sv readme) {
    if (sv_starts(readme, SV("\xef\xbb\xbf"))) readme = sv_sub(readme, 3, readme.n);
    size_t from = sv_starts(readme, SV("---\r\n")) ? 5 : sv_starts(readme, SV("---\n")) ? 4 : 0;
    if (!from) return (sv){0};
    for (size_t line = from; line < readme.n;) {
        size_t end = sv_find(readme, SV("\n"), line);
        if (end == SIZE_MAX) end = readme.n;
        sv text = sv_sub(readme, line, end - line);
        if (sv_is(text, "---") || sv_is(text, "---\r")) return sv_sub(readme, from, line - from);
        line = end + 1;
    }
    return (sv){0};
}

static bool is_blank(sv s) {
    for (size_t i = 0; i < s.n; i++)
        if (!strchr(" \t\r\n", s.p[i]) || !s.p[i]) return false;
    return true;
}

bool card_put_metadata(buf *out, const card *c, gv_err *err) {
    const sv front = front_matter(c->old_readme);
    buf text = {0};
    json_doc *made = NULL;
    json_doc *old = is_blank(front) ? json_parse(SV("{}"), err) : yaml_parse(front, NULL, err);
    bool ok = false;
    if (!old) {
        gv_context(err, "metadata of the existing README.md");
        goto done;
    }
    if (json_kind_of(json_root(old)) != JSON_OBJECT) {
        gv_fail(err, GV_FORMAT, -1, "metadata of the existing README.md: %s, expected a mapping", json_kind_name(json_root(old)));
        goto done;
    }
    if (!put_all(&text, c, json_root(old), err)) goto done;
    made = json_parse_caps(buf_view(&text), 100000, 10000000, err);
    if (!made) {
        gv_context(err, "metadata of README.md");
        goto done;
    }
    yaml_put_json(out, json_root(made), &(yaml_out_options){.allow_unicode = true});
    ok = true;
done:
    json_free(made);
    json_free(old);
    buf_fini(&text);
    return ok;
}
