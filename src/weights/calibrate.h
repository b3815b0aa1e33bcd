/* Measures the importance of inputs: prompts go through the engine, and for each matrix of each layer the squares of each input are summed. */
#ifndef GAVEL_WEIGHTS_CALIBRATE_H
#define GAVEL_WEIGHTS_CALIBRATE_H

#include "base/thread.h"
#include "kern/kern.h"

typedef struct calibrate_options {
    const char *model;   /* GGUF file or folder */
    const char *prompts; /* JSON lines with "prompt", as gavel render prints them; "-" is standard input */
    const char *out;     /* imatrix.h's format */
    const kern_ops *kern;
    pool *threads;
    int64_t ctx; /* tokens of a prompt that count; 0 = 2,048, or what the model has if that is less */
    /* After each prompt; false: stop, which is GV_INTERRUPTED.  NULL: none. */
    bool (*progress)(void *ctx, int64_t prompts, int64_t tokens);
    void *progress_ctx;
} calibrate_options;

/* Written atomically; the same model and prompts give the same bytes. */
bool weights_calibrate(const calibrate_options *o, gv_err *err) GV_MUST_USE;

#endif
