/* A judging step over a table: prompts, requests, answers into the journal, then rows with feedback, result, metadata and model name.
 * See run_pipe_internal.h.
 *
 * A request's id is row * generations + generation, and the journal's key is (row, number of the step, generation).  What the journal has
 * is taken from there, if it was made of the same values. */
#include "base/log.h"
#include "base/thread.h"
#include "judge/answer.h"
#include "judge/warn.h"
#include "pipe/pipe_internal.h"
#include "pipe/run_pipe_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOLD_FAILURES = 20 };

/* What is kept of a judgment for the output: JSON texts in the run's arena, empty for none. */
typedef struct answer {
    sv raw, feedback;
    bool asked; /* the model was */
    int verdict;
    int64_t prompt_tokens, output_tokens;
} answer;

typedef struct task {
    pipe_runner *r; /* NULL when verdicts are made up */
    arena *a;       /* of the rows that come out */
    const pipe_step *s;
    const pipe_table *in;
    size_t number;
    pipe_judge j;
    answer *answers; /* [in->n * n_generations] */
    char (*hashes)[65];
    bool metadata; /* a step behind this one, or the output, has distilabel_metadata */
    const char *model_name;
    const known_model *known;
    uint64_t n_long; /* judgments of more tokens than it was trained on */
    sv model_json;
    card_judge *card;
    bool begun;
    size_t in_flight;
    uint64_t failed_at[CARD_N_STATUS]; /* [status] the first such request and one more; 0: none */
} task;

static sv copied(arena *a, sv s) {
    return (sv){arena_dup(a, s.p ? s.p : "", s.n), s.n};
}

static sv dup_buf(buf *b, arena *a) {
    const sv out = copied(a, buf_view(b));
    buf_fini(b);
    return out;
}

static sv quoted(arena *a, sv text) {
    buf out = {0};
    json_put_string(&out, text);
    return dup_buf(&out, a);
}

/* ---- records ---- */

static void put_failure(const task *t, const judgment *g, buf *out) {
    buf_printf(out, "step '%s', row %" PRIu64, t->s->name, g->row);
    if (t->j.n_generations > 1) buf_printf(out, ", generation %u", (unsigned)g->sample);
    buf_printf(out, ": %s", judgment_status_name(g->status));
    if (g->message.n) buf_printf(out, ": " SV_FMT, SV_ARG(g->message));
}

/* The card gets the message of each status's first row, whichever was answered first. */
static void keep_failure(task *t, const judgment *g) {
    const uint64_t at = g->row * t->j.n_generations + g->sample + 1;
    uint64_t *first = &t->failed_at[g->status];
    if (!*first || at < *first) {
        *first = at;
        t->card->message[g->status] = copied(&t->r->a, g->message);
    }
    if (t->r->told++ >= TOLD_FAILURES) return;
    buf text = {0};
    put_failure(t, g, &text);
    log_msg(LOG_WARN, "%s", text.p);
    buf_fini(&text);
}

static void keep_answer(task *t, const judgment *g) {
    answer *w = &t->answers[g->row * t->j.n_generations + g->sample];
    arena *a = &t->r->a;
    pipe_summary *sum = t->r->sum;
    *w = (answer){.asked = g->has_raw || g->prompt_tokens,
                  .verdict = g->verdict,
                  .prompt_tokens = g->prompt_tokens,
                  .output_tokens = g->output_tokens};
    t->n_long += warn_is_long(t->known, g->prompt_tokens, g->output_tokens);
    if (g->has_raw && t->metadata && t->j.raw_output) w->raw = quoted(a, g->raw);
    if (g->has_feedback) w->feedback = quoted(a, g->feedback);
    card_judge_count(t->card, g->status, g->verdict);
    if (g->status != JUDGMENT_OK) keep_failure(t, g);
    sum->judgments++;
    sum->by_status[g->status]++;
    if (g->status == JUDGMENT_OK)
        sum->ok++;
    else
        sum->failed++;
    sum->last.done++;
    sum->last.failed += g->status != JUDGMENT_OK;
}

