/* Calls: methods of strings, dicts, lists and loops, and the global functions of a chat template's environment (range, namespace, dict,
 * raise_exception, strftime_now).  Methods Python has and this subset lacks fail with GV_UNSUPPORTED by name when called. */
#include "tmpl/tmpl_internal.h"

typedef enum method_id {
    M_STRIP,
    M_LSTRIP,
    M_RSTRIP,
    M_SPLIT,
    M_RSPLIT,
    M_SPLITLINES,
    M_STARTSWITH,
    M_ENDSWITH,
    M_UPPER,
    M_LOWER,
    M_TITLE,
    M_CAPITALIZE,
    M_SWAPCASE,
    M_REPLACE,
    M_FIND,
    M_RFIND,
    M_INDEX,
    M_RINDEX,
    M_COUNT,
    M_JOIN,
    M_ISALPHA,
    M_ISDIGIT,
    M_ISNUMERIC,
    M_ISDECIMAL,
    M_ISALNUM,
    M_ISSPACE,
    M_ISUPPER,
    M_ISLOWER,
    M_ISTITLE,
    M_ISASCII,
    M_REMOVEPREFIX,
    M_REMOVESUFFIX,
    M_PARTITION,
    M_RPARTITION,
    M_FORMAT,
    M_GET,
    M_ITEMS,
    M_KEYS,
    M_VALUES,
    M_COPY,
    M_LIST_COUNT,
    M_LIST_INDEX,
    M_LIST_COPY,
    M_CYCLE,
    M_CHANGED,
    M_UNSUPPORTED,
    M_UNSAFE,
} method_id;

typedef struct method_def {
    const char *name;
    method_id id;
} method_def;

static const method_def str_methods[] = {{"strip", M_STRIP},
                                         {"lstrip", M_LSTRIP},
                                         {"rstrip", M_RSTRIP},
                                         {"split", M_SPLIT},
                                         {"rsplit", M_RSPLIT},
                                         {"splitlines", M_SPLITLINES},
                                         {"startswith", M_STARTSWITH},
                                         {"endswith", M_ENDSWITH},
                                         {"upper", M_UPPER},
                                         {"lower", M_LOWER},
                                         {"title", M_TITLE},
                                         {"capitalize", M_CAPITALIZE},
                                         {"swapcase", M_SWAPCASE},
                                         {"replace", M_REPLACE},
                                         {"find", M_FIND},
                                         {"rfind", M_RFIND},
                                         {"index", M_INDEX},
                                         {"rindex", M_RINDEX},
                                         {"count", M_COUNT},
                                         {"join", M_JOIN},
                                         {"isalpha", M_ISALPHA},
                                         {"isdigit", M_ISDIGIT},
                                         {"isnumeric", M_ISNUMERIC},
                                         {"isdecimal", M_ISDECIMAL},
                                         {"isalnum", M_ISALNUM},
                                         {"isspace", M_ISSPACE},
                                         {"isupper", M_ISUPPER},
                                         {"islower", M_ISLOWER},
                                         {"istitle", M_ISTITLE},
                                         {"isascii", M_ISASCII},
                                         {"removeprefix", M_REMOVEPREFIX},
                                         {"removesuffix", M_REMOVESUFFIX},
                                         {"partition", M_PARTITION},
                                         {"rpartition", M_RPARTITION},
                                         {"format", M_FORMAT},
                                         {"casefold", M_UNSUPPORTED},
                                         {"center", M_UNSUPPORTED},
                                         {"encode", M_UNSUPPORTED},
                                         {"expandtabs", M_UNSUPPORTED},
                                         {"format_map", M_UNSUPPORTED},
                                         {"isidentifier", M_UNSUPPORTED},
                                         {"isprintable", M_UNSUPPORTED},
                                         {"ljust", M_UNSUPPORTED},
                                         {"rjust", M_UNSUPPORTED},
                                         {"maketrans", M_UNSUPPORTED},
                                         {"translate", M_UNSUPPORTED},
                                         {"zfill", M_UNSUPPORTED},
                                         {NULL, 0}};
static const method_def dict_methods[] = {{"get", M_GET},        {"items", M_ITEMS},          {"keys", M_KEYS},     {"values", M_VALUES},
                                          {"copy", M_COPY},      {"fromkeys", M_UNSUPPORTED}, {"clear", M_UNSAFE},  {"pop", M_UNSAFE},
                                          {"popitem", M_UNSAFE}, {"setdefault", M_UNSAFE},    {"update", M_UNSAFE}, {NULL, 0}};
