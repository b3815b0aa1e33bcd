/* What the kernel files share: block structs in file layout, the packed layouts, the fixed reduction tree.  Included by src/kern only. */
#ifndef GAVEL_KERN_INTERNAL_H
#define GAVEL_KERN_INTERNAL_H

#include "kern/kern.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "gavel needs a little-endian machine"
#endif
#if FLT_EVAL_METHOD != 0
#error "gavel needs FLT_EVAL_METHOD 0 (canonical-1)"
#endif
_Static_assert(sizeof(void *) == 8, "gavel needs a 64-bit machine");

/* Each instruction set provides one of each; kern.c composes the table. */
typedef struct kern_product_ops {
    bool (*quant32)(const float *x, int64_t k, int8_t *q, float *d, int16_t *bsum);
    bool (*quant256)(const float *x, int64_t k, int8_t *q, float *d, int16_t *bsum);
    void (*product)(const kern_matrix *w, const kern_acts *x, float *y, int64_t ldy, int64_t g0, int64_t g1);
} kern_product_ops;

typedef struct kern_vector_ops {
    void (*rmsnorm)(const float *x, const float *weight, float eps, int64_t n, float *y);
    void (*add)(float *y, const float *x, int64_t n);
    void (*silu_mul)(float *gate, const float *up, int64_t n);
    void (*rope)(float *x, int n_heads, int head_dim, int n_rot, kern_rope_kind kind, const float *cos, const float *sin);
    void (*kv_put)(kern_kv_type type, int head_dim, int slot, const float *k, const float *v, void *k_page, void *v_page);
    void (*attention)(const kern_attn *a);
    void (*argmax)(const float *x, int64_t n, int64_t *index, float *max, bool *finite);
} kern_vector_ops;

extern const kern_product_ops kern_product_ref, kern_product_ref_fma, kern_product_avx2, kern_product_avx512;
extern const kern_vector_ops kern_vector_ref, kern_vector_ref_fma, kern_vector_avx2, kern_vector_avx512;

#endif
