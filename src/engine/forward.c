/* See forward.h.  A layer is a fixed sequence of phases; each phase is one pool_run over its natural items (columns, row groups, attention
 * blocks), so that the barrier between two pool_runs is the only synchronisation.
 *
 *   x [T, n_embd] residual stream            norm [T, n_embd] normalised, then prepared as the next product's weights ask
 *   branch [T, n_embd] what a block adds to x, added where x is next normalised
 *   q [T, n_head*head_dim], k, v             attn [T, n_head*head_dim]             gate, up [T, n_ff]; with experts a row each for every choice (experts.c)
 */
#include "engine/forward_internal.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

/* ---- products: one or several matrices over the same columns, split by row groups ---- */

typedef struct product_job {
    const kern_matrix *w;
    float *y; /* [n, w->rows] */
} product_job;

typedef struct product_phase {
    forward *f;
    product_job job[3];
    int n_jobs, n_columns;
} product_phase;

kern_acts act_columns(const act_buf *a, const kern_matrix *w, int64_t c, int n, act_tiles t) {
    const kern_act_kind kind = kern_act_kind_of(w->type);
    kern_acts acts = {.k = w->cols, .n = n};
    if (kind == KERN_ACT_F32) {
        acts.f32 = a->f32 + c * w->cols;
        return acts;
    }
    acts.q = a->q[kind] + c * w->cols;
    acts.d = a->d[kind] + c * (w->cols / (kind == KERN_ACT_Q32 ? 32 : 256));
    acts.bsum = a->bsum[kind] + c * (w->cols / 16);
    acts.tile_cols = t.cols;
    if (t.cols) acts.tiles = a->tiles[kind] + (size_t)t.first * kern_tile_bytes(kind, w->cols);
    return acts;
}

static void product_part(void *ctx, int64_t begin, int64_t end, int worker) {
    product_phase *p = ctx;
    (void)worker;
    int64_t base = 0;
    for (int i = 0; i < p->n_jobs; i++) {
        const kern_matrix *w = p->job[i].w;
        int64_t g0 = begin > base ? begin - base : 0, g1 = end - base < w->n_groups ? end - base : w->n_groups;
        base += w->n_groups;
        if (g0 >= g1) continue;
        kern_acts acts = act_columns(&p->f->act, w, 0, p->n_columns, p->f->tiles);
        p->f->kern->product(w, &acts, p->job[i].y, w->rows, g0, g1);
    }
}

static void run_products(forward *f, const product_job *jobs, int n_jobs, int n_columns) {
    product_phase p = {.f = f, .n_jobs = n_jobs, .n_columns = n_columns};
    int64_t groups = 0;
    for (int i = 0; i < n_jobs; i++) {
        p.job[i] = jobs[i];
        groups += jobs[i].w->n_groups;
    }
    pool_run(f->threads, product_part, &p, groups);
}

/* ---- preparing columns ---- */

static bool is_quantised(unsigned kinds, int kind) {
    return kind != KERN_ACT_F32 && kinds & 1u << kind;
}

bool act_quantise(const forward *f, act_buf *a, const float *src, int64_t width, int64_t c, unsigned kinds) {
    bool ok = true;
    for (int kind = 0; kind < KERN_ACT_COUNT; kind++) {
        if (!is_quantised(kinds, kind)) continue;
        const bool q32 = kind == KERN_ACT_Q32;
        ok &= (q32 ? f->kern->quant32 : f->kern->quant256)(src, width, a->q[kind] + c * width, a->d[kind] + c * (width / (q32 ? 32 : 256)),
                                                           a->bsum[kind] + c * (width / 16));
    }
    return ok;
}

void act_put_tiles(const forward *f, act_buf *a, int64_t c, act_tiles t, int at, int64_t width, unsigned kinds) {
    for (int kind = 0; t.cols && kind < KERN_ACT_COUNT; kind++) {
        if (!is_quantised(kinds, kind)) continue;
        const int64_t blocks = width / (kind == KERN_ACT_Q32 ? 32 : 256);
        f->kern->tile_put((kern_act_kind)kind, width, a->q[kind] + c * width, a->d[kind] + c * blocks, a->bsum[kind] + c * (width / 16),
                          at % t.cols, a->tiles[kind] + (size_t)(t.first + at / t.cols) * kern_tile_bytes((kern_act_kind)kind, width));
    }
}

