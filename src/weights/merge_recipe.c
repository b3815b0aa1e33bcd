/* The recipe: mergekit's YAML keys, checked whole before any model is opened.  A setting is a number, a list of numbers over the layers of a slice, or a
 * list of {filter, value}; numbers that YAML reads as text (1e-1) count as numbers.
 *
 * Slices are ranges of layers with settings of their own; `models` is one slice of all layers.  Every slice has the same models, and layers stay where
 * they are. */
#include "base/mem.h"
#include "base/yaml.h"
#include "tmpl/tmpl.h"
#include "weights/merge_internal.h"

#include <math.h>
#include <stdlib.h>

static const char *const methods[] = {"linear", "slerp", "task_arithmetic", "ties", "dare_ties", "dare_linear", NULL};
static const char *const recipe_keys[] = {"merge_method", "models",           "slices",    "base_model",    "parameters", "dtype",
                                          "out_dtype",    "tokenizer_source", "tokenizer", "chat_template", NULL};
static const char *const model_keys[] = {"model", "parameters", NULL};
static const char *const slice_keys[] = {"sources", "base_model", "parameters", NULL};
static const char *const source_keys[] = {"model", "layer_range", "parameters", NULL};
static const char *const reference_keys[] = {"model", "lora", "override_architecture", NULL};
static const char *const path_keys[] = {"path", "revision", NULL};
static const char *const tokenizer_keys[] = {"source", "tokens", "pad_to_multiple_of", NULL};
static const char *const setting_keys[] = {"filter", "value", NULL};

typedef struct parameter {
    const char *name;
    uint32_t methods; /* bit a method */
    bool of_model;    /* may stand at a model */
    bool is_flag;     /* true or false */
    double min, max;
} parameter;

enum {
    TASKS = 1u << MERGE_TASK_ARITHMETIC | 1u << MERGE_TIES | 1u << MERGE_DARE_TIES | 1u << MERGE_DARE_LINEAR,
    SPARSE = 1u << MERGE_TIES | 1u << MERGE_DARE_TIES | 1u << MERGE_DARE_LINEAR,
    MAX_SLICES = 1024,
};

static const parameter parameters[] = {
    {"weight", TASKS | 1u << MERGE_LINEAR, true, false, -1e6, 1e6},
    {"density", SPARSE, true, false, 0, 1},
    {"normalize", TASKS | 1u << MERGE_LINEAR, false, true, 0, 1},
    {"rescale", SPARSE, false, true, 0, 1},
    {"int8_mask", ~0u, false, true, 0, 1},
    {"lambda", TASKS, false, false, -1e6, 1e6},
    {"t", 1u << MERGE_SLERP, false, false, 0, 1},
};
enum { N_PARAMETERS = sizeof parameters / sizeof *parameters };

const char *merge_method_name(merge_method m) {
    return methods[m];
}

/* ---- settings ---- */

static bool number_of(const json_value *v, double *out) {
    if (json_kind_of(v) == JSON_BOOL) {
        *out = json_bool(v);
        return true;
    }
    if (json_kind_of(v) == JSON_NUMBER) return json_double(v, out);
    if (json_kind_of(v) != JSON_STRING || !json_string(v).n || json_string(v).n > 40) return false;
    char text[41] = {0}, *end;
    memcpy(text, json_string(v).p, json_string(v).n);
    if (strspn(text, "0123456789+-.eE") != json_string(v).n) return false;
    *out = strtod(text, &end);
    return *end == 0 && isfinite(*out);
}

/* The value at a depth of a number or a list of numbers. */
static double value_at(const json_value *v, double depth, bool is_flag) {
    double at[2] = {0, 0};
    if (json_kind_of(v) != JSON_ARRAY) {
        (void)number_of(v, &at[0]);
        return at[0];
    }
    const size_t n = json_size(v);
    const double scaled = depth * (double)(n - 1);
    const size_t first = (size_t)scaled, second = first + 1 < n ? first + 1 : n - 1;
    size_t i = 0;
    for (json_iter it = json_each(v); json_next(&it); i++) {
        if (i == first) (void)number_of(it.value, &at[0]);
        if (i == second) (void)number_of(it.value, &at[1]);
    }
    const double part = scaled - (double)first;
    return is_flag ? at[0] : (1 - part) * at[0] + part * at[1];
}

