/* Rubric files: JSON, YAML and text, and the choice by name.  See rubric.h. */
#include "judge/rubric.h"

#include "base/file.h"
#include "base/yaml.h"
#include "judge/rubric_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* ---- files ---- */

static bool has_suffix(const char *path, const char *suffix) {
    size_t n = strlen(path), m = strlen(suffix);
    return n >= m && strcasecmp(path + n - m, suffix) == 0;
}

/* The file's name without folder and suffix. */
static sv stem(const char *path) {
    const char *slash = strrchr(path, '/');
    sv name = sv_of(slash ? slash + 1 : path);
    for (size_t i = name.n; i > 1; i--)
        if (name.p[i - 1] == '.') return sv_sub(name, 0, i - 1);
    return name;
}

/* Adds "a, b, c" of an object's keys, at most 20. */
static void list_names(const json_value *map, buf *out) {
    size_t n = 0;
    for (json_iter it = json_each(map); json_next(&it); n++) {
        if (n == 20) {
            buf_printf(out, ", ... (%zu in all)", json_size(map));
            return;
        }
        if (n) buf_add_str(out, ", ");
        buf_add_sv(out, sv_sub(it.key, 0, 60));
    }
}

static bool no_such_name(const json_value *map, const char *pick, gv_err *err) {
    buf names = {0};
    list_names(map, &names);
    size_t n = json_size(map);
    const char **keys = gv_xcalloc(n + 1, sizeof *keys);
    arena a;
    arena_init(&a);
    size_t i = 0;
    for (json_iter it = json_each(map); json_next(&it);) keys[i++] = arena_dup(&a, it.key.p, it.key.n);
    const char *near = nearest_name(pick, keys);
    gv_fail(err, GV_USAGE, -1, "no rubric \"%s\" in the file%s%s%s It has: %s", pick, near ? "; did you mean " : ".", near ? near : "",
            near ? "?" : "", names.p ? names.p : "none");
    arena_fini(&a);
    free(keys);
    buf_fini(&names);
    return false;
}

static bool is_single(const json_value *v) {
    return json_get(v, "criteria") || json_get(v, "score1_description");
}

/* One rubric's value: text, or an object of six keys. */
static bool value_text(const json_value *v, buf *text, gv_err *err) {
    if (json_kind_of(v) == JSON_OBJECT) return rubric_object_text(v, text, err);
    if (json_kind_of(v) != JSON_STRING)
        return gv_fail(err, GV_FORMAT, -1,
                       "a rubric is of type %s; text, or an object with criteria and score1_description to score5_description, is needed",
                       json_kind_name(v));
    buf_add_sv(text, json_string(v));
    return true;
}

/* Picks from a map of several rubrics; checks all of them, as distilabel does. */
static bool parse_map(const json_value *map, const char *pick, judge_style style, arena *a, rubric *out, gv_err *err) {
    if (json_size(map) == 0) return gv_fail(err, GV_FORMAT, -1, "the file holds no rubric");
    if (json_size(map) > RUBRIC_MAX_COUNT)
        return gv_fail(err, GV_LIMIT, -1, "the file holds %zu rubrics, over the limit of %d", json_size(map), RUBRIC_MAX_COUNT);
    if (pick && !json_get(map, pick)) return no_such_name(map, pick, err);
    if (!pick && json_size(map) > 1) {
        buf names = {0};
        list_names(map, &names);
        gv_fail(err, GV_USAGE, -1, "the file holds several rubrics; choose one with FILE#NAME: %s", names.p);
        buf_fini(&names);
        return false;
    }
    buf text = {0};
    bool ok = true;
    for (json_iter it = json_each(map); ok && json_next(&it);) {
        buf_clear(&text);
        ok = value_text(it.value, &text, err) && rubric_check_text(buf_view(&text), style, err);
        if (!ok) gv_context(err, "rubric \"" SV_FMT "\"", SV_ARG(sv_sub(it.key, 0, 60)));
        if (ok && (!pick || sv_is(it.key, pick))) rubric_set(out, it.key, buf_view(&text), a);
    }
    buf_fini(&text);
    return ok;
}

