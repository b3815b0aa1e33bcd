/* See merge.h.  Opens the models, checks that they fit together, and runs one tensor after another into the writer. */
#include "weights/merge.h"

#include "base/log.h"
#include "base/mem.h"
#include "modelfile/hf_folder.h"
#include "modelfile/safetensors_out.h"
#include "weights/merge_internal.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLICE_CHUNKS = 256, MAX_RECIPE_BYTES = 1 << 20 };

/* ---- models that fit together ---- */

/* Messages name a model as the recipe does. */
static bool open_model(const merge_options *o, const char *name, merge_model *m, gv_err *err) {
    struct stat st;
    m->name = name;
    if (!o->locate(o->ctx, name, &m->path, err)) return gv_context(err, "model %s", name);
    if (stat(m->path, &st) == 0 && !S_ISDIR(st.st_mode))
        return gv_fail(err, GV_USAGE, -1, "model %s is a file; merging takes Hugging Face folders (config.json, safetensors)", name);
    m->t = tensors_open(m->path, err);
    if (m->t) return true;
    return strcmp(name, m->path) == 0 ? false : gv_context(err, "model %s", name); /* the message has the path */
}

static bool open_models(const merge_options *o, const merge_recipe *r, merge_model *m, gv_err *err) {
    for (size_t i = 0; i < r->n; i++)
        if (!open_model(o, r->input[i], &m[i], err)) return gv_context(err, "%s", o->recipe);
    return true;
}

static void put_shape(const tensor_view *v, buf *out) {
    buf_add_char(out, '[');
    for (uint32_t d = v->n_dims; d-- > 0;) buf_printf(out, "%s%lld", d + 1 < v->n_dims ? ", " : "", (long long)v->ne[d]);
    buf_add_char(out, ']');
}

static bool same_shape(const tensor_view *a, const tensor_view *b) {
    return a->n_dims == b->n_dims && memcmp(a->ne, b->ne, sizeof a->ne) == 0;
}

/* What the model computes with, by Hugging Face's name; NULL: nothing of that name. */
static const tensor_view *find(const merge_model *m, const char *name) {
    return hf_tensor_is_ignored(tensors_hf_config(m->t), name) ? NULL : safetensors_find(tensors_hf(m->t), name);
}

/* Every tensor of a is one of b's. */
static bool check_tensors(const merge_model *a, const merge_model *b, gv_err *err) {
    const safetensors *x = tensors_hf(a->t);
    for (size_t i = 0; i < safetensors_count(x); i++) {
        const char *name = safetensors_at(x, i)->name;
        const tensor_view *v = find(a, name), *w = find(b, name);
        if (!v) continue;
        if (!w) return gv_fail(err, GV_FORMAT, -1, "tensor %s is in %s, but not in %s", name, a->name, b->name);
        if (same_shape(v, w)) continue;
        buf p = {0}, q = {0};
        put_shape(v, &p);
        put_shape(w, &q);
        gv_fail(err, GV_FORMAT, -1, "tensor %s: shape %s in %s, %s in %s", name, p.p, a->name, q.p, b->name);
        buf_fini(&p);
        buf_fini(&q);
        return false;
    }
    return true;
}

static bool check_config(const merge_model *a, const merge_model *b, gv_err *err) {
    const hf_config *x = tensors_hf_config(a->t), *y = tensors_hf_config(b->t);
    if (strcmp(x->model_type, y->model_type) != 0)
        return gv_fail(err, GV_FORMAT, -1, "model_type is %s in %s, %s in %s", x->model_type, a->name, y->model_type, b->name);
    if (x->heads != y->heads || x->heads_kv != y->heads_kv)
        return gv_fail(err, GV_FORMAT, -1, "%lld heads with %lld of keys in %s, %lld with %lld in %s", (long long)x->heads,
                       (long long)x->heads_kv, a->name, (long long)y->heads, (long long)y->heads_kv, b->name);
    if (x->tied != y->tied)
        return gv_fail(err, GV_FORMAT, -1, "tie_word_embeddings is %s in %s, %s in %s", x->tied ? "true" : "false", a->name,
                       y->tied ? "true" : "false", b->name);
    return true;
}

