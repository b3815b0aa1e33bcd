/* Decoding of file blocks: to integers for the reference products and to f32, with the same single roundings as gguf-py's dequantize.
 *
 * Formats: ggml-quants of GGUF (block structs in ggml-common.h), restated here as byte offsets.  All multi-byte fields are
 * little-endian.  Pure functions; any thread.  The source needs no alignment. */
#include "kern/product_internal.h"

static uint16_t load_u16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static float load_f16(const uint8_t *p) {
    return kern_f16_to_f32(load_u16(p));
}

/* Nibbles of a 32-block: byte j holds element j low and element j + 16 high; qh bit k is element k's fifth bit. */
static void decode_nibbles32(const uint8_t *qs, uint32_t qh, int offset, int8_t *q) {
    for (int j = 0; j < 16; j++) {
        q[j] = (int8_t)(((qs[j] & 15) | ((qh >> j & 1) << 4)) - (uint32_t)offset);
        q[j + 16] = (int8_t)(((qs[j] >> 4) | ((qh >> (j + 16) & 1) << 4)) - (uint32_t)offset);
    }
}

static uint32_t load_u32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Q4_K and Q5_K: 8 six-bit scales and minima in 12 bytes. */
static void decode_scales_6bit(const uint8_t *p, kern_block *out) {
    for (int s = 0; s < 8; s++) {
        int sc, mn;
        if (s < 4) {
            sc = p[s] & 63;
            mn = p[s + 4] & 63;
        } else {
            sc = (p[s + 4] & 15) | (p[s - 4] >> 6) << 4;
            mn = (p[s + 4] >> 4) | (p[s] >> 6) << 4;
        }
        out->sc[2 * s] = out->sc[2 * s + 1] = (int8_t)sc;
        out->mn[2 * s] = out->mn[2 * s + 1] = (int8_t)mn;
    }
}

/* scales[16] (low nibble scale, high nibble minimum), qs[64], d, dmin. */
static void decode_q2_k(const uint8_t *p, kern_block *out) {
    out->d = load_f16(p + 80);
    out->dm = load_f16(p + 82);
    for (int s = 0; s < 16; s++) {
        out->sc[s] = (int8_t)(p[s] & 15);
        out->mn[s] = (int8_t)(p[s] >> 4);
    }
    for (int k = 0; k < 256; k++) out->q[k] = (int8_t)(p[16 + (k >> 7) * 32 + (k & 31)] >> ((k >> 5 & 3) * 2) & 3);
}

/* hmask[32], qs[64], scales[12], d.  Scales: 4 low bits of s in byte s % 8, nibble s / 8; 2 high bits in byte 8 + s % 4, pair s / 4. */
static void decode_q3_k(const uint8_t *p, kern_block *out) {
    out->d = load_f16(p + 108);
    const uint8_t *scales = p + 96;
    for (int s = 0; s < 16; s++) {
        int lo = scales[s & 7] >> ((s >> 3) * 4) & 15;
        int hi = scales[8 + (s & 3)] >> ((s >> 2) * 2) & 3;
        out->sc[s] = (int8_t)((lo | hi << 4) - 32);
    }
    for (int k = 0; k < 256; k++) {
        int lo = p[32 + (k >> 7) * 32 + (k & 31)] >> ((k >> 5 & 3) * 2) & 3;
        int hi = p[k & 31] >> (k >> 5) & 1;
        out->q[k] = (int8_t)((lo | hi << 2) - 4);
    }
}

/* d, dmin, scales[12], (qh[32] for Q5_K,) qs[128]. */
static void decode_q45_k(const uint8_t *p, const uint8_t *qh, const uint8_t *qs, kern_block *out) {
    out->d = load_f16(p);
    out->dm = load_f16(p + 2);
    decode_scales_6bit(p + 4, out);
    for (int k = 0; k < 256; k++) {
        int lo = qs[(k >> 6) * 32 + (k & 31)] >> ((k >> 5 & 1) * 4) & 15;
        int hi = qh ? qh[k & 31] >> (k >> 5) & 1 : 0;
        out->q[k] = (int8_t)(lo | hi << 4);
    }
}

