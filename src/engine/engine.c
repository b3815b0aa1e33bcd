/* See engine.h.  Queue, admission, the make-up of a step, preemption and results.
 *
 * A sequence is a list of tokens of which the first n_done are in pages; a step computes the next few of them.  Prompt, forced ids, one
 * sampled token, and the tokens of a sequence that was preempted are all the same thing: tokens not done yet.  Logits are asked for when
 * a run reaches the last token. */
#include "engine/engine_internal.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGE = KERN_PAGE_TOKENS };

struct engine {
    const model *m;
    const tok *t;
    pool *threads;
    engine_options o;
    kv_pool *kv;
    forward *fwd;
    bool *padding; /* [n_vocab] ids never sampled */
    int32_t *ends; /* [n_ends] ids that end a turn */
    int n_ends;
    sampler **samplers; /* one a thread */
    seq *queue_head;    /* waiting, oldest first */
    seq **running;      /* [max_batch], oldest first */
    int n_running, n_waiting;
    seq *finished; /* ended since the last step */
    size_t n_finished;
    seq *reported;                         /* results handed out, freed at the next step */
    engine_result *results, *next_results; /* handed out; larger ones for the next step, or NULL */
    size_t n_results, cap_results;
    trigger_rests *rests; /* one for each trigger ever asked for */
    uint64_t n_submitted;
    step_run *runs; /* [max_batch] of the step */
    seq **run_seq;  /* [max_batch] */
    int *run_row;   /* [max_batch] row of logits, -1 for none */
    int n_runs;
    engine_stats stats;
};

/* ---- life of an engine ---- */

static int max_logits(const engine_options *o) {
    return o->max_batch > 64 ? o->max_batch : 64;
}

static int32_t pages_for(int64_t tokens) {
    return (int32_t)((tokens + PAGE - 1) / PAGE);
}

size_t engine_bytes(const model *m, const engine_options *o, int n_threads) {
    const kv_shape shape = {m->shape.n_layer, m->shape.n_head_kv, m->shape.head_dim, o->kv_type};
    const size_t vocab = (size_t)m->shape.n_vocab, batch = (size_t)o->max_batch;
    return kv_pool_bytes(&shape, o->n_pages) + forward_bytes(m, o->kern, o->step_tokens, max_logits(o), o->max_ctx, n_threads) +
           vocab * SAMPLER_BYTES_A_TOKEN * (size_t)n_threads + vocab * sizeof(bool) +
           batch * (sizeof(step_run) + 2 * sizeof(seq *) + sizeof(int));
}

size_t engine_request_bytes(int64_t n_tokens) {
    return sizeof(seq) + sizeof(seq_rules) + (size_t)n_tokens * sizeof(int32_t) + (size_t)pages_for(n_tokens) * sizeof(kv_page);
}

engine *engine_new(const model *m, const tok *t, pool *threads, const engine_options *o, gv_err *err) {
    const model_shape *s = &m->shape;
    engine *e = gv_xcalloc(1, sizeof *e);
    *e = (engine){.m = m, .t = t, .threads = threads, .o = *o};
    const size_t batch = (size_t)o->max_batch;
    if (tok_n_vocab(t) > s->n_vocab) {
        gv_fail(err, GV_FORMAT, -1, "the tokenizer has %d tokens, the model's output %d rows", tok_n_vocab(t), s->n_vocab);
        goto fail;
    }
    if (o->max_batch < 1 || o->step_tokens < o->max_batch || o->max_ctx > m->n_pos || o->n_pages < pages_for(o->max_ctx)) {
        gv_fail(err, GV_LIMIT, -1, "engine: batch %d, %d tokens a step, context %lld and %d pages do not fit together", o->max_batch,
                o->step_tokens, (long long)o->max_ctx, o->n_pages);
        goto fail;
    }
    kv_shape shape = {s->n_layer, s->n_head_kv, s->head_dim, o->kv_type};
    e->kv = kv_pool_new(&shape, o->n_pages, err);
    if (!e->kv) goto fail;
    e->fwd = forward_new(m, e->kv, o->kv_type, o->kern, threads, o->step_tokens, max_logits(o), o->max_batch, o->max_ctx, err);
    if (!e->fwd) goto fail;
    forward_watch(e->fwd, o->on_inputs, o->on_inputs_ctx);
    e->padding = gv_xcalloc((size_t)s->n_vocab, sizeof *e->padding);
    for (int i = 0; i < s->n_vocab; i++) e->padding[i] = i >= tok_n_vocab(t) || tok_is_padding(t, i);
    for (int i = 0; i < tok_n_vocab(t); i++) e->n_ends += tok_is_eog(t, i);
    e->ends = gv_xcalloc((size_t)e->n_ends + 1, sizeof *e->ends);
    for (int i = 0, n = 0; i < tok_n_vocab(t); i++)
        if (tok_is_eog(t, i)) e->ends[n++] = i;
    e->samplers = gv_xcalloc((size_t)pool_threads(threads), sizeof *e->samplers);
    for (int i = 0; i < pool_threads(threads); i++) e->samplers[i] = sampler_new(s->n_vocab, e->padding, o->kern);
    e->running = gv_xcalloc(batch, sizeof *e->running);
    e->runs = gv_xcalloc(batch, sizeof *e->runs);
    e->run_seq = gv_xcalloc(batch, sizeof *e->run_seq);
    e->run_row = gv_xcalloc(batch, sizeof *e->run_row);
    return e;
fail:
    engine_free(e);
    return NULL;
}

