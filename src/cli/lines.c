/* See lines.h. */
#include "cli/lines.h"

#include "cli/commands.h"

#include <errno.h>
#include <stdio.h>

bool lines_print(const buf *text) {
    if (fwrite(text->p, 1, text->n, stdout) == text->n) return true;
    fprintf(stderr, "gavel: standard output: %s\n", strerror(errno));
    return false;
}

bool lines_flush(void) {
    if (fflush(stdout) == 0) return true;
    fprintf(stderr, "gavel: standard output: %s\n", strerror(errno));
    return false;
}

static void bad_line(const row *in, sv message, buf *out) {
    buf_clear(out);
    buf_printf(out, "{\"row\":%llu,\"status\":\"bad_input\",\"message\":", (unsigned long long)in->number);
    json_put_string(out, message);
    buf_add_char(out, '}');
}

int lines_run(const char *path, const rows_options *o, uint64_t only, line_fn *fn, void *ctx) {
    gv_err err = GV_ERR_INIT;
    rows_reader *r = rows_open(path, o, &err);
    if (!r) return cli_fail(&err);
    buf out = {0};
    row at;
    bool end = false, seen = false;
    int code = EXIT_OK;
    for (;;) {
        if (!rows_next(r, &at, &end, &err)) {
            lines_flush();
            code = cli_fail(&err);
            break;
        }
        if (end) break;
        if (only != UINT64_MAX && at.number != only) continue;
        seen = true;
        gv_err bad = GV_ERR_INIT;
        buf_clear(&out);
        if (at.bad || !fn(ctx, &at, &out, &bad)) {
            bad_line(&at, at.bad ? at.message : sv_of(bad.msg), &out);
            code = EXIT_NO_VERDICT;
        }
        buf_add_char(&out, '\n');
        if (!lines_print(&out)) {
            code = EXIT_FAILED;
            break;
        }
        if (only != UINT64_MAX) break;
    }
    if (code != EXIT_FAILED && only != UINT64_MAX && !seen) {
        fprintf(stderr, "gavel: %s has no row %llu\n", path, (unsigned long long)only);
        code = EXIT_USAGE;
    }
    if (!lines_flush()) code = EXIT_FAILED;
    buf_fini(&out);
    rows_close(r);
    return code;
}
