/* The recipe: mergekit's YAML keys, checked whole before any model is opened.  A setting is a number, a list of numbers over the layers, or a list of
 * {filter, value}; numbers that YAML reads as text (1e-1) count as numbers. */
#include "base/mem.h"
#include "base/yaml.h"
#include "weights/merge_internal.h"

#include <math.h>
#include <stdlib.h>

static const char *const methods[] = {"linear", "slerp", "task_arithmetic", "ties", "dare_ties", "dare_linear", NULL};
static const char *const recipe_keys[] = {"merge_method", "models",           "base_model", "parameters", "dtype",
                                          "out_dtype",    "tokenizer_source", "slices",     NULL};
static const char *const model_keys[] = {"model", "parameters", NULL};
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
};

static const parameter parameters[] = {
    {"weight", TASKS | 1u << MERGE_LINEAR, true, false, -1e6, 1e6},
    {"density", SPARSE, true, false, 0, 1},
    {"normalize", TASKS | 1u << MERGE_LINEAR, false, true, 0, 1},
    {"rescale", SPARSE, false, true, 0, 1},
    {"int8_mask", TASKS, false, true, 0, 1},
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
    const json_value *v = settings ? json_get(settings, p->name) : NULL;
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

double merge_setting(const merge_recipe *r, int input, const char *key, const char *tensor, double depth, double unset) {
    size_t i = 0;
    while (strcmp(parameters[i].name, key) != 0) i++;
    double v = unset;
    if (input >= 0 && find_setting(r->input[input].parameters, &parameters[i], tensor, depth, &v)) return v;
    return find_setting(r->parameters, &parameters[i], tensor, depth, &v) ? v : unset;
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
    if (p->is_flag)
        return kind == JSON_BOOL || gv_fail(err, GV_USAGE, -1, "%s is a %s, expected true or false", p->name, json_kind_name(v));
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

static char *dup_sv(sv s) {
    char *p = gv_xcalloc(s.n + 1, 1);
    memcpy(p, s.p, s.n);
    return p;
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

static bool read_model(merge_recipe *r, const json_value *v, gv_err *err) {
    merge_input *in = &r->input[r->n];
    sv name;
    if (json_kind_of(v) != JSON_OBJECT) return gv_fail(err, GV_USAGE, -1, "a %s, expected a mapping with model", json_kind_name(v));
    for (json_iter it = json_each(v); json_next(&it);)
        if (!is_known(it.key, model_keys)) return unknown(it.key, model_keys, err);
    if (!text_of(json_get(v, "model"), "model", &name, err) || !read_parameters(r, json_get(v, "parameters"), true, &in->parameters, err))
        return false;
    for (size_t i = 0; i < r->n; i++)
        if (sv_is(name, r->input[i].model)) return gv_fail(err, GV_USAGE, -1, "%s stands in models already", r->input[i].model);
    in->model = dup_sv(name);
    r->n++;
    return true;
}

static bool read_models(merge_recipe *r, const json_value *root, gv_err *err) {
    const json_value *models = json_get(root, "models"), *base = json_get(root, "base_model");
    if (!models) return gv_fail(err, GV_USAGE, -1, "models is missing");
    if (json_kind_of(models) != JSON_ARRAY || json_size(models) == 0)
        return gv_fail(err, GV_USAGE, -1, "models is a%s %s, expected a list of models",
                       json_kind_of(models) == JSON_ARRAY ? "n empty" : "", json_kind_name(models));
    if (json_size(models) >= MERGE_MAX_MODELS)
        return gv_fail(err, GV_LIMIT, -1, "models lists %zu, the cap is %d", json_size(models), MERGE_MAX_MODELS - 1);
    size_t i = 0;
    for (json_iter it = json_each(models); json_next(&it); i++)
        if (!read_model(r, it.value, err)) return gv_context(err, "models[%zu]", i);
    r->base = -1;
    if (!base || json_kind_of(base) == JSON_NULL) return true;
    sv name;
    if (!text_of(base, "base_model", &name, err)) return false;
    for (i = 0; i < r->n; i++)
        if (sv_is(name, r->input[i].model)) r->base = (int)i;
    if (r->base < 0) {
        r->base = (int)r->n;
        r->input[r->n++].model = dup_sv(name);
    }
    return true;
}

static bool has_setting(const merge_recipe *r, size_t i, const char *key) {
    return (r->input[i].parameters && json_get(r->input[i].parameters, key)) || (r->parameters && json_get(r->parameters, key));
}

/* What the method needs of models and parameters. */
static bool check_method(const merge_recipe *r, gv_err *err) {
    const char *name = methods[r->method];
    if (r->method != MERGE_LINEAR && r->base < 0) return gv_fail(err, GV_USAGE, -1, "merge_method %s needs a base_model", name);
    if (r->method == MERGE_SLERP) {
        if (r->n != 2)
            return gv_fail(err, GV_USAGE, -1, "merge_method slerp takes two models, the base one of them; the recipe has %zu", r->n);
        return (r->parameters && json_get(r->parameters, "t")) || gv_fail(err, GV_USAGE, -1, "merge_method slerp needs the parameter t");
    }
    if (r->method != MERGE_LINEAR && r->n < 2) return gv_fail(err, GV_USAGE, -1, "merge_method %s needs a model beside the base", name);
    for (size_t i = 0; i < r->n; i++)
        if ((r->method == MERGE_LINEAR || (int)i != r->base) && !has_setting(r, i, "weight"))
            return gv_fail(err, GV_USAGE, -1, "model %s has no weight, and parameters has none for all", r->input[i].model);
    return true;
}

static bool read_root(merge_recipe *r, gv_err *err) {
    const json_value *root = json_root(r->doc), *tokenizer;
    if (json_kind_of(root) != JSON_OBJECT)
        return gv_fail(err, GV_USAGE, -1, "the recipe is a %s, expected a mapping", json_kind_name(root));
    for (json_iter it = json_each(root); json_next(&it);)
        if (!is_known(it.key, recipe_keys)) return unknown(it.key, recipe_keys, err);
    if (json_get(root, "slices"))
        return gv_fail(err, GV_UNSUPPORTED, -1, "slices are not supported: gavel merges whole models; list them under models");
    if (!read_method(r, root, err) || !read_dtype(root, "dtype", &r->has_dtype, &r->type, err) ||
        !read_dtype(root, "out_dtype", &r->has_out_dtype, &r->out_type, err) || !read_models(r, root, err) ||
        !read_parameters(r, json_get(root, "parameters"), false, &r->parameters, err))
        return false;
    tokenizer = json_get(root, "tokenizer_source");
    if (tokenizer && json_kind_of(tokenizer) != JSON_NULL &&
        !(json_kind_of(tokenizer) == JSON_STRING && sv_is(json_string(tokenizer), "base")))
        return gv_fail(err, GV_UNSUPPORTED, -1, "tokenizer_source must be base or absent: the models' vocabularies must be equal");
    return check_method(r, err);
}

bool merge_recipe_parse(merge_recipe *r, sv text, gv_err *err) {
    *r = (merge_recipe){.base = -1};
    r->doc = yaml_parse(text, NULL, err);
    return r->doc && read_root(r, err);
}

void merge_recipe_fini(merge_recipe *r) {
    for (size_t i = 0; i < r->n; i++) free(r->input[i].model);
    json_free(r->doc);
    *r = (merge_recipe){.base = -1};
}
