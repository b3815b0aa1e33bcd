/* Bit equality of the engine (canonical-1): the same tokens and the same logits for every kernel set, number of threads, batch, prompt chunk
 * and with or without the prefix cache; also when sequences are preempted for want of K/V pages.  The full grid on tiny models. */
#include "support/bits.h"

static const kern_set sets[] = {KERN_REF, KERN_REF_FMA, KERN_AVX2, KERN_AVXVNNI, KERN_AVX512, KERN_AMX, KERN_NEON};
static const int threads[] = {1, 2, 5}, batches[] = {1, 3, 8, 32}, chunks[] = {1, 7, 64, 0};

#define EACH(i, array) (size_t i = 0; i < sizeof(array) / sizeof *(array); i++)

#ifndef GAVEL_EMULATED
#define GAVEL_EMULATED 0 /* 1: in QEMU, where everything is slow */
#endif

static bool is_long(void) {
    const char *value = getenv("GAVEL_LONG");
    return value && *value;
}

/* Outside `script/test --long` all but the fastest set run a sixth of the grid, every value of every dimension among it; in QEMU
 * they run none and NEON three combinations, one of them with threads, whose waits are slow there. */
static bool in_grid(kern_set set, size_t t, size_t b, size_t c, int cache) {
    if (is_long()) return true;
    if (GAVEL_EMULATED && set != KERN_NEON) return false;
    if (GAVEL_EMULATED && t == 0) return cache ? b == 3 && c == 1 : b == 1 && c == 3;
    if (GAVEL_EMULATED) return t == 1 && b == 2 && c == 3 && cache;
    if (kern_get(set) == kern_best()) return true;
    return (t + 2 * b + 3 * c + (size_t)cache) % 6 == 0;
}

/* golden: a hash over all logits of the workload; it changes only with a new numerics id. */
static void full_grid(const char *file, const bits_workload *w, uint64_t golden) {
    char path[512], what[128];
    snprintf(path, sizeof path, GAVEL_TEST_DATA "/oracle/models/%s", file);
    static bits want, got;
    const kern_set first = GAVEL_EMULATED && !is_long() ? kern_best()->set : KERN_REF;
    bits_run((fixture_options){.path = path, .set = first, .threads = 1, .batch = 1, .no_cache = true}, w, &want);
    uint64_t hash = 0;
    for (int i = 0; i < w->n_requests; i++) hash = (hash ^ want.logits[i]) * 0x100000001b3u;
    if (hash != golden)
        fail_msg("%s: canonical-1 has changed: logits hash 0x%016llx, stored 0x%016llx", file, (unsigned long long)hash,
                 (unsigned long long)golden);
    int n = 0;
    for
        EACH(s, sets) {
            if (!fixture_has_kernels(sets[s])) {
                printf("kernel set %d is not on this machine: skipped\n", (int)sets[s]);
                continue;
            }
        for
            EACH(t, threads)
            for
                EACH(b, batches)
                for
                    EACH(c, chunks)
                for (int cache = 0; cache < 2; cache++) {
                    if (!in_grid(sets[s], t, b, c, cache)) continue;
                    snprintf(what, sizeof what, "%s %s threads=%d batch=%d chunk=%d cache=%d", file, kern_get(sets[s])->name, threads[t],
                             batches[b], chunks[c], cache);
                    bits_run((fixture_options){.path = path,
                                               .set = sets[s],
                                               .threads = threads[t],
                                               .batch = batches[b],
                                               .chunk = chunks[c],
                                               .no_cache = !cache},
                             w, &got);
                    bits_same(&want, &got, w->n_requests, what);
                    n++;
                }
        }
    printf("%s: %d combinations, all equal\n", file, n);
}

static const bits_workload small = {.n_requests = 32, .max_prompt = 70, .n_output = 3, .temperature = 0.8};
static const bits_workload greedy = {.n_requests = 32, .max_prompt = 40, .n_output = 2};

