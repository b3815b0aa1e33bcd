/* Cost of loading one model: what each part takes, beside and without the digest of the file.
 *
 *   bench_load MODEL [THREADS] [CACHE_FOLDER]     prints one line; the first run of several also reads the file from disk */
#include "base/digest.h"
#include "engine/model.h"

#include <stdio.h>
#include <stdlib.h>

static const char *wait_for_digest(void *job) {
    return digest_wait(job);
}

int main(int argc, char **argv) {
    gv_err err = GV_ERR_INIT;
    if (argc < 2) {
        fprintf(stderr, "usage: bench_load MODEL [THREADS] [CACHE_FOLDER]\n");
        return 2;
    }
    pool *threads = pool_new(argc > 2 ? atoi(argv[2]) : cpu_count(), &err);
    const int64_t start = clock_mono_us();
    gguf *g = threads ? gguf_open(argv[1], &err) : NULL;
    digest_job *digest = g ? digest_start(gguf_map(g)) : NULL;
    model *m = g ? model_bind(tensors_from_gguf(g), NULL, 0, &err) : NULL;
    const model_load_options o = {threads, argc > 3 ? argv[3] : NULL, wait_for_digest, digest};
    if (!m || !model_load(m, &o, &err)) {
        fprintf(stderr, "bench_load: %s\n", err.msg);
        return 1;
    }
    const int64_t loaded = clock_mono_us();
    digest_wait(digest);
    const int64_t hashed = clock_mono_us();
    printf("%zu MiB: %s in %.2f s (%.2f GB/s), loaded in %.2f s, sha256 known after %.2f s\n", m->packed_bytes >> 20,
           m->cached.p ? "checked" : "packed", (double)m->pack_us * 1e-6, (double)m->packed_bytes * 1e-3 / (double)m->pack_us,
           (double)(loaded - start) * 1e-6, (double)(hashed - start) * 1e-6);
    digest_free(digest);
    model_free(m);
    pool_free(threads);
    return 0;
}
