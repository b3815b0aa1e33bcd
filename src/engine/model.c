/* See model.h.  Binding: hyperparameters, which tensor is which matrix, shapes checked, sizes added up.  Vectors are copied here; what to do
 * for each matrix is a list that model_load.c works off. */
#include "engine/model_internal.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    MAX_LAYERS = 1024,
    MAX_HEADS = 1024,
    MAX_WIDTH = 1 << 20,
    MAX_VOCAB = 1 << 22,
    MAX_POSITIONS = 1 << 20,
    MAX_HEAD_DIM = KERN_MAX_ROT
};

static const model_arch *const archs[] = {&model_arch_llama, &model_arch_qwen2};

void model_key(char key[96], const char *arch, const char *suffix) {
    snprintf(key, 96, "%s.%s", arch, suffix);
}

/* ---- hyperparameters ---- */

static bool get_int(const gguf *g, const char *arch, const char *suffix, int64_t lo, int64_t hi, bool required, int64_t *out, gv_err *err) {
    char key[96];
    uint32_t v = 0;
    bool found = true;
    model_key(key, arch, suffix);
    if (!gguf_get_u32(g, key, &v, required ? NULL : &found, err)) return false;
    if (!found) return true;
    if ((int64_t)v < lo || (int64_t)v > hi)
        return gv_fail(err, GV_FORMAT, -1, "%s = %u, expected %lld to %lld", key, v, (long long)lo, (long long)hi);
    *out = v;
    return true;
}

static bool get_float(const gguf *g, const char *arch, const char *suffix, float lo, float hi, bool required, float *out, gv_err *err) {
    char key[96];
    bool found = true;
    float v = 0;
    model_key(key, arch, suffix);
    if (!gguf_get_f32(g, key, &v, required ? NULL : &found, err)) return false;
    if (!found) return true;
    if (!(v >= lo && v <= hi)) return gv_fail(err, GV_FORMAT, -1, "%s = %g, expected %g to %g", key, (double)v, (double)lo, (double)hi);
    *out = v;
    return true;
}

/* The keys that llama.cpp's converter writes for YaRN.  yarn_attn_factor is the attention_factor of a config and stands for the inferred
 * one, as in transformers; attn_factor comes on top of that, as in llama.cpp. */
static bool read_yarn(const gguf *g, const char *arch, model_shape *s, gv_err *err) {
    kern_yarn *y = &s->yarn;
    int64_t original = s->ctx_train;
    float inferred, own = 1, ext = 1, log_multiplier = 0;
    y->beta_fast = 32, y->beta_slow = 1;
    if (!get_float(g, arch, "rope.scaling.factor", 1, 1e6f, true, &y->factor, err)) return false;
    if (!get_int(g, arch, "rope.scaling.original_context_length", 1, INT32_MAX, false, &original, err)) return false;
    if (!get_float(g, arch, "rope.scaling.yarn_beta_fast", 1e-3f, 1e6f, false, &y->beta_fast, err)) return false;
    if (!get_float(g, arch, "rope.scaling.yarn_beta_slow", 1e-3f, 1e6f, false, &y->beta_slow, err)) return false;
    if (!get_float(g, arch, "rope.scaling.yarn_ext_factor", 1, 1, false, &ext, err)) return false;
    if (!get_float(g, arch, "rope.scaling.yarn_log_multiplier", 0, 0, false, &log_multiplier, err)) return false;
    if (!get_float(g, arch, "rope.scaling.attn_factor", 1e-3f, 1e3f, false, &own, err)) return false;
    inferred = kern_yarn_attention(y->factor, 0, 0);
    if (!get_float(g, arch, "rope.scaling.yarn_attn_factor", 1e-3f, 1e3f, false, &inferred, err)) return false;
    y->original_ctx = (float)original;
    s->rope_attention = inferred * own;
    return true;
}

static bool read_scaling(const gguf *g, const char *arch, model_shape *s, gv_err *err) {
    char key[96];
    sv type = {0};
    bool found = false;
    model_key(key, arch, "rope.scaling.type");
    if (!gguf_get_string(g, key, &type, &found, err)) return false;
    s->rope_divide = s->rope_attention = 1;
    if (!found || sv_is(type, "none")) return true;
    if (sv_is(type, "yarn")) return read_yarn(g, arch, s, err);
    if (!sv_is(type, "linear"))
        return gv_fail(err, GV_UNSUPPORTED, -1, "%s = \"%s\": expected none, linear or yarn (llama3 is tensor rope_freqs.weight)", key,
                       str_show(type).text);
    return get_float(g, arch, "rope.scaling.factor", 1, 1e6f, true, &s->rope_divide, err);
}

