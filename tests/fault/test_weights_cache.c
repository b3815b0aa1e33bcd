/* The weights cache: the same weights with and without it, and every kind of damage is a miss with a warning, after which the file is whole
 * again.  Loads a model of 0.2 M weights some hundred times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/log.h"
#include "engine/model.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Offsets of the header: engine/model_cache.c, struct header. */
enum { AT_VERSION = 8, AT_LAYOUT = 12, AT_MODEL_SHA256 = 16, AT_MODEL = 80, AT_N_PARTS = 120, AT_N_BYTES = 128, AT_HEADER_SHA256 = 208 };
enum { HEADER_USED = 272, HEADER_BYTES = 4096 };

static char folder[] = "/tmp/gavel-cache-XXXXXX", dir[64], model_path[64];
static char said[2048];
static pool *threads;

static void hear(log_level level, const char *msg) {
    if (level == LOG_WARN) snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", msg);
}

static const char *wait_for_digest(void *job) {
    return digest_wait(job);
}

typedef struct loaded {
    model *m;
    digest_job *digest;
} loaded;

static loaded load(const char *cache_dir) {
    gv_err err = GV_ERR_INIT;
    loaded l = {0};
    said[0] = 0;
    gguf *g = gguf_open(model_path, &err);
    if (!g) fail_msg("%s", err.msg);
    l.m = model_bind(tensors_from_gguf(g), NULL, 32, &err);
    if (!l.m) fail_msg("%s", err.msg);
    l.digest = digest_start(gguf_map(g));
    const model_load_options o = {threads, cache_dir, wait_for_digest, l.digest};
    if (!model_load(l.m, &o, &err)) fail_msg("%s", err.msg);
    return l;
}

static void unload(loaded *l) {
    digest_free(l->digest);
    model_free(l->m);
}

/* Loads through the cache; the weights must be `want`.  Returns whether they came from it. */
static bool try_cache(const model *want) {
    loaded l = load(dir);
    const bool hit = l.m->cached.p != NULL;
    assert_int_equal(l.m->packed_bytes, want->packed_bytes);
    assert_memory_equal(l.m->packed, want->packed, want->packed_bytes);
    if (hit) assert_string_equal(l.m->sha256, digest_wait(l.digest));
    unload(&l);
    return hit;
}

static void copy_file(const char *from, const char *to) {
    buf b = {0};
    gv_err err = GV_ERR_INIT;
    assert_true(file_read_all(from, SIZE_MAX / 2, &b, &err));
    FILE *f = fopen(to, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b.p, 1, b.n, f), b.n);
    assert_int_equal(fclose(f), 0);
    buf_fini(&b);
}

static void put_file(const char *path, const void *p, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* The one file in the cache folder. */
static char *cache_file(void) {
    static char path[512];
    path[0] = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        assert_int_equal(path[0], 0);
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    }
    closedir(d);
    assert_int_not_equal(path[0], 0);
    return path;
}

static void empty_cache(void) {
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') unlinkat(dirfd(d), e->d_name, 0);
    if (d) closedir(d);
}

static int setup(void **state) {
    gv_err err = GV_ERR_INIT;
    assert_non_null(mkdtemp(folder));
    snprintf(dir, sizeof dir, "%s/cache", folder);
    snprintf(model_path, sizeof model_path, "%s/m.gguf", folder);
    copy_file(GAVEL_TEST_DATA "/oracle/models/llama/llama-Q4_0.gguf", model_path);
    log_set(hear, LOG_INFO);
    threads = pool_new(2, &err);
    assert_non_null(threads);
    loaded *plain = malloc(sizeof *plain);
    *plain = load(NULL);
    *state = plain;
    return 0;
}

static int teardown(void **state) {
    unload(*state);
    free(*state);
    pool_free(threads);
    empty_cache();
    rmdir(dir);
    unlink(model_path);
    rmdir(folder);
    return 0;
}