static void free_seqs(seq *s) {
    while (s) {
        seq *next = s->next;
        free(s->tokens);
        free(s->pages);
        free(s->rules);
        free(s);
        s = next;
    }
}

void engine_free(engine *e) {
    if (!e) return;
    for (int i = 0; i < e->n_running; i++) e->running[i]->next = NULL, free_seqs(e->running[i]);
    free_seqs(e->queue_head);
    free_seqs(e->finished);
    free_seqs(e->reported);
    free(e->results);
    free(e->next_results);
    for (trigger_rests *r = e->rests, *next; r; r = next) {
        next = r->next;
        free(r);
    }
    for (int i = 0; e->samplers && i < pool_threads(e->threads); i++) sampler_free(e->samplers[i]);
    free(e->samplers);
    free(e->padding);
    free(e->ends);
    free(e->running);
    free(e->runs);
    free(e->run_seq);
    free(e->run_row);
    forward_free(e->fwd);
    kv_pool_free(e->kv);
    free(e);
}

/* ---- requests ---- */

/* Into the queue by age, so that a preempted sequence comes back before younger ones. */
static void enqueue(engine *e, seq *s) {
    seq **at = &e->queue_head;
    while (*at && (*at)->order < s->order) at = &(*at)->next;
    s->next = *at;
    *at = s;
    e->n_waiting++;
}

static void finish(engine *e, seq *s) {
    s->next = e->finished;
    e->finished = s;
    e->n_finished++;
}

static bool bad_ids(const engine *e, const engine_request *r) {
    for (int32_t i = 0; i < r->n_prompt; i++)
        if (r->prompt[i] < 0 || r->prompt[i] >= e->m->shape.n_vocab) return true;
    return r->n_prompt < 1;
}

/* Room for the results of everything in flight, without touching those that the caller may still look at. */
static void reserve_results(engine *e) {
    if (engine_in_flight(e) <= e->cap_results) return;
    e->cap_results = e->cap_results ? 2 * e->cap_results : 64;
    free(e->next_results);
    e->next_results = gv_xcalloc(e->cap_results, sizeof *e->next_results);
}

static const trigger_rests *find_rests(engine *e, const char *trigger) {
    for (const trigger_rests *r = e->rests; r; r = r->next)
        if (strcmp(r->trigger, trigger) == 0) return r;
    trigger_rests *r = seq_make_rests(trigger, e->t);
    r->next = e->rests;
    e->rests = r;
    return r;
}

static seq_rules *copy_rules(const engine *e, const sample_rules *r) {
    const size_t n = (size_t)(r->n_stop_ids + e->n_ends);
    seq_rules *out = gv_xcalloc(1, sizeof *out + n * sizeof *out->barred);
    out->r = *r;
    for (int i = 0; i < r->n_stop_ids; i++) out->barred[out->n_barred++] = r->stop_id[i];
    for (int i = 0; i < e->n_ends; i++) out->barred[out->n_barred++] = e->ends[i];
    return out;
}

