/* Products with AMX tiles (AMX-INT8 on top of the AVX-512 set): the bits of product_ref.c, many columns at a time.
 *
 * TDPBSSD and TDPBSUD multiply a tile of activations (up to 16 columns x 64 inputs) with a tile of weights (16 dwords of inputs x 16 rows)
 * into exact int32 sums, 16 rows a register.  The packed layout is already a tile of weights: a VEC is one dword of each of 16 rows.
 * Activations are copied into tiles when they are quantised (tile_put): with columns k bytes apart a tile is 16 cache lines that share a set.
 * The float steps of canonical-1 follow in AVX-512 as in product_avx512.c.
 *
 *   up to MAX_TILES tiles of columns and as many of their inputs as fill SPAN_BYTES:
 *     one pair of groups (32 rows):
 *       y -> acc, unless the inputs are the first
 *       for each unit of inputs (256 of a K-quant, or two blocks of 32):
 *         weights of both groups -> tiles of bytes (16 KiB, L1)                            once for all columns
 *         for each tile of columns:  tile products -> int32 sums (4 KiB, L1) -> float acc     the sums of a tile become floats while the
 *       acc -> y                                                                              products of the tile after next run
 *
 * K-quants: the sub-block scale is multiplied into the weight, exactly, and the product split into two bytes, so that one chain of tile
 * products runs over the whole block of 256: Q4_K and Q5_K split the 6-bit scale (q * (sc & 7), q * (sc >> 3); sum = lo + 8 hi), Q3_K and
 * Q6_K the 16-bit product (low byte unsigned, high byte signed; sum = lo + 256 hi).
 *
 * Few columns, Q2_K (minima for each 16) and plain types go to the AVX-512 product, which has the same bits.  Stateless, any thread: the tile registers are
 * configured at the start of a pass and released at the end of a call. */
#include "kern/product_internal.h"

#if defined(__x86_64__)

#include "kern/product_avx512.h"

#define MAX_TILES  8                  /* tiles a pass: acc has 16 KiB, which stay in the L1 cache */
#define UNIT32     2                  /* blocks of 32 a unit */
#define LINE       PK_TILE_LINE       /* also the bytes of a tile of weights */
#define SPAN_BYTES (768 << 10)        /* of activations that stay in the L2 cache while weights pass by */
#define AHEAD      2048               /* bytes of a group that weights are prefetched ahead */
#define PART_BYTES (256 * KERN_GROUP) /* one byte of every weight of a block of a group: 4 tiles */

/* The int32 sums of a tile of columns, as they leave the tile registers 0-3. */
typedef int32_t tile_sums[4][KERN_TILE_COLS][KERN_GROUP];

/* What a pass works in: 40 KiB, most of it in the L1 cache. */
typedef struct scratch {
    uint8_t weights[4][PART_BYTES]; /* both groups' weights as bytes, in parts */
    tile_sums sums[2];              /* of even and odd tiles */
    float acc[MAX_TILES * KERN_TILE_COLS][2 * KERN_GROUP];
} scratch;

/* Tiles of columns, and units of their inputs, that all groups pass by. */
typedef struct span {
    int tile, n_tiles;
    int64_t u0, u1;
} span;

/* One pass: a pair of groups and a span of tiles. */
typedef struct pass {
    const uint8_t *w[2];  /* the two groups */
    int64_t to_next;      /* bytes from a group to that of the next pass */
    int64_t k, u0, u1;    /* all inputs; first and end of the units */
    const uint8_t *tiles; /* first tile */
    size_t tile_bytes;
    int n_tiles, rows; /* columns a tile; the last may have fewer, which are computed and not stored */
    scratch *work;
} pass;

typedef struct tile_config { /* Intel SDM vol. 1, 18.1: memory operand of LDTILECFG */
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* Stores must not move below the tile loads, or the configuration, that read them: GCC 12's intrinsics do not tell the compiler that they read
 * all of it. */
INLINE void tiles_written(void) {
    __asm__ volatile("" ::: "memory");
}

/* Tiles 0-3 hold sums, 4 and 5 activations, 6 and 7 weights. */
static void configure(int columns, int inputs) {
    tile_config c = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        c.row_bytes[i] = (uint16_t)(i == 4 || i == 5 ? inputs : 64);
        c.rows[i] = (uint8_t)(i < 6 ? columns : inputs / 4);
    }
    tiles_written();
    _tile_loadconfig(&c);
}

