/* Products and quantisation with AVX-512 (F, BW, VL, DQ, VNNI): the bits of product_ref.c, lanes over the 16 rows of a group.
 *
 * A tile is two groups (32 rows) x 1..6 columns: its integer and float sums stay in registers, each weight vector is unpacked once a tile
 * and each broadcast dword of activations feeds both groups.  vpdpbusd multiplies u8 weights by s8 activations without saturation; the
 * offsets that made weights unsigned are taken back through the activations' sums (bsum), exactly.  While a tile runs it prefetches its
 * share of the next two groups.  On Zen 5 (Q8_0, 4096x4096, 96 columns) 32 x 12 reached 475 Gop/s, 64 x 6 548, 32 x 6 679.
 *
 * The functions over a type and a column count are always inlined with constant arguments, which unrolls them and drops the cases of
 * other types.  Stateless, any thread. */
#include "kern/product_internal.h"

#if defined(__x86_64__)

#include "kern/product_avx512.h"

#if PK_NARROW_TILES
#define MAX_COLS 2
#else
#define MAX_COLS 6
#endif
#define PANEL 256 /* inputs of a panel: 32 KiB of F32 weights, which stay in the L1 cache for all columns */

typedef struct tile {
    const uint8_t *w[2]; /* the two groups */
    const kern_acts *x;
    int64_t col; /* first column */
    float *y;    /* output of row 0 of w[0] and the first column */
    int64_t ldy;
    __mmask16 mask[2];   /* rows to store */
    const uint8_t *next; /* this tile's part of the groups that come next, next_bytes to prefetch; may be NULL */
    size_t next_bytes;
    int64_t k0, k1; /* panel of inputs, F32, F16 and BF16 only */
} tile;

/* Spreads the prefetch of a tile's next_bytes evenly over n_steps calls of prefetch_step.  Measured with weights streamed from memory by two
 * threads: one column of Q4_K 19 -> 32 GB/s, 8 columns 25 % -> 43 % of the int8 peak, nothing lost at 96. */
typedef struct prefetch {
    const uint8_t *at;
    int64_t lines, n_steps, credit;
} prefetch;

INLINE prefetch prefetch_start(const tile *t, int64_t n_steps) {
    return (prefetch){t->next, (int64_t)(t->next_bytes + 63) / 64, n_steps, 0};
}

/* Few columns wait for memory: there prefetches that only fill the L2 cache leave more of them under way (one column on an Intel Xeon of 30 GB/s:
 * Q6_K 21 -> 25 GB/s, Q4_K 24 -> 28), and Q8_0, which is little more than reading, does best without (26 -> 30); with many columns the L1 cache is
 * better by 3 %. */
INLINE void prefetch_step(prefetch *p, const int type, const int cols) {
    if (type == DT_Q8_0 && cols <= 3) return;
    for (p->credit += p->lines; p->credit >= p->n_steps; p->credit -= p->n_steps, p->at += 64)
        cols <= 3 ? _mm_prefetch((const char *)p->at, _MM_HINT_T1) : _mm_prefetch((const char *)p->at, _MM_HINT_T0);
}

INLINE void store_tile(const tile *t, const int cols, __m512 f[][2]) {
    UNROLL for (int c = 0; c < cols; c++) {
        _mm512_mask_storeu_ps(t->y + c * t->ldy, t->mask[0], f[c][0]);
        _mm512_mask_storeu_ps(t->y + c * t->ldy + 16, t->mask[1], f[c][1]);
    }
}

/* s[c] += the products of one dword of each row with column c's activations at a. */
INLINE void dot_cols(__m512i s[][2], const int cols, __m512i w0, __m512i w1, const int8_t *a, int64_t k) {
    UNROLL for (int c = 0; c < cols; c++) {
        __m512i v = broadcast_dword(a + c * k);
        s[c][0] = _mm512_dpbusd_epi32(s[c][0], w0, v);
        s[c][1] = _mm512_dpbusd_epi32(s[c][1], w1, v);
    }
}

/* ---- blocks of 32 ---- */

