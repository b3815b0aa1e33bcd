/* Which tensor of a Hugging Face folder is which of GGUF's: the one table of names, shapes and row orders. */
#ifndef GAVEL_MODELFILE_HF_FOLDER_H
#define GAVEL_MODELFILE_HF_FOLDER_H

#include "modelfile/hf_config.h"
#include "modelfile/safetensors.h"

typedef struct hf_tensors {
    tensor_view *view; /* named as in a GGUF, in the order of the layers; data borrowed from the safetensors */
    size_t n;
    char (*name)[GGUF_MAX_NAME_BYTES + 1];
    float *rope_freqs; /* data of rope_freqs.weight, with llama3 scaling */
} hf_tensors;

/* All tensors that the configuration asks for, each checked against the shape it gives; one too many is an error too, but for what
 * transformers ignores as well (rotary_emb.inv_freq; lm_head.weight when embeddings are tied).  Without a path in front of messages. */
bool hf_tensors_bind(hf_tensors *h, const hf_config *c, const safetensors *s, gv_err *err) GV_MUST_USE;
void hf_tensors_fini(hf_tensors *h);

/* Is it a tensor that such a model may have stored and does not compute with? */
bool hf_tensor_is_ignored(const hf_config *c, const char *name);

#endif