static void submit(engine *e, const engine_request *r) {
    seq *s = gv_xcalloc(1, sizeof *s);
    s->id = r->id;
    s->order = e->n_submitted++;
    s->params = r->params;
    s->has_ending = r->ending != NULL;
    if (r->ending) {
        s->ending = *r->ending;
        s->rests = find_rests(e, r->ending->trigger);
    }
    if (r->rules) {
        s->rules = copy_rules(e, r->rules);
        s->params.bias = s->rules->r.bias;
        s->params.n_bias = s->rules->r.n_biases;
        s->result.rules = &s->rules->r;
    }
    s->want_logprobs = r->want_choice_logprobs;
    s->ignore_eog = r->ignore_eog;
    s->result.choice = -1;
    s->submitted_us = clock_mono_us();
    const int64_t reserve = r->ending ? seq_ending_tokens(r->ending) : 1, wanted = r->max_tokens > reserve ? r->max_tokens : reserve;
    char message[256];
    if (bad_ids(e, r)) {
        seq_end(s, ENGINE_ERROR, "the prompt is empty or has ids outside the vocabulary");
        finish(e, s);
        return;
    }
    s->n_prompt = s->n_tokens = r->n_prompt;
    if (r->n_prompt + reserve > e->o.max_ctx) {
        snprintf(message, sizeof message, "the prompt has %d tokens; with %lld for the answer it exceeds the context of %lld", r->n_prompt,
                 (long long)reserve, (long long)e->o.max_ctx);
        s->n_tokens = s->n_prompt;
        seq_end(s, ENGINE_TOO_LONG, message);
        finish(e, s);
        return;
    }
    s->limit = (int32_t)(r->n_prompt + wanted < e->o.max_ctx ? r->n_prompt + wanted : e->o.max_ctx);
    s->tokens = gv_xmalloc((size_t)s->limit * sizeof *s->tokens);
    s->pages = gv_xmalloc((size_t)pages_for(s->limit) * sizeof *s->pages);
    memcpy(s->tokens, r->prompt, (size_t)r->n_prompt * sizeof *s->tokens);
    enqueue(e, s);
}

void engine_submit(engine *e, const engine_request *r) {
    submit(e, r);
    reserve_results(e);
}

/* Gives all pages back, last first; unfinished nodes of the tree leave it. */
static void release_pages(engine *e, seq *s) {
    while (s->n_pages > 0) {
        kv_page page = s->pages[--s->n_pages];
        if (kv_tree_has(e->kv, page) && !kv_tree_ready(e->kv, page)) kv_tree_leave(e->kv, page);
        kv_page_release(e->kv, page);
    }
    s->n_done = 0;
    s->keep_kv = false;
}

void engine_cancel(engine *e, uint64_t id) {
    for (seq **at = &e->queue_head; *at;) {
        seq *s = *at;
        if (s->id != id) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        e->n_waiting--;
        seq_end(s, ENGINE_CANCELLED, NULL);
        finish(e, s);
    }
    for (int i = 0; i < e->n_running; i++)
        if (e->running[i]->id == id) seq_end(e->running[i], ENGINE_CANCELLED, NULL);
}

size_t engine_in_flight(const engine *e) {
    return (size_t)e->n_running + (size_t)e->n_waiting + e->n_finished;
}

engine_stats engine_get_stats(const engine *e) {
    engine_stats s = e->stats;
    s.running = e->n_running;
    s.waiting = e->n_waiting;
    return s;
}

/* ---- making up a step ---- */

static void remove_running(engine *e, int i) {
    e->n_running--;
    memmove(&e->running[i], &e->running[i + 1], (size_t)(e->n_running - i) * sizeof *e->running);
}

/* Whole prompt pages that s has in common with a running sequence: these it will attach rather than take. */
static int32_t common_pages(const engine *e, const seq *s) {
    int32_t best = 0;
    for (int i = 0; i < e->n_running && !e->o.no_prefix_cache; i++) {
        const seq *other = e->running[i];
        const int32_t most = (s->n_prompt < other->n_prompt ? s->n_prompt : other->n_prompt) / PAGE;
        int32_t n = 0;
        while (n < most && memcmp(s->tokens + n * PAGE, other->tokens + n * PAGE, PAGE * sizeof *s->tokens) == 0) n++;
        if (n > best) best = n;
    }
    return best;
}

