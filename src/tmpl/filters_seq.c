/* Filters over sequences.  map, select and their kin give generators as in Jinja: they can be walked once and have no length.  They are
 * evaluated at once, not lazily, so an error in a later element is raised even when only the first is used. */
#include "tmpl/filters_internal.h"

bool filter_first(ev *e, const char *name, val in, const cargs *a, val *out) {
    const list *l;
    if (!args_bind(e, name, a, NULL, 0, 0, NULL)) return false;
    if (in.kind == V_LIST && in.l->kind == L_GENERATOR && in.l->n) { /* takes one from it */
        *out = in.l->v[0];
        in.l->v++;
        in.l->n--;
        in.l->cap--;
        return true;
    }
    if (in.kind == V_STR && in.n) return str_slice(e, in, 0, 1, 1, out);
    if (!val_iterate(e, in, &l)) return false;
    if (!l->n) return val_undef_hint(e, "No first item, sequence was empty.", out);
    *out = l->v[0];
    return true;
}

static bool reversible(val v) {
    return v.kind == V_UNDEF || v.kind == V_STR || v.kind == V_DICT || v.kind == V_RANGE || (v.kind == V_LIST && v.l->kind != L_GENERATOR);
}

bool filter_last(ev *e, const char *name, val in, const cargs *a, val *out) {
    const list *l;
    if (!args_bind(e, name, a, NULL, 0, 0, NULL)) return false;
    if (!reversible(in)) return ev_fail(e, "TypeError", "'%s' object is not reversible", val_type(in));
    if (!val_iterate(e, in, &l)) return false;
    if (!l->n) return val_undef_hint(e, "No last item, sequence was empty.", out);
    *out = l->v[l->n - 1];
    return true;
}

bool filter_reverse(ev *e, const char *name, val in, const cargs *a, val *out) {
    const list *l;
    if (!args_bind(e, name, a, NULL, 0, 0, NULL)) return false;
    if (in.kind == V_STR) {
        size_t n = str_cp_count(val_sv(in));
        return str_slice(e, in, (int64_t)n - 1, -1, n, out);
    }
    if (!reversible(in) && in.kind != V_LIST) return ev_fail(e, "FilterArgumentError", "argument must be iterable");
    if (!val_iterate(e, in, &l) || !list_new(e, reversible(in) ? L_GENERATOR : L_LIST, l->n, in.user, out)) return false;
    for (size_t i = l->n; i-- > 0;) out->l->v[out->l->n++] = l->v[i];
    return true;
}

bool filter_list(ev *e, const char *name, val in, const cargs *a, val *out) {
    const list *l;
    if (!args_bind(e, name, a, NULL, 0, 0, NULL) || !val_iterate(e, in, &l)) return false;
    if (!list_new(e, L_LIST, l->n, in.user, out)) return false;
    if (l->n) memcpy(out->l->v, l->v, l->n * sizeof *l->v);
    out->l->n = l->n;
    return true;
}

bool filter_items(ev *e, const char *name, val in, const cargs *a, val *out) {
    (void)name;
    if (!args_bind(e, "do_items", a, NULL, 0, 0, NULL)) return false;
    if (in.kind != V_UNDEF && in.kind != V_DICT) return ev_fail(e, "TypeError", "Can only get item pairs from a mapping.");
    if (!list_new(e, L_GENERATOR, 0, in.user, out)) return false;
    for (size_t i = 0; in.kind == V_DICT && i < in.d->n; i++) {
        val t;
        if (!list_new(e, L_TUPLE, 2, in.user, &t)) return false;
        t.l->v[t.l->n++] = in.d->v[i].key;
        t.l->v[t.l->n++] = in.d->v[i].value;
        if (!list_add(e, out->l, t)) return false;
    }
    return true;
}

static bool path_step(ev *e, val *item, val key, const val *dflt) {
    if (!op_getitem(e, *item, key, item)) return false;
    if (item->kind == V_UNDEF && dflt && arg_given(*dflt)) *item = *dflt;
    return true;
}