static void put_member(buf *out, const char *key, const char *text) {
    buf_printf(out, "%s\"%s\":", out->n ? "," : "{", key);
    json_put_string(out, sv_of(text));
}

/* What of the model decides results: stored with the step's first record and compared when the run is continued. */
static void model_settings(task *t, buf *out) {
    const lm_caps *caps = lm_get_caps(t->r->model);
    char ctx[24];
    snprintf(ctx, sizeof ctx, "%" PRId64, caps->ctx_tokens);
    put_member(out, "model", caps->model_name);
    put_member(out, "model sha256", caps->model_hash);
    put_member(out, "tokenizer sha256", caps->tokenizer_hash);
    put_member(out, "chat template sha256", caps->template_hash);
    put_member(out, "numerics", caps->numerics);
    put_member(out, "context", ctx);
    buf_add_char(out, '}');
}

static bool compare_model(task *t, gv_err *err) {
    buf then = {0}, now = {0}, key = {0};
    buf_printf(&key, "model %s", t->s->name);
    bool ok = journal_get_meta(t->r->j, key.p, &t->begun, &then, err);
    if (ok && t->begun) {
        model_settings(t, &now);
        ok = run_settings_same(t->r->journal_path.p, buf_view(&then), buf_view(&now), err);
    }
    buf_fini(&then);
    buf_fini(&now);
    buf_fini(&key);
    return ok;
}

static bool begin(task *t, gv_err *err) {
    buf now = {0}, key = {0};
    buf_printf(&key, "model %s", t->s->name);
    model_settings(t, &now);
    t->begun = journal_set_meta(t->r->j, key.p, buf_view(&now), err);
    buf_fini(&now);
    buf_fini(&key);
    return t->begun;
}

static bool record(task *t, const judgment *g, gv_err *err) {
    buf text = {0};
    bool ok = true;
    if (t->r->j) {
        judgment_to_json(g, &text);
        ok = (t->begun || begin(t, err)) &&
             journal_put(t->r->j, (journal_key){g->row, (uint32_t)t->number, g->sample}, g->status != JUDGMENT_OK, buf_view(&text), err);
    }
    buf_clear(&text);
    if (g->status != JUDGMENT_OK && t->r->log) {
        put_failure(t, g, &text);
        run_log_put(t->r->log, RUN_LOG_WARNING, "%s", text.p);
    }
    buf_fini(&text);
    keep_answer(t, g);
    return ok;
}

/* ---- answers ---- */

static judgment judgment_of(const task *t, size_t i, uint32_t sample, uint32_t attempt, char *id, size_t id_bytes) {
    judgment g = {.row = i, .rubric = t->j.rubric.name, .sample = sample, .attempt = attempt, .order = 'A', .seed = t->j.llm.sampling.seed};
    snprintf(id, id_bytes, "%zu", i);
    g.row_id = sv_of(id);
    memcpy(g.row_hash, t->hashes[i], sizeof g.row_hash);
    return g;
}

static bool take_answer(task *t, const lm_result *a, gv_err *err) {
    const uint64_t request = a->id & 0xffffffffu, per_row = t->j.n_generations;
    char id[24];
    judgment g = judgment_of(t, request / per_row, (uint32_t)(request % per_row), (uint32_t)(a->id >> 32), id, sizeof id);
    t->in_flight--;
    pipe_judge_summary *js = &t->r->sum->judges[t->number];
    js->prompt_tokens += a->prompt_tokens;
    js->cached_tokens += a->cached_tokens;
    js->output_tokens += a->output_tokens;
    return !answer_take(a, PARSE_STRICT, t->j.prompt.mode, &g) || record(t, &g, err);
}

static bool drain(task *t, size_t limit, gv_err *err) {
    while (t->in_flight > limit) {
        if (pipe_stopped(t->r, err)) return false;
        const lm_result *a;
        size_t n;
        if (!lm_poll(t->r->model, &a, &n, err)) return false;
        for (size_t i = 0; i < n; i++)
            if (!take_answer(t, &a[i], err)) return false;
        pipe_show_progress(t->r, false);
    }
    return true;
}

