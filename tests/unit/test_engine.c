/* The engine's contracts beside bit equality: finish reasons, the forced ending, sharing of prefixes to the token, cancelling, limits, and
 * the invariants of the K/V pool under random use. */
#include "support/engine_fixture.h"

#include "engine/kv.h"

#include <string.h>

#define LLAMA GAVEL_TEST_DATA "/oracle/models/llama/llama-Q8_0.gguf"

static const sample_params greedy = {.top_p = 1, .repetition_penalty = 1};

static void open_llama(fixture *f, int batch, bool no_cache) {
    fixture_open(
        f, &(fixture_options){.path = LLAMA, .set = kern_best()->set, .threads = 2, .batch = batch, .ctx = 256, .no_cache = no_cache});
}

static void fill_prompt(int32_t *prompt, int n, int seed) {
    for (int i = 0; i < n; i++) prompt[i] = 3 + (i * 7 + seed * 13) % 500;
}

/* Runs everything submitted; results in the order they ended. Token pointers are not kept. */
static size_t run_all(fixture *f, engine_result *out, size_t cap) {
    size_t n = 0;
    gv_err err = GV_ERR_INIT;
    while (engine_in_flight(f->e) > 0) {
        const engine_result *r;
        size_t k;
        if (!engine_step(f->e, &r, &k, &err)) fail_msg("%s", err.msg);
        for (size_t i = 0; i < k && n < cap; i++) out[n++] = r[i];
    }
    return n;
}

static void max_tokens_ends_with_length(void **s) {
    (void)s;
    fixture f;
    int32_t prompt[10];
    engine_result r[4];
    open_llama(&f, 4, false);
    fill_prompt(prompt, 10, 1);
    engine_submit(f.e, &(engine_request){.id = 7, .prompt = prompt, .n_prompt = 10, .params = greedy, .max_tokens = 5, .ignore_eog = true});
    assert_int_equal(run_all(&f, r, 4), 1);
    assert_int_equal(r[0].id, 7);
    assert_int_equal(r[0].finish, ENGINE_LENGTH);
    assert_int_equal(r[0].n_tokens, 5);
    assert_int_equal(r[0].choice, -1);
    fixture_close(&f);
}

static void a_prompt_over_the_context_is_too_long_and_others_go_on(void **s) {
    (void)s;
    fixture f;
    int32_t prompt[300];
    engine_result r[4];
    open_llama(&f, 4, false);
    fill_prompt(prompt, 300, 1);
    engine_submit(f.e, &(engine_request){.id = 1, .prompt = prompt, .n_prompt = 256, .params = greedy, .max_tokens = 5});
    engine_submit(f.e,
                  &(engine_request){.id = 2, .prompt = prompt, .n_prompt = 255, .params = greedy, .max_tokens = 5, .ignore_eog = true});
    assert_int_equal(run_all(&f, r, 4), 2);
    const engine_result *first = r[0].id == 1 ? &r[0] : &r[1], *second = r[0].id == 1 ? &r[1] : &r[0];
    assert_int_equal(first->finish, ENGINE_TOO_LONG);
    assert_string_equal(first->message, "the prompt has 256 tokens; with 1 for the answer it exceeds the context of 256");
    assert_int_equal(second->finish, ENGINE_LENGTH); /* one token fits */
    assert_int_equal(second->n_tokens, 1);
    fixture_close(&f);
}

static void ids_outside_the_vocabulary_are_an_error_of_that_request(void **s) {
    (void)s;
    fixture f;
    int32_t prompt[2] = {1, 1 << 20};
    engine_result r[2];
    open_llama(&f, 2, false);
    engine_submit(f.e, &(engine_request){.id = 1, .prompt = prompt, .n_prompt = 2, .params = greedy, .max_tokens = 5});
    assert_int_equal(run_all(&f, r, 2), 1);
    assert_int_equal(r[0].finish, ENGINE_ERROR);
    assert_string_equal(r[0].message, "the prompt is empty or has ids outside the vocabulary");
    fixture_close(&f);
}

