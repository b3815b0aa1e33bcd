/* Packing of file-layout weights into groups of 16 interleaved rows (layout: product_internal.h), and reading rows back.
 *
 * A block is described as dword runs of the file that are transposed, plus its f16 scales.  The only bits that move inside a dword are
 * the fifth bits of Q5_0 and Q5_1: file bit 4j+i (element 4j+i) becomes bit j of byte i, so that one shift of the vector puts a whole
 * dword of elements into place.
 *
 * Loading a model packs gigabytes, so whole groups go through transposes of 4 rows x 4 dwords (or 8 x 8 halves) in 16-byte vectors, which
 * every CPU we run on has (docs/SPEED.md).  The last group of a matrix, if it has fewer than 16 rows,
 * goes dword by dword.  Pure functions; packing is safe on any threads over disjoint groups. */
#include "base/mem.h"
#include "kern/product_internal.h"

typedef struct run {
    uint8_t file_off; /* in the file's block */
    uint8_t n_dwords;
    uint16_t record_off;
} run;

typedef struct layout {
    uint16_t elems, file_bytes;        /* block */
    uint16_t record_bytes, tail_bytes; /* packed, 16 rows */
    uint8_t d_off, m_off;              /* f16 scales in the file's block; m_off only when the record has DM (tail_bytes == 0) */
    uint8_t qh_off, n_runs;            /* qh_off: Q5_0 and Q5_1 only, else 0 */
    uint16_t qh_record_off;
    run runs[3];
} layout;

static const layout q8_0_layout = {32, 34, PK_Q8_0, PK_TAIL, 0, 0, 0, 1, 0, {{2, 8, 0}}};
static const layout q4_0_layout = {32, 18, PK_Q4_0, PK_TAIL, 0, 0, 0, 1, 0, {{2, 4, 0}}};
static const layout q4_1_layout = {32, 20, PK_Q4_1, 0, 0, 2, 0, 1, 0, {{4, 4, 64}}};
static const layout q5_0_layout = {32, 22, PK_Q5_0, PK_TAIL, 0, 0, 2, 1, 0, {{6, 4, 64}}};
static const layout q5_1_layout = {32, 24, PK_Q5_1, 0, 0, 2, 4, 1, 64, {{8, 4, 128}}};
static const layout q2_k_layout = {256, 84, PK_Q2_K, 0, 80, 82, 0, 2, 0, {{0, 4, 64}, {16, 16, 320}}};
static const layout q3_k_layout = {256, 110, PK_Q3_K, PK_TAIL, 108, 0, 0, 3, 0, {{0, 8, 0}, {32, 16, 512}, {96, 3, 1536}}};
static const layout q4_k_layout = {256, 144, PK_Q4_K, 0, 0, 2, 0, 2, 0, {{4, 3, 64}, {16, 32, 256}}};
static const layout q5_k_layout = {256, 176, PK_Q5_K, 0, 0, 2, 0, 3, 0, {{4, 3, 64}, {16, 8, 256}, {48, 32, 768}}};
static const layout q6_k_layout = {256, 210, PK_Q6_K, PK_TAIL, 208, 0, 0, 3, 0, {{0, 32, 0}, {128, 16, 2048}, {192, 4, 3072}}};

/* NULL for F32, F16 and BF16, which have no blocks. */
static const layout *layout_of(dtype type) {
    switch (type) {
    case DT_Q8_0: return &q8_0_layout;
    case DT_Q4_0: return &q4_0_layout;
    case DT_Q4_1: return &q4_1_layout;
    case DT_Q5_0: return &q5_0_layout;
    case DT_Q5_1: return &q5_1_layout;
    case DT_Q2_K: return &q2_k_layout;
    case DT_Q3_K: return &q3_k_layout;
    case DT_Q4_K: return &q4_k_layout;
    case DT_Q5_K: return &q5_k_layout;
    case DT_Q6_K: return &q6_k_layout;
    case DT_F32:
    case DT_F16:
    case DT_BF16:
    case DT_COUNT: break;
    }
    return NULL;
}

