/* Arguments against the tables of names.c: put into their types when a file is loaded, and checked before it runs, by one rule for both.
 *
 * A pipeline is written again, into a journal, a folder, a repository, so what is secret leaves it here: arguments that names.c calls secret, and, where
 * no table says what a member is (unknown arguments, extra_kwargs, model_kwargs), members with the name of a secret. */
#include "judge/pystr.h"
#include "pipe/pipe_internal.h"

#include <stdio.h>
#include <strings.h>

#define NOT_SHOWN "(not shown)"

const pipe_param *pipe_param_members(const pipe_param *p, const json_value *object) {
    if (p->type == ARG_RESOURCES) return pipe_resource_params;
    const pipe_llm_class *c = p->type == ARG_LLM && object ? pipe_llm_class_find(pipe_type_name(object)) : NULL;
    return c ? c->params : NULL;
}

/* ---- one value ---- */

static bool put_bool(const json_value *v, buf *out) {
    bool value;
    if (!py_bool(v, &value)) return false;
    buf_add_str(out, value ? "true" : "false");
    return true;
}

static bool put_number(const pipe_param *p, const json_value *v, buf *out) {
    const bool text = json_kind_of(v) == JSON_STRING, integer = p->type == ARG_INT;
    const sv s = text ? py_strip(json_string(v)) : (sv){"", 0};
    gv_err ignored = GV_ERR_INIT;
    json_doc *doc = text ? json_parse(s, &ignored) : NULL; /* "50" */
    const json_value *n = text ? (doc ? json_root(doc) : NULL) : v;
    int64_t i = 0;
    double d = 0;
    bool ok = n && json_double(n, &d);
    if (ok && integer && !json_int64(n, &i)) { /* 50.0 */
        ok = d > -9e15 && d < 9e15 && d == (double)(int64_t)d;
        i = ok ? (int64_t)d : 0;
    }
    ok = ok && (integer ? i >= p->least : d >= (double)p->least);
    if (ok && integer)
        json_put_int(out, i);
    else if (ok)
        json_put_value(out, n);
    json_free(doc);
    return ok;
}

/* A commit may be all digits, which YAML and JSON take for a number. */
static bool put_text(const json_value *v, buf *out) {
    if (json_kind_of(v) != JSON_STRING && json_kind_of(v) != JSON_NUMBER) return false;
    const sv text = json_kind_of(v) == JSON_STRING ? json_string(v) : json_number_text(v);
    if (memchr(text.p, 0, text.n)) return false;
    json_put_string(out, text);
    return true;
}

static bool all_texts(const json_value *v) {
    for (json_iter it = json_each(v); json_next(&it);)
        if (json_kind_of(it.value) != JSON_STRING) return false;
    return true;
}

static bool is_files(const json_value *v, bool nested) {
    if (json_kind_of(v) == JSON_STRING) return json_string(v).n > 0;
    if (json_kind_of(v) == JSON_ARRAY) return json_size(v) > 0 && all_texts(v);
    if (nested || json_kind_of(v) != JSON_OBJECT || json_size(v) == 0) return false;
    for (json_iter it = json_each(v); json_next(&it);)
        if (!is_files(it.value, true)) return false;
    return true;
}

/* A value that holds no secret as what the parameter holds; nothing is put, and false, if it is not that. */
static bool put_value(const pipe_param *p, const json_value *v, buf *out) {
    const json_kind kind = json_kind_of(v);
    bool ok = true;
    switch (p->type) {
    case ARG_BOOL: return put_bool(v, out);
    case ARG_BOOL_OR_NAMES:
        if (kind != JSON_ARRAY) return put_bool(v, out);
        ok = all_texts(v);
        break;
    case ARG_INT:
    case ARG_NUMBER: return put_number(p, v, out);
    case ARG_TEXT: return put_text(v, out);
    case ARG_MAP: ok = kind == JSON_OBJECT && all_texts(v); break;
    case ARG_FILES: ok = is_files(v, false); break;
    case ARG_OBJECT:
    case ARG_RESOURCES:
    case ARG_LLM:
    case ARG_KWARGS:
    case ARG_SECRETS: ok = kind == JSON_OBJECT; break;
    case ARG_SECRET: ok = false; break; /* one that is a text has left */
    case ARG_ANY: break;
    }
    if (ok) json_put_value(out, v);
    return ok;
}

