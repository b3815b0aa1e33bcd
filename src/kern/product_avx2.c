/* Products and quantisation with AVX2, FMA and F16C: the bits of product_ref.c, two vectors of 8 lanes over the 16 rows of a group.
 *
 * A tile is one group x 1..4 columns.  vpmaddubsw multiplies u8 weights by s8 activations and saturates at int16, so nothing is fed to it
 * that can get there; `pairs` below says how many of its results fit one int16 sum:
 *     u2 3*127*2 = 762, u3 1778, u4 3810 (8 fit: 30480), u5 7874 (4 fit: 31496), u6 16002 (2 fit: 32004), |int8| 128*127*2 = 32512 (1 fits).
 * vpmaddwd then sums the int16 in pairs and multiplies by the sub-block's scale at once.  Q8_0 uses |w| with w's sign moved to the
 * activations; the other types' offsets are taken back through the activations' sums (bsum), exactly.
 *
 * The functions over a type and a column count are always inlined with constant arguments, which unrolls them and drops the cases of
 * other types.  Stateless, any thread. */
#include "kern/product_internal.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#if PK_NARROW_TILES
#define MAX_COLS 2
#else
#define MAX_COLS 4
#endif

typedef struct tile {
    const uint8_t *group;
    const kern_acts *x;
    int64_t col; /* first column */
    float *y;    /* output of the group's row 0 and the first column */
    int64_t ldy;
    int n_rows; /* rows to store */
} tile;

/* Half h (rows 8h..8h+7) of a vector. */
INLINE __m256i load_vec(const uint8_t *p, const int h) {
    return _mm256_load_si256((const __m256i *)(p + 32 * h));
}

INLINE __m256 load_halves(const uint8_t *p, const int h) {
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)(p + 16 * h)));
}

