/* The card of a data set: the YAML block at the head of README.md, and in it `configs` and `dataset_info`.
 *
 *   ---
 *   configs:
 *   - config_name: en            name, once
 *     data_files: en.csv         or a list of these, or a list of {split, path: text or list}; left out: by file names
 *     data_dir: en               folder to look in
 *     default: true
 *   ---
 *
 * A card comes with the data set, so nothing in it may name a file outside: patterns are relative, without "..", and no URL. */
#include "data/dataset_internal.h"

#include "base/yaml.h"

#include <stdlib.h>

enum { NAME_SHOWN = 12 };

static bool is_break(char c) {
    return c == '\n' || c == '\r';
}

bool card_block(sv t, sv *block) {
    size_t i = 0;
    if (sv_starts(t, SV("\xef\xbb\xbf"))) i = 3;
    while (i < t.n && (t.p[i] == ' ' || (t.p[i] >= '\t' && t.p[i] <= '\r'))) i++;
    if (!sv_starts(sv_sub(t, i, t.n), SV("---"))) return false;
    i += 3;
    if (i >= t.n || !is_break(t.p[i])) return false;
    const size_t begin = i;
    while (i < t.n && is_break(t.p[i])) i++;
    for (size_t at = i - 1; (at = sv_find(t, SV("---"), at)) != SIZE_MAX; at++) {
        const size_t end = at + 3;
        if (at <= begin || !is_break(t.p[at - 1]) || (end < t.n && !is_break(t.p[end]))) continue;
        *block = at > i ? sv_sub(t, i, at - i) : sv_sub(t, i, 0);
        return true;
    }
    return false;
}

/* ---- data_files ---- */

static bool check_pattern(sv p, const char *where, bool outside, gv_err *err) {
    const str_shown shown = str_show(p);
    if (p.n == 0 || memchr(p.p, 0, p.n)) return gv_fail(err, GV_FORMAT, -1, "%s: data_files: \"%s\" is no path", where, shown.text);
    if (p.n > PATTERN_MAX_BYTES)
        return gv_fail(err, GV_LIMIT, -1, "%s: data_files: a path is longer than the cap of %d bytes", where, PATTERN_MAX_BYTES);
    if (sv_find(p, SV("://"), 0) != SIZE_MAX || sv_find(p, SV("::"), 0) != SIZE_MAX)
        return gv_fail(err, GV_UNSUPPORTED, -1, "%s: data_files: \"%s\": URLs and paths inside of archives are not read", where,
                       shown.text);
    if (outside) return true;
    if (p.p[0] == '/' || p.p[0] == '~' || memchr(p.p, '\\', p.n))
        return gv_fail(err, GV_FORMAT, -1, "%s: data_files: \"%s\" must be relative to the data set", where, shown.text);
    for (size_t i = 0; i <= p.n;) {
        const char *slash = memchr(p.p + i, '/', p.n - i);
        const size_t n = (slash ? (size_t)(slash - p.p) : p.n) - i;
        if (n == 2 && !memcmp(p.p + i, "..", 2))
            return gv_fail(err, GV_FORMAT, -1, "%s: data_files: \"%s\" leads out of the data set", where, shown.text);
        i += n + 1;
    }
    return true;
}

static bool fail_form(const char *where, gv_err *err) {
    return gv_fail(err, GV_FORMAT, -1,
                   "%s: data_files must be text, a list of texts, or a list of {split: NAME, path: text or list of texts}", where);
}

/* Text or list of texts. */
static bool read_patterns(const json_value *v, const char *where, bool outside, arena *a, size_t *total, split_patterns *out, gv_err *err) {
    const bool one = json_kind_of(v) == JSON_STRING;
    if (!one && json_kind_of(v) != JSON_ARRAY) return fail_form(where, err);
    const size_t n = one ? 1 : json_size(v);
    if (n > PATTERNS_MAX - *total) return gv_fail(err, GV_LIMIT, -1, "%s: data_files: more than the cap of %d paths", where, PATTERNS_MAX);
    *total += n;
    out->patterns = arena_alloc(a, (n + 1) * sizeof *out->patterns);
    json_iter it = json_each(v);
    for (size_t i = 0; i < n; i++) {
        const json_value *e = v;
        if (!one && json_next(&it)) e = it.value;
        if (json_kind_of(e) != JSON_STRING) return fail_form(where, err);
        sv p = json_string(e);
        while (sv_starts(p, SV("./"))) p = sv_sub(p, 2, p.n);
        if (!check_pattern(p, where, outside, err)) return false;
        out->patterns[i] = p;
    }
    out->n = n;
    return true;
}

