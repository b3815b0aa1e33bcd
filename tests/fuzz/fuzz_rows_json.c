/* Rows from arbitrary bytes: the first byte chooses the format (bit 0: JSON document or lines), an id column (bit 1), a small row cap
 * (bit 2) and a shard (bit 3); the rest is the input.  What is read must be consistent, and written as JSON lines must read back equal. */
#include "data/rows.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok) {
    if (!ok) abort();
}

/* The row as a JSON line, read again, has the same columns. */
static void write_and_read(const row *w) {
    buf line = {0};
    rows_cell *cells = calloc(w->n_columns + 1, sizeof *cells);
    require(cells != NULL);
    for (size_t i = 0; i < w->n_columns; i++) cells[i] = (rows_cell){w->columns[i].name, w->columns[i].raw_name, w->columns[i].raw};
    rows_put_line(&line, cells, w->n_columns);
    require(memchr(line.p, '\n', line.n) == line.p + line.n - 1);
    rows_options o = {.format = ROWS_JSONL};
    gv_err err = GV_ERR_INIT;
    rows_reader *r = rows_open_memory(line.p, line.n, &o, &err);
    row again;
    bool end;
    require(r && rows_next(r, &again, &end, &err) && !end && !again.bad && again.n_columns == w->n_columns);
    for (size_t i = 0; i < w->n_columns; i++) {
        require(sv_eq(again.columns[i].name, w->columns[i].name) && sv_eq(again.columns[i].raw_name, w->columns[i].raw_name));
        require(json_kind_of(again.columns[i].value) == json_kind_of(w->columns[i].value));
    }
    rows_close(r);
    free(cells);
    buf_fini(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    uint8_t how = data[0];
    rows_options o = {.format = how & 1 ? ROWS_JSON : ROWS_JSONL,
                      .id_col = how & 2 ? "id" : NULL,
                      .max_row_bytes = how & 4 ? 40 : 0,
                      .shard_index = 1,
                      .shard_count = how & 8 ? 2 : 0};
    if (!o.shard_count) o.shard_index = 0;
    gv_err err = GV_ERR_INIT;
    rows_reader *r = rows_open_memory(data + 1, size - 1, &o, &err);
    uint64_t last = UINT64_MAX;
    bool end = false, ok = r != NULL;
    for (row w; ok && (ok = rows_next(r, &w, &end, &err)) && !end; last = w.number) {
        require(last == UINT64_MAX || w.number > last);
        require(w.bad == (w.message.n > 0));
        for (size_t i = 0; i < w.n_columns; i++) {
            require(w.columns[i].raw.p >= w.text.p && w.columns[i].raw.p + w.columns[i].raw.n <= w.text.p + w.text.n);
            require(row_get(&w, "absent name") == NULL);
        }
        if (!w.bad) write_and_read(&w);
    }
    require(ok == (err.code == GV_OK) && (ok || err.msg[0]));
    rows_close(r);
    return 0;
}
