/* The vector kernels and the scalar mathematics of canonical-1: every function of every set this machine runs against ref, bit for bit, at
 * odd sizes with NaN around the data; ref itself against tables made with mpmath, an independent f16 conversion and an attention in double;
 * and golden hashes, so that a changed order of operations fails even if it changes all sets alike. */
#include "kern/kern.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAD 32 /* NaN floats after each buffer */

/* ---- helpers --------------------------------------------------------------------------------------------------------------------- */

static uint64_t rng_state;

static void rng_seed(uint64_t seed) {
    rng_state = seed;
}

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t rng_next(void) {
    uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* uniform in [-scale, scale) */
static float rng_float(float scale) {
    return ((float)(rng_next() >> 40) * 0x1p-23f - 1.0f) * scale;
}

static int rng_below(int n) {
    return (int)(rng_next() % (uint64_t)n);
}

static uint32_t bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float from_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* n + PAD floats, all NaN. */
static float *nan_buffer(size_t n) {
    float *p = malloc((n + PAD) * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n + PAD; i++) p[i] = from_bits(0x7fc0dead);
    return p;
}

static float *random_buffer(size_t n, float scale) {
    float *p = nan_buffer(n);
    for (size_t i = 0; i < n; i++) p[i] = rng_float(scale);
    return p;
}

static float *copy_buffer(const float *x, size_t n) {
    float *p = malloc((n + PAD) * sizeof *p);
    assert_non_null(p);
    return memcpy(p, x, (n + PAD) * sizeof *p);
}

/* Equal to the bit, except that any NaN equals any NaN; and the padding is as nan_buffer made it. */
static void assert_same(const char *what, const kern_ops *ops, const float *want, const float *got, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (bits(want[i]) == bits(got[i]) || (isnan(want[i]) && isnan(got[i]))) continue;
        fail_msg("%s of %s: element %zu of %zu is %a, ref has %a", what, ops->name, i, n, (double)got[i], (double)want[i]);
    }
    for (size_t i = n; i < n + PAD; i++) {
        if (bits(got[i]) != 0x7fc0dead) fail_msg("%s of %s wrote past the end of %zu elements", what, ops->name, n);
    }
}

static uint64_t hash_bytes(uint64_t h, const void *p, size_t n) { /* FNV-1a */
    for (size_t i = 0; i < n; i++) h = (h ^ ((const uint8_t *)p)[i]) * 0x100000001b3u;
    return h;
}

#define HASH_START 0xcbf29ce484222325u

static const kern_ops *ref_ops(void) {
    const kern_ops *ops = kern_get(KERN_REF);
    assert_non_null(ops);
    return ops;
}

#define EACH_SET(ops)                                                                                                                      \
    for (int set_ = 0; set_ < KERN_SET_COUNT; set_++)                                                                                      \
        for (const kern_ops *ops = kern_get((kern_set)set_); ops; ops = NULL)

static const int64_t odd_sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 63, 65, 100, 255, 576, 1000, 4101};
#define N_ODD (sizeof odd_sizes / sizeof *odd_sizes)

static FILE *open_table(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/kern/%s", GAVEL_TEST_DATA, name);
    FILE *f = fopen(path, "r");
    if (!f) fail_msg("cannot open %s", path);
    return f;
}

/* ---- elementwise kernels, set against ref ------------------------------------------------------------------------------------------- */

static void rmsnorm_has_the_bits_of_ref(void **state) {
    (void)state;
    rng_seed(1);
    EACH_SET(ops) for (size_t s = 0; s < N_ODD; s++) for (int in_place = 0; in_place < 2; in_place++) {
        size_t n = (size_t)odd_sizes[s];
        float *x = random_buffer(n, s % 3 ? 2.0f : 1e4f), *w = random_buffer(n, 1.0f), *want = nan_buffer(n);
        ref_ops()->rmsnorm(x, w, 1e-5f, (int64_t)n, want);
        float *got = in_place ? x : nan_buffer(n);
        ops->rmsnorm(x, w, 1e-5f, (int64_t)n, got);
        assert_same("rmsnorm", ops, want, got, n);
        if (!in_place) free(got);
        free(x), free(w), free(want);
    }
}

static void rmsnorm_is_the_formula(void **state) {
    (void)state;
    rng_seed(2);
    float *x = random_buffer(4101, 3.0f), *w = random_buffer(4101, 1.0f), *y = nan_buffer(4101);
    ref_ops()->rmsnorm(x, w, 1e-5f, 4101, y);
    double squares = 0;
    for (int i = 0; i < 4101; i++) squares += (double)x[i] * x[i];
    for (int i = 0; i < 4101; i++) {
        double want = x[i] / sqrt(squares / 4101 + 1e-5) * w[i];
        /* 257 + 4 additions of positive terms (half of it after the root), and 6 more roundings: below 140 * 2^-24 */
        assert_true(fabs(y[i] - want) <= 140 * 0x1p-24 * fabs(want));
    }
    free(x), free(w), free(y);
}

static void add_has_the_bits_of_ref(void **state) {
    (void)state;
    rng_seed(3);
    EACH_SET(ops) for (size_t s = 0; s < N_ODD; s++) {
        size_t n = (size_t)odd_sizes[s];
        float *x = random_buffer(n, 2.0f), *y = random_buffer(n, 2.0f), *want = copy_buffer(y, n);
        for (size_t i = 0; i < n; i++) want[i] += x[i];
        ops->add(y, x, (int64_t)n);
        assert_same("add", ops, want, y, n);
        free(x), free(y), free(want);
    }
}

