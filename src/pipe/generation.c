/* How an LLM of a pipeline is to generate: generation_kwargs with the class's defaults, and structured_output.
 *
 * Each class has an argument that holds more keywords: extra_sampling_params (vLLM's SamplingParams), extra_generation_kwargs (llama-cpp-python)
 * and extra_body (OpenAI's client, which puts them into the request).  What of them is known is read as if it stood outside; the rest is an error, but for
 * extra_body, whose members a server gets as they are.  docs/distilabel.md lists every keyword. */
#include "pipe/pipe_internal.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct kwargs {
    const pipe_step *s;
    const json_value *g, *x; /* generation_kwargs and what they hold more in, or NULL */
    const char *extra;       /* the latter's name, or NULL */
} kwargs;

/* Keywords of these objects that are honoured; llama.cpp's repeat_penalty is its name for repetition_penalty. */
static const char *const vllm_extra[] = {"seed",
                                         "min_tokens",
                                         "logit_bias",
                                         "min_p",
                                         "top_k",
                                         "repetition_penalty",
                                         "stop",
                                         "stop_token_ids",
                                         "include_stop_str_in_output",
                                         "detokenize",
                                         "skip_special_tokens",
                                         "spaces_between_special_tokens",
                                         NULL};
static const char *const llamacpp_extra[] = {"seed", "top_k", "min_p", "repeat_penalty", "stop", "logit_bias", NULL};
static const char *const openai_extra[] = {
    "seed", "top_k", "min_p", "repetition_penalty", "min_tokens", "logit_bias", "stop_token_ids", "include_stop_str_in_output", NULL};

static bool among(sv name, const char *const *names) {
    for (; *names; names++)
        if (sv_is(name, *names)) return true;
    return false;
}

static bool refuse(const kwargs *k, bool extra, const char *key, const char *why, gv_err *err) {
    char what[160];
    snprintf(what, sizeof what, "llm.generation_kwargs.%s%s%s", extra ? k->extra : "", extra ? "." : "", str_show(sv_of(key)).text);
    return pipe_refuse(k->s, what, why, err);
}

/* What cannot be done, wherever it stands. */
static bool check_refused(const kwargs *k, bool extra, gv_err *err) {
    static const struct {
        const char *key, *why;
    } refused[] = {
        {"logprobs", "its column is not made; remove it, or judge with gavel judge --expected-score"},
        {"top_logprobs", "its column is not made; remove it, or judge with gavel judge --expected-score"},
        {"logits_processors", "it is Python code; remove it"},
        {"echo", "the answer is read without the prompt; remove it"},
        {"ignore_eos", "an answer that does not end has no verdict; remove it"},
    };
    const json_value *o = extra ? k->x : k->g;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (pipe_asks(o, refused[i].key)) return refuse(k, extra, refused[i].key, refused[i].why, err);
    const json_value *special = pipe_arg(o, "skip_special_tokens"), *format = pipe_arg(o, "response_format");
    if (special && json_kind_of(special) == JSON_BOOL && !json_bool(special))
        return refuse(k, extra, "skip_special_tokens",
                      "a verdict must be the answer's end, and the end-of-turn token would follow it; remove it", err);
    if (!format || sv_is(json_string(format), "text")) return true;
    const json_value *type = json_kind_of(format) == JSON_OBJECT ? json_get(format, "type") : NULL;
    if (type && sv_is(json_string(type), "text")) return true;
    return refuse(k, extra, "response_format", "use structured_output with a regex that ends in the verdict", err);
}