/* Puts column c (already in act.f32 or at src) into the forms that the given matrices ask for. */
static void prepare_column(forward *f, const float *src, int64_t width, int c, unsigned kinds) {
    act_buf *a = &f->act;
    if (!act_quantise(f, a, src, width, c, kinds)) f->bad[c] = true;
    act_put_tiles(f, a, c, f->tiles, c, width, kinds);
    if ((kinds & 1u << KERN_ACT_F32) && src != a->f32 + c * width) memcpy(a->f32 + c * width, src, (size_t)width * sizeof *src);
}

typedef struct column_phase {
    forward *f;
    const float *weight;   /* norm weight, or NULL */
    const float *residual; /* added to x first, or NULL */
    const float *src;      /* columns to prepare when there is no norm */
    const int *pick;       /* column c comes from token pick[c], or NULL */
    int64_t width;
    unsigned kinds;
    bool silu;
    bool route; /* the columns go to experts, which have tiles of their own */
} column_phase;

static void column_part(void *ctx, int64_t begin, int64_t end, int worker) {
    const column_phase *p = ctx;
    forward *f = p->f;
    (void)worker;
    for (int64_t c = begin; c < end; c++) {
        const float *src = p->src + c * p->width;
        if (p->weight) {
            float *x = f->x + (p->pick ? p->pick[c] : c) * p->width;
            if (p->residual) f->kern->add(x, p->residual + (p->pick ? p->pick[c] : c) * p->width, p->width);
            float *to = f->act.f32 + c * p->width;
            f->kern->rmsnorm(x, p->weight, f->m->shape.norm_eps, p->width, to);
            src = to;
        } else if (p->silu) {
            f->kern->silu_mul(f->gate + c * p->width, f->up + c * p->width, p->width);
        }
        prepare_column(f, src, p->width, (int)c, p->kinds);
    }
    if (p->route) experts_route(f, begin, end);
}

static void prepare_columns(forward *f, column_phase *p, int n) {
    p->f = f;
    f->tiles = (act_tiles){0, p->route ? 0 : kern_tile_cols(f->kern, n)};
    pool_run(f->threads, column_part, p, n);
}

/* ---- attention ---- */

static void rope_and_store(void *ctx, int64_t begin, int64_t end, int worker) {
    forward *f = ctx;
    const model_shape *s = &f->m->shape;
    const model_layer *l = f->layer;
    const int64_t q_width = (int64_t)s->n_head * s->head_dim, kv_width = (int64_t)s->n_head_kv * s->head_dim;
    (void)worker;
    for (int64_t t = begin; t < end; t++) {
        const step_run *run = &f->runs[f->run_of[t]];
        const int32_t pos = f->pos[t];
        const float *cos = f->m->rope_cos + (int64_t)pos * (s->n_rot / 2), *sin = f->m->rope_sin + (int64_t)pos * (s->n_rot / 2);
        float *q = f->q + t * q_width, *k = f->k + t * kv_width, *v = f->v + t * kv_width;
        if (l->bias_q) f->kern->add(q, l->bias_q, q_width);
        if (l->bias_k) f->kern->add(k, l->bias_k, kv_width);
        if (l->bias_v) f->kern->add(v, l->bias_v, kv_width);
        f->kern->rope(q, s->n_head, s->head_dim, s->n_rot, s->rope, cos, sin);
        f->kern->rope(k, s->n_head_kv, s->head_dim, s->n_rot, s->rope, cos, sin);
        if (run->keep_kv) continue;
        kv_page page = run->pages[pos / KERN_PAGE_TOKENS];
        for (int h = 0; h < s->n_head_kv; h++)
            f->kern->kv_put(f->kv_type, s->head_dim, pos % KERN_PAGE_TOKENS, k + h * s->head_dim, v + h * s->head_dim,
                            kv_page_k(f->kv, page, f->layer_index, h), kv_page_v(f->kv, page, f->layer_index, h));
    }
}

/* Floats from one query's scores to the next one's.  A multiple of a page of memory would put the scores of all queries at a key into one set
 * of the L1 cache (32 queries, 500 keys: 194 instead of 230 GFLOP/s). */
static size_t score_stride(const forward *f) {
    return (size_t)f->max_pos + 16;
}