/* Whole pages of 32 prompt tokens are computed once; the last prompt token always. */
static void shared_prompt_tokens_are_counted_by_whole_pages(void **s) {
    (void)s;
    fixture f;
    int32_t prompt[100];
    engine_result r[8];
    open_llama(&f, 8, false);
    fill_prompt(prompt, 100, 3);
    for (int i = 0; i < 4; i++) /* 3 whole pages of the prompt's 100 tokens */
        engine_submit(
            f.e,
            &(engine_request){.id = (uint64_t)i, .prompt = prompt, .n_prompt = 100, .params = greedy, .max_tokens = 1, .ignore_eog = true});
    for (int i = 4; i < 8; i++) /* 96 = 3 pages: all but the last token */
        engine_submit(f.e, &(engine_request){
                               .id = (uint64_t)i, .prompt = prompt, .n_prompt = 96, .params = greedy, .max_tokens = 1, .ignore_eog = true});
    assert_int_equal(run_all(&f, r, 8), 8);
    const engine_stats st = engine_get_stats(f.e);
    assert_int_equal(st.prompt_tokens, 4 * 100 + 4 * 96);
    assert_int_equal(st.cached_tokens, 3 * 96 + 4 * 95);
    assert_int_equal(st.computed_tokens, st.prompt_tokens - st.cached_tokens);
    fixture_close(&f);
}

static void without_the_cache_nothing_is_shared(void **s) {
    (void)s;
    fixture f;
    int32_t prompt[100];
    engine_result r[4];
    open_llama(&f, 4, true);
    fill_prompt(prompt, 100, 3);
    for (int i = 0; i < 3; i++)
        engine_submit(
            f.e,
            &(engine_request){.id = (uint64_t)i, .prompt = prompt, .n_prompt = 100, .params = greedy, .max_tokens = 1, .ignore_eog = true});
    assert_int_equal(run_all(&f, r, 4), 3);
    assert_int_equal(engine_get_stats(f.e).computed_tokens, 300);
    fixture_close(&f);
}

static void a_cancelled_request_ends_and_others_do_not_change(void **s) {
    (void)s;
    fixture f;
    int32_t prompt[40];
    gv_err err = GV_ERR_INIT;
    const engine_result *r;
    size_t n, cancelled = 0, others = 0;
    open_llama(&f, 2, false);
    fill_prompt(prompt, 40, 5);
    for (int i = 0; i < 4; i++)
        engine_submit(
            f.e, &(engine_request){
                     .id = (uint64_t)(i % 2), .prompt = prompt, .n_prompt = 40, .params = greedy, .max_tokens = 8, .ignore_eog = true});
    assert_true(engine_step(f.e, &r, &n, &err));
    engine_cancel(f.e, 1); /* one runs, one waits */
    while (engine_in_flight(f.e) > 0) {
        assert_true(engine_step(f.e, &r, &n, &err));
        for (size_t i = 0; i < n; i++) {
            cancelled += r[i].finish == ENGINE_CANCELLED && r[i].id == 1;
            others += r[i].finish == ENGINE_LENGTH && r[i].id == 0 && r[i].n_tokens == 8;
        }
    }
    assert_int_equal(cancelled, 2);
    assert_int_equal(others, 2);
    fixture_close(&f);
}

/* ---- samples of one prompt ---- */

static void submit_samples(fixture *f, const int32_t *prompt, int32_t n_prompt, int n_samples, int32_t n_output) {
    for (int i = 0; i < n_samples; i++)
        engine_submit(f->e, &(engine_request){.id = (uint64_t)i,
                                              .prompt = prompt,
                                              .n_prompt = n_prompt,
                                              .params = {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .sample = (uint32_t)i},
                                              .max_tokens = n_output,
                                              .ignore_eog = true});
}

/* What must be computed, counted without the engine: each page of 32 equal prompt tokens once, the rest and the last token by each, and all
 * but the last token of each answer. */
static int64_t page_granular(int32_t n_prompt, int n_samples, int32_t n_output) {
    const int32_t whole = n_prompt / 32 * 32, rest = n_prompt > whole ? n_prompt - whole : 1;
    return n_prompt + (int64_t)(n_samples - 1) * rest + (int64_t)n_samples * (n_output - 1);
}