/* Pages that a sequence of so many tokens is yet to take. */
static int32_t pages_to_take(const seq *s, int32_t n_tokens) {
    return pages_for(n_tokens) - (s->n_pages > s->n_common ? s->n_pages : s->n_common);
}

/* Admits waiting sequences while there is room for all their known tokens, for what they will need next, and for one more page of everyone
 * who runs: without that, a sequence comes back only to be preempted again (64 sequences of 25 to 500 tokens in 64 pages: 218 preemptions and
 * 58,070 tokens computed without, 113 and 49,862 with, in 3 % more steps). */
static void admit(engine *e) {
    int32_t promised = 0;
    for (int i = 0; i < e->n_running; i++) promised += pages_to_take(e->running[i], e->running[i]->n_tokens + 1);
    while (e->queue_head && e->n_running < e->o.max_batch) {
        seq *s = e->queue_head;
        s->n_common = common_pages(e, s);
        const int32_t need = pages_to_take(s, s->n_tokens + (s->has_ending ? seq_ending_tokens(&s->ending) : 1));
        if (e->n_running > 0 && need + e->n_running > kv_pages_available(e->kv) - promised) return;
        promised += need;
        e->queue_head = s->next;
        e->n_waiting--;
        if (!s->admitted_us) {
            s->admitted_us = clock_mono_us();
            e->stats.prompt_tokens += s->n_prompt;
        }
        int at = e->n_running++;
        for (; at > 0 && e->running[at - 1]->order > s->order; at--) e->running[at] = e->running[at - 1];
        e->running[at] = s;
    }
}

static bool is_scheduled(const engine *e, const seq *s) {
    for (int i = 0; i < e->n_runs; i++)
        if (e->run_seq[i] == s) return true;
    return false;
}

static void preempt(engine *e, int i) {
    seq *victim = e->running[i];
    release_pages(e, victim);
    remove_running(e, i);
    victim->n_common = 0;
    victim->restarted = true;
    enqueue(e, victim);
    e->stats.preemptions++;
}

/* Sends the youngest sequence that has pages, is younger than s and not part of this step, back to the queue. */
static bool preempt_for(engine *e, const seq *s) {
    for (int i = e->n_running - 1; i >= 0; i--) {
        seq *victim = e->running[i];
        if (victim->order <= s->order) return false;
        if (victim->phase == SEQ_DONE || victim->n_pages == 0 || is_scheduled(e, victim)) continue;
        preempt(e, i);
        return true;
    }
    return false;
}

static kv_page take_page(engine *e, const seq *s) {
    for (;;) {
        kv_page page = kv_page_take(e->kv);
        if (page != KV_NONE || !preempt_for(e, s)) return page;
    }
}

typedef enum page_answer { PAGE_OPENED, PAGE_ATTACHED, PAGE_WAIT } page_answer;

/* The sequence's next page, at a position that is a multiple of 32.  A full page of prompt may come from the tree (only while no token of
 * this step precedes it); one that another sequence is computing is waited for. */
static page_answer next_page(engine *e, seq *s, int32_t pos, bool may_attach) {
    const bool shareable = !e->o.no_prefix_cache && pos + PAGE <= s->n_prompt;
    const kv_page parent = pos ? s->pages[pos / PAGE - 1] : KV_NONE;
    if (shareable) {
        kv_page page = kv_tree_find(e->kv, parent, s->tokens + pos);
        if (page != KV_NONE) {
            if (!may_attach || !kv_tree_ready(e->kv, page)) return PAGE_WAIT;
            kv_page_share(e->kv, page);
            s->pages[s->n_pages++] = page;
            return PAGE_ATTACHED;
        }
    }
    kv_page page = take_page(e, s);
    if (page == KV_NONE) return PAGE_WAIT;
    s->pages[s->n_pages++] = page;
    if (shareable) kv_tree_enter(e->kv, parent, page, s->tokens + pos);
    return PAGE_OPENED;
}

