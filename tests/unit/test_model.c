/* Models made of a tiny one by changing keys and tensors: what is refused and how it is said, and what gives the same or other logits.
 * Experts, sliding window, RoPE scaling, context. */
#include "support/engine_fixture.h"

#include <unistd.h>

#define MIXTRAL GAVEL_TEST_DATA "/oracle/models/mixtral/mixtral-f32.gguf"
#define LLAMA   GAVEL_TEST_DATA "/oracle/models/llama/llama-f32.gguf"
#define QWEN2   GAVEL_TEST_DATA "/oracle/models/qwen2/qwen2-f32.gguf"

enum { N_IDS = 200 };

/* A copy of a file, changed. */
typedef struct edit {
    const char *from;
    const char *drop_key, *drop_tensor;
    struct {
        const char *key, *text; /* text NULL: a number */
        double number;
        bool is_float;
    } set[6];
    const char *split;      /* this merged tensor becomes one for each expert */
    int split_skip;         /* without this one, if >= 0 */
    bool keep_merged;       /* and the merged one stays */
    const char *resize;     /* this tensor */
    int64_t ne[3];          /* gets this shape, over the same data */
    const char *requantise; /* this tensor's type becomes Q8_0, its data zeros */
    int pattern;            /* > 0: the window is in layers from this number - 1 on, of pattern_n */
    int pattern_n;
    const char *zero; /* tensors with this in their names become zeros */
    int mute_from;    /* > 0: experts from this one on get a down matrix of zeros */
} edit;

static void *to_free[4]; /* after the file is written */
static int n_to_free;

static void write_split(gguf_out *out, const tensor_view *t, const edit *e) {
    char name[64];
    for (int i = 0; i < (int)t->ne[2]; i++) {
        tensor_view one = *t;
        char kind[16] = "";
        int layer = 0;
        assert_int_equal(sscanf(t->name, "blk.%d.ffn_%15[a-z]_exps.weight", &layer, kind), 2);
        snprintf(name, sizeof name, "blk.%d.ffn_%s.%d.weight", layer, kind, i);
        one.name = name;
        one.n_dims = 2;
        one.ne[2] = 1;
        one.n_bytes = t->n_bytes / (size_t)t->ne[2];
        one.data = t->data + (size_t)i * one.n_bytes;
        if (i != e->split_skip) gguf_out_tensor(out, &one);
    }
}

static void write_tensor(gguf_out *out, const tensor_view *from, const edit *e) {
    static const uint8_t zeros[1 << 16];
    tensor_view t = *from;
    if (e->drop_tensor && strcmp(t.name, e->drop_tensor) == 0) return;
    if (e->split && strstr(t.name, e->split)) {
        write_split(out, &t, e);
        if (!e->keep_merged) return;
    }
    if (e->resize && strcmp(t.name, e->resize) == 0) {
        for (int i = 0; i < 3; i++) t.ne[i] = e->ne[i];
        t.n_bytes = (size_t)(t.ne[0] * t.ne[1] * t.ne[2]) * sizeof(float);
        assert_true(t.n_bytes <= from->n_bytes);
    }
    if (e->requantise && strcmp(t.name, e->requantise) == 0) {
        t.type = DT_Q8_0;
        t.n_bytes = (size_t)(t.ne[0] / 32 * t.ne[1]) * 34;
        t.data = zeros;
    }
    if (e->zero && strstr(t.name, e->zero)) t.data = zeros;
    if (e->mute_from && strstr(t.name, "down_exps")) {
        uint8_t *other = calloc(1, t.n_bytes);
        memcpy(other, t.data, t.n_bytes / (size_t)t.ne[2] * (size_t)e->mute_from);
        t.data = to_free[n_to_free++] = other;
    }
    gguf_out_tensor(out, &t);
}

static bool is_set(const edit *e, sv key) {
    for (size_t i = 0; i < sizeof e->set / sizeof *e->set && e->set[i].key; i++)
        if (sv_is(key, e->set[i].key)) return true;
    return e->drop_key && sv_is(key, e->drop_key);
}