/* The first sample's prompt takes one step, and then all eight write together: one token a step each, the first a step ahead. */
static void samples_of_one_prompt_share_its_prefill_and_decode_together(void **s) {
    (void)s;
    enum { SAMPLES = 8, OUTPUT = 20 };
    int32_t prompt[200];
    engine_result r[SAMPLES];
    fill_prompt(prompt, 200, 4);
    for (int32_t n_prompt = 190; n_prompt <= 200; n_prompt++) { /* 192 is six whole pages */
        fixture f;
        open_llama(&f, SAMPLES, false);
        submit_samples(&f, prompt, n_prompt, SAMPLES, OUTPUT);
        assert_int_equal(run_all(&f, r, SAMPLES), SAMPLES);
        const engine_stats st = engine_get_stats(f.e);
        assert_int_equal(st.computed_tokens, page_granular(n_prompt, SAMPLES, OUTPUT));
        assert_int_equal(st.prompt_tokens - st.cached_tokens, page_granular(n_prompt, SAMPLES, 1));
        assert_int_equal(st.steps, 1 + OUTPUT);
        fixture_close(&f);
    }
}

/* Other rows' prompts fill the steps in which samples wait for their first one's pages. */
static void waiting_samples_leave_no_step_idle(void **s) {
    (void)s;
    enum { ROWS = 4, SAMPLES = 8, PROMPT = 240, STEP = 64 };
    fixture f;
    int32_t prompt[PROMPT];
    gv_err err = GV_ERR_INIT;
    int64_t before = 0, full = 0;
    fixture_open(&f, &(fixture_options){.path = LLAMA, .set = kern_best()->set, .batch = ROWS * SAMPLES, .ctx = 256, .step_tokens = STEP});
    for (int row = 0; row < ROWS; row++) {
        fill_prompt(prompt, PROMPT, row);
        submit_samples(&f, prompt, PROMPT, SAMPLES, 2);
    }
    while (engine_in_flight(f.e) > 0) {
        const engine_result *r;
        size_t n;
        if (!engine_step(f.e, &r, &n, &err)) fail_msg("%s", err.msg);
        const int64_t now = engine_get_stats(f.e).computed_tokens;
        full += now - before == STEP;
        before = now;
    }
    const int64_t work = ROWS * page_granular(PROMPT, SAMPLES, 2), steps = engine_get_stats(f.e).steps;
    assert_int_equal(engine_get_stats(f.e).computed_tokens, work);
    assert_true(full >= work / STEP - 2);
    assert_true(steps <= work / STEP + 4);
    fixture_close(&f);
}

/* 5 pages of prompt and one each to write in: 8 samples fit into 5 + 8 pages and the spare one of each, not into 8 times 6. */
static void samples_that_fit_only_by_sharing_run_at_the_same_time(void **s) {
    (void)s;
    fixture f;
    int32_t prompt[160];
    gv_err err = GV_ERR_INIT;
    const engine_result *r;
    size_t n;
    int most = 0;
    fixture_open(&f, &(fixture_options){.path = LLAMA, .set = kern_best()->set, .batch = 8, .ctx = 256, .pages = 22});
    fill_prompt(prompt, 160, 6);
    submit_samples(&f, prompt, 160, 8, 30);
    while (engine_in_flight(f.e) > 0) {
        if (!engine_step(f.e, &r, &n, &err)) fail_msg("%s", err.msg);
        if (engine_get_stats(f.e).running > most) most = engine_get_stats(f.e).running;
    }
    assert_int_equal(most, 8);
    assert_int_equal(engine_get_stats(f.e).preemptions, 0);
    fixture_close(&f);
}

/* 64 requests of a whole context each, pages for a few: all end, and as many run as there are pages for.  With GAVEL_LONG 2,000 tokens each. */
static void requests_beyond_the_pages_wait_for_them_and_all_finish(void **s) {
    (void)s;
    enum { N = 64, FIT = 4 };
    const bool is_long = getenv("GAVEL_LONG") && *getenv("GAVEL_LONG");
    const int32_t whole = is_long ? 2000 : 200, n_prompt = whole - whole / 20, pages_each = (whole + 31) / 32;
    static int32_t prompt[2000];
    static bool seen[N];
    fixture f;
    gv_err err = GV_ERR_INIT;
    int done = 0;
    memset(seen, 0, sizeof seen);
    fixture_open(&f,
                 &(fixture_options){
                     .path = LLAMA, .set = kern_best()->set, .batch = 32, .ctx = pages_each * 32, .pages = FIT * (pages_each + 1) + FIT});
    for (int i = 0; i < N; i++) {
        fill_prompt(prompt, n_prompt, i);
        engine_submit(f.e, &(engine_request){.id = (uint64_t)i,
                                             .prompt = prompt,
                                             .n_prompt = n_prompt,
                                             .params = greedy,
                                             .max_tokens = whole - n_prompt,
                                             .ignore_eog = true});
    }
    while (engine_in_flight(f.e) > 0) {
        const engine_result *r;
        size_t n;
        if (!engine_step(f.e, &r, &n, &err)) fail_msg("%s", err.msg);
        const engine_stats st = engine_get_stats(f.e);
        if (st.waiting > 0 && n == 0) assert_true(st.running >= FIT);
        for (size_t i = 0; i < n; i++, done++) {
            assert_int_equal(r[i].finish, ENGINE_LENGTH);
            assert_int_equal(r[i].n_prompt + r[i].n_tokens, whole);
            assert_false(seen[r[i].id]);
            seen[r[i].id] = true;
        }
    }
    assert_int_equal(done, N);
    fixture_close(&f);
}