static void scale_add_is_one_fma_an_element(void **state) {
    (void)state;
    rng_seed(23);
    EACH_SET(ops) for (size_t s = 0; s < N_ODD; s++) {
        size_t n = (size_t)odd_sizes[s];
        float w = rng_float(2.0f), *x = random_buffer(n, 2.0f), *y = random_buffer(n, 2.0f), *want = copy_buffer(y, n);
        for (size_t i = 0; i < n; i++) want[i] = fmaf(w, x[i], want[i]);
        ops->scale_add(y, w, x, (int64_t)n);
        assert_same("scale_add", ops, want, y, n);
        free(x), free(y), free(want);
    }
}

static void silu_mul_has_the_bits_of_ref(void **state) {
    (void)state;
    static const float scales[] = {1e-30f, 1.0f, 10.0f, 120.0f, 1e30f};
    rng_seed(4);
    EACH_SET(ops) for (size_t s = 0; s < N_ODD; s++) for (size_t k = 0; k < 5; k++) {
        size_t n = (size_t)odd_sizes[s];
        float *gate = random_buffer(n, scales[k]), *up = random_buffer(n, 2.0f), *want = copy_buffer(gate, n);
        ref_ops()->silu_mul(want, up, (int64_t)n);
        ops->silu_mul(gate, up, (int64_t)n);
        assert_same("silu_mul", ops, want, gate, n);
        free(gate), free(up), free(want);
    }
}

static void silu_is_exact_at_the_extremes(void **state) {
    (void)state;
    float e88 = kern_expf(88.0f);
    const float gate[] = {0.0f,     -0.0f,    100.0f,    FLT_MAX, INFINITY,  -88.0f,    -89.0f,
                          -1000.0f, -FLT_MAX, -INFINITY, NAN,     0x1p-140f, -0x1p-149f};
    const float want[] = {0.0f,
                          -0.0f,
                          100.0f,
                          FLT_MAX,
                          INFINITY,
                          -88.0f / (1.0f + e88),
                          -89.0f / (1.0f + e88),
                          -1000.0f / (1.0f + e88),
                          -FLT_MAX / (1.0f + e88),
                          -INFINITY,
                          NAN,
                          0x1p-141f,
                          -0.0f};
    enum { N = sizeof gate / sizeof *gate };
    EACH_SET(ops) {
        float *g = nan_buffer(N), *up = nan_buffer(N);
        memcpy(g, gate, sizeof gate);
        for (int i = 0; i < N; i++) up[i] = 1.0f;
        ops->silu_mul(g, up, N);
        assert_same("silu_mul", ops, want, g, N);
        free(g), free(up);
    }
}

static void rope_has_the_bits_of_ref_and_leaves_the_rest(void **state) {
    (void)state;
    static const int dims[][2] = {{2, 2},   {6, 6},   {6, 4},   {16, 16},   {32, 32}, {40, 40},
                                  {64, 64}, {80, 80}, {80, 20}, {128, 128}, {128, 34}};
    rng_seed(5);
    EACH_SET(ops)
    for (size_t s = 0; s < sizeof dims / sizeof *dims; s++)
        for (int kind = 0; kind < 2; kind++)
            for (int heads = 1; heads < 4; heads += 2) {
                int head_dim = dims[s][0], n_rot = dims[s][1];
                size_t n = (size_t)(heads * head_dim), half = (size_t)(n_rot / 2);
                float *x = random_buffer(n, 2.0f), *want = copy_buffer(x, n), *c = nan_buffer(half), *sn = nan_buffer(half);
                for (size_t i = 0; i < half; i++) c[i] = rng_float(1.0f), sn[i] = rng_float(1.0f);
                for (int h = 0; h < heads; h++)
                    for (int i = 0; i < n_rot / 2; i++) {
                        int at = h * head_dim + (kind == KERN_ROPE_HALF ? i : 2 * i), to = at + (kind == KERN_ROPE_HALF ? n_rot / 2 : 1);
                        float a = want[at], b = want[to], ac = a * c[i], bs = b * sn[i], bc = b * c[i], as = a * sn[i];
                        want[at] = ac - bs, want[to] = bc + as;
                    }
                ops->rope(x, heads, head_dim, n_rot, (kern_rope_kind)kind, c, sn);
                assert_same("rope", ops, want, x, n);
                free(x), free(want), free(c), free(sn);
            }
}

static void argmax_finds_the_lowest_index_of_the_exact_maximum(void **state) {
    (void)state;
    rng_seed(6);
    EACH_SET(ops) for (size_t s = 0; s < N_ODD; s++) for (int round = 0; round < 20; round++) {
        int n = (int)odd_sizes[s], a = rng_below(n), b = rng_below(n);
        float *x = random_buffer((size_t)n, 1.0f), max = 0;
        int64_t at = -1;
        bool finite = false;
        for (int i = 0; round % 4 == 3 && i < n; i++) x[i] = -3.0f; /* all below zero */
        x[a] = x[b] = round % 4 == 3 ? -2.0f : 2.0f;
        if (round % 4 == 2) { /* zeros of both signs are equal: the lower index wins, with its own sign */
            for (int i = 0; i < n; i++) x[i] = -1.0f;
            x[a] = 0.0f, x[b] = -0.0f;
        }
        int low = a < b ? a : b;
        ops->argmax(x, n, &at, &max, &finite);
        assert_int_equal(at, low);
        assert_int_equal(bits(max), bits(x[low]));
        assert_true(finite);
        free(x);
    }
}

