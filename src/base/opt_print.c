/* See opt.h: what people and shells read of the option tables: --help, gavel.1, bash and zsh completion.  The parser is in opt.c.
 *
 * Everything here is a pure function of the tables: text is appended to a buffer, nothing is printed.  Help is wrapped at 80
 * columns; a byte that continues a UTF-8 character counts nothing.  The man page uses the man macros of groff and mandoc (man(7)) and carries
 * no date, so that the same tables give the same bytes. */
#include "base/opt.h"

enum { COLUMNS = 80, HELP_COLUMN = 28 };

static size_t width(const char *s, size_t n) {
    size_t w = 0;
    for (size_t i = 0; i < n; i++) w += ((unsigned char)s[i] & 0xC0) != 0x80;
    return w;
}

/* Words of text up to `end`, wrapped between columns `indent` and COLUMNS; the cursor stands at column `at`.  Ends without a newline. */
static void put_wrapped(buf *out, const char *text, const char *end, size_t indent, size_t at) {
    bool first = true;
    while (text < end) {
        while (text < end && (*text == ' ' || *text == '\n')) text++;
        const char *word = text;
        while (text < end && *text != ' ' && *text != '\n') text++;
        size_t w = width(word, (size_t)(text - word));
        if (w == 0) break;
        if (!first && at + 1 + w > COLUMNS) {
            buf_printf(out, "\n%*s", (int)indent, "");
            at = indent;
            first = true;
        }
        if (!first) {
            buf_add_char(out, ' ');
            at++;
        }
        buf_add(out, word, (size_t)(text - word));
        at += w;
        first = false;
    }
}

/* The next paragraph of detail text, or line if it begins with a space (kept as it is); NULL at the end.  gap: a blank line stands before. */
static const char *next_block(const char **text, const char **end, bool *verbatim, bool *gap) {
    const char *p = *text;
    while (*p == '\n') p++;
    *gap = p - *text > 1;
    if (!*p) return NULL;
    *verbatim = *p == ' ';
    const char *q = p;
    while (*q && !(*q == '\n' && (*verbatim || q[1] == '\n' || q[1] == ' '))) q++;
    *text = *end = q;
    return p;
}

static const char *value_name(const opt_def *d) {
    if (d->kind == OPT_FLAG) return NULL;
    if (d->value) return d->value;
    return d->choices ? d->choices : "VALUE";
}

static void put_help_line(buf *out, const char *left, const char *help) {
    size_t w = width(left, strlen(left));
    buf_add_str(out, left);
    if (w + 2 > HELP_COLUMN)
        buf_printf(out, "\n%*s", HELP_COLUMN, "");
    else
        buf_printf(out, "%*s", (int)(HELP_COLUMN - w), "");
    put_wrapped(out, help, help + strlen(help), HELP_COLUMN, HELP_COLUMN);
    buf_add_char(out, '\n');
}

/* Help text of an option with its choices, when the value's name does not show them. */
static void help_text(const opt_def *d, buf *out) {
    buf_clear(out);
    buf_add_str(out, d->help ? d->help : "");
    if (d->choices && d->value) buf_printf(out, " (%s)", d->choices);
    if (d->kind == OPT_LIST) buf_add_str(out, " (repeatable)");
}

