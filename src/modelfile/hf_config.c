/* See hf_config.h.  Fields and defaults are those of transformers' configuration classes LlamaConfig, MistralConfig, MixtralConfig and Qwen2Config.
 *
 * A field that changes what a model computes and has a value that we do not compute is an error; fields that only training reads are not looked at.
 * In transformers 5 rope_theta and rope_scaling have become rope_parameters; both are read. */
#include "modelfile/hf_config.h"

#include "base/json.h"
#include "base/mem.h"
#include "modelfile/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an architecture's class assumes if the file does not say. */
typedef struct family {
    const char *model_type, *class_name, *arch;
    int64_t embd, ff, layers, heads, heads_kv, context, vocab, window; /* heads_kv 0: heads */
    double norm_eps, rope_theta;
    int64_t experts, experts_used;
    bool bias_field; /* attention_bias and mlp_bias exist */
} family;

static const family families[] = {
    {"llama", "LlamaForCausalLM", "llama", 4096, 11008, 32, 32, 0, 2048, 32000, 0, 1e-6, 1e4, 0, 0, true},
    {"mistral", "MistralForCausalLM", "llama", 4096, 14336, 32, 32, 8, 131072, 32000, 4096, 1e-6, 1e4, 0, 0, false},
    {"mixtral", "MixtralForCausalLM", "llama", 4096, 14336, 32, 32, 8, 131072, 32000, 0, 1e-5, 1e6, 8, 2, false},
    {"qwen2", "Qwen2ForCausalLM", "qwen2", 4096, 22016, 32, 32, 32, 32768, 151936, 4096, 1e-6, 1e4, 0, 0, false},
};

static bool is_kind(const json_value *v, json_kind k) {
    return v && json_kind_of(v) == k;
}
/* Absent and null are the same to transformers where a default is None. */
static bool is_given(const json_value *v) {
    return v && json_kind_of(v) != JSON_NULL;
}

static void show(const json_value *v, str_shown *out) {
    buf text = {0};
    json_put_value(&text, v);
    *out = str_show(buf_view(&text));
    buf_fini(&text);
}

static bool get_int(const json_value *o, const char *key, int64_t lo, int64_t hi, int64_t otherwise, int64_t *out, gv_err *err) {
    const json_value *v = json_get(o, key);
    str_shown shown;
    *out = otherwise;
    if (!is_given(v)) return true;
    if (json_int64(v, out) && *out >= lo && *out <= hi) return true;
    show(v, &shown);
    return gv_fail(err, GV_FORMAT, -1, "%s = %s, expected %lld to %lld", key, shown.text, (long long)lo, (long long)hi);
}

static bool get_number(const json_value *o, const char *key, double lo, double hi, double otherwise, double *out, gv_err *err) {
    const json_value *v = json_get(o, key);
    str_shown shown;
    *out = otherwise;
    if (!is_given(v)) return true;
    if (is_kind(v, JSON_NUMBER) && json_double(v, out) && *out >= lo && *out <= hi) return true;
    show(v, &shown);
    return gv_fail(err, GV_FORMAT, -1, "%s = %s, expected %g to %g", key, shown.text, lo, hi);
}

static bool get_bool(const json_value *o, const char *key, bool otherwise, bool *out, gv_err *err) {
    const json_value *v = json_get(o, key);
    str_shown shown;
    *out = otherwise;
    if (!is_given(v)) return true;
    if (is_kind(v, JSON_BOOL)) {
        *out = json_bool(v);
        return true;
    }
    show(v, &shown);
    return gv_fail(err, GV_FORMAT, -1, "%s = %s, expected true or false", key, shown.text);
}

/* A field that must have one value (or be absent): anything else is not computed. */
static bool must_be(const json_value *o, const char *key, const char *const *allowed, gv_err *err) {
    const json_value *v = json_get(o, key);
    if (!is_given(v)) return true;
    str_shown shown;
    show(v, &shown);
    buf all = {0};
    for (; *allowed; allowed++) {
        if (strcmp(shown.text, *allowed) == 0) {
            buf_fini(&all);
            return true;
        }
        buf_printf(&all, "%s%s", all.n ? " or " : "", *allowed);
    }
    gv_fail(err, GV_UNSUPPORTED, -1, "%s = %s: gavel computes %s", key, shown.text, all.p);
    buf_fini(&all);
    return false;
}