static bool check_outer_names(const kwargs *k, const pipe_llm_class *c, gv_err *err) {
    for (json_iter it = json_each(k->g); k->g && json_next(&it);) {
        if (among(it.key, c->generation)) continue;
        char name[64];
        snprintf(name, sizeof name, SV_FMT, SV_ARG(it.key));
        const char *near = nearest_name(name, c->generation);
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": %s has no generation keyword \"%s\"%s%s%s", k->s->name, c->name,
                       str_show(it.key).text, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    return true;
}

/* What asks for nothing may stand. */
static bool check_inner_names(const kwargs *k, const pipe_llm_class *c, const char *const *known, gv_err *err) {
    for (json_iter it = json_each(k->x); k->x && json_next(&it);) {
        char name[64];
        snprintf(name, sizeof name, SV_FMT, SV_ARG(it.key));
        if (k->g && pipe_arg(k->x, name) && pipe_arg(k->g, name))
            return gv_fail(err, GV_USAGE, -1, "step \"%s\": \"%s\" stands in llm.generation_kwargs and in its %s; remove one of them",
                           k->s->name, str_show(it.key).text, k->extra);
        if (among(it.key, known) || c->kind == PIPE_OPENAI || !pipe_asks(k->x, name)) continue;
        buf list = {0};
        for (const char *const *n = known; *n; n++) buf_printf(&list, "%s%s", n == known ? "" : ", ", *n);
        buf_printf(&list, " are taken there; remove it");
        const bool ok = refuse(k, true, name, list.p, err);
        buf_fini(&list);
        return ok;
    }
    return true;
}

/* The object that has the keyword. */
static const json_value *holder(const kwargs *k, const char *key) {
    return k->x && pipe_arg(k->x, key) ? k->x : k->g;
}

static bool read_numbers(const kwargs *k, const pipe_llm_class *c, lm_sampling *out, gv_err *err) {
    const bool transformers = c->kind == PIPE_TRANSFORMERS, llamacpp = c->kind == PIPE_LLAMACPP;
    const char *repetition = llamacpp ? "repeat_penalty" : "repetition_penalty";
    const pipe_step *s = k->s;
    int64_t seed = (int64_t)out->seed;
    bool sample;
    if (!pipe_arg_int(s, k->g, "max_new_tokens", 128, &out->max_tokens, err) ||
        !pipe_arg_double(s, k->g, "temperature", transformers ? 0.1 : 1, &out->temperature, err) ||
        !pipe_arg_double(s, k->g, "top_p", 1, &out->top_p, err) ||
        !pipe_arg_double(s, holder(k, "min_p"), "min_p", llamacpp ? 0.05 : 0, &out->min_p, err) ||
        !pipe_arg_int(s, holder(k, "top_k"), "top_k", llamacpp ? 40 : 0, &out->top_k, err) ||
        !pipe_arg_double(s, holder(k, repetition), repetition, transformers ? 1.1 : 1, &out->repetition_penalty, err) ||
        !pipe_arg_double(s, k->g, "presence_penalty", 0, &out->presence_penalty, err) ||
        !pipe_arg_double(s, k->g, "frequency_penalty", 0, &out->frequency_penalty, err) ||
        !pipe_arg_int(s, holder(k, "seed"), "seed", seed, &seed, err) || !pipe_arg_bool(s, k->g, "do_sample", true, &sample, err))
        return false;
    out->seed = (uint64_t)seed;
    if (out->top_k < 0) out->top_k = 0; /* vLLM's -1: off */
    if (!sample) out->temperature = 0;
    if (out->max_tokens < 1 || out->max_tokens > 1048576)
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": max_new_tokens is %lld, expected 1 to 1048576", s->name,
                       (long long)out->max_tokens);
    if (!(out->temperature >= 0 && out->temperature <= 100))
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": temperature is %g, expected 0 to 100", s->name, out->temperature);
    if (!(out->top_p > 0 && out->top_p <= 1))
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": top_p is %g, expected more than 0 and at most 1", s->name, out->top_p);
    if (!(out->min_p >= 0 && out->min_p <= 1))
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": min_p is %g, expected 0 to 1", s->name, out->min_p);
    if (!(out->repetition_penalty > 0))
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": %s is %g, expected more than 0", s->name, repetition, out->repetition_penalty);
    return true;
}

/* ---- rules ---- */

static bool add_stop(const kwargs *k, const json_value *v, sample_rules *r, gv_err *err) {
    const sv text = json_string(v);
    if (json_kind_of(v) != JSON_STRING || text.n == 0 || text.n > RULES_MAX_STOP_BYTES || memchr(text.p, 0, text.n))
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": stop must be a text of 1 to %d bytes, or a list of them", k->s->name,
                       RULES_MAX_STOP_BYTES);
    if (r->n_stops == RULES_MAX_STOPS)
        return gv_fail(err, GV_LIMIT, -1, "step \"%s\": stop has more than %d texts", k->s->name, RULES_MAX_STOPS);
    memcpy(r->stop[r->n_stops], text.p, text.n);
    r->stop[r->n_stops++][text.n] = 0;
    return true;
}

