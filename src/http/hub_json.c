/* What the Hub says, in JSON, made into checked structs.  No network here: tests/fuzz/fuzz_hub_json.c feeds it anything. */
#include "base/json.h"
#include "http/hub_internal.h"

#include <stdlib.h>

enum { MAX_PARQUET_FILES = 100000, MAX_WORD = 1024 };

void hub_list_fini(hub_list *l) {
    free(l->files);
    arena_fini(&l->a);
    *l = (hub_list){0};
}

hub_file *hub_list_add(hub_list *l, sv path, uint64_t size, sv etag, sv blob_id) {
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->files = gv_xrealloc(l->files, l->cap * sizeof *l->files);
    }
    l->files[l->n] = (hub_file){.path = arena_dup(&l->a, path.p, path.n),
                                .size = size,
                                .etag = etag.n ? arena_dup(&l->a, etag.p, etag.n) : NULL,
                                .blob_id = blob_id.n ? arena_dup(&l->a, blob_id.p, blob_id.n) : NULL};
    return &l->files[l->n++];
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const hub_file *)a)->path, ((const hub_file *)b)->path);
}

bool hub_list_sort(hub_list *l, gv_err *err) {
    if (l->n) qsort(l->files, l->n, sizeof *l->files, by_path);
    for (size_t i = 1; i < l->n; i++)
        if (strcmp(l->files[i - 1].path, l->files[i].path) == 0)
            return gv_fail(err, GV_FORMAT, -1, "the listing has %s twice", str_show(sv_of(l->files[i].path)).text);
    return true;
}

const hub_file *hub_list_find(const hub_list *l, const char *path) {
    const hub_file key = {.path = path};
    return l->n ? bsearch(&key, l->files, l->n, sizeof *l->files, by_path) : NULL;
}

/* ---- members ---- */

static bool get_word(const json_value *v, const char *key, sv *out, gv_err *err) {
    const json_value *m = json_get(v, key);
    if (!m || json_kind_of(m) != JSON_STRING || json_string(m).n > MAX_WORD || memchr(json_string(m).p, 0, json_string(m).n))
        return gv_fail(err, GV_FORMAT, -1, "%s is no string of at most %d bytes", key, MAX_WORD);
    *out = json_string(m);
    return true;
}

static bool get_size(const json_value *v, const char *key, uint64_t *out, gv_err *err) {
    int64_t n = -1;
    const json_value *m = json_get(v, key);
    if (!m || !json_int64(m, &n) || n < 0) return gv_fail(err, GV_FORMAT, -1, "%s is no size", key);
    *out = (uint64_t)n;
    return true;
}

static bool get_id(const json_value *v, const char *key, size_t digits, sv *out, gv_err *err) {
    if (!get_word(v, key, out, err)) return false;
    if (out->n != digits || !hub_etag_check(*out))
        return gv_fail(err, GV_FORMAT, -1, "%s is %s, expected %zu hex digits", key, str_show(*out).text, digits);
    return true;
}

static bool is_array(const json_value *v, const char *what, gv_err *err) {
    if (v && json_kind_of(v) == JSON_ARRAY) return true;
    return gv_fail(err, GV_FORMAT, -1, "%s is %s, expected an array", what, v ? json_kind_name(v) : "not there");
}

/* ---- listings ---- */

static bool add_entry(hub_list *l, const json_value *v, gv_err *err) {
    sv type, path, oid = {0}, etag;
    uint64_t size;
    if (!get_word(v, "type", &type, err)) return false;
    if (!sv_is(type, "file")) return true; /* folders come by themselves */
    if (!get_word(v, "path", &path, err) || !hub_path_check(path, err)) return false;
    if (l->n >= HUB_MAX_FILES) return gv_fail(err, GV_LIMIT, -1, "more files than the cap of %d", HUB_MAX_FILES);
    const json_value *lfs = json_get(v, "lfs");
    const bool has_lfs = lfs && json_kind_of(lfs) == JSON_OBJECT;
    bool ok = get_size(has_lfs ? lfs : v, "size", &size, err) && get_id(v, "oid", 40, &oid, err);
    etag = oid;
    ok = ok && (!has_lfs || get_id(lfs, "oid", 64, &etag, err));
    if (!ok) return gv_context(err, "%s", str_show(path).text);
    hub_list_add(l, path, size, etag, oid);
    return true;
}

bool hub_tree_page(sv json, hub_list *l, gv_err *err) {
    json_doc *d = json_parse(json, err);
    bool ok = d && is_array(json_root(d), "the listing", err);
    if (ok)
        for (json_iter it = json_each(json_root(d)); ok && json_next(&it);) ok = add_entry(l, it.value, err);
    json_free(d);
    return ok || gv_context(err, "listing of the repository");
}

