/* Memory: overflow and exhaustion are reported where input chooses the size, the guard aborts, arenas keep alignment and contents. */
#include "support/base_check.h"

#include "base/mem.h"

static char text[256];

static void sizes_that_overflow_are_refused(void **state) {
    (void)state;
    size_t n;
    assert_true(gv_mul_size(1u << 20, 1u << 20, &n));
    assert_true(n == (size_t)1 << 40);
    assert_false(gv_mul_size(SIZE_MAX / 2 + 1, 2, &n));
    assert_false(gv_add_size(SIZE_MAX, 1, &n));
    assert_true(gv_add_size(SIZE_MAX - 1, 1, &n));
    CHECK_FAILS(gv_try_malloc(SIZE_MAX / 2, 4, "tensor table", &err), GV_MEMORY, -1,
                "tensor table: 9223372036854775807 times 4 bytes is more than can be addressed");
    CHECK_FAILS(gv_try_calloc(SIZE_MAX, 1, "rows", &err), GV_MEMORY, -1,
                "rows: 18446744073709551615 times 1 bytes is more than can be addressed");
    CHECK_FAILS(gv_try_aligned(SIZE_MAX - 3, "weights", &err), GV_MEMORY, -1,
                "weights: 18446744073709551612 bytes is more than can be addressed");
}

static void an_injected_failure_hits_exactly_the_nth_allocation(void **state) {
    (void)state;
#ifdef GAVEL_TESTING
    gv_err ok = GV_ERR_INIT;
    gv_alloc_fail_at(2);
    void *p = gv_try_malloc(1, 8, "first", &ok);
    assert_non_null(p);
    free(p);
    CHECK_FAILS(gv_try_calloc(3, 8, "second", &err), GV_MEMORY, -1, "second: out of memory (24 bytes)");
    p = gv_try_aligned(8, "third", &ok);
    assert_non_null(p);
    free(p);
    gv_alloc_fail_at(1);
    buf b = {0};
    CHECK_FAILS(buf_try_reserve(&b, 100, "line", &err), GV_MEMORY, -1, "line: out of memory (101 bytes)");
    gv_alloc_fail_at(0);
#else
    skip();
#endif
}

static void zero_bytes_are_a_valid_pointer(void **state) {
    (void)state;
    gv_err ok = GV_ERR_INIT;
    void *p[] = {gv_xmalloc(0),
                 gv_xcalloc(0, 8),
                 gv_xrealloc(NULL, 0),
                 gv_try_malloc(0, 8, "a", &ok),
                 gv_try_calloc(8, 0, "b", &ok),
                 gv_try_aligned(0, "c", &ok)};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) {
        assert_non_null(p[i]);
        free(p[i]);
    }
    char *s = gv_xstrdup("");
    assert_string_equal(s, "");
    free(s);
}

static void aligned_memory_starts_at_a_cache_line(void **state) {
    (void)state;
    for (size_t n = 1; n < 300; n += 37) {
        gv_err ok = GV_ERR_INIT;
        unsigned char *p = gv_try_aligned(n, "x", &ok);
        assert_int_equal((uintptr_t)p % 64, 0);
        memset(p, 1, (n + 63) / 64 * 64); /* the size is rounded up */
        free(p);
    }
}

static void allocate_guarded(void) {
    gv_alloc_guard(true);
    gv_alloc_guard(true);
    gv_alloc_guard(false); /* counted: still on */
    free(gv_xmalloc(10));
}
static void try_guarded(void) {
    gv_err ok = GV_ERR_INIT;
    gv_alloc_guard(true);
    free(gv_try_malloc(10, 2, "x", &ok));
}
static void arena_guarded(void) {
    arena a;
    arena_init(&a);
    gv_alloc_guard(true);
    if (arena_alloc(&a, 1)) arena_fini(&a);
}
static void release_too_often(void) {
    gv_alloc_guard(false);
}
static void guard_released(void) {
    gv_alloc_guard(true);
    gv_alloc_guard(false);
    free(gv_xmalloc(10));
}

