/* lm over our own engine: a model file, its tokenizer and layout, and an engine sized by --memory, --ctx and --max-batch. */
#include "lm/lm_internal.h"

#include "base/digest.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/kv.h"
#include "lm/layout.h"
#include "modelfile/model_name.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DEFAULT_BATCH = 32, MAX_BATCH = 1024, DEFAULT_STEP_TOKENS = 512, REQUESTS_A_SEQUENCE = 4, POLL_US = 50000 };

/* Resident beside what is counted one by one.  Measured: the tokenizer's tables take 50 to 110 bytes a token; program, libraries, SQLite and
 * stacks 5 MiB.  The rest of PROGRAM_BYTES is for rows and texts under way and for the rounding of three blocks to huge pages. */
enum { TOKENIZER_BYTES_A_TOKEN = 128, PROGRAM_BYTES = 16 << 20 };

typedef struct lm_local {
    lm base;
    pool *threads;
    tok *t;
    layout *chat;
    model *m;
    digest_job *digest; /* of the model */
    engine *e;
    lm_caps caps;
    char numerics[160];
    buf name;
    /* the ending made of the last constraint asked for, and the text it was made from */
    engine_ending ending;
    buf ending_key;
    arena results_arena;
    lm_result *results;
    size_t n_results, cap_results;
    lm_result *early; /* answers to requests that never reached the engine */
    size_t n_early, cap_early;
    arena early_arena;
} lm_local;

/* ---- sizes ---- */

static int64_t available_memory(void) {
    const int64_t page = sysconf(_SC_PAGESIZE);
    int64_t available = page * sysconf(_SC_PHYS_PAGES) / 2;
    FILE *f = fopen("/proc/meminfo", "r");
    if (!f) return available;
    char line[256];
    long long kib;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lld kB", &kib) == 1) available = kib * 1024;
    fclose(f);
    return available;
}

/* What is resident at most besides K/V pages, in bytes (m is bound, not loaded).  A request in the queue counts as the longest there can be.
 * The embedding's rows stay in the file, but the pages once read count as ours; so all of them do.  While loading there are no pages,
 * scratch and requests yet, which is more than the few slices of the file that are mapped then. */
static int64_t fixed_bytes(const lm_local *l, const engine_options *e) {
    const model *m = l->m;
    engine_options without_pages = *e;
    without_pages.n_pages = 0;
    const size_t embedding = model_mapped_bytes(m), rope = (size_t)e->max_ctx * (size_t)m->shape.n_rot * sizeof(float);
    const size_t requests = REQUESTS_A_SEQUENCE * (size_t)e->max_batch * engine_request_bytes(e->max_ctx);
    return (int64_t)(m->packed_bytes + embedding + rope + (size_t)m->shape.n_vocab * TOKENIZER_BYTES_A_TOKEN +
                     engine_bytes(m, &without_pages, pool_threads(l->threads)) + requests + PROGRAM_BYTES);
}

/* As many pages as fit, at most what max_batch sequences of max_ctx tokens can use. */
static int64_t pages_that_fit(const lm_local *l, const engine_options *e, int64_t ctx_pages, int64_t left) {
    const model_shape *s = &l->m->shape;
    const kv_shape shape = {s->n_layer, s->n_head_kv, s->head_dim, e->kv_type};
    int64_t pages = left > 0 ? left / (int64_t)kv_page_bytes(&shape) : 0;
    if (pages > ctx_pages * e->max_batch) pages = ctx_pages * e->max_batch;
    if (pages > INT32_MAX / 4) pages = INT32_MAX / 4;
    while (pages > 0 && (int64_t)kv_pool_bytes(&shape, (int32_t)pages) > left) pages -= pages / 64 + 1;
    return pages;
}

/* Fits context and pages into what memory is left beside the weights. */
static bool size_engine(lm_local *l, const lm_options *o, int64_t memory, engine_options *e, gv_err *err) {
    const model_shape *s = &l->m->shape;
    const kv_shape shape = {s->n_layer, s->n_head_kv, s->head_dim, e->kv_type};
    if ((int64_t)l->m->packed_bytes > memory)
        return gv_fail(err, GV_LIMIT, -1, "%s: the weights need %zu MiB, --memory allows %lld MiB", o->model, l->m->packed_bytes >> 20,
                       (long long)(memory >> 20));
    e->max_ctx = l->m->n_pos;
    for (;;) {
        const int64_t ctx_pages = (e->max_ctx + KERN_PAGE_TOKENS - 1) / KERN_PAGE_TOKENS, fixed = fixed_bytes(l, e);
        const int64_t pages = pages_that_fit(l, e, ctx_pages, memory - fixed);
        if (pages >= ctx_pages) {
            e->n_pages = (int32_t)pages;
            return true;
        }
        if (o->ctx || e->max_ctx <= 256)
            return gv_fail(err, GV_LIMIT, -1, "a context of %lld tokens needs %lld MiB, %lld MiB are allowed (--memory, --ctx)",
                           (long long)e->max_ctx, (long long)((fixed + (int64_t)kv_pool_bytes(&shape, (int32_t)ctx_pages)) >> 20) + 1,
                           (long long)(memory >> 20));
        e->max_ctx /= 2;
        log_msg(LOG_INFO, "context reduced to %lld tokens to fit into memory", (long long)e->max_ctx);
    }
}