/* ---- the forced ending ---- */

static engine_ending make_ending(fixture *f) {
    engine_ending e = {.trigger = "[RESULT]", .n_choices = 5};
    gv_err err = GV_ERR_INIT;
    ids list = {0};
    assert_true(tok_encode_continue(f->t, SV(" [RESULT]"), &list, &err));
    e.n_lead = (int)list.n;
    memcpy(e.lead, list.v, list.n * sizeof *list.v);
    for (int i = 0; i < 5; i++) {
        char text[] = "1";
        text[0] = (char)('1' + i);
        ids one = {0};
        assert_true(tok_encode_continue(f->t, sv_of(text), &one, &err));
        assert_int_equal(one.n, 1);
        e.choice[i] = e.bare[i] = one.v[0];
        ids_fini(&one);
    }
    list.n = 0;
    assert_true(tok_encode_continue(f->t, SV(" "), &list, &err));
    e.n_gap = (int)list.n;
    memcpy(e.gap, list.v, list.n * sizeof *list.v);
    ids_fini(&list);
    return e;
}

static void an_ending_is_forced_within_max_tokens(void **s) {
    (void)s;
    fixture f;
    int32_t prompt[20];
    gv_err err = GV_ERR_INIT;
    open_llama(&f, 4, false);
    const engine_ending e = make_ending(&f);
    fill_prompt(prompt, 20, 2);
    for (int max = 1; max < 60; max += 7)
        engine_submit(f.e, &(engine_request){.id = (uint64_t)max,
                                             .prompt = prompt,
                                             .n_prompt = 20,
                                             .params = greedy,
                                             .max_tokens = max,
                                             .ending = &e,
                                             .want_choice_logprobs = true});
    int seen = 0;
    while (engine_in_flight(f.e) > 0) {
        const engine_result *r;
        size_t n;
        if (!engine_step(f.e, &r, &n, &err)) fail_msg("%s", err.msg);
        for (size_t i = 0; i < n; i++, seen++) {
            buf text = {0};
            const int reserve = (e.n_lead > 8 ? e.n_lead : 8) + e.n_gap + 1;
            tok_decode_text(f.t, r[i].tokens, (size_t)r[i].n_tokens, false, false, &text);
            assert_int_equal(r[i].finish, ENGINE_STOP);
            assert_true(r[i].choice >= 0 && r[i].choice < 5);
            assert_true(r[i].n_tokens <= ((int)r[i].id > reserve ? (int)r[i].id : reserve));
            char want[32];
            snprintf(want, sizeof want, "[RESULT] %d", r[i].choice + 1);
            assert_true(sv_ends(buf_view(&text), sv_of(want)));
            assert_true(sv_find(buf_view(&text), SV("[RESULT]"), 0) == text.n - 10); /* once */
            double mass = 0;
            for (int k = 0; k < 5; k++) mass += kern_exp(r[i].choice_logprob[k]);
            assert_true(mass > 0 && mass < 1);
            buf_fini(&text);
        }
    }
    assert_int_equal(seen, 9);
    fixture_close(&f);
}

/* ---- rules ---- */

/* What greedy gives after the prompt: the tokens, and their bytes with where each ends. */
typedef struct free_run {
    int32_t id[40];
    int n;
    char text[2048];
    size_t end[40], n_text;
} free_run;