static bool read_stops(const kwargs *k, sample_rules *r, gv_err *err) {
    const json_value *o = holder(k, "stop"), *v = pipe_arg(o, "stop");
    if (v && json_kind_of(v) != JSON_ARRAY) return sv_is(json_string(v), "") || add_stop(k, v, r, err);
    for (json_iter it = json_each(v); v && json_next(&it);)
        if (!add_stop(k, it.value, r, err)) return false;
    return true;
}

static bool read_stop_ids(const kwargs *k, sample_rules *r, gv_err *err) {
    const json_value *v = pipe_arg(holder(k, "stop_token_ids"), "stop_token_ids");
    int64_t id = -1;
    if (v && json_kind_of(v) != JSON_ARRAY)
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": stop_token_ids must be a list of ids", k->s->name);
    if (v && json_size(v) > RULES_MAX_STOP_IDS)
        return gv_fail(err, GV_LIMIT, -1, "step \"%s\": stop_token_ids has %zu ids, at most %d are taken", k->s->name, json_size(v),
                       RULES_MAX_STOP_IDS);
    for (json_iter it = json_each(v); v && json_next(&it);) {
        if (!json_int64(it.value, &id) || id < 0 || id > INT32_MAX)
            return gv_fail(err, GV_USAGE, -1, "step \"%s\": stop_token_ids must be a list of ids", k->s->name);
        r->stop_id[r->n_stop_ids++] = (int32_t)id;
    }
    return true;
}

static bool read_biases(const kwargs *k, sample_rules *r, gv_err *err) {
    const json_value *v = pipe_arg(holder(k, "logit_bias"), "logit_bias");
    if (v && json_kind_of(v) == JSON_OBJECT && json_size(v) > RULES_MAX_BIASES)
        return gv_fail(err, GV_LIMIT, -1, "step \"%s\": logit_bias has %zu ids, at most %d are taken", k->s->name, json_size(v),
                       RULES_MAX_BIASES);
    bool ok = !v || json_kind_of(v) == JSON_OBJECT;
    for (json_iter it = json_each(v); ok && v && json_next(&it);) {
        char text[16], *end = text;
        double bias = 0;
        snprintf(text, sizeof text, SV_FMT, SV_ARG(it.key));
        const long long id = strtoll(text, &end, 10);
        ok = *text >= '0' && *text <= '9' && !*end && id <= INT32_MAX && json_double(it.value, &bias) && bias >= -100 && bias <= 100;
        r->bias[r->n_biases++] = (sample_bias){(int32_t)id, (float)bias};
    }
    return ok ||
           gv_fail(err, GV_USAGE, -1, "step \"%s\": logit_bias must be an object of ids, each with a number from -100 to 100", k->s->name);
}

static bool read_rules(const kwargs *k, arena *a, lm_sampling *out, gv_err *err) {
    sample_rules *r = arena_alloc(a, sizeof *r);
    int64_t least;
    *r = (sample_rules){0};
    if (!read_stops(k, r, err) || !read_stop_ids(k, r, err) || !read_biases(k, r, err) ||
        !pipe_arg_bool(k->s, holder(k, "include_stop_str_in_output"), "include_stop_str_in_output", false, &r->keep_stop, err) ||
        !pipe_arg_int(k->s, holder(k, "min_tokens"), "min_tokens", 0, &least, err))
        return false;
    if (least < 0 || least > out->max_tokens)
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": min_tokens is %lld, expected 0 to max_new_tokens, which is %lld", k->s->name,
                       (long long)least, (long long)out->max_tokens);
    r->min_tokens = (int32_t)least;
    if (r->n_stops || r->n_stop_ids || r->n_biases || r->min_tokens) out->rules = r;
    return true;
}

/* Members of extra_body that only the server knows. */
static void read_more(const kwargs *k, arena *a, lm_sampling *out) {
    buf text = {0};
    for (json_iter it = json_each(k->x); json_next(&it);) {
        if (among(it.key, openai_extra)) continue;
        if (text.n) buf_add_char(&text, ',');
        json_put_string(&text, it.key);
        buf_add_char(&text, ':');
        json_put_value(&text, it.value);
    }
    if (text.n) out->more = arena_dup(a, text.p, text.n);
    buf_fini(&text);
}

