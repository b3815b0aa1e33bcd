/* Hugging Face folders: config.json fields with both sides named, tensors found and checked, the order of rows, and weights quantised while
 * loading: the same bytes as those of a GGUF quantised beforehand. */
#include "support/engine_fixture.h"

#include "base/file.h"
#include "kern/quant.h"
#include "modelfile/hf_config.h"

#define MODELS GAVEL_TEST_DATA "/oracle/models/"

/* ---- config.json ---- */

static void config_refused(const char *json, gv_code code, const char *message) {
    gv_err err = GV_ERR_INIT;
    hf_config c;
    assert_false(hf_config_parse(sv_of(json), &c, &err));
    assert_string_equal(err.msg, message);
    assert_int_equal(err.code, code);
}

static hf_config config_of(const char *json) {
    gv_err err = GV_ERR_INIT;
    hf_config c;
    if (!hf_config_parse(sv_of(json), &c, &err)) fail_msg("%s: %s", json, err.msg);
    return c;
}

#define LLAMA "{\"model_type\":\"llama\""
#define QWEN2_WINDOW                                                                                                                       \
    "{\"model_type\":\"qwen2\",\"num_hidden_layers\":2,\"sliding_window\":9,\"use_sliding_window\":true,\"max_window_layers\":"

static void what_is_not_computed_is_refused_by_name(void **state) {
    (void)state;
    config_refused("[]", GV_FORMAT, "array, expected an object");
    config_refused("{}", GV_FORMAT, "model_type is missing, expected a string");
    config_refused("{\"model_type\":\"gemma\"}", GV_UNSUPPORTED,
                   "model_type \"gemma\" is not supported; llama, mistral, mixtral and qwen2 are");
    config_refused(LLAMA ",\"architectures\":[\"LlamaForSequenceClassification\"]}", GV_UNSUPPORTED,
                   "architectures has \"LlamaForSequenceClassification\", expected \"LlamaForCausalLM\" for model_type \"llama\"");
    config_refused(LLAMA ",\"hidden_act\":\"gelu\"}", GV_UNSUPPORTED, "hidden_act = \"gelu\": gavel computes \"silu\" or \"swish\"");
    config_refused(LLAMA ",\"mlp_bias\":true}", GV_UNSUPPORTED, "mlp_bias = true: gavel computes false");
    config_refused("{\"model_type\":\"mistral\",\"attention_bias\":true}", GV_UNSUPPORTED, "attention_bias = true: gavel computes false");
    config_refused(LLAMA ",\"torch_dtype\":\"float8_e4m3fn\"}", GV_UNSUPPORTED,
                   "torch_dtype = \"float8_e4m3fn\": gavel computes \"bfloat16\" or \"float16\" or \"float32\"");
    config_refused(LLAMA ",\"rope_scaling\":{\"rope_type\":\"longrope\",\"factor\":2}}", GV_UNSUPPORTED,
                   "rope_type \"longrope\": gavel computes default, linear, llama3 and yarn");
    config_refused(LLAMA ",\"rope_scaling\":{\"type\":\"linear\"}}", GV_FORMAT, "rope_scaling has no factor");
    config_refused(LLAMA ",\"partial_rotary_factor\":0.5}", GV_UNSUPPORTED, "partial_rotary_factor = 0.5: gavel computes 1 or 1.0");
    config_refused(LLAMA ",\"quantization_config\":{\"quant_method\":\"gptq\"}}", GV_UNSUPPORTED,
                   "quantization_config: gavel reads folders of F32, F16 and BF16 weights and quantises itself (--weights)");
}