static void the_guard_aborts_an_allocation_inside_a_step(void **state) {
    (void)state;
    assert_true(aborts(allocate_guarded, text, sizeof text));
    assert_string_equal(text, "gavel: allocation inside a step (10 bytes)\n");
    assert_true(aborts(try_guarded, text, sizeof text));
    assert_string_equal(text, "gavel: allocation inside a step (20 bytes)\n");
    assert_true(aborts(arena_guarded, text, sizeof text));
    assert_true(aborts(release_too_often, text, sizeof text));
    assert_string_equal(text, "gavel: allocation guard released more often than taken (0 bytes)\n");
    assert_false(aborts(guard_released, text, sizeof text));
}

static void the_guard_lets_memory_that_exists_be_used(void **state) {
    (void)state;
    arena a;
    arena_init(&a);
    char *p = arena_alloc(&a, 100);
    buf b = {0};
    buf_reserve(&b, 100);
    gv_alloc_guard(true);
    char *q = arena_alloc(&a, 100);
    buf_add(&b, "abc", 3);
    gv_alloc_guard(false);
    p[99] = q[99] = 1;
    arena_fini(&a);
    buf_fini(&b);
}

static void an_arena_keeps_what_it_hands_out(void **state) {
    (void)state;
    enum { N = 3000 };
    static struct {
        unsigned char *p;
        size_t n;
    } held[N];
    arena a;
    arena_init(&a);
    uint64_t seed = 1;
    for (int round = 0; round < 3; round++) {
        size_t sum = 0;
        for (int i = 0; i < N; i++) {
            size_t n = random_next(&seed) % 100 == 0 ? random_next(&seed) % 3000000 : random_next(&seed) % 300;
            if (i % 500 == 7) n = (size_t)1 << 20; /* the largest that shares a chunk, or not */
            if (i % 500 == 8) n = 0;
            held[i].p = arena_alloc(&a, n);
            held[i].n = n;
            sum += n;
            assert_int_equal((uintptr_t)held[i].p % 16, 0);
            memset(held[i].p, i & 255, n);
        }
        assert_int_equal(a.used_bytes, sum);
        for (int i = 0; i < N; i++) {
            for (size_t k = 0; k < held[i].n; k++) {
                if (held[i].p[k] != (i & 255)) fail_msg("allocation %d changed at byte %zu", i, k);
            }
        }
        arena_reset(&a);
        assert_int_equal(a.used_bytes, 0);
    }
    arena_fini(&a);
    arena_reset(&a);
    arena_fini(&a);
}

static void an_arena_after_reset_needs_no_new_memory_for_small_requests(void **state) {
    (void)state;
    arena a;
    arena_init(&a);
    (void)!arena_alloc(&a, 3000000); /* a chunk of its own first: not the one that is kept */
    (void)!arena_alloc(&a, 100);
    arena_reset(&a);
    gv_alloc_guard(true);
    char *p = arena_alloc(&a, 3000);
    gv_alloc_guard(false);
    memset(p, 1, 3000);
    arena_fini(&a);
}

static void an_arena_after_reset_holds_no_oversized_chunk(void **state) {
    (void)state;
    arena a;
    arena_init(&a);
    (void)!arena_alloc(&a, 3000000);
    arena_reset(&a);
    assert_null(a.head);
    arena_fini(&a);
}

static void arenas_copy_and_format_text(void **state) {
    (void)state;
    arena a;
    arena_init(&a);
    assert_memory_equal(arena_dup(&a, "a\0b", 3), "a\0b", 4);
    assert_string_equal(arena_dup(&a, NULL, 0), "");
    char *long_text = arena_printf(&a, "%05000d|%s", 7, "x");
    assert_int_equal(strlen(long_text), 5002);
    assert_string_equal(long_text + 4999, "7|x");
    arena_fini(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(an_injected_failure_hits_exactly_the_nth_allocation),
        cmocka_unit_test(zero_bytes_are_a_valid_pointer),
        cmocka_unit_test(aligned_memory_starts_at_a_cache_line),
        cmocka_unit_test(the_guard_aborts_an_allocation_inside_a_step),
        cmocka_unit_test(the_guard_lets_memory_that_exists_be_used),
        cmocka_unit_test(an_arena_keeps_what_it_hands_out),
        cmocka_unit_test(an_arena_after_reset_needs_no_new_memory_for_small_requests),
        cmocka_unit_test(an_arena_after_reset_holds_no_oversized_chunk),
        cmocka_unit_test(arenas_copy_and_format_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