static void argmax_reports_every_non_finite_value(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    rng_seed(7);
    EACH_SET(ops) for (int n = 1; n < 70; n++) for (int i = 0; i < n; i++) for (int k = 0; k < 3; k++) {
        float *x = random_buffer((size_t)n, 1.0f), max = 0;
        x[i] = bad[k];
        int64_t at = -1;
        bool finite = true;
        ops->argmax(x, n, &at, &max, &finite);
        assert_false(finite);
        assert_int_equal(at, 0);
        assert_true(bits(max) == bits(x[0]));
        free(x);
    }
}

/* ---- K/V pages and attention --------------------------------------------------------------------------------------------------------- */

static const int head_dims[] = {2, 6, 16, 32, 40, 64, 80, 128, 130, 256, 512};
#define N_DIMS (sizeof head_dims / sizeof *head_dims)

static size_t element_bytes(kern_kv_type type) {
    return type == KERN_KV_F16 ? 2 : 4;
}

/* A page with one spare row, every byte 0xff: NaN in both types. */
static void *nan_page(kern_kv_type type, int head_dim) {
    size_t n = (size_t)(head_dim + 1) * KERN_PAGE_TOKENS * element_bytes(type);
    void *p = malloc(n);
    assert_non_null(p);
    return memset(p, 0xff, n);
}

static void kv_put_has_the_bits_of_ref_and_touches_one_slot(void **state) {
    (void)state;
    static const float special[] = {0.0f,     -0.0f,    65504.0f, 65519.0f,   65520.0f,  -1e30f,
                                    INFINITY, 0x1p-24f, 0x1p-25f, 0x1.8p-25f, 0x1p-140f, NAN};
    rng_seed(8);
    EACH_SET(ops)
    for (int type = 0; type < 2; type++)
        for (size_t s = 0; s < N_DIMS; s++)
            for (int slot = 0; slot < KERN_PAGE_TOKENS; slot += 5) {
                kern_kv_type kv = (kern_kv_type)type;
                int d = head_dims[s];
                size_t bytes = element_bytes(kv), n = (size_t)(d + 1) * KERN_PAGE_TOKENS * bytes;
                float *k = random_buffer((size_t)d, 3.0f), *v = random_buffer((size_t)d, 1e5f);
                for (int i = 0; i < d; i += 3) k[i] = special[rng_below(12)], v[d - 1 - i] = special[rng_below(12)];
                uint8_t *k_page = nan_page(kv, d), *v_page = nan_page(kv, d), *k_want = nan_page(kv, d), *v_want = nan_page(kv, d);
                for (int i = 0; i < d; i++) {
                    uint16_t hk = kern_f32_to_f16(k[i]), hv = kern_f32_to_f16(v[i]);
                    memcpy(k_want + (size_t)(i * KERN_PAGE_TOKENS + slot) * bytes, kv == KERN_KV_F16 ? (void *)&hk : (void *)&k[i], bytes);
                    memcpy(v_want + (size_t)(slot * d + i) * bytes, kv == KERN_KV_F16 ? (void *)&hv : (void *)&v[i], bytes);
                }
                ops->kv_put(kv, d, slot, k, v, k_page, v_page);
                assert_memory_equal(k_page, k_want, n);
                assert_memory_equal(v_page, v_want, n);
                free(k), free(v), free(k_page), free(v_page), free(k_want), free(v_want);
            }
}

/* An attention call with n_keys keys in the pages, every other slot NaN, and scratch and outputs NaN. */
typedef struct attn_case {
    kern_attn a;
    int n_pages;
    const float *q[160];
    float *out[160];
    int first[160], end[160];
    const void *k_page[16], *v_page[16];
} attn_case;

static void attn_reset(attn_case *c) {
    for (int j = 0; j < c->a.n_q; j++) memset(c->out[j], 0xff, (size_t)c->a.head_dim * sizeof(float));
    memset(c->a.scratch, 0xff, (size_t)c->a.n_q * c->a.scratch_stride * sizeof(float));
}

static attn_case *attn_new(kern_kv_type type, int head_dim, int n_q, int n_keys) {
    attn_case *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->n_pages = (n_keys + KERN_PAGE_TOKENS - 1) / KERN_PAGE_TOKENS;
    for (int p = 0; p < c->n_pages; p++) c->k_page[p] = nan_page(type, head_dim), c->v_page[p] = nan_page(type, head_dim);
    for (int t = 0; t < n_keys; t++) {
        float *k = random_buffer((size_t)head_dim, 1.0f), *v = random_buffer((size_t)head_dim, 1.0f);
        int p = t / KERN_PAGE_TOKENS;
        ref_ops()->kv_put(type, head_dim, t % KERN_PAGE_TOKENS, k, v, (void *)(uintptr_t)c->k_page[p], (void *)(uintptr_t)c->v_page[p]);
        free(k), free(v);
    }
    for (int j = 0; j < n_q; j++) {
        c->q[j] = random_buffer((size_t)head_dim, 2.0f);
        c->out[j] = nan_buffer((size_t)head_dim);
        c->end[j] = n_keys;
    }
    size_t stride = (size_t)c->n_pages * KERN_PAGE_TOKENS;
    c->a = (kern_attn){.kv_type = type,
                       .head_dim = head_dim,
                       .n_q = n_q,
                       .q = c->q,
                       .out = c->out,
                       .first = c->first,
                       .n_keys = c->end,
                       .k_page = c->k_page,
                       .v_page = c->v_page,
                       .scale = 1.0f / sqrtf((float)head_dim),
                       .scratch_stride = stride};
    c->a.scratch = aligned_alloc(64, (size_t)n_q * stride * sizeof(float));
    assert_non_null(c->a.scratch);
    attn_reset(c);
    return c;
}

