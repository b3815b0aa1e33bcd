/* Reference products with the fma instruction (-mfma, x86 only): the same bits as product_ref.c, which tests compare. */
#if defined(__x86_64__)
#define PRODUCT_TABLE kern_product_ref_fma
#include "kern/product_ref.inc"
#else
typedef int product_ref_fma_is_x86_only;
#endif
