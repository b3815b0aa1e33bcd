/* The weights cache: packed weights as a file that any number of processes map read-only and share.
 *
 * DIR/SHA256[.MIX].LAYOUT.gavel-weights, where SHA256 is that of the model file (of a folder: lm_local.c), MIX what it is quantised to while
 * loading, and LAYOUT KERN_PACK_LAYOUT.  Little-endian:
 *
 *     4,096 bytes  header (struct header, then zeros)
 *     the packed memory of the model, as model_load.c makes it
 *
 * The header says which model file it was made from (digest; device, inode, size and times), the types and shapes of all matrices, and a
 * check sum of the weights; it ends with a digest of itself.  A file is used only if all of it agrees, so that damage and files of other
 * programs and versions are misses with a warning.  The check sum finds damage, not malice: whoever may write in DIR may change results.
 * No content can do more than that, because sizes come from the model and the file's length is compared with them.
 *
 * Hashing gigabytes takes longer than packing them.  So a cache file made from a model file of the same device, inode, size, modification and
 * change time is taken as made from this content; only without one is the model's digest asked for. */
#include "engine/model_internal.h"

#include "base/log.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

#define CACHE_SUFFIX ".gavel-weights"

enum { CACHE_VERSION = 1, HEADER_BYTES = 4096, CHECK_BYTES = 8 << 20, MAX_FILES = 4096 };

typedef struct header {
    char magic[8];
    uint32_t version, layout;
    char model_sha256[64];
    file_id model;
    uint64_t n_parts, n_bytes; /* of the packed memory */
    char parts_sha256[64];     /* types and shapes of the matrices in order */
    uint64_t check;            /* of the packed memory */
    char header_sha256[64];    /* of all above */
} header;

static const char magic[8] = "GAVELPKW";

/* ---- what must agree ---- */

/* Every step is a bijection of the lane for a given word, so a change within one word always shows. */
static uint64_t check_chunk(const uint8_t *p, size_t n) {
    enum { LANES = 8 };
    static const uint64_t odd = 0x9e3779b97f4a7c15u;
    uint64_t lane[LANES] = {1, 2, 3, 4, 5, 6, 7, 8}, word, sum = n;
    for (; n >= sizeof lane; n -= sizeof lane, p += sizeof lane)
        for (int i = 0; i < LANES; i++) {
            memcpy(&word, p + 8 * i, 8);
            lane[i] = (lane[i] ^ word) * odd;
            lane[i] ^= lane[i] >> 32;
        }
    for (int i = 0; i < LANES; i++) sum = ((sum ^ lane[i]) * odd) ^ sum >> 29;
    return sum;
}

typedef struct check_job {
    const uint8_t *p;
    size_t n;
    uint64_t *sum; /* [chunks] */
} check_job;

static void check_chunks(void *ctx, int64_t begin, int64_t end, int worker) {
    const check_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const size_t at = (size_t)i * CHECK_BYTES;
        j->sum[i] = check_chunk(j->p + at, j->n - at < CHECK_BYTES ? j->n - at : CHECK_BYTES);
    }
}

/* n is a multiple of 64: packed matrices are padded to it. */
static uint64_t check_sum(const uint8_t *p, size_t n, pool *threads) {
    const size_t n_chunks = (n + CHECK_BYTES - 1) / CHECK_BYTES;
    check_job j = {p, n, gv_xcalloc(n_chunks + 8, sizeof *j.sum)}; /* zeros up to a multiple of 64 bytes */
    pool_run(threads, check_chunks, &j, (int64_t)n_chunks);
    const uint64_t sum = check_chunk((const uint8_t *)j.sum, (n_chunks + 7) / 8 * 64);
    free(j.sum);
    return sum;
}