/* The changed file's path, in a static buffer. */
static const char *edited(const edit *e) {
    static char path[256];
    gv_err err = GV_ERR_INIT;
    gguf *g = gguf_open(e->from, &err);
    if (!g) fail_msg("%s", err.msg);
    gguf_out *out = gguf_out_new();
    for (size_t i = 0; i < gguf_n_keys(g); i++)
        if (!is_set(e, gguf_key(g, i))) gguf_out_copy_key(out, g, i);
    for (size_t i = 0; i < sizeof e->set / sizeof *e->set && e->set[i].key; i++) {
        if (e->set[i].text)
            gguf_out_string(out, e->set[i].key, sv_of(e->set[i].text));
        else if (e->set[i].is_float)
            gguf_out_f32(out, e->set[i].key, (float)e->set[i].number);
        else
            gguf_out_u32(out, e->set[i].key, (uint32_t)e->set[i].number);
    }
    bool has[8] = {false};
    for (int i = e->pattern - 1; e->pattern && i < e->pattern_n; i++) has[i] = true;
    if (e->pattern) gguf_out_bools(out, "llama.attention.sliding_window_pattern", has, (size_t)e->pattern_n);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) write_tensor(out, gguf_tensor(g, i), e);
    snprintf(path, sizeof path, "%s/gavel-model-%d.gguf", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid());
    if (!gguf_out_write(out, path, &err)) fail_msg("%s", err.msg);
    gguf_out_free(out);
    while (n_to_free > 0) free(to_free[--n_to_free]);
    gguf_close(g);
    return path;
}

static void refused(const edit *e, gv_code code, const char *message) {
    gv_err err = GV_ERR_INIT;
    const char *path = edited(e);
    gguf *g = gguf_open(path, &err);
    if (!g) fail_msg("%s", err.msg);
    model *m = model_bind(tensors_from_gguf(g), NULL, 0, &err);
    remove(path);
    if (m) fail_msg("not refused; expected: %s", message);
    const char *said = strstr(err.msg, ".gguf: ");
    assert_non_null(said);
    assert_string_equal(said + strlen(".gguf: "), message);
    assert_int_equal(err.code, code);
}

static bool keep_row(void *ctx, int32_t position, const float *logits, gv_err *err) {
    float **row = ctx;
    (void)err;
    memcpy(row[0] + (size_t)position * 1024, logits, 600 * sizeof(float));
    return true;
}

/* The first 600 logits of each of N_IDS positions. */
static float *logits_of(const char *path, kern_set set, int chunk, int threads) {
    fixture f;
    gv_err err = GV_ERR_INIT;
    int32_t tokens[N_IDS];
    float *rows = calloc((size_t)N_IDS * 1024, sizeof *rows);
    for (int i = 0; i < N_IDS; i++) tokens[i] = 3 + i * 37 % 500;
    fixture_open(&f, &(fixture_options){.path = path, .set = set, .kv = KERN_KV_F32, .threads = threads, .chunk = chunk});
    if (!engine_logits(f.e, tokens, N_IDS, true, keep_row, &rows, &err)) fail_msg("%s", err.msg);
    fixture_close(&f);
    return rows;
}

static float *logits_of_edit(const edit *e) {
    const char *path = edited(e);
    float *rows = logits_of(path, kern_best()->set, 0, 2);
    remove(path);
    return rows;
}

/* Positions below `from` agree to the bit, and the one at `from` does not (N_IDS: all agree). */
static void agree_until(const float *a, const float *b, int from) {
    for (int i = 0; i < from; i++)
        if (memcmp(a + (size_t)i * 1024, b + (size_t)i * 1024, 600 * sizeof *a) != 0) fail_msg("position %d differs", i);
    if (from < N_IDS) assert_memory_not_equal(a + (size_t)from * 1024, b + (size_t)from * 1024, 600 * sizeof *a);
}

/* ---- experts ---- */

