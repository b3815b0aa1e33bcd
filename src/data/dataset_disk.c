/* Folders that save_to_disk wrote:
 *
 *   Dataset       state.json {"_data_files": [{"filename": "data-00000-of-00001.arrow"}, ...]}, the Arrow files
 *   DatasetDict   dataset_dict.json {"splits": ["train", ...]}, one Dataset folder each
 *   Distiset      a folder for each configuration (DatasetDict or Dataset), beside distiset_configs and distiset_artifacts
 *   gavel's       README.md with its configs, Parquet files: as any folder
 *
 * Names in these files must stay inside the folder. */
#include "data/dataset_open.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

enum { JSON_MAX_BYTES = 64 << 20, CONFIGS_MAX = 10000 };

static json_doc *read_json(const char *folder, const char *name, gv_err *err) {
    buf path = {0}, text = {0};
    json_doc *d = NULL;
    buf_printf(&path, "%s/%s", folder, name);
    if (file_read_all(path.p, JSON_MAX_BYTES, &text, err)) {
        d = json_parse(buf_view(&text), err);
        if (!d) gv_context(err, "%s", path.p);
    }
    buf_fini(&path);
    buf_fini(&text);
    return d;
}

static bool has(const char *folder, const char *name) {
    buf path = {0};
    buf_printf(&path, "%s/%s", folder, name);
    const bool is = file_exists(path.p);
    buf_fini(&path);
    return is;
}

/* The Arrow files of a Dataset folder. */
static bool add_folder(dataset *d, const char *folder, gv_err *err) {
    json_doc *doc = read_json(folder, "state.json", err);
    if (!doc) return false;
    const json_value *files = json_get(json_root(doc), "_data_files");
    bool ok = files && json_kind_of(files) == JSON_ARRAY;
    if (!ok) gv_fail(err, GV_FORMAT, -1, "%s/state.json has no list \"_data_files\"", folder);
    for (json_iter it = json_each(files); ok && json_next(&it);) {
        const json_value *name = json_get(it.value, "filename");
        ok = (name && json_kind_of(name) == JSON_STRING && !memchr(json_string(name).p, '/', json_string(name).n) &&
              json_string(name).n > 0 && json_string(name).p[0] != '.' && !memchr(json_string(name).p, 0, json_string(name).n)) ||
             gv_fail(err, GV_FORMAT, -1, "%s/state.json: a file of \"_data_files\" has no \"filename\" inside of the folder", folder);
        if (!ok) break;
        buf path = {0};
        buf_printf(&path, "%s/" SV_FMT, folder, SV_ARG(json_string(name)));
        dataset_add_file(d, path.p, path.p);
        buf_fini(&path);
    }
    json_free(doc);
    return ok;
}

static bool read_splits(dataset *d, const char *folder, gv_err *err) {
    if (has(folder, "state.json")) {
        d->splits = arena_alloc(&d->a, sizeof *d->splits);
        d->splits[d->n_splits++] = "train";
        return true;
    }
    if (!has(folder, "dataset_dict.json"))
        return gv_fail(err, GV_FORMAT, -1, "%s is no folder that save_to_disk wrote: it has neither state.json nor dataset_dict.json",
                       folder);
    json_doc *doc = read_json(folder, "dataset_dict.json", err);
    if (!doc) return false;
    const json_value *splits = json_get(json_root(doc), "splits");
    bool ok = splits && json_kind_of(splits) == JSON_ARRAY && json_size(splits) > 0 && json_size(splits) <= SPLITS_MAX;
    if (ok) d->splits = arena_alloc(&d->a, json_size(splits) * sizeof *d->splits);
    for (json_iter it = json_each(splits); ok && json_next(&it);) {
        ok = json_kind_of(it.value) == JSON_STRING && split_name_check(json_string(it.value));
        if (ok) d->splits[d->n_splits++] = arena_dup(&d->a, json_string(it.value).p, json_string(it.value).n);
    }
    json_free(doc);
    return ok || gv_fail(err, GV_FORMAT, -1, "%s/dataset_dict.json: \"splits\" must be a list of names", folder);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The folder of a configuration, in a; the message is distilabel's. */
static bool choose_config(arena *a, const char *path, const char *config, const char **folder, gv_err *err) {
    DIR *dir = opendir(path);
    if (!dir) return gv_fail_errno(err, "cannot read folder %s", path);
    char **names = gv_xcalloc(CONFIGS_MAX, sizeof *names);
    size_t n = 0;
    bool found = false;
    for (struct dirent *e; n < CONFIGS_MAX && (e = readdir(dir));) {
        const char *full = arena_printf(a, "%s/%s", path, e->d_name);
        if (e->d_name[0] == '.' || (!has(full, "dataset_dict.json") && !has(full, "state.json"))) continue;
        names[n++] = arena_dup(a, e->d_name, strlen(e->d_name));
        if (!strcmp(e->d_name, config)) found = true, *folder = full;
    }
    closedir(dir);
    qsort(names, n, sizeof *names, compare_names);
    buf list = {0};
    for (size_t i = 0; i < n; i++) buf_printf(&list, "%s'%s'", i ? ", " : "", str_show(sv_of(names[i])).text);
    if (!found)
        gv_fail(err, GV_USAGE, -1,
                "Configuration '%s' not found in the Distiset, available ones are: [%s]. Please try changing the `config` parameter to one "
                "of the available "
                "configurations.",
                config, list.p ? list.p : "");
    buf_fini(&list);
    free(names);
    return found;
}

static bool open_disk(dataset *d, const dataset_disk_spec *spec, gv_err *err) {
    const char *folder = spec->path;
    split_spec s = {0};
    d->kind = KIND_ARROW;
    if (spec->is_distiset && !choose_config(&d->a, spec->path, spec->config ? spec->config : "default", &folder, err)) return false;
    if (!read_splits(d, folder, err) || !dataset_choose(d, spec->split, &s, err)) return false;
    const bool dict = !has(folder, "state.json");
    size_t *first = arena_alloc(&d->a, 2 * s.n * sizeof *first);
    bool ok = true;
    for (size_t i = 0; ok && i < s.n; i++) {
        first[2 * i] = d->n_files;
        ok = add_folder(d, dict ? arena_printf(&d->a, "%s/%s", folder, s.terms[i].name) : folder, err);
        first[2 * i + 1] = d->n_files;
    }
    ok = ok && dataset_learn(d, NULL, "default", err) && dataset_cut(d, &s, first, err);
    split_fini(&s);
    return ok;
}

/* Parquet and a card, as gavel writes it: none of the files that tell the other layouts, there or in a folder below. */
static bool is_card_layout(const char *path, bool is_distiset) {
    bool other = has(path, "state.json") || has(path, "dataset_dict.json");
    DIR *dir = is_distiset && !other ? opendir(path) : NULL;
    for (struct dirent *e; dir && !other && (e = readdir(dir));) {
        buf below = {0};
        buf_printf(&below, "%s/%s", path, e->d_name);
        other = e->d_name[0] != '.' && (has(below.p, "state.json") || has(below.p, "dataset_dict.json"));
        buf_fini(&below);
    }
    if (dir) closedir(dir);
    return !other && has(path, "README.md");
}

dataset *dataset_open_disk(const dataset_disk_spec *spec, gv_err *err) {
    if (is_card_layout(spec->path, spec->is_distiset))
        return dataset_open(&(dataset_spec){.path = spec->path, .config = spec->config ? spec->config : "default", .split = spec->split},
                            err);
    dataset *d = dataset_new(spec->path);
    if (open_disk(d, spec, err)) return d;
    dataset_close(d);
    return NULL;
}
