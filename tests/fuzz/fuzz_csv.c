/* CSV rows from arbitrary bytes: the first byte chooses the delimiter (bit 0: tab), a small row cap (bit 1) and an id column named "id"
 * (bit 2).  Every good row has the header's columns, all strings of valid UTF-8 without NUL. */
#include "data/rows.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok) {
    if (!ok) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    uint8_t how = data[0];
    rows_options o = {.format = how & 1 ? ROWS_TSV : ROWS_CSV, .max_row_bytes = how & 2 ? 30 : 0, .id_col = how & 4 ? "id" : NULL};
    gv_err err = GV_ERR_INIT;
    rows_reader *r = rows_open_memory(data + 1, size - 1, &o, &err);
    size_t n = 0;
    const sv *header = r ? rows_header(r, &n) : NULL;
    bool end = false, ok = r != NULL;
    int64_t line = 0;
    for (row w; ok && (ok = rows_next(r, &w, &end, &err)) && !end;) {
        require(w.bad == (w.message.n > 0) && w.line > line);
        line = w.line;
        if (w.bad) continue;
        require(w.n_columns == n);
        for (size_t i = 0; i < n; i++) {
            require(sv_eq(w.columns[i].name, header[i]) && json_kind_of(w.columns[i].value) == JSON_STRING);
            sv v = json_string(w.columns[i].value);
            require(utf8_invalid_at(v) == SIZE_MAX && (v.n == 0 || !memchr(v.p, 0, v.n)));
        }
    }
    require(ok == (err.code == GV_OK) && (ok || err.msg[0]));
    rows_close(r);
    return 0;
}
