/* The step's scratch, and what the files of the forward pass share: forward.c (the step), experts.c (layers with experts). */
#ifndef GAVEL_ENGINE_FORWARD_INTERNAL_H
#define GAVEL_ENGINE_FORWARD_INTERNAL_H

#include "engine/forward.h"

#include <stdatomic.h>

enum { QUERIES_A_BLOCK = 32 }; /* queries that share each read of a K/V page */

/* Columns of activations in every form some product wants. */
typedef struct act_buf {
    float *f32;
    int8_t *q[KERN_ACT_COUNT];
    float *d[KERN_ACT_COUNT];
    int16_t *bsum[KERN_ACT_COUNT];
    uint8_t *tiles[KERN_ACT_COUNT];
} act_buf;

/* Where in a buffer's tiles a group of columns begins, and how many columns each tile has; 0 = the group has none. */
typedef struct act_tiles {
    int first, cols;
} act_tiles;

/* Scratch of one worker for one attention block. */
typedef struct attn_scratch {
    float *scores;
    const void **k_page, **v_page;
    const float *q[QUERIES_A_BLOCK];
    float *out[QUERIES_A_BLOCK];
    int first[QUERIES_A_BLOCK], n_keys[QUERIES_A_BLOCK];
} attn_scratch;

/* Which experts the tokens of a step go to.  A choice is a token and one of its experts; the choices, in order of expert, then token, are the
 * columns that the experts' products work on. */
typedef struct expert_scratch {
    float *router;         /* [T, n_expert] logits of the router */
    int *choice;           /* [T, n_expert_used] experts of a token, ascending */
    float *weight;         /* [T, n_expert_used] their weights */
    int *column;           /* [T, n_expert_used] their columns */
    int *token;            /* [columns] */
    int *expert;           /* [columns] */
    int *first;            /* [n_expert + 1] an expert's first column; the last: all columns */
    act_tiles *tiles;      /* [n_expert] */
    int *active, n_active; /* experts that have columns, ascending */
    act_buf act;           /* inputs of gate and up, then of down */
    float *out;            /* [columns, n_embd] */
    bool *bad;             /* [columns] */
} expert_scratch;

struct forward {
    const model *m;
    kv_pool *kv;
    const kern_ops *kern;
    pool *threads;
    kern_kv_type kv_type;
    float scale; /* of attention scores: 1/sqrt(head_dim) */
    int max_tokens, max_logits, max_runs, n_workers;
    int64_t max_pos; /* rounded up to whole pages */
    float *x, *branch, *q, *k, *v, *attn, *gate, *up, *logits;
    act_buf act;
    act_tiles tiles;      /* of act, for the columns being prepared */
    int32_t *token, *pos; /* [max_tokens] of this step */
    int *run_of;          /* [max_tokens] */
    bool *bad;            /* [max_tokens] */
    int *out_token;       /* [max_logits] token whose logits row i holds */
    attn_scratch *worker; /* [threads] */
    expert_scratch experts;
    void *memory; /* one block behind all scratch */
    /* the step being run */
    step_run *runs;
    int n_runs, n_tokens, n_out, tokens_a_block, n_blocks;
    int *block_run, *block_first; /* [max_tokens + max_runs] attention blocks: run and first token of it */
    const model_layer *layer;
    int layer_index;
    atomic_int next_item;
};

static inline unsigned act_kind_bit(const kern_matrix *w) {
    return 1u << kern_act_kind_of(w->type);
}

/* Quantises column c, at src, into the forms in `kinds`.  False if a value is not finite. */
bool act_quantise(const forward *f, act_buf *a, const float *src, int64_t width, int64_t c, unsigned kinds);
/* Puts column c, quantised, into the tiles as column `at` of the group that has them. */
void act_put_tiles(const forward *f, act_buf *a, int64_t c, act_tiles t, int at, int64_t width, unsigned kinds);
/* Columns [c, c + n) as a product with w reads them. */
kern_acts act_columns(const act_buf *a, const kern_matrix *w, int64_t c, int n, act_tiles t);

/* ---- carving scratch ---- */

typedef struct scratch {
    uint8_t *base; /* NULL: only count */
    size_t at;
} scratch;

void *scratch_carve(scratch *s, size_t n, size_t size);
/* Columns of at most `width` inputs, f32_width as f32, and so many tiles. */
void scratch_carve_acts(scratch *s, const kern_ops *kern, act_buf *a, size_t columns, size_t width, size_t f32_width, size_t n_tiles);

/* ---- experts.c ---- */

/* The block of experts of f->layer, from act.f32 (normalised, and quantised for gate and up) to branch. */
void experts_run(forward *f);
/* The forms that its input is wanted in. */
unsigned experts_input_kinds(const forward *f);
/* Router logits and choice of experts for tokens [begin, end); normalised columns are in act.f32. */
void experts_route(forward *f, int64_t begin, int64_t end);
void experts_carve(forward *f, scratch *s);

#endif
