/* See opt.h: the parser.  Help, man page and completion are in opt_print.c.
 *
 * Options and arguments may be mixed; a word that begins with "-" is an option unless it is "-" itself or comes after "--".  A value never
 * begins with "--" unless it is joined by "=", so a forgotten value does not swallow the next option.
 *
 * A value is checked where it is parsed, so that a command's struct holds only values its table allows.  Messages name the option as the
 * user wrote it, quote the value, and say what would be right. */
#include "base/opt.h"

#include "base/mem.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

void opt_list_fini(opt_list *l) {
    free(l->v);
    *l = (opt_list){0};
}

void opt_fini(const opt_command *cmd, void *opts) {
    for (const opt_def *d = cmd->opts; d && d->name; d++) {
        if (d->kind == OPT_LIST) opt_list_fini((opt_list *)((char *)opts + d->offset));
    }
}

/* `shown` is the option as the user wrote it. */
static bool check_range(const opt_def *d, const char *shown, const char *text, double v, gv_err *err) {
    if ((d->min == 0 && d->max == 0) || (v >= d->min && v <= d->max)) return true;
    return gv_fail(err, GV_USAGE, -1, "option %s: %s is not in %.15g to %.15g", shown, text, d->min, d->max);
}

static bool parse_int(const opt_def *d, const char *shown, const char *text, int64_t *out, gv_err *err) {
    char *end;
    const char *digits = text + (*text == '-' || *text == '+');
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (*digits < '0' || *digits > '9' || *end) return gv_fail(err, GV_USAGE, -1, "option %s: \"%s\" is not a whole number", shown, text);
    if (errno) return gv_fail(err, GV_USAGE, -1, "option %s: %s is too large", shown, text);
    *out = v;
    return check_range(d, shown, text, (double)v, err);
}

static bool parse_double(const opt_def *d, const char *shown, const char *text, double *out, gv_err *err) {
    char *end;
    double v = strtod(text, &end);
    if (!*text || text[strspn(text, "0123456789.eE+-")] || *end) /* no blanks, hexadecimals, inf or nan */
        return gv_fail(err, GV_USAGE, -1, "option %s: \"%s\" is not a number", shown, text);
    if (!isfinite(v)) return gv_fail(err, GV_USAGE, -1, "option %s: %s is too large", shown, text);
    *out = v;
    return check_range(d, shown, text, v, err);
}

static bool parse_size(const opt_def *d, const char *shown, const char *text, int64_t *out, gv_err *err) {
    static const char units[] = "kmgt";
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    int shift = 0;
    if (*end) {
        const char *unit = strchr(units, *end | 0x20);
        if (unit && *unit && !end[1])
            shift = 10 * (int)(unit - units + 1);
        else
            end = NULL;
    }
    if (*text < '0' || *text > '9' || !end)
        return gv_fail(err, GV_USAGE, -1, "option %s: \"%s\" is not a size in bytes (such as 4096, 512M or 12G)", shown, text);
    if (errno || v > INT64_MAX >> shift) return gv_fail(err, GV_USAGE, -1, "option %s: %s is too large", shown, text);
    *out = (int64_t)v << shift;
    return check_range(d, shown, text, (double)*out, err);
}

