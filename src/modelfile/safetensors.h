/* Safetensors: one file, or a model folder of one or several shards, mapped and checked whole at open.
 *
 * Format: u64 header length, a JSON object { name: { "dtype", "shape", "data_offsets" } } with an optional "__metadata__" of strings, then the
 * data.  Several shards are named by model.safetensors.index.json.  All bytes are untrusted: the rules and caps are those of docs/formats.md.
 * Names and shapes are the file's own, as Hugging Face has them; tensors.h gives them GGUF's.  Tensor data is never touched at open.  An open
 * one is immutable; any number of threads may read it. */
#ifndef GAVEL_MODELFILE_SAFETENSORS_H
#define GAVEL_MODELFILE_SAFETENSORS_H

#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "modelfile/gguf.h" /* tensor_view */

/* Caps, checked at open. */
#define SAFETENSORS_MAX_HEADER_BYTES 25000000
#define SAFETENSORS_MAX_TENSORS      65536
#define SAFETENSORS_MAX_NAME_BYTES   255
#define SAFETENSORS_MAX_DIMS         4
#define SAFETENSORS_MAX_SHARDS       1024

#define SAFETENSORS_SINGLE "model.safetensors"
#define SAFETENSORS_INDEX  "model.safetensors.index.json"

typedef struct safetensors safetensors;

/* One file.  Errors are "PATH: ...".  NULL on failure. */
safetensors *safetensors_open(const char *path, gv_err *err) GV_MUST_USE;
/* The same over borrowed memory that outlives it (tests, fuzzing); `name` stands for the path in messages. */
safetensors *safetensors_open_memory(const void *p, size_t n, const char *name, gv_err *err) GV_MUST_USE;
/* model.safetensors of the folder, or else the shards that model.safetensors.index.json names: plain file names of this folder, every tensor
 * of the index in its shard, every tensor of a shard in the index. */
safetensors *safetensors_open_folder(const char *folder, gv_err *err) GV_MUST_USE;
/* The end of a message about a folder that cannot be read as a model: what it holds instead ("; it holds ..."), or "". */
const char *safetensors_instead(const char *folder);
void safetensors_close(safetensors *s);

/* Tensors of all shards, in byte order of their names.  F32, F16 and BF16 only.  A scalar has n_dims 0; a dimension may be 0 (then n_bytes
 * is 0 and data must not be read). */
size_t safetensors_count(const safetensors *s);
const tensor_view *safetensors_at(const safetensors *s, size_t i);
/* NULL if absent. */
const tensor_view *safetensors_find(const safetensors *s, const char *name);

/* The i of a view that safetensors_at or safetensors_find gave. */
size_t safetensors_number(const safetensors *s, const tensor_view *v);

/* The files, in byte order of their names. */
size_t safetensors_n_files(const safetensors *s);
const char *safetensors_file_name(const safetensors *s, size_t file);    /* without the folder */
const file_map *safetensors_file_map(const safetensors *s, size_t file); /* NULL for memory */

#endif
