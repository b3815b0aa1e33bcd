/* See layout.h. */
#include "lm/layout.h"

#include "base/file.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_TEMPLATE_BYTES = 1 << 20, MAX_MESSAGES = 64 };

struct layout {
    const tok *t;
    tmpl *template; /* NULL: none */
    bool merges_system;
    sv bos, eos;
};

static tmpl *compile(sv source, const char *what, gv_err *err) {
    tmpl *c = tmpl_compile(source, err);
    if (!c) gv_context(err, "%s", what);
    return c;
}

/* The one that counts without a choice. */
static tmpl *open_own(const tok *t, const known_model *known, gv_err *err) {
    const sv own = tok_chat_template(t);
    buf names = {0};
    tmpl *c = NULL;
    if (own.n) return compile(own, "the model's chat template", err);
    tok_put_template_names(t, &names);
    if (names.n)
        gv_fail(err, GV_USAGE, -1,
                "%s has chat templates by name, but none is \"default\": %s; choose one with --chat-template :NAME, or another with "
                "--chat-template NAME|FILE|none",
                tok_templates_from(t), names.p);
    else if (known)
        log_msg(LOG_INFO, "the model has no chat template: %s is laid out by the built-in %s", known->label, known->layout);
    else
        gv_fail(err, GV_USAGE, -1, "the model has no chat template; choose one with --chat-template NAME|FILE|none");
    if (!names.n && known) c = tmpl_compile(sv_of(tmpl_builtin(known->layout)), err);
    buf_fini(&names);
    return c;
}

/* Another of the model's own. */
static tmpl *open_named(const tok *t, const char *name, gv_err *err) {
    const sv own = t ? tok_named_template(t, sv_of(name)) : (sv){0};
    buf names = {0};
    if (own.n) return compile(own, "the model's chat template", err);
    if (t) tok_put_template_names(t, &names);
    if (!t)
        gv_fail(err, GV_USAGE, -1, "--chat-template :%s: the templates of a server's model are not known here; give a file", name);
    else if (names.n)
        gv_fail(err, GV_USAGE, -1, "--chat-template :%s: no chat template of that name in %s; there are %s", name, tok_templates_from(t),
                names.p);
    else
        gv_fail(err, GV_USAGE, -1, "--chat-template :%s: the model has no chat template", name);
    buf_fini(&names);
    return NULL;
}

static tmpl *open_template(const tok *t, const char *text, const char *choice, const known_model *known, gv_err *err) {
    if (text && t && tok_named_template(t, sv_of(text)).n) return open_named(t, text, err); /* as transformers reads it */
    if (text) return compile(sv_of(text), "chat_template", err);
    if (!choice) return open_own(t, known, err);
    if (choice[0] == ':') return open_named(t, choice + 1, err);
    const char *source = tmpl_builtin(choice);
    if (source) return tmpl_compile(sv_of(source), err);
    if (!file_exists(choice)) {
        const char *near = nearest_name(choice, tmpl_builtin_names());
        gv_fail(err, GV_USAGE, -1, "--chat-template %s: neither a built-in layout nor a file%s%s%s", choice, near ? "; did you mean " : "",
                near ? near : "", near ? "?" : "");
        return NULL;
    }
    buf bytes = {0};
    tmpl *c = file_read_all(choice, MAX_TEMPLATE_BYTES, &bytes, err) ? tmpl_compile(buf_view(&bytes), err) : NULL;
    if (!c) gv_context(err, "--chat-template %s", choice);
    buf_fini(&bytes);
    return c;
}

static bool render_with(const layout *l, const lm_message *messages, size_t n, tmpl_output *out, gv_err *err) {
    tmpl_message m[MAX_MESSAGES];
    if (n > MAX_MESSAGES) return gv_fail(err, GV_LIMIT, -1, "%zu messages, at most %d", n, MAX_MESSAGES);
    char role[MAX_MESSAGES][24];
    for (size_t i = 0; i < n; i++) {
        snprintf(role[i], sizeof role[i], SV_FMT, SV_ARG(messages[i].role));
        m[i] = (tmpl_message){role[i], messages[i].content};
    }
    tmpl_input in = {.message = m, .n_message = n, .add_generation_prompt = true, .bos_token = l->bos, .eos_token = l->eos};
    return tmpl_render(l->template, &in, out, err);
}

