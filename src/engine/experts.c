/* Layers with experts (Mixtral): the router, and the experts' blocks over the tokens that chose them.
 *
 * Of a step's tokens each goes to n_expert_used experts.  Tokens are gathered by expert, so that each expert's weights are read once a step, and
 * all experts are worked on in one phase: the threads draw chunks of row groups, whoever the expert.  A token's activations are quantised once
 * and copied to each of its experts' columns.  What a token gets depends on its own column only: its experts by (probability descending,
 * number ascending), their outputs added in ascending number (docs/numerics.md, Experts).
 * forward.c calls this from the engine's thread; experts_route runs on the pool's. */
#include "engine/forward_internal.h"

#include <string.h>

enum { CHUNK_BYTES = 1 << 20, CHUNKS_A_THREAD = 8 };

/* ---- routing ---- */

/* Softmax over all experts, the most probable ones in ascending order, their probabilities divided by their sum.  Any numbers give valid
 * experts; false if one is not finite. */
static bool choose(const float *logit, int n, int n_used, int *choice, float *weight) {
    float p[MODEL_MAX_EXPERTS], max = logit[0], sum = 0;
    for (int e = 1; e < n; e++) max = logit[e] > max ? logit[e] : max;
    for (int e = 0; e < n; e++) {
        p[e] = kern_expf(logit[e] - max);
        sum = sum + p[e];
    }
    bool taken[MODEL_MAX_EXPERTS] = {false};
    for (int e = 0; e < n; e++) p[e] = p[e] / sum;
    for (int k = 0; k < n_used; k++) {
        int best = -1;
        for (int e = 0; e < n; e++)
            if (!taken[e] && (best < 0 || p[e] > p[best])) best = e;
        taken[best] = true;
    }
    float used = 0;
    for (int e = 0, k = 0; e < n; e++) {
        if (!taken[e]) continue;
        choice[k] = e;
        weight[k++] = p[e];
        used = used + p[e];
    }
    for (int k = 0; k < n_used; k++) weight[k] = weight[k] / used;
    return sum - sum == 0 && used > 0;
}

void experts_route(forward *f, int64_t begin, int64_t end) {
    const model_shape *s = &f->m->shape;
    const kern_matrix *w = &f->layer->router;
    expert_scratch *x = &f->experts;
    if (begin >= end) return;
    const kern_acts acts = act_columns(&f->act, w, begin, (int)(end - begin), (act_tiles){0});
    f->kern->product(w, &acts, x->router + begin * s->n_expert, s->n_expert, 0, w->n_groups);
    for (int64_t t = begin; t < end; t++)
        if (!choose(x->router + t * s->n_expert, s->n_expert, s->n_expert_used, x->choice + t * s->n_expert_used,
                    x->weight + t * s->n_expert_used))
            f->bad[t] = true;
}

/* Gives every choice its column: counts, first columns, then the tokens in order. */
static void group_by_expert(forward *f) {
    const model_shape *s = &f->m->shape;
    expert_scratch *x = &f->experts;
    const int n_choices = f->n_tokens * s->n_expert_used;
    int n_tiles = 0;
    memset(x->first, 0, (size_t)(s->n_expert + 1) * sizeof *x->first);
    for (int i = 0; i < n_choices; i++) x->first[x->choice[i] + 1]++;
    x->n_active = 0;
    for (int e = 0; e < s->n_expert; e++) {
        const int n = x->first[e + 1];
        if (n > 0) x->active[x->n_active++] = e;
        x->tiles[e] = (act_tiles){n_tiles, kern_tile_cols(f->kern, n)};
        if (x->tiles[e].cols) n_tiles += (n + x->tiles[e].cols - 1) / x->tiles[e].cols;
        x->first[e + 1] += x->first[e];
    }
    for (int i = 0; i < n_choices; i++) {
        const int e = x->choice[i], c = x->first[e]++;
        x->column[i] = c;
        x->token[c] = i / s->n_expert_used;
        x->expert[c] = e;
        x->bad[c] = false;
    }
    for (int e = s->n_expert; e > 0; e--) x->first[e] = x->first[e - 1]; /* each had moved to the next one's first */
    x->first[0] = 0;
}