static void attn_free(attn_case *c) {
    for (int p = 0; p < c->n_pages; p++) free((void *)(uintptr_t)c->k_page[p]), free((void *)(uintptr_t)c->v_page[p]);
    for (int j = 0; j < c->a.n_q; j++) free((void *)(uintptr_t)c->q[j]), free(c->out[j]);
    free(c->a.scratch);
    free(c);
}

/* Runs ref, keeps its outputs, runs every set and compares. */
static void attn_compare(attn_case *c) {
    size_t d = (size_t)c->a.head_dim;
    float *want = malloc((size_t)c->a.n_q * d * sizeof *want);
    assert_non_null(want);
    attn_reset(c);
    ref_ops()->attention(&c->a);
    for (int j = 0; j < c->a.n_q; j++) {
        memcpy(want + (size_t)j * d, c->out[j], d * sizeof *want);
        for (size_t i = 0; i < d; i++) assert_true(isfinite(c->out[j][i]));
    }
    EACH_SET(ops) {
        attn_reset(c);
        ops->attention(&c->a);
        for (int j = 0; j < c->a.n_q; j++) assert_same("attention", ops, want + (size_t)j * d, c->out[j], d);
    }
    free(want);
}

static void attention_has_the_bits_of_ref_at_every_shape(void **state) {
    (void)state;
    rng_seed(9);
    for (int type = 0; type < 2; type++)
        for (size_t s = 0; s < N_DIMS; s++)
            for (int n_q = 1; n_q <= 18; n_q++) {
                int n_keys = 1 + rng_below(100);
                attn_case *c = attn_new((kern_kv_type)type, head_dims[s], n_q, n_keys);
                for (int j = 0; j < n_q; j++) { /* any range: causal order, windows, ranges that do not meet */
                    if (rng_below(3)) c->end[j] = 1 + rng_below(n_keys);
                    if (!rng_below(3)) c->first[j] = rng_below(c->end[j]);
                }
                attn_compare(c);
                attn_free(c);
            }
}

static void attention_has_the_bits_of_ref_for_a_prefill_block(void **state) {
    (void)state;
    static const struct {
        int head_dim, tokens, heads, context, window;
    } shapes[] = {{64, 32, 3, 300, 0}, {128, 32, 4, 129, 0}, {80, 7, 5, 64, 0},
                  {16, 32, 1, 32, 0},  {64, 32, 4, 200, 40}, {6, 20, 2, 97, 33}};
    rng_seed(10);
    for (int type = 0; type < 2; type++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int by_head = 0; by_head < 2; by_head++) {
                int tokens = shapes[s].tokens, heads = shapes[s].heads, window = shapes[s].window;
                attn_case *c = attn_new((kern_kv_type)type, shapes[s].head_dim, tokens * heads, shapes[s].context);
                for (int j = 0; j < tokens * heads; j++) {
                    int token = by_head ? j % tokens : j / heads;
                    c->end[j] = shapes[s].context - tokens + 1 + token;
                    c->first[j] = window && c->end[j] > window ? c->end[j] - window : 0;
                }
                attn_compare(c);
                attn_free(c);
            }
}

static void attention_of_a_query_does_not_depend_on_its_company(void **state) {
    (void)state;
    rng_seed(11);
    attn_case *c = attn_new(KERN_KV_F16, 64, 37, 111);
    for (int j = 0; j < 37; j++) c->end[j] = 111 - 36 + j;
    float *block = malloc(37 * 64 * sizeof *block);
    assert_non_null(block);
    EACH_SET(ops) {
        attn_reset(c);
        ops->attention(&c->a);
        for (int j = 0; j < 37; j++) memcpy(block + j * 64, c->out[j], 64 * sizeof *block);
        attn_reset(c);
        for (int j = 0; j < 37; j++) {
            kern_attn one = c->a;
            one.n_q = 1, one.q += j, one.out += j, one.first += j, one.n_keys += j;
            ops->attention(&one);
            assert_same("attention of one query", ops, block + j * 64, c->out[j], 64);
        }
    }
    free(block);
    attn_free(c);
}

static void attention_with_far_apart_scores_has_the_bits_of_ref(void **state) {
    (void)state;
    rng_seed(12);
    attn_case *c = attn_new(KERN_KV_F32, 32, 9, 70);
    c->a.scale = 30.0f; /* differences of hundreds: most weights are +0 */
    attn_compare(c);
    c->a.scale = 0.0f; /* scores +0 and -0: all weights 1 */
    attn_compare(c);
    c->a.scale = -1.0f;
    attn_compare(c);
    attn_free(c);
}

static void attention_weighs_a_far_key_with_exactly_zero(void **state) {
    (void)state;
    float one[16], minus[16], zero[16] = {0};
    for (int i = 0; i < 16; i++) one[i] = 1.0f, minus[i] = -8.0f;
    rng_seed(15);
    attn_case *c = attn_new(KERN_KV_F32, 16, 1, 20);
    void *k_page = (void *)(uintptr_t)c->k_page[0], *v_page = (void *)(uintptr_t)c->v_page[0];
    for (int t = 0; t < 20; t++) ref_ops()->kv_put(KERN_KV_F32, 16, t, t == 5 ? one : minus, t == 5 ? zero : one, k_page, v_page);
    memcpy((void *)(uintptr_t)c->q[0], one, sizeof one);
    c->a.scale = 1.0f; /* scores 16 and -128 */
    EACH_SET(ops) {
        attn_reset(c);
        ops->attention(&c->a);
        for (int d = 0; d < 16; d++) assert_int_equal(bits(c->out[0][d]), 0);
    }
    attn_free(c);
}

