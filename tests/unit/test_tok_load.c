/* Loading hostile or unsupported tokenizers: each refusal with its code and message, and the few odd ones that must load. */
#include "base/file.h"
#include "tok/tok_internal.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define DATA GAVEL_TEST_DATA "/tokenizers/"
#define MAX  600

static void expect(tok *t, const gv_err *err, gv_code code, const char *msg) {
    if (t) {
        tok_free(t);
        fail_msg("it loaded; expected \"%s\"", msg);
    }
    if (!strstr(err->msg, msg)) fail_msg("message is \"%s\", expected \"%s\"", err->msg, msg);
    assert_int_equal(err->code, code);
}

/* ---- GGUF, built in memory from a description that each test bends */

typedef struct desc {
    const char *model, *pre;
    char name[MAX][80];
    sv wide[2]; /* in place of tokens 300 and 301, if set: names longer than 80 bytes or not text */
    int32_t type[MAX];
    float score[MAX];
    size_t n, n_types, n_scores;
    sv merge[16];
    size_t n_merges;
    bool int_scores, float_types, int_tokens;
    void (*more)(gguf_out *o);
} desc;

static void add(desc *d, const char *name, int32_t type, float score) {
    snprintf(d->name[d->n], sizeof d->name[0], "%s", name);
    d->type[d->n] = type;
    d->score[d->n++] = score;
    d->n_types = d->n_scores = d->n;
}

static desc *spm_desc(void) {
    desc *d = calloc(1, sizeof *d);
    d->model = "llama";
    add(d, "<unk>", TT_UNKNOWN, 0);
    add(d, "<s>", TT_CONTROL, 0);
    add(d, "</s>", TT_CONTROL, 0);
    for (unsigned b = 0; b < 256; b++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", b);
        add(d, name, TT_BYTE, 0);
    }
    const char *pieces[] = {"\xe2\x96\x81",
                            "a",
                            "b",
                            "ab",
                            ("\xe2\x96\x81"
                             "a"),
                            "aa",
                            "aaaa"};
    for (int i = 0; i < 7; i++) add(d, pieces[i], TT_NORMAL, (float)-i);
    return d;
}

static desc *bpe_desc(void) {
    desc *d = calloc(1, sizeof *d);
    d->model = "gpt2";
    d->pre = "gpt-2";
    for (unsigned b = 0; b < 256; b++) {
        char name[8] = {0};
        (void)utf8_put(tok_alphabet_char((uint8_t)b), name);
        add(d, name, TT_NORMAL, 0);
    }
    add(d, "ab", TT_NORMAL, 0);
    add(d, "abc", TT_NORMAL, 0);
    add(d, "<|end|>", TT_CONTROL, 0);
    d->merge[d->n_merges++] = SV("a b");
    d->merge[d->n_merges++] = SV("ab c");
    return d;
}

static tok *load(desc *d, gv_err *err) {
    gguf_out *o = gguf_out_new();
    sv names[MAX];
    buf bytes = {0};
    for (size_t i = 0; i < d->n; i++) names[i] = sv_of(d->name[i]);
    if (d->wide[0].p) names[3] = d->wide[0];
    if (d->wide[1].p) names[4] = d->wide[1];
    gguf_out_string(o, "general.architecture", SV("llama"));
    if (d->model) gguf_out_string(o, "tokenizer.ggml.model", sv_of(d->model));
    if (d->pre) gguf_out_string(o, "tokenizer.ggml.pre", sv_of(d->pre));
    if (d->int_tokens)
        gguf_out_i32s(o, "tokenizer.ggml.tokens", d->type, d->n);
    else
        gguf_out_strings(o, "tokenizer.ggml.tokens", names, d->n);
    if (d->float_types)
        gguf_out_f32s(o, "tokenizer.ggml.token_type", d->score, d->n_types);
    else
        gguf_out_i32s(o, "tokenizer.ggml.token_type", d->type, d->n_types);
    if (d->int_scores)
        gguf_out_i32s(o, "tokenizer.ggml.scores", d->type, d->n_scores);
    else
        gguf_out_f32s(o, "tokenizer.ggml.scores", d->score, d->n_scores);
    if (d->n_merges) gguf_out_strings(o, "tokenizer.ggml.merges", d->merge, d->n_merges);
    if (d->more) d->more(o);
    if (!gguf_out_bytes(o, &bytes, err)) fail_msg("%s", err->msg);
    gguf_out_free(o);
    gguf *g = gguf_open_memory(bytes.p, bytes.n, "x.gguf", err);
    if (!g) fail_msg("%s", err->msg);
    tok *t = tok_from_gguf(g, err);
    gguf_close(g);
    buf_fini(&bytes);
    free(d);
    return t;
}

static void refused(desc *d, gv_code code, const char *msg) {
    gv_err err = GV_ERR_INIT;
    expect(load(d, &err), &err, code, msg);
    assert_true(sv_starts(sv_of(err.msg), SV("x.gguf: ")));
    assert_null(strstr(err.msg + 1, "x.gguf"));
}