static bool is_conditional(const json_value *v) {
    if (json_kind_of(v) != JSON_ARRAY) return false;
    json_iter it = json_each(v);
    return json_next(&it) && json_kind_of(it.value) == JSON_OBJECT;
}

static bool filter_takes(const json_value *filter, const char *tensor) {
    if (!filter || json_kind_of(filter) == JSON_NULL || sv_is(json_string(filter), "*")) return true;
    return sv_find(sv_of(tensor), json_string(filter), 0) != SIZE_MAX;
}

static bool find_setting(const json_value *settings, const parameter *p, const char *tensor, double depth, double *out) {
    const json_value *v = json_get(settings, p->name);
    if (!v) return false;
    if (json_kind_of(v) == JSON_OBJECT) {
        if (!filter_takes(json_get(v, "filter"), tensor)) return false;
        *out = value_at(json_get(v, "value"), depth, p->is_flag);
        return true;
    }
    if (!is_conditional(v)) {
        *out = value_at(v, depth, p->is_flag);
        return true;
    }
    for (json_iter it = json_each(v); json_next(&it);)
        if (filter_takes(json_get(it.value, "filter"), tensor)) {
            *out = value_at(json_get(it.value, "value"), depth, p->is_flag);
            return true;
        }
    return false;
}

merge_place merge_place_of(const merge_recipe *r, const char *tensor, int64_t layers) {
    const char *at = strstr(tensor, "layers.");
    if (!at) return (merge_place){&r->slice[strstr(tensor, "embed_tokens") ? 0 : r->n_slices - 1], 0};
    const long long layer = strtoll(at + strlen("layers."), NULL, 10);
    const merge_slice *s = r->slice;
    while (s->end >= 0 && layer >= s->end && s + 1 < r->slice + r->n_slices) s++;
    const int64_t n = (s->end < 0 ? layers : s->end) - s->first;
    return (merge_place){s, n > 1 ? (double)(layer - s->first) / (double)(n - 1) : 1};
}

double merge_setting(const merge_recipe *r, int input, const char *key, const char *tensor, merge_place place, double unset) {
    const json_value *const settings[] = {input >= 0 ? place.slice->of_input[input] : NULL, place.slice->parameters, r->parameters};
    size_t i = 0;
    double v = unset;
    while (strcmp(parameters[i].name, key) != 0) i++;
    for (size_t k = 0; k < sizeof settings / sizeof *settings; k++)
        if (find_setting(settings[k], &parameters[i], tensor, place.depth, &v)) return v;
    return unset;
}

/* ---- checks ---- */

static bool unknown(sv key, const char *const *known, gv_err *err) {
    char text[64] = {0};
    memcpy(text, key.p, key.n < sizeof text ? key.n : sizeof text - 1);
    const char *near = nearest_name(text, known);
    if (near) return gv_fail(err, GV_USAGE, -1, "unknown key %s; did you mean %s?", str_show(key).text, near);
    return gv_fail(err, GV_USAGE, -1, "unknown key %s", str_show(key).text);
}

static bool is_known(sv key, const char *const *known) {
    for (; *known; known++)
        if (sv_is(key, *known)) return true;
    return false;
}

static bool check_number(const json_value *v, const parameter *p, gv_err *err) {
    double x;
    const json_kind kind = json_kind_of(v);
    if (p->is_flag) {
        if (kind == JSON_BOOL) return true;
        if (kind != JSON_NUMBER || !json_double(v, &x))
            return gv_fail(err, GV_USAGE, -1, "%s is a %s, expected true or false", p->name, json_kind_name(v));
        if ((x > 0 && x < 1) || !(x >= 0 && x <= 1)) return gv_fail(err, GV_USAGE, -1, "%s is %g, expected true or false", p->name, x);
        return true;
    }
    if (kind == JSON_BOOL || !number_of(v, &x))
        return gv_fail(err, GV_USAGE, -1, "%s is a %s, expected a number", p->name, json_kind_name(v));
    if (!(x >= p->min && x <= p->max)) return gv_fail(err, GV_USAGE, -1, "%s is %g, expected %g to %g", p->name, x, p->min, p->max);
    return true;
}