static void attention_of_a_query_with_nan_is_nan_and_spares_the_others(void **state) {
    (void)state;
    rng_seed(16);
    attn_case *c = attn_new(KERN_KV_F16, 64, 11, 75);
    float want[11][64];
    c->end[4] = 1; /* with one key a NaN taken for a number would cancel out */
    ref_ops()->attention(&c->a);
    for (int j = 0; j < 11; j++) memcpy(want[j], c->out[j], sizeof want[j]);
    memset((void *)(uintptr_t)c->q[4], 0xff, 12);
    EACH_SET(ops) {
        attn_reset(c);
        ops->attention(&c->a);
        for (int j = 0; j < 11; j++) {
            if (j != 4) assert_same("attention", ops, want[j], c->out[j], 64);
            for (int d = 0; j == 4 && d < 64; d++) assert_true(isnan(c->out[j][d]));
        }
    }
    attn_free(c);
}

static void attention_is_softmax_of_scores_times_values(void **state) {
    (void)state;
    rng_seed(13);
    enum { D = 64, N = 90 };
    attn_case *c = attn_new(KERN_KV_F32, D, 3, N);
    c->first[1] = 17, c->end[2] = 50;
    ref_ops()->attention(&c->a);
    for (int j = 0; j < 3; j++) {
        double weight[N], sum = 0, max = -1e300;
        for (int t = c->first[j]; t < c->end[j]; t++) {
            weight[t] = 0;
            for (int d = 0; d < D; d++) weight[t] += (double)c->q[j][d] * ((const float *)c->k_page[t / 32])[d * 32 + t % 32];
            weight[t] *= c->a.scale;
            max = weight[t] > max ? weight[t] : max;
        }
        for (int t = c->first[j]; t < c->end[j]; t++) sum += weight[t] = exp(weight[t] - max);
        for (int d = 0; d < D; d++) {
            double want = 0;
            for (int t = c->first[j]; t < c->end[j]; t++)
                want += weight[t] / sum * (double)((const float *)c->v_page[t / 32])[t % 32 * D + d];
            /* |q| <= 2, |k|, |v| <= 1: a score is wrong by at most D roundings of partial sums <= 2D, times the scale, a weight and the
             * sum by that factor each, and the chain over N keys by N roundings */
            double bound = 2 * (D * 2.0 * D * 0x1p-24 * c->a.scale) + (N + 20) * 0x1p-24;
            assert_true(fabs(c->out[j][d] - want) <= bound);
        }
    }
    attn_free(c);
}

/* ---- scalar mathematics ------------------------------------------------------------------------------------------------------------- */

static void expf_is_within_one_ulp_of_mpmath(void **state) {
    (void)state;
    FILE *f = open_table("expf.txt");
    double x, want, worst = 0;
    int n = 0;
    for (; fscanf(f, "%la %la", &x, &want) == 2; n++) {
        int e;
        frexp(want, &e);
        double ulps = fabs((double)kern_expf((float)x) - want) / ldexp(1, e - 24);
        worst = ulps > worst ? ulps : worst;
    }
    fclose(f);
    assert_int_equal(n, 2010);
    assert_true(worst < 0.92); /* 0.9092 is the largest over all floats in [-87, 88] */
}

static void expf_keeps_its_promises_at_the_edges(void **state) {
    (void)state;
    assert_int_equal(bits(kern_expf(0.0f)), bits(1.0f));
    assert_int_equal(bits(kern_expf(-0.0f)), bits(1.0f));
    assert_true(kern_expf(-87.0f) >= FLT_MIN);
    assert_int_equal(bits(kern_expf(nextafterf(-87.0f, -100.0f))), 0);
    assert_int_equal(bits(kern_expf(-INFINITY)), 0);
    assert_int_equal(bits(kern_expf(89.0f)), bits(kern_expf(88.0f)));
    assert_int_equal(bits(kern_expf(INFINITY)), bits(kern_expf(88.0f)));
    assert_true(isfinite(kern_expf(88.0f)));
    assert_true(isnan(kern_expf(from_bits(0x7fc12345))));
    assert_true(isnan(kern_expf(from_bits(0xffc00001))));
}

static void exp_and_log_are_within_two_ulp_of_mpmath(void **state) {
    (void)state;
    FILE *f = open_table("exp_log.txt");
    char kind[8];
    double x, near;
    int part, n = 0;
    for (; fscanf(f, "%7s %la %la %d", kind, &x, &near, &part) == 4; n++) {
        double got = kind[0] == 'e' ? kern_exp(x) : kern_log(x);
        int e;
        frexp(near, &e);
        double ulps = near == 0 ? (got != 0) * 99.0 : fabs((got - near) / ldexp(1, e - 53) - part / 1024.0);
        if (!(ulps < 1.0)) fail_msg("kern_%s(%a) = %a, %.2f ulp from %a", kind, x, got, ulps, near);
    }
    fclose(f);
    assert_int_equal(n, 1006);
    assert_true(kern_exp(-745.0) == 0x1p-1074 && kern_exp(709.75) > 1.7e308 && kern_exp(709.75) < DBL_MAX);
    assert_true(kern_exp(-INFINITY) == 0 && kern_exp(1000) == HUGE_VAL && kern_exp(-1000) == 0 && isnan(kern_exp((double)NAN)));
}

static void plain_table(float theta, int n_rot, const float *divisor, int64_t n_pos, float *cos_out, float *sin_out) {
    float inv_freq[KERN_MAX_ROT / 2];
    kern_rope_frequencies(theta, n_rot, divisor, NULL, inv_freq);
    kern_rope_table(inv_freq, n_rot, 1, 0, n_pos, cos_out, sin_out);
}