static void the_plain_descriptions_load(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    tok *t = load(spm_desc(), &err);
    if (!t) fail_msg("%s", err.msg);
    assert_string_equal(tok_kind(t), "spm");
    assert_int_equal(tok_bos(t), 1);
    assert_int_equal(tok_eos(t), 2);
    assert_true(tok_adds_bos(t) && tok_is_eog(t, 2) && !tok_is_eog(t, 1) && tok_is_control(t, 0));
    tok_free(t);
    t = load(bpe_desc(), &err);
    if (!t) fail_msg("%s", err.msg);
    assert_string_equal(tok_kind(t), "gpt2");
    assert_int_equal(tok_bos(t), -1);
    assert_int_equal(tok_eos(t), -1);
    assert_true(!tok_adds_bos(t) && tok_is_eog(t, 258));
    tok_free(t);
}

static void gguf_of_other_families_is_refused(void **state) {
    (void)state;
    desc *d = spm_desc();
    d->model = "bert";
    refused(d, GV_UNSUPPORTED, "tokenizer.ggml.model \"bert\" is not one of llama, gpt2");
    d = spm_desc();
    d->model = NULL;
    refused(d, GV_FORMAT, "key tokenizer.ggml.model is missing");
    d = bpe_desc();
    d->pre = NULL;
    refused(d, GV_FORMAT, "key tokenizer.ggml.pre is missing");
    d = bpe_desc();
    d->pre = "deepseek-coder";
    refused(d, GV_UNSUPPORTED, "pre-tokenizer \"deepseek-coder\" (tokenizer.ggml.pre) is not one of gpt-2, smollm, llama-bpe, qwen2");
}

static void gguf_arrays_of_wrong_type_or_length_are_refused(void **state) {
    (void)state;
    desc *d = spm_desc();
    d->int_scores = true;
    refused(d, GV_FORMAT, "key tokenizer.ggml.scores: array of i32, expected array of f32");
    d = spm_desc();
    d->float_types = true;
    refused(d, GV_FORMAT, "key tokenizer.ggml.token_type: array of f32, expected array of i32");
    d = spm_desc();
    d->int_tokens = true;
    refused(d, GV_FORMAT, "key tokenizer.ggml.tokens: array of i32, expected array of string");
    d = spm_desc();
    d->n_scores--;
    refused(d, GV_FORMAT, "key tokenizer.ggml.scores has 265 entries for 266 tokens");
    d = spm_desc();
    d->n_types = 3;
    refused(d, GV_FORMAT, "key tokenizer.ggml.token_type has 3 entries for 266 tokens");
    d = spm_desc();
    d->n = d->n_types = d->n_scores = 0;
    refused(d, GV_FORMAT, "the vocabulary is empty");
}

static void byte_tokens_are_checked(void **state) {
    (void)state;
    const char *bad[] = {"<0x-1>", "<0x1>", "<0x100>", "<0xfF>", "<0x+1>", "<0x 1>"};
    for (size_t i = 0; i < 6; i++) {
        desc *d = spm_desc();
        char msg[100];
        strcpy(d->name[4], bad[i]);
        snprintf(msg, sizeof msg, "token 4 \"%s\" is of type BYTE but names no byte from <0x00> to <0xFF>", bad[i]);
        refused(d, GV_FORMAT, msg);
    }
    desc *d = spm_desc();
    d->type[3 + 0xff] = TT_NORMAL;
    refused(d, GV_FORMAT, "byte fallback is incomplete: there is no token <0xFF>");
    d = spm_desc();
    d->n = d->n_types = d->n_scores = 100; /* a vocabulary too small for its family */
    refused(d, GV_FORMAT, "byte fallback is incomplete: there is no token <0x61>");
    d = bpe_desc();
    d->type[7] = TT_BYTE;
    refused(d, GV_FORMAT, "token 7 is of type BYTE in a byte-level vocabulary");
}

static void bad_tokens_are_refused(void **state) {
    (void)state;
    desc *d = spm_desc();
    strcpy(d->name[262], "b");
    refused(d, GV_FORMAT, "tokens 261 and 262 are both \"b\"");
    d = spm_desc();
    d->name[260][0] = 0;
    refused(d, GV_FORMAT, "token 260 is empty");
    d = spm_desc();
    d->type[260] = 0;
    refused(d, GV_FORMAT, "token 260 has type 0; types are 1 to 6");
    d = spm_desc();
    d->type[260] = -7;
    refused(d, GV_FORMAT, "token 260 has type -7; types are 1 to 6");
    d = spm_desc();
    d->score[260] = __builtin_nanf("");
    refused(d, GV_FORMAT, "score of token 260 is not a finite number");
    d = spm_desc();
    d->score[260] = __builtin_inff();
    refused(d, GV_FORMAT, "score of token 260 is not a finite number");
    d = spm_desc();
    d->wide[0] = SV("\xff\xfe");
    refused(d, GV_FORMAT, "token 3 is not valid UTF-8");
    static char wide[TOK_MAX_PIECE + 1];
    memset(wide, 'x', sizeof wide);
    d = spm_desc();
    d->wide[0] = (sv){wide, sizeof wide};
    refused(d, GV_LIMIT, "token 3 has 8193 bytes; at most 8192 are read");
    d = bpe_desc();
    d->wide[0] = (sv){wide, TOK_MAX_SPECIAL + 1};
    d->type[3] = TT_CONTROL;
    refused(d, GV_LIMIT, "special token 3 has 257 bytes; at most 256 are read");
}