static void a_second_load_maps_the_file_that_the_first_wrote(void **state) {
    const loaded *plain = *state;
    empty_cache();
    assert_false(try_cache(plain->m));
    assert_string_equal(said, "");
    assert_true(try_cache(plain->m));
    assert_true(try_cache(plain->m));
    assert_string_equal(said, "");
}

static void a_copy_of_the_model_file_finds_it_by_content(void **state) {
    const loaded *plain = *state;
    char other[80];
    empty_cache();
    assert_false(try_cache(plain->m));
    snprintf(other, sizeof other, "%s/copy.gguf", folder);
    copy_file(model_path, other);
    assert_int_equal(rename(other, model_path), 0); /* another inode */
    assert_true(try_cache(plain->m));
    assert_string_equal(said, "");
}

static void every_flipped_header_byte_and_every_length_is_a_miss(void **state) {
    const loaded *plain = *state;
    empty_cache();
    assert_false(try_cache(plain->m));
    char *path = cache_file();
    buf good = {0};
    gv_err err = GV_ERR_INIT;
    assert_true(file_read_all(path, SIZE_MAX / 2, &good, &err));
    for (size_t at = 0; at < HEADER_USED; at++) {
        good.p[at] ^= 1 << at % 8;
        put_file(path, good.p, good.n);
        good.p[at] ^= 1 << at % 8;
        if (try_cache(plain->m)) fail_msg("used with byte %zu of the header changed", at);
        if (!strstr(said, " is not used: its header is not one of this version")) fail_msg("byte %zu: %s", at, said);
    }
    const size_t lengths[] = {0, 1, 271, 272, 4095, 4096, 4097, good.n / 2, good.n - 64, good.n - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        put_file(path, good.p, lengths[i]);
        if (try_cache(plain->m)) fail_msg("used with %zu of %zu bytes", lengths[i], good.n);
        assert_non_null(strstr(said, " is not used: "));
    }
    buf_add_char(&good, 0);
    put_file(path, good.p, good.n);
    assert_false(try_cache(plain->m));
    assert_non_null(strstr(said, " bytes, expected "));
    assert_true(try_cache(plain->m)); /* it was written anew */
    buf_fini(&good);
}

static void a_flipped_bit_in_the_weights_is_a_miss(void **state) {
    const loaded *plain = *state;
    empty_cache();
    assert_false(try_cache(plain->m));
    char *path = cache_file();
    buf good = {0};
    gv_err err = GV_ERR_INIT;
    assert_true(file_read_all(path, SIZE_MAX / 2, &good, &err));
    uint32_t r = 1;
    for (int i = 0; i < 100; i++) {
        r = r * 1664525 + 1013904223;
        const size_t at = i == 0 ? HEADER_BYTES : i == 1 ? good.n - 1 : HEADER_BYTES + (r >> 4) % (good.n - HEADER_BYTES);
        good.p[at] ^= 1 << (r & 7);
        put_file(path, good.p, good.n);
        good.p[at] ^= 1 << (r & 7);
        if (try_cache(plain->m)) fail_msg("used with byte %zu changed", at);
        assert_non_null(strstr(said, " is not used: check sum "));
    }
    buf_fini(&good);
}