/* ---- columns ---- */

unsigned experts_input_kinds(const forward *f) {
    unsigned kinds = 0;
    for (int e = 0; e < f->m->shape.n_expert; e++) kinds |= act_kind_bit(&f->layer->expert[e].gate) | act_kind_bit(&f->layer->expert[e].up);
    return kinds;
}

static void copy_column(const act_buf *from, int64_t c, act_buf *to, int64_t at, int64_t width, unsigned kinds) {
    if (kinds & 1u << KERN_ACT_F32) memcpy(to->f32 + at * width, from->f32 + c * width, (size_t)width * sizeof(float));
    for (int kind = KERN_ACT_Q32; kind < KERN_ACT_COUNT; kind++) {
        if (!(kinds & 1u << kind)) continue;
        const int64_t blocks = width / (kind == KERN_ACT_Q32 ? 32 : 256), sums = width / 16;
        memcpy(to->q[kind] + at * width, from->q[kind] + c * width, (size_t)width);
        memcpy(to->d[kind] + at * blocks, from->d[kind] + c * blocks, (size_t)blocks * sizeof(float));
        memcpy(to->bsum[kind] + at * sums, from->bsum[kind] + c * sums, (size_t)sums * sizeof(int16_t));
    }
}

static void gather_part(void *ctx, int64_t begin, int64_t end, int worker) {
    forward *f = ctx;
    expert_scratch *x = &f->experts;
    const int64_t width = f->m->shape.n_embd;
    (void)worker;
    for (int64_t c = begin; c < end; c++) {
        const int e = x->expert[c];
        const unsigned kinds = act_kind_bit(&f->layer->expert[e].gate) | act_kind_bit(&f->layer->expert[e].up);
        copy_column(&f->act, x->token[c], &x->act, c, width, kinds);
        act_put_tiles(f, &x->act, c, x->tiles[e], (int)c - x->first[e], width, kinds);
    }
}

static void silu_part(void *ctx, int64_t begin, int64_t end, int worker) {
    forward *f = ctx;
    expert_scratch *x = &f->experts;
    const int64_t width = f->m->shape.n_ff;
    (void)worker;
    for (int64_t c = begin; c < end; c++) {
        const int e = x->expert[c];
        const unsigned kinds = act_kind_bit(&f->layer->expert[e].down);
        float *gate = f->gate + c * width;
        f->kern->silu_mul(gate, f->up + c * width, width);
        if (!act_quantise(f, &x->act, gate, width, c, kinds)) x->bad[c] = true;
        act_put_tiles(f, &x->act, c, x->tiles[e], (int)c - x->first[e], width, kinds);
    }
}

/* y = fma(w_e, out_e, y) from +0, e ascending. */
static void combine_part(void *ctx, int64_t begin, int64_t end, int worker) {
    forward *f = ctx;
    expert_scratch *x = &f->experts;
    const int64_t width = f->m->shape.n_embd, used = f->m->shape.n_expert_used;
    (void)worker;
    for (int64_t t = begin; t < end; t++) {
        float *y = f->branch + t * width;
        memset(y, 0, (size_t)width * sizeof *y);
        for (int64_t k = t * used; k < (t + 1) * used; k++) {
            f->kern->scale_add(y, x->weight[k], x->out + x->column[k] * width, width);
            if (x->bad[x->column[k]]) f->bad[t] = true;
        }
    }
}

/* ---- products ---- */

typedef struct expert_products {
    forward *f;
    bool down;              /* else gate and up */
    int64_t groups, chunks; /* a chunk's groups, a matrix's chunks */
} expert_products;