bool hub_info_commit(sv json, char commit[41], gv_err *err) {
    json_doc *d = json_parse(json, err);
    sv sha;
    const bool ok = d && get_id(json_root(d), "sha", 40, &sha, err);
    if (ok) {
        memcpy(commit, sha.p, 40);
        commit[40] = 0;
    }
    json_free(d);
    return ok || gv_context(err, "repository info");
}

static bool add_cached(hub_list *l, sv path, const json_value *v, gv_err *err) {
    sv oid, etag;
    uint64_t size;
    const json_value *lfs = json_get(v, "lfs_sha256");
    const bool has_lfs = lfs && json_kind_of(lfs) == JSON_STRING;
    if (!hub_path_check(path, err) || !get_size(v, has_lfs ? "lfs_size" : "size", &size, err) || !get_id(v, "blob_id", 40, &oid, err))
        return false;
    etag = oid;
    if (has_lfs && !get_id(v, "lfs_sha256", 64, &etag, err)) return false;
    hub_list_add(l, path, size, etag, oid);
    return true;
}

bool hub_tree_cache_parse(sv json, hub_list *l, gv_err *err) {
    json_doc *d = json_parse_caps(json, HUB_MAX_FILES, (size_t)10 * HUB_MAX_FILES, err);
    const json_value *root = d ? json_root(d) : NULL, *version = d ? json_get(root, "format_version") : NULL,
                     *files = d ? json_get(root, "files") : NULL;
    int64_t v = 0;
    bool ok = d != NULL;
    if (ok && (!version || !json_int64(version, &v) || v != 1 || !files || json_kind_of(files) != JSON_OBJECT))
        ok = gv_fail(err, GV_FORMAT, -1, "the cached listing is not of version 1");
    if (ok)
        for (json_iter it = json_each(files); ok && json_next(&it);) ok = add_cached(l, it.key, it.value, err);
    json_free(d);
    return ok && hub_list_sort(l, err);
}

void hub_tree_cache_put(const hub_list *l, buf *json) {
    buf_add_str(json, "{\n \"format_version\": 1,\n \"files\": {");
    for (size_t i = 0; i < l->n; i++) {
        const hub_file *f = &l->files[i];
        buf_add_str(json, i ? ",\n  " : "\n  ");
        json_put_string(json, sv_of(f->path));
        buf_printf(json, ": {\"size\": %llu, \"blob_id\": \"%s\"", (unsigned long long)f->size, f->blob_id);
        if (strlen(f->etag) == 64) buf_printf(json, ", \"lfs_sha256\": \"%s\", \"lfs_size\": %llu", f->etag, (unsigned long long)f->size);
        buf_add_char(json, '}');
    }
    buf_add_str(json, "\n }\n}\n");
}

/* ---- converted Parquet files ---- */

void hub_parquet_fini(hub_parquet *p) {
    free(p->files);
    arena_fini(&p->a);
    *p = (hub_parquet){0};
}

static bool has_any(const json_value *root, const char *key) {
    const json_value *v = json_get(root, key);
    return v && json_kind_of(v) == JSON_ARRAY && json_size(v) > 0;
}

static bool add_parquet(hub_parquet *p, const json_value *v, gv_err *err) {
    sv config, split, url, name;
    hub_parquet_file *f = &p->files[p->n];
    if (!get_word(v, "config", &config, err) || !get_word(v, "split", &split, err) || !get_word(v, "url", &url, err) ||
        !get_word(v, "filename", &name, err) || !get_size(v, "size", &f->size, err))
        return false;
    f->config = arena_dup(&p->a, config.p, config.n);
    f->split = arena_dup(&p->a, split.p, split.n);
    f->url = arena_dup(&p->a, url.p, url.n);
    f->filename = arena_dup(&p->a, name.p, name.n);
    p->n++;
    return true;
}

bool hub_parquet_parse(sv json, hub_parquet *p, gv_err *err) {
    json_doc *d = json_parse(json, err);
    const json_value *root = d ? json_root(d) : NULL, *files = d ? json_get(root, "parquet_files") : NULL;
    bool ok = d && is_array(files, "parquet_files", err);
    if (ok && json_size(files) > MAX_PARQUET_FILES)
        ok = gv_fail(err, GV_LIMIT, -1, "more Parquet files than the cap of %d", MAX_PARQUET_FILES);
    if (ok) {
        const json_value *partial = json_get(root, "partial");
        p->files = gv_xcalloc(json_size(files) + 1, sizeof *p->files);
        p->partial =
            (partial && json_kind_of(partial) == JSON_BOOL && json_bool(partial)) || has_any(root, "pending") || has_any(root, "failed");
        for (json_iter it = json_each(files); ok && json_next(&it);) ok = add_parquet(p, it.value, err);
    }
    json_free(d);
    return ok || gv_context(err, "list of converted Parquet files");
}