static void rope_tables_are_those_of_transformers(void **state) {
    (void)state;
    FILE *f = open_table("rope.txt");
    double theta, c, s;
    long pos, i;
    int n_rot, n = 0;
    float *cos_table = NULL, *sin_table = NULL;
    double have_theta = 0;
    int have_rot = 0;
    for (; fscanf(f, "%lf %d %ld %ld %la %la", &theta, &n_rot, &pos, &i, &c, &s) == 6; n++) {
        if (theta != have_theta || n_rot != have_rot) {
            free(cos_table), free(sin_table);
            size_t size = (size_t)131072 * (size_t)(n_rot / 2) * sizeof(float);
            cos_table = malloc(size), sin_table = malloc(size);
            assert_true(cos_table && sin_table);
            plain_table((float)theta, n_rot, NULL, 131072, cos_table, sin_table);
            have_theta = theta, have_rot = n_rot;
        }
        size_t at = (size_t)pos * (size_t)(n_rot / 2) + (size_t)i;
        if (cos_table[at] != (float)c || sin_table[at] != (float)s) {
            fail_msg("theta %g n_rot %d position %ld pair %ld: (%a, %a), expected (%a, %a)", theta, n_rot, pos, i, (double)cos_table[at],
                     (double)sin_table[at], c, s);
        }
    }
    free(cos_table), free(sin_table);
    fclose(f);
    assert_int_equal(n, 1152);
}

typedef struct scaling_case {
    char kind[16];
    double theta, factor, first, second, mscale, mscale_all, given, attention;
    int n_rot, original, keep_fractions;
} scaling_case;

static void scaled_frequencies(const scaling_case *c, float *inv_freq, float *attention) {
    const float theta = (float)c->theta, factor = (float)c->factor;
    const kern_yarn yarn = {factor, (float)c->original, (float)c->first, (float)c->second, c->keep_fractions != 0};
    float divisor[KERN_MAX_ROT / 2];
    *attention = 1;
    for (int i = 0; i < c->n_rot / 2; i++) divisor[i] = factor;
    if (strcmp(c->kind, "yarn") == 0) {
        *attention = c->given != 0 ? (float)c->given : kern_yarn_attention(factor, (float)c->mscale, (float)c->mscale_all);
        kern_rope_frequencies(theta, c->n_rot, NULL, &yarn, inv_freq);
        return;
    }
    if (strcmp(c->kind, "llama3") == 0)
        kern_rope_llama3_divisors(theta, c->n_rot, factor, (float)c->first, (float)c->second, (float)c->original, divisor);
    kern_rope_frequencies(theta, c->n_rot, divisor, NULL, inv_freq);
}

/* Linear and YaRN to the bit.  llama3 goes through the divisors that a GGUF stores, which adds three roundings to a frequency of the middle
 * band: 3 * 2^-24, and a quarter for the roundings of the reference's own interpolation. */
static void scaled_frequencies_are_those_of_transformers(void **state) {
    (void)state;
    FILE *f = open_table("rope_scaling.txt");
    scaling_case c;
    int n = 0;
    for (; fscanf(f, "%15s %lf %d %lf %d %lf %lf %d %lf %lf %lf %la", c.kind, &c.theta, &c.n_rot, &c.factor, &c.original, &c.first, &c.second,
                  &c.keep_fractions, &c.mscale, &c.mscale_all, &c.given, &c.attention) == 12;
         n++) {
        float inv_freq[KERN_MAX_ROT / 2], attention;
        const double bound = strcmp(c.kind, "llama3") == 0 ? 4 * 0x1p-24 : 0;
        scaled_frequencies(&c, inv_freq, &attention);
        if (attention != (float)c.attention) fail_msg("case %d: attention factor %a, expected %a", n, (double)attention, c.attention);
        for (int i = 0; i < c.n_rot / 2; i++) {
            double want;
            assert_int_equal(fscanf(f, "%la", &want), 1);
            if (!(fabs((double)inv_freq[i] - want) <= bound * want))
                fail_msg("case %d (%s), frequency %d: %a, expected %a", n, c.kind, i, (double)inv_freq[i], want);
        }
    }
    fclose(f);
    assert_int_equal(n, 12);
}

static void yarn_scales_cosines_and_sines(void **state) {
    (void)state;
    float inv_freq[8], c[2][8 * 5], s[2][8 * 5];
    const kern_yarn yarn = {4, 128, 32, 1, false};
    kern_rope_frequencies(1e6f, 16, NULL, &yarn, inv_freq);
    kern_rope_table(inv_freq, 16, 1, 2, 5, c[0], s[0]);
    kern_rope_table(inv_freq, 16, 1.25f, 2, 5, c[1], s[1]);
    for (int i = 0; i < 8 * 5; i++) assert_true(c[1][i] == c[0][i] * 1.25f && s[1][i] == s[0][i] * 1.25f && c[0][i] != 0);
}