static void llama_q8_0_is_the_same_in_every_combination(void **s) {
    (void)s;
    full_grid("llama/llama-Q8_0.gguf", &small, 0x3ac5a374a108d727u);
}
static void llama_q4_k_m_is_the_same_in_every_combination(void **s) {
    (void)s;
    full_grid("llama/llama-Q4_K_M.gguf", &small, 0x0b201453963d87b1u);
}
static void llama3_bf16_is_the_same_in_every_combination(void **s) {
    (void)s;
    full_grid("llama3/llama3-bf16.gguf", &small, 0x727eba8a563cd4d8u);
}
static void qwen2_q5_k_m_is_the_same_in_every_combination(void **s) {
    (void)s;
    full_grid("qwen2/qwen2-Q5_K_M.gguf", &small, 0xeb6886e2dc0800bbu);
}
static void mistral_q4_k_m_is_the_same_in_every_combination(void **s) {
    (void)s;
    full_grid("mistral/mistral-Q4_K_M.gguf", &greedy, 0xf57d8ac3fcff82c0u);
}

/* Experts: who shares an expert's columns, and where its tiles begin, changes with the batch. */
static void mixtral_q8_0_is_the_same_in_every_combination(void **s) {
    (void)s;
    full_grid("mixtral/mixtral-Q8_0.gguf", &small, 0xcbba5d52b4d85d1du);
}
static void mixtral_q4_k_m_is_the_same_in_every_combination(void **s) {
    (void)s;
    full_grid("mixtral/mixtral-Q4_K_M.gguf", &small, 0xd90d011f1e1fba75u);
}
static void mixtral_bf16_is_the_same_in_every_combination(void **s) {
    (void)s;
    full_grid("mixtral/mixtral-bf16.gguf", &greedy, 0x4f5f612b5f9c7090u);
}

/* SmolLM2, pairwise: every value of a dimension against the plain reference, one change at a time and all together. */
static void smollm2_is_the_same_pairwise(void **s) {
    (void)s;
    char path[512];
    snprintf(path, sizeof path, "%s/models/SmolLM2-135M-Instruct.Q4_1.gguf", GAVEL_CACHE_DIR);
    if (GAVEL_EMULATED && !is_long()) {
        printf("skipped: SmolLM2 takes an emulator minutes (script/test --long runs it)\n");
        skip();
    }
    FILE *f = fopen(path, "rb");
    if (!f) {
        printf("skipped: %s is not in the cache (script/test fetches it)\n", path);
        skip();
    }
    fclose(f);
    const bool all = is_long();
    const bits_workload w = {.n_requests = all ? 12 : 4, .max_prompt = all ? 300 : 80, .n_output = all ? 12 : 3, .temperature = 0.8};
    const kern_set ref = fixture_has_kernels(KERN_REF_FMA) ? KERN_REF_FMA : KERN_REF; /* an AArch64 build's ref has fma instructions */
    const fixture_options base = {.path = path, .set = ref, .threads = 2, .batch = 1, .ctx = 512, .no_cache = true};
    static bits want, got;
    bits_run(base, &w, &want);
    const fixture_options others[] = {
        {.set = KERN_REF, .threads = 2, .batch = 3},
        {.set = KERN_AVX2, .threads = 1, .batch = 1},
        {.set = KERN_AVX2, .threads = 5, .batch = 8},
        {.set = KERN_AVXVNNI, .threads = 2, .batch = 8},
        {.set = KERN_AVX512, .threads = 1, .batch = 1},
        {.set = KERN_AVX512, .threads = 2, .batch = 3},
        {.set = KERN_AVX512, .threads = 5, .batch = 8},
        {.set = KERN_AVX512, .threads = 2, .batch = 32},
        {.set = KERN_AVX512, .threads = 2, .batch = 8, .chunk = 1},
        {.set = KERN_AVX512, .threads = 2, .batch = 8, .chunk = 7},
        {.set = KERN_AVX2, .threads = 2, .batch = 8, .chunk = 64},
        {.set = KERN_AMX, .threads = 1, .batch = 1},
        {.set = KERN_AMX, .threads = 2, .batch = 8, .chunk = 7},
        {.set = KERN_AMX, .threads = 2, .batch = 32},
        {.set = KERN_AVX512, .threads = 2, .batch = 3, .no_cache = true},
        {.set = KERN_AVX2, .threads = 2, .batch = 32, .no_cache = true},
        {.set = KERN_NEON, .threads = 1, .batch = 1},
        {.set = KERN_NEON, .threads = 5, .batch = 8, .chunk = 7},
        {.set = KERN_NEON, .threads = 2, .batch = 32, .no_cache = true},
    };
    for
        EACH(i, others) {
            fixture_options o = others[i];
            char what[96];
            if (!fixture_has_kernels(o.set)) continue;
            o.path = path;
            o.ctx = 512;
            snprintf(what, sizeof what, "SmolLM2 %s threads=%d batch=%d chunk=%d", kern_get(o.set)->name, o.threads, o.batch, o.chunk);
            bits_run(o, &w, &got);
            bits_same(&want, &got, w.n_requests, what);
        }
}

