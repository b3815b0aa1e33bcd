/* Runtime parameters: STEP.PARAMETER[.KEY...]=VALUE put into the pipeline's JSON text.  See pipe.h.
 *
 * distilabel keeps values as text, replaces objects, and warns of unknown names; here a value is JSON (text if it is none), objects are merged,
 * and an unknown name is an error with the nearest one. */
#include "pipe/pipe_internal.h"

#include <stdlib.h>

enum { MAX_PARTS = 16 };

typedef struct param {
    char *text;
    char *part[MAX_PARTS + 1]; /* step, parameter, keys; NULL-terminated */
    size_t n;
    buf value; /* JSON text */
} param;

static bool parse_param(const char *text, param *p, gv_err *err) {
    const char *equals = strchr(text, '=');
    p->text = gv_xstrdup(text);
    if (equals) p->text[equals - text] = 0;
    char *rest = p->text;
    for (char *part; equals && (part = strsep(&rest, "."));) {
        if (!*part || p->n == MAX_PARTS)
            equals = NULL;
        else
            p->part[p->n++] = part;
    }
    if (!equals || p->n < 2)
        return gv_fail(err, GV_USAGE, -1, "--param %s: expected STEP.PARAMETER=VALUE, such as task.llm.generation_kwargs.temperature=0.7",
                       text);
    const sv value = sv_of(equals + 1);
    gv_err ignored = GV_ERR_INIT;
    json_doc *doc = json_parse(value, &ignored);
    if (doc)
        json_put_value(&p->value, json_root(doc));
    else
        json_put_string(&p->value, value);
    json_free(doc);
    return true;
}

static void fini_param(param *p) {
    free(p->text);
    buf_fini(&p->value);
}

static bool unknown(const char *text, const char *what, const char *name, const char *const *names, gv_err *err) {
    const char *near = nearest_name(name, names);
    buf list = {0};
    for (size_t i = 0; names[i]; i++) buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
    gv_fail(err, GV_USAGE, -1, "--param %s: no %s \"%s\"%s%s%s It has: %s", text, what, name, near ? "; did you mean " : ".",
            near ? near : "", near ? "?" : "", list.p ? list.p : "none");
    buf_fini(&list);
    return false;
}

static bool among(const char *name, const char *const *names) {
    for (; *names; names++)
        if (strcmp(name, *names) == 0) return true;
    return false;
}

static bool check_names(const param *p, const char *text, const json_value *step, gv_err *err) {
    const pipe_class *c = pipe_class_find(pipe_type_name(step));
    if (!c) return true; /* loading will say so */
    if (!among(p->part[1], c->params)) return unknown(text, "parameter", p->part[1], c->params, err);
    if (p->n == 2 || strcmp(p->part[1], "llm") != 0) return true;
    const json_value *llm = json_get(step, "llm");
    const pipe_llm_class *l = llm ? pipe_llm_class_find(pipe_type_name(llm)) : NULL;
    if (!l) return true;
    if (!among(p->part[2], l->params)) return unknown(text, "parameter", p->part[2], l->params, err);
    if (p->n > 3 && strcmp(p->part[2], "generation_kwargs") == 0 && !among(p->part[3], l->generation))
        return unknown(text, "generation keyword", p->part[3], l->generation, err);
    return true;
}

/* value with the members of the object `over` put over its own, recursively. */
static void put_merged(const json_value *value, const json_value *over, buf *out) {
    if (!value || json_kind_of(value) != JSON_OBJECT || json_kind_of(over) != JSON_OBJECT) {
        json_put_value(out, over);
        return;
    }
    bool any = false;
    buf_add_char(out, '{');
    for (json_iter it = json_each(value); json_next(&it); any = true) {
        const json_value *new = json_get_sv(over, it.key);
        if (any) buf_add_char(out, ',');
        json_put_string(out, it.key);
        buf_add_char(out, ':');
        if (new)
            put_merged(it.value, new, out);
        else
            json_put_value(out, it.value);
    }
    for (json_iter it = json_each(over); json_next(&it);) {
        if (json_get_sv(value, it.key)) continue;
        if (any) buf_add_char(out, ',');
        any = true;
        json_put_string(out, it.key);
        buf_add_char(out, ':');
        json_put_value(out, it.value);
    }
    buf_add_char(out, '}');
}