/* Does the template take a system message?  It is asked once, at open. */
static bool probe_system(layout *l, gv_err *err) {
    const lm_message both[] = {{SV("system"), SV("s")}, {SV("user"), SV("u")}};
    tmpl_output out = {0};
    gv_err ignored = GV_ERR_INIT;
    bool ok = true;
    if (!render_with(l, both, 2, &out, &ignored)) {
        l->merges_system = true;
        ok = render_with(l, both + 1, 1, &out, err) || gv_context(err, "chat template");
    }
    tmpl_output_fini(&out);
    return ok;
}

layout *layout_open(const tok *t, const char *text, const char *choice, const known_model *known, gv_err *err) {
    layout *l = gv_xcalloc(1, sizeof *l);
    l->t = t;
    if (t && tok_bos(t) >= 0) l->bos = tok_piece(t, tok_bos(t));
    if (t && tok_eos(t) >= 0) l->eos = tok_piece(t, tok_eos(t));
    if (!text && choice && strcmp(choice, "none") == 0) {
        l->merges_system = true;
        return l;
    }
    l->template = open_template(t, text, choice, known, err);
    if (l->template && probe_system(l, err)) return l;
    layout_free(l);
    return NULL;
}

void layout_free(layout *l) {
    if (!l) return;
    tmpl_free(l->template);
    free(l);
}

/* Without a template the text is the messages as they are, a blank line between two. */
static void render_plain(const lm_message *messages, size_t n, tmpl_output *out) {
    buf_clear(&out->text);
    out->n_seg = 0;
    for (size_t i = 0; i < n; i++) {
        if (i) buf_add_str(&out->text, "\n\n");
        buf_add_sv(&out->text, messages[i].content);
    }
    if (out->text.n == 0) return;
    if (out->cap_seg == 0) {
        out->seg = gv_xrealloc(out->seg, sizeof *out->seg);
        out->cap_seg = 1;
    }
    out->seg[out->n_seg++] = (tmpl_segment){0, out->text.n, true};
}

bool layout_render(const layout *l, const lm_message *messages, size_t n, tmpl_output *out, gv_err *err) {
    buf merged = {0};
    lm_message one[MAX_MESSAGES];
    if (l->template && l->merges_system && n >= 2 && n <= MAX_MESSAGES && sv_is(messages[0].role, "system") &&
        sv_is(messages[1].role, "user")) {
        buf_add_sv(&merged, messages[0].content);
        buf_add_str(&merged, "\n\n");
        buf_add_sv(&merged, messages[1].content);
        memcpy(one, messages + 1, (n - 1) * sizeof *one);
        one[0].content = buf_view(&merged);
        messages = one;
        n--;
    }
    bool ok = true;
    if (l->template)
        ok = render_with(l, messages, n, out, err);
    else
        render_plain(messages, n, out);
    buf_fini(&merged);
    return ok;
}

bool layout_encode(const layout *l, const tmpl_output *text, ids *out, gv_err *err) {
    tok_segment *seg = gv_xmalloc((text->n_seg + 1) * sizeof *seg);
    for (size_t i = 0; i < text->n_seg; i++)
        seg[i] = (tok_segment){sv_sub(buf_view(&text->text), text->seg[i].offset, text->seg[i].n), !text->seg[i].is_user};
    bool ok = tok_encode_prompt(l->t, seg, text->n_seg, out, err);
    free(seg);
    return ok;
}

const char *layout_hash(const layout *l) {
    return l->template ? tmpl_hash(l->template) : "none";
}
bool layout_merges_system(const layout *l) {
    return l->merges_system && l->template;
}
