/* The vector kernels of set ref-fma: ref compiled with hardware fma, to test that the two give the same bits.  Body: vec_ref.inc. */
#define VECTOR_OPS kern_vector_ref_fma
#include "kern/vec_ref.inc"