/* Fields that change what the same weights compute. */
static const struct {
    const char *name;
    size_t at;
    enum { TEXT, WHOLE, REAL, FLAG } kind;
} fields[] = {
    {"rms_norm_eps", offsetof(hf_config, norm_eps), REAL},
    {"rope_theta", offsetof(hf_config, rope_theta), REAL},
    {"sliding_window", offsetof(hf_config, window), WHOLE},
    {"the number of layers with a sliding window", offsetof(hf_config, window_layers), WHOLE},
    {"num_experts_per_tok", offsetof(hf_config, experts_used), WHOLE},
    {"rope_type", offsetof(hf_config, rope_type), TEXT}, /* what follows is its own */
    {"rope_scaling: factor", offsetof(hf_config, rope_factor), REAL},
    {"rope_scaling: low_freq_factor", offsetof(hf_config, rope_low), REAL},
    {"rope_scaling: high_freq_factor", offsetof(hf_config, rope_high), REAL},
    {"rope_scaling: beta_fast", offsetof(hf_config, rope_beta_fast), REAL},
    {"rope_scaling: beta_slow", offsetof(hf_config, rope_beta_slow), REAL},
    {"rope_scaling: attention_factor", offsetof(hf_config, rope_attn_factor), REAL},
    {"rope_scaling: mscale", offsetof(hf_config, rope_mscale), REAL},
    {"rope_scaling: mscale_all_dim", offsetof(hf_config, rope_mscale_all_dim), REAL},
    {"rope_scaling: truncate", offsetof(hf_config, rope_truncate), FLAG},
    {"rope_scaling: original_max_position_embeddings", offsetof(hf_config, rope_original), WHOLE},
};

static void put_field(const hf_config *c, size_t i, buf *out) {
    const char *at = (const char *)c + fields[i].at;
    switch (fields[i].kind) {
    case TEXT: buf_add_str(out, at); break;
    case WHOLE: buf_printf(out, "%lld", (long long)*(const int64_t *)(const void *)at); break;
    case REAL: buf_printf(out, "%.9g", *(const double *)(const void *)at); break;
    case FLAG: buf_add_str(out, *(const bool *)(const void *)at ? "true" : "false"); break;
    }
}

static void warn_of_config(const merge_model *donor, const merge_model *other) {
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        buf x = {0}, y = {0};
        put_field(tensors_hf_config(donor->t), i, &x);
        put_field(tensors_hf_config(other->t), i, &y);
        const bool same = sv_eq(buf_view(&x), buf_view(&y));
        if (!same)
            log_msg(LOG_WARN, "%s is %s in %s, which the result gets, and %s in %s: such weights may not fit together", fields[i].name, x.p,
                    donor->name, y.p, other->name);
        buf_fini(&x);
        buf_fini(&y);
        if (!same && fields[i].kind == TEXT) return;
    }
}

static bool check_tokens(const merge_model *a, const tok *x, const merge_model *b, const tok *y, gv_err *err) {
    const int32_t n = tok_n_vocab(x) < tok_n_vocab(y) ? tok_n_vocab(x) : tok_n_vocab(y);
    for (int32_t i = 0; i < n; i++)
        if (!sv_eq(tok_piece(x, i), tok_piece(y, i)))
            return gv_fail(err, GV_FORMAT, -1, "vocabularies differ: token %d is \"%s\" in %s, \"%s\" in %s", i,
                           str_show(tok_piece(x, i)).text, a->name, str_show(tok_piece(y, i)).text, b->name);
    if (tok_n_vocab(x) != tok_n_vocab(y))
        return gv_fail(err, GV_FORMAT, -1, "vocabularies differ: %d tokens in %s, %d in %s", tok_n_vocab(x), a->name, tok_n_vocab(y),
                       b->name);
    if (strcmp(tok_hash(x), tok_hash(y)) != 0)
        return gv_fail(err, GV_FORMAT, -1, "tokenizers of %s and %s have the same tokens, but differ in merges, scores or kinds of tokens",
                       a->name, b->name);
    return true;
}

/* The template that most models have, of equally frequent ones the first; models without one do not count. */
static void choose_template(tok *const *t, size_t n, buf *out) {
    size_t most = 0;
    for (size_t i = 0; i < n; i++) {
        size_t same = 0;
        for (size_t k = 0; k < n; k++) same += sv_eq(tok_chat_template(t[i]), tok_chat_template(t[k]));
        if (same <= most || tok_chat_template(t[i]).n == 0) continue;
        most = same;
        buf_clear(out);
        buf_add_sv(out, tok_chat_template(t[i]));
    }
}

static bool check_slices(const merge_recipe *r, const merge_model *m, gv_err *err) {
    const int64_t end = r->slice[r->n_slices - 1].end, layers = tensors_hf_config(m->t)->layers;
    return end < 0 || end == layers ||
           gv_fail(err, GV_UNSUPPORTED, -1,
                   "slices[%zu]: layer_range ends at %lld, %s has %lld layers: slices must take all layers in order", r->n_slices - 1,
                   (long long)end, m->name, (long long)layers);
}

