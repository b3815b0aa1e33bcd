/* What a file of quantised weights will hold: its tensors in order, each with its type and the tensors it is made of. */
#ifndef GAVEL_WEIGHTS_PLAN_H
#define GAVEL_WEIGHTS_PLAN_H

#include "modelfile/quant_mix.h"
#include "modelfile/tensors.h"

typedef struct plan_tensor {
    tensor_view out; /* name, type and shape of the result; no data */
    size_t first, n; /* its sources in plan.source: one, or the experts of a layer in order, which become one tensor */
    bool copy;       /* type and bytes stay as they are */
} plan_tensor;

typedef struct plan {
    plan_tensor *tensor;
    size_t n;
    const tensor_view **source;
    char (*name)[GGUF_MAX_NAME_BYTES + 1];
    size_t n_bytes; /* of all results */
} plan;

/* Tensors of t as the mix wants them.  A folder's vectors and routers become F32, a GGUF's stay.  requantize: weights that are quantised already may
 * become another type; otherwise GV_USAGE naming the tensor, but for the types f32, f16 and bf16. */
bool plan_make(plan *p, const tensors *t, const quant_mix *mix, bool has_importance, bool requantize, gv_err *err) GV_MUST_USE;
void plan_fini(plan *p);

#endif
