/* See known.h.  Sources: the papers of Prometheus 1 and 2 and of M-Prometheus, their model cards, and prometheus-eval's code (docs/judging.md). */
#include "lm/known.h"

#include "base/file.h"
#include "modelfile/model_name.h"

#include <ctype.h>
#include <stdio.h>
#include <sys/stat.h>

static const known_model prometheus_1 = {"Prometheus 1", "llama-2", "prometheus-eval", 4096, true, true};
static const known_model prometheus_2 = {"Prometheus 2 7B", "mistral-v0.2", "prometheus-eval", 4096, false, false};
static const known_model prometheus_2_large = {"Prometheus 2 8x7B", "mistral-v0.2", "prometheus-eval", 4096, false, false};
static const known_model prometheus_bgb = {"Prometheus 2 BGB 8x7B", "mistral-v0.2", "prometheus-eval", 4096, false, false};
/* 4,096 is assumed: its card says that it is prompted as Prometheus 2, and not how long its rows were. */
static const known_model m_prometheus = {"M-Prometheus", "qwen2.5", "prometheus-eval", 4096, false, false};

/* What is asked of a configuration. */
typedef struct facts {
    sv arch;
    int64_t vocab, width, heads, heads_kv, experts;
} facts;

static bool has(const char *name, const char *part) {
    return strstr(name, part) != NULL;
}

static bool between(int64_t v, int64_t lo, int64_t hi) {
    return v >= lo && v <= hi;
}

/* name: lower case.  The vocabularies are those of the base models, which a fine-tune may have filled up to a multiple of 64: Llama 2, Mistral
 * v0.1 and v0.2 and Mixtral have 32,000 tokens, Qwen2.5 has 151,643 and special ones, in 151,936 or 152,064 rows. */
static const known_model *choose(const char *name, const facts *f) {
    if (!has(name, "prometheus")) return NULL;
    if (sv_is(f->arch, "qwen2"))
        return between(f->vocab, 151643, 152064) && (f->width == 2048 || f->width == 3584 || f->width == 5120) ? &m_prometheus : NULL;
    if (!sv_is(f->arch, "llama") || !between(f->vocab, 32000, 32064)) return NULL;
    const bool own_kv = f->heads_kv == 0 || f->heads_kv == f->heads; /* Llama 2 7B and 13B have as many K/V heads as heads */
    if (f->experts) return f->width != 4096 ? NULL : has(name, "bgb") ? &prometheus_bgb : &prometheus_2_large;
    if (own_kv) return f->width == 4096 || f->width == 5120 ? &prometheus_1 : NULL;
    return f->width == 4096 ? &prometheus_2 : NULL;
}

static void add_lower(sv s, buf *out) {
    for (size_t i = 0; i < s.n; i++) buf_add_char(out, (char)tolower((unsigned char)s.p[i]));
}

/* Both the name that a file gives itself and the one that its place gives it. */
static const known_model *choose_by(sv own_name, const char *path, const facts *f) {
    buf name = {0}, place = {0};
    add_lower(own_name, &name);
    buf_add_char(&name, '\n');
    model_name_of_path(path, &place);
    add_lower(buf_view(&place), &name);
    const known_model *k = choose(name.p, f);
    buf_fini(&name);
    buf_fini(&place);
    return k;
}

/* ---- a GGUF, or the keys made of a folder ---- */

static int64_t number_of(const gguf *g, sv arch, const char *suffix) {
    char key[96];
    uint32_t v = 0;
    bool found;
    gv_err ignored = GV_ERR_INIT;
    snprintf(key, sizeof key, SV_FMT ".%s", SV_ARG(sv_sub(arch, 0, arch.n < 40 ? arch.n : 40)), suffix);
    return gguf_get_u32(g, key, &v, &found, &ignored) && found ? v : 0;
}

const known_model *known_model_of(const tensors *model) {
    const gguf *g = tensors_keys(model);
    const tensor_view *embedding = tensors_find(model, "token_embd.weight"); /* its rows: not every GGUF has the key vocab_size */
    sv arch = {0}, name = {0};
    bool found;
    gv_err ignored = GV_ERR_INIT;
    if (!gguf_get_string(g, "general.architecture", &arch, &found, &ignored)) return NULL;
    if (!gguf_get_string(g, "general.name", &name, &found, &ignored)) name = (sv){0};
    const facts f = {arch,
                     embedding ? embedding->ne[1] : 0,
                     number_of(g, arch, "embedding_length"),
                     number_of(g, arch, "attention.head_count"),
                     number_of(g, arch, "attention.head_count_kv"),
                     number_of(g, arch, "expert_count")};
    return choose_by(name, tensors_path(model), &f);
}

/* ---- a path ---- */

static const known_model *known_by_config(const char *folder) {
    gv_err ignored = GV_ERR_INIT;
    buf path = {0}, text = {0}, name = {0};
    hf_config c;
    const known_model *k = NULL;
    buf_printf(&path, "%s/config.json", folder);
    if (file_read_all(path.p, HF_MAX_CONFIG_BYTES, &text, &ignored) && hf_config_parse(buf_view(&text), &c, &ignored)) {
        const facts f = {sv_of(c.arch), c.vocab, c.embd, c.heads, c.heads_kv, c.experts};
        model_name_of_folder(folder, c.name, &name);
        k = choose_by(buf_view(&name), folder, &f);
    }
    buf_fini(&path);
    buf_fini(&text);
    buf_fini(&name);
    return k;
}

const known_model *known_model_at(const char *path) {
    gv_err ignored = GV_ERR_INIT;
    struct stat st;
    if (stat(path, &st) != 0) return NULL;
    if (S_ISDIR(st.st_mode)) return known_by_config(path);
    tensors *model = tensors_open(path, &ignored);
    const known_model *k = model ? known_model_of(model) : NULL;
    tensors_close(model);
    return k;
}

void known_model_print(const known_model *k, buf *out) {
    buf_printf(out, "known model: %s\n", k->label);
    buf_printf(out,
               "  prompt style distilabel, chat layout of its own or %s, sampling of its authors --preset author (%s; default: greedy)\n",
               k->layout, k->preset);
    buf_printf(out, "  trained on at most %lld tokens, %s%s\n", (long long)k->trained_tokens,
               k->needs_reference ? "with reference answers only" : "with and without reference answers",
               k->absolute_only ? ", absolute grading only" : "");
}
