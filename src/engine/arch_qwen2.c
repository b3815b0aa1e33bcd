/* Architecture "qwen2": Qwen2 and Qwen2.5 (M-Prometheus).  Biases on q, k and v; RoPE turns (i, i + n_rot/2); the embedding is tied in the
 * small sizes. */
#include "engine/model_internal.h"

static bool qwen2_shape(const gguf *g, model_shape *s, gv_err *err) {
    (void)g;
    (void)err;
    s->rope = KERN_ROPE_HALF;
    return true;
}

const model_arch model_arch_qwen2 = {.name = "qwen2", .shape = qwen2_shape, .qkv_bias_required = true, .qkv_bias_allowed = true};
