/* Arrow IPC from the first byte to the last row; rows that come out must be JSON objects. */
#include "base/json.h"
#include "data/arrow_ipc.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { ROWS = 2000 };
    gv_err err = GV_ERR_INIT;
    buf text = {0};
    bool end = false;
    uint64_t skipped;
    arrow_reader *r = arrow_open_memory(data, size, "f", &err);
    for (int i = 0; r && i < ROWS && arrow_next(r, &text, &end, &err) && !end; i++) {
        gv_err bad = GV_ERR_INIT;
        json_doc *d = text.n < 1 << 16 ? json_parse(buf_view(&text), &bad) : NULL;
        if (!d && bad.code == GV_FORMAT && !strstr(bad.msg, "duplicate")) abort(); /* members of a struct may have one name */
        json_free(d);
    }
    arrow_close(r);
    r = arrow_open_memory(data, size, "f", &err);
    if (r && !arrow_skip(r, UINT64_MAX, &skipped, &err) && err.code == GV_OK) abort();
    arrow_close(r);
    buf_fini(&text);
    return 0;
}
