/* See talk.h.  Messages of errors are fit for a terminal already (base/err.c); a line that cannot be written has nobody to be told to. */
#include "cli/talk.h"

#include "base/json.h"

#include <stdio.h>

static bool in_json, bar_stands;

void talk_in_json(void) {
    in_json = true;
}

void talk_clear_bar(void) {
    if (bar_stands) fputs("\r\033[K", stderr);
    bar_stands = false;
}

void talk_bar(sv text) {
    fprintf(stderr, "\r\033[K" SV_FMT, SV_ARG(text));
    fflush(stderr);
    bar_stands = true;
}

void talk_line(sv text) {
    talk_clear_bar();
    fprintf(stderr, SV_FMT "\n", SV_ARG(text));
}

void talk_ask(sv text) {
    talk_clear_bar();
    fprintf(stderr, SV_FMT, SV_ARG(text));
    fflush(stderr);
}

void talk_say(const char *event, const char *fmt, ...) {
    gv_err text = GV_ERR_INIT; /* for its rules: bounded, valid UTF-8, no control characters */
    va_list ap;
    va_start(ap, fmt);
    gv_vfail(&text, GV_STATE, -1, fmt, ap);
    va_end(ap);
    buf line = {0};
    if (in_json) {
        buf_add_str(&line, "{\"event\":");
        json_put_string(&line, sv_of(event));
        buf_add_str(&line, ",\"message\":");
        json_put_string(&line, sv_of(text.msg));
        buf_add_char(&line, '}');
    } else {
        buf_printf(&line, "gavel: %s%s", strcmp(event, "warning") == 0 ? "warning: " : "", text.msg);
    }
    talk_line(buf_view(&line));
    buf_fini(&line);
}

void talk_log(log_level level, const char *msg) {
    talk_say(level == LOG_WARN ? "warning" : "note", "%s", msg);
}
