/* Tensor element types: names, block sizes and numbers as GGUF defines them (ggml.h, enum ggml_type). */
#ifndef GAVEL_BASE_DTYPE_H
#define GAVEL_BASE_DTYPE_H

#include "base/err.h"

#include <stddef.h>

typedef enum dtype { /* values are GGUF's type numbers */
                     DT_F32 = 0,
                     DT_F16 = 1,
                     DT_Q4_0 = 2,
                     DT_Q4_1 = 3,
                     DT_Q5_0 = 6,
                     DT_Q5_1 = 7,
                     DT_Q8_0 = 8,
                     DT_Q2_K = 10,
                     DT_Q3_K = 11,
                     DT_Q4_K = 12,
                     DT_Q5_K = 13,
                     DT_Q6_K = 14,
                     DT_BF16 = 30,
                     DT_COUNT = 31,
} dtype;

typedef struct dtype_info {
    const char *name;     /* "Q4_K"; NULL for numbers that are no type of ours */
    uint32_t block_elems; /* elements a block: 1, 32 or 256 */
    uint32_t block_bytes; /* bytes a block in the file */
} dtype_info;

/* NULL if type is not one gavel reads. */
const dtype_info *dtype_get(uint32_t type);
/* Name of any GGUF type number, known to gavel or not ("IQ4_XS"); "type 77" style text is the caller's. NULL if unheard of. */
const char *dtype_any_name(uint32_t type);
/* By name, case-insensitive; false if unknown. */
bool dtype_by_name(const char *name, dtype *out);

#endif