/* Mixtral as llama.cpp's converter writes it: softmax over all experts, the weights of those used made to sum to 1. */
static bool read_experts(const gguf *g, const model_arch *arch, model_shape *s, gv_err *err) {
    int64_t n = 0, used = 0, gating = 1;
    if (!get_int(g, arch->name, "expert_count", 0, MODEL_MAX_EXPERTS, false, &n, err)) return false;
    if (n == 0) return true;
    if (!arch->experts_allowed)
        return gv_fail(err, GV_UNSUPPORTED, -1, "%s.expert_count = %lld: experts are supported for llama (Mixtral) only", arch->name,
                       (long long)n);
    if (!get_int(g, arch->name, "expert_used_count", 1, n, true, &used, err)) return false;
    if (!get_int(g, arch->name, "expert_gating_func", 1, 1, false, &gating, err)) return false;
    s->n_expert = (int)n, s->n_expert_used = (int)used;
    return true;
}

static bool read_shape(const gguf *g, const model_arch *arch, model_shape *s, gv_err *err) {
    const char *a = arch->name;
    int64_t layers, embd, ff, heads, heads_kv, head_dim, rot, window = 0;
    s->rope_theta = 10000;
    if (!get_int(g, a, "block_count", 1, MAX_LAYERS, true, &layers, err)) return false;
    if (!get_int(g, a, "embedding_length", 1, MAX_WIDTH, true, &embd, err)) return false;
    if (!get_int(g, a, "feed_forward_length", 1, MAX_WIDTH, true, &ff, err)) return false;
    if (!get_int(g, a, "attention.head_count", 1, MAX_HEADS, true, &heads, err)) return false;
    heads_kv = heads;
    if (!get_int(g, a, "attention.head_count_kv", 1, MAX_HEADS, false, &heads_kv, err)) return false;
    if (heads % heads_kv != 0)
        return gv_fail(err, GV_FORMAT, -1, "%s.attention.head_count = %lld is no multiple of head_count_kv = %lld", a, (long long)heads,
                       (long long)heads_kv);
    head_dim = embd / heads;
    if (!get_int(g, a, "attention.key_length", 1, MAX_HEAD_DIM, false, &head_dim, err)) return false;
    int64_t value_dim = head_dim;
    if (!get_int(g, a, "attention.value_length", 1, MAX_HEAD_DIM, false, &value_dim, err)) return false;
    if (head_dim < 2 || head_dim > MAX_HEAD_DIM || head_dim % 2 != 0 || value_dim != head_dim)
        return gv_fail(err, GV_UNSUPPORTED, -1, "%s: head width %lld for keys and %lld for values; even, equal and 2 to %d are supported",
                       a, (long long)head_dim, (long long)value_dim, MAX_HEAD_DIM);
    rot = head_dim;
    if (!get_int(g, a, "rope.dimension_count", 2, head_dim, false, &rot, err)) return false;
    if (rot % 2 != 0) return gv_fail(err, GV_FORMAT, -1, "%s.rope.dimension_count = %lld is odd", a, (long long)rot);
    if (!get_int(g, a, "context_length", 1, INT32_MAX, true, &s->ctx_train, err)) return false;
    if (!get_int(g, a, "attention.sliding_window", 0, INT32_MAX, false, &window, err)) return false;
    if (!get_float(g, a, "attention.layer_norm_rms_epsilon", 0, 1, true, &s->norm_eps, err)) return false;
    if (!get_float(g, a, "rope.freq_base", 1, 1e12f, false, &s->rope_theta, err)) return false;
    s->n_layer = (int)layers, s->n_embd = (int)embd, s->n_ff = (int)ff, s->n_head = (int)heads, s->n_head_kv = (int)heads_kv;
    s->head_dim = (int)head_dim, s->n_rot = (int)rot, s->sliding_window = window;
    return read_scaling(g, a, s, err) && read_experts(g, arch, s, err) && arch->shape(g, s, err);
}

/* ---- binding tensors ---- */

typedef struct binder {
    model *m;
    bool *used; /* [n_tensors] */
    gv_err *err;
} binder;

static const tensor_view *find(binder *b, const char *name, bool required) {
    const tensors *file = b->m->file;
    const tensor_view *t = tensors_find(file, name);
    if (!t) {
        if (required) gv_fail(b->err, GV_FORMAT, -1, "tensor %s is missing", name);
        return NULL;
    }
    b->used[tensors_number(file, t)] = true;
    return t;
}