static void layer_types_that_are_not_computed_are_refused(void **state) {
    (void)state;
    config_refused(QWEN2_WINDOW "28,\"layer_types\":[\"full_attention\"]}", GV_FORMAT,
                   "layer_types is array of 1, expected an array of 2 layers");
    config_refused(QWEN2_WINDOW "28,\"layer_types\":[\"full_attention\",\"chunked_attention\"]}", GV_UNSUPPORTED,
                   "layer_types[1] is \"chunked_attention\": gavel computes full_attention and sliding_attention");
    config_refused("{\"model_type\":\"qwen2\",\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]}", GV_FORMAT,
                   "layer_types[0] is sliding_attention, but there is no window (use_sliding_window, sliding_window)");
    config_refused("{\"model_type\":\"mistral\",\"num_hidden_layers\":2,\"layer_types\":[\"sliding_attention\",\"full_attention\"]}",
                   GV_UNSUPPORTED,
                   "layer_types[1] is full_attention: gavel computes sliding_attention in all layers of model_type \"mistral\"");
    config_refused(LLAMA ",\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]}", GV_FORMAT,
                   "layer_types[0] is sliding_attention, but there is no window (sliding_window)");
}

static void numbers_out_of_range_name_field_and_bounds(void **state) {
    (void)state;
    config_refused(LLAMA ",\"num_hidden_layers\":0}", GV_FORMAT, "num_hidden_layers = 0, expected 1 to 1024");
    config_refused(LLAMA ",\"num_hidden_layers\":1e300}", GV_FORMAT, "num_hidden_layers = 1e300, expected 1 to 1024");
    config_refused(LLAMA ",\"hidden_size\":-64}", GV_FORMAT, "hidden_size = -64, expected 1 to 1048576");
    config_refused(LLAMA ",\"hidden_size\":\"64\"}", GV_FORMAT, "hidden_size = \"64\", expected 1 to 1048576");
    config_refused(LLAMA ",\"hidden_size\":100,\"num_attention_heads\":3}", GV_FORMAT,
                   "hidden_size = 100 is no multiple of num_attention_heads = 3, and there is no head_dim");
    config_refused(LLAMA ",\"num_key_value_heads\":5}", GV_FORMAT, "num_attention_heads = 32 is no multiple of num_key_value_heads = 5");
    config_refused(LLAMA ",\"head_dim\":33}", GV_UNSUPPORTED, "head_dim = 33 is odd");
    config_refused(LLAMA ",\"rope_theta\":1e999}", GV_FORMAT, "rope_theta = 1e999, expected 1 to 1e+12");
    config_refused(LLAMA ",\"rms_norm_eps\":-1}", GV_FORMAT, "rms_norm_eps = -1, expected 0 to 1");
    config_refused(LLAMA ",\"tie_word_embeddings\":1}", GV_FORMAT, "tie_word_embeddings = 1, expected true or false");
    config_refused("{\"model_type\":\"mixtral\",\"num_experts_per_tok\":9}", GV_FORMAT, "num_experts_per_tok = 9, expected 1 to 8");
    config_refused(LLAMA ",\"vocab_size\":4194305}", GV_FORMAT, "vocab_size = 4194305, expected 1 to 4194304");
}

static void check_window_pattern(const hf_config *c) {
    gv_err err = GV_ERR_INIT;
    buf bytes = {0};
    gguf_array pattern;
    assert_true(hf_config_keys(c, "m", &bytes, &err));
    gguf *g = gguf_open_memory(bytes.p, bytes.n, "m", &err);
    assert_non_null(g);
    assert_true(gguf_get_array(g, "qwen2.attention.sliding_window_pattern", GGUF_BOOL, &pattern, NULL, &err));
    assert_int_equal(pattern.n, 32);
    for (int i = 0; i < 32; i++) assert_int_equal(pattern.p[i], i >= 10);
    gguf_close(g);
    buf_fini(&bytes);
}

static void yarn_fields_become_keys(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    const struct {
        const char *key;
        float value;
    } want[] = {{"factor", 40}, {"yarn_beta_fast", 32}, {"yarn_beta_slow", 1}, {"yarn_mscale", 0.707f}, {"yarn_mscale_all_dim", 1}};
    const hf_config c = config_of(LLAMA ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":40,\"original_max_position_embeddings\":4096,"
                                        "\"mscale\":0.707,\"mscale_all_dim\":1.0,\"truncate\":false}}");
    buf bytes = {0};
    assert_true(hf_config_keys(&c, "m", &bytes, &err));
    gguf *g = gguf_open_memory(bytes.p, bytes.n, "m", &err);
    assert_non_null(g);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        char key[64];
        float value = 0;
        snprintf(key, sizeof key, "llama.rope.scaling.%s", want[i].key);
        if (!gguf_get_f32(g, key, &value, NULL, &err)) fail_msg("%s", err.msg);
        assert_true(value == want[i].value);
    }
    bool truncate = true;
    assert_true(gguf_get_bool(g, "llama.rope.scaling.yarn_truncate", &truncate, NULL, &err));
    assert_false(truncate);
    gguf_close(g);
    buf_fini(&bytes);
}