/* Four int8 or two int16 in every lane. */
INLINE __m256i broadcast_dword(const void *p) {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

INLINE void store_tile(const tile *t, const int cols, __m256 f[][2]) {
    UNROLL for (int c = 0; c < cols; c++) {
        float *y = t->y + c * t->ldy;
        if (t->n_rows == KERN_GROUP) {
            _mm256_storeu_ps(y, f[c][0]);
            _mm256_storeu_ps(y + 8, f[c][1]);
        } else {
            float rows[KERN_GROUP];
            _mm256_storeu_ps(rows, f[c][0]);
            _mm256_storeu_ps(rows + 8, f[c][1]);
            memcpy(y, rows, (size_t)t->n_rows * sizeof *y);
        }
    }
}

/* ---- blocks of 32 ---- */

INLINE int record32(const int type) {
    return type == DT_Q8_0 ? PK_Q8_0 : type == DT_Q4_0 ? PK_Q4_0 : type == DT_Q4_1 ? PK_Q4_1 : type == DT_Q5_0 ? PK_Q5_0 : PK_Q5_1;
}

/* Half h of vector j (elements 4j..4j+3 of each row) of a record: u8, for Q8_0 the int8 of the file. */
INLINE __m256i weights32(const int type, const uint8_t *record, const int j, const int h) {
    if (type == DT_Q8_0) return load_vec(record + j * PK_VEC, h);
    const int qs = type == DT_Q4_0 ? 0 : type == DT_Q5_1 ? 128 : 64;
    __m256i v = load_vec(record + qs + (j & 3) * PK_VEC, h);
    if (j >= 4) v = _mm256_srli_epi16(v, 4);
    v = _mm256_and_si256(v, _mm256_set1_epi8(15));
    if (type == DT_Q5_0 || type == DT_Q5_1) {
        __m256i qh = load_vec(record + (type == DT_Q5_1 ? 64 : 0), h); /* bit j of each byte, moved to bit 4 */
        qh = j < 4 ? _mm256_slli_epi16(qh, (4 - j) & 7) : _mm256_srli_epi16(qh, (j - 4) & 7);
        v = _mm256_or_si256(v, _mm256_and_si256(qh, _mm256_set1_epi8(16)));
    }
    return v;
}

INLINE __m256i dot_u8(__m256i w, __m256i a) {
    return _mm256_maddubs_epi16(w, a);
}
INLINE __m256i dot_s8(__m256i w, __m256i a) {
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
}

INLINE void tile32(const int type, const int cols, const tile *t) {
    const bool minima = type == DT_Q4_1 || type == DT_Q5_1;
    const int offset = type == DT_Q4_0 ? 8 : type == DT_Q5_0 ? 16 : 0;
    const int pairs = type == DT_Q8_0 ? 1 : type == DT_Q5_0 || type == DT_Q5_1 ? 4 : 8;
    const int64_t k = t->x->k, n_blocks = k / 32, record = record32(type);
    const int8_t *a = t->x->q + t->col * k;
    const int16_t *bsum = t->x->bsum + t->col * (k / 16);
    const float *da = t->x->d + t->col * n_blocks;
    const uint8_t *w = t->group;
    __m256 f[MAX_COLS][2];
    UNROLL for (int c = 0; c < cols; c++) f[c][0] = f[c][1] = _mm256_setzero_ps();
    for (int64_t b = 0; b < n_blocks; b++, w += record, a += 32) {
        __m256i s[MAX_COLS][2], s16[MAX_COLS][2];
        const __m256i ones = _mm256_set1_epi16(1);
        UNROLL for (int j = 0; j < 8; j++) {
            __m256i w0 = weights32(type, w, j, 0), w1 = weights32(type, w, j, 1);
            UNROLL for (int c = 0; c < cols; c++) {
                __m256i v = broadcast_dword(a + c * k + 4 * j);
                __m256i p0 = type == DT_Q8_0 ? dot_s8(w0, v) : dot_u8(w0, v), p1 = type == DT_Q8_0 ? dot_s8(w1, v) : dot_u8(w1, v);
                s16[c][0] = j % pairs == 0 ? p0 : _mm256_add_epi16(s16[c][0], p0);
                s16[c][1] = j % pairs == 0 ? p1 : _mm256_add_epi16(s16[c][1], p1);
                if (j % pairs == pairs - 1) {
                    p0 = _mm256_madd_epi16(s16[c][0], ones);
                    p1 = _mm256_madd_epi16(s16[c][1], ones);
                    s[c][0] = j < pairs ? p0 : _mm256_add_epi32(s[c][0], p0);
                    s[c][1] = j < pairs ? p1 : _mm256_add_epi32(s[c][1], p1);
                }
            }
        }
        const uint8_t *d = minima ? w : t->group + n_blocks * record + b * PK_TAIL;
        __m256 dw0 = load_halves(d, 0), dw1 = load_halves(d, 1);
        UNROLL for (int c = 0; c < cols; c++) {
            __m256 dc = _mm256_set1_ps(da[c * n_blocks + b]);
            __m256i bs = broadcast_dword(bsum + c * (k / 16) + 2 * b);
            if (offset) {
                __m256i back = _mm256_madd_epi16(bs, _mm256_set1_epi16((short)offset));
                s[c][0] = _mm256_sub_epi32(s[c][0], back);
                s[c][1] = _mm256_sub_epi32(s[c][1], back);
            }
            f[c][0] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s[c][0]), _mm256_mul_ps(dw0, dc), f[c][0]);
            f[c][1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s[c][1]), _mm256_mul_ps(dw1, dc), f[c][1]);
            if (minima) {
                __m256 sum = _mm256_cvtepi32_ps(_mm256_madd_epi16(bs, ones));
                f[c][0] = _mm256_fmadd_ps(sum, _mm256_mul_ps(load_halves(d + 32, 0), dc), f[c][0]);
                f[c][1] = _mm256_fmadd_ps(sum, _mm256_mul_ps(load_halves(d + 32, 1), dc), f[c][1]);
            }
        }
    }
    store_tile(t, cols, f);
}

