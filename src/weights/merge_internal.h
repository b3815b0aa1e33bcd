/* Inside of merging: the recipe, and one tensor's computation. */
#ifndef GAVEL_WEIGHTS_MERGE_INTERNAL_H
#define GAVEL_WEIGHTS_MERGE_INTERNAL_H

#include "base/json.h"
#include "modelfile/tensors.h"
#include "tok/tok.h"
#include "weights/merge.h"

enum { MERGE_MAX_MODELS = 64, MERGE_CHUNK = 16384 /* elements a worker computes at a time */ };

/* ---- merge_recipe.c ---- */

typedef enum merge_method { MERGE_LINEAR, MERGE_SLERP, MERGE_TASK_ARITHMETIC, MERGE_TIES, MERGE_DARE_TIES, MERGE_DARE_LINEAR } merge_method;

/* Layers [first, end) with settings of their own; a recipe of whole models is one slice, whose end is -1. */
typedef struct merge_slice {
    int64_t first, end;
    const json_value *parameters;                 /* of all inputs; NULL: none */
    const json_value *of_input[MERGE_MAX_MODELS]; /* an input's own; NULL: none */
} merge_slice;

typedef struct merge_recipe {
    json_doc *doc;
    merge_method method;
    char *input[MERGE_MAX_MODELS]; /* models as the recipe names them, in its order; a base that is not listed comes last */
    size_t n;
    int base;           /* which input is base_model; -1: none */
    merge_slice *slice; /* in the order of the layers, without gaps */
    size_t n_slices;
    int tokenizer;      /* the input whose tokenizer the result gets; -1: the base's or the first's */
    bool auto_template; /* the chat template that most inputs have */
    sv chat_template;   /* the result's; empty: the tokenizer's own */
    bool has_dtype, has_out_dtype;
    dtype type, out_type;
    const json_value *parameters; /* of all models; NULL: none */
} merge_recipe;

/* Everything that can be checked without a model is. */
bool merge_recipe_parse(merge_recipe *r, sv text, gv_err *err) GV_MUST_USE;
void merge_recipe_fini(merge_recipe *r);
const char *merge_method_name(merge_method m);

/* Where a tensor stands: its slice, and how far in its layers, from 0 (the first) to 1 (the last, or the only one).  What is in no layer stands at 0, the
 * embedding in the first slice and what follows the layers in the last. */
typedef struct merge_place {
    const merge_slice *slice;
    double depth;
} merge_place;
merge_place merge_place_of(const merge_recipe *r, const char *tensor, int64_t layers);

/* A parameter of a tensor: the input's own (input >= 0), else its slice's, else the recipe's, else `unset`.  Lists run over the depth, filters pick
 * tensors by part of their names. */
double merge_setting(const merge_recipe *r, int input, const char *key, const char *tensor, merge_place place, double unset);

/* ---- merge_math.c ---- */

typedef struct merge_cut { /* what sparsifying one input needs to know of the whole tensor */
    uint32_t threshold;    /* bits of the smallest magnitude kept */
    int64_t quota;         /* how many of exactly this magnitude are kept, the first ones */
    int64_t *before;       /* of these, how many stand before a chunk; NULL: nothing is cut by magnitude */
    float scale;           /* of what is kept */
} merge_cut;

typedef struct merge_job {
    merge_method method;
    dtype work; /* in which mergekit would compute */
    dtype out;
    const char *name;
    const tensor_view *in[MERGE_MAX_MODELS];
    size_t n_in;
    int base;
    int64_t n; /* elements */
    double weight[MERGE_MAX_MODELS], density[MERGE_MAX_MODELS];
    bool normalize, rescale;
    double lambda, t;
    uint64_t seed;
    pool *threads;
    float *scratch; /* (MERGE_SCRATCH + n_in) * MERGE_CHUNK floats a worker */
    /* Made by merge_job_prepare. */
    merge_cut cut[MERGE_MAX_MODELS];
    float coef_a, coef_b; /* slerp */
    uint32_t key[2];      /* of the masks of dare */
} merge_job;

enum { MERGE_SCRATCH = 3 };

/* What the method must know of the whole tensor before its first element.  Errors name the tensor. */
bool merge_job_prepare(merge_job *j, gv_err *err) GV_MUST_USE;
/* Elements [first, first + n) of the result to dst, as j->out; first is a multiple of MERGE_CHUNK. */
bool merge_job_run(merge_job *j, int64_t first, int64_t n, void *dst, gv_err *err) GV_MUST_USE;
void merge_job_fini(merge_job *j);

/* ---- merge_folder.c ---- */

typedef struct merge_model {
    const char *name; /* as the recipe names it; the recipe's */
    char *path;       /* where it lies */
    tensors *t;
} merge_model;

/* The input whose config.json the result gets: the base or the first. */
size_t merge_donor(const merge_recipe *r);
/* config.json, tokenizer files, recipe and card into the folder; `chat_template` empty: the tokenizer's own. */
bool merge_write_files(const char *folder, const merge_options *o, const merge_recipe *r, sv text, sv chat_template, const merge_model *m,
                       gv_err *err) GV_MUST_USE;

/* The folder under which the output grows: OUT.partial, locked, emptied of what a killed merge left. */
typedef struct merge_stage {
    char *out, *path;
    int fd;
} merge_stage;
bool merge_stage_open(merge_stage *s, const char *out, gv_err *err) GV_MUST_USE;
bool merge_stage_commit(merge_stage *s, gv_err *err) GV_MUST_USE;
/* Removes it if it was not committed. */
void merge_stage_close(merge_stage *s);

#endif
