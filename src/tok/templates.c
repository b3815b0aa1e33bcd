/* Chat templates of a tokenizer, by name.  Most have one, which counts as "default".  In configuration files chat_template is that one's text, or
 * a list of {name, template}, or an object of texts by name; a GGUF has the others as tokenizer.chat_template.NAME. */
#include "tok/tok_internal.h"

#include <stdlib.h>

enum { MAX_TEMPLATES = 64, MAX_NAME = 64 };

static tok_template *find(const tok *t, sv name) {
    for (size_t i = 0; i < t->n_templates; i++)
        if (sv_eq(buf_view(&t->templates[i].name), name)) return &t->templates[i];
    return NULL;
}

void tok_clear_templates(tok *t) {
    for (size_t i = 0; i < t->n_templates; i++) {
        buf_fini(&t->templates[i].name);
        buf_fini(&t->templates[i].text);
    }
    free(t->templates);
    t->templates = NULL;
    t->n_templates = 0;
}

bool tok_add_template(tok *t, sv name, sv text, const char *from, gv_err *err) {
    if (name.n == 0 || name.n > MAX_NAME)
        return gv_fail(err, GV_LIMIT, -1, "%s: a chat template's name has %zu bytes, expected 1 to %d", from, name.n, MAX_NAME);
    if (text.n > TOK_MAX_TEMPLATE)
        return gv_fail(err, GV_LIMIT, -1, "%s: chat_template has %zu bytes; at most %zu are read", from, text.n, TOK_MAX_TEMPLATE);
    if (text.n == 0) return true; /* no template */
    tok_template *m = find(t, name);
    if (!m && t->n_templates == MAX_TEMPLATES) return gv_fail(err, GV_LIMIT, -1, "%s: more than %d chat templates", from, MAX_TEMPLATES);
    if (!m) {
        t->templates = gv_xrealloc(t->templates, (t->n_templates + 1) * sizeof *t->templates);
        m = &t->templates[t->n_templates++];
        *m = (tok_template){0};
        buf_add_sv(&m->name, name);
    }
    buf_clear(&m->text); /* of two with one name the last counts, as in transformers */
    buf_add_sv(&m->text, text);
    t->templates_from = from;
    return true;
}

static bool add_named(tok *t, const json_value *name, const json_value *text, size_t i, const char *from, gv_err *err) {
    if (name && json_kind_of(name) == JSON_STRING && text && json_kind_of(text) == JSON_STRING)
        return tok_add_template(t, json_string(name), json_string(text), from, err);
    return gv_fail(err, GV_FORMAT, -1, "%s: chat_template[%zu] is no object with texts \"name\" and \"template\"", from, i);
}

bool tok_read_templates(tok *t, const json_value *v, const char *from, gv_err *err) {
    size_t i = 0;
    if (!v || json_kind_of(v) == JSON_NULL) return true;
    switch (json_kind_of(v)) {
    case JSON_STRING: return tok_add_template(t, SV("default"), json_string(v), from, err);
    case JSON_ARRAY:
        for (json_iter it = json_each(v); json_next(&it); i++)
            if (!add_named(t, json_get(it.value, "name"), json_get(it.value, "template"), i, from, err)) return false;
        return true;
    case JSON_OBJECT:
        for (json_iter it = json_each(v); json_next(&it);) {
            if (json_kind_of(it.value) != JSON_STRING)
                return gv_fail(err, GV_FORMAT, -1, "%s: chat_template.%s is %s, expected a text", from, str_show(it.key).text,
                               json_kind_name(it.value));
            if (!tok_add_template(t, it.key, json_string(it.value), from, err)) return false;
        }
        return true;
    default:
        return gv_fail(err, GV_FORMAT, -1, "%s: chat_template is %s, expected a text, a list of {name, template} or an object of texts",
                       from, json_kind_name(v));
    }
}

