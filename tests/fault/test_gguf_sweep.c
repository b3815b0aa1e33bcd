/* Every byte of the tiny models (tests/data/gguf) flipped to 0, 0xff, ^1 and ^0x80, and every truncation: each file is an error with a
 * message, or it loads and computes; never a crash, and never more than a second of processor time.  Meant to run under the address and
 * undefined-behaviour sanitizers too; every file is an exact-size allocation, so that a read past its end shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fuzz/gguf_try.h"

#include <stdio.h>
#include <time.h>

static const struct {
    const char *path;
    gguf_outcome best; /* of the file as it is */
} files[] = {
    {GAVEL_TEST_DATA "/gguf/tiny-llama.gguf", TRY_COMPUTES},
    {GAVEL_TEST_DATA "/gguf/tiny-qwen2.gguf", TRY_COMPUTES},
    {GAVEL_TEST_DATA "/gguf/tiny-mixtral.gguf", TRY_COMPUTES},
    {GAVEL_TEST_DATA "/gguf/tiny-spm.gguf", TRY_TOKENIZES}, /* no tensors */
};
enum { N_FILES = sizeof files / sizeof *files };

typedef struct sweep {
    pool *threads;
    size_t tries, count[TRY_COMPUTES + 1];
} sweep;

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void try_copy(sweep *s, const uint8_t *p, size_t n) {
    uint8_t *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    if (n) memcpy(exact, p, n);
    const double start = cpu_seconds();
    s->count[gguf_try(exact, n, s->threads)]++;
    s->tries++;
    assert_true(cpu_seconds() - start < 1.0);
    free(exact);
}

static void read_tiny(const char *path, buf *b) {
    gv_err err = GV_ERR_INIT;
    assert_true(file_read_all(path, 8192, b, &err));
}

static void the_files_themselves_get_through(void **state) {
    for (size_t f = 0; f < N_FILES; f++) {
        sweep s = {.threads = *state};
        buf b = {0};
        read_tiny(files[f].path, &b);
        try_copy(&s, (const uint8_t *)b.p, b.n);
        assert_int_equal(s.count[files[f].best], 1);
        buf_fini(&b);
    }
}

static void no_flipped_byte_crashes(void **state) {
    for (size_t f = 0; f < N_FILES; f++) {
        sweep s = {.threads = *state};
        buf b = {0};
        read_tiny(files[f].path, &b);
        for (size_t i = 0; i < b.n; i++) {
            const uint8_t was = (uint8_t)b.p[i];
            const uint8_t flips[] = {0, 0xff, was ^ 1, was ^ 0x80};
            for (size_t k = 0; k < 4; k++) {
                b.p[i] = (char)flips[k];
                try_copy(&s, (const uint8_t *)b.p, b.n);
            }
            b.p[i] = (char)was;
        }
        printf("%s: %zu files: %zu refused, %zu open, %zu tokenize, %zu load, %zu compute\n", files[f].path, s.tries, s.count[TRY_REFUSED],
               s.count[TRY_OPENS], s.count[TRY_TOKENIZES], s.count[TRY_LOADS], s.count[TRY_COMPUTES]);
        /* Many flips change nothing that can be checked (weights, scores), but lengths, counts and names are in every part of the head. */
        assert_true(s.count[files[f].best] > s.tries / 10);
        assert_true(s.count[TRY_REFUSED] > s.tries / 50);
        buf_fini(&b);
    }
}

/* One past the last byte that a tensor or, without tensors, the vocabulary needs: padding behind it may be missing. */
static size_t needed_bytes(const buf *b) {
    gv_err err = GV_ERR_INIT;
    gguf *g = gguf_open_memory(b->p, b->n, "f.gguf", &err);
    assert_non_null(g);
    size_t end = gguf_n_tensors(g) ? 0 : b->n;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const tensor_view *t = gguf_tensor(g, i);
        const size_t tensor_end = (size_t)(t->data - (const uint8_t *)b->p) + t->n_bytes;
        if (tensor_end > end) end = tensor_end;
    }
    gguf_close(g);
    return end;
}

static void every_truncation_is_refused(void **state) {
    for (size_t f = 0; f < N_FILES; f++) {
        sweep s = {.threads = *state};
        buf b = {0};
        read_tiny(files[f].path, &b);
        const size_t needed = needed_bytes(&b);
        for (size_t n = 0; n < b.n; n++) try_copy(&s, (const uint8_t *)b.p, n);
        assert_int_equal(s.count[TRY_REFUSED], needed);
        assert_int_equal(s.count[files[f].best], b.n - needed);
        buf_fini(&b);
    }
}

static int start_pool(void **state) {
    return (*state = pool_new(1, NULL)) ? 0 : -1;
}
static int stop_pool(void **state) {
    pool_free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_files_themselves_get_through),
        cmocka_unit_test(no_flipped_byte_crashes),
        cmocka_unit_test(every_truncation_is_refused),
    };
    return cmocka_run_group_tests_name("gguf sweep", tests, start_pool, stop_pool);
}