static bool shape_is(binder *b, const tensor_view *t, int64_t cols, int64_t rows) {
    if (t->ne[0] == cols && t->ne[1] == rows && t->ne[2] == 1 && t->ne[3] == 1) return true;
    return gv_fail(b->err, GV_FORMAT, -1, "tensor %s: shape [%lld, %lld], expected [%lld, %lld]", t->name, (long long)t->ne[0],
                   (long long)t->ne[1], (long long)cols, (long long)rows);
}

/* A vector as f32, copied. */
static bool bind_vector(binder *b, const char *name, bool required, int64_t n, float **out) {
    const tensor_view *t = find(b, name, required);
    if (!t) return !required;
    if (!shape_is(b, t, n, 1)) return false;
    if (kern_act_kind_of(t->type) != KERN_ACT_F32)
        return gv_fail(b->err, GV_UNSUPPORTED, -1, "tensor %s: type %s, expected F32, F16 or BF16", name, dtype_get(t->type)->name);
    *out = gv_try_malloc((size_t)n, sizeof(float), name, b->err);
    if (!*out) return false;
    for (int64_t i = 0; i < n; i++) kern_dequant_row(t->type, tensor_row(t, i), *out + i, 1); /* one at a time: rows may be turned */
    return true;
}

/* The type a matrix will have. */
static bool choose_type(binder *b, const tensor_view *t, dtype *type) {
    const model_shape *s = &b->m->shape;
    *type = t->type;
    if (!b->m->mix || !quant_mix_touches(t->name, t->n_dims)) return true;
    if (kern_act_kind_of(t->type) != KERN_ACT_F32)
        return gv_fail(b->err, GV_UNSUPPORTED, -1, "tensor %s is %s: only F32, F16 and BF16 weights can be quantised to %s", t->name,
                       dtype_get(t->type)->name, b->m->mix->name);
    const quant_mix_model facts = {.n_layer = s->n_layer,
                                   .n_expert = s->n_expert,
                                   .tied = !tensors_find(b->m->file, "output.weight"),
                                   .many_query_heads = s->n_head > s->n_head_kv};
    *type = quant_mix_choose(b->m->mix, &facts, t->name, t->ne[0]);
    return true;
}

static bool take_room(binder *b, const char *name, size_t bytes) {
    if (bytes <= SIZE_MAX - 63 && gv_add_size(b->m->packed_bytes, (bytes + 63) & ~(size_t)63, &b->m->packed_bytes)) return true;
    return gv_fail(b->err, GV_LIMIT, -1, "tensor %s: sizes overflow", name);
}

/* The matrix that begins at first_row of a tensor: its place in the packed memory is behind the one before it. */
static bool add_part(binder *b, const tensor_view *t, int64_t first_row, int64_t rows, int64_t cols, kern_matrix *out) {
    model *m = b->m;
    size_t group_bytes, total;
    dtype type;
    if (!choose_type(b, t, &type)) return false;
    if (!kern_packed_size(type, rows, cols, &group_bytes, &total))
        return gv_fail(b->err, GV_UNSUPPORTED, -1, "tensor %s: %lld columns are no multiple of the %u elements of a %s block", t->name,
                       (long long)cols, dtype_get(type)->block_elems, dtype_get(type)->name);
    *out = (kern_matrix){type, rows, cols, (rows + KERN_GROUP - 1) / KERN_GROUP, NULL, group_bytes};
    m->file_weight_bytes += (size_t)rows * ((size_t)cols / dtype_get(type)->block_elems * dtype_get(type)->block_bytes);
    m->used[type] = true;
    m->part[m->n_parts++] = (model_part){.from = t, .first_row = first_row, .to = out, .at = m->packed_bytes};
    return take_room(b, t->name, total);
}