/* Queries of kv head `head_kv` for one block of tokens; heads [h0, h1) of the group that shares it. */
static void attend_heads(forward *f, int block, int head_kv, int h0, int h1, attn_scratch *w) {
    const model_shape *s = &f->m->shape;
    const int run_index = f->block_run[block], t0 = f->block_first[block], group = s->n_head / s->n_head_kv;
    const step_run *run = &f->runs[run_index];
    const int64_t q_width = (int64_t)s->n_head * s->head_dim;
    kern_attn a = {.kv_type = f->kv_type,
                   .head_dim = s->head_dim,
                   .q = w->q,
                   .out = w->out,
                   .first = w->first,
                   .n_keys = w->n_keys,
                   .k_page = w->k_page,
                   .v_page = w->v_page,
                   .scale = f->scale,
                   .scratch = w->scores,
                   .scratch_stride = score_stride(f)};
    const int64_t window = f->layer_index >= s->window_from_layer ? s->sliding_window : 0;
    int last_pos = 0;
    for (int t = t0; t < t0 + f->tokens_a_block && t < f->n_tokens && f->run_of[t] == run_index; t++) {
        last_pos = f->pos[t];
        for (int h = h0; h < h1; h++, a.n_q++) {
            int64_t at = t * q_width + (int64_t)(head_kv * group + h) * s->head_dim;
            w->q[a.n_q] = f->q + at;
            w->out[a.n_q] = f->attn + at;
            w->n_keys[a.n_q] = last_pos + 1;
            w->first[a.n_q] = window && last_pos + 1 > window ? last_pos + 1 - (int)window : 0;
        }
    }
    for (int p = w->first[0] / KERN_PAGE_TOKENS; p <= last_pos / KERN_PAGE_TOKENS; p++) { /* the first query's window begins first */
        w->k_page[p] = kv_page_k(f->kv, run->pages[p], f->layer_index, head_kv);
        w->v_page[p] = kv_page_v(f->kv, run->pages[p], f->layer_index, head_kv);
    }
    f->kern->attention(&a);
}

static void attend_block(forward *f, int block, int head_kv, attn_scratch *w) {
    const int group = f->m->shape.n_head / f->m->shape.n_head_kv;
    for (int h = 0; h < group; h += QUERIES_A_BLOCK)
        attend_heads(f, block, head_kv, h, h + QUERIES_A_BLOCK < group ? h + QUERIES_A_BLOCK : group, w);
}

/* Blocks differ in cost, so workers draw them one by one; which worker computes a block changes nothing. */
static void attend_part(void *ctx, int64_t begin, int64_t end, int worker) {
    forward *f = ctx;
    const int heads = f->m->shape.n_head_kv, n_items = f->n_blocks * heads;
    if (begin >= end) return;
    for (int i; (i = atomic_fetch_add_explicit(&f->next_item, 1, memory_order_relaxed)) < n_items;)
        attend_block(f, n_items / heads - 1 - i / heads, i % heads, &f->worker[worker]);
}

/* ---- the step ---- */

static void embed_part(void *ctx, int64_t begin, int64_t end, int worker) {
    forward *f = ctx;
    const int64_t n = f->m->shape.n_embd;
    const tensor_view *e = f->m->embedding;
    (void)worker;
    for (int64_t t = begin; t < end; t++) {
        if (!e) {
            kern_matrix_row(&f->m->output, f->token[t], f->x + t * n);
            continue;
        }
        size_t row_bytes = e->n_bytes / (size_t)e->ne[1];
        kern_dequant_row(e->type, e->data + (size_t)f->token[t] * row_bytes, f->x + t * n, n);
    }
}

static void lay_out_batch(forward *f, step_run *runs, int n_runs) {
    f->runs = runs;
    f->n_runs = n_runs;
    f->n_tokens = f->n_out = f->n_blocks = 0;
    for (int r = 0; r < n_runs; r++) {
        runs[r].bad = false;
        for (int i = 0; i < runs[r].n; i++) {
            const int t = f->n_tokens++;
            if (i % f->tokens_a_block == 0) {
                f->block_run[f->n_blocks] = r;
                f->block_first[f->n_blocks++] = t;
            }
            f->token[t] = runs[r].tokens[i];
            f->pos[t] = runs[r].pos0 + i;
            f->run_of[t] = r;
            f->bad[t] = false;
            if (runs[r].all_logits || (runs[r].want_logits && i == runs[r].n - 1)) f->out_token[f->n_out++] = t;
        }
    }
}

static void collect_bad(forward *f, const int *pick, int n) {
    for (int c = 0; c < n; c++)
        if (f->bad[c]) f->runs[f->run_of[pick ? pick[c] : c]].bad = true;
    for (int c = 0; c < n; c++) f->bad[c] = false;
}

/* The dense block, from the prepared columns to branch. */
static void run_block(forward *f, const model_layer *l, int n) {
    run_products(f, (product_job[]){{&l->ffn.gate, f->gate}, {&l->ffn.up, f->up}}, 2, n);
    column_phase down = {.src = f->gate, .width = f->m->shape.n_ff, .kinds = act_kind_bit(&l->ffn.down), .silu = true};
    prepare_columns(f, &down, n);
    run_products(f, (product_job[]){{&l->ffn.down, f->branch}}, 1, n);
}

