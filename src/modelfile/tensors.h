/* A model's weights and hyperparameters, wherever they come from: a GGUF file or the parts of one, or a Hugging Face folder (config.json and safetensors).
 *
 * Both look the same: tensors under GGUF's names (blk.N.attn_q.weight), hyperparameters as GGUF keys (llama.block_count).  For a folder the
 * keys are made from config.json (hf_config.c), the names from one table (hf_folder.c), and what a converter would compute is there too
 * (rope_freqs.weight).  What differs is told by the view: rows of q and k of llama models stand in another order in a folder (tensor_row),
 * and experts are always one tensor each (blk.N.ffn_gate.E.weight).  Immutable once open; any number of threads may read it. */
#ifndef GAVEL_MODELFILE_TENSORS_H
#define GAVEL_MODELFILE_TENSORS_H

#include "modelfile/gguf.h"
#include "modelfile/hf_config.h"
#include "modelfile/safetensors.h"

typedef struct tensors tensors;

/* PATH is a GGUF file or any part of a split one, or a folder with config.json and safetensors.  Errors name the file.  NULL on failure. */
tensors *tensors_open(const char *path, gv_err *err) GV_MUST_USE;
/* Over an open GGUF, which it takes. */
tensors *tensors_from_gguf(gguf *g);
/* Over the text of a config.json and open safetensors, which it takes, also on failure; `folder` stands in messages and names the model. */
tensors *tensors_from_hf(sv config, safetensors *s, const char *folder, gv_err *err) GV_MUST_USE;
void tensors_close(tensors *t);

const char *tensors_path(const tensors *t);
bool tensors_is_folder(const tensors *t);
/* The hyperparameters: the GGUF's own keys, or those made from config.json (then without tokenizer and tensors).  Always has
 * general.architecture. */
const gguf *tensors_keys(const tensors *t);
/* The folder's files and configuration; NULL for a GGUF. */
const safetensors *tensors_hf(const tensors *t);
const hf_config *tensors_hf_config(const tensors *t);

/* In the order of the GGUF, or for a folder in that of the layers. */
size_t tensors_count(const tensors *t);
const tensor_view *tensors_at(const tensors *t, size_t i);
const tensor_view *tensors_find(const tensors *t, const char *name); /* NULL if absent */
/* The i of a view that tensors_at or tensors_find gave. */
size_t tensors_number(const tensors *t, const tensor_view *v);

/* Row r (elements ne[0], or one element of a vector) of a tensor, as GGUF numbers rows.  With rope_heads the stored rows of each head are two
 * halves whose rows GGUF takes in turn, so that RoPE turns neighbours. */
static inline const uint8_t *tensor_row(const tensor_view *v, int64_t r) {
    const int64_t rows = v->n_dims > 1 ? v->ne[1] * v->ne[2] * v->ne[3] : v->ne[0];
    const size_t row_bytes = v->n_bytes / (size_t)rows;
    if (v->rope_heads) {
        const int64_t width = rows / v->rope_heads, head = r / width, i = r % width;
        r = head * width + (i % 2) * (width / 2) + i / 2;
    }
    return v->data + (size_t)r * row_bytes;
}

/* The files that the bytes come from: the GGUF or its parts in order, or config.json and the safetensors. None for memory. */
size_t tensors_n_files(const tensors *t);
const char *tensors_file_name(const tensors *t, size_t file); /* without the folder */
const file_map *tensors_file_map(const tensors *t, size_t file);
/* One identity for all files: it changes with any of them. False for memory. */
bool tensors_identity(const tensors *t, file_id *id);
/* Tells the kernel that these bytes of a mapped file are not needed again (any thread; rounds inward to pages). */
void tensors_drop(const tensors *t, const uint8_t *from, size_t n);
/* The same for everything. */
void tensors_drop_all(const tensors *t);

#endif