static void counts_of_experts_that_lie_are_refused(void **s) {
    (void)s;
    refused(&(edit){MIXTRAL, .set = {{"llama.expert_used_count", .number = 9}}}, GV_FORMAT, "llama.expert_used_count = 9, expected 1 to 8");
    refused(&(edit){MIXTRAL, .set = {{"llama.expert_used_count", .number = 0}}}, GV_FORMAT, "llama.expert_used_count = 0, expected 1 to 8");
    refused(&(edit){MIXTRAL, .drop_key = "llama.expert_used_count"}, GV_FORMAT, "key llama.expert_used_count is missing");
    refused(&(edit){MIXTRAL, .set = {{"llama.expert_count", .number = 257}}}, GV_FORMAT, "llama.expert_count = 257, expected 0 to 256");
    refused(&(edit){MIXTRAL, .set = {{"llama.expert_count", .number = 9}}}, GV_FORMAT,
            "tensor blk.0.ffn_gate_inp.weight: shape [64, 8], expected [64, 9]");
    refused(&(edit){MIXTRAL, .drop_key = "llama.expert_count"}, GV_FORMAT, "tensor blk.0.ffn_gate.weight is missing");
    refused(&(edit){MIXTRAL, .set = {{"llama.expert_gating_func", .number = 2}}}, GV_FORMAT,
            "llama.expert_gating_func = 2, expected 1 to 1");
    refused(&(edit){LLAMA, .set = {{"llama.expert_count", .number = 8}, {"llama.expert_used_count", .number = 2}}}, GV_FORMAT,
            "tensor blk.0.ffn_gate_inp.weight is missing");
    refused(&(edit){QWEN2, .set = {{"qwen2.expert_count", .number = 8}}}, GV_UNSUPPORTED,
            "qwen2.expert_count = 8: experts are supported for llama (Mixtral) only");
}

static void tensors_of_experts_that_lie_are_refused(void **s) {
    (void)s;
    refused(&(edit){MIXTRAL, .drop_tensor = "blk.1.ffn_gate_inp.weight"}, GV_FORMAT, "tensor blk.1.ffn_gate_inp.weight is missing");
    refused(&(edit){MIXTRAL, .drop_tensor = "blk.1.ffn_up_exps.weight"}, GV_FORMAT,
            "tensor blk.1.ffn_up_exps.weight is missing, and so is blk.1.ffn_up.0.weight");
    refused(&(edit){MIXTRAL, .resize = "blk.0.ffn_down_exps.weight", .ne = {64, 64, 7}}, GV_FORMAT,
            "tensor blk.0.ffn_down_exps.weight: shape [64, 64, 7], expected [64, 64, 8]");
    refused(&(edit){MIXTRAL, .resize = "blk.0.ffn_gate_exps.weight", .ne = {64, 32, 8}}, GV_FORMAT,
            "tensor blk.0.ffn_gate_exps.weight: shape [64, 32, 8], expected [64, 64, 8]");
    refused(&(edit){MIXTRAL, .split = "ffn_gate_exps", .split_skip = 3}, GV_FORMAT, "tensor blk.0.ffn_gate.3.weight is missing");
    refused(&(edit){MIXTRAL, .split = "ffn_gate_exps", .split_skip = 0}, GV_FORMAT,
            "tensor blk.0.ffn_gate_exps.weight is missing, and so is blk.0.ffn_gate.0.weight");
    refused(&(edit){MIXTRAL, .split = "ffn_gate_exps", .split_skip = -1, .keep_merged = true}, GV_FORMAT,
            "tensors blk.0.ffn_gate_exps.weight and blk.0.ffn_gate.0.weight: expected one of the two");
    refused(&(edit){MIXTRAL, .split = "ffn_up_exps", .split_skip = 0, .keep_merged = true}, GV_UNSUPPORTED,
            "tensor blk.0.ffn_up.1.weight is none that architecture llama uses");
    refused(&(edit){MIXTRAL, .requantise = "blk.0.ffn_gate_inp.weight"}, GV_UNSUPPORTED,
            "tensor blk.0.ffn_gate_inp.weight: type Q8_0, expected F32, F16 or BF16");
}