/* ---- K-quants ---- */

INLINE int record256(const int type) {
    return type == DT_Q2_K ? PK_Q2_K : type == DT_Q3_K ? PK_Q3_K : type == DT_Q4_K ? PK_Q4_K : type == DT_Q5_K ? PK_Q5_K : PK_Q6_K;
}

/* Bit `from` of every byte moved to bit `to`; the other bits are rubbish. */
INLINE __m256i move_bit(__m256i v, int from, const int to) {
    v = _mm256_srl_epi32(v, _mm_cvtsi32_si128(from));
    return _mm256_slli_epi32(v, to);
}

/* Half h of vector j (0..7) of the 32 elements of chunk i (0..7) of a record, as u8: low bits, then the high bits put above them. */
INLINE __m256i weights256(const int type, const uint8_t *record, int64_t i, const int j, const int h) {
    const __m256i low4 = _mm256_set1_epi8(15);
    if (type == DT_Q4_K || type == DT_Q5_K) {
        __m256i v = load_vec(record + (type == DT_Q4_K ? 256 : 768) + ((i >> 1) * 8 + j) * PK_VEC, h);
        v = _mm256_and_si256(_mm256_srl_epi16(v, _mm_cvtsi32_si128((int)(4 * (i & 1)))), low4);
        if (type == DT_Q4_K) return v;
        __m256i high = move_bit(load_vec(record + 256 + j * PK_VEC, h), (int)i, 4);
        return _mm256_or_si256(v, _mm256_and_si256(high, _mm256_set1_epi8(16)));
    }
    const int64_t half = i >> 2, quarter = i & 3;
    if (type == DT_Q6_K) {
        __m256i v = load_vec(record + (half * 16 + (quarter & 1) * 8 + j) * PK_VEC, h);
        v = _mm256_and_si256(_mm256_srl_epi16(v, _mm_cvtsi32_si128((int)(4 * (quarter >> 1)))), low4);
        __m256i high = move_bit(load_vec(record + 2048 + (half * 8 + j) * PK_VEC, h), (int)(2 * quarter), 4);
        return _mm256_or_si256(v, _mm256_and_si256(high, _mm256_set1_epi8(48)));
    }
    __m256i v = load_vec(record + (type == DT_Q2_K ? 320 : 512) + (half * 8 + j) * PK_VEC, h);
    v = _mm256_and_si256(_mm256_srl_epi16(v, _mm_cvtsi32_si128((int)(2 * quarter))), _mm256_set1_epi8(3));
    if (type == DT_Q2_K) return v;
    __m256i high = move_bit(load_vec(record + j * PK_VEC, h), (int)i, 2);
    return _mm256_or_si256(v, _mm256_and_si256(high, _mm256_set1_epi8(4)));
}

/* Scales of one record, by sub-block of 16 (8 of 32 for Q4_K and Q5_K) and half: twice as int16 in each lane.  pair[p] is multiplied with
 * dword p of the activations' sums: offset * sc of sub-blocks 2p and 2p+1 (Q3_K, Q6_K), their minima (Q2_K), or minimum p twice. */
typedef struct scales {
    __m256i sc[16][2], pair[8][2];
} scales;

/* Bytes a and b of each lane as two int16. */
INLINE __m256i byte_pair(__m256i v, const int a, const int b, const bool is_signed) {
    const int lane = 0x04000400, first = (int)((unsigned)b << 24 | 0x800000u | (unsigned)a << 8 | 0x80u);
    const __m128i control = _mm_set_epi32(first + 3 * lane, first + 2 * lane, first + lane, first);
    v = _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(control));
    return is_signed ? _mm256_srai_epi16(v, 8) : _mm256_srli_epi16(v, 8);
}