INLINE void tile32(const int type, const int cols, const tile *t) {
    const bool minima = type == DT_Q4_1 || type == DT_Q5_1;
    const int offset = type == DT_Q8_0 ? 128 : type == DT_Q4_0 ? 8 : type == DT_Q5_0 ? 16 : 0;
    const int64_t k = t->x->k, n_blocks = k / 32, record = record32(type);
    const int8_t *a = t->x->q + t->col * k;
    const int16_t *bsum = t->x->bsum + t->col * (k / 16);
    const float *da = t->x->d + t->col * n_blocks;
    const uint8_t *w0 = t->w[0], *w1 = t->w[1];
    prefetch pf = prefetch_start(t, n_blocks);
    __m512 f[MAX_COLS][2];
    UNROLL for (int c = 0; c < cols; c++) f[c][0] = f[c][1] = _mm512_setzero_ps();
    for (int64_t b = 0; b < n_blocks; b++, w0 += record, w1 += record, a += 32) {
        prefetch_step(&pf, type, cols);
        __m512i s[MAX_COLS][2], bs[MAX_COLS];
        UNROLL for (int c = 0; c < cols; c++) {
            bs[c] = _mm512_madd_epi16(broadcast_dword(bsum + c * (k / 16) + 2 * b), _mm512_set1_epi16((short)(minima ? 1 : -offset)));
            s[c][0] = s[c][1] = minima ? _mm512_setzero_si512() : bs[c];
        }
        UNROLL for (int j = 0; j < 8; j++) dot_cols(s, cols, weights32(type, w0, j), weights32(type, w1, j), a + 4 * j, k);
        const uint8_t *d0 = minima ? w0 : t->w[0] + n_blocks * record + b * PK_TAIL;
        const uint8_t *d1 = minima ? w1 : t->w[1] + n_blocks * record + b * PK_TAIL;
        __m512 dw0 = load_halves(d0), dw1 = load_halves(d1);
        UNROLL for (int c = 0; c < cols; c++) {
            __m512 d = _mm512_set1_ps(da[c * n_blocks + b]);
            f[c][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[c][0]), _mm512_mul_ps(dw0, d), f[c][0]);
            f[c][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[c][1]), _mm512_mul_ps(dw1, d), f[c][1]);
            if (minima) {
                __m512 sum = _mm512_cvtepi32_ps(bs[c]);
                f[c][0] = _mm512_fmadd_ps(sum, _mm512_mul_ps(load_halves(d0 + 32), d), f[c][0]);
                f[c][1] = _mm512_fmadd_ps(sum, _mm512_mul_ps(load_halves(d1 + 32), d), f[c][1]);
            }
        }
    }
    store_tile(t, cols, f);
}

/* ---- K-quants ---- */

/* m[c] = sum over pairs of sc0/sc1's pair vectors with the activations' sums of column c in block b. */
INLINE void dot_sums(const int type, const int cols, __m512i m[][2], const scales *sc0, const scales *sc1, const int16_t *bsum,
                     int64_t ld) {
    UNROLL for (int c = 0; c < cols; c++) {
        __m512i m0 = _mm512_setzero_si512(), m1 = m0;
        if (type == DT_Q4_K || type == DT_Q5_K) {
            const __m512i all = sums_of_32(bsum + c * ld);
            m0 = _mm512_dpwssd_epi32(m0, sc0->pair[0], _mm512_shuffle_epi32(all, 0x00));
            m1 = _mm512_dpwssd_epi32(m1, sc1->pair[0], _mm512_shuffle_epi32(all, 0x00));
            m0 = _mm512_dpwssd_epi32(m0, sc0->pair[1], _mm512_shuffle_epi32(all, 0x55));
            m1 = _mm512_dpwssd_epi32(m1, sc1->pair[1], _mm512_shuffle_epi32(all, 0x55));
            m0 = _mm512_dpwssd_epi32(m0, sc0->pair[2], _mm512_shuffle_epi32(all, 0xaa));
            m1 = _mm512_dpwssd_epi32(m1, sc1->pair[2], _mm512_shuffle_epi32(all, 0xaa));
            m0 = _mm512_dpwssd_epi32(m0, sc0->pair[3], _mm512_shuffle_epi32(all, 0xff));
            m1 = _mm512_dpwssd_epi32(m1, sc1->pair[3], _mm512_shuffle_epi32(all, 0xff));
        } else {
            UNROLL for (int p = 0; p < 8; p++) {
                __m512i v = broadcast_dword(bsum + c * ld + 2 * p);
                m0 = _mm512_dpwssd_epi32(m0, sc0->pair[p], v);
                m1 = _mm512_dpwssd_epi32(m1, sc1->pair[p], v);
            }
        }
        m[c][0] = m0;
        m[c][1] = m1;
    }
}