static void count_shared(engine *e, seq *s, int32_t n) {
    if (s->restarted) return;
    s->n_shared_tokens += n;
    e->stats.cached_tokens += n;
}

/* Opens pages for up to `want` tokens from n_done on (which attaching may move) and returns for how many there is room. */
static int32_t open_pages(engine *e, seq *s, int32_t want) {
    int32_t n = 0;
    while (n < want && s->n_done + n < s->n_tokens) {
        const int32_t pos = s->n_done + n, in_page = pos % PAGE;
        if (in_page == 0 && pos / PAGE == s->n_pages) {
            const page_answer answer = next_page(e, s, pos, n == 0);
            if (answer == PAGE_WAIT) break;
            if (answer == PAGE_ATTACHED) {
                s->n_done += PAGE;
                if (s->n_done < s->n_tokens) {
                    count_shared(e, s, PAGE);
                    continue;
                }
                count_shared(e, s, PAGE - 1);
                s->n_done--; /* all known: compute the last token again for its logits */
                s->keep_kv = true;
                n = 1;
                break;
            }
        }
        int32_t m = PAGE - in_page;
        if (m > want - n) m = want - n;
        if (m > s->n_tokens - pos) m = s->n_tokens - pos;
        n += m;
    }
    return n;
}

static void schedule(engine *e, seq *s, int32_t want, int *budget, int *rows) {
    const int32_t n = open_pages(e, s, want);
    if (n == 0) return;
    const bool last = s->n_done + n == s->n_tokens;
    e->runs[e->n_runs] = (step_run){s->tokens + s->n_done, n, s->n_done, s->pages, s->keep_kv, false, last, false};
    e->run_row[e->n_runs] = last ? (*rows)++ : -1;
    e->run_seq[e->n_runs++] = s;
    *budget -= n;
}

/* Tokens of running text first, then chunks of prompt in order of age. */
static void make_step(engine *e) {
    int budget = e->o.step_tokens, rows = 0;
    e->n_runs = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < e->n_running && budget > 0; i++) {
            seq *s = e->running[i];
            const int32_t left = s->n_tokens - s->n_done;
            if (s->phase == SEQ_DONE || (left == 1) != (pass == 0) || is_scheduled(e, s)) continue;
            int32_t want = left < budget ? left : budget;
            if (pass == 1 && e->o.prompt_chunk > 0 && want > e->o.prompt_chunk) want = e->o.prompt_chunk;
            schedule(e, s, want, &budget, &rows);
        }
    }
}

/* ---- after a step ---- */

static void advance_part(void *ctx, int64_t begin, int64_t end, int worker) {
    engine *e = ctx;
    gv_alloc_guard(true); /* it counts by thread */
    for (int64_t i = begin; i < end; i++) {
        seq *s = e->run_seq[i];
        if (e->run_row[i] < 0 || e->runs[i].bad || s->phase == SEQ_DONE) continue;
        const float *logits = forward_logits(e->fwd, e->run_row[i]);
        if (e->o.on_logits) e->o.on_logits(e->o.on_logits_ctx, s->id, s->n_tokens - 1, logits);
        seq_advance(s, e->samplers[worker], e->t, logits);
    }
    gv_alloc_guard(false);
}

/* Counts what was computed and makes finished pages usable by others. */
static void settle_run(engine *e, const step_run *run, seq *s) {
    const int32_t before = s->n_done, after = before + run->n;
    e->stats.computed_tokens += run->n;
    s->n_done = after;
    s->keep_kv = false;
    if (run->bad) {
        seq_end(s, ENGINE_ERROR, "a value inside the model is not finite");
        return;
    }
    for (int32_t p = before / PAGE; p < after / PAGE; p++)
        if (kv_tree_has(e->kv, s->pages[p])) kv_tree_set_ready(e->kv, s->pages[p]);
    if (!s->first_us && run->want_logits) s->first_us = clock_mono_us();
}