/* An untied embedding stays in the file, or is quantised into the packed memory: rows as in a file, for one is read at a time. */
static bool bind_embedding(binder *b) {
    model *m = b->m;
    const model_shape *s = &m->shape;
    const tensor_view *t = find(b, "token_embd.weight", true);
    dtype type;
    if (!t || !shape_is(b, t, s->n_embd, s->n_vocab) || !choose_type(b, t, &type)) return false;
    m->embedding = t;
    if (type == t->type) return true;
    const size_t row_bytes = (size_t)s->n_embd / dtype_get(type)->block_elems * dtype_get(type)->block_bytes;
    m->own = *t;
    m->own.type = type;
    m->own.n_bytes = row_bytes * (size_t)s->n_vocab;
    m->embedding = &m->own;
    m->own_rows = (kern_matrix){type, s->n_vocab, s->n_embd, (s->n_vocab + KERN_GROUP - 1) / KERN_GROUP, NULL, KERN_GROUP * row_bytes};
    m->part[m->n_parts++] = (model_part){.from = t, .to = &m->own_rows, .rows_only = true, .at = m->packed_bytes};
    return take_room(b, t->name, m->own.n_bytes);
}

static bool bind_matrix(binder *b, const char *name, int64_t rows, int64_t cols, kern_matrix *out) {
    const tensor_view *t = find(b, name, true);
    return t && shape_is(b, t, cols, rows) && add_part(b, t, 0, rows, cols, out);
}

/* One kind of matrix of all experts of a layer: one tensor for all, or one for each as files of 2023 have them. */
static bool bind_experts(binder *b, int layer, const char *kind, int64_t rows, int64_t cols, size_t member) {
    model_expert *e = b->m->layer[layer].expert;
    const int n = b->m->shape.n_expert;
    char merged[64], single[64];
    snprintf(merged, sizeof merged, "blk.%d.ffn_%s_exps.weight", layer, kind);
    snprintf(single, sizeof single, "blk.%d.ffn_%s.0.weight", layer, kind);
    const tensor_view *t = find(b, merged, false);
    if (t && tensors_find(b->m->file, single))
        return gv_fail(b->err, GV_FORMAT, -1, "tensors %s and %s: expected one of the two", merged, single);
    if (!t && !tensors_find(b->m->file, single))
        return gv_fail(b->err, GV_FORMAT, -1, "tensor %s is missing, and so is %s", merged, single);
    if (t && (t->ne[0] != cols || t->ne[1] != rows || t->ne[2] != n || t->ne[3] != 1))
        return gv_fail(b->err, GV_FORMAT, -1, "tensor %s: shape [%lld, %lld, %lld], expected [%lld, %lld, %d]", merged, (long long)t->ne[0],
                       (long long)t->ne[1], (long long)t->ne[2], (long long)cols, (long long)rows, n);
    for (int i = 0; i < n; i++) {
        kern_matrix *to = (kern_matrix *)((char *)&e[i] + member);
        snprintf(single, sizeof single, "blk.%d.ffn_%s.%d.weight", layer, kind, i);
        if (!(t ? add_part(b, t, i * rows, rows, cols, to) : bind_matrix(b, single, rows, cols, to))) return false;
    }
    return true;
}

static bool bind_router(binder *b, int layer) {
    const model_shape *s = &b->m->shape;
    kern_matrix *router = &b->m->layer[layer].router;
    char name[64];
    snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.weight", layer);
    if (!bind_matrix(b, name, s->n_expert, s->n_embd, router)) return false;
    if (kern_act_kind_of(router->type) == KERN_ACT_F32) return true;
    return gv_fail(b->err, GV_UNSUPPORTED, -1, "tensor %s: type %s, expected F32, F16 or BF16", name, dtype_get(router->type)->name);
}

/* What follows attention: one dense block, or a router and experts. */
static bool bind_ffn(binder *b, int layer) {
    const model_shape *s = &b->m->shape;
    static const struct {
        const char *kind;
        size_t member;
        bool from_ff;
    } matrices[] = {{"gate", offsetof(model_expert, gate), false},
                    {"up", offsetof(model_expert, up), false},
                    {"down", offsetof(model_expert, down), true}};
    model_layer *l = &b->m->layer[layer];
    if (s->n_expert && !bind_router(b, layer)) return false;
    if (s->n_expert) l->expert = gv_xcalloc((size_t)s->n_expert, sizeof *l->expert);
    for (size_t k = 0; k < sizeof matrices / sizeof *matrices; k++) {
        const int64_t rows = matrices[k].from_ff ? s->n_embd : s->n_ff, cols = matrices[k].from_ff ? s->n_ff : s->n_embd;
        char name[64];
        snprintf(name, sizeof name, "blk.%d.ffn_%s.weight", layer, matrices[k].kind);
        if (s->n_expert ? !bind_experts(b, layer, matrices[k].kind, rows, cols, matrices[k].member)
                        : !bind_matrix(b, name, rows, cols, (kern_matrix *)((char *)&l->ffn + matrices[k].member)))
            return false;
    }
    return true;
}