INLINE void load_scales(const int type, const uint8_t *record, scales *out) {
    const __m256i low4 = _mm256_set1_epi8(15), high2 = _mm256_set1_epi8(48);
    for (int h = 0; h < 2; h++) {
        if (type == DT_Q4_K || type == DT_Q5_K) {
            /* dwords: 6 bits of sc[0..3] (and the top of sc[4..7]), the same of mn, low nibbles of sc[4..7] and mn[4..7] */
            const __m256i low6 = _mm256_set1_epi8(63);
            __m256i v0 = load_vec(record + 64, h), v1 = load_vec(record + 128, h), v2 = load_vec(record + 192, h), sc[2], mn[2];
            sc[0] = _mm256_and_si256(v0, low6);
            mn[0] = _mm256_and_si256(v1, low6);
            sc[1] = _mm256_or_si256(_mm256_and_si256(v2, low4), _mm256_and_si256(_mm256_srli_epi32(v0, 2), high2));
            mn[1] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi32(v2, 4), low4), _mm256_and_si256(_mm256_srli_epi32(v1, 2), high2));
            UNROLL for (int s = 0; s < 8; s++) {
                out->sc[s][h] = byte_pair(sc[s / 4], s % 4, s % 4, false);
                out->pair[s][h] = byte_pair(mn[s / 4], s % 4, s % 4, false);
            }
            continue;
        }
        UNROLL for (int i = 0; i < 4; i++) {
            __m256i sc, with_sums;
            if (type == DT_Q2_K) {
                __m256i v = load_vec(record + 64 + i * PK_VEC, h);
                sc = _mm256_and_si256(v, low4);
                with_sums = _mm256_and_si256(_mm256_srli_epi32(v, 4), low4);
            } else if (type == DT_Q6_K) {
                sc = with_sums = load_vec(record + 3072 + i * PK_VEC, h);
            } else {
                /* Q3_K: low nibbles of s in byte s % 8, high pairs of s in byte s % 4 of the third dword, offset 32 */
                sc = _mm256_and_si256(_mm256_srli_epi32(load_vec(record + 1536 + (i & 1) * PK_VEC, h), 4 * (i >> 1)), low4);
                __m256i high = load_vec(record + 1664, h);
                high = i < 2 ? _mm256_slli_epi32(high, (4 - 2 * i) & 7) : _mm256_srli_epi32(high, (2 * i - 4) & 7);
                sc = with_sums = _mm256_sub_epi8(_mm256_or_si256(sc, _mm256_and_si256(high, high2)), _mm256_set1_epi8(32));
            }
            const bool is_signed = type != DT_Q2_K;
            const int shift = type == DT_Q6_K ? 5 : type == DT_Q3_K ? 2 : 0; /* offset 32 or 4 */
            UNROLL for (int n = 0; n < 4; n++) out->sc[4 * i + n][h] = byte_pair(sc, n, n, is_signed);
            UNROLL for (int n = 0; n < 2; n++) out->pair[2 * i + n][h] =
                _mm256_slli_epi16(byte_pair(with_sums, 2 * n, 2 * n + 1, is_signed), shift);
        }
    }
}

/* total += the 4 vectors j0..j0+3 of chunk i, times the sub-block's scales. */
INLINE void dot_chunk(const int type, const int cols, __m256i total[][2], const uint8_t *w, int64_t i, const int j0, const __m256i *sc,
                      const int8_t *a, int64_t k) {
    const int pairs = type == DT_Q6_K ? 2 : 4;
    __m256i s16[MAX_COLS][2];
    UNROLL for (int j = 0; j < 4; j++) {
        __m256i w0 = weights256(type, w, i, j0 + j, 0), w1 = weights256(type, w, i, j0 + j, 1);
        UNROLL for (int c = 0; c < cols; c++) {
            __m256i v = broadcast_dword(a + c * k + 4 * (j0 + j));
            __m256i p0 = dot_u8(w0, v), p1 = dot_u8(w1, v);
            s16[c][0] = j % pairs == 0 ? p0 : _mm256_add_epi16(s16[c][0], p0);
            s16[c][1] = j % pairs == 0 ? p1 : _mm256_add_epi16(s16[c][1], p1);
            if (j % pairs == pairs - 1) {
                total[c][0] = _mm256_add_epi32(total[c][0], _mm256_madd_epi16(s16[c][0], sc[0]));
                total[c][1] = _mm256_add_epi32(total[c][1], _mm256_madd_epi16(s16[c][1], sc[1]));
            }
        }
    }
}