static void run_layer(forward *f, int index, const float *residual) {
    const model_shape *s = &f->m->shape;
    const model_layer *l = f->layer = &f->m->layer[index];
    const int n = f->n_tokens;
    f->layer_index = index;
    column_phase norm = {.weight = l->attn_norm,
                         .residual = residual,
                         .src = f->act.f32,
                         .width = s->n_embd,
                         .kinds = act_kind_bit(&l->attn_q) | act_kind_bit(&l->attn_k) | act_kind_bit(&l->attn_v)};
    prepare_columns(f, &norm, n);
    run_products(f, (product_job[]){{&l->attn_q, f->q}, {&l->attn_k, f->k}, {&l->attn_v, f->v}}, 3, n);
    pool_run(f->threads, rope_and_store, f, n);
    atomic_store_explicit(&f->next_item, 0, memory_order_relaxed);
    pool_run(f->threads, attend_part, f, (int64_t)f->n_blocks * s->n_head_kv);
    column_phase out = {.src = f->attn, .width = l->attn_output.cols, .kinds = act_kind_bit(&l->attn_output)};
    prepare_columns(f, &out, n);
    run_products(f, (product_job[]){{&l->attn_output, f->branch}}, 1, n);
    column_phase ffn = {.weight = l->ffn_norm,
                        .residual = f->branch,
                        .src = f->act.f32,
                        .width = s->n_embd,
                        .kinds = l->expert ? experts_input_kinds(f) : act_kind_bit(&l->ffn.gate) | act_kind_bit(&l->ffn.up),
                        .route = l->expert != NULL};
    prepare_columns(f, &ffn, n);
    if (l->expert)
        experts_run(f);
    else
        run_block(f, l, n);
    collect_bad(f, NULL, n);
}

void forward_step(forward *f, step_run *runs, int n_runs) {
    const model_shape *s = &f->m->shape;
    gv_alloc_guard(true);
    lay_out_batch(f, runs, n_runs);
    pool_run(f->threads, embed_part, f, f->n_tokens);
    for (int i = 0; i < s->n_layer; i++) run_layer(f, i, i ? f->branch : NULL);
    if (f->n_out > 0) {
        column_phase norm = {.weight = f->m->output_norm,
                             .residual = f->branch,
                             .src = f->act.f32,
                             .pick = f->out_token,
                             .width = s->n_embd,
                             .kinds = act_kind_bit(&f->m->output)};
        prepare_columns(f, &norm, f->n_out);
        collect_bad(f, f->out_token, f->n_out);
        run_products(f, (product_job[]){{&f->m->output, f->logits}}, 1, f->n_out);
    }
    gv_alloc_guard(false);
}

const float *forward_logits(const forward *f, int row) {
    return f->logits + (int64_t)row * f->m->shape.n_vocab;
}

/* ---- scratch ---- */

void *scratch_carve(scratch *s, size_t n, size_t size) {
    void *p = s->base ? s->base + s->at : NULL;
    s->at += (n * size + 63) & ~(size_t)63;
    return p;
}

/* Tiles that n columns take at most: kern_tile_cols makes all but few tiles full. */
static size_t max_tiles(size_t columns) {
    return (columns + KERN_TILE_COLS - 1) / KERN_TILE_COLS;
}

void scratch_carve_acts(scratch *s, const kern_ops *kern, act_buf *a, size_t columns, size_t width, size_t f32_width, size_t n_tiles) {
    a->f32 = scratch_carve(s, columns * f32_width, sizeof(float));
    for (int kind = KERN_ACT_Q32; kind < KERN_ACT_COUNT; kind++) {
        a->q[kind] = scratch_carve(s, columns * width, sizeof(int8_t));
        a->d[kind] = scratch_carve(s, columns * (width / 32 + 1), sizeof(float));
        a->bsum[kind] = scratch_carve(s, columns * (width / 16 + 1), sizeof(int16_t));
        if (kern->tile_put) a->tiles[kind] = scratch_carve(s, n_tiles, kern_tile_bytes((kern_act_kind)kind, (int64_t)width + 255));
    }
}

