/* See log.h.  The sink and level are the one piece of mutable global state; they are set once before threads start and only read after. */
#include "base/log.h"

static log_sink *the_sink;
static log_level the_level = LOG_WARN;

void log_set(log_sink *sink, log_level max_level) {
    the_sink = sink;
    the_level = max_level;
}

void log_msg(log_level level, const char *fmt, ...) {
    if (!the_sink || level > the_level) return;
    gv_err text = GV_ERR_INIT; /* for its rules: valid UTF-8, no control characters, bounded */
    va_list ap;
    va_start(ap, fmt);
    gv_vfail(&text, GV_STATE, -1, fmt, ap);
    va_end(ap);
    the_sink(level, text.msg);
}