INLINE void tile256(const int type, const int cols, const tile *t) {
    const bool minima = type == DT_Q2_K || type == DT_Q4_K || type == DT_Q5_K, by16 = type != DT_Q4_K && type != DT_Q5_K;
    const int64_t k = t->x->k, n_blocks = k / 256, record = record256(type);
    const int8_t *a = t->x->q + t->col * k;
    const int16_t *bsum = t->x->bsum + t->col * (k / 16);
    const float *da = t->x->d + t->col * n_blocks;
    const uint8_t *w = t->group;
    scales sc;
    __m256 f[MAX_COLS][2];
    UNROLL for (int c = 0; c < cols; c++) f[c][0] = f[c][1] = _mm256_setzero_ps();
    for (int64_t b = 0; b < n_blocks; b++, w += record, bsum += 16) {
        __m256i m[MAX_COLS][2], total[MAX_COLS][2];
        load_scales(type, w, &sc);
        UNROLL for (int c = 0; c < cols; c++) {
            m[c][0] = m[c][1] = total[c][0] = total[c][1] = _mm256_setzero_si256();
            UNROLL for (int p = 0; p < 8; p++) {
                __m256i v = broadcast_dword(bsum + c * (k / 16) + 2 * p);
                m[c][0] = _mm256_add_epi32(m[c][0], _mm256_madd_epi16(sc.pair[p][0], v));
                m[c][1] = _mm256_add_epi32(m[c][1], _mm256_madd_epi16(sc.pair[p][1], v));
            }
        }
        /* These are touched once a block: let them wait in memory while the integer sums have the registers. */
        __asm__ volatile("" : "+m"(f), "+m"(sc), "+m"(m));
        for (int64_t i = 0; i < 8; i++, a += 32) {
            dot_chunk(type, cols, total, w, i, 0, sc.sc[by16 ? 2 * i : i], a, k);
            dot_chunk(type, cols, total, w, i, 4, sc.sc[by16 ? 2 * i + 1 : i], a, k);
        }
        const uint8_t *d = minima ? w : t->group + n_blocks * record + b * PK_TAIL;
        __m256 dw0 = load_halves(d, 0), dw1 = load_halves(d, 1);
        UNROLL for (int c = 0; c < cols; c++) {
            __m256 dc = _mm256_set1_ps(da[c * n_blocks + b]);
            if (!minima) {
                total[c][0] = _mm256_sub_epi32(total[c][0], m[c][0]);
                total[c][1] = _mm256_sub_epi32(total[c][1], m[c][1]);
            }
            f[c][0] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(total[c][0]), _mm256_mul_ps(dw0, dc), f[c][0]);
            f[c][1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(total[c][1]), _mm256_mul_ps(dw1, dc), f[c][1]);
            if (minima) {
                f[c][0] = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(m[c][0]), _mm256_mul_ps(load_halves(d + 32, 0), dc), f[c][0]);
                f[c][1] = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(m[c][1]), _mm256_mul_ps(load_halves(d + 32, 1), dc), f[c][1]);
            }
        }
    }
    store_tile(t, cols, f);
}

/* ---- F32, F16, BF16 ---- */