static void one_tensor_for_each_expert_is_the_same_model(void **s) {
    (void)s;
    const char *const files[] = {MIXTRAL, GAVEL_TEST_DATA "/oracle/models/mixtral/mixtral-Q4_K_M.gguf"};
    for (int i = 0; i < 2; i++) {
        float *merged = logits_of(files[i], kern_best()->set, 0, 2);
        float *single = logits_of_edit(&(edit){files[i], .split = "_exps", .split_skip = -1});
        agree_until(merged, single, N_IDS);
        free(merged);
        free(single);
    }
}

static void more_experts_used_are_other_logits(void **s) {
    (void)s;
    float *two = logits_of(MIXTRAL, kern_best()->set, 0, 2);
    float *three = logits_of_edit(&(edit){MIXTRAL, .set = {{"llama.expert_used_count", .number = 3}}});
    agree_until(two, three, 0);
    free(two);
    free(three);
}

/* A router of zeros: all experts are equally probable, so the two lowest numbers are used, each by a half. */
static void ties_of_the_router_go_to_the_lowest_numbers(void **s) {
    (void)s;
    float *ties = logits_of_edit(&(edit){MIXTRAL, .zero = "ffn_gate_inp"});
    float *other = logits_of_edit(&(edit){MIXTRAL, .zero = "ffn_gate_inp", .mute_from = 2});
    agree_until(ties, other, N_IDS);
    float *used = logits_of_edit(&(edit){MIXTRAL, .zero = "ffn_gate_inp", .mute_from = 1});
    agree_until(ties, used, 0);
    free(ties);
    free(other);
    free(used);
}

/* ---- sliding window ---- */

static void a_window_hides_what_is_older(void **s) {
    (void)s;
    float *all = logits_of(LLAMA, kern_best()->set, 0, 2);
    const int windows[] = {1, 31, 32, 33, 100, 199};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        float *part = logits_of_edit(&(edit){LLAMA, .set = {{"llama.attention.sliding_window", .number = windows[i]}}});
        agree_until(all, part, windows[i]); /* position w is the first that does not see position 0 */
        free(part);
    }
    float *wide = logits_of_edit(&(edit){LLAMA, .set = {{"llama.attention.sliding_window", .number = N_IDS}}});
    agree_until(all, wide, N_IDS);
    free(all);
    free(wide);
}

/* Of the 3 layers the last alone, all, and none of them has the window. */
static void the_pattern_says_which_layers_have_the_window(void **s) {
    (void)s;
#define WINDOW .set = { {"llama.attention.sliding_window", .number = 40} }
    float *all = logits_of_edit(&(edit){LLAMA, WINDOW}), *none = logits_of(LLAMA, kern_best()->set, 0, 2);
    float *every = logits_of_edit(&(edit){LLAMA, WINDOW, .pattern = 1, .pattern_n = 3});
    float *last = logits_of_edit(&(edit){LLAMA, WINDOW, .pattern = 3, .pattern_n = 3});
    float *no = logits_of_edit(&(edit){LLAMA, WINDOW, .pattern = 4, .pattern_n = 3});
    agree_until(all, every, N_IDS);
    agree_until(none, no, N_IDS);
    agree_until(none, last, 40);
    agree_until(all, last, 40);
    free(all), free(none), free(every), free(last), free(no);
    refused(&(edit){LLAMA, WINDOW, .pattern = 1, .pattern_n = 4}, GV_FORMAT,
            "llama.attention.sliding_window_pattern has 4 values, expected 3, one a layer");
}