/* Spreads the prefetch of the unit that comes AHEAD bytes later over the tiles of a pass: of both groups, or of the next two. */
typedef struct ahead {
    const uint8_t *at[2];
    int64_t left, lines; /* bytes; cache lines a call */
} ahead;

/* Beside unit u, of n bytes a group. */
INLINE ahead ahead_start(const pass *p, int64_t u, int64_t n) {
    const int64_t v = u + (AHEAD + n - 1) / n, at = v < p->u1 ? v * n : p->to_next + (v - p->u1 + p->u0) * n;
    return (ahead){{p->w[0] + at, p->w[1] + at}, n, n / 64 / (4 * p->n_tiles) + 1};
}

INLINE void ahead_step(ahead *f) {
    for (int64_t i = 0; i < f->lines && f->left > 0; i++, f->left -= 64) {
        _mm_prefetch((const char *)f->at[0], _MM_HINT_T1);
        _mm_prefetch((const char *)f->at[1], _MM_HINT_T1);
        f->at[0] += 64;
        f->at[1] += 64;
    }
}

/* A tile of columns of a unit whose products are done or running. */
typedef struct tile_work {
    const uint8_t *unit; /* its activations; NULL: none */
    float *acc;
    const void *by; /* the scales of its weights: scales32 or scales256 */
    tile_sums *sums;
} tile_work;

/* Two tiles are under way beside the one whose products are started: reading a tile register waits for its product, and holds up the products
 * behind it, so the sums of a tile are stored one tile later, and become floats two tiles later. */
typedef struct queue {
    tile_work storing, finishing;
    int next; /* sums of the next tile */
} queue;

#define UNITS_QUEUED 3 /* units that can have tiles in the queue */

INLINE queue queue_start(const pass *p) {
    return (queue){{NULL, NULL, NULL, &p->work->sums[1]}, {NULL, NULL, NULL, NULL}, 0};
}

INLINE void queue_push(queue *q, const pass *p, const uint8_t *unit, float *acc, const void *by) {
    q->finishing = q->storing;
    q->storing = (tile_work){unit, acc, by, &p->work->sums[q->next]};
    q->next ^= 1;
}

/* Stores what the tile registers hold. */
INLINE void queue_store(const queue *q) {
    _tile_stored(0, (*q->storing.sums)[0], 64);
    _tile_stored(1, (*q->storing.sums)[1], 64);
    _tile_stored(2, (*q->storing.sums)[2], 64);
    _tile_stored(3, (*q->storing.sums)[3], 64);
}

/* First of the columns that are finished in slot i of a tile's 16: the float steps are spread evenly between the tile instructions, since
 * those that wait for a port soon fill the scheduler and keep it from seeing the next tile product. */
INLINE int slot(const bool full, const pass *p, int i) {
    return full ? i : p->rows * i / 16;
}

/* v as a float, |v| < 2^22, exact: 3 * 2^22 + v is the float of these bits, from which 3 * 2^22 is taken.  While tile products run, port 5 has
 * no conversions, multiplications or fmas, but additions. */
INLINE __m512 small_to_float(__m512i v) {
    return _mm512_sub_ps(_mm512_castsi512_ps(_mm512_add_epi32(v, _mm512_set1_epi32(0x4b400000))), _mm512_set1_ps(0x3p22f));
}

/* ---- blocks of 32 ---- */

/* Bytes of the weights of one block of one group, 8 VECs; signed. */
INLINE void unpack32(const int type, const uint8_t *record, uint8_t *to) {
    const int offset = type == DT_Q4_0 ? 8 : type == DT_Q5_0 ? 16 : 0;
    UNROLL for (int j = 0; j < 8; j++)
        _mm512_store_si512(to + j * PK_VEC, _mm512_sub_epi8(weights32(type, record, j), _mm512_set1_epi8((char)offset)));
}

typedef struct scales32 {
    __m512 d[2][UNIT32], m[2][UNIT32];
} scales32;

