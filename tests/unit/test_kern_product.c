/* Products and activations: every kernel set gives the bits of ref; ref is right (integers at the extremes, double precision); the order
 * of every sum is pinned by hashes.  Sets that this CPU lacks are skipped and named. */
#include "base/str.h"
#include "kern_blocks.h"

#include <fenv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

static const kern_set other_sets[] = {KERN_REF_FMA, KERN_AVX2, KERN_AVXVNNI, KERN_AVX512, KERN_AMX, KERN_NEON};
#define N_OTHER (sizeof other_sets / sizeof other_sets[0])

/* Activations of n columns in all three forms; acts_free. */
typedef struct acts {
    float *f32, *d;
    int8_t *q;
    int16_t *bsum;
    uint8_t *tiles;
    kern_acts x;
} acts;

static acts acts_new(int64_t k, int n) {
    acts a;
    size_t size = (size_t)k * (size_t)n;
    a.f32 = malloc(size * sizeof *a.f32);
    a.d = calloc(size / 32 + 1, sizeof *a.d);
    a.q = aligned_alloc(64, (size + 63) / 64 * 64);
    a.bsum = calloc(size / 16 + 1, sizeof *a.bsum);
    assert_true(a.f32 && a.d && a.q && a.bsum);
    memset(a.q, 0, size);
    a.tiles = NULL;
    a.x = (kern_acts){k, n, a.f32, a.q, a.d, a.bsum, NULL, 0};
    return a;
}

static void acts_free(acts *a) {
    free(a->f32);
    free(a->d);
    free(a->q);
    free(a->bsum);
    free(a->tiles);
}

/* Columns as this set wants them; slots that are not used hold 0x81. */
static const kern_acts *acts_for(acts *a, const kern_ops *ops, kern_act_kind kind) {
    const int64_t k = a->x.k, elems = kind == KERN_ACT_Q32 ? 32 : 256;
    free(a->tiles);
    a->tiles = NULL;
    a->x.tile_cols = 0;
    if (!ops->tile_put || kind == KERN_ACT_F32) return &a->x;
    const int n_tiles = (a->x.n + KERN_TILE_COLS - 1) / KERN_TILE_COLS, cols = (a->x.n + n_tiles - 1) / n_tiles;
    a->x.tile_cols = cols; /* tiles also for few columns, where kern_tile_cols would do without */
    const size_t size = kern_tile_bytes(kind, k);
    a->x.tiles = a->tiles = aligned_alloc(64, size * (size_t)n_tiles);
    assert_non_null(a->tiles);
    memset(a->tiles, 0x81, size * (size_t)n_tiles);
    for (int c = 0; c < a->x.n; c++)
        ops->tile_put(kind, k, a->q + c * k, a->d + c * (k / elems), a->bsum + c * (k / 16), c % cols,
                      a->tiles + (size_t)(c / cols) * size);
    return &a->x;
}

static bool acts_quantise(acts *a, const kern_ops *ops, kern_act_kind kind) {
    int64_t k = a->x.k, elems = kind == KERN_ACT_Q32 ? 32 : 256;
    bool ok = true;
    for (int c = 0; c < a->x.n && kind != KERN_ACT_F32; c++)
        ok &= (kind == KERN_ACT_Q32 ? ops->quant32 : ops->quant256)(a->f32 + c * k, k, a->q + c * k, a->d + c * (k / elems),
                                                                    a->bsum + c * (k / 16));
    return ok;
}

static acts acts_random(rng *r, int64_t k, int n, kern_act_kind kind) {
    acts a = acts_new(k, n);
    for (int64_t i = 0; i < k * n; i++) {
        float v = rng_float(r);
        a.f32[i] = i % 7 == 0 ? v * v * v * 40.0f : v;
    }
    assert_true(acts_quantise(&a, kern_get(KERN_REF), kind));
    return a;
}

/* Sums of 16 of whatever q holds. */
static void acts_sum(acts *a) {
    for (int64_t i = 0; i < a->x.k * a->x.n / 16; i++) {
        int sum = 0;
        for (int j = 0; j < 16; j++) sum += a->q[16 * i + j];
        a->bsum[i] = (int16_t)sum;
    }
}