static void defaults_and_windows_are_those_of_transformers(void **state) {
    (void)state;
    hf_config c = config_of("{\"model_type\":\"mistral\",\"sliding_window\":null}");
    assert_int_equal(c.window, 0);
    assert_int_equal(c.heads_kv, 8);
    assert_int_equal(config_of("{\"model_type\":\"mistral\"}").window, 4096);
    assert_int_equal(config_of("{\"model_type\":\"mistral\",\"sliding_window\":512}").window, 512);
    assert_int_equal(config_of("{\"model_type\":\"mixtral\"}").experts_used, 2);
    assert_int_equal(config_of("{\"model_type\":\"qwen2\",\"sliding_window\":131072,\"use_sliding_window\":false}").window, 0);
    assert_int_equal(
        config_of("{\"model_type\":\"qwen2\",\"sliding_window\":9,\"use_sliding_window\":true,\"max_window_layers\":32}").window, 0);
    assert_int_equal(
        config_of("{\"model_type\":\"qwen2\",\"sliding_window\":9,\"use_sliding_window\":true,\"max_window_layers\":0}").window, 9);
    c = config_of("{\"model_type\":\"qwen2\",\"sliding_window\":9,\"use_sliding_window\":true,\"max_window_layers\":10}");
    assert_true(c.window == 9 && c.window_layers == 22 && !c.has_window[9] && c.has_window[10]);
    check_window_pattern(&c);
    c = config_of(QWEN2_WINDOW "28,\"layer_types\":[\"sliding_attention\",\"sliding_attention\"]}");
    assert_true(c.window == 9 && c.window_layers == 2);
    c = config_of(QWEN2_WINDOW "28,\"layer_types\":[\"full_attention\",\"sliding_attention\"]}");
    assert_true(c.window == 9 && c.window_layers == 1 && !c.has_window[0] && c.has_window[1]);
    c = config_of(QWEN2_WINDOW "0,\"layer_types\":[\"full_attention\",\"full_attention\"]}");
    assert_int_equal(c.window, 0);
    c = config_of("{\"model_type\":\"mistral\",\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]}");
    assert_int_equal(c.window, 4096);
    assert_int_equal(config_of(LLAMA ",\"torch_dtype\":\"auto\",\"dtype\":\"auto\"}").layers, 32);
    assert_int_equal(config_of(LLAMA "}").heads_kv, 32);
    assert_int_equal(config_of(LLAMA ",\"sliding_window\":7}").window, 0);
    c = config_of(
        LLAMA ",\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":5e5,\"factor\":8.0},\"_name_or_path\":\"org/tiny-model/\"}");
    assert_true(c.rope_theta == 5e5 && c.rope_factor == 8 && c.rope_high == 4);
    assert_string_equal(c.rope_type, "llama3");
    assert_string_equal(c.name, "tiny-model");
}

/* ---- tensors ---- */

static buf read_file(const char *path) {
    gv_err err = GV_ERR_INIT;
    buf b = {0};
    if (!file_read_all(path, 1 << 26, &b, &err)) fail_msg("%s", err.msg);
    return b;
}

/* The llama folder with one thing in config.json replaced. */
static void folder_refused(const char *from, const char *to, const char *message) {
    gv_err err = GV_ERR_INIT;
    buf config = read_file(MODELS "llama/hf-f32/config.json"), changed = {0};
    const size_t at = sv_find(buf_view(&config), sv_of(from), 0);
    assert_true(at != SIZE_MAX);
    buf_add(&changed, config.p, at);
    buf_add_str(&changed, to);
    buf_add_str(&changed, config.p + at + strlen(from));
    safetensors *s = safetensors_open(MODELS "llama/hf-f32/model.safetensors", &err);
    assert_non_null(s);
    assert_null(tensors_from_hf(buf_view(&changed), s, "folder", &err));
    assert_string_equal(err.msg, message);
    buf_fini(&config);
    buf_fini(&changed);
}

