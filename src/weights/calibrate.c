/* See calibrate.h.  One prompt at a time, on the engine's thread, so sums are made in the order of the tokens whatever the threads; sums in f64.
 * The output matrix is not measured (llama-imatrix leaves it out too): it gets a finer type anyway. */
#include "weights/calibrate.h"

#include "base/mem.h"
#include "data/rows.h"
#include "engine/engine.h"
#include "weights/imatrix.h"

#include <stdio.h>
#include <stdlib.h>

enum { DEFAULT_CTX = 2048, N_INPUTS = FORWARD_IN_DOWN + 1 };

/* Sums of one input of one layer: [n_experts][width]. */
typedef struct input_sums {
    int64_t width, n_experts;
    double *sum2;
    int64_t *count; /* [n_experts] */
} input_sums;

typedef struct calibration {
    const calibrate_options *o;
    model *m;
    tok *t;
    engine *e;
    input_sums *in; /* [n_layer][N_INPUTS] */
    int64_t n_prompts, n_tokens;
} calibration;

static void add_inputs(void *ctx, int layer, forward_input which, int expert, const float *x, int n, int width) {
    calibration *c = ctx;
    input_sums *in = &c->in[layer * N_INPUTS + (int)which];
    const int at = expert < 0 ? 0 : expert;
    double *sum = in->sum2 + (int64_t)at * width;
    for (int i = 0; i < n; i++, x += width)
        for (int k = 0; k < width; k++) sum[k] += (double)x[k] * (double)x[k];
    in->count[at] += n;
}

static bool make_sums(calibration *c, gv_err *err) {
    const model_shape *s = &c->m->shape;
    const int64_t widths[N_INPUTS] = {s->n_embd, (int64_t)s->n_head * s->head_dim, s->n_embd, s->n_ff};
    c->in = gv_xcalloc((size_t)s->n_layer * N_INPUTS, sizeof *c->in);
    for (int i = 0; i < s->n_layer * N_INPUTS; i++) {
        input_sums *in = &c->in[i];
        in->width = widths[i % N_INPUTS];
        in->n_experts = s->n_expert && i % N_INPUTS >= FORWARD_IN_GATE_UP ? s->n_expert : 1;
        in->sum2 = gv_try_calloc((size_t)(in->width * in->n_experts), sizeof *in->sum2, "sums of inputs", err);
        in->count = gv_xcalloc((size_t)in->n_experts, sizeof *in->count);
        if (!in->sum2) return false;
    }
    return true;
}

static bool ignore_logits(void *ctx, int32_t position, const float *logits, gv_err *err) {
    (void)ctx, (void)position, (void)logits, (void)err;
    return true;
}

static bool one_prompt(calibration *c, const row *in, int64_t ctx, ids *list, gv_err *err) {
    list->n = 0;
    if (in->bad) return gv_fail(err, GV_FORMAT, in->line, SV_FMT, SV_ARG(in->message));
    const row_column *col = row_need(in, "prompt", err);
    if (!col) return false;
    if (json_kind_of(col->value) != JSON_STRING)
        return gv_fail(err, GV_FORMAT, in->line, "prompt is a %s, expected a string", json_kind_name(col->value));
    const tok_segment all = {json_string(col->value), true};
    if (!tok_encode_prompt(c->t, &all, 1, list, err)) return false;
    if ((int64_t)list->n > ctx) list->n = (size_t)ctx;
    if (list->n == 0) return gv_fail(err, GV_FORMAT, in->line, "prompt is empty");
    if (!engine_logits(c->e, list->v, (int32_t)list->n, false, ignore_logits, NULL, err)) return false;
    c->n_prompts++, c->n_tokens += (int64_t)list->n;
    return !c->o->progress || c->o->progress(c->o->progress_ctx, c->n_prompts, c->n_tokens) ||
           gv_fail(err, GV_INTERRUPTED, -1, "interrupted");
}