/* ---- all sets give the bits of ref ---- */

#define GUARD 5 /* floats between columns and around y that must stay as they are */

static float *filled(size_t n) {
    float *y = malloc(n * sizeof *y);
    assert_non_null(y);
    memset(y, 0xff, n * sizeof *y); /* NaN */
    return y;
}

/* Products of w and x by ops into a NaN-filled buffer of n columns with stride rows + GUARD, in the given parts of the groups. */
static float *product_guarded(const kern_ops *ops, const kern_matrix *w, const kern_acts *x, int64_t part) {
    int64_t ldy = w->rows + GUARD;
    float *y = filled((size_t)(ldy * x->n + GUARD));
    for (int64_t g = 0; g < w->n_groups; g += part) ops->product(w, x, y + GUARD, ldy, g, g + part < w->n_groups ? g + part : w->n_groups);
    return y;
}

static void compare_sets(dtype type, rng *r, int64_t rows, int64_t cols, int n) {
    uint8_t *src = random_weights(type, r, rows, cols);
    kern_matrix w = pack_matrix(type, src, rows, cols);
    acts a = acts_random(r, cols, n, kern_act_kind_of(type));
    float *want = product_guarded(kern_get(KERN_REF), &w, &a.x, w.n_groups);
    uint32_t bits;
    for (int64_t c = 0; c < n; c++) {
        for (int64_t i = 0; i < GUARD; i++) {
            memcpy(&bits, want + c * (rows + GUARD) + i, sizeof bits);
            assert_int_equal(bits, 0xffffffffu);
        }
        for (int64_t i = 0; i < rows; i++) assert_true(isfinite(want[GUARD + c * (rows + GUARD) + i]));
    }
    for (size_t s = 0; s < N_OTHER; s++) {
        const kern_ops *ops = kern_get(other_sets[s]);
        for (int64_t part = 1; ops && part <= w.n_groups; part = part * 2 + 1) {
            float *got = product_guarded(ops, &w, acts_for(&a, ops, kern_act_kind_of(type)), part);
            if (memcmp(want, got, (size_t)((rows + GUARD) * n + GUARD) * sizeof *got) != 0)
                fail_msg("%s differs from ref: %s, %d rows, %d inputs, %d columns, parts of %d groups", ops->name, dtype_get(type)->name,
                         (int)rows, (int)cols, n, (int)part);
            free(got);
        }
    }
    free(want);
    acts_free(&a);
    free((void *)w.data);
    free(src);
}

static void every_set_gives_the_bits_of_ref_for_every_type_and_shape(void **state) {
    (void)state;
    static const int64_t row_counts[] = {1, 15, 16, 17, 33, 64};
    static const int columns[] = {1, 2, 3, 5, 8, 13, 32, 33, 150};
    rng r = {21};
    for (size_t t = 0; t < N_TYPES; t++) {
        int64_t elems = dtype_get(all_types[t])->block_elems;
        for (size_t i = 0; i < sizeof row_counts / sizeof row_counts[0]; i++)
            for (size_t j = 0; j < sizeof columns / sizeof columns[0]; j++) {
                int64_t blocks = elems == 1    ? (int64_t)(1 + 13 * i + j)
                                 : elems == 32 ? (int64_t)(1 + (i + j) % 5)
                                               : 1 + (int64_t)((i + j) % 3);
                compare_sets(all_types[t], &r, row_counts[i], elems * blocks, columns[j]);
            }
    }
}

static void the_shapes_of_a_small_llama_give_the_bits_of_ref(void **state) {
    (void)state;
    rng r = {22};
    compare_sets(DT_Q4_1, &r, 192, 576, 7);
    compare_sets(DT_Q4_1, &r, 576, 1536, 2);
    compare_sets(DT_Q8_0, &r, 300, 576, 9);
    compare_sets(DT_Q4_K, &r, 48, 2048, 6);
    compare_sets(DT_Q6_K, &r, 48, 2048, 6);
    compare_sets(DT_F32, &r, 40, 1031, 11);
}