/* Also what of the models decides about the result's chat template. */
static bool check_models(const merge_options *o, const merge_recipe *r, const merge_model *m, buf *chat_template, gv_err *err) {
    const size_t donor = merge_donor(r);
    tok *t[MERGE_MAX_MODELS] = {0};
    bool ok = check_slices(r, m, err) || gv_context(err, "%s", o->recipe);
    for (size_t i = 0; ok && i < r->n; i++) {
        t[i] = tok_from_tensors(m[i].t, err);
        ok = t[i] || gv_context(err, "%s", m[i].name);
        if (ok && i > 0)
            ok = check_config(&m[0], &m[i], err) && check_tokens(&m[0], t[0], &m[i], t[i], err) && check_tensors(&m[0], &m[i], err) &&
                 check_tensors(&m[i], &m[0], err);
    }
    for (size_t i = 0; ok && i < r->n; i++) warn_of_config(&m[donor], &m[i]);
    if (ok && r->auto_template) choose_template(t, r->n, chat_template);
    buf_add_sv(chat_template, r->chat_template);
    for (size_t i = 0; i < r->n; i++) tok_free(t[i]);
    return ok;
}

/* ---- tensors ---- */

/* The type that holds all inputs' values, which is what torch promotes to. */
static dtype type_of(const merge_recipe *r, const merge_model *m, const char *name) {
    if (r->has_dtype) return r->type;
    dtype type = safetensors_find(tensors_hf(m[0].t), name)->type;
    for (size_t i = 1; i < r->n; i++)
        if (safetensors_find(tensors_hf(m[i].t), name)->type != type) type = DT_F32;
    return type;
}

static bool set_job(merge_job *j, const merge_recipe *r, const merge_model *m, const tensor_view *v, gv_err *err) {
    const merge_place at = merge_place_of(r, v->name, tensors_hf_config(m[0].t)->layers);
    double total = 0;
    j->name = v->name;
    j->work = type_of(r, m, v->name);
    j->out = r->has_out_dtype ? r->out_type : j->work;
    j->n = (int64_t)(v->n_bytes / dtype_get((uint32_t)v->type)->block_bytes);
    j->normalize = merge_setting(r, -1, "normalize", v->name, at, r->method == MERGE_LINEAR || r->method == MERGE_TIES) > 0;
    j->rescale = merge_setting(r, -1, "rescale", v->name, at, r->method == MERGE_DARE_LINEAR || r->method == MERGE_DARE_TIES) > 0;
    j->lambda = merge_setting(r, -1, "lambda", v->name, at, 1);
    j->t = merge_setting(r, -1, "t", v->name, at, NAN);
    if (r->method == MERGE_SLERP && isnan(j->t)) return gv_fail(err, GV_USAGE, -1, "tensor %s: no filter of t takes it", v->name);
    for (size_t i = 0; i < r->n; i++) {
        j->in[i] = safetensors_find(tensors_hf(m[i].t), v->name);
        j->density[i] = merge_setting(r, (int)i, "density", v->name, at, 1);
        j->weight[i] = merge_setting(r, (int)i, "weight", v->name, at, NAN);
        if (r->method == MERGE_SLERP || ((int)i == r->base && r->method != MERGE_LINEAR)) continue;
        if (isnan(j->weight[i])) return gv_fail(err, GV_USAGE, -1, "tensor %s: no filter of %s's weight takes it", v->name, r->input[i]);
        total += j->weight[i];
    }
    if (r->method == MERGE_LINEAR && j->normalize && (float)total == 0)
        return gv_fail(err, GV_USAGE, -1, "tensor %s: the weights have the sum 0, which normalize cannot divide by", v->name);
    return true;
}

static void drop(const merge_recipe *r, const merge_model *m, const merge_job *j, int64_t first, int64_t n) {
    for (size_t i = 0; i < r->n; i++) {
        const size_t size = dtype_get((uint32_t)j->in[i]->type)->block_bytes;
        tensors_drop(m[i].t, j->in[i]->data + (size_t)first * size, (size_t)n * size);
    }
}

static bool write_tensor(merge_job *j, const merge_recipe *r, const merge_model *m, safetensors_out *out, uint8_t *slice, gv_err *err) {
    const int64_t step = (int64_t)SLICE_CHUNKS * MERGE_CHUNK;
    if (j->n == 0) return true;
    bool ok = merge_job_prepare(j, err);
    for (int64_t at = 0; ok && at < j->n; at += step) {
        const int64_t here = j->n - at < step ? j->n - at : step;
        ok = merge_job_run(j, at, here, slice, err) &&
             safetensors_out_put(out, slice, (size_t)here * dtype_get((uint32_t)j->out)->block_bytes, err);
        drop(r, m, j, at, here);
    }
    merge_job_fini(j);
    return ok;
}