static void report(engine *e, seq *s) {
    const int64_t now = clock_mono_us();
    engine_result *r = &s->result;
    r->id = s->id;
    r->n_prompt = s->n_prompt;
    r->n_cached = s->n_shared_tokens;
    r->tokens = s->tokens ? s->tokens + s->n_prompt : NULL;
    r->n_tokens = s->n_tokens - s->n_prompt;
    r->wait_us = (s->admitted_us ? s->admitted_us : now) - s->submitted_us;
    r->prefill_us = s->admitted_us && s->first_us ? s->first_us - s->admitted_us : 0;
    r->decode_us = s->first_us ? now - s->first_us : 0;
    e->stats.output_tokens += r->n_tokens;
    e->results[e->n_results++] = *r;
}

/* Ended sequences leave; their results are handed out, oldest first. */
static void collect_finished(engine *e) {
    for (int i = 0; i < e->n_running;) {
        seq *s = e->running[i];
        if (s->phase != SEQ_DONE) {
            i++;
            continue;
        }
        release_pages(e, s);
        remove_running(e, i);
        finish(e, s);
    }
    if (e->next_results) {
        free(e->results);
        e->results = e->next_results;
        e->next_results = NULL;
    }
    e->n_results = 0;
    for (seq *s = e->finished; s; s = s->next) report(e, s);
    e->reported = e->finished;
    e->finished = NULL;
    e->n_finished = 0;
}

bool engine_step(engine *e, const engine_result **results, size_t *n, gv_err *err) {
    gv_alloc_guard(true);
    free_seqs(e->reported);
    e->reported = NULL;
    admit(e);
    make_step(e);
    while (e->n_runs == 0 && e->n_running > 1 && e->running[e->n_running - 1]->phase != SEQ_DONE) {
        preempt(e, e->n_running - 1); /* everyone waits for pages of someone: the youngest gives way */
        make_step(e);
    }
    if (e->n_runs > 0) {
        forward_step(e->fwd, e->runs, e->n_runs);
        e->stats.steps++;
        for (int i = 0; i < e->n_runs; i++) settle_run(e, &e->runs[i], e->run_seq[i]);
        pool_run(e->threads, advance_part, e, e->n_runs);
    }
    collect_finished(e);
    *results = e->results;
    *n = e->n_results;
    gv_alloc_guard(false);
    return !e->o.check_kv || kv_check(e->kv, err);
}

/* ---- logits of given ids ---- */

bool engine_logits(engine *e, const int32_t *tokens, int32_t n, bool all, engine_logits_fn *fn, void *ctx, gv_err *err) {
    if (n < 1 || n > e->o.max_ctx)
        return gv_fail(err, GV_LIMIT, -1, "%d ids, expected 1 to %lld (the context)", n, (long long)e->o.max_ctx);
    for (int32_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= e->m->shape.n_vocab)
            return gv_fail(err, GV_FORMAT, i, "id %d at position %d is outside the vocabulary of %d", tokens[i], i, e->m->shape.n_vocab);
    kv_page *pages = gv_try_malloc((size_t)pages_for(n), sizeof *pages, "page table", err);
    if (!pages) return false;
    int32_t n_pages = 0, done = 0;
    bool ok = true;
    int32_t chunk = e->o.prompt_chunk > 0 && e->o.prompt_chunk < e->o.step_tokens ? e->o.prompt_chunk : e->o.step_tokens;
    if (all && chunk > max_logits(&e->o)) chunk = max_logits(&e->o);
    while (ok && done < n) {
        const int32_t m = n - done < chunk ? n - done : chunk;
        while (n_pages < pages_for(done + m)) {
            kv_page page = kv_page_take(e->kv);
            if (page == KV_NONE) {
                ok = gv_fail(err, GV_STATE, -1, "no free K/V page");
                break;
            }
            pages[n_pages++] = page;
        }
        if (!ok) break;
        step_run run = {tokens + done, m, done, pages, false, all, done + m == n, false};
        forward_step(e->fwd, &run, 1);
        if (run.bad)
            ok = gv_fail(err, GV_FORMAT, done, "a value inside the model is not finite, at positions %d to %d", done, done + m - 1);
        for (int32_t i = 0; ok && all && i < m; i++) ok = fn(ctx, done + i, forward_logits(e->fwd, i), err);
        if (ok && !all && run.want_logits) ok = fn(ctx, n - 1, forward_logits(e->fwd, 0), err);
        done += m;
    }
    while (n_pages > 0) kv_page_release(e->kv, pages[--n_pages]);
    free(pages);
    return ok;
}