static const method_def list_methods[] = {{"count", M_LIST_COUNT}, {"index", M_LIST_INDEX}, {"copy", M_LIST_COPY}, {"append", M_UNSAFE},
                                          {"clear", M_UNSAFE},     {"extend", M_UNSAFE},    {"insert", M_UNSAFE},  {"pop", M_UNSAFE},
                                          {"remove", M_UNSAFE},    {"reverse", M_UNSAFE},   {"sort", M_UNSAFE},    {NULL, 0}};
static const method_def tuple_methods[] = {{"count", M_LIST_COUNT}, {"index", M_LIST_INDEX}, {NULL, 0}};
static const method_def loop_methods[] = {{"cycle", M_CYCLE}, {"changed", M_CHANGED}, {NULL, 0}};

static const method_def *methods_of(val v) {
    if (v.kind == V_STR) return str_methods;
    if (v.kind == V_DICT) return dict_methods;
    if (v.kind == V_LIST && v.l->kind == L_LIST) return list_methods;
    if (v.kind == V_LIST && v.l->kind == L_TUPLE) return tuple_methods;
    return v.kind == V_LOOP ? loop_methods : NULL;
}

/* Index into the kind's table. */
int method_find(val obj, sv attr, bool *unsafe) {
    const method_def *d = methods_of(obj);
    for (int i = 0; d && d[i].name; i++) {
        if (!sv_is(attr, d[i].name)) continue;
        *unsafe = d[i].id == M_UNSAFE;
        return i;
    }
    return -1;
}

/* TypeError of a Python function (do_* filters have the filtered value as a further argument), or of a built-in one. */
static bool too_many_args(ev *e, const char *fn, size_t given, size_t most, size_t least) {
    if (strstr(fn, "do_") || strchr(fn, '<')) {
        size_t in = strstr(fn, "do_") || strstr(fn, "tojson") ? 1 : 0;
        if (least < most) {
            return ev_fail(e, "TypeError", "%s() takes from %zu to %zu positional arguments but %zu were given", fn, least + in, most + in,
                           given + in);
        }
        return ev_fail(e, "TypeError", "%s() takes %zu positional argument%s but %zu were given", fn, most + in, most + in == 1 ? "" : "s",
                       given + in);
    }
    if (most == 0) return ev_fail(e, "TypeError", "%s() takes no arguments (%zu given)", fn, given);
    return ev_fail(e, "TypeError", "%s() takes at most %zu argument%s (%zu given)", fn, most, most == 1 ? "" : "s", given);
}

bool args_bind(ev *e, const char *fn, const cargs *a, const char *const *names, size_t n, size_t n_required, val *out) {
    for (size_t i = 0; i < n; i++) out[i] = (val){.kind = V_MISSING};
    if (a->n > n) return too_many_args(e, fn, a->n, n, n_required);
    for (size_t i = 0; i < a->n; i++) out[i] = a->pos[i];
    for (size_t k = 0; k < a->n_kw; k++) {
        size_t i = 0;
        sv key = val_sv(a->kw[k].key);
        while (i < n && !(names && sv_is(key, names[i]))) i++;
        if (i == n) return ev_fail(e, "TypeError", "%s() got an unexpected keyword argument '" SV_FMT "'", fn, SV_ARG(key));
        if (out[i].kind != V_MISSING) return ev_fail(e, "TypeError", "%s() got multiple values for argument '%s'", fn, names[i]);
        out[i] = a->kw[k].value;
    }
    for (size_t i = 0; i < n_required; i++) {
        if (out[i].kind != V_MISSING) continue;
        if (names) return ev_fail(e, "TypeError", "%s() missing 1 required positional argument: '%s'", fn, names[i]);
        return ev_fail(e, "TypeError", "%s() takes at least %zu argument%s (%zu given)", fn, n_required, n_required == 1 ? "" : "s", a->n);
    }
    return true;
}

static bool is_given(val v) {
    return v.kind != V_MISSING && v.kind != V_NONE;
}

static bool need_str(ev *e, const char *what, val v) {
    return v.kind == V_STR || ev_fail(e, "TypeError", "%s must be str, not %s", what, val_type(v));
}