static void tensors_that_do_not_fit_the_config_are_refused(void **state) {
    (void)state;
    folder_refused("\"vocab_size\": 611", "\"vocab_size\": 612",
                   "folder: tensor model.embed_tokens.weight: shape [611, 64], expected [vocab_size = 612, hidden_size = 64]");
    folder_refused("\"head_dim\": 16", "\"head_dim\": 18",
                   "folder: tensor model.layers.0.self_attn.q_proj.weight: shape [64, 64], expected [num_attention_heads * head_dim = 72, "
                   "hidden_size = 64]");
    folder_refused(
        "\"intermediate_size\": 160", "\"intermediate_size\": 161",
        "folder: tensor model.layers.0.mlp.gate_proj.weight: shape [160, 64], expected [intermediate_size = 161, hidden_size = 64]");
    folder_refused("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4",
                   "folder: tensor model.layers.3.input_layernorm.weight is missing");
    folder_refused("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2",
                   "folder: tensor model.layers.2.input_layernorm.weight is none that model_type llama uses");
    folder_refused("\"model_type\": \"llama\"", "\"model_type\": \"gpt2\"",
                   "folder: config.json: model_type \"gpt2\" is not supported; llama, mistral, mixtral and qwen2 are");
}

static void tied_embeddings_ignore_the_head_as_transformers_does(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    buf config = read_file(MODELS "llama/hf-f32/config.json");
    const size_t at = sv_find(buf_view(&config), SV("\"tie_word_embeddings\": false"), 0);
    memcpy(config.p + at, "\"tie_word_embeddings\":  true", 28);
    safetensors *s = safetensors_open(MODELS "llama/hf-f32/model.safetensors", &err);
    tensors *t = tensors_from_hf(buf_view(&config), s, "folder", &err);
    if (!t) fail_msg("%s", err.msg);
    assert_null(tensors_find(t, "output.weight"));
    assert_non_null(tensors_find(t, "token_embd.weight"));
    tensors_close(t);
    buf_fini(&config);
}

/* Every tensor of the folder, row by row, against the GGUF that llama.cpp's converter made from it. */
static void same_tensors(const char *folder, const char *file) {
    gv_err err = GV_ERR_INIT;
    tensors *hf = tensors_open(folder, &err), *g = tensors_open(file, &err);
    if (!hf || !g) fail_msg("%s", err.msg);
    size_t n_same = 0;
    for (size_t i = 0; i < tensors_count(hf); i++) {
        const tensor_view *a = tensors_at(hf, i), *b = tensors_find(g, a->name);
        assert_int_equal(tensors_number(hf, a), i);
        assert_ptr_equal(tensors_find(hf, a->name), a);
        if (!b) continue; /* experts: one tensor for all in the GGUF */
        assert_int_equal(a->n_bytes, b->n_bytes);
        assert_int_equal(a->type, b->type);
        const int64_t rows = a->n_dims > 1 ? a->ne[1] : a->ne[0];
        for (int64_t r = 0; r < rows; r++) assert_memory_equal(tensor_row(a, r), tensor_row(b, r), a->n_bytes / (size_t)rows);
        n_same++;
    }
    assert_true(n_same >= tensors_count(g) - 6); /* 2 layers of 3 merged experts */
    tensors_close(hf);
    tensors_close(g);
}

static void rows_are_those_of_the_converted_gguf(void **state) {
    (void)state;
    same_tensors(MODELS "llama/hf-f32", MODELS "llama/llama-f32.gguf");
    same_tensors(MODELS "llama3/hf-f32", MODELS "llama3/llama3-f32.gguf");
    same_tensors(MODELS "mistral/hf-f32", MODELS "mistral/mistral-f32.gguf");
    same_tensors(MODELS "mixtral/hf-f32", MODELS "mixtral/mixtral-f32.gguf");
    same_tensors(MODELS "qwen2/hf-f32", MODELS "qwen2/qwen2-f32.gguf");
}

