/* The graph of a pipeline: order, roots, joins, and which columns arrive at each step.  Messages of distilabel's DAG where it has one. */
#include "judge/pystr.h"
#include "pipe/columns.h"
#include "pipe/pipe_internal.h"

#include <stdlib.h>

#define DOCS "\n\nFor further information visit 'https://distilabel.argilla.io/latest/sections/how_to_guides/basic/step/#"

/* Kahn's algorithm; among the ready ones the first of the file goes first. */
bool pipe_order(pipeline *p, gv_err *err) {
    size_t *waits = gv_xcalloc(p->n_steps, sizeof *waits), n = 0;
    for (size_t i = 0; i < p->n_steps; i++) waits[i] = p->steps[i].n_before;
    while (n < p->n_steps) {
        size_t i = 0;
        while (i < p->n_steps && waits[i] != 0) i++;
        if (i == p->n_steps) break;
        waits[i] = SIZE_MAX;
        p->order[n++] = i;
        for (size_t k = 0; k < p->steps[i].n_after; k++) waits[p->steps[i].after[k]]--;
    }
    const bool ok = n == p->n_steps;
    for (size_t i = 0; !ok && i < p->n_steps; i++)
        for (size_t k = 0; waits[i] != SIZE_MAX && k < p->steps[i].n_before; k++) {
            const size_t from = p->steps[i].before[k];
            if (waits[from] == SIZE_MAX) continue;
            gv_fail(err, GV_FORMAT, -1, "Cannot add edge from '%s' to '%s' as it would create a cycle.", p->steps[from].name,
                    p->steps[i].name);
        }
    free(waits);
    return ok;
}

/* A function that sends each batch to some of the steps behind `step` changes the rows, unless it chooses all of them. */
static bool check_routing(const pipeline *p, const json_value *r, gv_err *err) {
    const json_value *step = json_get(r, "step"), *info = json_get(r, "type_info"), *kwargs = info ? json_get(info, "kwargs") : NULL;
    const json_value *n = kwargs ? json_get(kwargs, "n") : NULL;
    const sv name = step ? json_string(step) : (sv){"", 0}, type = pipe_type_name(r);
    int64_t chosen = 0;
    size_t i = 0;
    while (i < p->n_steps && !sv_is(name, p->steps[i].name)) i++;
    if (i == p->n_steps)
        return gv_fail(err, GV_FORMAT, -1, "pipeline.routing_batch_functions: \"%s\" routes the rows of \"%s\", which is no step",
                       type.n ? str_show(type).text : "a function without a name", str_show(name).text);
    if (sv_is(type, "sample_n_steps") && n && json_int64(n, &chosen) && chosen >= (int64_t)p->steps[i].n_after) return true;
    return gv_fail(
        err, GV_UNSUPPORTED, -1,
        "step \"%s\": the routing batch function \"%s\" sends each batch to some of the steps behind it; gavel sends every row to "
        "all. Remove it from routing_batch_functions, or split the rows before judging",
        str_show(name).text, type.n ? str_show(type).text : "without a name");
}

bool pipe_check_graph(const pipeline *p, bool has_dataset, gv_err *err) {
    for (size_t i = 0; i < p->n_steps; i++) {
        const pipe_step *s = &p->steps[i];
        if (pipe_is_source(s->kind)) {
            if (s->n_before)
                return gv_fail(err, GV_FORMAT, -1, "step \"%s\" loads rows (%s), but \"%s\" leads to it; a loading step comes first",
                               s->name, s->class_name, p->steps[s->before[0]].name);
            continue;
        }
        if (s->n_before == 0 && !has_dataset)
            return gv_fail(err, GV_FORMAT, -1,
                           "Step '%s' cannot be a root step because it is not a `GeneratorStep`. It should have a previous step in the "
                           "pipeline." DOCS "types-of-steps'",
                           s->name);
        if (s->n_before > 1 && s->kind != PIPE_GROUP && s->kind != PIPE_COMBINE)
            return gv_fail(err, GV_FORMAT, -1,
                           "step \"%s\" (%s) takes rows from one step, but %zu lead to it; join them with GroupColumns or "
                           "CombineOutputs",
                           s->name, s->class_name, s->n_before);
    }
    const json_value *top = json_get(p->root, "pipeline"), *routing = json_get(top, "routing_batch_functions");
    if (routing && json_kind_of(routing) == JSON_ARRAY)
        for (json_iter it = json_each(routing); json_next(&it);)
            if (!check_routing(p, it.value, err)) return false;
    return true;
}