static bool bind_layer(binder *b, const model_arch *arch, int i) {
    const model_shape *s = &b->m->shape;
    model_layer *l = &b->m->layer[i];
    const int64_t embd = s->n_embd, q = (int64_t)s->n_head * s->head_dim, kv = (int64_t)s->n_head_kv * s->head_dim;
    const struct {
        const char *part;
        float **to;
        int64_t n;
        bool required, allowed;
    } vectors[] = {
        {"attn_norm.weight", &l->attn_norm, embd, true, true},
        {"ffn_norm.weight", &l->ffn_norm, embd, true, true},
        {"attn_q.bias", &l->bias_q, q, arch->qkv_bias_required, arch->qkv_bias_allowed},
        {"attn_k.bias", &l->bias_k, kv, arch->qkv_bias_required, arch->qkv_bias_allowed},
        {"attn_v.bias", &l->bias_v, kv, arch->qkv_bias_required, arch->qkv_bias_allowed},
    };
    const struct {
        const char *part;
        kern_matrix *to;
        int64_t rows, cols;
    } matrices[] = {
        {"attn_q.weight", &l->attn_q, q, embd},
        {"attn_k.weight", &l->attn_k, kv, embd},
        {"attn_v.weight", &l->attn_v, kv, embd},
        {"attn_output.weight", &l->attn_output, embd, q},
    };
    char name[64];
    for (size_t k = 0; k < sizeof vectors / sizeof *vectors; k++) {
        snprintf(name, sizeof name, "blk.%d.%s", i, vectors[k].part);
        if (vectors[k].allowed && !bind_vector(b, name, vectors[k].required, vectors[k].n, vectors[k].to)) return false;
    }
    for (size_t k = 0; k < sizeof matrices / sizeof *matrices; k++) {
        snprintf(name, sizeof name, "blk.%d.%s", i, matrices[k].part);
        if (!bind_matrix(b, name, matrices[k].rows, matrices[k].cols, matrices[k].to)) return false;
    }
    return bind_ffn(b, i);
}

static bool bind_model(binder *b, const model_arch *arch) {
    model *m = b->m;
    const model_shape *s = &m->shape;
    bool tied = !tensors_find(m->file, "output.weight");
    if (!tied && !bind_embedding(b)) return false;
    if (!bind_matrix(b, tied ? "token_embd.weight" : "output.weight", s->n_vocab, s->n_embd, &m->output)) return false;
    if (!bind_vector(b, "output_norm.weight", true, s->n_embd, &m->output_norm)) return false;
    if (!bind_vector(b, "rope_freqs.weight", false, s->n_rot / 2, &m->rope_divisor)) return false;
    for (int i = 0; i < s->n_layer; i++)
        if (!bind_layer(b, arch, i)) return false;
    return true;
}

static bool check_all_used(binder *b) {
    for (size_t i = 0; i < tensors_count(b->m->file); i++)
        if (!b->used[i])
            return gv_fail(b->err, GV_UNSUPPORTED, -1, "tensor %s is none that architecture %s uses", tensors_at(b->m->file, i)->name,
                           b->m->arch);
    return true;
}

/* ---- the model ---- */

static bool check_divisors(model *m, gv_err *err) {
    int n = m->shape.n_rot / 2;
    for (int i = 0; m->rope_divisor && i < n; i++)
        if (!(m->rope_divisor[i] > 0 && m->rope_divisor[i] < 1e9f))
            return gv_fail(err, GV_FORMAT, i, "tensor rope_freqs.weight: value %g at %d, expected above 0", (double)m->rope_divisor[i], i);
    if (m->shape.rope_divide == 1) return true;
    if (!m->rope_divisor) {
        m->rope_divisor = gv_xmalloc((size_t)n * sizeof(float));
        for (int i = 0; i < n; i++) m->rope_divisor[i] = 1;
    }
    for (int i = 0; i < n; i++) m->rope_divisor[i] *= m->shape.rope_divide;
    return true;
}

static bool read_vocab_size(const tensors *file, model_shape *s, gv_err *err) {
    const tensor_view *t = tensors_find(file, "token_embd.weight");
    if (!t) return gv_fail(err, GV_FORMAT, -1, "tensor token_embd.weight is missing");
    if (t->ne[1] < 1 || t->ne[1] > MAX_VOCAB)
        return gv_fail(err, GV_LIMIT, -1, "tensor token_embd.weight: %lld rows, expected 1 to %d", (long long)t->ne[1], MAX_VOCAB);
    s->n_vocab = (int)t->ne[1];
    return true;
}