static void run_rules(fixture *f, const sample_rules *rules, engine_result *out, int32_t *tokens) {
    int32_t prompt[10];
    gv_err err = GV_ERR_INIT;
    fill_prompt(prompt, 10, 5);
    engine_submit(f->e, &(engine_request){.id = 1, .prompt = prompt, .n_prompt = 10, .params = greedy, .max_tokens = 40, .rules = rules});
    for (size_t k = 0; k == 0;) {
        const engine_result *r;
        if (!engine_step(f->e, &r, &k, &err)) fail_msg("%s", err.msg);
        if (k == 0) continue;
        *out = r[0];
        memcpy(tokens, r[0].tokens, (size_t)r[0].n_tokens * sizeof *tokens);
        if (rules) assert_memory_equal(r[0].rules, rules, sizeof *rules);
    }
}

static void run_free(fixture *f, free_run *out) {
    engine_result r;
    memset(out, 0, sizeof *out);
    run_rules(f, NULL, &r, out->id);
    out->n = r.n_tokens;
    for (int i = 0; i < out->n; i++) {
        const sv bytes = tok_token_bytes(f->t, out->id[i]);
        assert_true(out->n_text + bytes.n < sizeof out->text);
        if (bytes.n) memcpy(out->text + out->n_text, bytes.p, bytes.n);
        out->end[i] = out->n_text += bytes.n;
    }
}

/* Whatever part of the text the stop is, the sequence ends with the token in which the stop's first occurrence ends. */
static void a_stop_text_ends_the_sequence_with_the_token_that_completes_it(void **s) {
    (void)s;
    fixture f;
    free_run whole;
    engine_result r;
    int32_t tokens[40];
    sample_rules rules;
    int across = 0;
    open_llama(&f, 2, false);
    run_free(&f, &whole);
    assert_true(whole.n >= 20);
    for (size_t from = 0; from + 6 < whole.n_text; from += 3) {
        for (size_t n = 1; n <= 6; n += 5) {
            const sv part = {whole.text + from, n};
            int want = 0, first_token = 0;
            if (memchr(part.p, 0, n)) continue;
            memset(&rules, 0, sizeof rules);
            memcpy(rules.stop[0], "not in any text at all", 23);
            memcpy(rules.stop[1], part.p, n);
            rules.n_stops = 2;
            const size_t at = sv_find((sv){whole.text, whole.n_text}, part, 0);
            while (whole.end[want] < at + n) want++;
            while (whole.end[first_token] <= at) first_token++;
            across += first_token < want;
            run_rules(&f, &rules, &r, tokens);
            assert_int_equal(r.finish, ENGINE_STOP);
            assert_int_equal(r.n_tokens, want + 1);
            assert_memory_equal(tokens, whole.id, (size_t)r.n_tokens * sizeof *tokens);
        }
    }
    assert_true(across > 5); /* stops that begin in one token and end in another were among them */
    fixture_close(&f);
}

static void a_stop_id_ends_like_an_end_of_turn_and_min_tokens_puts_both_off(void **s) {
    (void)s;
    fixture f;
    free_run whole;
    engine_result r;
    int32_t tokens[40];
    sample_rules rules = {.n_stop_ids = 1};
    open_llama(&f, 2, false);
    run_free(&f, &whole);
    int first = 0; /* where the id of place 9 comes first */
    while (whole.id[first] != whole.id[9]) first++;
    rules.stop_id[0] = whole.id[9];
    run_rules(&f, &rules, &r, tokens);
    assert_int_equal(r.finish, ENGINE_STOP);
    assert_int_equal(r.n_tokens, first); /* the id itself is not among them */
    rules.min_tokens = first + 5;
    run_rules(&f, &rules, &r, tokens);
    assert_true(r.n_tokens >= first + 5);
    for (int i = 0; i < first + 5; i++) assert_true(tokens[i] != whole.id[9]);
    rules = (sample_rules){.n_stops = 1, .min_tokens = 30};
    memcpy(rules.stop[0], whole.text + whole.end[4], 1);
    if (!rules.stop[0][0]) fail_msg("the text has a NUL");
    run_rules(&f, &rules, &r, tokens);
    assert_true(r.n_tokens >= 30);
    const sample_rules biased = {.bias = {{whole.id[0], -100}}, .n_biases = 1};
    run_rules(&f, &biased, &r, tokens);
    for (int i = 0; i < r.n_tokens; i++) assert_true(tokens[i] != whole.id[0]);
    fixture_close(&f);
}

