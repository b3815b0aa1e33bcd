/* Runtime parameters: STEP.PARAMETER[.KEY...]=VALUE put into the pipeline's JSON text.  See pipe.h.
 *
 * distilabel keeps values as text, replaces objects, and warns of unknown names; here a value is JSON (text if it is none, or where a text is
 * wanted), objects are merged, and an unknown name at any level is an error with the nearest one.  A message does not repeat the value, which may be
 * a key. */
#include "pipe/pipe_internal.h"

#include <stdlib.h>

enum { MAX_PARTS = 16, MAX_NAMES = 64 };

typedef struct param {
    char *text;
    char *part[MAX_PARTS + 1]; /* step, parameter, keys; NULL-terminated */
    size_t n;
    char *name; /* what stands before the value */
    sv given;   /* the value */
    buf value;  /* as JSON */
} param;

static bool split_param(const char *text, param *p, gv_err *err) {
    const char *equals = strchr(text, '=');
    p->text = gv_xstrdup(text);
    if (equals) p->text[equals - text] = 0;
    p->name = gv_xstrdup(p->text);
    p->given = equals ? sv_of(equals + 1) : (sv){"", 0};
    char *rest = p->text;
    for (char *part; equals && (part = strsep(&rest, "."));) {
        if (!*part || p->n == MAX_PARTS)
            equals = NULL;
        else
            p->part[p->n++] = part;
    }
    return (equals && p->n >= 2) ||
           gv_fail(err, GV_USAGE, -1, "--param %s: expected STEP.PARAMETER=VALUE, such as task.llm.generation_kwargs.temperature=0.7",
                   p->name);
}

/* The argument that the dotted name leads to, NULL if no table has it. */
static const pipe_param *find_argument(const param *p, const json_value *step) {
    const pipe_class *c = pipe_class_find(pipe_type_name(step));
    const pipe_param *params = c ? c->params : NULL, *found = NULL;
    for (size_t i = 1; i < p->n; i++) {
        found = pipe_param_find(params, sv_of(p->part[i]));
        if (!found) return NULL;
        step = json_get(step, p->part[i]);
        params = pipe_param_members(found, step);
    }
    return found;
}

/* Where a text is wanted a value is that, to the byte: a template may begin with a brace, a commit be all digits. */
static bool parse_value(param *p, const pipe_param *argument, gv_err *err) {
    const bool text = argument && (argument->type == ARG_TEXT || argument->type == ARG_SECRET);
    gv_err why = GV_ERR_INIT;
    json_doc *doc = json_parse(p->given, &why);
    const json_kind kind = doc ? json_kind_of(json_root(doc)) : JSON_STRING;
    const bool braces = p->given.n && (p->given.p[0] == '{' || p->given.p[0] == '[');
    if (doc && (!text || kind == JSON_STRING || kind == JSON_NULL))
        json_put_value(&p->value, json_root(doc));
    else if (text || !braces)
        json_put_string(&p->value, p->given);
    else
        gv_fail(err, GV_USAGE, -1, "--param %s: the value is no JSON: %s", p->name, why.msg);
    json_free(doc);
    return p->value.n > 0;
}

static void fini_param(param *p) {
    free(p->text);
    free(p->name);
    buf_fini(&p->value);
}

static bool unknown(const param *p, const char *what, const char *name, const char *const *names, gv_err *err) {
    const char *near = nearest_name(name, names);
    buf list = {0};
    for (size_t i = 0; names[i]; i++) buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
    gv_fail(err, GV_USAGE, -1, "--param %s: no %s \"%s\"%s%s%s It has: %s", p->name, what, str_show(sv_of(name)).text,
            near ? "; did you mean " : ".", near ? near : "", near ? "?" : "", list.p ? list.p : "none");
    buf_fini(&list);
    return false;
}

static bool unknown_key(const param *p, const char *what, sv key, const char *const *names, gv_err *err) {
    buf name = {0};
    buf_add_sv(&name, key);
    unknown(p, what, name.p ? name.p : "", names, err);
    buf_fini(&name);
    return false;
}

static bool unknown_member(const param *p, sv key, const pipe_param *params, gv_err *err) {
    const char *names[MAX_NAMES + 1];
    size_t n = 0;
    for (; params[n].name && n < MAX_NAMES; n++) names[n] = params[n].name;
    names[n] = NULL;
    return unknown_key(p, "parameter", key, names, err);
}

static bool check_keywords(const param *p, const json_value *over, const pipe_llm_class *c, gv_err *err) {
    for (json_iter it = json_each(over); c && json_next(&it);) {
        const char *const *name = c->generation;
        while (*name && !sv_is(it.key, *name)) name++;
        if (!*name) return unknown_key(p, "generation keyword", it.key, c->generation, err);
    }
    return true;
}

/* The names in `over`, which has been put over `object`. */
static bool check_names(const param *p, const json_value *over, const json_value *object, const pipe_param *params, gv_err *err) {
    const pipe_llm_class *llm = pipe_llm_class_find(pipe_type_name(object));
    for (json_iter it = json_each(over); json_next(&it);) {
        const pipe_param *found = pipe_param_find(params, it.key);
        const json_value *merged = json_get_sv(object, it.key);
        const pipe_param *members = found ? pipe_param_members(found, merged) : NULL;
        if (llm && sv_is(it.key, "type_info")) continue; /* another class */
        if (!found) return unknown_member(p, it.key, params, err);
        if (json_kind_of(it.value) != JSON_OBJECT) continue;
        if (members && !check_names(p, it.value, merged, members, err)) return false;
        if (found->type == ARG_KWARGS && !check_keywords(p, it.value, llm, err)) return false;
    }
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

static const json_value *find_step(const json_value *root, const char *name) {
    for (json_iter it = json_each(steps_of(root)); json_next(&it);)
        if (is_step(it.value, name)) return json_get(it.value, "step");
    return NULL;
}

static bool no_such_step(const param *p, const json_value *root, gv_err *err) {
    const char *names[PIPE_MAX_STEPS + 1] = {0};
    size_t n = 0;
    arena a;
    arena_init(&a);
    for (json_iter it = json_each(steps_of(root)); json_next(&it) && n < PIPE_MAX_STEPS;) {
        const json_value *step = json_get(it.value, "step"), *name = step ? json_get(step, "name") : NULL;
        if (name) names[n++] = arena_dup(&a, json_string(name).p, json_string(name).n);
    }
    unknown(p, "step", p->part[0], names, err);
    arena_fini(&a);
    return false;
}

/* A class that is not known is for loading to refuse. */
static bool check_merged(const param *p, sv merged, const json_value *over, gv_err *err) {
    json_doc *doc = json_parse(merged, err);
    const json_value *step = doc ? find_step(json_root(doc), p->part[0]) : NULL;
    const pipe_class *c = step ? pipe_class_find(pipe_type_name(step)) : NULL;
    const bool ok = doc && (!c || check_names(p, over, step, c->params, err));
    json_free(doc);
    return ok;
}

static bool put_one(const json_value *root, const char *text, buf *out, gv_err *err) {
    param p = {0};
    json_doc *over = NULL;
    bool ok = split_param(text, &p, err);
    const json_value *step = ok ? find_step(root, p.part[0]) : NULL;
    if (ok && !step) ok = no_such_step(&p, root, err);
    ok = ok && parse_value(&p, find_argument(&p, step), err) && (over = as_object(&p, err));
    if (ok) {
        put_root(root, p.part[0], json_root(over), out);
        ok = check_merged(&p, buf_view(out), json_root(over), err);
    }
    json_free(over);
    fini_param(&p);
    return ok;
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