/* Sets that take long inputs in parts put the sum of the first ones away and go on from it. */
static void inputs_of_a_wide_layer_give_the_bits_of_ref(void **state) {
    (void)state;
    rng r = {23};
    compare_sets(DT_Q8_0, &r, 33, 14368, 150);
    compare_sets(DT_Q4_1, &r, 17, 14336, 130);
    compare_sets(DT_Q4_K, &r, 33, 14336, 150);
    compare_sets(DT_Q6_K, &r, 16, 14336, 128);
}

/* ---- the sums at the ends of their ranges, worked out by hand ---- */

typedef struct range {
    dtype type;
    int q[2], offset; /* stored extremes, and what is subtracted */
    int sc[2], sc_offset;
    int mn; /* largest minimum; its sign in the formula is - for K-quants, + for Q4_1 and Q5_1 */
} range;

static const range ranges[] = {
    {DT_Q8_0, {-128, 127}, 0, {1, 1}, 0, 0},   {DT_Q4_0, {0, 15}, 8, {1, 1}, 0, 0},   {DT_Q4_1, {0, 15}, 0, {1, 1}, 0, -1},
    {DT_Q5_0, {0, 31}, 16, {1, 1}, 0, 0},      {DT_Q5_1, {0, 31}, 0, {1, 1}, 0, -1},  {DT_Q2_K, {0, 3}, 0, {0, 15}, 0, 15},
    {DT_Q3_K, {0, 7}, 4, {0, 63}, 32, 0},      {DT_Q4_K, {0, 15}, 0, {0, 63}, 0, 63}, {DT_Q5_K, {0, 31}, 0, {0, 63}, 0, 63},
    {DT_Q6_K, {0, 63}, 32, {-128, 127}, 0, 0},
};

/* q of all 1 or 2 signs: every activation v, or v and -v in turns of `turn` elements. */
static void fill_signs(int8_t *q, int64_t k, int v, int turn) {
    for (int64_t i = 0; i < k; i++) q[i] = (int8_t)(turn && i / turn % 2 ? -v : v);
}

static void check_extreme(const range *e, int q, int sc, int v, int turn) {
    uint8_t row[PK_FILE_BLOCK_MAX], src[20 * PK_FILE_BLOCK_MAX];
    const dtype_info *info = dtype_get(e->type);
    int64_t k = info->block_elems;
    constant_block(e->type, q, sc, e->mn < 0 ? 0 : e->mn, row);
    for (int i = 0; i < 20; i++) memcpy(src + (size_t)i * info->block_bytes, row, info->block_bytes);
    kern_matrix w = pack_matrix(e->type, src, 20, k);
    acts a = acts_new(k, 7);
    for (int c = 0; c < 7; c++) {
        fill_signs(a.q + c * k, k, v, turn);
        a.d[c] = 1.0f;
    }
    acts_sum(&a);
    int64_t sum = 0;
    for (int64_t i = 0; i < k; i++) sum += a.q[i];
    int64_t isum = sum * (q - e->offset) * (sc - e->sc_offset), msum = sum * e->mn;
    assert_true(isum >= INT32_MIN && isum <= INT32_MAX);
    float want = fmaf(-(float)msum, 1.0f, (float)isum);
    for (size_t s = 0; s <= N_OTHER; s++) {
        const kern_ops *ops = kern_get(s < N_OTHER ? other_sets[s] : KERN_REF);
        if (!ops) continue;
        float y[7 * 20];
        ops->product(&w, acts_for(&a, ops, kern_act_kind_of(e->type)), y, 20, 0, w.n_groups);
        for (int i = 0; i < 7 * 20; i++)
            if (y[i] != want)
                fail_msg("%s %s: q %d, scale %d, activations %d turning every %d: %.1f, expected %.1f", ops->name, info->name, q, sc, v,
                         turn, (double)y[i], (double)want);
    }
    acts_free(&a);
    free((void *)w.data);
}

static void integer_sums_are_exact_at_all_extremes(void **state) {
    (void)state;
    static const int turns[] = {0, 1, 2, 4, 16, 32};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        for (int q = 0; q < 2; q++)
            for (int sc = 0; sc < 2; sc++)
                for (int v = -127; v <= 127; v += 254)
                    for (size_t t = 0; t < sizeof turns / sizeof turns[0]; t++)
                        check_extreme(&ranges[i], ranges[i].q[q], ranges[i].sc[sc], v, turns[t]);
}