static void the_text_is_cut_at_the_first_stop_and_the_longer_of_two(void **s) {
    (void)s;
    sample_rules r = {.n_stops = 3};
    const sv text = SV("one [RESULT] 5</s>\n\n### next [RESULT]");
    strcpy(r.stop[0], "###");
    strcpy(r.stop[1], "</s");
    strcpy(r.stop[2], "</s>");
    assert_int_equal(rules_cut(&r, text, 0), 14);
    r.keep_stop = true;
    assert_int_equal(rules_cut(&r, text, 0), 18);
    assert_int_equal(rules_cut(&r, text, 17), 18); /* it ends beyond byte 17 */
    assert_int_equal(rules_cut(&r, text, 18), 23);
    r.keep_stop = false;
    assert_int_equal(rules_cut(&r, text, 18), 20);
    assert_int_equal(rules_cut(&r, text, 23), text.n);
    assert_int_equal(rules_cut(&r, SV("<"), 0), 1);
    assert_int_equal(rules_cut(&r, SV(""), 0), 0);
}

/* ---- the pool alone ---- */

static void the_pool_keeps_its_invariants_under_random_use(void **s) {
    (void)s;
    enum { PAGES = 40, CHAINS = 12, ROUNDS = 20000 };
    const kv_shape shape = {1, 1, 2, KERN_KV_F16};
    gv_err err = GV_ERR_INIT;
    kv_pool *p = kv_pool_new(&shape, PAGES, &err);
    kv_page chain[CHAINS][8];
    int n[CHAINS] = {0};
    uint32_t x = 12345;
    int found = 0;
    assert_non_null(p);
    for (int round = 0; round < ROUNDS; round++) {
        x = x * 1664525u + 1013904223u;
        const int c = (int)(x >> 8) % CHAINS;
        int32_t tokens[KERN_PAGE_TOKENS];
        for (int i = 0; i < KERN_PAGE_TOKENS; i++) tokens[i] = (int32_t)((x >> 16) % 3) * 100 + i; /* three variants a level: chains meet */
        if ((x >> 28) < 9 && n[c] < 8) {
            const kv_page parent = n[c] ? chain[c][n[c] - 1] : KV_NONE;
            kv_page page = kv_tree_find(p, parent, tokens);
            if (page != KV_NONE) {
                kv_page_share(p, page);
                found++;
            } else {
                page = kv_page_take(p);
                if (page == KV_NONE) continue;
                kv_tree_enter(p, parent, page, tokens);
                if ((x >> 20 & 7) == 0) {
                    kv_tree_leave(p, page);
                    kv_page_release(p, page);
                    continue;
                }
                kv_tree_set_ready(p, page);
            }
            chain[c][n[c]++] = page;
        } else {
            while (n[c] > 0) kv_page_release(p, chain[c][--n[c]]);
        }
        if (!kv_check(p, &err)) fail_msg("round %d: %s", round, err.msg);
    }
    assert_true(found > 100);
    for (int c = 0; c < CHAINS; c++)
        while (n[c] > 0) kv_page_release(p, chain[c][--n[c]]);
    assert_int_equal(kv_pages_available(p), PAGES);
    kv_pool_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(max_tokens_ends_with_length),
        cmocka_unit_test(a_prompt_over_the_context_is_too_long_and_others_go_on),
        cmocka_unit_test(ids_outside_the_vocabulary_are_an_error_of_that_request),
        cmocka_unit_test(shared_prompt_tokens_are_counted_by_whole_pages),
        cmocka_unit_test(without_the_cache_nothing_is_shared),
        cmocka_unit_test(a_cancelled_request_ends_and_others_do_not_change),
        cmocka_unit_test(samples_of_one_prompt_share_its_prefill_and_decode_together),
        cmocka_unit_test(waiting_samples_leave_no_step_idle),
        cmocka_unit_test(samples_that_fit_only_by_sharing_run_at_the_same_time),
        cmocka_unit_test(requests_beyond_the_pages_wait_for_them_and_all_finish),
        cmocka_unit_test(an_ending_is_forced_within_max_tokens),
        cmocka_unit_test(a_stop_text_ends_the_sequence_with_the_token_that_completes_it),
        cmocka_unit_test(a_stop_id_ends_like_an_end_of_turn_and_min_tokens_puts_both_off),
        cmocka_unit_test(the_text_is_cut_at_the_first_stop_and_the_longer_of_two),
        cmocka_unit_test(the_pool_keeps_its_invariants_under_random_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