/* ---- prompts ---- */

typedef struct lookup_ctx {
    const pipe_row *at;
    json_doc *docs[4];
    size_t n;
    gv_err failed; /* no memory for a value */
} lookup_ctx;

static bool look_up(void *ctx, const char *column, prompt_field *out) {
    lookup_ctx *c = ctx;
    const rows_cell *cell = pipe_row_get(c->at, sv_of(column));
    if (!cell || c->n == sizeof c->docs / sizeof *c->docs) return false;
    json_doc *doc = json_parse(cell->raw, &c->failed);
    if (!doc) return false;
    c->docs[c->n++] = doc;
    *out = (prompt_field){json_root(doc), {0}};
    return true;
}

/* Arrow's order of members: content, role. */
static sv raw_input(const lm_message *m, size_t n, arena *a) {
    buf out = {0};
    buf_add_char(&out, '[');
    for (size_t i = 0; i < n; i++) {
        buf_add_str(&out, i ? ",{\"content\":" : "{\"content\":");
        json_put_string(&out, m[i].content);
        buf_add_str(&out, ",\"role\":");
        json_put_string(&out, m[i].role);
        buf_add_char(&out, '}');
    }
    buf_add_char(&out, ']');
    return dup_buf(&out, a);
}

static const sv scores[] = {{"1", 1}, {"2", 1}, {"3", 1}, {"4", 1}, {"5", 1}}, letters[] = {{"A", 1}, {"B", 1}};

static bool submit(task *t, size_t i, uint32_t sample, uint32_t attempt, const lm_message *messages, size_t n, gv_err *err) {
    lm_request q = {.id = (uint64_t)attempt << 32 | (uint64_t)(i * t->j.n_generations + sample),
                    .messages = messages,
                    .n_messages = n,
                    .sampling = t->j.llm.sampling,
                    .row = i,
                    .sample = sample,
                    .attempt = attempt};
    const bool absolute = t->j.prompt.mode == JUDGE_ABSOLUTE;
    if (t->j.constrained) q.constraint = (lm_constraint){SV("[RESULT]"), absolute ? scores : letters, absolute ? 5 : 2};
    const int most = lm_peek_caps(t->r->model)->max_in_flight;
    t->in_flight++;
    return lm_submit(t->r->model, &q, err) && drain(t, most > 1 ? (size_t)most - 1 : 0, err);
}

/* Takes a generation from the journal if it is there.  *attempt: what a new one would be. */
static bool from_journal(task *t, size_t i, uint32_t sample, bool *done, uint32_t *attempt, gv_err *err) {
    bool failed;
    buf text = {0};
    arena a;
    judgment g;
    *done = false;
    *attempt = 0;
    if (!t->r->j) return true;
    arena_init(&a);
    bool ok = journal_get(t->r->j, (journal_key){i, (uint32_t)t->number, sample}, done, &failed, &text, err);
    if (ok && *done) ok = judgment_from_json(buf_view(&text), &g, &a, err) || gv_context(err, "%s, row %zu", t->r->journal_path.p, i);
    if (ok && *done && strcmp(g.row_hash, t->hashes[i]) != 0)
        ok = gv_fail(err, GV_STATE, -1, "%s: row %zu of step \"%s\" was judged with other values; start anew with --fresh",
                     t->r->journal_path.p, i, t->s->name);
    if (ok && *done && failed && t->r->spec->retry_failed) {
        *done = false;
        *attempt = g.attempt + 1;
    }
    if (ok && *done) {
        keep_answer(t, &g);
        t->r->sum->last.before++;
    }
    buf_fini(&text);
    arena_fini(&a);
    return ok;
}