/* make_attrgetter: "a.b.0" step by step; digits are integers; None is the item itself. */
bool attr_path(ev *e, val item, val path, const val *dflt, val *out) {
    *out = item;
    if (!arg_given(path)) return true;
    if (path.kind != V_STR) return path_step(e, out, path, dflt);
    for (size_t pos = 0;;) {
        size_t dot = sv_find(val_sv(path), SV("."), pos);
        sv part = sv_sub(val_sv(path), pos, dot == SIZE_MAX ? SIZE_MAX : dot - pos);
        int64_t i;
        bool big;
        val key = part.n && str_is(part, IS_DIGIT) && text_to_int(part, 10, &i, &big) ? val_int(i) : val_str(part);
        if (!ev_steps(e, 1) || !path_step(e, out, key, dflt)) return false;
        if (dot == SIZE_MAX) return true;
        pos = dot + 1;
    }
}

bool filter_join(ev *e, const char *name, val in, const cargs *a, val *out) {
    static const char *const names[] = {"d", "attribute"};
    val v[2], sep = val_str(SV(""));
    const list *l;
    sbuf b = {0};
    (void)name;
    if (!args_bind(e, "sync_do_join", a, names, 2, 0, v)) return false;
    if (v[0].kind != V_MISSING && !val_str_of(e, v[0], &sep)) return false;
    if (!val_iterate(e, in, &l)) return false;
    for (size_t i = 0; i < l->n; i++) {
        val x;
        if (!attr_path(e, l->v[i], v[1], NULL, &x)) return false;
        if (!ev_steps(e, 1) || (i && !sb_add_val(e, &b, sep)) || !sb_add_str_of(e, &b, x)) return false;
    }
    *out = sb_done(&b);
    return true;
}

static const val *kw_get(const cargs *a, const char *key) {
    for (size_t i = 0; i < a->n_kw; i++) {
        if (sv_is(val_sv(a->kw[i].key), key)) return &a->kw[i].value;
    }
    return NULL;
}

/* Number of the filter or test that v names at run time. */
static bool named(ev *e, const char *what, val v, int *id) {
    val repr;
    if (v.kind == V_UNDEF) return undef_raise(e, v.u);
    *id = v.kind != V_STR ? -1 : what[0] == 'f' ? filter_find(val_sv(v)) : test_find(val_sv(v));
    if (*id >= 0) return true;
    if (*id == -2) return ev_unsupported(e, "Jinja %s '" SV_FMT "'", what, SV_ARG(val_sv(v)));
    return val_repr_of(e, v, &repr) && ev_fail(e, "TemplateRuntimeError", "No %s named " SV_FMT ".", what, SV_ARG(val_sv(repr)));
}

bool filter_map(ev *e, const char *name, val in, const cargs *a, val *out) {
    const val *attribute = kw_get(a, "attribute"), *dflt = kw_get(a, "default");
    const list *l;
    int id = -1;
    (void)name;
    if (!list_new(e, L_GENERATOR, 0, in.user, out)) return false;
    if (!val_truthy(in)) return true;
    if (!a->n && attribute) {
        for (size_t i = 0; i < a->n_kw; i++) {
            sv key = val_sv(a->kw[i].key);
            if (sv_is(key, "attribute") || sv_is(key, "default")) continue;
            return ev_fail(e, "FilterArgumentError", "Unexpected keyword argument '" SV_FMT "'", SV_ARG(key));
        }
    } else if (!a->n) {
        return ev_fail(e, "FilterArgumentError", "map requires a filter argument");
    }
    if (!val_iterate(e, in, &l)) return false;
    cargs rest = {a->pos ? a->pos + 1 : NULL, a->n ? a->n - 1 : 0, a->kw, a->n_kw};
    for (size_t i = 0; i < l->n; i++) {
        val x;
        if (a->n) {
            if (i == 0 && !named(e, "filter", a->pos[0], &id)) return false;
            if (!ev_steps(e, 1) || !filter_call(e, id, l->v[i], &rest, &x)) return false;
        } else if (!attr_path(e, l->v[i], *attribute, dflt, &x)) {
            return false;
        }
        if (!list_add(e, out->l, x)) return false;
    }
    return true;
}