static bool need_int(ev *e, val v, int64_t *out) {
    return val_index(v, out) || ev_fail(e, "TypeError", "'%s' object cannot be interpreted as an integer", val_type(v));
}

static bool str_strip_method(ev *e, const method_def *d, val s, const cargs *a, val *out) {
    val chars;
    if (!args_bind(e, d->name, a, NULL, 1, 0, &chars)) return false;
    if (is_given(chars) && chars.kind != V_STR) return ev_fail(e, "TypeError", "%s arg must be None or str", d->name);
    return str_strip(e, s, d->id != M_RSTRIP, d->id != M_LSTRIP, is_given(chars) ? &chars : NULL, out);
}

static bool str_split_method(ev *e, const method_def *d, val s, const cargs *a, val *out) {
    static const char *const names[] = {"sep", "maxsplit"};
    val v[2];
    int64_t max = -1;
    if (!args_bind(e, d->name, a, names, 2, 0, v)) return false;
    if (is_given(v[0]) && v[0].kind != V_STR) return ev_fail(e, "TypeError", "must be str or None, not %s", val_type(v[0]));
    if (v[1].kind != V_MISSING && !need_int(e, v[1], &max)) return false;
    return str_split(e, s, is_given(v[0]) ? &v[0] : NULL, max, d->id == M_RSPLIT, out);
}

/* s limited to [start, end) as Python's optional bounds of find, count, startswith; *from is its first character's number. */
static bool str_bounds(ev *e, val s, val start, val end, val *out, int64_t *from) {
    int64_t n = (int64_t)str_cp_count(val_sv(s)), a = 0, b = n;
    if (!ev_touch(e, s.n)) return false;
    if ((is_given(start) && !val_index(start, &a)) || (is_given(end) && !val_index(end, &b))) {
        return ev_fail(e, "TypeError", "slice indices must be integers or None or have an __index__ method");
    }
    if (a < 0) a = a + n < 0 ? 0 : a + n;
    if (b < 0) b = b + n < 0 ? 0 : b + n;
    if (b > n) b = n;
    *from = a;
    *out = (val){.kind = V_MISSING}; /* start behind the end: nothing is found, not even "" */
    if (a > n || a > b) return true;
    size_t p = str_cp_offset(val_sv(s), (size_t)a);
    val rest = str_sub(s, p, s.n);
    *out = str_sub(rest, 0, str_cp_offset(val_sv(rest), (size_t)(b - a)));
    return true;
}

static bool has_affix(val s, val affix, bool end) {
    return end ? sv_ends(val_sv(s), val_sv(affix)) : sv_starts(val_sv(s), val_sv(affix));
}

static bool str_affix_method(ev *e, const method_def *d, val s, const cargs *a, val *out) {
    val v[3], part;
    int64_t from;
    bool yes = false, tuple;
    if (!args_bind(e, d->name, a, NULL, 3, 1, v) || !str_bounds(e, s, v[1], v[2], &part, &from)) return false;
    tuple = v[0].kind == V_LIST && v[0].l->kind == L_TUPLE;
    if (!tuple && v[0].kind != V_STR) {
        return ev_fail(e, "TypeError", "%s first arg must be str or a tuple of str, not %s", d->name, val_type(v[0]));
    }
    for (size_t i = 0; !yes && i < (tuple ? v[0].l->n : 1); i++) {
        val affix = tuple ? v[0].l->v[i] : v[0];
        if (affix.kind != V_STR) return ev_fail(e, "TypeError", "tuple for %s must only contain str, not %s", d->name, val_type(affix));
        yes = part.kind == V_STR && has_affix(part, affix, d->id == M_ENDSWITH);
    }
    *out = val_bool(yes);
    return true;
}