/* A row's prompt, its texts in a; 0 messages, and why, if its values make none.  Fails without memory only. */
static bool make_messages(const task *t, size_t i, arena *a, lm_message messages[2], size_t *n, char hash[65], gv_err *why, gv_err *err) {
    pipe_row hidden;
    const pipe_row at = pipe_row_map_in(t->s, &t->in->v[i], a, &hidden);
    lookup_ctx ctx = {.at = &at, .failed = GV_ERR_INIT};
    prompt_values v = {0};
    prompt_text text = {0};
    const bool good = prompt_values_read(&t->j.prompt, look_up, &ctx, a, &v, why);
    const bool ok =
        ctx.failed.code == GV_OK || gv_fail(err, ctx.failed.code, -1, "step \"%s\", row %zu: %s", t->s->name, i, ctx.failed.msg);
    *n = 0;
    if (good && ok) {
        v.rubric = rubric_insert(&t->j.rubric, STYLE_DISTILABEL, t->j.prompt.mode);
        prompt_build(&t->j.prompt, &v, a, &text);
        *n = prompt_messages(&text, messages);
        memcpy(hash, text.hash, sizeof text.hash);
    }
    for (size_t k = 0; k < ctx.n; k++) json_free(ctx.docs[k]);
    return ok;
}

static bool judge_row(task *t, size_t i, arena *a, gv_err *err) {
    gv_err why = GV_ERR_INIT;
    lm_message messages[2];
    size_t n;
    bool ok = make_messages(t, i, a, messages, &n, t->hashes[i], &why, err);
    for (uint32_t g = 0; ok && g < t->j.n_generations; g++) {
        bool done;
        uint32_t attempt;
        char id[24];
        ok = !pipe_stopped(t->r, err) && from_journal(t, i, g, &done, &attempt, err);
        if (!ok || done) continue;
        if (n) {
            ok = submit(t, i, g, attempt, messages, n, err);
            continue;
        }
        judgment bad = judgment_of(t, i, g, attempt, id, sizeof id);
        bad.status = JUDGMENT_BAD_INPUT;
        bad.message = sv_of(why.msg);
        ok = record(t, &bad, err);
    }
    return ok;
}

/* ---- the rows that come out ---- */

static void put_result(const task *t, const answer *w, buf *out) {
    if (!w->verdict)
        buf_add_str(out, "null");
    else if (t->j.prompt.mode == JUDGE_ABSOLUTE)
        buf_printf(out, "%d", w->verdict);
    else
        buf_printf(out, "\"%c\"", w->verdict);
}

static sv or_null(sv json) {
    return json.n ? json : SV("null");
}

static void put_key(buf *out, const char *key, const char *step) {
    buf_printf(out, "%s\"%s_%s\":", out->n && out->p[out->n - 1] != '{' ? "," : "", key, step);
}

/* Members in Arrow's order, sorted by name.  input: the prompt as JSON, empty if there was none. */
static void put_metadata(const task *t, sv input, const answer *w, buf *out) {
    buf_add_char(out, '{');
    if (t->j.raw_input) {
        put_key(out, "raw_input", t->s->name);
        buf_add_sv(out, or_null(input));
    }
    if (t->j.raw_output) {
        put_key(out, "raw_output", t->s->name);
        buf_add_sv(out, or_null(w->raw));
    }
    put_key(out, "statistics", t->s->name);
    if (w->asked)
        buf_printf(out, "{\"input_tokens\":%" PRId64 ",\"output_tokens\":%" PRId64 "}", w->prompt_tokens, w->output_tokens);
    else
        buf_add_str(out, "null");
    buf_add_char(out, '}');
}

