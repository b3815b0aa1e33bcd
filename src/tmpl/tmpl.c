/* The public face: compiling, rendering, segments; and the state of a render (limits, allocation, errors). */
#include "tmpl/tmpl_internal.h"

#include <stdlib.h>

/* ---- errors, limits, memory of a render ---- */

static bool set_error(ev *e, gv_code code, const char *type) {
    if (e->code != GV_OK) return false;
    e->code = code;
    e->err_type = type;
    e->err_line = e->line;
    buf_clear(&e->err_text);
    return true;
}

static void vprint(ev *e, const char *fmt, va_list ap) {
    char text[2048];
    int n = vsnprintf(text, sizeof text, fmt, ap);
    if (n < 0) return;
    size_t len = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    utf8_replace((sv){text, len}, &e->err_text); /* a cut character or bytes that never were UTF-8 */
}

bool ev_fail(ev *e, const char *type, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (set_error(e, GV_FORMAT, type)) vprint(e, fmt, ap);
    va_end(ap);
    return false;
}

bool ev_fail_str(ev *e, const char *type, sv text) {
    if (set_error(e, GV_FORMAT, type)) utf8_replace(text, &e->err_text);
    return false;
}

bool ev_limit(ev *e, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (set_error(e, GV_LIMIT, "LimitError")) vprint(e, fmt, ap);
    va_end(ap);
    return false;
}

bool ev_unsupported(ev *e, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (set_error(e, GV_UNSUPPORTED, "UnsupportedError")) {
        vprint(e, fmt, ap);
        buf_add_str(&e->err_text, ": not supported");
    }
    va_end(ap);
    return false;
}

bool ev_steps(ev *e, size_t n) {
    if (e->code != GV_OK) return false;
    if (n > (uint64_t)e->steps_left) return ev_limit(e, "more than %lld steps (max_steps)", (long long)e->lim.max_steps);
    e->steps_left -= (int64_t)n;
    return true;
}

bool ev_touch(ev *e, size_t n_bytes) {
    return ev_steps(e, n_bytes / 64);
}

void *ev_alloc(ev *e, size_t n, size_t size) {
    size_t bytes;
    if (!gv_mul_size(n, size, &bytes) || !gv_add_size(bytes, 32, &bytes) || bytes > e->mem_left) {
        ev_limit(e, "more than %zu bytes of values (max_memory_bytes)", e->lim.max_memory_bytes);
        return NULL;
    }
    e->mem_left -= bytes;
    return arena_alloc(&e->mem, bytes - 31);
}

/* ---- compiling ---- */

tmpl *tmpl_compile(sv source, gv_err *err) {
    if (source.n > TMPL_MAX_SOURCE_BYTES) {
        gv_fail(err, GV_LIMIT, -1, "chat template of %zu bytes, at most %d are allowed", source.n, TMPL_MAX_SOURCE_BYTES);
        return NULL;
    }
    size_t bad = utf8_invalid_at(source);
    if (bad != SIZE_MAX) {
        gv_fail(err, GV_FORMAT, -1, "chat template is not UTF-8 at byte %zu", bad);
        return NULL;
    }
    tmpl *t = gv_xcalloc(1, sizeof *t);
    arena_init(&t->mem);
    t->table_size = 64;
    while (t->table_size < source.n / 16) t->table_size *= 2;
    t->table = gv_xcalloc(t->table_size, sizeof *t->table);
    sha256 h;
    sha256_init(&h);
    sha256_add(&h, source.p, source.n);
    sha256_hex(&h, t->hash);
    tokens toks = {0};
    bool ok = lex_source(source, &t->mem, &toks, err) && parser_run(t, &toks, err);
    free(toks.v);
    if (ok) return t;
    tmpl_free(t);
    return NULL;
}

void tmpl_free(tmpl *t) {
    if (!t) return;
    arena_fini(&t->mem);
    free(t->table);
    free(t);
}

const char *tmpl_hash(const tmpl *t) {
    return t->hash;
}

/* ---- rendering ---- */

static bool set_var(ev *e, const char *s, val v) {
    const symbol *id = tmpl_find_name(e->t, sv_of(s));
    return !id || scope_set(e, id, v);
}

static bool set_token(ev *e, const char *s, sv text) {
    return !text.p || set_var(e, s, val_str(text));
}

/* Roles that templates paste into special tokens ("<|" + role + "|>"): their names are not user text. */
static bool is_known_role(sv s) {
    static const char *const roles[] = {"system", "user", "assistant", "tool", "function", "developer", "ipython", NULL};
    for (size_t i = 0; roles[i]; i++) {
        if (sv_is(s, roles[i])) return true;
    }
    return false;
}