static const char *expected(const pipe_param *p, char text[64]) {
    switch (p->type) {
    case ARG_BOOL: return "true or false";
    case ARG_BOOL_OR_NAMES: return "true, false or a list of names";
    case ARG_INT:
        if (p->least == INT64_MIN) return "an integer";
        snprintf(text, 64, "an integer from %lld", (long long)p->least);
        return text;
    case ARG_NUMBER: snprintf(text, 64, "a number from %lld", (long long)p->least); return text;
    case ARG_TEXT:
    case ARG_SECRET: return "text";
    case ARG_MAP: return "an object of name: column";
    case ARG_FILES: return "a path, a list of paths, or an object of these";
    default: return "an object";
    }
}

/* ---- loading ---- */

static bool is_secret_name(sv name) {
    static const char *const names[] = {"api_key",     "apikey",     "api-key",         "x-api-key",      "token",
                                        "hf_token",    "auth_token", "access_token",    "use_auth_token", "authorization",
                                        "password",    "passwd",     "secret",          "client_secret",  "secret_key",
                                        "credentials", "headers",    "default_headers", "extra_headers",  NULL};
    for (const char *const *n = names; *n; n++)
        if (name.n == strlen(*n) && strncasecmp(name.p, *n, name.n) == 0) return true;
    return false;
}

static bool has_secret_name(const json_value *v) {
    for (json_iter it = json_each(v); json_next(&it);)
        if ((json_kind_of(v) == JSON_OBJECT && is_secret_name(it.key)) || has_secret_name(it.value)) return true;
    return false;
}

/* The parser has bounded the depth. */
static void put_free(const json_value *v, buf *out) {
    const bool object = json_kind_of(v) == JSON_OBJECT;
    bool first = true;
    if (!object && json_kind_of(v) != JSON_ARRAY) {
        json_put_value(out, v);
        return;
    }
    buf_add_char(out, object ? '{' : '[');
    for (json_iter it = json_each(v); json_next(&it);) {
        if (object && is_secret_name(it.key)) continue;
        if (!first) buf_add_char(out, ',');
        first = false;
        if (object) {
            json_put_string(out, it.key);
            buf_add_char(out, ':');
        }
        put_free(it.value, out);
    }
    buf_add_char(out, object ? '}' : ']');
}

/* The keys alone, so that it can be said that they are there. */
static void put_blanked(const json_value *v, buf *out) {
    bool first = true;
    if (json_kind_of(v) != JSON_OBJECT) {
        json_put_string(out, SV(NOT_SHOWN));
        return;
    }
    buf_add_char(out, '{');
    for (json_iter it = json_each(v); json_next(&it); first = false) {
        if (!first) buf_add_char(out, ',');
        json_put_string(out, it.key);
        buf_add_str(out, ":null");
    }
    buf_add_char(out, '}');
}

/* True and False, which --param takes as texts, are bools: but for stop no keyword is a text.  A keyword that is or holds a secret is kept without its
 * value, for pipe_check_args: it would be sent and not be ignored. */
static void put_kwargs(const json_value *v, buf *out) {
    bool first = true;
    buf_add_char(out, '{');
    for (json_iter it = json_each(v); json_next(&it); first = false) {
        const sv text = json_kind_of(it.value) == JSON_STRING && !sv_is(it.key, "stop") ? json_string(it.value) : (sv){"", 0};
        if (!first) buf_add_char(out, ',');
        json_put_string(out, it.key);
        buf_add_char(out, ':');
        if (is_secret_name(it.key) || has_secret_name(it.value))
            json_put_string(out, SV(NOT_SHOWN));
        else if (sv_is(text, "True") || sv_is(text, "False"))
            buf_add_str(out, sv_is(text, "True") ? "true" : "false");
        else
            json_put_value(out, it.value);
    }
    buf_add_char(out, '}');
}

static void put_members(const json_value *object, const pipe_param *params, buf *out);

static void put_typed(const pipe_param *p, const json_value *v, buf *out) {
    const bool object = json_kind_of(v) == JSON_OBJECT;
    if (json_kind_of(v) == JSON_NULL)
        buf_add_str(out, "null");
    else if (p->type == ARG_SECRET)
        json_put_string(out, SV(NOT_SHOWN));
    else if (p->type == ARG_SECRETS)
        put_blanked(v, out);
    else if (object && (p->type == ARG_RESOURCES || p->type == ARG_LLM))
        put_members(v, pipe_param_members(p, v), out);
    else if (object && p->type == ARG_KWARGS)
        put_kwargs(v, out);
    else if (p->type == ARG_OBJECT)
        put_free(v, out);
    else if (!put_value(p, v, out))
        json_put_value(out, v);
}