static void digest_parts(const model *m, char out[64]) {
    char hex[65];
    sha256 h;
    sha256_init(&h);
    for (size_t i = 0; i < m->n_parts; i++) {
        const kern_matrix *w = m->part[i].to;
        const int64_t facts[] = {(int64_t)w->type, w->rows, w->cols, (int64_t)w->group_bytes, (int64_t)m->part[i].at};
        sha256_add(&h, facts, sizeof facts);
    }
    sha256_hex(&h, hex);
    memcpy(out, hex, 64);
}

static void digest_header(const header *h, char out[64]) {
    char hex[65];
    sha256 s;
    sha256_init(&s);
    sha256_add(&s, h, offsetof(header, header_sha256));
    sha256_hex(&s, hex);
    memcpy(out, hex, 64);
}

/* Everything but the digest of the model and the check sum. */
static header expected_header(const model *m) {
    header h;
    memset(&h, 0, sizeof h);
    memcpy(h.magic, magic, sizeof h.magic);
    h.version = CACHE_VERSION;
    h.layout = KERN_PACK_LAYOUT;
    if (!tensors_identity(m->file, &h.model)) memset(&h.model, 0, sizeof h.model);
    h.n_parts = m->n_parts;
    h.n_bytes = m->packed_bytes;
    digest_parts(m, h.parts_sha256);
    return h;
}

static bool is_header(const header *h) {
    char digest[64];
    if (memcmp(h->magic, magic, sizeof magic) != 0 || h->version != CACHE_VERSION || h->layout != KERN_PACK_LAYOUT) return false;
    digest_header(h, digest);
    return memcmp(digest, h->header_sha256, sizeof digest) == 0;
}

/* Is the mapped file whole, and made from the content `sha256` (NULL: from the very file we have)? */
static bool check_file(const model *m, const file_map *map, const char *sha256_hex_text, pool *threads, gv_err *err) {
    const header want = expected_header(m);
    header h;
    if (map->n < HEADER_BYTES) return gv_fail(err, GV_FORMAT, -1, "%zu bytes are no weights cache", map->n);
    memcpy(&h, map->p, sizeof h);
    if (!is_header(&h)) return gv_fail(err, GV_FORMAT, 0, "its header is not one of this version");
    if (sha256_hex_text ? memcmp(h.model_sha256, sha256_hex_text, 64) != 0 : memcmp(&h.model, &want.model, sizeof h.model) != 0)
        return gv_fail(err, GV_FORMAT, 0, "it was made from another model file");
    if (h.n_parts != want.n_parts || h.n_bytes != want.n_bytes || memcmp(h.parts_sha256, want.parts_sha256, 64) != 0)
        return gv_fail(err, GV_FORMAT, 0, "it holds %llu matrices in %llu bytes, this model has %llu in %llu",
                       (unsigned long long)h.n_parts, (unsigned long long)h.n_bytes, (unsigned long long)want.n_parts,
                       (unsigned long long)want.n_bytes);
    if (map->n - HEADER_BYTES != want.n_bytes)
        return gv_fail(err, GV_FORMAT, -1, "%zu bytes, expected %zu", map->n, (size_t)want.n_bytes + HEADER_BYTES);
    const uint64_t check = check_sum(map->p + HEADER_BYTES, want.n_bytes, threads);
    if (check != h.check)
        return gv_fail(err, GV_FORMAT, -1, "check sum %016llx, expected %016llx", (unsigned long long)check, (unsigned long long)h.check);
    return true;
}

/* ---- finding the file ---- */

static bool is_file(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode); /* opening a pipe would wait for a writer */
}

static bool has_identity(const char *path, const header *want) {
    header h;
    FILE *f = is_file(path) ? fopen(path, "rbe") : NULL;
    const bool is = f && fread(&h, sizeof h, 1, f) == 1 && is_header(&h) && memcmp(&h.model, &want->model, sizeof h.model) == 0 &&
                    memcmp(h.parts_sha256, want->parts_sha256, sizeof h.parts_sha256) == 0; /* another mix has other parts */
    if (f) fclose(f);
    return is;
}