static const char *wait_for_digest(void *of) {
    return digest_wait(((lm_local *)of)->digest);
}

/* Only what the context needs of the position tables. */
static bool load_model(lm_local *l, const lm_options *o, const engine_options *e, gv_err *err) {
    const model_load_options load = {l->threads, o->weights_cache, wait_for_digest, l};
    l->m->n_pos = e->max_ctx;
    if (!model_load(l->m, &load, err)) return false;
    const model *m = l->m;
    const double seconds = (double)m->pack_us * 1e-6;
    log_msg(LOG_INFO, "%s: %zu MiB of weights %s in %.2f s (%.1f GB/s), ready in %.2f s", o->model, m->packed_bytes >> 20,
            m->cached.p ? "from the cache, checked"
            : m->mix    ? "quantised"
                        : "repacked",
            seconds, (double)m->packed_bytes * 1e-9 / (seconds > 0 ? seconds : 1e-6), (double)m->load_us * 1e-6);
    return true;
}

/* A GGUF's own digest, of parts that of `cat NAME-*.gguf | sha256sum`; of a folder that of `sha256sum config.json *.safetensors`. */
static digest_job *start_digest(const tensors *file) {
    const size_t n = tensors_n_files(file);
    digest_file *list = gv_xcalloc(n, sizeof *list);
    for (size_t i = 0; i < n; i++) list[i] = (digest_file){tensors_file_name(file, i), tensors_file_map(file, i)};
    digest_job *j = tensors_is_folder(file) ? digest_start_list(list, n) : digest_start_joined(list, n);
    free(list);
    return j;
}

/* Tokenizer, layout and bound model: what fails, fails before gigabytes are packed.  Hashing begins here, so that it goes on beside all the rest. */
static bool open_file(lm_local *l, const lm_options *o, gv_err *err) {
    const quant_mix *mix = o->weights ? quant_mix_by_name(o->weights, err) : NULL;
    if (o->weights && !mix) return gv_context(err, "--weights");
    tensors *file = tensors_open(o->model, err);
    if (!file) return false;
    l->t = tok_from_tensors(file, err);
    if (!l->t) {
        gv_context(err, "%s", o->model);
        tensors_close(file);
        return false;
    }
    l->m = model_bind(file, mix, o->ctx, err);
    if (!l->m) return false;
    l->digest = start_digest(l->m->file);
    l->caps.known = known_model_of(l->m->file);
    l->chat = layout_open(l->t, o->chat_template_text, o->chat_template, l->caps.known, err);
    return l->chat != NULL;
}

static bool open_engine(lm_local *l, const lm_options *o, gv_err *err) {
    engine_options e = {.kern = o->kernels ? kern_by_name(o->kernels, err) : kern_best(),
                        .kv_type = o->kv && strcmp(o->kv, "f32") == 0 ? KERN_KV_F32 : KERN_KV_F16,
                        .max_batch = o->max_batch ? (int)o->max_batch : DEFAULT_BATCH,
                        .prompt_chunk = (int)o->prompt_chunk,
                        .no_prefix_cache = o->no_prefix_cache};
    if (!e.kern) return false;
    if (e.max_batch < 1 || e.max_batch > MAX_BATCH)
        return gv_fail(err, GV_USAGE, -1, "--max-batch %d, expected 1 to %d", e.max_batch, MAX_BATCH);
    e.step_tokens = e.max_batch > DEFAULT_STEP_TOKENS ? e.max_batch : DEFAULT_STEP_TOKENS;
#ifdef GAVEL_TESTING
    e.check_kv = true;
#endif
    const int64_t memory = o->memory_bytes ? o->memory_bytes : available_memory() / 10 * 8;
    if (!open_file(l, o, err) || !size_engine(l, o, memory, &e, err) || !load_model(l, o, &e, err)) return false;
    if (o->ctx > l->m->shape.ctx_train)
        log_msg(LOG_WARN, "--ctx %lld is more than the %lld positions the model was trained for", (long long)o->ctx,
                (long long)l->m->shape.ctx_train);
    l->e = engine_new(l->m, l->t, l->threads, &e, err);
    if (!l->e) return false;
    char types[96];
    model_weight_types(l->m, types, sizeof types);
    snprintf(l->numerics, sizeof l->numerics, "canonical-1 kv=%s w=%s", e.kv_type == KERN_KV_F32 ? "f32" : "f16", types);
    if (o->name)
        utf8_replace(sv_of(o->name), &l->name);
    else
        model_name_of(l->m->file, &l->name);
    l->caps = (lm_caps){.model_name = l->name.n ? l->name.p : "",
                        .known = l->caps.known,
                        .model_hash = "",
                        .tokenizer_hash = tok_hash(l->t),
                        .numerics = l->numerics,
                        .ctx_tokens = e.max_ctx,
                        .constrained = true,
                        .logprobs = true,
                        .max_in_flight = REQUESTS_A_SEQUENCE * e.max_batch};
    return true;
}