/* params NULL: of a class that is not known. */
static void put_members(const json_value *object, const pipe_param *params, buf *out) {
    bool first = true;
    buf_add_char(out, '{');
    for (json_iter it = json_each(object); json_next(&it);) {
        const pipe_param *p = pipe_param_find(params, it.key);
        const json_kind kind = json_kind_of(it.value);
        if (p && p->type == ARG_SECRET && (kind == JSON_STRING || kind == JSON_NUMBER)) continue;
        if (!p && is_secret_name(it.key)) continue;
        if (!first) buf_add_char(out, ',');
        first = false;
        json_put_string(out, it.key);
        buf_add_char(out, ':');
        if (p)
            put_typed(p, it.value, out);
        else
            put_free(it.value, out);
    }
    buf_add_char(out, '}');
}

/* One object of pipeline.steps: its arguments are those of the member "step". */
static void put_entry(const json_value *entry, buf *out) {
    bool first = true;
    if (json_kind_of(entry) != JSON_OBJECT) {
        put_free(entry, out);
        return;
    }
    buf_add_char(out, '{');
    for (json_iter it = json_each(entry); json_next(&it);) {
        if (is_secret_name(it.key)) continue;
        const bool step = sv_is(it.key, "step") && json_kind_of(it.value) == JSON_OBJECT;
        const pipe_class *c = step ? pipe_class_find(pipe_type_name(it.value)) : NULL;
        if (!first) buf_add_char(out, ',');
        first = false;
        json_put_string(out, it.key);
        buf_add_char(out, ':');
        if (step)
            put_members(it.value, c ? c->params : NULL, out);
        else
            put_free(it.value, out);
    }
    buf_add_char(out, '}');
}

/* root -> pipeline -> steps */
static void put_level(const json_value *v, const char *const *path, buf *out) {
    bool first = true;
    if (json_kind_of(v) != (*path ? JSON_OBJECT : JSON_ARRAY)) {
        put_free(v, out);
        return;
    }
    buf_add_char(out, *path ? '{' : '[');
    for (json_iter it = json_each(v); json_next(&it);) {
        if (*path && is_secret_name(it.key)) continue;
        if (!first) buf_add_char(out, ',');
        first = false;
        if (*path) {
            json_put_string(out, it.key);
            buf_add_char(out, ':');
        }
        if (!*path)
            put_entry(it.value, out);
        else if (sv_is(it.key, *path))
            put_level(it.value, path + 1, out);
        else
            put_free(it.value, out);
    }
    buf_add_char(out, *path ? '}' : ']');
}

void pipe_put_typed(const json_value *root, buf *out) {
    static const char *const path[] = {"pipeline", "steps", NULL};
    put_level(root, path, out);
}

/* ---- checking ---- */

static bool check_kwargs(const pipe_step *s, const json_value *kwargs, gv_err *err) {
    for (json_iter it = json_each(kwargs); json_next(&it);)
        if (sv_is(json_string(it.value), NOT_SHOWN))
            return gv_fail(
                err, GV_UNSUPPORTED, -1,
                "step \"%s\": llm.generation_kwargs.%s has a member with the name of a secret, which would be written with the pipeline; "
                "give a key as llm.api_key",
                s->name, str_show(it.key).text);
    return true;
}

static bool check_members(const pipe_step *s, const json_value *object, const pipe_param *params, const char *prefix, gv_err *err) {
    for (; params->name; params++) {
        const json_value *v = pipe_arg(object, params->name);
        const pipe_param *members = v ? pipe_param_members(params, v) : NULL;
        char want[64];
        buf text = {0}, path = {0};
        bool ok = !v || put_value(params, v, &text);
        buf_clear(&text);
        if (!ok) {
            json_put_value(&text, v);
            gv_fail(err, GV_FORMAT, -1, "step \"%s\": %s%s is %s, expected %s", s->name, prefix, params->name,
                    str_show(buf_view(&text)).text, expected(params, want));
        } else if (v && params->type == ARG_KWARGS) {
            ok = check_kwargs(s, v, err);
        } else if (members) {
            buf_printf(&path, "%s.", params->name);
            ok = check_members(s, v, members, path.p, err);
        }
        buf_fini(&text);
        buf_fini(&path);
        if (!ok) return false;
    }
    return true;
}

bool pipe_check_args(const pipe_step *s, gv_err *err) {
    return check_members(s, s->json, pipe_class_find(sv_of(s->class_name))->params, "", err);
}