static bool str_find_method(ev *e, const method_def *d, val s, const cargs *a, val *out) {
    val v[3], part;
    int64_t from;
    bool right = d->id == M_RFIND || d->id == M_RINDEX;
    if (!args_bind(e, d->name, a, NULL, 3, 1, v)) return false;
    if (!need_str(e, d->name, v[0]) || !str_bounds(e, s, v[1], v[2], &part, &from)) return false;
    size_t at = SIZE_MAX;
    if (part.kind == V_STR && right) {
        sv back, back_sub;
        if (!str_reversed_bytes(e, part, &back) || !str_reversed_bytes(e, v[0], &back_sub)) return false;
        at = sv_find(back, back_sub, 0);
        if (at != SIZE_MAX) at = part.n - at - v[0].n;
    } else if (part.kind == V_STR) {
        at = sv_find(val_sv(part), val_sv(v[0]), 0);
    }
    if (at == SIZE_MAX && (d->id == M_INDEX || d->id == M_RINDEX)) return ev_fail(e, "ValueError", "substring not found");
    *out = val_int(at == SIZE_MAX ? -1 : from + (int64_t)str_cp_count(sv_sub(val_sv(part), 0, at)));
    return true;
}

static bool str_count_method(ev *e, val s, const cargs *a, val *out) {
    val v[3], part;
    int64_t from, n = 0;
    if (!args_bind(e, "count", a, NULL, 3, 1, v) || !need_str(e, "count", v[0])) return false;
    if (!str_bounds(e, s, v[1], v[2], &part, &from)) return false;
    if (part.kind == V_STR && !v[0].n) {
        n = (int64_t)str_cp_count(val_sv(part)) + 1;
    } else if (part.kind == V_STR) {
        for (size_t at = 0; (at = sv_find(val_sv(part), val_sv(v[0]), at)) != SIZE_MAX; at += v[0].n) n++;
    }
    *out = val_int(n);
    return true;
}

static bool str_replace_method(ev *e, val s, const cargs *a, val *out) {
    val v[3];
    int64_t count = -1;
    if (!args_bind(e, "replace", a, NULL, 3, 2, v)) return false;
    if (!need_str(e, "replace() argument 1", v[0]) || !need_str(e, "replace() argument 2", v[1])) return false;
    if (v[2].kind != V_MISSING && !need_int(e, v[2], &count)) return false;
    return str_replace(e, s, v[0], v[1], count, out);
}

static bool str_join_method(ev *e, val s, const cargs *a, val *out) {
    val v;
    const list *l;
    sbuf b = {0};
    if (!args_bind(e, "join", a, NULL, 1, 1, &v)) return false;
    if (v.kind != V_STR && v.kind != V_LIST && v.kind != V_DICT && v.kind != V_RANGE && v.kind != V_UNDEF) {
        return ev_fail(e, "TypeError", "can only join an iterable");
    }
    if (!val_iterate(e, v, &l)) return false;
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].kind != V_STR) {
            return ev_fail(e, "TypeError", "sequence item %zu: expected str instance, %s found", i, val_type(l->v[i]));
        }
        if (!ev_steps(e, 1) || (i && !sb_add_val(e, &b, s)) || !sb_add_val(e, &b, l->v[i])) return false;
    }
    *out = sb_done(&b);
    return true;
}

static bool str_remove_method(ev *e, const method_def *d, val s, const cargs *a, val *out) {
    val v;
    if (!args_bind(e, d->name, a, NULL, 1, 1, &v)) return false;
    if (v.kind != V_STR) return ev_fail(e, "TypeError", "%s() argument must be str, not %s", d->name, val_type(v));
    *out = s;
    bool end = d->id == M_REMOVESUFFIX;
    if (v.n && has_affix(s, v, end)) *out = str_sub(s, end ? 0 : v.n, s.n - v.n);
    return true;
}

static bool str_partition_method(ev *e, const method_def *d, val s, const cargs *a, val *out) {
    val sep, parts, empty = val_str(SV(""));
    bool right = d->id == M_RPARTITION;
    if (!args_bind(e, d->name, a, NULL, 1, 1, &sep)) return false;
    if (sep.kind != V_STR) return ev_fail(e, "TypeError", "must be str, not %s", val_type(sep));
    if (!str_split(e, s, &sep, 1, right, &parts) || !list_new(e, L_TUPLE, 3, s.user, out)) return false;
    const list *p = parts.l;
    bool found = p->n == 2;
    val three[3] = {found ? p->v[0] : right ? empty : s, found ? sep : empty, found ? p->v[1] : right ? s : empty};
    for (int i = 0; i < 3; i++) {
        if (!list_add(e, out->l, three[i])) return false;
    }
    return true;
}

