/* Global functions of a chat template: range, namespace, dict, raise_exception and, when the caller gave a time, strftime_now. */
#include "tmpl/tmpl_internal.h"

static bool fn_range(ev *e, const cargs *a, val *out) {
    int64_t v[3] = {0, 0, 1};
    if (a->n_kw) return ev_fail(e, "TypeError", "range() takes no keyword arguments");
    if (!a->n) return ev_fail(e, "TypeError", "range expected at least 1 argument, got 0");
    if (a->n > 3) return ev_fail(e, "TypeError", "range expected at most 3 arguments, got %zu", a->n);
    for (size_t i = 0; i < a->n; i++) {
        if (!val_index(a->pos[i], &v[a->n == 1 ? 1 : i])) {
            return ev_fail(e, "TypeError", "'%s' object cannot be interpreted as an integer", val_type(a->pos[i]));
        }
    }
    if (v[2] == 0) return ev_fail(e, "ValueError", "range() arg 3 must not be zero");
    uint64_t span = 0, step = v[2] > 0 ? (uint64_t)v[2] : 0 - (uint64_t)v[2];
    if (v[2] > 0 ? v[1] > v[0] : v[0] > v[1]) span = v[2] > 0 ? (uint64_t)v[1] - (uint64_t)v[0] : (uint64_t)v[0] - (uint64_t)v[1];
    uint64_t n = span ? (span - 1) / step + 1 : 0;
    if (n > (uint64_t)e->lim.max_range) {
        ev_fail(e, "OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%lld).", (long long)e->lim.max_range);
        e->code = GV_LIMIT;
        return false;
    }
    range_val *r = ev_alloc(e, 1, sizeof *r);
    if (!r) return false;
    *r = (range_val){v[0], v[1], v[2], (int64_t)n};
    *out = (val){.kind = V_RANGE, .r = r};
    return true;
}

/* dict(mapping or pairs, **kwargs) */
static bool fn_dict(ev *e, const cargs *a, val *out) {
    if (a->n > 1) return ev_fail(e, "TypeError", "dict expected at most 1 argument, got %zu", a->n);
    if (!dict_new(e, a->n_kw, false, out)) return false;
    if (a->n && a->pos[0].kind == V_DICT) {
        for (size_t i = 0; i < a->pos[0].d->n; i++) {
            if (!dict_set(e, out->d, a->pos[0].d->v[i].key, a->pos[0].d->v[i].value)) return false;
        }
    } else if (a->n) {
        const list *l, *p;
        if (!val_iterate(e, a->pos[0], &l)) return false;
        for (size_t i = 0; i < l->n; i++) {
            val x = l->v[i];
            bool seq = x.kind == V_STR || x.kind == V_LIST || x.kind == V_DICT || x.kind == V_RANGE || x.kind == V_UNDEF;
            if (!seq) return ev_fail(e, "TypeError", "cannot convert dictionary update sequence element #%zu to a sequence", i);
            if (!val_iterate(e, x, &p)) return false;
            if (p->n != 2) {
                return ev_fail(e, "ValueError", "dictionary update sequence element #%zu has length %zu; 2 is required", i, p->n);
            }
            if (!val_hashable(e, p->v[0]) || !dict_set(e, out->d, p->v[0], p->v[1])) return false;
        }
    }
    for (size_t i = 0; i < a->n_kw; i++) {
        if (!dict_set(e, out->d, a->kw[i].key, a->kw[i].value)) return false;
    }
    return true;
}

static bool fn_namespace(ev *e, const cargs *a, val *out) {
    if (!fn_dict(e, a, out)) return false;
    out->kind = V_NS;
    return true;
}

static bool fn_raise(ev *e, const cargs *a, val *out) {
    static const char *const names[] = {"message"};
    val v, text;
    (void)out;
    if (!args_bind(e, "_compile_jinja_template.<locals>.raise_exception", a, names, 1, 1, &v) || !val_str_of(e, v, &text)) return false;
    return ev_fail_str(e, "TemplateError", val_sv(text));
}

/* As datetime.now().strftime: no time zone, so %z and %Z are empty; microseconds are 0. */
static bool fn_strftime(ev *e, const cargs *a, val *out) {
    static const char *const names[] = {"format"};
    val v;
    if (!args_bind(e, "_compile_jinja_template.<locals>.strftime_now", a, names, 1, 1, &v)) return false;
    if (v.kind != V_STR) return ev_fail(e, "TypeError", "strftime() argument 1 must be str, not %s", val_type(v));
    if (memchr(v.p, 0, v.n)) return ev_fail(e, "ValueError", "embedded null character");
    char text[1024];
    buf f = {0};
    for (size_t i = 0; i < v.n; i++) {
        char next = v.p[i] == '%' && i + 1 < v.n ? v.p[i + 1] : 0;
        if (next == 'f') buf_add_str(&f, "000000");
        if (next == 'f' || next == 'z' || next == 'Z') {
            i++;
            continue;
        }
        buf_add_char(&f, v.p[i]);
        if (next) buf_add_char(&f, v.p[++i]);
    }
    buf_add_char(&f, '.'); /* so that an empty result is told from one that does not fit */
    size_t n = strftime(text, sizeof text, f.p, e->now);
    buf_fini(&f);
    if (!n) return ev_limit(e, "a date over %zu bytes", sizeof text - 2);
    sbuf b = {0};
    if (!sb_add(e, &b, text, n - 1, v.user)) return false;
    *out = sb_done(&b);
    return true;
}

static bool fn_unsupported(ev *e, const cargs *a, val *out) {
    (void)a;
    (void)out;
    return ev_unsupported(e, "functions cycler, joiner and lipsum");
}

static const struct {
    const char *name;
    bool (*call)(ev *, const cargs *, val *);
} globals[] = {{"range", fn_range},           {"namespace", fn_namespace}, {"dict", fn_dict},          {"raise_exception", fn_raise},
               {"strftime_now", fn_strftime}, {"cycler", fn_unsupported},  {"joiner", fn_unsupported}, {"lipsum", fn_unsupported}};

bool global_find(const ev *e, sv name, val *out) {
    for (uint32_t i = 0; i < sizeof globals / sizeof globals[0]; i++) {
        if (!sv_is(name, globals[i].name)) continue;
        if (globals[i].call == fn_strftime && !e->now) return false;
        *out = (val){.kind = V_FUNC, .fn = i};
        return true;
    }
    return false;
}

bool global_call(ev *e, uint32_t fn, const cargs *a, val *out) {
    return globals[fn].call(e, a, out);
}