static bool add_split(split_patterns *all, size_t *n, sv name, const char *where, gv_err *err) {
    if (!split_name_check(name))
        return gv_fail(err, GV_FORMAT, -1, "%s: data_files: \"%s\" is no name of a split: letters, digits, _ and dots between them", where,
                       str_show(name).text);
    for (size_t i = 0; i < *n; i++)
        if (sv_eq(all[i].split, name))
            return gv_fail(err, GV_FORMAT, -1, "%s: data_files: split \"%s\" stands twice", where, str_show(name).text);
    all[(*n)++].split = name;
    return true;
}

bool data_files_read(const json_value *v, const char *where, bool outside, arena *a, split_patterns **out, size_t *n, gv_err *err) {
    const size_t size = json_size(v);
    size_t total = 0;
    bool entries = false;
    *n = 0;
    if (json_kind_of(v) == JSON_ARRAY)
        for (json_iter it = json_each(v); json_next(&it);) entries |= json_kind_of(it.value) == JSON_OBJECT;
    if ((entries || json_kind_of(v) == JSON_OBJECT) && size > SPLITS_MAX)
        return gv_fail(err, GV_LIMIT, -1, "%s: data_files: more than the cap of %d splits", where, SPLITS_MAX);
    *out = arena_alloc(a, (size + 1) * sizeof **out);
    memset(*out, 0, (size + 1) * sizeof **out);
    if (json_kind_of(v) != JSON_OBJECT && !entries) {
        *n = 1;
        (*out)->split = SV("train");
        return read_patterns(v, where, outside, a, &total, *out, err);
    }
    if (size == 0) return fail_form(where, err);
    for (json_iter it = json_each(v); json_next(&it);) {
        sv name = it.key;
        const json_value *paths = it.value;
        if (entries) {
            const json_value *split = json_get(it.value, "split");
            paths = json_get(it.value, "path");
            if (json_kind_of(it.value) != JSON_OBJECT || json_size(it.value) != 2 || !paths || !split || json_kind_of(split) != JSON_STRING)
                return fail_form(where, err);
            name = json_string(split);
        }
        if (!add_split(*out, n, name, where, err)) return false;
        if (!read_patterns(paths, where, outside, a, &total, *out + *n - 1, err)) return false;
    }
    return true;
}

/* ---- configs ---- */

static bool read_config(const json_value *v, const char *name, card *c, gv_err *err) {
    card_config *k = &c->configs[c->n_configs];
    const json_value *config = json_get(v, "config_name"), *dir = json_get(v, "data_dir"), *is_default = json_get(v, "default");
    if (json_kind_of(v) != JSON_OBJECT || !config || json_kind_of(config) != JSON_STRING)
        return gv_fail(err, GV_FORMAT, -1, "%s: configs: entry %zu has no config_name that is text", name, c->n_configs + 1);
    k->name = json_string(config);
    for (size_t i = 0; i < c->n_configs; i++)
        if (sv_eq(c->configs[i].name, k->name))
            return gv_fail(err, GV_FORMAT, -1, "%s: configs: \"%s\" stands twice", name, str_show(k->name).text);
    k->data_files = json_get(v, "data_files");
    if (k->data_files && json_kind_of(k->data_files) == JSON_NULL) k->data_files = NULL;
    if (dir && json_kind_of(dir) == JSON_STRING) {
        k->data_dir = json_string(dir);
        while (sv_starts(k->data_dir, SV("./"))) k->data_dir = sv_sub(k->data_dir, 2, k->data_dir.n);
        while (k->data_dir.n && k->data_dir.p[k->data_dir.n - 1] == '/') k->data_dir.n--;
        if (sv_is(k->data_dir, ".")) k->data_dir.n = 0;
        if (k->data_dir.n && !check_pattern(k->data_dir, name, false, err)) return gv_context(err, "data_dir");
    } else if (dir && json_kind_of(dir) != JSON_NULL) {
        return gv_fail(err, GV_FORMAT, -1, "%s: configs: \"%s\": data_dir must be text", name, str_show(k->name).text);
    }
    static const char *const separators[] = {"sep", "delimiter"}; /* the second one wins */
    for (int i = 0; i < 2; i++) {
        const json_value *sep = json_get(v, separators[i]);
        if (!sep || json_kind_of(sep) == JSON_NULL) continue;
        if (json_kind_of(sep) != JSON_STRING || json_string(sep).n != 1 || strchr("\"\r\n", json_string(sep).p[0]))
            return gv_fail(err, GV_UNSUPPORTED, -1, "%s: configs: \"%s\": %s must be one character", name, str_show(k->name).text,
                           separators[i]);
        k->delimiter = json_string(sep).p[0];
    }
    k->is_default = is_default && json_kind_of(is_default) == JSON_BOOL && json_bool(is_default);
    c->n_configs++;
    return true;
}