static bool str_method(ev *e, const method_def *d, val s, const cargs *a, val *out) {
    static const char *const keepends[] = {"keepends"};
    val v;
    switch (d->id) {
    case M_STRIP:
    case M_LSTRIP:
    case M_RSTRIP: return str_strip_method(e, d, s, a, out);
    case M_SPLIT:
    case M_RSPLIT: return str_split_method(e, d, s, a, out);
    case M_SPLITLINES:
        return args_bind(e, d->name, a, keepends, 1, 0, &v) && str_splitlines(e, s, v.kind != V_MISSING && val_truthy(v), out);
    case M_STARTSWITH:
    case M_ENDSWITH: return str_affix_method(e, d, s, a, out);
    case M_UPPER:
    case M_LOWER:
    case M_TITLE:
    case M_CAPITALIZE:
    case M_SWAPCASE: {
        static const case_op ops[] = {CASE_UPPER, CASE_LOWER, CASE_TITLE, CASE_CAPITALIZE, CASE_SWAP};
        return args_bind(e, d->name, a, NULL, 0, 0, NULL) && str_case(e, s, ops[d->id - M_UPPER], out);
    }
    case M_REPLACE: return str_replace_method(e, s, a, out);
    case M_FIND:
    case M_RFIND:
    case M_INDEX:
    case M_RINDEX: return str_find_method(e, d, s, a, out);
    case M_COUNT: return str_count_method(e, s, a, out);
    case M_JOIN: return str_join_method(e, s, a, out);
    case M_REMOVEPREFIX:
    case M_REMOVESUFFIX: return str_remove_method(e, d, s, a, out);
    case M_PARTITION:
    case M_RPARTITION: return str_partition_method(e, d, s, a, out);
    case M_FORMAT: return str_format_braces(e, s, a, out);
    default: { /* M_ISALPHA ... M_ISASCII, in the order of is_op */
        static const is_op ops[] = {IS_ALPHA, IS_DIGIT, IS_NUMERIC, IS_DECIMAL, IS_ALNUM, IS_SPACE, IS_UPPER, IS_LOWER, IS_TITLE, IS_ASCII};
        if (!args_bind(e, d->name, a, NULL, 0, 0, NULL) || !ev_steps(e, s.n / 8)) return false;
        *out = val_bool(str_is(val_sv(s), ops[d->id - M_ISALPHA]));
        return true;
    }
    }
}

static bool dict_view(ev *e, method_id id, val d, val *out) {
    list_kind kind = id == M_ITEMS ? L_ITEMS : id == M_KEYS ? L_KEYS : L_VALUES;
    if (!ev_steps(e, d.d->n / 8) || !list_new(e, kind, d.d->n, d.user, out)) return false;
    for (size_t i = 0; i < d.d->n; i++) {
        val x = id == M_KEYS ? d.d->v[i].key : d.d->v[i].value;
        if (id == M_ITEMS) {
            if (!list_new(e, L_TUPLE, 2, d.user, &x)) return false;
            x.l->v[0] = d.d->v[i].key;
            x.l->v[1] = d.d->v[i].value;
            x.l->n = 2;
        }
        if (!list_add(e, out->l, x)) return false;
    }
    return true;
}

static bool dict_method(ev *e, const method_def *d, val self, const cargs *a, val *out) {
    val v[2];
    pair *p;
    if (d->id == M_GET) {
        if (!args_bind(e, d->name, a, NULL, 2, 1, v) || !val_hashable(e, v[0]) || !dict_find(e, self.d, v[0], &p)) return false;
        *out = p ? p->value : v[1].kind == V_MISSING ? val_none() : v[1];
        return true;
    }
    if (!args_bind(e, d->name, a, NULL, 0, 0, NULL)) return false;
    if (d->id != M_COPY) return dict_view(e, d->id, self, out);
    *out = self; /* dicts never change, so a copy is the dict */
    return true;
}