static void trust_roles(val messages) {
    for (size_t i = 0; messages.kind == V_LIST && i < messages.l->n; i++) {
        val m = messages.l->v[i];
        for (size_t k = 0; m.kind == V_DICT && k < m.d->n; k++) {
            val *v = &m.d->v[k].value;
            if (val_is(m.d->v[k].key, "role") && v->kind == V_STR && is_known_role(val_sv(*v))) v->user = false;
        }
    }
}

static bool make_messages(ev *e, const tmpl_input *in, val *out) {
    if (in->json_messages) {
        if (!val_from_json(e, in->json_messages, true, out)) return false;
    } else {
        if (!list_new(e, L_LIST, in->n_message, true, out)) return false;
        for (size_t i = 0; i < in->n_message; i++) {
            val m, role = val_str(sv_of(in->message[i].role)), content = val_str(in->message[i].content);
            role.user = content.user = true;
            if (!dict_new(e, 2, true, &m) || !dict_set(e, m.d, val_str(SV("role")), role) ||
                !dict_set(e, m.d, val_str(SV("content")), content) || !list_add(e, out->l, m)) {
                return false;
            }
        }
    }
    trust_roles(*out);
    return true;
}

/* The variables transformers passes: tools and documents are None unless given. */
static bool set_inputs(ev *e, const tmpl_input *in) {
    val messages;
    if (!make_messages(e, in, &messages) || !set_var(e, "messages", messages)) return false;
    if (!set_var(e, "add_generation_prompt", val_bool(in->add_generation_prompt))) return false;
    if (!set_var(e, "tools", val_none()) || !set_var(e, "documents", val_none())) return false;
    if (!set_token(e, "bos_token", in->bos_token) || !set_token(e, "eos_token", in->eos_token)) return false;
    if (!set_token(e, "date_string", in->date_string)) return false;
    for (size_t i = 0; i < in->n_var; i++) {
        val v = val_str(in->var[i].text);
        v.user = in->var[i].is_user;
        if (in->var[i].value && !val_from_json(e, in->var[i].value, in->var[i].is_user, &v)) return false;
        if (!set_var(e, in->var[i].name, v)) return false;
    }
    return true;
}

static void add_segment(tmpl_output *out, size_t from, size_t to, bool is_user) {
    if (out->n_seg == out->cap_seg) {
        out->cap_seg = out->cap_seg ? out->cap_seg * 2 : 16;
        out->seg = gv_xrealloc(out->seg, out->cap_seg * sizeof *out->seg);
    }
    out->seg[out->n_seg++] = (tmpl_segment){from, to - from, is_user};
}

static void write_output(tmpl_output *out, const sbuf *b) {
    buf_add(&out->text, b->p ? b->p : "", b->n);
    for (size_t from = 0; from < b->n;) {
        bool user = b->t ? b->t[from] : b->user;
        size_t to = b->t ? from + 1 : b->n;
        while (to < b->n && b->t[to] == (uint8_t)user) to++;
        add_segment(out, from, to, user);
        from = to;
    }
}

static tmpl_limits with_defaults(tmpl_limits l) {
    if (!l.max_steps) l.max_steps = 10000000;
    if (!l.max_output_bytes) l.max_output_bytes = (size_t)64 << 20;
    if (!l.max_memory_bytes) l.max_memory_bytes = (size_t)512 << 20;
    if (!l.max_range) l.max_range = 100000;
    return l;
}

bool tmpl_render(const tmpl *t, const tmpl_input *in, tmpl_output *out, gv_err *err) {
    tmpl_limits lim = with_defaults(in->limits);
    struct tm now;
    ev e = {.t = t, .mem_left = lim.max_memory_bytes, .steps_left = lim.max_steps, .lim = lim, .line = -1};
    if (in->now) {
        now = *in->now;
        e.now = &now;
    }
    arena_init(&e.mem);
    buf_clear(&out->text);
    buf_clear(&out->error_text);
    out->n_seg = 0;
    out->error_type = NULL;
    sbuf text = {0};
    e.out = &text;
    bool ok = scope_push(&e, NULL) && set_inputs(&e, in) && scope_push(&e, e.sc) && exec_body(&e, &t->body);
    if (ok) {
        write_output(out, &text);
    } else {
        out->error_type = e.err_type;
        buf_add_sv(&out->error_text, buf_view(&e.err_text));
        gv_fail(err, e.code, e.err_line, "%s: " SV_FMT, e.err_type, SV_ARG(buf_view(&e.err_text)));
    }
    buf_fini(&e.err_text);
    arena_fini(&e.mem);
    return ok;
}

void tmpl_output_fini(tmpl_output *out) {
    buf_fini(&out->text);
    buf_fini(&out->error_text);
    free(out->seg);
    *out = (tmpl_output){0};
}