static void identity_covers_every_file(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    file_id a, b;
    tensors *f32 = tensors_open(MODELS "llama/hf-f32", &err), *bf16 = tensors_open(MODELS "llama/hf-bf16", &err);
    assert_int_equal(tensors_n_files(f32), 2);
    assert_string_equal(tensors_file_name(f32, 0), "config.json");
    assert_string_equal(tensors_file_name(f32, 1), "model.safetensors");
    assert_true(tensors_identity(f32, &a) && tensors_identity(bf16, &b));
    assert_memory_not_equal(&a, &b, sizeof a);
    assert_int_equal(a.size, tensors_file_map(f32, 0)->n + tensors_file_map(f32, 1)->n);
    tensors_close(f32);
    tensors_close(bf16);
}

/* ---- quantised while loading ---- */

static model *load(tensors *file, const quant_mix *mix, pool *threads) {
    gv_err err = GV_ERR_INIT;
    model *m = model_open(file, mix, 32, 0, threads, &err);
    if (!m) fail_msg("%s", err.msg);
    return m;
}

/* The folder's tensors quantised beforehand, as a GGUF in memory. */
static gguf *quantised_gguf(const tensors *t, const quant_mix *mix, buf *bytes) {
    gv_err err = GV_ERR_INIT;
    gguf_out *o = gguf_out_new();
    const size_t n = tensors_count(t);
    uint8_t **data = calloc(n, sizeof *data);
    for (size_t i = 0; i < gguf_n_keys(tensors_keys(t)); i++) gguf_out_copy_key(o, tensors_keys(t), i);
    const hf_config *c = tensors_hf_config(t);
    const quant_mix_model facts = {(int)c->layers, (int)c->experts, c->tied, c->heads > c->heads_kv, false};
    for (size_t i = 0; i < n; i++) {
        tensor_view v = *tensors_at(t, i);
        const int64_t rows = v.n_dims > 1 ? v.ne[1] : v.ne[0], cols = v.n_dims > 1 ? v.ne[0] : 1;
        const dtype type = quant_mix_touches(v.name, v.n_dims) ? quant_mix_choose(mix, &facts, v.name, cols) : v.type;
        const size_t row_bytes = (size_t)cols / dtype_get(type)->block_elems * dtype_get(type)->block_bytes;
        float *x = malloc((size_t)cols * sizeof *x);
        data[i] = malloc((size_t)rows * row_bytes);
        for (int64_t r = 0; r < rows; r++) {
            kern_dequant_row(v.type, tensor_row(&v, r), x, cols);
            assert_int_equal(quant_row(type, x, NULL, cols, data[i] + (size_t)r * row_bytes), -1);
        }
        free(x);
        v.type = type, v.data = data[i], v.n_bytes = (size_t)rows * row_bytes, v.rope_heads = 0;
        gguf_out_tensor(o, &v);
    }
    if (!gguf_out_bytes(o, bytes, &err)) fail_msg("%s", err.msg);
    gguf_out_free(o);
    for (size_t i = 0; i < n; i++) free(data[i]);
    free(data);
    gguf *g = gguf_open_memory(bytes->p, bytes->n, "q.gguf", &err);
    if (!g) fail_msg("%s", err.msg);
    return g;
}