static bool list_method(ev *e, const method_def *d, val self, const cargs *a, val *out) {
    val v;
    int64_t n = 0;
    *out = self;
    if (d->id == M_LIST_COPY) return args_bind(e, d->name, a, NULL, 0, 0, NULL);
    if (!args_bind(e, d->name, a, NULL, 1, 1, &v)) return false;
    for (size_t i = 0; i < self.l->n; i++) {
        bool eq;
        if (!val_equal(e, v, self.l->v[i], &eq)) return false;
        if (eq && d->id == M_LIST_INDEX) {
            *out = val_int((int64_t)i);
            return true;
        }
        n += eq;
    }
    if (d->id == M_LIST_INDEX && self.l->kind == L_TUPLE) return ev_fail(e, "ValueError", "tuple.index(x): x not in tuple");
    if (d->id == M_LIST_INDEX) {
        val repr;
        return val_repr_of(e, v, &repr) && ev_fail(e, "ValueError", SV_FMT " is not in list", SV_ARG(val_sv(repr)));
    }
    *out = val_int(n);
    return true;
}

bool loop_attr(ev *e, const loop_state *l, sv attr, val *out, bool *found) {
    int64_t i = (int64_t)l->index0, n = (int64_t)l->items->n;
    const struct {
        const char *name;
        val v;
    } plain[] = {{"index", val_int(i + 1)},         {"index0", val_int(i)}, {"revindex", val_int(n - i)},
                 {"revindex0", val_int(n - i - 1)}, {"length", val_int(n)}, {"first", val_bool(i == 0)},
                 {"last", val_bool(i + 1 == n)},    {"depth", val_int(1)},  {"depth0", val_int(0)}};
    *found = true;
    for (size_t k = 0; k < sizeof plain / sizeof plain[0]; k++) {
        if (!sv_is(attr, plain[k].name)) continue;
        *out = plain[k].v;
        return true;
    }
    if (sv_is(attr, "previtem")) {
        if (i == 0) return val_undef_hint(e, "there is no previous item", out);
        *out = l->items->v[i - 1];
        return true;
    }
    if (sv_is(attr, "nextitem")) {
        if (i + 1 >= n) return val_undef_hint(e, "there is no next item", out);
        *out = l->items->v[i + 1];
        return true;
    }
    bool unsafe;
    val self = {.kind = V_LOOP, .loop = (loop_state *)l};
    int id = method_find(self, attr, &unsafe);
    if (id < 0) {
        *found = false;
        return true;
    }
    method *m = ev_alloc(e, 1, sizeof *m);
    if (!m) return false;
    *m = (method){self, id};
    *out = (val){.kind = V_METHOD, .me = m};
    return true;
}

static bool loop_method(ev *e, const method_def *d, val self, const cargs *a, val *out) {
    loop_state *l = self.loop;
    if (a->n_kw) return ev_fail(e, "TypeError", "LoopContext.%s() got an unexpected keyword argument", d->name);
    if (d->id == M_CYCLE) {
        if (!a->n) return ev_fail(e, "TypeError", "no items for cycling given");
        *out = a->pos[l->index0 % a->n];
        return true;
    }
    val now;
    bool same = false;
    if (!list_new(e, L_TUPLE, a->n, false, &now)) return false;
    for (size_t i = 0; i < a->n; i++) now.l->v[now.l->n++] = a->pos[i];
    if (l->last_changed && !val_equal(e, *l->last_changed, now, &same)) return false;
    if (!same) {
        if (!(l->last_changed = ev_alloc(e, 1, sizeof now))) return false;
        *l->last_changed = now;
    }
    *out = val_bool(!same);
    return true;
}

static bool method_call(ev *e, const method *m, const cargs *a, val *out) {
    const method_def *d = &methods_of(m->self)[m->id];
    if (d->id == M_UNSUPPORTED) return ev_unsupported(e, "method %s.%s", val_type(m->self), d->name);
    switch (m->self.kind) {
    case V_STR: return str_method(e, d, m->self, a, out);
    case V_DICT: return dict_method(e, d, m->self, a, out);
    case V_LOOP: return loop_method(e, d, m->self, a, out);
    default: return list_method(e, d, m->self, a, out);
    }
}

bool call_value(ev *e, val callee, const cargs *a, val *out) {
    switch ((val_kind)callee.kind) {
    case V_UNDEF: return undef_raise(e, callee.u);
    case V_METHOD: return method_call(e, callee.me, a, out);
    case V_MACRO: return macro_call(e, callee.m, a, out);
    case V_FUNC: return global_call(e, callee.fn, a, out);
    case V_LOOP: return ev_fail(e, "TypeError", "The loop must have the 'recursive' marker to be called recursively.");
    default: return ev_fail(e, "TypeError", "'%s' object is not callable", val_type(callee));
    }
}