/* Adds `blocks` blocks of columns [r0, r1) of a tile to its acc.  Sums: [block 0 g0, block 0 g1, block 1 g0, block 1 g1]. */
INLINE void finish32(const bool minima, const int blocks, int r0, int r1, const tile_work *t) {
    const float *d = (const float *)(t->unit + LINE), *sum = d + UNIT32 * KERN_TILE_COLS;
    const scales32 *s = t->by;
    for (int r = r0; r < r1; r++) {
        float *acc = t->acc + 2 * KERN_GROUP * r;
        __m512 f0 = _mm512_load_ps(acc), f1 = _mm512_load_ps(acc + KERN_GROUP);
        UNROLL for (int i = 0; i < blocks; i++) {
            const __m512 da = _mm512_set1_ps(d[i * KERN_TILE_COLS + r]);
            const __m512i *s0 = (const __m512i *)(*t->sums)[2 * i][r], *s1 = (const __m512i *)(*t->sums)[2 * i + 1][r];
            f0 = _mm512_fmadd_ps(small_to_float(_mm512_load_si512(s0)), _mm512_mul_ps(s->d[0][i], da), f0);
            /* one of two: port 0 converts while port 5 adds */
            const __m512 v1 = minima ? small_to_float(_mm512_load_si512(s1)) : _mm512_cvtepi32_ps(_mm512_load_si512(s1));
            f1 = _mm512_fmadd_ps(v1, _mm512_mul_ps(s->d[1][i], da), f1);
            if (minima) {
                const __m512 a = _mm512_set1_ps(sum[i * KERN_TILE_COLS + r]);
                f0 = _mm512_fmadd_ps(a, _mm512_mul_ps(s->m[0][i], da), f0);
                f1 = _mm512_fmadd_ps(a, _mm512_mul_ps(s->m[1][i], da), f1);
            }
        }
        _mm512_store_ps(acc, f0);
        _mm512_store_ps(acc + KERN_GROUP, f1);
    }
}

/* Product of one block and group, and what happens beside it: the sums that tile register C held before are stored, and slots i0 to i0 + 3
 * of the tile before that are finished.  LOAD loads the activations, where they change. */
#define STEP32(C, A, W, w, i0, LOAD)                                                                                                       \
    do {                                                                                                                                   \
        _tile_stored(C, (*q->storing.sums)[C], 64);                                                                                        \
        FINISH32(i0);                                                                                                                      \
        ahead_step(&next);                                                                                                                 \
        _tile_zero(C);                                                                                                                     \
        LOAD;                                                                                                                              \
        FINISH32((i0) + 1);                                                                                                                \
        _tile_loadd(W, w, PK_VEC);                                                                                                         \
        FINISH32((i0) + 2);                                                                                                                \
        _tile_dpbssd(C, A, W);                                                                                                             \
        FINISH32((i0) + 3);                                                                                                                \
    } while (0)
#define FINISH32(i)                                                                                                                        \
    if (q->finishing.unit) finish32(minima, UNIT32, slot(full, p, i), slot(full, p, (i) + 1), &q->finishing)

/* The weights of `blocks` blocks from block b0 on: their scales, and w[group][block], unpacked where they are not bytes. */
INLINE void prepare32(const int type, const int blocks, const pass *p, int64_t b0, scales32 *s, const uint8_t *w[2][UNIT32]) {
    const bool minima = type == DT_Q4_1 || type == DT_Q5_1;
    const int64_t n_blocks = p->k / 32, record = record32(type);
    UNROLL for (int g = 0; g < 2; g++) UNROLL for (int i = 0; i < blocks; i++) {
        const uint8_t *from = p->w[g] + (b0 + i) * record, *d = minima ? from : p->w[g] + n_blocks * record + (b0 + i) * PK_TAIL;
        s->d[g][i] = load_halves(d);
        if (minima) s->m[g][i] = load_halves(d + 32);
        w[g][i] = from;
        if (type == DT_Q8_0) continue;
        w[g][i] = p->work->weights[g] + i * 8 * PK_VEC;
        unpack32(type, from, p->work->weights[g] + i * 8 * PK_VEC);
    }
    tiles_written();
}

