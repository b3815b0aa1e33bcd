/* The program: finds the command, parses its options, runs it.  Messages go to stderr, data to stdout or files. */
#include "cli/commands.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const opt_command *const commands[] = {&command_judge,  &command_render,  &command_parse, &command_tokenize,
                                       &command_logits, &command_inspect, &command_export};
const size_t n_commands = sizeof commands / sizeof *commands;

volatile sig_atomic_t cli_signal;

static void on_signal(int number) {
    cli_signal = number;
}

void cli_catch_signals(void) {
    struct sigaction a = {0};
    a.sa_handler = on_signal;
    a.sa_flags = (int)SA_RESETHAND; /* a second signal ends the process at once */
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

int cli_fail(const gv_err *err) {
    if (err->code == GV_INTERRUPTED) return EXIT_SIGNAL + (cli_signal ? (int)cli_signal : SIGINT);
    fprintf(stderr, "gavel: %s\n", err->msg);
    return err->code == GV_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

lm_options cli_lm_options(const model_opts *o) {
    return (lm_options){.model = o->model,
                        .chat_template = o->chat_template,
                        .kernels = o->kernels,
                        .kv = o->kv,
                        .threads = o->threads,
                        .max_batch = o->max_batch,
                        .ctx = o->ctx,
                        .memory_bytes = o->memory,
                        .prompt_chunk = o->prompt_chunk,
                        .no_prefix_cache = o->no_prefix_cache};
}

static void print_log(log_level level, const char *msg) {
    fprintf(stderr, "gavel: %s%s\n", level == LOG_WARN ? "warning: " : "", msg);
}

/* Writes text to stdout; a full disk or a closed pipe is a failure. */
static int print(const buf *text) {
    const bool ok = fwrite(text->p, 1, text->n, stdout) == text->n && fflush(stdout) == 0;
    if (!ok) fprintf(stderr, "gavel: standard output cannot be written\n");
    return ok ? EXIT_OK : EXIT_FAILED;
}

static int print_overview(void) {
    buf b = {0};
    buf_printf(&b, "gavel %s: an LLM judge.\n\nUsage: gavel COMMAND [OPTIONS] ...\n\nCommands:\n", GAVEL_VERSION);
    for (size_t i = 0; i < n_commands; i++) buf_printf(&b, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    buf_add_str(&b, "\ngavel COMMAND --help tells more; gavel --version prints the version.\n");
    const int code = print(&b);
    buf_fini(&b);
    return code;
}

static int unknown_command(const char *name) {
    const char *names[64] = {0};
    for (size_t i = 0; i < n_commands; i++) names[i] = commands[i]->name;
    const char *near = nearest_name(name, names);
    if (near)
        fprintf(stderr, "gavel: unknown command %s; did you mean %s?\n", name, near);
    else
        fprintf(stderr, "gavel: unknown command %s; gavel --help lists them\n", name);
    return EXIT_USAGE;
}

/* What the man page and the completions are made of: script/check compares the committed files with this. */
static int print_generated(int argc, const char **argv) {
    buf b = {0};
    const bool completion = strcmp(argv[1], "--completion") == 0;
    if (completion && (argc != 3 || (strcmp(argv[2], "bash") != 0 && strcmp(argv[2], "zsh") != 0))) {
        fprintf(stderr, "gavel: --completion takes bash or zsh\n");
        return EXIT_USAGE;
    }
    if (completion)
        opt_print_completion(commands, n_commands, strcmp(argv[2], "zsh") == 0, &b);
    else
        opt_print_man(commands, n_commands, &b);
    const int code = print(&b);
    buf_fini(&b);
    return code;
}

static int run_command(const opt_command *cmd, int argc, const char **argv) {
    gv_err err = GV_ERR_INIT;
    void *opts = calloc(1, cmd->opts_size ? cmd->opts_size : 1);
    const char **args = calloc((size_t)argc + 1, sizeof *args);
    int n_args = 0, code;
    bool help = false;
    if (!opts || !args) abort();
    if (!opt_parse(cmd, argc, argv, opts, args, &n_args, &help, &err)) {
        fprintf(stderr, "gavel %s: %s\n", cmd->name, err.msg);
        code = EXIT_USAGE;
    } else if (help) {
        buf b = {0};
        opt_print_help(cmd, &b);
        code = print(&b);
        buf_fini(&b);
    } else {
        code = cmd->run(n_args, args, opts);
        opt_fini(cmd, opts);
    }
    free(args);
    free(opts);
    return code;
}

int main(int argc, char **argv_in) {
    const char **argv = (const char **)argv_in;
    log_set(print_log, LOG_INFO);
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a write error with a message */
    if (argc < 2) {
        print_overview();
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) return print_overview();
    if (strcmp(argv[1], "--version") == 0) {
        buf b = {0};
        buf_printf(&b, "gavel %s\n", GAVEL_VERSION);
        const int code = print(&b);
        buf_fini(&b);
        return code;
    }
    if (strcmp(argv[1], "--man") == 0 || strcmp(argv[1], "--completion") == 0) return print_generated(argc, argv);
    for (size_t i = 0; i < n_commands; i++)
        if (strcmp(commands[i]->name, argv[1]) == 0) return run_command(commands[i], argc - 2, argv + 2);
    return unknown_command(argv[1]);
}