void opt_print_help(const opt_command *cmd, buf *out) {
    bool has_args = cmd->args && *cmd->args;
    buf_printf(out, "usage: gavel %s%s%s [options]\n\n", cmd->name, has_args ? " " : "", has_args ? cmd->args : "");
    put_wrapped(out, cmd->summary, cmd->summary + strlen(cmd->summary), 0, 0);
    buf_add_char(out, '\n');
    const char *text = cmd->detail ? cmd->detail : "", *end, *block;
    bool verbatim, gap;
    buf_add_str(out, *text ? "\n" : "");
    while ((block = next_block(&text, &end, &verbatim, &gap))) {
        if (gap) buf_add_char(out, '\n');
        if (verbatim)
            buf_add(out, block, (size_t)(end - block));
        else
            put_wrapped(out, block, end, 0, 0);
        buf_add_char(out, '\n');
    }
    buf left = {0}, help = {0};
    const char *group = NULL;
    for (const opt_def *d = cmd->opts; d && d->name; d++) {
        if (d->group || !group) {
            group = d->group ? d->group : "Options";
            buf_printf(out, "\n%s:\n", group);
        }
        buf_clear(&left);
        if (d->letter)
            buf_printf(&left, "  -%c, --%s", d->letter, d->name);
        else
            buf_printf(&left, "      --%s", d->name);
        if (value_name(d)) buf_printf(&left, " %s", value_name(d));
        help_text(d, &help);
        put_help_line(out, left.p, help.p);
    }
    buf_add_str(out, group ? "\nOther:\n" : "\nOptions:\n");
    put_help_line(out, "  -h, --help", "Show this help");
    if (cmd->example) {
        buf_add_str(out, "\nExamples:\n");
        for (const char *p = cmd->example; *p;) {
            size_t n = strcspn(p, "\n");
            buf_printf(out, "  %.*s\n", (int)n, p);
            p += n + (p[n] == '\n');
        }
    }
    buf_fini(&left);
    buf_fini(&help);
}

/* Text for troff: backslashes and minus signs as characters, no line that begins a request. */
static void put_troff(buf *out, const char *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        bool line_start = out->n == 0 || out->p[out->n - 1] == '\n';
        if (line_start && (p[i] == '.' || p[i] == '\'')) buf_add_str(out, "\\&");
        if (p[i] == '\\')
            buf_add_str(out, "\\e");
        else if (p[i] == '-')
            buf_add_str(out, "\\-");
        else if (p[i] == '"')
            buf_add_str(out, "\\(dq");
        else
            buf_add_char(out, p[i]);
    }
}

static void put_troff_str(buf *out, const char *s) {
    put_troff(out, s, strlen(s));
}

static void put_man_detail(const char *text, buf *out) {
    const char *end, *block;
    bool verbatim, open = false, gap;
    buf_add_str(out, ".PP\n");
    while ((block = next_block(&text, &end, &verbatim, &gap))) {
        if (open && !verbatim) buf_add_str(out, ".fi\n");
        if (gap) buf_add_str(out, open && verbatim ? "\n" : ".PP\n");
        if (!open && verbatim) buf_add_str(out, ".nf\n");
        open = verbatim;
        put_troff(out, block, (size_t)(end - block));
        buf_add_char(out, '\n');
    }
    if (open) buf_add_str(out, ".fi\n");
}

static void put_man_option(const opt_def *d, buf *help, buf *out) {
    buf_add_str(out, ".TP\n");
    if (d->letter) {
        buf_add_str(out, "\\fB\\-");
        put_troff(out, &d->letter, 1);
        buf_add_str(out, "\\fR, ");
    }
    buf_add_str(out, "\\fB\\-\\-");
    put_troff_str(out, d->name);
    buf_add_str(out, "\\fR");
    if (value_name(d)) {
        buf_add_str(out, " \\fI");
        put_troff_str(out, value_name(d));
        buf_add_str(out, "\\fR");
    }
    buf_add_char(out, '\n');
    help_text(d, help);
    put_troff(out, help->p, help->n);
    buf_add_char(out, '\n');
}