/* ---- columns ---- */

static bool has(const pipe_names *v, sv name) {
    for (size_t i = 0; i < v->n; i++)
        if (sv_eq(v->v[i], name)) return true;
    return false;
}

static void add(pipe_names *v, sv name, arena *a) {
    if (has(v, name)) return;
    if ((v->n & (v->n - 1)) == 0) { /* a power of two: double */
        sv *more = arena_alloc(a, (v->n ? 2 * v->n : 1) * sizeof *more);
        if (v->n) memcpy(more, v->v, v->n * sizeof *more);
        v->v = more;
    }
    v->v[v->n++] = name;
}

static void put_list(buf *out, const pipe_names *v) {
    buf_add_char(out, '[');
    for (size_t i = 0; i < v->n; i++) {
        if (i) buf_add_str(out, ", ");
        py_repr_string(out, v->v[i]);
    }
    buf_add_char(out, ']');
}

const json_value *pipe_arg_map(const pipe_step *s, const char *mappings) {
    return pipe_arg(s->json, mappings); /* pipe_check has seen that it is an object of texts */
}

sv pipe_mapped(const pipe_step *s, const char *mappings, sv name) {
    const json_value *map = pipe_arg_map(s, mappings), *to = map ? json_get_sv(map, name) : NULL;
    return to ? json_string(to) : name;
}

void pipe_step_inputs(const pipe_step *s, arena *a, pipe_names *out) {
    const json_value *columns = pipe_arg(s->json, "columns"), *mode = pipe_arg(s->json, "mode"),
                     *reference = pipe_arg(s->json, "reference");
    *out = (pipe_names){0};
    if (s->kind == PIPE_JUDGE) {
        const bool relative = mode && sv_is(json_string(mode), "relative");
        add(out, SV("instruction"), a);
        add(out, relative ? SV("generations") : SV("generation"), a);
        if (reference && json_bool(reference)) add(out, SV("reference"), a);
    } else if (columns) {
        for (json_iter it = json_each(columns); json_next(&it);)
            add(out, json_kind_of(columns) == JSON_OBJECT ? it.key : json_string(it.value), a);
    }
}

void pipe_step_outputs(const pipe_step *s, arena *a, pipe_names *out) {
    const json_value *columns = pipe_arg(s->json, "columns"), *names = pipe_arg(s->json, "output_columns");
    *out = (pipe_names){0};
    if (s->kind == PIPE_JUDGE) {
        add(out, SV("feedback"), a);
        add(out, SV("result"), a);
        add(out, SV("model_name"), a);
    } else if (s->kind == PIPE_GROUP && names) {
        for (json_iter it = json_each(names); json_next(&it);) add(out, json_string(it.value), a);
    } else if (s->kind == PIPE_GROUP && columns) {
        for (json_iter it = json_each(columns); json_next(&it);) {
            const sv c = json_string(it.value);
            add(out, sv_of(arena_printf(a, "grouped_" SV_FMT, SV_ARG(c))), a);
        }
    } else if (columns) {
        for (json_iter it = json_each(columns); json_next(&it);) add(out, json_string(it.value), a);
    }
}

/* Are the keys of a mapping names that the step has?  Of loading steps that is known with their rows. */
static bool check_mapping(const pipe_step *s, bool inputs, const pipe_names *own, gv_err *err) {
    const json_value *map = pipe_arg(s->json, inputs ? "input_mappings" : "output_mappings");
    if (!map) return true;
    const char *which = inputs ? "input" : "output";
    for (json_iter it = json_each(map); json_next(&it);) {
        if (has(own, it.key) || (pipe_is_source(s->kind) && has(own, json_string(it.value)))) continue;
        buf list = {0};
        put_list(&list, own);
        gv_fail(err, GV_USAGE, -1,
                "The %s column '" SV_FMT "' doesn't exist in the %ss of the step '%s'. %s of the step are: %s. Please, review the "
                "`%ss_mappings` argument of the step." DOCS "arguments'",
                which, SV_ARG(it.key), which, s->name, inputs ? "Inputs" : "Outputs", list.p, which);
        buf_fini(&list);
        return false;
    }
    return true;
}

