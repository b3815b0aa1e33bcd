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
        if (r.n == 0 || r.base >= (int)r.n) abort();
        for (size_t i = 0; i < r.n; i++)
            for (int step = 0; step < 4; step++) {
                const double depth = step / 3.0,
                             density = merge_setting(&r, (int)i, "density", "model.layers.1.mlp.up_proj.weight", depth, 1);
                if (!(density >= 0 && density <= 1) || isinf(merge_setting(&r, (int)i, "weight", "lm_head.weight", depth, NAN))) abort();
            }
    }
    merge_recipe_fini(&r);
    return 0;
}