static const model_arch *find_arch(const gguf *g, gv_err *err) {
    sv name;
    if (!gguf_get_string(g, "general.architecture", &name, NULL, err)) return NULL;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (sv_is(name, archs[i]->name)) return archs[i];
    gv_fail(err, GV_UNSUPPORTED, -1, "architecture \"%s\" is not supported; llama (also Mistral and Mixtral) and qwen2 are",
            str_show(name).text);
    return NULL;
}

static const model_arch *read_model(const tensors *file, model_shape *s, gv_err *err) {
    const gguf *keys = tensors_keys(file);
    const model_arch *arch = find_arch(keys, err);
    return arch && read_vocab_size(file, s, err) && read_shape(keys, arch, s, err) ? arch : NULL;
}

const char *model_read_shape(const tensors *file, model_shape *s, gv_err *err) {
    *s = (model_shape){0};
    const model_arch *arch = read_model(file, s, err);
    return arch ? arch->name : NULL;
}

model *model_bind(tensors *file, const quant_mix *mix, int64_t n_pos, gv_err *err) {
    model *m = gv_xcalloc(1, sizeof *m);
    binder b = {.m = m, .err = err};
    m->file = file;
    m->mix = mix;
    const model_arch *arch = read_model(file, &m->shape, err);
    if (!arch) goto fail;
    snprintf(m->arch, sizeof m->arch, "%s", arch->name);
    m->n_pos = n_pos ? n_pos : m->shape.ctx_train;
    if (m->n_pos > MAX_POSITIONS) m->n_pos = MAX_POSITIONS;
    m->layer = gv_xcalloc((size_t)m->shape.n_layer, sizeof *m->layer);
    const size_t experts = m->shape.n_expert ? (size_t)m->shape.n_expert : 1;
    m->part = gv_xcalloc((size_t)m->shape.n_layer * (5 + 3 * experts) + 2,
                         sizeof *m->part); /* q, k, v, output, router; the two of the vocabulary */
    b.used = gv_xcalloc(tensors_count(m->file) + 1, sizeof *b.used);
    if (!bind_model(&b, arch) || !check_all_used(&b) || !check_divisors(m, err)) goto fail;
    free(b.used);
    return m;
fail:
    free(b.used);
    gv_context(err, "%s", tensors_path(file));
    model_free(m);
    return NULL;
}

size_t model_mapped_bytes(const model *m) {
    return m->embedding && m->embedding != &m->own ? m->embedding->n_bytes : 0;
}

model *model_open(tensors *file, const quant_mix *mix, int64_t n_pos, int64_t memory_bytes, pool *threads, gv_err *err) {
    model *m = model_bind(file, mix, n_pos, err);
    if (!m) return NULL;
    if (memory_bytes > 0 && m->packed_bytes > (size_t)memory_bytes)
        gv_fail(err, GV_LIMIT, -1, "%s: the weights need %zu MiB, --memory allows %lld MiB", tensors_path(file), m->packed_bytes >> 20,
                (long long)(memory_bytes >> 20));
    else if (model_load(m, &(model_load_options){.threads = threads}, err))
        return m;
    model_free(m);
    return NULL;
}

model *model_from_gguf(gguf *file, int64_t n_pos, int64_t memory_bytes, pool *threads, gv_err *err) {
    return model_open(tensors_from_gguf(file), NULL, n_pos, memory_bytes, threads, err);
}

void model_free(model *m) {
    if (!m) return;
    for (int i = 0; m->layer && i < m->shape.n_layer; i++) {
        model_layer *l = &m->layer[i];
        free(l->attn_norm), free(l->ffn_norm), free(l->bias_q), free(l->bias_k), free(l->bias_v), free(l->expert);
    }
    free(m->layer);
    free(m->part);
    free(m->output_norm);
    free(m->rope_divisor);
    free(m->rope_cos);
    free(m->rope_sin);
    model_drop_weights(m);
    tensors_close(m->file);
    free(m);
}

void model_weight_types(const model *m, char *out, size_t n) {
    size_t at = 0;
    out[0] = 0;
    for (int t = 0; t < DT_COUNT; t++)
        if (m->used[t] && at < n) at += (size_t)snprintf(out + at, n - at, "%s%s", at ? "+" : "", dtype_get((uint32_t)t)->name);
    if (m->mix && at < n) snprintf(out + at, n - at, "(%s)", m->mix->name);
}