/* One row for the answers [from, from + n) of row i; lists of them if the step groups.  Prompts are made again rather than kept. */
static bool put_row(const task *t, size_t i, size_t from, size_t n, arena *scratch, pipe_table *out, gv_err *err) {
    arena *a = t->a;
    pipe_row hidden;
    pipe_row made = pipe_row_map_in(t->s, &t->in->v[i], scratch, &hidden);
    buf feedback = {0}, result = {0}, metadata = {0};
    sv input = {0};
    bool asked = false;
    if (t->metadata && t->j.raw_input && t->r) { /* a row that is made up has no prompt */
        lm_message messages[2];
        char hash[65];
        gv_err known = GV_ERR_INIT;
        size_t m;
        if (!make_messages(t, i, scratch, messages, &m, hash, &known, err)) return false;
        if (m) input = raw_input(messages, m, scratch);
    }
    for (size_t k = 0; k < n; k++) {
        const answer *w = &t->answers[from + k];
        const char *before = !t->j.group ? "" : k ? "," : "[";
        buf one = {0};
        buf_add_str(&feedback, before);
        buf_add_sv(&feedback, or_null(w->feedback));
        buf_add_str(&result, before);
        put_result(t, w, &result);
        buf_add_str(&metadata, before);
        if (t->metadata) put_metadata(t, input, w, &one);
        buf_add_sv(&metadata, buf_view(&one));
        buf_fini(&one);
        asked = asked || w->asked;
    }
    buf *const lists[] = {&feedback, &result, &metadata};
    for (size_t k = 0; t->j.group && k < 3; k++) buf_add_char(lists[k], ']');
    pipe_row_set(&made, SV("feedback"), t->j.group ? copied(a, buf_view(&feedback)) : or_null(t->answers[from].feedback), scratch);
    pipe_row_set(&made, SV("result"), copied(a, buf_view(&result)), scratch);
    if (t->metadata) pipe_row_set(&made, SV("distilabel_metadata"), copied(a, buf_view(&metadata)), scratch);
    pipe_row_set(&made, SV("model_name"), asked ? t->model_json : SV("null"), scratch);
    pipe_table_add(out, pipe_row_map_out(t->s, &made, &hidden, a));
    buf_fini(&feedback);
    buf_fini(&result);
    buf_fini(&metadata);
    return true;
}

static bool put_rows(const task *t, pipe_table *out, gv_err *err) {
    const size_t n = t->j.n_generations;
    arena scratch;
    arena_init(&scratch);
    bool ok = true;
    for (size_t i = 0; ok && i < t->in->n; i++) {
        for (size_t g = 0; ok && g < (t->j.group ? 1 : n); g++) ok = put_row(t, i, i * n + g, t->j.group ? n : 1, &scratch, out, err);
        arena_reset(&scratch);
    }
    arena_fini(&scratch);
    return ok;
}

/* ---- the step ---- */

static bool prepare(task *t, gv_err *err) {
    pipe_runner *r = t->r;
    const size_t n = t->in->n * t->j.n_generations;
    if (!pipe_open_model(r, t->s, &t->j, err)) return false;
    pipe_warn_of_tokens(t->s, &t->j);
    const lm_caps *caps = lm_peek_caps(r->model);
    t->known = caps->known;
    warn_of_settings(t->known, &t->j.prompt, r->spec->engine.ctx);
    t->model_name = arena_dup(&r->a, caps->model_name, strlen(caps->model_name));
    t->model_json = quoted(&r->a, sv_of(caps->model_name));
    t->metadata = t->s->n_after == 0;
    for (size_t k = 0; k < t->s->n_after; k++)
        t->metadata = t->metadata || r->p->steps[t->s->after[k]].kind != PIPE_KEEP; /* which drops it */
    t->answers = gv_try_calloc(n ? n : 1, sizeof *t->answers, "answers of a judging step", err);
    t->hashes = gv_try_calloc(t->in->n ? t->in->n : 1, sizeof *t->hashes, "hashes of a judging step", err);
    t->card = &r->judges[t->number];
    *t->card = (card_judge){.step = sv_of(t->s->name),
                            .mode = t->j.prompt.mode,
                            .rubric = t->j.rubric.name,
                            .model = sv_of(t->model_name),
                            .has_seed = t->j.llm.sampling.temperature > 0,
                            .seed = t->j.llm.sampling.seed};
    r->sum->judges[t->number] = (pipe_judge_summary){.step = t->s->name};
    r->sum->last.rows = t->in->n;
    r->sum->last.per_row = t->j.n_generations;
    r->sum->last.all += n;
    return t->answers && t->hashes && (!r->j || compare_model(t, err));
}