static void same_bytes(const char *folder, const char *type, pool *threads, pool *one) {
    gv_err err = GV_ERR_INIT;
    buf bytes = {0};
    const quant_mix *mix = quant_mix_by_name(type, &err);
    tensors *source = tensors_open(folder, &err);
    if (!source || !mix) fail_msg("%s", err.msg);
    model *before = load(tensors_from_gguf(quantised_gguf(source, mix, &bytes)), NULL, threads);
    model *loading = load(tensors_open(folder, &err), mix, threads), *alone = load(tensors_open(folder, &err), mix, one);
    assert_int_equal(loading->n_parts, before->n_parts + (loading->embedding == &loading->own));
    for (size_t i = 0, k = 0; i < loading->n_parts; i++) {
        const model_part *p = &loading->part[i];
        if (p->rows_only) { /* the embedding: packed memory here, the file there */
            assert_memory_equal(loading->own.data, before->embedding->data, before->embedding->n_bytes);
            assert_int_equal(loading->own.n_bytes, before->embedding->n_bytes);
            continue;
        }
        const kern_matrix *w = p->to, *v = before->part[k++].to;
        assert_int_equal(w->type, v->type);
        assert_memory_equal(w->data, v->data, w->group_bytes * (size_t)w->n_groups);
    }
    assert_memory_equal(loading->packed, alone->packed, loading->packed_bytes);
    if (loading->embedding)
        assert_int_equal(model_mapped_bytes(loading), loading->embedding == &loading->own ? 0 : loading->embedding->n_bytes);
    model_free(before);
    model_free(loading);
    model_free(alone);
    tensors_close(source);
    buf_fini(&bytes);
}

static void weights_quantised_while_loading_are_those_quantised_before(void **state) {
    (void)state;
    static const char *const folders[] = {MODELS "llama/hf-f32",    MODELS "llama3/hf-bf16",  MODELS "mistral/hf-f32",
                                          MODELS "mistral/hf-bf16", MODELS "mixtral/hf-bf16", MODELS "qwen2/hf-bf16"};
    static const char *const types[] = {"q8_0", "q6_k", "q5_k", "q4_k", "q4_k_m", "bf16"};
    gv_err err = GV_ERR_INIT;
    pool *threads = pool_new(3, &err), *one = pool_new(1, &err);
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++)
        for (size_t k = 0; k < sizeof types / sizeof *types; k++) same_bytes(folders[f], types[k], threads, one);
    pool_free(threads);
    pool_free(one);
}

static void what_cannot_be_quantised_is_refused_by_name(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    const quant_mix *mix = quant_mix_by_name("q4_k", &err);
    pool *one = pool_new(1, &err);
    assert_null(model_open(tensors_open(MODELS "mistral/mistral-Q8_0.gguf", &err), mix, 32, 0, one, &err));
    assert_string_equal(err.msg,
                        MODELS "mistral/mistral-Q8_0.gguf: tensor token_embd.weight is Q8_0: only F32, F16 and BF16 weights can be "
                               "quantised to q4_k");
    gv_err_clear(&err);
    buf bytes = read_file(MODELS "mistral/hf-f32/model.safetensors"), config = read_file(MODELS "mistral/hf-f32/config.json");
    safetensors *s = safetensors_open_memory(bytes.p, bytes.n, "m", &err);
    const tensor_view *t = safetensors_find(s, "model.layers.1.mlp.up_proj.weight");
    const float nan = __builtin_nanf("");
    memcpy((uint8_t *)(uintptr_t)t->data + 4 * (3 * 256 + 7), &nan, 4);
    assert_null(model_open(tensors_from_hf(buf_view(&config), s, "folder", &err), mix, 32, 0, one, &err));
    assert_string_equal(err.msg, "folder: tensor blk.1.ffn_up.weight: row 3, column 7 is not a finite number");
    pool_free(one);
    buf_fini(&bytes);
    buf_fini(&config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_computed_is_refused_by_name),
        cmocka_unit_test(numbers_out_of_range_name_field_and_bounds),
        cmocka_unit_test(yarn_fields_become_keys),
        cmocka_unit_test(defaults_and_windows_are_those_of_transformers),
        cmocka_unit_test(layer_types_that_are_not_computed_are_refused),
        cmocka_unit_test(tensors_that_do_not_fit_the_config_are_refused),
        cmocka_unit_test(tied_embeddings_ignore_the_head_as_transformers_does),
        cmocka_unit_test(rows_are_those_of_the_converted_gguf),
        cmocka_unit_test(identity_covers_every_file),
        cmocka_unit_test(weights_quantised_while_loading_are_those_quantised_before),
        cmocka_unit_test(what_cannot_be_quantised_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