/* One unit of two blocks, all tiles of the pass. */
INLINE void unit32(const int type, const bool full, const pass *p, int64_t u, scales32 *s, queue *q) {
    const bool minima = type == DT_Q4_1 || type == DT_Q5_1;
    const int64_t record = record32(type);
    const uint8_t *w[2][UNIT32], *unit = p->tiles + u * PK_TILE_Q32;
    prepare32(type, UNIT32, p, UNIT32 * u, s, w);
    ahead next = ahead_start(p, u, UNIT32 * record);
    float *acc = p->work->acc[0];
    for (int t = 0; t < p->n_tiles; t++, unit += p->tile_bytes, acc += 2 * KERN_GROUP * p->rows) {
        STEP32(0, 4, 6, w[0][0], 0, _tile_loadd(4, unit, 64));
        STEP32(1, 4, 7, w[1][0], 4, );
        STEP32(2, 5, 6, w[0][1], 8, _tile_loadd(5, unit + 32, 64));
        STEP32(3, 5, 7, w[1][1], 12, );
        queue_push(q, p, unit, acc, s);
    }
}

/* The last block of an odd number of them. */
INLINE void last32(const int type, const pass *p, int64_t b) {
    const bool minima = type == DT_Q4_1 || type == DT_Q5_1;
    const uint8_t *w[2][UNIT32], *unit = p->tiles + b / UNIT32 * PK_TILE_Q32;
    scales32 s;
    prepare32(type, 1, p, b, &s, w);
    float *acc = p->work->acc[0];
    for (int t = 0; t < p->n_tiles; t++, unit += p->tile_bytes, acc += 2 * KERN_GROUP * p->rows) {
        const tile_work now = {unit, acc, &s, &p->work->sums[0]};
        _tile_loadd(4, unit, 64);
        UNROLL for (int g = 0; g < 2; g++) {
            _tile_zero(0);
            _tile_loadd(6, w[g][0], PK_VEC);
            _tile_dpbssd(0, 4, 6);
            _tile_stored(0, p->work->sums[0][g], 64);
        }
        finish32(minima, 1, 0, p->rows, &now);
    }
}

INLINE void pass32(const int type, const bool full, const pass *p) {
    const bool minima = type == DT_Q4_1 || type == DT_Q5_1;
    const int64_t n_blocks = p->k / 32;
    scales32 s[UNITS_QUEUED];
    queue q = queue_start(p);
    configure(p->rows, 32);
    const int64_t end = p->u1 < n_blocks / UNIT32 ? p->u1 : n_blocks / UNIT32;
    for (int64_t u = p->u0; u < end; u++) unit32(type, full, p, u, &s[u % UNITS_QUEUED], &q);
    queue_store(&q);
    if (q.finishing.unit) finish32(minima, UNIT32, 0, p->rows, &q.finishing);
    if (q.storing.unit) finish32(minima, UNIT32, 0, p->rows, &q.storing);
    if (end < p->u1) last32(type, p, n_blocks - 1);
}

/* ---- K-quants ---- */

typedef enum split {
    SPLIT_SCALE,  /* lo + 8 hi, both unsigned */
    SPLIT_PRODUCT /* lo + 256 hi, lo unsigned, hi signed */
} split;

INLINE split split_of(const int type) {
    return type == DT_Q4_K || type == DT_Q5_K ? SPLIT_SCALE : SPLIT_PRODUCT;
}

/* The int32 scale of every lane in both int16 halves. */
INLINE __m512i both_halves(__m512i v) {
    return _mm512_or_si512(_mm512_slli_epi32(v, 16), _mm512_and_si512(v, _mm512_set1_epi32(0xffff)));
}

/* What multiplies the even and the odd bytes of each int16 by a sub-block's scale, and offset times the scale. */
typedef struct split_scale {
    __m512i even, odd, offset;
} split_scale;

INLINE split_scale split_scale_of(__m512i sc, const int offset) {
    const __m512i s = both_halves(sc);
    return (split_scale){_mm512_and_si512(s, _mm512_set1_epi16(0xff)), _mm512_slli_epi16(s, 8),
                         _mm512_mullo_epi16(s, _mm512_set1_epi16((short)offset))};
}