/* total += s * scale, s = 0.  The empty asm statements keep the sums where they are: without them GCC 12 delays the additions and moves
 * half of the sums through memory (Q6_K at 96 columns: 465 instead of 590 Gop/s). */
INLINE void scale_sums(const int cols, __m512i total[][2], __m512i s[][2], __m512i sc0, __m512i sc1) {
    __asm__ volatile("" : "+v"(sc0), "+v"(sc1));
    UNROLL for (int c = 0; c < cols; c++) {
        total[c][0] = _mm512_add_epi32(total[c][0], _mm512_mullo_epi32(s[c][0], sc0));
        total[c][1] = _mm512_add_epi32(total[c][1], _mm512_mullo_epi32(s[c][1], sc1));
        __asm__ volatile("" : "+v"(total[c][0]), "+v"(total[c][1]));
        s[c][0] = s[c][1] = _mm512_setzero_si512();
    }
}

INLINE void tile256(const int type, const int cols, const tile *t) {
    const bool minima = type == DT_Q2_K || type == DT_Q4_K || type == DT_Q5_K, by16 = type != DT_Q4_K && type != DT_Q5_K;
    const int64_t k = t->x->k, n_blocks = k / 256, record = record256(type);
    const int8_t *a = t->x->q + t->col * k;
    const int16_t *bsum = t->x->bsum + t->col * (k / 16);
    const float *da = t->x->d + t->col * n_blocks;
    const uint8_t *w0 = t->w[0], *w1 = t->w[1];
    prefetch pf = prefetch_start(t, n_blocks * 4);
    scales sc0, sc1;
    __m512 f[MAX_COLS][2];
    UNROLL for (int c = 0; c < cols; c++) f[c][0] = f[c][1] = _mm512_setzero_ps();
    for (int64_t b = 0; b < n_blocks; b++, w0 += record, w1 += record, a += 256, bsum += 16) {
        __m512i m[MAX_COLS][2], total[MAX_COLS][2], s[MAX_COLS][2];
        load_scales(type, w0, &sc0);
        load_scales(type, w1, &sc1);
        dot_sums(type, cols, m, &sc0, &sc1, bsum, k / 16);
        /* The float sums are touched once a block: let them wait in memory while the integer sums have the registers. */
        __asm__ volatile("" : "+m"(f), "+m"(sc0), "+m"(sc1), "+m"(m));
        UNROLL for (int c = 0; c < cols; c++) {
            s[c][0] = s[c][1] = _mm512_setzero_si512();
            total[c][0] = minima ? s[c][0] : m[c][0];
            total[c][1] = minima ? s[c][0] : m[c][1];
        }
        for (int r = 0; r < 4; r++) {
            prefetch_step(&pf, type, cols);
            /* chunk (r, u) begins step[u] chunks after chunk (r, 0), whatever r is */
            const int step[2] = {0, chunk_index(type, 0, 1)}, per_chunk = by16 ? 2 : 1;
            const int first = chunk_index(type, r, 0);
            const int8_t *ar = a + 32 * first;
            const __m512i *scr0 = sc0.sc + per_chunk * first, *scr1 = sc1.sc + per_chunk * first;
            __asm__ volatile("" : "+r"(ar), "+r"(scr0), "+r"(scr1));
            UNROLL for (int u = 0; u < 2; u++) {
                const int8_t *au = ar + 32 * step[u];
                const int sub = per_chunk * step[u];
                /* Loads must not be shared between chunks: holding vectors for later costs more registers than loading them again. */
                __asm__ volatile("" ::: "memory");
                UNROLL for (int j = 0; j < 4; j++)
                    dot_cols(s, cols, weights256(type, w0, r, u, j), weights256(type, w1, r, u, j), au + 4 * j, k);
                if (by16) scale_sums(cols, total, s, scr0[sub], scr1[sub]);
                __asm__ volatile("" ::: "memory");
                UNROLL for (int j = 4; j < 8; j++)
                    dot_cols(s, cols, weights256(type, w0, r, u, j), weights256(type, w1, r, u, j), au + 4 * j, k);
                scale_sums(cols, total, s, scr0[sub + per_chunk - 1], scr1[sub + per_chunk - 1]);
            }
        }
        const uint8_t *d0 = minima ? w0 : t->w[0] + n_blocks * record + b * PK_TAIL;
        const uint8_t *d1 = minima ? w1 : t->w[1] + n_blocks * record + b * PK_TAIL;
        __m512 dw0 = load_halves(d0), dw1 = load_halves(d1);
        UNROLL for (int c = 0; c < cols; c++) {
            __m512 d = _mm512_set1_ps(da[c * n_blocks + b]);
            f[c][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(total[c][0]), _mm512_mul_ps(dw0, d), f[c][0]);
            f[c][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(total[c][1]), _mm512_mul_ps(dw1, d), f[c][1]);
            if (minima) {
                f[c][0] = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(m[c][0]), _mm512_mul_ps(load_halves(d0 + 32), d), f[c][0]);
                f[c][1] = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(m[c][1]), _mm512_mul_ps(load_halves(d1 + 32), d), f[c][1]);
            }
        }
    }
    store_tile(t, cols, f);
}

