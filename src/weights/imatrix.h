/* Importance of inputs: for each weight matrix the mean of the squares of each of its inputs, measured over a text (gavel quantize --calibrate, or
 * llama-imatrix).
 *
 * Format: llama.cpp's GGUF form.  general.type is "imatrix"; for each matrix NAME there are two F32 tensors, NAME.in_sum2 [cols, experts] sums of
 * squares and NAME.counts [1, experts] how many inputs they are of.  Immutable once open. */
#ifndef GAVEL_WEIGHTS_IMATRIX_H
#define GAVEL_WEIGHTS_IMATRIX_H

#include "modelfile/gguf.h"

typedef struct imatrix imatrix;

imatrix *imatrix_open(const char *path, gv_err *err) GV_MUST_USE;
/* The same from an open file, which it takes, also on failure. */
imatrix *imatrix_from_gguf(gguf *g, gv_err *err) GV_MUST_USE;
void imatrix_free(imatrix *m);

/* Importance of a matrix with `cols` inputs, n_experts times `cols` values one expert after another; *w is NULL if the file does not have it.  An
 * expert that saw no input gets ones.  GV_FORMAT naming both sides if the shape is another. */
bool imatrix_find(const imatrix *m, const char *name, int64_t cols, int64_t n_experts, const float **w, gv_err *err) GV_MUST_USE;
size_t imatrix_count(const imatrix *m);
/* Name of matrix i. */
const char *imatrix_name(const imatrix *m, size_t i);
/* Over names and values, hex. */
const char *imatrix_sha256(const imatrix *m);

/* Sums to a file that imatrix_open reads.  Borrowed until imatrix_write. */
typedef struct imatrix_sums {
    const char *name; /* of the matrix */
    int64_t cols, n_experts;
    const float *sum2;   /* [n_experts][cols] */
    const float *counts; /* [n_experts] */
} imatrix_sums;
bool imatrix_write(const imatrix_sums *sums, size_t n, const char *dataset, const char *path, gv_err *err) GV_MUST_USE;

#endif