static uint32_t load_u32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Bit 4j+i to bit j of byte i, and back. */
static uint32_t qh_to_packed(uint32_t v) {
    uint32_t out = 0;
    for (int j = 0; j < 8; j++) out |= ((v >> (4 * j) & 15) * 0x00204081u & 0x01010101u) << j;
    return out;
}

static uint32_t qh_to_file(uint32_t v) {
    uint32_t out = 0;
    for (int k = 0; k < 32; k++) out |= (v >> (8 * (k & 3) + (k >> 2)) & 1) << k;
    return out;
}

static bool plain_type(dtype type) {
    return type == DT_F32 || type == DT_F16 || type == DT_BF16;
}

kern_act_kind kern_act_kind_of(dtype type) {
    const layout *l = layout_of(type);
    return !l ? KERN_ACT_F32 : l->elems == 32 ? KERN_ACT_Q32 : KERN_ACT_Q256;
}

bool kern_packed_size(dtype type, int64_t rows, int64_t cols, size_t *group_bytes, size_t *total_bytes) {
    const layout *l = layout_of(type);
    if (rows <= 0 || cols <= 0 || (!l && !plain_type(type)) || (l && cols % l->elems != 0)) return false;
    size_t unit = l ? (size_t)l->record_bytes + l->tail_bytes : type == DT_F32 ? 64 : 32;
    size_t n_units = (size_t)(l ? cols / l->elems : cols), bytes, groups = ((size_t)rows + KERN_GROUP - 1) / KERN_GROUP;
    if (!gv_mul_size(n_units, unit, &bytes) || !gv_add_size(bytes, 63, &bytes)) return false;
    *group_bytes = bytes & ~(size_t)63;
    return gv_mul_size(*group_bytes, groups, total_bytes);
}

size_t kern_tile_bytes(kern_act_kind kind, int64_t k) {
    if (kind == KERN_ACT_Q256) return (size_t)(k / 256) * PK_TILE_Q256;
    return kind == KERN_ACT_Q32 ? (size_t)((k / 32 + 1) / 2) * PK_TILE_Q32 : 0;
}

/* n_rows rows (1..16) of block b, each file_row_bytes apart, into the group's record and tail. */
static void pack_block(const layout *l, const uint8_t *src, size_t row_bytes, int n_rows, uint8_t *record, uint8_t *tail) {
    uint8_t *d = l->tail_bytes ? tail : record;
    for (int r = 0; r < n_rows; r++, src += row_bytes) {
        memcpy(d + 2 * r, src + l->d_off, 2);
        if (!l->tail_bytes) memcpy(d + 32 + 2 * r, src + l->m_off, 2);
        if (l->qh_off) {
            uint32_t qh = qh_to_packed(load_u32(src + l->qh_off));
            memcpy(record + l->qh_record_off + 4 * r, &qh, 4);
        }
        for (int i = 0; i < l->n_runs; i++) {
            const uint8_t *from = src + l->runs[i].file_off;
            uint8_t *to = record + l->runs[i].record_off + 4 * r;
            for (int j = 0; j < l->runs[i].n_dwords; j++) memcpy(to + j * PK_VEC, from + 4 * j, 4);
        }
    }
}

/* ---- whole groups ---- */

typedef uint32_t v4u32 __attribute__((vector_size(16)));
typedef uint16_t v8u16 __attribute__((vector_size(16)));

static inline v4u32 load_v4(const uint8_t *p) {
    v4u32 v;
    memcpy(&v, p, sizeof v);
    return v;
}

#define LOW_DWORDS(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH_DWORDS(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define LOW_PAIRS(a, b)   __builtin_shufflevector(a, b, 0, 1, 4, 5)
#define HIGH_PAIRS(a, b)  __builtin_shufflevector(a, b, 2, 3, 6, 7)

