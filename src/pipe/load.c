/* A pipeline file's bytes to steps and connections.  See pipe.h. */
#include "base/file.h"
#include "base/yaml.h"
#include "pipe/pipe_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { MAX_FILE_BYTES = 16 << 20 };

static bool has_suffix(const char *path, const char *suffix) {
    const size_t n = strlen(path), m = strlen(suffix);
    return n >= m && strcasecmp(path + n - m, suffix) == 0;
}

static char *copy(arena *a, const json_value *text) {
    const sv s = text ? json_string(text) : (sv){"", 0};
    return arena_dup(a, s.p, s.n);
}

static const json_value *object_in(const json_value *v, const char *key) {
    const json_value *o = json_get(v, key);
    return o && json_kind_of(o) == JSON_OBJECT ? o : NULL;
}

static const json_value *array_in(const json_value *v, const char *key) {
    const json_value *o = json_get(v, key);
    return o && json_kind_of(o) == JSON_ARRAY ? o : NULL;
}

static bool good_name(sv s) {
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-')) return false;
    }
    return s.n > 0 && s.n <= 128;
}

static size_t find_step(const pipeline *p, sv name) {
    for (size_t i = 0; i < p->n_steps; i++)
        if (sv_is(name, p->steps[i].name)) return i;
    return SIZE_MAX;
}

static bool add_step(pipeline *p, const json_value *entry, size_t number, gv_err *err) {
    const json_value *step = object_in(entry, "step"), *name = step ? json_get(step, "name") : NULL;
    if (!step) return gv_fail(err, GV_FORMAT, -1, "pipeline.steps[%zu] has no \"step\" object", number);
    if (!name) name = json_get(entry, "name");
    const sv n = name ? json_string(name) : (sv){"", 0};
    if (!good_name(n))
        return gv_fail(err, GV_FORMAT, -1, "pipeline.steps[%zu]: name \"%s\" is not made of letters, digits, _ and -", number,
                       str_show(n).text);
    if (find_step(p, n) != SIZE_MAX) return gv_fail(err, GV_FORMAT, -1, "Step with name '" SV_FMT "' already exists", SV_ARG(n));
    const sv type = pipe_type_name(step);
    const pipe_class *c = pipe_class_find(type);
    if (!type.n) return gv_fail(err, GV_FORMAT, -1, "step \"" SV_FMT "\" has no type_info with a class name", SV_ARG(n));
    if (!c)
        return gv_fail(
            err, GV_UNSUPPORTED, -1,
            "step \"" SV_FMT "\": gavel does not run %s; it runs PrometheusEval, LoadDataFromHub, LoadDataFromDicts, "
            "LoadDataFromFileSystem, LoadDataFromDisk, KeepColumns, GroupColumns, CombineOutputs and ExpandColumns. Run that part "
            "with distilabel and give its rows with --dataset",
            SV_ARG(n), str_show(type).text);
    p->steps[p->n_steps++] = (pipe_step){.name = arena_dup(&p->a, n.p, n.n), .kind = c->kind, .class_name = c->name, .json = step};
    return true;
}

static bool add_edge(pipeline *p, size_t from, size_t to, gv_err *err) {
    pipe_step *f = &p->steps[from], *t = &p->steps[to];
    for (size_t i = 0; i < f->n_after; i++)
        if (f->after[i] == to) return gv_fail(err, GV_FORMAT, -1, "the connection from \"%s\" to \"%s\" stands twice", f->name, t->name);
    f->after[f->n_after++] = to;
    t->before[t->n_before++] = from;
    return true;
}

static bool add_connection(pipeline *p, const json_value *c, gv_err *err) {
    const json_value *from = json_get(c, "from"), *to = json_get(c, "to");
    const size_t f = from ? find_step(p, json_string(from)) : SIZE_MAX;
    if (f == SIZE_MAX || !to || json_kind_of(to) != JSON_ARRAY)
        return gv_fail(err, GV_FORMAT, -1, "pipeline.connections: \"from\" must name a step and \"to\" be a list; from is \"%s\"",
                       from ? str_show(json_string(from)).text : "");
    for (json_iter it = json_each(to); json_next(&it);) {
        const size_t t = find_step(p, json_string(it.value));
        if (t == SIZE_MAX)
            return gv_fail(err, GV_FORMAT, -1, "pipeline.connections: \"%s\" leads to \"%s\", which is no step", p->steps[f].name,
                           str_show(json_string(it.value)).text);
        if (!add_edge(p, f, t, err)) return false;
    }
    return true;
}