/* select, reject, selectattr, rejectattr */
bool filter_select(ev *e, const char *name, val in, const cargs *a, val *out) {
    bool keep = name[0] == 's', by_attr = strlen(name) > 6;
    size_t off = by_attr ? 1 : 0;
    const list *l;
    int id = -1;
    if (!list_new(e, L_GENERATOR, 0, in.user, out)) return false;
    if (!val_truthy(in)) return true;
    if (by_attr && !a->n) return ev_fail(e, "FilterArgumentError", "Missing parameter for attribute name");
    if (!val_iterate(e, in, &l)) return false;
    cargs rest = {a->n > off ? a->pos + off + 1 : NULL, a->n > off ? a->n - off - 1 : 0, a->kw, a->n_kw};
    for (size_t i = 0; i < l->n; i++) {
        val x = l->v[i];
        bool yes;
        if (!ev_steps(e, 1) || (by_attr && !attr_path(e, x, a->pos[0], NULL, &x))) return false;
        if (a->n > off) {
            if (i == 0 && !named(e, "test", a->pos[off], &id)) return false;
            if (!test_call(e, id, x, &rest, &yes)) return false;
        } else {
            yes = val_truthy(x);
        }
        if (yes == keep && !list_add(e, out->l, l->v[i])) return false;
    }
    return true;
}

/* ---- sorting ---- */

typedef struct keyed {
    val key, item;
} keyed;

static bool fold_case(ev *e, bool case_sensitive, val *v) {
    return case_sensitive || v->kind != V_STR || str_case(e, *v, CASE_LOWER, v);
}

/* Stable merge sort of v[0..n); tmp as large. */
static bool merge_sort(ev *e, keyed *v, keyed *tmp, size_t n, bool reverse) {
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width) {
            size_t mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n, i = lo, j = mid;
            for (size_t k = lo; k < hi; k++) {
                bool right = i == mid;
                if (i < mid && j < hi) {
                    val x = reverse ? v[i].key : v[j].key, y = reverse ? v[j].key : v[i].key;
                    if (!ev_steps(e, 1) || !val_order(e, CMP_LT, x, y, &right)) return false;
                }
                tmp[k] = right ? v[j++] : v[i++];
            }
        }
        memcpy(v, tmp, n * sizeof *v);
    }
    return true;
}

static bool sort_keyed(ev *e, keyed *v, size_t n, bool reverse, val *out) {
    keyed *tmp = ev_alloc(e, n, sizeof *tmp);
    if (!tmp || !merge_sort(e, v, tmp, n, reverse) || !list_new(e, L_LIST, n, false, out)) return false;
    for (size_t i = 0; i < n; i++) out->l->v[out->l->n++] = v[i].item;
    return true;
}

/* The key of make_multi_attrgetter: "a,b" gives a list of both. */
static bool sort_key(ev *e, val item, val attribute, bool case_sensitive, val *out) {
    val paths, x;
    if (!list_new(e, L_LIST, 1, false, out)) return false;
    if (attribute.kind != V_STR) {
        return attr_path(e, item, attribute, NULL, &x) && fold_case(e, case_sensitive, &x) && list_add(e, out->l, x);
    }
    val comma = val_str(SV(","));
    if (!str_split(e, attribute, &comma, -1, false, &paths)) return false;
    for (size_t i = 0; i < paths.l->n; i++) {
        if (!attr_path(e, item, paths.l->v[i], NULL, &x) || !fold_case(e, case_sensitive, &x) || !list_add(e, out->l, x)) return false;
    }
    return true;
}

bool filter_sort(ev *e, const char *name, val in, const cargs *a, val *out) {
    static const char *const names[] = {"reverse", "case_sensitive", "attribute"};
    val v[3];
    const list *l;
    (void)name;
    if (!args_bind(e, "do_sort", a, names, 3, 0, v) || !val_iterate(e, in, &l)) return false;
    keyed *k = ev_alloc(e, l->n, sizeof *k);
    if (!k) return false;
    for (size_t i = 0; i < l->n; i++) {
        k[i].item = l->v[i];
        if (!sort_key(e, l->v[i], v[2], arg_true(v[1]), &k[i].key)) return false;
    }
    return sort_keyed(e, k, l->n, arg_true(v[0]), out);
}

