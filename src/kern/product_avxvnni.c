/* The AVX-VNNI set of products: product_avx2.inc with vpdpbusd.  Activations are quantised as by the AVX2 set.  Stateless, any thread. */
#if defined(__x86_64__)

#define PRODUCT_VNNI 1
#include "kern/product_avx2.inc"

static bool quant32(const float *x, int64_t k, int8_t *q, float *d, int16_t *bsum) {
    return kern_product_avx2.quant32(x, k, q, d, bsum);
}

static bool quant256(const float *x, int64_t k, int8_t *q, float *d, int16_t *bsum) {
    return kern_product_avx2.quant256(x, k, q, d, bsum);
}

const kern_product_ops kern_product_avxvnni = {quant32, quant256, product, NULL};

#endif