static bool build(pipeline *p, gv_err *err) {
    const json_value *top = object_in(p->root, "pipeline"), *info = object_in(p->root, "distilabel");
    const json_value *steps = top ? array_in(top, "steps") : NULL, *connections = top ? array_in(top, "connections") : NULL;
    if (!top) return gv_fail(err, GV_FORMAT, -1, "no \"pipeline\" object: this is no file of distilabel's Pipeline.save()");
    if (!steps || json_size(steps) == 0) return gv_fail(err, GV_FORMAT, -1, "pipeline.steps is no list with a step in it");
    if (!connections)
        return gv_fail(err, GV_FORMAT, -1,
                       "pipeline.connections is no list; it says where each step's rows go: [{from: NAME, to: [NAME]}]");
    if (json_size(steps) > PIPE_MAX_STEPS)
        return gv_fail(err, GV_LIMIT, -1, "%zu steps, over the limit of %d", json_size(steps), PIPE_MAX_STEPS);
    p->name = copy(&p->a, json_get(top, "name"));
    if (!*p->name) p->name = "pipeline";
    p->description = copy(&p->a, json_get(top, "description"));
    p->version = copy(&p->a, info ? json_get(info, "version") : NULL);
    const size_t n = json_size(steps);
    p->steps = arena_alloc(&p->a, n * sizeof *p->steps);
    p->order = arena_alloc(&p->a, n * sizeof *p->order);
    size_t number = 0;
    for (json_iter it = json_each(steps); json_next(&it); number++)
        if (!add_step(p, it.value, number, err)) return false;
    for (size_t i = 0; i < n; i++) {
        p->steps[i].before = arena_alloc(&p->a, n * sizeof(size_t));
        p->steps[i].after = arena_alloc(&p->a, n * sizeof(size_t));
    }
    for (json_iter it = json_each(connections); json_next(&it);)
        if (!add_connection(p, it.value, err)) return false;
    return pipe_order(p, err);
}

/* ---- whole ---- */

/* The keys of full, the file as it was read, go to the steps, which are in the same order. */
static void take_keys(pipeline *p, const json_value *full) {
    size_t i = 0;
    for (json_iter it = json_each(json_get(json_get(full, "pipeline"), "steps")); json_next(&it); i++) {
        const json_value *llm = object_in(json_get(it.value, "step"), "llm"), *key = llm ? json_get(llm, "api_key") : NULL;
        if (!key) continue;
        const sv text = json_kind_of(key) == JSON_NUMBER ? json_number_text(key) : json_string(key);
        if (text.n) p->steps[i].api_key = arena_dup(&p->a, text.p, text.n);
    }
}

static bool build_without_keys(pipeline *p, json_doc *full, gv_err *err) {
    buf text = {0};
    pipe_put_typed(json_root(full), &text);
    p->doc = json_parse(buf_view(&text), err);
    buf_fini(&text);
    if (!p->doc) return false;
    p->root = json_root(p->doc);
    if (!build(p, err)) return false;
    take_keys(p, json_root(full));
    return true;
}

static json_doc *read_doc(sv bytes, const char *path, gv_err *err) {
    if (has_suffix(path, ".json")) return json_parse(bytes, err);
    if (has_suffix(path, ".yaml") || has_suffix(path, ".yml")) return yaml_parse(bytes, NULL, err);
    gv_fail(err, GV_USAGE, -1, "a pipeline file ends in .yaml, .yml or .json");
    return NULL;
}