/* Weights -128 and 127 against activations of matching and opposing sign: the largest |sum| and no saturation on the way. */
static void q8_0_weights_of_minus_128_are_exact_beside_every_sign(void **state) {
    (void)state;
    uint8_t src[16 * 34];
    for (int r = 0; r < 16; r++) {
        uint8_t *b = src + r * 34;
        b[0] = 0;
        b[1] = 0x3c;
        for (int i = 0; i < 32; i++) b[2 + i] = (uint8_t)(r >> (i & 3) & 1 ? 127 : -128);
    }
    kern_matrix w = pack_matrix(DT_Q8_0, src, 16, 32);
    acts a = acts_new(32, 16);
    for (int c = 0; c < 16; c++) {
        for (int i = 0; i < 32; i++) a.q[c * 32 + i] = (int8_t)(c >> (i & 3) & 1 ? 127 : -127);
        a.d[c] = 1.0f;
    }
    acts_sum(&a);
    for (size_t s = 0; s <= N_OTHER; s++) {
        const kern_ops *ops = kern_get(s < N_OTHER ? other_sets[s] : KERN_REF);
        if (!ops) continue;
        float y[16 * 16];
        ops->product(&w, acts_for(&a, ops, KERN_ACT_Q32), y, 16, 0, 1);
        for (int c = 0; c < 16; c++)
            for (int r = 0; r < 16; r++) {
                int sum = 0;
                for (int i = 0; i < 4; i++) sum += 8 * (r >> i & 1 ? 127 : -128) * (c >> i & 1 ? 127 : -127);
                assert_true(y[c * 16 + r] == (float)sum);
            }
    }
    acts_free(&a);
    free((void *)w.data);
}

/* ---- ref against double precision ---- */

/* |y - exact| where exact sums the dequantised weights times the dequantised activations in double.  With u = 2^-24 and T the sum of
 * (|d sc q| + |dm mn|) |a| over the row: dequantisation rounds each weight at most 3 times (3 u T), s and the integer's conversion once
 * each, for both terms (4 u T), each of at most 2 fmas a block rounds a running sum of at most T (2 n u T); for plain types n fmas (n u T).
 * Double's own error is 2^-29 of that and is covered by one more u T. */
static double error_bound(const kern_matrix *w, const uint8_t *row, const double *x) {
    const dtype_info *info = dtype_get(w->type);
    const double u = 0x1p-24;
    double total = 0;
    if (info->block_elems == 1) {
        float *v = malloc((size_t)w->cols * sizeof *v);
        kern_dequant_row(w->type, row, v, w->cols);
        for (int64_t i = 0; i < w->cols; i++) total += fabs((double)v[i] * x[i]);
        free(v);
        return (double)(w->cols + 1) * u * total;
    }
    bool by_block = info->block_elems == 256;
    kern_block b;
    memset(&b, 0, sizeof b);
    for (int64_t i = 0; i < w->cols; i++) {
        int64_t j = i % info->block_elems;
        if (j == 0) kern_block_decode(w->type, row + (size_t)(i / info->block_elems) * info->block_bytes, &b);
        double sc = by_block ? b.sc[j / 16] : 1, mn = by_block ? b.mn[j / 16] : 1;
        total += (fabs((double)b.d * sc * b.q[j]) + fabs((double)b.dm * mn)) * fabs(x[i]);
    }
    return (8.0 + 2.0 * (double)(w->cols / info->block_elems)) * u * total;
}

