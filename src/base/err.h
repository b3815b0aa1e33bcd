/* Errors: the one way a function below the command line says why it failed.
 *
 * A function that can fail returns bool (true = done) and takes a gv_err owned by the caller.  The message is set once, where the fact
 * is known (path, line, offset); callers may put context in front of it, never overwrite it.  Nobody below src/cli prints or exits. */
#ifndef GAVEL_BASE_ERR_H
#define GAVEL_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum gv_code {
    GV_OK = 0,
    GV_USAGE,       /* the caller asked for something that does not exist: option, rubric, column */
    GV_IO,          /* the operating system said no: open, read, write, disk full */
    GV_FORMAT,      /* input bytes break their format */
    GV_LIMIT,       /* input is well formed but over a cap of ours; the message names the cap */
    GV_UNSUPPORTED, /* well formed, but not something gavel does */
    GV_MEMORY,      /* an allocation sized by input failed */
    GV_STATE,       /* stored state disagrees with what was asked (changed settings, locked journal) */
    GV_INTERRUPTED, /* a signal asked us to stop */
} gv_code;

typedef struct gv_err {
    gv_code code;
    int64_t where;  /* line, byte offset or row the message speaks of; -1 if none */
    char msg[1024]; /* UTF-8, no trailing newline; truncated at a character boundary */
} gv_err;

#define GV_ERR_INIT                                                                                                                        \
    {                                                                                                                                      \
        GV_OK, -1, {                                                                                                                       \
            0                                                                                                                              \
        }                                                                                                                                  \
    }
#define GV_MUST_USE          __attribute__((warn_unused_result))
#define GV_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Sets code, where and message unless err already holds one; err may be NULL.  Always returns false, so: return gv_fail(...). */
bool gv_fail(gv_err *err, gv_code code, int64_t where, const char *fmt, ...) GV_PRINTF(4, 5);
bool gv_vfail(gv_err *err, gv_code code, int64_t where, const char *fmt, va_list ap);
/* As gv_fail with GV_IO and ": strerror(errno)" appended. */
bool gv_fail_errno(gv_err *err, const char *fmt, ...) GV_PRINTF(2, 3);
/* Puts "context: " in front of the message.  Returns false. */
bool gv_context(gv_err *err, const char *fmt, ...) GV_PRINTF(2, 3);
/* Empties err so that it can be used again. */
void gv_err_clear(gv_err *err);

#endif
