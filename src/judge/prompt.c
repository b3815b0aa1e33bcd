/* Prompt styles.  See prompt.h.
 *
 * One text serves all styles; they differ in the first line (whether it speaks of a reference answer), in the format line ("Feedback: "
 * inside the quotes or not), and at the end.  Sources: templates/prometheus/ of distilabel 1.5.3 (whose two relative first lines are
 * swapped against what the prompt holds), prompts.py of prometheus-eval 0.1.20, eval/prompts.py and run_evaluate.py of the prometheus-eval
 * repository (paper: strip()ped), and its benchmark files for the paper's absolute form with a reference (not stripped).  docs/prompts.md
 * there gives the paper's relative form with a reference. */
#include "judge/prompt.h"

#include "judge/pystr.h"

static const char *const style_names[] = {"distilabel", "prometheus-eval", "paper", "raw"};

const char *judge_style_name(judge_style s) {
    return style_names[s];
}
const char *judge_mode_name(judge_mode m) {
    return m == JUDGE_ABSOLUTE ? "absolute" : "relative";
}

bool judge_style_from(const char *name, judge_style *out) {
    for (size_t i = 0; i < sizeof style_names / sizeof *style_names; i++) {
        if (strcmp(name, style_names[i]) != 0) continue;
        *out = (judge_style)i;
        return true;
    }
    return false;
}

/* ---- reading a row ---- */

static bool no_column(const char *column, gv_err *err) {
    return gv_fail(err, GV_USAGE, -1, "the row has no column %s", column);
}

/* Looks for name, then (prometheus-eval) for other; *found is the one that is there. */
static bool find(const prompt_spec *spec, prompt_lookup *lookup, void *ctx, const char *name, const char *other, prompt_field *out,
                 const char **found) {
    *found = name;
    if (lookup(ctx, name, out)) return true;
    if (spec->style != STYLE_PROMETHEUS_EVAL || !other) return false;
    *found = other;
    return lookup(ctx, other, out);
}

static sv as_python_text(const prompt_field *f, arena *a) {
    if (!f->json) return f->text;
    if (json_kind_of(f->json) == JSON_STRING) return json_string(f->json);
    buf text = {0};
    py_str(&text, f->json);
    sv copy = {arena_dup(a, text.p, text.n), text.n};
    buf_fini(&text);
    return copy;
}

static bool as_string(const prompt_field *f, const char *column, sv *out, gv_err *err) {
    if (f->json && json_kind_of(f->json) != JSON_STRING)
        return gv_fail(err, GV_FORMAT, -1, "Provided `%s` is of type <class '%s'> but a string should be provided instead.", column,
                       py_type_name(f->json));
    *out = f->json ? json_string(f->json) : f->text;
    return true;
}

static bool pair_from_json(const json_value *v, sv out[2]) {
    if (json_kind_of(v) != JSON_ARRAY || json_size(v) != 2) return false;
    size_t i = 0;
    for (json_iter it = json_each(v); json_next(&it); i++) {
        if (json_kind_of(it.value) != JSON_STRING) return false;
        out[i] = json_string(it.value);
    }
    return true;
}

/* generations: a list of two strings; in a text-only format the JSON text of one. */
static bool read_pair(const prompt_field *f, arena *a, sv out[2], gv_err *err) {
    bool ok = false;
    if (f->json) {
        ok = pair_from_json(f->json, out);
    } else if (sv_starts(py_strip(f->text), SV("["))) {
        gv_err ignored = GV_ERR_INIT;
        json_doc *doc = json_parse(f->text, &ignored);
        ok = doc && pair_from_json(json_root(doc), out);
        for (int i = 0; ok && i < 2; i++) out[i].p = arena_dup(a, out[i].p, out[i].n);
        json_free(doc);
    }
    if (ok) return true;
    return gv_fail(err, GV_FORMAT, -1,
                   "Provided `generations` is of type <class '%s'> but a list of strings with length 2 should be provided instead.",
                   f->json ? py_type_name(f->json) : "str");
}