static bool check_numbers(const json_value *v, const parameter *p, gv_err *err) {
    if (!v) return gv_fail(err, GV_USAGE, -1, "%s: an entry with a filter has no value", p->name);
    if (json_kind_of(v) != JSON_ARRAY) return check_number(v, p, err);
    if (json_size(v) == 0) return gv_fail(err, GV_USAGE, -1, "%s is an empty list", p->name);
    for (json_iter it = json_each(v); json_next(&it);)
        if (!check_number(it.value, p, err)) return false;
    return true;
}

static bool check_conditional(const json_value *v, const parameter *p, gv_err *err) {
    if (json_kind_of(v) != JSON_OBJECT) return gv_fail(err, GV_USAGE, -1, "%s mixes numbers and entries with filters", p->name);
    for (json_iter it = json_each(v); json_next(&it);)
        if (!is_known(it.key, setting_keys)) return unknown(it.key, setting_keys, err) || gv_context(err, "%s", p->name);
    const json_value *filter = json_get(v, "filter");
    if (filter && json_kind_of(filter) != JSON_STRING && json_kind_of(filter) != JSON_NULL)
        return gv_fail(err, GV_USAGE, -1, "%s: filter is a %s, expected part of a tensor's name", p->name, json_kind_name(filter));
    return check_numbers(json_get(v, "value"), p, err);
}

static bool check_setting(const json_value *v, const parameter *p, gv_err *err) {
    if (json_kind_of(v) == JSON_OBJECT) return check_conditional(v, p, err);
    if (!is_conditional(v)) return check_numbers(v, p, err);
    for (json_iter it = json_each(v); json_next(&it);)
        if (!check_conditional(it.value, p, err)) return false;
    return true;
}

/* Parameters of a model (is_model) or of all; *out NULL if there are none. */
static bool read_parameters(const merge_recipe *r, const json_value *v, bool is_model, const json_value **out, gv_err *err) {
    *out = NULL;
    if (!v || json_kind_of(v) == JSON_NULL) return true;
    if (json_kind_of(v) != JSON_OBJECT) return gv_fail(err, GV_USAGE, -1, "parameters is a %s, expected a mapping", json_kind_name(v));
    for (json_iter it = json_each(v); json_next(&it);) {
        const char *known[N_PARAMETERS + 1] = {0};
        const parameter *p = NULL;
        size_t n = 0;
        for (size_t i = 0; i < N_PARAMETERS; i++) {
            if (sv_is(it.key, parameters[i].name)) p = &parameters[i];
            if ((parameters[i].methods >> r->method & 1) && (parameters[i].of_model || !is_model)) known[n++] = parameters[i].name;
        }
        if (!p) return unknown(it.key, known, err) || gv_context(err, "parameters");
        if (!(p->methods >> r->method & 1))
            return gv_fail(err, GV_USAGE, -1, "parameters: %s means nothing to merge_method %s", p->name, methods[r->method]);
        if (is_model && !p->of_model)
            return gv_fail(err, GV_USAGE, -1, "parameters: %s is of all models; move it to the recipe's parameters", p->name);
        if (!check_setting(it.value, p, err)) return gv_context(err, "parameters");
    }
    *out = v;
    return true;
}

