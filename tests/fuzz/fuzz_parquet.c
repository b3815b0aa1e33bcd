/* Parquet files from arbitrary bytes, as they are: what opens is read to its end, whole and through a projection of its first column; each row is
 * JSON of the columns that the schema has. */
#include "data/parquet.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROW_BYTES = 1 << 16, ROWS_READ = 2000 };

static void require(bool ok) {
    if (!ok) abort();
}

/* Rows until the end, an error or enough. */
static void read_rows(pq_reader *r) {
    gv_err err = GV_ERR_INIT;
    buf b = {0};
    for (int i = 0; i < ROWS_READ; i++) {
        const char *bad;
        bool end;
        buf_clear(&b);
        const bool ok = pq_next(r, &b, ROW_BYTES, &bad, &end, &err);
        require(ok == (err.code == GV_OK) && (ok || err.msg[0]));
        if (!ok || end) break;
        if (bad) continue;
        json_doc *d = json_parse(buf_view(&b), &err);
        if (!d) { /* more values than a JSON document may have, or a name twice */
            gv_err_clear(&err);
            continue;
        }
        require(json_size(json_root(d)) == pq_schema(r)->root.n_fields);
        json_free(d);
    }
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gv_err err = GV_ERR_INIT;
    pq_reader *r = pq_open_memory(data, size, "f", NULL, 0, &err);
    require((r != NULL) == (err.code == GV_OK) && (r || err.msg[0]));
    if (!r) return 0;
    const schema *s = pq_schema(r);
    if (s->root.n_fields > 0) {
        pq_reader *first = pq_open_memory(data, size, "f", &s->root.fields[0].name, 1, &err);
        require(first && pq_schema(first)->root.n_fields == 1);
        read_rows(first);
        pq_close(first);
    }
    read_rows(r);
    pq_close(r);
    return 0;
}