static bool read_card(card *c, const char *name, gv_err *err) {
    const json_value *root = json_root(c->doc);
    if (json_kind_of(root) == JSON_NULL) return true;
    if (json_kind_of(root) != JSON_OBJECT)
        return gv_fail(err, GV_FORMAT, -1, "%s: the YAML block must be a mapping, found %s", name, json_kind_name(root));
    const json_value *configs = json_get(root, "configs");
    c->infos = json_get(root, "dataset_info");
    if (!configs || json_kind_of(configs) == JSON_NULL) return true;
    if (json_kind_of(configs) != JSON_ARRAY) return gv_fail(err, GV_FORMAT, -1, "%s: configs must be a list", name);
    if (json_size(configs) == 0) return true;
    if (json_size(configs) > CARD_MAX_CONFIGS)
        return gv_fail(err, GV_LIMIT, -1, "%s: configs: %zu entries, more than the cap of %d", name, json_size(configs), CARD_MAX_CONFIGS);
    c->configs = arena_alloc(&c->a, json_size(configs) * sizeof *c->configs);
    memset(c->configs, 0, json_size(configs) * sizeof *c->configs);
    for (json_iter it = json_each(configs); json_next(&it);)
        if (!read_config(it.value, name, c, err)) return false;
    return true;
}

bool card_parse(sv readme, const char *name, card *out, gv_err *err) {
    sv block;
    *out = (card){0};
    arena_init(&out->a);
    if (!card_block(readme, &block)) return true;
    size_t i = 0;
    while (i < block.n && (block.p[i] == ' ' || (block.p[i] >= '\t' && block.p[i] <= '\r'))) i++;
    if (i == block.n) return true; /* an empty block is an empty card */
    out->doc = yaml_parse(block, &(yaml_options){.max_bytes = CARD_MAX_BYTES}, err);
    if (!out->doc) gv_context(err, "%s", name);
    if (out->doc && read_card(out, name, err)) return true;
    card_fini(out);
    return false;
}

void card_fini(card *c) {
    json_free(c->doc);
    arena_fini(&c->a);
    *c = (card){0};
}

static void list_configs(const card *c, buf *out) {
    for (size_t i = 0; i < c->n_configs && i < NAME_SHOWN; i++)
        buf_printf(out, "%s\"%s\"", i ? ", " : "", str_show(c->configs[i].name).text);
    if (c->n_configs > NAME_SHOWN) buf_printf(out, ", ... (%zu in all)", c->n_configs);
}

bool card_choose(const card *c, const char *wish, const char *who, size_t *index, gv_err *err) {
    buf names = {0};
    size_t found = SIZE_MAX;
    list_configs(c, &names);
    bool ok = true;
    for (size_t i = 0; i < c->n_configs && ok; i++) {
        const card_config *k = &c->configs[i];
        if (wish ? !sv_is(k->name, wish) : !(c->n_configs == 1 || k->is_default || sv_is(k->name, "default"))) continue;
        if (found != SIZE_MAX) ok = gv_fail(err, GV_FORMAT, -1, "%s: two configurations are the default one: %s", who, names.p);
        found = i;
    }
    if (ok && found == SIZE_MAX && wish)
        ok = gv_fail(err, GV_USAGE, -1, "%s: no configuration \"%s\"; there are %s", who, wish, names.p);
    else if (ok && found == SIZE_MAX)
        ok = gv_fail(err, GV_USAGE, -1, "%s: which configuration? there are %s", who, names.p);
    *index = found;
    buf_fini(&names);
    return ok;
}

sv card_column_type(const card *c, const char *config, sv column) {
    const json_value *info = c->infos;
    if (info && json_kind_of(info) == JSON_ARRAY) {
        const json_value *all = info;
        info = NULL;
        for (json_iter it = json_each(all); json_next(&it);) {
            const json_value *name = json_get(it.value, "config_name");
            if (name ? json_kind_of(name) == JSON_STRING && sv_is(json_string(name), config) : !strcmp(config, "default")) info = it.value;
        }
    } else if (info) {
        const json_value *name = json_get(info, "config_name");
        if (name ? json_kind_of(name) != JSON_STRING || !sv_is(json_string(name), config) : strcmp(config, "default") != 0) info = NULL;
    }
    const json_value *features = info ? json_get(info, "features") : NULL;
    if (!features || json_kind_of(features) != JSON_ARRAY) return SV("");
    for (json_iter it = json_each(features); json_next(&it);) {
        const json_value *name = json_get(it.value, "name"), *type = json_get(it.value, "dtype");
        if (name && type && json_kind_of(name) == JSON_STRING && json_kind_of(type) == JSON_STRING && sv_eq(json_string(name), column))
            return json_string(type);
    }
    return SV("");
}
