/* The commands, one file each, and what they share.  A command's `run` gets parsed options and returns the exit code. */
#ifndef GAVEL_CLI_COMMANDS_H
#define GAVEL_CLI_COMMANDS_H

#include "base/log.h"
#include "base/opt.h"
#include "lm/lm.h"

#include <signal.h>

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NO_VERDICT = 3, /* finished, some rows (or lines) without a verdict */
    EXIT_SIGNAL = 128,   /* plus the signal's number; resumable */
};

extern const opt_command command_judge, command_render, command_parse, command_tokenize, command_logits, command_inspect, command_export,
    command_verify, command_bench, command_quantize, command_merge, command_run, command_info, command_validate, command_plan, command_pull,
    command_push;
/* All of them, in the order of --help. */
extern const opt_command *const commands[];
extern const size_t n_commands;

/* Says the message on stderr; returns 2 for GV_USAGE, 1 else, and for GV_INTERRUPTED, which it does not mention, 128 + signal. */
int cli_fail(const gv_err *err);
/* The number of the SIGINT or SIGTERM that asked to stop, once signals are polite: before that they end the process. */
extern volatile sig_atomic_t cli_signal;
void cli_stop_politely(void);

/* Does a path given as "a run or a file" name a journal?  By its suffix .run, or by SQLite's magic. */
bool cli_is_journal(const char *path);

/* Options of every command that opens a model. */
typedef struct model_opts {
    const char *model, *chat_template, *kernels, *kv, *weights, *weights_cache;
    int64_t threads, max_batch, ctx, memory, prompt_chunk;
    bool no_prefix_cache;
} model_opts;
lm_options cli_lm_options(const model_opts *o);

#define CLI_OPT_MODEL(type, at, text)                                                                                                      \
    { "model", 'm', OPT_STRING, offsetof(type, at.model), "MODEL", NULL, 0, 0, text, "Model" }
#define CLI_OPT_TEMPLATE(type, at)                                                                                                         \
    {                                                                                                                                      \
        "chat-template", 0, OPT_STRING, offsetof(type, at.chat_template), "NAME|FILE|none", NULL, 0, 0,                                    \
            "Chat layout instead of the model's own; none: the text as it is", NULL                                                        \
    }
/* Which rows of a data set, for commands that read rows. */
typedef struct data_opts {
    const char *config, *split;
} data_opts;
#define CLI_OPTS_DATA(type, at)                                                                                                            \
    {"config", 0, OPT_STRING, offsetof(type, at.config), "NAME", NULL, 0, 0, "Configuration of the data set (default: its default one)",   \
     NULL},                                                                                                                                \
    {                                                                                                                                      \
        "split", 0, OPT_STRING, offsetof(type, at.split), "NAME[A:B]", NULL, 0, 0,                                                         \
            "Split of the data set, or a slice: test, test[:10%], train[5:20]+test (default: the only one there is)", NULL                 \
    }
/* Engine options: a heading stands before the first that a command lists. */
#define CLI_OPT_THREADS(type, at)                                                                                                          \
    { "threads", 't', OPT_INT, offsetof(type, at.threads), "N", NULL, 1, 1024, "Threads (default: all usable cores)", "Engine" }
#define CLI_OPT_KERNELS(type, at)                                                                                                          \
    {                                                                                                                                      \
        "kernels", 0, OPT_CHOICE, offsetof(type, at.kernels), "SET", "ref|avx2|avxvnni|avx512|amx|neon", 0, 0,                             \
            "Instruction set (default: the fastest this CPU has); results do not depend on it", NULL                                       \
    }
#define CLI_OPT_MEMORY(type, at)                                                                                                           \
    {                                                                                                                                      \
        "memory", 0, OPT_SIZE, offsetof(type, at.memory), "SIZE", NULL, 0, 0,                                                              \
            "Most memory of the whole program, such as 12G (default: 80 % of what is free)", NULL                                          \
    }
#define CLI_OPT_PROMPT_CHUNK(type, at)                                                                                                     \
    {                                                                                                                                      \
        "prompt-chunk", 0, OPT_INT, offsetof(type, at.prompt_chunk), "N", NULL, 1, 1048576,                                                \
            "Prompt tokens of one row a step at most; results do not depend on it", NULL                                                   \
    }
#define CLI_OPT_WEIGHTS(type, at)                                                                                                          \
    {                                                                                                                                      \
        "weights", 0, OPT_STRING, offsetof(type, at.weights), "TYPE", NULL, 0, 0,                                                          \
            "Quantise F32, F16 or BF16 weights while loading: q8_0, q6_k, q5_k, q4_k, q4_k_m ... (default: as they are)", NULL             \
    }
#define CLI_OPT_WEIGHTS_CACHE(type, at)                                                                                                    \
    {                                                                                                                                      \
        "weights-cache", 0, OPT_STRING, offsetof(type, at.weights_cache), "DIR", NULL, 0, 0,                                               \
            "Keep repacked weights in DIR and map them from there; processes share them (default: none)", NULL                             \
    }
#define CLI_OPT_MAX_BATCH(type, at)                                                                                                        \
    {                                                                                                                                      \
        "max-batch", 0, OPT_INT, offsetof(type, at.max_batch), "N", NULL, 1, 1024,                                                         \
            "Rows judged at a time (default: 32); results do not depend on it", NULL                                                       \
    }
#define CLI_OPT_NO_PREFIX_CACHE(type, at)                                                                                                  \
    {                                                                                                                                      \
        "no-prefix-cache", 0, OPT_FLAG, offsetof(type, at.no_prefix_cache), NULL, NULL, 0, 0,                                              \
            "Compute shared beginnings of prompts again; results do not depend on it", NULL                                                \
    }

#define CLI_OPTS_ENGINE(type, at)                                                                                                          \
    CLI_OPT_THREADS(type, at), CLI_OPT_KERNELS(type, at),                                                                                  \
        {"kv", 0, OPT_CHOICE, offsetof(type, at.kv), "TYPE", "f16|f32", 0, 0, "Type of the K/V cache (default: f16)", NULL},               \
        {"ctx", 0, OPT_INT, offsetof(type, at.ctx), "N", NULL, 32, 1048576, "Context in tokens (default: the model's)", NULL},             \
        CLI_OPT_WEIGHTS(type, at), CLI_OPT_MEMORY(type, at), CLI_OPT_PROMPT_CHUNK(type, at)

#endif