static void set_bos_last(gguf_out *o) {
    gguf_out_u32(o, "tokenizer.ggml.bos_token_id", 258);
}
static void set_bos_over(gguf_out *o) {
    gguf_out_u32(o, "tokenizer.ggml.bos_token_id", 266);
}
static void set_eos_over(gguf_out *o) {
    gguf_out_u32(o, "tokenizer.ggml.eos_token_id", 0x7fffffff);
}
static void set_eot_over(gguf_out *o) {
    gguf_out_u32(o, "tokenizer.ggml.eot_token_id", 1000000);
}
static void set_pad_over(gguf_out *o) {
    gguf_out_u32(o, "tokenizer.ggml.padding_token_id", 0xfffffffe);
}
static void set_bos_text(gguf_out *o) {
    gguf_out_string(o, "tokenizer.ggml.bos_token_id", SV("1"));
}
static void set_add_bos(gguf_out *o) {
    gguf_out_bool(o, "tokenizer.ggml.add_bos_token", true);
}
static void set_add_bos_int(gguf_out *o) {
    gguf_out_u32(o, "tokenizer.ggml.add_bos_token", 1);
}
static void set_extra(gguf_out *o) {
    gguf_out_bool(o, "tokenizer.ggml.remove_extra_whitespaces", true);
}
static void set_charsmap(gguf_out *o) {
    gguf_out_string(o, "tokenizer.ggml.precompiled_charsmap", SV("xxxx"));
}