/* 4 dwords of 16 rows, row_bytes apart: dword j of row r to dst + 64 j + 4 r. */
static inline void transpose_dwords(const uint8_t *src, size_t row_bytes, uint8_t *dst) {
    for (int q = 0; q < 4; q++, src += 4 * row_bytes, dst += 16) {
        const v4u32 r0 = load_v4(src), r1 = load_v4(src + row_bytes), r2 = load_v4(src + 2 * row_bytes), r3 = load_v4(src + 3 * row_bytes);
        const v4u32 a = LOW_DWORDS(r0, r1), b = LOW_DWORDS(r2, r3), c = HIGH_DWORDS(r0, r1), d = HIGH_DWORDS(r2, r3);
        const v4u32 out[4] = {LOW_PAIRS(a, b), HIGH_PAIRS(a, b), LOW_PAIRS(c, d), HIGH_PAIRS(c, d)};
        for (int j = 0; j < 4; j++) memcpy(dst + j * PK_VEC, &out[j], sizeof out[j]);
    }
}

#define LOW_HALVES(a, b)  (v4u32) __builtin_shufflevector((v8u16)(a), (v8u16)(b), 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH_HALVES(a, b) (v4u32) __builtin_shufflevector((v8u16)(a), (v8u16)(b), 4, 12, 5, 13, 6, 14, 7, 15)

/* 8 halves of 16 rows: half k of row r to dst + 32 k + 2 r. */
static inline void transpose_halves(const uint8_t *src, size_t row_bytes, uint8_t *dst) {
    for (int q = 0; q < 2; q++, src += 8 * row_bytes, dst += 16) {
        v4u32 v[8], w[8];
        for (int r = 0; r < 8; r++) v[r] = load_v4(src + (size_t)r * row_bytes);
        for (int i = 0; i < 4; i++) w[2 * i] = LOW_HALVES(v[i], v[i + 4]), w[2 * i + 1] = HIGH_HALVES(v[i], v[i + 4]);
        for (int i = 0; i < 4; i++) v[2 * i] = LOW_HALVES(w[i], w[i + 4]), v[2 * i + 1] = HIGH_HALVES(w[i], w[i + 4]);
        for (int i = 0; i < 4; i++) w[2 * i] = LOW_HALVES(v[i], v[i + 4]), w[2 * i + 1] = HIGH_HALVES(v[i], v[i + 4]);
        for (int k = 0; k < 8; k++) memcpy(dst + k * 32, &w[k], sizeof w[k]);
    }
}

/* pack_block for 16 rows. */
static void pack_whole_block(const layout *l, const uint8_t *src, size_t row_bytes, uint8_t *record, uint8_t *tail) {
    uint8_t *d = l->tail_bytes ? tail : record;
    for (size_t r = 0; r < 16; r++) memcpy(d + 2 * r, src + r * row_bytes + l->d_off, 2);
    if (!l->tail_bytes)
        for (size_t r = 0; r < 16; r++) memcpy(d + 32 + 2 * r, src + r * row_bytes + l->m_off, 2);
    for (size_t r = 0; l->qh_off && r < 16; r++) {
        uint32_t qh = qh_to_packed(load_u32(src + r * row_bytes + l->qh_off));
        memcpy(record + l->qh_record_off + 4 * r, &qh, 4);
    }
    for (int i = 0; i < l->n_runs; i++) {
        const uint8_t *from = src + l->runs[i].file_off;
        uint8_t *to = record + l->runs[i].record_off;
        int j = 0;
        for (; j + 4 <= l->runs[i].n_dwords; j += 4) transpose_dwords(from + 4 * j, row_bytes, to + j * PK_VEC);
        for (; j < l->runs[i].n_dwords; j++)
            for (size_t r = 0; r < 16; r++) memcpy(to + (size_t)j * PK_VEC + 4 * r, from + r * row_bytes + 4 * j, 4);
    }
}

static void pack_group_plain(dtype type, const uint8_t *src, int64_t cols, int n_rows, uint8_t *dst) {
    const size_t size = type == DT_F32 ? 4 : 2, row_bytes = (size_t)cols * size;
    int64_t k = 0;
    if (n_rows == KERN_GROUP && type == DT_F32)
        for (; k + 4 <= cols; k += 4) transpose_dwords(src + k * 4, row_bytes, dst + k * 64);
    else if (n_rows == KERN_GROUP)
        for (; k + 8 <= cols; k += 8) transpose_halves(src + k * 2, row_bytes, dst + k * 32);
    for (; k < cols; k++)
        for (size_t r = 0; r < (size_t)n_rows; r++) memcpy(dst + ((size_t)k * 16 + r) * size, src + r * row_bytes + (size_t)k * size, size);
}

