/* Fuzz target: any bytes as one safetensors file: what opens can be read to its last byte. */
#include "modelfile/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink; /* keeps reads from being optimised away */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gv_err err = GV_ERR_INIT;
    safetensors *s = safetensors_open_memory(data, size, "f.safetensors", &err);
    if (!s && (err.code == GV_OK || !err.msg[0])) abort(); /* a refusal must say why */
    for (size_t i = 0; s && i < safetensors_count(s); i++) {
        const tensor_view *t = safetensors_at(s, i);
        if (safetensors_find(s, t->name) != t) abort();
        for (size_t k = 0; k < t->n_bytes; k++) sink ^= t->data[k];
    }
    safetensors_close(s);
    return 0;
}