static bool read_responses(const prompt_spec *spec, prompt_lookup *lookup, void *ctx, arena *a, prompt_values *out, gv_err *err) {
    prompt_field f, second;
    const char *column;
    if (spec->mode == JUDGE_ABSOLUTE) {
        if (!find(spec, lookup, ctx, "generation", "response", &f, &column)) return no_column("generation", err);
        return as_string(&f, column, &out->a, err);
    }
    sv pair[2] = {{0}, {0}};
    if (lookup(ctx, "generations", &f)) {
        if (!read_pair(&f, a, pair, err)) return false;
    } else {
        if (spec->style != STYLE_PROMETHEUS_EVAL || !lookup(ctx, "response_A", &f)) return no_column("generations", err);
        if (!lookup(ctx, "response_B", &second)) return no_column("response_B", err);
        if (!as_string(&f, "response_A", &pair[0], err) || !as_string(&second, "response_B", &pair[1], err)) return false;
    }
    out->a = pair[spec->swapped ? 1 : 0];
    out->b = pair[spec->swapped ? 0 : 1];
    return true;
}

bool prompt_values_read(const prompt_spec *spec, prompt_lookup *lookup, void *ctx, arena *a, prompt_values *out, gv_err *err) {
    prompt_field f;
    const char *column;
    sv rubric = out->rubric;
    *out = (prompt_values){.rubric = rubric};
    if (spec->style == STYLE_RAW) {
        if (!lookup(ctx, "prompt", &f)) return no_column("prompt", err);
        return as_string(&f, "prompt", &out->instruction, err);
    }
    if (!lookup(ctx, "instruction", &f)) return no_column("instruction", err);
    out->instruction = as_python_text(&f, a);
    if (!read_responses(spec, lookup, ctx, a, out, err)) return false;
    if (!spec->reference) return true;
    if (!find(spec, lookup, ctx, "reference", "reference_answer", &f, &column)) return no_column("reference", err);
    bool falsy = f.json ? py_is_falsy(f.json) : f.text.n == 0;
    out->reference = spec->style == STYLE_PROMETHEUS_EVAL && falsy ? SV("None") : as_python_text(&f, a);
    return true;
}

const char *prompt_missing_column(const prompt_spec *spec, bool (*has)(void *ctx, const char *column), void *ctx) {
    bool pe = spec->style == STYLE_PROMETHEUS_EVAL;
    if (spec->style == STYLE_RAW) return has(ctx, "prompt") ? NULL : "prompt";
    if (!has(ctx, "instruction")) return "instruction";
    if (spec->mode == JUDGE_ABSOLUTE) {
        if (!has(ctx, "generation") && !(pe && has(ctx, "response"))) return "generation";
    } else if (!has(ctx, "generations")) {
        if (!pe || !has(ctx, "response_A")) return "generations";
        if (!has(ctx, "response_B")) return "response_B";
    }
    if (spec->reference && !has(ctx, "reference") && !(pe && has(ctx, "reference_answer"))) return "reference";
    return NULL;
}

/* ---- building ---- */

static const char system_absolute[] =
    "You are a fair judge assistant tasked with providing clear, objective feedback based on specific criteria, "
    "ensuring each assessment reflects the absolute standards set for performance.";
static const char system_relative[] =
    "You are a fair judge assistant assigned to deliver insightful feedback that compares individual performances, "
    "highlighting how each stands relative to others within the same cohort.";

/* How the first line speaks of a reference answer. */
static const char *reference_words(const prompt_spec *spec) {
    if (spec->mode == JUDGE_ABSOLUTE) return spec->reference ? "a reference answer that gets a score of 5, " : "";
    bool speaks = spec->style == STYLE_DISTILABEL ? !spec->reference : spec->style == STYLE_PROMETHEUS_EVAL && spec->reference;
    return speaks ? "a reference answer, " : "";
}