static void special_ids_and_flags_are_checked(void **state) {
    (void)state;
    const struct {
        void (*more)(gguf_out *);
        gv_code code;
        const char *msg;
    } cases[] = {
        {set_bos_over, GV_FORMAT, "tokenizer.ggml.bos_token_id is 266, but the vocabulary has 266 tokens"},
        {set_eos_over, GV_FORMAT, "tokenizer.ggml.eos_token_id is 2147483647, but the vocabulary has 266 tokens"},
        {set_eot_over, GV_FORMAT, "tokenizer.ggml.eot_token_id is 1000000, but the vocabulary has 266 tokens"},
        {set_pad_over, GV_FORMAT, "tokenizer.ggml.padding_token_id is 4294967294, but the vocabulary has 266 tokens"},
        {set_bos_text, GV_FORMAT, "key tokenizer.ggml.bos_token_id: type string, expected an integer"},
        {set_add_bos_int, GV_FORMAT, "key tokenizer.ggml.add_bos_token: type u32, expected bool"},
        {set_extra, GV_UNSUPPORTED, "tokenizer.ggml.remove_extra_whitespaces true is not supported"},
        {set_charsmap, GV_FORMAT, "key tokenizer.ggml.precompiled_charsmap: type string, expected array"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        desc *d = spm_desc();
        d->more = cases[i].more;
        refused(d, cases[i].code, cases[i].msg);
    }
    desc *d = bpe_desc();
    d->more = set_add_bos;
    refused(d, GV_FORMAT, "BOS is to be added, but no BOS token is named");
}

static void merges_are_checked(void **state) {
    (void)state;
    const struct {
        sv merge;
        const char *msg;
    } cases[] = {
        {SV("abc"), "merge 2 \"abc\" is not two tokens and a space"},
        {SV("a b c"), "merge 2 \"a b c\" is not two tokens and a space"},
        {SV(""), "merge 2 \"\" is not two tokens and a space"},
        {SV(" "), "merge 2: \"\" is not in the vocabulary"},
        {SV("xyz a"), "merge 2: \"xyz\" is not in the vocabulary"},
        {SV("a xyz"), "merge 2: \"xyz\" is not in the vocabulary"},
        {SV("b a"), "merge 2 makes \"ba\", which is not in the vocabulary"},
        {SV("a b"), "merge 2 repeats merge 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        desc *d = bpe_desc();
        d->merge[d->n_merges++] = cases[i].merge;
        refused(d, GV_FORMAT, cases[i].msg);
    }
    desc *d = bpe_desc();
    d->n_merges = 0;
    refused(d, GV_FORMAT, "key tokenizer.ggml.merges is missing");
    gv_err err = GV_ERR_INIT;
    tok *t = tok_new(&err);
    assert_false(tok_reserve_merges(t, TOK_MAX_MERGES + 1ull, &err));
    assert_int_equal(err.code, GV_LIMIT);
    assert_string_equal(err.msg, "2097153 merges; at most 2097152 are read");
    tok_free(t);
}

static void a_merge_never_makes_a_control_token(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    desc *d = bpe_desc();
    d->type[257] = TT_CONTROL; /* abc, which merges a b and ab c spell */
    tok *t = load(d, &err);
    if (!t) fail_msg("%s", err.msg);
    ids out = {0};
    assert_true(tok_encode(t, SV("abc"), false, &out, &err));
    assert_int_equal(out.n, 2);
    assert_int_equal(out.v[0], 256);
    out.n = 0;
    assert_true(tok_encode(t, SV("abc"), true, &out, &err));
    assert_int_equal(out.n, 1);
    assert_int_equal(out.v[0], 257);
    ids_fini(&out);
    tok_free(t);
    d = spm_desc();
    d->type[262] = TT_CONTROL; /* ab */
    t = load(d, &err);
    if (!t) fail_msg("%s", err.msg);
    out = (ids){0};
    assert_true(tok_encode(t, SV("ab"), false, &out, &err));
    assert_int_equal(out.n, 2); /* _a b */
    ids_fini(&out);
    tok_free(t);
}

static void llama_bpe_takes_a_word_that_is_a_token_whatever_the_merges(void **state) {
    (void)state;
    const char *pre[] = {"llama-bpe", "gpt-2"};
    for (size_t i = 0; i < 2; i++) {
        gv_err err = GV_ERR_INIT;
        ids out = {0};
        desc *d = bpe_desc();
        d->pre = pre[i];
        d->n_merges = 1;        /* "abc" is a token that no merge makes */
        d->more = set_bos_last; /* llama-bpe adds one */
        tok *t = load(d, &err);
        if (!t) fail_msg("%s", err.msg);
        assert_true(tok_adds_bos(t) == (i == 0));
        assert_true(tok_encode(t, SV("abc"), false, &out, &err));
        assert_int_equal(out.n, i + 1);
        assert_int_equal(out.v[0], i ? 256 : 257);
        ids_fini(&out);
        tok_free(t);
    }
}

/* ---- tokenizer.json: a good file with one text replaced */

static void replace(buf *b, const char *from, const char *to) {
    size_t at = sv_find(buf_view(b), sv_of(from), 0);
    if (at == SIZE_MAX) fail_msg("the file has no \"%s\"", from);
    buf out = {0};
    buf_add(&out, b->p, at);
    buf_add_str(&out, to);
    buf_add(&out, b->p + at + strlen(from), b->n - at - strlen(from));
    buf_fini(b);
    *b = out;
}

static void json_refused(const char *file, const char *from, const char *to, gv_code code, const char *msg) {
    gv_err err = GV_ERR_INIT;
    buf b = {0}, path = {0};
    buf_printf(&path, DATA "%s/tokenizer.json", file);
    assert_true(file_read_all(path.p, 1 << 20, &b, &err));
    replace(&b, from, to);
    expect(tok_from_bytes(buf_view(&b), "json", &err), &err, code, msg);
    buf_fini(&b);
    buf_fini(&path);
}

static void what_is_no_tokenizer_json_is_refused(void **state) {
    (void)state;
    const struct {
        const char *text;
        gv_code code;
        const char *msg;
    } cases[] = {
        {"", GV_FORMAT, "invalid JSON at byte 0"},
        {"{", GV_FORMAT, "invalid JSON at byte 1"},
        {"[]", GV_FORMAT, "not a tokenizer.json: array, not an object"},
        {"{}", GV_FORMAT, "not a tokenizer.json: it has no model"},
        {"{\"model\":{\"type\":\"Unigram\"}}", GV_UNSUPPORTED, "model type is not one gavel knows: \"Unigram\""},
        {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.5}}", GV_UNSUPPORTED, "model.dropout is not one gavel knows: 0.5"},
        {"{\"model\":{\"end_of_word_suffix\":\"</w>\"}}", GV_UNSUPPORTED, "end_of_word_suffix is not one gavel knows: \"</w>\""},
        {"{\"model\":{\"type\":\"BPE\"}}", GV_UNSUPPORTED, "pre_tokenizer is missing"},
        {"{\"model\":{\"byte_fallback\":true}}", GV_UNSUPPORTED, "normalizer and pre_tokenizer are missing"},
        {"{\"a\":1,\"a\":2}", GV_FORMAT, "duplicate key \"a\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gv_err err = GV_ERR_INIT;
        expect(tok_from_bytes(sv_of(cases[i].text), "json", &err), &err, cases[i].code, cases[i].msg);
    }
    gv_err err = GV_ERR_INIT;
    expect(tok_from_bytes(SV("{}"), "xml", &err), &err, GV_USAGE, "tokenizer kind \"xml\" is not one of model, json");
}

static void unknown_json_pipelines_are_refused_by_name(void **state) {
    (void)state;
    json_refused("qwen2", "\"type\": \"NFC\"", "\"type\": \"NFKC\"", GV_UNSUPPORTED,
                 "normalizer is not one gavel knows: {\"type\":\"NFKC\"}");
    json_refused("qwen2", "\\\\p{N}|", "\\\\p{N}+|", GV_UNSUPPORTED, "pre_tokenizer is not one gavel knows: {\"type\":\"Sequence\"");
    json_refused("qwen2", "(?i:'s", "(a+)+$|(?i:'s", GV_UNSUPPORTED, "pre_tokenizer is not one gavel knows");
    json_refused("qwen2", "\"Isolated\"", "\"Removed\"", GV_UNSUPPORTED, "pre_tokenizer is not one gavel knows");
    json_refused("qwen2", "\"invert\": false", "\"invert\": true", GV_UNSUPPORTED, "pre_tokenizer is not one gavel knows");
    json_refused("qwen2", "\"add_prefix_space\": false", "\"add_prefix_space\": true", GV_UNSUPPORTED,
                 "pre_tokenizer is not one gavel knows");
    json_refused("qwen2", "\"lstrip\": false", "\"lstrip\": true", GV_UNSUPPORTED,
                 "added token \"<|endoftext|>\": lstrip is not supported");
    json_refused("spm", "\"Metaspace\"", "\"Whitespace\"", GV_UNSUPPORTED,
                 "pre_tokenizer is not one gavel knows: {\"type\":\"Whitespace\"");
    json_refused("spm", "\"split\": false", "\"split\": true", GV_UNSUPPORTED, "pre_tokenizer is not one gavel knows");
    json_refused("spm", "\"Fuse\"", "\"CTC\"", GV_UNSUPPORTED, "decoder is not one gavel knows: {\"type\":\"Sequence\"");
    json_refused("spm", "\"TemplateProcessing\"", "\"BertProcessing\"", GV_UNSUPPORTED, "post_processor is not one gavel knows");
    json_refused("spm", "\"SpecialToken\": {\n          \"id\": \"<s>\"", "\"SpecialToken\": {\n          \"id\": \"<q>\"", GV_FORMAT,
                 "post_processor names \"<q>\", which is not in the vocabulary");
    json_refused("spm", "\"single\": [", "\"single\": [{\"Sequence\":{\"id\":\"A\"}},", GV_UNSUPPORTED,
                 "post_processor is not one gavel knows");
    json_refused("spm", "\"unk_token\": \"<unk>\"", "\"unk_token\": \"<q>\"", GV_FORMAT, "unk_token \"<q>\" is not in the vocabulary");
}

static void json_ids_and_merges_are_checked(void **state) {
    (void)state;
    json_refused("qwen2", "\"id\": 728", "\"id\": 1048576", GV_LIMIT, "added token \"<|endoftext|>\" has id 1048576; ids go to 1048575");
    json_refused("qwen2", "\"id\": 728", "\"id\": -1", GV_FORMAT, "added token \"<|endoftext|>\" has no id");
    json_refused("qwen2", "\"id\": 728", "\"id\": 1.5", GV_FORMAT, "added token \"<|endoftext|>\" has no id");
    json_refused("qwen2", "\"id\": 728", "\"id\": 5", GV_FORMAT, "added token \"<|endoftext|>\" has id 5, which is \"&\"");
    json_refused("qwen2", "\"id\": 728", "\"id\": 800", GV_FORMAT, "no token has id 728, but 801 ids are in use");
    json_refused("qwen2", "\"#\": 2", "\"#\": 1", GV_FORMAT, "tokens \"\"\" and \"#\" both have id 1");
    json_refused("qwen2", "\"content\": \"<|im_start|>\"", "\"content\": \"\"", GV_FORMAT, "an added token has no content");
    json_refused("qwen2", "\"content\": \"<|im_start|>\"", "\"content\": \"&\"", GV_FORMAT, "tokens 5 and 729 are both \"&\"");
    json_refused("qwen2", "\"merges\": [", "\"merges\": [7,", GV_FORMAT, "merge 0 is not two tokens");
    json_refused("qwen2", "\"merges\": [", "\"merges\": [[\"a\"],", GV_FORMAT, "merge 0 is not two tokens");
    json_refused("qwen2", "\"merges\": [", "\"merges\": [[\"a\",\"qq\"],", GV_FORMAT, "merge 0: \"qq\" is not in the vocabulary");
    json_refused("qwen2", "\"merges\": [", "\"merges\": [\"q q\",", GV_FORMAT, "merge 0 makes \"qq\", which is not in the vocabulary");
    json_refused("spm", "\"<0xFE>\": ", "\"<0xfe>\": ", GV_FORMAT, "token 257 \"<0xfe>\" is of type BYTE but names no byte");
    json_refused("spm", "\"<0xFE>\": ", "\"<9xFE>\": ", GV_FORMAT, "byte fallback is incomplete: there is no token <0xFE>");
}

/* ---- tokenizer.model */

static void put_varint(buf *b, uint64_t v) {
    for (; v > 127; v >>= 7) buf_add_char(b, (char)(v | 128));
    buf_add_char(b, (char)v);
}

static void put_bytes(buf *b, unsigned number, sv v) {
    put_varint(b, number << 3 | 2);
    put_varint(b, v.n);
    buf_add_sv(b, v);
}

static void put_int(buf *b, unsigned number, uint64_t v) {
    put_varint(b, number << 3);
    put_varint(b, v);
}

static void put_piece(buf *b, const char *name, float score, unsigned type) {
    buf p = {0};
    put_bytes(&p, 1, sv_of(name));
    put_varint(&p, 2 << 3 | 5);
    buf_add(&p, &score, 4);
    if (type != 1) put_int(&p, 3, type);
    put_bytes(b, 1, buf_view(&p));
    buf_fini(&p);
}

typedef struct model_desc {
    uint64_t model_type, byte_fallback, suffix, extra, escape;
    sv charsmap, denormal;
    bool no_unknown, two_unknown, bad_byte;
    unsigned type; /* of one more piece, if not 0 */
} model_desc;

static void build_model(const model_desc *m, buf *b) {
    buf spec = {0};
    put_piece(b, "<unk>", 0, m->no_unknown ? 3 : 2);
    put_piece(b, "<s>", 0, 3);
    put_piece(b, "</s>", 0, m->two_unknown ? 2 : 3);
    for (unsigned i = 0; i < 256; i++) {
        char name[12];
        snprintf(name, sizeof name, m->bad_byte && i == 9 ? "<0x-1>" : "<0x%02X>", i);
        put_piece(b, name, 0, 6);
    }
    put_piece(b, "\xe2\x96\x81", -1, 1);
    if (m->type) put_piece(b, "zz", -2, m->type);
    put_int(&spec, 3, m->model_type);
    put_int(&spec, 35, m->byte_fallback);
    if (m->suffix) put_int(&spec, 24, 1);
    put_bytes(b, 2, buf_view(&spec));
    buf_clear(&spec);
    if (m->charsmap.n) put_bytes(&spec, 2, m->charsmap);
    put_int(&spec, 4, m->extra);
    put_int(&spec, 5, m->escape);
    put_bytes(b, 3, buf_view(&spec));
    buf_clear(&spec);
    if (m->denormal.n) {
        put_bytes(&spec, 2, m->denormal);
        put_bytes(b, 5, buf_view(&spec));
    }
    buf_fini(&spec);
}

#define GOOD_MODEL .model_type = 2, .byte_fallback = 1, .escape = 1

static void sentencepiece_models_are_checked(void **state) {
    (void)state;
    const struct {
        model_desc m;
        gv_code code;
        const char *msg;
    } cases[] = {
        {{.model_type = 1, .byte_fallback = 1, .escape = 1}, GV_UNSUPPORTED, "model_type unigram is not supported, only bpe"},
        {{.model_type = 9, .byte_fallback = 1, .escape = 1}, GV_UNSUPPORTED, "model_type unknown is not supported, only bpe"},
        {{.model_type = 2, .escape = 1}, GV_UNSUPPORTED, "a vocabulary without byte_fallback is not supported"},
        {{GOOD_MODEL, .suffix = 1}, GV_UNSUPPORTED, "treat_whitespace_as_suffix is not supported"},
        {{GOOD_MODEL, .extra = 1}, GV_UNSUPPORTED, "remove_extra_whitespaces is not supported"},
        {{.model_type = 2, .byte_fallback = 1}, GV_UNSUPPORTED, "escape_whitespaces false is not supported"},
        {{GOOD_MODEL, .charsmap = SV("x")}, GV_UNSUPPORTED, "normalizer_spec: a normalisation table is not supported"},
        {{GOOD_MODEL, .denormal = SV("x")}, GV_UNSUPPORTED, "denormalizer_spec: a normalisation table is not supported"},
        {{GOOD_MODEL, .no_unknown = true}, GV_FORMAT, "no piece is of type UNKNOWN"},
        {{GOOD_MODEL, .two_unknown = true}, GV_FORMAT, "pieces 0 and 2 are both of type UNKNOWN"},
        {{GOOD_MODEL, .bad_byte = true}, GV_FORMAT, "token 12 \"<0x-1>\" is of type BYTE but names no byte"},
        {{GOOD_MODEL, .type = 5}, GV_UNSUPPORTED, "piece 260 is of type UNUSED, which is not supported"},
        {{GOOD_MODEL, .type = 77}, GV_FORMAT, "token 260 has type 7; types are 1 to 6"},
    };
    gv_err err = GV_ERR_INIT;
    buf b = {0};
    build_model(&(model_desc){GOOD_MODEL, .type = 4}, &b);
    tok *t = tok_from_bytes(buf_view(&b), "model", &err);
    if (!t) fail_msg("%s", err.msg);
    tok_free(t);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&b);
        gv_err_clear(&err);
        build_model(&cases[i].m, &b);
        expect(tok_from_bytes(buf_view(&b), "model", &err), &err, cases[i].code, cases[i].msg);
    }
    buf_fini(&b);
}

