/* Tokenizer goldens: ids, specials, decoded texts and bytes equal to sentencepiece 0.2.0 and tokenizers 0.22.2, from every source a
 * tokenizer has.  tests/data/tokenizers/README.md tells the record forms and origins. */
#include "base/file.h"
#include "base/json.h"
#include "tok/tok.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define DATA GAVEL_TEST_DATA "/tokenizers/"
#define UNXZ GAVEL_TEST_UNXZ "/"

typedef struct golden {
    const char *jsonl;
    const char *source;
} golden;

static int n_failed;

static bool equal_ids(const json_value *want, const ids *got) {
    size_t i = 0;
    if (json_size(want) != got->n) return false;
    for (json_iter it = json_each(want); json_next(&it); i++) {
        int64_t id;
        if (!json_int64(it.value, &id) || id != got->v[i]) return false;
    }
    return true;
}

static void report(const golden *g, size_t line, const char *what, sv got) {
    if (n_failed++ < 20)
        print_error("%s line %zu with %s: %s is " SV_FMT "\n", g->jsonl, line, g->source, what, SV_ARG(sv_sub(got, 0, 300)));
}

static void check_ids(const golden *g, size_t line, const char *what, const json_value *want, const ids *got) {
    if (equal_ids(want, got)) return;
    buf b = {0};
    for (size_t i = 0; i < got->n; i++) buf_printf(&b, "%d ", got->v[i]);
    report(g, line, what, buf_view(&b));
    buf_fini(&b);
}

static void check_text(const golden *g, size_t line, const char *what, sv want, sv got) {
    if (!sv_eq(want, got)) report(g, line, what, got);
}

static void check_encode(const golden *g, const tok *t, size_t line, const json_value *r) {
    gv_err err = GV_ERR_INIT;
    ids plain = {0}, special = {0}, pieces = {0};
    buf text = {0};
    sv s = json_string(json_get(r, "text"));
    const json_value *want = json_get(r, "ids"), *want_special = json_get(r, "special"), *decoded = json_get(r, "decoded");
    assert_true(tok_encode(t, s, false, &plain, &err));
    check_ids(g, line, "ids", want, &plain);
    assert_true(tok_encode(t, s, true, &special, &err));
    check_ids(g, line, "special", want_special ? want_special : want, &special);
    tok_decode_reference(t, plain.v, plain.n, &text);
    check_text(g, line, "decoded", decoded ? json_string(decoded) : s, buf_view(&text));
    /* The same text in segments of one byte, trusted or not, is the same text. */
    for (int trusted = 0; trusted < 2; trusted++) {
        tok_segment *seg = calloc(s.n + 1, sizeof *seg);
        for (size_t i = 0; i < s.n; i++) seg[i] = (tok_segment){sv_sub(s, i, 1), trusted};
        pieces.n = 0;
        assert_true(tok_encode_segments(t, seg, s.n, &pieces, &err));
        check_ids(g, line, "segments", trusted && want_special ? want_special : want, &pieces);
        free(seg);
    }
    buf_fini(&text);
    ids_fini(&plain);
    ids_fini(&special);
    ids_fini(&pieces);
}

static void add_hex(buf *b, sv bytes) {
    for (size_t i = 0; i < bytes.n; i++) buf_printf(b, "%02x", (unsigned)(uint8_t)bytes.p[i]);
}

static void check_decode(const golden *g, const tok *t, size_t line, const json_value *r) {
    ids in = {0};
    buf text = {0}, raw = {0}, hex = {0};
    for (json_iter it = json_each(json_get(r, "ids")); json_next(&it);) {
        int64_t id;
        assert_true(json_int64(it.value, &id));
        ids_add(&in, (int32_t)id);
    }
    tok_decode_reference(t, in.v, in.n, &text);
    check_text(g, line, "text", json_string(json_get(r, "text")), buf_view(&text));
    tok_decode(t, in.v, in.n, true, true, &raw);
    add_hex(&hex, buf_view(&raw));
    check_text(g, line, "hex", json_string(json_get(r, "hex")), buf_view(&hex));
    buf_fini(&text);
    buf_fini(&raw);
    buf_fini(&hex);
    ids_fini(&in);
}