/* (v - offset) * scale of bytes v: the low bytes to lo, the high bytes to hi. */
INLINE void split_products(__m512i v, const split_scale *s, uint8_t *lo, uint8_t *hi) {
    const __mmask64 odd = 0xaaaaaaaaaaaaaaaau;
    /* one factor of each pair is 0; |products| <= 63 * 128 */
    const __m512i e = _mm512_sub_epi16(_mm512_maddubs_epi16(v, s->even), s->offset);
    const __m512i o = _mm512_sub_epi16(_mm512_maddubs_epi16(v, s->odd), s->offset);
    _mm512_store_si512(lo, _mm512_mask_blend_epi8(odd, e, _mm512_slli_epi16(o, 8)));
    _mm512_store_si512(hi, _mm512_mask_blend_epi8(odd, _mm512_srli_epi16(e, 8), o));
}

/* Weights of one record of one group times their sub-block scales, as bytes: lo at to, hi at to + PART_BYTES. */
INLINE void unpack256(const int type, const uint8_t *record, const scales *sc, uint8_t *to) {
    const split how = split_of(type);
    const int offset = type == DT_Q6_K ? 32 : type == DT_Q3_K ? 4 : 0, per_chunk = type == DT_Q4_K || type == DT_Q5_K ? 1 : 2;
    for (int r = 0; r < 4; r++) UNROLL for (int u = 0; u < 2; u++) {
            const int chunk = chunk_index(type, r, u);
            uint8_t *at = to + chunk * 8 * PK_VEC;
            UNROLL for (int half = 0; half < 2; half++) {
                const __m512i s = sc->sc[chunk * per_chunk + (per_chunk == 2 ? half : 0)];
                const __m512i low = both_halves(_mm512_and_si512(s, _mm512_set1_epi32(7))), high = both_halves(_mm512_srli_epi32(s, 3));
                const split_scale both = split_scale_of(s, offset);
                UNROLL for (int j = 4 * half; j < 4 * half + 4; j++, at += PK_VEC) {
                    const __m512i v = weights256(type, record, r, u, j);
                    if (how == SPLIT_SCALE) {
                        /* q * (sc & 7) <= 31 * 7 < 256: one 16-bit product does two bytes */
                        _mm512_store_si512(at, _mm512_mullo_epi16(v, low));
                        _mm512_store_si512(at + PART_BYTES, _mm512_mullo_epi16(v, high));
                    } else {
                        split_products(v, &both, at, at + PART_BYTES);
                    }
                }
            }
        }
}

typedef struct scales256 {
    __m512 d[2], m[2];
    __m512i pair[2][4];
} scales256;

/* hi << 3 or hi << 8, without the shifts, which need port 0. */
INLINE __m512i high_part(const split how, __m512i hi) {
    if (how == SPLIT_PRODUCT) return _mm512_shuffle_epi8(hi, _mm512_set4_epi32(0x0e0d0cff, 0x0a0908ff, 0x060504ff, 0x020100ff));
    const __m512i two = _mm512_add_epi32(hi, hi), four = _mm512_add_epi32(two, two);
    return _mm512_add_epi32(four, four);
}

/* Adds columns [r0, r1) of a tile to its acc.  Sums: [lo g0, lo g1, hi g0, hi g1]. */
INLINE void finish256(const int type, int r0, int r1, const tile_work *t) {
    const bool minima = type == DT_Q4_K || type == DT_Q5_K;
    const split how = split_of(type);
    const float *d = (const float *)(t->unit + 4 * LINE);
    const int16_t *bsum = (const int16_t *)(t->unit + 4 * LINE + 64);
    const scales256 *s = t->by;
    for (int r = r0; r < r1; r++) {
        const __m512 da = _mm512_set1_ps(d[r]);
        __m512i m[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        if (minima) {
            UNROLL for (int i = 0; i < 4; i++) {
                const __m512i pair = broadcast_dword(bsum + 8 * r + 2 * i);
                m[0] = _mm512_dpwssd_epi32(m[0], s->pair[0][i], pair);
                m[1] = _mm512_dpwssd_epi32(m[1], s->pair[1][i], pair);
            }
        }
        UNROLL for (int g = 0; g < 2; g++) {
            float *acc = t->acc + 2 * KERN_GROUP * r + KERN_GROUP * g;
            const __m512i lo = _mm512_load_si512((*t->sums)[g][r]), hi = _mm512_load_si512((*t->sums)[2 + g][r]);
            __m512 f = _mm512_load_ps(acc);
            f = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(lo, high_part(how, hi))), _mm512_mul_ps(s->d[g], da), f);
            if (minima) f = _mm512_fnmadd_ps(small_to_float(m[g]), _mm512_mul_ps(s->m[g], da), f); /* at most 63 * 256 * 127 */
            _mm512_store_ps(acc, f);
        }
    }
}