static void put_man_command(const opt_command *cmd, buf *out) {
    buf help = {0};
    buf_add_str(out, ".SH \"GAVEL ");
    for (const char *p = cmd->name; *p; p++) buf_add_char(out, *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p);
    buf_add_str(out, "\"\n.B gavel ");
    put_troff_str(out, cmd->name);
    buf_add_char(out, '\n');
    if (cmd->args && *cmd->args) {
        put_troff_str(out, cmd->args);
        buf_add_char(out, '\n');
    }
    buf_add_str(out, "[options]\n.PP\n");
    put_troff_str(out, cmd->summary);
    buf_add_char(out, '\n');
    if (cmd->detail) put_man_detail(cmd->detail, out);
    const char *group = NULL;
    for (const opt_def *d = cmd->opts; d && d->name; d++) {
        if (d->group || !group) {
            group = d->group ? d->group : "Options";
            buf_add_str(out, ".SS \"");
            put_troff_str(out, group);
            buf_add_str(out, "\"\n");
        }
        put_man_option(d, &help, out);
    }
    if (cmd->example) {
        buf_add_str(out, ".SS Examples\n.nf\n");
        put_troff_str(out, cmd->example);
        if (out->p[out->n - 1] != '\n') buf_add_char(out, '\n');
        buf_add_str(out, ".fi\n");
    }
    buf_fini(&help);
}

void opt_print_man(const opt_command *const *cmds, size_t n, buf *out) {
    buf_add_str(out, ".TH GAVEL 1 \"\" \"gavel " GAVEL_VERSION "\" \"User Commands\"\n"
                     ".SH NAME\ngavel \\- judge responses with evaluator language models\n"
                     ".SH SYNOPSIS\n.B gavel\n.I command\n[arguments] [options]\n.br\n.B gavel\n.I command\n.B \\-\\-help\n"
                     ".SH COMMANDS\n");
    for (size_t i = 0; i < n; i++) {
        buf_add_str(out, ".TP\n.B ");
        put_troff_str(out, cmds[i]->name);
        buf_add_char(out, '\n');
        put_troff_str(out, cmds[i]->summary);
        buf_add_char(out, '\n');
    }
    for (size_t i = 0; i < n; i++) put_man_command(cmds[i], out);
    buf_add_str(out, ".SH \"EXIT STATUS\"\n.TP\n0\nAll rows have a verdict.\n.TP\n1\nFailed.\n.TP\n2\nWrong usage.\n.TP\n3\n"
                     "Finished, some rows without a verdict.\n.TP\n130, 143\nInterrupted; the same command continues the run.\n");
}

/* `choices` with separators replaced by blanks. */
static void put_choices(buf *out, const char *choices) {
    for (; *choices; choices++) buf_add_char(out, *choices == '|' ? ' ' : *choices);
}

static bool takes_file(const opt_def *d) {
    return d->kind == OPT_STRING || d->kind == OPT_LIST;
}

static void put_bash_command(const opt_command *cmd, buf *out) {
    buf_printf(out, "    %s)\n        case $prev in\n", cmd->name);
    for (const opt_def *d = cmd->opts; d && d->name; d++) {
        if (d->kind == OPT_FLAG) continue;
        buf_printf(out, "        --%s", d->name);
        if (d->letter) buf_printf(out, "|-%c", d->letter);
        buf_add_str(out, ") ");
        if (d->kind == OPT_CHOICE) {
            buf_add_str(out, "mapfile -t COMPREPLY < <(compgen -W '");
            put_choices(out, d->choices);
            buf_add_str(out, "' -- \"$cur\"); return ;;\n");
        } else {
            buf_add_str(out, takes_file(d) ? "_gavel_files; return ;;\n" : "return ;;\n");
        }
    }
    buf_add_str(out, "        esac\n        options='");
    for (const opt_def *d = cmd->opts; d && d->name; d++) buf_printf(out, "--%s ", d->name);
    buf_add_str(out, "--help'\n        ;;\n");
}