bool pipe_read_generation(const pipe_step *s, const json_value *llm, const pipe_llm_class *c, arena *a, lm_sampling *out, gv_err *err) {
    static const char *const none[] = {NULL};
    kwargs k = {.s = s, .g = pipe_arg(llm, "generation_kwargs")};
    const char *const *known = none;
    if (c->kind == PIPE_VLLM) k.extra = "extra_sampling_params", known = vllm_extra;
    if (c->kind == PIPE_LLAMACPP) k.extra = "extra_generation_kwargs", known = llamacpp_extra;
    if (c->kind == PIPE_OPENAI) k.extra = "extra_body", known = openai_extra;
    if (k.g && json_kind_of(k.g) != JSON_OBJECT)
        return gv_fail(err, GV_FORMAT, -1, "step \"%s\": llm.generation_kwargs is no object", s->name);
    k.x = k.g && k.extra ? pipe_arg(k.g, k.extra) : NULL;
    if (k.x && json_kind_of(k.x) != JSON_OBJECT)
        return gv_fail(err, GV_FORMAT, -1, "step \"%s\": llm.generation_kwargs.%s is no object", s->name, k.extra);
    if (!check_outer_names(&k, c, err) || (k.g && !check_refused(&k, false, err)) || (k.x && !check_refused(&k, true, err)) ||
        !check_inner_names(&k, c, known, err) || !read_numbers(&k, c, out, err) || !read_rules(&k, a, out, err))
        return false;
    if (k.x && c->kind == PIPE_OPENAI) read_more(&k, a, out);
    return true;
}

/* ---- structured output ---- */

/* A regex that asks for free text and then the verdict is what our engine does: the pattern must end in [RESULT], white space and a class or
 * choice of the verdicts. */
static bool verdict_pattern(sv p, judge_mode mode) {
    static const char *const scores[] = {"[1-5]", "([1-5])", "[12345]", "([12345])", "(1|2|3|4|5)", "(?:1|2|3|4|5)", NULL};
    static const char *const letters[] = {"[AB]", "([AB])", "[A-B]", "(A|B)", "(?:A|B)", NULL};
    if (sv_ends(p, SV("$"))) p.n--;
    for (const char *const *t = mode == JUDGE_ABSOLUTE ? scores : letters; *t; t++) {
        if (!sv_ends(p, sv_of(*t))) continue;
        sv rest = sv_sub(p, 0, p.n - strlen(*t));
        static const char *const spaces[] = {" ", "\\s", "\\s*", "\\s+", " *", " ?", "\\s?", ""};
        for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
            if (sv_ends(rest, sv_of(spaces[i])) && sv_ends(sv_sub(rest, 0, rest.n - strlen(spaces[i])), SV("\\[RESULT\\]"))) return true;
    }
    return false;
}

static bool is_choices(const json_value *schema, judge_mode mode) {
    const size_t n = mode == JUDGE_ABSOLUTE ? 5 : 2;
    size_t i = 0;
    if (json_kind_of(schema) != JSON_ARRAY || json_size(schema) != n) return false;
    for (json_iter it = json_each(schema); json_next(&it); i++) {
        const char want = (char)((mode == JUDGE_ABSOLUTE ? '1' : 'A') + (char)i);
        if (json_string(it.value).n != 1 || json_string(it.value).p[0] != want) return false;
    }
    return true;
}

bool pipe_read_structure(const pipe_step *s, const json_value *llm, judge_mode mode, bool *constrained, gv_err *err) {
    const json_value *o = pipe_arg(llm, "structured_output"), *format = o ? pipe_arg(o, "format") : NULL,
                     *schema = o ? pipe_arg(o, "schema") : NULL;
    *constrained = false;
    if (!o || json_size(o) == 0) return true;
    const sv f = format ? json_string(format) : (sv){"", 0};
    *constrained =
        schema && ((sv_is(f, "regex") && verdict_pattern(json_string(schema), mode)) || (sv_is(f, "choice") && is_choices(schema, mode)));
    if (*constrained) return true;
    return pipe_refuse(s, "this llm.structured_output",
                       mode == JUDGE_ABSOLUTE
                           ? "gavel constrains the verdict; give {format: regex, schema: '... \\[RESULT\\] [1-5]'} or remove it"
                           : "gavel constrains the verdict; give {format: regex, schema: '... \\[RESULT\\] [AB]'} or remove it",
                       err);
}