static bool text_of(const json_value *v, const char *key, sv *out, gv_err *err) {
    if (!v) return gv_fail(err, GV_USAGE, -1, "%s is missing", key);
    if (json_kind_of(v) != JSON_STRING || !json_string(v).n)
        return gv_fail(err, GV_USAGE, -1, "%s is a%s %s, expected text", key, json_kind_of(v) == JSON_STRING ? "n empty" : "",
                       json_kind_name(v));
    *out = json_string(v);
    return memchr(out->p, 0, out->n) ? gv_fail(err, GV_USAGE, -1, "%s has a NUL byte", key) : true;
}

static bool read_dtype(const json_value *root, const char *key, bool *has, dtype *out, gv_err *err) {
    static const struct {
        const char *name;
        dtype type;
    } types[] = {{"float32", DT_F32}, {"bfloat16", DT_BF16}, {"float16", DT_F16}, {"fp32", DT_F32}, {"bf16", DT_BF16}, {"fp16", DT_F16}};
    const json_value *v = json_get(root, key);
    sv name;
    *has = v && json_kind_of(v) != JSON_NULL;
    if (!*has) return true;
    if (!text_of(v, key, &name, err)) return false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (sv_is(name, types[i].name)) {
            *out = types[i].type;
            return true;
        }
    return gv_fail(err, GV_USAGE, -1, "%s is %s, expected float32, bfloat16 or float16", key, str_show(name).text);
}

static bool read_method(merge_recipe *r, const json_value *root, gv_err *err) {
    sv name;
    if (!text_of(json_get(root, "merge_method"), "merge_method", &name, err)) return false;
    for (size_t i = 0; methods[i]; i++)
        if (sv_is(name, methods[i])) {
            r->method = (merge_method)i;
            return true;
        }
    char text[64] = {0};
    memcpy(text, name.p, name.n < sizeof text ? name.n : sizeof text - 1);
    const char *near = nearest_name(text, methods);
    if (near) return gv_fail(err, GV_USAGE, -1, "unknown merge_method %s; did you mean %s?", str_show(name).text, near);
    return gv_fail(err, GV_USAGE, -1, "unknown merge_method %s; there are linear, slerp, task_arithmetic, ties, dare_ties, dare_linear",
                   str_show(name).text);
}

static bool is_null(const json_value *v) {
    return !v || json_kind_of(v) == JSON_NULL;
}

static bool check_keys(const json_value *v, const char *const *known, gv_err *err) {
    if (json_kind_of(v) != JSON_OBJECT) return gv_fail(err, GV_USAGE, -1, "a %s, expected a mapping with %s", json_kind_name(v), known[0]);
    for (json_iter it = json_each(v); json_next(&it);)
        if (!is_known(it.key, known)) return unknown(it.key, known, err);
    return true;
}

/* PATH, or {model: PATH}, where PATH may be {path: PATH, revision: R} too; *out is PATH or PATH@R (the caller's to free). */
static bool read_reference(const json_value *v, const char *key, char **out, gv_err *err) {
    const json_value *path = v, *revision = NULL;
    sv name, at = {0};
    if (v && json_kind_of(v) == JSON_OBJECT) {
        if (!check_keys(v, reference_keys, err)) return gv_context(err, "%s", key);
        for (size_t i = 1; reference_keys[i]; i++)
            if (!is_null(json_get(v, reference_keys[i])))
                return gv_fail(err, GV_UNSUPPORTED, -1, "%s: %s is not supported", key, reference_keys[i]);
        path = json_get(v, "model");
        if (path && json_kind_of(path) == JSON_OBJECT) {
            if (!check_keys(path, path_keys, err)) return gv_context(err, "%s", key);
            revision = json_get(path, "revision"), path = json_get(path, "path");
        }
    }
    if (!text_of(path, key, &name, err) || (!is_null(revision) && !text_of(revision, "revision", &at, err))) return false;
    buf text = {0};
    buf_add_sv(&text, name);
    if (at.n) buf_printf(&text, "@" SV_FMT, SV_ARG(at));
    *out = text.p;
    return true;
}

static int find_input(const merge_recipe *r, const char *model) {
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(model, r->input[i]) == 0) return (int)i;
    return -1;
}