static void put_bash(const opt_command *const *cmds, size_t n, buf *out) {
    buf_add_str(out, "# bash completion for gavel, made from its option tables\n"
                     "_gavel_files() {\n"
                     "    compopt -o filenames 2>/dev/null\n"
                     "    mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
                     "}\n"
                     "_gavel() {\n"
                     "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} options=--help\n"
                     "    COMPREPLY=()\n"
                     "    if [[ $COMP_CWORD -eq 1 ]]; then\n"
                     "        mapfile -t COMPREPLY < <(compgen -W '");
    for (size_t i = 0; i < n; i++) buf_printf(out, "%s ", cmds[i]->name);
    buf_add_str(out, "--help --version' -- \"$cur\")\n"
                     "        return\n"
                     "    fi\n"
                     "    if [[ $cur == '=' ]]; then cur=; elif [[ $prev == '=' ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
                     "    case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < n; i++) put_bash_command(cmds[i], out);
    buf_add_str(out, "    esac\n"
                     "    case $cur in\n"
                     "    -*) mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\") ;;\n"
                     "    *) _gavel_files ;;\n"
                     "    esac\n"
                     "}\n"
                     "complete -F _gavel gavel\n");
}

/* Text inside a single-quoted zsh word; `special` are characters that the completion system reads in this place. */
static void put_zsh(buf *out, const char *s, const char *special) {
    for (; *s; s++) {
        if (*s == '\'') {
            buf_add_str(out, "'\\''");
        } else {
            if (*s == '\\' || strchr(special, *s)) buf_add_char(out, '\\');
            buf_add_char(out, *s);
        }
    }
}

static void put_zsh_option(const opt_def *d, buf *out) {
    bool flag = d->kind == OPT_FLAG;
    buf_add_str(out, " \\\n            ");
    if (d->kind == OPT_LIST)
        buf_add_str(out, "'*'");
    else if (d->letter)
        buf_printf(out, "'(-%c --%s)'", d->letter, d->name);
    if (d->letter)
        buf_printf(out, "{-%c,--%s%s}", d->letter, d->name, flag ? "" : "=");
    else
        buf_printf(out, "--%s%s", d->name, flag ? "" : "=");
    buf_add_str(out, "'[");
    put_zsh(out, d->help ? d->help : "", "[]:");
    buf_add_char(out, ']');
    if (!flag) {
        buf_add_char(out, ':');
        put_zsh(out, d->value ? d->value : d->name, "[]:");
        buf_add_char(out, ':');
        if (d->kind == OPT_CHOICE) {
            buf_add_char(out, '(');
            put_choices(out, d->choices);
            buf_add_char(out, ')');
        } else if (takes_file(d)) {
            buf_add_str(out, "_files");
        }
    }
    buf_add_char(out, '\'');
}

static void put_zsh_all(const opt_command *const *cmds, size_t n, buf *out) {
    buf_add_str(out, "#compdef gavel\n"
                     "# zsh completion for gavel, made from its option tables\n"
                     "_gavel() {\n"
                     "    local -a commands\n"
                     "    commands=(\n");
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "        '%s:", cmds[i]->name);
        put_zsh(out, cmds[i]->summary, "");
        buf_add_str(out, "'\n");
    }
    buf_add_str(out, "    )\n"
                     "    if (( CURRENT == 2 )); then\n"
                     "        _describe -t commands 'gavel command' commands\n"
                     "        return\n"
                     "    fi\n"
                     "    local command=$words[2]\n"
                     "    shift words\n"
                     "    (( CURRENT-- ))\n"
                     "    case $command in\n");
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "    %s)\n        _arguments", cmds[i]->name);
        for (const opt_def *d = cmds[i]->opts; d && d->name; d++) put_zsh_option(d, out);
        buf_add_str(out, " \\\n            '(-h --help)'{-h,--help}'[Show help]'");
        if (cmds[i]->max_args) {
            buf_add_str(out, " \\\n            '*:");
            put_zsh(out, cmds[i]->args ? cmds[i]->args : "", "[]:");
            buf_add_str(out, ":_files'");
        }
        buf_add_str(out, "\n        ;;\n");
    }
    buf_add_str(out, "    esac\n}\n_gavel \"$@\"\n");
}

void opt_print_completion(const opt_command *const *cmds, size_t n, bool zsh, buf *out) {
    if (zsh)
        put_zsh_all(cmds, n, out);
    else
        put_bash(cmds, n, out);
}