static const json_value *steps_of(const json_value *root) {
    const json_value *top = json_get(root, "pipeline");
    return top ? json_get(top, "steps") : NULL;
}

static bool is_step(const json_value *entry, const char *name) {
    const json_value *step = json_get(entry, "step"), *n = step ? json_get(step, "name") : NULL;
    return n && sv_is(json_string(n), name);
}

/* The parameter as an object of the step's: {"llm":{"generation_kwargs":{"temperature":0.7}}}. */
static json_doc *as_object(const param *p, gv_err *err) {
    buf text = {0};
    for (size_t i = 1; i < p->n; i++) {
        buf_add_char(&text, '{');
        json_put_string(&text, sv_of(p->part[i]));
        buf_add_char(&text, ':');
    }
    buf_add_sv(&text, buf_view(&p->value));
    for (size_t i = 1; i < p->n; i++) buf_add_char(&text, '}');
    json_doc *doc = json_parse(buf_view(&text), err);
    buf_fini(&text);
    return doc;
}

static void put_steps(const json_value *steps, const char *name, const json_value *over, buf *out) {
    bool any = false;
    buf_add_char(out, '[');
    for (json_iter it = json_each(steps); json_next(&it); any = true) {
        if (any) buf_add_char(out, ',');
        if (!is_step(it.value, name)) {
            json_put_value(out, it.value);
            continue;
        }
        bool first = true;
        buf_add_char(out, '{');
        for (json_iter m = json_each(it.value); json_next(&m); first = false) {
            if (!first) buf_add_char(out, ',');
            json_put_string(out, m.key);
            buf_add_char(out, ':');
            if (sv_is(m.key, "step"))
                put_merged(m.value, over, out);
            else
                json_put_value(out, m.value);
        }
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

/* An object's text with one member's made by put_steps: root -> pipeline -> steps. */
static void put_root(const json_value *root, const char *name, const json_value *over, buf *out) {
    bool any = false;
    buf_add_char(out, '{');
    for (json_iter it = json_each(root); json_next(&it); any = true) {
        if (any) buf_add_char(out, ',');
        json_put_string(out, it.key);
        buf_add_char(out, ':');
        if (sv_is(it.key, "pipeline"))
            put_root(it.value, name, over, out);
        else if (sv_is(it.key, "steps"))
            put_steps(it.value, name, over, out);
        else
            json_put_value(out, it.value);
    }
    buf_add_char(out, '}');
}

static bool put_one(const json_value *root, const char *text, buf *out, gv_err *err) {
    param p = {0};
    bool ok = parse_param(text, &p, err);
    const json_value *steps = steps_of(root), *step = NULL;
    const char *names[PIPE_MAX_STEPS + 1] = {0};
    size_t n = 0;
    arena a;
    arena_init(&a);
    for (json_iter it = json_each(steps); ok && json_next(&it) && n < PIPE_MAX_STEPS;) {
        const json_value *s = json_get(it.value, "step"), *name = s ? json_get(s, "name") : NULL;
        if (!name) continue;
        names[n++] = arena_dup(&a, json_string(name).p, json_string(name).n);
        if (sv_is(json_string(name), p.part[0])) step = s;
    }
    if (ok && !step) ok = unknown(text, "step", p.part[0], names, err);
    if (ok) ok = check_names(&p, text, step, err);
    json_doc *over = ok ? as_object(&p, err) : NULL;
    if (over) put_root(root, p.part[0], json_root(over), out);
    json_free(over);
    arena_fini(&a);
    fini_param(&p);
    return over != NULL;
}

bool pipe_put_params(const json_value *root, const char *const *params, size_t n, buf *out, gv_err *err) {
    json_put_value(out, root);
    for (size_t i = 0; i < n; i++) {
        buf next = {0};
        json_doc *doc = json_parse(buf_view(out), err);
        const bool ok = doc && put_one(json_root(doc), params[i], &next, err);
        json_free(doc);
        buf_fini(out);
        *out = next;
        if (!ok) return false;
    }
    return true;
}