static void a_window_is_the_same_for_every_kernel_set_and_chunk(void **s) {
    (void)s;
    const edit e = {LLAMA, .set = {{"llama.attention.sliding_window", .number = 45}}};
    const char *path = edited(&e);
    float *want = logits_of(path, KERN_REF, 0, 1);
    for (int set = 0; set < KERN_SET_COUNT; set++)
        for (int k = 0; k < 3; k++) {
            static const int chunks[] = {1, 7, 64}, threads[] = {1, 2, 5};
            if (!kern_get((kern_set)set)) continue;
            float *got = logits_of(path, (kern_set)set, chunks[k], threads[k]);
            agree_until(want, got, N_IDS);
            free(got);
        }
    remove(path);
    free(want);
}

/* ---- RoPE scaling ---- */

static void scaling_that_is_not_computed_is_refused(void **s) {
    (void)s;
    refused(&(edit){LLAMA, .set = {{"llama.rope.scaling.type", "longrope"}}}, GV_UNSUPPORTED,
            "llama.rope.scaling.type = \"longrope\": expected none, linear or yarn (llama3 is tensor rope_freqs.weight)");
    refused(&(edit){LLAMA, .set = {{"llama.rope.scaling.type", "yarn"}}}, GV_FORMAT, "key llama.rope.scaling.factor is missing");
    refused(&(edit){LLAMA, .set = {{"llama.rope.scaling.type", "yarn"}, {"llama.rope.scaling.factor", .number = 0.5, .is_float = true}}},
            GV_FORMAT, "llama.rope.scaling.factor = 0.5, expected 1 to 1e+06");
    refused(&(edit){LLAMA, .set = {{"llama.rope.scaling.type", "yarn"},
                                   {"llama.rope.scaling.factor", .number = 4, .is_float = true},
                                   {"llama.rope.scaling.yarn_log_multiplier", .number = 0.1, .is_float = true}}},
            GV_FORMAT, "llama.rope.scaling.yarn_log_multiplier = 0.1, expected 0 to 0");
    refused(&(edit){LLAMA, .set = {{"llama.rope.scaling.type", "yarn"},
                                   {"llama.rope.scaling.factor", .number = 4, .is_float = true},
                                   {"llama.rope.scaling.original_context_length", .number = 0}}},
            GV_FORMAT, "llama.rope.scaling.original_context_length = 0, expected 1 to 2147483647");
}

/* The tables of a model with these keys: inv_freq shows at position 1 in the angle, and the attention factor in cos^2 + sin^2. */
static void yarn_keys_reach_the_tables(void **s) {
    (void)s;
    gv_err err = GV_ERR_INIT;
    const edit e = {LLAMA, .set = {{"llama.rope.scaling.type", "yarn"},
                                   {"llama.rope.scaling.factor", .number = 4, .is_float = true},
                                   {"llama.rope.scaling.original_context_length", .number = 128},
                                   {"llama.rope.scaling.yarn_beta_fast", .number = 16, .is_float = true},
                                   {"llama.rope.scaling.yarn_beta_slow", .number = 2, .is_float = true}}};
    const kern_yarn want = {4, 128, 16, 2, false};
    float inv_freq[8], c[8 * 3], sn[8 * 3];
    pool *threads = pool_new(1, &err);
    const char *path = edited(&e);
    gguf *g = gguf_open(path, &err);
    assert_non_null(g);
    model *m = model_from_gguf(g, 0, 0, threads, &err);
    if (!m) fail_msg("%s", err.msg);
    assert_int_equal(m->shape.n_rot, 16);
    kern_rope_frequencies(m->shape.rope_theta, 16, NULL, &want, inv_freq);
    kern_rope_table(inv_freq, 16, kern_yarn_attention(4, 0, 0), 0, 3, c, sn);
    assert_memory_equal(m->rope_cos, c, sizeof c);
    assert_memory_equal(m->rope_sin, sn, sizeof sn);
    model_free(m);
    remove(path);
    pool_free(threads);
}

static float attention_factor(const edit *e) {
    gv_err err = GV_ERR_INIT;
    model_shape shape;
    const char *path = edited(e);
    tensors *t = tensors_open(path, &err);
    assert_non_null(t);
    if (!model_read_shape(t, &shape, &err)) fail_msg("%s", err.msg);
    tensors_close(t);
    remove(path);
    return shape.rope_attention;
}

