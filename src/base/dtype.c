/* See dtype.h.  Numbers, names and block layouts as in ggml (ggml.h: enum ggml_type; ggml-common.h: block_* structs, whose sizes are
 * written out below as sums: scales, minima, high bits, quants in the struct's order).
 *
 * INFO holds the types gavel reads; NAMES those it does not, so that a message can say which type a file has (removed types 4, 5, 31-33
 * and 36-38 included).  Tables only: any thread may call this. */
#include "base/dtype.h"

#include <strings.h>

static const dtype_info INFO[DT_COUNT] = {
    [DT_F32] = {"F32", 1, 4},
    [DT_F16] = {"F16", 1, 2},
    [DT_BF16] = {"BF16", 1, 2},
    [DT_Q4_0] = {"Q4_0", 32, 2 + 16},
    [DT_Q4_1] = {"Q4_1", 32, 2 + 2 + 16},
    [DT_Q5_0] = {"Q5_0", 32, 2 + 4 + 16},
    [DT_Q5_1] = {"Q5_1", 32, 2 + 2 + 4 + 16},
    [DT_Q8_0] = {"Q8_0", 32, 2 + 32},
    [DT_Q2_K] = {"Q2_K", 256, 16 + 64 + 2 + 2},
    [DT_Q3_K] = {"Q3_K", 256, 32 + 64 + 12 + 2},
    [DT_Q4_K] = {"Q4_K", 256, 2 + 2 + 12 + 128},
    [DT_Q5_K] = {"Q5_K", 256, 2 + 2 + 12 + 32 + 128},
    [DT_Q6_K] = {"Q6_K", 256, 128 + 64 + 16 + 2},
};

static const char *const NAMES[] = {
    [4] = "Q4_2",   [5] = "Q4_3",    [9] = "Q8_1",        [15] = "Q8_K",       [16] = "IQ2_XXS",    [17] = "IQ2_XS",   [18] = "IQ3_XXS",
    [19] = "IQ1_S", [20] = "IQ4_NL", [21] = "IQ3_S",      [22] = "IQ2_S",      [23] = "IQ4_XS",     [24] = "I8",       [25] = "I16",
    [26] = "I32",   [27] = "I64",    [28] = "F64",        [29] = "IQ1_M",      [31] = "Q4_0_4_4",   [32] = "Q4_0_4_8", [33] = "Q4_0_8_8",
    [34] = "TQ1_0", [35] = "TQ2_0",  [36] = "IQ4_NL_4_4", [37] = "IQ4_NL_4_8", [38] = "IQ4_NL_8_8", [39] = "MXFP4",
};

const dtype_info *dtype_get(uint32_t type) {
    return type < DT_COUNT && INFO[type].name ? &INFO[type] : NULL;
}

const char *dtype_any_name(uint32_t type) {
    const dtype_info *info = dtype_get(type);
    if (info) return info->name;
    return type < sizeof NAMES / sizeof *NAMES ? NAMES[type] : NULL;
}

bool dtype_by_name(const char *name, dtype *out) {
    for (uint32_t t = 0; t < DT_COUNT; t++) {
        if (INFO[t].name && strcasecmp(INFO[t].name, name) == 0) {
            *out = (dtype)t;
            return true;
        }
    }
    return false;
}
