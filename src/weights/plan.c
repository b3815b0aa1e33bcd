/* See plan.h.  llama.cpp reads the experts of a layer as one tensor blk.N.ffn_gate_exps.weight [cols, rows, experts]; folders and old GGUFs have one
 * tensor an expert, blk.N.ffn_gate.E.weight. */
#include "weights/plan.h"

#include "base/mem.h"
#include "kern/quant.h"

#include <stdio.h>
#include <stdlib.h>

static bool is_float(dtype type) {
    return dtype_get((uint32_t)type)->block_elems == 1;
}

static bool read_model(const tensors *t, quant_mix_model *m, gv_err *err) {
    const gguf *g = tensors_keys(t);
    static const char *const keys[] = {"block_count", "expert_count", "attention.head_count", "attention.head_count_kv"};
    uint32_t value[4] = {0};
    sv arch;
    if (!gguf_get_string(g, "general.architecture", &arch, NULL, err)) return false;
    for (int i = 0; i < 4; i++) {
        char key[128];
        bool found;
        snprintf(key, sizeof key, SV_FMT ".%s", SV_ARG(sv_sub(arch, 0, 64)), keys[i]);
        if (!gguf_get_u32(g, key, &value[i], i == 0 ? NULL : &found, err)) return false;
    }
    m->n_layer = value[0] < 65536 ? (int)value[0] : 65536;
    m->n_expert = value[1] < 65536 ? (int)value[1] : 65536;
    m->many_query_heads = value[3] && value[2] != value[3];
    m->tied = !tensors_find(t, "output.weight");
    return true;
}

/* Is name one expert's tensor?  Then *part is "gate", "up" or "down". */
static bool is_expert(const char *name, int *layer, char part[8], int *expert) {
    int end = 0;
    return sscanf(name, "blk.%6d.ffn_%7[a-z].%6d.weight%n", layer, part, expert, &end) == 3 && end > 0 && !name[end];
}

/* The sources of the experts' tensor of this layer and part, all of one shape. */
static bool gather_experts(plan *p, plan_tensor *to, const tensors *t, int layer, const char *part, int n_expert, gv_err *err) {
    const tensor_view *first = NULL;
    for (int e = 0; e < n_expert; e++) {
        char name[GGUF_MAX_NAME_BYTES + 1];
        snprintf(name, sizeof name, "blk.%d.ffn_%s.%d.weight", layer, part, e);
        const tensor_view *v = tensors_find(t, name);
        if (!v) return gv_fail(err, GV_FORMAT, -1, "tensor %s is missing", name);
        if (!first) first = v;
        if (v->n_dims != 2 || v->ne[0] != first->ne[0] || v->ne[1] != first->ne[1])
            return gv_fail(err, GV_FORMAT, -1, "tensor %s: shape [%lld, %lld], expert 0 has [%lld, %lld]", name, (long long)v->ne[0],
                           (long long)v->ne[1], (long long)first->ne[0], (long long)first->ne[1]);
        p->source[to->first + to->n++] = v;
    }
    to->out = *first;
    to->out.n_dims = 3;
    to->out.ne[2] = n_expert;
    return true;
}

static bool choose_type(plan_tensor *to, const plan *p, const tensors *t, const quant_mix *mix, const quant_mix_model *m, bool requantize,
                        gv_err *err) {
    const dtype from = p->source[to->first]->type;
    tensor_view *out = &to->out;
    if (quant_mix_touches(out->name, out->n_dims))
        out->type = quant_mix_choose(mix, m, out->name, out->ne[0]);
    else if (tensors_is_folder(t))
        out->type = DT_F32;
    to->copy = true;
    for (size_t i = 0; i < to->n; i++) {
        const tensor_view *v = p->source[to->first + i];
        if (v->type != out->type || v->rope_heads) to->copy = false;
        if (v->type != out->type && !is_float(v->type) && !is_float(out->type) && !requantize)
            return gv_fail(err, GV_USAGE, -1,
                           "tensor %s is %s already, and %s made of it is worse than of the original weights; --requantize "
                           "does it nevertheless",
                           v->name, dtype_get((uint32_t)from)->name, dtype_get((uint32_t)out->type)->name);
    }
    const dtype_info *info = dtype_get((uint32_t)out->type);
    int64_t rows = 1;
    for (uint32_t d = 1; d < out->n_dims; d++) rows *= out->ne[d];
    out->n_bytes = (size_t)rows * (size_t)(out->ne[0] / info->block_elems) * info->block_bytes;
    out->data = NULL;
    out->rope_heads = 0;
    return quant_writes(out->type) || to->copy ||
           gv_fail(err, GV_UNSUPPORTED, -1, "tensor %s: type %s is not one gavel writes", out->name, info->name);
}

bool plan_make(plan *p, const tensors *t, const quant_mix *mix, bool has_importance, bool requantize, gv_err *err) {
    const size_t n = tensors_count(t);
    quant_mix_model m = {.has_importance = has_importance};
    *p = (plan){.tensor = gv_xcalloc(n + 1, sizeof *p->tensor), .source = gv_xcalloc(n + 1, sizeof *p->source)};
    p->name = gv_xcalloc(n + 1, sizeof *p->name);
    if (!read_model(t, &m, err)) return false;
    size_t n_sources = 0;
    for (size_t i = 0; i < n; i++) {
        const tensor_view *v = tensors_at(t, i);
        plan_tensor *to = &p->tensor[p->n];
        char part[8], *name = p->name[p->n];
        int layer, expert;
        to->first = n_sources;
        if (m.n_expert > 0 && is_expert(v->name, &layer, part, &expert)) {
            if (expert >= m.n_expert) return gv_fail(err, GV_FORMAT, -1, "tensor %s: the model has %d experts", v->name, m.n_expert);
            if (expert > 0) continue; /* comes with the first */
            if (!gather_experts(p, to, t, layer, part, m.n_expert, err)) return false;
            snprintf(name, sizeof *p->name, "blk.%d.ffn_%s_exps.weight", layer, part);
        } else {
            to->out = *v;
            p->source[to->first + to->n++] = v;
            snprintf(name, sizeof *p->name, "%s", v->name);
        }
        to->out.name = name;
        n_sources += to->n;
        if (!choose_type(to, p, t, mix, &m, requantize, err)) return false;
        p->n_bytes += to->out.n_bytes;
        p->n++;
    }
    return true;
}

void plan_fini(plan *p) {
    free(p->tensor);
    free(p->source);
    free(p->name);
    *p = (plan){0};
}