static bool declare(safetensors_out *out, const merge_recipe *r, const merge_model *m, merge_stats *stats, gv_err *err) {
    const safetensors *s = tensors_hf(m[0].t);
    for (size_t i = 0; i < safetensors_count(s); i++) {
        const tensor_view *v = find(&m[0], safetensors_at(s, i)->name);
        if (!v) continue;
        const dtype type = r->has_out_dtype ? r->out_type : type_of(r, m, v->name);
        int64_t dims[4];
        for (uint32_t d = 0; d < v->n_dims; d++) dims[d] = v->ne[v->n_dims - 1 - d];
        if (!safetensors_out_add(out, v->name, type, dims, v->n_dims, err)) return false;
        stats->n_tensors++;
        stats->bytes += v->n_bytes / dtype_get((uint32_t)v->type)->block_bytes * dtype_get((uint32_t)type)->block_bytes;
    }
    return true;
}

static bool write_tensors(const merge_options *o, const merge_recipe *r, const merge_model *m, const char *folder, merge_stats *stats,
                          gv_err *err) {
    const safetensors *s = tensors_hf(m[0].t);
    merge_job j = {.method = r->method, .n_in = r->n, .base = r->base, .seed = o->seed, .threads = o->threads};
    const size_t n_scratch = (size_t)pool_threads(o->threads) * (MERGE_SCRATCH + r->n) * MERGE_CHUNK;
    uint8_t *slice = gv_try_malloc((size_t)SLICE_CHUNKS * MERGE_CHUNK, sizeof(float), "a slice of a tensor", err);
    safetensors_out *out = safetensors_out_new(o->max_shard_bytes);
    j.scratch = slice ? gv_try_malloc(n_scratch, sizeof *j.scratch, "chunks of tensors", err) : NULL;
    stats->n_models = r->n;
    bool ok = j.scratch && declare(out, r, m, stats, err) && safetensors_out_begin(out, folder, err);
    merge_progress now = {.n_tensors = stats->n_tensors, .n_bytes = stats->bytes};
    for (size_t i = 0; ok && i < safetensors_count(s); i++) {
        const tensor_view *v = find(&m[0], safetensors_at(s, i)->name);
        if (!v) continue;
        ok = set_job(&j, r, m, v, err) || gv_context(err, "%s", o->recipe);
        ok = ok && write_tensor(&j, r, m, out, slice, err);
        now.tensor++;
        now.name = v->name;
        if (ok) now.done_bytes += (uint64_t)j.n * dtype_get((uint32_t)j.out)->block_bytes;
        if (ok && o->progress && !o->progress(o->ctx, &now)) ok = gv_fail(err, GV_INTERRUPTED, -1, "interrupted");
    }
    ok = ok && safetensors_out_end(out, err);
    safetensors_out_free(out);
    free(j.scratch);
    free(slice);
    return ok;
}

static bool merge(const merge_options *o, const merge_recipe *r, sv text, merge_model *m, merge_stats *stats, gv_err *err) {
    merge_stage stage = {.fd = -1};
    buf chat = {0};
    const bool ok = open_models(o, r, m, err) && check_models(o, r, m, &chat, err) && merge_stage_open(&stage, o->out, err) &&
                    write_tensors(o, r, m, stage.path, stats, err) && merge_write_files(stage.path, o, r, text, buf_view(&chat), m, err) &&
                    merge_stage_commit(&stage, err);
    merge_stage_close(&stage);
    buf_fini(&chat);
    return ok;
}

bool weights_merge(const merge_options *o, merge_stats *stats, gv_err *err) {
    merge_model m[MERGE_MAX_MODELS] = {{0}};
    merge_recipe r = {.base = -1, .tokenizer = -1};
    buf text = {0};
    struct stat st;
    *stats = (merge_stats){0};
    if (lstat(o->out, &st) == 0) return gv_fail(err, GV_USAGE, -1, "%s exists already; give another name for the output", o->out);
    bool ok = file_read_all(o->recipe, MAX_RECIPE_BYTES, &text, err);
    if (ok && !merge_recipe_parse(&r, buf_view(&text), err)) ok = gv_context(err, "%s", o->recipe);
    ok = ok && merge(o, &r, buf_view(&text), m, stats, err);
    for (size_t i = 0; i < r.n; i++) {
        tensors_close(m[i].t);
        free(m[i].path);
    }
    merge_recipe_fini(&r);
    buf_fini(&text);
    return ok;
}
