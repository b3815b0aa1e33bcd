/* Writing a model as safetensors: streamed, in shards with an index, each file replaced atomically.
 *
 * The order of use: add every tensor's name, type and shape; begin; then the data of each tensor in the order added, in pieces of any size; end.
 * Shards are cut between tensors at max_shard_bytes.  With one shard the file is model.safetensors and there is no index; else they are
 * model-0000I-of-0000N.safetensors and model.safetensors.index.json is written last, so that a folder without one is not whole.
 * Until end nothing stands under a final name but shards that are whole. */
#ifndef GAVEL_MODELFILE_SAFETENSORS_OUT_H
#define GAVEL_MODELFILE_SAFETENSORS_OUT_H

#include "base/dtype.h"
#include "base/err.h"
#include "base/str.h"

typedef struct safetensors_out safetensors_out;

/* max_shard_bytes: of tensor data in a file; 0 = 5,000,000,000. */
safetensors_out *safetensors_out_new(uint64_t max_shard_bytes);
void safetensors_out_free(safetensors_out *o); /* drops what was not ended */
/* An entry of every file's __metadata__; {"format": "pt"} is always there. */
void safetensors_out_metadata(safetensors_out *o, const char *key, sv value);
/* F32, F16 or BF16.  Shape as Hugging Face writes it: dims[n_dims - 1] is contiguous. The name is copied. */
bool safetensors_out_add(safetensors_out *o, const char *name, dtype type, const int64_t *dims, uint32_t n_dims, gv_err *err) GV_MUST_USE;
/* folder must exist. */
bool safetensors_out_begin(safetensors_out *o, const char *folder, gv_err *err) GV_MUST_USE;
/* The next bytes of the tensors' data; a piece may span tensors and shards. */
bool safetensors_out_put(safetensors_out *o, const void *p, size_t n, gv_err *err) GV_MUST_USE;
/* GV_STATE unless exactly all bytes were put. */
bool safetensors_out_end(safetensors_out *o, gv_err *err) GV_MUST_USE;

#endif