static void put_task(const prompt_spec *spec, buf *out) {
    bool absolute = spec->mode == JUDGE_ABSOLUTE;
    buf_add_str(out, "###Task Description:\nAn instruction (might include an Input inside it), a response to evaluate, ");
    buf_add_str(out, reference_words(spec));
    buf_add_str(
        out, "and a score rubric representing a evaluation criteria are given.\n1. Write a detailed feedback that assess the quality of ");
    buf_add_str(out, absolute ? "the response" : "two responses");
    buf_add_str(out, " strictly based on the given score rubric, not evaluating in general.\n2. After writing a feedback, ");
    buf_add_str(out, absolute ? "write a score that is an integer between 1 and 5."
                              : "choose a better response between Response A and Response B.");
    buf_add_str(out, " You should refer to the score rubric.\n3. The output format should look as follows: \"");
    if (spec->style != STYLE_PROMETHEUS_EVAL) buf_add_str(out, "Feedback: ");
    buf_add_str(out, "(write a feedback for criteria) [RESULT] ");
    buf_add_str(out, absolute ? "(an integer number between 1 and 5)" : "(A or B)");
    buf_add_str(out, "\"\n4. Please do not generate any other opening, closing, and explanations.\n\n");
}

static void put_section(buf *out, const char *title, sv value) {
    buf_add_str(out, title);
    buf_add_char(out, '\n');
    buf_add_sv(out, value);
    buf_add_str(out, "\n\n");
}

static void put_user(const prompt_spec *spec, const prompt_values *v, buf *out) {
    put_task(spec, out);
    if (spec->mode == JUDGE_ABSOLUTE) {
        put_section(out, "###The instruction to evaluate:", v->instruction);
        put_section(out, "###Response to evaluate:", v->a);
        if (spec->reference) put_section(out, "###Reference Answer (Score 5):", v->reference);
        put_section(out, "###Score Rubrics:", v->rubric);
    } else {
        put_section(out, "###Instruction:", v->instruction);
        put_section(out, "###Response A:", v->a);
        put_section(out, "###Response B:", v->b);
        if (spec->reference) put_section(out, "###Reference Answer:", v->reference);
        put_section(out, "###Score Rubric:", v->rubric);
    }
    bool stripped = spec->style == STYLE_PAPER && !(spec->mode == JUDGE_ABSOLUTE && spec->reference);
    buf_add_str(out, stripped ? "###Feedback:" : "###Feedback: ");
}

static void hash_value(sha256 *h, sv v) {
    uint64_t n = v.n;
    sha256_add(h, &n, sizeof n);
    if (v.n) sha256_add(h, v.p, v.n);
}

void prompt_build(const prompt_spec *spec, const prompt_values *v, arena *a, prompt_text *out) {
    *out = (prompt_text){0};
    sha256 h;
    sha256_init(&h);
    hash_value(&h, v->instruction);
    hash_value(&h, v->a);
    hash_value(&h, v->b);
    hash_value(&h, v->reference);
    hash_value(&h, v->rubric);
    sha256_hex(&h, out->hash);
    if (spec->style == STYLE_RAW) {
        out->user = v->instruction;
        return;
    }
    out->system = sv_of(spec->mode == JUDGE_ABSOLUTE ? system_absolute : system_relative);
    out->has_system = spec->style != STYLE_PAPER;
    buf user = {0};
    if (spec->style == STYLE_PAPER) {
        buf_add_sv(&user, out->system);
        buf_add_str(&user, "\n\n");
    }
    put_user(spec, v, &user);
    out->user = (sv){arena_dup(a, user.p, user.n), user.n};
    buf_fini(&user);
}

size_t prompt_messages(const prompt_text *p, lm_message out[2]) {
    size_t n = 0;
    if (p->has_system) out[n++] = (lm_message){SV("system"), p->system};
    out[n++] = (lm_message){SV("user"), p->user};
    return n;
}

void prompt_layout(judge_style style, const prompt_text *p, buf *out) {
    buf_add_str(out, "[INST] ");
    if (p->has_system) {
        buf_add_sv(out, p->system);
        buf_add_char(out, '\n');
    }
    buf_add_sv(out, p->user);
    buf_add_str(out, style == STYLE_DISTILABEL ? "[/INST]" : " [/INST]");
}