/* Takes doc, which may be NULL: err says why. */
static bool parse_structured(json_doc *doc, const char *path, const char *pick, judge_style style, arena *a, rubric *out, gv_err *err) {
    if (!doc) return false;
    const json_value *root = json_root(doc);
    buf text = {0};
    bool ok = false;
    if (json_kind_of(root) == JSON_OBJECT && !is_single(root)) {
        ok = parse_map(root, pick, style, a, out, err);
    } else if (pick) {
        gv_fail(err, GV_USAGE, -1, "the file holds one rubric without a name, not one called \"%s\"", pick);
    } else if (value_text(root, &text, err) && rubric_check_text(buf_view(&text), style, err)) {
        rubric_set(out, stem(path), buf_view(&text), a);
        ok = true;
    }
    buf_fini(&text);
    json_free(doc);
    return ok;
}

bool rubric_parse_file(sv bytes, const char *path, const char *pick, judge_style style, arena *a, rubric *out, gv_err *err) {
    static const yaml_options as_text = {.strings = true, .no_aliases = true, .max_depth = RUBRIC_MAX_YAML_DEPTH};
    bool ok = false;
    if (has_suffix(path, ".yaml") || has_suffix(path, ".yml")) {
        ok = parse_structured(yaml_parse(bytes, &as_text, err), path, pick, style, a, out, err);
    } else if (has_suffix(path, ".json")) {
        ok = parse_structured(json_parse(bytes, err), path, pick, style, a, out, err);
    } else if (pick) {
        gv_fail(err, GV_USAGE, -1, "a text file holds one rubric without a name, not one called \"%s\"", pick);
    } else {
        if (sv_ends(bytes, SV("\r\n")))
            bytes.n -= 2;
        else if (sv_ends(bytes, SV("\n")))
            bytes.n -= 1;
        ok = rubric_check_text(bytes, style, err);
        if (ok) rubric_set(out, stem(path), bytes, a);
    }
    return ok ? true : gv_context(err, "%s", path);
}

static bool unknown_name(const char *spec, judge_style style, gv_err *err) {
    const char *const *names = rubric_builtin_names(style);
    const char *near = nearest_name(spec, names);
    buf list = {0};
    for (size_t i = 0; names[i]; i++) buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
    gv_fail(err, GV_USAGE, -1, "unknown rubric \"%s\"%s%s%s Built-in rubrics: %s; there is no such file either", spec,
            near ? "; did you mean " : ".", near ? near : "", near ? "?" : "", list.p);
    buf_fini(&list);
    return false;
}

bool rubric_load(const char *spec, judge_style style, arena *a, rubric *out, gv_err *err) {
    if (rubric_builtin(spec, style, a, out)) return true;
    const char *path = spec, *pick = NULL;
    char *cut = NULL;
    const char *hash = strrchr(spec, '#');
    if (hash && hash != spec && !file_exists(spec)) {
        cut = gv_xstrdup(spec);
        cut[hash - spec] = 0;
        path = cut;
        pick = hash + 1;
    }
    bool is_path = strchr(path, '/') || has_suffix(path, ".json") || has_suffix(path, ".yaml") || has_suffix(path, ".yml") ||
                   has_suffix(path, ".txt") || has_suffix(path, ".md");
    bool ok = false;
    buf bytes = {0};
    if (!is_path && !file_exists(path))
        unknown_name(spec, style, err);
    else if (file_read_all(path, RUBRIC_MAX_FILE_BYTES, &bytes, err))
        ok = rubric_parse_file(buf_view(&bytes), path, pick, style, a, out, err);
    buf_fini(&bytes);
    free(cut);
    return ok;
}