static bool all_prompts(calibration *c, int64_t ctx, gv_err *err) {
    rows_reader *r = rows_open(c->o->prompts, &(rows_options){.format = ROWS_JSONL}, err);
    ids list = {0};
    row at;
    bool end = false, ok = r != NULL;
    while (ok && (ok = rows_next(r, &at, &end, err)) && !end) {
        ok = one_prompt(c, &at, ctx, &list, err);
        if (!ok && err->code != GV_INTERRUPTED) gv_context(err, "%s: row %llu", c->o->prompts, (unsigned long long)at.number);
    }
    ids_fini(&list);
    rows_close(r);
    return ok && (c->n_prompts > 0 || gv_fail(err, GV_FORMAT, -1, "%s: no prompts", c->o->prompts));
}

/* The matrices that read an input share its sums. */
static bool write_sums(const calibration *c, gv_err *err) {
    static const char *const readers[N_INPUTS][3] = {{"attn_q", "attn_k", "attn_v"}, {"attn_output"}, {"ffn_gate", "ffn_up"}, {"ffn_down"}};
    const int n_inputs = c->m->shape.n_layer * N_INPUTS;
    imatrix_sums *sums = gv_xcalloc((size_t)n_inputs * 3, sizeof *sums);
    size_t n = 0;
    arena a;
    arena_init(&a);
    for (int i = 0; i < n_inputs; i++) {
        const input_sums *in = &c->in[i];
        const int64_t size = in->width * in->n_experts;
        float *sum2 = arena_alloc(&a, (size_t)size * sizeof *sum2), *count = arena_alloc(&a, (size_t)in->n_experts * sizeof *count);
        for (int64_t k = 0; k < size; k++) sum2[k] = (float)in->sum2[k];
        for (int64_t k = 0; k < in->n_experts; k++) count[k] = (float)in->count[k];
        for (int r = 0; r < 3 && readers[i % N_INPUTS][r]; r++) {
            const bool experts = c->m->shape.n_expert && i % N_INPUTS >= FORWARD_IN_GATE_UP;
            const char *name = arena_printf(&a, "blk.%d.%s%s.weight", i / N_INPUTS, readers[i % N_INPUTS][r], experts ? "_exps" : "");
            sums[n++] = (imatrix_sums){name, in->width, in->n_experts, sum2, count};
        }
    }
    const char *slash = strrchr(c->o->prompts, '/');
    const bool ok = imatrix_write(sums, n, slash ? slash + 1 : c->o->prompts, c->o->out, err);
    arena_fini(&a);
    free(sums);
    return ok;
}

static bool open_all(calibration *c, int64_t *ctx, gv_err *err) {
    tensors *file = tensors_open(c->o->model, err);
    c->t = file ? tok_from_tensors(file, err) : NULL;
    if (!c->t) {
        gv_context(err, "%s", c->o->model);
        tensors_close(file);
        return false;
    }
    c->m = model_open(file, NULL, c->o->ctx ? c->o->ctx : DEFAULT_CTX, 0, c->o->threads, err);
    if (!c->m || !make_sums(c, err)) return false;
    *ctx = c->m->n_pos < c->m->shape.ctx_train ? c->m->n_pos : c->m->shape.ctx_train;
    const engine_options e = {.kern = c->o->kern,
                              .kv_type = KERN_KV_F16,
                              .max_batch = 1,
                              .step_tokens = 256,
                              .max_ctx = *ctx,
                              .n_pages = (int32_t)((*ctx + KERN_PAGE_TOKENS - 1) / KERN_PAGE_TOKENS),
                              .on_inputs = add_inputs,
                              .on_inputs_ctx = c};
    c->e = engine_new(c->m, c->t, c->o->threads, &e, err);
    return c->e != NULL;
}

bool weights_calibrate(const calibrate_options *o, gv_err *err) {
    calibration c = {.o = o};
    int64_t ctx = 0;
    const bool ok = open_all(&c, &ctx, err) && all_prompts(&c, ctx, err) && write_sums(&c, err);
    engine_free(c.e);
    for (int i = 0; c.in && i < c.m->shape.n_layer * N_INPUTS; i++) free(c.in[i].sum2), free(c.in[i].count);
    free(c.in);
    model_free(c.m);
    tok_free(c.t);
    return ok;
}