static bool parse_choice(const opt_def *d, const char *shown, const char *text, const char **out, gv_err *err) {
    char *copy = gv_xstrdup(d->choices), *save = NULL;
    const char **names = gv_xcalloc(strlen(copy) / 2 + 2, sizeof *names);
    size_t n = 0;
    for (char *t = strtok_r(copy, "|", &save); t; t = strtok_r(NULL, "|", &save)) names[n++] = t;
    bool found = false;
    for (size_t i = 0; i < n; i++) found = found || strcmp(names[i], text) == 0;
    if (found) {
        *out = text;
    } else {
        buf list = {0};
        for (size_t i = 0; i < n; i++) buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
        const char *near = nearest_name(text, names);
        gv_fail(err, GV_USAGE, -1, "option %s: \"%s\" is not one of %s%s%s%s", shown, text, list.p ? list.p : "",
                near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
        buf_fini(&list);
    }
    free(names);
    free(copy);
    return found;
}

static bool store(const opt_def *d, const char *shown, const char *text, void *opts, gv_err *err) {
    void *field = (char *)opts + d->offset;
    switch (d->kind) {
    case OPT_FLAG: *(bool *)field = true; return true;
    case OPT_INT: return parse_int(d, shown, text, field, err);
    case OPT_DOUBLE: return parse_double(d, shown, text, field, err);
    case OPT_SIZE: return parse_size(d, shown, text, field, err);
    case OPT_CHOICE: return parse_choice(d, shown, text, field, err);
    case OPT_STRING: *(const char **)field = text; return true;
    case OPT_LIST: {
        opt_list *l = field;
        l->v = gv_xrealloc(l->v, (l->n + 1) * sizeof *l->v);
        l->v[l->n++] = text;
        return true;
    }
    }
    return false;
}

static bool fail_unknown(const opt_command *cmd, const char *shown, sv name, gv_err *err) {
    size_t n = 0;
    while (cmd->opts && cmd->opts[n].name) n++;
    const char **names = gv_xcalloc(n + 2, sizeof *names);
    for (size_t i = 0; i < n; i++) names[i] = cmd->opts[i].name;
    names[n] = "help";
    char *text = gv_xmalloc(name.n + 1);
    if (name.n) memcpy(text, name.p, name.n);
    text[name.n] = 0;
    const char *near = name.n ? nearest_name(text, names) : NULL;
    if (near)
        gv_fail(err, GV_USAGE, -1, "unknown option %s; did you mean --%s?", shown, near);
    else
        gv_fail(err, GV_USAGE, -1, "unknown option %s; see gavel %s --help", shown, cmd->name);
    free(text);
    free(names);
    return false;
}

static const opt_def *find(const opt_command *cmd, sv name, char letter) {
    for (const opt_def *d = cmd->opts; d && d->name; d++) {
        if (letter ? d->letter == letter : sv_is(name, d->name)) return d;
    }
    return NULL;
}

/* The option at argv[*i]; moves *i to the last word it used. */
static bool parse_option(const opt_command *cmd, int argc, const char **argv, int *i, void *opts, bool *seen, gv_err *err) {
    const char *word = argv[*i], *value = NULL;
    bool is_long = word[1] == '-';
    sv name = sv_of(word + (is_long ? 2 : 1));
    const char *equals = is_long ? strchr(word, '=') : NULL;
    if (equals) {
        name.n = (size_t)(equals - name.p);
        value = equals + 1;
    }
    buf shown = {0};
    buf_add(&shown, word, equals ? (size_t)(equals - word) : strlen(word));
    const opt_def *d = is_long || name.n == 1 ? find(cmd, name, is_long ? 0 : name.p[0]) : NULL;
    bool ok = false;
    if (!d) {
        ok = fail_unknown(cmd, shown.p, is_long || find(cmd, name, 0) ? name : (sv){0}, err); /* -seed: suggest --seed */
    } else if (d->kind != OPT_LIST && seen[d - cmd->opts]) {
        gv_fail(err, GV_USAGE, -1, "option %s is given twice", shown.p);
    } else if (d->kind == OPT_FLAG && value) {
        gv_fail(err, GV_USAGE, -1, "option %s takes no value", shown.p);
    } else if (d->kind != OPT_FLAG && !value && (*i + 1 >= argc || strncmp(argv[*i + 1], "--", 2) == 0)) {
        gv_fail(err, GV_USAGE, -1, "option %s needs a value: %s %s", shown.p, shown.p, d->value ? d->value : "VALUE");
    } else {
        if (d->kind != OPT_FLAG && !value) value = argv[++*i];
        seen[d - cmd->opts] = true;
        ok = store(d, shown.p, value, opts, err);
    }
    buf_fini(&shown);
    return ok;
}

static bool check_args(const opt_command *cmd, const char **args, int n, gv_err *err) {
    const char *takes = cmd->args && *cmd->args ? cmd->args : "no arguments";
    if (n < cmd->min_args) return gv_fail(err, GV_USAGE, -1, "missing argument: gavel %s takes %s", cmd->name, takes);
    if (cmd->max_args >= 0 && n > cmd->max_args)
        return gv_fail(err, GV_USAGE, -1, "unexpected argument \"%s\": gavel %s takes %s", args[cmd->max_args], cmd->name, takes);
    return true;
}

bool opt_parse(const opt_command *cmd, int argc, const char **argv, void *opts, const char **args, int *n_args, bool *help, gv_err *err) {
    if (cmd->opts_size) memset(opts, 0, cmd->opts_size);
    if (cmd->defaults) cmd->defaults(opts);
    *n_args = 0;
    *help = false;
    size_t n_opts = 0;
    while (cmd->opts && cmd->opts[n_opts].name) n_opts++;
    bool *seen = gv_xcalloc(n_opts + 1, sizeof *seen), ok = true, only_args = false;
    for (int i = 0; i < argc && ok && !*help; i++) {
        const char *word = argv[i];
        if (only_args || word[0] != '-' || !word[1])
            args[(*n_args)++] = word;
        else if (strcmp(word, "--") == 0)
            only_args = true;
        else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
            *help = true;
        else
            ok = parse_option(cmd, argc, argv, &i, opts, seen, err);
    }
    free(seen);
    if (ok && !*help) ok = check_args(cmd, args, *n_args, err);
    if (!ok || *help) opt_fini(cmd, opts);
    return ok;
}
