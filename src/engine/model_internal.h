/* What the architecture files, model.c, model_load.c and model_cache.c share. */
#ifndef GAVEL_ENGINE_MODEL_INTERNAL_H
#define GAVEL_ENGINE_MODEL_INTERNAL_H

#include "engine/model.h"

typedef struct model_arch {
    const char *name; /* general.architecture */
    /* Fills what differs from the shared keys: rope kind, and refuses settings that are not computed. */
    bool (*shape)(const gguf *g, model_shape *s, gv_err *err);
    bool qkv_bias_required, qkv_bias_allowed, experts_allowed;
} model_arch;

extern const model_arch model_arch_llama, model_arch_qwen2;

/* Unmaps the packed weights, wherever they lie. */
void model_drop_weights(model *m);

/* The weights from the cache: m->packed and m->cached are set if they are there and whole.  What is wrong with a file is a warning. */
bool model_cache_load(model *m, const model_load_options *o);
/* Writes the packed weights.  A failure is a warning too. */
void model_cache_store(const model *m, const model_load_options *o);

/* "llama.block_count" from arch and suffix, into key[96]. */
void model_key(char key[96], const char *arch, const char *suffix);

#endif