static void preempted_is_the_same(const char *file) {
    char path[512];
    snprintf(path, sizeof path, GAVEL_TEST_DATA "/oracle/models/%s", file);
    if (GAVEL_EMULATED && !is_long()) {
        printf("skipped: preemption takes an emulator long and is the same for all kernels (script/test --long runs it)\n");
        skip();
    }
    static bits want, got;
    const bits_workload w = {.n_requests = 24, .max_prompt = 120, .n_output = 40, .temperature = 0.8};
    fixture_options o = {.path = path, .set = kern_best()->set, .threads = 2, .batch = 16, .ctx = 256};
    bits_run(o, &w, &want);
    o.pages = 12; /* 384 tokens for up to 16 sequences of up to 160 */
    bits_run(o, &w, &got);
    bits_same(&want, &got, w.n_requests, "12 pages");
    o.pages = 8;
    o.no_cache = true;
    bits_run(o, &w, &got);
    bits_same(&want, &got, w.n_requests, "8 pages, no cache");
}

static void a_preempted_sequence_continues_with_the_same_bits(void **s) {
    (void)s;
    preempted_is_the_same("llama/llama-Q4_0.gguf");
    preempted_is_the_same("mixtral/mixtral-Q4_0.gguf");
}

/* Eight samples of each of three prompts: alone, together, a few at a time, without shared pages, preempted. */
static void a_sample_is_the_same_alone_together_and_preempted(void **s) {
    (void)s;
    static bits want, got;
    const bits_workload w = {.n_requests = 24, .max_prompt = 120, .n_output = 24, .temperature = 1, .samples = 8};
    const fixture_options base = {.path = GAVEL_TEST_DATA "/oracle/models/llama/llama-Q8_0.gguf",
                                  .set = kern_best()->set,
                                  .threads = 1,
                                  .batch = 1,
                                  .ctx = 256,
                                  .no_cache = true};
    bits_run(base, &w, &want);
    for (int i = 0; i < w.n_requests; i++)
        for (int k = i - i % 8; k < i; k++)
            if (memcmp(want.tokens[i], want.tokens[k], sizeof want.tokens[i]) == 0) fail_msg("samples %d and %d are the same text", k, i);
    const fixture_options others[] = {{.batch = 1},
                                      {.batch = 3},
                                      {.batch = 8},
                                      {.batch = 32},
                                      {.batch = 8, .chunk = 7},
                                      {.batch = 8, .pages = 8},
                                      {.batch = 32, .pages = 12},
                                      {.batch = 32, .pages = 12, .no_cache = true},
                                      {.batch = 32, .threads = 2, .step_tokens = 40}};
    for
        EACH(i, others) {
            fixture_options o = others[i];
            char what[64];
            o.path = base.path;
            o.set = base.set;
            o.ctx = base.ctx;
            snprintf(what, sizeof what, "samples, batch=%d pages=%d chunk=%d", o.batch, o.pages, o.chunk);
            bits_run(o, &w, &got);
            bits_same(&want, &got, w.n_requests, what);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_q8_0_is_the_same_in_every_combination),
        cmocka_unit_test(llama_q4_k_m_is_the_same_in_every_combination),
        cmocka_unit_test(llama3_bf16_is_the_same_in_every_combination),
        cmocka_unit_test(qwen2_q5_k_m_is_the_same_in_every_combination),
        cmocka_unit_test(mistral_q4_k_m_is_the_same_in_every_combination),
        cmocka_unit_test(mixtral_q8_0_is_the_same_in_every_combination),
        cmocka_unit_test(mixtral_q4_k_m_is_the_same_in_every_combination),
        cmocka_unit_test(mixtral_bf16_is_the_same_in_every_combination),
        cmocka_unit_test(smollm2_is_the_same_pairwise),
        cmocka_unit_test(a_preempted_sequence_continues_with_the_same_bits),
        cmocka_unit_test(a_sample_is_the_same_alone_together_and_preempted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