static void check_encode_bytes(const golden *g, const tok *t, size_t line, const json_value *r) {
    gv_err err = GV_ERR_INIT;
    buf raw = {0};
    ids out = {0};
    sv hex = json_string(json_get(r, "hex"));
    for (size_t i = 0; i + 1 < hex.n; i += 2) {
        char two[3] = {hex.p[i], hex.p[i + 1], 0};
        buf_add_char(&raw, (char)strtol(two, NULL, 16));
    }
    assert_true(tok_encode(t, buf_view(&raw), false, &out, &err));
    check_ids(g, line, "ids of malformed bytes", json_get(r, "ids"), &out);
    buf_fini(&raw);
    ids_fini(&out);
}

static void run(const golden *g) {
    gv_err err = GV_ERR_INIT;
    tok *t = tok_open(g->source, &err);
    if (!t) fail_msg("%s", err.msg);
    buf all = {0}, path = {0};
    buf_printf(&path, DATA "%s.jsonl", g->jsonl);
    assert_true(file_read_all(path.p, 1 << 24, &all, &err));
    size_t line = 0, n[3] = {0};
    n_failed = 0;
    for (size_t at = 0; at < all.n;) {
        size_t end = sv_find(buf_view(&all), SV("\n"), at);
        sv s = sv_sub(buf_view(&all), at, end - at);
        at = end + 1;
        line++;
        json_doc *d = json_parse(s, &err);
        if (!d) fail_msg("%s line %zu: %s", g->jsonl, line, err.msg);
        const json_value *r = json_root(d);
        sv kind = json_string(json_get(r, "kind"));
        if (sv_is(kind, "encode")) {
            check_encode(g, t, line, r);
            n[0]++;
        } else if (sv_is(kind, "decode")) {
            check_decode(g, t, line, r);
            n[1]++;
        } else if (sv_is(kind, "encode_bytes")) {
            check_encode_bytes(g, t, line, r);
            n[2]++;
        }
        json_free(d);
    }
    print_message("%s with %s: %zu texts, %zu id lists, %zu malformed, %d wrong\n", g->jsonl, strrchr(g->source, '/') + 1, n[0], n[1], n[2],
                  n_failed);
    buf_fini(&all);
    buf_fini(&path);
    tok_free(t);
    assert_int_equal(n_failed, 0);
    assert_true(n[0] >= 470 && n[1] >= 300 && n[2] >= 30);
}

#define GOLDEN(name, jsonl, source)                                                                                                        \
    static void name(void **state) {                                                                                                       \
        (void)state;                                                                                                                       \
        run(&(golden){jsonl, source});                                                                                                     \
    }

GOLDEN(mistral_v1_from_its_model_file, "mistral_v1", DATA "mistral_v1.model")
GOLDEN(llama2_from_its_model_file, "llama2", UNXZ "llama2.model")
GOLDEN(small_spm_from_a_folder, "spm_small", DATA "spm")
GOLDEN(small_spm_from_tokenizer_json, "spm_small", DATA "spm/tokenizer.json")
GOLDEN(small_spm_from_gguf, "spm_small", DATA "spm_small.vocab.gguf")
GOLDEN(smollm2_from_gguf, "smollm2", UNXZ "smollm2.vocab.gguf")
GOLDEN(qwen25_from_gguf, "qwen25", UNXZ "qwen25.vocab.gguf")
GOLDEN(small_qwen2_from_a_folder, "qwen2_small", DATA "qwen2")
GOLDEN(small_qwen2_from_gguf, "qwen2_small", DATA "qwen2_small.vocab.gguf")
GOLDEN(small_gpt2_from_tokenizer_json, "gpt2_small", DATA "gpt2/tokenizer.json")
GOLDEN(small_llama3_from_a_folder, "llama3_small", DATA "llama3")
GOLDEN(small_llama3_from_gguf, "llama3_small", DATA "llama3_small.vocab.gguf")

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistral_v1_from_its_model_file),
        cmocka_unit_test(llama2_from_its_model_file),
        cmocka_unit_test(small_spm_from_a_folder),
        cmocka_unit_test(small_spm_from_tokenizer_json),
        cmocka_unit_test(small_spm_from_gguf),
        cmocka_unit_test(smollm2_from_gguf),
        cmocka_unit_test(qwen25_from_gguf),
        cmocka_unit_test(small_qwen2_from_a_folder),
        cmocka_unit_test(small_qwen2_from_gguf),
        cmocka_unit_test(small_llama3_from_a_folder),
        cmocka_unit_test(small_llama3_from_gguf),
        cmocka_unit_test(small_gpt2_from_tokenizer_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