#define FINISH256(i)                                                                                                                       \
    if (q->finishing.unit) finish256(type, slot(full, p, i), slot(full, p, (i) + 1), &q->finishing)

#define STEP256(dot, C, A, W, w, i)                                                                                                        \
    do {                                                                                                                                   \
        _tile_loadd(W, w, PK_VEC);                                                                                                         \
        dot(C, A, W);                                                                                                                      \
        FINISH256(i);                                                                                                                      \
    } while (0)

/* 64 inputs of a unit, part i of 4: sums [lo g0, lo g1, hi g0, hi g1] += products, with START before the first into each sum; the weights of the
 * two groups begin at w0 and w1. */
#define SUM256(A, a, w0, w1, i, START)                                                                                                     \
    do {                                                                                                                                   \
        ahead_step(&next);                                                                                                                 \
        _tile_loadd(A, a, 64);                                                                                                             \
        START(0);                                                                                                                          \
        STEP256(_tile_dpbsud, 0, A, 6, w0, 4 * (i));                                                                                       \
        START(1);                                                                                                                          \
        STEP256(_tile_dpbsud, 1, A, 7, w1, 4 * (i) + 1);                                                                                   \
        START(2);                                                                                                                          \
        if (how == SPLIT_SCALE)                                                                                                            \
            STEP256(_tile_dpbsud, 2, A, 6, (w0) + PART_BYTES, 4 * (i) + 2);                                                                \
        else                                                                                                                               \
            STEP256(_tile_dpbssd, 2, A, 6, (w0) + PART_BYTES, 4 * (i) + 2);                                                                \
        START(3);                                                                                                                          \
        if (how == SPLIT_SCALE)                                                                                                            \
            STEP256(_tile_dpbsud, 3, A, 7, (w1) + PART_BYTES, 4 * (i) + 3);                                                                \
        else                                                                                                                               \
            STEP256(_tile_dpbssd, 3, A, 7, (w1) + PART_BYTES, 4 * (i) + 3);                                                                \
    } while (0)
#define FIRST256(C)                                                                                                                        \
    do {                                                                                                                                   \
        _tile_stored(C, (*q->storing.sums)[C], 64);                                                                                        \
        _tile_zero(C);                                                                                                                     \
    } while (0)
#define LATER256(C) ((void)0)

/* Unpacks the weights of block b of both groups. */
INLINE void prepare256(const int type, const pass *p, int64_t b, scales256 *s) {
    const bool minima = type == DT_Q4_K || type == DT_Q5_K;
    const int64_t n_blocks = p->k / 256, record = record256(type);
    UNROLL for (int g = 0; g < 2; g++) {
        const uint8_t *from = p->w[g] + b * record, *d = minima ? from : p->w[g] + n_blocks * record + b * PK_TAIL;
        scales sc;
        load_scales(type, from, &sc);
        unpack256(type, from, &sc, p->work->weights[2 * g]);
        s->d[g] = load_halves(d);
        if (minima) s->m[g] = load_halves(d + 32);
        UNROLL for (int i = 0; i < 4; i++) s->pair[g][i] = sc.pair[i];
    }
    tiles_written();
}

