/* See lines.h.  A bad line never ends the command: its neighbours are answered, and the exit code tells. */
#include "cli/lines.h"

#include "cli/commands.h"
#include "cli/talk.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static bool out_failed;

static bool fail_output(void) {
    if (!out_failed) talk_say("error", "standard output cannot be written: %s", strerror(errno));
    out_failed = true;
    return false;
}

bool lines_print(const buf *text) {
    if (out_failed || text->n == 0) return !out_failed; /* an empty buf has no bytes to point at */
    return fwrite(text->p, 1, text->n, stdout) == text->n || fail_output();
}

bool lines_flush(void) {
    return !out_failed && (fflush(stdout) == 0 || fail_output());
}

const char *lines_input(int n_args, const char **args, gv_err *err) {
    if (n_args) return args[0];
    if (!isatty(STDIN_FILENO)) return "-";
    gv_fail(err, GV_USAGE, -1, "no input given; name a file, or - for standard input");
    return NULL;
}

static void bad_line(const row *in, sv message, buf *out) {
    buf_clear(out);
    if (in->blank)
        buf_add_str(out, "{\"row\":null");
    else
        buf_printf(out, "{\"row\":%llu", (unsigned long long)in->number);
    buf_add_str(out, ",\"status\":\"bad_input\",\"message\":");
    json_put_string(out, message);
    buf_add_char(out, '}');
}

/* Answers one row; *bad counts those that could not be.  Missing memory is no fault of the row's. */
static bool answer(const row *at, line_fn *fn, void *ctx, buf *out, uint64_t *bad, gv_err *err) {
    gv_err why = GV_ERR_INIT;
    buf_clear(out);
    if (at->bad || !fn(ctx, at, out, &why)) {
        if (why.code == GV_MEMORY) return gv_fail(err, why.code, why.where, "%s", why.msg);
        bad_line(at, at->bad ? at->message : sv_of(why.msg), out);
        ++*bad;
    }
    buf_add_char(out, '\n');
    return lines_print(out);
}

static int exit_code(const char *path, uint64_t n, uint64_t bad, uint64_t only) {
    if (only != UINT64_MAX && n == 0) {
        talk_say("error", "%s has no row %llu", path, (unsigned long long)only);
        return EXIT_USAGE;
    }
    if (bad) talk_say("note", "%llu of %llu lines are bad input", (unsigned long long)bad, (unsigned long long)n);
    return bad ? EXIT_NO_VERDICT : EXIT_OK;
}

int lines_run(const char *path, const rows_options *o, uint64_t only, line_fn *fn, void *ctx) {
    gv_err err = GV_ERR_INIT;
    rows_options options = *o;
    options.blank_lines = only == UINT64_MAX;
    rows_reader *r = rows_open(path, &options, &err);
    if (!r) return cli_fail(&err);
    buf out = {0};
    row at;
    uint64_t n = 0, bad = 0;
    bool end = false;
    while (rows_next(r, &at, &end, &err) && !end) {
        if (only != UINT64_MAX && at.number != only) continue;
        n++;
        if (!answer(&at, fn, ctx, &out, &bad, &err) || only != UINT64_MAX) break;
    }
    int code = lines_flush() ? EXIT_OK : EXIT_FAILED;
    if (err.code != GV_OK)
        code = cli_fail(&err);
    else if (code == EXIT_OK)
        code = exit_code(path, n, bad, only);
    buf_fini(&out);
    rows_close(r);
    return code;
}
