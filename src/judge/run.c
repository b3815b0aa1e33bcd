/* See run.h.  The loop keeps as many requests in flight as the model wants, in row order; each answer is parsed and put into the journal at
 * once.  A row's requests follow each other, its rubrics inside and their samples innermost, because they share the beginnings of their prompts.
 * A request's id is the index of its slot, which remembers what was asked. */
#include "judge/run_internal.h"

#include "base/file.h"
#include "base/log.h"
#include "base/thread.h"
#include "judge/answer.h"
#include "judge/row_prompt.h"
#include "judge/warn.h"
#include "kern/kern.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PROGRESS_US = 100000, SYNC_US = 5000000 };

typedef struct slot {
    bool used;
    uint64_t row;
    size_t rubric;
    uint32_t sample, attempt;
    char row_hash[65];
    char *row_id;
} slot;

typedef struct run {
    const run_spec *spec;
    const run_replay *replay; /* NULL but in run_again, which has no journal */
    lm *model;
    const lm_caps *caps;
    journal *j;
    bool made, begun; /* the journal is new; it has the settings */
    const char *input_path;
    buf journal_path, spool_path;
    rows_options rows;
    rows_summary input;
    slot *slots;
    size_t n_slots, in_flight;
    run_progress progress;
    int64_t start_us, shown_us, synced_us;
    arena row_arena;
} run;

void run_journal_path(const char *out, buf *path) {
    buf_printf(path, "%s.run", out);
}

/* ---- progress and the journal ---- */

static void show_progress(run *r, bool final) {
    const int64_t now = clock_mono_us();
    if (!final && now - r->shown_us < PROGRESS_US) return;
    r->shown_us = now;
    r->progress.elapsed_us = now - r->start_us;
    r->progress.lm = lm_get_stats(r->model);
    r->progress.final = final;
    if (r->spec->progress) r->spec->progress(r->spec->progress_ctx, &r->progress);
    r->progress.shown_us += clock_mono_us() - now;
}

static bool stopped(const run *r, gv_err *err) {
    return r->spec->stop && *r->spec->stop && !gv_fail(err, GV_INTERRUPTED, -1, "interrupted");
}

/* The settings go into a new journal with its first record: until then the model is hashed beside the first rows. */
static bool begin(run *r, gv_err *err) {
    buf now = {0};
    r->caps = lm_get_caps(r->model);
    run_settings_json(r->spec, &r->input, r->caps, &now);
    r->begun = journal_begin(r->j, err) && journal_set_meta(r->j, "settings", buf_view(&now), err) &&
               journal_set_meta(r->j, "model_name", sv_of(r->caps->model_name), err) &&
               journal_set_meta(r->j, "numerics", sv_of(r->caps->numerics), err) &&
               journal_set_meta(r->j, "mode", sv_of(judge_mode_name(r->spec->prompt.mode)), err) &&
               journal_set_meta(r->j, "verdict", sv_of(verdict_parser_name(r->spec->parser)), err) &&
               journal_set_meta(r->j, "gavel_version", SV(GAVEL_VERSION), err) && run_record_sources(r->spec, r->j, err) &&
               journal_commit(r->j, err);
    if (!r->begun) journal_rollback(r->j);
    buf_fini(&now);
    return r->begun;
}

static bool put_record(run *r, journal_key key, const judgment *g, gv_err *err) {
    const int64_t start = clock_mono_us();
    buf text = {0};
    judgment_to_json(g, &text);
    bool ok = (r->begun || begin(r, err)) && journal_put(r->j, key, g->status != JUDGMENT_OK, buf_view(&text), err);
    if (ok && start - r->synced_us > SYNC_US) {
        ok = journal_sync(r->j, err);
        r->synced_us = start;
    }
    buf_fini(&text);
    return ok;
}

static bool record(run *r, const judgment *g, size_t which, gv_err *err) {
    const int64_t start = clock_mono_us();
    const journal_key key = run_key(g->row, which, g->sample);
    const bool failed = g->status != JUDGMENT_OK;
    const bool ok = r->replay ? r->replay->answer(r->replay->ctx, key, g, err) : put_record(r, key, g, err);
    r->progress.done++;
    r->progress.failed += failed;
    r->progress.journal_us += clock_mono_us() - start;
    return ok;
}

/* ---- answers ---- */

static double expected_score(const double *logprob) {
    double sum = 0, mass = 0;
    for (int i = 0; i < 5; i++) {
        const double p = kern_exp(logprob[i]);
        mass += p;
        sum += p * (i + 1);
    }
    return mass > 0 ? sum / mass : 0;
}