/* ---- requests ---- */

static lm_result *push(lm_result **v, size_t *n, size_t *cap) {
    if (*n == *cap) {
        *cap = *cap ? 2 * *cap : 64;
        *v = gv_xrealloc(*v, *cap * sizeof **v);
    }
    lm_result *r = &(*v)[(*n)++];
    *r = (lm_result){.choice = -1};
    return r;
}

static void answer_early(lm_local *l, uint64_t id, lm_finish finish, const char *message) {
    lm_result *r = push(&l->early, &l->n_early, &l->cap_early);
    r->id = id;
    r->finish = finish;
    r->message = (sv){arena_dup(&l->early_arena, message, strlen(message)), strlen(message)};
}

static bool copy_ids(const ids *from, size_t begin, size_t end, int32_t *to, int *n, size_t cap) {
    if (end - begin > cap) return false;
    memcpy(to, from->v + begin, (end - begin) * sizeof *to);
    *n = (int)(end - begin);
    return true;
}

/* ids of " TRIGGER" (lead), what stands between it and a choice (gap), and each choice's one id, after a space and without.  The space before a choice
 * is part of its token (" 5") where the tokenizer writes all choices so; else it is the end of the gap (own_space), and the choice stands alone.
 * *fits: the tokenizer can do it this way. */
static bool encode_choice(const lm_local *l, const lm_constraint *c, size_t i, bool own_space, engine_ending *e, bool *fits, gv_err *err) {
    ids lead = {0}, whole = {0}, bare = {0};
    buf text = {0};
    buf_printf(&text, " " SV_FMT, SV_ARG(c->trigger));
    bool ok = tok_encode_continue(l->t, buf_view(&text), &lead, err);
    buf_add_char(&text, ' ');
    if (!own_space) buf_add_sv(&text, c->choices[i]);
    ok = ok && tok_encode_continue(l->t, buf_view(&text), &whole, err) && tok_encode_continue(l->t, c->choices[i], &bare, err);
    engine_ending one = *e;
    *fits = ok && lead.n > 0 && whole.n > lead.n && memcmp(whole.v, lead.v, lead.n * sizeof *lead.v) == 0 && bare.n == 1 &&
            copy_ids(&lead, 0, lead.n, one.lead, &one.n_lead, 32) &&
            copy_ids(&whole, lead.n, own_space ? whole.n : whole.n - 1, one.gap, &one.n_gap, 8) &&
            (i == 0 || (one.n_gap == e->n_gap && memcmp(one.gap, e->gap, (size_t)e->n_gap * sizeof *e->gap) == 0));
    if (*fits) {
        one.bare[i] = bare.v[0];
        one.choice[i] = own_space ? bare.v[0] : whole.v[whole.n - 1];
        *e = one;
    }
    ids_fini(&lead), ids_fini(&whole), ids_fini(&bare);
    buf_fini(&text);
    return ok;
}

static bool encode_ending(const lm_local *l, const lm_constraint *c, engine_ending *e, gv_err *err) {
    for (int own_space = 0; own_space <= 1; own_space++) {
        bool fits = true;
        *e = (engine_ending){.n_choices = (int)c->n_choices};
        memcpy(e->trigger, c->trigger.p, c->trigger.n);
        for (size_t i = 0; fits && i < c->n_choices; i++) {
            if (!encode_choice(l, c, i, own_space, e, &fits, err)) return false;
            for (size_t k = 0; fits && k < i; k++) fits = e->choice[k] != e->choice[i] && e->bare[k] != e->bare[i];
        }
        if (fits) return true;
    }
    return gv_fail(err, GV_UNSUPPORTED, -1, "this tokenizer does not write each of the %zu verdicts after \"" SV_FMT "\" as one token",
                   c->n_choices, SV_ARG(c->trigger));
}