/* ---- F32, F16, BF16 ---- */

INLINE __m512 plain_weights(const int type, const uint8_t *group, int64_t k) {
    if (type == DT_F32) return _mm512_load_ps(group + 64 * k);
    if (type == DT_F16) return load_halves(group + 32 * k);
    __m512i v = _mm512_cvtepu16_epi32(_mm256_load_si256((const __m256i *)(group + 32 * k)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
}

/* Inputs t->k0..t->k1 of each column: the sums start at +0 in the first panel and are taken up from y in the others. */
INLINE void tile_plain(const int type, const int cols, const tile *t) {
    const int64_t ld = t->x->k;
    const float *x = t->x->f32 + t->col * ld;
    __m512 f[MAX_COLS][2];
    UNROLL for (int c = 0; c < cols; c++) {
        f[c][0] = f[c][1] = _mm512_setzero_ps();
        if (t->k0) {
            f[c][0] = _mm512_maskz_loadu_ps(t->mask[0], t->y + c * t->ldy);
            f[c][1] = _mm512_maskz_loadu_ps(t->mask[1], t->y + c * t->ldy + 16);
        }
    }
    for (int64_t k = t->k0; k < t->k1; k++) {
        __m512 w0 = plain_weights(type, t->w[0], k), w1 = plain_weights(type, t->w[1], k);
        UNROLL for (int c = 0; c < cols; c++) {
            __m512 v = _mm512_set1_ps(x[c * ld + k]);
            f[c][0] = _mm512_fmadd_ps(w0, v, f[c][0]);
            f[c][1] = _mm512_fmadd_ps(w1, v, f[c][1]);
        }
    }
    store_tile(t, cols, f);
}

/* ---- dispatch by type and columns ---- */

typedef void tile_fn(const tile *t);

#define TILE(body, type, cols)                                                                                                             \
    static __attribute__((noinline)) void tile_##type##_##cols(const tile *t) {                                                            \
        body(DT_##type, cols, t);                                                                                                          \
    }
#if PK_NARROW_TILES
#define TILES(body, type) TILE(body, type, 1) TILE(body, type, 2)
#define TILE_ROW(type)    [DT_##type] = {tile_##type##_1, tile_##type##_2}
#else
#define TILES(body, type)                                                                                                                  \
    TILE(body, type, 1) TILE(body, type, 2) TILE(body, type, 3) TILE(body, type, 4) TILE(body, type, 5) TILE(body, type, 6)
#define TILE_ROW(type) [DT_##type] = {tile_##type##_1, tile_##type##_2, tile_##type##_3, tile_##type##_4, tile_##type##_5, tile_##type##_6}
#endif

TILES(tile_plain, F32)
TILES(tile_plain, F16)
TILES(tile_plain, BF16)
TILES(tile32, Q4_0)
TILES(tile32, Q4_1)
TILES(tile32, Q5_0)
TILES(tile32, Q5_1)
TILES(tile32, Q8_0)
TILES(tile256, Q2_K)
TILES(tile256, Q3_K)
TILES(tile256, Q4_K)
TILES(tile256, Q5_K)
TILES(tile256, Q6_K)

static tile_fn *const tiles[DT_COUNT][MAX_COLS] = {
    TILE_ROW(F32),  TILE_ROW(F16),  TILE_ROW(BF16), TILE_ROW(Q4_0), TILE_ROW(Q4_1), TILE_ROW(Q5_0), TILE_ROW(Q5_1),
    TILE_ROW(Q8_0), TILE_ROW(Q2_K), TILE_ROW(Q3_K), TILE_ROW(Q4_K), TILE_ROW(Q5_K), TILE_ROW(Q6_K),
};

/* All columns of x against the rows of one tile, which has its groups, rows and (plain types) panel set. */
static void product_columns(tile *t, const kern_matrix *w, float *y, size_t next_bytes) {
    int n = t->x->n, n_tiles = (n + MAX_COLS - 1) / MAX_COLS;
    size_t part = next_bytes / (size_t)n_tiles;
    const uint8_t *next = t->next;
    for (int i = 0; i < n_tiles; i++) {
        int from = (int)((int64_t)n * i / n_tiles), to = (int)((int64_t)n * (i + 1) / n_tiles);
        t->col = from;
        t->y = y + from * t->ldy;
        t->next = next + part * (size_t)i;
        t->next_bytes = part;
        tiles[w->type][to - from - 1](t);
    }
    t->next = next;
}

static void product(const kern_matrix *w, const kern_acts *x, float *y, int64_t ldy, int64_t g0, int64_t g1) {
    const bool plain = w->type == DT_F32 || w->type == DT_F16 || w->type == DT_BF16;
    for (int64_t g = g0; g < g1; g += 2) {
        /* A last single group is computed twice side by side and stored once. */
        bool two = g + 1 < g1;
        const uint8_t *group = w->data + (size_t)g * w->group_bytes;
        tile t = {.x = x, .ldy = ldy};
        t.w[0] = group;
        t.w[1] = group + (two ? w->group_bytes : 0);
        t.mask[0] = rows_mask(w, g);
        t.mask[1] = two ? rows_mask(w, g + 1) : 0;
        float *y_rows = y + g * KERN_GROUP;
        if (!plain) {
            int64_t n_next = g + 3 < g1 ? 2 : g + 2 < g1 ? 1 : 0;
            t.next = n_next ? group + 2 * w->group_bytes : group;
            product_columns(&t, w, y_rows, w->group_bytes * (size_t)n_next);
        }
        for (; plain && t.k0 < x->k; t.k0 = t.k1) {
            t.k1 = x->k - t.k0 < PANEL ? x->k : t.k0 + PANEL;
            product_columns(&t, w, y_rows, 0);
        }
    }
}

/* ---- activations ---- */

/* n is 32 or 256. */
INLINE bool quant_block(const float *x, const int n, int8_t *q, float *d, int16_t *bsum) {
    const __m512i abs_bits = _mm512_set1_epi32(0x7fffffff);
    __m512i max_bits = _mm512_setzero_si512();
    /* Magnitudes compare as integers; infinities and NaN are above all finite ones. */
    UNROLL for (int i = 0; i < n; i += 16) max_bits = _mm512_max_epi32(max_bits, _mm512_and_si512(_mm512_loadu_si512(x + i), abs_bits));
    int32_t bits = _mm512_reduce_max_epi32(max_bits);
    float amax;
    memcpy(&amax, &bits, sizeof amax);
    bool finite = bits < 0x7f800000;
    if (!finite || amax < PK_ACT_MIN) {
        memset(q, 0, (size_t)n);
        memset(bsum, 0, (size_t)(n / 16) * sizeof *bsum);
        *d = 0.0f;
        return finite;
    }
    *d = amax / 127.0f;
    const __m512 id = _mm512_set1_ps(127.0f / amax), top = _mm512_set1_ps(127.0f), bottom = _mm512_set1_ps(-127.0f);
    UNROLL for (int i = 0; i < n; i += 16) {
        __m512 v = _mm512_max_ps(_mm512_min_ps(_mm512_mul_ps(_mm512_loadu_ps(x + i), id), top), bottom);
        __m512i r = _mm512_cvtps_epi32(v);
        _mm_storeu_si128((__m128i *)(q + i), _mm512_cvtepi32_epi8(r));
        bsum[i / 16] = (int16_t)_mm512_reduce_add_epi32(r);
    }
    return true;
}

static bool quant32(const float *x, int64_t k, int8_t *q, float *d, int16_t *bsum) {
    bool ok = true;
    for (int64_t i = 0; i < k; i += 32) ok &= quant_block(x + i, 32, q + i, d + i / 32, bsum + i / 16);
    return ok;
}

static bool quant256(const float *x, int64_t k, int8_t *q, float *d, int16_t *bsum) {
    bool ok = true;
    for (int64_t i = 0; i < k; i += 256) ok &= quant_block(x + i, 256, q + i, d + i / 256, bsum + i / 16);
    return ok;
}

const kern_product_ops kern_product_avx512 = {quant32, quant256, product, NULL};

#endif