/* ---- which model ---- */

static bool check_classes(const json_value *classes, const family *f, gv_err *err) {
    for (json_iter it = json_each(classes); json_next(&it);) {
        if (is_kind(it.value, JSON_STRING) && sv_is(json_string(it.value), f->class_name)) continue;
        str_shown shown;
        show(it.value, &shown);
        return gv_fail(err, GV_UNSUPPORTED, -1, "architectures has %s, expected \"%s\" for model_type \"%s\"", shown.text, f->class_name,
                       f->model_type);
    }
    return true;
}

static const family *find_family(const json_value *root, gv_err *err) {
    const json_value *type = json_get(root, "model_type"), *classes = json_get(root, "architectures");
    const family *f = NULL;
    if (!is_kind(type, JSON_STRING)) {
        gv_fail(err, GV_FORMAT, -1, "model_type is %s, expected a string", type ? json_kind_name(type) : "missing");
        return NULL;
    }
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (sv_is(json_string(type), families[i].model_type)) f = &families[i];
    if (!f) {
        gv_fail(err, GV_UNSUPPORTED, -1, "model_type \"%s\" is not supported; llama, mistral, mixtral and qwen2 are",
                str_show(json_string(type)).text);
        return NULL;
    }
    return !is_kind(classes, JSON_ARRAY) || check_classes(classes, f, err) ? f : NULL;
}

/* ---- parts ---- */

static bool read_sizes(const json_value *r, const family *f, hf_config *c, gv_err *err) {
    enum { WIDTH = 1 << 20 };
    if (!get_int(r, "num_hidden_layers", 1, HF_MAX_LAYERS, f->layers, &c->layers, err) ||
        !get_int(r, "hidden_size", 1, WIDTH, f->embd, &c->embd, err) || !get_int(r, "intermediate_size", 1, WIDTH, f->ff, &c->ff, err) ||
        !get_int(r, "num_attention_heads", 1, 1024, f->heads, &c->heads, err) ||
        !get_int(r, "num_key_value_heads", 1, 1024, f->heads_kv ? f->heads_kv : c->heads, &c->heads_kv, err) ||
        !get_int(r, "max_position_embeddings", 1, INT32_MAX, f->context, &c->context, err) ||
        !get_int(r, "vocab_size", 1, 1 << 22, f->vocab, &c->vocab, err) ||
        !get_number(r, "rms_norm_eps", 0, 1, f->norm_eps, &c->norm_eps, err) || !get_bool(r, "tie_word_embeddings", false, &c->tied, err))
        return false;
    const json_value *width = json_get(r, "head_dim");
    if (!is_given(width) && c->embd % c->heads)
        return gv_fail(err, GV_FORMAT, -1, "hidden_size = %lld is no multiple of num_attention_heads = %lld, and there is no head_dim",
                       (long long)c->embd, (long long)c->heads);
    if (!get_int(r, "head_dim", 2, 512, c->embd / c->heads, &c->head_dim, err)) return false;
    if (c->head_dim % 2) return gv_fail(err, GV_UNSUPPORTED, -1, "head_dim = %lld is odd", (long long)c->head_dim);
    if (c->heads % c->heads_kv)
        return gv_fail(err, GV_FORMAT, -1, "num_attention_heads = %lld is no multiple of num_key_value_heads = %lld", (long long)c->heads,
                       (long long)c->heads_kv);
    if (!f->experts) return true;
    return get_int(r, "num_local_experts", 1, HF_MAX_EXPERTS, f->experts, &c->experts, err) &&
           get_int(r, "num_experts_per_tok", 1, c->experts, f->experts_used, &c->experts_used, err);
}