void kern_pack(dtype type, const uint8_t *src, int64_t rows, int64_t cols, uint8_t *dst, int64_t g0, int64_t g1) {
    size_t group_bytes, total_bytes;
    if (!kern_packed_size(type, rows, cols, &group_bytes, &total_bytes)) return;
    const layout *l = layout_of(type);
    size_t row_bytes = l ? (size_t)(cols / l->elems) * l->file_bytes : (size_t)cols * (type == DT_F32 ? 4 : 2);
    for (int64_t g = g0; g < g1; g++) {
        const uint8_t *from = src + (size_t)g * KERN_GROUP * row_bytes;
        uint8_t *group = dst + (size_t)g * group_bytes;
        int n_rows = rows - g * KERN_GROUP < KERN_GROUP ? (int)(rows - g * KERN_GROUP) : KERN_GROUP;
        /* Missing rows and the end of the group are zero. */
        if (n_rows < KERN_GROUP) memset(group, 0, group_bytes);
        memset(group + group_bytes - 64, 0, 64);
        if (!l) {
            pack_group_plain(type, from, cols, n_rows, group);
            continue;
        }
        int64_t n_blocks = cols / l->elems;
        uint8_t *tail = group + (size_t)n_blocks * l->record_bytes;
        for (int64_t b = 0; b < n_blocks; b++) {
            const uint8_t *block = from + (size_t)b * l->file_bytes;
            uint8_t *record = group + (size_t)b * l->record_bytes, *scales = tail + (size_t)b * l->tail_bytes;
            if (n_rows == KERN_GROUP)
                pack_whole_block(l, block, row_bytes, record, scales);
            else
                pack_block(l, block, row_bytes, n_rows, record, scales);
        }
    }
}

void kern_block_unpack(dtype type, const uint8_t *group, int64_t cols, int row, int64_t b, uint8_t *dst) {
    const layout *l = layout_of(type);
    const uint8_t *record = group + (size_t)b * l->record_bytes;
    const uint8_t *d = l->tail_bytes ? group + (size_t)(cols / l->elems) * l->record_bytes + (size_t)b * l->tail_bytes : record;
    memcpy(dst + l->d_off, d + 2 * row, 2);
    if (!l->tail_bytes) memcpy(dst + l->m_off, d + 32 + 2 * row, 2);
    if (l->qh_off) {
        uint32_t qh = qh_to_file(load_u32(record + l->qh_record_off + 4 * row));
        memcpy(dst + l->qh_off, &qh, 4);
    }
    for (int i = 0; i < l->n_runs; i++) {
        const uint8_t *from = record + l->runs[i].record_off + 4 * row;
        for (int j = 0; j < l->runs[i].n_dwords; j++) memcpy(dst + l->runs[i].file_off + 4 * j, from + j * PK_VEC, 4);
    }
}

void kern_matrix_row(const kern_matrix *w, int64_t row, float *dst) {
    const uint8_t *group = w->data + (size_t)(row / KERN_GROUP) * w->group_bytes;
    int r = (int)(row % KERN_GROUP);
    const layout *l = layout_of(w->type);
    if (!l) {
        size_t size = w->type == DT_F32 ? 4 : 2;
        for (int64_t k = 0; k < w->cols; k++) kern_dequant_row(w->type, group + (size_t)(k * 16 + r) * size, dst + k, 1);
        return;
    }
    uint8_t block[PK_FILE_BLOCK_MAX];
    for (int64_t b = 0; b < w->cols / l->elems; b++) {
        kern_block_unpack(w->type, group, w->cols, r, b, block);
        kern_dequant_row(w->type, block, dst + b * l->elems, l->elems);
    }
}