static void llama3_divisors_are_those_of_the_gguf_converter(void **state) {
    (void)state;
    /* rope_freqs.weight as llama.cpp's converter writes it for theta 5e5, 32 dimensions, factor 8, low 1, high 4, original length 128 */
    static const float want[16] = {1, 1, 0x1.03bed2p+0f, 0x1.77a5e6p+1f, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8};
    float divisor[16], cos_plain[16 * 3], sin_plain[16 * 3], cos_scaled[16 * 3], sin_scaled[16 * 3];
    kern_rope_llama3_divisors(5e5f, 32, 8, 1, 4, 128, divisor);
    for (int i = 0; i < 16; i++) assert_int_equal(bits(divisor[i]), bits(want[i]));
    plain_table(5e5f, 32, NULL, 3, cos_plain, sin_plain);
    plain_table(5e5f, 32, divisor, 3, cos_scaled, sin_scaled);
    assert_true(cos_plain[32] == cos_scaled[32] && sin_plain[33] == sin_scaled[33]); /* divisor 1 */
    assert_true(sin_scaled[32 + 15] < sin_plain[32 + 15] / 7.9f && sin_scaled[32 + 15] > sin_plain[32 + 15] / 8.1f);
}

/* The value of a finite half, from its definition. */
static double half_value(unsigned h) {
    int e = h >> 10 & 31, m = h & 1023;
    double v = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h & 0x8000 ? -v : v;
}

static void f16_converts_every_half_to_its_value(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        float f = kern_f16_to_f32((uint16_t)h);
        if ((h & 0x7c00) != 0x7c00) {
            assert_true((double)f == half_value(h) && !signbit(f) == !(h & 0x8000));
            assert_int_equal(kern_f32_to_f16(f), h);
        } else if (h & 0x3ff) {
            assert_true(isnan(f) && (bits(f) & 0x400000)); /* quiet */
            assert_true((kern_f32_to_f16(f) & 0x7fff) > 0x7c00);
        } else {
            assert_true(isinf(f));
            assert_int_equal(kern_f32_to_f16(f), h & 0x8000 ? 0xfbff : 0x7bff);
        }
    }
}

/* Rounding is monotonic, so it is right for every float if it is at and next to each boundary: the midpoints of neighbouring halves. */
static void f32_to_f16_rounds_half_to_even_at_every_boundary(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x7bff; h++) {
        float middle = (float)((half_value(h) + half_value(h + 1)) / 2);
        unsigned even = h & 1 ? h + 1 : h;
        for (unsigned sign = 0; sign <= 0x8000; sign += 0x8000) {
            float m = sign ? -middle : middle, away = sign ? -INFINITY : INFINITY;
            assert_int_equal(kern_f32_to_f16(m), even | sign);
            assert_int_equal(kern_f32_to_f16(nextafterf(m, 0)), h | sign);
            assert_int_equal(kern_f32_to_f16(nextafterf(m, away)), (h + 1) | sign);
        }
    }
    for (float x = 65504.0f; x < 1e38f; x *= 1.01f) assert_true(kern_f32_to_f16(x) == 0x7bff && kern_f32_to_f16(-x) == 0xfbff);
}

static void every_set_converts_f16_in_pages_as_the_scalar_functions(void **state) {
    (void)state;
    float k[16], v[16];
    uint16_t k_page[16 * 32], v_page[16 * 32];
    rng_seed(14);
    EACH_SET(ops) for (int round = 0; round < 20000; round++) {
        for (int i = 0; i < 16; i++) { /* exponents around the range of f16, one in 16 of any kind */
            uint32_t u = (uint32_t)rng_next();
            k[i] = from_bits(i ? (u & 0x807fffff) | (uint32_t)(127 - 28 + rng_below(46)) << 23 : u);
            v[i] = k[i];
        }
        ops->kv_put(KERN_KV_F16, 16, 3, k, v, k_page, v_page);
        for (int i = 0; i < 16; i++) {
            assert_int_equal(k_page[i * 32 + 3], kern_f32_to_f16(k[i]));
            assert_int_equal(v_page[3 * 16 + i], kern_f32_to_f16(v[i]));
        }
    }
}

static void bf16_rounds_half_to_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x7f80; h++) {
        uint32_t even = h & 1 ? h + 1 : h;
        assert_int_equal(kern_f32_to_bf16(kern_bf16_to_f32((uint16_t)h)), h);
        assert_int_equal(kern_f32_to_bf16(from_bits(h << 16 | 0x7fff)), h);
        assert_int_equal(kern_f32_to_bf16(from_bits(h << 16 | 0x8000)), even);
        assert_int_equal(kern_f32_to_bf16(from_bits(h << 16 | 0x80008001)), (h + 1) | 0x8000);
    }
    assert_int_equal(kern_f32_to_bf16(-INFINITY), 0xff80);
    for (uint32_t u = 0x7f800001; u < 0x7fffffff - 4096; u += 4093) assert_true((kern_f32_to_bf16(from_bits(u)) & 0x7fff) > 0x7f80);
}

/* ---- golden hashes ------------------------------------------------------------------------------------------------------------------ */

enum { H_RMSNORM, H_SILU, H_ROPE, H_ROPE_HALF, H_PUT, H_ATTN_F16, H_ATTN_F32, H_TABLE, H_EXPF, H_COUNT };
static const char *const hash_names[] = {"rmsnorm",       "silu_mul",      "rope interleaved", "rope half", "kv_put",
                                         "attention f16", "attention f32", "rope table",       "expf"};
/* canonical-1.  A change here is a change of every result: it needs a new numerics id (docs/numerics.md). */
static const uint64_t golden[H_COUNT] = {
    [H_RMSNORM] = 0xfc67a8aee2dfeb1du,   [H_SILU] = 0xde4fda13d170f627u,  [H_ROPE] = 0x2a77ade21093379fu,
    [H_ROPE_HALF] = 0x51e325ef8a97c395u, [H_PUT] = 0x7582a47470b59b36u,   [H_ATTN_F16] = 0x932477c6d882c55bu,
    [H_ATTN_F32] = 0x36834fd6800dde42u,  [H_TABLE] = 0x3cbde671b195b836u, [H_EXPF] = 0xb10ef81133401c56u,
};