static void the_attention_factor_is_inferred_given_or_raised(void **s) {
    (void)s;
#define YARN                                                                                                                               \
    {"llama.rope.scaling.type", "yarn"}, {                                                                                                 \
        "llama.rope.scaling.factor", .number = 4, .is_float = true                                                                         \
    }
    const float inferred = kern_yarn_attention(4, 0, 0); /* 0.1 ln 4 + 1 */
    assert_true(inferred == 0x1.237d38p+0f);
    assert_true(attention_factor(&(edit){LLAMA, .set = {YARN}}) == inferred);
    assert_true(attention_factor(&(edit){LLAMA, .set = {YARN, {"llama.rope.scaling.yarn_attn_factor", .number = 1.5, .is_float = true}}}) ==
                1.5f);
    assert_true(attention_factor(&(edit){LLAMA, .set = {YARN, {"llama.rope.scaling.attn_factor", .number = 2, .is_float = true}}}) ==
                2 * inferred);
    assert_true(attention_factor(&(edit){LLAMA, .set = {YARN,
                                                        {"llama.rope.scaling.yarn_mscale", .number = 0.5, .is_float = true},
                                                        {"llama.rope.scaling.yarn_mscale_all_dim", .number = 1, .is_float = true}}}) ==
                kern_yarn_attention(4, 0.5f, 1));
    assert_true(attention_factor(&(edit){.from = LLAMA}) == 1);
}

/* The context that YaRN reaches is original times factor, where context_length is smaller. */
static void yarn_reaches_further_than_the_original_context(void **s) {
    (void)s;
    const struct {
        int original;
        int64_t reach;
    } cases[] = {{512, 2048}, {128, 1024}, {1024, 4096}}; /* context_length is 1024 */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gv_err err = GV_ERR_INIT;
        model_shape shape;
        const char *path =
            edited(&(edit){LLAMA, .set = {YARN, {"llama.rope.scaling.original_context_length", .number = cases[i].original}}});
        tensors *t = tensors_open(path, &err);
        assert_non_null(t);
        if (!model_read_shape(t, &shape, &err)) fail_msg("%s", err.msg);
        assert_int_equal(shape.ctx_train, cases[i].reach);
        tensors_close(t);
        remove(path);
    }
}

static void linear_scaling_by_the_key_is_that_by_the_tensor(void **s) {
    (void)s;
    float *plain = logits_of(LLAMA, kern_best()->set, 0, 2);
    float *one = logits_of_edit(
        &(edit){LLAMA, .set = {{"llama.rope.scaling.type", "linear"}, {"llama.rope.scaling.factor", .number = 1, .is_float = true}}});
    float *two = logits_of_edit(
        &(edit){LLAMA, .set = {{"llama.rope.scaling.type", "linear"}, {"llama.rope.scaling.factor", .number = 2, .is_float = true}}});
    agree_until(plain, one, N_IDS);
    agree_until(plain, two, 1);
    free(plain);
    free(one);
    free(two);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_of_experts_that_lie_are_refused),
        cmocka_unit_test(tensors_of_experts_that_lie_are_refused),
        cmocka_unit_test(one_tensor_for_each_expert_is_the_same_model),
        cmocka_unit_test(more_experts_used_are_other_logits),
        cmocka_unit_test(ties_of_the_router_go_to_the_lowest_numbers),
        cmocka_unit_test(a_window_hides_what_is_older),
        cmocka_unit_test(the_pattern_says_which_layers_have_the_window),
        cmocka_unit_test(a_window_is_the_same_for_every_kernel_set_and_chunk),
        cmocka_unit_test(scaling_that_is_not_computed_is_refused),
        cmocka_unit_test(yarn_keys_reach_the_tables),
        cmocka_unit_test(the_attention_factor_is_inferred_given_or_raised),
        cmocka_unit_test(yarn_reaches_further_than_the_original_context),
        cmocka_unit_test(linear_scaling_by_the_key_is_that_by_the_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
