/* llref: a thin command line over libllama, for reference results on the CPU.
 *
 *   llref logits MODEL IN OUT KV FA THREADS   every position's logits, float32
 *   llref greedy MODEL IN OUT N  FA THREADS   N argmax tokens after each sequence
 *   llref tok    MODEL IN OUT ADD PARSE       text -> ids
 *   llref detok  MODEL IN OUT SPECIAL         ids -> bytes
 *
 * IN and OUT: int32 count, then per item int32 length and the items themselves
 * (int32 ids or bytes); for logits OUT is bare float32 rows of n_vocab.
 * KV is 16 or 32: the width of the K/V cache.  FA is 0 or 1: flash attention.
 * Each sequence is decoded in one batch from an empty cache.
 * Build: cc -O2 -I llama.cpp/include -I llama.cpp/ggml/include llref.c -L BIN -lllama -lggml -lggml-base */
#include "llama.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void quiet(enum ggml_log_level l, const char *s, void *u) {
    (void)u;
    if (l == GGML_LOG_LEVEL_ERROR) fputs(s, stderr);
}
static void die(const char *s) {
    fprintf(stderr, "llref: %s\n", s);
    exit(1);
}
static int32_t geti(FILE *f) {
    int32_t v;
    if (fread(&v, 4, 1, f) != 1) die("short input");
    return v;
}
static void puti(FILE *f, int32_t v) {
    fwrite(&v, 4, 1, f);
}

int main(int argc, char **argv) {
    if (argc < 6) die("usage");
    const char *mode = argv[1];
    int a5 = atoi(argv[5]), a6 = argc > 6 ? atoi(argv[6]) : 0, a7 = argc > 7 ? atoi(argv[7]) : 2;
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model_params mp = llama_model_default_params();
    mp.vocab_only = !strcmp(mode, "tok") || !strcmp(mode, "detok");
    struct llama_model *m = llama_model_load_from_file(argv[2], mp);
    if (!m) die("cannot load model");
    const struct llama_vocab *v = llama_model_get_vocab(m);
    int nv = llama_vocab_n_tokens(v);
    FILE *in = fopen(argv[3], "rb"), *out = fopen(argv[4], "wb");
    if (!in || !out) die("files");
    int n = geti(in);
    if (!strcmp(mode, "tok") || !strcmp(mode, "detok")) {
        puti(out, n);
        for (int i = 0; i < n; i++) {
            int len = geti(in), cap = len * 16 + 4096, r;
            if (!strcmp(mode, "tok")) {
                char *t = calloc(1, len + 1);
                int32_t *ids = malloc(4 * (size_t)cap);
                if (len && fread(t, 1, len, in) != (size_t)len) die("short input");
                r = llama_tokenize(v, t, len, ids, cap, a5, a6);
                if (r < 0) die("tokenize");
                puti(out, r);
                fwrite(ids, 4, r, out);
                free(t);
                free(ids);
            } else {
                int32_t *ids = malloc(4 * (size_t)len + 4);
                char *t = malloc((size_t)cap * 4);
                if (len && fread(ids, 4, len, in) != (size_t)len) die("short input");
                r = llama_detokenize(v, ids, len, t, cap * 4, false, a5);
                if (r < 0) die("detokenize");
                puti(out, r);
                fwrite(t, 1, r, out);
                free(t);
                free(ids);
            }
        }
        fclose(out);
        return 0;
    }
    struct llama_context_params cp = llama_context_default_params();
    int logits = !strcmp(mode, "logits");
    cp.n_ctx = 1024;
    cp.n_batch = 1024;
    cp.n_ubatch = 1024;
    cp.n_threads = cp.n_threads_batch = a7;
    cp.flash_attn_type = a6 ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    if (logits && a5 == 32) cp.type_k = cp.type_v = GGML_TYPE_F32;
    struct llama_context *c = llama_init_from_model(m, cp);
    if (!c) die("cannot make context");
    if (!logits) puti(out, n);
    for (int i = 0; i < n; i++) {
        int len = geti(in);
        llama_memory_clear(llama_get_memory(c), true);
        struct llama_batch b = llama_batch_init(len, 0, 1);
        b.n_tokens = len;
        for (int j = 0; j < len; j++) {
            b.token[j] = geti(in);
            b.pos[j] = j;
            b.n_seq_id[j] = 1;
            b.seq_id[j][0] = 0;
            b.logits[j] = logits || j == len - 1;
        }
        if (llama_decode(c, b)) die("decode");
        if (logits) {
            for (int j = 0; j < len; j++) fwrite(llama_get_logits_ith(c, j), 4, nv, out);
        } else {
            puti(out, a5);
            const float *l = llama_get_logits_ith(c, len - 1);
            for (int k = 0; k < a5; k++) {
                int best = 0;
                for (int t = 1; t < nv; t++)
                    if (l[t] > l[best]) best = t;
                puti(out, best);
                int32_t id = best;
                if (k + 1 < a5 && llama_decode(c, llama_batch_get_one(&id, 1))) die("decode");
                l = llama_get_logits_ith(c, -1);
            }
        }
        llama_batch_free(b);
    }
    fclose(out);
    return 0;
}
