/* A merge recipe of any bytes: an error with a message, or a recipe whose settings are numbers in their ranges. */
#include "weights/merge_internal.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    merge_recipe r;
    gv_err err = GV_ERR_INIT;
    if (!merge_recipe_parse(&r, (sv){(const char *)data, size}, &err)) {
        if (err.code == GV_OK || !err.msg[0]) abort();
    } else {
        static const char *const names[] = {"model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight",
                                            "model.layers.2.mlp.up_proj.weight", "model.layers.3.mlp.up_proj.weight", "lm_head.weight"};
        if (r.n == 0 || r.base >= (int)r.n || r.tokenizer >= (int)r.n || r.n_slices == 0) abort();
        for (size_t i = 0; i < r.n; i++)
            for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
                const merge_place at = merge_place_of(&r, names[k], 4);
                if (at.slice < r.slice || at.slice >= r.slice + r.n_slices) abort();
                const double density = merge_setting(&r, (int)i, "density", names[k], at, 1);
                if (!(density >= 0 && density <= 1) || isinf(merge_setting(&r, (int)i, "weight", names[k], at, NAN))) abort();
            }
    }
    merge_recipe_fini(&r);
    return 0;
}