bool tok_config_template(const json_value *config, buf *out, gv_err *err) {
    static const char from[] = "tokenizer_config.json";
    tok *t = tok_new(err);
    buf names = {0};
    bool ok = t && tok_read_templates(t, json_get(config, "chat_template"), from, err);
    if (ok) tok_put_template_names(t, &names);
    if (ok && names.n && tok_chat_template(t).n == 0)
        ok = gv_fail(err, GV_USAGE, -1, "%s has chat templates by name, but none is \"default\": %s", from, names.p);
    if (ok) buf_add_sv(out, tok_chat_template(t));
    tok_free(t);
    buf_fini(&names);
    return ok;
}

/* ---- GGUF ---- */

bool tok_templates_from_gguf(tok *t, const gguf *g, gv_err *err) {
    static const char from[] = "the GGUF";
    sv text = {0};
    bool found;
    gguf_array names;
    size_t pos = 0;
    if (!gguf_get_string(g, "tokenizer.chat_template", &text, &found, err)) return false;
    if (found && !tok_add_template(t, SV("default"), text, from, err)) return false;
    if (gguf_find_key(g, "tokenizer.chat_templates") == SIZE_MAX) return true;
    if (!gguf_get_array(g, "tokenizer.chat_templates", GGUF_STRING, &names, NULL, err)) return false;
    if (names.n > MAX_TEMPLATES)
        return gv_fail(err, GV_LIMIT, -1, "tokenizer.chat_templates has %llu names, at most %d", (unsigned long long)names.n,
                       MAX_TEMPLATES);
    for (uint64_t i = 0; i < names.n; i++) {
        const sv name = gguf_array_string(&names, &pos);
        buf key = {0};
        buf_printf(&key, "tokenizer.chat_template." SV_FMT, SV_ARG(name));
        const bool ok = gguf_get_string(g, key.p, &text, NULL, err) && tok_add_template(t, name, text, from, err);
        buf_fini(&key);
        if (!ok) return false;
    }
    return true;
}

/* A key has letters, digits and _ only: other characters of a name become _. */
static void put_key_name(sv name, buf *out) {
    for (size_t i = 0; i < name.n; i++) {
        const char c = name.p[i];
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        buf_add_char(out, plain ? c : '_');
    }
}

void tok_put_templates(const tok *t, gguf_out *o) {
    buf names[MAX_TEMPLATES] = {{0}}, key = {0};
    sv views[MAX_TEMPLATES];
    size_t n = 0;
    const sv own = tok_chat_template(t);
    if (own.n) gguf_out_string(o, "tokenizer.chat_template", own);
    for (size_t i = 0; i < t->n_templates; i++) {
        const tok_template *m = &t->templates[i];
        if (sv_is(buf_view(&m->name), "default")) continue;
        buf_clear(&names[n]);
        put_key_name(buf_view(&m->name), &names[n]);
        size_t same = 0;
        while (same < n && !sv_eq(views[same], buf_view(&names[n]))) same++;
        if (same < n) continue; /* two names have become one: the first is written */
        buf_clear(&key);
        buf_printf(&key, "tokenizer.chat_template." SV_FMT, SV_ARG(buf_view(&names[n])));
        gguf_out_string(o, key.p, buf_view(&m->text));
        views[n] = buf_view(&names[n]);
        n++;
    }
    if (n) gguf_out_strings(o, "tokenizer.chat_templates", views, n);
    for (size_t i = 0; i < MAX_TEMPLATES; i++) buf_fini(&names[i]);
    buf_fini(&key);
}

/* ---- what there is ---- */

sv tok_named_template(const tok *t, sv name) {
    const tok_template *m = find(t, name);
    return m ? buf_view(&m->text) : (sv){"", 0};
}

sv tok_chat_template(const tok *t) {
    return tok_named_template(t, SV("default"));
}

void tok_put_template_names(const tok *t, buf *out) {
    for (size_t i = 0; i < t->n_templates; i++) {
        if (i) buf_add_str(out, ", ");
        str_escape(buf_view(&t->templates[i].name), MAX_NAME, out);
    }
}

const char *tok_templates_from(const tok *t) {
    return t->n_templates ? t->templates_from : "";
}