static void ref_agrees_with_double_precision_within_its_rounding(void **state) {
    (void)state;
    rng r = {31};
    for (size_t t = 0; t < N_TYPES; t++) {
        const dtype_info *info = dtype_get(all_types[t]);
        int64_t rows = 37, cols = info->block_elems == 1 ? 300 : (int64_t)info->block_elems * 4, elems = info->block_elems;
        uint8_t *src = random_weights(all_types[t], &r, rows, cols);
        kern_matrix w = pack_matrix(all_types[t], src, rows, cols);
        acts a = acts_random(&r, cols, 3, kern_act_kind_of(all_types[t]));
        float *y = malloc((size_t)(3 * rows) * sizeof *y), *v = malloc((size_t)cols * sizeof *v);
        double *x = malloc((size_t)cols * sizeof *x);
        kern_get(KERN_REF)->product(&w, &a.x, y, rows, 0, w.n_groups);
        for (int c = 0; c < 3; c++) {
            for (int64_t i = 0; i < cols; i++)
                x[i] = elems == 1 ? (double)a.f32[c * cols + i] : (double)a.d[(c * cols + i) / elems] * a.q[c * cols + i];
            for (int64_t row = 0; row < rows; row++) {
                const uint8_t *bytes = src + (size_t)(row * cols / elems) * info->block_bytes;
                kern_dequant_row(all_types[t], bytes, v, cols);
                double exact = 0, bound = error_bound(&w, bytes, x);
                for (int64_t i = 0; i < cols; i++) exact += (double)v[i] * x[i];
                if (!(fabs((double)y[c * rows + row] - exact) <= bound))
                    fail_msg("%s row %d: %.9g, exact %.9g, bound %.3g", info->name, (int)row, (double)y[c * rows + row], exact, bound);
            }
        }
        free(y);
        free(v);
        free(x);
        acts_free(&a);
        free((void *)w.data);
        free(src);
    }
}

/* ---- the order of sums ---- */

/* SHA-256 of the bits of a seeded product by type (19 rows, 5 columns, 3 blocks of 256 or 12 of 32 or 96 plain inputs) and of its
 * activations, worked out by tests/data/kern_weights/make_order.py in exact rationals, not by this code.  These change only with a new
 * numerics id.  On a difference the test prints what it got. */
static const char *const order_golden[N_TYPES] = {
    "08284684ccf427ec653ddecd098c11e47ebf877b6a21f705fbc8d53266aa6f8c", /* F32 */
    "719474e55f793593edc4d888eaf5d9c52863ddf57ef00c60b5c4ab47ce3b9630", /* F16 */
    "5c91949bc5c3fafe67050158e6a655a6f4d38015a6059cdf61ffd96465a969fd", /* BF16 */
    "2c11d0843dc59fe65ccb21c853d76818c77cb83fbfab01629766bec3dc841418", /* Q4_0 */
    "721c1d721fdd6d6cc74960011871178d16ec92cad7f5f610605d59f3e255143f", /* Q4_1 */
    "461ac52234e72bd380d6e114a646b40c62da744818b37dab1f0183c124b0c445", /* Q5_0 */
    "e19db48cf8f997a2371cbac92820c441fb04dcf8f503156b2ceea769a5593a10", /* Q5_1 */
    "1ed48c79d96b0da1200e6c3e4f65cc2cf7797baf631c58a49d614470537d20bb", /* Q8_0 */
    "7ccb94d8e1518d14657d7126bf50338ba0cc10bd62737d2b8b5bb0d6f9a8f3e7", /* Q2_K */
    "869e811f68e8b62a8c89ba05de045b2f305d30eeda82e7f921642818ff658df7", /* Q3_K */
    "03ad4c7fe59daeea47f829b975b6601d63bd9866f91f08bb551c4fb23b4fa36f", /* Q4_K */
    "df364886fe9643b892e0a40d99aa577101890b67d6f99a1a6124150c162dcf96", /* Q5_K */
    "165b0959d318297192662006c3a314a65e219340e7ce10c09bb3a4bb6069e42b", /* Q6_K */
};