static sv rubric_name(const run *r, size_t which) {
    return r->spec->n_rubrics ? r->spec->rubrics[which].name : (sv){0};
}

static bool take_answer(run *r, const lm_result *a, gv_err *err) {
    slot *s = &r->slots[a->id];
    judgment g = {.row = s->row,
                  .row_id = sv_of(s->row_id),
                  .rubric = rubric_name(r, s->rubric),
                  .sample = s->sample,
                  .attempt = s->attempt,
                  .order = 'A',
                  .seed = r->spec->sampling.seed};
    memcpy(g.row_hash, s->row_hash, sizeof g.row_hash);
    const bool keep = answer_take(a, r->spec->parser, r->spec->prompt.mode, &g);
    if (r->spec->expected_score && a->choice >= 0 && g.has_raw && r->spec->prompt.mode == JUDGE_ABSOLUTE) {
        g.has_logprobs = true;
        memcpy(g.choice_logprob, a->choice_logprob, sizeof g.choice_logprob);
        g.expected_score = expected_score(a->choice_logprob);
    }
    const bool ok = !keep || record(r, &g, s->rubric, err);
    free(s->row_id);
    *s = (slot){0};
    r->in_flight--;
    return ok;
}

/* Waits for answers until at most `limit` requests are in flight. */
static bool drain(run *r, size_t limit, gv_err *err) {
    while (r->in_flight > limit) {
        if (stopped(r, err)) return false;
        const lm_result *a;
        size_t n;
        if (!lm_poll(r->model, &a, &n, err)) return false;
        for (size_t i = 0; i < n; i++)
            if (!take_answer(r, &a[i], err)) return false;
        show_progress(r, false);
    }
    return true;
}

/* ---- rows ---- */

/* One judgment to make. */
typedef struct task {
    const row *at;
    size_t rubric;
    uint32_t sample, attempt;
} task;

static bool reject(run *r, const task *t, sv message, gv_err *err) {
    judgment g = {.row = t->at->number,
                  .row_id = t->at->id,
                  .rubric = rubric_name(r, t->rubric),
                  .sample = t->sample,
                  .attempt = t->attempt,
                  .order = 'A',
                  .seed = r->spec->sampling.seed,
                  .status = JUDGMENT_BAD_INPUT,
                  .message = message};
    return record(r, &g, t->rubric, err);
}

static size_t free_slot(const run *r) {
    size_t i = 0;
    while (r->slots[i].used) i++;
    return i;
}

static const sv scores[] = {{"1", 1}, {"2", 1}, {"3", 1}, {"4", 1}, {"5", 1}}, letters[] = {{"A", 1}, {"B", 1}};

static bool submit(run *r, const task *t, const prompt_text *text, gv_err *err) {
    const run_spec *spec = r->spec;
    const size_t i = free_slot(r);
    slot *s = &r->slots[i];
    *s = (slot){.used = true, .row = t->at->number, .rubric = t->rubric, .sample = t->sample, .attempt = t->attempt};
    memcpy(s->row_hash, text->hash, sizeof s->row_hash);
    s->row_id = gv_xcalloc(t->at->id.n + 1, 1);
    memcpy(s->row_id, t->at->id.p, t->at->id.n);
    lm_message messages[2];
    lm_request q = {.id = i,
                    .messages = messages,
                    .n_messages = prompt_messages(text, messages),
                    .sampling = spec->sampling,
                    .row = t->at->number,
                    .sample = t->sample,
                    .attempt = t->attempt,
                    .want_choice_logprobs = spec->expected_score};
    if (spec->parser == PARSE_CONSTRAINED) {
        const bool absolute = spec->prompt.mode == JUDGE_ABSOLUTE;
        q.constraint = (lm_constraint){SV("[RESULT]"), absolute ? scores : letters, absolute ? 5 : 2};
    }
    r->in_flight++;
    return lm_submit(r->model, &q, err) && drain(r, r->n_slots - 1, err);
}

/* Is it judged already?  With --retry-failed a failed record does not count, but its attempt goes on counting. */
static bool already_judged(run *r, task *t, bool *judged, gv_err *err) {
    const int64_t begin = clock_mono_us();
    const uint64_t number = t->at->number;
    bool found, failed;
    buf text = {0};
    t->attempt = 0;
    const journal_key key = run_key(number, t->rubric, t->sample);
    if (r->replay) return r->replay->pick(r->replay->ctx, key, judged, &t->attempt, err);
    if (!journal_get(r->j, key, &found, &failed, r->spec->retry_failed ? &text : NULL, err)) return false;
    *judged = found && !(failed && r->spec->retry_failed);
    bool ok = true;
    if (found && !*judged) {
        judgment g;
        ok = judgment_from_json(buf_view(&text), &g, &r->row_arena, err) ||
             gv_context(err, "%s, row %llu", r->journal_path.p, (unsigned long long)number);
        t->attempt = g.attempt + 1;
    }
    if (*judged) {
        r->progress.done++;
        r->progress.before++;
        r->progress.failed += failed;
    }
    buf_fini(&text);
    r->progress.journal_us += clock_mono_us() - begin;
    return ok;
}