/* A model and its parameters as input i of a slice; the first slice brings the inputs, the others have the same. */
static bool read_input(merge_recipe *r, merge_slice *s, size_t i, const json_value *v, gv_err *err) {
    char *name = NULL;
    if (!read_reference(json_get(v, "model"), "model", &name, err)) return false;
    const int known = find_input(r, name);
    bool ok = true;
    if (s != r->slice && (i >= r->n || known != (int)i))
        ok = gv_fail(err, GV_UNSUPPORTED, -1, "model %s, where slices[0] has %s: every slice must have the same models", name,
                     i < r->n ? r->input[i] : "none");
    else if (s == r->slice && known >= 0)
        ok = gv_fail(err, GV_USAGE, -1, "%s stands in %s already", name, s->end < 0 ? "models" : "sources");
    if (ok && s == r->slice)
        r->input[r->n++] = name;
    else
        free(name);
    return ok && read_parameters(r, json_get(v, "parameters"), true, &s->of_input[i], err);
}

static bool check_list(const json_value *v, const char *name, size_t most, gv_err *err) {
    if (!v) return gv_fail(err, GV_USAGE, -1, "%s is missing", name);
    if (json_kind_of(v) != JSON_ARRAY || json_size(v) == 0)
        return gv_fail(err, GV_USAGE, -1, "%s is a%s %s, expected a list", name, json_kind_of(v) == JSON_ARRAY ? "n empty" : "",
                       json_kind_name(v));
    return json_size(v) <= most || gv_fail(err, GV_LIMIT, -1, "%s lists %zu, the cap is %zu", name, json_size(v), most);
}

static bool read_models(merge_recipe *r, const json_value *models, gv_err *err) {
    size_t i = 0;
    if (!check_list(models, "models", MERGE_MAX_MODELS - 1, err)) return false;
    r->slice = gv_xcalloc(1, sizeof *r->slice);
    r->n_slices = 1;
    r->slice[0].end = -1;
    for (json_iter it = json_each(models); json_next(&it); i++)
        if (!check_keys(it.value, model_keys, err) || !read_input(r, r->slice, i, it.value, err)) return gv_context(err, "models[%zu]", i);
    return true;
}

static bool read_range(const json_value *v, int64_t *first, int64_t *end, gv_err *err) {
    int64_t at[2] = {-1, -1};
    size_t n = 0;
    if (v && json_kind_of(v) == JSON_ARRAY && json_size(v) == 2)
        for (json_iter it = json_each(v); json_next(&it);) n += json_int64(it.value, &at[n]);
    if (n != 2 || at[0] < 0 || at[1] <= at[0]) return gv_fail(err, GV_USAGE, -1, "layer_range is not [FIRST, END] with 0 <= FIRST < END");
    *first = at[0], *end = at[1];
    return true;
}

/* first and end of all sources are one range, which begins where the slice before ends. */
static bool read_source(merge_recipe *r, merge_slice *s, size_t i, const json_value *v, gv_err *err) {
    const int64_t from = s == r->slice ? 0 : s[-1].end;
    int64_t first = 0, end = 0;
    if (!check_keys(v, source_keys, err) || !read_range(json_get(v, "layer_range"), &first, &end, err)) return false;
    if (i == 0) s->first = first, s->end = end;
    if (first != s->first || end != s->end)
        return gv_fail(err, GV_UNSUPPORTED, -1,
                       "layer_range [%lld, %lld], sources[0] has [%lld, %lld]: layers are merged at their own places", (long long)first,
                       (long long)end, (long long)s->first, (long long)s->end);
    if (first != from)
        return gv_fail(err, GV_UNSUPPORTED, -1,
                       "layer_range begins at %lld, expected %lld: slices must take all layers in order, none left out or repeated",
                       (long long)first, (long long)from);
    return read_input(r, s, i, v, err);
}