/* Chunk `chunk` of a matrix over the columns of expert e. */
static void product_chunk(const expert_products *p, int e, const kern_matrix *w, float *y, int64_t chunk) {
    const forward *f = p->f;
    const expert_scratch *x = &f->experts;
    const int64_t g0 = chunk * p->groups, g1 = g0 + p->groups < w->n_groups ? g0 + p->groups : w->n_groups;
    const int c = x->first[e];
    kern_acts acts = act_columns(&x->act, w, c, x->first[e + 1] - c, x->tiles[e]);
    if (p->down) acts.f32 = f->gate + c * w->cols;
    f->kern->product(w, &acts, y + c * w->rows, w->rows, g0, g1);
}

/* Chunks are drawn one by one: an expert's cost goes with its columns.  Who computes a chunk changes nothing. */
static void product_part(void *ctx, int64_t begin, int64_t end, int worker) {
    const expert_products *p = ctx;
    forward *f = p->f;
    const expert_scratch *x = &f->experts;
    const int per_expert = (int)p->chunks * (p->down ? 1 : 2), n = x->n_active * per_expert;
    (void)worker;
    if (begin >= end) return;
    for (int i; (i = atomic_fetch_add_explicit(&f->next_item, 1, memory_order_relaxed)) < n;) {
        const int e = x->active[i / per_expert], at = i % per_expert;
        const model_expert *m = &f->layer->expert[e];
        if (p->down)
            product_chunk(p, e, &m->down, x->out, at);
        else
            product_chunk(p, e, at < p->chunks ? &m->gate : &m->up, at < p->chunks ? f->gate : f->up, at % p->chunks);
    }
}

static void run_products(forward *f, bool down) {
    const model_expert *e = &f->layer->expert[f->experts.active[0]];
    const kern_matrix *w = down ? &e->down : &e->gate;
    const int64_t matrices = f->experts.n_active * (down ? 1 : 2);
    const int64_t fair = w->n_groups * matrices / (CHUNKS_A_THREAD * f->n_workers), most = (int64_t)(CHUNK_BYTES / w->group_bytes);
    expert_products p = {.f = f, .down = down, .groups = (fair < most ? fair : most) & ~(int64_t)1}; /* kernels take groups in pairs */
    if (p.groups < 2) p.groups = 2;
    p.chunks = (w->n_groups + p.groups - 1) / p.groups;
    atomic_store_explicit(&f->next_item, 0, memory_order_relaxed);
    pool_run(f->threads, product_part, &p, p.chunks * matrices);
}

void experts_run(forward *f) {
    const int64_t n = f->n_tokens, columns = n * f->m->shape.n_expert_used;
    group_by_expert(f);
    pool_run(f->threads, gather_part, f, columns);
    run_products(f, false);
    pool_run(f->threads, silu_part, f, columns);
    run_products(f, true);
    pool_run(f->threads, combine_part, f, n);
}

/* ---- scratch ---- */

void experts_carve(forward *f, scratch *s) {
    const model_shape *m = &f->m->shape;
    expert_scratch *x = &f->experts;
    const size_t n = (size_t)f->max_tokens, experts = (size_t)m->n_expert, used = (size_t)m->n_expert_used, columns = n * used;
    const size_t embd = (size_t)m->n_embd, ff = (size_t)m->n_ff, widest = embd > ff ? embd : ff;
    x->router = scratch_carve(s, n * experts, sizeof *x->router);
    x->choice = scratch_carve(s, columns, sizeof *x->choice);
    x->weight = scratch_carve(s, columns, sizeof *x->weight);
    x->column = scratch_carve(s, columns, sizeof *x->column);
    x->token = scratch_carve(s, columns, sizeof *x->token);
    x->expert = scratch_carve(s, columns, sizeof *x->expert);
    x->first = scratch_carve(s, experts + 1, sizeof *x->first);
    x->tiles = scratch_carve(s, experts, sizeof *x->tiles);
    x->active = scratch_carve(s, experts, sizeof *x->active);
    x->bad = scratch_carve(s, columns, sizeof *x->bad);
    x->out = scratch_carve(s, columns * embd, sizeof *x->out);
    scratch_carve_acts(s, f->kern, &x->act, columns, widest, embd, columns / KERN_TILE_COLS + experts);
}
