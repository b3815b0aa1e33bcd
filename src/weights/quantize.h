/* Quantises a whole model: a GGUF file or a Hugging Face folder to a GGUF file that gavel and llama.cpp load.
 *
 * Streamed: a slice of a tensor is read, quantised on all threads and written before the next, so memory does not grow with the model.  The output
 * appears under its name when all of it is on the disk, or not at all.  Equal inputs give equal bytes. */
#ifndef GAVEL_WEIGHTS_QUANTIZE_H
#define GAVEL_WEIGHTS_QUANTIZE_H

#include "base/thread.h"
#include "modelfile/quant_mix.h"
#include "weights/imatrix.h"

typedef struct quantize_progress {
    size_t tensor, n_tensors;     /* tensors done; the total */
    size_t done_bytes, n_bytes;   /* written; the total */
    const char *name, *from, *to; /* the tensor that is done, its type before and after */
} quantize_progress;

typedef struct quantize_options {
    const char *model, *out;
    const quant_mix *mix;
    const imatrix *importance; /* NULL: all inputs count the same */
    bool requantize;
    pool *threads;
    /* After each tensor; false: stop, which is GV_INTERRUPTED.  NULL: none. */
    bool (*progress)(void *ctx, const quantize_progress *p);
    void *progress_ctx;
} quantize_options;

typedef struct quantize_stats {
    size_t from_bytes, to_bytes; /* of all tensors */
    size_t n_weighted;           /* tensors that had importance */
    int64_t elements;
} quantize_stats;

bool weights_quantize(const quantize_options *o, quantize_stats *stats, gv_err *err) GV_MUST_USE;

#endif