/* One block of 256, all tiles of the pass. */
INLINE void unit256(const int type, const bool full, const pass *p, int64_t b, scales256 *s, queue *q) {
    const split how = split_of(type);
    const int64_t record = record256(type);
    const uint8_t *unit = p->tiles + b * PK_TILE_Q256, *w0 = p->work->weights[0], *w1 = p->work->weights[2];
    prepare256(type, p, b, s);
    ahead next = ahead_start(p, b, record);
    float *acc = p->work->acc[0];
    for (int t = 0; t < p->n_tiles; t++, unit += p->tile_bytes, acc += 2 * KERN_GROUP * p->rows) {
        SUM256(4, unit, w0, w1, 0, FIRST256);
        SUM256(5, unit + LINE, w0 + LINE, w1 + LINE, 1, LATER256);
        SUM256(4, unit + 2 * LINE, w0 + 2 * LINE, w1 + 2 * LINE, 2, LATER256);
        SUM256(5, unit + 3 * LINE, w0 + 3 * LINE, w1 + 3 * LINE, 3, LATER256);
        queue_push(q, p, unit, acc, s);
    }
}

INLINE void pass256(const int type, const bool full, const pass *p) {
    scales256 s[UNITS_QUEUED];
    queue q = queue_start(p);
    configure(p->rows, 64);
    for (int64_t b = p->u0; b < p->u1; b++) unit256(type, full, p, b, &s[b % UNITS_QUEUED], &q);
    queue_store(&q);
    if (q.finishing.unit) finish256(type, 0, p->rows, &q.finishing);
    finish256(type, 0, p->rows, &q.storing);
}

/* ---- dispatch ---- */

typedef void pass_fn(const pass *p);

#define PASS(body, type)                                                                                                                   \
    static __attribute__((noinline)) void pass_##type(const pass *p) {                                                                     \
        body(DT_##type, false, p);                                                                                                         \
    }                                                                                                                                      \
    static __attribute__((noinline)) void pass_full_##type(const pass *p) {                                                                \
        body(DT_##type, true, p);                                                                                                          \
    }
PASS(pass32, Q4_0)
PASS(pass32, Q4_1)
PASS(pass32, Q5_0)
PASS(pass32, Q5_1)
PASS(pass32, Q8_0)
PASS(pass256, Q3_K)
PASS(pass256, Q4_K)
PASS(pass256, Q5_K)
PASS(pass256, Q6_K)

/* NULL: Q2_K and plain types. */
static pass_fn *const passes[DT_COUNT][2] = {
    [DT_Q4_0] = {pass_Q4_0, pass_full_Q4_0}, [DT_Q4_1] = {pass_Q4_1, pass_full_Q4_1}, [DT_Q5_0] = {pass_Q5_0, pass_full_Q5_0},
    [DT_Q5_1] = {pass_Q5_1, pass_full_Q5_1}, [DT_Q8_0] = {pass_Q8_0, pass_full_Q8_0}, [DT_Q3_K] = {pass_Q3_K, pass_full_Q3_K},
    [DT_Q4_K] = {pass_Q4_K, pass_full_Q4_K}, [DT_Q5_K] = {pass_Q5_K, pass_full_Q5_K}, [DT_Q6_K] = {pass_Q6_K, pass_full_Q6_K},
};

/* One pair of groups against tiles [t0, t0 + n_tiles). */
/* y (+)= the products of two groups and a span. */
static void product_pair(const kern_matrix *w, const kern_acts *x, const span *a, int64_t g, bool two, float *y, int64_t ldy) {
    _Alignas(64) scratch work;
    const uint8_t *group = w->data + (size_t)g * w->group_bytes;
    const size_t tile_bytes = kern_tile_bytes(kern_act_kind_of(w->type), x->k);
    const pass p = {.w = {group, group + (two ? w->group_bytes : 0)},
                    .k = x->k,
                    .to_next = two ? 2 * (int64_t)w->group_bytes : 0,
                    .u0 = a->u0,
                    .u1 = a->u1,
                    .tiles = x->tiles + (size_t)a->tile * tile_bytes,
                    .tile_bytes = tile_bytes,
                    .n_tiles = a->n_tiles,
                    .rows = x->tile_cols,
                    .work = &work};
    const __mmask16 m0 = rows_mask(w, g), m1 = two ? rows_mask(w, g + 1) : 0;
    const int c0 = a->tile * x->tile_cols, n = a->n_tiles * x->tile_cols < x->n - c0 ? a->n_tiles * x->tile_cols : x->n - c0;
    float *at = y + c0 * ldy + g * KERN_GROUP;
    if (a->u0 == 0)
        memset(work.acc, 0, (size_t)(a->n_tiles * x->tile_cols) * sizeof *work.acc);
    else
        for (int c = 0; c < n; c++) {
            _mm512_store_ps(work.acc[c], _mm512_maskz_loadu_ps(m0, at + c * ldy));
            _mm512_store_ps(work.acc[c] + KERN_GROUP, _mm512_maskz_loadu_ps(m1, at + c * ldy + KERN_GROUP));
        }
    passes[w->type][p.rows == KERN_TILE_COLS](&p);
    for (int c = 0; c < n; c++) {
        _mm512_mask_storeu_ps(at + c * ldy, m0, _mm512_load_ps(work.acc[c]));
        _mm512_mask_storeu_ps(at + c * ldy + KERN_GROUP, m1, _mm512_load_ps(work.acc[c] + KERN_GROUP));
    }
}