static bool read_slice(merge_recipe *r, size_t at, const json_value *v, char **base, gv_err *err) {
    merge_slice *s = &r->slice[at];
    size_t i = 0;
    char *own = NULL;
    if (!check_keys(v, slice_keys, err)) return false;
    const json_value *sources = json_get(v, "sources"), *base_value = json_get(v, "base_model");
    if (!check_list(sources, "sources", MERGE_MAX_MODELS - 1, err)) return false;
    for (json_iter it = json_each(sources); json_next(&it); i++)
        if (!read_source(r, s, i, it.value, err)) return gv_context(err, "sources[%zu]", i);
    if (i != r->n)
        return gv_fail(err, GV_UNSUPPORTED, -1, "%zu sources, slices[0] has %zu: every slice must have the same models", i, r->n);
    if (!read_parameters(r, json_get(v, "parameters"), false, &s->parameters, err)) return false;
    if (is_null(base_value)) return true;
    if (!read_reference(base_value, "base_model", &own, err)) return false;
    const bool same = !*base || strcmp(*base, own) == 0;
    if (!same) gv_fail(err, GV_UNSUPPORTED, -1, "base_model %s, before it %s: there is one for all slices", own, *base);
    if (same && !*base)
        *base = own;
    else
        free(own);
    return same;
}

static bool read_slices(merge_recipe *r, const json_value *slices, char **base, gv_err *err) {
    if (!check_list(slices, "slices", MAX_SLICES, err)) return false;
    r->slice = gv_xcalloc(json_size(slices), sizeof *r->slice);
    for (json_iter it = json_each(slices); json_next(&it); r->n_slices++)
        if (!read_slice(r, r->n_slices, it.value, base, err)) return gv_context(err, "slices[%zu]", r->n_slices);
    return true;
}

static bool read_inputs(merge_recipe *r, const json_value *root, gv_err *err) {
    const json_value *models = json_get(root, "models"), *slices = json_get(root, "slices"), *base_value = json_get(root, "base_model");
    char *base = NULL;
    if (models && slices) return gv_fail(err, GV_USAGE, -1, "models and slices exclude each other");
    bool ok = is_null(base_value) || read_reference(base_value, "base_model", &base, err);
    ok = ok && (slices ? read_slices(r, slices, &base, err) : read_models(r, models, err));
    if (ok && base) {
        r->base = find_input(r, base);
        if (r->base < 0 && slices) {
            ok = gv_fail(err, GV_USAGE, -1, "base_model %s is none of the slices' sources", base);
        } else if (r->base < 0) {
            r->base = (int)r->n;
            r->input[r->n++] = base;
            base = NULL;
        }
    }
    free(base);
    return ok;
}

/* tokenizer_source, or tokenizer: {source}: base, union, or a model, which all name equal vocabularies. */
static bool read_tokenizer(merge_recipe *r, const json_value *root, gv_err *err) {
    const json_value *source = json_get(root, "tokenizer_source"), *t = json_get(root, "tokenizer");
    const char *key = "tokenizer_source";
    char *model = NULL;
    if (!is_null(t)) {
        if (!is_null(source)) return gv_fail(err, GV_USAGE, -1, "tokenizer and tokenizer_source exclude each other");
        if (!check_keys(t, tokenizer_keys, err)) return gv_context(err, "tokenizer");
        const json_value *tokens = json_get(t, "tokens");
        if ((!is_null(tokens) && json_size(tokens) > 0) || !is_null(json_get(t, "pad_to_multiple_of")))
            return gv_fail(err, GV_UNSUPPORTED, -1, "tokenizer: %s is not supported: gavel merges equal vocabularies and changes none",
                           !is_null(tokens) && json_size(tokens) > 0 ? "tokens" : "pad_to_multiple_of");
        source = json_get(t, "source"), key = "tokenizer: source";
    }
    if (is_null(source) ||
        (json_kind_of(source) == JSON_STRING && (sv_is(json_string(source), "base") || sv_is(json_string(source), "union"))))
        return true;
    if (!read_reference(source, key, &model, err)) return false;
    r->tokenizer = find_input(r, model);
    if (r->tokenizer < 0) gv_fail(err, GV_USAGE, -1, "%s %s is none of the recipe's models", key, model);
    free(model);
    return r->tokenizer >= 0;
}

