/* Option tables: one table makes the parser, --help, the man page and shell completion of a command. */
#ifndef GAVEL_BASE_OPT_H
#define GAVEL_BASE_OPT_H

#include "base/err.h"
#include "base/str.h"

#include <stddef.h>

typedef enum opt_kind {
    OPT_FLAG,   /* bool:   --json */
    OPT_INT,    /* int64_t, range checked: --seed 7 */
    OPT_DOUBLE, /* double, range checked */
    OPT_STRING, /* const char * into argv */
    OPT_CHOICE, /* const char *, one of `choices` ("a|b|c") */
    OPT_LIST,   /* opt_list: repeatable strings */
    OPT_SIZE,   /* int64_t bytes: 12G, 512M, 4096 (binary multiples) */
} opt_kind;

typedef struct opt_list {
    const char **v; /* borrowed from argv; the array is owned, free with opt_list_fini */
    size_t n;
} opt_list;
void opt_list_fini(opt_list *l);

typedef struct opt_def {
    const char *name; /* without dashes: "max-tokens" */
    char letter;      /* one-letter form, or 0 */
    opt_kind kind;
    size_t offset;       /* of the field in the command's option struct */
    const char *value;   /* name of the value in help: "N", "FILE"; NULL for flags */
    const char *choices; /* OPT_CHOICE: "a|b|c" */
    double min, max;     /* OPT_INT, OPT_DOUBLE and OPT_SIZE, inclusive; both 0: no range */
    const char *help;    /* one sentence, no final period needed */
    const char *group;   /* heading in help and man page; NULL keeps the group before */
} opt_def;

typedef struct opt_command {
    const char *name;       /* "judge" */
    const char *args;       /* "INPUT" */
    const char *summary;    /* one line */
    const char *detail;     /* paragraphs, blank lines between; lines that begin with a space are kept as they are */
    const char *example;    /* one or more lines, each a command */
    const opt_def *opts;    /* ends with a zero name */
    int min_args, max_args; /* max_args < 0: any number */
    int (*run)(int n_args, const char **args, const void *opts); /* returns the exit code */
    size_t opts_size;                                            /* size of the option struct */
    void (*defaults)(void *opts);                                /* fills defaults; the struct is zeroed before; may be NULL */
} opt_command;

/* Parses argv (without program and command name) into opts (opts_size bytes, defaults filled in) and args (capacity argc).
 * --name VALUE, --name=VALUE, -n VALUE, "--" ends options, "-" is an argument.  Errors (GV_USAGE) name the option and suggest the
 * nearest one: "unknown option --max-token; did you mean --max-tokens?".  Each option (but lists) may be given once.
 * *help is set on --help or -h, and parsing stops. */
bool opt_parse(const opt_command *cmd, int argc, const char **argv, void *opts, const char **args, int *n_args, bool *help,
               gv_err *err) GV_MUST_USE;
/* Frees every list in opts; safe on a zeroed struct.  opt_parse does it itself when it fails or stops at --help. */
void opt_fini(const opt_command *cmd, void *opts);

void opt_print_help(const opt_command *cmd, buf *out);                  /* for the terminal, 80 columns */
void opt_print_man(const opt_command *const *cmds, size_t n, buf *out); /* gavel.1, troff man macros */
void opt_print_completion(const opt_command *const *cmds, size_t n, bool zsh, buf *out);

#endif
