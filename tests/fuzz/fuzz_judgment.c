/* Judgment records of any bytes: what is accepted must come out of a second writing and reading unchanged. */
#include <stdlib.h>

#include "judge/judgment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena a;
    arena_init(&a);
    judgment first, second;
    gv_err err = GV_ERR_INIT;
    if (judgment_from_json((sv){(const char *)data, size}, &first, &a, &err)) {
        buf once = {0}, twice = {0};
        judgment_to_json(&first, &once);
        if (!judgment_from_json(buf_view(&once), &second, &a, &err)) abort();
        judgment_to_json(&second, &twice);
        if (!sv_eq(buf_view(&once), buf_view(&twice))) abort();
        buf_fini(&once);
        buf_fini(&twice);
    } else if (err.code == GV_OK || !err.msg[0]) {
        abort();
    }
    arena_fini(&a);
    return 0;
}