static void the_order_of_every_sum_is_the_one_of_canonical_1(void **state) {
    (void)state;
    bool same = true;
    for (size_t t = 0; t < N_TYPES; t++) {
        int64_t elems = dtype_get(all_types[t])->block_elems, cols = elems == 1 ? 96 : elems == 32 ? 384 : 768, rows = 19;
        rng r = {1000 + t};
        uint8_t *src = random_weights(all_types[t], &r, rows, cols);
        kern_matrix w = pack_matrix(all_types[t], src, rows, cols);
        acts a = acts_random(&r, cols, 5, kern_act_kind_of(all_types[t]));
        for (size_t s = 0; s <= N_OTHER; s++) {
            const kern_ops *ops = kern_get(s < N_OTHER ? other_sets[s] : KERN_REF);
            if (!ops) continue;
            float y[5 * 19];
            char hex[65];
            sha256 h;
            ops->product(&w, acts_for(&a, ops, kern_act_kind_of(all_types[t])), y, rows, 0, w.n_groups);
            sha256_init(&h);
            sha256_add(&h, y, sizeof y);
            if (elems > 1) {
                sha256_add(&h, a.q, (size_t)(cols * 5));
                sha256_add(&h, a.d, (size_t)(cols / elems * 5) * sizeof *a.d);
            }
            sha256_hex(&h, hex);
            if (strcmp(hex, order_golden[t]) != 0) {
                print_error("%s %s: \"%s\",\n", ops->name, dtype_get(all_types[t])->name, hex);
                same = false;
            }
        }
        acts_free(&a);
        free((void *)w.data);
        free(src);
    }
    assert_true(same);
}

/* 2^24 + 1 - 2^24 + 1 ...: in ascending order each 1 after 2^24 is lost (ties to even), each after -2^24 is kept. */
static void plain_products_add_in_ascending_order(void **state) {
    (void)state;
    float row[8] = {0x1p24f, 1, -0x1p24f, 1, 0x1p24f, 1, -0x1p24f, 1};
    kern_matrix w = pack_matrix(DT_F32, (const uint8_t *)row, 1, 8);
    acts a = acts_new(8, 1);
    for (int i = 0; i < 8; i++) a.f32[i] = 1.0f;
    for (size_t s = 0; s <= N_OTHER; s++) {
        const kern_ops *ops = kern_get(s < N_OTHER ? other_sets[s] : KERN_REF);
        float y = 0;
        if (!ops) continue;
        ops->product(&w, &a.x, &y, 1, 0, 1);
        /* 2^24, 2^24, 0, 1, 2^24 + 1 to even = 2^24, 2^24, 0, 1 */
        assert_true(y == 1.0f);
    }
    acts_free(&a);
    free((void *)w.data);
}

/* ---- activations ---- */

static void quantise_one(const kern_ops *ops, const float *x, int elems, int8_t *q, float *d, int16_t *bsum, bool *ok) {
    memset(q, 0x55, (size_t)elems);
    *d = -1.0f;
    *ok = (elems == 32 ? ops->quant32 : ops->quant256)(x, elems, q, d, bsum);
}

static void activations_quantise_alike_on_every_set(void **state) {
    (void)state;
    rng r = {41};
    for (int round = 0; round < 3000; round++) {
        int elems = round % 2 ? 32 : 256;
        float x[256], d, d2;
        int8_t q[256], q2[256];
        int16_t bsum[16], bsum2[16];
        bool ok, ok2;
        float scale = ldexpf(1.0f, (int)(rng_next(&r) % 240) - 125); /* around 2^-100 and far from it on both sides */
        for (int i = 0; i < elems; i++) x[i] = rng_float(&r) * scale;
        if (round % 5 == 0) x[rng_next(&r) % (uint32_t)elems] *= 0x1p12f;
        if (round % 11 == 0) x[rng_next(&r) % (uint32_t)elems] = round % 3 == 0 ? NAN : round % 3 == 1 ? INFINITY : -INFINITY;
        quantise_one(kern_get(KERN_REF), x, elems, q, &d, bsum, &ok);
        for (int i = 0; i < elems; i++) assert_true(q[i] >= -127);
        for (size_t s = 0; s < N_OTHER; s++) {
            if (!kern_get(other_sets[s])) continue;
            quantise_one(kern_get(other_sets[s]), x, elems, q2, &d2, bsum2, &ok2);
            assert_true(ok == ok2);
            assert_memory_equal(q, q2, (size_t)elems);
            assert_memory_equal(&d, &d2, sizeof d);
            assert_memory_equal(bsum, bsum2, (size_t)(elems / 16) * sizeof *bsum);
        }
    }
}

