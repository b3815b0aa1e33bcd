/* The program: finds the command, parses its options, runs it.
 *
 * Messages go to standard error (talk.c), data to standard output or files.  Signals: SIGINT and SIGTERM end the process at once, with the
 * exit code 128 + signal, until a run has begun; from then on the first one only asks the run to stop, and the second ends the process.  Output
 * files appear whole or not at all, and the journal survives a kill, so nothing is lost either way. */
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/talk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const opt_command *const commands[] = {&command_judge,  &command_run,    &command_plan,     &command_validate, &command_info,
                                       &command_render, &command_parse,  &command_tokenize, &command_logits,   &command_inspect,
                                       &command_export, &command_verify, &command_quantize, &command_merge,    &command_bench,
                                       &command_pull,   &command_push};
const size_t n_commands = sizeof commands / sizeof *commands;

volatile sig_atomic_t cli_signal;
static volatile sig_atomic_t asks_first;

static void on_signal(int number) {
    if (!asks_first || cli_signal) _exit(EXIT_SIGNAL + number);
    cli_signal = number;
}

static void catch_signals(void) {
    struct sigaction a = {0};
    a.sa_handler = on_signal; /* without SA_RESTART: a read from a pipe ends, so that a run can stop while it waits for rows */
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a write error with a message */
    signal(SIGXFSZ, SIG_IGN); /* and so is a file size limit (ulimit -f) */
}

/* Standard streams that the caller closed get a placeholder, so that no file of ours has their numbers and receives messages.  Using them still
 * fails: each is opened the wrong way round. */
static void fill_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) return; /* no /dev/null: as it was */
}

void cli_stop_politely(void) {
    asks_first = 1;
}

int cli_fail(const gv_err *err) {
    if (err->code == GV_INTERRUPTED) return EXIT_SIGNAL + (cli_signal ? (int)cli_signal : SIGINT);
    talk_say("error", "%s", err->msg);
    return err->code == GV_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

bool cli_is_journal(const char *path) {
    char magic[16] = {0};
    if (sv_ends(sv_of(path), SV(".run"))) return true;
    struct stat st;
    FILE *f = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "rb") : NULL; /* a pipe would lose what is read here */
    const bool is = f && fread(magic, 1, sizeof magic, f) == sizeof magic && memcmp(magic, "SQLite format 3", sizeof magic) == 0;
    if (f) fclose(f);
    return is;
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
                        .weights = o->weights,
                        .weights_cache = o->weights_cache,
                        .prompt_chunk = o->prompt_chunk,
                        .no_prefix_cache = o->no_prefix_cache,
                        .stop = &cli_signal};
}

/* Writes text to stdout and frees it; a full disk or a closed pipe is a failure. */
static int print(buf *text) {
    const bool ok = lines_print(text) && lines_flush();
    buf_fini(text);
    return ok ? EXIT_OK : EXIT_FAILED;
}

static void put_overview(buf *out) {
    buf_printf(out, "gavel %s: an LLM judge\n\nusage: gavel COMMAND [arguments] [options]\n\nCommands:\n", GAVEL_VERSION);
    for (size_t i = 0; i < n_commands; i++) buf_printf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    buf_add_str(out, "\ngavel COMMAND --help tells more, gavel --version the version.\n"
                     "gavel --man and gavel --completion bash|zsh print the man page and completions.\n");
}

static int print_overview(void) {
    buf b = {0};
    put_overview(&b);
    return print(&b);
}

static int print_version(void) {
    buf b = {0};
    buf_add_str(&b, "gavel " GAVEL_VERSION "\n");
#ifdef GAVEL_TESTING
    buf_add_str(&b, "with the test engine: --model mock\n");
#endif
    return print(&b);
}

static int print_help(const opt_command *cmd) {
    buf b = {0};
    opt_print_help(cmd, &b);
    return print(&b);
}

static const opt_command *find_command(const char *name) {
    const char *names[64] = {0};
    for (size_t i = 0; i < n_commands; i++) {
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
        names[i] = commands[i]->name;
    }
    const char *near = nearest_name(name, names);
    if (near)
        talk_say("error", "unknown command %s; did you mean %s?", name, near);
    else
        talk_say("error", "unknown command %s; gavel --help lists them", name);
    return NULL;
}

/* What the man page and the completions are made of: script/check compares the committed files with this. */
static int print_generated(int argc, const char **argv) {
    buf b = {0};
    const bool completion = strcmp(argv[1], "--completion") == 0;
    if (completion && (argc != 3 || (strcmp(argv[2], "bash") != 0 && strcmp(argv[2], "zsh") != 0))) {
        talk_say("error", "--completion takes bash or zsh");
        return EXIT_USAGE;
    }
    if (completion)
        opt_print_completion(commands, n_commands, strcmp(argv[2], "zsh") == 0, &b);
    else
        opt_print_man(commands, n_commands, &b);
    return print(&b);
}

static int run_command(const opt_command *cmd, int argc, const char **argv) {
    gv_err err = GV_ERR_INIT;
    void *opts = gv_xcalloc(1, cmd->opts_size);
    const char **args = gv_xcalloc((size_t)argc + 1, sizeof *args);
    int n_args = 0, code;
    bool help = false;
    if (!opt_parse(cmd, argc, argv, opts, args, &n_args, &help, &err)) {
        gv_context(&err, "%s", cmd->name);
        code = cli_fail(&err);
    } else if (help) {
        code = print_help(cmd);
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
    log_set(talk_log, LOG_INFO);
    catch_signals();
    fill_streams();
    if (argc < 2) {
        buf b = {0};
        put_overview(&b);
        talk_line(sv_sub(buf_view(&b), 0, b.n - 1));
        buf_fini(&b);
        return EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "help") == 0 && argc > 2) {
        const opt_command *cmd = find_command(argv[2]);
        return cmd ? print_help(cmd) : EXIT_USAGE;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) return print_overview();
    if (strcmp(word, "--version") == 0) return print_version();
    if (strcmp(word, "--man") == 0 || strcmp(word, "--completion") == 0) return print_generated(argc, argv);
    const opt_command *cmd = find_command(word);
    return cmd ? run_command(cmd, argc - 2, argv + 2) : EXIT_USAGE;
}