/* A file in dir that was made from the model with this identity, and of these matrices: its path. */
static bool find_by_identity(const char *dir, const header *want, buf *path) {
    DIR *d = opendir(dir);
    bool found = false;
    int n = 0;
    for (struct dirent *e; d && !found && n < MAX_FILES && (e = readdir(d));) {
        if (!sv_ends(sv_of(e->d_name), SV(CACHE_SUFFIX))) continue;
        n++;
        buf_clear(path);
        buf_printf(path, "%s/%s", dir, e->d_name);
        found = has_identity(path->p, want);
    }
    if (d) closedir(d);
    return found;
}

static void path_by_content(const model *m, const model_load_options *o, buf *path) {
    buf_clear(path);
    buf_printf(path, "%s/%s%s%s.%d" CACHE_SUFFIX, o->cache_dir, o->sha256(o->sha256_of), m->mix ? "." : "", m->mix ? m->mix->name : "",
               KERN_PACK_LAYOUT);
}

static bool use_file(model *m, const char *path, const char *sha256_hex_text, pool *threads) {
    gv_err err = GV_ERR_INIT;
    file_map map = {0};
    if (file_map_open(&map, path, &err) && check_file(m, &map, sha256_hex_text, threads, &err)) {
        m->cached = map;
        memcpy(m->sha256, ((const header *)map.p)->model_sha256, 64);
        m->packed = (uint8_t *)(uintptr_t)(map.p + HEADER_BYTES);
        return true;
    }
    file_map_close(&map);
    log_msg(LOG_WARN, "weights cache %s is not used: %s", path, err.msg);
    return false;
}

bool model_cache_load(model *m, const model_load_options *o) {
    buf same = {0}, named = {0};
    file_id id;
    bool hit = false;
    if (tensors_identity(m->file, &id)) {
        const header want = expected_header(m);
        const bool found = find_by_identity(o->cache_dir, &want, &same);
        hit = found && use_file(m, same.p, NULL, o->threads);
        if (!hit) path_by_content(m, o, &named);
        if (!hit && !(found && sv_eq(buf_view(&same), buf_view(&named))) && is_file(named.p))
            hit = use_file(m, named.p, o->sha256(o->sha256_of), o->threads);
    }
    buf_fini(&same);
    buf_fini(&named);
    return hit;
}

/* ---- writing ---- */

static bool write_file(const model *m, const model_load_options *o, const char *path, gv_err *err) {
    static const uint8_t zeros[HEADER_BYTES - sizeof(header)];
    header h = expected_header(m);
    memcpy(h.model_sha256, o->sha256(o->sha256_of), 64);
    h.check = check_sum(m->packed, m->packed_bytes, o->threads);
    digest_header(&h, h.header_sha256);
    file_writer w;
    if (!file_writer_open(&w, path, err)) return false;
    const bool ok = file_writer_put(&w, &h, sizeof h, err) && file_writer_put(&w, zeros, sizeof zeros, err) &&
                    file_writer_put(&w, m->packed, m->packed_bytes, err) && file_writer_commit(&w, err);
    file_writer_abandon(&w);
    return ok;
}

void model_cache_store(const model *m, const model_load_options *o) {
    gv_err err = GV_ERR_INIT;
    buf path = {0};
    const int64_t start = clock_mono_us();
    file_id id;
    if (!tensors_identity(m->file, &id)) return;
    path_by_content(m, o, &path);
    if (mkdir(o->cache_dir, 0777) != 0 && errno != EEXIST) gv_fail_errno(&err, "cannot create %s", o->cache_dir);
    if (err.code || !write_file(m, o, path.p, &err))
        log_msg(LOG_WARN, "weights are not cached: %s", err.msg);
    else
        log_msg(LOG_INFO, "weights cached in %s in %.2f s", path.p, (double)(clock_mono_us() - start) * 1e-6);
    buf_fini(&path);
}
