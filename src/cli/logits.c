/* gavel logits: the logits of given token ids, as little-endian float32. */
#include "base/file.h"
#include "base/thread.h"
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/transfer.h"
#include "engine/engine.h"

#include <errno.h>
#include <stdlib.h>

typedef struct logits_opts {
    model_opts model;
    const char *positions, *out;
} logits_opts;

static void defaults(void *opts) {
    ((logits_opts *)opts)->positions = "all";
}

#define AT(field) offsetof(logits_opts, field)

static const opt_def options[] = {
    CLI_OPT_MODEL(logits_opts, model, "Model: a GGUF file, a Hugging Face folder, or ORG/NAME[:QUANT][@REV] of the Hub"),
    {"positions", 0, OPT_STRING, AT(positions), "WHICH", NULL, 0, 0,
     "Logits of every position (all), of the last one only (last), or of the last N (a number; default: all)", NULL},
    {"out", 'o', OPT_STRING, AT(out), "FILE", NULL, 0, 0, "Output: n_vocab float32 a position, rows in input order", NULL},
    CLI_OPTS_ENGINE(logits_opts, model),
    {0},
};

typedef struct logits_ctx {
    model *m;
    engine *e;
    file_writer out;
    int32_t last, first; /* how many positions of a line at most; the first of them in the line at hand */
} logits_ctx;

static bool put_logits(void *ctx, int32_t position, const float *logits, gv_err *err) {
    logits_ctx *c = ctx;
    return position < c->first || file_writer_put(&c->out, logits, (size_t)c->m->shape.n_vocab * sizeof *logits, err);
}

static bool one_row(logits_ctx *c, const row *in, ids *list, gv_err *err) {
    list->n = 0;
    if (in->bad) return gv_fail(err, GV_FORMAT, in->line, SV_FMT, SV_ARG(in->message));
    const row_column *col = row_need(in, "ids", err);
    if (!col) return false;
    if (json_kind_of(col->value) != JSON_ARRAY)
        return gv_fail(err, GV_FORMAT, in->line, "ids is a %s, expected an array", json_kind_name(col->value));
    for (json_iter it = json_each(col->value); json_next(&it);) {
        int64_t id;
        if (!json_int64(it.value, &id) || id < 0 || id > INT32_MAX)
            return gv_fail(err, GV_FORMAT, in->line, "ids[%zu] is no token id", list->n);
        ids_add(list, (int32_t)id);
    }
    c->first = (int32_t)list->n > c->last ? (int32_t)list->n - c->last : 0;
    return engine_logits(c->e, list->v, (int32_t)list->n, c->last > 1, put_logits, c, err);
}

static bool all_rows(logits_ctx *c, const char *input, gv_err *err) {
    rows_reader *r = rows_open(input, &(rows_options){.format = ROWS_JSONL}, err);
    ids list = {0};
    row at;
    bool end = false, ok = r != NULL;
    while (ok && (ok = rows_next(r, &at, &end, err)) && !end) {
        ok = one_row(c, &at, &list, err);
        if (!ok) gv_context(err, "%s: row %llu", input, (unsigned long long)at.number);
    }
    ids_fini(&list);
    rows_close(r);
    return ok;
}

static bool parse_positions(const char *text, int32_t *last, gv_err *err) {
    char *end = NULL;
    errno = 0;
    const long n = strcmp(text, "all") == 0 ? INT32_MAX : strcmp(text, "last") == 0 ? 1 : strtol(text, &end, 10);
    if (errno || (end && (*end || end == text)) || n < 1 || n > INT32_MAX)
        return gv_fail(err, GV_USAGE, -1, "option --positions: \"%s\" is not all, last or a number from 1 on", text);
    *last = (int32_t)n;
    return true;
}

static bool compute(const logits_opts *o, const char *path, const char *input, int32_t last, pool *threads, gv_err *err) {
    engine_options e = {.kern = o->model.kernels ? kern_by_name(o->model.kernels, err) : kern_best(),
                        .kv_type = o->model.kv && strcmp(o->model.kv, "f32") == 0 ? KERN_KV_F32 : KERN_KV_F16,
                        .max_batch = 1,
                        .step_tokens = 256,
                        .prompt_chunk = (int)o->model.prompt_chunk};
    if (!e.kern) return false;
    const quant_mix *mix = o->model.weights ? quant_mix_by_name(o->model.weights, err) : NULL;
    if (o->model.weights && !mix) return gv_context(err, "--weights");
    tensors *file = tensors_open(path, err);
    tok *t = file ? tok_from_tensors(file, err) : NULL;
    if (!t) {
        tensors_close(file);
        return false;
    }
    logits_ctx c = {.m = model_open(file, mix, o->model.ctx, o->model.memory, threads, err), .last = last};
    bool ok = c.m != NULL;
    if (ok) {
        e.max_ctx = c.m->n_pos;
        e.n_pages = (int32_t)((e.max_ctx + KERN_PAGE_TOKENS - 1) / KERN_PAGE_TOKENS);
        c.e = engine_new(c.m, t, threads, &e, err);
        ok = c.e && file_writer_open(&c.out, o->out, err) && all_rows(&c, input, err) && file_writer_commit(&c.out, err);
        file_writer_abandon(&c.out);
    }
    engine_free(c.e);
    model_free(c.m);
    tok_free(t);
    return ok;
}

static int run(int n_args, const char **args, const void *opts) {
    const logits_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    const char *input = NULL;
    int32_t last = 0;
    if (!o->model.model)
        gv_fail(&err, GV_USAGE, -1, "no model given; add --model FILE.gguf or FOLDER");
    else if (!o->out)
        gv_fail(&err, GV_USAGE, -1, "no output given; add --out FILE");
    if (err.code || !parse_positions(o->positions, &last, &err) || !(input = lines_input(n_args, args, &err))) return cli_fail(&err);
    char *path = NULL;
    pool *threads = pool_new(o->model.threads > 0 ? (int)o->model.threads : cpu_count(), &err);
    const bool ok =
        threads && cli_model_path(o->model.model, HUB_WEIGHTS, false, false, &path, &err) && compute(o, path, input, last, threads, &err);
    pool_free(threads);
    free(path);
    return ok ? EXIT_OK : cli_fail(&err);
}

const opt_command command_logits = {
    .name = "logits",
    .args = "[FILE]",
    .summary = "Logits of given token ids",
    .detail = "Reads lines of {\"ids\"} (- is standard input), used as given (no BOS is added), and writes n_vocab little-endian float32 "
              "(padding included) for each position, rows in input order. A line that cannot be computed ends the command, and nothing is "
              "written.",
    .example = "echo '{\"ids\":[1,2,3]}' | gavel logits - --model model.gguf --positions last --out logits.bin",
    .opts = options,
    .min_args = 0,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(logits_opts),
    .defaults = defaults,
};