static bool read_chat_template(merge_recipe *r, const json_value *root, gv_err *err) {
    const json_value *v = json_get(root, "chat_template");
    char name[64] = {0};
    sv text;
    if (is_null(v)) return true;
    if (!text_of(v, "chat_template", &text, err)) return false;
    if (text.n < sizeof name) memcpy(name, text.p, text.n);
    r->auto_template = sv_is(text, "auto");
    if (r->auto_template) return true;
    const char *own = name[0] ? tmpl_builtin(name) : NULL;
    r->chat_template = own ? sv_of(own) : text;
    if (own || sv_find(text, SV("{"), 0) != SIZE_MAX) return true;
    buf names = {0};
    for (const char *const *n = tmpl_builtin_names(); *n; n++) buf_printf(&names, " %s", *n);
    gv_fail(err, GV_USAGE, -1, "chat_template %s is no template; give its text, auto, or one of:%s", str_show(text).text, names.p);
    buf_fini(&names);
    return false;
}

/* In every slice: of input i (-1: of none), of the slice, or of the recipe. */
static bool has_setting(const merge_recipe *r, int i, const char *key) {
    if (json_get(r->parameters, key)) return true;
    for (size_t k = 0; k < r->n_slices; k++)
        if (!json_get(r->slice[k].parameters, key) && (i < 0 || !json_get(r->slice[k].of_input[i], key))) return false;
    return true;
}

/* What the method needs of models and parameters. */
static bool check_method(const merge_recipe *r, gv_err *err) {
    const char *name = methods[r->method];
    if (r->method != MERGE_LINEAR && r->base < 0) return gv_fail(err, GV_USAGE, -1, "merge_method %s needs a base_model", name);
    if (r->method == MERGE_SLERP) {
        if (r->n != 2)
            return gv_fail(err, GV_USAGE, -1, "merge_method slerp takes two models, the base one of them; the recipe has %zu", r->n);
        return has_setting(r, -1, "t") || gv_fail(err, GV_USAGE, -1, "merge_method slerp needs the parameter t");
    }
    if (r->method != MERGE_LINEAR && r->n < 2) return gv_fail(err, GV_USAGE, -1, "merge_method %s needs a model beside the base", name);
    for (size_t i = 0; i < r->n; i++)
        if ((r->method == MERGE_LINEAR || (int)i != r->base) && !has_setting(r, (int)i, "weight"))
            return gv_fail(err, GV_USAGE, -1, "model %s has no weight, and parameters has none for all", r->input[i]);
    return true;
}

static bool read_root(merge_recipe *r, gv_err *err) {
    const json_value *root = json_root(r->doc);
    if (json_kind_of(root) != JSON_OBJECT)
        return gv_fail(err, GV_USAGE, -1, "the recipe is a %s, expected a mapping", json_kind_name(root));
    for (json_iter it = json_each(root); json_next(&it);)
        if (!is_known(it.key, recipe_keys)) return unknown(it.key, recipe_keys, err);
    return read_method(r, root, err) && read_dtype(root, "dtype", &r->has_dtype, &r->type, err) &&
           read_dtype(root, "out_dtype", &r->has_out_dtype, &r->out_type, err) && read_inputs(r, root, err) &&
           read_parameters(r, json_get(root, "parameters"), false, &r->parameters, err) && read_tokenizer(r, root, err) &&
           read_chat_template(r, root, err) && check_method(r, err);
}

bool merge_recipe_parse(merge_recipe *r, sv text, gv_err *err) {
    *r = (merge_recipe){.base = -1, .tokenizer = -1};
    r->doc = yaml_parse(text, NULL, err);
    return r->doc && read_root(r, err);
}

void merge_recipe_fini(merge_recipe *r) {
    for (size_t i = 0; i < r->n; i++) free(r->input[i]);
    free(r->slice);
    json_free(r->doc);
    *r = (merge_recipe){.base = -1, .tokenizer = -1};
}