static uint64_t hash_attention(const kern_ops *ops, kern_kv_type type) {
    attn_case *c = attn_new(type, 64, 12, 150);
    for (int j = 0; j < 12; j++) c->end[j] = 139 + j, c->first[j] = j % 4 * 7;
    ops->attention(&c->a);
    uint64_t h = HASH_START;
    for (int j = 0; j < 12; j++) h = hash_bytes(h, c->out[j], 64 * sizeof(float));
    attn_free(c);
    return h;
}

/* Every multiple of 2^-15 from -88 to 88: 5.8 million values, so that one unit in the last place of a coefficient shows. */
static uint64_t hash_expf(void) {
    uint64_t h = HASH_START;
    for (int i = -88 * 32768; i <= 88 * 32768; i++) h = (h ^ bits(kern_expf((float)i * 0x1p-15f))) * 0x100000001b3u;
    return h;
}

static void outputs_have_the_golden_hashes(void **state) {
    (void)state;
    int wrong = 0;
    uint64_t expf_hash = hash_expf();
    EACH_SET(ops) {
        uint64_t h[H_COUNT];
        h[H_EXPF] = expf_hash;
        rng_seed(20);
        float *x = random_buffer(1001, 2.0f), *w = random_buffer(1001, 4.0f), *y = nan_buffer(1001);
        ops->rmsnorm(x, w, 1e-6f, 1001, y);
        h[H_RMSNORM] = hash_bytes(HASH_START, y, 1001 * sizeof *y);
        memcpy(y, w, 1001 * sizeof *y);
        ops->silu_mul(y, x, 1001);
        h[H_SILU] = hash_bytes(HASH_START, y, 1001 * sizeof *y);
        float c[32 * 40], s[32 * 40];
        plain_table(1e6f, 64, NULL, 40, c, s);
        h[H_TABLE] = hash_bytes(hash_bytes(HASH_START, c, sizeof c), s, sizeof s);
        ops->rope(x, 5, 64, 64, KERN_ROPE_INTERLEAVED, c + 32 * 39, s + 32 * 39);
        h[H_ROPE] = hash_bytes(HASH_START, x, 320 * sizeof *x);
        ops->rope(x, 5, 64, 64, KERN_ROPE_HALF, c + 32 * 39, s + 32 * 39);
        h[H_ROPE_HALF] = hash_bytes(HASH_START, x, 320 * sizeof *x);
        uint16_t k_page[64 * 32] = {0}, v_page[64 * 32] = {0};
        ops->kv_put(KERN_KV_F16, 64, 9, x, w, k_page, v_page);
        h[H_PUT] = hash_bytes(hash_bytes(HASH_START, k_page, sizeof k_page), v_page, sizeof v_page);
        h[H_ATTN_F16] = hash_attention(ops, KERN_KV_F16);
        h[H_ATTN_F32] = hash_attention(ops, KERN_KV_F32);
        free(x), free(w), free(y);
        for (int i = 0; i < H_COUNT; i++) {
            if (h[i] == golden[i]) continue;
            print_error("%s of %s: 0x%016llxu\n", hash_names[i], ops->name, (unsigned long long)h[i]);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rmsnorm_has_the_bits_of_ref),
        cmocka_unit_test(rmsnorm_is_the_formula),
        cmocka_unit_test(add_has_the_bits_of_ref),
        cmocka_unit_test(scale_add_is_one_fma_an_element),
        cmocka_unit_test(silu_mul_has_the_bits_of_ref),
        cmocka_unit_test(silu_is_exact_at_the_extremes),
        cmocka_unit_test(rope_has_the_bits_of_ref_and_leaves_the_rest),
        cmocka_unit_test(argmax_finds_the_lowest_index_of_the_exact_maximum),
        cmocka_unit_test(argmax_reports_every_non_finite_value),
        cmocka_unit_test(kv_put_has_the_bits_of_ref_and_touches_one_slot),
        cmocka_unit_test(attention_has_the_bits_of_ref_at_every_shape),
        cmocka_unit_test(attention_has_the_bits_of_ref_for_a_prefill_block),
        cmocka_unit_test(attention_of_a_query_does_not_depend_on_its_company),
        cmocka_unit_test(attention_with_far_apart_scores_has_the_bits_of_ref),
        cmocka_unit_test(attention_weighs_a_far_key_with_exactly_zero),
        cmocka_unit_test(attention_of_a_query_with_nan_is_nan_and_spares_the_others),
        cmocka_unit_test(attention_is_softmax_of_scores_times_values),
        cmocka_unit_test(expf_is_within_one_ulp_of_mpmath),
        cmocka_unit_test(expf_keeps_its_promises_at_the_edges),
        cmocka_unit_test(exp_and_log_are_within_two_ulp_of_mpmath),
        cmocka_unit_test(rope_tables_are_those_of_transformers),
        cmocka_unit_test(scaled_frequencies_are_those_of_transformers),
        cmocka_unit_test(yarn_scales_cosines_and_sines),
        cmocka_unit_test(llama3_divisors_are_those_of_the_gguf_converter),
        cmocka_unit_test(f16_converts_every_half_to_its_value),
        cmocka_unit_test(f32_to_f16_rounds_half_to_even_at_every_boundary),
        cmocka_unit_test(every_set_converts_f16_in_pages_as_the_scalar_functions),
        cmocka_unit_test(bf16_rounds_half_to_even),
        cmocka_unit_test(outputs_have_the_golden_hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