/* Mistral and Mixtral: sliding_window, null for none.  Qwen2: only with use_sliding_window, and then from layer max_window_layers on. */
static bool read_window(const json_value *r, const family *f, hf_config *c, gv_err *err) {
    const json_value *v = json_get(r, "sliding_window");
    const bool qwen2 = strcmp(f->model_type, "qwen2") == 0;
    bool used = strcmp(f->model_type, "llama") != 0;
    int64_t first = 0;
    if (qwen2 && (!get_bool(r, "use_sliding_window", false, &used, err) || !get_int(r, "max_window_layers", 0, INT32_MAX, 28, &first, err)))
        return false;
    if (!used || (v && json_kind_of(v) == JSON_NULL)) return true;
    if (!get_int(r, "sliding_window", 1, INT32_MAX, f->window, &c->window, err)) return false;
    for (int64_t i = first; i < c->layers; i++) c->has_window[i] = true;
    return true;
}

/* layer_types says of each layer what it sees.  Qwen2 goes by it; the other families do not read it, so it may only say what they do. */
static bool read_layer_types(const json_value *r, const family *f, hf_config *c, gv_err *err) {
    static const char *const types[] = {"full_attention", "sliding_attention"};
    const json_value *v = json_get(r, "layer_types");
    const bool qwen2 = strcmp(f->model_type, "qwen2") == 0;
    int64_t i = 0;
    if (!is_given(v)) return true;
    if (!is_kind(v, JSON_ARRAY) || (int64_t)json_size(v) != c->layers)
        return gv_fail(err, GV_FORMAT, -1, "layer_types is %s of %zu, expected an array of %lld layers", json_kind_name(v), json_size(v),
                       (long long)c->layers);
    for (json_iter it = json_each(v); json_next(&it); i++) {
        const sv type = is_kind(it.value, JSON_STRING) ? json_string(it.value) : (sv){"", 0};
        const bool slides = sv_is(type, types[1]);
        if (!slides && !sv_is(type, types[0]))
            return gv_fail(err, GV_UNSUPPORTED, -1, "layer_types[%lld] is \"%s\": gavel computes %s and %s", (long long)i,
                           str_show(type).text, types[0], types[1]);
        if (slides && !c->window)
            return gv_fail(err, GV_FORMAT, -1, "layer_types[%lld] is %s, but there is no window (%s)", (long long)i, types[1],
                           qwen2 ? "use_sliding_window, sliding_window" : "sliding_window");
        if (!qwen2 && slides != c->has_window[i])
            return gv_fail(err, GV_UNSUPPORTED, -1, "layer_types[%lld] is %s: gavel computes %s in all layers of model_type \"%s\"",
                           (long long)i, types[slides], types[!slides], f->model_type);
        c->has_window[i] = slides;
    }
    return true;
}

static bool read_windows(const json_value *r, const family *f, hf_config *c, gv_err *err) {
    if (!read_window(r, f, c, err) || !read_layer_types(r, f, c, err)) return false;
    for (int64_t i = 0; i < c->layers; i++) c->window_layers += c->has_window[i];
    if (c->window_layers == 0) c->window = 0; /* no layer has it */
    return true;
}

static bool read_rope_type(const json_value *scaling, hf_config *c, gv_err *err) {
    static const char *const types[] = {"default", "linear", "llama3", "yarn"};
    const json_value *type = json_get(scaling, "rope_type");
    if (!is_given(type)) type = json_get(scaling, "type");
    if (!is_given(type)) return true;
    for (size_t i = 0; is_kind(type, JSON_STRING) && i < sizeof types / sizeof *types; i++)
        if (sv_is(json_string(type), types[i])) {
            snprintf(c->rope_type, sizeof c->rope_type, "%s", types[i]);
            return true;
        }
    str_shown shown;
    show(type, &shown);
    return gv_fail(err, GV_UNSUPPORTED, -1, "rope_type %s: gavel computes default, linear, llama3 and yarn", shown.text);
}