static void product(const kern_matrix *w, const kern_acts *x, float *y, int64_t ldy, int64_t g0, int64_t g1) {
    if (!x->tile_cols || !passes[w->type][0]) {
        kern_product_avx512.product(w, x, y, ldy, g0, g1);
        return;
    }
    const int64_t unit_bytes = kern_act_kind_of(w->type) == KERN_ACT_Q256 ? PK_TILE_Q256 : PK_TILE_Q32;
    const int64_t n_units = (int64_t)kern_tile_bytes(kern_act_kind_of(w->type), x->k) / unit_bytes;
    const int n_tiles = (x->n + x->tile_cols - 1) / x->tile_cols, n_spans = (n_tiles + MAX_TILES - 1) / MAX_TILES;
    for (int i = 0; i < n_spans; i++) {
        span a = {.tile = n_tiles * i / n_spans, .n_tiles = n_tiles * (i + 1) / n_spans - n_tiles * i / n_spans};
        const int64_t n_parts = (n_units * unit_bytes * a.n_tiles + SPAN_BYTES - 1) / SPAN_BYTES;
        for (int64_t j = 0; j < n_parts; j++) {
            a.u0 = n_units * j / n_parts;
            a.u1 = n_units * (j + 1) / n_parts;
            for (int64_t g = g0; g < g1; g += 2) product_pair(w, x, &a, g, g + 1 < g1, y, ldy);
        }
    }
    _tile_release();
}

/* ---- activations ---- */

static void tile_put(kern_act_kind kind, int64_t k, const int8_t *q, const float *d, const int16_t *bsum, int slot, uint8_t *tile) {
    if (kind == KERN_ACT_Q256) {
        for (int64_t b = 0; b < k / 256; b++, q += 256, bsum += 16, tile += PK_TILE_Q256) {
            for (int i = 0; i < 4; i++) _mm512_store_si512(tile + i * LINE + slot * 64, _mm512_loadu_si512(q + 64 * i));
            memcpy(tile + 4 * LINE + 4 * slot, d + b, sizeof *d);
            const __m256i by16 = _mm256_loadu_si256((const __m256i *)bsum);
            _mm_store_si128((__m128i *)(tile + 4 * LINE + 64 + 16 * slot), /* at most 4,064 */
                            _mm256_cvtepi32_epi16(_mm256_madd_epi16(by16, _mm256_set1_epi16(1))));
        }
        return;
    }
    for (int64_t b = 0; b < k / 32; b++) {
        uint8_t *unit = tile + (b / UNIT32) * PK_TILE_Q32;
        const int i = (int)(b % UNIT32);
        const float sum = (float)(bsum[2 * b] + bsum[2 * b + 1]);
        memcpy(unit + slot * 64 + 32 * i, q + 32 * b, 32);
        memcpy(unit + LINE + (i * KERN_TILE_COLS + slot) * 4, d + b, sizeof *d);
        memcpy(unit + LINE + 128 + (i * KERN_TILE_COLS + slot) * 4, &sum, sizeof sum);
    }
}

static bool quant32(const float *x, int64_t k, int8_t *q, float *d, int16_t *bsum) {
    return kern_product_avx512.quant32(x, k, q, d, bsum);
}

static bool quant256(const float *x, int64_t k, int8_t *q, float *d, int16_t *bsum) {
    return kern_product_avx512.quant256(x, k, q, d, bsum);
}

const kern_product_ops kern_product_amx = {quant32, quant256, product, tile_put};

#endif
