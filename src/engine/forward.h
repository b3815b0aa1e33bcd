/* One batch step: new tokens of any number of sequences through all layers, their K/V into pages, logits for the tokens that ask.
 *
 * A token's result depends only on its sequence's tokens up to it (canonical-1): every kernel works on one activation column or one query
 * at a time, so neither the batch nor the split over threads changes a bit.  Nothing is allocated in a step: forward_new sizes all
 * scratch from the largest step. */
#ifndef GAVEL_ENGINE_FORWARD_H
#define GAVEL_ENGINE_FORWARD_H

#include "engine/kv.h"
#include "engine/model.h"

/* Tokens of one sequence form one run: consecutive in the batch, positions ascending by one. */
typedef struct step_run {
    const int32_t *tokens; /* [n] */
    int32_t n, pos0;       /* position of the first */
    const kv_page *pages;  /* the sequence's page table, reaching position pos0+n-1 */
    bool keep_kv;          /* K and V of these tokens are already in their (shared) pages: compute, but do not store */
    bool all_logits;       /* logits of every token of the run, not only of the last */
    bool want_logits;      /* logits of the last token */
    bool bad;              /* out: a value was not finite; this run's results are void */
} step_run;

/* The matrices that read an input of a layer. */
typedef enum forward_input { FORWARD_IN_QKV, FORWARD_IN_ATTN_OUTPUT, FORWARD_IN_GATE_UP, FORWARD_IN_DOWN } forward_input;
/* Sees x [n, width], inputs of a step's tokens as f32; of those that go to `expert`, or -1 in a dense block. */
typedef void forward_inputs_fn(void *ctx, int layer, forward_input which, int expert, const float *x, int n, int width);

typedef struct forward forward;
/* max_tokens: new tokens a step; max_logits: rows of logits a step; max_runs: sequences a step; max_pos: longest sequence. */
forward *forward_new(const model *m, kv_pool *kv, kern_kv_type kv_type, const kern_ops *kern, pool *threads, int max_tokens, int max_logits,
                     int max_runs, int64_t max_pos, gv_err *err) GV_MUST_USE;
void forward_free(forward *f);
/* From now on fn is called on the engine's thread, in every step and layer (calibration). NULL: none. */
void forward_watch(forward *f, forward_inputs_fn *fn, void *ctx);
/* Bytes of scratch that forward_new would take. */
size_t forward_bytes(const model *m, const kern_ops *kern, int max_tokens, int max_logits, int64_t max_pos, int n_threads);
/* Logits rows lie in order of the runs: forward_logits(f, i) for the i-th row asked for. Sums must respect the maxima of forward_new. */
void forward_step(forward *f, step_run *runs, int n_runs);
const float *forward_logits(const forward *f, int row);

#endif