static bool read_rope(const json_value *r, const family *f, hf_config *c, gv_err *err) {
    const json_value *v5 = json_get(r, "rope_parameters"), *v4 = json_get(r, "rope_scaling");
    const json_value *scaling = is_given(v5) ? v5 : is_given(v4) ? v4 : NULL;
    const json_value *theta = is_given(json_get(r, "rope_theta")) || !scaling ? r : scaling;
    snprintf(c->rope_type, sizeof c->rope_type, "default");
    if (!get_number(theta, "rope_theta", 1, 1e12, f->rope_theta, &c->rope_theta, err)) return false;
    if (!scaling) return true;
    if (!is_kind(scaling, JSON_OBJECT))
        return gv_fail(err, GV_FORMAT, -1, "rope_scaling is %s, expected an object or null", json_kind_name(scaling));
    if (!read_rope_type(scaling, c, err)) return false;
    if (strcmp(c->rope_type, "default") == 0) return true;
    if (!is_given(json_get(scaling, "factor"))) return gv_fail(err, GV_FORMAT, -1, "rope_scaling has no factor");
    return get_number(scaling, "factor", 1, 1e6, 1, &c->rope_factor, err) &&
           get_number(scaling, "low_freq_factor", 1e-6, 1e6, 1, &c->rope_low, err) &&
           get_number(scaling, "high_freq_factor", 1e-6, 1e6, 4, &c->rope_high, err) &&
           get_number(scaling, "beta_fast", 1e-3, 1e6, 32, &c->rope_beta_fast, err) &&
           get_number(scaling, "beta_slow", 1e-3, 1e6, 1, &c->rope_beta_slow, err) &&
           get_number(scaling, "attention_factor", 1e-3, 1e3, 0, &c->rope_attn_factor, err) &&
           get_number(scaling, "mscale", 0, 1e3, 0, &c->rope_mscale, err) &&
           get_number(scaling, "mscale_all_dim", 0, 1e3, 0, &c->rope_mscale_all_dim, err) &&
           get_bool(scaling, "truncate", true, &c->rope_truncate, err) &&
           get_int(scaling, "original_max_position_embeddings", 1, INT32_MAX, c->context, &c->rope_original, err);
}

/* The tensors' own types. */
static bool says_auto(const json_value *r, const char *key) {
    const json_value *v = json_get(r, key);
    return is_kind(v, JSON_STRING) && sv_is(json_string(v), "auto");
}

static bool check_fixed(const json_value *r, const family *f, gv_err *err) {
    static const char *const silu[] = {"\"silu\"", "\"swish\"", NULL}, *const no[] = {"false", NULL}, *const one[] = {"1", "1.0", NULL};
    static const char *const types[] = {"\"bfloat16\"", "\"float16\"", "\"float32\"", NULL};
    if (!must_be(r, "hidden_act", silu, err) || !must_be(r, "mlp_bias", no, err) ||
        (!says_auto(r, "torch_dtype") && !must_be(r, "torch_dtype", types, err)) ||
        (!says_auto(r, "dtype") && !must_be(r, "dtype", types, err)) || !must_be(r, "partial_rotary_factor", one, err))
        return false;
    if (!f->bias_field && !must_be(r, "attention_bias", no, err)) return false;
    if (is_given(json_get(r, "quantization_config")))
        return gv_fail(err, GV_UNSUPPORTED, -1,
                       "quantization_config: gavel reads folders of F32, F16 and BF16 weights and quantises itself (--weights)");
    return true;
}

static void read_name(const json_value *r, hf_config *c) {
    const json_value *v = json_get(r, "_name_or_path");
    if (!is_kind(v, JSON_STRING)) return;
    sv s = json_string(v);
    while (s.n && s.p[s.n - 1] == '/') s.n--;
    for (size_t i = s.n; i > 0; i--)
        if (s.p[i - 1] == '/') {
            s = sv_sub(s, i, s.n - i);
            break;
        }
    if (s.n < sizeof c->name && !memchr(s.p, 0, s.n)) snprintf(c->name, sizeof c->name, SV_FMT, SV_ARG(s));
}

bool hf_config_parse(sv text, hf_config *c, gv_err *err) {
    memset(c, 0, sizeof *c);
    json_doc *d = json_parse(text, err);
    if (!d) return false;
    const json_value *r = json_root(d);
    bool ok = false;
    if (json_kind_of(r) != JSON_OBJECT) {
        gv_fail(err, GV_FORMAT, -1, "%s, expected an object", json_kind_name(r));
    } else {
        const family *f = find_family(r, err);
        ok = f && read_sizes(r, f, c, err) && read_windows(r, f, c, err) && read_rope(r, f, c, err) && check_fixed(r, f, err);
        if (ok) c->arch = f->arch, c->model_type = f->model_type;
        if (ok) read_name(r, c);
    }
    json_free(d);
    return ok;
}