INLINE __m256 plain_weights(const int type, const uint8_t *group, int64_t k, const int h) {
    if (type == DT_F32) return _mm256_load_ps((const float *)(group + 64 * k + 32 * h));
    if (type == DT_F16) return load_halves(group + 32 * k, h);
    __m256i v = _mm256_cvtepu16_epi32(_mm_load_si128((const __m128i *)(group + 32 * k + 16 * h)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
}

INLINE void tile_plain(const int type, const int cols, const tile *t) {
    const int64_t k_end = t->x->k;
    const float *x = t->x->f32 + t->col * k_end;
    __m256 f[MAX_COLS][2];
    UNROLL for (int c = 0; c < cols; c++) f[c][0] = f[c][1] = _mm256_setzero_ps();
    for (int64_t k = 0; k < k_end; k++) {
        __m256 w0 = plain_weights(type, t->group, k, 0), w1 = plain_weights(type, t->group, k, 1);
        UNROLL for (int c = 0; c < cols; c++) {
            __m256 v = _mm256_set1_ps(x[c * k_end + k]);
            f[c][0] = _mm256_fmadd_ps(w0, v, f[c][0]);
            f[c][1] = _mm256_fmadd_ps(w1, v, f[c][1]);
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
#define TILES(body, type) TILE(body, type, 1) TILE(body, type, 2) TILE(body, type, 3) TILE(body, type, 4)
#define TILE_ROW(type)    [DT_##type] = {tile_##type##_1, tile_##type##_2, tile_##type##_3, tile_##type##_4}
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

static void product(const kern_matrix *w, const kern_acts *x, float *y, int64_t ldy, int64_t g0, int64_t g1) {
    int n_tiles = (x->n + MAX_COLS - 1) / MAX_COLS;
    for (int64_t g = g0; g < g1; g++) {
        int64_t left = w->rows - g * KERN_GROUP;
        tile t = {.group = w->data + (size_t)g * w->group_bytes, .x = x, .ldy = ldy, .n_rows = left < KERN_GROUP ? (int)left : KERN_GROUP};
        for (int i = 0; i < n_tiles; i++) {
            int from = (int)((int64_t)x->n * i / n_tiles), to = (int)((int64_t)x->n * (i + 1) / n_tiles);
            t.col = from;
            t.y = y + from * ldy + g * KERN_GROUP;
            tiles[w->type][to - from - 1](&t);
        }
    }
}

/* ---- activations ---- */

INLINE int32_t reduce_max(__m256i v) {
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

INLINE int32_t reduce_add(__m256i v) {
    __m128i m = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_add_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

INLINE __m256i quant8(const float *x, __m256 id) {
    __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x), id);
    return _mm256_cvtps_epi32(_mm256_max_ps(_mm256_min_ps(v, _mm256_set1_ps(127.0f)), _mm256_set1_ps(-127.0f)));
}

/* n is 32 or 256. */
INLINE bool quant_block(const float *x, const int n, int8_t *q, float *d, int16_t *bsum) {
    const __m256i abs_bits = _mm256_set1_epi32(0x7fffffff);
    __m256i max_bits = _mm256_setzero_si256();
    /* Magnitudes compare as integers; infinities and NaN are above all finite ones. */
    for (int i = 0; i < n; i += 8) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(x + i));
        max_bits = _mm256_max_epi32(max_bits, _mm256_and_si256(v, abs_bits));
    }
    int32_t bits = reduce_max(max_bits);
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
    const __m256 id = _mm256_set1_ps(127.0f / amax);
    for (int i = 0; i < n; i += 32) {
        __m256i v0 = quant8(x + i, id), v1 = quant8(x + i + 8, id), v2 = quant8(x + i + 16, id), v3 = quant8(x + i + 24, id);
        bsum[i / 16] = (int16_t)reduce_add(_mm256_add_epi32(v0, v1));
        bsum[i / 16 + 1] = (int16_t)reduce_add(_mm256_add_epi32(v2, v3));
        /* the packs interleave 128-bit halves; the permutation puts the dwords back in order */
        __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(v0, v1), _mm256_packs_epi32(v2, v3));
        bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        _mm256_storeu_si256((__m256i *)(q + i), bytes);
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

const kern_product_ops kern_product_avx2 = {quant32, quant256, product, NULL};

#endif