/* Elements within a step of j + 1/2 quantisation steps, where x * (127 / amax), x / d and x * (1 / d) round to different integers. */
static void activations_are_multiplied_by_127_over_amax(void **state) {
    (void)state;
    rng r = {42};
    int n_divided = 0, n_reciprocal = 0;
    for (int round = 0; round < 20000; round++) {
        float x[32], amax = 0.5f + fabsf(rng_float(&r)), d, id = 127.0f / amax;
        int8_t q[32], want[32];
        int16_t bsum[2];
        bool ok;
        x[0] = amax;
        want[0] = 127;
        for (int i = 1; i < 32; i++) {
            x[i] = amax * (((float)(rng_next(&r) % 252) - 125.5f) / 127.0f);
            x[i] = i % 3 == 0 ? x[i] : nextafterf(x[i], i % 3 == 1 ? 2.0f : -2.0f);
            want[i] = (int8_t)rintf(x[i] * id);
            n_divided += want[i] != (int8_t)rintf(x[i] / (amax / 127.0f));
            n_reciprocal += want[i] != (int8_t)rintf(x[i] * (1.0f / (amax / 127.0f)));
        }
        for (size_t s = 0; s <= N_OTHER; s++) {
            const kern_ops *ops = kern_get(s < N_OTHER ? other_sets[s] : KERN_REF);
            if (!ops) continue;
            quantise_one(ops, x, 32, q, &d, bsum, &ok);
            assert_true(ok && d == amax / 127.0f);
            assert_memory_equal(q, want, sizeof want);
        }
    }
    assert_true(n_divided > 1000 && n_reciprocal > 1000); /* the elements do tell the formulas apart */
}

static void activations_round_half_to_even_and_sum_by_sixteen(void **state) {
    (void)state;
    for (size_t s = 0; s <= N_OTHER; s++) {
        const kern_ops *ops = kern_get(s < N_OTHER ? other_sets[s] : KERN_REF);
        if (!ops) continue;
        float x[32] = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f, -126.5f, 3.49999f, 3.50001f, -127.0f}, d;
        static const int8_t want[12] = {127, 0, 2, 2, 0, -2, -2, 126, -126, 3, 4, -127};
        int8_t q[32];
        int16_t bsum[2];
        bool ok;
        quantise_one(ops, x, 32, q, &d, bsum, &ok);
        assert_true(ok && d == 1.0f);
        assert_memory_equal(q, want, sizeof want);
        assert_int_equal(bsum[0], 127 + 0 + 2 + 2 + 0 - 2 - 2 + 126 - 126 + 3 + 4 - 127);
        assert_int_equal(bsum[1], 0);
    }
}

static void tiny_blocks_become_zero_and_the_smallest_kept_one_does_not(void **state) {
    (void)state;
    for (size_t s = 0; s <= N_OTHER; s++) {
        const kern_ops *ops = kern_get(s < N_OTHER ? other_sets[s] : KERN_REF);
        if (!ops) continue;
        float x[32] = {0}, d;
        int8_t q[32], zero[32] = {0};
        int16_t bsum[2];
        bool ok;
        x[9] = -0x1p-100f;
        quantise_one(ops, x, 32, q, &d, bsum, &ok);
        assert_true(ok && d == 0x1p-100f / 127.0f && q[9] == -127 && bsum[0] == -127);
        x[9] = nextafterf(-0x1p-100f, 0.0f);
        quantise_one(ops, x, 32, q, &d, bsum, &ok);
        assert_true(ok && d == 0.0f && !signbit(d) && bsum[0] == 0);
        assert_memory_equal(q, zero, sizeof q);
        x[9] = FLT_MAX;
        quantise_one(ops, x, 32, q, &d, bsum, &ok);
        assert_true(ok && q[9] == 127 && isfinite(d));
    }
}

