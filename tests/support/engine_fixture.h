/* A model, its tokenizer and an engine, opened together for a test.  Failures end the test with the error's message. */
#ifndef GAVEL_TESTS_ENGINE_FIXTURE_H
#define GAVEL_TESTS_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/thread.h"
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct fixture {
    pool *threads;
    tok *t;
    model *m;
    engine *e;
} fixture;

typedef struct fixture_options {
    const char *path; /* GGUF or folder */
    const char *mix;  /* quantised to while loading; NULL: not */
    kern_set set;
    kern_kv_type kv;
    int threads, batch, chunk, step_tokens;
    int64_t ctx;   /* 0: the model's */
    int32_t pages; /* 0: enough for everyone */
    bool no_cache;
    void (*on_logits)(void *ctx, uint64_t id, int32_t position, const float *logits);
    void *ctx_of_hook;
} fixture_options;

static inline bool fixture_has_kernels(kern_set set) {
    return kern_get(set) != NULL;
}

static inline void fixture_open(fixture *f, const fixture_options *o) {
    gv_err err = GV_ERR_INIT;
    f->threads = pool_new(o->threads ? o->threads : 1, &err);
    tensors *file = tensors_open(o->path, &err);
    if (!file) fail_msg("%s", err.msg);
    f->t = tok_from_tensors(file, &err);
    if (!f->t) fail_msg("%s", err.msg);
    const quant_mix *mix = o->mix ? quant_mix_by_name(o->mix, &err) : NULL;
    if (o->mix && !mix) fail_msg("%s", err.msg);
    f->m = model_open(file, mix, o->ctx, 0, f->threads, &err);
    if (!f->m) fail_msg("%s", err.msg);
    engine_options e = {.kern = kern_get(o->set),
                        .kv_type = o->kv,
                        .max_batch = o->batch ? o->batch : 4,
                        .prompt_chunk = o->chunk,
                        .max_ctx = f->m->n_pos,
                        .no_prefix_cache = o->no_cache,
                        .on_logits = o->on_logits,
                        .on_logits_ctx = o->ctx_of_hook,
                        .check_kv = true};
    e.step_tokens = o->step_tokens ? o->step_tokens : 512;
    e.n_pages = o->pages ? o->pages : (int32_t)((e.max_ctx + 31) / 32) * e.max_batch;
    f->e = engine_new(f->m, f->t, f->threads, &e, &err);
    if (!f->e) fail_msg("%s", err.msg);
}

static inline void fixture_close(fixture *f) {
    engine_free(f->e);
    model_free(f->m);
    tok_free(f->t);
    pool_free(f->threads);
}

#endif
