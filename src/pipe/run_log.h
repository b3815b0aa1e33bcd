/* The log of a run, as distilabel writes pipeline.log: "[2026-11-24 16:41:31] INFO     message", the level in 8 columns, local time.
 *
 * Lines are appended as they come and survive a killed process; a resumed run appends to the same file.  Line breaks and control characters
 * in a message are escaped, so a line is always one event.  A write that fails is remembered and reported by run_log_close. */
#ifndef GAVEL_PIPE_RUN_LOG_H
#define GAVEL_PIPE_RUN_LOG_H

#include "base/err.h"
#include "base/str.h"

typedef struct run_log run_log;
typedef enum run_log_level { RUN_LOG_DEBUG, RUN_LOG_INFO, RUN_LOG_WARNING, RUN_LOG_ERROR, RUN_LOG_CRITICAL } run_log_level;

/* Appends to path, creating it if need be. */
run_log *run_log_open(const char *path, gv_err *err) GV_MUST_USE;
/* log may be NULL: then nothing is written. */
void run_log_put(run_log *log, run_log_level level, const char *fmt, ...) GV_PRINTF(3, 4);
/* The same at a given time (seconds since the epoch). */
void run_log_put_at(run_log *log, int64_t time_s, run_log_level level, sv message);
/* Frees; GV_IO if a line could not be written.  close(NULL) is true. */
bool run_log_close(run_log *log, gv_err *err) GV_MUST_USE;

#endif