/* Whoever writes a cache file can give it a good digest; its numbers must still be the model's. */
static void a_header_that_lies_is_a_miss(void **state) {
    const loaded *plain = *state;
    static const struct {
        size_t at;
        uint64_t value;
        size_t n;
        const char *why;
    } lies[] = {{AT_VERSION, 2, 4, "its header is not one of this version"},
                {AT_LAYOUT, KERN_PACK_LAYOUT + 1, 4, "its header is not one of this version"},
                {AT_N_BYTES, UINT64_MAX, 8, "this model has"},
                {AT_N_BYTES, UINT64_MAX - HEADER_BYTES + 1, 8, "this model has"},
                {AT_N_BYTES, 0, 8, "this model has"},
                {AT_N_PARTS, UINT64_MAX, 8, "this model has"},
                {AT_MODEL + 16, 1, 8, "it was made from another model file"}};
    empty_cache();
    assert_false(try_cache(plain->m));
    char *path = cache_file();
    buf good = {0};
    gv_err err = GV_ERR_INIT;
    assert_true(file_read_all(path, SIZE_MAX / 2, &good, &err));
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        buf bad = {0};
        char hex[65];
        sha256 h;
        buf_add_sv(&bad, buf_view(&good));
        memcpy(bad.p + lies[i].at, &lies[i].value, lies[i].n);
        if (lies[i].at == AT_MODEL + 16) memset(bad.p + AT_MODEL_SHA256, '0', 64);
        sha256_init(&h);
        sha256_add(&h, bad.p, AT_HEADER_SHA256);
        sha256_hex(&h, hex);
        memcpy(bad.p + AT_HEADER_SHA256, hex, 64);
        put_file(path, bad.p, bad.n);
        if (try_cache(plain->m)) fail_msg("lie %zu was believed", i);
        if (!strstr(said, lies[i].why)) fail_msg("lie %zu: %s", i, said);
        buf_fini(&bad);
    }
    buf_fini(&good);
}

static void what_is_no_file_is_left_alone_or_a_warning(void **state) {
    const loaded *plain = *state;
    empty_cache();
    assert_false(try_cache(plain->m));
    char *path = cache_file(), saved[512];
    snprintf(saved, sizeof saved, "%s", path);
    assert_int_equal(unlink(saved), 0);
    assert_int_equal(mkdir(saved, 0755), 0);
    assert_false(try_cache(plain->m));
    assert_non_null(strstr(said, "weights are not cached: cannot write "));
    assert_int_equal(rmdir(saved), 0);
    char fifo[512];
    snprintf(fifo, sizeof fifo, "%s/x.gavel-weights", dir);
    assert_int_equal(mkfifo(fifo, 0644), 0); /* would wait for a writer if it were opened */
    assert_false(try_cache(plain->m));
    assert_true(try_cache(plain->m));
    assert_int_equal(unlink(fifo), 0);
    loaded l = load("/nonexistent/folder");
    assert_null(l.m->cached.p);
    assert_non_null(strstr(said, "weights are not cached: cannot create /nonexistent/folder"));
    unload(&l);
}

static void a_model_that_changed_in_place_is_packed_anew(void **state) {
    const loaded *plain = *state;
    empty_cache();
    assert_false(try_cache(plain->m));
    char *path = cache_file(), first[512];
    snprintf(first, sizeof first, "%s", path);
    int fd = open(model_path, O_RDWR);
    uint8_t last;
    const off_t end = lseek(fd, 0, SEEK_END);
    assert_int_equal(pread(fd, &last, 1, end - 1), 1);
    last ^= 1;
    assert_int_equal(pwrite(fd, &last, 1, end - 1), 1);
    loaded l = load(dir);
    assert_null(l.m->cached.p);
    unload(&l);
    last ^= 1;
    assert_int_equal(pwrite(fd, &last, 1, end - 1), 1);
    close(fd);
    assert_true(try_cache(plain->m)); /* by content: the first file is still there */
    assert_int_equal(access(first, F_OK), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_load_maps_the_file_that_the_first_wrote),
        cmocka_unit_test(a_copy_of_the_model_file_finds_it_by_content),
        cmocka_unit_test(every_flipped_header_byte_and_every_length_is_a_miss),
        cmocka_unit_test(a_flipped_bit_in_the_weights_is_a_miss),
        cmocka_unit_test(a_header_that_lies_is_a_miss),
        cmocka_unit_test(what_is_no_file_is_left_alone_or_a_warning),
        cmocka_unit_test(a_model_that_changed_in_place_is_packed_anew),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
