/* The vector kernels of set ref: plain C, fma in software where the machine has none.  Body: vec_ref.inc. */
#define VECTOR_OPS kern_vector_ref
#include "kern/vec_ref.inc"
