/* Reference products with fmaf as the C library gives it: the oracle of every other kernel set.  Body: product_ref.inc. */
#define PRODUCT_TABLE kern_product_ref
#include "kern/product_ref.inc"