/* Lays all scratch into s; with s->base NULL only s->at is meaningful. */
static void carve_all(forward *f, scratch *s) {
    const model_shape *m = &f->m->shape;
    const size_t n = (size_t)f->max_tokens, embd = (size_t)m->n_embd, heads = (size_t)m->n_head * (size_t)m->head_dim;
    const size_t kv = (size_t)m->n_head_kv * (size_t)m->head_dim, ff = (size_t)m->n_ff;
    const size_t columns = n > (size_t)f->max_logits ? n : (size_t)f->max_logits;
    const size_t blocks = m->n_expert ? n * (size_t)m->n_expert_used : n; /* a token is a row of gate and up for each of its experts */
    size_t widest = embd > heads ? embd : heads;
    if (ff > widest && !m->n_expert) widest = ff;
    f->x = scratch_carve(s, n * embd, sizeof(float));
    f->branch = scratch_carve(s, n * embd, sizeof(float));
    f->q = scratch_carve(s, n * heads, sizeof(float));
    f->k = scratch_carve(s, n * kv, sizeof(float));
    f->v = scratch_carve(s, n * kv, sizeof(float));
    f->attn = scratch_carve(s, n * heads, sizeof(float));
    f->gate = scratch_carve(s, blocks * ff, sizeof(float));
    f->up = scratch_carve(s, blocks * ff, sizeof(float));
    f->logits = scratch_carve(s, (size_t)f->max_logits * (size_t)m->n_vocab, sizeof(float));
    scratch_carve_acts(s, f->kern, &f->act, columns, widest, widest, max_tiles(columns));
    f->token = scratch_carve(s, n, sizeof *f->token);
    f->pos = scratch_carve(s, n, sizeof *f->pos);
    f->run_of = scratch_carve(s, n, sizeof *f->run_of);
    f->bad = scratch_carve(s, columns, sizeof *f->bad);
    f->out_token = scratch_carve(s, (size_t)f->max_logits, sizeof *f->out_token);
    f->block_run = scratch_carve(s, n + (size_t)f->max_runs, sizeof *f->block_run);
    f->block_first = scratch_carve(s, n + (size_t)f->max_runs, sizeof *f->block_first);
    f->worker = scratch_carve(s, (size_t)f->n_workers, sizeof *f->worker);
    if (m->n_expert) experts_carve(f, s);
    for (int i = 0; i < f->n_workers; i++) {
        attn_scratch w = {0};
        w.scores = scratch_carve(s, QUERIES_A_BLOCK * score_stride(f), sizeof(float));
        w.k_page = scratch_carve(s, (size_t)f->max_pos / KERN_PAGE_TOKENS, sizeof *w.k_page);
        w.v_page = scratch_carve(s, (size_t)f->max_pos / KERN_PAGE_TOKENS, sizeof *w.v_page);
        if (s->base) f->worker[i] = w;
    }
}

static forward shape_scratch(const model *m, const kern_ops *kern, int max_tokens, int max_logits, int max_runs, int64_t max_pos,
                             int n_threads) {
    forward f = {.m = m, .kern = kern, .max_tokens = max_tokens, .max_logits = max_logits, .max_runs = max_runs, .n_workers = n_threads};
    f.max_pos = (max_pos + KERN_PAGE_TOKENS - 1) / KERN_PAGE_TOKENS * KERN_PAGE_TOKENS;
    return f;
}

size_t forward_bytes(const model *m, const kern_ops *kern, int max_tokens, int max_logits, int64_t max_pos, int n_threads) {
    forward f = shape_scratch(m, kern, max_tokens, max_logits, max_logits, max_pos, n_threads);
    scratch s = {0};
    carve_all(&f, &s);
    return s.at;
}

forward *forward_new(const model *m, kv_pool *kv, kern_kv_type kv_type, const kern_ops *kern, pool *threads, int max_tokens, int max_logits,
                     int max_runs, int64_t max_pos, gv_err *err) {
    forward *f = gv_xmalloc(sizeof *f);
    *f = shape_scratch(m, kern, max_tokens, max_logits, max_runs, max_pos, pool_threads(threads));
    f->kv = kv;
    f->kv_type = kv_type;
    f->threads = threads;
    f->scale = 1.0f / sqrtf((float)m->shape.head_dim);
    const int group = m->shape.n_head / m->shape.n_head_kv;
    f->tokens_a_block = group < QUERIES_A_BLOCK ? QUERIES_A_BLOCK / group : 1;
    scratch count = {0};
    carve_all(f, &count);
    f->memory = gv_try_aligned(count.at, "step scratch", err);
    if (!f->memory) {
        forward_free(f);
        return NULL;
    }
    scratch real = {f->memory, 0};
    carve_all(f, &real);
    return f;
}

void forward_free(forward *f) {
    if (!f) return;
    free(f->memory);
    free(f);
}