pipeline *pipe_parse(sv bytes, const char *path, const char *const *params, size_t n_params, gv_err *err) {
    pipeline *p = gv_xcalloc(1, sizeof *p);
    arena_init(&p->a);
    buf text = {0};
    json_doc *doc = read_doc(bytes, path, err);
    bool ok = doc != NULL;
    if (!ok) gv_context(err, "%s", path);
    if (ok && n_params) { /* errors of the command line, not of the file */
        ok = pipe_put_params(json_root(doc), params, n_params, &text, err);
        json_free(doc);
        doc = ok ? json_parse(buf_view(&text), err) : NULL;
        ok = doc != NULL;
    }
    if (ok) {
        ok = build_without_keys(p, doc, err);
        if (!ok) gv_context(err, "%s", path);
    }
    json_free(doc);
    buf_fini(&text);
    if (ok) return p;
    pipe_free(p);
    return NULL;
}

pipeline *pipe_load(const char *path, const char *const *params, size_t n_params, const volatile sig_atomic_t *stop, gv_err *err) {
    buf bytes = {0};
    const bool ok =
        pipe_is_url(path) ? pipe_fetch(path, MAX_FILE_BYTES, stop, &bytes, err) : file_read_all(path, MAX_FILE_BYTES, &bytes, err);
    pipeline *p = ok ? pipe_parse(buf_view(&bytes), path, params, n_params, err) : NULL;
    buf_fini(&bytes);
    return p;
}

void pipe_free(pipeline *p) {
    if (!p) return;
    json_free(p->doc);
    arena_fini(&p->a);
    free(p);
}

/* ---- arguments ---- */

void pipe_put_value(const json_value *v, buf *out) {
    int64_t integer;
    double number;
    if (json_kind_of(v) == JSON_NUMBER && !json_int64(v, &integer) && json_double(v, &number))
        json_put_double(out, number);
    else
        json_put_value(out, v);
}

const json_value *pipe_arg(const json_value *object, const char *key) {
    const json_value *v = json_get(object, key);
    return v && json_kind_of(v) != JSON_NULL ? v : NULL;
}

static bool wrong(const pipe_step *s, const char *key, const char *want, const json_value *v, gv_err *err) {
    buf text = {0};
    json_put_value(&text, v);
    gv_fail(err, GV_FORMAT, -1, "step \"%s\": %s is %s, expected %s", s->name, key, str_show(buf_view(&text)).text, want);
    buf_fini(&text);
    return false;
}

bool pipe_arg_bool(const pipe_step *s, const json_value *object, const char *key, bool otherwise, bool *out, gv_err *err) {
    const json_value *v = pipe_arg(object, key);
    *out = otherwise;
    if (!v) return true;
    if (json_kind_of(v) != JSON_BOOL) return wrong(s, key, "true or false", v, err);
    *out = json_bool(v);
    return true;
}

bool pipe_arg_double(const pipe_step *s, const json_value *object, const char *key, double otherwise, double *out, gv_err *err) {
    const json_value *v = pipe_arg(object, key);
    char text[64], *end = text;
    *out = otherwise;
    if (!v || json_double(v, out)) return true;
    if (json_kind_of(v) == JSON_STRING && json_string(v).n && json_string(v).n < sizeof text) {
        snprintf(text, sizeof text, SV_FMT, SV_ARG(json_string(v)));
        *out = strtod(text, &end);
        if (*end == 0 && *out - *out == 0) return true;
    }
    return wrong(s, key, "a number", v, err);
}

bool pipe_arg_int(const pipe_step *s, const json_value *object, const char *key, int64_t otherwise, int64_t *out, gv_err *err) {
    const json_value *v = pipe_arg(object, key);
    double number = 0;
    *out = otherwise;
    if (!v || json_int64(v, out)) return true;
    if (!pipe_arg_double(s, object, key, 0, &number, err)) return false;
    if (!(number > -9e15 && number < 9e15) || number != (double)(int64_t)number) return wrong(s, key, "an integer", v, err);
    *out = (int64_t)number;
    return true;
}

bool pipe_arg_text(const pipe_step *s, const json_value *object, const char *key, const char *otherwise, arena *a, const char **out,
                   gv_err *err) {
    const json_value *v = pipe_arg(object, key);
    *out = otherwise;
    if (!v) return true;
    if (json_kind_of(v) != JSON_STRING || memchr(json_string(v).p, 0, json_string(v).n)) return wrong(s, key, "text", v, err);
    *out = arena_dup(a, json_string(v).p, json_string(v).n);
    return true;
}
