/* See known.h.  Sources: the papers of Prometheus 1 and 2 and of M-Prometheus, their model cards, and prometheus-eval's code (docs/judging.md). */
#include "judge/known.h"

#include "base/log.h"

#include <ctype.h>
#include <stdio.h>

enum { ENOUGH_TOKENS = 256 }; /* a feedback takes 100 to 300 tokens */

static const known_model prometheus_1 = {"Prometheus 1", "distilabel", "llama-2", "prometheus-eval", 4096, true, true};
static const known_model prometheus_2 = {"Prometheus 2 7B", "distilabel", "mistral-v0.2", "prometheus-eval", 4096, false, false};
static const known_model prometheus_2_large = {"Prometheus 2 8x7B", "distilabel", "mistral-v0.2", "prometheus-eval", 4096, false, false};
static const known_model prometheus_bgb = {"Prometheus 2 BGB 8x7B", "distilabel", "mistral-v0.2", "prometheus-eval", 4096, false, false};
/* 4,096 is assumed: its card says that it is prompted as Prometheus 2, and not how long its rows were. */
static const known_model m_prometheus = {"M-Prometheus", "distilabel", "qwen2.5", "prometheus-eval", 4096, false, false};

static bool has(const char *name, const char *part) {
    return strstr(name, part) != NULL;
}

static uint32_t number_of(const gguf *g, const char *arch, const char *suffix) {
    char key[96];
    uint32_t v = 0;
    bool found;
    gv_err ignored = GV_ERR_INIT;
    snprintf(key, sizeof key, "%s.%s", arch, suffix);
    return gguf_get_u32(g, key, &v, &found, &ignored) && found ? v : 0;
}

/* name: lower case.  The name tells that it is a Prometheus, and which if the configuration leaves that open. */
static const known_model *choose(const char *name, const gguf *g, sv arch) {
    if (!has(name, "prometheus")) return NULL;
    if (sv_is(arch, "qwen2")) return &m_prometheus;
    if (!sv_is(arch, "llama")) return NULL;
    if (number_of(g, "llama", "expert_count")) return has(name, "bgb") ? &prometheus_bgb : &prometheus_2_large;
    const uint32_t heads = number_of(g, "llama", "attention.head_count"), heads_kv = number_of(g, "llama", "attention.head_count_kv");
    return heads_kv == 0 || heads_kv == heads ? &prometheus_1 : &prometheus_2; /* Llama 2 7B and 13B have as many K/V heads as heads */
}

static void add_lower(sv s, buf *out) {
    for (size_t i = 0; i < s.n; i++) buf_add_char(out, (char)tolower((unsigned char)s.p[i]));
}

/* The last part of the path that is a name: of a snapshot in the Hub's cache that of its repository. */
static sv name_in_path(const char *path) {
    static const char marker[] = "models--";
    const char *repo = strstr(path, marker);
    if (repo) return sv_sub(sv_of(repo), 0, strcspn(repo, "/"));
    sv s = sv_of(path);
    while (s.n && s.p[s.n - 1] == '/') s.n--;
    size_t from = s.n;
    while (from > 0 && s.p[from - 1] != '/') from--;
    return sv_sub(s, from, s.n - from);
}

const known_model *known_model_of(const tensors *model) {
    const gguf *g = tensors_keys(model);
    sv arch = {0}, general = {0};
    bool found;
    gv_err ignored = GV_ERR_INIT;
    buf name = {0};
    if (!gguf_get_string(g, "general.architecture", &arch, &found, &ignored)) return NULL;
    if (!gguf_get_string(g, "general.name", &general, &found, &ignored)) general = (sv){0};
    add_lower(general, &name);
    buf_add_char(&name, '\n');
    add_lower(name_in_path(tensors_path(model)), &name);
    const known_model *k = choose(name.p, g, arch);
    buf_fini(&name);
    return k;
}

const known_model *known_model_at(const char *path) {
    gv_err ignored = GV_ERR_INIT;
    tensors *model = tensors_open(path, &ignored);
    const known_model *k = model ? known_model_of(model) : NULL;
    tensors_close(model);
    return k;
}

void known_model_warn(const known_model *k, const run_spec *spec, int64_t ctx_tokens) {
    if (!k) return;
    if (ctx_tokens > k->trained_tokens)
        log_msg(LOG_WARN,
                "%s was trained as a judge on at most %lld tokens; --ctx %lld allows longer rows, whose verdicts are less reliable",
                k->label, (long long)k->trained_tokens, (long long)ctx_tokens);
    if (spec->sampling.max_tokens < ENOUGH_TOKENS)
        log_msg(LOG_WARN, "%s writes feedback of 100 to 300 tokens; --max-tokens %lld cuts it off, and verdicts are forced or missing",
                k->label, (long long)spec->sampling.max_tokens);
    if (spec->prompt.mode == JUDGE_RELATIVE && k->absolute_only)
        log_msg(LOG_WARN, "%s was trained for absolute grading only; in relative mode its verdicts mean little", k->label);
    else if (!spec->prompt.reference && spec->prompt.style != STYLE_RAW && k->needs_reference)
        log_msg(LOG_WARN, "%s was trained with reference answers; without --reference its verdicts mean little", k->label);
    else if (!spec->prompt.reference && spec->prompt.style != STYLE_RAW && spec->prompt.mode == JUDGE_ABSOLUTE)
        log_msg(LOG_INFO, "%s agrees better with people if rows have reference answers (--reference)", k->label);
}

void known_model_print(const known_model *k, buf *out) {
    buf_printf(out, "known model: %s\n", k->label);
    buf_printf(out, "  prompt style %s, chat layout of its own or %s, sampling of its authors --preset %s (default: greedy)\n", k->style,
               k->layout, k->preset);
    buf_printf(out, "  trained on at most %lld tokens, %s%s\n", (long long)k->trained_tokens,
               k->needs_reference ? "with reference answers only" : "with and without reference answers",
               k->absolute_only ? ", absolute grading only" : "");
}