/* ql[128], qh[64], scales[16], d. */
static void decode_q6_k(const uint8_t *p, kern_block *out) {
    out->d = load_f16(p + 208);
    memcpy(out->sc, p + 192, 16);
    for (int k = 0; k < 256; k++) {
        int half = k >> 7, quarter = k >> 5 & 3, l = k & 31;
        int lo = p[half * 64 + (quarter & 1) * 32 + l] >> ((quarter >> 1) * 4) & 15;
        int hi = p[128 + half * 32 + l] >> (quarter * 2) & 3;
        out->q[k] = (int8_t)((lo | hi << 4) - 32);
    }
}

void kern_block_decode(dtype type, const uint8_t *p, kern_block *out) {
    switch (type) {
    case DT_Q8_0:
        out->d = load_f16(p);
        memcpy(out->q, p + 2, 32);
        return;
    case DT_Q4_0:
        out->d = load_f16(p);
        decode_nibbles32(p + 2, 0, 8, out->q);
        return;
    case DT_Q4_1:
        out->d = load_f16(p);
        out->dm = load_f16(p + 2);
        decode_nibbles32(p + 4, 0, 0, out->q);
        return;
    case DT_Q5_0:
        out->d = load_f16(p);
        decode_nibbles32(p + 6, load_u32(p + 2), 16, out->q);
        return;
    case DT_Q5_1:
        out->d = load_f16(p);
        out->dm = load_f16(p + 2);
        decode_nibbles32(p + 8, load_u32(p + 4), 0, out->q);
        return;
    case DT_Q2_K: decode_q2_k(p, out); return;
    case DT_Q3_K: decode_q3_k(p, out); return;
    case DT_Q4_K: decode_q45_k(p, NULL, p + 16, out); return;
    case DT_Q5_K: decode_q45_k(p, p + 16, p + 48, out); return;
    case DT_Q6_K: decode_q6_k(p, out); return;
    case DT_F32:
    case DT_F16:
    case DT_BF16:
    case DT_COUNT: break;
    }
}

/* A decoded block to f32.  Each product and sum is rounded on its own (-ffp-contract=off), as numpy does. */
static void block_values(dtype type, const kern_block *b, float *dst) {
    if (type == DT_Q4_1 || type == DT_Q5_1) {
        for (int k = 0; k < 32; k++) dst[k] = b->d * (float)b->q[k] + b->dm;
    } else if (type == DT_Q2_K || type == DT_Q4_K || type == DT_Q5_K) {
        for (int k = 0; k < 256; k++) {
            float dl = b->d * (float)b->sc[k >> 4], ml = b->dm * (float)b->mn[k >> 4];
            dst[k] = dl * (float)b->q[k] - ml;
        }
    } else if (type == DT_Q3_K || type == DT_Q6_K) {
        for (int k = 0; k < 256; k++) dst[k] = b->d * (float)b->sc[k >> 4] * (float)b->q[k];
    } else {
        for (int k = 0; k < 32; k++) dst[k] = b->d * (float)b->q[k];
    }
}

void kern_dequant_row(dtype type, const void *src, float *dst, int64_t n) {
    const uint8_t *p = src;
    switch (type) {
    case DT_F32: memcpy(dst, p, (size_t)n * 4); return;
    case DT_F16:
        for (int64_t i = 0; i < n; i++) dst[i] = load_f16(p + 2 * i);
        return;
    case DT_BF16:
        for (int64_t i = 0; i < n; i++) dst[i] = kern_bf16_to_f32(load_u16(p + 2 * i));
        return;
    default: break;
    }
    const dtype_info *info = dtype_get(type);
    kern_block b;
    for (int64_t i = 0; i < n; i += info->block_elems, p += info->block_bytes) {
        kern_block_decode(type, p, &b);
        block_values(type, &b, dst + i);
    }
}