static bool make_ending(lm_local *l, const lm_constraint *c, gv_err *err) {
    buf key = {0};
    buf_add_sv(&key, c->trigger);
    for (size_t i = 0; i < c->n_choices; i++) buf_printf(&key, "\n" SV_FMT, SV_ARG(c->choices[i]));
    bool ok = true;
    if (!sv_eq(buf_view(&key), buf_view(&l->ending_key))) {
        engine_ending e;
        ok = c->n_choices >= 1 && c->n_choices <= 16 && c->trigger.n < sizeof e.trigger;
        if (!ok)
            gv_fail(err, GV_LIMIT, -1, "constraint: %zu choices (1 to 16), trigger of %zu bytes (below 32)", c->n_choices, c->trigger.n);
        ok = ok && encode_ending(l, c, &e, err);
        if (ok) {
            l->ending = e;
            buf_clear(&l->ending_key);
            buf_add_sv(&l->ending_key, buf_view(&key));
        }
    }
    buf_fini(&key);
    return ok;
}

static double or_one(double v) {
    return v == 0 ? 1 : v;
}

/* Missing memory is no fault of the request's: it stops the run, which can be continued. */
static bool fail_request(lm_local *l, uint64_t id, lm_finish finish, const gv_err *why, gv_err *err) {
    if (why->code == GV_MEMORY) return gv_fail(err, why->code, why->where, "%s", why->msg);
    answer_early(l, id, finish, why->msg);
    return true;
}

static bool local_submit(lm *m, const lm_request *r, gv_err *err) {
    lm_local *l = (lm_local *)m;
    const lm_sampling *s = &r->sampling;
    gv_err bad = GV_ERR_INIT;
    tmpl_output text = {0};
    ids prompt = {0};
    bool ok = true;
    if (!layout_render(l->chat, r->messages, r->n_messages, &text, &bad) || !layout_encode(l->chat, &text, &prompt, &bad)) {
        ok = fail_request(l, r->id, LM_BAD_INPUT, &bad, err);
    } else if (r->constraint.trigger.n && !make_ending(l, &r->constraint, &bad)) {
        ok = fail_request(l, r->id, LM_ERROR, &bad, err);
    } else {
        engine_request q = {.id = r->id,
                            .prompt = prompt.v,
                            .n_prompt = (int32_t)(prompt.n < INT32_MAX / 2 ? prompt.n : INT32_MAX / 2),
                            .max_tokens = (int32_t)(s->max_tokens < INT32_MAX / 2 ? s->max_tokens : INT32_MAX / 2),
                            .ending = r->constraint.trigger.n ? &l->ending : NULL,
                            .rules = s->rules,
                            .want_choice_logprobs = r->want_choice_logprobs,
                            .ignore_eog = r->ignore_eog};
        q.params = (sample_params){.temperature = s->temperature,
                                   .top_k = s->top_k,
                                   .top_p = or_one(s->top_p),
                                   .min_p = s->min_p,
                                   .repetition_penalty = or_one(s->repetition_penalty),
                                   .presence_penalty = s->presence_penalty,
                                   .frequency_penalty = s->frequency_penalty,
                                   .seed = s->seed,
                                   .row = r->row,
                                   .sample = r->sample,
                                   .attempt = r->attempt};
        engine_submit(l->e, &q);
    }
    ids_fini(&prompt);
    tmpl_output_fini(&text);
    return ok;
}

static bool local_render(lm *m, const lm_message *messages, size_t n, buf *out, gv_err *err) {
    tmpl_output text = {0};
    bool ok = layout_render(((lm_local *)m)->chat, messages, n, &text, err);
    if (ok) buf_add_sv(out, buf_view(&text.text));
    tmpl_output_fini(&text);
    return ok;
}

/* ---- results ---- */

static lm_finish finish_of(engine_finish f) {
    switch (f) {
    case ENGINE_STOP: return LM_STOP;
    case ENGINE_LENGTH: return LM_LENGTH;
    case ENGINE_CANCELLED: return LM_CANCELLED;
    case ENGINE_TOO_LONG: return LM_TOO_LONG;
    default: return LM_ERROR;
    }
}

/* Cuts the text at a stop.  Stops within the tokens that had to come are passed over. */
static void cut_text(const lm_local *l, const engine_result *e, buf *text) {
    buf early = {0};
    const int32_t least = e->rules->min_tokens - 1;
    if (least > 0) tok_decode_text(l->t, e->tokens, (size_t)(least < e->n_tokens ? least : e->n_tokens), false, false, &early);
    text->n = rules_cut(e->rules, buf_view(text), early.n);
    buf_fini(&early);
}

