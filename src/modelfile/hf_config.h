/* config.json of a Hugging Face model folder: to the hyperparameters as GGUF keys, every field checked. */
#ifndef GAVEL_MODELFILE_HF_CONFIG_H
#define GAVEL_MODELFILE_HF_CONFIG_H

#include "base/dtype.h"
#include "base/err.h"
#include "base/str.h"

enum { HF_MAX_CONFIG_BYTES = 1 << 20, HF_MAX_LAYERS = 1024, HF_MAX_EXPERTS = 256 };

typedef struct hf_config {
    const char *arch;       /* GGUF's name: "llama" (also mistral and mixtral) or "qwen2" */
    const char *model_type; /* Hugging Face's */
    int64_t layers, embd, ff, heads, heads_kv, head_dim, context, vocab;
    int64_t window;        /* keys that a query sees; 0 = all */
    int64_t window_layers; /* how many layers have the window */
    bool has_window[HF_MAX_LAYERS];
    int64_t experts, experts_used; /* 0 = none */
    double norm_eps, rope_theta;
    bool tied;
    char rope_type[16]; /* "default", "linear", "llama3", "yarn" */
    double rope_factor, rope_low, rope_high, rope_beta_fast, rope_beta_slow;
    double rope_attn_factor; /* yarn; 0 = as the factor and the two below say, which are 0 where they are not given */
    double rope_mscale, rope_mscale_all_dim;
    bool rope_truncate; /* yarn: the ramp begins and ends at whole numbers */
    int64_t rope_original;
    char name[256]; /* "_name_or_path" without its folders, or "" */
} hf_config;

/* Errors name the field and both sides, without a path in front. */
bool hf_config_parse(sv text, hf_config *c, gv_err *err) GV_MUST_USE;
/* A GGUF without tensors that holds these hyperparameters under GGUF's keys; `name` is its general.name. */
bool hf_config_keys(const hf_config *c, const char *name, buf *out, gv_err *err) GV_MUST_USE;

#endif
