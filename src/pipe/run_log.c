/* See run_log.h.  A line is one write(2) to a file opened for appending, so that lines of a killed process are whole. */
#include "pipe/run_log.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct run_log {
    int fd;
    int failed; /* errno of the first write that failed */
    char *path;
    buf line;
};

run_log *run_log_open(const char *path, gv_err *err) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) {
        gv_fail_errno(err, "cannot write %s", path);
        return NULL;
    }
    run_log *log = gv_xcalloc(1, sizeof *log);
    log->fd = fd;
    log->path = gv_xstrdup(path);
    return log;
}

void run_log_put_at(run_log *log, int64_t time_s, run_log_level level, sv message) {
    static const char *const names[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};
    if (!log) return;
    const time_t when = (time_t)time_s;
    struct tm tm = {0};
    char stamp[32] = "";
    localtime_r(&when, &tm);
    strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &tm);
    buf_clear(&log->line);
    buf_printf(&log->line, "[%s] %-8s ", stamp, names[level]);
    str_escape(message, message.n, &log->line);
    buf_add_char(&log->line, '\n');
    for (size_t done = 0; done < log->line.n && !log->failed;) {
        const ssize_t n = write(log->fd, log->line.p + done, log->line.n - done);
        if (n >= 0)
            done += (size_t)n;
        else if (errno != EINTR)
            log->failed = errno;
    }
}

void run_log_put(run_log *log, run_log_level level, const char *fmt, ...) {
    if (!log) return;
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    const int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0) return;
    run_log_put_at(log, time(NULL), level, (sv){text, (size_t)n});
    free(text);
}

bool run_log_close(run_log *log, gv_err *err) {
    if (!log) return true;
    if (close(log->fd) != 0 && !log->failed) log->failed = errno;
    errno = log->failed;
    const bool ok = !log->failed || gv_fail_errno(err, "cannot write %s", log->path);
    buf_fini(&log->line);
    free(log->path);
    free(log);
    return ok;
}