/* All samples of a row by one rubric that are not in the journal; their prompt is the same. */
static bool judge_samples(run *r, const row *at, size_t which, gv_err *err) {
    const run_spec *spec = r->spec;
    gv_err bad = GV_ERR_INIT;
    prompt_text text;
    bool built = false, judged;
    for (task t = {.at = at, .rubric = which}; t.sample < run_n_samples(spec); t.sample++) {
        if (stopped(r, err) || !already_judged(r, &t, &judged, err)) return false;
        if (judged) continue;
        if (!built && !at->bad &&
            !row_prompt(&spec->prompt, at, spec->rubric_col, spec->n_rubrics ? &spec->rubrics[which] : NULL, &r->row_arena, &text, &bad) &&
            bad.code == GV_MEMORY)
            return gv_fail(err, bad.code, bad.where, "%s", bad.msg); /* no fault of the row's */
        built = true;
        const bool good = !at->bad && bad.code == GV_OK;
        if (good ? !submit(r, &t, &text, err) : !reject(r, &t, at->bad ? at->message : sv_of(bad.msg), err)) return false;
        show_progress(r, false);
    }
    return true;
}

/* When the input was found changed, some verdicts may belong to rows that were never in it: the journal is marked as of no use. */
static bool next_row(run *r, rows_reader *reader, row *at, bool *end, gv_err *err) {
    if (rows_next(reader, at, end, err)) return true;
    gv_err mark_err = GV_ERR_INIT;
    if (err->code == GV_STATE && r->j && !journal_set_meta(r->j, "input_changed", SV("yes"), &mark_err))
        gv_context(err, "%s", mark_err.msg);
    return false;
}

static bool judge_rows(run *r, gv_err *err) {
    rows_reader *reader = rows_open_again(r->input_path, &r->rows, &r->input, err);
    bool end = false, ok = false;
    row at;
    if (!reader) return false;
    for (;;) {
        if (stopped(r, err)) goto done;
        if (!next_row(r, reader, &at, &end, err)) goto done;
        if (end) break;
        for (size_t i = 0; i < run_n_variants(r->spec); i++)
            if (!judge_samples(r, &at, i, err)) goto done;
        arena_reset(&r->row_arena);
        show_progress(r, false);
    }
    ok = drain(r, 0, err) && (r->begun || r->replay || begin(r, err));
done:
    rows_close(reader);
    return ok;
}

/* ---- opening and closing a run ---- */

/* Standard input is copied beside the journal, because it is read three times; the journal's lock keeps others from replacing the copy. */
static bool open_input(run *r, gv_err *err) {
    r->rows = r->spec->rows;
    r->rows.types = rows_writer_is_typed(r->spec->out);
    r->input_path = r->spec->input;
    if (strcmp(r->spec->input, "-") == 0) {
        buf_printf(&r->spool_path, "%s.stdin", r->journal_path.p);
        if (!rows_spool_stdin(r->spool_path.p, err)) return false;
        r->input_path = r->spool_path.p;
        r->rows.format = ROWS_JSONL;
        r->rows.name = "-";
    }
    return rows_scan(r->input_path, &r->rows, &r->input, err) && run_check_columns(r->spec, &r->input, err);
}

/* With the settings of the run that is continued, before anything is judged. */
static bool compare_settings(run *r, gv_err *err) {
    buf now = {0}, then = {0};
    bool ok = false;
    if (!journal_get_meta(r->j, "input_changed", &ok, NULL, err)) return false;
    if (ok)
        return gv_fail(err, GV_STATE, -1,
                       "%s: the input changed while it was being judged, so the verdicts may belong to other rows; start anew with --fresh",
                       r->journal_path.p);
    if (!journal_get_meta(r->j, "settings", &r->begun, &then, err)) return false;
    if (r->begun) {
        r->caps = lm_get_caps(r->model);
        run_settings_json(r->spec, &r->input, r->caps, &now);
        ok = run_settings_same(r->journal_path.p, buf_view(&then), buf_view(&now), err);
    } else {
        ok = run_check_found(r->j, "settings", r->begun, err);
    }
    buf_fini(&now);
    buf_fini(&then);
    return ok;
}

