/* Fuzz target: a config.json, a NUL byte, and a safetensors file: through the checks of a folder, the model as it is and quantised, and the
 * logits of a few tokens' worth of memory. */
#include "engine/model.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void failed(const gv_err *err) {
    if (err->code == GV_OK || !err->msg[0]) abort(); /* a refusal must say why */
}

static void try_model(sv config, const uint8_t *p, size_t n, const char *type, pool *threads) {
    gv_err err = GV_ERR_INIT;
    const quant_mix *mix = type ? quant_mix_by_name(type, &err) : NULL;
    safetensors *s = safetensors_open_memory(p, n, "f.safetensors", &err);
    tensors *t = s ? tensors_from_hf(config, s, "folder", &err) : NULL;
    if (t) {
        for (size_t i = 0; i < tensors_count(t); i++)
            if (tensors_find(t, tensors_at(t, i)->name) != tensors_at(t, i)) abort();
        model *m = model_open(t, mix, 32, (int64_t)64 << 20, threads, &err);
        if (!m) failed(&err);
        model_free(m);
    } else {
        failed(&err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static pool *threads;
    if (!threads) threads = pool_new(1, NULL);
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    if (!end) end = data + size;
    const sv config = {(const char *)data, (size_t)(end - data)};
    const size_t at = config.n < size ? config.n + 1 : size;
    uint8_t *exact = malloc(size - at + 1); /* aligned, and its end guarded but for one byte */
    if (!exact) return 0;
    if (size > at) memcpy(exact, data + at, size - at);
    try_model(config, exact, size - at, NULL, threads);
    try_model(config, exact, size - at, "q8_0", threads);
    free(exact);
    return 0;
}
