/* Merges the weights of models by a recipe of mergekit's keys: linear, slerp, task_arithmetic, ties, dare_ties, dare_linear, computed as mergekit
 * 0.1.5 defines them (docs/merge.md).
 *
 * Streamed: a tensor is read from the mapped inputs chunk by chunk, several times where a method needs sums or a threshold, and written in slices, so
 * memory does not grow with the models.  The output is a Hugging Face folder that appears under its name when all of it is on the disk, or not at
 * all.  Equal inputs, recipe and seed give equal bytes for every number of threads. */
#ifndef GAVEL_WEIGHTS_MERGE_H
#define GAVEL_WEIGHTS_MERGE_H

#include "base/thread.h"

#include <stddef.h>

typedef struct merge_progress {
    size_t tensor, n_tensors;     /* tensors done; the total */
    uint64_t done_bytes, n_bytes; /* written; the total */
    const char *name;             /* the tensor that is done; NULL: the inputs are being hashed */
} merge_progress;

typedef struct merge_options {
    const char *recipe, *out;
    uint64_t seed;            /* of dare's masks */
    uint64_t max_shard_bytes; /* 0: the writer's default */
    pool *threads;
    /* Where a model of the recipe lies: *path is the callee's (malloc). */
    bool (*locate)(void *ctx, const char *model, char **path, gv_err *err);
    /* After each tensor; false: stop, which is GV_INTERRUPTED.  NULL: none. */
    bool (*progress)(void *ctx, const merge_progress *p);
    void *ctx; /* of both */
} merge_options;

typedef struct merge_stats {
    size_t n_tensors, n_models;
    uint64_t bytes; /* of all tensors written */
} merge_stats;

bool weights_merge(const merge_options *o, merge_stats *stats, gv_err *err) GV_MUST_USE;

#endif
