/* Fuzz target: any bytes as a file of importance. */
#include "weights/imatrix.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gv_err err = GV_ERR_INIT;
    uint8_t *exact = malloc(size ? size : 1); /* aligned, and its end guarded */
    if (!exact) return 0;
    if (size) memcpy(exact, data, size);
    gguf *g = gguf_open_memory(exact, size, "fuzz", &err);
    imatrix *m = g ? imatrix_from_gguf(g, &err) : NULL;
    if (!m && (err.code == GV_OK || err.msg[0] == 0)) abort();
    for (size_t i = 0; m && i < imatrix_count(m); i++) {
        const float *w = NULL;
        gv_err shape = GV_ERR_INIT;
        if (imatrix_find(m, imatrix_name(m, i), 4, 2, &w, &shape)) {
            for (int k = 0; w && k < 8; k++)
                if (!(w[k] >= 0)) abort();
        } else if (shape.msg[0] == 0) {
            abort();
        }
    }
    imatrix_free(m);
    free(exact);
    return 0;
}
