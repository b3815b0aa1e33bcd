/* Architecture "llama": Llama 1 to 3, Mistral, SmolLM2 and others as llama.cpp's converter writes them.
 *
 * The converter permutes the rows of q and k so that RoPE turns neighbouring pairs (2i, 2i+1).  Attention biases are optional (no
 * Prometheus model has them).  Experts (Mixtral) are refused by name: they are not computed here. */
#include "engine/model_internal.h"

static bool llama_shape(const gguf *g, model_shape *s, gv_err *err) {
    uint32_t experts = 0;
    bool found = false;
    if (!gguf_get_u32(g, "llama.expert_count", &experts, &found, err)) return false;
    if (found && experts > 0)
        return gv_fail(err, GV_UNSUPPORTED, -1, "llama.expert_count = %u: mixtures of experts are not supported by this version", experts);
    s->rope = KERN_ROPE_INTERLEAVED;
    return true;
}

const model_arch model_arch_llama = {"llama", llama_shape, false, true};
