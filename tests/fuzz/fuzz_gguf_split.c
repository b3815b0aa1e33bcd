/* Fuzz target: any bytes, cut before each "GGUF", as the parts of a split model in this order: joined, and every view looked at. */
#include "base/mem.h"
#include "fuzz/gguf_try.h"
#include "modelfile/gguf_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_PARTS = 8 };

/* The next part; its bytes, an exact-size copy, to *copy. */
static gguf *next_part(sv text, size_t *at, void **copy, gv_err *err) {
    const size_t end = sv_find(text, SV("GGUF"), *at + 1), n = (end == SIZE_MAX ? text.n : end) - *at;
    *copy = malloc(n ? n : 1); /* aligned, and its end guarded */
    if (!*copy) abort();
    if (n) memcpy(*copy, text.p + *at, n);
    *at += n;
    return gguf_open_memory(*copy, n, "part", err);
}

static void try_whole(const gguf *g, size_t n_parts) {
    if (gguf_n_parts(g) != n_parts) abort();
    try_index(g);
    for (size_t i = 0; i < gguf_n_tensors(g); i++)
        if (gguf_find_tensor(g, gguf_tensor(g, i)->name) != gguf_tensor(g, i)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gv_err err = GV_ERR_INIT;
    void *copy[MAX_PARTS] = {0};
    gguf **more = gv_xcalloc(MAX_PARTS, sizeof(gguf *));
    size_t at = 0, n = 0;
    const sv text = {(const char *)data, size};
    gguf *first = next_part(text, &at, &copy[0], &err);
    bool ok = first != NULL;
    while (ok && at < size && n + 1 < MAX_PARTS) {
        more[n] = next_part(text, &at, &copy[n + 1], &err);
        ok = more[n] != NULL;
        n += ok;
    }
    const bool joined = ok && gguf_join(first, more, n, &err);
    if (joined)
        try_whole(first, n + 1);
    else
        try_failed(&err);
    for (size_t i = 0; !ok && i < n; i++) gguf_close(more[i]); /* else they are the first's */
    if (!ok) free(more);
    gguf_close(first);
    for (size_t i = 0; i < MAX_PARTS; i++) free(copy[i]);
    return 0;
}
