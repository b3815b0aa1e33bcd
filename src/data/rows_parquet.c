/* Rows from and to Parquet files, behind the readers and writers of rows.h: each row as the JSON text that parquet.h makes of it.
 *
 * The digest of an input is of the file's bytes, as for every format; they are read once more for it, at the end of the pass. */
#include "data/rows_internal.h"

enum { KEEP_BYTES = 1 << 20 }; /* a larger row buffer is given back after its row */

bool rows_open_parquet(rows_reader *r, const char *path, gv_err *err) {
    if (path)
        r->parquet = pq_open(path, NULL, 0, err);
    else
        r->parquet = pq_open_memory(r->src.p, (size_t)r->src.bytes_all, r->name, NULL, 0, err);
    r->src.binary = true;
    return r->parquet != NULL;
}

bool rows_next_parquet(rows_reader *r, bool want, bool *end, gv_err *err) {
    const char *bad = NULL;
    if (r->text.cap > KEEP_BYTES) buf_fini(&r->text);
    buf_clear(&r->text);
    r->row_line = (int64_t)r->next_number + 1;
    if (!pq_next(r->parquet, want ? &r->text : NULL, r->max_row_bytes, &bad, end, err)) return false;
    if (bad) rows_bad(r, r->row_line, "%s", bad);
    r->row_text = buf_view(&r->text);
    return true;
}

void rows_position_parquet(const rows_reader *r, int64_t *bytes_read, int64_t *bytes_all) {
    const uint64_t rows = pq_n_rows(r->parquet), done = r->next_number < rows ? r->next_number : rows;
    *bytes_all = r->src.bytes_all;
    *bytes_read = rows ? (int64_t)((double)r->src.bytes_all * ((double)done / (double)rows)) : r->src.bytes_all;
}

/* ---- writing ---- */

bool rows_parquet_put(pq_writer *w, const json_value **values, json_doc **docs, const rows_cell *cells, const size_t *cell_of, size_t n,
                      gv_err *err) {
    bool ok = true;
    memset(docs, 0, n * sizeof *docs);
    for (size_t i = 0; ok && i < n; i++) {
        values[i] = NULL;
        if (!cell_of[i]) continue;
        const rows_cell *c = &cells[cell_of[i] - 1];
        docs[i] = json_parse(c->raw, err);
        if (docs[i])
            values[i] = json_root(docs[i]);
        else
            ok = gv_context(err, "column \"%s\"", str_show(c->name).text);
    }
    ok = ok && pq_writer_put_values(w, values, err);
    for (size_t i = 0; i < n; i++) json_free(docs[i]);
    return ok;
}