static bool missing(const pipe_step *s, const pipe_names *need, const pipe_names *have, arena *a, gv_err *err) {
    pipe_names lost = {0};
    buf text = {0};
    for (size_t i = 0; i < need->n; i++)
        if (!has(have, need->v[i])) add(&lost, need->v[i], a);
    if (lost.n == 0) return true;
    buf_printf(&text, "Step '%s' requires inputs ", s->name);
    put_list(&text, need);
    buf_add_str(&text, ", but only the inputs=");
    put_list(&text, have);
    buf_add_str(&text, " are available, which means that the inputs=");
    put_list(&text, &lost);
    buf_printf(&text,
               " are missing or not available when the step gets to be executed in the pipeline. Please make sure previous steps to "
               "'%s' are generating the required inputs.",
               s->name);
    gv_fail(err, GV_USAGE, -1, "%s", text.p);
    buf_fini(&text);
    return false;
}

static bool step_columns(const pipeline *p, size_t i, pipe_names *at, arena *a, gv_err *err) {
    const pipe_step *s = &p->steps[i];
    pipe_names have = {0}, need, made, mapped = {0}, out = {0};
    if (pipe_is_source(s->kind)) {
        if (!check_mapping(s, false, &at[i], err)) return false;
        for (size_t k = 0; k < at[i].n; k++) add(&out, pipe_mapped(s, "output_mappings", at[i].v[k]), a);
        at[i] = out;
        return true;
    }
    if (s->n_before == 0) have = at[i];
    for (size_t k = 0; k < s->n_before; k++)
        for (size_t c = 0; c < at[s->before[k]].n; c++) add(&have, at[s->before[k]].v[c], a);
    pipe_step_inputs(s, a, &need);
    pipe_step_outputs(s, a, &made);
    if (!check_mapping(s, true, &need, err) || !check_mapping(s, false, &made, err)) return false;
    for (size_t k = 0; k < need.n; k++) add(&mapped, pipe_mapped(s, "input_mappings", need.v[k]), a);
    if (!missing(s, &mapped, &have, a, err)) return false;
    for (size_t k = 0; k < made.n; k++) add(&out, pipe_mapped(s, "output_mappings", made.v[k]), a);
    for (size_t c = 0; s->kind != PIPE_KEEP && c < have.n; c++)
        if (s->kind != PIPE_GROUP || !has(&mapped, have.v[c])) add(&out, have.v[c], a);
    at[i] = out;
    return true;
}

bool pipe_check_columns(const pipeline *p, pipe_names *at, arena *a, gv_err *err) {
    for (size_t k = 0; k < p->n_steps; k++)
        if (!step_columns(p, p->order[k], at, a, err)) return false;
    return true;
}

static const char *judge_type(const pipe_step *s, sv name) {
    const json_value *mode = pipe_arg(s->json, "mode"), *group = pipe_arg(s->json, "group_generations");
    const bool lists = group && json_bool(group);
    const char *text = lists ? "list<element: string>" : "string", *number = lists ? "list<element: int64>" : "int64";
    if (sv_eq(name, pipe_mapped(s, "output_mappings", SV("model_name")))) return "string";
    if (sv_eq(name, pipe_mapped(s, "output_mappings", SV("feedback")))) return text;
    if (sv_eq(name, pipe_mapped(s, "output_mappings", SV("result")))) return mode && sv_is(json_string(mode), "relative") ? text : number;
    return NULL;
}

static bool renames(const pipe_step *s) {
    const json_value *in = pipe_arg_map(s, "input_mappings"), *out = pipe_arg_map(s, "output_mappings");
    return (in && json_size(in)) || (out && json_size(out));
}

/* Of a loading step's column, by the name that it has behind it. */
static const char *loaded_type(const pipe_step *s, const pipe_types *t, sv name) {
    for (size_t i = 0; i < t->n; i++)
        if (sv_eq(pipe_mapped(s, "output_mappings", t->names[i]), name) || sv_eq(t->names[i], name)) return t->types[i];
    return NULL;
}

/* Upwards, from step to step, as long as the column's name and values stay what they are. */
const char *pipe_column_type(const pipeline *p, const pipe_names *at, const pipe_types *loaded, size_t step, sv name) {
    for (;;) {
        const pipe_step *s = &p->steps[step];
        const char *type = s->kind == PIPE_JUDGE ? judge_type(s, name) : NULL;
        if (type) return type;
        if (pipe_is_source(s->kind)) return loaded_type(s, &loaded[step], name);
        if (s->kind == PIPE_GROUP || s->kind == PIPE_EXPAND || (s->kind != PIPE_JUDGE && renames(s))) return NULL;
        if (s->n_before == 0) return loaded_type(s, &loaded[step], name); /* fed by --dataset */
        size_t k = s->n_before;
        while (k > 0 && !has(&at[s->before[k - 1]], name)) k--;
        if (k == 0) return NULL;
        step = s->before[k - 1];
    }
}