bool filter_dictsort(ev *e, const char *name, val in, const cargs *a, val *out) {
    static const char *const names[] = {"case_sensitive", "by", "reverse"};
    val v[3], items;
    if (!args_bind(e, "do_dictsort", a, names, 3, 0, v)) return false;
    bool by_value = val_is(v[1], "value");
    if (v[1].kind != V_MISSING && !by_value && !val_is(v[1], "key")) {
        return ev_fail(e, "FilterArgumentError", "You can only sort by either \"key\" or \"value\"");
    }
    if (in.kind == V_UNDEF) return undef_raise(e, in.u);
    if (in.kind != V_DICT) return ev_fail(e, "AttributeError", "'%s' object has no attribute 'items'", val_type(in));
    if (!filter_items(e, name, in, &(cargs){0}, &items)) return false;
    keyed *k = ev_alloc(e, items.l->n, sizeof *k);
    if (!k) return false;
    for (size_t i = 0; i < items.l->n; i++) {
        k[i].item = items.l->v[i];
        k[i].key = items.l->v[i].l->v[by_value ? 1 : 0];
        if (!fold_case(e, arg_true(v[0]), &k[i].key)) return false;
    }
    return sort_keyed(e, k, items.l->n, arg_true(v[2]), out);
}

bool filter_unique(ev *e, const char *name, val in, const cargs *a, val *out) {
    static const char *const names[] = {"case_sensitive", "attribute"};
    val v[2], seen;
    const list *l;
    (void)name;
    if (!args_bind(e, "sync_do_unique", a, names, 2, 0, v) || !val_iterate(e, in, &l)) return false;
    if (!list_new(e, L_GENERATOR, 0, in.user, out) || !dict_new(e, 0, false, &seen)) return false;
    for (size_t i = 0; i < l->n; i++) {
        val key;
        pair *p;
        if (!attr_path(e, l->v[i], v[1], NULL, &key) || !fold_case(e, arg_true(v[0]), &key) || !val_hashable(e, key)) return false;
        if (!dict_find(e, seen.d, key, &p)) return false;
        if (!p && (!dict_set(e, seen.d, key, val_none()) || !list_add(e, out->l, l->v[i]))) return false;
    }
    return true;
}

bool filter_minmax(ev *e, const char *name, val in, const cargs *a, val *out) {
    static const char *const names[] = {"case_sensitive", "attribute"};
    val v[2], best;
    const list *l;
    if (!args_bind(e, name, a, names, 2, 0, v) || !val_iterate(e, in, &l)) return false;
    if (!l->n) return val_undef_hint(e, "No aggregated item, sequence was empty.", out);
    for (size_t i = 0; i < l->n; i++) {
        val key;
        bool better = i == 0;
        if (!attr_path(e, l->v[i], v[1], NULL, &key) || !fold_case(e, arg_true(v[0]), &key)) return false;
        if (i && !val_order(e, name[1] == 'i' ? CMP_LT : CMP_GT, key, best, &better)) return false;
        if (!better) continue;
        best = key;
        *out = l->v[i];
    }
    return true;
}

bool filter_sum(ev *e, const char *name, val in, const cargs *a, val *out) {
    static const char *const names[] = {"attribute", "start"};
    val v[2];
    const list *l;
    if (!args_bind(e, name, a, names, 2, 0, v) || !val_iterate(e, in, &l)) return false;
    *out = v[1].kind == V_MISSING ? val_int(0) : v[1];
    if (out->kind == V_STR) return ev_fail(e, "TypeError", "sum() can't sum strings [use ''.join(seq) instead]");
    for (size_t i = 0; i < l->n; i++) {
        val x;
        if (!attr_path(e, l->v[i], v[0], NULL, &x) || !op_binary(e, TK_ADD, *out, x, out)) return false;
    }
    return true;
}
