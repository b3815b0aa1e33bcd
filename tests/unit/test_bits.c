/* Bit equality of the engine (canonical-1): the same tokens and the same logits for every kernel set, number of threads, batch, prompt chunk
 * and with or without the prefix cache; also when sequences are preempted for want of K/V pages.  The full grid on tiny models. */
#include "support/bits.h"

static const kern_set sets[] = {KERN_REF, KERN_REF_FMA, KERN_AVX2, KERN_AVX512};
static const int threads[] = {1, 2, 5}, batches[] = {1, 3, 8, 32}, chunks[] = {1, 7, 64, 0};

#define EACH(i, array) (size_t i = 0; i < sizeof(array) / sizeof *(array); i++)

static int full_grid(const char *file, const bits_workload *w) {
    char path[512], what[128];
    snprintf(path, sizeof path, GAVEL_TEST_DATA "/oracle/models/%s", file);
    static bits want, got;
    bits_run((fixture_options){.path = path, .set = KERN_REF, .threads = 1, .batch = 1, .no_cache = true}, w, &want);
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
                for (int cache = 0; cache < 2; cache++, n++) {
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
                }
        }
    printf("%s: %d combinations, all equal\n", file, n);
    return n;
}

static const bits_workload small = {.n_requests = 32, .max_prompt = 70, .n_output = 4, .temperature = 0.8};

static void llama_q8_0_is_the_same_in_every_combination(void **s) {
    (void)s;
    full_grid("llama/llama-Q8_0.gguf", &small);
}
static void llama_q4_k_m_is_the_same_in_every_combination(void **s) {
    (void)s;
    full_grid("llama/llama-Q4_K_M.gguf", &small);
}
static void llama3_bf16_is_the_same_in_every_combination(void **s) {
    (void)s;
    full_grid("llama3/llama3-bf16.gguf", &small);
}
static void qwen2_q5_k_m_is_the_same_in_every_combination(void **s) {
    (void)s;
    full_grid("qwen2/qwen2-Q5_K_M.gguf", &small);
}
static void mistral_q4_k_m_is_the_same_in_every_combination(void **s) {
    (void)s;
    full_grid("mistral/mistral-Q4_K_M.gguf", &(bits_workload){.n_requests = 32, .max_prompt = 40, .n_output = 2});
}

static void a_preempted_sequence_continues_with_the_same_bits(void **s) {
    (void)s;
    static bits want, got;
    const bits_workload w = {.n_requests = 24, .max_prompt = 120, .n_output = 40, .temperature = 0.8};
    fixture_options o = {
        .path = GAVEL_TEST_DATA "/oracle/models/llama/llama-Q4_0.gguf", .set = kern_best()->set, .threads = 2, .batch = 16, .ctx = 256};
    bits_run(o, &w, &want);
    o.pages = 12; /* 384 tokens for up to 16 sequences of up to 160 */
    bits_run(o, &w, &got);
    bits_same(&want, &got, w.n_requests, "12 pages");
    o.pages = 8;
    o.no_cache = true;
    bits_run(o, &w, &got);
    bits_same(&want, &got, w.n_requests, "8 pages, no cache");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_q8_0_is_the_same_in_every_combination),
        cmocka_unit_test(llama_q4_k_m_is_the_same_in_every_combination),
        cmocka_unit_test(llama3_bf16_is_the_same_in_every_combination),
        cmocka_unit_test(qwen2_q5_k_m_is_the_same_in_every_combination),
        cmocka_unit_test(mistral_q4_k_m_is_the_same_in_every_combination),
        cmocka_unit_test(a_preempted_sequence_continues_with_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