static void add_result(lm_local *l, const engine_result *e) {
    lm_result *r = push(&l->results, &l->n_results, &l->cap_results);
    buf text = {0};
    tok_decode_text(l->t, e->tokens, (size_t)e->n_tokens, false, false, &text);
    if (e->rules && e->choice < 0) cut_text(l, e, &text);
    r->id = e->id;
    r->finish = finish_of(e->finish);
    r->text = (sv){arena_dup(&l->results_arena, text.p ? text.p : "", text.n), text.n};
    r->message = (sv){arena_dup(&l->results_arena, e->message, strlen(e->message)), strlen(e->message)};
    r->prompt_tokens = e->n_prompt, r->cached_tokens = e->n_cached, r->output_tokens = e->n_tokens;
    r->choice = e->choice;
    r->forced = e->forced;
    if (e->choice >= 0) {
        const size_t at = sv_find(r->text, sv_of(l->ending.trigger), 0);
        r->feedback_bytes = at == SIZE_MAX ? 0 : at;
        memcpy(r->choice_logprob, e->choice_logprob, sizeof r->choice_logprob);
    }
    r->wait_us = e->wait_us, r->prefill_us = e->prefill_us, r->decode_us = e->decode_us;
    buf_fini(&text);
}

static bool local_poll(lm *m, const lm_result **results, size_t *n, gv_err *err) {
    lm_local *l = (lm_local *)m;
    const int64_t start = clock_mono_us();
    l->n_results = 0;
    arena_reset(&l->results_arena);
    for (size_t i = 0; i < l->n_early; i++) {
        lm_result *r = push(&l->results, &l->n_results, &l->cap_results);
        *r = l->early[i];
        r->message.p = arena_dup(&l->results_arena, r->message.p, r->message.n);
    }
    l->n_early = 0;
    arena_reset(&l->early_arena);
    while (l->n_results == 0 && engine_in_flight(l->e) > 0 && clock_mono_us() - start < POLL_US) {
        const engine_result *e;
        size_t n_ended;
        if (!engine_step(l->e, &e, &n_ended, err)) return false;
        for (size_t i = 0; i < n_ended; i++) add_result(l, &e[i]);
    }
    *results = l->results;
    *n = l->n_results;
    return true;
}

static void local_cancel(lm *m, uint64_t id) {
    engine_cancel(((lm_local *)m)->e, id);
}
static size_t local_in_flight(const lm *m) {
    return engine_in_flight(((const lm_local *)m)->e) + ((const lm_local *)m)->n_early;
}

static const lm_caps *local_caps(lm *m, bool wait) {
    lm_local *l = (lm_local *)m;
    if (l->m->sha256[0])
        l->caps.model_hash = l->m->sha256;
    else if (wait)
        l->caps.model_hash = digest_wait(l->digest);
    return &l->caps;
}

static lm_stats local_stats(const lm *m) {
    const engine_stats e = engine_get_stats(((const lm_local *)m)->e);
    return (lm_stats){e.prompt_tokens, e.cached_tokens, e.computed_tokens, e.output_tokens, e.running, e.waiting};
}

static void local_free(lm *m) {
    lm_local *l = (lm_local *)m;
    engine_free(l->e);
    digest_free(l->digest);
    model_free(l->m);
    layout_free(l->chat);
    tok_free(l->t);
    pool_free(l->threads);
    arena_fini(&l->results_arena);
    arena_fini(&l->early_arena);
    buf_fini(&l->ending_key);
    buf_fini(&l->name);
    free(l->results);
    free(l->early);
    free(l);
}

static const lm_vtable local_vtable = {local_render,    local_submit, local_poll,  local_cancel,
                                       local_in_flight, local_caps,   local_stats, local_free};

lm *lm_local_open(const lm_options *o, gv_err *err) {
    lm_local *l = gv_xcalloc(1, sizeof *l);
    l->base.v = &local_vtable;
    arena_init(&l->results_arena);
    arena_init(&l->early_arena);
    l->threads = pool_new(o->threads > 0 ? (int)o->threads : cpu_count(), err);
    if (!l->threads || !open_engine(l, o, err)) goto fail;
    if (layout_merges_system(l->chat)) log_msg(LOG_INFO, "the chat template takes no system message: it is merged into the user message");
    l->caps.template_hash = layout_hash(l->chat);
    return &l->base;
fail:
    local_free(&l->base);
    return NULL;
}