static void a_value_that_is_not_finite_zeroes_its_block_and_is_reported(void **state) {
    (void)state;
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (size_t s = 0; s <= N_OTHER; s++) {
        const kern_ops *ops = kern_get(s < N_OTHER ? other_sets[s] : KERN_REF);
        for (size_t i = 0; ops && i < 4; i++) {
            float x[512], d[16];
            int8_t q[512];
            int16_t bsum[32];
            for (int k = 0; k < 512; k++) x[k] = 1.0f;
            x[300] = bad[i];
            assert_false(ops->quant32(x, 512, q, d, bsum));
            for (int k = 0; k < 512; k++) assert_int_equal(q[k], k / 32 == 300 / 32 ? 0 : 127);
            assert_true(d[9] == 0.0f && d[8] != 0.0f && bsum[18] == 0 && bsum[19] == 0 && bsum[20] == 16 * 127);
            assert_false(ops->quant256(x, 512, q, d, bsum));
            for (int k = 0; k < 512; k++) assert_int_equal(q[k], k >= 256 ? 0 : 127);
            assert_true(d[1] == 0.0f && d[0] != 0.0f && bsum[16] == 0 && bsum[0] == 16 * 127);
        }
    }
}

/* ---- dispatch and floating-point mode ---- */

static void an_unknown_set_is_refused_with_the_names_of_those_there_are(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    assert_null(kern_by_name("sse9", &err));
    assert_int_equal(err.code, GV_USAGE);
    assert_non_null(strstr(err.msg, "kernel set 'sse9' is not one this machine has: ref"));
    assert_ptr_equal(kern_by_name("ref", &err), kern_get(KERN_REF));
    assert_null(kern_get(KERN_SET_COUNT));
    assert_non_null(kern_best());
    char text[300];
    kern_describe_cpu(text, sizeof text);
    assert_non_null(strstr(text, "kernel sets: ref"));
    print_message("%s\n", text);
    for (size_t s = 0; s < N_OTHER; s++)
        if (!kern_get(other_sets[s])) print_message("set %d is not there on this machine: skipped\n", (int)other_sets[s]);
}

static void kernels_run_with_subnormals_and_round_to_nearest_and_give_the_mode_back(void **state) {
    (void)state;
#if defined(__x86_64__)
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040); /* FTZ and DAZ */
    fesetround(FE_UPWARD);
    unsigned changed = _mm_getcsr();
    uint32_t saved = kern_fp_enter();
    volatile float tiny = 0x1p-140f, one = 1.0f, third = 3.0f;
    volatile float half = tiny * 0.5f, quotient = one / third;
    kern_fp_leave(saved);
    unsigned after = _mm_getcsr();
    _mm_setcsr(before);
    assert_true(half == 0x1p-141f && half > 0.0f);
    assert_true(quotient == 0x1.555556p-2f);
    assert_int_equal(after & ~0x3fu, changed & ~0x3fu);
#else
    uint32_t saved = kern_fp_enter();
    volatile float tiny = 0x1p-140f;
    assert_true(tiny * 0.5f == 0x1p-141f);
    kern_fp_leave(saved);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_set_is_refused_with_the_names_of_those_there_are),
        cmocka_unit_test(kernels_run_with_subnormals_and_round_to_nearest_and_give_the_mode_back),
        cmocka_unit_test(activations_quantise_alike_on_every_set),
        cmocka_unit_test(activations_are_multiplied_by_127_over_amax),
        cmocka_unit_test(activations_round_half_to_even_and_sum_by_sixteen),
        cmocka_unit_test(tiny_blocks_become_zero_and_the_smallest_kept_one_does_not),
        cmocka_unit_test(a_value_that_is_not_finite_zeroes_its_block_and_is_reported),
        cmocka_unit_test(integer_sums_are_exact_at_all_extremes),
        cmocka_unit_test(q8_0_weights_of_minus_128_are_exact_beside_every_sign),
        cmocka_unit_test(ref_agrees_with_double_precision_within_its_rounding),
        cmocka_unit_test(the_order_of_every_sum_is_the_one_of_canonical_1),
        cmocka_unit_test(plain_products_add_in_ascending_order),
        cmocka_unit_test(every_set_gives_the_bits_of_ref_for_every_type_and_shape),
        cmocka_unit_test(the_shapes_of_a_small_llama_give_the_bits_of_ref),
        cmocka_unit_test(inputs_of_a_wide_layer_give_the_bits_of_ref),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
