/* Fuzz target: any bytes as a GGUF, through open, tokenizer, model and a few tokens' logits (gguf_try.h). */
#include "fuzz/gguf_try.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static pool *threads;
    if (!threads) threads = pool_new(1, NULL);
    uint8_t *exact = malloc(size ? size : 1); /* aligned, and its end guarded */
    if (!exact) return 0;
    if (size) memcpy(exact, data, size);
    gguf_try(exact, size, threads);
    free(exact);
    return 0;
}