/* ---- keys ---- */

static const char *key_of(const hf_config *c, const char *suffix, char text[96]) {
    snprintf(text, 96, "%s.%s", c->arch, suffix);
    return text;
}

static void put_rope(const hf_config *c, gguf_out *o) {
    char key[96];
    gguf_out_u32(o, key_of(c, "rope.dimension_count", key), (uint32_t)c->head_dim);
    gguf_out_f32(o, key_of(c, "rope.freq_base", key), (float)c->rope_theta);
    const bool yarn = strcmp(c->rope_type, "yarn") == 0;
    if (!yarn && strcmp(c->rope_type, "linear") != 0) return; /* llama3 is the tensor rope_freqs.weight */
    gguf_out_string(o, key_of(c, "rope.scaling.type", key), sv_of(c->rope_type));
    gguf_out_f32(o, key_of(c, "rope.scaling.factor", key), (float)c->rope_factor);
    if (!yarn) return;
    gguf_out_u32(o, key_of(c, "rope.scaling.original_context_length", key), (uint32_t)c->rope_original);
    gguf_out_f32(o, key_of(c, "rope.scaling.yarn_beta_fast", key), (float)c->rope_beta_fast);
    gguf_out_f32(o, key_of(c, "rope.scaling.yarn_beta_slow", key), (float)c->rope_beta_slow);
    if (c->rope_attn_factor > 0) gguf_out_f32(o, key_of(c, "rope.scaling.yarn_attn_factor", key), (float)c->rope_attn_factor);
    if (c->rope_mscale > 0) gguf_out_f32(o, key_of(c, "rope.scaling.yarn_mscale", key), (float)c->rope_mscale);
    if (c->rope_mscale_all_dim > 0) gguf_out_f32(o, key_of(c, "rope.scaling.yarn_mscale_all_dim", key), (float)c->rope_mscale_all_dim);
    if (!c->rope_truncate) gguf_out_bool(o, key_of(c, "rope.scaling.yarn_truncate", key), false);
}

/* The pattern says of each layer whether it has the window; without it all have. */
static void put_window(const hf_config *c, gguf_out *o) {
    char key[96];
    if (!c->window) return;
    gguf_out_u32(o, key_of(c, "attention.sliding_window", key), (uint32_t)c->window);
    if (c->window_layers == c->layers) return;
    gguf_out_bools(o, key_of(c, "attention.sliding_window_pattern", key), c->has_window, (size_t)c->layers);
}

bool hf_config_keys(const hf_config *c, const char *name, buf *out, gv_err *err) {
    char key[96];
    gguf_out *o = gguf_out_new();
    gguf_out_string(o, "general.architecture", sv_of(c->arch));
    gguf_out_string(o, "general.name", sv_of(name));
    gguf_out_u32(o, key_of(c, "block_count", key), (uint32_t)c->layers);
    gguf_out_u32(o, key_of(c, "context_length", key), (uint32_t)c->context);
    gguf_out_u32(o, key_of(c, "embedding_length", key), (uint32_t)c->embd);
    gguf_out_u32(o, key_of(c, "feed_forward_length", key), (uint32_t)c->ff);
    gguf_out_u32(o, key_of(c, "attention.head_count", key), (uint32_t)c->heads);
    gguf_out_u32(o, key_of(c, "attention.head_count_kv", key), (uint32_t)c->heads_kv);
    gguf_out_u32(o, key_of(c, "attention.key_length", key), (uint32_t)c->head_dim);
    gguf_out_u32(o, key_of(c, "attention.value_length", key), (uint32_t)c->head_dim);
    gguf_out_f32(o, key_of(c, "attention.layer_norm_rms_epsilon", key), (float)c->norm_eps);
    gguf_out_u32(o, key_of(c, "vocab_size", key), (uint32_t)c->vocab);
    put_window(c, o);
    if (c->experts) gguf_out_u32(o, key_of(c, "expert_count", key), (uint32_t)c->experts);
    if (c->experts) gguf_out_u32(o, key_of(c, "expert_used_count", key), (uint32_t)c->experts_used);
    put_rope(c, o);
    const bool ok = gguf_out_bytes(o, out, err);
    gguf_out_free(o);
    return ok;
}
