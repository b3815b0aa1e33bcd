/* Architecture "llama": Llama 1 to 3, Mistral, SmolLM2 and others as llama.cpp's converter writes them.
 *
 * The converter permutes the rows of q and k so that RoPE turns neighbouring pairs (2i, 2i+1).  Attention biases are optional (no
 * Prometheus model has them).  With expert_count it is a Mixtral, whose layers have a router and experts instead of one block. */
#include "engine/model_internal.h"

static bool llama_shape(const gguf *g, model_shape *s, gv_err *err) {
    (void)g;
    (void)err;
    s->rope = KERN_ROPE_INTERLEAVED;
    return true;
}

const model_arch model_arch_llama = {.name = "llama", .shape = llama_shape, .qkv_bias_allowed = true, .experts_allowed = true};