bool pipe_judge_rows(pipe_runner *r, const pipe_step *s, size_t number, const pipe_table *in, pipe_table *out, gv_err *err) {
    task t = {.r = r, .a = &r->a, .s = s, .in = in, .number = number};
    arena scratch;
    arena_init(&scratch);
    bool ok = pipe_judge_read(s, &r->a, &t.j, err) && prepare(&t, err);
    const int64_t start = clock_mono_us(); /* loading of the model is not the rows' time */
    for (size_t i = 0; ok && i < in->n; i++) {
        ok = judge_row(&t, i, &scratch, err);
        arena_reset(&scratch);
        pipe_show_progress(r, false);
    }
    ok = ok && drain(&t, 0, err);
    if (ok) {
        const lm_caps *caps = lm_get_caps(r->model);
        t.card->weights_sha256 = copied(&r->a, sv_of(caps->model_hash));
        t.card->numerics = copied(&r->a, sv_of(caps->numerics));
        pipe_judge_summary *js = &r->sum->judges[number];
        js->elapsed_us = clock_mono_us() - start;
        for (size_t k = JUDGMENT_OK; k < CARD_N_STATUS; k++) {
            js->judgments += t.card->n_status[k];
            if (k != JUDGMENT_OK) js->failed += t.card->n_status[k];
        }
        warn_of_long(t.known, t.n_long, js->judgments, "judgments");
        ok = put_rows(&t, out, err);
        run_log_put(r->log, RUN_LOG_INFO, "step '%s': %" PRIu64 " judgments, %" PRIu64 " without a verdict", s->name, js->judgments,
                    js->failed);
    }
    if (!ok && r->model) { /* nothing of this step may come back to the next one */
        lm_free(r->model);
        r->model = NULL;
    }
    free(t.answers);
    free(t.hashes);
    arena_fini(&scratch);
    return ok;
}

bool pipe_judge_pretend(const pipe_step *s, const pipe_table *in, arena *a, pipe_table *out, uint64_t *judgments, gv_err *err) {
    task t = {.a = a, .s = s, .in = in, .metadata = true, .model_json = SV("\"\"")};
    if (!pipe_judge_read(s, a, &t.j, err)) return false;
    if (in->n > UINT32_MAX / PIPE_MAX_GENERATIONS)
        return gv_fail(err, GV_LIMIT, -1, "step \"%s\": %zu rows, over the limit of %u", s->name, in->n, UINT32_MAX / PIPE_MAX_GENERATIONS);
    const size_t n = t.j.n_generations;
    t.answers = gv_xcalloc(n, sizeof *t.answers);
    for (size_t g = 0; g < n; g++)
        t.answers[g] =
            (answer){.raw = SV("\"\""), .feedback = SV("\"\""), .asked = true, .verdict = t.j.prompt.mode == JUDGE_ABSOLUTE ? 1 : 'A'};
    arena scratch;
    arena_init(&scratch);
    bool ok = true;
    for (size_t i = 0; ok && i < in->n; i++) {
        ok = put_row(&t, i, 0, t.j.group ? n : 1, &scratch, out, err);
        for (size_t g = 1; ok && g < n && !t.j.group; g++) pipe_table_add(out, out->v[out->n - 1]);
        arena_reset(&scratch);
    }
    arena_fini(&scratch);
    *judgments += (uint64_t)in->n * n;
    free(t.answers);
    return ok;
}

void pipe_tell_failures(const pipe_runner *r) {
    if (r->told <= TOLD_FAILURES) return;
    log_msg(LOG_WARN, "and %" PRIu64 " more without a verdict%s%s%s", r->told - TOLD_FAILURES, r->j ? "; all are in " : "",
            r->j ? r->journal_path.p : "", r->j ? ".log" : "");
}