/* First of all: what follows is for one process at a time. */
static bool lock_journal(run *r, gv_err *err) {
    r->made = !file_exists(r->journal_path.p);
    r->j = journal_open(r->journal_path.p, JOURNAL_OPEN, err);
    if (r->j || !r->spec->fresh || err->code != GV_FORMAT) return r->j != NULL;
    gv_err_clear(err); /* damaged: start_anew removes it if it is ours */
    return true;
}

/* Only once the new input is known to be good. */
static bool start_anew(run *r, gv_err *err) {
    journal *old = r->j;
    r->j = NULL;
    if (old ? !journal_drop(old, err) : !journal_remove(r->journal_path.p, err)) return false;
    r->made = true;
    r->j = journal_open(r->journal_path.p, JOURNAL_OPEN, err);
    return r->j != NULL;
}

static void make_slots(run *r, uint64_t n_rows) {
    r->n_slots = r->caps->max_in_flight > 0 ? (size_t)r->caps->max_in_flight : 1;
    r->slots = gv_xcalloc(r->n_slots + 1, sizeof *r->slots);
    r->progress.rows = n_rows;
    r->progress.per_row = run_n_variants(r->spec) * run_n_samples(r->spec);
    r->progress.all = r->progress.rows * r->progress.per_row;
    r->start_us = r->synced_us = clock_mono_us();
}

static bool check_parser(const run *r, gv_err *err) {
    return r->spec->parser != PARSE_CONSTRAINED || r->caps->constrained ||
           gv_fail(err, GV_USAGE, -1, "--verdict constrained: %s cannot make answers end in a verdict; use lenient, robust or strict",
                   r->caps->model_name);
}

static bool start(run *r, gv_err *err) {
    run_journal_path(r->spec->out, &r->journal_path);
    if (!check_parser(r, err) || !rows_writer_check(r->spec->out, err) || stopped(r, err) || !lock_journal(r, err)) return false;
    if (!open_input(r, err) || stopped(r, err) || (r->spec->fresh && !start_anew(r, err)) || !compare_settings(r, err)) return false;
    make_slots(r, r->input.n_selected);
    return true;
}

static void finish(run *r) {
    for (size_t i = 0; r->slots && i < r->n_slots; i++) {
        if (r->slots[i].used) lm_cancel(r->model, i);
        free(r->slots[i].row_id);
    }
    if (r->spool_path.n) remove(r->spool_path.p);
    gv_err ignored = GV_ERR_INIT;
    if (!r->made || r->slots)
        journal_close(r->j);
    else if (!journal_drop(r->j, &ignored)) /* nothing is in it: it goes as it came */
        log_msg(LOG_WARN, "%s", ignored.msg);
    free(r->slots);
    rows_summary_fini(&r->input);
    arena_fini(&r->row_arena);
    buf_fini(&r->journal_path);
    buf_fini(&r->spool_path);
}

bool run_judge(const run_spec *spec, lm *model, run_summary *out, gv_err *err) {
    run r = {.spec = spec, .model = model, .caps = lm_peek_caps(model)};
    *out = (run_summary){0};
    arena_init(&r.row_arena);
    bool ok = start(&r, err);
    if (ok) {
        ok = judge_rows(&r, err);
        gv_err sync_err = GV_ERR_INIT;
        const int64_t begin = clock_mono_us();
        if (!journal_sync(r.j, ok ? err : &sync_err)) ok = false;
        r.progress.journal_us += clock_mono_us() - begin;
        run_spec final = *spec;
        final.rows = r.rows;
        ok = ok && run_write_output(&final, r.input_path, &r.input, r.j, r.caps, out, err);
        if (ok) warn_of_long(r.caps->known, out->n_long, out->judgments, r.progress.per_row > 1 ? "judgments" : "rows");
        if (ok) show_progress(&r, true);
    }
    out->last = r.progress;
    finish(&r);
    return ok;
}

bool run_again(const run_spec *spec, lm *model, const run_replay *replay, gv_err *err) {
    run r = {.spec = spec, .replay = replay, .model = model, .caps = lm_get_caps(model), .input_path = spec->input, .rows = spec->rows};
    arena_init(&r.row_arena);
    bool ok = rows_scan(r.input_path, &r.rows, &r.input, err) && replay->check(replay->ctx, &r.input, r.caps, err);
    if (ok) {
        make_slots(&r, replay->n_rows);
        ok = judge_rows(&r, err);
        if (ok) show_progress(&r, true);
    }
    finish(&r);
    return ok;
}