static void broken_protobuf_is_refused(void **state) {
    (void)state;
    const struct {
        sv bytes;
        const char *msg;
    } cases[] = {
        {SV(""), "not a SentencePiece model: it has no pieces"},
        {SV("hello world"), "not a SentencePiece model: "},
        {SV("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "varint of more than 64 bits at offset 11"},
        {SV("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), "varint of more than 64 bits at offset 11"},
        {SV("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "not a SentencePiece model: length-delimited field"},
        {SV("\x0a\x80"), "not a SentencePiece model: varint"},
        {SV("\x0a\x05xx"), "not a SentencePiece model: length-delimited field"},
        {SV("\x0b"), "wire type 3 at offset 0 is not supported"},
        {SV("\x02\x00"), "field number 0 at offset 0"},
        {SV("\x08\x01"), "a field has wire type 0, expected 2"},
        {SV("\x0a\x02\x08\x01"), "piece 0: piece has wire type 0, expected 2"},
        {SV("\x0a\x02\x10\x01"), "piece 0: score has wire type 0, expected 5"},
        {SV("\x0a\x02\x15\x01"), "piece 0: 32-bit field"},
        {SV("\x0a\x00"), "token 0 is empty"},
        {SV("\x0a\x08\x0a\x01"
            "a\x15\x00\x00\xc0\x7f"),
         "score of token 0 is not a finite number"},
        {SV("\x12\x02\x1a\x00"), "trainer_spec: a field has wire type 2, expected 0"},
        {SV("\x1a\x02\x1a\x00"), "normalizer_spec: a field has wire type 2, expected 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gv_err err = GV_ERR_INIT;
        expect(tok_from_bytes(cases[i].bytes, "model", &err), &err, GV_FORMAT, cases[i].msg);
    }
}

static void every_truncation_of_a_model_is_an_error_or_loads(void **state) {
    (void)state;
    buf b = {0};
    build_model(&(model_desc){GOOD_MODEL}, &b);
    for (size_t n = 0; n < b.n; n++) {
        gv_err err = GV_ERR_INIT;
        char *exact = malloc(n ? n : 1);
        memcpy(exact, b.p, n);
        tok *t = tok_from_bytes((sv){exact, n}, "model", &err);
        assert_true(t || (err.code && err.msg[0]));
        tok_free(t);
        free(exact);
    }
    buf_fini(&b);
}

/* ---- folders */

typedef struct folder {
    char path[64];
} folder;

static void folder_new(folder *f) {
    strcpy(f->path, "/tmp/gavel-tok-XXXXXX");
    assert_non_null(mkdtemp(f->path));
}

static void folder_put(const folder *f, const char *name, sv text) {
    gv_err err = GV_ERR_INIT;
    file_writer w;
    char path[200];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    if (!file_writer_open(&w, path, &err) || !file_writer_put(&w, text.p, text.n, &err) || !file_writer_commit(&w, &err))
        fail_msg("%s", err.msg);
}

static void folder_copy(const folder *f, const char *from, const char *name) {
    gv_err err = GV_ERR_INIT;
    buf b = {0};
    assert_true(file_read_all(from, 1 << 22, &b, &err));
    folder_put(f, name, buf_view(&b));
    buf_fini(&b);
}

static void folder_free(const folder *f) {
    DIR *d = opendir(f->path);
    for (struct dirent *e; (e = readdir(d));) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", f->path, e->d_name);
        if (e->d_name[0] != '.') unlink(path);
    }
    closedir(d);
    rmdir(f->path);
}

static void config_refused(const char *file, const char *text, gv_code code, const char *msg) {
    gv_err err = GV_ERR_INIT;
    folder f;
    folder_new(&f);
    folder_copy(&f, DATA "spm/tokenizer.model", "tokenizer.model");
    folder_put(&f, file, sv_of(text));
    expect(tok_open(f.path, &err), &err, code, msg);
    assert_non_null(strstr(err.msg, f.path));
    folder_free(&f);
}

static void configuration_beside_a_model_is_checked(void **state) {
    (void)state;
    const char *config = "tokenizer_config.json", *gen = "generation_config.json";
    config_refused(config, "[]", GV_FORMAT, "tokenizer_config.json: array, expected an object");
    config_refused(config, "{", GV_FORMAT, "tokenizer_config.json: invalid JSON at byte 1");
    config_refused(config, "{\"bos_token\":\"<q>\"}", GV_FORMAT, "tokenizer_config.json: bos_token \"<q>\" is not in the vocabulary");
    config_refused(config, "{\"eos_token\":{\"content\":\"<q>\"}}", GV_FORMAT, "eos_token \"<q>\" is not in the vocabulary");
    config_refused(config, "{\"added_tokens_decoder\":{\"x\":{\"content\":\"a\"}}}", GV_FORMAT, "entry \"x\" is not an id with a token");
    config_refused(config, "{\"added_tokens_decoder\":{\"1\":{\"content\":\"<q>\"}}}", GV_FORMAT,
                   "added token \"<q>\" has id 1, which is \"<s>\"");
    config_refused(config, "{\"added_tokens_decoder\":{\"700\":{\"content\":\"<q>\"}}}", GV_FORMAT,
                   "added token \"<q>\" has id 700, but no token has id 611");
    config_refused(config, "{\"added_tokens_decoder\":{\"611\":{\"content\":\"<q>\",\"rstrip\":true}}}", GV_UNSUPPORTED,
                   "added token \"<q>\": rstrip is not supported");
    config_refused("added_tokens.json", "{\"<q>\":\"611\"}", GV_FORMAT, "added_tokens.json: \"<q>\" has no id");
    config_refused("added_tokens.json", "{\"<q>\":999999999999}", GV_FORMAT, "has id 999999999999, but no token has id 611");
    config_refused(gen, "{\"eos_token_id\":611}", GV_FORMAT,
                   "generation_config.json: eos_token_id is 611, but the vocabulary has 611 tokens");
    config_refused(gen, "{\"eos_token_id\":[2,-1]}", GV_FORMAT, "generation_config.json: eos_token_id is -1, but");
    config_refused(gen, "{\"eos_token_id\":[2,\"x\"]}", GV_FORMAT, "generation_config.json: eos_token_id is not a list of ids");
}

static void configuration_beside_a_model_is_used(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    folder f;
    folder_new(&f);
    folder_copy(&f, DATA "spm/tokenizer.model", "tokenizer.model");
    folder_put(
        &f, "tokenizer_config.json",
        SV("{\"bos_token\":{\"content\":\"</"
           "s>\"},\"eos_token\":\"<|im_end|>\",\"add_bos_token\":false,\"chat_template\":[{\"name\":\"tools\","
           "\"template\":\"T\"},{\"name\":\"default\",\"template\":\"D\"}],\"added_tokens_decoder\":{\"612\":{\"content\":\"<|im_end|>\","
           "\"special\":true},\"611\":{\"content\":\"<tool>\",\"special\":false},\"1\":{\"content\":\"<s>\",\"special\":true}}}"));
    folder_put(&f, "generation_config.json", SV("{\"eos_token_id\":[2,612]}"));
    tok *t = tok_open(f.path, &err);
    if (!t) fail_msg("%s", err.msg);
    assert_int_equal(tok_n_vocab(t), 613);
    assert_int_equal(tok_bos(t), 2);
    assert_int_equal(tok_eos(t), 612);
    assert_false(tok_adds_bos(t));
    assert_true(tok_is_eog(t, 2) && tok_is_eog(t, 612) && !tok_is_eog(t, 611) && tok_is_control(t, 612) && !tok_is_control(t, 611));
    assert_true(sv_is(tok_chat_template(t), "D"));
    ids out = {0};
    assert_true(tok_encode(t, SV("<tool><|im_end|>"), false, &out, &err));
    assert_int_equal(out.v[0], 611);
    assert_true(out.n > 5); /* <|im_end|> as text */
    ids_fini(&out);
    tok_free(t);
    folder_put(&f, "chat_template.jinja", SV("J"));
    t = tok_open(f.path, &err);
    assert_true(t && sv_is(tok_chat_template(t), "J"));
    tok_free(t);
    folder_free(&f);
}

static void folders_without_a_tokenizer_are_refused(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    folder f;
    folder_new(&f);
    expect(tok_open(f.path, &err), &err, GV_IO, "no tokenizer.model, tokenizer.json or GGUF file in it");
    gv_err_clear(&err);
    folder_copy(&f, DATA "spm_small.vocab.gguf", "a.gguf");
    tok *t = tok_open(f.path, &err);
    if (!t) fail_msg("%s", err.msg);
    tok_free(t);
    folder_copy(&f, DATA "spm_small.vocab.gguf", "b.gguf");
    expect(tok_open(f.path, &err), &err, GV_USAGE, "2 GGUF files; name one of them");
    gv_err_clear(&err);
    folder_put(&f, "tokenizer.model", SV("junk"));
    expect(tok_open(f.path, &err), &err, GV_FORMAT, "not a SentencePiece model"); /* a model file wins, also a bad one */
    folder_free(&f);
    gv_err_clear(&err);
    expect(tok_open(f.path, &err), &err, GV_IO, "No such file or directory");
}

static void a_hash_tells_tokenizers_apart(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    desc *d = spm_desc();
    d->score[262] = -50;
    tok *a = load(spm_desc(), &err), *b = load(spm_desc(), &err), *c = load(d, &err);
    assert_true(a && b && c);
    assert_int_equal(strlen(tok_hash(a)), 64);
    assert_string_equal(tok_hash(a), tok_hash(b));
    assert_string_not_equal(tok_hash(a), tok_hash(c));
    tok_free(a);
    tok_free(b);
    tok_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plain_descriptions_load),
        cmocka_unit_test(gguf_of_other_families_is_refused),
        cmocka_unit_test(gguf_arrays_of_wrong_type_or_length_are_refused),
        cmocka_unit_test(byte_tokens_are_checked),
        cmocka_unit_test(bad_tokens_are_refused),
        cmocka_unit_test(special_ids_and_flags_are_checked),
        cmocka_unit_test(merges_are_checked),
        cmocka_unit_test(a_merge_never_makes_a_control_token),
        cmocka_unit_test(llama_bpe_takes_a_word_that_is_a_token_whatever_the_merges),
        cmocka_unit_test(what_is_no_tokenizer_json_is_refused),
        cmocka_unit_test(unknown_json_pipelines_are_refused_by_name),
        cmocka_unit_test(json_ids_and_merges_are_checked),
        cmocka_unit_test(sentencepiece_models_are_checked),
        cmocka_unit_test(broken_protobuf_is_refused),
        cmocka_unit_test(every_truncation_of_a_model_is_an_error_or_loads),
        cmocka_unit_test(configuration_beside_a_model_is_checked),
        cmocka_unit_test(configuration_beside_a_model_is_used),
        cmocka_unit_test(folders_without_a_tokenizer_are_refused),
        cmocka_unit_test(a_hash_tells_tokenizers_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
